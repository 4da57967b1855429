"""Leaving and updating without loss: connectors that go, an edge that hands over to its successor, under load."""

import base64
import ctypes
import json
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import time
from urllib.parse import quote

import pytest

from testenv import net
from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.load import Load
from testenv.origin import Origin, TcpService
from testenv.program import ADIT_EDGE, PATIENCE, Program, logs_since, running
from testenv.visitor import Raw
from testenv.wait import NeverCame, exactly, wait_until
from testenv.websocket import serve_echo
from test_50_login import Browser

HOST = f"app.{ZONE}"
TOOK_OVER = r"a successor has taken over"
READY = r"edge is ready"
SETTINGS = "takeover-grace: 60s\n"

_libc = ctypes.CDLL(None)
_PR_SET_CHILD_SUBREAPER = 36


class Grandchild:
    """A process that our child has started, and that is ours once that has ended; as far as Program needs it."""

    def __init__(self, pid):
        self.pid, self.returncode = pid, None

    def poll(self):
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                return None if os.path.exists(f"/proc/{self.pid}") else 0  # not ours yet
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, seconds=None):
        try:
            wait_until(lambda: self.poll() is not None, "end", seconds or 30)
        except NeverCame as e:
            raise subprocess.TimeoutExpired("edge", seconds) from e
        return self.poll()

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def adopt(program, pid):
    """Another process that writes the same log."""
    copy = object.__new__(Program)
    copy.name, copy.log, copy.start = f"{program.name}-{pid}", program.log, program.start
    copy.process = Grandchild(pid)
    running.append(copy)
    logs_since[copy] = copy.start
    return copy


class World:
    """One edge, one tunnel, a service that answers and echoes WebSockets."""

    def __init__(self, own, folder, kind="adit", settings="", **kwargs):
        self.own, self.folder = own, folder
        self.origin = Origin()
        self.origin.handlers["/ws"] = serve_echo
        self.edge = own.edge(settings=SETTINGS + settings, **kwargs)
        self.cli = own.cli(self.edge, kind)
        self.tunnel = self.cli.create("moving")
        self.cli.route(self.tunnel, HOST)
        rules = [{"hostname": HOST, "service": self.origin.service}]
        self.config = write_config(folder / "config.yml", self.tunnel, rules)
        self.left = []  # edges that were taken over

    def connect(self, name, protocol=None, **kwargs):
        kwargs["protocol"] = protocol
        return self.own.connect(self.cli, self.tunnel, self.config, name=name, **kwargs)

    def load(self, **kwargs):
        context = ssl.create_default_context(cafile=str(self.edge.ca))
        return Load(self.edge, HOST, context, patience=30 * PATIENCE, **kwargs).start()

    def status(self):
        connection = Raw(self.edge, HOST)
        try:
            connection.request("GET", "/echo")
            return connection.read().status
        finally:
            connection.close()

    def successor(self, *args, wait=True, **kwargs):
        """`run --takeover`, as the edge of this test from now on."""
        old = self.edge.program
        argv = [ADIT_EDGE, "run", "--data", self.edge.data, "--takeover", *args]
        new = Program(f"edge-{len(self.left) + 2}", argv, self.edge.folder, **kwargs)
        if wait:
            new.wait_log(READY)
            old.wait_log(TOOK_OVER)
            self.left.append(old)
            self.edge.program = new
        return new

    def upgrade(self):
        """The same by SIGUSR2."""
        old = self.edge.program
        old.signal(signal.SIGUSR2)
        pid = int(old.wait_log(r"started a successor .*pid=(\d+)")[1])
        new = adopt(old, pid)
        old.wait_log(TOOK_OVER)
        self.left.append(old)
        self.edge.program = new
        self.edge.wait_ready()
        return new

    def close(self):
        for program in self.left:
            try:
                assert program.wait() == 0, program.text()[-3000:]
            finally:
                if program in running:
                    program.kill()
        self.origin.close()


@pytest.fixture
def world(own, tmp_path):
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    worlds = []

    def make(**kwargs):
        worlds.append(World(own, tmp_path, **kwargs))
        return worlds[-1]

    yield make
    for w in worlds:
        w.close()


def pause(load, seconds):
    """The load goes on for a while."""
    goal = load.count.answered + load.rate * seconds / 2
    begun = time.monotonic()
    wait_until(
        lambda: load.count.answered >= goal and time.monotonic() - begun > seconds,
        lambda: f"answers: {load.count}",
        60 * PATIENCE,
    )


def report(capsys, what, count):
    with capsys.disabled():
        print(f"\n  {what}: {count}")
        for failed in (count.failed + count.broken)[:8]:
            print(f"    {failed}")


