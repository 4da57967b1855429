"""Several connectors of one tunnel: who gets how much, who keeps whom, who is left out, and who takes over.

REPLICA_REQUESTS sets how many the slower ones of the measurements make (4000); `./dev test --long` makes it 10000.
"""

import collections
import http.client
import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.request

import pytest

from conftest import why_no_stock
from testenv import websocket as ws
from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.origin import Origin
from testenv.program import ADIT_EDGE, PATIENCE, check
from testenv.visitor import Raw, tls_connect
from testenv.wait import wait_until

HOST = f"app.{ZONE}"
OTHER = f"other.{ZONE}"
COOKIE = "__Host-adit_replica"
MANY = 10_000
# Where each request takes its time: `./dev test --long` makes it MANY.
SEVERAL = int(os.environ.get("REPLICA_REQUESTS", "4000"))


def tolerance(share, requests=MANY):
    """Four standard deviations of the share, were each request sent somewhere by chance: what no bad luck explains."""
    return 4 * (share * (1 - share) / requests) ** 0.5


class Replica:
    """One connector with a service of its own, which says whose it is."""

    def __init__(self, world, name, health=None, args=(), kind="adit", protocol=None):
        self.world, self.name, self.kind, self.protocol = world, name, kind, protocol
        self.count = 0
        self.lock = threading.Lock()
        self.is_well = True
        self.takes = 0  # seconds, for one answer
        self.port = 0
        self.serve()
        rule = {"hostname": HOST, "service": self.origin.service}
        if health:
            rule["healthCheck"] = health
        rules = [rule, {"hostname": OTHER, "service": "http_status:204"}]
        self.config = write_config(world.folder / f"{name}.yml", world.tunnel, rules)
        self.args = ["--label", name, *args] if kind == "adit" else args
        self.connector = None

    def serve(self):
        """The service begins, again on the port it had."""
        self.origin = Origin(port=self.port)
        self.port = self.origin.port
        self.origin.handlers["/who"] = self.say
        self.origin.handlers["/healthz"] = self.say_health

    def say(self, request):
        request.read_body()
        with self.lock:
            self.count += 1
        time.sleep(self.takes)
        request.reply(200, body=self.name.encode())

    def say_health(self, request):
        request.read_body()
        request.reply(200 if self.is_well else 503, body=b"as you see")

    def connect(self):
        world = self.world
        self.connector = world.own.connect(
            world.cli if self.kind == "adit" else world.stock_cli(),
            world.tunnel,
            self.config,
            name=f"connector-{self.name}",
            args=self.args,
            protocol=self.protocol,
        )
        return self

    def asked(self):
        """Requests that reached this connector for the host."""
        address = self.connector.metrics_address()
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=20) as page:
            text = page.read().decode()
        found = re.search(rf'adit_connector_rule_requests_total{{rule="{HOST}"}} (\d+)', text)
        return int(found[1]) if found else 0


