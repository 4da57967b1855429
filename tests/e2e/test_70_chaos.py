"""Processes that die, restart and drain: nobody has to repair anything by hand."""

import hashlib
import http.client
import json
import signal
import socket
import ssl
import threading
import time

import pytest

from testenv.connector import REGISTERED, write_config
from testenv.edge import ZONE
from testenv.origin import Origin, pattern_sha256
from testenv.program import ADIT_EDGE, PATIENCE, run
from testenv.visitor import Raw, Visitor, tls_connect
from testenv.wait import wait_until

HOST = f"app.{ZONE}"


class World:
    """One edge, one tunnel of one kind of connector, one service: all of it for this test."""

    def __init__(self, own, kind, folder):
        self.own, self.folder = own, folder
        self.raws = []
        self.origin = Origin()
        self.edge = own.edge()
        self.cli = own.cli(self.edge, kind)
        self.tunnel = self.cli.create("chaos")
        self.cli.route(self.tunnel, HOST)
        rules = [{"hostname": HOST, "service": self.origin.service}]
        self.config = write_config(folder / "config.yml", self.tunnel, rules)

    def connect(self, name="connector", **kwargs):
        return self.own.connect(self.cli, self.tunnel, self.config, name=name, **kwargs)

    def raw(self):
        self.raws.append(Raw(self.edge, HOST))
        return self.raws[-1]

    def status(self, path="/echo"):
        """Of one request on a connection of its own."""
        connection = self.raw()
        try:
            connection.request("GET", path)
            return connection.read().status
        finally:
            connection.close()

    def close(self):
        for connection in self.raws:
            connection.close()
        self.origin.close()

    def slow(self, size=4000):
        """The path of a response that stops in the middle, and what lets it go on."""
        gate = threading.Event()

        def handler(r):
            # The type makes a stock connector pass on what it has.
            r.head(200, [("Content-Length", str(2 * size)), ("Content-Type", "text/event-stream")])
            r.send(b"a" * size)
            gate.wait(30 * PATIENCE)
            r.send(b"b" * size)

        return self.origin.on(handler), gate


@pytest.fixture
def world(own, kind, tmp_path):
    w = World(own, kind, tmp_path)
    yield w
    w.close()


@pytest.fixture
def ours(own, tmp_path):
    """For what concerns the edge alone."""
    w = World(own, "adit", tmp_path)
    yield w
    w.close()


class Load:
    """Visitors who ask again and again over connections that are kept; who counts what fails."""

    def __init__(self, edge, visitors=8):
        self.context = ssl.create_default_context(cafile=str(edge.ca))
        self.context.set_alpn_protocols(["http/1.1"])
        self.edge = edge
        self.served, self.failed = 0, []
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.visit, args=(n,), daemon=True) for n in range(visitors)]
        for thread in self.threads:
            thread.start()

    def visit(self, number):
        connection, count = None, 0
        while not self.over.is_set():
            count += 1
            body = f"{number}.{count}".encode()
            try:
                if not connection:
                    connection = self.connection()
                connection.request("POST", "/echo", body=body)
                response = connection.getresponse()
                good = response.status == 200 and response.read() == body
                with self.lock:
                    if good:
                        self.served += 1
                    else:
                        self.failed.append(f"{response.status} for {body}")
                if not good or count % 20 == 0:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as e:
                with self.lock:
                    self.failed.append(repr(e))
                connection = None
        if connection:
            connection.close()

    def connection(self):
        # The name for TLS and for Host, the address to connect to.
        connection = http.client.HTTPConnection(HOST, self.edge.https, timeout=20 * PATIENCE)
        connection.sock = tls_connect(self.edge, HOST, ["http/1.1"])
        connection.auto_open = False
        return connection

    def wait_served(self, more):
        goal = self.served + more
        wait_until(lambda: self.served >= goal or self.failed, f"{more} more served", 30 * PATIENCE)

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join(30 * PATIENCE)
            assert not thread.is_alive(), "a visitor is left waiting"
        return self.failed


# --- the edge ends -------------------------------------------------------------------------------------


def test_edge_is_killed_and_comes_back(world):
    connector = world.connect()
    assert world.status() == 200
    times, count = (2, 4) if world.cli.kind == "adit" else (1, 1)  # cloudflared waits up to 20 s and more
    for _ in range(times):
        world.edge.kill()
        since = connector.mark()
        world.edge.start()
        started = time.monotonic()
        connector.wait_log(REGISTERED, count=count, seconds=60, since=since)
        print(f"{count} connections after {time.monotonic() - started:.1f} s")
        assert world.status() == 200
    connector.stop()


def test_edge_is_killed_under_load(ours):
    connector = ours.connect()
    load = Load(ours.edge, visitors=4)
    load.wait_served(50)
    ours.edge.kill()
    load.end()
    since = connector.mark()
    ours.edge.start()
    connector.wait_log(REGISTERED, seconds=60, since=since)
    load = Load(ours.edge, visitors=4)
    load.wait_served(50)
    assert not load.end()
    connector.stop()