# --- connectors ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_replicas_come_and_go_under_load(world, capsys):
    w = world()
    first, second = w.connect("first"), w.connect("second")
    load = w.load()

    pause(load, 2)
    first.signal(signal.SIGTERM)
    pause(load, 2)
    third = w.connect("third")
    second.signal(signal.SIGTERM)
    pause(load, 2)
    fourth = w.connect("fourth")
    pause(load, 1)
    count = load.stop()
    report(capsys, "SIGTERM of one of two, then rolling restart", count)
    assert first.wait() == 0 and second.wait() == 0
    assert not count.failed and not count.broken and not count.repeated
    assert third.is_running() and fourth.is_running()


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["http2", "quic"])
def test_a_killed_replica_costs_what_was_in_flight_there(world, capsys, protocol):
    w = world()
    first, _second = w.connect("first", protocol=protocol), w.connect("second", protocol=protocol)
    load = w.load(sockets=0)

    pause(load, 2)
    answered = load.count.answered
    first.kill()
    # Over QUIC nobody says that it is gone: until silence does, it is given requests.
    if protocol == "http2":
        w.edge.wait_connections(4)
    in_flight = load.count.sent - answered  # at most, before the edge knew
    pause(load, 3)
    count = load.stop()
    report(capsys, f"kill -9 of one of two ({protocol}), {in_flight} requests in flight", count)
    if protocol == "http2":
        assert len(count.failed) <= in_flight
    assert {what for _, what in count.failed} <= {"status 502"}
    w.edge.wait_connections(4)


# --- edges -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "protocol"),
    [
        pytest.param("takeover", "http2", marks=pytest.mark.long),
        ("SIGUSR2", "http2"),
        ("takeover", "quic"),
        pytest.param("SIGUSR2", "quic", marks=pytest.mark.long),
    ],
)
def test_an_edge_hands_over_under_load(world, capsys, how, protocol):
    w = world()
    w.connect("first", protocol=protocol)
    w.connect("second", protocol=protocol)
    load = w.load()

    pause(load, 2)
    if how == "takeover":
        w.successor()
    else:
        w.upgrade()
    pause(load, 3)
    count = load.stop()
    report(capsys, f"edge taken over ({how}, {protocol})", count)
    assert not count.failed and not count.broken and not count.repeated
    w.edge.wait_connections(8)


@pytest.mark.long
@pytest.mark.slow
def test_an_edge_that_is_stopped_and_started_is_away_for_a_moment(world, capsys):
    w = world()
    w.connect("first")
    w.connect("second")
    load = w.load(sockets=0)

    pause(load, 2)
    w.edge.stop()
    begun = time.monotonic()
    w.edge.start()
    wait_until(lambda: w.status() == 200, "service", 30 * PATIENCE)
    away = time.monotonic() - begun
    pause(load, 1)
    count = load.stop()
    report(capsys, f"edge stopped and started, {away:.1f} s", count)
    w.edge.wait_connections(8)


@pytest.mark.long
@pytest.mark.slow
def test_twice_in_a_row_with_other_numbers_of_workers(world, capsys):
    w = world()
    w.connect("first")
    load = w.load(rate=100, sockets=5)
    pause(load, 1)
    w.successor("--workers", "3")
    pause(load, 1)
    w.successor("--workers", "1")
    pause(load, 1)
    count = load.stop()
    report(capsys, "two takeovers in a row", count)
    assert not count.failed and not count.broken and not count.repeated


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stock"], indirect=True)
def test_a_stock_connector_comes_over(world, capsys, kind):
    w = world(kind="stock")
    w.connect("first")
    load = w.load(rate=50, sockets=0)
    pause(load, 1)
    w.successor()
    wait_until(lambda: w.status() == 200, "service", 60 * PATIENCE)
    pause(load, 5)
    count = load.stop()
    report(capsys, "edge taken over, stock connector", count)
    assert not count.failed and not count.repeated


# --- what may go wrong ------------------------------------------------------------------------------------


def echo_bytes(sock):
    while data := sock.recv(100):
        sock.sendall(data)


def attempt(what):
    try:
        return what()
    except OSError:
        return None


def connect(path):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(30 * PATIENCE)
    s.connect(str(path))
    return s


def hear(s):
    data = s.recv(65536)
    return json.loads(data) if data else None


