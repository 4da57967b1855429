"""Transcripts: what the service saw and what the visitor saw, made comparable.

`flat` gives one dictionary of paths such as "request field te" or "response 1 body"; with one request
and one response there are no numbers in it.
"""

VOLATILE = {"cf-ray", "cf-warp-tag-id"}
# Fields an edge or connector adds to every request (test_50_headers.py looks at them).
ADDED = {"cf-ray", "cf-warp-tag-id", "cdn-loop", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
         "cf-connecting-ip", "cf-visitor", "connection", "host", "content-length", "transfer-encoding"}  # fmt: skip


def anonymous(value, host):
    return value.replace(host, "SITE").replace(host.upper(), "CAPITALS") if host else value


def grouped(fields, host=None):
    """Names without case; fields of one name keep their order."""
    out = {}
    for name, value in fields:
        if name.lower() not in VOLATILE:
            out.setdefault(name.lower(), []).append(anonymous(value, host))
    return out


def cut(value):
    """What people can read in a report."""
    text = repr(value)
    return text if len(text) < 300 else f"{text[:200]} … {text[-60:]} ({len(value)})"


class Transcript:
    def __init__(self, talk, requests, answers):
        self.host, self.version, self.notes = talk.host, talk.version, talk.play.notes
        self.requests, self.answers = requests, answers

    def flat(self, case):
        out = {"requests": len(self.requests)}
        numbered = len(self.requests) > 1
        first = self.requests[0].connection if self.requests else 0
        for i, r in enumerate(self.requests):
            self._request(out, f"request {i}" if numbered else "request", r, first)
        numbered = len(self.answers) > 1
        for i, a in enumerate(self.answers):
            self._answer(out, f"response {i}" if numbered else "response", a, case)
        out |= {f"note {key}": value for key, value in self.notes.items()}
        return {path: value for path, value in out.items() if path not in case.ignore}

    def _request(self, out, where, r, first):
        out[f"{where} line"] = r.request_line
        out[f"{where} end"] = getattr(r, "end", "?")
        out[f"{where} connection"] = r.connection - first
        # Of a body that broke off nobody knows how much had come.
        out[f"{where} body"] = (r.body or b"") if r.received.is_set() else "not all"
        out[f"{where} trailers"] = grouped(r.trailers, self.host)
        for name, values in grouped(r.headers, self.host).items():
            # Over HTTP/2 a WebSocket has no key of the visitor's.
            is_made_up = name == "sec-websocket-key" and self.version == "2"
            out[f"{where} field {name}"] = "made up" if is_made_up else values

    def _answer(self, out, where, a, case):
        if case.partial:
            out[f"{where} complete"] = a.end == "complete" and a.status != 502
            return
        out[f"{where} status"] = a.status
        out[f"{where} interim"] = [(status, grouped(fields, self.host)) for status, fields in a.interim]
        out[f"{where} end"] = a.end
        if case.page:
            return
        out[f"{where} body"] = a.body
        out[f"{where} trailers"] = grouped(a.trailers, self.host)
        fields = grouped(a.headers, self.host)
        if not a.body and a.end == "complete" and fields.get("content-length", ["0"]) == ["0"]:
            # How it is said that there is no body depends on whether head and end come together.
            fields.pop("transfer-encoding", None)
            fields.pop("content-length", None)
        for name, values in fields.items():
            out[f"{where} field {name}"] = values


def differences(ours, theirs):
    """path to (ours, theirs), where they are not the same."""
    for path, value in list(theirs.items()):
        # The edge tells a stock connector that no encoding is wanted, or it would want gzip.
        if path.endswith("field accept-encoding") and value == ["identity"] and path not in ours:
            del theirs[path]
    names = sorted({*ours, *theirs})
    return {n: (cut(ours.get(n)), cut(theirs.get(n))) for n in names if ours.get(n) != theirs.get(n)}


def unexpected(case, version, got):
    """What ours alone shows to be wrong: everything is carried as it was sent, but for what the case says."""
    want = {}
    if not case.visit and case.expect.get("requests") != 0:
        want |= {"requests": 1, "request line": f"{case.method} {case.asked} HTTP/1.1", "request end": "complete"}
        if case.is_untidy:
            del want["request end"]
        want["request body"] = b"".join(case.pieces) if case.pieces else case.body or b""
        want["request trailers"] = grouped(case.trailers)
        for name, values in grouped(case.headers).items():
            if name not in ADDED and name not in case.lost:
                want[f"request field {name}"] = values
    script = case.origin
    if not case.visit and getattr(script, "status", None) is not None and not case.page and not case.partial:
        want |= {"response status": script.status, "response end": "complete"}
        has_body = case.method != "HEAD" and script.status not in (204, 304)
        want["response body"] = script.body if has_body else b""
        want["response trailers"] = grouped(script.trailers) if version != "1.0" else {}
        want["response interim"] = [(s, grouped(f)) for s, f in script.interim] if version != "1.0" else []
        for name, values in grouped(script.headers).items():
            if name not in case.hidden and name not in ("connection", "content-length", "cf-ray"):
                want[f"response field {name}"] = values
    want |= {k: v.replace("…", case.path) if isinstance(v, str) else v for k, v in case.expect.items()}
    return {k: (cut(got.get(k)), cut(v)) for k, v in want.items() if v != "*" and got.get(k) != v}
