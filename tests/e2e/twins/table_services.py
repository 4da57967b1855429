"""Services that are no HTTP servers, and those that are not there."""

import contextlib
import struct

from testenv import websocket as ws
from testenv.origin import BLOCK

from .case import BODY, KIB, Case, reply
from .table_flows import opening

# --- Services that are no servers ----------------------------------------------------------------------


def services():
    none = {"requests": 0}
    for status in (200, 204, 301, 304, 403, 404, 410, 418, 451, 500, 502, 503, 599):
        expect = {**none, "response status": status, "response body": b""}
        yield Case(f"service/http_status {status}", reply(), host="statuses", target=f"/{status}", visit=None, expect=expect)
    for method in ("HEAD", "POST", "OPTIONS", "PROPFIND"):
        yield Case(f"service/http_status to {method}", reply(), host="statuses", target="/404", method=method,
                   body=b"form=1" if method == "POST" else None,
                   expect={**none, "response status": 404, "response body": b""})  # fmt: skip
    yield Case("service/http_status to a socket", reply(), host="statuses", visit=opening_at("/404"), expect={**none})
    yield Case("service/refused", reply(), host="refused", page=True, expect={**none, "response status": 502})
    yield Case("service/refused to POST", reply(), host="refused", page=True, method="POST", body=BODY,
               expect={**none, "response status": 502})  # fmt: skip
    yield Case("service/refused to a socket", reply(), host="refused", page=True, visit=opening(), expect={**none})
    yield Case("service/unresolved", reply(), host="unresolved", page=True, expect={**none, "response status": 502})
    yield Case("service/untrusted", reply(), host="untrusted", page=True, expect={**none, "response status": 502})
    yield Case("service/not known", reply(), host="unruled", page=True, expect={**none, "response status": 404})
    yield Case("service/renamed", reply(200), host="renamed",
               expect={"request field host": ["inside.internal"], "request field x-forwarded-host": ["SITE"]})  # fmt: skip


def opening_at(path):
    def visit(talk, case):
        talk.play.note("opened", talk.open_socket(path))
        talk.opened.body = b"".join(talk.pieces(talk.opened)) if talk.opened.status else b""
        return talk.opened

    return visit


# --- TCP, through a WebSocket ----------------------------------------------------------------------------


def noted(act):
    """The visitor can wait for the end of it: a connection may be over before the service knows of it."""

    def service(sock, play):
        try:
            act(sock, play)
        finally:
            play.open("the service ended")

    return service


@noted
def echo(sock, play):
    """Until the other side ends."""
    size = 0
    with contextlib.suppress(OSError):
        while data := sock.recv(65536):
            size += len(data)
            sock.sendall(data)
    play.note("heard", size)


@noted
def greet(sock, play):
    sock.sendall(b"220 welcome\r\n")
    play.note("heard", sock.recv(100))


@noted
def count(sock, play):
    """How much came before the end."""
    size = 0
    with contextlib.suppress(OSError):
        while data := sock.recv(65536):
            size += len(data)
    play.note("heard", size)


@noted
def say_and_end(sock, play):
    sock.sendall(b"all I have")


def nothing(sock, play):
    play.note("heard", "a connection")


def tcp(size, *frames, headers=(), close=True, rest=False, serves=True):
    """Sends `frames`, reads `size` bytes of payload (or the rest), closes; what was read is the answer's body."""

    def visit(talk, case):
        talk.play.note("opened", talk.open_socket("/", headers))
        answer = talk.opened
        for frame in frames:
            talk.write(frame)
        while len(answer.body) < size or rest:
            got = ws.read_frame(talk)
            if not got:
                break
            if got[0] in (ws.TEXT, ws.BINARY):
                answer.body += got[1]
            else:
                talk.play.note("control frame", got)
                break
        if close:
            talk.write(ws.frame(ws.CLOSE, b"\x03\xe8", masked=True))
            last = ws.read_frame(talk)
            talk.play.note("close frame", last)
        answer.end = "complete"
        talk.leave()
        if serves:
            talk.play.wait("the service ended")
        return answer

    return visit


def binary(data):
    return ws.frame(ws.BINARY, data, masked=True)


