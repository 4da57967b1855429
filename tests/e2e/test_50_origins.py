"""Every kind of service a rule can name, and how rules are chosen."""

import contextlib
import pytest

from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.origin import Origin
from testenv.visitor import Visitor
from testenv.wait import wait_until


def whoami(name):
    return lambda r: r.reply(200, body=name)


def test_https_without_verification(site, stage, visitor):
    path = stage.tls_origin.on(whoami(b"tls"))
    assert visitor.get(site.host("tls"), path).body == b"tls"


def test_https_with_pool_and_name(site, stage, visitor):
    path = stage.tls_origin.on(whoami(b"verified"))
    answer = visitor.get(site.host("pool"), path)
    assert answer.body == b"verified"
    assert stage.tls_origin.requests(path)[0].get("host") == f"{site.host('pool')}:{stage.edge.https}"


def test_https_that_is_not_trusted(site, stage, visitor):
    path = stage.tls_origin.on(whoami(b"never"))
    assert visitor.get(site.host("untrusted"), path).status == 502
    assert stage.tls_origin.requests(path) == []


def test_https_body_both_ways(site, stage, visitor):
    path = stage.tls_origin.on(lambda r: r.reply(200, body=r.read_body()))
    body = b"0123456789" * 100_000
    assert visitor.get(site.host("tls"), path, data=body).body == body


def test_unix_socket(site, stage, visitor):
    path = stage.unix_origin.on(lambda r: r.reply(200, body=r.read_body()))
    assert visitor.get(site.host("socket"), path, data=b"through a file").body == b"through a file"
    assert stage.unix_origin.requests(path)[0].get("host") == f"{site.host('socket')}:{stage.edge.https}"


def test_http_status(site, visitor):
    answer = visitor.get(site.host("status"), "/any", data=b"ignored")
    assert (answer.status, answer.body) == (418, b"")


def test_catch_all(site, visitor):
    answer = visitor.get(site.host("unruled"), "/any")
    assert (answer.status, answer.body) == (404, b"")


def test_http_host_header(site, stage, visitor, origin):
    path = origin.on(whoami(b"renamed"))
    assert visitor.get(site.host("renamed"), path).body == b"renamed"
    [request] = origin.requests(path)
    assert request.get("host") == "inside.internal"
    assert request.get("x-forwarded-host") == f"{site.host('renamed')}:{stage.edge.https}"


@pytest.mark.parametrize(
    "path,status,who",
    [
        ("/api/v1/things", 200, "second"),
        ("/api/v12/", 200, "second"),
        ("/api/vx/", 200, "first"),
        ("/deep/api/v1/x", 200, "first"),
        ("/page.old", 410, None),
        ("/page.old?x", 410, None),
        ("/page.older", 200, "first"),
        ("/", 200, "first"),
        ("/%61pi/v1/x", 200, "second"),  # matched decoded
    ],
)
def test_paths_choose_the_rule(site, stage, origin, visitor, path, status, who):
    answer = visitor.get(site.host("paths"), path)
    assert answer.status == status
    assert [r.target for r in origin.seen] == ([path] if who == "first" else [])
    assert [r.target for r in stage.second.seen] == ([path] if who == "second" else [])


@pytest.mark.parametrize("label", ["one", "a-b-c", "xn--mnchen-3ya"])
def test_wildcard(site, stage, visitor, label):
    path = stage.second.on(whoami(b"wild"))
    assert visitor.get(f"{label}.{site.kind}.{ZONE}", path).body == b"wild"


def test_wildcard_does_not_cover_what_is_above_it(ours, visitor):
    assert visitor.get(f"{ours.kind}.{ZONE}", "/", "--insecure").status == 404


def test_host_is_compared_without_case(ours, raw, stage, origin):
    """(cloudflared compares byte by byte.)"""
    path = origin.on(whoami(b"same"))
    connection = raw(ours.host("app"))
    connection.host = ours.host("app").upper()
    connection.request("GET", path)
    assert connection.read().status == 200


