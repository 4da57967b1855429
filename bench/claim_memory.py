"""Claim: both programs are small: idle, busy, per idle visitor and per idle WebSocket.

Resident memory, as the kernel counts it. Every figure comes from fresh programs: memory that an
earlier burst left in the heap would hide what a connection costs.
"""

import os
import shutil
import time

import chains
import visitors
from claim_small import finish, load
from lab import CannotMeasure

SETTLE = 1.5  # seconds for timers and idle pools to calm down
FIRST = 32  # connections that are there before the ones that count: code and pools are paged in
BUSY_CONNECTIONS = 256


def bytes_each(lab, chain, program, open_them, count):
    """How much `program` grows for each of `count` connections that open_them() opens."""
    lab.check_chain(chain)
    first, more = open_them(chain, FIRST), []
    try:
        time.sleep(SETTLE)
        before = program.rss()
        more = open_them(chain, count)
        time.sleep(SETTLE)
        return (program.rss() - before) / count
    finally:
        visitors.close(first + more)


def idle_visitors(lab, chain, program, count, turn, results):
    """Of the program that ends TLS."""
    each = bytes_each(lab, chain, program, visitors.idle_clients, count)
    results.add("idle visitor", chain.name, "bytes", turn, each)
    print(f"  idle visitor: {chain.name:15} {each:8.0f} bytes", flush=True)


def busy(lab, chain, turn, results):
    """The most that each part needs under load."""
    client = load(lab, chain, BUSY_CONNECTIONS, 2 if lab.quick else 4, "/dev/null")
    most = dict.fromkeys(chain.parts, 0)
    while client.running():
        for part, program in chain.parts.items():
            most[part] = max(most[part], program.rss())
        time.sleep(0.1)
    finish(lab, client)
    for part, size in most.items():
        results.add("busy", chain.name, f"{part} bytes", turn, size)
        print(f"  busy {part}: {chain.name:15} {size / 1e6:8.1f} MB", flush=True)


def edge_and_connector(lab, stock, count, turn, results):
    """A fresh edge with a fresh connector, three times: each question wants its own heap."""
    name = f"memory-{turn}-{'stock' if stock else 'ours'}"
    edge = chains.Edge(lab, name)
    make = chains.cloudflared if stock else chains.ours
    try:
        chain = make(lab, edge)
        time.sleep(SETTLE)
        for part, program in chain.parts.items():
            results.add("idle", chain.name, f"{part} bytes", turn, program.rss())
            print(f"  idle {part}: {chain.name:15} {program.rss() / 1e6:8.1f} MB", flush=True)
        if not stock:
            idle_visitors(lab, chain, chain.parts["edge"], count, turn, results)
        lab.stop(chain.parts["connector"])

        chain = make(lab, edge)
        connector = chain.parts["connector"]
        each = bytes_each(lab, chain, connector, visitors.idle_sockets, count)
        results.add("idle WebSocket", chain.name, "connector bytes", turn, each)
        print(f"  idle WebSocket: {chain.name:15} {each:8.0f} bytes", flush=True)
        lab.stop(connector, edge.program)

        edge.program = edge.run(name)
        chain = make(lab, edge)
        lab.check_chain(chain)
        busy(lab, chain, turn, results)
        chains.stop(lab, [chain])
    finally:
        for program in list(lab.programs):
            if program.name in (name, "connector", "cloudflared"):
                lab.stop(program)


def nginx_front(lab, count, turn, results):
    chain = chains.nginx_one(lab)
    try:
        idle_visitors(lab, chain, chain.parts["front"], count, turn, results)
    finally:
        chains.stop(lab, [chain])
    chain = chains.nginx_two(lab)
    try:
        lab.check_chain(chain)
        time.sleep(SETTLE)
        for part, program in chain.parts.items():
            results.add("idle", chain.name, f"{part} bytes", turn, program.rss())
        busy(lab, chain, turn, results)
    finally:
        chains.stop(lab, [chain])


def binaries(lab, results):
    """Stripped, dynamically linked; what they share with the system is not counted."""
    for name, path in (
        ("adit", lab.bin / "adit"),
        ("adit-edge", lab.bin / "adit-edge"),
        ("cloudflared", lab.cloudflared),
        ("nginx", shutil.which("nginx")),
        ("HAProxy", lab.haproxy),
    ):
        if not path:
            continue
        try:
            stripped = lab.scratch / "stripped"
            if shutil.which("strip"):
                lab.run(["strip", "-o", stripped, path])
            else:
                shutil.copyfile(path, stripped)
            results.add("binary", name, "bytes", 0, os.path.getsize(stripped))
        except (CannotMeasure, OSError) as e:
            results.fail(f"size of {name}", e)


def run(lab, results):
    rounds, count = (1, 200) if lab.quick else (5, 1000)
    results.about["connections held open"] = str(count)
    binaries(lab, results)
    for turn in range(rounds):
        print(f"  round {turn + 1}/{rounds}", flush=True)
        steps = [
            ("adit", lambda: edge_and_connector(lab, False, count, turn, results)),
            ("nginx", lambda: nginx_front(lab, count, turn, results)),
        ]
        if lab.cloudflared:
            steps.append(("cloudflared", lambda: edge_and_connector(lab, True, count, turn, results)))
        for name, step in steps:
            try:
                step()
            except CannotMeasure as e:
                results.fail(f"memory of {name}, round {turn + 1}", e)
