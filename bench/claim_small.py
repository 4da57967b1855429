"""Claim: a small request costs little CPU, many of them pass per second, and none waits long.

1 KiB answers over HTTPS with HTTP/1.1 keep-alive, by h2load, at several numbers of connections.
Measured in the steady state: connections are up before the window begins, and the requests in it are
counted by the origin, which is the same for all.
"""

import time

import accounting
import chains
from lab import CannotMeasure

CONNECTIONS = (1, 16, 64, 256)


def load(lab, chain, connections, seconds, log, fields=()):
    return lab.start(
        "h2load",
        ["h2load", "--h1", "-t", 1, "-c", connections, "-D", f"{int(seconds * 1000)}ms", "--log-file", log,
         *[x for field in fields for x in ("-H", field)],
         "--connect-to", f"127.0.0.1:{chain.port}", f"https://{chain.host}:{chain.port}/small"],
    )  # fmt: skip


def finish(lab, client, seconds=30):
    try:
        code = client.process.wait(seconds)
    except Exception as e:
        raise CannotMeasure("h2load does not end") from e
    finally:
        lab.stop(client)
    text = client.log.read_text()
    if code != 0 or " 0 3xx, 0 4xx, 0 5xx" not in text:
        raise CannotMeasure(f"h2load: exit {code}: {client.tail()}")


def percentile(ordered, share):
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def steady(lab, chain, connections, warm, seconds, fields=()):
    """One window of load on one chain. Returns {metric: value}."""
    log = lab.scratch / "h2load.times"
    log.unlink(missing_ok=True)
    client = load(lab, chain, connections, warm + seconds + 0.5, log, fields)
    time.sleep(warm)
    bench_programs = [client, lab.origin, *chain.parts.values()]
    wall_0, busy_0 = time.time(), accounting.machine_busy_seconds()
    requests_0, cpu_0 = lab.requests_at_origin(), chain.cpu()
    known_0 = sum(p.cpu() for p in bench_programs)
    time.sleep(seconds)
    requests_1, cpu_1 = lab.requests_at_origin(), chain.cpu()
    known_1 = sum(p.cpu() for p in bench_programs)
    wall_1, busy_1 = time.time(), accounting.machine_busy_seconds()
    rss = {part: program.rss() for part, program in chain.parts.items()}
    finish(lab, client)
    chain.check_alive()

    requests = requests_1 - requests_0
    if requests < 50:
        raise CannotMeasure(f"{chain.name}: {requests} requests in {seconds} s")
    times = []
    with open(log, encoding="ascii") as lines:
        for line in lines:
            start, _status, duration = line.split()[:3]
            if wall_0 <= int(start) / 1e6 <= wall_1:
                times.append(int(duration))
    times.sort()
    wall = wall_1 - wall_0
    found = {f"{part} µs": (cpu_1[part] - cpu_0[part]) / requests * 1e6 for part in chain.parts}
    found["µs"] = sum(found.values())
    found["req/s"] = requests / wall
    found["strangers' cores"] = max(0, busy_1 - busy_0 - known_1 + known_0) / wall
    if times:
        found["p50 µs"] = percentile(times, 0.50)
        found["p99 µs"] = percentile(times, 0.99)
    for part, size in rss.items():
        found[f"{part} rss"] = size
    return found


def run(lab, results):
    rounds, warm, seconds = (1, 0.5, 0.7) if lab.quick else (5, 1.0, 3.0)
    subjects = chains.all_of(lab, results)
    for connections in (1, 64) if lab.quick else CONNECTIONS:
        case = f"{connections} conn"
        for turn in range(rounds):
            for chain in subjects:
                try:
                    found = steady(lab, chain, connections, warm, seconds)
                except CannotMeasure as e:
                    results.fail(f"{chain.name}, {case}, round {turn + 1}", e)
                    continue
                for metric, value in found.items():
                    results.add(case, chain.name, metric, turn, value)
                print(
                    f"  {case:8} {turn + 1}/{rounds} {chain.name:18} "
                    f"{found['µs']:7.1f} µs/request {found['req/s']:8.0f}/s",
                    flush=True,
                )
    chains.stop(lab, subjects)
