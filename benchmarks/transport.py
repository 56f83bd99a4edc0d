"""Throughput and round trip of the gRPC transport between real processes.

    python -m benchmarks transport                two parties, one process each, mutual TLS over the loopback
    python -m benchmarks transport --via-nodes    worker, node, node, worker: Unix socket, mutual TLS, Unix socket

`mb_per_s` is the median over the runs of how fast messages of 64 MiB arrive in arrays at the receiver, acknowledged by
a message of its own at the end; `rtt_ms` is the median time from sending an empty message to having the answer, and
`lane_rtt_ms` the same for a bare chunk of 40 bytes, without what the channel encodes, checks and counts.
`n` is the number of bytes of a run. Processes are listed in the order asker, its node, the source's node, source.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

from benchmarks.report import ProcessUse, line, own_use, progress
from mpc.channel import Channel, Lane, Traffic
from mpc.errors import ChannelClosed
from mpc.transport import grpc as transport
from mpc.wire.wire.v1 import message_pb2
from tests.transport.certificates import authority, credentials

BLOCK_BYTES = 64 << 20
HELLO = transport.Hello("benchmark", "benchmark.transport", 1, "", bytes(32))


def _types() -> tuple[type[Message], type[Message]]:
    """``Ping`` without arrays and ``Block`` with one of bytes, made here because no protocol uses them."""
    file = descriptor_pb2.FileDescriptorProto(name="benchmarks/transport.proto", package="benchmarks", syntax="proto3")
    file.dependency.append(message_pb2.DESCRIPTOR.name)
    file.message_type.add(name="Ping")
    block = file.message_type.add(name="Block")
    extensions: Any = block.options.Extensions  # the stubs leave the type of an extension open
    extensions[message_pb2.array].add(name="data", dtype="u1", shape="n", max_bytes=1 << 30)
    pool = descriptor_pool.Default()
    pool.Add(file)
    found = (pool.FindMessageTypeByName(f"benchmarks.{name}") for name in ("Ping", "Block"))
    ping, block_type = (message_factory.GetMessageClass(d) for d in found)
    return ping, block_type


Ping, Block = _types()


def _source(pipe: Pipe, address: str, mine: transport.Credentials | None) -> None:
    """Answers every Ping; takes every Block."""

    def echo(lane: Lane) -> None:
        with suppress(ChannelClosed):
            while True:
                chunk, last = lane.read(timeout_s=None)
                lane.write([chunk], last=last, timeout_s=60)

    def serve(accepted: transport.Accepted) -> None:
        threading.Thread(target=echo, args=(accepted.lane.fork("echo"),), daemon=True).start()
        channel = Channel(accepted.lane, protocol=HELLO.operator, timeout_s=None)
        try:
            while True:
                header, *_ = channel.recv(Ping, Block)
                if isinstance(header, Ping):
                    channel.send(Ping())
        except ChannelClosed:
            return

    with transport.Listener(address, serve, me="source", credentials=mine) as listener:
        pipe.send(listener.address)
        pipe.recv()
        pipe.send(own_use())


def node(
    pipe: Pipe, me: str | None, address: str, mine: transport.Credentials | None, target: transport.Target
) -> None:
    """Forwards everything: the asker's node (no `me`, on a Unix socket) or the source's."""
    relay = transport.Relay(lambda _caller, _words: target, me=me, local=mine is None)
    server = transport.make_server(streams=4)
    relay.add_to(server)
    pipe.send(transport.bind(server, address, mine))
    server.start()
    pipe.recv()
    pipe.send(own_use())
    server.stop(0).wait()
    relay.close()


@dataclass(frozen=True)
class _Measured:
    rates: list[float]  # MB/s
    trips: list[float]  # seconds
    lane_trips: list[float]  # seconds
    seconds: float
    traffic: Traffic
    use: ProcessUse


def _asker(pipe: Pipe, address: str, mine: transport.Credentials | None, blocks: int, runs: int, pings: int) -> None:
    """Measures; sends (rates, round trips, traffic, use)."""
    with transport.connect(address, me="asker", peer="source", hello=HELLO, credentials=mine) as connection:
        channel = Channel(connection.lane, protocol=HELLO.operator, timeout_s=60)

        def ping() -> float:
            started = time.perf_counter()
            channel.send(Ping())
            channel.recv(Ping)
            return time.perf_counter() - started

        lane = connection.lane.fork("echo")

        def bare_ping() -> float:
            started = time.perf_counter()
            lane.write([bytes(40)], last=True, timeout_s=60)
            lane.read(timeout_s=60)
            return time.perf_counter() - started

        for _ in range(100):
            ping()
            bare_ping()
        lane_trips = [bare_ping() for _ in range(pings)]
        trips = [ping() for _ in range(pings)]
        block = np.random.default_rng(1).integers(0, 256, BLOCK_BYTES, dtype=np.uint8)
        rates = []
        channel.send(Block(), block)
        ping()
        started = time.perf_counter()
        for _ in range(runs):
            begun = time.perf_counter()
            for _ in range(blocks):
                channel.send(Block(), block)
            ping()
            rates.append(blocks * BLOCK_BYTES / (time.perf_counter() - begun) / 1e6)
        pipe.send(_Measured(rates, trips, lane_trips, time.perf_counter() - started, channel.traffic, own_use()))


def main(arguments: Sequence[str]) -> int:
    """Command line. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks transport", description=__doc__.partition("\n")[0])
    parser.add_argument("--via-nodes", action="store_true", help="through the relays of both parties' nodes")
    parser.add_argument("--blocks", type=int, default=16, help="messages of 64 MiB in a run (16)")
    parser.add_argument("--runs", type=int, default=5, help="runs, of which the median counts (5)")
    parser.add_argument("--pings", type=int, default=2000, help="round trips, of which the median counts (2000)")
    options = parser.parse_args(arguments)
    spawn = multiprocessing.get_context("spawn")  # never forked: gRPC's threads do not survive it
    root = authority()
    ours, theirs = credentials(root, "asker"), credentials(root, "source")
    processes: list[tuple[SpawnProcess, Pipe]] = []

    def start(target: Callable[..., None], *args: object) -> Pipe:
        here, there = spawn.Pipe()
        process = spawn.Process(target=target, args=(there, *args), daemon=True)
        process.start()
        there.close()
        processes.append((process, here))
        return here

    def told(pipe: Pipe, timeout_s: float) -> object:
        if not pipe.poll(timeout_s):
            raise SystemExit("a process of the benchmark has not answered in time")
        return pipe.recv()

    with tempfile.TemporaryDirectory() as folder:
        progress("starting the processes")
        if options.via_nodes:
            worker = f"unix:{Path(folder, 'worker.sock')}"
            told(start(_source, worker, None), 30)
            address = told(start(node, "source", "127.0.0.1:0", theirs, transport.Target(worker)), 30)
            onward = transport.Target(str(address), ours)
            address = told(start(node, None, f"unix:{Path(folder, 'node.sock')}", None, onward), 30)
            asker = start(_asker, str(address), None, options.blocks, options.runs, options.pings)
        else:
            address = told(start(_source, "127.0.0.1:0", theirs), 30)
            asker = start(_asker, str(address), ours, options.blocks, options.runs, options.pings)
        progress(f"{options.pings} round trips, then {options.runs} runs of {options.blocks * BLOCK_BYTES >> 20} MiB")
        result = told(asker, 600)
        assert isinstance(result, _Measured)
        uses = [result.use]
        for _, pipe in reversed(processes[:-1]):
            pipe.send("stop")
            use = told(pipe, 30)
            assert isinstance(use, ProcessUse)
            uses.append(use)
        for process, _ in processes:
            process.join(10)
    progress("rates in MB/s: " + ", ".join(f"{rate:.0f}" for rate in result.rates))
    line(
        "transport",
        n=options.blocks * BLOCK_BYTES,
        seconds=result.seconds,
        suite="",
        transport="via-nodes" if options.via_nodes else "direct",
        bytes_sent=result.traffic.bytes_sent,
        bytes_received=result.traffic.bytes_received,
        rounds=result.traffic.rounds,
        processes=uses,
        more={
            "mb_per_s": round(statistics.median(result.rates), 1),
            "rtt_ms": round(statistics.median(result.trips) * 1e3, 4),
            "lane_rtt_ms": round(statistics.median(result.lane_trips) * 1e3, 4),
        },
    )
    return 0