class World:
    def __init__(self, own, folder, workers=2):
        self.own, self.folder = own, folder
        self.edge = own.edge(start=False)
        settings = self.edge.data / "edge.yml"
        settings.write_text(re.sub(r"^workers:.*$", f"workers: {workers}", settings.read_text(), flags=re.MULTILINE))
        self.edge.start()
        self.stock = None
        self.cli = own.cli(self.edge)
        self.tunnel = self.cli.create("shared")
        self.cli.route(self.tunnel, HOST, OTHER)
        self.replicas = {}

    def stock_cli(self):
        self.stock = self.stock or self.own.cli(self.edge, "stock")
        return self.stock

    def add(self, name, **kwargs):
        replica = Replica(self, name, **kwargs).connect()
        self.replicas[name] = replica
        self.edge.wait_connections(4 * sum(r.connector.is_running() for r in self.replicas.values()))
        return replica

    def balance(self, name, *args):
        return check([ADIT_EDGE, "tunnel", "balance", name, "--data", self.edge.data, *args])

    def counts(self):
        return {name: r.count for name, r in self.replicas.items()}

    def shares(self, before):
        after = self.counts()
        total = sum(after[n] - before[n] for n in after)
        return {n: (after[n] - before[n]) / total for n in after}

    def visit(self, address=None):
        """A connection that is kept; from an address of loopback."""
        connection = http.client.HTTPConnection(HOST, self.edge.https, timeout=20 * PATIENCE)
        connection.sock = tls_connect(self.edge, HOST, ["http/1.1"], source=address)
        connection.auto_open = False
        return connection

    def h2load(self, requests=MANY, clients=8, streams=4, path="/who"):
        done = subprocess.run(
            ["h2load", "-n", str(requests), "-c", str(clients), "-m", str(streams), "-t", "2",
             f"--connect-to=127.0.0.1:{self.edge.https}", f"https://{HOST}:{self.edge.https}{path}"],
            capture_output=True, text=True, check=True, timeout=100 * PATIENCE,
        )  # fmt: skip
        found = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", done.stdout)
        codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", done.stdout)
        assert found, done.stdout
        return int(codes[1]), requests - int(codes[1])

    def close(self):
        for replica in self.replicas.values():
            replica.origin.close()


@pytest.fixture
def world(own, tmp_path, request):
    w = World(own, tmp_path, **getattr(request, "param", {}))
    yield w
    w.close()


def ask(connection, cookie=None, method="GET", body=None):
    connection.request(method, "/who", body=body, headers={"Cookie": cookie} if cookie else {})
    response = connection.getresponse()
    return response, response.read().decode()


# --- shares ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["round-robin", "least"])
def test_weights_over_many_requests(world, policy):
    """With `least` the weights divide what is in flight: services that take equally long get as much of the
    requests, a slower one gets less."""
    world.add("one")
    world.add("three", args=["--weight", "3"])
    world.add("six", args=["--weight", "6"])
    world.balance("shared", "--policy", policy)
    before = world.counts()
    if policy == "least":
        for replica in world.replicas.values():
            replica.takes = 0.02
    requests = SEVERAL if policy == "least" else MANY
    assert world.h2load(requests) == (requests, 0)
    shares = world.shares(before)
    print(policy, {n: f"{s:.3f}" for n, s in shares.items()})
    for name, wanted in (("one", 0.1), ("three", 0.3), ("six", 0.6)):
        # What is in flight is a small number, and the least weight's share of it is rounded up; on a busy
        # machine there is less of it in flight.
        rounding = 0.06 if policy == "least" else 0
        assert abs(shares[name] - wanted) <= tolerance(wanted, requests) + rounding, shares


@pytest.mark.slow
@pytest.mark.parametrize("world", [{"workers": 4}], indirect=True)
def test_four_workers_share_as_one(world):
    """Sessions live on different workers, visitors too; some workers hold none of a replica's."""
    for name in ("red", "green", "blue"):
        world.add(name)
    world.add("spare", args=["--backup"])
    for policy in ("least", "round-robin"):
        world.balance("shared", "--policy", policy)
        before = world.counts()
        assert world.h2load(5000, clients=16, streams=2) == (5000, 0)
        shares = world.shares(before)
        print("four workers,", policy, {n: f"{s:.3f}" for n, s in shares.items()})
        assert shares.pop("spare") == 0
        for name, share in shares.items():
            # The least busy one is whoever the machine lets be fast.
            allowed = tolerance(1 / 3, 5000) if policy == "round-robin" else 1 / 6
            assert abs(share - 1 / 3) <= allowed, (name, shares)


