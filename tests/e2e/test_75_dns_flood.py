"""The edge's name server under a flood: random packets, changed queries, garbage over TCP, clients that are slow."""

import json
import os
import random
import select
import socket
import struct
import time

import pytest

from conftest import Own
from testenv import net
from testenv.program import BIN, check
from testenv.wait import exactly, wait_until

# A sanitizer is slower, and keeps for a while what was freed.
SANITIZED = os.environ.get("ADIT_PRESET", "dev") in ("asan", "tsan")
PACKETS = int(os.environ.get("ADIT_DNS_PACKETS", "40000" if SANITIZED else "200000"))
QUERY = b"\x12\x34\0\0\0\1\0\0\0\0\0\0\3app\7example\3com\0\0\1\0\1"


@pytest.fixture
def own(tmp_path):
    own = Own(tmp_path)
    yield own
    own.close()


@pytest.fixture
def dns(own):
    port = net.free_port()
    edge = own.edge(settings=f'dns: "127.0.0.1:{port}"\ndns-address: "192.0.2.7"\n')
    cli = own.cli(edge)
    cli.create("home")
    done = cli.run("tunnel", "route", "dns", "home", "app.example.com")
    assert done.returncode == 0, done
    edge.dns = ("127.0.0.1", port)
    wait_until(lambda: answers(ask_tcp(edge.dns)), "name that resolves", 30)
    return edge


def answers(message):
    """How many records are in the answer section."""
    return struct.unpack(">H", message[6:8])[0]


def read_message(sock):
    return exactly(sock, struct.unpack(">H", exactly(sock, 2))[0])


def framed(message):
    return struct.pack(">H", len(message)) + message


def ask_tcp(address, message=QUERY):
    with socket.create_connection(address, timeout=20) as s:
        s.sendall(framed(message))
        return read_message(s)


def flood(edge, packets, seed):
    out = check([BIN / "dns_flood", f"127.0.0.1:{edge.dns[1]}", "example.com", packets, seed], seconds=600)
    return json.loads(out)


def test_random_packets_cost_no_memory(dns):
    flood(dns, PACKETS // 10, 1)
    before = dns.program.memory("VmRSS")
    said = flood(dns, PACKETS, 2)
    after = dns.program.memory("VmRSS")
    assert said["packets"] == PACKETS
    if not SANITIZED:
        assert after - before < 4 << 20, (before, after)
    assert answers(ask_tcp(dns.dns)) == 1


def test_garbage_over_tcp_ends_that_connection_alone(dns):
    rng = random.Random(7)
    with socket.create_connection(dns.dns, timeout=20) as good:
        for i in range(300):
            with socket.create_connection(dns.dns, timeout=20) as s:
                data = rng.randbytes(rng.randrange(1, 5000))
                if i % 3 == 0:
                    data = framed(data[: rng.randrange(1, 4000)])
                elif i % 3 == 1:
                    changed = bytearray(QUERY)
                    changed[rng.randrange(len(QUERY))] = rng.randrange(256)
                    data = framed(bytes(changed)) * 5
                try:
                    s.sendall(data)
                    if i % 2:
                        s.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
        good.sendall(framed(QUERY))
        assert answers(read_message(good)) == 1


def test_pipelined_queries_are_all_answered(dns):
    with socket.create_connection(dns.dns, timeout=60) as s:
        for i in range(400):
            s.sendall(framed(struct.pack(">H", i) + QUERY[2:]))
        assert sorted(struct.unpack(">H", read_message(s)[:2])[0] for _ in range(400)) == list(range(400))


def test_a_query_byte_by_byte_and_one_with_an_end_are_answered(dns):
    with socket.create_connection(dns.dns, timeout=60) as s:
        for byte in framed(QUERY):
            s.sendall(bytes([byte]))
        assert answers(read_message(s)) == 1
    with socket.create_connection(dns.dns, timeout=60) as s:
        s.sendall(framed(QUERY))
        s.shutdown(socket.SHUT_WR)
        assert answers(read_message(s)) == 1


def test_clients_that_do_not_read_cost_little_and_are_let_go(dns):
    before = dns.program.memory("VmRSS")
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(dns.dns)
        s.setblocking(False)
        sent = 0
        deadline = time.monotonic() + 60
        ended = False
        while not ended and time.monotonic() < deadline:
            try:
                sent += s.send(framed(QUERY) * 100)
            except BlockingIOError:
                wait_a_moment(s)
                ended = "adit_edge_dns_connections" in dns.metrics() and dns.gauge("adit_edge_dns_connections") == 0
            except OSError:
                ended = True
        assert ended
    if not SANITIZED:
        assert dns.program.memory("VmRSS") - before < 16 << 20


def wait_a_moment(sock):
    """Until there is room again, at most."""


    select.select([], [sock], [], 0.5)


def test_silent_connections_make_room_for_others(dns):
    idle = []
    try:
        for _ in range(700):
            idle.append(socket.create_connection(dns.dns, timeout=20))
        assert answers(ask_tcp(dns.dns)) == 1
        # 256 of each worker, as base/limits.h says.
        wait_until(lambda: dns.gauge("adit_edge_dns_connections") <= 512, "bounded number of connections", 30)
    finally:
        for s in idle:
            s.close()
