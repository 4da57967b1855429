"""What a connector tells about itself on --metrics, `tunnel ready` and `tunnel diag`."""

import http.client
import io
import json
import re
import shutil
import signal
import socket
import subprocess
import time
import zipfile

import pytest
from prometheus_client.parser import text_string_to_metric_families

from testenv import net
from testenv.connector import Cli, write_config
from testenv.edge import LOCATION, ZONE
from testenv.origin import Origin
from testenv.program import PATIENCE
from testenv.visitor import Visitor
from testenv.wait import wait_until

PAGES = ("/metrics", "/ready", "/healthcheck", "/config", "/quicktunnel",
         "/diag/tunnel", "/diag/configuration", "/diag/system", "/diag/probe")  # fmt: skip


class Answer:
    def __init__(self, connector, path, method="GET", headers=None, address=None):
        host, port = (address or connector.metrics_address()).rsplit(":", 1)
        link = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=30 * PATIENCE)
        link.request(method, path, headers=headers or {})
        response = link.getresponse()
        self.status, self.headers = response.status, response.headers
        self.text = response.read().decode()
        link.close()

    @property
    def json(self):
        return json.loads(self.text)


def samples(connector):
    """Name and labels of each sample to its value, and the families by name, as Prometheus reads them."""
    answer = Answer(connector, "/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    names = re.findall(r"^# TYPE (\S+)", answer.text, re.MULTILINE)
    assert len(names) == len(set(names)), "a family is there twice"
    values, families = {}, {}
    # The parser gives every counter the ending that newer names have; the stock connector's are older.
    for family in text_string_to_metric_families(answer.text):
        for s in family.samples:
            name = s.name
            if name not in names and name.removesuffix("_total") in names:
                name = name.removesuffix("_total")
            key = name + "".join(f"|{k}={v}" for k, v in sorted(s.labels.items()))
            assert key not in values, f"{key} is there twice"
            values[key] = s.value
            if family.type == "histogram":
                name = re.sub("_(bucket|sum|count)$", "", name)
            families.setdefault(name, family)
    return values, families, answer.text


# --- The pages -----------------------------------------------------------------------------------------


@pytest.fixture
def served(own, tmp_path):
    """An edge and a connector with one service that works and one that does not."""

    class Served:
        pass

    s = Served()
    s.edge = own.edge()
    s.cli = own.cli(s.edge)
    s.tunnel = s.cli.create("home")
    s.origin = Origin()
    s.closed = net.free_port()
    s.rules = [
        {"hostname": f"app.{ZONE}", "service": s.origin.service},
        {"hostname": f"down.{ZONE}", "service": f"http://127.0.0.1:{s.closed}",
         "originRequest": {"setHeaders": {"X-Key": "s3cret-header"}}},
    ]  # fmt: skip
    s.config = write_config(tmp_path / "c.yml", s.tunnel, s.rules)
    s.cli.route(s.tunnel, f"app.{ZONE}", f"down.{ZONE}")

    def connect(*args, wait=4, **kwargs):
        s.log = tmp_path / "adit.log"
        s.connector = own.connect(s.cli, s.tunnel, s.config, wait=wait,
                                  args=["--logfile", str(s.log), *args], **kwargs)  # fmt: skip
        return s.connector

    s.connect = connect
    yield s
    s.origin.close()


def test_every_page_tells_what_is(served):
    connector = served.connect()
    edge_port = served.edge.tunnel

    ready = Answer(connector, "/ready")
    assert ready.status == 200 and ready.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert ready.json["status"] == 200 and ready.json["readyConnections"] == 4
    assert list(ready.json) == ["status", "readyConnections", "connectorId"] and not ready.text.endswith("\n")
    assert Answer(connector, "/healthcheck").text == "OK\n"
    assert Answer(connector, "/quicktunnel").text == '{"hostname":""}'

    config = Answer(connector, "/config").json
    assert config["version"] == -1
    rules = config["config"]["ingress"]
    assert [r["service"] for r in rules] == [r["service"] for r in served.rules] + ["http_status:404"]
    assert rules[0]["hostname"] == f"app.{ZONE}" and rules[0]["path"] is None
    assert rules[0]["originRequest"]["connectTimeout"] == 30
    assert config["config"]["originRequest"]["keepAliveConnections"] == 100
    assert "warp-routing" in config["config"]

    tunnel = Answer(connector, "/diag/tunnel").json
    assert tunnel["tunnelID"] == served.tunnel.id and tunnel["connectorID"] == ready.json["connectorId"]
    assert sorted(c["index"] for c in tunnel["connections"]) == [0, 1, 2, 3]
    ours = tunnel["adit"]
    numbers = {c["index"]: {"http2": 0, "quic": 1}[c["protocol"]] for c in ours["connections"]}
    for c in tunnel["connections"]:
        number = numbers[c["index"]]
        assert c == {"isConnected": True, "protocol": number, "edgeAddress": "127.0.0.1", "index": c["index"]}
    assert ours["pid"] == connector.pid and ours["edges"] == [f"127.0.0.1:{edge_port}"]
    for c in ours["connections"]:
        assert c["state"] == "registered" and c["peer"] == f"127.0.0.1:{edge_port}"
        assert c["location"] == LOCATION and c["protocol"] in ("quic", "http2") and "lastError" not in c
    logged = set(re.findall(r"Registered tunnel connection .*? connection=(\S+)", connector.text()))
    assert {c["connectionID"] for c in ours["connections"]} == logged

    flags = Answer(connector, "/diag/configuration").json
    assert flags["uid"] == str(served.cli.home.stat().st_uid)
    assert flags["metrics"] == "127.0.0.1:0" and flags["loglevel"] == "debug"
    assert flags["logfile"] == str(served.log) and flags["config"] == str(served.config)
    assert all(isinstance(v, str) for v in flags.values())

    system = Answer(connector, "/diag/system").json
    info = system["info"]
    assert 0 < info["memoryCurrent"] < info["memoryMaximum"] and info["osSystem"] == "Linux"
    assert info["hostName"] == socket.gethostname() and info["disk"] and system["errors"] == {}
    assert 0 < info["fileDescriptorCurrent"] < info["fileDescriptorMaximum"]
    process = system["process"]
    assert process["pid"] == connector.pid and process["residentBytes"] > 1 << 20
    started = time.time() - connector_age(connector)
    assert abs(wall(process["startedAt"]) - started) < 2

    probe = Answer(connector, "/diag/probe").json
    [edge] = probe["edges"]
    assert edge["ok"] and edge["address"] == edge["peer"] == f"127.0.0.1:{edge_port}"
    assert [r.get("ok") for r in probe["rules"]] == [True, False, None]
    assert probe["rules"][1]["errno"] == "ECONNREFUSED" and probe["rules"][1]["step"] == "connect"
    assert probe["rules"][2]["skipped"]
    assert served.origin.seen == [], "a probe asks for nothing"


def connector_age(connector):
    with open(f"/proc/{connector.pid}/stat") as f:
        ticks = int(f.read().rsplit(")", 1)[1].split()[19])
    with open("/proc/uptime") as f:
        return float(f.read().split()[0]) - ticks / 100


def wall(text):
    import datetime

    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def test_what_may_not_be_asked(served):
    connector = served.connect(wait=1)
    missing = Answer(connector, "/nosuch")
    assert missing.status == 404 and missing.text.split()[-len(PAGES) :] == list(PAGES)
    for path in PAGES:
        refused = Answer(connector, path, "POST")
        assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD")
    head = Answer(connector, "/healthcheck", "HEAD")
    assert (head.status, head.text, head.headers["Content-Length"]) == (200, "", "3")
    assert Answer(connector, "/config", headers={"Host": "evil.example.com"}).status == 403
    assert Answer(connector, "/config", headers={"Host": "localhost"}).status == 200


def test_any_name_is_right_where_others_may_ask(served):
    port = net.free_port()
    connector = served.connect("--metrics", f"0.0.0.0:{port}", wait=1)
    asked = Answer(connector, "/ready", headers={"Host": "adit.monitoring.svc:20241"}, address=f"127.0.0.1:{port}")
    assert asked.status == 200


def test_it_listens_on_ipv6_too(served):
    connector = served.connect("--metrics", "[::1]:0", wait=1)
    assert connector.metrics_address().startswith("[::1]:")
    assert Answer(connector, "/healthcheck").status == 200


def test_not_ready_without_the_edge(served):
    connector = served.connect()
    served.edge.stop()
    wait_until(lambda: Answer(connector, "/ready").status == 503, "503 of /ready", 20 * PATIENCE)
    assert Answer(connector, "/ready").json["readyConnections"] == 0
    tunnel = Answer(connector, "/diag/tunnel").json
    assert "connections" not in tunnel
    wait_until(lambda: "refused" in Answer(connector, "/diag/tunnel").text, "the reason in /diag/tunnel")
    wait_until(lambda: samples(connector)[0].get(
        "adit_connector_edge_dial_failures_total|connection_id=0|error=refused", 0) > 0, "failed dials")  # fmt: skip
    served.edge.start()
    wait_until(lambda: Answer(connector, "/ready").json["readyConnections"] == 4, "four again", 30 * PATIENCE)
    again = Answer(connector, "/diag/tunnel").json["adit"]["connections"]
    assert all("lastError" not in c for c in again)
    values = samples(connector)[0]
    assert values["cloudflared_tunnel_tunnel_register_success|rpcName=registerConnection"] == 8


# --- Metrics -------------------------------------------------------------------------------------------


def make_traffic(edge, host, down, origin, folder):
    visitor = Visitor(edge, "http1.1", folder)
    path = origin.on(lambda r: r.reply(200, body=b"x" * 1000 + r.read_body()))
    teapot = origin.on(lambda r: r.reply(418, body=b""))
    for _ in range(3):
        assert visitor.get(host, path).status == 200
    assert visitor.get(host, path, data=b"y" * 500).status == 200
    assert visitor.get(host, teapot).status == 418
    assert visitor.get(down, "/").status == 502
    visitor.close()


def test_metrics_count_what_happens(served, tmp_path):
    connector = served.connect()
    before = samples(connector)[0]
    make_traffic(served.edge, f"app.{ZONE}", f"down.{ZONE}", served.origin, tmp_path)
    connector.wait_idle()
    values, families, text = samples(connector)

    def rise(key):
        return values[key] - before.get(key, 0)

    assert rise("cloudflared_tunnel_total_requests") == 6
    assert rise("cloudflared_tunnel_request_errors") == 1
    assert rise("cloudflared_tunnel_response_by_code|status_code=200") == 4
    assert rise("cloudflared_tunnel_response_by_code|status_code=418") == 1
    assert values["cloudflared_tunnel_concurrent_requests_per_tunnel"] == 0
    assert values["cloudflared_tunnel_ha_connections"] == 4
    for i in range(4):
        assert values[f"cloudflared_tunnel_server_locations|connection_id={i}|edge_location={LOCATION}"] == 1
        assert values[f"tunnel_ids|ha_conn_id={i}|tunnel_id={served.tunnel.id}"] == 1
    assert values["cloudflared_tunnel_tunnel_register_success|rpcName=registerConnection"] == 4
    assert values["cloudflared_config_local_config_pushes"] == 1
    assert values["cloudflared_config_local_config_pushes_errors"] == 0
    registration = "|handler=registration|method=register_connection"
    assert values["cloudflared_rpc_client_operations" + registration] == 4
    assert values["cloudflared_rpc_client_latency_secs_count" + registration] == 4
    assert 0 < values["cloudflared_rpc_client_latency_secs_sum" + registration] < 20 * PATIENCE
    assert rise("adit_connector_request_bytes_total") == 500
    assert rise("adit_connector_response_bytes_total") == 4500
    assert rise(f"adit_connector_rule_requests_total|rule=app.{ZONE}") == 5
    assert rise(f"adit_connector_rule_requests_total|rule=down.{ZONE}") == 1
    assert rise(f"adit_connector_rule_errors_total|rule=down.{ZONE}") == 1
    assert rise("adit_connector_failures_total|errno=ECONNREFUSED|hop=origin") == 1
    assert rise("adit_connector_response_head_seconds_count") == 5
    assert values["adit_connector_exchanges"] == 0
    assert abs(values["process_resident_memory_bytes"] - connector.memory("VmRSS")) < 16 << 20
    assert values["process_open_fds"] > 8 and values["process_cpu_seconds_total"] > 0
    assert families["build_info"].samples[0].labels["version"] in Answer(connector, "/diag/tunnel").text

    if promtool := shutil.which("promtool"):
        said = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True).stderr
        # Its taste in names is not that of the stock connector, whose names are what they are.
        assert [line for line in said.splitlines() if not line.startswith(("cloudflared_", "quic_client_"))] == [], said


