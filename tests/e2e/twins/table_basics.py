"""Methods, statuses, targets."""

from .case import BODY, Case, chunked, raw, reply, until_close

# --- Methods ---------------------------------------------------------------------------------------

WITHOUT_BODY = ["GET", "HEAD", "OPTIONS", "DELETE", "TRACE", "PROPFIND", "PURGE", "LOCK", "UNLOCK", "MKCOL", "COPY",
                "MOVE", "REPORT", "SEARCH", "M-SEARCH", "LINK", "UNLINK", "SUBSCRIBE", "QUERY", "PRI2",
                "get", "Get", "head", "X", "!#$%&'*+-.^_`|~09AZaz", "A" * 60, "POST", "PUT", "PATCH"]  # fmt: skip
WITH_BODY = ["POST", "PUT", "PATCH", "DELETE", "GET", "OPTIONS", "PROPFIND", "QUERY", "REPORT", "lowercase", "HEAD"]


def methods():
    for method in WITHOUT_BODY:
        yield Case(f"method/{method}", reply(200, [("X-A", "b")], b"answer"), method=method)
    for method in WITH_BODY:
        yield Case(f"method/{method} with a body", reply(200, body=b"answer"), method=method, body=b"<asked/>")
        yield Case(f"method/{method} chunked", reply(200, body=b"answer"), method=method, pieces=(b"<asked", b"/>"))


# --- Statuses --------------------------------------------------------------------------------------

# All that are registered, those that are used all the same, and a few nobody knows.
STATUSES = [200, 201, 202, 203, 204, 205, 206, 207, 208, 218, 226, 250, 299, 300, 301, 302, 303, 304, 305, 306, 307,
            308, 350, 399, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417,
            418, 419, 420, 421, 422, 423, 424, 425, 426, 428, 429, 430, 431, 440, 444, 449, 450, 451, 460, 494, 495,
            496, 497, 498, 499, 500, 501, 502, 503, 504, 505, 506, 507, 508, 509, 510, 511, 520, 521, 522, 523, 524,
            525, 526, 527, 529, 530, 561, 598, 599]  # fmt: skip


def statuses():
    for status in STATUSES:
        body = b"" if status in (204, 205, 304) else b"status %d\n" % status
        headers = [("X-Status", str(status)), ("Content-Type", "text/plain")]
        yield Case(f"status/{status}", reply(status, headers, body))
    for status in (200, 202, 301, 401, 404, 500, 503):
        yield Case(f"status/{status} empty", reply(status))
        yield Case(f"status/{status} to HEAD", reply(status, body=b"not to be sent"), method="HEAD")
        yield Case(f"status/{status} to POST", reply(status, body=b"x"), method="POST", body=b"form=1")
    yield Case("status/600", reply(600, body=b"beyond"))
    yield Case("status/999", reply(999, body=b"beyond"))
    yield Case("status/205 with a body", reply(205, body=b"may not be"))
    for phrase in ("", "Nobody's Business", "caf\xe9", "x" * 500):
        yield Case(f"status/phrase {len(phrase)}", reply(200, body=b"x", reason=phrase))
    yield Case("status/no phrase", raw("HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", status=200, body=b"x"))
    yield Case("status/of HTTP 1.0", until_close(b"old", version="1.0", say=False))
    yield Case("status/of HTTP 1.0 with a length", until_close(b"old", [("Content-Length", "3")], version="1.0"))
    yield Case("status/of HTTP 1.0 kept alive",
               until_close(b"old", [("Connection", "keep-alive"), ("Content-Length", "3")], version="1.0", say=False))  # fmt: skip


# --- Targets ---------------------------------------------------------------------------------------

