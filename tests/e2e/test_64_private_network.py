"""Private networks: routes and virtual networks on both command lines, and TCP to addresses behind a tunnel."""

import base64
import json
import random
import re
import socket
import threading
import urllib.request

import pytest
import yaml

from testenv import net, postgres
from testenv.connector import Cli, write_config
from testenv.origin import TcpService
from testenv.program import ADIT, Program, clean_env, run
from testenv.wait import exactly, wait_until

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
NOBODY = "f4b2f4a0-7c10-4f8e-9d8c-111111111111"


@pytest.fixture
def cli(own, kind):
    return own.cli(own.edge(), kind)


def failed(done, code, *texts):
    """The exit status, and what stderr has: log lines may come before."""
    assert done.returncode == code, done
    for text in texts:
        assert text in done.stderr, (text, done.stderr)


# --- route ip ------------------------------------------------------------------------------------------


def test_routes_are_added_shown_and_deleted(cli):
    tunnel = cli.create("office")
    empty = cli.run("tunnel", "route", "ip", "show")
    assert empty.returncode == 0
    assert empty.stdout == ("No routes were found for the given filter flags. You can use "
                            f"'{cli.word} tunnel route ip add' to add a route.\n")  # fmt: skip
    done = cli.run("tunnel", "route", "ip", "add", "10.0.0.7/8", "office", "the office")
    assert (done.returncode, done.stdout) == (0, f"Successfully added route for 10.0.0.0/8 over tunnel {tunnel.id}\n")
    done = cli.run("tunnel", "route", "ip", "add", "fd00::/8", tunnel.id)
    assert (done.returncode, done.stdout) == (0, f"Successfully added route for fd00::/8 over tunnel {tunnel.id}\n")

    lines = cli.check("tunnel", "route", "ip", "show").splitlines()
    assert re.fullmatch(r"ID +NETWORK +VIRTUAL NET ID +COMMENT +TUNNEL ID +TUNNEL NAME +CREATED +DELETED ", lines[0])
    row = re.fullmatch(rf"({UUID}) 10\.0\.0\.0/8 ({UUID}) the office {tunnel.id} office +{TIME} - +", lines[1])
    assert row, lines
    assert re.fullmatch(rf"{UUID} fd00::/8 +{row[2]} +{tunnel.id} office +{TIME} - +", lines[2])
    assert [len(line) for line in lines] == [len(lines[0])] * 3

    said = json.loads(cli.check("tunnel", "route", "ip", "list", "-o", "json"))
    assert list(said[0]) == ["id", "network", "tunnel_id", "virtual_network_id", "comment", "created_at", "deleted_at",
                             "tunnel_name"]  # fmt: skip
    assert said[0]["id"] == row[1] and said[0]["deleted_at"] == "0001-01-01T00:00:00Z"
    said = yaml.safe_load(cli.check("tunnel", "route", "ip", "list", "-o", "yaml"))
    assert set(said[0]) == {"id", "network", "tunnelid", "vnetid", "comment", "createdat", "deletedat", "tunnelname"}
    failed(cli.run("tunnel", "route", "ip", "show", "-o", "xml"), 1, "Unknown output format 'xml'")

    found = cli.check("tunnel", "route", "ip", "get", "10.1.2.3").splitlines()
    assert found[0].startswith("ID ") and row[1] in found[1] and len(found) == 2
    assert "fd00::/8" in cli.check("tunnel", "route", "ip", "get", "fd00::1")
    assert cli.check("tunnel", "route", "ip", "get", "192.0.2.1") == "No route matches the IP 192.0.2.1\n"

    done = cli.run("tunnel", "route", "ip", "delete", "10.0.0.0/8")
    assert (done.returncode, done.stdout) == (0, f"Successfully deleted route with ID {row[1]}\n")
    assert row[1] not in cli.check("tunnel", "route", "ip", "show")
    gone = cli.check("tunnel", "route", "ip", "show", "--filter-is-deleted").splitlines()
    assert re.fullmatch(rf"{row[1]} .* {TIME} {TIME} ", gone[1])
    other = re.search(UUID, lines[2])[0]
    assert cli.check("tunnel", "route", "ip", "delete", other) == f"Successfully deleted route with ID {other}\n"