def test_reload_makes_counters_for_new_rules(served, tmp_path):
    connector = served.connect(wait=1)
    rules = [{"hostname": f"app.{ZONE}", "path": "^/new", "service": served.origin.service}, *served.rules]
    write_config(served.config, served.tunnel, rules)
    connector.signal(signal.SIGHUP)
    wait_until(lambda: Answer(connector, "/config").json["config"]["ingress"][0]["path"] == "^/new", "the new rules")
    path = served.origin.on(lambda r: r.reply(200), name="new")
    visitor = Visitor(served.edge, "http1.1", tmp_path)
    assert visitor.get(f"app.{ZONE}", path).status == 200
    visitor.close()
    values = samples(connector)[0]
    assert values[f"adit_connector_rule_requests_total|rule=app.{ZONE} ^/new"] == 1
    assert values["adit_connector_reloads_total|result=ok"] >= 1
    served.config.write_text("ingress: [")
    connector.signal(signal.SIGHUP)
    wait_until(lambda: "adit_connector_reloads_total|result=refused" in samples(connector)[0], "a refused file")


# What the stock connector has and this version has nothing to say about.
ELSEWHERE = re.compile(r"(go|promhttp|process_network|quic_client|cloudflared_(udp|icmp|virtual_origins|rpc_server))_"
                       r"|process_virtual_memory_max_bytes")  # fmt: skip


