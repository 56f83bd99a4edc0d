"""Lanes over gRPC: one stream per session, mutual TLS between nodes, a Unix socket between a node and its workers.

    with connect("node.tax.example:7000", me="bank", peer="tax", hello=hello, credentials=mine) as link:
        channel = Channel(link.lane, protocol="psi.ecdh")

    with Listener("[::]:7000", serve, me="tax", credentials=mine) as listener:  # serve(accepted): a thread per session
        listener.wait()

What a frame is and what a session guarantees: ``proto/unseen/wire/v1/frame.proto`` and ``mpc.transport.link``. Here
are the streams: dialling and dialling again, listening, and the relay of a node, which forwards frames unread.

Identity. A party's TLS certificate holds the DNS name ``<party>.party.unseen``. The dialling side accepts the server
only under the name of the party that it wants, whatever the address; the listening side requires a certificate and
takes the peer's name from it. A Unix socket has no TLS: there the node, which alone can reach the socket, says who
calls.

Broken connections. The dialling side dials again within `resume_window_s`; the listening side keeps the session for as
long, for the same authenticated peer only. No frame is lost or repeated. A refusal is never retried. A dialling side
that greets anew instead has lost its half: the session ends on the listening side, and until it has, nobody is let in.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import cache
from types import TracebackType
from typing import NoReturn, cast

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from google.protobuf.message import DecodeError

from mpc.channel import CHUNK_BYTES
from mpc.errors import ChannelClosed, MpcError, PeerError, PolicyError, UsageError
from mpc.transport.link import HELLO, Frame, Link, LinkLane, MalformedFrame, decode, encode
from mpc.wire.wire.v1 import frame_pb2
from mpc.words import code_or, plain

WIRE_VERSION = 1
SERVICE = frame_pb2.DESCRIPTOR.services_by_name["Peer"].full_name
METHOD = f"/{SERVICE}/Exchange"
NAME_SUFFIX = ".party.unseen"

PARAMETERS_BYTES = 32
HELLO_TIMEOUT_S = 10.0
"""How long a listening side waits for the HELLO of a stream, seconds."""
STATUS_TIMEOUT_S = 10.0
"""How long a stream that is over may take to tell its peer so, seconds."""

_PARTY = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_WORD = re.compile(r"[!-~]{0,128}")
_log = logging.getLogger(__name__)

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", CHUNK_BYTES + 4096),
    ("grpc.max_send_message_length", CHUNK_BYTES + 4096),
    ("grpc.http2.max_frame_size", 4 << 20),
    ("grpc.http2.write_buffer_size", 4 << 20),
)


@dataclass(frozen=True)
class Hello:
    """What both sides of a session must agree on.

    Attributes:
        session: chosen by whoever starts the job or asks the product; unique between the two parties.
        operator: name of the protocol, such as ``lookup.table``.
        operator_version: its version.
        suite: the cryptographic suite, such as ``intl``.
        parameters: SHA-256 of the operator's parameters in canonical form, 32 bytes.
        product: the product asked, where there is one.
        scenario: the scenario under which the grant is.

    Raises:
        UsageError: text that is not up to 128 visible ASCII characters, or `parameters` of another length.
    """

    session: str
    operator: str
    operator_version: int
    suite: str
    parameters: bytes
    product: str = ""
    scenario: str = ""

    def __post_init__(self) -> None:
        for name in ("session", "operator", "suite", "product", "scenario"):
            if not _WORD.fullmatch(getattr(self, name)):
                raise UsageError(f"Hello.{name} goes into metadata: use up to 128 visible ASCII characters, no blanks.")
        if not self.session or not self.operator:
            raise UsageError("A Hello names its session and its operator: give both.")
        if not 0 <= self.operator_version < 1 << 32:
            raise UsageError("Hello.operator_version is a number from 0 to 2^32 - 1.")
        if len(self.parameters) != PARAMETERS_BYTES:
            raise UsageError(f"Hello.parameters is a SHA-256 of {PARAMETERS_BYTES} bytes, not {len(self.parameters)}.")


@dataclass(frozen=True)
class Credentials:
    """What proves a party's name and checks the others': its TLS key and certificate, and the root of all, in PEM.

    Attributes:
        name: the party; `cert_pem` holds it as ``<name>.party.unseen``.
        key_pem: the private key; not shown by ``repr``.
        cert_pem: the certificate, followed by any between it and the root.
        root_pem: the root certificate.
    """

    name: str
    key_pem: bytes
    cert_pem: bytes
    root_pem: bytes

    def __repr__(self) -> str:
        return f"Credentials(name={self.name!r})"


@dataclass(frozen=True)
class Caller:
    """Who opened a stream: name and certificate (DER), as TLS has proved; a Unix socket has no certificate."""

    name: str
    certificate: bytes | None


@dataclass(frozen=True)
class Accepted:
    """A session that somebody opened with this side."""

    caller: Caller
    hello: Hello
    lane: LinkLane

    @property
    def peer(self) -> str:
        """Name of the party that opened it."""
        return self.caller.name


@cache
def _keep_freed_memory() -> None:
    """Have glibc keep up to 64 MiB of freed memory for the next frames, instead of returning all above some 2 MiB.

    Otherwise the pages of every frame are given back, taken again and cleared: a tenth of the processor time of a bulk
    transfer. glibc takes the size of the largest block that was ever freed, up to 32 MiB, for the measure of what a
    program uses and throws away; so one such block is enough, and it is never touched. Other allocators ignore it.
    """
    block = bytearray((32 << 20) - (64 << 10))
    del block


def server_credentials(credentials: Credentials | Callable[[], Credentials]) -> grpc.ServerCredentials:
    """For a ``grpc.Server`` that requires of every client a certificate under the same root.

    A function is called at every handshake and returns what holds now, so that a renewed certificate needs no restart;
    it should be quick. Streams that are open stay open. While it raises, the last credentials that it gave serve on.
    """
    current = credentials if callable(credentials) else lambda: credentials
    used = current()

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal used
        present = current()
        if present == used:
            return None
        used = present
        return _configuration(used)

    # The stubs do not know that the function may return None, for no change.
    fetch = cast(Callable[[], grpc.ServerCertificateConfiguration], changed)
    return grpc.dynamic_ssl_server_credentials(_configuration(used), fetch, require_client_authentication=True)


def _configuration(credentials: Credentials) -> grpc.ServerCertificateConfiguration:
    pair = (credentials.key_pem, credentials.cert_pem)
    return grpc.ssl_server_certificate_configuration([pair], credentials.root_pem)


def server_options() -> list[tuple[str, int]]:
    """Options for a ``grpc.Server`` that carries exchanges: message sizes and keep-alive."""
    return [
        *_OPTIONS,
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.so_reuseport", 0),
    ]


def open_channel(
    address: str, peer: str, credentials: Credentials | None, *, keepalive_s: float = 20.0
) -> grpc.Channel:
    """A gRPC channel to `address` that only `peer` can serve; ``unix:`` addresses have no TLS.

    Raises:
        UsageError: credentials with a Unix socket, or none without.
    """
    _keep_freed_memory()
    options: list[tuple[str, int | str]] = [
        *_OPTIONS,
        ("grpc.keepalive_time_ms", round(keepalive_s * 1000)),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
        ("grpc.enable_http_proxy", 0),
    ]
    if address.startswith("unix:"):
        if credentials is not None:
            raise UsageError("A Unix socket has no TLS: leave out the credentials, or give a TCP address.")
        return grpc.insecure_channel(address, options=[*options, ("grpc.default_authority", "localhost")])
    if credentials is None:
        raise UsageError(f"{address} is reached by TLS only: give credentials, or a unix: address.")
    options.append(("grpc.ssl_target_name_override", peer + NAME_SUFFIX))
    tls = grpc.ssl_channel_credentials(credentials.root_pem, credentials.key_pem, credentials.cert_pem)
    return grpc.secure_channel(address, tls, options=options)


# -- words: the Hello in a stream's metadata


@dataclass(frozen=True)
class Words:
    """What a stream's metadata says of it: the Hello, and from whom to whom."""

    hello: Hello
    sender: str
    receiver: str


