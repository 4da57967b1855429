"""Connectors at the far end of a bad line: the edge, the visitors and the service are here."""

import hashlib
import os
import pathlib
import re
import subprocess
import threading
import time

from . import lab as labs
from .connector import REGISTERED, write_config
from .edge import ZONE
from .origin import Origin, pattern_sha256
from .program import ADIT, PATIENCE, STOCK, Program, check
from .visitor import Visitor
from .wait import wait_until

TICKS = os.sysconf("SC_CLK_TCK")
DIALS = r"Unable to establish connection with the edge"


def cpu_seconds(pid):
    """User and system time of a process so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


LONG = bool(os.environ.get("ADIT_LONG"))  # ./dev test --long


def tell(what, seconds):
    """For whoever reads the results (pytest -rP)."""
    print(f"RECOVERY {what}: {seconds:.2f} s")


def wait_protocol(connector, protocol, mark, count=4, seconds=60):
    """So many registrations over it since `mark`."""
    connector.wait_log(rf"{REGISTERED} .*?protocol={protocol}", count=count, since=mark, seconds=seconds)


class Far:
    """One edge here, on every address, and a line to the other host with these settings. The service is a Unix
    socket, which knows no network. One at a time in a process: all have the same addresses."""

    def __init__(self, own, folder, **line):
        self.own, self.folder = own, folder
        self.lab = labs.Lab(folder, line=line)
        self.line = self.lab.line
        self.origin = Origin(unix=folder / "origin.sock")
        self.edge = own.edge(start=False)
        path = self.edge.data / "edge.yml"
        path.write_text(re.sub(r"(?m)^tunnel: .*$", f'tunnel: ":{self.edge.tunnel}"', path.read_text()))
        self.edge.start()
        self.cli = own.cli(self.edge)
        self.visitor = Visitor(self.edge, "http1.1", folder)
        self.down = self.origin.on(self._down, "down")
        self.up = self.origin.on(lambda r: r.reply(200, body=r.digest_body().encode()), "up")
        self.sites = {}

    @staticmethod
    def _down(request):
        size = int(request.get("x-size"))
        request.head(200, [("Content-Length", str(size))])
        request.send_pattern(size)

    def connect(self, name, protocol, edge=None, wait=4, stock=False, argv=()):
        """Runs a connector over there, for the host NAME.example.com."""
        tunnel = self.cli.create(name)
        host = f"{name}.{ZONE}"
        self.cli.route(tunnel, host)
        config = write_config(self.folder / f"{name}.yml", tunnel,
                              [{"hostname": host, "service": f"unix:{self.origin.unix}"}])  # fmt: skip
        edge = edge or f"{labs.OURS4}:{self.edge.tunnel}"
        common = ["--loglevel", "debug", "--metrics", "127.0.0.1:0"]
        if stock:
            program = [STOCK, "--config", config, "tunnel", "--no-autoupdate", "--no-prechecks", "--protocol", protocol,
                       *common, "run", tunnel.id]  # fmt: skip
            env = {"TUNNEL_EDGE": ",".join([edge] * 4), "TUNNEL_CACERT": str(self.edge.ca)}
        else:
            program = [ADIT, "--config", config, "tunnel", "--protocol", protocol, *common, "run", "--edge", edge,
                       *argv, tunnel.id]  # fmt: skip
            env = {}
        # The far host has no other network than the line.
        self.sites[name] = lambda: Program(
            name, self.lab.host(list(map(str, program))), self.cli.home, self.cli.env(**env)
        )
        return self._start(name, wait)

    def _start(self, name, wait):
        connector = self.sites[name]()
        self.own.connectors.append(connector)
        if wait:
            connector.wait_log(REGISTERED, count=wait, seconds=40)
        return connector

    def restart(self):
        """Every connector anew: connections that know nothing of how the line was before."""
        for connector in list(self.own.connectors):
            connector.stop()
            self.own.connectors.remove(connector)
        for name in self.sites:
            self._start(name, 4)

    # --- what visitors get -------------------------------------------------------------------------

    def download(self, name, size, seconds=100):
        """Whether it was whole and right, and how long it took."""
        start = time.monotonic()
        curl = self.visitor.start(f"{name}.{ZONE}", self.down, "-H", f"x-size: {size}", "--max-time", seconds)
        digest = hashlib.sha256()
        while block := curl.stdout.read(1 << 18):
            digest.update(block)
        curl.wait()
        took = time.monotonic() - start
        assert curl.returncode == 0, f"curl {curl.returncode}: {curl.stderr.read().decode()}"
        assert digest.hexdigest() == pattern_sha256(size)
        return took

    def upload(self, name, path, size, seconds=100):
        """`path`: a file of pattern_file()."""
        start = time.monotonic()
        response = self.visitor.get(f"{name}.{ZONE}", self.up, "-T", str(path), "-H", "Expect:",
                                    seconds=seconds / PATIENCE)  # fmt: skip
        assert response.text == pattern_sha256(size), response
        return time.monotonic() - start

    def background_download(self, name, size):
        """A thread; its `.failure` says what was wrong, after join()."""

        def run():
            try:
                thread.took = self.download(name, size)
            except Exception as e:  # noqa: BLE001
                thread.failure = e

        thread = threading.Thread(target=run, daemon=True)
        thread.failure = None
        thread.start()
        wait_until(lambda: self.origin.requests(self.down), "download that has begun", 20 * PATIENCE)
        return thread

    def works(self, name, seconds=2):
        """One small request gets its answer within so long."""
        argv = self.visitor.argv(f"{name}.{ZONE}", self.down, "-H", "x-size: 10000", "-o", "/dev/null", "-w",
                                 "%{http_code}", seconds=seconds)  # fmt: skip
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        return done.returncode == 0 and done.stdout == "200"

    def recovery(self, name, seconds=60):
        """How long it takes from now until a visitor gets an answer."""
        start = time.monotonic()
        wait_until(lambda: self.works(name, 2 * PATIENCE), "an answer", seconds * PATIENCE)
        return time.monotonic() - start

    # --- what connectors do ------------------------------------------------------------------------

    @staticmethod
    def protocols(connector, since=None):
        """Of its registrations, in their order."""
        return re.findall(rf"{REGISTERED} .*?protocol=(\w+)", connector.text(since))

    def pull(self):
        """Both ends see that the link is down."""
        self.lab.there("link", "set", "eth0", "down")
        self.lab.pull()

    def put_back(self):
        self.lab.put_back()
        self.lab.there("link", "set", "eth0", "up")
        # Routes went with the link.
        self.lab.there("route", "replace", "default", "via", labs.OURS4)

    def move(self, address):
        """The far host gets another address."""
        self.lab.there("addr", "del", f"{labs.THEIRS4}/24", "dev", "eth0")
        self.lab.there("addr", "replace", f"{address}/24", "dev", "eth0")
        self.lab.there("route", "replace", "default", "via", labs.OURS4)

    def close(self):
        self.visitor.close()
        self.line.set(loss=0, reorder=0, delay=0, jitter=0, rate=0, mtu=0, block="none")
        check(["ip", "link", "set", self.lab.ours, "up"])
        self.own.close()
        self.own.connectors.clear()
        self.own.edges.clear()
        self.origin.close()
        self.lab.close()
