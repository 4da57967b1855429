"""QUIC, HTTP/2, and the choice between them: the connector's `--protocol`.

The edge is reached through a path of the test's own (testenv/path.py), which swallows UDP when told so.
"""

import hashlib
import json
import re
import threading
import time
import urllib.request

import pytest

from testenv import lab as labs, proxies, websocket
from testenv.connector import REGISTERED, write_config
from testenv.edge import ZONE
from testenv.origin import Origin, pattern_sha256
from testenv.path import Path
from testenv.program import ADIT, PATIENCE, Program, run
from testenv.visitor import Raw, Visitor
from testenv.wait import wait_until

HOST = f"app.{ZONE}"
BLOCKED = "QUIC does not get through to the edge, connections run over HTTP/2"
BACK = "QUIC gets through to the edge, connections move over to it"


class World:
    """One edge, one origin, and a path to the edge's tunnel port."""

    def __init__(self, own, folder):
        self.own, self.folder = own, folder
        self.origin = Origin()
        self.edge = own.edge()
        self.cli = own.cli(self.edge)
        self.tunnel = self.cli.create("far")
        self.cli.route(self.tunnel, HOST)
        self.config = write_config(folder / "config.yml", self.tunnel, [{"hostname": HOST, "service": self.origin.service}])
        self.path = Path(self.edge.tunnel)
        self.visitor = Visitor(self.edge, "http1.1", folder)
        self.small = self.origin.on(lambda r: r.reply(200, body=b"hello"))

    def connect(self, *args, wait=4, env=None, edge=None, name="adit", config=None):
        args = ("--edge", edge or f"127.0.0.1:{self.path.port}", *args)
        connector = self.cli.connect(self.tunnel, config or self.config, name=name, wait=wait, args=args, env=env)
        self.own.connectors.append(connector)
        return connector

    def ask(self):
        return self.visitor.get(HOST, self.small).text

    def close(self):
        self.visitor.close()
        self.path.close()
        self.origin.close()


@pytest.fixture
def world(own, tmp_path):
    made = World(own, tmp_path)
    yield made
    for connector in own.connectors:
        connector.stop()
    made.close()


def protocols(connector, since=None):
    """Of each connection the one it registered with last."""
    rows = re.findall(rf"{REGISTERED} connIndex=(\d+) .*? protocol=(\S+)", connector.text(since))
    return [p for _, p in sorted({int(i): p for i, p in rows}.items())]


def wait_protocols(connector, wanted, seconds=30, since=None):
    wait_until(
        lambda: protocols(connector, since) == wanted,
        lambda: f"{wanted}, not {protocols(connector, since)}:\n{connector.text(since)[-3000:]}",
        seconds * PATIENCE,
    )


def page(connector, path):
    with urllib.request.urlopen(f"http://{connector.metrics_address()}{path}", timeout=20) as p:
        return p.read().decode()


class Requests:
    """One after the other until stopped; `failed` has what went wrong."""

    def __init__(self, world):
        self.world, self.count, self.failed = world, 0, []
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        visitor = Visitor(self.world.edge, "http1.1", self.world.folder)
        while not self.is_over.is_set():
            response = visitor.fetch(HOST, self.world.small)
            self.count += 1
            if response.status != 200 or response.body != b"hello":
                self.failed.append((self.count, response.status, response.error))
            time.sleep(0.02)

    def stop(self):
        self.is_over.set()
        self.thread.join()
        return self.failed


# --- each of them -------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ("quic", "http2", "auto"))
def test_each_carries_everything(world, protocol):
    connector = world.connect("--protocol", protocol)
    used = "http2" if protocol == "http2" else "quic"
    wait_protocols(connector, [used] * 4)
    assert f"Initial protocol {used}" in connector.text()
    assert world.ask() == "hello"
    # A large body each way.
    size = 8 << 20
    down = world.origin.on(lambda r: (r.head(200, [("Content-Length", str(size))]), r.send_pattern(size)))
    got = world.visitor.get(HOST, down)
    assert hashlib.sha256(got.body).hexdigest() == pattern_sha256(size)
    up = world.origin.on(lambda r: r.reply(200, body=r.digest_body().encode()))
    assert world.visitor.get(HOST, up, data=got.body).text == pattern_sha256(size)
    # And one that never ends.
    path = world.origin.on(websocket.serve_echo)
    raw = Raw(world.edge, HOST)
    assert websocket.open_through(raw, path).status == 101
    raw.send(websocket.frame(websocket.TEXT, b"over and over", masked=True))
    assert websocket.read_message(raw.reader)[1] == b"over and over"
    raw.close()
    # What people and dashboards see.
    stock = json.loads(page(connector, "/diag/tunnel"))
    assert {c["protocol"] for c in stock["connections"]} == {1 if used == "quic" else 0}
    assert {c["protocol"] for c in stock["adit"]["connections"]} == {used}
    diag = world.cli.run("tunnel", "diag", "--metrics", connector.metrics_address())
    assert diag.returncode == 0, diag.stdout + diag.stderr
    assert ("over UDP: reached" in diag.stdout) == (protocol != "http2")
    metrics = page(connector, "/metrics")
    assert len(re.findall(r'^quic_client_smoothed_rtt\{conn_index="\d"\} \d', metrics, re.M)) == (4 if used == "quic" else 0)
    assert f'adit_connector_connections{{protocol="{used}"}} 4' in metrics


