"""Claim: a gibibyte costs little CPU in either direction, and passes quickly in a single stream."""

import time

import chains
from lab import GIB, CannotMeasure


def transfer(lab, chain, up):
    if up:
        args = ["-T", lab.scratch / "bulk", "-H", "Expect:"]
        text = lab.curl(chain, "/upload", *args)
        size = int(text)
    else:
        text = lab.curl(chain, "/bulk", "-o", "/dev/null", "-w", "%{size_download}")
        size = int(text)
    if size != lab.bulk_bytes:
        raise CannotMeasure(f"{chain.name}: {size} bytes arrived, not {lab.bulk_bytes}")


def measure(lab, chain, up):
    cpu_0, wall_0 = chain.cpu(), time.monotonic()
    transfer(lab, chain, up)
    wall = time.monotonic() - wall_0
    time.sleep(0.05)  # what is left to do after the last byte counts too
    cpu_1 = chain.cpu()
    chain.check_alive()
    scale = GIB / lab.bulk_bytes
    found = {f"{part} s": (cpu_1[part] - cpu_0[part]) * scale for part in chain.parts}
    found["s"] = sum(found.values())
    found["MB/s"] = lab.bulk_bytes / wall / 1e6
    for part, program in chain.parts.items():
        found[f"{part} rss"] = program.rss()
    return found


def run(lab, results):
    rounds = 1 if lab.quick else 5
    subjects = chains.all_of(lab, results)
    for case, up in (("down", False), ("up", True)):
        for turn in range(rounds):
            for chain in subjects:
                try:
                    found = measure(lab, chain, up)
                except (CannotMeasure, ValueError) as e:
                    results.fail(f"{chain.name}, {case}, round {turn + 1}", e)
                    continue
                for metric, value in found.items():
                    results.add(case, chain.name, metric, turn, value)
                print(
                    f"  {case:8} {turn + 1}/{rounds} {chain.name:18} "
                    f"{found['s']:6.2f} CPU s/GiB {found['MB/s']:7.0f} MB/s",
                    flush=True,
                )
    chains.stop(lab, subjects)
