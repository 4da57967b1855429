"""A case: what a visitor asks, how the service answers, and what of it may not arrive."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from testenv.origin import BLOCK, Gone

KIB = 1024
BODY = BLOCK[: 100 * KIB]
PATIENCE = 20  # seconds, for what has to come
# For what one of the two never does: the other has to manage in this time.
SHORT = 3


class Script:
    """How the service answers one request, and what the visitor should therefore be told."""

    def __init__(self, act, status=None, headers=(), body=None, trailers=(), interim=()):
        self.act, self.status, self.headers, self.body = act, status, list(headers), body
        self.trailers, self.interim = list(trailers), list(interim)
        self.is_untidy = False  # leaves connections nobody should use again

    def __call__(self, r, play):
        self.act(r, play)


def without_length(r, status):
    return r.method == "HEAD" or status in (204, 304) or status < 200


def reply(status=200, headers=(), body=b"", length=None, reason="Whatever"):
    """After the whole request; with Content-Length, where it is allowed. length=False: without."""

    def act(r, play):
        r.read_body()
        fields = list(headers)
        if length is not False and status >= 200 and status not in (204, 304):
            fields.append(("Content-Length", str(len(body))))
        r.head(status, fields, reason)
        if not without_length(r, status):
            r.send(body)

    return Script(act, status, headers, body)


def chunked(*parts, headers=(), trailers=(), status=200, extension="", digits="%x"):
    def act(r, play):
        r.read_body()
        r.head(status, [("Transfer-Encoding", "chunked"), *headers])
        if r.method == "HEAD":
            return
        for part in parts:
            r.send((digits % len(part)).encode() + extension.encode() + b"\r\n" + part + b"\r\n")
        r.last_chunk("".join(f"{n}: {v}\r\n" for n, v in trailers).encode("latin-1"))

    return Script(act, status, headers, b"".join(parts), trailers)


def until_close(body, headers=(), status=200, version="1.1", say=True):
    """No framing but the end of the connection."""

    def act(r, play):
        r.read_body()
        r.keep_alive = False
        fields = [("Connection", "close"), *headers] if say else headers
        text = "".join(f"{n}: {v}\r\n" for n, v in fields)
        r.send(f"HTTP/{version} {status} Fine\r\n{text}\r\n".encode("latin-1") + body)

    return Script(act, status, headers, body)


def raw(*pieces, close=True, then=None, **expected):
    """Bytes as they are; `expected` as for Script. then: r.fin, r.cut by name."""

    def act(r, play):
        r.read_body()
        r.keep_alive = not close
        for piece in pieces:
            r.send(piece if isinstance(piece, bytes) else piece.encode("latin-1"))
        if then:
            getattr(r, then)()

    script = Script(act, **expected)
    script.is_untidy = True
    return script


@dataclass
class Case:
    name: str
    origin: Script | Callable  # f(request, play)
    # What is asked, unless `visit` does it all: f(talk, play), which gives the answers.
    method: str = "GET"
    target: str | None = None  # None: a path of the case's own; "…" in it stands for that path
    headers: tuple = ()
    body: bytes | None = None
    pieces: tuple = ()  # a chunked body
    trailers: tuple = ()
    visit: Callable | None = None
    versions: tuple = ("1.1", "2")
    host: str = "app"  # which of the site's rules
    fresh: bool = False  # over a connection to the service that is new
    # What does not arrive as it was sent, with either connector.
    lost: frozenset | set = frozenset()  # fields of the request
    hidden: frozenset | set = frozenset()  # fields of the response
    expect: dict = field(default_factory=dict)  # path (see compare.flat) to value; "*" for the key: not looked at
    # Answers of which only the status is compared: pages of the edge, which say who failed and why.
    page: bool = False
    # Nobody can say how much of it arrives; that it is not all must be seen.
    partial: bool = False
    ignore: frozenset | set = frozenset()  # paths that are no matter of comparison
    alone: str = ""  # why only ours plays it
    bug: dict = field(default_factory=dict)  # version to what ours does wrong

    @property
    def is_untidy(self):
        return getattr(self.origin, "is_untidy", True)

    @property
    def path(self):
        return "/twins/" + "".join(c if c.isalnum() else "-" for c in self.name)

    @property
    def asked(self):
        return (self.target or "…?q=%20/../x").replace("…", self.path)


class Play:
    """One performance of a case: what both ends, and the test between them, know."""

    def __init__(self, case):
        self.case = case
        self.notes = {}
        self.gates = {}
        self.lock = threading.Lock()
        self.served = 0

    def gate(self, name):
        with self.lock:
            return self.gates.setdefault(name, threading.Event())

    def open(self, name):
        self.gate(name).set()

    def wait(self, name, seconds=PATIENCE):
        """Waits for the other end. That it never came is noted, and is a difference."""
        if not self.gate(name).wait(seconds):
            self.note(f"waited for {name}", "in vain")
            return False
        return True

    def note(self, key, value):
        with self.lock:
            self.notes[key] = value

    def number(self):
        """How many requests came before."""
        with self.lock:
            self.served += 1
            return self.served - 1

    def serve(self, r):
        r.end = "complete"
        try:
            self.case.origin(r, self)
        except (Gone, OSError, ValueError) as e:
            r.end = "broken off"
            raise e if isinstance(e, Gone) else Gone from e


def ask(talk, case):
    """The ordinary visit."""
    headers = [(n, v.replace("SITE", talk.host).replace("CAPITALS", talk.host.upper())) for n, v in (case.headers)]
    target = case.asked.replace("SITE", talk.host)
    if case.pieces or case.trailers:
        talk.start(case.method, target, headers, body_follows=True)
        for piece in case.pieces:
            talk.send(piece)
        talk.send(last=True, trailers=case.trailers)
    elif case.body is not None:
        has_length = any(n.lower() == "content-length" for n, _ in headers)
        talk.start(case.method, target, headers, body_follows=bool(case.body) or talk.version == "2",
                   length=None if has_length else len(case.body))  # fmt: skip
        if case.body or talk.version == "2":
            talk.send(case.body, last=True)
    else:
        talk.start(case.method, target, headers)
    return talk.answer()