def test_edge_ends_after_what_is_in_flight(world):
    connector = world.connect()
    path, gate = world.slow()
    visitor = world.raw()
    visitor.request("GET", path)
    assert visitor.read_head().status == 200
    assert visitor.reader.read(4000) == b"a" * 4000
    since = world.edge.program.mark()
    world.edge.program.signal(signal.SIGTERM)
    world.edge.program.wait_log(r"(?i)drain|stopping|shutting|finish|SIGTERM", since=since)
    assert world.edge.program.is_running()
    gate.set()
    assert visitor.reader.read(4000) == b"b" * 4000
    assert world.edge.program.wait() == 0
    visitor.close()
    connector.stop()


def test_edge_ends_within_its_grace_period(ours):
    """A visitor who never ends cannot hold it."""
    w = ours
    w.edge.stop()
    settings = w.edge.data / "edge.yml"
    settings.write_text(settings.read_text().replace("grace-period: 10s", "grace-period: 1s"))
    w.edge.start()
    connector = w.connect()
    path, gate = w.slow()
    visitor = w.raw()
    visitor.request("GET", path)
    assert visitor.read_head().status == 200
    w.edge.program.signal(signal.SIGTERM)
    assert w.edge.program.wait(8) == 0
    visitor.close()
    gate.set()
    connector.stop()


def test_second_signal_ends_the_edge_at_once(ours):
    connector = ours.connect()
    path, gate = ours.slow()
    visitor = ours.raw()
    visitor.request("GET", path)
    assert visitor.read_head().status == 200
    ours.edge.program.signal(signal.SIGTERM)
    wait_until(lambda: refused(ours.edge.https), "closed port", 10 * PATIENCE)
    ours.edge.program.signal(signal.SIGTERM)
    ours.edge.program.wait(5)
    visitor.close()
    gate.set()
    connector.stop()


def refused(port):


    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) != 0


def test_second_edge_on_the_same_ports(own, tmp_path):
    first = own.edge("first")
    second = own.edge("second", start=False)
    settings = second.data / "edge.yml"
    for name in ("https", "http", "tunnel"):
        text = settings.read_text()
        settings.write_text(text.replace(f":{getattr(second, name)}", f":{getattr(first, name)}"))
        second.start(wait=False)
        assert second.program.wait(10) == 1, "it runs beside the first"
        said = second.program.text()
        assert f"127.0.0.1:{getattr(first, name)}" in said and "ddress already in use" in said, said
        settings.write_text(text)
    assert first.ask("/ready").status == 200


def test_second_edge_on_the_same_state(own):
    first = own.edge()
    done = first.command("run", "--https", "127.0.0.1:0", "--http", "off", "--tunnel", "127.0.0.1:0",
                         "--metrics", "off")  # fmt: skip
    assert done.returncode == 1 and str(first.data) in done.stdout + done.stderr
    assert first.ask("/ready").status == 200


# --- a connector ends ----------------------------------------------------------------------------------


def test_one_of_two_replicas_ends_under_load(world):
    one, two = world.connect("one"), world.connect("two")
    world.edge.wait_connections(8)
    load = Load(world.edge)
    load.wait_served(100)
    one.signal(signal.SIGTERM)
    assert one.wait(40) == 0
    load.wait_served(100)
    world.edge.wait_connections(4)
    failed = load.end()
    print(f"{load.served} requests served")
    assert not failed, f"{len(failed)} failed, the first: {failed[:5]}"
    two.stop()


def test_one_of_two_replicas_is_killed(world):
    """What was in flight there is lost; what comes afterwards is not."""
    one, two = world.connect("one"), world.connect("two")
    world.edge.wait_connections(8)
    one.kill()
    world.edge.wait_connections(4)
    assert [world.status() for _ in range(20)] == [200] * 20
    two.stop()


def test_connector_ends_after_what_is_in_flight(world):
    connector = world.connect()
    path, gate = world.slow()
    visitor = world.raw()
    visitor.request("GET", path)
    assert visitor.read_head().status == 200
    assert visitor.reader.read(4000) == b"a" * 4000
    since = world.edge.program.mark()
    connector.signal(signal.SIGTERM)
    world.edge.program.wait_log(r"connector is leaving", count=4, since=since)
    assert connector.is_running()
    assert world.status() == 530, "nobody is left for what is new"
    gate.set()
    assert visitor.reader.read(4000) == b"b" * 4000
    visitor.close()
    if world.cli.kind == "adit":
        assert connector.wait() == 0
    else:
        connector.kill()  # it waits for its grace period, whether anything is in flight or not