def test_the_smallest_network_is_chosen_and_the_same_one_is_refused(cli):
    big, small = cli.create("big"), cli.create("small")
    cli.check("tunnel", "route", "ip", "add", "10.0.0.0/8", "big")
    cli.check("tunnel", "route", "ip", "add", "10.9.0.0/16", "small")
    assert small.id in cli.check("tunnel", "route", "ip", "get", "10.9.1.1")
    assert big.id in cli.check("tunnel", "route", "ip", "get", "10.8.1.1")
    failed(cli.run("tunnel", "route", "ip", "add", "10.9.1.1/16", "big"), 1,
           "API error: Failed to add route: code: 1014, reason: You already have a route defined for this exact IP "
           "subnet")  # fmt: skip
    cli.check("tunnel", "route", "ip", "delete", "10.9.0.0/16")
    assert big.id in cli.check("tunnel", "route", "ip", "get", "10.9.1.1")
    cli.check("tunnel", "route", "ip", "add", "10.9.0.0/16", "big")  # it is free again


def test_filters_of_routes(cli):
    one, two = cli.create("one"), cli.create("two")
    for network, tunnel, comment in (("10.0.0.0/8", "one", "a"), ("10.1.0.0/16", "one", "b"), ("10.1.2.0/24", "two", "b"),
                                     ("fd00::/8", "two", "c")):  # fmt: skip
        cli.check("tunnel", "route", "ip", "add", network, tunnel, comment)

    def networks(*args):
        return {r["network"] for r in json.loads(cli.check("tunnel", "route", "ip", "show", "-o", "json", *args)) or []}

    assert networks("--filter-tunnel-id", one.id) == {"10.0.0.0/8", "10.1.0.0/16"}
    assert networks("--filter-comment-is", "b", "--filter-tunnel-id", two.id) == {"10.1.2.0/24"}
    assert networks("--filter-network-is-superset-of", "10.1.0.0/16") == {"10.0.0.0/8", "10.1.0.0/16"}
    # cloudflared sends what it asks of a subset as the question about a superset.
    inside = {"10.1.0.0/16", "10.1.2.0/24"} if cli.kind == "adit" else {"10.0.0.0/8", "10.1.0.0/16"}
    assert networks("--nsub", "10.1.0.0/16") == inside
    if cli.kind == "adit":
        assert networks("--nsub", "::/0") == {"fd00::/8"} and networks("--nsub", "0.0.0.0/0") == networks() - {"fd00::/8"}
    failed(cli.run("tunnel", "route", "ip", "show", "--nsub", "10.0.0.0"), 1,
           "invalid config for routing filters: invalid CIDR address: 10.0.0.0")  # fmt: skip
    failed(cli.run("tunnel", "route", "ip", "show", "--filter-tunnel-id", "zz"), 1,
           "invalid config for routing filters: Couldn't parse UUID from filter-tunnel-id: ")  # fmt: skip
    failed(cli.run("tunnel", "route", "ip", "show", "--filter-vnet-id", "zz"), 1,
           "invalid config for routing filters: Couldn't parse UUID from filter-vnet-id: ")  # fmt: skip


def test_refusals_of_routes(cli):
    cli.create("office")
    failed(cli.run("tunnel", "route", "ip", "add", "10.0.0.0/8"), 1,
           "You must supply at least 2 arguments, first the network you wish to route (in CIDR form e.g. 1.2.3.4/32) and "
           "then the tunnel ID to proxy with")  # fmt: skip
    failed(cli.run("tunnel", "route", "ip", "add", "10.0.0.0", "office"), 1,
           "Invalid network CIDR: invalid CIDR address: 10.0.0.0")  # fmt: skip
    failed(cli.run("tunnel", "route", "ip", "add", "10.0.0.0/8", "nobody"), 1,
           "Invalid tunnel: nobody is neither the ID nor the name of any of your tunnels")  # fmt: skip
    failed(cli.run("tunnel", "route", "ip", "add", "10.0.0.0/8", NOBODY), 1, "API error: Failed to add route: code: 1020, reason: ")
    failed(cli.run("tunnel", "route", "ip", "add", "--vnet", "nowhere", "10.0.0.0/8", "office"), 1,
           "there should only be 1 non-deleted virtual network named nowhere")  # fmt: skip
    for args in ((), ("10.0.0.0",), ("a", "b")):
        failed(cli.run("tunnel", "route", "ip", "delete", *args), 1,
               "You must supply exactly one argument, the ID or CIDR of the route you want to delete")  # fmt: skip
    failed(cli.run("tunnel", "route", "ip", "delete", "10.0.0.0/8"), 1, "unable to find route for provided network and vnet")
    failed(cli.run("tunnel", "route", "ip", "delete", NOBODY), 1, "API error: Failed to delete route: code: 1020, reason: ")
    failed(cli.run("tunnel", "route", "ip", "get", "office"), 1, "Invalid IP office")
    failed(cli.run("tunnel", "route", "ip", "get"), 1, "You must supply exactly one argument, an IP whose route will be queried")