def _metadata(words: Words) -> tuple[tuple[str, str], ...]:
    hello = words.hello
    return (
        ("unseen-session", hello.session),
        ("unseen-operator", hello.operator),
        ("unseen-operator-version", str(hello.operator_version)),
        ("unseen-suite", hello.suite),
        ("unseen-parameters", hello.parameters.hex()),
        ("unseen-product", hello.product),
        ("unseen-scenario", hello.scenario),
        ("unseen-from", words.sender),
        ("unseen-to", words.receiver),
    )


def _words(context: grpc.ServicerContext) -> Words:
    """Parse the metadata of an arriving stream. Raises UsageError for what cannot be."""
    given = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
    try:
        hello = Hello(
            session=given["unseen-session"],
            operator=given["unseen-operator"],
            operator_version=int(given["unseen-operator-version"]),
            suite=given["unseen-suite"],
            parameters=bytes.fromhex(given["unseen-parameters"]),
            product=given["unseen-product"],
            scenario=given["unseen-scenario"],
        )
        words = Words(hello, given["unseen-from"], given["unseen-to"])
    except (KeyError, ValueError):
        raise UsageError(
            "the stream's metadata lacks words of the Hello: dial with mpc.transport.grpc.connect"
        ) from None
    if not (_PARTY.fullmatch(words.sender) and _PARTY.fullmatch(words.receiver)):
        raise UsageError("a party's name has 1 to 63 lower-case letters, digits and hyphens: rename the party")
    return words


def _hello_frame(hello: Hello, *, ack: int, resume: bool) -> bytes:
    message = frame_pb2.Hello(
        wire_version=WIRE_VERSION,
        session=hello.session,
        operator=hello.operator,
        operator_version=hello.operator_version,
        suite=hello.suite,
        parameters=hello.parameters,
        product=hello.product,
        scenario=hello.scenario,
        resume=resume,
    )
    return encode(Frame(HELLO, ack=ack, payload=message.SerializeToString()))


@dataclass(frozen=True)
class _Greeting:
    hello: Hello
    ack: int
    resume: bool


