"""Where the two differ and ours is right. The reasons are rows of docs/compatibility.md.

Exactly what is said here differs: anything else is a failure, and so is a line of it that is no more true.
"""

from dataclasses import dataclass

from .table_basics import WITHOUT_BODY

NO_REQUEST = ("requests", "request *")  # the stock one never asks the service
OTHER_ANSWER = ("response status", "response body", "response field *")


@dataclass(frozen=True)
class Difference:
    reason: str
    cases: tuple  # names; "*" at the end of one stands for anything: then every such case has to differ
    paths: tuple  # see compare.flat; the same
    version: str = "*"
    protocol: str = "*"  # between the stock connector and the edge

    def matches(self, name, version):
        names = (name == c or (c.endswith("*") and name.startswith(c[:-1])) for c in self.cases)
        return self.version in ("*", version) and any(names)


# Of these Go looks whether there is a body before it says that there might be one.
LOOKED_AT = {"GET", "HEAD", "DELETE", "OPTIONS", "PROPFIND", "SEARCH"}
SAYS_LENGTH = {"POST", "PUT", "PATCH"}

DIFFERENCES = [
    Difference("empty-body", tuple(f"method/{m}" for m in WITHOUT_BODY if m not in LOOKED_AT | SAYS_LENGTH),
               ("request field transfer-encoding",), protocol="http2"),
    Difference("empty-body", (*(f"method/{m}" for m in SAYS_LENGTH), "upload/0 bytes", "http10/put of nothing",
                              "socket/with POST"),
               ("request field transfer-encoding", "request field content-length"), protocol="http2"),
    Difference("path-bytes", ("target/pipe", "target/quote", "target/braces", "target/caret and backtick",
                              "target/backslash", "target/angles", "target/bytes above ascii"), ("request line",)),
    Difference("path-bytes", ("target/bad escape", "target/half an escape"), (*NO_REQUEST, *OTHER_ANSWER)),
    Difference("host-names", ("asks/host in capitals", "asks/host with a dot at its end"), (*NO_REQUEST, "response status")),
    Difference("empty-values", ("asks/empty user agent",), ("request field user-agent",)),
    Difference("empty-values", ("asks/accept-encoding empty",), ("request field accept-encoding",)),
    Difference("te", ("asks/te trailers", "asks/te named", "trailers/like grpc"), ("request field connection",)),
    Difference("trailer-announced", ("trailers/of an answer", "trailers/announced and missing", "trailers/several",
                                     "trailers/of an empty body", "trailers/like grpc", "trailers/of a large body",
                                     "trailers/odd bytes", "trailers/both ways"), ("response field trailer",)),
    Difference("request-trailers", ("trailers/of a request*", "trailers/of an empty request", "trailers/both ways"),
               ("request trailers",)),
    Difference("interim", ("interim/102", "interim/103", "interim/103 twice", "interim/103 of HEAD",
                           "interim/103 before 404", "interim/103 during an upload", "interim/104", "interim/110", "interim/199",
                           "interim/100 to 103", "interim/nothing after 103"), ("response interim",)),
    Difference("interim", ("interim/100 unasked",), ("response interim",), "2"),
    Difference("interim", ("reuse/after an interim answer",), ("response 0 interim",)),
    Difference("expect", ("upload/expect waiting", "upload/expect told to go on", "upload/expect refused"), ("request field expect",)),
    Difference("expect", ("upload/expect refused",), ("response interim", "response field connection")),
    Difference("switched-unasked", ("interim/101 unasked",), ("response status",), protocol="http2"),
    Difference("framing", ("download/length and chunked", "download/chunked of HTTP 1.0"), ("response status",)),
    Difference("204-length", ("download/204 with a length", "download/204 with a body"), OTHER_ANSWER, protocol="http2"),
    Difference("asked-again", ("reuse/closed instead of an answer",),
               ("requests", "request 2 *", "response 1 status", "response 1 body", "response 1 field *"), protocol="http2"),
    Difference("half-close", ("socket/the service says no more",), ("note heard after its end",)),
    Difference("socket-version", ("socket/of version 8",), ("request field sec-websocket-version",)),
    Difference("flush", ("stream/html with a length",), ("note waited for piece 0",), protocol="http2"),
    Difference("flush", ("stream/the head of a length comes at once",), ("note waited for the head at the visitor",), protocol="http2"),
    Difference("quic-trailers", ("trailers/of an answer", "trailers/unannounced", "trailers/several", "trailers/of an empty body",
                                 "trailers/like grpc", "trailers/of a large body", "trailers/odd bytes",
                                 "trailers/that may not be", "trailers/both ways"), ("response trailers",), protocol="quic"),
    Difference("quic-trailers", ("reuse/after trailers",), ("response 0 trailers",), protocol="quic"),
    Difference("quic-trailers", ("asks/trailer announced", "trailers/of a request"), ("request field trailer",), protocol="quic"),
    Difference("quic-asterisk", ("target/asterisk", "target/absolute form of OPTIONS"), ("request line",), protocol="quic"),
    Difference("tcp-messages", ("tcp/text message", "tcp/a message of 100 KiB"), ("note heard",)),
    Difference("tcp-close", ("tcp/the service ends", "tcp/a frame without a mask", "tcp/a reserved opcode"),
               ("note control frame",)),
    Difference("tcp-plain", ("tcp/a plain request", "tcp/a post"), OTHER_ANSWER),
    Difference("socks-address", ("socks/connect", "socks/denied*"), ("response body",)),
    Difference("bastion-destination", ("bastion/no destination",), ("response status",)),
    Difference("hello-pages", ("hello/GET", "hello/HEAD", "hello/POST"), ("response field cache-control",)),
    Difference("hello-pages", ("hello/GET", "hello/POST"), ("response field transfer-encoding",), "1.1"),
    Difference("hello-pages", ("hello/events",), ("response field cache-control", "response body")),
]  # fmt: skip


def declared(name, version, protocol):
    """path to reason"""
    found = (d for d in DIFFERENCES if d.matches(name, version) and d.protocol in ("*", protocol))
    return {path: d.reason for d in found for path in d.paths}
