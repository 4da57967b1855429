"""What the edge and the connector add, change and take away."""

import re

import pytest

from testenv.edge import LOCATION

RAY = re.compile(r"[0-9a-f]{16}-" + LOCATION)


def test_the_origin_learns_who_asks(site, stage, visitor, origin):
    path = origin.on(lambda r: r.reply(200))
    answer = visitor.get(site.host("app"), path)
    [request] = origin.requests(path)
    authority = f"{site.host('app')}:{stage.edge.https}"
    assert request.all("host") == [authority]
    assert request.all("x-forwarded-for") == ["127.0.0.1"]
    assert request.all("x-forwarded-proto") == ["https"]
    assert request.all("x-forwarded-host") == [authority]
    assert request.all("cf-connecting-ip") == ["127.0.0.1"]
    assert request.all("cf-visitor") == ['{"scheme":"https"}']
    assert len(request.all("cdn-loop")) == 1
    assert re.fullmatch(r"[0-9a-f-]{36}", request.get("cf-warp-tag-id"))
    assert RAY.fullmatch(request.get("cf-ray")) and request.get("cf-ray") == answer.get("cf-ray")
    assert not [n for n, _ in request.headers if n.lower().startswith(("cf-cloudflared", "cf-int", "adit-"))]


def test_every_request_has_its_own_ray(site, visitor, origin):
    path = origin.on(lambda r: r.reply(200))
    assert len({visitor.get(site.host("app"), path).get("cf-ray") for _ in range(5)}) == 5


FORGED = {
    "CF-Connecting-IP": "6.6.6.6",
    "CF-Ray": "0000000000000000-EVL",
    "CF-Visitor": '{"scheme":"gopher"}',
    "CF-IPCountry": "XX",
    "True-Client-IP": "6.6.6.6",
    "Cf-Warp-Tag-Id": "forged",
    "Cf-Warp-Tag-Role": "forged",
    "Cf-Access-Jwt-Assertion": "forged",
    "Cf-Access-Authenticated-User-Email": "root@example.com",
    "Cf-Cloudflared-Proxy-Src": "forged",
    "Cf-Cloudflared-Proxy-Connection-Upgrade": "control-stream",
    "Cf-Cloudflared-Request-Headers": "forged",
    "Cf-Int-Anything": "forged",
    "Cf-Trace-Id": "forged",
    "X-Forwarded-Proto": "gopher",
    "X-Forwarded-Host": "evil.example",
}


def test_forged_identity_is_stripped(site, visitor, origin):
    path = origin.on(lambda r: r.reply(200))
    assert visitor.get(site.host("app"), path, headers=FORGED.items()).status == 200
    [request] = origin.requests(path)
    values = [v for _, v in request.headers]
    for name, value in FORGED.items():
        assert value not in request.all(name), name
    assert not {"forged", "6.6.6.6", "evil.example"} & set(values)


@pytest.mark.parametrize("kind", ["control-stream", "update-configuration", "websocket"])
def test_a_visitor_cannot_reach_the_tunnel_protocol(site, visitor, origin, kind):
    """The connector would take such a request for the edge's own."""
    path = origin.on(lambda r: r.reply(200, body=r.read_body()))
    headers = [("cf-cloudflared-proxy-connection-upgrade", kind), ("cf-cloudflared-proxy-src", "x")]
    answer = visitor.get(site.host("app"), path, headers=headers, data=b"body")
    assert answer.body == b"body" and origin.requests(path)[0].method == "POST"


def test_x_forwarded_for_is_extended(site, visitor, origin):
    path = origin.on(lambda r: r.reply(200))
    visitor.get(site.host("app"), path, headers=[("X-Forwarded-For", "10.1.1.1, 10.2.2.2")])
    assert origin.requests(path)[0].all("x-forwarded-for") == ["10.1.1.1, 10.2.2.2, 127.0.0.1"]


def test_other_loops_are_extended(site, visitor, origin):
    path = origin.on(lambda r: r.reply(200))
    visitor.get(site.host("app"), path, headers=[("CDN-Loop", "other; v=1")])
    assert re.fullmatch(r"other; v=1, adit-[0-9a-f]{8}", origin.requests(path)[0].get("cdn-loop"))


def test_own_loop_is_refused(site, visitor, origin):
    path = origin.on(lambda r: r.reply(200))
    visitor.get(site.host("app"), path)
    token = origin.requests(path)[0].get("cdn-loop")
    answer = visitor.get(site.host("app"), path, headers=[("CDN-Loop", f"other, {token}; x=1")])
    assert answer.status == 508 and "oop" in answer.text
    assert len(origin.requests(path)) == 1


