"""What only the gRPC transport has: certificates, the Hello, broken connections, refusals, relays, real processes."""

from __future__ import annotations

import hashlib
import multiprocessing
import queue
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import grpc as grpc_library
import numpy as np
import pytest
from cryptography import x509

from mpc.channel import CHUNK_BYTES, Channel, Lane
from mpc.errors import ChannelClosed, ChannelTimeout, MpcError, PeerError, PolicyError, UsageError
from mpc.transport import grpc
from mpc.transport.link import CONTROL, DATA, Frame, encode
from tests.messages import Block
from tests.transport.certificates import authority, credentials
from tests.transport.support import HELLO, Accepting, Parties, Proxy, both_nodes, listening, make_parties, relaying


@pytest.fixture(scope="module")
def parties() -> Parties:
    return make_parties()


def dial(address: str, own: grpc.Credentials | None, **changes: object) -> grpc.Connection:
    options: dict[str, Any] = {"me": "bank", "peer": "tax", "hello": HELLO, "connect_timeout_s": 3.0} | changes
    return grpc.connect(address, credentials=own, **options)


# -- who is who


def test_a_server_of_another_party_is_refused(parties: Parties) -> None:
    with listening("127.0.0.1:0", parties.tax) as (listener, _):
        started = time.monotonic()
        with pytest.raises(PeerError, match="welfare broke transport at TLS: could not prove to be welfare"):
            dial(listener.address, parties.bank, peer="welfare")
        assert time.monotonic() - started < 2  # not tried again


def test_a_server_of_another_root_is_refused(parties: Parties) -> None:
    stranger = credentials(authority("other"), "tax")
    with (
        listening("127.0.0.1:0", replace(stranger, root_pem=parties.root.root_pem)) as (listener, _),
        pytest.raises(PeerError, match="could not prove to be tax"),
    ):
        dial(listener.address, parties.bank)


def test_a_client_of_another_root_is_refused(parties: Parties) -> None:
    stranger = replace(credentials(authority("other"), "bank"), root_pem=parties.root.root_pem)
    with (
        listening("127.0.0.1:0", parties.tax) as (listener, _),
        pytest.raises(ChannelClosed, match="its root is not that of this side's certificate"),
    ):
        dial(listener.address, stranger, connect_timeout_s=0.5)


def test_a_client_cannot_take_another_name(parties: Parties) -> None:
    pretender = replace(parties.bank, name="welfare")
    with (
        listening("127.0.0.1:0", parties.tax) as (listener, _),
        pytest.raises(PolicyError, match="the certificate is of bank, the stream says welfare") as caught,
    ):
        dial(listener.address, pretender, me="welfare")
    assert caught.value.code == "certificate-name"


@pytest.mark.parametrize("dns", [["bank.example"], ["a.party.unseen", "bank.party.unseen"], ["x.y.party.unseen"]])
def test_a_certificate_names_one_party(parties: Parties, dns: list[str]) -> None:
    odd = credentials(parties.root, "bank", dns=dns)
    with (
        listening("127.0.0.1:0", parties.tax) as (listener, _),
        pytest.raises(PolicyError, match="does not name one party") as caught,
    ):
        dial(listener.address, odd)
    assert caught.value.code == "certificate-name"


def test_a_stream_for_another_party_is_refused(parties: Parties) -> None:
    both = credentials(parties.root, "tax", dns=["tax.party.unseen", "welfare.party.unseen"])
    with (
        listening("127.0.0.1:0", both) as (listener, _),
        pytest.raises(UsageError, match="this is tax, the stream is for welfare"),
    ):
        dial(listener.address, parties.bank, peer="welfare")


def test_the_accepted_session_holds_the_certificate(parties: Parties) -> None:
    with listening("127.0.0.1:0", parties.tax) as (listener, accepting), dial(listener.address, parties.bank):
        accepted = accepting.next()
    assert accepted.peer == "bank"
    assert accepted.hello == HELLO
    assert accepted.caller.certificate is not None
    serial = x509.load_der_x509_certificate(accepted.caller.certificate).serial_number
    assert serial == x509.load_pem_x509_certificate(parties.bank.cert_pem).serial_number