def test_origin_closes_idle_connections(ours, origin, raw):
    """Whoever closes between two requests is not the visitor's problem."""
    path = origin.on(whoami(b"x"))
    connection = raw(ours.host("app"))
    for _ in range(6):
        connection.request("GET", path)
        assert connection.read().status == 200
        for sock in list(origin.connections):
            with contextlib.suppress(OSError):  # the connector may have been quicker
                sock.shutdown(2)


def test_origin_closes_after_every_response(site, origin, raw):
    def handler(r):
        r.keep_alive = False
        r.reply(200, [("Connection", "close")], b"once")

    path = origin.on(handler)
    connection = raw(site.host("app"))
    for _ in range(6):
        connection.request("GET", path)
        answer = connection.read()
        assert answer.body == b"once" and answer.get("connection") != "close"


def test_origin_of_http_1_0(site, origin, visitor):
    def handler(r):
        r.keep_alive = False
        r.send(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nold but fine")

    assert visitor.get(site.host("app"), origin.on(handler)).body == b"old but fine"


GARBAGE = {
    "no status": b"HELLO\r\n\r\n",
    "bad version": b"HTTP/9.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "space in name": b"HTTP/1.1 200 OK\r\nBad Name: x\r\nContent-Length: 0\r\n\r\n",
    "endless head": b"HTTP/1.1 200 OK\r\n" + b"X-Fill: " + b"y" * 8000 + b"\r\n" * 1 + b"X: y\r\n" * 20000,
    "unasked upgrade": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "other coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("what", GARBAGE, ids=str)
def test_origin_talks_nonsense(ours, visitor, origin, what):
    """502, or a response that is visibly cut off; never a hang, never a head that was not understood."""

    def handler(r):
        r.keep_alive = False
        r.send(GARBAGE[what])
        r.peer_gone(5)

    answer = visitor.fetch(ours.host("app"), origin.on(handler))
    assert answer.status == 502 or answer.curl_exit in (16, 18, 56, 92), answer


def test_two_responses_for_one_request(ours, raw, origin):
    """What follows a response belongs to nobody."""
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    path = origin.on(lambda r: r.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood" + evil))
    good = origin.on(whoami(b"mine"))
    connection = raw(ours.host("app"))
    for _ in range(8):
        connection.request("GET", path)
        assert connection.read().body == b"good"
        connection.request("GET", good)
        assert connection.read().body == b"mine"


def test_rules_are_reloaded(own, tmp_path):
    """A changed file is taken over, a broken one is refused and named; no connection is lost."""
    edge = own.edge()
    cli = own.cli(edge)
    tunnel = cli.create("reload")
    cli.route(tunnel, f"app.{ZONE}")
    first, second = Origin(), Origin()
    path = tmp_path / "config.yml"
    rule = {"hostname": f"app.{ZONE}"}
    write_config(path, tunnel, [{**rule, "service": first.service}])
    connector = own.connect(cli, tunnel, path)
    visitor = Visitor(edge, "http2", tmp_path)
    first.handlers["/who"], second.handlers["/who"] = whoami(b"first"), whoami(b"second")
    assert visitor.get(f"app.{ZONE}", "/who").body == b"first"
    write_config(path, tunnel, [{**rule, "service": second.service}])
    wait_until(lambda: visitor.get(f"app.{ZONE}", "/who").body == b"second", "new rules")
    mark = connector.mark()
    path.write_text("ingress:\n  - hostname: [broken\n")
    connector.wait_log(r"(?i)(ERR|WRN).*config", since=mark)
    assert visitor.get(f"app.{ZONE}", "/who").body == b"second"
    edge.wait_connections(4)
    first.close(), second.close()


def test_url_on_the_command_line(own, tmp_path):
    """`tunnel run --url`: one service, no file."""
    edge = own.edge()
    cli = own.cli(edge)
    tunnel = cli.create("by-url")
    cli.route(tunnel, f"app.{ZONE}")
    origin = Origin()
    config = tmp_path / "empty.yml"
    config.write_text("no-autoupdate: true\n")
    own.connect(cli, tunnel, config, args=["--url", origin.service])
    answer = Visitor(edge, "http1.1", tmp_path).get(f"app.{ZONE}", "/echo", data=b"x")
    assert answer.body == b"x"
    origin.close()