def test_a_tunnel_with_routes_is_deleted_only_with_them(cli):
    tunnel = cli.create("office")
    cli.check("tunnel", "route", "ip", "add", "10.0.0.0/8", "office")
    failed(cli.run("tunnel", "delete", "office"), 1, f"Error deleting tunnel {tunnel.id}: Failed to delete tunnel: code: 1105, "
           "reason: Cannot delete tunnel because it has 1 private network route (10.0.0.0/8)")  # fmt: skip
    assert cli.run("tunnel", "delete", "-f", "office").returncode == 0
    assert "No routes" in cli.check("tunnel", "route", "ip", "show")
    assert "10.0.0.0/8" in cli.check("tunnel", "route", "ip", "show", "--filter-is-deleted")


# --- vnet ----------------------------------------------------------------------------------------------


def test_virtual_networks_are_added_listed_changed_and_deleted(cli):
    lines = cli.check("tunnel", "vnet", "list").splitlines()
    assert re.fullmatch(r"ID +NAME +IS DEFAULT +COMMENT +CREATED +DELETED ", lines[0])
    assert re.fullmatch(rf"{UUID} default true +.*{TIME} - +", lines[1]) and len(lines) == 2
    done = cli.run("tunnel", "vnet", "add", "lab", "in the cellar")
    assert done.returncode == 0
    match = re.fullmatch(
        rf"Successfully added virtual 'network' lab with ID: ({UUID})\nYou can now add IP routes attached to this virtual "
        rf"network\. See `{cli.word} tunnel route ip add -help`\n",
        done.stdout,
    )
    assert match, done.stdout
    done = cli.run("tunnel", "vnet", "add", "--default", "main")
    assert re.match(rf"Successfully added virtual 'network' main with ID: {UUID} \(as the new default for this account\) \n",
                    done.stdout), done.stdout  # fmt: skip

    def names(*args):
        return [v["name"] for v in json.loads(cli.check("tunnel", "vnet", "list", "-o", "json", *args)) or []]

    assert names() == ["default", "lab", "main"]
    assert names("--is-default") == ["main"] and names("--is-default=false") == ["default", "lab"]
    assert names("--name", "lab") == ["lab"] == names("--id", match[1])
    said = json.loads(cli.check("tunnel", "vnet", "list", "-o", "json", "--name", "lab"))[0]
    assert list(said) == ["id", "comment", "name", "is_default_network", "created_at", "deleted_at"]
    assert said["comment"] == "in the cellar" and said["deleted_at"] == "0001-01-01T00:00:00Z"
    said = yaml.safe_load(cli.check("tunnel", "vnet", "list", "-o", "yaml"))[0]
    assert set(said) == {"id", "comment", "name", "isdefault", "createdat", "deletedat"}

    done = cli.run("tunnel", "vnet", "update", "--name", "attic", "--comment", "upstairs", "lab")
    assert (done.returncode, done.stdout) == (0, "Successfully updated virtual network 'lab'\n")
    assert cli.check("tunnel", "vnet", "update", "--default", match[1]) == f"Successfully updated virtual network '{match[1]}'\n"
    assert names("--is-default") == ["attic"]
    assert "upstairs" in cli.check("tunnel", "vnet", "list")
    done = cli.run("tunnel", "vnet", "delete", "main")
    assert (done.returncode, done.stdout) == (0, "Successfully deleted virtual network 'main'\n")
    assert names() == ["default", "attic"] and names("--show-deleted") == ["main"]
    assert cli.check("tunnel", "vnet", "list", "--name", "nobody").startswith(
        "No virtual networks were found for the given filter flags. You can use "
        f"'{cli.word} tunnel vnet add' to add a virtual network."
    )


