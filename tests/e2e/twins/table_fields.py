"""Header fields, both ways."""

from .case import Case, raw, reply

COOKIE = ("Set-Cookie", "id=1; Path=/; Secure; HttpOnly; SameSite=Lax; Expires=Wed, 21 Oct 2026 07:28:00 GMT")

# What a visitor sends and a service gets as it is.
REQUESTS = {
    "repeated": [("X-B", "1"), ("X-A", "2"), ("X-B", "3"), ("x-b", "1")],
    "empty value": [("X-Empty", ""), ("X-After", "1")],
    "several empty values": [("X-Empty", ""), ("X-Empty", ""), ("X-Empty", "x")],
    "long value": [("X-Long", "v" * 16_000)],
    "long name": [("X-" + "n" * 500, "1")],
    "many fields": [(f"X-Field-{i}", str(i)) for i in range(150)],
    "odd names": [("x_under-score.dot", "1"), ("X-!#$%&'*+^`|~", "2"), ("0", "3"), ("-", "4"), ("_", "5")],
    "obs-text": [("X-Odd", "gr\xfc\xdf \xff\x80")],
    "utf-8": [("X-Odd", "caf\xc3\xa9 \xe2\x9c\x93")],
    "tabs inside": [("X-Tab", "a\tb  c")],
    "every visible byte": [("X-Visible", "".join(map(chr, range(0x21, 0x7F))))],
    "quotes and commas": [("X-List", 'a, "b, c", , d;q="1\\"2"'), ("X-List", ",")],
    "several cookies in one": [("Cookie", "a=1; b=2; c=\"3\"; d=")],
    "user agent": [("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Twin/1")],
    "empty user agent": [("User-Agent", "")],
    "accept": [("Accept", "text/html;q=0.9, */*;q=0.1"), ("Accept-Language", "de, en;q=0.5")],
    "authorization": [("Authorization", "Basic dXNlcjpwYXNzd29yZA==")],
    "bearer": [("Authorization", "Bearer " + "x" * 4000)],
    "forwarded": [("Forwarded", 'for=192.0.2.60;proto=http;by=203.0.113.43, for="[2001:db8::1]"')],
    "via": [("Via", "1.0 fred, 1.1 p.example.com"), ("Via", "1.1 another")],
    "x-real-ip": [("X-Real-IP", "192.0.2.1"), ("X-Client-IP", "192.0.2.2"), ("X-Forwarded-Port", "80")],
    "range": [("Range", "bytes=0-1,5-9,-3")],
    "if-range": [("Range", "bytes=5-"), ("If-Range", '"tag"')],
    "conditions": [("If-None-Match", 'W/"a", "b", *'), ("If-Modified-Since", "Sat, 29 Oct 1994 19:43:31 GMT")],
    "preconditions": [("If-Match", '"x"'), ("If-Unmodified-Since", "Sat, 29 Oct 1994 19:43:31 GMT")],
    "cache control": [("Cache-Control", "no-cache, max-age=0"), ("Pragma", "no-cache")],
    "origin": [("Origin", "https://other.example"), ("Access-Control-Request-Method", "PUT"),
               ("Access-Control-Request-Headers", "x-a, x-b")],
    "referer": [("Referer", "https://example.com/page?x=y#frag")],
    "sec-fetch": [("Sec-Fetch-Mode", "navigate"), ("Sec-CH-UA", '"Chromium";v="1"'), ("Upgrade-Insecure-Requests", "1")],
    "priority": [("Priority", "u=1, i")],
    "save-data": [("DNT", "1"), ("Save-Data", "on"), ("Max-Forwards", "7")],
    "prefer": [("Prefer", "return=minimal; foo"), ("From", "me@example.com")],
    "tracing": [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("tracestate", "a=b")],
    "own ids": [("X-Request-Id", "abc"), ("X-Correlation-ID", "def")],
    "te trailers": [("TE", "trailers")],
    "date": [("Date", "Tue, 15 Nov 1994 08:12:31 GMT")],
    "method override": [("X-HTTP-Method-Override", "DELETE")],
    "accept-encoding": [("Accept-Encoding", "gzip;q=1.0, br, zstd, *;q=0")],
    "accept-encoding empty": [("Accept-Encoding", "")],
    "accept-encoding identity": [("Accept-Encoding", "identity")],
    "destination": [("Destination", "https://example.com/x"), ("Depth", "infinity"), ("Overwrite", "T")],
    "content without a body": [("Content-Type", "text/plain"), ("Content-Language", "de")],
    "early data": [("Early-Data", "1")],
    "cf-like": [("CF-IPLongitude", "1"), ("CF-Worker", "x.example"), ("Cf-Custom", "y")],
    "x-forwarded-ssl": [("X-Forwarded-Ssl", "on"), ("Front-End-Https", "on"), ("X-Url-Scheme", "https")],
}

