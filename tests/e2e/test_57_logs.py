"""Logs: one line per exchange on either side, files that roll and are opened again, and no secret in any."""

import json
import re
import signal
import subprocess
import threading
import time
import urllib.request

import pytest

from testenv import net
from testenv import websocket as ws
from testenv.connector import Cli, write_config
from testenv.edge import ZONE, Edge
from testenv.origin import Origin
from testenv.program import ADIT_EDGE, PATIENCE, clean_env, run
from testenv.visitor import HTTP_VERSIONS, Raw, Visitor
from testenv.wait import wait_until

COMMON = ("cfRay", "method", "host", "path", "status", "bytesOut", "bytesIn", "totalMs")


def lines(path):
    """Every line of a log of JSON; none may be torn or anything else."""
    text = b""

    def whole():
        """A reader may come in the middle of a write."""
        nonlocal text
        text = path.read_bytes() if path.exists() else b""
        return text == b"" or text.endswith(b"\n")

    wait_until(whole, "the end of a line", 10 * PATIENCE)
    return [json.loads(line) for line in text.splitlines()]


def requests(path):
    """Of visitors: command lines ask the control host, which is an address."""
    return [line for line in lines(path) if line["message"] == "request" and line["host"] != "127.0.0.1"]


class World:
    """An edge and a connector that write their access logs to files."""

    APP, REFUSED, IDLE = f"app.{ZONE}", f"refused.{ZONE}", f"idle.{ZONE}"

    def __init__(self, folder):
        self.folder = folder
        self.edge_log, self.connector_log = folder / "edge-access.json", folder / "connector-access.json"
        self.origin = Origin()
        self.edge = Edge(folder, settings=f'access-log: "{self.edge_log}"\n').start()
        self.cli = Cli("adit", self.edge, folder).log_in()
        self.tunnel = self.cli.create("home")
        idle = self.cli.create("nobody")
        self.cli.route(self.tunnel, self.APP, self.REFUSED)
        self.cli.route(idle, self.IDLE)
        self.refused = f"http://127.0.0.1:{net.free_port()}"
        rules = [{"hostname": self.APP, "path": "^/api/", "service": "http_status:418"},
                 {"hostname": self.APP, "service": self.origin.service},
                 {"hostname": self.REFUSED, "service": self.refused}]  # fmt: skip
        config = write_config(folder / "config.yml", self.tunnel, rules)
        self.connector = self.cli.connect(self.tunnel, config, args=["--access-log", self.connector_log])

    def close(self):
        self.connector.stop()
        self.edge.wait_connections(0)
        self.edge.stop()
        self.origin.close()

    def line(self, path, where):
        """The one line about that path; whoever asks has its answer already."""

        def look():
            return [r for r in lines(where) if r["message"] == "request" and r["path"] == path]

        wait_until(look, f"line about {path} in {where.name}", 10 * PATIENCE)
        self.edge.wait_idle()
        self.connector.wait_idle()
        [found] = look()
        return found

    def both(self, path):
        """The line of the edge and that of the connector, which say the same where they should."""
        edge, connector = self.line(path, self.edge_log), self.line(path, self.connector_log)
        for name in COMMON:
            assert name in edge and name in connector, name
        for name in ("cfRay", "method", "host", "path"):
            assert edge[name] == connector[name], name
        # A visitor who leaves while its request crosses to another worker does not know by which way it went.
        assert edge.get("connIndex", connector["connIndex"]) == connector["connIndex"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", edge["time"])
        assert edge["level"] == connector["level"] == "info"
        assert edge["client"] == "127.0.0.1" and edge["scheme"] == "https"
        assert edge["tunnel"] == "home" and edge["tunnelID"] == self.tunnel.id
        assert re.fullmatch(r"[0-9a-f-]{36}", edge["connector"])
        assert f"Connector ID: {edge['connector']}" in self.connector.text()
        return edge, connector


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    w = World(tmp_path_factory.mktemp("logs"))
    yield w
    w.close()


@pytest.fixture(params=HTTP_VERSIONS)
def visitor(request, world, tmp_path):
    v = Visitor(world.edge, request.param, tmp_path)
    yield v
    v.close()


def proto(visitor):
    return "h2" if visitor.version == "http2" else "h1"


# --- one line per exchange ---------------------------------------------------------------------------


def test_get(world, visitor):
    path = world.origin.on(lambda r: r.reply(200, body=b"x" * 1234))
    answer = visitor.get(world.APP, path + "?token=s3cret", headers=[
        ("User-Agent", "Some\tthing \"odd\""), ("Referer", "https://u:pw@from.example/a?key=s3cret#f")])  # fmt: skip
    edge, connector = world.both(path)
    assert answer.get("cf-ray") == edge["cfRay"] + "-test"
    assert edge["proto"] == proto(visitor) and edge["method"] == "GET" and edge["host"] == world.APP
    for line in (edge, connector):
        assert (line["status"], line["bytesOut"], line["bytesIn"]) == (200, 1234, 0)
        assert 0 <= line["ttfbMs"] <= line["totalMs"] < 60_000
        assert not {"aborted", "hop", "errno", "error"} & set(line)
    assert edge["userAgent"] == 'Some\tthing "odd"' and edge["referer"] == "from.example/a"
    assert connector["ingressRule"] == f"1: {world.APP}" and connector["originService"] == world.origin.service


def test_rules_and_statuses(world, visitor):
    visitor.get(world.APP, f"/api/{visitor.version}")
    edge, connector = world.both(f"/api/{visitor.version}")
    assert edge["status"] == connector["status"] == 418
    assert connector["ingressRule"] == f"0: {world.APP} ^/api/"
    assert connector["originService"] == "http_status:418"


def test_bodies_both_ways(world, visitor):
    for size in (1, 5000, 3_000_000):
        path = world.origin.on(lambda r: r.reply(201, body=r.read_body()[: len(r.body) // 2]))
        visitor.get(world.APP, path, data=b"u" * size)
        for line in world.both(path):
            assert (line["method"], line["status"]) == ("POST", 201)
            assert (line["bytesIn"], line["bytesOut"]) == (size, size // 2)


def test_head_and_empty_answers(world, visitor):
    path = world.origin.on(lambda r: r.reply(200, body=b"not sent"))
    visitor.get(world.APP, path, method="HEAD")
    for line in world.both(path):
        assert (line["method"], line["status"], line["bytesOut"]) == ("HEAD", 200, 0) and "aborted" not in line
    for status in (204, 304):
        path = world.origin.on(lambda r, status=status: r.reply(status))
        visitor.get(world.APP, path)
        for line in world.both(path):
            assert (line["status"], line["bytesOut"]) == (status, 0) and "aborted" not in line


def test_a_service_that_refuses(world, visitor):
    path = f"/refused-{visitor.version}"
    answer = visitor.get(world.REFUSED, path + "?a=b")
    edge, connector = world.both(path)
    for line in (edge, connector):
        assert (line["status"], line["hop"], line["errno"]) == (502, "origin", "ECONNREFUSED")
        assert line["error"] == "Service unreachable"
    assert edge["bytesOut"] == len(answer.body)
    assert connector["originService"] == world.refused and "ttfbMs" not in connector


def test_requests_that_get_no_further_than_the_edge(world, visitor):
    before = len(requests(world.connector_log))
    for host, status, hop in ((f"unknown.{ZONE}", 404, "edge"), (world.IDLE, 530, "tunnel")):
        path = f"/edge-{status}-{visitor.version}"
        visitor.get(host, path)
        line = world.line(path, world.edge_log)
        assert (line["status"], line["hop"], line["host"]) == (status, hop, host)
        assert "connector" not in line and ("tunnel" in line) == (status == 530)
    assert len(requests(world.connector_log)) == before


def test_the_control_host_and_the_redirect(world):
    run(["curl", "-s", "--cacert", world.edge.ca, f"{world.edge.public_url}/some-page"])
    line = world.line("/some-page", world.edge_log)
    assert line["status"] == 404 and line["host"] == "127.0.0.1" and "tunnel" not in line
    run(["curl", "-s", f"http://127.0.0.1:{world.edge.http}/redirected?a=b"])
    line = world.line("/redirected", world.edge_log)
    assert (line["status"], line["scheme"], line["proto"]) == (301, "http", "h1")


def test_what_is_no_request_at_all(world):
    def look():
        return [r for r in requests(world.edge_log) if r.get("hop") == "visitor"]

    for text, status in (("GET / HTTP/1.1\r\n\r\n", 400), (f"GET /{'a' * 20000} HTTP/1.1\r\nHost: a\r\n\r\n", 414)):
        before = len(look())
        raw = Raw(world.edge, world.APP)
        raw.send(text)
        assert raw.read().status == status and raw.is_closed()
        raw.close()
        wait_until(lambda before=before: len(look()) > before, "line about what was refused", 10 * PATIENCE)
        line = look()[-1]
        assert len(look()) == before + 1 and line["status"] == status and line["method"] == ""


def test_websocket(world, visitor):
    path = world.origin.on(ws.serve_echo)
    raw = Raw(world.edge, world.APP)
    assert ws.open_through(raw, path).status == 101
    raw.send(ws.frame(ws.BINARY, b"x" * 1000, masked=True))
    assert ws.read_frame(raw.reader) == (ws.BINARY, b"x" * 1000)
    assert not [r for r in requests(world.edge_log) if r["path"] == path]  # not before its end
    raw.send(ws.frame(ws.CLOSE, b"", masked=True))
    assert ws.read_frame(raw.reader) == (ws.CLOSE, b"")
    raw.close()
    for line in world.both(path):
        assert (line["method"], line["status"]) == ("GET", 101) and "aborted" not in line
        assert line["bytesIn"] == 1000 + 8 + 6 and line["bytesOut"] == 1000 + 4 + 2


def leave(process):
    process.kill()
    process.wait()


def test_a_visitor_who_leaves_before_the_answer(world, visitor):
    path = world.origin.on(lambda r: r.peer_gone())
    process = visitor.start(world.APP, path)
    world.origin.wait_request(path)
    leave(process)
    for line in world.both(path):
        assert line["status"] == 499 and line["aborted"] is True and line["bytesOut"] == 0
        assert "ttfbMs" not in line and "hop" not in line


def test_a_visitor_who_leaves_within_the_answer(world, visitor):
    def stall(request):
        request.head(200, [("Content-Length", "1000000")])
        request.send(b"x" * 1000)
        request.peer_gone()

    path = world.origin.on(stall)
    process = visitor.start(world.APP, path)
    assert process.stdout.read(1000) == b"x" * 1000
    leave(process)
    for line in world.both(path):
        assert (line["status"], line["bytesOut"]) == (200, 1000) and line["aborted"] is True
        assert line["ttfbMs"] <= line["totalMs"]


def test_a_service_that_breaks_off(world, visitor):
    def cut(request):
        request.head(200, [("Content-Length", "1000000")])
        request.send(b"x" * 1000)
        visitor_has_some.wait(20)
        request.cut()

    visitor_has_some = threading.Event()
    path = world.origin.on(cut)
    process = visitor.start(world.APP, path)
    assert process.stdout.read(1000) == b"x" * 1000
    visitor_has_some.set()
    process.wait()
    edge, connector = world.both(path)
    for line in (edge, connector):
        assert line["status"] == 200 and "aborted" not in line and line["error"]
    assert connector["hop"] == "origin" and edge["hop"] == "tunnel"


def load(edge, host, count, *args, clients=8):
    """`count` requests by h2load, each answered with 2xx."""
    done = run(["h2load", "-n", count, "-c", clients, "-m", 4, "--connect-to", f"127.0.0.1:{edge.https}",
                *args, f"https://{host}:{edge.https}/echo"], seconds=120)  # fmt: skip
    assert f"status codes: {count} 2xx" in done.stdout, done.stdout


def wait_lines(count, number, what):
    """What is written is written soon, and not more than that."""
    wait_until(lambda: count() >= number, lambda: f"{number} lines of {what}, there are {count()}", 20 * PATIENCE)
    assert count() == number


@pytest.mark.parametrize("args", [["--h1"], []], ids=["http1.1", "http2"])
def test_many_at_once(world, args):
    logs = (world.edge_log, world.connector_log)
    before = [len(requests(log)) for log in logs]
    load(world.edge, world.APP, 1000, *args)
    for log, had in zip(logs, before):
        wait_lines(lambda log=log: len(requests(log)), had + 1000, log.name)
    rays = [{r["cfRay"] for r in requests(log)[had:]} for log, had in zip(logs, before)]
    assert rays[0] == rays[1] and len(rays[0]) == 1000


# --- secrets -----------------------------------------------------------------------------------------


def test_no_secret_reaches_a_log(own, origin_of_its_own, tmp_path):
    edge = own.edge(settings=f'log-directory: "{tmp_path / "edge-logs"}"\n')
    cli = own.cli(edge)
    tunnel = cli.create("home")
    host = f"app.{ZONE}"
    cli.route(tunnel, host)
    token = cli.check("tunnel", "token", tunnel.name).strip()
    secret = json.loads(tunnel.credentials.read_text())["TunnelSecret"]
    config = write_config(tmp_path / "config.yml", tunnel, [{"hostname": host, "service": origin_of_its_own.service}])
    connector = own.connect(
        cli, tunnel, config, by="nothing", args=["--transport-loglevel", "debug"],
        env={"TUNNEL_TOKEN": token, "TUNNEL_LOGFILE": tmp_path / "connector.json", "TUNNEL_FOO_SECRET": "hush-env",
             "TUNNEL_LABEL": "visible", "TUNNEL_EDGE": f"127.0.0.1:{edge.tunnel}", "TUNNEL_CACERT": edge.ca},
    )  # fmt: skip
    hidden = ["Cookie", "Authorization", "Proxy-Authorization", "Cf-Access-Client-Secret", "Cf-Access-Jwt-Assertion",
              "X-Api-Key", "Sec-WebSocket-Key"]  # fmt: skip
    headers = [(name, f"hush-{i}") for i, name in enumerate(hidden)]
    headers += [("X-Seen", "shown"), ("Referer", "https://r.example/?token=hush-referer")]
    path = origin_of_its_own.on(lambda r: r.reply(200, [("Set-Cookie", "hush-set-cookie"), ("X-Answer", "shown-too"),
                                                        ("Location", "/?code=hush-location")]))  # fmt: skip
    Visitor(edge, folder=tmp_path).get(host, path + "?access_token=hush-query", headers=headers)
    # A link that signs an administrator in.
    page = f"{edge.public_url}/login/link?token=hush-link"
    run(["curl", "-s", "--cacert", edge.ca, page])
    wait_until(lambda: "/login/link" in edge.program.text(), "line about the link", 10 * PATIENCE)
    connector.wait_log("INF request ")
    connector.stop()
    edge.wait_connections(0)
    edge.stop()

    logs = {"edge": edge.program.text(), "connector": connector.text(),
            "connector.json": (tmp_path / "connector.json").read_text(),
            "adit-edge.log": (tmp_path / "edge-logs/adit-edge.log").read_text()}  # fmt: skip
    for name, text in logs.items():
        assert text, name
        assert "hush" not in text and token not in text and secret not in text, name
        for said in ("cookie: *****", "authorization: *****", "x-seen: shown"):
            assert said in text.lower(), (name, said)
        if name.endswith(("json", ".log")):
            assert [json.loads(line) for line in text.splitlines()]
    assert "X-Answer: shown-too" in logs["connector"] and "Set-Cookie: *****" in logs["connector"]
    assert re.search(r"INF Settings: map\[.*token:\*\*\*\*\*", logs["connector"])
    assert re.search(r"INF Environmental variables map\[.*TUNNEL_FOO_SECRET:\*\*\*\*\*.*TUNNEL_LABEL:visible"
                     r".*TUNNEL_TOKEN:\*\*\*\*\*", logs["connector"])  # fmt: skip
    assert "DBG TLS handshake done, registering" in logs["connector"]


# --- where they go -----------------------------------------------------------------------------------


@pytest.fixture
def origin_of_its_own():
    origin = Origin()
    yield origin
    origin.close()


class Small:
    """An edge and a connector of one test."""

    def __init__(self, own, origin, folder, settings="", args=(), env=None):
        self.host = f"app.{ZONE}"
        self.edge = own.edge(settings=settings)
        self.cli = own.cli(self.edge)
        self.tunnel = self.cli.create("home")
        self.cli.route(self.tunnel, self.host)
        rules = [{"hostname": self.host, "service": origin.service}]
        self.config = write_config(folder / "config.yml", self.tunnel, rules)
        self.connector = own.connect(self.cli, self.tunnel, self.config, args=args, env=env)

    def get(self, path="/echo"):
        visitor = Visitor(self.edge)
        answer = visitor.get(self.host, path)
        self.edge.wait_idle()
        return answer


def count_requests(text):
    return len(re.findall(r"^\S+Z INF request cfRay=.* host=app\.", text, re.MULTILINE))


def test_by_default_they_are_in_the_log(own, origin_of_its_own, tmp_path):
    small = Small(own, origin_of_its_own, tmp_path)
    small.get("/echo?secret=x")
    for program in (small.edge.program, small.connector):
        found = program.wait_log(r"^\S+Z INF request cfRay=\w{16} .*method=GET host=app.example.com path=/echo .*$")
        assert " status=200 bytesOut=0 bytesIn=0 ttfbMs=" in found[0]
        assert count_requests(program.text()) == 1


def test_off(own, origin_of_its_own, tmp_path):
    small = Small(own, origin_of_its_own, tmp_path, "access-log: off\n", env={"TUNNEL_ACCESS_LOG": "off"})
    small.get()
    assert count_requests(small.edge.program.text()) == count_requests(small.connector.text()) == 0


def test_json_on_stdout_and_stderr(own, origin_of_its_own, tmp_path):
    small = Small(own, origin_of_its_own, tmp_path, "access-log: stdout\naccess-log-format: json\n",
                  args=["--access-log", "stderr"], env={"TUNNEL_LOG_OUTPUT": "json"})  # fmt: skip
    ray = small.get().get("cf-ray").split("-")[0]
    line = small.edge.program.wait_log(r'^{"level":"info",.*"message":"request",.*"host":"app.*$')[0]
    assert json.loads(line)["cfRay"] == ray
    small.connector.wait_log(f'"message":"request","cfRay":"{ray}"')
    for text in small.connector.text().splitlines():
        assert json.loads(text)["level"]


@pytest.mark.parametrize("form", ["common", "combined", "vcombined"])
def test_the_formats_of_other_servers(own, origin_of_its_own, tmp_path, form):
    log = tmp_path / "access.log"
    small = Small(own, origin_of_its_own, tmp_path, f'access-log: "{log}"\naccess-log-format: {form}\n')
    path = origin_of_its_own.on(lambda r: r.reply(200, body=b"12345"))
    visitor = Visitor(small.edge, "http2")
    visitor.get(small.host, path + "?token=x", headers=[("User-Agent", 'a "b" \\ \u00e4'), ("Referer", "https://r/?x")])
    visitor.get(small.host, path, headers=[("User-Agent", ""), ("X", "y")])

    def mine():
        return [line for line in log.read_text().splitlines() if path in line]

    wait_until(lambda: len(mine()) >= 2, "two lines", 10 * PATIENCE)
    first, second = mine()
    host = f"{small.host}:443 " if form == "vcombined" else ""
    when = r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\]"
    head = rf'{re.escape(host)}127\.0\.0\.1 - - {when} "GET {path} HTTP/2\.0" 200 5'
    more = ['"https://r/" "a \\x22b\\x22 \\x5C \\xC3\\xA4"', '"-" "-"'] if form != "common" else ["", ""]
    for line, rest in zip((first, second), more):
        assert re.fullmatch(head + re.escape(f" {rest}" if rest else ""), line), line


def test_a_format_without_a_place_is_refused(own):
    edge = own.edge(start=False, settings="access-log-format: combined\n")
    done = edge.command("check")
    assert done.returncode == 1 and "access-log-format" in done.stderr
    own.edges.remove(edge)


# --- files that roll, are renamed, or fail -----------------------------------------------------------


@pytest.fixture
def loaded(own, origin_of_its_own, tmp_path):
    """The connector's whole log in a directory, the edge's in another; its access log in a file."""
    access = tmp_path / "access.json"
    return Small(own, origin_of_its_own, tmp_path,
                 f'access-log: "{access}"\nlog-directory: "{tmp_path / "edge-logs"}"\n',
                 env={"TUNNEL_LOGDIRECTORY": tmp_path / "logs" / "deep"}), access  # fmt: skip


def test_rolling_under_load_loses_nothing(loaded, tmp_path):
    small, access = loaded
    load(small.edge, small.host, 4000)
    folder = tmp_path / "logs" / "deep"

    def count():
        return sum(len(requests(f)) for f in folder.iterdir())

    wait_lines(count, 4000, "the connector")
    wait_lines(lambda: len(requests(access)), 4000, "the edge")
    names = sorted(f.name for f in folder.iterdir())
    assert 2 < len(names) <= 6 and names[-1] == "adit.log"
    for name in names[:-1]:
        assert re.fullmatch(r"adit-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}\.log", name)
        size = (folder / name).stat().st_size
        assert 1024 * 1024 - 4096 <= size <= 1024 * 1024
    assert (tmp_path / "edge-logs" / "adit-edge.log").exists()
    for program in (small.edge.program, small.connector):
        assert "dropped" not in program.text()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_renamed_files_are_made_again(own, origin_of_its_own, tmp_path, number):
    """As logrotate does it, while requests come in."""
    edge_log, connector_log = tmp_path / "edge.json", tmp_path / "connector.json"
    small = Small(own, origin_of_its_own, tmp_path, f'access-log: "{edge_log}"\n',
                  args=["--access-log", connector_log])  # fmt: skip
    programs = [(small.edge.program, edge_log)]
    if number == signal.SIGHUP:
        programs.append((small.connector, connector_log))
    loads = threading.Thread(target=load, args=(small.edge, small.host, 3000))
    loads.start()
    for turn in range(5):
        for program, log in programs:
            wait_until(lambda log=log: log.exists() and log.stat().st_size > 0, "lines", 20 * PATIENCE)
            log.rename(tmp_path / f"{log.name}.{turn}")
            program.signal(number)
            wait_until(log.exists, "a new file", 20 * PATIENCE)
    loads.join()
    for _, log in programs:
        wait_lines(lambda log=log: sum(len(requests(f)) for f in tmp_path.glob(f"{log.name}*")), 3000, log.name)
    if number == signal.SIGHUP:  # for the rules it means: read them again
        small.connector.wait_log("Updated to new configuration", count=5)


def test_a_full_disk(own, origin_of_its_own, tmp_path):
    small = Small(own, origin_of_its_own, tmp_path, "access-log: /dev/full\n", args=["--access-log", "/dev/full"],
                  env={"TUNNEL_LOGFILE": "/dev/full"})  # fmt: skip
    load(small.edge, small.host, 500)
    for program, files in ((small.edge.program, 1), (small.connector, 2)):
        program.wait_log(r'ERR Unable to write log lines to=/dev/full error="No space left on device"', count=files)
    small.get()
    assert small.edge.program.text().count("Unable to write log lines") == 1
    assert small.connector.text().count("Unable to write log lines") == 2  # two files


def test_files_that_cannot_be_opened(own, origin_of_its_own, tmp_path):
    small = Small(own, origin_of_its_own, tmp_path,
                  'access-log: "/dev/null/a"\nlog-file: "/dev/null/b"\n',
                  args=["--access-log", "/dev/null/a"], env={"TUNNEL_LOGFILE": "/dev/null/b"})  # fmt: skip
    assert small.get().status == 200
    for program in (small.edge.program, small.connector):
        for name in ("a", "b"):
            program.wait_log(f'ERR Unable to write to the log file file=/dev/null/{name} error="Not a directory')


def test_a_bad_level_and_both_kinds_of_file(own, tmp_path):
    edge = own.edge()
    cli = own.cli(edge)
    done = cli.run("--loglevel", "loud", "--logfile", tmp_path / "one.json", "--log-directory", tmp_path / "two",
                   "tunnel", "list")  # fmt: skip
    assert done.returncode == 0
    assert "Failed to parse log level, using info instead given=loud" in done.stderr
    assert "logfile takes precedence" in done.stderr
    assert [line["level"] for line in lines(tmp_path / "one.json")] == ["error", "error"]
    assert not (tmp_path / "two").exists()


def test_nobody_reads_stderr(own, origin_of_its_own, tmp_path):
    """A terminal that was stopped, a log collector that hangs: requests are served, files are written."""
    access, log = tmp_path / "access.json", tmp_path / "log.json"
    small = Small(own, origin_of_its_own, tmp_path)
    small.connector.stop()
    small.edge.wait_connections(0)
    small.edge.stop()
    edge = small.edge
    process = subprocess.Popen(
        [ADIT_EDGE, "run", "--data", edge.data, "--access-log", access, "--log-file", log],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=clean_env(), cwd=tmp_path,
    )  # fmt: skip
    try:

        def ready():
            try:
                return urllib.request.urlopen(f"http://127.0.0.1:{edge.metrics_port}/ready", timeout=5).status == 200
            except OSError:
                return False

        wait_until(ready, "edge that is ready", 20 * PATIENCE)
        again = small.cli.connect(small.tunnel, small.config, name="again")
        load(edge, small.host, 2000)  # at level debug: more than a pipe holds
        wait_lines(lambda: len(requests(access)), 2000, "the edge")
        wait_until(lambda: any(line.get("to") == "stderr" for line in lines(log)), "word of it", 20 * PATIENCE)
        again.stop()
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20 * PATIENCE) == 0
        assert time.monotonic() - began < 15 * PATIENCE
        assert any(line["message"] == "edge has stopped" for line in lines(log))
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