def test_refusals_of_virtual_networks(cli):
    cli.check("tunnel", "vnet", "add", "lab")
    failed(cli.run("tunnel", "vnet", "add", "lab"), 1,
           "Could not add virtual network: Failed to add virtual network: code: 1102, reason: ")  # fmt: skip
    failed(cli.run("tunnel", "vnet", "add"), 1,
           "You must supply at least 1 argument, the name of the virtual network you wish to add.")  # fmt: skip
    failed(cli.run("tunnel", "vnet", "delete", "nobody"), 1, "there should only be 1 non-deleted virtual network named nobody")
    failed(cli.run("tunnel", "vnet", "delete"), 1,
           "You must supply exactly one argument, either the ID or name of the virtual network to delete")  # fmt: skip
    failed(cli.run("tunnel", "vnet", "delete", "default"), 1,
           "API error: Failed to delete virtual network: code: 1104, reason: ")  # fmt: skip
    failed(cli.run("tunnel", "vnet", "update", "--default=false", "default"), 1,
           "API error: Failed to update virtual network: code: 1104, reason: ")  # fmt: skip
    failed(cli.run("tunnel", "vnet", "update", "--name", "lab", "default"), 1,
           "API error: Failed to update virtual network: code: 1102, reason: ")  # fmt: skip
    failed(cli.run("tunnel", "vnet", "update"), 1,
           "You must supply exactly one argument, either the ID or (current) name of the virtual network to update")  # fmt: skip
    failed(cli.run("tunnel", "vnet", "list", "--id", "zz"), 1,
           "invalid flags for filtering virtual networks: zz is not a valid virtual network ID")  # fmt: skip


def test_virtual_networks_keep_the_same_addresses_apart(cli):
    here, there = cli.create("here"), cli.create("there")
    cli.check("tunnel", "vnet", "add", "lab")
    cli.check("tunnel", "route", "ip", "add", "10.0.0.0/8", "here")
    done = cli.run("tunnel", "route", "ip", "add", "--vnet", "lab", "10.0.0.0/8", "there")
    assert done.returncode == 0, done
    assert here.id in cli.check("tunnel", "route", "ip", "get", "10.0.0.1")
    assert there.id in cli.check("tunnel", "route", "ip", "get", "--vnet", "lab", "10.0.0.1")
    failed(cli.run("tunnel", "vnet", "delete", "lab"), 1, "API error: Failed to delete virtual network: code: 1103, reason: "
           "the virtual network still has 1 route; --force deletes it, too")  # fmt: skip
    # Which one is meant has to be said: there are two.
    failed(cli.run("tunnel", "route", "ip", "delete", "10.0.0.0/8"), 1, "unable to find route for provided network and vnet")
    assert cli.run("tunnel", "vnet", "delete", "--force", "lab").returncode == 0
    assert cli.check("tunnel", "route", "ip", "show").count("10.0.0.0/8") == 1
    assert cli.run("tunnel", "route", "ip", "delete", "10.0.0.0/8").returncode == 0


# --- TCP -----------------------------------------------------------------------------------------------


class Network:
    """An edge, a tunnel with a connector of one kind, and an echo server whose address is routed to it. People use
    adit: cloudflared has no client for private networks, WARP is another product."""

    def __init__(self, own, kind, tmp_path, warp=None):
        self.own, self.kind = own, kind
        self.edge = own.edge()
        self.cli = own.cli(self.edge)
        self.tunnel = self.cli.create("office")
        more = {"warp-routing": {"allow": ["127.0.0.0/8"]} if warp is None else warp}
        config = write_config(tmp_path / "private.yml", self.tunnel, [], **more)
        self.host = self.cli if kind == "adit" else own.cli(self.edge, "stock")
        self.connector = own.connect(self.host, self.tunnel, config)
        self.cli.check("tunnel", "route", "ip", "add", "127.0.0.0/8", "office")
        self.service = TcpService()
        self.service.handler = self.echo
        self.address = f"127.0.0.1:{self.service.port}"

    @staticmethod
    def echo(sock):
        """What comes goes back; its end ends with a word of our own."""
        while data := sock.recv(65536):
            sock.sendall(data)
        sock.sendall(b"<end>")

    def access(self, *args, destination=None, **kwargs):
        return self.cli.run("access", "tcp", "--destination", destination or self.address, *args, **kwargs)

    def listen(self, *args, destination=None):
        """`adit access tcp --url`: the port."""
        port = net.free_port()
        program = Program("access", [ADIT, "access", "tcp", "--destination", destination or self.address, *args,
                                     "--url", f"127.0.0.1:{port}"], self.cli.home, self.cli.env())  # fmt: skip
        self.own.helpers.append(program)
        program.wait_log("Start Websocket listener")
        return port


