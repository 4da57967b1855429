"""One DNSSEC key takes the place of another: a validating resolver that is asked all the time never notices."""

import json
import re
import shutil
import threading

import pytest

from testenv import net
from testenv import stage as stages
from testenv.edge import ZONE
from testenv.name_servers import Key, NameServer, dig, verify
from testenv.program import ADIT_EDGE, Program, check, run
from testenv.wait import wait_until

MISSING = stages.have("dig", "ldns-verify-zone", "unbound", "knotd", "nsupdate")
if MISSING:
    pytest.skip(f"not installed: {' '.join(MISSING)}", allow_module_level=True)
UNBOUND = shutil.which("unbound", path="/usr/sbin:/usr/bin:/sbin")
SECRET = "c2VjcmV0IG9mIDMyIGJ5dGVzLCBubyBsZXNzLCBvaw=="
KEY = Key("transfer.example", SECRET)
PARENT = ZONE.partition(".")[2]
# Steps wait for these, and a moment for secondaries.
TTL = 1
SETTINGS = """dns: "127.0.0.1:{dns}"
dns-address: 192.0.2.1
dns-nameserver: "ns.example.net=192.0.2.53"
dns-ttl: {ttl}s
dns-ds-ttl: {ttl}s
"""


class Parent(NameServer):
    """A signed zone above, whose DS records change by updates."""

    def __init__(self, folder):
        super().__init__(folder, "knot")
        (self.folder / "zone").write_text(
            f"$ORIGIN {PARENT}.\n$TTL {TTL}\n@ SOA ns hostmaster 1 3600 600 86400 {TTL}\n@ NS ns\n"
            f"ns A 192.0.2.53\n{ZONE}. NS ns.example.net.\n"
        )
        (self.folder / "knot.conf").write_text(f"""
server:
    listen: 127.0.0.1@{self.port}
    rundir: "{self.folder}"
log:
  - target: stderr
    any: info
database:
    storage: "{self.folder}"
acl:
  - id: local
    address: 127.0.0.1
    action: [update, transfer]
policy:
  - id: single
    single-type-signing: on
zone:
  - domain: {PARENT}
    storage: "{self.folder}"
    file: zone
    acl: local
    dnssec-signing: on
    dnssec-policy: single
""")
        self.start(["knotd", "-c", self.folder / "knot.conf"])

    def anchor(self):
        found = []

        def asked():
            found[:] = dig(self.port, "+short", PARENT, "DNSKEY").split("\n")[:-1]
            return found

        wait_until(asked, "a signed parent zone", 30)
        return f"{PARENT}. IN DNSKEY {found[0]}"

    def replace_ds(self, *records):
        lines = [f"server 127.0.0.1 {self.port}", f"zone {PARENT}", f"update delete {ZONE} DS"]
        lines += [f"update add {ZONE} {TTL} DS {' '.join(r.split()[4:])}" for r in records]
        check(["nsupdate"], input="\n".join([*lines, "send", ""]))


class Place:
    def __init__(self, own, folder, resolver=None):
        self.own, self.folder, self.port = own, folder, net.free_port()
        more = f'dns-resolver: "127.0.0.1:{resolver}"\n' if resolver else 'dns-resolver: "off"\n'
        self.edge = own.edge(settings=SETTINGS.format(dns=self.port, ttl=TTL) + more)
        self.command("dns", "add", f"www.{ZONE}", "A", "192.0.2.7", "--ttl", "2")
        self.command("dns", "add", f"*.wild.{ZONE}", "A", "192.0.2.8", "--ttl", "1")
        done = self.edge.command("dns", "key", "add", KEY.name, "--stdin", input=SECRET + "\n")
        assert done.returncode == 0, done
        self.command("dns", "secondary", "add", "127.0.0.1:1", "--key", KEY.name)

    def command(self, *args, expect=0):
        done = self.edge.command(*args)
        assert done.returncode == expect, done
        return done.stdout if expect == 0 else done.stderr

    def status(self, zone=ZONE):
        return json.loads(self.command("dns", "dnssec", "status", zone, "--json"))[0]

    def wait_step(self, step, zone=ZONE):
        wait_until(lambda: self.status(zone)["step"] == step, f"step {step}", 30)
        return self.status(zone)

    def tags(self, kind, zone=ZONE):
        """Of the keys that DNSKEY sets hold or have signed them, or DS records name."""
        text = dig(self.port, "+dnssec", "+multiline", "+norecurse", zone, kind)
        return sorted(int(t) for t in re.findall(r"key id = (\d+)", text))

    def cds(self):
        return [line.lower().split() for line in dig(self.port, "+short", ZONE, "CDS").split("\n")[:-1]]

    def signer(self, name, kind):
        text = dig(self.port, "+dnssec", "+norecurse", name, kind)
        return sorted(int(t) for t in re.findall(rf"RRSIG\s+{kind} 13 \d+ \d+ \d+ \d+ (\d+) ", text))

    def verify(self):
        text = dig(self.port, "+nocomments", "+noquestion", "+nostats", "+nocmd", ZONE, "AXFR", key=KEY)
        lines = [line for line in text.split("\n") if not re.search(r"\sTSIG\s", line)]
        path = self.folder / "zone"
        # The first and the last record are the same one.
        path.write_text("\n".join(lines[:-2] if lines[-1] == "" else lines[:-1]) + "\n")
        verify(path)