@pytest.mark.slow
@pytest.mark.skipif(why_no_stock() is not None, reason=str(why_no_stock()))
def test_stock_connectors_are_replicas(world):
    """They cannot say what they are, nor whether their service saw a request: a few visitors are told that it is
    not there, then it gets no more than a probe."""
    world.add("ours", protocol="http2")
    world.add("theirs", kind="stock")
    dead = world.add("dead", kind="stock")
    world.balance("shared", "--policy", "round-robin")
    before = world.counts()
    assert world.h2load(3000) == (3000, 0)
    shares = world.shares(before)
    print("with two stock connectors", {n: f"{s:.3f}" for n, s in shares.items()})
    for share in shares.values():
        assert abs(share - 1 / 3) <= tolerance(1 / 3, 3000), shares
    dead.origin.die()
    started = time.monotonic()
    served, failed = world.h2load(3000)
    seconds = time.monotonic() - started
    print(f"{failed} of 3000 met the dead service in {seconds:.1f} s")
    # Out after three in a row; those under way at that moment, then a probe after 1 s, 2 s, 4 s …
    assert 1 <= failed <= 3 + 32 + 1 + seconds


@pytest.mark.slow
def test_backup_waits(world):
    primary = world.add("primary")
    backup = world.add("backup", args=["--backup"])
    good, bad = world.h2load()
    assert (good, bad) == (MANY, 0)
    assert (primary.count, backup.count) == (MANY, 0)
    primary.connector.stop()
    good, bad = world.h2load(2000)
    assert (good, bad) == (2000, 0)
    assert (primary.count, backup.count) == (MANY, 2000)
    primary.connect()
    world.edge.wait_connections(8)
    good, bad = world.h2load(2000)
    assert (good, bad) == (2000, 0)
    assert (primary.count, backup.count) == (MANY + 2000, 2000)


def test_backup_takes_over_from_a_dead_service(world):
    primary = world.add("primary")
    backup = world.add("backup", args=["--backup"])
    assert ask(world.visit())[1] == "primary"
    primary.origin.die()
    connection = world.visit()
    for _ in range(50):
        response, name = ask(connection, method="POST", body=b"x" * 1000)
        assert (response.status, name) == (200, "backup")
    assert backup.count == 50
    connection.close()


