"""Name servers beside the edge: secondaries that follow it, and servers of others that it updates."""

import json
import re
import shutil

import pytest

from conftest import Own
from testenv import net, pebble as pebbles
from testenv.acme import Place, wait_issued
from testenv.name_servers import ZONE, Key, Knot, Named, Nsd, dig, serial, short, transferred, verify
from testenv.program import check, run
from testenv.wait import wait_until

NEEDED = ("dig", "kdig", "nsd", "knotd", "named", "ldns-verify-zone")
pytestmark = pytest.mark.skipif(
    any(not shutil.which(p, path="/usr/sbin:/usr/bin:/sbin:/bin") for p in NEEDED), reason=f"needs {' '.join(NEEDED)}"
)

ADDRESS, ADDRESS6 = "192.0.2.7", "2001:db8::7"
SECRET = "c2VjcmV0IG9mIDMyIGJ5dGVzLCBubyBsZXNzLCBvaw=="
WRONG = "YW5vdGhlciBzZWNyZXQsIHdoaWNoIGlzIHdyb25nISE="
KEY = Key("peers.example", SECRET)


@pytest.fixture
def own(tmp_path):
    own = Own(tmp_path)
    yield own
    own.close()


class Names:
    """An edge that serves names, and a command line that routes some."""

    def __init__(self, own, serves=True):
        self.port = net.free_port()
        dns = f'dns: "127.0.0.1:{self.port}"\n' if serves else ""
        self.edge = own.edge(
            settings=f'{dns}dns-address: ["{ADDRESS}", "{ADDRESS6}"]\ndns-nameserver: "ns.example.net=192.0.2.53"\n'
            if serves else f'dns-address: ["{ADDRESS}", "{ADDRESS6}"]\n'
        )  # fmt: skip
        self.cli = own.cli(self.edge)
        self.cli.create("home")
        done = self.edge.command("dns", "key", "add", KEY.name, "--stdin", input=SECRET + "\n")
        assert done.returncode == 0, done

    def route(self, *names, overwrite=False):
        for name in names:
            more = ["--overwrite-dns"] if overwrite else []
            done = self.cli.run("tunnel", "route", "dns", *more, "home", name)
            assert done.returncode == 0, done

    def remove(self, name):
        done = self.edge.command("route", "remove", name)
        assert done.returncode == 0, done

    def command(self, *args):
        done = self.edge.command(*args)
        assert done.returncode == 0, done
        return done.stdout

    def status(self):
        return json.loads(self.command("status", "--json"))

    def updates(self):
        """The zones, of which there is one, and names with trouble."""
        said = self.status()["dns_updates"]
        return {**said["zones"][0], "troubles": said["troubles"]}


# --- secondaries ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ("nsd", "knot"))
def test_a_secondary_follows_by_notify_and_gets_changes_only(own, tmp_path, kind):
    names = Names(own)
    names.route("app.example.com", "*.apps.example.com")
    names.command("dns", "add", "example.com", "MX", "10", "mail.example.net.")
    server = Nsd(tmp_path, names.port, KEY) if kind == "nsd" else Knot(tmp_path, KEY, names.port)
    own.helpers.append(server.program)
    server.wait_answers()
    names.command("dns", "secondary", "add", f"127.0.0.1:{server.port}", "--key", KEY.name)
    server.wait_serial(names.port)
    assert short(server.port, "app.example.com", "A") == [ADDRESS]
    assert short(server.port, "x.apps.example.com", "AAAA") == [ADDRESS6]
    assert short(server.port, "example.com", "MX") == ["10 mail.example.net."]
    verify(transferred(server.port, tmp_path))
    # Its refresh time is an hour: what it knows a moment later it was told.
    for i in range(3):
        before = serial(names.port)
        names.route(f"more{i}.example.com")
        wait_until(lambda: serial(names.port) != before, "new serial of the edge", 30)
        server.wait_serial(names.port)
        assert short(server.port, f"more{i}.example.com", "A") == [ADDRESS]
    names.remove("app.example.com")
    wait_until(lambda: not short(names.port, "app.example.com", "A"), "name that is gone", 30)
    server.wait_serial(names.port)
    assert "NXDOMAIN" in dig(server.port, "app.example.com", "A")
    verify(transferred(server.port, tmp_path))
    if kind == "knot":
        whole, changes = server.transfers()
        assert whole == 1 and changes >= 4, server.program.text()
    told = [s for s in names.status()["dns_secondaries"] if s["zone"] == ZONE]
    wait_until(lambda: names.status()["dns_secondaries"][0]["state"] == "current", "secondary that is current", 30)
    assert told[0]["secondary"] == f"127.0.0.1:{server.port}"
    assert names.edge.gauge('adit_edge_dns_notifies_total{result="ok"}') >= 5
    assert names.edge.gauge('adit_edge_dns_transfers_total{result="ok"}') >= 5


