"""Bodies of every framing both ways, encodings, trailers, interim answers."""

import gzip
import itertools
import zlib

from testenv.origin import BLOCK

from .case import BODY, KIB, Case, Script, chunked, raw, reply, until_close

# --- Requests --------------------------------------------------------------------------------------


def uploads():
    ok = reply(200, body=b"ok")
    for size in (0, 1, 16 * KIB, 64 * KIB + 1, 1024 * KIB):
        yield Case(f"upload/{size} bytes", ok, method="POST", body=BLOCK[:size])
    yield Case("upload/0 bytes with GET", ok, body=b"")
    yield Case("upload/0 bytes with DELETE", ok, method="DELETE", body=b"")
    yield Case("upload/chunked empty", ok, method="POST", pieces=(b"",))
    yield Case("upload/chunked", ok, method="PUT", pieces=(b"a", b"b" * 70_000, b"c"))
    yield Case("upload/chunked large", ok, method="PUT", pieces=tuple(BLOCK[i : i + 8192] for i in range(0, 1 << 19, 8192)))
    yield Case("upload/byte by byte", ok, method="POST", pieces=tuple(bytes([c]) for c in b"one byte at a time"))
    yield Case("upload/every byte", ok, method="POST", body=bytes(range(256)) * 4)
    yield Case("upload/looks like a request", ok, method="POST", body=b"GET /evil HTTP/1.1\r\nHost: x\r\n\r\n")
    yield Case("upload/looks like chunks", ok, method="POST", body=b"5\r\nhello\r\n0\r\n\r\n")
    yield Case("upload/compressed", ok, method="POST", body=gzip.compress(b"x" * 1000, mtime=0),
               headers=(("Content-Encoding", "gzip"),))  # fmt: skip
    yield Case("upload/dribbled with a length", ok, visit=dribbled_upload(length=True), method="POST",
               expect={"request body": b"abcdefgh", "request field content-length": ["8"]})  # fmt: skip
    yield Case("upload/dribbled without", ok, visit=dribbled_upload(length=False), method="POST",
               expect={"request body": b"abcdefgh", "request field transfer-encoding": ["chunked"]})  # fmt: skip
    yield Case("upload/chunk extensions", ok, visit=with_extensions, versions=("1.1",), method="POST",
               expect={"request body": b"onetwo"})  # fmt: skip
    yield Case("upload/odd chunk sizes", ok, visit=odd_sizes, versions=("1.1",), method="POST",
               expect={"request body": b"0123456789abcdefX"})  # fmt: skip
    yield Case("upload/arrives piecewise", piecewise_upload, visit=upload_in_steps, method="POST",
               expect={"request body": b"onetwothree", "note steps": 3})  # fmt: skip
    done = {"request body": b"x" * 2000, "response status": 200}
    yield Case("upload/expect waiting", ok, visit=expecting(True), method="POST", expect=done)
    yield Case("upload/expect told to go on", says_go_on, visit=expecting(True), method="POST", expect=done)
    yield Case("upload/expect not waiting", says_go_on, visit=expecting(False), method="POST", expect=done,
               # A matter of time: who sends already does not wait.
               ignore={"request field expect", "response interim"})  # fmt: skip
    yield Case("upload/expect refused", early(417, b"no"), visit=expecting(True), method="POST",
               expect={"response status": 417}, versions=("1.1",))  # fmt: skip
    yield Case("upload/echo", echo, method="POST", body=BODY, expect={"response body": BODY})
    yield Case("upload/echo as it comes", echo_at_once, method="POST", pieces=(b"one", b"two"), expect={"response body": b"onetwo"})


def dribbled_upload(length):
    def visit(talk, case):
        talk.start("POST", case.path, body_follows=True, length=8 if length else None)
        for c in b"abcdefgh":
            talk.send(bytes([c]))
        talk.send(last=True)
        return talk.answer()

    return visit


def with_extensions(talk, case):
    talk.start("POST", case.path, body_follows=True)
    talk.send(b"one", extension=";name=value")
    talk.send(b"two", extension=';quoted="a;b"')
    talk.send(last=True)
    return talk.answer()


def odd_sizes(talk, case):
    talk.start("POST", case.path, body_follows=True)
    talk.write(b"0000000010\r\n0123456789abcdef\r\n1;\r\nX\r\n000\r\n\r\n")
    return talk.answer()