def _greeting(data: bytes, peer: str) -> _Greeting:
    """Parse a HELLO frame. Raises PeerError for anything else."""

    def bad(what: str) -> PeerError:
        return PeerError(what, party=peer, protocol="transport", step="Hello")

    try:
        frame = decode(data)
        if frame.kind != HELLO:
            raise bad("the first frame is no HELLO")
        message = frame_pb2.Hello.FromString(bytes(frame.payload))
    except (MalformedFrame, DecodeError):
        raise bad("malformed HELLO") from None
    if message.wire_version != WIRE_VERSION:
        raise UsageError(
            f"{peer} speaks wire version {message.wire_version}, this side {WIRE_VERSION}: "
            "install the same release on both sides."
        )
    try:
        hello = Hello(
            session=message.session,
            operator=message.operator,
            operator_version=message.operator_version,
            suite=message.suite,
            parameters=message.parameters,
            product=message.product,
            scenario=message.scenario,
        )
    except UsageError as error:
        raise bad(f"HELLO that cannot be: {error}") from None
    return _Greeting(hello, frame.ack, message.resume)


def _disagreement(me: str, mine: Hello, peer: str, theirs: Hello) -> str:
    """Names the first field in which two Hellos differ; empty where they agree."""
    for field in fields(Hello):
        a, b = getattr(mine, field.name), getattr(theirs, field.name)
        if a != b:
            a, b = (v.hex() if isinstance(v, bytes) else repr(v) for v in (a, b))
            return (
                f"{me} and {peer} disagree on {field.name}: {a} at {me}, {b} at {peer}. Start both sides with the same."
            )
    return ""


# -- refusals: how an error of ours travels as a gRPC status


def _refuse(context: grpc.ServicerContext, error: MpcError) -> NoReturn:
    """End an arriving stream with `error`, so that the dialling side raises the same."""
    if isinstance(error, PolicyError):
        status, code, message, remedy = grpc.StatusCode.PERMISSION_DENIED, error.code, error.reason, error.remedy
    elif isinstance(error, UsageError):
        status, code, message, remedy = grpc.StatusCode.FAILED_PRECONDITION, "usage", str(error), ""
    elif isinstance(error, ChannelClosed):
        status, code, message, remedy = grpc.StatusCode.NOT_FOUND, "closed", str(error), ""
    else:
        status, code, message, remedy = grpc.StatusCode.INVALID_ARGUMENT, "peer", str(error), ""
    context.set_trailing_metadata(
        (
            ("unseen-code", code),
            ("unseen-message-bin", message.encode()),
            ("unseen-remedy-bin", remedy.encode()),
        )
    )
    context.abort(status, message.encode("ascii", "replace").decode())


def _refusal(call: grpc.Call, peer: str) -> MpcError | None:
    """The error that a stream's end stands for; None where the connection broke and dialling again may help."""
    status = call.code()
    given: dict[str, str | bytes] = {str(key): value for key, value in call.trailing_metadata() or ()}

    def text(key: str) -> str:
        value = given.get(key, b"")
        return plain(value.decode(errors="replace") if isinstance(value, bytes) else value)

    message = text("unseen-message-bin") or plain(call.details() or "", 4000) or status.name
    if status is grpc.StatusCode.PERMISSION_DENIED:
        code = code_or("refused", text("unseen-code"))
        return PolicyError(message, code=code, remedy=text("unseen-remedy-bin"))
    if status is grpc.StatusCode.FAILED_PRECONDITION:
        return UsageError(message)
    if status is grpc.StatusCode.NOT_FOUND:
        return ChannelClosed(message)
    if status is grpc.StatusCode.UNAVAILABLE:
        if re.search(r"SSL_ERROR_SSL|Verification Check failed|peer certificate", message):
            return PeerError(
                f"could not prove to be {peer}; check the address, and that both certificates are of one root",
                party=peer,
                protocol="transport",
                step="TLS",
            )
        return None
    if status is grpc.StatusCode.CANCELLED:
        return None
    return PeerError(message, party=peer, protocol="transport", step=status.name)


# -- dialling


