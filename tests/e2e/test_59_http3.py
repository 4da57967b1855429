"""Visitors over HTTP/3: through both connectors, beside what HTTP/2 gives."""

import hashlib

import pytest

from testenv import h3
from testenv.origin import pattern_sha256
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