@pytest.mark.slow
def test_cookie_keeps_visitors(world):
    for name in ("red", "green", "blue"):
        world.add(name)
    world.balance(HOST, "--policy", "cookie")
    jars = {}  # visitor -> (cookie, replica)
    answers = collections.Counter()

    def visit_all(rounds, may_move=()):
        """Everybody comes `rounds` times; who is somewhere else than before."""
        moved = set()
        connections = [world.visit() for _ in range(4)]
        for i in range(rounds):
            for visitor in range(100):
                cookie, at = jars.get(visitor, (None, None))
                response, name = ask(connections[(visitor + i) % 4], cookie)
                assert response.status == 200
                answers[name] += 1
                new = response.getheader("Set-Cookie")
                if name == at:
                    assert not new
                    continue
                assert new, f"{visitor} is moved from {at} to {name} without a word"
                assert re.fullmatch(COOKIE + r"=[\w-]{22}; Path=/; Secure; HttpOnly; SameSite=Lax", new), new
                if at:
                    assert at in may_move, f"{visitor} moved from {at} to {name}"
                    moved.add(visitor)
                jars[visitor] = (new.split(";")[0], name)
        for connection in connections:
            connection.close()
        return moved

    visit_all(SEVERAL // 100)
    homes = collections.Counter(name for _, name in jars.values())
    print("visitors by replica", dict(homes), "requests", dict(answers))
    assert set(homes) == {"red", "green", "blue"} and min(homes.values()) >= 20
    # No cookie tells what a connector is called.
    assert len({cookie for cookie, _ in jars.values()}) == 3
    # One goes: its visitors move once, the others stay.
    lost = {v for v, (_, name) in jars.items() if name == "red"}
    world.replicas["red"].connector.stop()
    assert visit_all(5, may_move=["red"]) == lost
    # It comes back, and takes nobody away from the others.
    world.replicas["red"].connect()
    world.edge.wait_connections(12)
    assert visit_all(5) == set()
    # The other host is not concerned.
    connection = world.visit()
    connection.request("GET", "/", headers={"Host": OTHER})
    response = connection.getresponse()
    assert response.status == 204 and not response.getheader("Set-Cookie")
    connection.close()


def test_a_label_is_known_again_after_a_restart(world):
    red = world.add("red")
    world.add("blue")
    world.balance("shared", "--policy", "cookie")
    connection = world.visit()
    cookie = None
    while True:
        response, name = ask(connection)
        if name == "red":
            cookie = response.getheader("Set-Cookie").split(";")[0]
            break
    red.connector.stop()
    red.connect()
    world.edge.wait_connections(8)
    for _ in range(20):
        response, name = ask(connection, cookie)
        assert name == "red" and not response.getheader("Set-Cookie")
    connection.close()


def test_an_address_leads_to_one_replica(world):
    for name in ("red", "green", "blue"):
        world.add(name)
    world.balance("shared", "--policy", "client-hash")

    def homes():
        found = {}
        for n in range(1, 61):
            connection = world.visit(f"127.0.1.{n}")
            names = {ask(connection)[1] for _ in range(3)}
            connection.close()
            assert len(names) == 1, names
            found[n] = names.pop()
        return found

    before = homes()
    print(dict(collections.Counter(before.values())))
    assert set(before.values()) == {"red", "green", "blue"}
    world.replicas["green"].connector.stop()
    after = homes()
    assert all(after[n] == name for n, name in before.items() if name != "green")
    world.replicas["green"].connect()
    world.edge.wait_connections(12)
    assert homes() == before


# --- services that fail ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_dead_service_gets_probes_only(world):
    good, dead = world.add("good"), world.add("dead")
    connection = world.visit()
    assert {ask(connection)[1] for _ in range(20)} == {"good", "dead"}
    dead.origin.die()
    asked, started = dead.asked(), time.monotonic()
    served, failed = world.h2load()
    seconds = time.monotonic() - started
    assert (served, failed) == (MANY, 0)  # whoever was refused was sent to the other one
    asked = dead.asked() - asked
    # Out after three, then after 1 s, 2 s, 4 s …; what was under way at that moment (32 streams) comes on top.
    probes = 0
    while (1 << probes) - 1 < seconds:
        probes += 1
    print(f"{asked} requests of {MANY} in {seconds:.1f} s reached the dead replica")
    assert asked <= 3 + 32 + probes
    # Once out, nothing but probes.
    asked, started = dead.asked(), time.monotonic()
    served, failed = world.h2load(3000, clients=4, streams=1)
    asked = dead.asked() - asked
    print(f"then {asked} of 3000 in {time.monotonic() - started:.1f} s")
    assert failed == 0 and asked <= 2 + (time.monotonic() - started)
    # It heals.
    dead.serve()
    wait_until(lambda: ask(connection)[1] == "dead", "a request to the service that is back", 70)
    assert {ask(connection)[1] for _ in range(20)} == {"good", "dead"}
    metrics = world.edge.metrics()
    assert metrics['adit_edge_replica_ejections_total{event="out"}'] >= 1
    assert metrics['adit_edge_replica_ejections_total{event="back"}'] >= 1
    assert metrics["adit_edge_requests_retried_total"] >= 1
    connection.close()


def test_the_services_own_503_counts_if_asked_for(world):
    world.add("good")
    bad = world.add("bad")
    bad.origin.handlers["/who"] = lambda r: (r.read_body(), r.reply(503, body=b"busy"))
    connection = world.visit()
    statuses = collections.Counter(ask(connection)[0].status for _ in range(40))
    assert statuses[503] >= 10, statuses
    world.balance("shared", "--eject-on-5xx", "yes")

    def is_out():
        return all(ask(connection)[0].status == 200 for _ in range(6))

    wait_until(is_out, "only good answers")
    connection.close()


def test_a_websocket_goes_where_a_service_is(world):
    """Its handshake is a request like any other until a service has seen it."""
    good, dead = world.add("good"), world.add("dead")
    good.origin.handlers["/socket"] = ws.serve_echo
    dead.origin.die()
    for _ in range(8):
        raw = Raw(world.edge, HOST)
        assert ws.open_through(raw, "/socket").status == 101
        raw.send(ws.frame(ws.TEXT, b"hello", masked=True))
        assert ws.read_frame(raw.reader) == (ws.TEXT, b"hello")
        raw.close()
    assert world.edge.metrics()["adit_edge_requests_retried_total"] >= 1


def test_all_dead_is_told_as_it_is(world):
    one, two = world.add("one"), world.add("two")
    one.origin.die()
    two.origin.die()
    connection = world.visit()
    for _ in range(20):
        response, page = ask(connection)
        assert response.status == 502
        # The page names the hop that failed.
        assert "Service unreachable" in page and "ECONNREFUSED" in page
    one.serve()
    wait_until(lambda: ask(connection)[0].status == 200, "an answer from the service that is back", 70)
    connection.close()


# --- replicas that leave under load ------------------------------------------------------------------------


class Load:
    """Visitors who ask again and again, one request at a time each; what fails is kept."""

    def __init__(self, world, visitors=8):
        self.world = world
        self.served, self.failed = 0, []
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.started = time.monotonic()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(visitors)]
        for thread in self.threads:
            thread.start()

    def run(self):
        connection = self.world.visit()
        while not self.over.is_set():
            try:
                response, _ = ask(connection, method="POST", body=b"once")
                with self.lock:
                    if response.status == 200:
                        self.served += 1
                    else:
                        self.failed.append(response.status)
            except (OSError, http.client.HTTPException) as e:
                with self.lock:
                    self.failed.append(repr(e))
                connection = self.world.visit()
        connection.close()

    def wait_served(self, more):
        goal = self.served + more
        wait_until(lambda: self.served >= goal, f"{more} more served", 60 * PATIENCE)

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join(30 * PATIENCE)
            assert not thread.is_alive(), "a visitor is left waiting"
        rate = self.served / (time.monotonic() - self.started)
        print(f"{self.served} served at {rate:.0f}/s, failed: {self.failed}")
        return self.failed