class Connection:
    """A session that this side has opened. ``lane`` is for a ``Channel``; ``close`` flushes and ends the session."""

    def __init__(
        self,
        address: str,
        link: Link,
        hello: Hello,
        channel: grpc.Channel,
        *,
        resume_window_s: float,
        connect_timeout_s: float,
    ) -> None:
        self._address = address
        self._link = link
        self._hello = hello
        self._channel = channel
        self._resume_window_s = resume_window_s
        self._connect_timeout_s = connect_timeout_s
        self._opened = threading.Event()
        self._failure: MpcError | None = None
        self._call: grpc.Call | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"link to {link.peer}", daemon=True)

    @property
    def lane(self) -> LinkLane:
        """The session's first lane."""
        return self._link.lane

    @property
    def peer(self) -> str:
        """Name of the other party."""
        return self._link.peer

    @property
    def hello(self) -> Hello:
        """What both sides agreed on."""
        return self._hello

    def close(self, reason: str = "", *, linger_s: float = 5.0) -> None:
        """End the session. Waits up to `linger_s` until the peer has everything that was sent."""
        self._link.lane.close(reason)
        self._link.finished.wait(linger_s)
        self._closing.set()
        if self._call is not None and not self._link.finished.is_set():
            self._call.cancel()
        self._thread.join(linger_s)
        self._channel.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(kind.__name__ if kind else "")

    def _open(self) -> None:
        self._thread.start()
        self._opened.wait()
        if self._failure is not None:
            self._channel.close()
            raise self._failure

    def _run(self) -> None:
        deadline = time.monotonic() + self._connect_timeout_s
        pause_s = 0.02
        while not self._closing.is_set() and not self._link.finished.is_set():
            lost = self._stream()
            if isinstance(lost, MpcError):
                self._fail(lost)
                return
            if lost.attached:
                deadline, pause_s = time.monotonic() + self._resume_window_s, 0.02
            if time.monotonic() >= deadline:
                self._fail(self._gone(lost.details))
                return
            self._closing.wait(min(pause_s, max(0.0, deadline - time.monotonic())))
            pause_s = min(2 * pause_s, 0.5)

    def _gone(self, details: str) -> ChannelClosed:
        if self._opened.is_set():
            return ChannelClosed(f"the connection to {self.peer} was lost for {self._resume_window_s:g} s: {details}")
        # TLS 1.3 tells a client nothing of a certificate that the server does not take.
        hint = (
            "; if others reach it, its root is not that of this side's certificate"
            if "Socket closed" in details
            else ""
        )
        return ChannelClosed(
            f"{self.peer} cannot be reached at {self._address} for {self._connect_timeout_s:g} s: {details}{hint}"
        )

    def _fail(self, error: MpcError) -> None:
        if not self._opened.is_set():
            self._failure = error
            self._opened.set()
        self._link.fail(lambda: _again(error))

    def _stream(self) -> MpcError | _Lost:
        """Open one stream and carry the session on it until it ends. Returns why it ended."""
        stream = 0
        attached = threading.Event()
        first = _hello_frame(self._hello, ack=self._link.ack, resume=self._opened.is_set())

        def outgoing() -> Iterator[bytes]:
            yield first
            attached.wait()
            while (data := self._link.next_frame(stream)) is not None:
                yield data

        words = Words(self._hello, self._link.me, self.peer)
        exchange: grpc.StreamStreamMultiCallable[bytes, bytes] = self._channel.stream_stream(METHOD)
        call = exchange(outgoing(), metadata=_metadata(words))
        self._call = call
        details = "the stream ended"
        try:
            greeting = _greeting(next(call), self.peer)
            disagreement = _disagreement(self._link.me, self._hello, self.peer, greeting.hello)
            if disagreement:
                return UsageError(disagreement)
            stream = self._link.attach(greeting.ack)
            attached.set()
            self._opened.set()
            for data in call:
                self._link.receive(stream, data)
        except StopIteration:
            pass
        except grpc.RpcError:
            refusal = _refusal(call, self.peer)
            if refusal is not None:
                return refusal
            details = call.details() or call.code().name
        except PeerError as error:
            if stream:
                self._link.finished.wait(1.0)  # the writer sends the CLOSE that says what was wrong
            return error
        except MpcError as error:
            return error
        finally:
            was_attached = self._link.detach(stream) if stream else False
            attached.set()
            call.cancel()
        return _Lost(details, was_attached)


@dataclass(frozen=True)
class _Lost:
    details: str
    attached: bool


def _again(error: MpcError) -> MpcError:
    """A fresh error of the same content, because one object raised in several threads would gather their traces."""
    copy = type(error).__new__(type(error))
    copy.args = error.args
    copy.__dict__.update(error.__dict__)
    return copy


def connect(
    address: str,
    *,
    me: str,
    peer: str,
    hello: Hello,
    credentials: Credentials | None,
    resume_window_s: float = 30.0,
    connect_timeout_s: float = 10.0,
    keepalive_s: float = 20.0,
) -> Connection:
    """Open a session with `peer`.

    Args:
        address: ``host:port`` of the peer or of its node; ``unix:PATH`` of one's own node, which then forwards.
        me: this party's name; with credentials, the one in the certificate.
        peer: the party to reach.
        hello: what the session is about; the peer compares it with its own.
        credentials: for TLS; None with a Unix socket.
        resume_window_s: how long a lost connection is dialled again, seconds.
        connect_timeout_s: how long the first connection is tried, seconds.
        keepalive_s: how often a silent connection is probed, seconds.

    Raises:
        UsageError: the two Hellos differ, or the arguments do not fit together.
        PolicyError: the peer or a node on the way refuses the session.
        PeerError: whoever answers is not `peer`, or does not speak this protocol.
        ChannelClosed: nobody can be reached within `connect_timeout_s`.
    """
    for name in (me, peer):
        if not _PARTY.fullmatch(name):
            raise UsageError(f"{name!r} is no party's name: use 1 to 63 lower-case letters, digits and hyphens.")
    if credentials is not None and credentials.name != me:
        raise UsageError(f"The credentials are of {credentials.name}, not of {me}: pass me={credentials.name!r}.")
    link = Link(me=me, peer=peer, protocol=hello.operator)
    channel = open_channel(address, peer, credentials, keepalive_s=keepalive_s)
    connection = Connection(
        address, link, hello, channel, resume_window_s=resume_window_s, connect_timeout_s=connect_timeout_s
    )
    connection._open()
    return connection


# -- listening