def test_metrics_are_those_of_the_stock_connector(stage, tmp_path):
    from conftest import need

    need("stock")
    seen = {}
    for kind in ("stock", "adit"):
        site = stage.site(kind)
        make_traffic(stage.edge, site.host("app"), site.host("refused"), stage.origin, tmp_path)
        values, families, _ = samples(site.connector)
        seen[kind] = values, families
    stage.origin.forget()
    stock, ours = seen["stock"][1], seen["adit"][1]
    missing = [name for name in stock if name not in ours and not ELSEWHERE.match(name)]
    assert missing == []
    for name, family in stock.items():
        if name not in ours:
            continue
        assert ours[name].type == family.type, name
        labels = [{frozenset(s.labels) for s in f.samples} for f in (family, ours[name])]
        assert labels[0] == labels[1], name
        bounds = [{s.labels["le"] for s in f.samples if "le" in s.labels} for f in (family, ours[name])]
        assert {round(float(b), 6) for b in bounds[0]} == {round(float(b), 6) for b in bounds[1]}, name
    for name in ("cloudflared_tunnel_total_requests", "cloudflared_tunnel_request_errors",
                 "cloudflared_tunnel_response_by_code|status_code=200", "cloudflared_tunnel_ha_connections",
                 f"cloudflared_tunnel_server_locations|connection_id=0|edge_location={LOCATION}"):  # fmt: skip
        assert name in seen["stock"][0] and name in seen["adit"][0], name