TARGETS = {
    "root": "/",
    "no query": "…",
    "empty query": "…?",
    "query of a question mark": "…??",
    "query without values": "…?a&b&&c=",
    "query with everything": "…?a=1&a=2&b=x+y&c=%20%2B%26&d=/x/../y&e=:@!$'()*,;&f=[]",
    "semicolons": "…;v=1;w=2/x;y?a;b",
    "encoded slash": "…/a%2Fb%2fc",
    "encoded letters": "…/%61%7E%2D",
    "encoded dots": "…/%2e%2e/%2E/x",
    "lower-case escapes": "…/%c3%a9?%c3%a9",
    "dot segments": "…/a/./b/../c/..",
    "only dots": "/../..",
    "double slashes": "…//a///b//",
    "slashes first": "//host.example/…",
    "trailing slash": "…/",
    "colon": "…/a:b:80/c",
    "at sign": "…/user@host",
    "sub-delims": "…/!$&'()*+,;=",
    "tilde and dash": "…/~user/-_.",
    "encoded percent": "…/100%25/%2525",
    "encoded nul": "…/%00",
    "encoded line end": "…/%0d%0aX-Evil:%201",
    "encoded question mark": "…/a%3Fb%23c",
    "encoded space": "…/a%20b?c%20d",
    "plus": "…/a+b?c+d",
    "not utf-8": "…/%ff%fe",
    "very long path": "…/" + "p" * 8000,
    "very long query": "…?" + "q=1&" * 2000,
    "deep": "…" + "/d" * 500,
    "url in the path": "…/http://elsewhere.example/x",
    "url in the query": "…?next=https://elsewhere.example/?a=b",
    # Not allowed by RFC 3986, but browsers send them.
    "pipe": "…/a|b",
    "quote": '…/a"b',
    "brackets": "…/a[1]",
    "braces": "…/a{1}",
    "caret and backtick": "…/a^b`c",
    "backslash": "…/a\\b",
    "angles": "…/<a>",
    "pipe in the query": "…?a|b",
    "quote in the query": '…?a="b"<c>',
    "bad escape": "…/%zz",
    "half an escape": "…/%4",
    "bad escape in the query": "…?a=%zz&b=%",
}


def targets():
    for name, target in TARGETS.items():
        yield Case(f"target/{name}", reply(200, body=b"found"), target=target)
    for name, target in (("bytes above ascii", "…/\xc3\xa9"), ("bytes above ascii in the query", "…?\xff\xfe")):
        yield Case(f"target/{name}", reply(200, body=b"found"), target=target, versions=("1.1",))
    yield Case("target/asterisk", reply(200, [("Allow", "GET, OPTIONS")]), method="OPTIONS", target="*")
    for name, target, line in (
        ("absolute form", "https://SITE…?q=1", "GET …?q=1 HTTP/1.1"),
        ("absolute form without a path", "https://SITE", "GET / HTTP/1.1"),
        ("absolute form with a query only", "https://SITE?q", "GET /?q HTTP/1.1"),
        ("absolute form of another scheme", "http://SITE…", "GET … HTTP/1.1"),
    ):
        yield Case(f"target/{name}", reply(200, body=b"found"), target=target, versions=("1.1",),
                   expect={"request line": line})  # fmt: skip
    yield Case("target/absolute form of OPTIONS", reply(200), method="OPTIONS", target="https://SITE",
               versions=("1.1",), expect={"request line": "OPTIONS * HTTP/1.1"})  # fmt: skip


# --- HTTP/1.0 ----------------------------------------------------------------------------------------


def old_visitors():
    old = {"versions": ("1.0",)}
    yield Case("http10/get", reply(200, [("X-A", "b")], b"answer"), **old)
    yield Case("http10/head", reply(200, [("X-A", "b")], b"answer"), method="HEAD", **old)
    yield Case("http10/post", reply(200, body=b"answer"), method="POST", body=b"form=1", **old)
    yield Case("http10/put of nothing", reply(204), method="PUT", body=b"", **old)
    yield Case("http10/chunked answer", chunked(b"one", b"two", trailers=[("X-T", "1")]), **old)
    yield Case("http10/answer until close", until_close(BODY), **old)
    yield Case("http10/large answer", reply(200, body=BODY), **old)
    yield Case("http10/304", reply(304, [("ETag", '"x"')]), **old)
    yield Case("http10/kept alive", reply(200, body=b"answer"), headers=(("Connection", "keep-alive"),), **old)
    yield Case("http10/expect", reply(200, body=b"answer"), method="POST", body=b"form=1",
               headers=(("Expect", "100-continue"),), lost={"expect"}, **old)  # fmt: skip


CASES = [*methods(), *statuses(), *targets(), *old_visitors()]
