"""Claim: the tunnel costs little over either protocol. HTTP/2 and QUIC side by side, ours and the stock connector's.

A quarter GiB as a single stream and as 64 at once, in both directions (claim bulk has whole ones); small requests at
1 and 64 connections. One edge serves every connector; each has a tunnel and a host of its own.
"""

import time

import chains
import claim_bulk
import claim_small
from lab import GIB, PARTS, CannotMeasure

PROTOCOLS = ("http2", "quic")


def many(lab, chain, up):
    """The bulk in PARTS streams at once. As claim_bulk.measure()."""
    argv = ["h2load", "--h1", "-t", 1, "-c", PARTS, "-n", PARTS,
            "--connect-to", f"127.0.0.1:{chain.port}"]  # fmt: skip
    if up:
        argv += ["-d", lab.scratch / "part", f"https://{chain.host}:{chain.port}/upload"]
    else:
        argv += [f"https://{chain.host}:{chain.port}/part"]
    cpu_0, wall_0 = chain.cpu(), time.monotonic()
    client = lab.start("h2load", argv)
    claim_small.finish(lab, client, seconds=120)
    wall = time.monotonic() - wall_0
    time.sleep(0.05)
    cpu_1 = chain.cpu()
    chain.check_alive()
    if f"{PARTS} succeeded, 0 failed" not in client.log.read_text():
        raise CannotMeasure(f"h2load: {client.tail()}")
    scale = GIB / lab.bulk_bytes
    found = {f"{part} s": (cpu_1[part] - cpu_0[part]) * scale for part in chain.parts}
    found["s"] = sum(found.values())
    found["MB/s"] = lab.bulk_bytes / wall / 1e6
    return found


def subjects_of(lab, results):
    kinds = [(stock, protocol) for stock in (False, True) for protocol in PROTOCOLS]
    if not lab.cloudflared:
        kinds = kinds[:2]
    names = [f"{'stock' if stock else 'ours'}-{protocol}" for stock, protocol in kinds]
    edge = chains.Edge(lab, tunnels={name: f"{name}.example.com" for name in names})
    makers = [lambda stock=stock, protocol=protocol: chains.of_protocol(edge, stock, protocol)
              for stock, protocol in kinds]  # fmt: skip
    makers.insert(2, lambda: chains.nginx_two(lab))
    found = []
    for make in makers:
        try:
            chain = make()
            lab.check_chain(chain)
            found.append(chain)
        except CannotMeasure as e:
            results.fail("a connector", e)
    return found


def run(lab, results):
    rounds, warm, seconds = (1, 0.5, 0.7) if lab.quick else (lab.rounds or 5, 1.0, 2.0)
    results.about["streams at once"] = str(PARTS)
    lab.resize_bulk(min(lab.bulk_bytes, GIB // 4))
    subjects = subjects_of(lab, results)
    cases = [
        ("1 conn", lambda chain: claim_small.steady(lab, chain, 1, warm, seconds)),
        ("64 conn", lambda chain: claim_small.steady(lab, chain, 64, warm, seconds)),
        ("down, 1 stream", lambda chain: claim_bulk.measure(lab, chain, False)),
        ("up, 1 stream", lambda chain: claim_bulk.measure(lab, chain, True)),
        (f"down, {PARTS} streams", lambda chain: many(lab, chain, False)),
        (f"up, {PARTS} streams", lambda chain: many(lab, chain, True)),
    ]
    for case, measure in cases:
        for turn in range(rounds):
            for chain in subjects:
                try:
                    found = measure(chain)
                except (CannotMeasure, ValueError) as e:
                    results.fail(f"{chain.name}, {case}, round {turn + 1}", e)
                    continue
                for metric, value in found.items():
                    results.add(case, chain.name, metric, turn, value)
                if "s" in found:
                    text = f"{found['s']:6.2f} CPU s/GiB {found['MB/s']:7.0f} MB/s"
                else:
                    text = f"{found['µs']:7.1f} µs/request {found['req/s']:8.0f}/s"
                print(f"  {case:16} {turn + 1}/{rounds} {chain.name:20} {text}", flush=True)
    chains.stop(lab, subjects)
