"""Private networks: routes and virtual networks on both command lines, and TCP to addresses behind a tunnel."""

import json
import re

import pytest
import yaml

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
