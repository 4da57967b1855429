"""Claim: an edge takes very many connectors: registering one costs little CPU, keeping it little memory.

crowd.c is the other side. Each connector is one connection with an identity of its own; an edge keeps 256 of one
tunnel, so a crowd is spread over tunnels.
"""

import time

import chains
from lab import CannotMeasure

PER_TUNNEL = 250
AT_ONCE = 16
WATCH = 5  # seconds of idleness in which CPU is counted


class Crowd:
    """The edge with so many tunnels that `count` fit."""

    def __init__(self, lab, count):
        tunnels = {f"crowd-{n}": f"crowd-{n}.example.com" for n in range(-(-count // PER_TUNNEL))}
        self.lab = lab
        self.edge = chains.Edge(lab, f"crowd-edge-{time.monotonic_ns()}", tunnels)
        self.tokens = lab.scratch / "tokens"
        self.tokens.write_text("\n".join(self.edge.tokens.values()) + "\n")

    def start(self, protocol, count, mode):
        return self.lab.start(
            "crowd",
            [self.lab.bin / "bench-crowd", protocol, f"127.0.0.1:{self.edge.tunnel}", self.edge.ca, self.tokens,
             count, AT_ONCE, mode],
        )  # fmt: skip

    def restart_edge(self):
        self.lab.stop(self.edge.program)
        self.edge.program = self.edge.run(self.edge.program.name)

    def result(self, program, count, ended):
        """Milliseconds that the registrations took."""
        if ended:
            program.process.wait(120)
        else:
            program.wait_for("result", lambda: "registered " in program.log.read_text(), 120)
        for line in program.log.read_text().splitlines():
            words = line.split()
            if words[:4] == ["registered", str(count), "failed", "0"]:
                return int(words[5])
        raise CannotMeasure(f"crowd: {program.tail()}")


def rate(crowd, protocol, count, turn, results, name):
    """Connect, TLS, register, leave: CPU of the edge for each, and how many a second."""
    before = crowd.edge.program.cpu()
    program = crowd.start(protocol, count, "churn")
    milliseconds = crowd.result(program, count, ended=True)
    crowd.lab.stop(program)
    spent = crowd.edge.program.cpu() - before
    results.add("registration", name, "µs", turn, spent / count * 1e6)
    results.add("registration", name, "per s", turn, count / milliseconds * 1000)
    print(f"  registration {name:8} {spent / count * 1e6:7.0f} µs {count / milliseconds * 1000:7.0f}/s", flush=True)


def idle(crowd, protocol, count, turn, results, name):
    """What the edge grows by for each of `count`, and what they cost while nothing happens."""
    crowd.restart_edge()
    edge = crowd.edge.program
    first = crowd.start(protocol, 32, "hold")  # code and pools are paged in
    crowd.result(first, 32, ended=False)
    time.sleep(1)
    before = edge.rss()
    program = crowd.start(protocol, count, "hold")
    crowd.result(program, count, ended=False)
    time.sleep(2)
    cpu, wall = edge.cpu(), time.monotonic()
    time.sleep(WATCH)
    spent, wall = edge.cpu() - cpu, time.monotonic() - wall
    each = (edge.rss() - before) / count
    crowd.lab.stop(program)
    if "lost 0" not in program.log.read_text():
        raise CannotMeasure(f"crowd: {program.tail()}")
    crowd.lab.stop(first)
    case = f"{count} idle"
    results.add(case, name, "bytes", turn, each)
    results.add(case, name, "µs/s", turn, spent / wall / count * 1e6)
    results.add(case, name, "edge bytes", turn, before + each * count)
    print(f"  {case:12} {name:8} {each:8.0f} bytes {spent / wall / count * 1e6:7.1f} µs/s each", flush=True)


def run(lab, results):
    if not (lab.bin / "bench-crowd").exists():
        raise CannotMeasure("there is no bench-crowd; ./dev bench builds it")
    rounds, sizes, churn = (1, (200,), 200) if lab.quick else (lab.rounds or 3, (1000, 10000), 2000)
    results.about["registrations in a round"] = str(churn)
    crowd = Crowd(lab, max(sizes) + 32)
    for turn in range(rounds):
        for protocol, name in (("http2", "HTTP/2"), ("quic", "QUIC")):
            steps = [("registrations", lambda: rate(crowd, protocol, churn, turn, results, name))]
            steps += [(f"{size} idle", lambda size=size: idle(crowd, protocol, size, turn, results, name))
                      for size in sizes]  # fmt: skip
            for what, step in steps:
                try:
                    step()
                except (CannotMeasure, OSError) as e:
                    results.fail(f"{what} over {name}, round {turn + 1}", e)
                    for program in [p for p in lab.programs if p.name == "crowd"]:
                        lab.stop(program)
    lab.stop(crowd.edge.program)
