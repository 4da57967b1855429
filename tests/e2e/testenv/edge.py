"""One adit-edge with a state directory of its own."""

import atexit
import os
import pathlib
import re
import shutil
import signal
import tempfile
import urllib.error
import urllib.request

from . import net
from .program import ADIT_EDGE, PATIENCE, Program, check, run
from .wait import wait_until

ZONE = "example.com"
LOCATION = "test"
LIVE_GAUGES = ("adit_edge_exchanges", "adit_edge_visitor_connections")


def state_home():
    """Apart from what tests write while it runs, all of which it may read."""
    home = tempfile.mkdtemp(prefix="adit-edge-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return pathlib.Path(home)


class Edge:
    """The control host is an address, so that programs find it without a name service."""

    def __init__(self, folder, name="edge", control="127.0.0.1", settings=""):
        self.folder, self.name, self.control = folder, name, control
        self.data = state_home() / name
        self.https, self.http, self.tunnel, self.metrics_port = (net.free_port() for _ in range(4))
        out = check([ADIT_EDGE, "init", "--data", self.data, "--zone", ZONE, "--control", control,
                     "--https", f"127.0.0.1:{self.https}"])  # fmt: skip
        self.init_output = out
        self.ca = self.data / "ca.pem"
        (self.data / "edge.yml").write_text(
            f'https: "127.0.0.1:{self.https}"\nhttp: "127.0.0.1:{self.http}"\n'
            f'tunnel: "127.0.0.1:{self.tunnel}"\nmetrics: "127.0.0.1:{self.metrics_port}"\n'
            f'location: "{LOCATION}"\nworkers: 2\nlog-level: debug\ngrace-period: 10s\n'
            # Where tests put the certificates of their providers and mail servers.
            f'sandbox-read: "{folder.parent}"\n{settings}'
        )
        self.program = None

    @property
    def public_url(self):
        return f"https://{self.control}:{self.https}"

    @property
    def api_url(self):
        return f"{self.public_url}/client/v4"

    def start(self, wait=True):
        self.program = Program(self.name, [ADIT_EDGE, "run", "--data", self.data], self.folder)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, seconds=20):
        def ready():
            assert self.program.is_running(), f"the edge ended:\n{self.program.text()[-3000:]}"
            try:
                return self.ask("/ready").status == 200
            except OSError:
                return False

        wait_until(ready, "edge that is ready", seconds * PATIENCE)

    def ask(self, path):
        return urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}{path}", timeout=20)

    def metrics(self):
        """Name, with labels, to number."""
        text = self.ask("/metrics").read().decode()
        rows = re.findall(r"^([^#\s][^ ]*) ([-0-9.e+]+)$", text, re.MULTILINE)
        return {name: float(value) for name, value in rows}

    def gauge(self, name):
        return int(self.metrics()[name])

    def wait_idle(self, seconds=10):
        """No exchange and no visitor is left."""
        seen = {}

        def idle():
            seen.update(self.metrics())
            return all(seen[name] == 0 for name in LIVE_GAUGES)

        wait_until(idle, lambda: f"idle edge: {({n: seen.get(n) for n in LIVE_GAUGES})}", seconds * PATIENCE)

    def wait_connections(self, count, seconds=20):
        def enough():
            return self.gauge("adit_edge_tunnel_connections") == count

        wait_until(enough, f"{count} tunnel connections at the edge", seconds * PATIENCE)

    def stop(self, expect=0):
        if self.program:
            self.program.stop(expect)

    def kill(self):
        self.program.signal(signal.SIGKILL)
        self.program.wait()

    def command(self, *args, **kwargs):
        return run([ADIT_EDGE, *args, "--data", self.data], **kwargs)

    def cert(self):
        """A login certificate, as text."""
        return check([ADIT_EDGE, "cert", "--data", self.data, "--zone", ZONE])

    def curl_args(self, *hosts):
        """So that curl finds and trusts this edge under those names."""
        args = ["--cacert", str(self.ca)]
        for host in hosts:
            args += ["--resolve", f"{host}:{self.https}:127.0.0.1"]
        return args
