"""Writes docs/benchmarks.md from the kept samples."""

import dataclasses
import statistics

from results import Results

OURS = "adit"
TWO = "nginx, two hops"
ONE = "nginx, one hop"
HAPROXY = "HAProxy, two hops"
STOCK = "cloudflared"
OVER_H2, OVER_QUIC = "adit, HTTP/2", "adit, QUIC"
STOCK_OVER_QUIC = "cloudflared, QUIC"

HEAD = """# Benchmarks

What `adit-edge` and `adit` cost beside what people use today. `./dev bench` measured and wrote this page;
it is not edited by hand. The samples are in `bench/results/`.

A figure alone says little, so every figure has its rivals' beside it, taken in the same run on the same
machine, in turns (A B C A B C …). A ratio is the median of the rounds' ratios, and behind it stand the
least and the most of them: that is the noise. CPU is user + system time of all processes and threads of
a program, from the kernel's clock of each process, over the requests that reached the origin, which is the
same nginx for all. The client is the same for all too, and its CPU is not counted.

| chain | what a request passes |
|---|---|
| adit | visitor → TLS → `adit-edge` → TLS, HTTP/2 tunnel (or QUIC, where it says so) → `adit` → origin |
| cloudflared | the same with a stock `cloudflared` as the connector on the same edge |
| nginx, two hops | visitor → TLS → nginx → TLS, keep-alive → nginx → origin: the same work |
| HAProxy, two hops | the same with HAProxy |
| nginx, one hop | visitor → TLS → nginx → origin: what forwarding a port gives |

Everyone has as many workers or threads as there are cores, keeps its connections alive, streams bodies
without files, verifies certificates between hops, and writes no access log. The visitor speaks HTTP/1.1
over TLS 1.3.
"""


def number(value, unit=""):
    if value is None:
        return "–"
    if abs(value) >= 10000:
        text = f"{value:,.0f}"
    elif abs(value) >= 100:
        text = f"{value:.0f}"
    elif abs(value) >= 10:
        text = f"{value:.1f}"
    else:
        text = f"{value:.2f}"
    return text + unit


def spread(found):
    """A ratio with its noise."""
    return "–" if found is None else f"**{found[0]:.2f}** ({found[1]:.2f}–{found[2]:.2f})"


def range_of(values, scale=1.0):
    if not values:
        return "–"
    middle = statistics.median(values) * scale
    if len(values) == 1:
        return number(middle)
    return f"{number(middle)} ({number(min(values) * scale)}–{number(max(values) * scale)})"


def table(head, rows, texts=()):
    """Columns hold numbers, but for the first and those whose heads are in `texts`."""
    columns = ["---" if i == 0 or name in texts else "--:" for i, name in enumerate(head)]
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join(columns) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def subjects_of(results, case, metric):
    return [s for (c, s, m) in results.samples if c == case and m == metric]


# --- the goals ---


@dataclasses.dataclass
class Goal:
    what: str
    limit: float
    claim: str
    case: str
    ours: tuple  # (subject, metric)
    rival: tuple = None  # none: the goal is on our own figure
    at_least: bool = False
    scale: float = 1.0  # of our own figure
    unit: str = ""