@pytest.fixture
def private(own, kind, tmp_path):
    network = Network(own, kind, tmp_path)
    yield network
    network.service.close()


def metrics_of(connector):
    with urllib.request.urlopen(f"http://{connector.metrics_address()}/metrics", timeout=20) as page:
        return page.read().decode()


def test_bytes_go_there_and_back(private):
    done = private.access(input="hello")
    # A stock connector ends both directions a while after one has ended.
    assert (done.returncode, done.stdout) == (0, "hello<end>" if private.kind == "adit" else "hello"), done
    private.edge.wait_idle()
    assert private.edge.metrics()["adit_edge_private_connections"] == 0
    assert private.edge.metrics()["adit_edge_private_connections_total"] == 1
    text = metrics_of(private.connector)
    active, total = (re.search(rf"^(?:cloudflared_)?tcp_{word}_sessions (\d+)", text, re.MULTILINE) for word in ("active", "total"))
    assert (active[1], total[1]) == ("0", "1"), text
    line = private.edge.program.wait_log(rf"connection to a private network.* destination={re.escape(private.address)}")
    assert line


def test_the_control_host_may_be_named(private):
    assert private.access("--hostname", f"{private.edge.control}:{private.edge.https}", input="x").stdout.startswith("x")


def test_much_goes_both_ways_at_once(private):
    size = 8 << 20
    data = random.Random(4711).randbytes(size)
    port = private.listen()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
        sender = threading.Thread(target=s.sendall, args=(data,))
        sender.start()
        got = b""
        while len(got) < size:
            part = s.recv(1 << 20)
            assert part, len(got)
            got += part
        sender.join()
    assert got == data
    private.edge.wait_idle()


def test_many_connections_over_all_sessions(private):
    port = private.listen()
    socks = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(60)]
    for i, s in enumerate(socks):
        s.sendall(b"%04d" % i)
    for i, s in enumerate(socks):
        assert exactly(s, 4) == b"%04d" % i
    assert private.edge.metrics()["adit_edge_private_connections"] == 60
    for s in socks:
        s.close()
    private.edge.wait_idle()


def test_each_side_may_end_first(private):
    port = private.listen()
    private.service.handler = lambda sock: sock.sendall(b"greeting")
    with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
        assert s.makefile("rb").read() == b"greeting"
    said = []

    def listen_only(sock):
        said.append(sock.makefile("rb").read())

    private.service.handler = listen_only
    with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
        s.sendall(b"farewell")
    wait_until(lambda: said == [b"farewell"], "what was said before the end", 30)
    private.edge.wait_idle()


def test_a_service_that_is_away(private):
    port = net.free_port()
    done = private.access(destination=f"127.0.0.1:{port}")
    assert done.returncode == 1
    if private.kind == "adit":
        assert "Destination unreachable" in done.stderr and "Connection refused" in done.stderr, done
    else:
        assert "502" in done.stderr, done


def test_who_has_no_certificate_is_refused(private, tmp_path):
    stranger = Cli("adit", private.edge, tmp_path / "elsewhere")
    stranger.dot.mkdir(mode=0o700, parents=True)
    # Without one nobody knows which edge is meant.
    done = stranger.run("access", "tcp", "--destination", private.address)
    assert done.returncode == 1 and "--destination without --hostname needs the certificate of an edge" in done.stderr
    # With another token the edge says no.
    text = private.edge.cert()
    body = "".join(line for line in text.splitlines() if not line.startswith("-"))
    said = json.loads(base64.b64decode(body))
    said["apiToken"] = "x" * len(said["apiToken"])
    forged = base64.encodebytes(json.dumps(said).encode()).decode()
    stranger.cert.write_text(f"-----BEGIN ARGO TUNNEL TOKEN-----\n{forged}-----END ARGO TUNNEL TOKEN-----\n")
    done = stranger.run("access", "tcp", "--destination", private.address)
    assert done.returncode == 1 and "401" in done.stderr and "Not logged in" in done.stderr, done
    for path in ("/cdn-cgi/adit/tcp", "/cdn-cgi/adit/tcp?x"):
        reply = run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", private.edge.ca, "-H", "Upgrade: websocket",
                     "-H", "Connection: Upgrade", "-H", "Sec-WebSocket-Version: 13", "-H", "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
                     "-H", f"Cf-Access-Jump-Destination: {private.address}", "--http1.1",
                     f"{private.edge.public_url}{path}"])  # fmt: skip
        assert reply.stdout in ("401", "404"), reply
    assert not private.service.connections


