"""Claim: a TLS handshake costs the edge little CPU.

TLS 1.3 with a P-256 certificate, X25519, one connection after the other, the session tickets read.
Only the CPU of the server is counted, so it does not matter that the client is written in Python.
"""

import chains
import visitors
from lab import CannotMeasure


def run(lab, results):
    rounds, count = (1, 150) if lab.quick else (5, 1200)
    results.about["handshakes in a round"] = str(count)
    subjects = []
    try:
        edge = chains.Edge(lab)
        subjects.append((chains.ours(lab, edge), "edge"))
    except CannotMeasure as e:
        results.fail("adit", e)
    subjects.append((chains.nginx_one(lab), "front"))
    for case, resumed in (("full", False), ("resumed", True)):
        for turn in range(rounds):
            for chain, part in subjects:
                program = chain.parts[part]
                try:
                    lab.check_chain(chain)
                    before = program.cpu()
                    visitors.handshakes(chain, count, resumed)
                    spent = program.cpu() - before
                    chain.check_alive()
                except (CannotMeasure, OSError) as e:
                    results.fail(f"{case} handshakes of {chain.name}, round {turn + 1}", e)
                    continue
                results.add(case, chain.name, "µs", turn, spent / count * 1e6)
                results.add(case, chain.name, "per CPU s", turn, count / spent)
                print(f"  {case:8} {turn + 1}/{rounds} {chain.name:16} {count / spent:7.0f} per CPU second", flush=True)
    chains.stop(lab, [chain for chain, _ in subjects])