def test_a_secondary_that_is_away_catches_up_when_told_again(own, tmp_path):
    names = Names(own)
    names.route("app.example.com")
    server = Knot(tmp_path, KEY, names.port)
    server.wait_answers()
    names.command("dns", "secondary", "add", f"127.0.0.1:{server.port}", "--key", KEY.name)
    server.wait_serial(names.port)
    server.program.stop()
    names.route("later.example.com")
    wait_until(lambda: short(names.port, "later.example.com", "A"), "name at the edge", 30)
    server.start(["knotd", "-c", server.folder / "knot.conf"])
    own.helpers.append(server.program)
    server.wait_answers()
    server.wait_serial(names.port)


def test_transfers_need_the_key(own, tmp_path):
    names = Names(own)
    names.route("app.example.com")
    names.command("dns", "secondary", "add", "127.0.0.1:1", "--key", KEY.name)

    def transfer(*args, key=None, tool="dig"):
        argv = [tool, "@127.0.0.1", "-p", str(names.port), *(("-y", key.dig) if key else ()), ZONE, *args]
        done = run(argv, seconds=60)
        return done.stdout + done.stderr

    wait_until(lambda: "app.example.com." in transfer("AXFR", key=KEY), "transfer with the key", 30)
    assert "app.example.com." in transfer("AXFR", key=KEY, tool="kdig")
    path = transferred(names.port, tmp_path, KEY)
    verify(path)
    assert "app.example.com." not in transfer("AXFR")
    wrong_secret = transfer("AXFR", key=Key(KEY.name, WRONG))
    assert "app.example.com." not in wrong_secret
    unknown = transfer("AXFR", key=Key("nobody.example", SECRET))
    assert "app.example.com." not in unknown
    wrong_algorithm = transfer("AXFR", key=Key(KEY.name, SECRET, "hmac-sha512"))
    assert "app.example.com." not in wrong_algorithm
    # Ordinary questions may be signed, too; the answer is, then.
    assert "NOERROR" in dig(names.port, "app.example.com", "A", key=KEY)
    assert "verify failure" not in dig(names.port, "app.example.com", "A", key=KEY)
    assert names.edge.gauge('adit_edge_dns_transfers_total{result="refused"}') >= 4
    # Who is refused is told why (RFC 8945).
    for key, why in ((Key(KEY.name, WRONG), "BADSIG"), (Key("nobody.example", SECRET), "BADKEY")):
        assert why in dig(names.port, "app.example.com", "A", key=key) + transfer("AXFR", key=key)
    # Every algorithm that there is.
    for i, algorithm in enumerate(("hmac-sha224", "hmac-sha384", "hmac-sha512", "hmac-sha1")):
        key = Key(f"{algorithm}.example", SECRET, algorithm)
        done = names.edge.command(
            "dns", "key", "add", key.name, "--algorithm", algorithm, "--stdin", input=SECRET + "\n"
        )
        assert done.returncode == 0, done
        names.command("dns", "secondary", "add", f"127.0.0.2:{i + 1}", "--key", key.name)
        for tool in ("dig", "kdig"):
            wait_until(lambda: "app.example.com." in transfer("AXFR", key=key, tool=tool), algorithm, 30)


def test_a_key_that_is_used_stays(own):
    names = Names(own, serves=False)
    names.command("dns", "secondary", "add", "192.0.2.53", "--key", KEY.name)
    names.command("dns", "update-to", ZONE, "192.0.2.54", "--key", KEY.name.upper())

    def remove():
        return names.edge.command("dns", "key", "remove", KEY.name)

    done = remove()
    assert done.returncode == 1 and "the secondary 192.0.2.53:53" in done.stderr, done
    assert f"updates of {ZONE}" in done.stderr, done
    names.command("dns", "secondary", "remove", "192.0.2.53")
    done = remove()
    assert done.returncode == 1 and f"updates of {ZONE}" in done.stderr and "secondary" not in done.stderr, done
    names.command("dns", "update-to", ZONE, "off")
    assert "is gone" in names.command("dns", "key", "remove", KEY.name.upper() + ".")
    assert remove().returncode == 1


# --- servers of others -----------------------------------------------------------------------------------

RECORDS = ("taken A 198.51.100.1", "www TXT \"of others\"", "mixed TXT \"stays\"")