GOALS = [
    Goal("connector CPU per request ÷ cloudflared, 64 connections", 0.10, "small", "64 conn",
         (OURS, "connector µs"), (STOCK, "connector µs")),
    Goal("the same, 1 connection", 0.12, "small", "1 conn",
         (OURS, "connector µs"), (STOCK, "connector µs")),
    Goal("edge + connector CPU per request ÷ nginx two hops, 64 connections", 0.50, "small", "64 conn",
         (OURS, "µs"), (TWO, "µs")),
    Goal("the same, 1 connection", 0.65, "small", "1 conn", (OURS, "µs"), (TWO, "µs")),
    Goal("requests per second ÷ nginx two hops, 64 connections", 1.5, "small", "64 conn",
         (OURS, "req/s"), (TWO, "req/s"), at_least=True),
    Goal("p99 at 64 connections ÷ nginx two hops", 0.8, "small", "64 conn",
         (OURS, "p99 µs"), (TWO, "p99 µs")),
    Goal("connector CPU per GiB ÷ cloudflared, down", 0.35, "bulk", "down",
         (OURS, "connector s"), (STOCK, "connector s")),
    Goal("the same, up", 0.35, "bulk", "up", (OURS, "connector s"), (STOCK, "connector s")),
    Goal("edge + connector CPU per GiB ÷ nginx two hops, down", 0.65, "bulk", "down",
         (OURS, "s"), (TWO, "s")),
    Goal("the same, up", 0.65, "bulk", "up", (OURS, "s"), (TWO, "s")),
    Goal("single-stream throughput ÷ nginx two hops, down", 1.2, "bulk", "down",
         (OURS, "MB/s"), (TWO, "MB/s"), at_least=True),
    Goal("the same, up", 1.2, "bulk", "up", (OURS, "MB/s"), (TWO, "MB/s"), at_least=True),
    Goal("over QUIC: connector CPU per request ÷ cloudflared, 64 connections", 0.13, "tunnel", "64 conn",
         (OVER_QUIC, "connector µs"), (STOCK_OVER_QUIC, "connector µs")),
    Goal("over QUIC: the same, 1 connection", 0.12, "tunnel", "1 conn",
         (OVER_QUIC, "connector µs"), (STOCK_OVER_QUIC, "connector µs")),
    Goal("over QUIC: edge + connector CPU per request ÷ nginx two hops, 64 connections", 0.90, "tunnel", "64 conn",
         (OVER_QUIC, "µs"), (TWO, "µs")),
    Goal("over QUIC: connector CPU per GiB ÷ cloudflared, down", 0.30, "tunnel", "down, 1 stream",
         (OVER_QUIC, "connector s"), (STOCK_OVER_QUIC, "connector s")),
    Goal("over QUIC: the same, up", 0.30, "tunnel", "up, 1 stream",
         (OVER_QUIC, "connector s"), (STOCK_OVER_QUIC, "connector s")),
    Goal("connector RSS, idle, four connections", 4, "memory", "idle",
         (OURS, "connector bytes"), scale=1e-6, unit=" MB"),
    Goal("connector RSS, 256 busy connections", 12, "memory", "busy",
         (OURS, "connector bytes"), scale=1e-6, unit=" MB"),
    Goal("bytes per idle WebSocket at the connector ÷ cloudflared", 0.05, "memory", "idle WebSocket",
         (OURS, "connector bytes"), (STOCK, "connector bytes")),
    Goal("bytes per idle TLS visitor at the edge ÷ nginx", 1.25, "memory", "idle visitor",
         (OURS, "bytes"), (ONE, "bytes")),
    Goal("edge RSS, idle", 12, "memory", "idle", (OURS, "edge bytes"), scale=1e-6, unit=" MB"),
    Goal("start to the first registered connection", 16, "start", "start",
         (OURS, "first ms"), unit=" ms"),
    Goal("start to the fourth", 100, "start", "start", (OURS, "fourth ms"), unit=" ms"),
    Goal("connector binary, stripped, dynamic", 1, "memory", "binary",
         (OURS, "bytes"), scale=1e-6, unit=" MB"),
    Goal("full TLS 1.3 handshakes per CPU second ÷ nginx", 1.5, "handshakes", "full",
         (OURS, "per CPU s"), (ONE, "per CPU s"), at_least=True),
    Goal("resumed handshakes per CPU second ÷ nginx", 2, "handshakes", "resumed",
         (OURS, "per CPU s"), (ONE, "per CPU s"), at_least=True),
]  # fmt: skip


def figure(goal, results, side):
    subject, metric = side
    value = results.median(goal.case, subject, metric)
    return "–" if value is None else number(value * goal.scale, goal.unit)


