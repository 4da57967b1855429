"""Visitors over HTTP/3: through both connectors, beside what HTTP/2 gives."""

import hashlib
import threading

import pytest

from testenv import h3
from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.origin import Origin, pattern_sha256
from testenv.program import ADIT_EDGE, PATIENCE, Program
from testenv.wait import wait_until

MIB = 1 << 20

pytestmark = pytest.mark.skipif(bool(h3.why_not()), reason=str(h3.why_not()))


@pytest.fixture
def h3_visitor(stage):
    v = h3.H3Visitor(stage.edge)
    yield v
    v.close()


def test_a_body_goes_there_and_back(site, stage, h3_visitor):
    for size in (0, 1, 70_000, 3 * MIB):
        data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        response = h3_visitor.get(site.host("app"), "/echo", data=data, method="POST")
        assert (response.version, response.status) == ("HTTP/3", 200)
        assert len(response.body) >= size


@pytest.mark.parametrize("size", (5 * MIB, pytest.param(1024 * MIB, marks=(pytest.mark.slow, pytest.mark.bulk))))
def test_a_download_is_whole_and_memory_stays(site, stage, origin, h3_visitor, size):
    path = origin.on(lambda r: (r.head(200, [("Content-Length", str(size))]), r.send_pattern(size)))
    digest, total = hashlib.sha256(), 0

    def take(block):
        nonlocal total
        digest.update(block)
        total += len(block)

    stage.edge.program.forget_peak()
    before = stage.edge.program.memory("VmRSS")
    response = h3_visitor.get(site.host("app"), path, take=take, seconds=300)
    assert (response.status, total) == (200, size)
    assert digest.hexdigest() == pattern_sha256(size)
    assert stage.edge.program.memory("VmHWM") - before < 500 * MIB


def test_head_has_no_body(site, stage, h3_visitor):
    response = h3_visitor.get(site.host("app"), "/echo", method="HEAD")
    assert (response.status, response.body) == (200, b"")


def test_whoever_leaves_half_way_leaves_nothing(site, stage, origin, h3_visitor):
    path = origin.on(lambda r: (r.head(200, [("Content-Length", str(200 * MIB))]), r.send_pattern(200 * MIB)))
    response = h3_visitor.fetch(site.host("app"), path, take=lambda block: False)
    assert response.curl_exit != 0
    assert h3_visitor.get(site.host("app"), "/echo").status == 200


def test_a_head_that_is_too_large_is_refused(site, stage, h3_visitor):
    response = h3_visitor.fetch(site.host("app"), "/echo", headers=[("x-large", "a" * 70_000)])
    assert response.status == 431 or response.curl_exit != 0
    assert h3_visitor.get(site.host("app"), "/echo").status == 200


def test_other_answers_say_where_http3_is(site, stage, visitor, h3_visitor):
    port = stage.edge.https
    assert visitor.get(site.host("app"), "/echo").get("alt-svc") == f'h3=":{port}"; ma=86400'
    assert h3_visitor.get(site.host("app"), "/echo").get("alt-svc") is None


def test_the_log_and_the_metrics_say_h3(site, stage, h3_visitor):
    name = 'adit_edge_requests_by_protocol_total{protocol="h3"}'
    before = stage.edge.metrics()[name]
    h3_visitor.get(site.host("app"), "/echo?logged")
    assert stage.edge.metrics()[name] == before + 1
    wait_until(lambda: "proto=h3" in stage.edge.program.text(), "the line of the log")


def test_trailers_and_interim_heads(site, stage, origin, h3_visitor):
    def handler(r):
        r.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
        r.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
        r.chunk(b"hello")
        r.last_chunk(b"X-Sum: 42\r\n")

    response = h3_visitor.get(site.host("app"), origin.on(handler))
    assert (response.status, response.body) == (200, b"hello")
    if site.kind == "adit":  # a stock connector carries neither
        assert ("x-sum", "42") in response.trailers
        assert "103" in h3_visitor.heads and "rel=preload" in h3_visitor.heads


# --- an edge of one's own --------------------------------------------------------------------------


class World:
    HOST = f"app.{ZONE}"

    def __init__(self, own, folder, settings=""):
        self.origin = Origin()
        self.edge = own.edge(settings=settings)
        cli = own.cli(self.edge)
        tunnel = cli.create("home")
        cli.route(tunnel, self.HOST)
        rules = [{"hostname": self.HOST, "service": self.origin.service}]
        own.connect(cli, tunnel, write_config(folder / "c.yml", tunnel, rules))
        self.visitor = h3.H3Visitor(self.edge)


def test_requests_are_limited_as_with_the_others(own, tmp_path):
    world = World(own, tmp_path, "limit-request-rate: 4\nlimit-exempt: off\n")
    answer = world.visitor.get(world.HOST, "/echo")
    asked = 1
    while answer.status == 200:
        asked += 1
        assert asked < 4000, "nothing limits them"
        answer = world.visitor.get(world.HOST, "/echo")
    assert answer.status == 429 and int(answer.get("retry-after")) >= 1
    world.visitor.close()
    world.origin.close()


def test_a_successor_takes_over_and_what_runs_is_finished(own, tmp_path):
    world = World(own, tmp_path, "takeover-grace: 60s\n")
    gate, started = threading.Event(), threading.Event()

    def slowly(r):
        r.head(200, [("Content-Length", str(3 * MIB))])
        r.send(b"x" * MIB)
        started.set()
        gate.wait(60 * PATIENCE)
        r.send(b"y" * (2 * MIB))

    got = []
    path = world.origin.on(slowly)
    thread = threading.Thread(target=lambda: got.append(world.visitor.fetch(world.HOST, path, seconds=100)))
    thread.start()
    assert started.wait(30 * PATIENCE)
    old = world.edge.program
    new = Program("edge-2", [ADIT_EDGE, "run", "--data", world.edge.data, "--takeover"], world.edge.folder)
    new.wait_log("edge is ready")
    old.wait_log("a successor has taken over")
    world.edge.program = new
    fresh = h3.H3Visitor(world.edge)
    wait_until(lambda: fresh.fetch(world.HOST, "/echo").status == 200, "the successor's answer", 30 * PATIENCE)
    gate.set()
    thread.join(100 * PATIENCE)
    assert got[0].curl_exit == 0 and got[0].body == b"x" * MIB + b"y" * (2 * MIB), got[0].error
    wait_until(lambda: not old.is_running(), "the end of the old one", 60 * PATIENCE)
    fresh.close()
    world.visitor.close()
    world.origin.close()
