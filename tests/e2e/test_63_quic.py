"""QUIC between edge and connector: what the tests of HTTP/2 ask for, and what only QUIC has."""

import hashlib
import os
import re
import socket
import threading
import time

import pytest
from conftest import need

# What a service sees and a visitor gets does not depend on how the two are joined.
from test_50_bodies import (  # noqa: F401
    test_block_sizes_at_every_edge,
    test_download,
    test_origin_cuts_off_a_body_with_length,
    test_response_head_comes_before_the_body,
    test_upload,
    test_visitor_leaves_during_the_response,
)
from test_50_headers import test_hop_by_hop_headers_go_no_further, test_the_origin_learns_who_asks  # noqa: F401
from test_50_traffic import (  # noqa: F401
    test_body_with_length,
    test_body_without_length,
    test_get,
    test_head,
    test_many_streams_on_one_http2_connection,
    test_repeated_headers_keep_their_order,
)
from test_50_websocket import test_echo, test_the_origin_speaks_first  # noqa: F401
from testenv import quic
from testenv.connector import KINDS, REGISTERED, write_config
from testenv.edge import ZONE
from testenv.origin import Origin, pattern_sha256
from testenv.program import PATIENCE
from testenv.visitor import Visitor
from testenv.wait import wait_until

HOST = f"app.{ZONE}"
HANDED_OVER = 'adit_edge_quic_foreign_packets_total{result="handed_over"}'
BY_PROTOCOL = 'adit_edge_tunnel_connections_by_protocol{protocol="%s"}'


@pytest.fixture(params=[pytest.param("adit", marks=pytest.mark.long), "stock"])
def site(request, stage):
    """Ours uses QUIC by itself wherever it can, in all the other tests, too."""
    need(request.param)
    site = stage.site(request.param, "quic")
    yield site
    stage.origin.forget()
    stage.second.forget()


class Place:
    """An edge and a tunnel for one test."""

    def __init__(self, own, folder, **kwargs):
        self.own, self.folder = own, folder
        self.origin = Origin()
        self.edge = own.edge(**kwargs)
        self.visitor = Visitor(self.edge, folder=folder)
        self.cli = None

    def connect(self, protocol="quic", at=None, kind="stock", **kwargs):
        need(kind)
        if not self.cli:
            self.cli = self.own.cli(self.edge, kind)
            self.tunnel = self.cli.create("place")
            self.cli.route(self.tunnel, HOST)
            rules = [{"hostname": HOST, "service": self.origin.service}]
            self.config = write_config(self.folder / "config.yml", self.tunnel, rules)
        env = {"TUNNEL_EDGE": ",".join([f"127.0.0.1:{at}"] * 4)} if at else {}
        return self.own.connect(self.cli, self.tunnel, self.config, protocol=protocol, env=env, **kwargs)

    def check(self, size=1 << 20):
        def handler(r):
            r.head(200, [("Content-Length", str(size))])
            r.send_pattern(size)

        answer = self.visitor.get(HOST, self.origin.on(handler))
        assert hashlib.sha256(answer.body).hexdigest() == pattern_sha256(size)

    def settings(self, **changed):
        """Of an edge that has not been started."""
        path = self.edge.data / "edge.yml"
        text = path.read_text()
        for key, value in changed.items():
            text = re.sub(rf"^{key}:.*\n", "", text, flags=re.MULTILINE) + f'{key}: "{value}"\n'
        path.write_text(text)

    def close(self):
        self.visitor.close()
        self.origin.close()


@pytest.fixture
def place(own, tmp_path):
    p = Place(own, tmp_path)
    yield p
    p.close()


@pytest.fixture
def unstarted(own, tmp_path):
    p = Place(own, tmp_path, start=False)
    yield p
    p.close()


# --- the ways in ---------------------------------------------------------------------------------------


def test_it_is_quic(site, stage):
    stage.edge.program.wait_log(rf"connector registered.*{site.tunnel.id}", count=4)
    registered = re.findall(rf"connector registered.*{site.tunnel.id}.*", stage.edge.program.text())
    assert all("quic" in line for line in registered), registered


@pytest.mark.parametrize("protocol", ["quic", "http2"])
def test_connectors_come_by_the_visitors_port(place, protocol):
    place.connect(protocol, at=place.edge.https)
    place.check()
    assert place.edge.gauge(BY_PROTOCOL % protocol) == place.edge.gauge("adit_edge_tunnel_connections") == 4
    status = place.edge.command("status").stdout
    assert re.search(rf"tunnel.connections.{protocol}\W+4\b", status), status
    other = {"quic": "http2", "http2": "quic"}[protocol]
    assert re.search(rf"tunnel.connections.{other}\W+0\b", status), status