def _caller(context: grpc.ServicerContext) -> Caller | None:
    """Whom the stream's TLS certificate names, None on a Unix socket. Raises PolicyError for one of no party."""
    auth = cast(Mapping[str, Sequence[bytes]], context.auth_context())  # grpc's stubs take the values for bytes
    if not auth.get("x509_pem_cert"):
        return None
    certificate = x509.load_pem_x509_certificate(auth["x509_pem_cert"][0])
    try:
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [n.removesuffix(NAME_SUFFIX) for n in san.get_values_for_type(x509.DNSName) if n.endswith(NAME_SUFFIX)]
    except x509.ExtensionNotFound:
        names = []
    if len(names) != 1 or not _PARTY.fullmatch(names[0]):
        raise PolicyError(f"the certificate does not name one party as <name>{NAME_SUFFIX}", code="certificate-name")
    return Caller(names[0], certificate.public_bytes(Encoding.DER))


def _check_words(context: grpc.ServicerContext, me: str | None, *, local: bool) -> tuple[Caller, Words]:
    """Who opened an arriving stream and what it is about. Raises MpcError for what does not fit together."""
    words = _words(context)
    caller = _caller(context)
    if caller is None:
        if not local:
            raise PolicyError("a certificate is required", code="certificate-missing")
        caller = Caller(words.sender, None)
    if caller.name != words.sender:
        raise PolicyError(
            f"the certificate is of {caller.name}, the stream says {words.sender}", code="certificate-name"
        )
    if me is not None and words.receiver != me:
        raise UsageError(f"this is {me}, the stream is for {words.receiver}: check the address")
    return caller, words


class _Session:
    """A session on the listening side, over all its streams."""

    def __init__(self, link: Link, caller: Caller, hello: Hello) -> None:
        self.link = link
        self.caller = caller
        self.hello = hello
        self.context: grpc.ServicerContext | None = None  # of the stream that carries it
        self.timer: threading.Timer | None = None
        self.refusal: MpcError | None = None

    @property
    def waits(self) -> bool:
        """Whether it has no connection and is not over, or was begun anew while it had none."""
        return self.refusal is not None or not (self.link.attached or self.link.finished.is_set())


def _log_refusal(caller: Caller | None, error: MpcError) -> None:
    _log.warning("refused a stream of %s: %s", caller.name if caller else "an unknown caller", error)