def test_what_is_no_successor_is_refused_and_the_edge_goes_on(world):
    w = world()
    w.connect("first")
    path = w.edge.data / "takeover.sock"
    assert path.stat().st_mode & 0o777 == 0o600

    for garbage in (b"\0", b"{}", b"[" * 30000, b'{"type":"ready"}', b'{"type":"hello","version":99}',
                    os.urandom(2000), b'{"type":"hello"}' + b" " * 40000):  # fmt: skip
        s = connect(path)
        s.send(garbage)
        said = hear(s)
        assert said is None or said["type"] == "refused", said
        s.close()

    # Descriptors that nobody asked for are closed.
    before = len(os.listdir(f"/proc/{w.edge.program.pid}/fd"))
    s = connect(path)
    fds = struct.pack("4i", 0, 1, 2, s.fileno())
    s.sendmsg([b'{"type":"ready"}'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
    assert hear(s)["type"] == "refused"
    s.close()
    wait_until(lambda: len(os.listdir(f"/proc/{w.edge.program.pid}/fd")) <= before, "descriptors that are closed")

    # One that begins well, and goes: others wait in vain meanwhile, then all is as it was.
    s = connect(path)
    s.send(b'{"type":"hello","version":1}')
    assert hear(s)["type"] == "sockets"
    other = connect(path)
    assert "just starting" in hear(other)["text"]
    s.close()
    w.edge.program.wait_log("the takeover did not happen")
    out = w.edge.command("user", "add", f"a@{ZONE}")  # it writes again
    assert out.returncode == 0, out.stderr
    assert w.status() == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_another_users_process_is_refused(world):
    w = world()
    path = w.edge.data / "takeover.sock"
    for folder in [w.edge.data, *w.edge.data.parents]:
        if folder.stat().st_uid == os.geteuid() and str(folder) != "/":
            folder.chmod(folder.stat().st_mode | 0o055)
    path.chmod(0o666)
    code = (
        "import socket,os,sys;os.setgid(65534);os.setuid(65534);s=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET);"
        f"s.connect({str(path)!r});print(s.recv(9999).decode())"
    )
    out = subprocess.run(["python3", "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "another user" in out.stdout, out.stderr
    w.edge.program.wait_log("a takeover by another user was refused")


def test_a_successor_that_cannot_start_changes_nothing(world):
    w = world()
    w.connect("first")
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    new = w.successor("--metrics", f"127.0.0.1:{port}", wait=False)
    assert new.wait() == 1
    assert re.search(r"cannot start .*in use", new.text())
    w.edge.program.wait_log(r"the takeover did not happen.*in use")
    taken.close()
    assert w.status() == 200
    assert w.edge.command("user", "add", f"b@{ZONE}").returncode == 0  # the socket's file is still there
    w.successor()
    assert w.status() == 200


def test_a_missing_program_is_no_successor(world, tmp_path):
    copy = tmp_path / "adit-edge"
    copy.write_bytes(ADIT_EDGE.read_bytes())
    copy.chmod(0o755)
    w = world()
    w.edge.stop()
    w.edge.program = Program("edge", [copy, "run", "--data", w.edge.data], tmp_path)
    w.edge.wait_ready()
    copy.rename(tmp_path / "away")
    w.edge.program.signal(signal.SIGUSR2)
    w.edge.program.wait_log(r"the takeover did not happen.*is not there")
    (tmp_path / "away").rename(copy)
    w.upgrade()
    assert w.edge.program.pid != w.left[0].pid


def test_without_a_running_edge_the_successor_is_the_first(world):
    w = world()
    w.edge.stop()
    w.edge.program = Program("edge", [ADIT_EDGE, "run", "--data", w.edge.data, "--takeover"], w.edge.folder)
    w.edge.wait_ready()
    w.edge.program.wait_log("no edge runs here that could be taken over")


def test_signed_in_people_stay_signed_in(world, tmp_path):
    w = world()
    browser = Browser(w.edge, tmp_path)
    browser.open(re.search(r"https://\S+/login/link\?token=\S+", w.edge.init_output)[0]).submit("/login/link")
    key = base64.urlsafe_b64encode(os.urandom(32)).decode()
    callback = f"https://login.cloudflareaccess.org/{key}"
    approve = f"{w.edge.public_url}/argotunnel?callback={quote(callback, safe='')}"
    [csrf] = [fields["csrf"] for action, fields in browser.open(approve).forms() if action == "/argotunnel"]
    w.successor()
    [again] = [fields["csrf"] for action, fields in browser.open(approve).forms() if action == "/argotunnel"]
    assert again == csrf


def test_public_ports_are_handed_over(world):
    w = world(settings='ports-allow: ["12000-31999"]\nports-bind: ["127.0.0.1"]\n')
    service = TcpService()
    service.handler = echo_bytes
    port = net.free_port()
    rules = [{"hostname": "tcp.example.com", "service": f"tcp://127.0.0.1:{service.port}"}]
    w.config = write_config(w.folder / "config.yml", w.tunnel, rules)
    w.connect("first")
    w.cli.check("tunnel", "route", "port", w.tunnel.id, f"tcp://:{port}", "tcp.example.com")

    def talk(sock, text):
        sock.sendall(text)
        assert exactly(sock, len(text)) == text

    def dial():
        sock = socket.create_connection(("127.0.0.1", port), 30 * PATIENCE)
        sock.settimeout(30 * PATIENCE)
        return sock

    old = wait_until(lambda: attempt(dial), "open port", 30 * PATIENCE)
    talk(old, b"one")
    w.successor()
    w.edge.wait_connections(4)
    new = dial()
    talk(new, b"two")
    talk(old, b"three")
    old.close()
    new.close()
    service.close()