@pytest.mark.parametrize("protocol", ("quic", "http2"))
def test_sigterm_loses_nothing(world, protocol):
    connector = world.connect("--protocol", protocol)
    go_on = threading.Event()

    def slowly(r):
        r.head(200, [("Content-Length", str(2 << 20))])
        r.send_pattern(1 << 20)
        go_on.wait(60)
        r.send_pattern(1 << 20)

    curl = world.visitor.start(HOST, world.origin.on(slowly))
    first = curl.stdout.read(1000)
    connector.process.terminate()
    connector.wait_log("Initiating graceful shutdown")
    world.edge.program.wait_log("connector is leaving", count=4)
    go_on.set()
    body = first + curl.stdout.read()
    assert curl.wait() == 0 and len(body) == 2 << 20
    assert connector.wait() == 0
    assert "Lost connection" not in connector.text()
    assert len(re.findall("Unregistered tunnel connection", connector.text())) == 4


def test_settings(world):
    """In the file, in the environment; the stock connector's old name."""
    config = json.loads(world.config.read_text())
    path = world.folder / "quic.yml"
    path.write_text(json.dumps({**config, "protocol": "quic"}))
    connector = world.connect(config=path, name="by-file", wait=1)
    assert protocols(connector)[0] == "quic"
    connector = world.connect(env={"TUNNEL_TRANSPORT_PROTOCOL": "http2"}, name="by-env", wait=1)
    assert protocols(connector)[0] == "http2"
    done = world.cli.run("tunnel", "--config", world.config, "run", "--protocol", "carrier-pigeon", world.tunnel.id)
    assert done.returncode != 0 and "unknown protocol carrier-pigeon, Available protocols: 'auto'" in done.stderr + done.stdout


# --- UDP does not get through ----------------------------------------------------------------------


def test_blocked_and_healed(world):
    """HTTP/2 within a moment; QUIC, one by one and without a lost request, when UDP gets through again."""
    world.path.udp = False
    start = time.monotonic()
    connector = world.connect("--protocol", "auto")
    took = time.monotonic() - start
    print(f"UDP blocked: four connections over HTTP/2 after {took:.2f} s")
    assert protocols(connector) == ["http2"] * 4
    # The first connection has paid, the others know.
    assert len(re.findall(BLOCKED, connector.text())) == 1
    assert len(re.findall("Dialling over QUIC, and over HTTP/2", connector.text())) in (0, 1)
    assert world.ask() == "hello"
    connector.wait_log("QUIC does not reach the edge yet")
    assert json.loads(page(connector, "/ready"))["readyConnections"] == 4
    # It goes on trying, less and less often.
    adit = json.loads(page(connector, "/diag/tunnel"))["adit"]
    assert adit["protocol"]["uses"] == "http2" and "UDP" in adit["protocol"]["why"]

    diag = world.cli.run("tunnel", "diag", "--metrics", connector.metrics_address())
    assert diag.returncode == 0, diag.stdout + diag.stderr
    assert f"UDP {world.path.port} blocked; running over http2" in diag.stdout

    # A WebSocket that began over HTTP/2 lives on through all of it.
    raw = Raw(world.edge, HOST)
    assert websocket.open_through(raw, world.origin.on(websocket.serve_echo)).status == 101
    requests = Requests(world)
    mark = connector.mark()
    world.path.udp = True
    connector.wait_log(BACK, since=mark, seconds=60)
    wait_protocols(connector, ["quic"] * 4, since=mark, seconds=60)
    failed = requests.stop()
    assert failed == [] and requests.count > 0
    raw.send(websocket.frame(websocket.TEXT, b"still here", masked=True))
    assert websocket.read_message(raw.reader)[1] == b"still here"
    raw.close()
    world.edge.wait_connections(4)
    assert json.loads(page(connector, "/ready"))["readyConnections"] == 4
    assert "Lost connection" not in connector.text(mark)


def test_swallowed_after_it_worked(world):
    """A registered connection falls silent: traffic flows over HTTP/2 within seconds."""
    connector = world.connect()
    wait_protocols(connector, ["quic"] * 4)
    mark = connector.mark()
    start = time.monotonic()
    world.path.udp = False
    wait_protocols(connector, ["http2"] * 4, since=mark)
    print(f"UDP swallowed: four connections over HTTP/2 after {time.monotonic() - start:.2f} s")
    assert re.search("Connection terminated .*reason=timeout", connector.text(mark))
    assert BLOCKED in connector.text(mark)
    assert world.ask() == "hello"
    # The first probe comes soon, and nothing ever comes often.
    before = world.path.udp_packets
    connector.wait_log("QUIC does not reach the edge yet", since=mark)
    assert world.path.udp_packets - before < 100