@pytest.mark.slow
@pytest.mark.parametrize("policy, protocol", [("least", "http2"), ("round-robin", "http2"), ("least", "quic")])
def test_kill_costs_what_was_in_flight(world, policy, protocol):
    """Over QUIC no FIN tells of a dead program: its host's word that the port is closed does."""
    one = world.add("one", protocol=protocol)
    world.add("two", protocol=protocol)
    world.balance("shared", "--policy", policy)
    load = Load(world)
    load.wait_served(500)
    one.connector.kill()
    killed = time.monotonic()
    world.edge.wait_connections(4)
    print(f"KILLED {protocol}: the edge knew after {time.monotonic() - killed:.2f} s")
    load.wait_served(1000)
    one.connect()
    world.edge.wait_connections(8)
    load.wait_served(500)
    # Eight visitors have eight requests in flight, half of them there.
    assert len(load.end()) <= 8


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["least", "round-robin", "cookie"])
def test_leaving_and_rolling_restart_cost_nothing(world, policy):
    replicas = [world.add("one"), world.add("two")]
    world.balance("shared", "--policy", policy)
    load = Load(world)
    load.wait_served(300)
    for replica in replicas * 2:
        replica.connector.signal(signal.SIGTERM)
        assert replica.connector.wait() == 0
        load.wait_served(200)
        replica.connect()
        world.edge.wait_connections(8)
        load.wait_served(200)
    assert load.end() == []


# --- checks by the connector -----------------------------------------------------------------------------------


def service_states(world):
    """As `adit tunnel info` gives them to programs: label -> state of its first service."""
    info = json.loads(world.cli.check("tunnel", "info", "--output", "json", world.tunnel.name))
    return {
        c["adit"]["label"]: c["adit"]["services"][0]["state"] if c["adit"]["services"] else "unchecked"
        for c in info["conns"]
    }


