"""Unary calls between parties: typed at both ends, authenticated by certificate, with this library's errors across
the wire.

    DESCRIBE = Unary(service="unseen.node.v1.Node", method="Describe", request=DescribeRequest, answer=Description)

    add_methods(server, [bound(DESCRIBE, describe)], identify=by_certificate(trust))     # describe(request, caller)
    -> Description Client(address, ...).call(DESCRIBE, DescribeRequest())                               # ->
    Description

A ``PolicyError`` raised by a method reaches the caller as a ``PolicyError`` with the same code; misuse arrives as
``UsageError``; whatever else goes wrong on the other side is logged there, and arrives as ``ChannelError`` that gives
nothing away.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.message import Message

from mpc.errors import ChannelClosed, ChannelError, ChannelTimeout, MpcError, PeerError, PolicyError, UsageError
from mpc.words import code_or, plain
from unseen.governance.trust import Trust
from unseen.names import party_host

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)

LARGEST_MESSAGE = 4 << 20
"""Bytes of the largest unary message."""

# The same words as those of refused streams (`mpc.transport.grpc`).
CODE_KEY = "unseen-code"
MESSAGE_KEY = "unseen-message-bin"
REMEDY_KEY = "unseen-remedy-bin"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unary(Generic[Q, A]):
    """One method of one service of the .proto files."""

    service: str
    method: str
    request: type[Q]
    answer: type[A]

    def __post_init__(self) -> None:
        found = descriptor_pool.Default().FindMethodByName(f"{self.service}.{self.method}")
        if found.input_type is not self.request.DESCRIPTOR or found.output_type is not self.answer.DESCRIPTOR:
            raise UsageError(
                f"{self.service}/{self.method} takes {found.input_type.name} and gives {found.output_type.name}."
            )


@dataclass(frozen=True)
class Caller:
    """Who calls: a party's name, proved by its certificate; empty on a Unix socket, where the caller is the owner."""

    name: str


@dataclass(frozen=True)
class Bound:
    """A method together with what serves it."""

    service: str
    method: str
    handler: Callable[[Any, Caller], Message]
    decode: Callable[[bytes], Message]


def bound(method: Unary[Q, A], handler: Callable[[Q, Caller], A]) -> Bound:
    """`handler` as the implementation of `method`."""
    return Bound(method.service, method.method, handler, method.request.FromString)


Identify = Callable[[grpc.ServicerContext], Caller]


def by_certificate(trust: Callable[[], Trust]) -> Identify:
    """Callers are named by their TLS certificate, which must be current and not revoked. `trust` gives the present
    trust.
    """

    def identify(context: grpc.ServicerContext) -> Caller:
        return Caller(trust().tls_party(certificate_of(context)))

    return identify


def owner(_: grpc.ServicerContext) -> Caller:
    """On a Unix socket in a directory of its owner only, whoever calls is the owner."""
    return Caller("")


def certificate_of(context: grpc.ServicerContext) -> bytes:
    """The caller's TLS certificate, PEM. Raises PolicyError if there is none."""
    found = context.auth_context().get("x509_pem_cert", ())
    if not found:
        raise PolicyError(
            "no client certificate", code="certificate-missing", remedy="Connect with the party's TLS certificate."
        )
    return bytes(found[0])


def add_methods(server: grpc.Server, methods: Sequence[Bound], *, identify: Identify) -> None:
    """Serve `methods` on `server`."""
    by_service: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]] = {}
    for method in methods:
        by_service.setdefault(method.service, {})[method.method] = grpc.unary_unary_rpc_method_handler(
            _behaviour(method, identify), request_deserializer=method.decode, response_serializer=_serialise
        )
    server.add_generic_rpc_handlers(
        tuple(grpc.method_handlers_generic_handler(service, handlers) for service, handlers in by_service.items())
    )


def _serialise(message: Message) -> bytes:
    return message.SerializeToString()