def goals(all_results):
    rows = []
    for goal in GOALS:
        results = all_results.get(goal.claim)
        sign = "≥" if goal.at_least else "≤"
        limit = f"{sign} {goal.limit:g}{goal.unit}"
        if results is None or not results.has(goal.case, *goal.ours):
            rows.append([goal.what, "–", "–", "–", limit, "not measured"])
            continue
        if goal.rival is None:
            value = results.median(goal.case, *goal.ours) * goal.scale
            shown = range_of(results.values(goal.case, *goal.ours), goal.scale)
            rival, ratio = "", shown
        else:
            found = results.ratio(goal.case, goal.ours, goal.rival)
            if found is None:
                rows.append([goal.what, figure(goal, results, goal.ours), "–", "–", limit, "not measured"])
                continue
            value, ratio = found[0], spread(found)
            rival = figure(goal, results, goal.rival)
        met = value >= goal.limit if goal.at_least else value <= goal.limit
        if met:
            verdict = "met"
        elif goal.at_least:
            verdict = f"{(1 - value / goal.limit) * 100:.0f} % short"
        else:
            verdict = f"{(value / goal.limit - 1) * 100:.0f} % over"
        rows.append([goal.what, figure(goal, results, goal.ours), rival, ratio, limit, verdict])
    text = "## Goals\n\nNothing fails when a goal is missed; it is work to do.\n\n"
    text += table(["what", "ours", "rival", "ratio, or our noise", "goal", ""], rows, [""])
    return text + (
        "\nNot measured here: that reloads, drains and restarts lose no request, and how soon an outage is over, "
        "are for the end-to-end tests.\n"
    )


# --- the claims ---


def small(results):
    text = "## Small responses\n\n1 KiB answers, HTTPS with HTTP/1.1 keep-alive, `h2load` with one thread.\n"
    for connections in (1, 16, 64, 256):
        case = f"{connections} conn"
        rows = []
        if not subjects_of(results, case, "µs"):
            continue
        for subject in subjects_of(results, case, "µs"):
            parts = [
                f"{metric[:-3]} {number(results.median(case, subject, metric))}"
                for (c, s, metric) in results.samples
                if c == case and s == subject and metric.endswith(" µs") and metric[:3] not in ("p50", "p99")
            ]
            same = subject == OURS
            rows.append([
                subject,
                range_of(results.values(case, subject, "µs")),
                " + ".join(parts) if len(parts) > 1 else "",
                "" if same else spread(results.ratio(case, (OURS, "µs"), (subject, "µs"))),
                range_of(results.values(case, subject, "req/s")),
                "" if same else spread(results.ratio(case, (OURS, "req/s"), (subject, "req/s"))),
                number(results.median(case, subject, "p50 µs")),
                number(results.median(case, subject, "p99 µs")),
                "" if same else spread(results.ratio(case, (OURS, "p99 µs"), (subject, "p99 µs"))),
            ])  # fmt: skip
        strangers = [
            v for (c, s, m), t in results.samples.items() if c == case and m == "strangers' cores" for v in t.values()
        ]
        text += f"\n### {connections} connection{'s' if connections > 1 else ''}\n\n"
        text += table(
            ["chain", "CPU µs per request", "of which", "ours ÷ it", "requests/s", "ours ÷ it",
             "p50 µs", "p99 µs", "ours ÷ it"],
            rows,
        )  # fmt: skip
        if strangers:
            text += (
                f"\nOther programs of this machine used {statistics.median(strangers):.2f} cores meanwhile "
                f"({min(strangers):.2f}–{max(strangers):.2f}).\n"
            )
    connector = [
        [f"{n}", number(results.median(f"{n} conn", OURS, "connector µs")),
         number(results.median(f"{n} conn", STOCK, "connector µs")),
         spread(results.ratio(f"{n} conn", (OURS, "connector µs"), (STOCK, "connector µs")))]
        for n in (1, 16, 64, 256) if results.has(f"{n} conn", STOCK, "connector µs")
    ]  # fmt: skip
    if connector:
        text += "\n### The connector alone, CPU µs per request\n\n"
        text += table(["connections", "adit", "cloudflared", "ours ÷ it"], connector)
    return text