def test_what_has_no_route_is_refused_at_the_edge(private):
    def refused(*args, destination):
        done = private.access(*args, destination=destination)
        assert done.returncode == 1, done
        return done.stderr

    assert "No tunnel leads to 10.0.0.1:80 in the virtual network default" in refused(destination="10.0.0.1:80")
    assert "No tunnel leads to [::1]:80" in refused(destination="[::1]:80")
    assert "nobody there is asked for names" in refused(destination="db.internal:5432")
    assert "nobody there is asked for names" in refused(destination="127.0.0.1")
    assert "has no virtual network lab" in refused("--vnet", "lab", destination=private.address)
    private.cli.check("tunnel", "vnet", "add", "lab")
    assert "No tunnel leads to" in refused("--vnet", "lab", destination=private.address)
    private.cli.check("tunnel", "route", "ip", "add", "--vnet", "lab", "127.0.0.1/32", "office")
    assert private.access("--vnet", "lab", input="x").stdout.startswith("x")
    private.cli.check("tunnel", "route", "ip", "delete", "127.0.0.0/8")
    assert "No tunnel leads to" in refused(destination=private.address)
    assert private.access("--vnet", "lab", input="x").stdout.startswith("x")
    done = private.access("--vnet", "lab", "--hostname", "app.example.com")
    assert done.returncode == 1 and "virtual networks are reached at the control host" in done.stderr, done


def test_no_connector_is_there(private):
    private.connector.stop()
    private.edge.wait_connections(0)
    done = private.access()
    assert done.returncode == 1 and "Tunnel not connected" in done.stderr, done


@pytest.fixture(scope="module")
def database():
    server = postgres.Postgres()
    yield server
    server.close()


def test_postgres_behind_it(private, database):
    port = private.listen(destination=f"127.0.0.1:{database.port}")
    done = run(["psql", "-h", "127.0.0.1", "-p", str(port), "-U", "adit", "-d", "postgres", "-At", "-c",
                "select sum(n) from generate_series(1, 100000) n"], env=clean_env())  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "5000050000\n"), done


# --- What the connector lets pass: ours only --------------------------------------------------------------


@pytest.fixture
def network(own, tmp_path):
    made = []

    def make(warp):
        made.append(Network(own, "adit", tmp_path, warp))
        return made[-1]

    yield make
    for n in made:
        n.service.close()


@pytest.mark.parametrize(
    "warp, words",
    [
        ({"enabled": False}, "warp-routing: {enabled: true}"),
        ({}, "a loopback address of the connector's own host"),
        ({"allow": ["10.0.0.0/8"]}, "none of the networks of warp-routing.allow"),
    ],
)
def test_the_connector_has_the_last_word(network, warp, words):
    n = network(warp)
    done = n.access()
    assert done.returncode == 1 and "403" in done.stderr and words in done.stderr, done
    assert not n.service.connections
    n.connector.wait_log("The request was refused")


def test_the_connectors_own_metrics_are_not_reached(network):
    n = network({"allow": ["0.0.0.0/0"]})
    done = n.access(destination=n.connector.metrics_address())
    assert done.returncode == 1 and "its own API listens there" in done.stderr, done


def test_no_more_flows_than_allowed(network):
    n = network({"allow": ["127.0.0.0/8"], "maxActiveFlows": 2})
    port = n.listen()
    held = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(2)]
    for s in held:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
    done = n.access()
    assert done.returncode == 1 and "429" in done.stderr and "maxActiveFlows" in done.stderr, done
    for s in held:
        s.close()
    n.edge.wait_idle()
    assert n.access(input="y").stdout.startswith("y")


def test_new_rules_count_for_new_connections(network, tmp_path):
    n = network({"allow": ["127.0.0.0/8"]})
    assert n.access(input="x").stdout.startswith("x")
    config = tmp_path / "private.yml"
    said = json.loads(config.read_text())
    said["warp-routing"] = {"allow": ["10.0.0.0/8"]}
    config.write_text(json.dumps(said))
    n.connector.wait_log("Updated to new configuration")
    assert "none of the networks" in n.access().stderr