def _behaviour(method: Bound, identify: Identify) -> Callable[[Message, grpc.ServicerContext], Message]:
    def behaviour(request: Message, context: grpc.ServicerContext) -> Message:
        try:
            return method.handler(request, identify(context))
        except PolicyError as error:
            refuse(context, error)
        except (UsageError, PeerError) as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except MpcError as error:
            _log.warning("%s/%s: %s", method.service, method.method, error)
            context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        except Exception:
            _log.exception("%s/%s failed", method.service, method.method)
            context.abort(grpc.StatusCode.INTERNAL, "internal error; the other side's log says more")
        raise AssertionError("abort() raises")

    return behaviour


def refuse(context: grpc.ServicerContext, error: PolicyError) -> None:
    """End a call with a PolicyError that the caller will see as one."""
    context.set_trailing_metadata(
        ((CODE_KEY, error.code), (MESSAGE_KEY, error.reason.encode()), (REMEDY_KEY, error.remedy.encode()))
    )
    context.abort(grpc.StatusCode.PERMISSION_DENIED, error.code)


class Client:
    """Calls to one peer. Connects at the first call, and again by itself after a break. Use as a context manager."""

    def __init__(
        self,
        address: str,
        *,
        peer: str,
        key_pem: bytes = b"",
        cert_pem: bytes = b"",
        root_pem: bytes = b"",
        timeout_s: float = 5.0,
    ) -> None:
        """
        Args:
            address: ``host:port``.
            peer: name of the party that must be there; its certificate has to prove it.
            key_pem: own TLS key.
            cert_pem: own TLS certificate.
            root_pem: the CA's root.
            timeout_s: how long a call may take, seconds.
        """
        credentials = grpc.ssl_channel_credentials(root_pem, key_pem, cert_pem)
        self._start(
            grpc.secure_channel(
                address, credentials, options=[*_OPTIONS, ("grpc.ssl_target_name_override", party_host(peer))]
            )
        )
        self._peer = peer
        self._address = address
        self._timeout_s = timeout_s

    @classmethod
    def unix(cls, path: Path, *, timeout_s: float = 5.0) -> Client:
        """A client of a Unix socket of one's own."""
        client = cls.__new__(cls)
        client._start(grpc.insecure_channel(f"unix:{path}", options=_OPTIONS))
        client._peer, client._address, client._timeout_s = "the node", str(path), timeout_s
        return client

    def _start(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self._peer = ""
        self._address = ""
        self._timeout_s = 0.0

    def call(self, method: Unary[Q, A], request: Q) -> A:
        """Call and wait for the answer.

        Raises:
            PolicyError: the peer refused.
            UsageError: the peer says that the request makes no sense.
            ChannelError: the peer was not reached, did not answer in time, or failed.
        """
        stub = self._channel.unary_unary(
            f"/{method.service}/{method.method}",
            request_serializer=_serialise,
            response_deserializer=method.answer.FromString,
        )
        try:
            answer: A = stub(request, timeout=self._timeout_s)
        except grpc.RpcError as error:
            raise _translated(error, self._peer, self._address) from None
        return answer

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_send_message_length", LARGEST_MESSAGE),
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
    # Channels to the same address with other keys must not share one connection.
    ("grpc.use_local_subchannel_pool", 1),
]


def _translated(error: grpc.RpcError, peer: str, address: str) -> MpcError:
    call = cast("grpc.Call", error)  # what a failed call raises is both; the stubs know one half only
    code, details = call.code(), plain(call.details() or "", 4000)
    trailer: dict[str, str | bytes] = {str(key): value for key, value in call.trailing_metadata() or ()}
    if code is grpc.StatusCode.PERMISSION_DENIED and CODE_KEY in trailer:
        message, remedy = (_text(trailer.get(key, b"")) for key in (MESSAGE_KEY, REMEDY_KEY))
        said = code_or("refused", _text(trailer[CODE_KEY]))
        return PolicyError(message or f"{peer} refused", code=said, remedy=remedy)
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        return UsageError(details)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return ChannelTimeout(f"{peer} at {address} did not answer in time")
    if code is grpc.StatusCode.UNAVAILABLE:
        return ChannelClosed(f"{peer} at {address} cannot be reached: {details}")
    return ChannelError(f"{peer} at {address}: {code.name.lower()}: {details}")


def _text(value: str | bytes) -> str:
    return plain(value.decode("utf-8", "replace") if isinstance(value, bytes) else value)