def bulk(results):
    text = "## One GiB in a single stream\n\n`curl`, from a file and into a sink that are in memory.\n"
    for case, title in (("down", "Download"), ("up", "Upload")):
        rows = []
        for subject in subjects_of(results, case, "s"):
            parts = [
                (metric[:-2], number(results.median(case, subject, metric)))
                for (c, s, metric) in results.samples
                if c == case and s == subject and metric.endswith(" s")
            ]
            same = subject == OURS
            rss = " + ".join(
                number(max(results.values(case, subject, f"{part} rss") or [0]) / 1e6) for part, _ in parts
            )
            rows.append([
                subject,
                range_of(results.values(case, subject, "s")),
                " + ".join(f"{part} {value}" for part, value in parts) if len(parts) > 1 else "",
                "" if same else spread(results.ratio(case, (OURS, "s"), (subject, "s"))),
                range_of(results.values(case, subject, "MB/s")),
                "" if same else spread(results.ratio(case, (OURS, "MB/s"), (subject, "MB/s"))),
                rss,
            ])  # fmt: skip
        text += f"\n### {title}\n\n"
        text += table(
            ["chain", "CPU s per GiB", "of which", "ours ÷ it", "MB/s", "ours ÷ it", "RSS MB after it"], rows
        )
    return text


def parts_of(results, case, subject, unit):
    """"edge 1.6 + connector 1.7": a sum taken apart."""
    parts = [
        f"{metric[: -len(unit) - 1]} {number(results.median(case, subject, metric))}"
        for (c, s, metric) in results.samples
        if c == case and s == subject and metric.endswith(f" {unit}") and metric[:3] not in ("p50", "p99", "req")
    ]
    return " + ".join(parts) if len(parts) > 1 else ""


def least(results, case, subject, metric):
    values = results.values(case, subject, metric)
    return number(min(values)) if values else "–"


def tunnel(results):
    text = (
        "## HTTP/2 and QUIC side by side\n\nA quarter GiB a time. The same visitors, edge and origin; between edge and connector either "
        "protocol, four connections each. `least` is the best round: what it costs when nobody disturbs it.\n"
    )
    kinds = [(f"{n} conn", f"Small responses, {n} connection{'s' if n > 1 else ''}", "µs", "CPU µs per request", "req/s")
             for n in (1, 64)]  # fmt: skip
    count = results.about.get("streams at once", "64")
    for case, title in (("down", "Download"), ("up", "Upload")):
        kinds.append((f"{case}, 1 stream", f"{title}, one stream", "s", "CPU s per GiB", "MB/s"))
        kinds.append((f"{case}, {count} streams", f"{title}, {count} streams at once", "s", "CPU s per GiB", "MB/s"))
    for case, title, unit, cost, speed in kinds:
        subjects = subjects_of(results, case, unit)
        if not subjects:
            continue
        rows = []
        for subject in subjects:
            rows.append([
                subject,
                range_of(results.values(case, subject, unit)),
                least(results, case, subject, unit),
                parts_of(results, case, subject, unit),
                "" if subject == OVER_QUIC else spread(results.ratio(case, (OVER_QUIC, unit), (subject, unit))),
                range_of(results.values(case, subject, speed)),
            ])  # fmt: skip
        text += f"\n### {title}\n\n"
        text += table(["chain", cost, "least", "of which", "adit, QUIC ÷ it", speed.replace("req/s", "requests/s")], rows)
    return text