class Acceptor:
    """The listening side without its server: sessions by (peer, session id), resumed within the window.

    Args:
        accept: called in a thread of its own for every new session; the session ends when it returns. Errors that it
            raises are logged, and their type is the reason that the peer gets.
        me: this party's name; streams for anybody else are refused.
        answer: the Hello that this side holds for (caller, their Hello); what differs ends the session on both sides.
            By default theirs. It may raise PolicyError or UsageError to refuse; it is called for every stream, so that
            a certificate revoked meanwhile does not resume.
        refused: called with who called, if that is known, and the error, for every stream that is refused.
        local: whether callers come through a Unix socket, without certificates.
        resume_window_s: how long a session outlives its connection, seconds.
        sessions_per_peer: how many sessions, with or without a connection, one party may have.
    """

    def __init__(
        self,
        accept: Callable[[Accepted], None],
        *,
        me: str,
        answer: Callable[[Caller, Hello], Hello] = lambda _, hello: hello,
        refused: Callable[[Caller | None, MpcError], None] = _log_refusal,
        local: bool = False,
        resume_window_s: float = 30.0,
        sessions_per_peer: int = 64,
    ) -> None:
        self._accept = accept
        self._me = me
        self._answer = answer
        self._refused = refused
        self._local = local
        self._resume_window_s = resume_window_s
        self._sessions_per_peer = sessions_per_peer
        self._lock = threading.Lock()
        self._sessions: dict[tuple[str, str], _Session] = {}
        self._closed = False

    def add_to(self, server: grpc.Server) -> None:
        """Serve the RPC ``Exchange`` on `server`."""
        server.add_generic_rpc_handlers((_handler(self._exchange),))

    def cut(self, peer: str, error: MpcError) -> int:
        """End all sessions of `peer` with `error`, which the peer raises too. Returns how many there were."""
        with self._lock:
            sessions = [s for (name, _), s in self._sessions.items() if name == peer]
        for session in sessions:
            session.refusal = error
            self._forget(session)
            session.link.fail(lambda: _again(error))
            if session.context is not None:
                _end_soon(session.context)
        return len(sessions)

    def close(self, reason: str = "", *, linger_s: float = 5.0) -> None:
        """Accept no more, end every session with `reason`, and wait up to `linger_s` until the peers know."""
        with self._lock:
            self._closed = True
            sessions = list(self._sessions.values())
        deadline = time.monotonic() + linger_s
        for session in sessions:
            session.link.lane.close(reason)
        for session in sessions:
            # Where the stream goes meanwhile, as with a peer that has heard all and hung up, nobody will finish.
            while session.link.attached and (left := deadline - time.monotonic()) > 0:
                if session.link.finished.wait(min(left, 0.05)):
                    break
            self._forget(session)

    def _exchange(self, incoming: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Serve one stream: this thread sends, another receives."""
        caller = None
        try:
            caller, words = _check_words(context, self._me, local=self._local)
            mine = self._answer(caller, words.hello)
            greeting = _first(incoming, context, caller.name)
            if greeting.hello != words.hello:
                raise PeerError("HELLO and metadata differ", party=caller.name, protocol="transport", step="Hello")
        except MpcError as error:
            self._refused(caller, error)
            _refuse(context, error)
        disagreement = _disagreement(self._me, mine, caller.name, greeting.hello)
        if disagreement:
            self._refused(caller, UsageError(disagreement))  # first: the other side may hang up on reading what follows
            yield _hello_frame(mine, ack=0, resume=False)  # so that it can name the field too
            _refuse(context, UsageError(disagreement))
        try:
            session, stream = self._session(caller, greeting)
        except MpcError as error:
            self._refused(caller, error)
            _refuse(context, error)
        link = session.link
        session.context = context
        context.add_callback(lambda: self._lost(session, stream))
        if not context.is_active():  # it had gone before the callback was there
            self._lost(session, stream)
            return
        yield _hello_frame(mine, ack=link.ack, resume=greeting.resume)
        reader = threading.Thread(
            target=self._read, args=(session, stream, incoming), name=f"frames from {caller.name}", daemon=True
        )
        reader.start()
        while (data := link.next_frame(stream)) is not None:
            yield data
        if session.refusal is not None:
            _refuse(context, session.refusal)
        if link.finished.is_set():
            self._forget(session)

    def _session(self, caller: Caller, greeting: _Greeting) -> tuple[_Session, int]:
        """Find or make the session of a stream, and attach the stream to it."""
        key = (caller.name, greeting.hello.session)
        with self._lock:
            session = self._sessions.get(key)
            if greeting.resume:
                if session is None or session.hello != greeting.hello:
                    raise ChannelClosed(f"{self._me} has no session {greeting.hello.session} to resume")
            else:
                if self._closed:
                    raise PolicyError(f"{self._me} is stopping", code="stopping", remedy="Try again later.")
                if session is not None and session.waits:
                    # Whoever greets anew has lost its half; it is accepted once this side has let go of the other half.
                    anew = ChannelClosed(f"{caller.name} has begun session {greeting.hello.session} anew")
                    session.refusal = anew
                    session.link.fail(lambda: _again(anew))
                    raise _again(anew)
                if session is not None:
                    raise UsageError(f"session {greeting.hello.session} exists already: choose another identifier")
                if sum(name == caller.name for name, _ in self._sessions) >= self._sessions_per_peer:
                    raise PolicyError(
                        f"{caller.name} has {self._sessions_per_peer} sessions",
                        code="too-many-sessions",
                        remedy="Close sessions that are no longer needed.",
                    )
                link = Link(me=self._me, peer=caller.name, protocol=greeting.hello.operator)
                session = self._sessions[key] = _Session(link, caller, greeting.hello)
            try:
                stream = session.link.attach(greeting.ack)
            except PeerError:
                self._sessions.pop(key)
                raise
            if session.timer is not None:
                session.timer.cancel()
        if not greeting.resume:
            threading.Thread(target=self._serve, args=(session,), name=f"session of {caller.name}", daemon=True).start()
        return session, stream

    def _serve(self, session: _Session) -> None:
        reason = ""
        try:
            self._accept(Accepted(session.caller, session.hello, session.link.lane))
        except MpcError as error:
            reason = type(error).__name__
            level = (
                logging.INFO if isinstance(error, ChannelClosed) else logging.WARNING
            )  # peers may leave when they like
            _log.log(level, "session %s of %s: %s", session.hello.session, session.caller.name, error)
        except Exception as error:
            reason = type(error).__name__
            _log.exception("session %s of %s", session.hello.session, session.caller.name)
        session.link.lane.close(reason)
        if not session.link.drain(self._resume_window_s):  # the peer takes nothing: what is meant for it is dropped
            self._forget(session)
            session.link.fail(lambda: ChannelClosed(f"{session.caller.name} has not taken what was sent"))
            if session.context is not None:
                session.context.cancel()
        elif session.refusal is not None:
            self._forget(session)

    def _read(self, session: _Session, stream: int, incoming: Iterator[bytes]) -> None:
        """Drain one stream for as long as it lives."""
        try:
            for data in incoming:
                session.link.receive(stream, data)
        except PeerError as error:
            _log.warning("session %s: %s", session.hello.session, error)
            return  # the link tells the peer why, and the writer ends the stream then
        except Exception:  # grpc raises a bare RpcError of no type of its own when the stream has gone
            _log.debug("a stream of session %s broke", session.hello.session)
        self._lost(session, stream)

    def _lost(self, session: _Session, stream: int) -> None:
        """A stream has ended; unless another has replaced it or all is said, the session waits for the next."""
        if session.refusal is not None:
            return  # cut, and forgotten then; or begun anew, and forgotten when it has been served
        if session.link.finished.is_set():
            self._forget(session)
        elif session.link.detach(stream):
            timer = threading.Timer(self._resume_window_s, self._expire, (session,))
            timer.daemon = True
            with self._lock:
                session.timer = timer
                timer.start()

    def _expire(self, session: _Session) -> None:
        if not session.link.attached and session.refusal is None:
            peer, window_s = session.caller.name, self._resume_window_s
            self._forget(session)
            session.link.fail(lambda: ChannelClosed(f"the connection to {peer} was lost for {window_s:g} s"))

    def _forget(self, session: _Session) -> None:
        with self._lock:
            key = (session.caller.name, session.hello.session)
            if self._sessions.get(key) is session:
                del self._sessions[key]
            if session.timer is not None:
                session.timer.cancel()


def _end_soon(context: grpc.ServicerContext) -> None:
    """Break a stream that has to end, should its peer not even take the status that says so."""
    timer = threading.Timer(STATUS_TIMEOUT_S, context.cancel)
    timer.daemon = True
    if context.add_callback(timer.cancel):  # not where it has ended already
        timer.start()


def _first(incoming: Iterator[bytes], context: grpc.ServicerContext, peer: str) -> _Greeting:
    """The HELLO of an arriving stream, which has to come soon: a silent stream would hold a thread for nothing."""
    timer = threading.Timer(HELLO_TIMEOUT_S, context.cancel)
    timer.daemon = True
    timer.start()
    try:
        return _greeting(next(incoming), peer)
    except MpcError:
        raise
    except Exception:
        raise PeerError("no HELLO came", party=peer, protocol="transport", step="Hello") from None
    finally:
        timer.cancel()


def _handler(
    exchange: Callable[[Iterator[bytes], grpc.ServicerContext], Iterator[bytes]],
) -> grpc.GenericRpcHandler:
    """The RPC ``Exchange`` with bytes in and out: no serializer, so gRPC hands frames over as they came."""
    return grpc.method_handlers_generic_handler(SERVICE, {"Exchange": grpc.stream_stream_rpc_method_handler(exchange)})


class Listener:
    """An ``Acceptor`` with a server of its own.

    Args:
        address: ``host:port``, where port 0 chooses one; or ``unix:PATH``.
        accept: as for ``Acceptor``, like the other options.
        me: this party's name.
        credentials: for TLS, or a function as for ``server_credentials``; None with a Unix socket.
        streams: how many streams may be open at once; more are refused.

    Raises:
        UsageError: the address cannot be had, or the credentials do not fit it.
    """

    def __init__(
        self,
        address: str,
        accept: Callable[[Accepted], None],
        *,
        me: str,
        credentials: Credentials | Callable[[], Credentials] | None,
        answer: Callable[[Caller, Hello], Hello] = lambda _, hello: hello,
        refused: Callable[[Caller | None, MpcError], None] = _log_refusal,
        resume_window_s: float = 30.0,
        sessions_per_peer: int = 64,
        streams: int = 256,
    ) -> None:
        self._acceptor = Acceptor(
            accept,
            me=me,
            answer=answer,
            refused=refused,
            local=credentials is None,
            resume_window_s=resume_window_s,
            sessions_per_peer=sessions_per_peer,
        )
        self._server = make_server(streams=streams)
        self._acceptor.add_to(self._server)
        self.address = bind(self._server, address, credentials)
        self._server.start()

    def wait(self, timeout_s: float | None = None) -> None:
        """Block until the listener is closed, or for `timeout_s` seconds."""
        self._server.wait_for_termination(timeout_s)

    def cut(self, peer: str, error: MpcError) -> int:
        """See ``Acceptor.cut``."""
        return self._acceptor.cut(peer, error)

    def close(self, reason: str = "", *, linger_s: float = 5.0) -> None:
        """Stop accepting, end all sessions with `reason`, and free the address."""
        self._acceptor.close(reason, linger_s=linger_s)
        self._server.stop(grace=0.2).wait()

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(kind.__name__ if kind else "")


class _DaemonThreads:
    """An executor that starts a daemon thread for each call.

    The threads of Python's own executor are waited for when a process ends, so a stream that is still open would keep a
    process alive that has nothing more to do. How many there are is bounded by the server's number of calls.
    """

    def submit(self, function: Callable[..., object], /, *arguments: object) -> Future[object]:
        """Run `function` in a thread of its own."""
        future: Future[object] = Future()

        def run() -> None:
            try:
                future.set_result(function(*arguments))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=run, name="call", daemon=True).start()
        return future


def make_server(*, streams: int, extra_threads: int = 8) -> grpc.Server:
    """A ``grpc.Server`` with a thread per stream and `extra_threads` for other calls; what is more is refused."""
    _keep_freed_memory()
    pool = cast(ThreadPoolExecutor, _DaemonThreads())  # gRPC only submits to it
    return grpc.server(pool, options=server_options(), maximum_concurrent_rpcs=streams + extra_threads)


def bind(server: grpc.Server, address: str, credentials: Credentials | Callable[[], Credentials] | None) -> str:
    """Have `server` listen at `address`; returns the address with the port that it got.

    The credentials are as for ``server_credentials``, None with a Unix socket.

    Raises:
        UsageError: as for ``Listener``.
    """
    if (credentials is None) != address.startswith("unix:"):
        raise UsageError(f"{address}: give credentials with a TCP address, and none with a unix: address.")
    try:
        if credentials is None:
            server.add_insecure_port(address)
            return address
        port = server.add_secure_port(address, server_credentials(credentials))
    except RuntimeError:
        port = 0
    if not port:
        raise UsageError(f"Cannot listen at {address}: choose a free port, and a host name of this machine.")
    return f"{address.rpartition(':')[0]}:{port}"


# -- relaying


@dataclass(frozen=True)
class Target:
    """Where a relay forwards a stream to.

    Attributes:
        address: ``unix:PATH`` of a worker, or ``host:port`` of the next node.
        credentials: for TLS to the next node; None with a Unix socket.
    """

    address: str
    credentials: Credentials | None = None


@dataclass(frozen=True)
class Usage:
    """What one stream through a relay came to; a session that was resumed has several.

    Attributes:
        words: what the stream was about.
        bytes_forth: frames from the side that dialled, bytes.
        bytes_back: frames to it, bytes.
        seconds: how long it was open.
        error: how it was refused or broken; empty for a regular end.
    """

    words: Words
    bytes_forth: int
    bytes_back: int
    seconds: float
    error: str


class _Flow:
    """One stream through a relay."""

    def __init__(self, caller: Caller, words: Words) -> None:
        self.caller = caller
        self.words = words
        self.call: grpc.Call | None = None
        self.forth = 0
        self.back = 0
        self.refusal: MpcError | None = None
        self.started = time.monotonic()


class Relay:
    """Forwards streams without reading them: a node between the network and its workers.

    Args:
        gate: called when a stream opens, with who opened it and its words; says where it goes, or raises PolicyError,
            which the dialling side then raises. Called again when a session resumes.
        me: on the side of the network, this party's name: streams for another are refused. None on the side of the
            workers, whose streams are for other parties.
        local: whether callers come through a Unix socket; their name is then what they say.
        ended: called with the ``Usage`` of each stream when it ends, in the stream's thread.
    """

    def __init__(
        self,
        gate: Callable[[Caller, Words], Target],
        *,
        me: str | None,
        local: bool = False,
        ended: Callable[[Usage], None] = lambda _: None,
    ) -> None:
        self._gate = gate
        self._me = me
        self._local = local
        self._ended = ended
        self._lock = threading.Lock()
        self._channels: dict[tuple[str, str, Credentials | None], grpc.Channel] = {}
        self._flows: set[_Flow] = set()

    def add_to(self, server: grpc.Server) -> None:
        """Serve the RPC ``Exchange`` on `server` by forwarding it."""
        server.add_generic_rpc_handlers((_handler(self._exchange),))

    def usage(self) -> list[Usage]:
        """What the streams that are open now have come to so far."""
        with self._lock:
            return [_usage(flow, "") for flow in self._flows]

    def cut(self, peer: str, error: MpcError) -> int:
        """End all streams from `peer`, and those of own workers to it, with `error`, which whoever dialled raises.

        Returns how many there were.
        """
        with self._lock:
            flows = [flow for flow in self._flows if peer in (flow.caller.name, flow.words.receiver)]
        for flow in flows:
            flow.refusal = error
            if flow.call is not None:
                flow.call.cancel()
        return len(flows)

    def forget(self, address: str) -> None:
        """Close the connection to a target that is gone for good; otherwise each would be kept for the next stream."""
        with self._lock:
            gone = [key for key in self._channels if key[0] == address]
            channels = [self._channels.pop(key) for key in gone]
        for channel in channels:
            channel.close()

    def close(self) -> None:
        """Close the connections to workers and nodes. The servers are their owner's to stop."""
        with self._lock:
            channels = list(self._channels.values())
            self._channels.clear()
        for channel in channels:
            channel.close()

    def _exchange(self, incoming: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        try:
            caller, words = _check_words(context, self._me, local=self._local)
            target = self._gate(caller, words)
        except MpcError as error:
            _refuse(context, error)
        flow = _Flow(caller, words)

        def forth() -> Iterator[bytes]:
            try:
                for data in incoming:
                    flow.forth += len(data)
                    yield data
            except Exception:  # grpc's way to say that the stream has gone; the other half ends by the callback below
                return

        metadata = _metadata(replace(words, sender=caller.name))
        onward: grpc.StreamStreamMultiCallable[bytes, bytes] = self._channel(target, words.receiver).stream_stream(
            METHOD
        )
        call = onward(forth(), metadata=metadata)
        flow.call = call
        with self._lock:
            self._flows.add(flow)
        problem = ""
        try:
            context.add_callback(lambda: _cancel(call))
            call.add_callback(lambda: _end_soon(context))
            if not context.is_active():  # it had gone before the callback was there
                call.cancel()
            for data in call:
                flow.back += len(data)
                yield data
        except grpc.RpcError:
            problem = call.code().name
            if flow.refusal is not None:
                _refuse(context, flow.refusal)
            own = tuple((k, v) for k, v in call.trailing_metadata() or () if k.startswith("unseen-"))
            context.set_trailing_metadata(own)
            context.abort(call.code(), call.details() or problem)
        finally:
            call.cancel()
            with self._lock:
                self._flows.discard(flow)
            self._ended(_usage(flow, flow.refusal.__class__.__name__ if flow.refusal else problem))

    def _channel(self, target: Target, peer: str) -> grpc.Channel:
        """The connection to a target, opened once and shared by the streams that go there."""
        key = (target.address, peer, target.credentials)
        with self._lock:
            if key not in self._channels:
                self._channels[key] = open_channel(target.address, peer, target.credentials)
            return self._channels[key]


def _cancel(call: grpc.Call) -> None:
    call.cancel()


def _usage(flow: _Flow, error: str) -> Usage:
    return Usage(flow.words, flow.forth, flow.back, time.monotonic() - flow.started, error)
