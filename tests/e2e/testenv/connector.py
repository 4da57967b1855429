"""Connectors and their command lines: adit, and the stock cloudflared as the oracle."""

import json
import re
import urllib.request
from dataclasses import dataclass

from .program import ADIT, PATIENCE, STOCK, Program, check, clean_env, run
from .wait import wait_until

KINDS = ("adit", "stock")
REGISTERED = r"Registered tunnel connection"


@dataclass
class Tunnel:
    name: str
    id: str
    credentials: object  # path


class Connector(Program):
    """A running `tunnel run`."""

    def metrics_address(self):
        """Where it serves them, as it says itself; None before it does."""
        address = re.search(r"Starting metrics server on (\S+)/metrics", self.text())
        return address and address[1]

    def requests_now(self):
        """How many requests it holds memory for (a stock one: serves); None before it says where to ask."""
        address = self.metrics_address()
        if not address:
            return None
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=20) as page:
            text = page.read().decode()
        ours = re.search(r"^adit_connector_exchanges (\d+)", text, re.MULTILINE)
        stock = re.search(r"^cloudflared_tunnel_concurrent_requests_per_tunnel (\d+)", text, re.MULTILINE)
        return max(int(found[1]) for found in (ours, stock) if found)

    def wait_idle(self, seconds=10):
        wait_until(lambda: not self.requests_now(), f"{self.name} without requests", seconds * PATIENCE)


class Cli:
    """One person's command line: a home directory with a login certificate of one edge."""

    def __init__(self, kind, edge, folder):
        self.kind, self.edge = kind, edge
        self.program = ADIT if kind == "adit" else STOCK
        self.word = "adit" if kind == "adit" else "cloudflared"
        self.home = folder / f"home-{kind}"
        self.dot = self.home / f".{self.word}"
        self.cert = self.dot / "cert.pem"

    def log_in(self):
        """As `adit-edge cert` does it, without a browser."""
        self.dot.mkdir(mode=0o700, parents=True)
        self.cert.write_text(self.edge.cert())
        self.cert.chmod(0o600)
        return self

    def env(self, **more):
        env = clean_env(HOME=self.home, **more)
        if self.kind == "stock":
            # What a certificate of ours tells adit, cloudflared has to be told.
            ours = {
                "TUNNEL_API_URL": self.edge.api_url,
                "TUNNEL_EDGE": ",".join([f"127.0.0.1:{self.edge.tunnel}"] * 4),
                "TUNNEL_CACERT": str(self.edge.ca),
                "SSL_CERT_FILE": str(self.edge.ca),
                "NO_AUTOUPDATE": "true",
                "TUNNEL_NO_PRECHECKS": "true",
            }
            env = {**ours, **env}
        return env

    def run(self, *args, env=None, **kwargs):
        return run([self.program, *args], env=self.env(**(env or {})), cwd=self.home, **kwargs)

    def check(self, *args, **kwargs):
        return check([self.program, *args], env=self.env(), cwd=self.home, **kwargs)

    def create(self, name):
        out = self.check("tunnel", "create", name)
        uuid = re.search(r"with id ([0-9a-f-]{36})", out)[1]
        return Tunnel(name, uuid, self.dot / f"{uuid}.json")

    def route(self, tunnel, *hosts):
        for host in hosts:
            self.check("tunnel", "route", "dns", tunnel.name, host)

    def connect(self, tunnel, config, name=None, wait=4, args=(), env=None, by=None, protocol=None):
        """Starts `tunnel run` and waits for its connections. A stock one uses HTTP/2 unless told otherwise."""
        argv = [self.program, "--config", config, "tunnel"]
        if self.kind == "stock":
            argv += ["--no-autoupdate", "--no-prechecks"]
            protocol = protocol or "http2"
        if protocol:
            argv += ["--protocol", protocol]
        argv += ["--loglevel", "debug", "--metrics", "127.0.0.1:0", "run", *args]
        if by != "nothing":
            argv.append(by or tunnel.id)
        program = Connector(name or self.word, argv, self.home, self.env(**(env or {})))
        if wait:
            program.wait_log(REGISTERED, count=wait)
        return program


def write_config(path, tunnel, rules, **more):
    """config.yml: JSON is YAML. `rules` are dictionaries; a catch-all is added."""
    config = {"tunnel": tunnel.id, "credentials-file": str(tunnel.credentials), **more}
    config["ingress"] = [*rules, {"service": "http_status:404"}]
    path.write_text(json.dumps(config, indent=1))
    return path