def test_misuse_says_what_to_do(parties: Parties) -> None:
    with pytest.raises(UsageError, match="give credentials, or a unix: address"):
        dial("127.0.0.1:1", None)
    with pytest.raises(UsageError, match="leave out the credentials"):
        dial("unix:/nowhere", parties.bank)
    with pytest.raises(UsageError, match="pass me='bank'"):
        dial("127.0.0.1:1", parties.bank, me="tax")
    with pytest.raises(UsageError, match="is no party's name"):
        dial("127.0.0.1:1", parties.bank, peer="Tax Bureau")
    with pytest.raises(UsageError, match="choose a free port"), listening("203.0.113.1:1", parties.tax):
        pass
    assert "PRIVATE" not in repr(parties.bank)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"session": ""}, "names its session"),
        ({"session": "a b"}, "Hello.session"),
        ({"product": "结婚"}, "Hello.product"),
        ({"suite": "x" * 129}, "Hello.suite"),
        ({"operator_version": -1}, "Hello.operator_version"),
        ({"parameters": b"short"}, "SHA-256 of 32 bytes, not 5"),
    ],
)
def test_a_hello_is_checked_when_it_is_made(change: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        replace(HELLO, **change)


# -- the Hello


@pytest.mark.parametrize(
    ("field", "theirs", "shown"),
    [
        ("session", "session-2", "'session-1' at bank, 'session-2' at tax"),
        ("operator", "other", "'test' at bank, 'other' at tax"),
        ("operator_version", 2, "1 at bank, 2 at tax"),
        ("suite", "gm", "'intl' at bank, 'gm' at tax"),
        ("parameters", b"\x01" * 32, f"{'00' * 32} at bank, {'01' * 32} at tax"),
        ("product", "income", "'marriage-status' at bank, 'income' at tax"),
        ("scenario", "insurance", "'loan' at bank, 'insurance' at tax"),
    ],
)
def test_both_sides_name_the_field_in_which_they_differ(
    parties: Parties, field: str, theirs: object, shown: str
) -> None:
    noticed: queue.SimpleQueue[MpcError] = queue.SimpleQueue()
    accepting = Accepting()
    listener = grpc.Listener(
        "127.0.0.1:0",
        accepting,
        me="tax",
        credentials=parties.tax,
        answer=lambda _caller, hello: replace(hello, **{field: theirs}),
        refused=lambda _caller, error: noticed.put(error),
    )
    with listener:
        with pytest.raises(UsageError) as caught:
            dial(listener.address, parties.bank)
        assert str(caught.value) == f"bank and tax disagree on {field}: {shown}. Start both sides with the same."
        assert f"tax and bank disagree on {field}: " in str(noticed.get(timeout=5))
        with pytest.raises(queue.Empty):
            accepting._sessions.get_nowait()


def test_words_and_hello_must_be_the_same(parties: Parties) -> None:
    """A node lets a stream through by its words, so the Hello behind them may not say anything else."""
    with listening("127.0.0.1:0", parties.tax) as (listener, _):
        call, sent = raw_stream(listener.address, parties.bank, words=replace(HELLO, product="allowed"))
        sent.put(grpc._hello_frame(HELLO, ack=0, resume=False))
        with pytest.raises(grpc_library.RpcError, match="HELLO and metadata differ"):
            next(call)


@pytest.mark.parametrize(
    "first", [b"\x0a\x05ab", encode(Frame(DATA, seq=1, payload=b"x")), encode(Frame(1, payload=b"\xff"))]
)
def test_a_stream_begins_with_a_hello(parties: Parties, first: bytes) -> None:
    with listening("127.0.0.1:0", parties.tax) as (listener, _):
        call, sent = raw_stream(listener.address, parties.bank)
        sent.put(first)
        with pytest.raises(grpc_library.RpcError, match="HELLO") as caught:
            next(call)
        assert caught.value.code() is grpc_library.StatusCode.INVALID_ARGUMENT


def test_a_hello_cannot_claim_what_was_never_sent(parties: Parties) -> None:
    with listening("127.0.0.1:0", parties.tax) as (listener, _):
        call, sent = raw_stream(listener.address, parties.bank)
        sent.put(grpc._hello_frame(HELLO, ack=5, resume=False))
        with pytest.raises(grpc_library.RpcError, match="acknowledges frame 5 of 0"):
            next(call)
        dial(listener.address, parties.bank).close()  # and the session is not taken


def raw_stream(
    address: str, own: grpc.Credentials, *, words: grpc.Hello = HELLO
) -> tuple[Any, queue.SimpleQueue[bytes | None]]:
    """A stream whose frames the test makes itself."""
    channel = grpc.open_channel(address, "tax", own)
    sent: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    call = channel.stream_stream(grpc.METHOD)(
        iter(sent.get, None), metadata=grpc._metadata(grpc.Words(words, own.name, "tax")), timeout=20
    )
    return call, sent


def test_a_hostile_frame_ends_both_sides_at_once(parties: Parties) -> None:
    with listening("127.0.0.1:0", parties.tax) as (listener, accepting):
        call, sent = raw_stream(listener.address, parties.bank)
        sent.put(grpc._hello_frame(HELLO, ack=0, resume=False))
        next(call)
        sent.put(encode(Frame(DATA, seq=7, payload=b"x")))
        with pytest.raises(PeerError, match=r"^bank broke test at frame: frame 7 where 1 is due$"):
            accepting.next().lane.read(timeout_s=10)
        assert grpc.decode(next(call)).payload == b"frame 7 where 1 is due"
        sent.put(None)


# -- refusals


def test_a_policy_error_arrives_whole_and_is_not_retried(parties: Parties) -> None:
    asked = []

    def answer(caller: grpc.Caller, _hello: grpc.Hello) -> grpc.Hello:
        asked.append(caller.name)
        raise PolicyError("没有这个场景的授权", code="no-grant", remedy="Ask the authority for a grant.")

    with grpc.Listener("127.0.0.1:0", Accepting(), me="tax", credentials=parties.tax, answer=answer) as listener:
        with pytest.raises(PolicyError) as caught:
            dial(listener.address, parties.bank)
        assert (caught.value.reason, caught.value.code) == ("没有这个场景的授权", "no-grant")
        assert caught.value.remedy == "Ask the authority for a grant."
    assert asked == ["bank"]


def test_sessions_of_one_peer_are_limited_and_freed(parties: Parties) -> None:
    with listening("127.0.0.1:0", parties.tax, sessions_per_peer=2) as (listener, _):
        first, second = (dial(listener.address, parties.bank, hello=replace(HELLO, session=s)) for s in "ab")
        with pytest.raises(PolicyError) as caught:
            dial(listener.address, parties.bank, hello=replace(HELLO, session="c"))
        assert caught.value.code == "too-many-sessions"
        first.close()
        dial(listener.address, parties.bank, hello=replace(HELLO, session="c")).close()
        second.close()
        assert not listener._acceptor._sessions


def test_a_session_has_one_opener(parties: Parties) -> None:
    with (
        listening("127.0.0.1:0", parties.tax) as (listener, _),
        dial(listener.address, parties.bank),
        pytest.raises(UsageError, match="session session-1 exists already"),
    ):
        dial(listener.address, parties.bank)


def test_cutting_a_party_tells_it_why(parties: Parties) -> None:
    with listening("127.0.0.1:0", parties.tax) as (listener, accepting):
        connection = dial(listener.address, parties.bank)
        accepted = accepting.next()
        assert listener.cut("bank", PolicyError("the certificate was revoked", code="certificate-revoked")) == 1
        for lane in (connection.lane, accepted.lane):
            with pytest.raises(PolicyError, match="revoked") as caught:
                lane.read(timeout_s=5)
            assert caught.value.code == "certificate-revoked"
        connection.close()


def test_a_listener_that_stops_says_so(parties: Parties) -> None:
    with listening("127.0.0.1:0", parties.tax) as (listener, accepting):
        connection = dial(listener.address, parties.bank)
        accepting.next()
        listener.close("the node stops")
        with pytest.raises(ChannelClosed, match=r"^tax ended the conversation: the node stops$"):
            connection.lane.read(timeout_s=5)
        connection.close()
    with pytest.raises(ChannelClosed, match=r"tax cannot be reached at .* for 0.3 s"):
        dial(listener.address, parties.bank, connect_timeout_s=0.3)


def test_a_peer_that_takes_nothing_is_let_go(parties: Parties) -> None:
    """It opens a stream, asks, and never reads: neither the service's thread nor what was meant for it stays."""
    failures: queue.SimpleQueue[Exception] = queue.SimpleQueue()

    def serve(accepted: grpc.Accepted) -> None:
        channel = Channel(accepted.lane, protocol="test", timeout_s=None, send_timeout_s=0.3)
        try:
            while True:
                channel.send(Block(), np.zeros((CHUNK_BYTES // 16, 16), np.uint8))
        except ChannelTimeout as error:
            failures.put(error)
            raise

    before = set(threading.enumerate())
    with grpc.Listener("127.0.0.1:0", serve, me="tax", credentials=parties.tax, resume_window_s=0.3) as listener:
        _, sent = raw_stream(listener.address, parties.bank)
        sent.put(grpc._hello_frame(HELLO, ack=0, resume=False))
        sent.put(encode(Frame(CONTROL, credit=1 << 40)))
        assert str(failures.get(timeout=10)) == "bank took nothing for 0.3 s"
        deadline = time.monotonic() + 10
        while listener._acceptor._sessions and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not listener._acceptor._sessions

        def kept() -> list[str]:
            ours = ("call", "session of bank", "frames from bank")
            return [t.name for t in threading.enumerate() if t.name in ours and t not in before]

        while kept() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not kept()


def test_a_renewed_certificate_serves_without_a_restart(parties: Parties) -> None:
    """The certificate is renewed while the server runs; a stream that is open goes on."""
    present = parties.tax
    failing = False

    def current() -> grpc.Credentials:
        if failing:
            raise OSError("the files are just being replaced")
        return present

    def serial(address: str) -> int:
        host, _, port = address.rpartition(":")
        context = ssl.create_default_context(cadata=parties.root.root_pem.decode())
        with tempfile.NamedTemporaryFile() as own:
            Path(own.name).write_bytes(parties.bank.key_pem + parties.bank.cert_pem)
            context.load_cert_chain(own.name)
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection((host, int(port)), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="tax.party.unseen") as tls,
        ):
            certificate = tls.getpeercert(binary_form=True)
        assert certificate is not None
        return x509.load_der_x509_certificate(certificate).serial_number

    def serial_of(own: grpc.Credentials) -> int:
        return x509.load_pem_x509_certificate(own.cert_pem).serial_number

    accepting = Accepting()
    with grpc.Listener("127.0.0.1:0", accepting, me="tax", credentials=current) as listener:
        connection = dial(listener.address, parties.bank)
        accepted = accepting.next()
        assert serial(listener.address) == serial_of(parties.tax)
        present = credentials(parties.root, "tax")
        assert serial(listener.address) == serial_of(present) != serial_of(parties.tax)
        failing = True
        assert serial(listener.address) == serial_of(present)  # the last that was given serves on
        failing = False
        connection.lane.write([b"still here"], last=True, timeout_s=10)
        assert bytes(accepted.lane.read(timeout_s=10)[0]) == b"still here"
        other = authority("next")
        present = credentials(other, "tax")  # and the root may change with it
        with pytest.raises(PeerError, match="could not prove to be tax"):
            dial(listener.address, parties.bank, hello=replace(HELLO, session="after"))
        dial(listener.address, credentials(other, "bank"), hello=replace(HELLO, session="after")).close()
        connection.close()
        accepting.stop()


def test_an_error_in_a_session_ends_it_with_its_type(parties: Parties) -> None:
    def fails(_: grpc.Accepted) -> None:
        raise UsageError("a text that stays here")

    with (
        grpc.Listener("127.0.0.1:0", fails, me="tax", credentials=parties.tax) as listener,
        dial(listener.address, parties.bank) as connection,
        pytest.raises(ChannelClosed, match=r"^tax ended the conversation: UsageError$"),
    ):
        connection.lane.read(timeout_s=5)


# -- broken connections


def pump(source: Lane, sink: Lane, chunks: int) -> tuple[str, str]:
    """Send `chunks` chunks from one lane to the other; digests of what was written and what was read."""
    wrote, read = hashlib.sha256(), hashlib.sha256()

    def write() -> None:
        for i in range(chunks):
            data = i.to_bytes(8, "little") * (CHUNK_BYTES // 8 - i % 3)
            wrote.update(data)
            source.write([data], last=i == chunks - 1, timeout_s=10)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    last = False
    while not last:
        chunk, last = sink.read(timeout_s=20)
        read.update(chunk)
    writer.join(5)
    assert not writer.is_alive()
    return wrote.hexdigest(), read.hexdigest()


@contextmanager
def through(
    proxy: Proxy, parties: Parties, folder: Path, *, relays: bool
) -> Iterator[tuple[Any, Any, grpc.Connection]]:
    """Both ends of a session whose bytes pass a proxy."""
    if relays:
        with both_nodes(parties, folder, proxy=proxy) as (address, accepting):
            connection = dial(address, None)
            yield connection.lane, accepting.next().lane, connection
            connection.close(linger_s=0.5)
    else:
        with listening("127.0.0.1:0", parties.tax) as (listener, accepting):
            connection = dial(proxy.start(listener.address), parties.bank)
            yield connection.lane, accepting.next().lane, connection
            connection.close(linger_s=0.5)
            proxy.stop()


@pytest.mark.parametrize("relays", [False, True], ids=["direct", "relays"])
@pytest.mark.parametrize("forth", [True, False], ids=["forth", "back"])
def test_cuts_in_a_bulk_transfer_lose_nothing(parties: Parties, tmp_path: Path, *, relays: bool, forth: bool) -> None:
    proxy = Proxy(cut_after=12_345_678, cuts=3)
    with through(proxy, parties, tmp_path, relays=relays) as (bank, tax, _):
        source, sink = (bank, tax) if forth else (tax, bank)
        wrote, read = pump(source, sink, 64)
        assert wrote == read
        assert proxy.cuts_left == 0
        sink.write([b"and back"], last=True, timeout_s=10)
        assert bytes(source.read(timeout_s=5)[0]) == b"and back"


def test_a_cut_in_silence_is_mended(parties: Parties, tmp_path: Path) -> None:
    proxy = Proxy()
    with through(proxy, parties, tmp_path, relays=False) as (bank, tax, _):
        for i in range(3):
            bank.write([b"%d" % i], last=True, timeout_s=10)
            assert bytes(tax.read(timeout_s=5)[0]) == b"%d" % i
            proxy.cut()
            tax.write([b"%d" % i], last=True, timeout_s=10)
            assert bytes(bank.read(timeout_s=5)[0]) == b"%d" % i


def test_forks_and_big_exchanges_survive_cuts(parties: Parties, tmp_path: Path) -> None:
    proxy = Proxy(cut_after=20_000_000, cuts=3)
    with through(proxy, parties, tmp_path, relays=False) as (bank, tax, _):
        results: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        ends = [(bank.fork("a"), tax.fork("a")), (tax.fork("b"), bank.fork("b")), (bank, tax), (tax, bank)]
        threads = [threading.Thread(target=lambda e=e: results.put(pump(*e, 24)), daemon=True) for e in ends]
        for thread in threads:
            thread.start()
        for _ in ends:
            wrote, read = results.get(timeout=40)
            assert wrote == read


def test_beyond_the_window_both_sides_end(parties: Parties) -> None:
    proxy = Proxy()
    with listening("127.0.0.1:0", parties.tax, resume_window_s=0.5) as (listener, accepting):
        connection = dial(proxy.start(listener.address), parties.bank, resume_window_s=0.5)
        accepted = accepting.next()
        connection.lane.write([b"before"], last=True, timeout_s=10)
        proxy.refusing = True
        time.sleep(0.1)
        proxy.cut()
        with pytest.raises(ChannelClosed, match=r"^the connection to tax was lost for 0\.5 s: "):
            connection.lane.read(timeout_s=10)
        assert bytes(accepted.lane.read(timeout_s=1)[0]) == b"before"  # what had arrived is not lost
        with pytest.raises(ChannelClosed, match=r"^the connection to bank was lost for 0\.5 s$"):
            accepted.lane.read(timeout_s=10)
        assert not listener._acceptor._sessions
        connection.close()
        proxy.stop()


def test_a_session_is_resumed_by_its_own_party_only(parties: Parties) -> None:
    welfare = credentials(parties.root, "welfare")
    with listening("127.0.0.1:0", parties.tax) as (listener, accepting):
        connection = dial(listener.address, parties.bank)
        accepted = accepting.next()
        call, sent = raw_stream(listener.address, welfare)
        sent.put(grpc._hello_frame(HELLO, ack=0, resume=True))
        with pytest.raises(grpc_library.RpcError, match="tax has no session session-1 to resume") as caught:
            next(call)
        assert caught.value.code() is grpc_library.StatusCode.NOT_FOUND
        connection.lane.write([b"still mine"], last=True, timeout_s=10)
        assert bytes(accepted.lane.read(timeout_s=5)[0]) == b"still mine"
        connection.close()


def test_a_listener_that_has_forgotten_ends_the_session_at_once(parties: Parties) -> None:
    """The other side was restarted: waiting for the window to pass would be of no use."""
    proxy = Proxy()
    with listening("127.0.0.1:0", parties.tax) as (listener, accepting):
        connection = dial(proxy.start(listener.address), parties.bank)
        accepting.next()
        listener._acceptor._sessions.clear()
        proxy.cut()
        started = time.monotonic()
        with pytest.raises(ChannelClosed, match="tax has no session session-1 to resume"):
            connection.lane.read(timeout_s=10)
        assert time.monotonic() - started < 5
        connection.close()
        proxy.stop()


def test_a_session_begun_anew_ends_the_earlier_one_first(parties: Parties) -> None:
    """The dialling side was restarted: what there was to resume is gone, and nobody waits for the window to pass."""
    proxy = Proxy()
    with listening("127.0.0.1:0", parties.tax) as (listener, accepting):
        connection = dial(proxy.start(listener.address), parties.bank)
        earlier = accepting.next()
        proxy.stop()
        link = listener._acceptor._sessions["bank", "session-1"].link
        deadline = time.monotonic() + 5
        while link.attached and time.monotonic() < deadline:
            time.sleep(0.01)
        for _ in range(2):
            with pytest.raises(ChannelClosed, match="bank has begun session session-1 anew"):
                dial(listener.address, parties.bank)
        with pytest.raises(ChannelClosed, match="bank has begun session session-1 anew"):
            earlier.lane.read(timeout_s=10)
        connection.close(linger_s=0.1)
        accepting.stop()
        while listener._acceptor._sessions and time.monotonic() < deadline:
            time.sleep(0.01)
        dial(listener.address, parties.bank).close()


# -- relays


def test_a_gate_refuses_and_cuts(parties: Parties, tmp_path: Path) -> None:
    usages: queue.SimpleQueue[grpc.Usage] = queue.SimpleQueue()

    def gate(caller: grpc.Caller, words: grpc.Words) -> grpc.Target:
        assert caller.certificate is not None
        if words.hello.product != HELLO.product:
            raise PolicyError("no such product", code="unknown-product", remedy="See the list of products.")
        return grpc.Target(f"unix:{tmp_path / 'worker.sock'}")

    relay = grpc.Relay(gate, me="tax", ended=usages.put)
    server = grpc.make_server(streams=4)
    relay.add_to(server)
    address = grpc.bind(server, "127.0.0.1:0", parties.tax)
    server.start()
    with listening(f"unix:{tmp_path / 'worker.sock'}", None) as (_, accepting):
        with pytest.raises(PolicyError, match="no such product") as caught:
            dial(address, parties.bank, hello=replace(HELLO, product="other"))
        assert (caught.value.code, caught.value.remedy) == ("unknown-product", "See the list of products.")

        connection = dial(address, parties.bank)
        accepted = accepting.next()
        assert accepted.caller == grpc.Caller("bank", None)
        connection.lane.write([bytes(1000)], last=True, timeout_s=10)
        accepted.lane.read(timeout_s=5)
        assert 1000 < relay.usage()[0].bytes_forth < 1300
        assert relay.cut("bank", PolicyError("revoked", code="certificate-revoked")) == 1
        with pytest.raises(PolicyError, match="revoked"):
            connection.lane.read(timeout_s=5)
        usage = usages.get(timeout=5)
        assert (usage.words.sender, usage.words.receiver, usage.error) == ("bank", "tax", "PolicyError")
        assert 1000 < usage.bytes_forth < 1300
        connection.close()
    server.stop(0).wait()
    relay.close()


def test_a_relay_forgets_a_worker_that_is_gone(parties: Parties, tmp_path: Path) -> None:
    """Workers come and go, and a connection kept for each would be kept for good. A new one there is dialled anew."""
    target = grpc.Target(f"unix:{tmp_path / 'worker.sock'}")
    relay = grpc.Relay(lambda _caller, _words: target, me="tax")
    server = grpc.make_server(streams=4)
    relay.add_to(server)
    address = grpc.bind(server, "127.0.0.1:0", parties.tax)
    server.start()
    for session in ("one", "two"):
        with listening(target.address, None) as (_, accepting):
            connection = dial(address, parties.bank, hello=replace(HELLO, session=session))
            accepting.next()
            assert len(relay._channels) == 1
            connection.close()
        relay.forget(target.address)
        relay.forget("unix:never-dialled")
        assert not relay._channels
    server.stop(0).wait()
    relay.close()


def test_a_cut_reaches_the_streams_of_own_workers(parties: Parties, tmp_path: Path) -> None:
    with listening("127.0.0.1:0", parties.tax) as (listener, accepting):
        target = grpc.Target(listener.address, parties.bank)
        relay = grpc.Relay(lambda _caller, _words: target, me=None, local=True)
        server = grpc.make_server(streams=4)
        relay.add_to(server)
        grpc.bind(server, f"unix:{tmp_path / 'node.sock'}", None)
        server.start()
        connection = dial(f"unix:{tmp_path / 'node.sock'}", None)
        accepting.next()
        revoked = PolicyError("tax was revoked", code="certificate-revoked")
        assert relay.cut("welfare", revoked) == 0
        assert relay.cut("tax", revoked) == 1
        with pytest.raises(PolicyError, match="tax was revoked") as caught:
            connection.lane.read(timeout_s=5)
        assert caught.value.code == "certificate-revoked"
        connection.close()
        server.stop(0).wait()
        relay.close()


def test_a_worker_cannot_pass_for_another_party(parties: Parties, tmp_path: Path) -> None:
    """The node's certificate, not what its worker says, is the name at the other node."""
    with listening("127.0.0.1:0", parties.tax) as (listener, _):
        target = grpc.Target(listener.address, parties.bank)
        with (
            relaying(target, f"unix:{tmp_path / 'node.sock'}", None, None) as address,
            pytest.raises(PolicyError, match="the certificate is of bank, the stream says welfare"),
        ):
            dial(address, None, me="welfare")


def test_a_refusal_passes_through_both_nodes(parties: Parties, tmp_path: Path) -> None:
    with both_nodes(parties, tmp_path) as (address, accepting):
        first = dial(address, None)
        accepting.next()
        with pytest.raises(UsageError, match="session session-1 exists already"):
            dial(address, None)
        first.close()


def test_a_refusals_words_are_taken_for_words(parties: Parties) -> None:
    def refuse(_: grpc.Caller, __: grpc.Hello) -> grpc.Hello:
        raise PolicyError("no\nERROR a line of its own\x1b[31m", code="a code?", remedy="x" * 5000)

    with (
        grpc.Listener("127.0.0.1:0", lambda _: None, me="tax", credentials=parties.tax, answer=refuse) as listener,
        pytest.raises(PolicyError) as caught,
    ):
        dial(listener.address, parties.bank)
    assert caught.value.reason == "no ERROR a line of its own [31m"
    assert (caught.value.code, len(caught.value.remedy)) == ("refused", 1000)


def test_a_worker_that_is_not_there_is_unreachable(parties: Parties, tmp_path: Path) -> None:
    with (
        relaying(grpc.Target(f"unix:{tmp_path / 'nobody.sock'}"), "127.0.0.1:0", "tax", parties.tax) as address,
        pytest.raises(ChannelClosed, match=r"tax cannot be reached"),
    ):
        dial(address, parties.bank, connect_timeout_s=0.5)


# -- real processes


def _echo(pipe: Pipe, own: grpc.Credentials) -> None:
    """A process that answers each chunk with the same, until it is told to stop."""

    def serve(accepted: grpc.Accepted) -> None:
        while True:
            chunk, last = accepted.lane.read(timeout_s=30)
            accepted.lane.write([chunk], last=last, timeout_s=10)

    with grpc.Listener("127.0.0.1:0", serve, me="tax", credentials=own) as listener:
        pipe.send(listener.address)
        pipe.poll(60)


def test_a_killed_peer_is_noticed(parties: Parties) -> None:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_echo, args=(there, parties.tax), daemon=True)
    process.start()
    try:
        assert here.poll(30)
        connection = dial(here.recv(), parties.bank, resume_window_s=0.5)
        connection.lane.write([b"hello"], last=True, timeout_s=10)
        assert bytes(connection.lane.read(timeout_s=10)[0]) == b"hello"
        process.kill()
        started = time.monotonic()
        with pytest.raises(ChannelClosed, match=r"^the connection to tax was lost for 0\.5 s"):
            connection.lane.read(timeout_s=20)
        assert time.monotonic() - started < 5
        connection.close()
    finally:
        process.kill()
        process.join(10)


def _leaves(pipe: Pipe, own: grpc.Credentials) -> None:
    """A process whose main thread ends while a session is open."""
    listener = grpc.Listener(
        "127.0.0.1:0", lambda accepted: accepted.lane.read(timeout_s=None) and None, me="tax", credentials=own
    )
    pipe.send(listener.address)
    pipe.recv()


def test_an_open_session_does_not_keep_a_process_alive(parties: Parties) -> None:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_leaves, args=(there, parties.tax), daemon=True)
    process.start()
    try:
        assert here.poll(30)
        connection = dial(here.recv(), parties.bank, resume_window_s=0.2)
        here.send("leave")
        process.join(10)
        assert process.exitcode == 0
        connection.close(linger_s=0.1)
    finally:
        process.kill()
        process.join(10)