@pytest.mark.slow
def test_connector_is_stopped_for_a_while(ours):
    """SIGSTOP: it holds its connections and answers nothing. A second one serves as soon as that is known."""
    one = ours.connect("one")
    ours.edge.wait_connections(4)
    one.signal(signal.SIGSTOP)
    two = ours.connect("two", wait=4)
    ours.edge.wait_connections(4, seconds=40)  # pinged, and dropped
    assert [ours.status() for _ in range(8)] == [200] * 8
    since = one.mark()
    one.signal(signal.SIGCONT)
    one.wait_log(REGISTERED, count=4, seconds=60, since=since)
    ours.edge.wait_connections(8)
    one.stop()
    two.stop()


# --- a connector begins --------------------------------------------------------------------------------


def test_connector_is_there_before_the_edge(world):
    world.edge.stop()
    connector = world.connect(wait=0)
    # cloudflared fills its log meanwhile; adit says it once per attempt.
    connector.wait_log(r"(?i)refused", count=2)
    world.edge.start()
    connector.wait_log(REGISTERED, count=4, seconds=60)
    assert world.status() == 200
    connector.stop()


def test_connector_with_a_wrong_secret(world):
    text = world.tunnel.credentials.read_text()


    said = json.loads(text)
    world.tunnel.credentials.chmod(0o600)
    secret = said["TunnelSecret"]
    said["TunnelSecret"] = ("B" if secret[0] == "A" else "A") + secret[1:]
    world.tunnel.credentials.write_text(json.dumps(said))
    connector = world.connect(wait=0)
    connector.wait_log(r"Unauthorized: Invalid tunnel secret", count=2, seconds=40)
    assert connector.is_running()
    world.edge.program.wait_log(r"connector refused")
    assert world.edge.gauge("adit_edge_tunnel_connections") == 0
    connector.signal(signal.SIGTERM)
    connector.wait()


def test_deleted_tunnel_has_no_connector(world):
    connector = world.connect()
    assert world.status() == 200
    since = connector.mark()
    world.cli.check("tunnel", "delete", "-f", "chaos")
    world.edge.wait_connections(0)
    if world.cli.kind == "adit":  # cloudflared comes back later
        connector.wait_log(r"Unauthorized: Tunnel not found", since=since)
    assert world.edge.gauge("adit_edge_tunnel_connections") == 0
    connector.signal(signal.SIGTERM)
    connector.wait()


# --- backup --------------------------------------------------------------------------------------------


def test_backup_under_traffic_restores_elsewhere(world, tmp_path):
    """The same tunnel, the same credentials, the same authority: connectors notice nothing."""
    connector = world.connect()
    load = Load(world.edge, visitors=4)
    load.wait_served(20)
    backup = tmp_path / "edge.backup"
    done = world.edge.command("backup", backup)
    assert done.returncode == 0, done.stderr
    assert backup.stat().st_mode & 0o077 == 0, "others can read the master key"
    load.wait_served(20)
    assert not load.end()

    # "Elsewhere" has the same addresses: what a name service would do.
    connector.stop()
    world.edge.stop()
    settings = (world.edge.data / "edge.yml").read_text()
    world.edge.data.rename(tmp_path / "lost")
    done = world.edge.command("restore", backup)
    assert done.returncode == 0, done.stderr
    if not (world.edge.data / "edge.yml").exists():
        (world.edge.data / "edge.yml").write_text(settings)
    assert (world.edge.data / "ca.pem").read_text() == (tmp_path / "lost/ca.pem").read_text()
    world.edge.start()
    connector = world.connect("again")
    assert world.status() == 200
    assert "chaos" in world.cli.check("tunnel", "list")
    connector.stop()


def test_restore_replaces_nothing(ours, tmp_path):
    backup = tmp_path / "edge.backup"
    assert ours.edge.command("backup", backup).returncode == 0
    done = ours.edge.command("restore", backup)
    assert done.returncode == 1 and str(ours.edge.data) in done.stderr + done.stdout
    half = tmp_path / "half.backup"
    half.write_bytes(backup.read_bytes()[: backup.stat().st_size // 2])
    done = run([ADIT_EDGE, "restore", half, "--data", tmp_path / "new"])
    assert done.returncode == 1 and done.stderr
    assert ours.status() == 530


def test_large_download_while_the_edge_ends(ours, tmp_path):
    size = 64 << 20

    def handler(r):
        r.head(200, [("Content-Length", str(size))])
        r.send_pattern(size)

    connector = ours.connect()
    visitor = Visitor(ours.edge, "http2", tmp_path)
    curl = visitor.start(HOST, ours.origin.on(handler), "--limit-rate", "40M")


    digest = hashlib.sha256(curl.stdout.read(1 << 20))
    ours.edge.program.signal(signal.SIGTERM)
    while block := curl.stdout.read(1 << 20):
        digest.update(block)
    assert digest.hexdigest() == pattern_sha256(size)
    assert curl.wait(10) == 0
    assert ours.edge.program.wait() == 0
    visitor.close()
    connector.stop()
