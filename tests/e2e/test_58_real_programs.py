"""Services and clients that people really run: Node's HTTP server, the ws package, event streams."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import threading

import pytest

from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.program import PATIENCE, clean_env
from testenv.visitor import Raw, Visitor
from testenv.wait import wait_until

NODE = pathlib.Path(__file__).parent / "node"
MODULES = "/usr/share/nodejs"
HOST = f"node.{ZONE}"

pytestmark = pytest.mark.skipif(
    not shutil.which("node") or not os.path.isdir(f"{MODULES}/ws"), reason="node and its ws package are not installed"
)


def node_env():
    return clean_env(NODE_PATH=MODULES)


class World:
    def __init__(self, own, kind, folder):
        self.kind = kind
        self.service = subprocess.Popen(["node", NODE / "service.js"], stdout=subprocess.PIPE, env=node_env())
        port = int(self.service.stdout.readline())
        self.edge = own.edge()
        cli = own.cli(self.edge, kind)
        tunnel = cli.create("node")
        cli.route(tunnel, HOST)
        rules = [{"hostname": HOST, "service": f"http://127.0.0.1:{port}"}]
        own.connect(cli, tunnel, write_config(folder / "config.yml", tunnel, rules), name="connector")
        self.visitors = {v: Visitor(self.edge, v, folder) for v in ("http1.1", "http2")}

    def get(self, path, version="http1.1"):
        return self.visitors[version].get(HOST, path)

    def close(self):
        for v in self.visitors.values():
            v.close()
        self.service.kill()
        self.service.wait()


@pytest.fixture
def world(own, kind, tmp_path):
    w = World(own, kind, tmp_path)
    yield w
    w.close()


@pytest.fixture
def ours(own, tmp_path):
    w = World(own, "adit", tmp_path)
    yield w
    w.close()


def play(world, path):
    done = subprocess.run(
        ["node", NODE / "client.js", f"wss://{HOST}:{world.edge.https}{path}", "127.0.0.1", world.edge.ca],
        capture_output=True, text=True, env=node_env(), timeout=60 * PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_websocket_server_and_client(world):
    told = play(world, "/socket")
    # Compression and subprotocol are between the two ends.
    assert told["welcome"]["extensions"].startswith("permessage-deflate")
    assert told["welcome"]["cookie"] == "a=b; c=d"
    assert told["protocol"] == told["welcome"]["protocol"] == "chat.v2"
    assert (told["messages"], told["pings"], told["pong"]) == (56, 1, "pong are you there?")
    assert (told["code"], told["reason"]) == (4001, "as you wish")


def test_a_websocket_on_the_wrong_path_is_refused_by_the_service(world):
    assert play(world, "/elsewhere") == {"status": 400}


def lines_until(process, pattern):
    """Reads from a pipe as it comes; the timeout of the test is the limit."""
    text = b""
    while not re.search(pattern, text):
        data = os.read(process.stdout.fileno(), 4096)
        assert data, text
        text += data
    return text


@pytest.mark.parametrize("version", ("http1.1", "http2"))
def test_an_event_stream_arrives_event_by_event(world, version):
    """The service sends the next event only after the one before was received."""
    key = f"{world.kind}-{version}"
    listener = world.visitors[version].start(HOST, f"/sse?{key}", "-i")
    head = lines_until(listener, rb"id: 1\n.*\n\n")
    assert re.search(rb"(?im)^content-type: text/event-stream\r?$", head)
    for event in range(2, 12):
        world.get(f"/more?{key}")
        lines_until(listener, rb"id: %d\ndata: {\"id\":%d}\n\n" % (event, event))
    world.get(f"/end?{key}")
    assert listener.wait(20 * PATIENCE) == 0


def test_a_listener_who_leaves_is_gone_for_the_service(world):
    listener = world.visitors["http2"].start(HOST, "/sse?leaver", "-H", "Last-Event-ID: 40")
    lines_until(listener, rb"id: 41\n")
    listener.kill()
    listener.wait()
    wait_until(lambda: "leaver" in json.loads(world.get("/left").body), "a service that noticed", 20 * PATIENCE)


def test_early_hints(ours):
    """Before the response; to HTTP/2 visitors, too."""
    raw = Raw(ours.edge, HOST)
    raw.request("GET", "/hints")
    hints = raw.read_head()
    assert hints.status == 103 and hints.get("link") == "</style.css>; rel=preload; as=style"
    answer = raw.read()
    assert (answer.status, answer.body) == (200, b"hinted")
    raw.close()
    out = subprocess.run(
        ["curl", "-sS", "-i", "--http2", *ours.edge.curl_args(HOST), f"https://{HOST}:{ours.edge.https}/hints"],
        capture_output=True, text=True, timeout=30 * PATIENCE, check=True,
    ).stdout  # fmt: skip
    assert re.search(r"^HTTP/2 103 *\r?\n(?s:.*)link: </style.css>(?s:.*)^HTTP/2 200", out, re.M), out


@pytest.mark.parametrize("version", ("http1.1", "http2"))
def test_the_service_decides_on_an_upload_before_its_first_byte(ours, version):
    small = ours.visitors[version].get(HOST, "/echo", data=b"s" * 900, headers=[("Expect", "100-continue")])
    assert (small.status, small.body) == (200, b"s" * 900)
    large = ours.visitors[version].fetch(HOST, "/echo", "-w", "%{stderr}%{size_upload}", data=b"l" * 500_000,
                                         headers=[("Expect", "100-continue")])  # fmt: skip
    assert (large.status, large.body) == (413, b"too large")
    if version == "http1.1":  # curl sends HTTP/2 bodies without waiting
        assert large.error.strip().endswith("0") and not large.error.strip().endswith("500000")


def test_trailers_both_ways(world, h2_request):
    answer = world.visitors["http1.1"].get(HOST, "/trailers")
    assert answer.body == b"body" and ("x-checksum", "2a") in answer.trailers
    if world.kind == "adit":  # the stock protocol has no place for those of a request
        h2_request(world.edge, HOST, "/echo", b"abc", [("x-sum", "7")])
        assert {"x-sum": "7"} in json.loads(world.get("/heard").body)


@pytest.fixture
def h2_request():
    from testenv.visitor import H2

    def send(edge, host, path, body, trailers):
        connection = H2(edge, host)
        stream = connection.headers(path, "POST", end=False)
        connection.data(stream, body)
        connection.conn.send_headers(stream, trailers, end_stream=True)
        connection.flush()
        assert connection.response(stream).status == 200
        connection.close()

    return send


def test_many_clients_at_once(world):
    results = []
    threads = [threading.Thread(target=lambda: results.append(play(world, "/socket"))) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [r["messages"] for r in results] == [56] * 6