def shape(value):
    """Keys and types, without values."""
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def test_pages_have_the_stock_shape(stage):
    from conftest import need

    need("stock")
    stock, ours = stage.site("stock").connector, stage.site("adit").connector
    for path in ("/ready", "/healthcheck", "/quicktunnel"):
        pair = [Answer(c, path) for c in (stock, ours)]
        assert pair[0].status == pair[1].status
        assert pair[0].headers["Content-Type"] == pair[1].headers["Content-Type"]
        mask = [re.sub(r"[0-9a-f-]{36}", "UUID", a.text) for a in pair]
        assert mask[0] == mask[1]
    stock_config, our_config = (Answer(c, "/config").json for c in (stock, ours))
    theirs, mine = stock_config["config"]["ingress"][0], our_config["config"]["ingress"][0]
    assert set(theirs) <= set(mine)
    assert set(theirs["originRequest"]) <= set(mine["originRequest"])
    stock_tunnel, our_tunnel = (Answer(c, "/diag/tunnel").json for c in (stock, ours))
    # A stock one leaves zeros out: take a connection that has an index.
    theirs = next(c for c in stock_tunnel["connections"] if c.get("index"))
    mine = our_tunnel["connections"][0]
    assert {**shape(theirs), "protocol": "int"} == shape(mine)
    stock_info, our_info = (Answer(c, "/diag/system").json["info"] for c in (stock, ours))
    assert set(stock_info) - set(our_info) == {"goVersion", "goArch"}
    assert shape(stock_info["disk"][0]) == shape(our_info["disk"][0])
    assert abs(stock_info["memoryMaximum"] - our_info["memoryMaximum"]) == 0
    assert "uid" in Answer(stock, "/diag/configuration").json and "uid" in Answer(ours, "/diag/configuration").json