# What a service sends and the visitor gets as it is.
RESPONSES = {
    "repeated": [("X-B", "1"), ("X-A", "2"), ("X-B", "3"), ("x-b", "1")],
    "empty value": [("X-Empty", ""), ("X-After", "1")],
    "long value": [("X-Long", "v" * 16_000)],
    "long name": [("X-" + "n" * 500, "1")],
    "many fields": [(f"X-Field-{i}", str(i)) for i in range(150)],
    "odd names": [("x_under-score.dot", "1"), ("X-!#$%&'*+^`|~", "2"), ("0", "3"), ("-", "4")],
    "obs-text": [("X-Odd", "gr\xfc\xdf \xff\x80")],
    "tabs inside": [("X-Tab", "a\tb  c")],
    "every visible byte": [("X-Visible", "".join(map(chr, range(0x21, 0x7F))))],
    "one cookie": [COOKIE],
    "many cookies": [("Set-Cookie", f"c{i}={i}; Path=/{i}") for i in range(40)],
    "same cookie twice": [("Set-Cookie", "a=1"), ("set-cookie", "a=1"), ("SET-COOKIE", "a=; Max-Age=0")],
    "date and server": [("Date", "Tue, 15 Nov 1994 08:12:31 GMT"), ("Server", "mine/1.0 (x)")],
    "no type": [],
    "odd type": [("Content-Type", "nonsense"), ("X-Content-Type-Options", "nosniff")],
    "two types": [("Content-Type", "text/html"), ("Content-Type", "text/plain")],
    "strict transport security": [("Strict-Transport-Security", "max-age=31536000; includeSubDomains; preload")],
    "policy": [("Content-Security-Policy", "default-src 'self'; img-src *"), ("X-Frame-Options", "DENY"),
               ("Permissions-Policy", "geolocation=()"), ("Cross-Origin-Opener-Policy", "same-origin")],
    "alt-svc": [("Alt-Svc", 'h3=":443"; ma=3600, h2="alt.example:443"')],
    "alt-svc clear": [("Alt-Svc", "clear")],
    "link": [("Link", "</style.css>; rel=preload; as=style"), ("Link", "<https://x.example/>; rel=next")],
    "refresh": [("Refresh", "5; url=/next")],
    "content-location": [("Content-Location", "/the/real/one"), ("Content-Language", "de, en")],
    "content-md5": [("Content-MD5", "Q2hlY2sgSW50ZWdyaXR5IQ=="), ("Digest", "sha-256=x"), ("Want-Digest", "md5")],
    "etag": [("ETag", 'W/"strange \xff tag"'), ("Last-Modified", "Sat, 29 Oct 1994 19:43:31 GMT")],
    "caching": [("Cache-Control", "private, max-age=0"), ("Expires", "0"), ("Age", "12"), ("Pragma", "no-cache")],
    "vary": [("Vary", "Accept, Cookie"), ("Vary", "*")],
    "cors": [("Access-Control-Allow-Origin", "*"), ("Access-Control-Expose-Headers", "X-A")],
    "disposition": [("Content-Disposition", "attachment; filename=\"a b.txt\"; filename*=UTF-8''%e2%82%ac.txt")],
    "via": [("Via", "1.1 inner"), ("X-Cache", "HIT"), ("X-Powered-By", "C")],
    "server timing": [("Server-Timing", 'db;dur=53, app;dur=47.2;desc="x"'), ("Timing-Allow-Origin", "*")],
    "warning": [("Warning", '110 - "Response is stale"'), ("Retry-After", "120")],
    "accept ranges": [("Accept-Ranges", "bytes")],
    "allow": [("Allow", "GET, HEAD, PROPFIND")],
    "x-accel": [("X-Accel-Redirect", "/internal"), ("X-Sendfile", "/etc/passwd"), ("X-Accel-Buffering", "no")],
    "status field": [("Status", "404 Not Found"), ("X-Runtime", "0.1")],
    "sourcemap": [("SourceMap", "/x.map"), ("NEL", '{"report_to":"x"}'), ("Report-To", '{"group":"x"}')],
    "clear site data": [("Clear-Site-Data", '"cache", "cookies"')],
    "cf-like": [("CF-Cache-Status", "DYNAMIC"), ("CF-Worker", "x"), ("cf-custom", "y")],
    "proxy status": [("Proxy-Status", "inner; error=http_response_timeout"), ("Cache-Status", "inner; hit")],
}