class Resolver:
    """unbound, which trusts the parent's key, and somebody who asks it without a pause."""

    def __init__(self, own, folder, parent, names):
        self.port = net.free_port()
        conf = folder / "unbound.conf"
        conf.write_text(
            f"""server:
  interface: 127.0.0.1@{self.port}
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  do-not-query-localhost: no
  module-config: "validator iterator"
  trust-anchor: "{parent.anchor()}"
  do-ip6: no
  val-log-level: 2
  infra-host-ttl: 0
  val-bogus-ttl: 0
remote-control:
  control-enable: no
stub-zone:
  name: "{PARENT}"
  stub-addr: 127.0.0.1@{parent.port}
stub-zone:
  name: "{ZONE}"
  stub-addr: 127.0.0.1@{names}
"""
        )
        self.program = Program("unbound", [UNBOUND, "-d", "-c", conf], folder)
        own.helpers.append(self.program)
        self.program.wait_log("start of service")
        self.asked, self.wrong, self.is_over = 0, [], threading.Event()
        self.thread = threading.Thread(target=self.ask_on)

    def ask(self, name, kind):
        return run(["dig", "@127.0.0.1", "-p", str(self.port), "+dnssec", "+time=20", name, kind]).stdout

    def ask_on(self):
        while not self.is_over.is_set():
            for name, kind in ((f"www.{ZONE}", "A"), (f"x{self.asked}.wild.{ZONE}", "A"), (f"no{self.asked}.{ZONE}", "A"),
                               (ZONE, "SOA"), (ZONE, "DNSKEY"), (ZONE, "CDS")):  # fmt: skip
                said = self.ask(name, kind)
                self.asked += 1
                if not re.search(r"flags: qr rd ra ad[ ;]", said):
                    self.wrong.append(said)

    def __enter__(self):
        wait_until(lambda: " ad" in self.ask(f"www.{ZONE}", "A"), "an answer that is believed", 30)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join()
        assert self.asked > 20 and not self.wrong, (self.asked, self.wrong[:2])


@pytest.fixture
def parent(own, tmp_path):
    parent = Parent(tmp_path)
    own.helpers.append(parent.program)
    return parent