# --- tunnel ready ----------------------------------------------------------------------------------------


def test_ready_exit_codes(served):
    connector = served.connect()
    address = connector.metrics_address()
    done = served.cli.run("tunnel", "--metrics", address, "ready")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert served.cli.run("tunnel", "--metrics", f"http://{address}", "ready").returncode == 0
    assert served.cli.run("tunnel", "ready", env={"TUNNEL_METRICS": address}).returncode == 0
    served.edge.stop()
    wait_until(lambda: Answer(connector, "/ready").status == 503, "503 of /ready", 20 * PATIENCE)
    done = served.cli.run("tunnel", "--metrics", address, "ready")
    assert done.returncode == 1
    assert done.stderr.startswith(f'http://{address}/ready endpoint returned status code 503\n{{"status":503,')
    connector.kill()
    done = served.cli.run("tunnel", "--metrics", address, "ready")
    assert done.returncode == 1 and address.split(":")[1] in done.stderr



@pytest.fixture
def usual_ports():
    if not net.alone:
        pytest.skip("the usual ports may be somebody else's")


def test_ready_finds_the_connector(served, usual_ports):
    none = served.cli.run("tunnel", "ready")
    assert none.returncode == 1 and "--metrics has to be provided" in none.stderr
    connector = served.connect("--metrics", "localhost:0")
    assert connector.metrics_address() == "127.0.0.1:20241"
    assert served.cli.run("tunnel", "ready").returncode == 0


# --- tunnel diag -----------------------------------------------------------------------------------------

FILES = {"tunnelstate.json", "systeminformation.json", "metrics.txt", "adit_logs.txt", "raw-network.txt",
         "network.json", "cli-configuration.json", "configuration.json", "probes.json", "summary.txt",
         "task-result.json"}  # fmt: skip


class Diag:
    """One run of `tunnel diag`."""

    def __init__(self, cli, *args, metrics=None, **kwargs):
        where = ["--metrics", metrics] if metrics else []
        self.done = cli.run("tunnel", *where, "diag", *args, seconds=60, **kwargs)
        self.code, self.out, self.err = self.done.returncode, self.done.stdout, self.done.stderr
        self.files = {}
        if written := re.search(r"Diagnostic file written: (\S+)", self.err):
            self.path = cli.home / written[1]
            assert self.path.stat().st_mode & 0o777 == 0o600
            with zipfile.ZipFile(self.path) as archive:
                assert archive.testzip() is None
                self.files = {name: archive.read(name).decode() for name in archive.namelist()}
            self.path.unlink()

    def verdict(self):
        return self.out.split("\n\n")[1]


