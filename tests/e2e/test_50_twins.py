"""The oracle: the same request through adit and through cloudflared, over the same edge, gives the origin
the same request and the visitor the same response.

What may differ, and why:
  CF-Ray                 another one for every request
  Cf-Warp-Tag-Id         the connector's id
  host names             each connector has its own; compared as SITE
  order, case of names   Go sorts fields by name and writes names its own way; neither means anything
                         (RFC 9110 §5.1, §5.3); fields of one name keep their order, and that is compared
  chunk boundaries       the bytes are compared, not how they were cut; nor how it is said that there are
                         none, which depends on whether head and end come together
  Accept-Encoding        the edge says "identity" to cloudflared where the visitor said nothing: Go would
                         ask for gzip otherwise and unpack it on the way
  what ONE_SIDED lists   with its reason
"""

import pytest

from testenv.origin import BLOCK

BODY = BLOCK[:100_000]


def reply(*args, **kwargs):
    return lambda r: (r.read_body(), r.reply(*args, **kwargs))


def chunked(*parts, headers=(), trailers=b""):
    def handler(r):
        r.read_body()
        r.head(200, [("Transfer-Encoding", "chunked"), *headers])
        for part in parts:
            r.chunk(part)
        r.last_chunk(trailers)

    return handler


def until_close(body, headers=()):
    def handler(r):
        r.read_body()
        r.keep_alive = False
        r.head(200, [("Connection", "close"), *headers])
        r.send(body)

    return handler


def half_way(r):
    r.head(200, [("Content-Length", "100000")])
    r.send(b"x" * 20_000)
    r.keep_alive = False


# name: (handler, dict of arguments for the visitor)
TABLE = {
    "get": (reply(200, [("Content-Type", "text/html")], b"<p>hi"), {}),
    "head": (reply(200, [("Content-Type", "text/html")], b"<p>hi"), {"method": "HEAD"}),
    "head of chunked": (chunked(b""), {"method": "HEAD"}),
    "options": (reply(204, [("Allow", "GET, HEAD")]), {"method": "OPTIONS"}),
    "post": (reply(201, [("Location", "/new")], b"made"), {"data": BODY}),
    "post of a form": (reply(303, [("Location", "/x")]), {"data": b"a=1&b=%20"}),
    "put": (reply(200, body=b"ok"), {"data": BODY, "method": "PUT"}),
    "delete": (reply(202), {"method": "DELETE"}),
    "odd method": (reply(207, body=b"<x/>"), {"data": b"<propfind/>", "method": "PROPFIND"}),
    "chunked upload": (reply(200, body=b"ok"), {"data": BODY, "headers": [("Transfer-Encoding", "chunked")]}),
    "get with a body": (reply(200, body=b"ok"), {"data": b"query", "method": "GET"}),
    "expect": (reply(200, body=b"ok"), {"data": b"x" * 2000, "headers": [("Expect", "100-continue")]}),
    "chunked": (chunked(b"a", b"b" * 70_000, b"c"), {}),
    "chunked empty": (chunked(), {}),
    "trailers": (chunked(b"x", headers=[("Trailer", "X-T")], trailers=b"X-T: 1\r\n"), {}),
    "until close": (until_close(BODY), {}),
    "empty": (reply(200), {}),
    "large": (reply(200, [("Content-Type", "application/octet-stream")], BLOCK), {}),
    "204": (reply(204, [("X-A", "b")]), {}),
    "205": (reply(205), {}),
    "304": (reply(304, [("ETag", 'W/"1"'), ("Cache-Control", "max-age=1")]), {}),
    "301": (reply(301, [("Location", "https://elsewhere.example/")], b"moved"), {}),
    "401": (reply(401, [("WWW-Authenticate", 'Basic realm="x"')], b"no"), {}),
    "418": (reply(418, body=b"teapot"), {}),
    "500": (reply(500, [("Content-Type", "text/plain")], b"broken"), {}),
    "502 of the origin": (reply(502, [("Content-Type", "text/plain")], b"mine"), {}),
    "599": (reply(599, body=b"?"), {}),
    "no type": (reply(200, body=b"<html>sniff me</html>"), {}),
    "many cookies": (reply(200, [("Set-Cookie", f"c{i}={i}") for i in range(20)]), {}),
    "repeated fields": (reply(200, [("X-B", "1"), ("X-A", "2"), ("X-B", "3")]), {"headers": [("X-B", "1"), ("X-B", "2")]}),
    "empty values": (reply(200, [("X-Empty", "")]), {"headers": [("X-Empty", "")]}),
    "strange names": (reply(200, [("x_under-score.dot", "1"), ("X-!#$%&'*+^`|~", "2")]),
                      {"headers": [("x_under-score.dot", "1"), ("x-!#$%&'*+^`|~", "2")]}),
    "bytes above ascii": (reply(200, [("X-Odd", "gr\xfc\xdf \xff")]), {"headers": []}),
    "long value": (reply(200, [("X-Long", "v" * 12_000)]), {"headers": [("X-Long", "v" * 12_000)]}),
    "date": (reply(200, [("Date", "Tue, 15 Nov 1994 08:12:31 GMT"), ("Server", "me")]), {}),
    "forwarding": (reply(200), {"headers": [("X-Forwarded-For", "1.2.3.4"), ("Forwarded", "for=1.2.3.4"), ("Via", "1.1 x")]}),
    "forged": (reply(200), {"headers": [("CF-Connecting-IP", "6.6.6.6"), ("Cf-Warp-Tag-X", "y"), ("Cf-Access-Token", "t")]}),
    "hop by hop": (reply(200, [("Connection", "X-P"), ("X-P", "1"), ("Keep-Alive", "timeout=3")]), {"headers": [("TE", "trailers")]}),
    "range": (reply(206, [("Content-Range", "bytes 0-1/5")], b"ab"), {"headers": [("Range", "bytes=0-1")]}),
    "encoding asked for": (reply(200, [("Content-Encoding", "br"), ("Vary", "Accept-Encoding")], b"\x0b\x02\x80x\x03"),
                           {"headers": [("Accept-Encoding", "br, gzip")]}),
    "event stream": (chunked(b"data: 1\n\n", headers=[("Content-Type", "text/event-stream")]), {}),
    "early hints": (lambda r: (r.head(103, [("Link", "</x>")]), r.reply(200, body=b"x")), {}),
    "origin leaves": (lambda r: r.cut(), {}),
    "origin leaves half-way": (half_way, {}),
    "origin talks nonsense": (lambda r: (r.send(b"what?\r\n\r\n"), r.cut()), {}),
}

