"""Two ends of a lane over each transport, and a TCP proxy that cuts connections."""

from __future__ import annotations

import queue
import select
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mpc.channel import Lane
from mpc.transport import grpc, local, record, wan
from tests.transport.certificates import Authority, authority, credentials

HELLO = grpc.Hello("session-1", "test", 1, "intl", bytes(32), product="marriage-status", scenario="loan")
TRANSPORTS = ("local", "wan", "record", "grpc", "grpc-unix", "grpc-relays")


@dataclass(frozen=True)
class Parties:
    """A root, and credentials of the bank, which dials, and the tax bureau, which listens."""

    root: Authority
    bank: grpc.Credentials
    tax: grpc.Credentials


def make_parties() -> Parties:
    root = authority()
    return Parties(root, credentials(root, "bank"), credentials(root, "tax"))


class Accepting:
    """Hands each accepted session to the test and keeps it open until the test is over."""

    def __init__(self) -> None:
        self._sessions: queue.SimpleQueue[grpc.Accepted] = queue.SimpleQueue()
        self._over = threading.Event()

    def __call__(self, accepted: grpc.Accepted) -> None:
        self._sessions.put(accepted)
        self._over.wait(60)

    def next(self) -> grpc.Accepted:
        return self._sessions.get(timeout=10)

    def stop(self) -> None:
        self._over.set()


@contextmanager
def listening(
    address: str, credentials: grpc.Credentials | None, *, resume_window_s: float = 30.0, sessions_per_peer: int = 64
) -> Iterator[tuple[grpc.Listener, Accepting]]:
    """The tax bureau listens."""
    accepting = Accepting()
    listener = grpc.Listener(
        address,
        accepting,
        me="tax",
        credentials=credentials,
        resume_window_s=resume_window_s,
        sessions_per_peer=sessions_per_peer,
    )
    try:
        yield listener, accepting
    finally:
        listener.close("test over", linger_s=0.2)
        accepting.stop()


@contextmanager
def relaying(gate: grpc.Target, address: str, me: str | None, own: grpc.Credentials | None) -> Iterator[str]:
    """One party's node, which forwards everything to one target; gives its address."""
    relay = grpc.Relay(lambda _caller, _words: gate, me=me, local=own is None)
    server = grpc.make_server(streams=8)
    relay.add_to(server)
    bound = grpc.bind(server, address, own)
    server.start()
    try:
        yield bound
    finally:
        server.stop(0).wait()
        relay.close()


@contextmanager
def both_nodes(parties: Parties, folder: Path, *, proxy: Proxy | None = None) -> Iterator[tuple[str, Accepting]]:
    """Worker of the tax bureau, its node, (a proxy,) the bank's node; gives the address for the bank's worker."""
    with ExitStack() as stack:
        worker = f"unix:{folder / 'worker.sock'}"
        _, accepting = stack.enter_context(listening(worker, None))
        port = stack.enter_context(relaying(grpc.Target(worker), "127.0.0.1:0", "tax", parties.tax))
        if proxy is not None:
            port = proxy.start(port)
            stack.callback(proxy.stop)
        onward = grpc.Target(port, parties.bank)
        yield stack.enter_context(relaying(onward, f"unix:{folder / 'node.sock'}", None, None)), accepting


@contextmanager
def connected(kind: str, parties: Parties) -> Iterator[tuple[Lane, Lane]]:
    """The bank's end and the tax bureau's end of a lane."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if kind == "local":
            yield local.pair("bank", "tax")
        elif kind == "wan":
            lanes = wan.Network(wan.Line(0.01, 1e8)).mesh(["bank", "tax"])
            yield lanes["bank", "tax"], lanes["tax", "bank"]
        elif kind == "record":
            bank, tax = (record.Recorder(lane, folder / lane.me) for lane in local.pair("bank", "tax"))
            stack.enter_context(bank)
            stack.enter_context(tax)
            yield bank.lane, tax.lane
        else:
            own: grpc.Credentials | None = None
            if kind == "grpc-relays":
                address, accepting = stack.enter_context(both_nodes(parties, folder))
            elif kind == "grpc":
                own = parties.bank
                listener, accepting = stack.enter_context(listening("127.0.0.1:0", parties.tax))
                address = listener.address
            else:
                address = f"unix:{folder / 'tax.sock'}"
                _, accepting = stack.enter_context(listening(address, None))
            connection = grpc.connect(address, me="bank", peer="tax", hello=HELLO, credentials=own)
            stack.callback(connection.close, linger_s=0.2)
            yield connection.lane, accepting.next().lane


class Proxy:
    """Forwards TCP connections, and cuts them: all by ``cut``, or each after `cut_after` bytes, `cuts` times."""

    def __init__(self, *, cut_after: int | None = None, cuts: int = 0) -> None:
        self._cut_after = cut_after
        self.cuts_left = cuts
        self.refusing = False
        self._target: tuple[str, int] = ("", 0)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def start(self, target: str) -> str:
        """Begin to forward to ``host:port``; returns the address to dial."""
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        threading.Thread(target=self._accept, daemon=True).start()
        return f"127.0.0.1:{self._server.getsockname()[1]}"

    def cut(self) -> None:
        """Drop all connections without a word."""
        with self._lock:
            for end in self._open:
                end.close()
            self._open.clear()

    def stop(self) -> None:
        self._stopped = True
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        while not self._stopped:
            try:
                here, _ = self._server.accept()
            except OSError:
                return
            if self.refusing:
                here.close()
                continue
            there = socket.create_connection(self._target)
            with self._lock:
                self._open |= {here, there}
            threading.Thread(target=self._forward, args=(here, there), daemon=True).start()

    def _forward(self, here: socket.socket, there: socket.socket) -> None:
        seen = 0
        other = {here: there, there: here}
        try:
            while True:
                for end in select.select([here, there], [], [], 1.0)[0]:
                    data = end.recv(65536)
                    if not data:
                        return
                    seen += len(data)
                    if self._cut_after is not None and seen > self._cut_after and self.cuts_left > 0:
                        self.cuts_left -= 1
                        return
                    other[end].sendall(data)
        except (OSError, ValueError):  # ValueError: select on a socket that `cut` has closed
            return
        finally:
            with self._lock:
                self._open -= {here, there}
            here.close()
            there.close()