def test_without_a_tunnel_listener(unstarted):
    unstarted.settings(tunnel="off")
    unstarted.edge.start()
    said = unstarted.edge.command("check").stdout
    assert f"127.0.0.1:{unstarted.edge.https}" in re.search(r"advertised.*", said)[0], said
    unstarted.connect(at=unstarted.edge.https)
    unstarted.check()


def test_udp_that_somebody_else_has(unstarted):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", unstarted.edge.tunnel))
        unstarted.edge.start()
        unstarted.edge.program.wait_log(rf"no QUIC here.*127.0.0.1:{unstarted.edge.tunnel}")
        unstarted.connect("http2")
        unstarted.check()


def test_udp_that_has_to_be_there(unstarted):
    unstarted.settings(**{"tunnel-quic": "on"})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", unstarted.edge.tunnel))
        unstarted.edge.start(wait=False)
        assert unstarted.edge.program.wait() == 1
        assert "Address already in use" in unstarted.edge.program.text()


def test_no_quic_at_all(unstarted):
    unstarted.settings(**{"tunnel-quic": "off", "https-quic": "off"})
    unstarted.edge.start()
    for port in (unstarted.edge.tunnel, unstarted.edge.https):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("127.0.0.1", port))


@pytest.mark.parametrize("kind", KINDS)
def test_the_edge_restarts(place, kind):
    """Its secret is that of before: connectors learn at once that their connections are gone."""
    connector = place.connect(kind=kind)
    mark = connector.mark()
    place.edge.kill()
    place.edge.start()
    since = time.monotonic()
    if kind == "stock":
        connector.wait_log("received a stateless reset", since=mark)
    # Those of a stock one come back one after the other, seconds apart.
    connector.wait_log(REGISTERED, count=1 if kind == "stock" else 4, seconds=60, since=mark)
    print(f"registered again {time.monotonic() - since:.1f} s after the edge was back")
    place.check()


# --- packets and workers -------------------------------------------------------------------------------


def test_packets_that_come_to_the_wrong_worker(place):
    """As after a change of address where the kernel does not sort packets."""
    with quic.join_port(place.edge.tunnel) as shared:
        quic.all_packets_to(shared, 0)
        place.connect()
        place.check()
        before = place.edge.gauge(HANDED_OVER)
        quic.all_packets_to(shared, 1)
        place.check(8 << 20)
        assert place.edge.gauge(HANDED_OVER) > before
        quic.all_packets_to(shared, 0)
        place.check()
    assert place.edge.gauge("adit_edge_tunnel_connections") == 4


def test_packets_come_to_their_worker(place):
    place.connect()
    place.check()
    assert place.edge.gauge(HANDED_OVER) == 0


# --- the hostile -----------------------------------------------------------------------------------------


def pound(ports, make, seconds):
    """Sends what make() yields from many ports until the time is over; how many."""
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            for packet in make():
                for port in ports:
                    try:
                        s.sendto(packet, ("127.0.0.1", port))
                    except OSError:
                        pass
                    count += 1
    return count


def test_garbage_between_the_packets(place):
    place.connect()
    # Half of them name a worker.
    ids = [bytes([i]) + os.urandom(9) for i in (0, 1, 2, 77, 255)]
    counts = []
    ports = (place.edge.tunnel, place.edge.https)
    thread = threading.Thread(target=lambda: counts.append(pound(ports, lambda: quic.garbage(ids), 2)))
    thread.start()
    while thread.is_alive():
        place.check(4 << 20)
    thread.join()
    assert counts[0] > 1000
    place.check()
    assert place.edge.gauge("adit_edge_tunnel_connections") == 4


def test_flood_of_first_packets(place):
    """More handshakes than the edge begins without asking for the address: it answers with Retry, and serves."""
    connector = place.connect()
    hello = quic.crypto_frame(b"\x01\x00\x04\x00\x03\x03" + bytes(200))
    retries, alive = [], threading.Event()

    def flood():
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(40)]
        for s in sockets:
            s.setblocking(False)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            for s in sockets:
                packet = quic.initial(os.urandom(18), os.urandom(8), hello)
                s.sendto(packet, ("127.0.0.1", place.edge.tunnel))
                try:
                    while True:
                        if quic.is_retry(s.recv(2000)):
                            retries.append(1)
                except BlockingIOError:
                    pass
            alive.set()
        for s in sockets:
            s.close()

    thread = threading.Thread(target=flood)
    thread.start()
    alive.wait()
    while thread.is_alive():
        place.check()
    thread.join()
    wait_until(lambda: retries, "a Retry", 1)
    # Whoever has an address still gets in.
    connector.stop()
    place.edge.wait_connections(0)
    place.connect(name="second")
    place.check()
    assert place.edge.program.memory("VmRSS") < (400 if PATIENCE == 1 else 1500) << 20