def crowd(results):
    names = subjects_of(results, "registration", "µs")
    rows = [["registration: connect, TLS, register, leave; edge, CPU µs"]
            + [range_of(results.values("registration", name, "µs")) for name in names],
            ["the same per second, everything on this machine"]
            + [range_of(results.values("registration", name, "per s")) for name in names]]  # fmt: skip
    cases = sorted({c for (c, _, _) in results.samples if c.endswith(" idle")}, key=lambda c: int(c.split()[0]))
    for case in cases:
        held = f"{int(case.split()[0]):,} idle connections"
        for what, metric, scale in (("edge, bytes each", "bytes", 1), ("edge, resident, MB", "edge bytes", 1e-6),
                                    ("edge, CPU µs per second for each", "µs/s", 1)):  # fmt: skip
            rows.append([f"{held}: {what}"] + [range_of(results.values(case, name, metric), scale) for name in names])
    return (
        "## Very many connectors\n\nEach is one registered tunnel connection with an identity of its own, from "
        "one process (`bench/crowd.c`).\n\n" + table(["", *names], rows)
        + "\nWhere the bytes are (heaptrack, allocated, not all of it touched): over HTTP/2 26 KB nghttp2, of which 16 KB "
        "is its send buffer, 10 KB GnuTLS, 8 KB ours; over QUIC 26 KB ngtcp2, 5 KB GnuTLS, whose session is freed after "
        "the handshake, 8 KB ours. What QUIC spends while idle is the connector's PING every second and its answer.\n"
    )


def memory(results):
    def megabytes(case, subject, metric):
        return range_of(results.values(case, subject, metric), 1e-6)

    rows = []
    for part, name in (("connector", "connector"), ("edge", "edge")):
        rows.append([f"{name}, idle", megabytes("idle", OURS, f"{part} bytes"),
                     megabytes("idle", STOCK, f"{part} bytes") if part == "connector" else "",
                     "" if part == "connector" else megabytes("idle", TWO, "front bytes")])  # fmt: skip
        rows.append([f"{name}, 256 busy connections", megabytes("busy", OURS, f"{part} bytes"),
                     megabytes("busy", STOCK, f"{part} bytes") if part == "connector" else "",
                     "" if part == "connector" else megabytes("busy", TWO, "front bytes")])  # fmt: skip
    text = (
        "## Memory\n\nResident, in MB. nginx is the front of two hops, master and workers added up; what they "
        "share is counted more than once.\n\n"
    )
    text += table(["", "adit", "cloudflared", "nginx"], rows)
    count = results.about.get("connections held open", "?")
    text += f"\nBytes for each of {count} connections that are open and idle:\n\n"
    text += table(
        ["", "adit", "rival", "ours ÷ it"],
        [
            ["TLS visitor at the edge; rival: nginx",
             range_of(results.values("idle visitor", OURS, "bytes")),
             range_of(results.values("idle visitor", ONE, "bytes")),
             spread(results.ratio("idle visitor", (OURS, "bytes"), (ONE, "bytes")))],
            ["WebSocket at the connector; rival: cloudflared",
             range_of(results.values("idle WebSocket", OURS, "connector bytes")),
             range_of(results.values("idle WebSocket", STOCK, "connector bytes")),
             spread(results.ratio("idle WebSocket", (OURS, "connector bytes"), (STOCK, "connector bytes")))],
        ],
    )  # fmt: skip
    text += "\nPrograms on disk, stripped:\n\n"
    binaries = [
        [subject, number(results.median("binary", subject, "bytes") / 1e6, " MB")]
        for subject in subjects_of(results, "binary", "bytes")
    ]
    return text + table(["program", "size"], binaries)


def start(results):
    rows = [
        [subject,
         range_of(results.values("start", subject, "first ms")),
         range_of(results.values("start", subject, "fourth ms"))]
        for subject in subjects_of(results, "start", "first ms")
    ]  # fmt: skip
    return "## Start-up of the connector\n\nMilliseconds from exec to the log line.\n\n" + table(
        ["connector", "first connection registered", "fourth"], rows
    )