def test_diag_when_all_is_well(served, tmp_path):
    served.rules.pop()
    write_config(served.config, served.tunnel, served.rules)
    connector = served.connect()
    diag = Diag(served.cli, metrics=connector.metrics_address())
    assert diag.code == 0, diag.out + diag.err
    assert diag.verdict() == "Every hop that was tried works.\n"
    assert "\033" not in diag.out, "colour in a file"
    lines = diag.out.splitlines()
    assert re.match(rf"connector  ok     \S+: adit \S+, since \S+Z, tunnel {served.tunnel.id}, connector ", lines[0])
    assert re.match(rf"edge       ok     127.0.0.1:{served.edge.tunnel}: reached 127.0.0.1:\d+ in \d+ ms$", lines[1])
    assert re.match(rf"edge       ok     127.0.0.1:{served.edge.tunnel} over UDP: reached 127.0.0.1:\d+ in \d+ ms$", lines[2])
    assert lines[3] == f"tunnel     ok     registered connections: 4 of 4, at {LOCATION}"
    assert lines[4].startswith(f"service    ok     rule 0: app.{ZONE} -> {served.origin.service}: reached 127.0.0.1:")
    assert lines[5] == "service    -      rule 1: * -> http_status:404: there is nothing to connect to"
    assert "Diagnostic completed" in diag.err
    assert re.search(r"Diagnostic file written: adit-diag-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ\.zip", diag.err)

    assert set(diag.files) == FILES
    parsed = {name: json.loads(text) for name, text in diag.files.items() if name.endswith(".json")}
    assert parsed["tunnelstate.json"]["tunnelID"] == served.tunnel.id
    assert parsed["systeminformation.json"]["process"]["pid"] == connector.pid
    assert parsed["configuration.json"]["config"]["ingress"][0]["hostname"] == f"app.{ZONE}"
    assert parsed["cli-configuration.json"]["uid"]
    assert parsed["probes.json"]["edges"][0]["ok"]
    results = {name: task["result"] for name, task in parsed["task-result.json"].items()}
    network = {results.pop("network information"), results.pop("raw network information")}
    assert set(results.values()) == {"success"}, parsed["task-result.json"]
    assert network == ({"success"} if shutil.which("traceroute") else {"skipped"})
    assert list(text_string_to_metric_families(diag.files["metrics.txt"]))
    assert "Registered tunnel connection" in diag.files["adit_logs.txt"]
    assert diag.files["summary.txt"] == diag.out


def test_diag_names_the_service_that_is_down(served):
    connector = served.connect()
    diag = Diag(served.cli, metrics=connector.metrics_address())
    assert diag.code == 1
    name = f"rule 1: down.{ZONE} -> http://127.0.0.1:{served.closed}"
    assert re.search(rf"^service    BROKEN {re.escape(name)}: .*\(ECONNREFUSED\)$", diag.out, re.MULTILINE)
    assert diag.verdict().startswith(f"The first broken hop is the service: {name}\nNothing listens there: start the")
    served.origin.listener.shutdown(socket.SHUT_RDWR)
    as_json = Diag(served.cli, "--output", "json", metrics=connector.metrics_address())
    result = json.loads(as_json.out)
    assert as_json.code == 1 and result["ok"] is False and result["file"].endswith(".zip")
    broken = [c for c in result["checks"] if c["status"] == "broken"]
    assert [(c["hop"], c["errno"]) for c in broken] == [("service", "ECONNREFUSED")] * 2
    assert result["first_broken"] == broken[0] and broken[0]["name"].startswith(f"rule 0: app.{ZONE} ")


def test_diag_names_the_edge_that_is_down(served):
    connector = served.connect()
    served.edge.stop()
    wait_until(lambda: Answer(connector, "/ready").status == 503, "503 of /ready", 20 * PATIENCE)
    wait_until(lambda: Answer(connector, "/diag/tunnel").text.count("refused") >= 4, "refused attempts of all four",
               20 * PATIENCE)  # fmt: skip
    diag = Diag(served.cli, metrics=connector.metrics_address())
    assert diag.code == 1
    assert diag.verdict().startswith(
        f"The first broken hop is the edge: 127.0.0.1:{served.edge.tunnel}\nNothing listens there: start adit-edge"
    )
    assert re.search(r"^edge       BROKEN .*\(ECONNREFUSED\)$", diag.out, re.MULTILINE)
    # Attempts go on meanwhile: what the last one met is told as soon as it has ended.
    wait_until(lambda: re.search(r"^tunnel     BROKEN registered connections: 0 of 4: .*refused",
                                 Diag(served.cli, metrics=connector.metrics_address()).out, re.MULTILINE),
               "the reason of the attempts", 20 * PATIENCE)  # fmt: skip


def test_diag_names_an_edge_that_is_not_trusted(served, own):
    """Another edge at the address of ours: its certificate is of another authority."""
    connector = served.connect()
    served.edge.stop()
    other = own.edge("other", start=False, settings="")
    config = other.data / "edge.yml"
    config.write_text(config.read_text().replace(f":{other.tunnel}", f":{served.edge.tunnel}"))
    other.start()
    wait_until(lambda: "ertificate" in Answer(connector, "/diag/tunnel").text, "a refused certificate", 20 * PATIENCE)
    diag = Diag(served.cli, metrics=connector.metrics_address())
    assert diag.code == 1
    assert diag.verdict().startswith(f"The first broken hop is the edge: 127.0.0.1:{served.edge.tunnel}\nWhat answers")


