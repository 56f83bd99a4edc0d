"""What the servers of this library have in common: TLS with a client certificate required, revocation checked at
every call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from mpc.errors import PolicyError, UsageError
from mpc.transport import grpc as transport
from mpc.transport.grpc import Credentials
from unseen import rpc
from unseen.governance.enrolment import Identity
from unseen.governance.trust import Trust
from unseen.watch import Watched

DRAIN_S = 5.0
"""How long sessions may go on after a server was told to stop, seconds."""


def watched_identity(home: Path) -> Watched[Identity]:
    """The party's identity, loaded again when a renewal was installed."""
    return Watched(home / "identity" / "current", lambda: Identity.load(home))


def credentials(identity: Callable[[], Identity]) -> grpc.ServerCredentials:
    """TLS for a server: a client certificate of the same CA is required; a renewed certificate is used from the next
    handshake on.
    """
    return transport.server_credentials(lambda: as_credentials(identity()))


def as_credentials(identity: Identity) -> Credentials:
    """What the transport needs of an identity, to serve or to dial."""
    return Credentials(identity.name, identity.tls_key, identity.tls_certificate, identity.root)


class _Guard(grpc.ServerInterceptor):
    """Before any call of any service: is the caller's certificate current and not revoked?"""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler: Any = continuation(handler_call_details)
        for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
            behaviour = getattr(handler, kind, None)
            if behaviour is not None:
                make: Callable[..., grpc.RpcMethodHandler[Any, Any]] = getattr(grpc, f"{kind}_rpc_method_handler")
                guarded = (self._stream if kind.endswith("stream") else self._unary)(behaviour)
                return make(guarded, handler.request_deserializer, handler.response_serializer)
        return None

    def _unary(
        self, behaviour: Callable[[Any, grpc.ServicerContext], Any]
    ) -> Callable[[Any, grpc.ServicerContext], Any]:
        def guarded(request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ANN401  # whatever the service takes
            self._check(context)
            return behaviour(request, context)

        return guarded

    def _stream(
        self, behaviour: Callable[[Any, grpc.ServicerContext], Iterator[Any]]
    ) -> Callable[[Any, grpc.ServicerContext], Iterator[Any]]:
        def guarded(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: ANN401  # as above
            self._check(context)
            return behaviour(request, context)

        return guarded

    def _check(self, context: grpc.ServicerContext) -> None:
        try:
            self._trust.tls_party(rpc.certificate_of(context))
        except PolicyError as error:
            rpc.refuse(context, error)


def make_server(*, trust: Trust | None, threads: int, options: Sequence[tuple[str, Any]] = ()) -> grpc.Server:
    """A server that is not bound to an address yet.

    Args:
        trust: checks every caller's certificate; None for a Unix socket.
        threads: how many calls are served at once, more are refused. A stream takes one for as long as it lives.
        options: further gRPC channel arguments.
    """
    pool = futures.ThreadPoolExecutor(max_workers=threads, thread_name_prefix="grpc")
    interceptors: list[grpc.ServerInterceptor] = [] if trust is None else [_Guard(trust)]
    return grpc.server(
        pool, interceptors=interceptors, options=[("grpc.so_reuseport", 0), *options], maximum_concurrent_rpcs=threads
    )


def add_health(server: grpc.Server, services: Sequence[str]) -> health.HealthServicer:
    """Add ``grpc.health.v1`` and reflection of `services`; returns the health service, in which states are set."""
    servicer = health.HealthServicer(
        experimental_non_blocking=True, experimental_thread_pool=futures.ThreadPoolExecutor(max_workers=1)
    )
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    reflection.enable_server_reflection([*services, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    return servicer


def set_health(servicer: health.HealthServicer, name: str, *, serving: bool) -> None:
    """State of one service; the empty name stands for the whole server."""
    state = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
    servicer.set(name, state)


def bind(server: grpc.Server, address: str, tls: grpc.ServerCredentials) -> int:
    """Bind to ``host:port``; returns the port, which the system chooses where `address` says 0. Raises UsageError if
    it is taken.
    """
    try:
        port = server.add_secure_port(address, tls)
    except RuntimeError:
        port = 0
    if not port:
        raise UsageError(f"cannot listen on {address}. Stop what listens there, or set another `listen` address.")
    return int(port)