def handshakes(results):
    rows = []
    for case in ("full", "resumed"):
        for subject in subjects_of(results, case, "µs"):
            rows.append([
                f"{case}, {subject}",
                range_of(results.values(case, subject, "per CPU s")),
                range_of(results.values(case, subject, "µs")),
                "" if subject == OURS
                else spread(results.ratio(case, (OURS, "per CPU s"), (subject, "per CPU s"))),
            ])  # fmt: skip
    return (
        "## TLS handshakes with visitors\n\nTLS 1.3, X25519, a P-256 certificate; one after the other, each on "
        "a new connection, accepting and closing it included.\n\n"
        + table(["", "per CPU second", "CPU µs each", "ours ÷ it"], rows)
        + "\n\nOf a full one's CPU (perf, November 2026) 42 % is asymmetric cryptography in nettle and GMP, which is slower "
        "than OpenSSL's, 36 % the kernel's TCP and scheduling, 11 % GnuTLS, 7 % memory it asks for, and 2 % ours. What is "
        "left to save on our side is less than the goal asks for.\n\n"
        "With the private key in a process of its own ([sandbox](sandbox.md#private-keys)) a full handshake costs 457 µs in "
        "place of 441 with the same program and the key inside: 1.06 times (0.61–1.59; 40 rounds of 300 in turns on a busy "
        "machine, November 2026), of which some 100 are the key process's. Handshakes per second are not fewer.\n"
    )


def names(results):
    rows = [
        [what] + [range_of(results.values("names", subject, metric), scale) for subject in ("adit", "nginx")]
        + [spread(results.ratio("names", ("adit", metric), ("nginx", metric)))]
        for what, metric, scale in (
            ("from exec to the first handshake, ms", "first ms", 1),
            ("CPU until then, ms", "start CPU ms", 1),
            ("resident then, all processes, MB", "bytes", 1e-6),
            ("resident after a thousand handshakes, MB", "bytes after", 1e-6),
            ("CPU µs per full handshake, each for another name", "µs", 1),
        )
    ]  # fmt: skip
    each = results.median("import", "adit", "ms each")
    return (
        f"## {results.about.get('hostnames', '?')} hostnames, each with a certificate of its own\n\nP-256, the same "
        "certificates and keys for both; nginx has a `server` for each.\n\n"
        + table(["", "adit-edge", "nginx", "ours ÷ it"], rows)
        + f"\nTo tell a running edge of one more took {number(each)} ms on average, until all workers had been told.\n"
    )


def access(results):
    text = (
        "## Access\n\nThe same requests to hostnames of one edge. What the gate costs is what the edge takes more than "
        "where nobody is asked.\n"
    )
    for connections in (1, 64):
        case, rows = f"{connections} conn", []
        for crowd in ("", ", 1000 applications"):
            base = "nobody is asked" + crowd
            for subject in subjects_of(results, case, "edge µs"):
                if subject.endswith("1000 applications") != bool(crowd):
                    continue
                ratio = results.ratio(case, (subject, "edge µs"), (base, "edge µs"))
                rows.append([
                    subject,
                    range_of(results.values(case, subject, "edge µs")),
                    least(results, case, subject, "edge µs"),
                    "" if subject == base else spread(ratio),
                    range_of(results.values(case, subject, "req/s")),
                ])  # fmt: skip
        if rows:
            text += f"\n### {connections} connection{'s' if connections > 1 else ''}\n\n"
            text += table(["", "edge: CPU µs per request", "least", "÷ nobody is asked", "requests/s"], rows)
    return text