@pytest.mark.parametrize("kind", ("named", pytest.param("knot", marks=pytest.mark.slow)))
def test_another_server_is_told_of_routes_and_keeps_what_is_not_ours(own, tmp_path, kind):
    names = Names(own, serves=False)
    server = (Named if kind == "named" else Knot)(tmp_path, KEY, records=RECORDS)
    own.helpers.append(server.program)
    server.wait_answers()
    names.route("app.example.com", "taken.example.com", "mixed.example.com", "*.apps.example.com")
    said = names.command("dns", "update-to", ZONE, f"127.0.0.1:{server.port}", "--key", KEY.name)
    assert str(server.port) in said

    def settled():
        u = names.updates()
        return u["waiting"] == 0 and u

    wait_until(settled, "updates that are through", 60)
    assert short(server.port, "app.example.com", "A") == [ADDRESS]
    assert short(server.port, "app.example.com", "AAAA") == [ADDRESS6]
    assert short(server.port, "deep.apps.example.com", "A") == [ADDRESS]
    assert short(server.port, "mixed.example.com", "A") == [ADDRESS]
    assert short(server.port, "mixed.example.com", "TXT") == ['"stays"']
    # Of others: left alone, and said so.
    assert short(server.port, "taken.example.com", "A") == ["198.51.100.1"]
    troubles = names.updates()["troubles"]
    assert [(t["name"], t["state"]) for t in troubles] == [("taken.example.com", "conflict")]
    names.route("taken.example.com", overwrite=True)
    wait_until(lambda: short(server.port, "taken.example.com", "A") == [ADDRESS], "name that is overwritten", 30)
    # Routes that go take our records along, and no others.
    names.remove("mixed.example.com")
    wait_until(lambda: not short(server.port, "mixed.example.com", "A"), "record that is gone", 30)
    assert short(server.port, "mixed.example.com", "TXT") == ['"stays"']
    assert short(server.port, "www.example.com", "TXT") == ['"of others"']
    # After a restart it is looked whether all is as it should be.
    names.edge.stop()
    send_update(server, f"update delete app.{ZONE} A")
    assert short(server.port, "app.example.com", "A") == []
    send_update(server, f"update delete app.{ZONE} AAAA")
    names.edge.start()
    wait_until(lambda: short(server.port, "app.example.com", "A") == [ADDRESS], "record that is back", 60)
    wait_until(settled, "updates that are through", 60)
    assert names.updates()["troubles"] == []
    text = names.edge.ask("/metrics").read().decode()
    assert re.search(r'adit_edge_dns_update_answers_total{rcode="NOERROR"} [1-9]', text)
    names.command("dns", "update-to", ZONE, "off")
    assert names.status()["dns_updates"] == {"zones": [], "troubles": []}
    assert short(server.port, "app.example.com", "A") == [ADDRESS]


def send_update(server, *lines):
    text = "\n".join([f"server 127.0.0.1 {server.port}", f"zone {ZONE}", *lines, "send", ""])
    check(["nsupdate", "-y", KEY.dig], input=text)


def test_a_server_that_refuses_is_quoted(own, tmp_path):
    names = Names(own, serves=False)
    server = Named(tmp_path, Key(KEY.name, WRONG))
    own.helpers.append(server.program)
    server.wait_answers()
    names.route("app.example.com")
    names.command("dns", "update-to", ZONE, f"127.0.0.1:{server.port}", "--key", KEY.name)
    wait_until(lambda: names.updates()["troubles"], "failure that is shown", 90)
    trouble = names.updates()["troubles"][0]
    assert trouble["state"] == "failed"
    assert "BADSIG" in trouble["error"] or "NOTAUTH" in trouble["error"]
    assert names.edge.gauge('adit_edge_dns_updates_total{result="failed"}') >= 1
    assert names.edge.gauge("adit_edge_dns_update_names_failing") == 1
    # Without the key at all.
    names.command("dns", "update-to", ZONE, f"127.0.0.1:{server.port}")
    wait_until(lambda: "REFUSED" in json.dumps(names.updates()["troubles"]), "refusal that is quoted", 60)
    assert short(server.port, "app.example.com", "A") == []


def test_aliases_instead_of_addresses(own, tmp_path):
    names = Names(own, serves=False)
    server = Named(tmp_path, KEY)
    own.helpers.append(server.program)
    server.wait_answers()
    names.route("app.example.com")
    names.command(
        "dns", "update-to", ZONE, f"127.0.0.1:{server.port}", "--key", KEY.name, "--target", "edge.example.net"
    )
    wait_until(lambda: short(server.port, "app.example.com", "CNAME") == ["edge.example.net."], "alias", 60)
    names.command("dns", "update-to", ZONE, f"127.0.0.1:{server.port}", "--key", KEY.name)
    wait_until(lambda: short(server.port, "app.example.com", "A") == [ADDRESS], "addresses again", 60)
    assert short(server.port, "app.example.com", "CNAME") == []


@pytest.mark.skipif(bool(pebbles.missing()), reason=f"needs {' '.join(pebbles.missing())}")
def test_certificates_are_proven_through_a_server_that_is_updated(own, tmp_path):
    place = Place(own, tmp_path)
    server = Named(tmp_path, KEY, records=("_acme-challenge TXT \"of others\"",))
    own.helpers.append(server.program)
    server.wait_answers()
    place.pebble(dns=f"127.0.0.1:{server.port}")
    place.start("acme-challenge: dns-01", f'dns-address: "{ADDRESS}"')
    for args in (
        ("dns", "key", "add", KEY.name, "--stdin"),
        ("dns", "update-to", ZONE, f"127.0.0.1:{server.port}", "--key", KEY.name),
    ):
        done = place.edge.command(*args, input=SECRET + "\n")
        assert done.returncode == 0, done
    place.route(f"app.{ZONE}")
    wait_issued(place.edge, f"app.{ZONE}")
    # What was shown is taken back, and nothing else.
    wait_until(
        lambda: short(server.port, f"_acme-challenge.{ZONE}", "TXT") == ['"of others"'], "challenges that are gone", 30
    )
    assert short(server.port, f"app.{ZONE}", "A") == [ADDRESS]