def piecewise_upload(r, play):
    """Each piece arrives although the next one waits for it."""
    steps = 0
    body = b""
    for block in r.blocks():
        body += block
        while steps < 3 and body.startswith((b"one", b"onetwo", b"onetwothree")[steps]):
            steps += 1
            play.open(f"step {steps}")
    r.body = body
    r.received.set()
    play.note("steps", steps)
    r.reply(200, body=b"ok")


def upload_in_steps(talk, case):
    talk.start("POST", case.path, body_follows=True)
    for i, piece in enumerate((b"one", b"two", b"three"), 1):
        talk.send(piece)
        talk.play.wait(f"step {i}")
    talk.send(last=True)
    return talk.answer()


def expecting(wait):
    def visit(talk, case):
        talk.start("POST", case.path, [("Expect", "100-continue")], body_follows=True, length=2000)
        if not wait:
            talk.send(b"x" * 2000, last=True)
            answer = talk.answer()
        else:
            # Somebody says 100, or the answer itself.
            answer = talk.head(interim=True)
            if not answer.status:
                talk.send(b"x" * 2000, last=True)
                final = talk.answer()
                final.interim = answer.interim + final.interim
                answer = final
            else:
                answer.body = b"".join(talk.pieces(answer))
        if not (wait and answer.status == 417):
            answer.interim = []  # whether 100 is said to those who do not wait is the edge's affair
        return answer

    return visit


def says_go_on(r, play):
    if r.get("expect"):
        r.head(100)
    r.read_body()
    r.reply(200, body=b"ok")


def early(status, body):
    """Answers without having read the body."""

    def act(r, play):
        r.keep_alive = False
        r.head(status, [("Content-Length", str(len(body))), ("Connection", "close")])
        r.send(body)
        # Who closes with unread data resets, and the answer may be lost with it.
        r.fin()
        r.peer_gone()

    return Script(act, status, (), body)


def echo(r, play):
    r.reply(200, body=r.read_body())


def echo_at_once(r, play):
    """The answer begins before the request has ended."""
    r.head(200, [("Transfer-Encoding", "chunked")])
    r.body = b""
    for block in r.blocks():
        r.body += block
        r.chunk(block)
    r.received.set()
    r.last_chunk()


# --- Responses -------------------------------------------------------------------------------------