def test_diag_names_a_tunnel_that_the_edge_does_not_know(served):
    connector = served.connect()
    served.cli.check("tunnel", "delete", "-f", "home")
    wait_until(lambda: Answer(connector, "/ready").status == 503 and "denied" in Answer(connector, "/diag/tunnel").text,
               "a refused registration", 30 * PATIENCE)  # fmt: skip
    diag = Diag(served.cli, metrics=connector.metrics_address())
    assert diag.code == 1
    assert diag.verdict().startswith("The first broken hop is the tunnel: registered connections\n"
                                     "The edge does not accept this tunnel")  # fmt: skip
    values = samples(connector)[0]
    assert values["cloudflared_tunnel_tunnel_register_fail|error=server_error|rpcName=registerConnection"] > 0
    assert values["cloudflared_rpc_client_failures|handler=registration|method=register_connection"] > 0


def test_diag_tells_tls_from_connecting(served, tmp_path):
    from testenv.certs import OriginCerts

    certs = OriginCerts(tmp_path / "certs")
    secure = Origin(tls=certs.server())
    rules = [
        {"hostname": f"pool.{ZONE}", "service": secure.service,
         "originRequest": {"caPool": str(certs.ca), "originServerName": certs.NAME}},
        {"hostname": f"private.{ZONE}", "service": secure.service},
        {"hostname": f"plain.{ZONE}", "service": served.origin.service.replace("http:", "https:"),
         "originRequest": {"tlsTimeout": "1s"}},
        {"hostname": f"socket.{ZONE}", "service": "unix:/nonexistent/socket"},
        {"hostname": f"name.{ZONE}", "service": "http://no-such-host.invalid:80"},
    ]  # fmt: skip
    write_config(served.config, served.tunnel, rules)
    connector = served.connect(wait=1)
    found = Answer(connector, "/diag/probe").json["rules"]
    assert [(r.get("ok"), r.get("step"), r.get("errno")) for r in found[:4]] == [
        (True, None, None), (False, "tls", None), (False, "tls", None), (False, "connect", "ENOENT")]  # fmt: skip
    assert (found[4]["ok"], found[4]["step"]) == (False, "resolve")
    diag = Diag(served.cli, metrics=connector.metrics_address())
    assert "originRequest.caPool" in diag.verdict() and "4" not in diag.verdict().split("\n")[0].split("->")[0]
    assert diag.verdict().splitlines()[-1] == "3 more are broken, maybe for the same reason."
    secure.close()