def syscalls(results):
    text = (
        f"## System calls per small request\n\nCounted by {results.about.get('counted by', '?')}, over a whole "
        "run of the client.\n"
    )
    for connections in (1, 64):
        case = f"{connections} conn"
        rows = []
        for subject in (OURS, TWO):
            parts = [m[:-4] for (c, s, m) in results.samples if c == case and s == subject and m.endswith(" all")]
            for part in parts:
                calls = {
                    m[len(part) + 1 :]: results.median(case, subject, m)
                    for (c, s, m) in results.samples
                    if c == case and s == subject and m.startswith(part + " ")
                }
                total = calls.pop("all")
                named = sorted(calls.items(), key=lambda item: -item[1])
                rows.append([
                    f"{subject}: {part}",
                    number(total),
                    ", ".join(f"{name} {count:.2f}" for name, count in named if count >= 0.02),
                ])  # fmt: skip
        text += f"\n### {connections} connection{'s' if connections > 1 else ''}\n\n"
        text += table(["program", "all", "which"], rows, ["which"])
    return text


def profile(results):
    text = (
        f"## Where the CPU goes\n\n{results.about.get('profiled by', '')}. Shares of a program's own CPU, in percent; "
        "functions are those outside the kernel that have a name.\n"
    )
    titles = {"1 conn": "Small requests, 1 connection", "64 conn": "Small requests, 64 connections",
              "down": "Download", "up": "Upload"}  # fmt: skip
    for case, title in titles.items():
        rows = []
        for part in ("edge", "connector"):
            row = [part]
            for kind in ("object", "call", "symbol"):
                start = f"{part} {kind} "
                found = [
                    (results.median(case, s, m), m[len(start) :])
                    for (c, s, m) in results.samples
                    if c == case and m.startswith(start)
                ]
                row.append(", ".join(f"{name} {share:.1f}" for share, name in sorted(found, reverse=True)))
            if row[1]:
                rows.append(row)
        if rows:
            text += f"\n### {title}\n\n"
            head = ["program", "where", "system calls, all in", "functions"]
            text += table(head, rows, head)
    return text


SECTIONS = {
    "small": small,
    "bulk": bulk,
    "tunnel": tunnel,
    "crowd": crowd,
    "memory": memory,
    "start": start,
    "handshakes": handshakes,
    "names": names,
    "access": access,
    "syscalls": syscalls,
    "profile": profile,
}


def conditions(results):
    rounds = max((len(turns) for turns in results.samples.values()), default=0)
    return (
        f"*{results.about.get('date')}, commit {results.about.get('commit')}; load before "
        f"{results.about.get('load before')}; rounds: {rounds}.*\n"
    )


def write(kept, page, claims):
    found = {claim: Results.load(kept / f"{claim}.tsv") for claim in claims if (kept / f"{claim}.tsv").exists()}
    if not found:
        return
    last = max(found.values(), key=lambda r: r.about.get("date", ""))
    versions = max((r.about.get("versions", "") for r in found.values()), key=len)
    commits = sorted({r.about.get("commit", "?") for r in found.values()})
    blocks = [HEAD]
    blocks.append(
        "## Where\n\n"
        f"- machine: {last.about.get('machine')}\n"
        f"- versions: {versions}\n"
        f"- {'commits, each under its heading' if len(commits) > 1 else 'commit'}: {'; '.join(commits)}\n"
    )
    blocks.append(goals(found))
    for claim, results in found.items():
        text = SECTIONS[claim](results)
        heading, _, rest = text.partition("\n\n")
        blocks.append(f"{heading}\n\n{conditions(results)}\n{rest}")
    missing = [text for results in found.values() for text in results.missing]
    if missing:
        blocks.append("## Could not be measured\n\n" + "".join(f"- {text}\n" for text in missing))
    blocks.append(
        "## Again\n\n"
        "```sh no-run: takes an hour\n"
        "./dev bench                                  # everything\n"
        "CLOUDFLARED=/path/to/cloudflared ./dev bench # with it as a rival\n"
        "./dev bench --only bulk                      # one claim: " + " ".join(claims) + "\n"
        "./dev bench --quick                          # one short round, to see that it works\n"
        "```\n\n"
        "It runs in a network of its own with nothing but loopback where the kernel allows it, and ends what it "
        "started. On a busy machine believe the ratios and look at their noise; the absolute figures are "
        "that machine's.\n"
    )
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(blocks))