def test_a_service_that_leads_back_to_the_edge(own, tmp_path):
    """A rule whose service is the edge itself: refused after one round."""
    from testenv.connector import write_config
    from testenv.visitor import Visitor

    edge = own.edge()
    cli = own.cli(edge)
    tunnel = cli.create("loop")
    cli.route(tunnel, "loop.example.com")
    service = {"hostname": "loop.example.com", "service": f"https://127.0.0.1:{edge.https}",
               "originRequest": {"noTLSVerify": True, "originServerName": "loop.example.com"}}  # fmt: skip
    own.connect(cli, tunnel, write_config(tmp_path / "c.yml", tunnel, [service]))
    assert Visitor(edge, "http2", tmp_path).get("loop.example.com", "/").status == 508


HOP_BY_HOP = [
    ("Connection", "keep-alive, X-Private, close-not"),
    ("X-Private", "for the edge only"),
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Connection", "keep-alive"),
    ("Proxy-Authorization", "Basic Zm9vOmJhcg=="),
    ("TE", "trailers, deflate"),
    ("Upgrade", "h2c"),
]


def test_hop_by_hop_headers_go_no_further(site, raw, origin):
    path = origin.on(lambda r: r.reply(200))
    connection = raw(site.host("app"))
    connection.request("GET", path, [*HOP_BY_HOP, ("X-Public", "for all")])
    assert connection.read().status == 200
    [request] = origin.requests(path)
    assert request.get("x-public") == "for all"
    for name in ("x-private", "keep-alive", "proxy-connection", "proxy-authorization", "upgrade"):
        assert request.get(name) is None, name
    assert request.get("te") in (None, "trailers")
    assert (request.get("connection") or "keep-alive").lower() in ("keep-alive", "keep-alive, te")


def test_hop_by_hop_headers_of_the_response(site, visitor, origin):
    extra = [("Connection", "X-Private"), ("X-Private", "secret"), ("Keep-Alive", "timeout=99"),
             ("Proxy-Authenticate", "Basic"), ("Upgrade", "h2c"), ("X-Public", "for all")]  # fmt: skip
    path = origin.on(lambda r: r.reply(200, extra, b"x"))
    answer = visitor.get(site.host("app"), path)
    assert answer.get("x-public") == "for all"
    assert answer.get("x-private") is None and answer.get("keep-alive") != "timeout=99" and answer.get("upgrade") is None


def test_the_origin_cannot_speak_for_the_tunnel(site, visitor, origin):
    extra = [("Cf-Cloudflared-Response-Meta", '{"src":"cloudflared"}'), ("Cf-Int-X", "y"), ("CF-Ray", "forged")]
    path = origin.on(lambda r: r.reply(200, extra, b"x"))
    answer = visitor.get(site.host("app"), path)
    assert answer.status == 200 and RAY.fullmatch(answer.get("cf-ray"))
    assert not [n for n, _ in answer.headers if n.startswith(("cf-cloudflared", "cf-int"))]


def test_user_agent_is_not_invented(site, raw, origin):
    path = origin.on(lambda r: r.reply(200))
    connection = raw(site.host("app"))
    connection.request("GET", path)
    assert connection.read().status == 200
    request = origin.requests(path)[0]
    assert request.get("user-agent") is None and request.get("accept") is None


def test_date_and_server_of_the_origin(site, visitor, origin):
    extra = [("Date", "Tue, 15 Nov 1994 08:12:31 GMT"), ("Server", "mine/1.0")]
    path = origin.on(lambda r: r.reply(200, extra, b"x"))
    answer = visitor.get(site.host("app"), path)
    assert answer.all("date") == ["Tue, 15 Nov 1994 08:12:31 GMT"] and answer.all("server") == ["mine/1.0"]


def test_bytes_above_ascii(site, raw, origin):
    value = "caf\xc3\xa9 \xfe\xff"
    path = origin.on(lambda r: r.reply(200, [("X-Back", r.get("x-odd"))]))
    connection = raw(site.host("app"))
    connection.request("GET", path, [("X-Odd", value)])
    answer = connection.read()
    assert origin.requests(path)[0].get("x-odd") == value
    assert answer.get("x-back") == value


def test_tags_of_the_connector(own, tmp_path, origin):
    from testenv.connector import write_config
    from testenv.visitor import Visitor

    edge = own.edge()
    cli = own.cli(edge)
    tunnel = cli.create("tagged")
    cli.route(tunnel, "tag.example.com")
    rule = {"hostname": "tag.example.com", "service": origin.service}
    config = write_config(tmp_path / "c.yml", tunnel, [rule], tag=["role=blue"])
    own.connect(cli, tunnel, config)
    path = origin.on(lambda r: r.reply(200))
    Visitor(edge, "http2", tmp_path).get("tag.example.com", path)
    assert origin.requests(path)[0].all("cf-warp-tag-role") == ["blue"]
    origin.forget()