def test_quic_alone_never_falls_back(world):
    world.path.udp = False
    connector = world.connect("--protocol", "quic", wait=0)
    line = connector.wait_log("Unable to establish connection with the edge .*").group()
    assert "UDP, which may be blocked" in line
    assert "protocol=http2" not in connector.text() and world.path.accepted == 0
    world.path.udp = True
    connector.wait_log(REGISTERED, count=4, seconds=40)
    assert protocols(connector) == ["quic"] * 4


def test_an_edge_without_udp(world):
    """The port is closed: HTTP/2 need not even wait."""
    path = Path(world.edge.tunnel, udp=None)
    try:
        connector = world.connect(edge=f"127.0.0.1:{path.port}")
        assert protocols(connector) == ["http2"] * 4
        assert world.ask() == "hello"
        connector.stop()
    finally:
        path.close()


def test_tcp_blocked_and_udp_not(world):
    world.path.tcp = False
    connector = world.connect()
    assert protocols(connector) == ["quic"] * 4
    assert world.ask() == "hello"


def test_a_proxy_takes_no_udp(world):
    proxy = proxies.ConnectProxy(to=("127.0.0.1", world.edge.tunnel))
    url = f"http://127.0.0.1:{proxy.port}"
    try:
        connector = world.connect("--edge-proxy", url)
        assert protocols(connector) == ["http2"] * 4
        assert world.path.udp_packets == 0
        connector.stop()
        done = run([ADIT, "--config", world.config, "tunnel", "run", "--protocol", "quic", "--edge-proxy", url, world.tunnel.id],
                   env=world.cli.env(), cwd=world.cli.home)  # fmt: skip
        assert done.returncode == 1 and "QUIC cannot pass a proxy" in done.stderr + done.stdout
    finally:
        proxy.close()


# --- edges and addresses that change -----------------------------------------------------------------


@pytest.mark.parametrize("protocol", ("quic", "http2"))
def test_the_edge_restarts(world, protocol):
    connector = world.connect("--protocol", protocol)
    mark = connector.mark()
    world.edge.stop()
    connector.wait_log("Connection terminated|Edge is draining", since=mark)
    world.edge.start()
    connector.wait_log(REGISTERED, count=4, since=mark, seconds=40)
    assert protocols(connector, mark) == [protocol] * 4
    wait_until(lambda: world.visitor.fetch(HOST, world.small).status == 200, "an answer", 20 * PATIENCE)


def test_the_address_changes_under_a_connection(own, tmp_path):
    """Nothing registers anew, and what runs goes on."""
    lab = labs.Lab(tmp_path)
    try:
        world = World(own, tmp_path)
        edge = world.edge
        edge.stop()
        path = edge.data / "edge.yml"
        path.write_text(re.sub(r"(?m)^tunnel: .*$", f'tunnel: ":{edge.tunnel}"', path.read_text()))
        edge.start()
        argv = [ADIT, "--config", write_config(tmp_path / "far.yml", world.tunnel, [{"hostname": HOST, "service": "hello_world"}]),
                "tunnel", "--loglevel", "debug", "run", "--protocol", "quic",
                "--edge", f"{labs.OURS4}:{edge.tunnel}", world.tunnel.id]  # fmt: skip
        connector = Program("far", lab.host(argv), world.cli.home, world.cli.env())
        own.connectors.append(connector)
        connector.wait_log(REGISTERED, count=4)
        mark = connector.mark()
        lab.there("addr", "del", f"{labs.THEIRS4}/24", "dev", "eth0")
        lab.there("addr", "replace", "10.91.0.22/24", "dev", "eth0")
        lab.there("route", "replace", "default", "via", labs.OURS4)
        connector.wait_log(r"moves to another local address .*to=10\.91\.0\.22", count=4, since=mark)
        wait_until(lambda: world.visitor.fetch(HOST, "/").status == 200, "an answer", 20 * PATIENCE)
        # Longer than it takes to find a dead connection.
        time.sleep(9)
        assert world.visitor.get(HOST, "/").status == 200
        assert REGISTERED not in connector.text(mark) and "Lost connection" not in connector.text(mark)
        # The cable is out for a moment.
        lab.pull()
        time.sleep(3)
        lab.put_back()
        lab.there("route", "replace", "default", "via", labs.OURS4)
        wait_until(lambda: world.visitor.fetch(HOST, "/").status == 200, "an answer", 20 * PATIENCE)
        assert REGISTERED not in connector.text(mark)
        connector.stop()
        world.close()
    finally:
        lab.close()