def over_tcp():
    opened = {"note opened": True}
    say = {**opened, "note close frame": (ws.CLOSE, b"\x03\xe8")}
    large = [binary(BLOCK[i : i + 16 * KIB]) for i in range(0, 320 * KIB, 16 * KIB)]
    parts = (ws.frame(ws.BINARY, b"frag", True, final=False), ws.frame(0, b"men", True, final=False), ws.frame(0, b"ted", True))
    for name, origin, visit, expect in (
        ("echo", echo, tcp(5, binary(b"hello")), {**say, "response body": b"hello", "note heard": 5}),
        ("echo of much", echo, tcp(320 * KIB, *large), {**say, "response body": BLOCK[: 320 * KIB]}),
        ("bytes of every value", echo, tcp(256, binary(bytes(range(256)))), say),
        ("text message", count, tcp(0, ws.frame(ws.TEXT, b"hello", True)), {**say, "note heard": 5}),
        ("fragments", echo, tcp(10, *parts), {**say, "response body": b"fragmented"}),
        ("the service speaks first", greet, tcp(13), {**say, "response body": b"220 welcome\r\n"}),
        ("a message of 100 KiB", count, tcp(0, binary(BODY)), {**opened, "note heard": len(BODY)}),
        ("the service ends", say_and_end, tcp(0, rest=True, close=False), {**opened, "response body": b"all I have"}),
        ("the visitor ends", count, tcp(0, binary(b"bye")), {**say, "note heard": 3}),
        ("ping", echo, tcp(1, ws.frame(ws.PING, b"p", True), close=False), {**opened, "note control frame": (ws.PONG, b"p")}),
        ("a frame without a mask", count, tcp(0, ws.frame(ws.BINARY, b"x", False), rest=True, close=False),
         {**opened, "note heard": 0}),
        ("a reserved opcode", count, tcp(0, ws.frame(3, b"x", True), rest=True, close=False), {**opened, "note heard": 0}),
    ):  # fmt: skip
        yield Case(f"tcp/{name}", origin, host="tcp", visit=visit, expect=expect)
    # The reset that says so may overtake, over QUIC, what was sent before it.
    yield Case("tcp/the visitor vanishes", count, host="tcp", visit=tcp(0, binary(b"bye"), close=False), expect=opened,
               ignore={"note heard"})  # fmt: skip
    yield Case("tcp/refused", nothing, host="tcp-refused", page=True, visit=opening(), expect={"note opened": False})
    # A stock connector opens a connection all the same, and the service sees of it sooner or later.
    plain = {"host": "tcp", "ignore": {"note heard"}, "expect": {"requests": 0, "response status": 400}}
    yield Case("tcp/a plain request", nothing, **plain)
    yield Case("tcp/a post", nothing, method="POST", body=b"form=1", **plain)
    yield Case("tcp/fields of the handshake", echo, host="tcp",
               visit=tcp(1, binary(b"x"), headers=[("Sec-WebSocket-Protocol", "chat"), ("Sec-WebSocket-Extensions", "x")]),
               expect=opened)  # fmt: skip


def over_socks():
    """The destination is the visitor's to name, as far as ipRules allow."""

    def request(command, address, port):
        return b"\5\1\0" + b"\5" + bytes([command]) + b"\0\1" + bytes(address) + struct.pack(">H", port)

    def case(name, command, address, port, size, origin=echo, more=b""):
        def visit(talk, case):
            to = getattr(talk.stage, port).port if isinstance(port, str) else port
            frame = binary(request(command, address, to) + more)
            return tcp(size, frame, close=False, serves=origin is not nothing)(talk, case)

        return Case(f"socks/{name}", origin, host="socks", visit=visit, expect={"note opened": True})

    here = (127, 0, 0, 1)
    yield case("connect", 1, here, "tcp", 2 + 10 + 5, more=b"hello")
    yield case("denied by a rule", 1, (127, 0, 0, 2), "tcp", 2 + 10, nothing)
    yield case("denied port", 1, here, 1, 2 + 10, nothing)
    yield case("bind", 2, here, "tcp", 2 + 10, nothing)
    yield case("udp", 3, here, "tcp", 2 + 10, nothing)
    yield case("a command nobody knows", 9, here, "tcp", 2 + 10, nothing)


def over_bastion():
    for name, scheme in (("address", ""), ("url", "tcp://"), ("url with a path", "ssh://")):

        def visit(talk, case, scheme=scheme):
            to = f"{scheme}127.0.0.1:{talk.stage.tcp.port}" + ("/x/y" if scheme == "ssh://" else "")
            return tcp(5, binary(b"hello"), headers=[("Cf-Access-Jump-Destination", to)])(talk, case)

        yield Case(f"bastion/{name}", echo, host="bastion", visit=visit,
                   expect={"note opened": True, "response body": b"hello"})  # fmt: skip
    yield Case("bastion/no destination", nothing, host="bastion", page=True, visit=opening(), expect={"note opened": False})


# --- The built-in test pages -------------------------------------------------------------------------------


def hello():
    date = {"response field date", "response field content-length"}
    for method in ("GET", "HEAD", "POST"):
        yield Case(f"hello/{method}", reply(), host="hello", target="/anything?x", method=method,
                   body=b"form=1" if method == "POST" else None, ignore={*date, "response body"},
                   expect={"requests": 0, "response status": 200, "response body": "*"})  # fmt: skip
    yield Case("hello/health", reply(), host="hello", target="/_health", ignore=date,
               expect={"requests": 0, "response body": b"ok"})  # fmt: skip
    yield Case("hello/uptime", reply(), host="hello", target="/uptime", ignore={*date, "response body"},
               expect={"requests": 0, "response body": "*", "response field content-type": ["application/json"]})  # fmt: skip
    yield Case("hello/socket", reply(), host="hello", visit=hello_socket, ignore=date,
               expect={"note opened": True, f"note echo of {len(BODY)}": (ws.BINARY, BODY)})  # fmt: skip
    yield Case("hello/events", reply(), host="hello", visit=hello_events, ignore=date, expect={"requests": 0})


def hello_socket(talk, case):
    talk.play.note("opened", talk.open_socket("/ws"))
    for opcode, data in ((ws.TEXT, b"hello"), (ws.BINARY, BODY), (ws.CLOSE, b"\x03\xe8")):
        talk.write(ws.frame(opcode, data, masked=True))
        talk.play.note(f"echo of {len(data)}", ws.read_message(talk))
    talk.opened.end = "complete"
    return talk.opened


def hello_events(talk, case):
    talk.start("GET", "/sse?freq=20ms")
    answer = talk.head()
    for piece in talk.pieces(answer):
        answer.body += piece
        if answer.body.count(b"\n\n") >= 2:
            break
    answer.body = b"\n\n".join(answer.body.split(b"\n\n")[:2])
    talk.leave()
    answer.end = "complete"
    return answer


CASES = [*services(), *over_tcp(), *over_socks(), *over_bastion(), *hello()]