def requests():
    for name, headers in REQUESTS.items():
        yield Case(f"asks/{name}", reply(200), headers=tuple(headers))
    yield Case("asks/several cookie fields", reply(200), versions=("1.1",),
               headers=(("Cookie", "a=1"), ("Cookie", "b=2; c=3")), expect={"request field cookie": "*"})  # fmt: skip
    yield Case("asks/cookie crumbs", reply(200), versions=("2",),
               headers=(("Cookie", "a=1"), ("Cookie", "b=2"), ("Cookie", "c=3")),
               expect={"request field cookie": ["a=1; b=2; c=3"]})  # fmt: skip
    yield Case("asks/blanks around", reply(200), headers=(("X-Blank", " \t a b \t "), ("X-After", "1")),
               expect={"request field x-blank": ["a b"]}, versions=("1.1",))  # fmt: skip
    yield Case("asks/x-forwarded-for", reply(200), headers=(("X-Forwarded-For", "10.0.0.1"), ("X-Forwarded-For", "::1")),
               expect={"request field x-forwarded-for": ["10.0.0.1, ::1, 127.0.0.1"]})  # fmt: skip
    yield Case("asks/x-forwarded others", reply(200), headers=(("X-Forwarded-Proto", "gopher"), ("X-Forwarded-Host", "no")),
               expect={"request field x-forwarded-proto": ["https"], "request field x-forwarded-host": ["SITE"]})  # fmt: skip
    forged = ("CF-Connecting-IP", "Cf-Warp-Tag-X", "Cf-Access-Authenticated-User-Email", "CF-Visitor", "True-Client-IP",
              "Cf-Cloudflared-Proxy-Connection-Upgrade", "Cf-Cloudflared-Proxy-Src", "Cf-Trace-Id")  # fmt: skip
    yield Case("asks/forged", reply(200), headers=tuple((n, "6.6.6.6") for n in forged),
               lost={n.lower() for n in forged})  # fmt: skip
    yield Case("asks/named by connection", reply(200), versions=("1.1",),
               headers=(("Connection", "X-Private, keep-alive"), ("X-Private", "1"), ("Keep-Alive", "timeout=5"),
                        ("X-Public", "2")),
               lost={"x-private", "keep-alive"}, expect={"request field x-private": None})  # fmt: skip
    yield Case("asks/to close", reply(200), headers=(("Connection", "close"),), versions=("1.1",))
    yield Case("asks/proxy fields", reply(200), versions=("1.1",), lost={"proxy-connection", "proxy-authorization"},
               headers=(("Proxy-Connection", "keep-alive"), ("Proxy-Authorization", "Basic Zm9v")),
               expect={"request field proxy-authorization": None, "request field proxy-connection": None})  # fmt: skip
    yield Case("asks/te of more", reply(200), headers=(("TE", "gzip, trailers;q=0.5"),), versions=("1.1",), lost={"te"})
    yield Case("asks/te named", reply(200), headers=(("TE", "trailers"), ("Connection", "TE")), versions=("1.1",))
    yield Case("asks/upgrade to h2c", reply(200, body=b"plain"), versions=("1.1",), lost={"upgrade", "http2-settings"},
               headers=(("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"),
                        ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA")),
               expect={"request field upgrade": None})  # fmt: skip
    yield Case("asks/upgrade to something", reply(200, body=b"plain"), versions=("1.1",), lost={"upgrade"},
               headers=(("Connection", "Upgrade"), ("Upgrade", "IRC/6.9, foo")),
               expect={"request field upgrade": None})  # fmt: skip
    yield Case("asks/trailer announced", reply(200), method="POST", pieces=(b"x",), headers=(("Trailer", "X-T"),),
               lost={"trailer"})  # fmt: skip
    yield Case("asks/own host", reply(200), versions=("1.1",), headers=(("Host", "SITE"),),
               expect={"request field host": ["SITE"]})  # fmt: skip
    yield Case("asks/host with a port", reply(200), versions=("1.1",), headers=(("Host", "SITE:443"),),
               expect={"request field host": ["SITE:443"]})  # fmt: skip
    yield Case("asks/host in capitals", reply(200), versions=("1.1",), headers=(("Host", "CAPITALS"),),
               expect={"request field host": ["CAPITALS"]})  # fmt: skip
    yield Case("asks/host with a dot at its end", reply(200), versions=("1.1",), headers=(("Host", "SITE."),),
               expect={"request field host": ["SITE."]})  # fmt: skip
    yield Case("asks/content fields", reply(200), method="POST", body=b"x" * 20,
               headers=(("Content-Type", "multipart/form-data; boundary=\"=_x\""), ("Content-Encoding", "gzip"),
                        ("Content-Language", "de"), ("Content-MD5", "Q2hlY2sgSW50ZWdyaXR5IQ=="),
                        ("Content-Range", "bytes 0-19/100")))  # fmt: skip


def responses():
    for name, headers in RESPONSES.items():
        yield Case(f"tells/{name}", reply(200, headers, b"<html>x</html>"))
    yield Case("tells/blanks around", reply(200, [("X-Blank", " \t a b \t "), ("X-After", "1")], b"x"),
               expect={"response field x-blank": ["a b"]})  # fmt: skip
    yield Case("tells/no blank", raw("HTTP/1.1 200 OK\r\nX-Tight:1\r\nContent-Length:1\r\n\r\nx", status=200,
                                     headers=[("X-Tight", "1")], body=b"x"))  # fmt: skip
    yield Case("tells/a folded line", raw("HTTP/1.1 200 OK\r\nX-Fold: a\r\n\tb\r\n  c\r\nContent-Length: 1\r\n\r\nx", status=200, body=b"x"))
    yield Case("tells/bare line feeds", raw("HTTP/1.1 200 OK\nX-A: 1\nContent-Length: 1\n\nx", status=200,
                                           headers=[("X-A", "1")], body=b"x"))  # fmt: skip
    yield Case("tells/some bare line feeds", raw("HTTP/1.1 200 OK\r\nX-A: 1\nContent-Length: 1\n\r\nx", status=200,
                                                headers=[("X-A", "1")], body=b"x"))
    yield Case("tells/blank before the colon", raw("HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length: 1\r\n\r\nx"), page=True)
    yield Case("tells/a field without a name", raw("HTTP/1.1 200 OK\r\n: 1\r\nContent-Length: 1\r\n\r\nx"), page=True)
    yield Case("tells/a line without a colon", raw("HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 1\r\n\r\nx"), page=True)
    yield Case("tells/a nul", raw("HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 1\r\n\r\nx"), page=True)
    yield Case("tells/a name with a blank", raw("HTTP/1.1 200 OK\r\nX A: 1\r\nContent-Length: 1\r\n\r\nx"), page=True)
    yield Case("tells/a name above ascii", raw("HTTP/1.1 200 OK\r\nX-\xe9: 1\r\nContent-Length: 1\r\n\r\nx"), page=True)
    for status, location in ((301, "https://elsewhere.example/"), (302, "/relative?x=y"), (303, "next"), (307, "//h/x"),
                             (308, "?q"), (302, "caf\xc3\xa9"), (201, "/made")):  # fmt: skip
        yield Case(f"tells/location {status} {location!a}", reply(status, [("Location", location)], b"go"))
    for scheme in ("Basic realm=\"x\", Digest realm=\"y\", nonce=\"z\"", "Negotiate", "Bearer error=\"invalid\""):
        headers = [("WWW-Authenticate", scheme), ("WWW-Authenticate", "Other")]
        yield Case(f"tells/authenticate {scheme[:6]}", reply(401, headers, b"no"))
    yield Case("tells/authentication info", reply(200, [("Authentication-Info", 'nextnonce="x"')]))
    yield Case("tells/range", reply(206, [("Content-Range", "bytes 0-1/5")], b"ab"), headers=(("Range", "bytes=0-1"),))
    yield Case("tells/several ranges", reply(206, [("Content-Type", "multipart/byteranges; boundary=B")],
                                             b"--B\r\nContent-Range: bytes 0-0/5\r\n\r\na\r\n--B--\r\n"),
               headers=(("Range", "bytes=0-0,2-2"),))  # fmt: skip
    yield Case("tells/range that is not", reply(416, [("Content-Range", "bytes */5")]), headers=(("Range", "bytes=9-"),))
    yield Case("tells/not modified", reply(304, [("ETag", '"x"'), ("Vary", "A"), ("Cache-Control", "max-age=1")]),
               headers=(("If-None-Match", '"x"'),))  # fmt: skip
    yield Case("tells/failed condition", reply(412, [("ETag", '"y"')], b"changed"), headers=(("If-Match", '"x"'),))
    yield Case("tells/hop by hop", reply(200, [("Connection", "X-P, keep-alive"), ("X-P", "1"), ("Keep-Alive", "timeout=3"),
                                               ("Proxy-Connection", "keep-alive"), ("X-Q", "2")], b"x"),
               hidden={"x-p", "keep-alive", "proxy-connection"}, expect={"response field x-p": None})  # fmt: skip
    yield Case("tells/proxy authenticate", reply(407, [("Proxy-Authenticate", "Basic")], b"x"),
               hidden={"proxy-authenticate"})  # fmt: skip
    yield Case("tells/upgrade required", reply(426, [("Upgrade", "TLS/1.3, HTTP/2.0"), ("Connection", "Upgrade")], b"x"),
               hidden={"upgrade"})  # fmt: skip
    yield Case("tells/upgrade offered", reply(200, [("Upgrade", "h2c"), ("Connection", "Upgrade")], b"x"),
               hidden={"upgrade"})  # fmt: skip
    yield Case("tells/te", reply(200, [("TE", "trailers")], b"x"), hidden={"te"})
    yield Case("tells/for the tunnel", reply(200, [("Cf-Cloudflared-Response-Meta", '{"src":"cloudflared"}'), ("Cf-Int-X", "y"),
                                                   ("CF-Ray", "forged"), ("X-A", "b")], b"x"),
               hidden={"cf-cloudflared-response-meta", "cf-int-x"},
               expect={"response field cf-int-x": None, "response field cf-cloudflared-response-meta": None})  # fmt: skip
    yield Case("tells/cf-proxy", reply(200, [("Cf-Proxy-X", "y"), ("X-A", "b")], b"x"), hidden={"cf-proxy-x"})
    yield Case("tells/its own interim field", reply(200, [("HTTP2-Settings", "x"), ("X-A", "b")], b"x"),
               hidden={"http2-settings"})  # fmt: skip


CASES = [*requests(), *responses()]