@pytest.mark.slow
def test_diag_waits_for_nobody_for_ever(served):
    """A service that neither accepts nor refuses is given up, and named."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as stuck:
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(stuck.getsockname())
        served.rules[1]["service"] = f"http://127.0.0.1:{stuck.getsockname()[1]}"
        write_config(served.config, served.tunnel, served.rules)
        connector = served.connect()
        start = time.monotonic()
        diag = Diag(served.cli, metrics=connector.metrics_address())
        assert time.monotonic() - start < 45
        for filler in fillers:
            filler.close()
    assert diag.code == 1 and "BROKEN rule 1: " in diag.out and "no answer within 12 s" in diag.out
    assert "There is no way to it" in diag.verdict() and "service    ok     rule 0: " in diag.out


def test_diag_leaves_out_what_it_is_told(served):
    connector = served.connect(wait=4)
    no = ["--no-diag-logs", "--no-diag-metrics", "--no-diag-system", "--no-diag-runtime", "--no-diag-network"]
    diag = Diag(served.cli, *no, metrics=connector.metrics_address())
    assert diag.code == 0, diag.out
    assert set(diag.files) == {"tunnelstate.json", "cli-configuration.json", "configuration.json", "summary.txt",
                               "task-result.json"}  # fmt: skip
    assert "edge       -      its addresses: not tried: --no-diag-network" in diag.out


def test_diag_keeps_secrets_out(served, tmp_path):
    """Neither the archive nor what is printed has the tunnel's secret, its token or a header's value."""
    secret = json.loads(served.tunnel.credentials.read_text())["TunnelSecret"]
    token = served.cli.check("tunnel", "token", "home").strip()
    config = write_config(tmp_path / "token.yml", served.tunnel, served.rules)
    data = json.loads(config.read_text())
    del data["tunnel"], data["credentials-file"]
    config.write_text(json.dumps(data))
    served.config = config
    connector = served.connect("--token", token, by="nothing")
    with open(served.log, "a") as log:
        log.write(f'{{"level":"error","message":"somebody else wrote TUNNEL_TOKEN={token} here"}}\n')
    diag = Diag(served.cli, metrics=connector.metrics_address())
    everything = "\n".join([diag.out, diag.err, *diag.files.values()])
    assert "somebody else wrote" in everything
    for hidden in (secret, token, "s3cret-header"):
        assert hidden not in everything


def test_diag_without_a_connector(served, usual_ports):
    diag = Diag(served.cli)
    assert diag.code == 1 and diag.files == {} and "No instances found" in diag.err
    assert diag.verdict().startswith("The first broken hop is the connector: localhost\nStart it (")
    refused = Diag(served.cli, metrics=f"127.0.0.1:{net.free_port()}")
    assert refused.code == 1 and "The first broken hop is the connector: 127.0.0.1:" in refused.out


def test_diag_of_a_connector_that_hangs(served, usual_ports):
    connector = served.connect("--metrics", "localhost:0", wait=1)
    connector.signal(signal.SIGSTOP)
    try:
        diag = Diag(served.cli, "--output", "json")
    finally:
        connector.signal(signal.SIGCONT)
    broken = json.loads(diag.out)["first_broken"]
    assert diag.code == 1 and broken["name"] == "localhost:20241" and "does not answer" in broken["detail"]


def test_diag_asks_which_of_several(served, own, tmp_path, usual_ports):
    first = served.connect("--metrics", "localhost:0", wait=1)
    other = served.cli.create("other")
    config = write_config(tmp_path / "other.yml", other, [])
    second = own.connect(served.cli, other, config, wait=1, name="second", args=["--metrics", "localhost:0"])
    assert [c.metrics_address() for c in (first, second)] == ["127.0.0.1:20241", "127.0.0.1:20242"]
    diag = Diag(served.cli)
    assert diag.code == 1 and diag.files == {}
    assert "Found multiple instances running:" in diag.err
    assert f"tunnel-id={served.tunnel.id}" in diag.err and f"tunnel-id={other.id}" in diag.err
    assert "metrics-address=localhost:20242" in diag.err
    chosen = Diag(served.cli, metrics="localhost:20242")
    assert json.loads(chosen.files["tunnelstate.json"])["tunnelID"] == other.id
    assert served.cli.run("tunnel", "ready").returncode == 1


def test_diag_costs_the_tunnel_nothing(served):
    """The libraries of the command are not in the connector."""
    connector = served.connect()
    Diag(served.cli, metrics=connector.metrics_address())
    with open(f"/proc/{connector.pid}/maps") as f:
        libraries = set(re.findall(r"/(lib(?:zip|curl|crypto|ssl)[^/\s]*)$", f.read(), re.MULTILINE))
    assert libraries == set()


def test_the_stock_diag_can_read_it(served):
    """`cloudflared tunnel diag` collects what it knows of from our connector."""
    from conftest import need

    need("stock")
    connector = served.connect()
    stock = Cli("stock", served.edge, served.cli.home.parent).log_in()
    done = stock.run("tunnel", "--metrics", connector.metrics_address(), "diag", "--no-diag-network",
                     "--no-diag-runtime", seconds=60)  # fmt: skip
    assert done.returncode == 0 and "Diagnostic completed" in done.stderr, done.stderr
    [path] = stock.home.glob("cloudflared-diag-*.zip")
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        names = {name.rsplit("/", 1)[-1]: name for name in archive.namelist()}
        state = json.loads(archive.read(names["tunnelstate.json"]))
        assert state["tunnelID"] == served.tunnel.id and len(state["connections"]) == 4
        results = json.loads(archive.read(names["task-result.json"]))
    assert {t["result"] for name, t in results.items() if name != "log information"} == {"success"}, results