# Test: fields (direction, name) that only one of the two sends, or sends otherwise, and why.
ONE_SIDED = {
    # Ours passes TE: trailers on and names it in Connection, as RFC 9110 §10.1.4 asks.
    "hop by hop": {("request", "connection"), ("request", "te")},
    # Ours tells the visitor that trailers will follow; Go drops the announcement.
    "trailers": {("response", "trailer")},
}
VOLATILE = {"cf-ray", "cf-warp-tag-id"}
# The connector says why it failed only to its own edge: the pages differ, their meaning does not.
FAILURES = {"origin leaves", "origin talks nonsense"}
# How much of it arrives is a matter of buffers (over HTTP/2 not even the head may); that it is not all
# must be seen.
PARTIAL = {"origin leaves half-way"}


def grouped(fields, site, one_sided, direction):
    out = {}
    for name, value in fields:
        name = name.lower()
        if name not in VOLATILE and (direction, name) not in one_sided:
            out.setdefault(name, []).append(value.replace(site.host("app"), "SITE"))
    return out


def play(stage, kind, visitor, name):
    handler, args = TABLE[name]
    site = stage.site(kind)
    path = "/twins-" + name.replace(" ", "-")
    stage.origin.forget()
    stage.origin.handlers[path] = handler
    answer = visitor.fetch(site.host("app"), path + "?q=%20/../x", **args)
    one_sided = ONE_SIDED.get(name, set())
    requests = [
        (r.request_line, grouped(r.headers, site, one_sided, "request"), r.body) for r in stage.origin.requests(path)
    ]
    stage.origin.forget()
    if name in FAILURES:
        return requests, {"status": answer.status}
    if name in PARTIAL:
        return requests, {"complete": answer.curl_exit == 0}
    headers = grouped(answer.headers, site, one_sided, "response")
    if not answer.body and answer.status == 200 and args.get("method") != "HEAD":
        headers.pop("transfer-encoding", None)
        if headers.get("content-length") == ["0"]:
            del headers["content-length"]
    return requests, {
        "status": answer.status,
        "headers": headers,
        "trailers": sorted(answer.trailers),
        "body": answer.body,
        "complete": answer.curl_exit == 0,
    }


@pytest.mark.parametrize("name", TABLE)
def test_twins(stage, visitor, name, request):
    from conftest import need

    need("stock")
    ours, theirs = play(stage, "adit", visitor, name), play(stage, "stock", visitor, name)
    assert ours[0]
    for _, fields, _ in theirs[0]:
        if fields.get("accept-encoding") == ["identity"]:
            del fields["accept-encoding"]
    # A request that an origin broke off may be tried again by either: the first one counts.
    assert differences("request", ours[0][0], theirs[0][0]) == []
    assert differences("response", ours[1], theirs[1]) == []


def differences(what, ours, theirs):
    """The leaves that are not the same: (where, of adit, of cloudflared)."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        names = sorted({*ours, *theirs})
        return [d for n in names for d in differences(f"{what} {n}", ours.get(n), theirs.get(n))]
    if isinstance(ours, tuple) and isinstance(theirs, tuple):
        pairs = enumerate(zip(ours, theirs))
        return [d for i, (a, b) in pairs for d in differences(f"{what} {('line', 'field', 'body')[i]}", a, b)]
    return [] if ours == theirs else [(what, repr(ours)[:300], repr(theirs)[:300])]