def downloads():
    for size in (0, 1, 16 * KIB, 64 * KIB + 1, 1024 * KIB):
        yield Case(f"download/{size} bytes", reply(200, body=BLOCK[:size]))
    yield Case("download/chunked", chunked(b"a", b"b" * 70_000, b"c"))
    yield Case("download/chunked empty", chunked())
    yield Case("download/chunked large", chunked(*[BLOCK[i : i + 8192] for i in range(0, 1 << 20, 8192)]))
    yield Case("download/chunked byte by byte", chunked(*[bytes([c]) for c in b"one byte at a time"]))
    yield Case("download/chunk extensions", chunked(b"one", b"two", extension=';a=b;c="d e"'))
    yield Case("download/chunk sizes in capitals", chunked(b"x" * 0xAB, digits="%X"))
    yield Case("download/chunk sizes with zeros", chunked(b"x" * 5, digits="%08x"))
    yield Case("download/chunk sizes with blanks", chunked(b"x" * 5, extension="  "))
    yield Case("download/chunked in capitals", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
                                                   status=200, body=b"x"))  # fmt: skip
    for status in (201, 404, 500):
        yield Case(f"download/chunked {status}", chunked(b"body", status=status))
        yield Case(f"download/until close {status}", until_close(b"body", status=status))
    yield Case("download/until close", until_close(BODY))
    yield Case("download/until close unannounced", until_close(BODY, say=False))
    yield Case("download/until close empty", until_close(b""))
    yield Case("download/until close of HTTP 1.0", until_close(BODY, version="1.0", say=False))
    yield Case("download/length and close", until_close(b"x" * 10, [("Content-Length", "10")]))
    yield Case("download/every byte", reply(200, body=bytes(range(256)) * 4))
    yield Case("download/head with a length", reply(200, body=BODY), method="HEAD",
               expect={"response field content-length": [str(len(BODY))]})  # fmt: skip
    yield Case("download/head of chunked", chunked(b"x"), method="HEAD")
    yield Case("download/head without framing", reply(200, length=False), method="HEAD")
    yield Case("download/head until close", until_close(b""), method="HEAD")
    for status in (204, 304):
        yield Case(f"download/{status} with a length", head_only(status, [("Content-Length", "5"), ("ETag", '"x"')]),
                   hidden={"content-length"})  # fmt: skip
        yield Case(f"download/{status} with length 0", head_only(status, [("Content-Length", "0")]), hidden={"content-length"})
        yield Case(f"download/{status} with chunked", head_only(status, [("Transfer-Encoding", "chunked")]),
                   hidden={"transfer-encoding"})  # fmt: skip
        yield Case(f"download/{status} with a body", raw(f"HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\nstray", status=status))
    yield Case("download/same length twice", raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
                                                 status=200, body=b"x"))  # fmt: skip
    yield Case("download/more than announced", raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxyz", status=200, body=b"x"))
    for name, head in (
        ("two lengths", "Content-Length: 1\r\nContent-Length: 2"),
        ("a list of lengths", "Content-Length: 1, 2"),
        ("a negative length", "Content-Length: -1"),
        ("a length with a sign", "Content-Length: +1"),
        ("an odd length", "Content-Length: one"),
        ("an enormous length", "Content-Length: 99999999999999999999"),
        ("an unknown coding", "Transfer-Encoding: snappy"),
        ("two codings", "Transfer-Encoding: gzip, chunked"),
        ("chunked twice", "Transfer-Encoding: chunked, chunked"),
        ("length and chunked", "Content-Length: 1\r\nTransfer-Encoding: chunked"),
    ):
        body = "1\r\nx\r\n0\r\n\r\n" if "chunked" in head else "x"
        yield Case(f"download/{name}", raw(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}"), page=True)
    yield Case("download/chunked of HTTP 1.0", raw("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
               page=True)  # fmt: skip
    for name, rest in (("a chunk without a size", "\r\nx\r\n0\r\n\r\n"), ("a chunk of odd size", "zz\r\nx\r\n0\r\n\r\n"),
                       ("an enormous chunk", "fffffffffffffffff\r\nx"), ("a chunk too long", "1\r\nxyz\r\n0\r\n\r\n")):  # fmt: skip
        yield Case(f"download/{name}", raw(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{rest}"), partial=True,
                   expect={"response complete": False})  # fmt: skip


def head_only(status, headers):
    def act(r, play):
        r.read_body()
        r.head(status, headers)
        r.keep_alive = False

    return Script(act, status, headers, b"")


# --- Encodings -------------------------------------------------------------------------------------

PLAIN = b"compress me " * 400
GZIP = gzip.compress(PLAIN, mtime=0)
# Nobody on the way unpacks these, so that they need not be right.
CODED = {
    "gzip": GZIP,
    "x-gzip": GZIP,
    "deflate": zlib.compress(PLAIN),
    "br": b"\x0b\x02\x80hello\x03" + BLOCK[:300],
    "zstd": b"\x28\xb5\x2f\xfd" + BLOCK[:300],
    "gzip, br": BLOCK[:300],
    "identity": PLAIN,
    "nonsense": b"?",
}


def encodings():
    for coding, data in CODED.items():
        asked = (("Accept-Encoding", "gzip, deflate, br, zstd"),)
        headers = [("Content-Encoding", coding), ("Vary", "Accept-Encoding")]
        for name, wanted in ((" asked for", asked), (" not asked for", ())):
            yield Case(f"encoding/{coding}{name}", reply(200, headers, data), headers=wanted)
    headers = [("Content-Encoding", "gzip")]
    yield Case("encoding/gzip chunked", chunked(GZIP, headers=headers), headers=(("Accept-Encoding", "gzip"),))
    yield Case("encoding/gzip chunked not asked for", chunked(GZIP, headers=headers))
    yield Case("encoding/gzip until close", until_close(GZIP, headers))
    yield Case("encoding/gzip of a head", reply(200, headers, GZIP), method="HEAD")
    yield Case("encoding/gzip of a range", reply(206, [*headers, ("Content-Range", "bytes 0-9/99")], GZIP[:10]),
               headers=(("Range", "bytes=0-9"),))  # fmt: skip
    yield Case("encoding/gzip that is none", reply(200, headers, b"not gzip at all"))
    yield Case("encoding/gzip of nothing", reply(200, headers, b""))
    yield Case("encoding/gzip of 304", reply(304, [*headers, ("ETag", '"x"')]))
    yield Case("encoding/plain though gzip is wanted", reply(200, body=PLAIN), headers=(("Accept-Encoding", "gzip"),))


# --- Trailers --------------------------------------------------------------------------------------


def trailers():
    one = [("X-Checksum", "abc")]
    announced = [("Trailer", "X-Checksum")]
    yield Case("trailers/of an answer", chunked(b"x", headers=announced, trailers=one))
    yield Case("trailers/unannounced", chunked(b"x", trailers=one))
    yield Case("trailers/announced and missing", chunked(b"x", headers=announced))
    yield Case("trailers/several", chunked(b"x", trailers=[("X-A", "1"), ("X-B", "2"), ("X-A", "3")],
                                           headers=[("Trailer", "X-A, X-B")]))  # fmt: skip
    yield Case("trailers/of an empty body", chunked(trailers=one, headers=announced))
    yield Case("trailers/like grpc", chunked(b"\0\0\0\0\0", headers=[("Content-Type", "application/grpc"),
                                                                     ("Trailer", "Grpc-Status, Grpc-Message")],
                                             trailers=[("Grpc-Status", "0"), ("Grpc-Message", "")]),
               headers=(("TE", "trailers"),))  # fmt: skip
    yield Case("trailers/of a large body", chunked(BODY, BODY, trailers=one, headers=announced))
    yield Case("trailers/odd bytes", chunked(b"x", trailers=[("X-Odd", "gr\xfc\xdf")], headers=[("Trailer", "X-Odd")]))
    yield Case("trailers/that may not be", chunked(b"x", trailers=[("Content-Length", "5"), ("X-A", "1")]),
               expect={"response trailers": {"x-a": ["1"]}})  # fmt: skip
    yield Case("trailers/of a request", reply(200), method="POST", pieces=(b"x",), trailers=(("X-Checksum", "abc"),),
               headers=(("Trailer", "X-Checksum"),), lost={"trailer"})  # fmt: skip
    yield Case("trailers/of a request unannounced", reply(200), method="POST", pieces=(b"x",), trailers=(("X-Sum", "abc"),))
    yield Case("trailers/of an empty request", reply(200), method="POST", pieces=(b"",), trailers=(("X-Sum", "abc"),))
    yield Case("trailers/both ways", chunked(b"x", trailers=one, headers=announced), method="POST", pieces=(b"a", b"b"),
               trailers=(("X-Sum", "abc"), ("X-Sum", "def")))  # fmt: skip


# --- Interim answers ---------------------------------------------------------------------------------


def interims():
    link = [("Link", "</style.css>; rel=preload; as=style"), ("Link", "</x.js>; rel=preload")]
    for name, heads in (
        ("100 unasked", [(100, [])]),
        ("102", [(102, [])]),
        ("103", [(103, link)]),
        ("103 twice", [(103, link), (103, [("X-A", "b")])]),
        ("104", [(104, [("Upload-Draft-Interop-Version", "6")])]),
        ("110", [(110, [])]),
        ("199", [(199, [("X-A", "b")])]),
        ("100 to 103", [(100, []), (102, []), (103, link)]),
    ):
        yield Case(f"interim/{name}", with_interims(heads, reply(200, [("X-Final", "1")], b"answer")),
                   expect={"response interim": "*"})  # fmt: skip
    yield Case("interim/103 of HEAD", with_interims([(103, link)], reply(200, body=b"x")), method="HEAD",
               expect={"response interim": "*"})  # fmt: skip
    yield Case("interim/103 before 404", with_interims([(103, link)], reply(404, body=b"x")),
               expect={"response interim": "*"})  # fmt: skip
    yield Case("interim/103 to HTTP 1.0", with_interims([(103, link)], reply(200, body=b"x")), versions=("1.0",))
    yield Case("interim/103 during an upload", with_interims([(103, link)], reply(200, body=b"x")), method="POST", body=BODY,
               expect={"response interim": "*"})  # fmt: skip
    yield Case("interim/100 to a post", with_interims([(100, [])], reply(200, body=b"x")), method="POST", body=b"a",
               ignore={"response interim"}, expect={"response interim": "*"})  # fmt: skip
    yield Case("interim/101 unasked", raw("HTTP/1.1 101 Whatever\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n"), page=True,
               expect={"response status": 502})  # fmt: skip
    yield Case("interim/nothing after 103", raw("HTTP/1.1 103 Hints\r\nLink: </x>\r\n\r\n"), page=True, fresh=True,
               expect={"response status": 502, "response interim": "*"})  # fmt: skip


def with_interims(heads, script):
    def act(r, play):
        for status, fields in heads:
            r.head(status, fields)
        script.act(r, play)

    return Script(act, script.status, script.headers, script.body)


CASES = list(itertools.chain(uploads(), downloads(), encodings(), trailers(), interims()))
