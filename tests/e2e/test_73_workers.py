"""Four workers that share everything they may share, all at once: for ThreadSanitizer, and nobody may get stuck.

WORKERS_SECONDS sets how long (10); `./dev test --long` makes it a minute, in the tsan build too.
"""

import contextlib
import itertools
import os
import random
import re
import subprocess
import threading
import time

import pytest

from test_68_udp import UdpService, ask, client
from testenv import net
from testenv import websocket as ws
from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.origin import Origin
from testenv.program import PATIENCE
from testenv.visitor import Raw
from testenv.wait import wait_until

SECONDS = int(os.environ.get("WORKERS_SECONDS", "10"))
PROTOCOLS = ("http2", "quic")
BODY = random.Random(3).randbytes(100_000)
# What a visitor may meet while connectors come and go, and routes change their minds.
EXPECTED = (200, 404, 502, 503, 504, 530)


class Town:
    """One edge with four workers, a tunnel for each protocol, and people who do all kinds of things."""

    def __init__(self, own, folder):
        self.own, self.folder = own, folder
        self.origin, self.udp = Origin(), UdpService()
        self.socket = self.origin.on(ws.serve_echo)
        self.download = self.origin.on(self.send_much)
        self.edge = own.edge(start=False, settings='ports-allow: ["12000-60999"]\nports-bind: ["127.0.0.1"]\n')
        settings = self.edge.data / "edge.yml"
        settings.write_text(re.sub(r"^workers:.*\n", "workers: 4\n", settings.read_text(), flags=re.MULTILINE))
        self.edge.start()
        self.cli = own.cli(self.edge)
        self.sites = [self.site(protocol) for protocol in PROTOCOLS]
        self.port = net.free_port()
        self.cli.check("tunnel", "route", "port", self.sites[1]["tunnel"].id, f"udp://:{self.port}", f"udp.{ZONE}")
        self.end = time.monotonic() + SECONDS
        self.done = dict.fromkeys(("small", "upload", "download", "cancelled", "socket", "crowd", "datagrams", "route",
                                   "replica", "look"), 0)  # fmt: skip
        self.failures = []

    @staticmethod
    def send_much(r):
        r.head(200, [("Content-Length", "1000000")])
        r.send_pattern(1000000)

    def site(self, protocol):
        tunnel = self.cli.create(protocol)
        host = f"{protocol}.{ZONE}"
        self.cli.route(tunnel, host)
        rules = [{"hostname": f"udp.{ZONE}", "service": f"udp://127.0.0.1:{self.udp.port}"},
                 {"hostname": f"*.{ZONE}", "service": self.origin.service}]  # fmt: skip
        config = write_config(self.folder / f"{protocol}.yml", tunnel, rules)
        site = {"protocol": protocol, "tunnel": tunnel, "host": host, "config": config}
        self.connect(site, f"{protocol}-stays")
        return site

    def connect(self, site, name):
        return self.own.connect(self.cli, site["tunnel"], site["config"], name=name, protocol=site["protocol"])

    # --- what people do ---

    def visit(self, host, kind):
        raw = Raw(self.edge, host)
        try:
            for _ in range(3):
                if kind == "upload":
                    raw.request("POST", "/echo", [("Content-Length", str(len(BODY)))], BODY)
                else:
                    raw.request("GET", self.download if kind in ("download", "cancelled") else "/echo")
                if kind == "cancelled":
                    raw.read_head()
                    raw.reset()
                    return
                answer = raw.read()
                assert answer.status in EXPECTED, answer.status
        finally:
            raw.close()

    def talk(self, host):
        raw = Raw(self.edge, host)
        try:
            head = ws.open_through(raw, self.socket)
            if head.status == 101:
                raw.send(ws.frame(ws.TEXT, b"hello", masked=True))
                ws.read_frame(raw.reader)
        finally:
            raw.close()

    def visitors(self, kinds):
        for kind, site in zip(itertools.cycle(kinds), itertools.cycle(self.sites)):
            if time.monotonic() > self.end:
                return
            try:
                if kind == "socket":
                    self.talk(site["host"])
                else:
                    self.visit(site["host"], kind)
                self.done[kind] += 1
            except (OSError, EOFError, ValueError, IndexError):
                pass  # a connector left, and took the answer with it

    def crowds(self):
        """Many at once, so that workers hand requests to each other."""
        for site in itertools.cycle(self.sites):
            if time.monotonic() > self.end:
                return
            to = f"127.0.0.1:{self.edge.https}"
            argv = ["h2load", "--h1", "-c", "32", "-n", "640", "--connect-to", to, f"https://{site['host']}/echo"]
            subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60 * PATIENCE, check=False)
            self.done["crowd"] += 1

    def senders(self):
        """Flows that begin at any worker; the tunnel's sessions are where they are."""
        while time.monotonic() < self.end:
            with contextlib.closing(client(self.port)) as sock:
                for n in range(20):
                    ask(sock, b"datagram %d" % n)
            self.done["datagrams"] += 1

    def routes(self):
        """Hosts that move from one tunnel to the other, and ones that come and go."""
        for n, site in zip(itertools.count(), itertools.cycle(self.sites)):
            if time.monotonic() > self.end:
                return
            self.cli.run("tunnel", "route", "dns", "--overwrite-dns", site["tunnel"].name, f"moving.{ZONE}")
            self.cli.run("tunnel", "route", "dns", site["tunnel"].name, f"new{n}.{ZONE}")
            self.edge.command("tunnel", "balance", site["tunnel"].name, "--policy", ("least", "round-robin")[n % 2])
            with contextlib.suppress(OSError, EOFError, ValueError, IndexError):
                self.visit(f"moving.{ZONE}", "small")
            self.done["route"] += 1

    def replicas(self):
        """Second connectors that come and leave in good order."""
        for n, site in zip(itertools.count(), itertools.cycle(self.sites)):
            if time.monotonic() > self.end:
                return
            replica = self.connect(site, f"{site['protocol']}-replica-{n}")
            time.sleep(0.3)
            replica.stop()
            self.own.connectors.remove(replica)
            self.done["replica"] += 1

    def lookers(self):
        while time.monotonic() < self.end:
            self.edge.metrics()
            self.edge.command("status")
            self.cli.run("tunnel", "info", self.sites[0]["tunnel"].name)
            self.done["look"] += 1
            time.sleep(0.2)

    def guarded(self, job):
        try:
            job()
        except BaseException as e:  # of any kind: the test has to know
            self.failures.append(repr(e))
            raise

    def live(self):
        jobs = [lambda: self.visitors(("small", "upload", "small", "download"))] * 4
        jobs += [lambda: self.visitors(("cancelled", "socket"))] * 2
        jobs += [self.crowds, self.senders, self.routes, self.replicas, self.lookers]
        threads = [threading.Thread(target=self.guarded, args=(job,)) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@pytest.mark.slow
@pytest.mark.timeout(SECONDS * 3 + 120 * PATIENCE)
def test_four_workers(own, tmp_path):
    town = Town(own, tmp_path)
    try:
        town.live()
        print(f"{SECONDS} s: {town.done}")
        assert not town.failures, town.failures
        assert all(town.done.values()), town.done
        for site in town.sites:
            wait_until(lambda site=site: status(town, site["host"]) == 200, f"{site['host']} that answers")
        assert town.edge.gauge("adit_edge_tunnel_connections") >= 8
    finally:
        town.origin.close()
        town.udp.close()


def status(town, host):
    raw = Raw(town.edge, host)
    try:
        raw.request("GET", "/echo")
        return raw.read().status
    finally:
        raw.close()
