"""The oracle: the same request through adit and through cloudflared, over the same edge, gives the origin
the same request and the visitor the same response. The cases are in twins/table_*.py.

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
  pages of the edge      where a connector failed; adit tells its edge why. Their status is compared
  twins/differences.py   each with the reason why ours is right, in docs/compatibility.md. One that is no
                         more is a failure too

Without cloudflared, adit alone is measured by what the visitor and the origin have said: nothing may be
lost or added but what a case names.
"""

import collections
import pathlib
import re
from fnmatch import fnmatchcase

import pytest
from conftest import why_no_stock
from testenv.talk import open_talk
from testenv.wait import wait_until
from twins import table_basics, table_bodies, table_fields, table_flows, table_services
from twins.case import PATIENCE, Play, ask
from twins.compare import Transcript, differences, unexpected
from twins.differences import DIFFERENCES, declared

CASES = [*table_basics.CASES, *table_fields.CASES, *table_bodies.CASES, *table_flows.CASES,
         *table_services.CASES]  # fmt: skip
DOCUMENT = pathlib.Path(__file__).parents[2] / "docs/compatibility.md"


def params():
    for case in CASES:
        for version in case.versions:
            bug = case.bug.get(version)
            marks = [pytest.mark.xfail(strict=True, reason=bug)] if bug else []
            yield pytest.param(case, version, id=f"{case.name}-{version}", marks=marks)


def perform(stage, kind, case, version, protocol):
    # The stock one of the stage uses HTTP/2 anyway.
    site = stage.site(kind, None if (kind, protocol) == ("stock", "http2") else protocol)
    origin = stage.origin
    origin.forget()
    if case.fresh:
        origin.drop_idle()
    play = Play(case)
    origin.default = play.serve
    stage.tcp.handler = lambda sock: case.origin(sock, play)
    talk = open_talk(stage.edge, version, site.host(case.host))
    talk.play, talk.stage = play, stage
    try:
        answers = (case.visit or ask)(talk, case)
    finally:
        talk.close()
    wait_until(lambda: all(r.done.is_set() for r in origin.seen), "end of the request at the origin", PATIENCE)
    wait_until(lambda: not stage.tcp.connections, "end at the TCP service", PATIENCE)
    requests = list(origin.seen)
    origin.forget()
    if case.is_untidy:
        origin.drop_idle()
    answers = answers if isinstance(answers, list) else [answers]
    return Transcript(talk, requests, answers).flat(case)


@pytest.mark.parametrize("case, version", params())
def test_twins(stage, case, version):
    compare_twins(stage, case, version)


def compare_twins(stage, case, version, protocol="http2"):
    """Both over the same protocol: the two say some things in ways of their own."""
    ours = perform(stage, "adit", case, version, protocol)
    wrong = unexpected(case, version, ours)
    assert not wrong, report(wrong, "adit", "expected")
    if why_no_stock() or case.alone:
        return
    found = differences(ours, perform(stage, "stock", case, version, protocol))
    allowed = declared(case.name, version, protocol)
    surprising = {path: pair for path, pair in found.items() if not any(fnmatchcase(path, a) for a in allowed)}
    assert not surprising, report(surprising, "adit", "cloudflared")
    gone = [f"{a} ({reason})" for a, reason in allowed.items() if not any(fnmatchcase(path, a) for path in found)]
    assert not gone, f"no difference any more, so it should not be declared: {', '.join(gone)}"


@pytest.mark.parametrize("protocol", ["http2", "quic"])
@pytest.mark.parametrize("case, version", [p for i, p in enumerate(params()) if i % 8 == 0])
def test_twins_over_each_protocol(stage, case, version, protocol):
    """One case in eight, with the connector told how to speak to the edge: above it chooses."""
    wrong = unexpected(case, version, perform(stage, "adit", case, version, protocol))
    assert not wrong, report(wrong, f"adit over {protocol}", "expected")


def report(pairs, one, other):
    return "\n" + "\n".join(f"{path}:\n  {one}: {a}\n  {other}: {b}" for path, (a, b) in pairs.items())


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_every_status(stage, version):
    """200 to 599 in a row over one connection."""
    statuses = range(200, 600)
    told = {}
    for kind in ("adit", "stock"):
        if kind == "stock" and why_no_stock():
            break
        site = stage.site(kind)
        stage.origin.forget()
        stage.origin.default = lambda r: r.reply(int(r.target[1:]), [("X-Status", r.target)], b"body")
        talk = open_talk(stage.edge, version, site.host("app"))
        told[kind] = {}
        for status in statuses:
            talk.start("GET", f"/{status}")
            answer = talk.answer()
            told[kind][status] = (answer.status, answer.get("x-status"), answer.body, answer.end)
        talk.close()
        stage.origin.forget()
    want = {s: (s, f"/{s}", b"" if s in (204, 304) else b"body", "complete") for s in statuses}
    for kind, seen in told.items():
        assert {s: v for s, v in seen.items() if v != want[s]} == {}, kind


# --- The table itself ----------------------------------------------------------------------------------


def test_cases_have_names_of_their_own():
    paths = collections.Counter(c.path for c in CASES)
    assert [p for p, n in paths.items() if n > 1] == []
    assert len(CASES) >= 200


def test_differences_are_explained():
    """Every reason has a row in docs/compatibility.md, and every row is used."""
    table = DOCUMENT.read_text().split("\n## Differences\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|", table, re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert {d.reason for d in DIFFERENCES} == set(rows)


def test_differences_are_of_cases_that_exist():
    names = [(c.name, v) for c in CASES for v in c.versions if not c.alone]
    for d in DIFFERENCES:
        assert any(d.matches(name, version) for name, version in names), d
