"""What takes more than one step: connections that break, early answers, reuse, WebSockets, streams."""

import itertools

from testenv import websocket as ws
from testenv.origin import BLOCK
from testenv.wait import wait_until

from .case import BODY, KIB, PATIENCE, SHORT, Case, Script, chunked, raw, reply

# --- The service breaks off --------------------------------------------------------------------------


def breaking():
    """Over a connection of its own: a broken one that was reused would be tried again."""
    for name, pieces in (
        ("before the head", ()),
        ("in the status line", ("HTTP/1.1 20",)),
        ("in a field", ("HTTP/1.1 200 OK\r\nContent-Len",)),
        ("before the empty line", ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",)),
    ):
        for how in ("fin", "cut"):
            yield Case(f"break/{name} with {how}", raw(*pieces, then=how), fresh=True, page=True,
                       expect={"response status": 502, "requests": 1})  # fmt: skip
        yield Case(f"break/{name} of a post", raw(*pieces), method="POST", body=b"form=1", fresh=True, page=True,
                   expect={"response status": 502, "requests": 1})  # fmt: skip
    head, chunk = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for name, pieces in (
        ("after the head", (head,)),
        ("in a body with a length", (head, b"x" * 20_000)),
        ("a byte before the end", (head, b"x" * 99_999)),
        ("after the head of chunked", (chunk,)),
        ("in a chunk size", (chunk, "5\r\nhello\r\n1")),
        ("in a chunk", (chunk, "ffff\r\n", b"x" * 5000)),
        ("between chunks", (chunk, "5\r\nhello\r\n")),
        ("before the last empty line", (chunk, "5\r\nhello\r\n0\r\n")),
        ("in a trailer", (chunk, "5\r\nhello\r\n0\r\nX-T: ")),
    ):
        for how in ("fin", "cut"):
            yield Case(f"break/{name} with {how}", raw(*pieces, then=how), partial=True, fresh=True,
                       expect={"response complete": False})  # fmt: skip
    for name, text in (("nonsense", "what?\r\n\r\n"), ("HTTP/0.9", "<html>old</html>"), ("HTTP/2", "HTTP/2 200\r\n\r\n"),
                       ("no version", "200 OK\r\n\r\n"), ("HTTP/1.2", "HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n"),
                       ("lower case", "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
                       ("status 99", "HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n"),
                       ("status 1000", "HTTP/1.1 1000 X\r\nContent-Length: 0\r\n\r\n"),
                       ("status of letters", "HTTP/1.1 abc X\r\nContent-Length: 0\r\n\r\n"),
                       ("TLS", b"\x15\x03\x01\x00\x02\x02\x46"), ("SSH", "SSH-2.0-OpenSSH_9.2\r\n"),
                       ("nothing but line ends", "\r\n\r\n\r\n\r\n")):  # fmt: skip
        yield Case(f"break/talks {name}", raw(text), fresh=True, page=True)
    for name, text in (("SSH", "SSH-2.0-OpenSSH_9.2\r\n"), ("SMTP", "220 mail.example ESMTP\r\n")):
        yield Case(f"break/greets like {name} and waits", raw(text, then="peer_gone"), fresh=True, page=True,
                   expect={"response status": 502})  # fmt: skip
    yield Case("break/reset in an upload", reset_early, method="POST", body=BLOCK, fresh=True, page=True,
               expect={"response status": 502, "request body": "not all"})  # fmt: skip
    yield Case("break/end in an upload", leave_early, method="POST", body=BODY, fresh=True, page=True,
               expect={"response status": 502, "request body": "not all"})  # fmt: skip


def reset_early(r, play):
    r.reader.read(1000)
    r.cut()


def leave_early(r, play):
    r.keep_alive = False
    r.reader.read(10)


# --- The visitor breaks off --------------------------------------------------------------------------


def leaving():
    """What the service sees of it: its connection ends."""
    gone = {"note the service": "was left", "request end": "*"}
    yield Case("leave/before the body", while_reading, visit=leave_upload(0, 1000), expect=gone, method="POST")
    yield Case("leave/in a body with a length", while_reading, visit=leave_upload(100, 100_000), expect=gone, method="POST")
    yield Case("leave/in a chunked body", while_reading, visit=leave_upload(100, None), expect=gone, method="POST")
    yield Case("leave/before the answer", while_waiting, visit=leave_before_answer, expect=gone)
    yield Case("leave/before the answer to a post", while_waiting, visit=leave_before_answer, method="POST", body=b"form",
               expect=gone)  # fmt: skip
    yield Case("leave/after the head", while_sending(b"", True), visit=leave_answer(0), expect=gone)
    yield Case("leave/in a body that is long", while_sending(BODY, False), visit=leave_answer(1000), expect=gone)
    yield Case("leave/in a chunked answer", while_sending(b"x" * 1000, True), visit=leave_answer(1000), expect=gone)
    yield Case("leave/in an endless answer", endless, visit=leave_answer(256 * KIB), expect=gone)


def left(r, play, is_gone):
    play.note("the service", "was left" if is_gone else "was not told")
    play.open("the end")


def while_reading(r, play):
    play.open("the request")
    try:
        r.read_body()
    except Exception:
        left(r, play, True)
        raise
    left(r, play, False)


def while_waiting(r, play):
    r.read_body()
    play.open("the request")
    left(r, play, r.peer_gone())


def while_sending(data, is_chunked):
    def act(r, play):
        r.head(200, [("Transfer-Encoding", "chunked")] if is_chunked else [("Content-Length", "100000000")])
        if data:
            r.chunk(data) if is_chunked else r.send(data)
        left(r, play, r.peer_gone())

    return act


def endless(r, play):
    r.head(200, [("Transfer-Encoding", "chunked")])
    try:
        while True:
            r.chunk(BLOCK[: 16 * KIB])
    except Exception:
        left(r, play, True)
        raise


def leave_upload(sent, length):
    def visit(talk, case):
        talk.start("POST", case.path, body_follows=True, length=length)
        talk.send(b"x" * sent)
        talk.play.wait("the request")
        talk.leave()
        talk.play.wait("the end")
        return []

    return visit


def leave_before_answer(talk, case):
    talk.start(case.method, case.path, body_follows=case.body is not None, length=None if case.body is None else len(case.body))
    if case.body is not None:
        talk.send(case.body, last=True)
    talk.play.wait("the request")
    talk.leave()
    talk.play.wait("the end")
    return []


def leave_answer(size):
    def visit(talk, case):
        talk.start("GET", case.path)
        answer = talk.head()
        got = 0
        for piece in talk.pieces(answer) if size else ():
            got += len(piece)
            if got >= size:
                break
        talk.leave()
        talk.play.wait("the end")
        talk.play.note("head", (answer.status, answer.end))
        return []

    return visit


# --- Early answers -----------------------------------------------------------------------------------


def early():
    """The answer is there before the request has come."""
    yield Case("early/413 and close", refuse_upload(413, True), visit=upload_until_answered, method="POST",
               expect={"response status": 413, "response body": b"too much"})  # fmt: skip
    yield Case("early/401 and reads on", refuse_upload(401, False), visit=upload_until_answered, method="POST",
               expect={"response status": 401, "response body": b"too much", "request body": "*"})  # fmt: skip
    yield Case("early/200 and reads on", refuse_upload(200, False), visit=upload_until_answered, method="POST",
               expect={"response status": 200, "response body": b"too much", "request body": "*"})  # fmt: skip
    yield Case("early/half an answer, then the rest", half_and_half, visit=half_upload, method="POST",
               expect={"response body": b"firstsecond", "request body": b"onetwo"})  # fmt: skip


def refuse_upload(status, closes):
    def act(r, play):
        r.reader.read(10)
        r.keep_alive = False
        r.head(status, [("Content-Length", "8"), *([("Connection", "close")] if closes else [])])
        r.send(b"too much")
        if closes:
            r.fin()
        r.peer_gone()

    return act


def upload_until_answered(talk, case):
    """Half of it, the answer, and no more."""
    talk.start("POST", case.path, body_follows=True, length=40_000)
    talk.send(b"x" * 20_000)
    answer = talk.answer()
    talk.leave()
    return answer


def half_and_half(r, play):
    r.head(200, [("Transfer-Encoding", "chunked")])
    r.chunk(b"first")
    r.read_body()
    r.chunk(b"second")
    r.last_chunk()


def half_upload(talk, case):
    talk.start("POST", case.path, body_follows=True)
    talk.send(b"one")
    answer = talk.head()
    pieces = talk.pieces(answer)
    body = next(pieces)
    talk.send(b"two", last=True)
    answer.body = body + b"".join(pieces)
    return answer


# --- Several requests --------------------------------------------------------------------------------


def reuse():
    twice = {"request 0 connection": 0, "response 1 body": b"second"}
    again = {**twice, "request 1 connection": 0}
    fresh = {**twice, "request 1 connection": 1}
    yield Case("reuse/two in a row", numbered(), visit=two(), expect=again, fresh=True)
    yield Case("reuse/after a post", numbered(), visit=two(method="POST"), expect=again, fresh=True)
    yield Case("reuse/after chunked", numbered(chunked(b"first")), visit=two(), expect=again, fresh=True)
    yield Case("reuse/after trailers", numbered(chunked(b"first", trailers=[("X-T", "1")])), visit=two(), expect=again, fresh=True)
    yield Case("reuse/after 204", numbered(reply(204)), visit=two(), expect=again, fresh=True)
    yield Case("reuse/after 304", numbered(reply(304)), visit=two(), expect=again, fresh=True)
    yield Case("reuse/after HEAD", numbered(reply(200, body=b"first")), visit=two(method="HEAD"), expect=again, fresh=True)
    yield Case("reuse/after 500", numbered(reply(500, body=b"first")), visit=two(), expect=again, fresh=True)
    yield Case("reuse/after an interim answer", numbered(Script(interim_first)), visit=two(),
               expect={**again, "response 0 interim": "*"}, fresh=True)  # fmt: skip
    yield Case("reuse/after close", numbered(reply(200, [("Connection", "close")], b"first")), visit=two(), expect=fresh, fresh=True)
    yield Case("reuse/after more than announced", numbered(raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirstXX", close=False)),
               visit=two(gone=True), expect=fresh, fresh=True)  # fmt: skip
    yield Case("reuse/the idle connection was closed", numbered(), visit=two(drop=True), expect=fresh, fresh=True)
    yield Case("reuse/closed instead of an answer", numbered(reply(200, body=b"first"), hang_up, reply(200, body=b"second")),
               visit=two(), expect={"response 1 body": b"second", "requests": 3, "request 2 connection": 1}, fresh=True)  # fmt: skip
    yield Case("reuse/a post closed instead of an answer", numbered(reply(200, body=b"first"), hang_up, reply(200, body=b"x")),
               visit=two(method="POST"), fresh=True, page=True,
               expect={"response 0 status": 200, "response 1 status": 502})  # fmt: skip
    yield Case("reuse/pipelined", numbered(), visit=pipelined, versions=("1.1",), expect=again, fresh=True)
    yield Case("reuse/pipelined after a body", numbered(), visit=pipelined_posts, versions=("1.1",), expect=again, fresh=True)
    yield Case("reuse/ten in a row", numbered(*[reply(200, body=b"%d" % i) for i in range(10)]), visit=ten, fresh=True,
               expect={"requests": 10, "request 9 connection": 0, "response 9 body": b"9"})  # fmt: skip


def interim_first(r, play):
    r.head(103, [("Link", "</x>")])
    r.reply(200, body=b"first")


def numbered(*scripts):
    scripts = scripts or (reply(200, body=b"first"),)

    def act(r, play):
        number = play.number()
        script = scripts[number] if number < len(scripts) else reply(200, body=b"second")
        script(r, play)

    return act


def hang_up(r, play):
    """Reads the request and closes: an idle connection that ended just now looks like that."""
    r.read_body()
    r.keep_alive = False


def two(method="GET", drop=False, gone=False):
    """drop: the service closes the idle connection in between; gone: the connector does."""

    def visit(talk, case):
        answers = []
        for i in range(2):
            if i and drop:
                talk.stage.origin.drop_idle()
            if i and gone:
                wait_until(lambda: not talk.stage.origin.connections, "end of the first connection", PATIENCE)
            if method == "POST":
                talk.start(method, case.path, body_follows=True, length=3)
                talk.send(b"abc", last=True)
            else:
                talk.start(method if i == 0 else "GET", case.path)
            answers.append(talk.answer())
        return answers

    return visit


def ten(talk, case):
    answers = []
    for _ in range(10):
        talk.start("GET", case.path)
        answers.append(talk.answer())
    return answers


def pipelined(talk, case):
    talk.start("GET", case.path)
    talk.start("GET", case.path)
    return [talk.answer(), talk.answer()]


def pipelined_posts(talk, case):
    for _ in range(2):
        talk.start("POST", case.path, body_follows=True)
        talk.send(b"abc", last=True)
    return [talk.answer(), talk.answer()]


# --- WebSockets --------------------------------------------------------------------------------------

ACCEPTED = {"note opened": True}


def sockets():
    yield Case("socket/echo", socket(), visit=frames((ws.TEXT, b"hello"), (ws.BINARY, b"\0\1"), (ws.TEXT, b"")), expect=ACCEPTED)
    yield Case("socket/pings", socket(), visit=frames((ws.PING, b"p"), (ws.PING, b"")), expect=ACCEPTED)
    yield Case("socket/large frames", socket(), visit=frames((ws.BINARY, BODY), (ws.BINARY, BLOCK[: 300 * KIB])), expect=ACCEPTED)
    yield Case("socket/sizes at the edges", socket(), visit=frames(*[(ws.BINARY, BLOCK[:n]) for n in (125, 126, 65535, 65536)]),
               expect=ACCEPTED)  # fmt: skip
    for code in (1000, 1001, 1011, 3000, 4999):
        reason = b"%c%c" % divmod(code, 256) + b"bye"
        yield Case(f"socket/closed by the visitor with {code}", socket(), visit=frames((ws.CLOSE, reason)), expect=ACCEPTED)
        yield Case(f"socket/closed by the service with {code}", socket(first=ws.frame(ws.CLOSE, reason, False)),
                   visit=listening(4 + 3), expect=ACCEPTED)  # fmt: skip
    yield Case("socket/closed without a code", socket(), visit=frames((ws.CLOSE, b"")), expect=ACCEPTED)
    yield Case("socket/protocol and extension", socket(answers=[("Sec-WebSocket-Protocol", "chat"),
                                                               ("Sec-WebSocket-Extensions", "permessage-deflate")]),
               visit=frames((ws.TEXT, b"x"), headers=[("Sec-WebSocket-Protocol", "chat, superchat"),
                                                      ("Sec-WebSocket-Extensions", "permessage-deflate; x=1"),
                                                      ("Origin", "https://there.example"), ("Cookie", "a=b")]),
               expect={**ACCEPTED, "request field sec-websocket-protocol": ["chat, superchat"],
                       "request field sec-websocket-extensions": ["permessage-deflate; x=1"],
                       "response field sec-websocket-protocol": ["chat"], "request field origin": ["https://there.example"]})  # fmt: skip
    yield Case("socket/fields of the answer", socket(answers=[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Room", "1"),
                                                             ("Server", "me")]),
               visit=frames((ws.TEXT, b"x")),
               expect={**ACCEPTED, "response field set-cookie": ["a=1", "b=2"], "response field x-room": ["1"]})  # fmt: skip
    yield Case("socket/with a query", socket(), visit=frames((ws.TEXT, b"x"), target="?room=1&x=%20"), expect=ACCEPTED)
    yield Case("socket/the service speaks first", socket(first=ws.frame(ws.TEXT, b"welcome", False)),
               visit=listening(2 + 7), expect={**ACCEPTED, "response body": ws.frame(ws.TEXT, b"welcome", False)})  # fmt: skip
    yield Case("socket/bytes that are no frames", raw_socket, visit=raw_bytes, expect={**ACCEPTED, "response body": b"ECHO" + BODY})
    yield Case("socket/early frame", socket(), visit=early_frame, versions=("1.1",))
    yield Case("socket/the service vanishes", socket(first=ws.frame(ws.TEXT, b"last", False), then="end"),
               visit=listening(100), expect={**ACCEPTED, "response body": ws.frame(ws.TEXT, b"last", False)})  # fmt: skip
    yield Case("socket/the service resets", socket(then="cut"), visit=listening(100, gate="open"), expect=ACCEPTED)
    yield Case("socket/the visitor vanishes", socket(note_end=True), visit=vanishing, expect={**ACCEPTED, "note the service": "was left"})
    yield Case("socket/the visitor says no more", half_socket("visitor"), visit=half_visitor,
               expect={**ACCEPTED, "note heard to the end": b"all I have", "response body": b"answer to all"},
               alone="the edge does not tell a stock connector, which would end both directions")  # fmt: skip
    yield Case("socket/the service says no more", half_socket("service"), visit=half_service,
               expect={**ACCEPTED, "response body": b"goodbye", "note heard after its end": b"still"})  # fmt: skip
    for status, headers in ((200, ()), (400, ()), (401, (("WWW-Authenticate", "Basic realm=x"),)), (403, ()), (404, ()),
                            (426, (("Sec-WebSocket-Version", "8, 13"),)), (500, ()), (503, (("Retry-After", "1"),)),
                            (302, (("Location", "/elsewhere"),))):  # fmt: skip
        yield Case(f"socket/refused with {status}", reply(status, headers, b"refused\n"), visit=opening(),
                   expect={"note opened": False, "response body": b"refused\n"})  # fmt: skip
    yield Case("socket/refused without a body", reply(400), visit=opening(), expect={"note opened": False})
    yield Case("socket/refused chunked", chunked(b"no", status=403), visit=opening(), expect={"response body": b"no"})
    yield Case("socket/no answer", raw(), visit=opening(), page=True, fresh=True, expect={"response status": 502})
    yield Case("socket/wrong accept", socket(key="wrong"), visit=opening(), expect={"note opened": True})
    yield Case("socket/no accept", no_accept, visit=opening(), page=True)
    yield Case("socket/without a key", reply(200, body=b"plain"), visit=keyless, versions=("1.1",))
    yield Case("socket/of version 8", reply(426, [("Sec-WebSocket-Version", "13")], b"no"), visit=version_8, versions=("1.1",))
    yield Case("socket/with POST", reply(405, body=b"no"), visit=posting, versions=("1.1",))


def handshake(r, answers=(), key=None):
    r.keep_alive = False
    accept = ws.accept_of(r.get("sec-websocket-key") or "") if key is None else key
    r.head(101, [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept), *answers])


def socket(answers=(), first=b"", then=None, key=None, note_end=False):
    """Answers messages with themselves, as the visitor gets to know; notes what they were."""

    def act(r, play):
        handshake(r, answers, key)
        if first:
            r.send(first)
        if then == "end":
            return
        if then == "cut":
            play.wait("open")
            r.cut()
        heard = []
        try:
            while got := ws.read_frame(r.reader):
                heard.append(got)
                opcode, data = got
                r.send(ws.frame(ws.PONG if opcode == ws.PING else opcode, data, masked=False))
                if opcode == ws.CLOSE:
                    break
        finally:
            play.note("heard", heard)
            if note_end:
                left(r, play, True)

    return act


def frames(*messages, headers=(), target=""):
    """Sends each and takes the answer; what came back is the body."""

    def visit(talk, case):
        talk.play.note("opened", talk.open_socket(case.path + target, headers))
        for opcode, data in messages:
            frame = ws.frame(opcode, data, masked=True)
            talk.write(frame)
            talk.opened.body += talk.read(len(frame) - 4)
        talk.opened.end = talk.opened.end or "complete"
        return talk.opened

    return visit


def listening(size, gate=None):
    def visit(talk, case):
        talk.play.note("opened", talk.open_socket(case.path))
        if gate:
            talk.play.open(gate)
        talk.opened.body = talk.read(size)
        talk.opened.end = "complete"
        return talk.opened

    return visit


def raw_socket(r, play):
    handshake(r)
    r.send(b"ECHO")
    data = r.reader.read(len(BODY))
    play.note("heard", data)
    r.send(data)


def raw_bytes(talk, case):
    talk.play.note("opened", talk.open_socket(case.path))
    talk.write(BODY)
    talk.opened.body = talk.read(4 + len(BODY))
    talk.opened.end = "complete"
    return talk.opened


def early_frame(talk, case):
    """Does not wait for 101."""
    frame = ws.frame(ws.TEXT, b"early", masked=True)
    head = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Version", "13")]  # fmt: skip
    talk.start("GET", case.path, head)
    talk.write(frame)
    answer = talk.head()
    answer.body = talk.read(len(frame) - 4)
    answer.end = "complete"
    return answer


def vanishing(talk, case):
    talk.play.note("opened", talk.open_socket(case.path))
    frame = ws.frame(ws.TEXT, b"x", masked=True)
    talk.write(frame)
    talk.opened.body = talk.read(len(frame) - 4)
    talk.leave()
    talk.play.wait("the end")
    return talk.opened


def half_socket(who):
    def act(r, play):
        handshake(r)
        if who == "service":
            r.send(b"goodbye")
            r.fin()
            play.note("heard after its end", read_what_comes(r, 5))
        else:
            play.note("heard to the end", read_what_comes(r, -1))
            r.send(b"answer to all")

    return act


def read_what_comes(r, size):
    try:
        return r.reader.read(size)
    except OSError:
        return "a reset"


def half_visitor(talk, case):
    talk.play.note("opened", talk.open_socket(case.path))
    talk.write(b"all I have")
    talk.shut()
    talk.opened.body = talk.read(13)
    talk.opened.end = "complete"
    return talk.opened


def half_service(talk, case):
    talk.play.note("opened", talk.open_socket(case.path))
    talk.opened.body = talk.read(100)  # to the end
    talk.write(b"still")
    talk.shut()
    talk.opened.end = "complete"
    return talk.opened


def opening():
    def visit(talk, case):
        is_open = talk.open_socket(case.path)
        talk.play.note("opened", is_open)
        if talk.opened.status and not is_open:
            talk.opened.body = b"".join(talk.pieces(talk.opened))
        talk.opened.end = talk.opened.end or "complete"
        return talk.opened

    return visit


def no_accept(r, play):
    r.keep_alive = False
    r.head(101, [("Upgrade", "websocket"), ("Connection", "Upgrade")])


def keyless(talk, case):
    talk.start("GET", case.path, [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13")])
    return talk.answer()


def version_8(talk, case):
    talk.start("GET", case.path, [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "8"),
                                  ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")])  # fmt: skip
    return talk.answer()


def posting(talk, case):
    talk.start("POST", case.path, [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
                                   ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")], length=0)  # fmt: skip
    return talk.answer()


# --- Answers that take their time ----------------------------------------------------------------------


def streams():
    """Every piece reaches the visitor before the service sends the next."""
    piecewise = {"note pieces": 4, "response end": "complete"}
    events = [b"data: 1\n\n", b": comment\n\n", b"id: 3\ndata: 3\n\n", b"data: end\n\n"]
    html = [b"<html>", b"<p>one", b"<p>two", b"</html>"]
    sse = [("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache")]
    chunks = [("Transfer-Encoding", "chunked")]
    for name, headers, pieces in (
        ("events chunked", [*sse, *chunks], events),
        ("events until close", sse, events),
        ("events with a charset", [("Content-Type", "text/event-stream; charset=utf-8"), *chunks], events),
        ("html chunked", [("Content-Type", "text/html"), *chunks], html),
        ("html until close", [("Content-Type", "text/html")], html),
        ("json lines", [("Content-Type", "application/x-ndjson"), *chunks], [b"{}\n", b"1\n", b"[]\n", b"2\n"]),
        ("no type", chunks, html),
        ("grpc", [("Content-Type", "application/grpc"), *chunks], [b"\0\0\0\0\0"] * 4),
        ("html with a length", [("Content-Type", "text/html"), ("Content-Length", "24")], [b"<html>", b"<p>one", b"<p>two", b"<p>end"]),
        ("events with a length", [*sse, ("Content-Length", "40")], [b"data: %d\n\n\n" % i for i in range(4)]),
        ("single bytes", chunks, [b"a", b"b", b"c", b"d"]),
    ):
        yield Case(f"stream/{name}", stepwise(headers, pieces), visit=step_by_step(pieces),
                   expect={**piecewise, "response body": b"".join(pieces)})  # fmt: skip
    yield Case("stream/the head comes at once", late_body(chunks), visit=head_first, expect={"response body": b"x"})
    yield Case("stream/the head of a length comes at once", late_body([("Content-Length", "1")]), visit=head_first,
               expect={"response body": b"x"})  # fmt: skip


def stepwise(headers, pieces):
    def act(r, play):
        is_chunked = ("Transfer-Encoding", "chunked") in headers
        r.keep_alive = is_chunked
        r.head(200, headers)
        for i, piece in enumerate(pieces):
            r.chunk(piece) if is_chunked else r.send(piece)
            # To the one that waits in vain there is no point in waiting again.
            if len([k for k in play.notes if k.startswith("waited")]) == 0:
                play.wait(f"piece {i}", SHORT)
        if is_chunked:
            r.last_chunk()

    return act


def step_by_step(expected):
    def visit(talk, case):
        talk.start("GET", case.path)
        answer = talk.head()
        seen = 0
        for piece in talk.pieces(answer):
            answer.body += piece
            while seen < len(expected) and len(answer.body) >= sum(map(len, expected[: seen + 1])):
                talk.play.open(f"piece {seen}")
                seen += 1
        talk.play.note("pieces", seen)
        return answer

    return visit


def late_body(headers):
    def act(r, play):
        r.head(200, headers)
        play.wait("the head at the visitor", SHORT)
        if headers[0][0] == "Content-Length":
            r.send(b"x")
        else:
            r.chunk(b"x")
            r.last_chunk()

    return act


def head_first(talk, case):
    talk.start("GET", case.path)
    answer = talk.head()
    talk.play.open("the head at the visitor")
    answer.body = b"".join(talk.pieces(answer))
    return answer


CASES = list(itertools.chain(breaking(), leaving(), early(), reuse(), sockets(), streams()))