def test_a_roll_that_nobody_notices(own, tmp_path, parent):
    place = Place(own, tmp_path, resolver=parent.port)
    before = place.status()
    assert before["step"] == "none" and before["ds"] in place.command("dns", "ds")
    parent.anchor()
    parent.replace_ds(before["ds"])
    with Resolver(own, tmp_path, parent, place.port):
        assert "is made known" in place.command("dns", "dnssec", "roll", ZONE)
        assert "already" in place.command("dns", "dnssec", "roll", ZONE, expect=1)
        said = place.wait_step("ds")
        old, new = said["key_tag"], said["new_key_tag"]
        assert old == before["key_tag"] and new != old and said["ds"] == before["ds"]
        assert place.tags("DNSKEY") == sorted((old, new))
        assert place.signer(ZONE, "DNSKEY") == place.signer(ZONE, "CDS") == sorted((old, new))
        assert place.signer(f"www.{ZONE}", "A") == [new]
        assert [int(c[0]) for c in place.cds()] == [new]
        assert said["new_ds"].split()[4:] == [*place.cds()[0][:3], "".join(place.cds()[0][3:])]
        assert said["new_ds"] in place.command("dns", "ds", ZONE)
        text = place.command("dns", "dnssec", "status")
        assert "needs this DS record" in text and said["new_ds"] in text and "ds-seen" in text
        assert place.edge.gauge(f'adit_edge_dns_key_roll{{zone="{ZONE}"}}') == 3
        shown = json.loads(place.command("status", "--json"))["dns"]["zones"]
        assert [z["key_roll"] for z in shown] == ["ds"]
        place.verify()
        # Whoever comes next goes on with it.
        left = place.edge.program
        program = Program("edge-2", [ADIT_EDGE, "run", "--data", place.edge.data, "--takeover"], place.edge.folder)
        program.wait_log(r"edge is ready")
        left.wait_log(r"a successor has taken over")
        place.edge.program = program
        assert left.wait() == 0
        assert place.status()["step"] == "ds" and place.status()["new_key_tag"] == new
        assert "signs" in place.command("dns", "dnssec", "cancel", ZONE, expect=1)
        # The old one goes, and not before the new one is there for as long as it is kept.
        parent.replace_ds(said["new_ds"])
        wait_until(lambda: place.status()["step"] == "none", "end of the roll", 60)
        assert place.status()["key_tag"] == new
        wait_until(lambda: place.tags("DNSKEY") == [new], "old key that is gone", 30)
        assert place.signer(ZONE, "DNSKEY") == [new]
        place.verify()
    text = place.edge.program.text()
    assert "the parent zone has the new DS record" in text and "the old DNSSEC key is gone" in text


def test_steps_by_command_survive_a_restart_and_zones_below_ours_need_nobody(own, tmp_path):
    place, home = Place(own, tmp_path), f"home.{ZONE}"
    place.command("zone", "add", home)
    place.command("dns", "add", f"a.{home}", "A", "192.0.2.9", "--ttl", "1")
    below = place.status(home)["key_tag"]
    wait_until(lambda: dig(place.port, "+short", home, "DS").startswith(f"{below} "), "DS record", 30)
    old = place.status()["key_tag"]
    # Second thoughts.
    assert "not being rolled" in place.command("dns", "dnssec", "cancel", ZONE, expect=1)
    assert "not being rolled" in place.command("dns", "dnssec", "ds-seen", ZONE, expect=1)
    assert "no zone" in place.command("dns", "dnssec", "roll", "example.org", expect=1)
    place.edge.stop()
    # While nobody serves, nothing is published, and no time runs.
    place.command("dns", "dnssec", "roll", ZONE)
    assert "not to be entered yet" in place.command("dns", "dnssec", "ds-seen", ZONE, expect=1)
    new = place.status()["new_key_tag"]
    place.command("dns", "dnssec", "cancel", ZONE)
    place.command("dns", "dnssec", "roll", ZONE)
    assert place.status()["new_key_tag"] != new or place.status()["key_tag"] == old
    place.edge.start()
    place.command("dns", "dnssec", "roll", home)
    new = place.wait_step("ds")["new_key_tag"]
    assert place.tags("DNSKEY") == sorted((old, new))
    place.edge.stop()
    place.edge.start()
    assert place.status()["step"] == "ds" and place.tags("DNSKEY") == sorted((old, new))
    assert "operator" in place.command("dns", "dnssec", "ds-seen", ZONE)
    place.wait_step("none")
    wait_until(lambda: place.tags("DNSKEY") == [new], "old key that is gone", 30)
    place.verify()
    # The zone above is ours: it got the DS record, and the roll went on by itself.
    wait_until(lambda: place.status(home)["step"] == "none", "roll of the zone below", 60)
    assert place.status(home)["key_tag"] != below
    assert dig(place.port, "+short", home, "DS").startswith(f"{place.status(home)['key_tag']} ")
    assert place.tags("DNSKEY", home) == [place.status(home)["key_tag"]]