@pytest.mark.parametrize("protocol", ["http2", "quic"])
def test_a_check_takes_a_replica_out_and_back_in(world, protocol):
    health = {"path": "/healthz", "interval": "1s", "threshold": 1, "expectedCodes": "200"}
    one, two = (world.add(name, health=health, protocol=protocol) for name in ("one", "two"))
    wait_until(lambda: service_states(world) == {"one": "healthy", "two": "healthy"}, "healthy services")
    connection = world.visit()
    assert {ask(connection)[1] for _ in range(10)} == {"one", "two"}

    # The service still answers visitors; only its check says that it should get none.
    one.is_well = False
    one.connector.wait_log(r"A service is down")
    wait_until(lambda: service_states(world)["one"] == "unhealthy", "a service that is down")
    before = one.count
    assert {ask(connection)[1] for _ in range(50)} == {"two"}
    assert one.count == before

    # The tunnel is well; that a service is down is another fact, everywhere.
    info = world.cli.check("tunnel", "info", world.tunnel.name)
    assert re.search(r"one\s.*unhealthy", info) and re.search(r"two\s.*healthy", info), info
    listed = json.loads(check([ADIT_EDGE, "tunnel", "list", "--json", "--data", world.edge.data]))[0]
    assert listed["status"] == "healthy"
    assert listed["adit"]["services"] == {"status": "degraded", "healthy": 1, "unhealthy": 1, "unknown": 0}
    status = json.loads(check([ADIT_EDGE, "status", "--json", "--data", world.edge.data]))["edge"]
    assert (status["connectors"], status["services_checked"], status["services_unhealthy"]) == (2, 2, 1)
    metrics = world.edge.metrics()
    assert metrics["adit_edge_connectors"] == 2
    assert metrics['adit_edge_services{state="checked"}'] == 2
    assert metrics['adit_edge_services{state="unhealthy"}'] == 1
    with urllib.request.urlopen(f"http://{one.connector.metrics_address()}/diag/tunnel", timeout=20) as page:
        shown = json.load(page)["adit"]["services"]
    assert shown[0]["state"] == "unhealthy" and "503" in shown[0]["error"]
    with urllib.request.urlopen(f"http://{one.connector.metrics_address()}/metrics", timeout=20) as page:
        assert re.search(r"adit_connector_service_up\{[^}]*\} 0\n", page.read().decode())

    # When all are down, somebody is asked all the same.
    two.is_well = False
    wait_until(lambda: set(service_states(world).values()) == {"unhealthy"}, "services that are down")
    assert {ask(connection)[1] for _ in range(20)} == {"one", "two"}

    one.is_well = True
    one.connector.wait_log(r"A service is up again")
    wait_until(lambda: service_states(world)["one"] == "healthy", "the service that is back")
    assert {ask(connection)[1] for _ in range(20)} == {"one"}
    two.is_well = True
    wait_until(lambda: service_states(world)["two"] == "healthy", "the other service that is back")
    assert {ask(connection)[1] for _ in range(10)} == {"one", "two"}
    connection.close()


def test_checks_follow_a_reload(world):
    health = {"path": "/healthz", "interval": "1s", "threshold": 1}
    one = world.add("one", health=health)
    one.is_well = False
    wait_until(lambda: service_states(world) == {"one": "unhealthy"}, "a service that is down")
    config = json.loads(one.config.read_text())
    del config["ingress"][0]["healthCheck"]
    one.config.write_text(json.dumps(config))
    one.connector.signal(signal.SIGHUP)
    wait_until(lambda: service_states(world) == {"one": "unchecked"}, "a service nobody checks")
    config["ingress"][0]["healthCheck"] = health
    one.config.write_text(json.dumps(config))
    one.connector.signal(signal.SIGHUP)
    wait_until(lambda: service_states(world) == {"one": "unhealthy"}, "a service that is down again")


def test_a_new_connection_hears_of_it_again(world):
    """The edge forgets with its last connection, and is told anew."""
    health = {"path": "/healthz", "interval": "1s", "threshold": 1}
    one = world.add("one", health=health)
    one.is_well = False
    wait_until(lambda: service_states(world) == {"one": "unhealthy"}, "a service that is down")
    world.edge.kill()
    world.edge.start()
    world.edge.wait_connections(4, seconds=60)
    wait_until(lambda: service_states(world) == {"one": "unhealthy"}, "a service that is down, told again")
