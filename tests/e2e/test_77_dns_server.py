"""The edge's own name server: what common programs make of its answers, records and routes, restarts, hostile packets."""

import base64
import json
import random
import re
import shutil
import socket
import ssl
import struct
import threading
import urllib.error
import urllib.request

import pytest

from testenv import net
from testenv import stage as stages
from testenv.edge import ZONE
from testenv.program import ADIT_EDGE, Program, run
from testenv.wait import exactly, wait_until

MISSING = stages.have("dig", "kdig", "ldns-verify-zone", "unbound")
if MISSING:
    pytest.skip(f"not installed: {' '.join(MISSING)}", allow_module_level=True)
UNBOUND = shutil.which("unbound", path="/usr/sbin:/usr/bin:/sbin")

# What an address that may be forged gets for one byte of its own, at most: a whole answer of 1232 bytes to the
# shortest signed question there is (12 header, 5 + 13 question, 11 OPT).
MOST_BYTES = 1232
SETTINGS = 'dns: ["127.0.0.1:{dns}", "[::1]:{dns}"]\ndns-address: [192.0.2.1, "2001:db8::1"]\n'


class Names:
    """An edge that answers for its zone, and who asks it."""

    def __init__(self, own, folder, settings=""):
        self.own, self.folder, self.port = own, folder, net.free_port()
        self.edge = own.edge(settings=SETTINGS.format(dns=self.port) + settings)
        self.cli = None

    def dig(self, *args, at="127.0.0.1", tool="dig"):
        done = run([tool, f"@{at}", "-p", str(self.port), *([] if tool == "kdig" else ["+time=5"]), *args])
        assert done.returncode == 0, (args, done)
        return done.stdout

    def short(self, *args, **kwargs):
        return self.dig("+short", *args, **kwargs).split("\n")[:-1]

    def status(self, *args, **kwargs):
        return re.search(r"status: (\w+)", self.dig(*args, **kwargs))[1]

    def serial(self):
        return int(self.short(ZONE, "SOA")[0].split()[2])

    def command(self, *args, expect=0):
        done = self.edge.command("dns", *args)
        assert done.returncode == expect, (args, done)
        return done.stdout if expect == 0 else done.stderr

    def tunnel(self, name="names"):
        self.cli = self.cli or self.own.cli(self.edge)
        return self.cli.create(name)

    def rest(self, method, path, body=None, expect=200):
        """(status, result) of the API, as the login certificate's owner."""
        pem = re.sub(r"-----.*?-----|\s", "", self.edge.cert())
        who = json.loads(base64.b64decode(pem))
        request = urllib.request.Request(
            f"{self.edge.api_url}/zones/{who['zoneID']}/{path}",
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Authorization": f"Bearer {who['apiToken']}"},
        )
        context = ssl.create_default_context(cafile=str(self.edge.ca))
        try:
            with urllib.request.urlopen(request, timeout=20, context=context) as r:
                status, answer = r.status, json.load(r)
        except urllib.error.HTTPError as e:
            status, answer = e.code, json.load(e)
        assert status == expect, answer
        return answer["result"] if status == 200 else answer["errors"][0]["message"]

    def udp(self, packet, seconds=5.0):
        """The answer, or None."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect(("127.0.0.1", self.port))
            s.settimeout(seconds)
            s.send(packet)
            try:
                return s.recv(65536)
            except TimeoutError:
                return None


def question(name, qtype, edns=0, flags=0x0000, cookie=b""):
    """A query, with signatures wanted when there is EDNS."""
    head = struct.pack("!6H", random.randrange(65536), flags, 1, 0, 0, 1 if edns else 0)
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    body = labels + b"\0" + struct.pack("!2H", qtype, 1)
    if edns:
        body += b"\0" + struct.pack("!2HIH", 41, edns, 0x8000, len(cookie)) + cookie
    return head + body


@pytest.fixture
def names(own, tmp_path):
    return Names(own, tmp_path)


def test_answers(names):
    tunnel = names.tunnel()
    names.cli.route(tunnel, f"app.{ZONE}", f"*.wild.{ZONE}", f"deep.down.{ZONE}")
    for transport in ("+notcp", "+tcp"):
        for at in ("127.0.0.1", "::1"):
            assert names.short(transport, f"app.{ZONE}", "A", at=at) == ["192.0.2.1"]
            assert names.short(transport, f"app.{ZONE}", "AAAA", at=at) == ["2001:db8::1"]
    assert names.short(f"x.wild.{ZONE}", "A") == ["192.0.2.1"]
    # Names that are there without what was asked for, and names that are not.
    for name in (f"app.{ZONE}", f"x.wild.{ZONE}", f"down.{ZONE}", f"wild.{ZONE}"):
        said = names.dig(name, "MX")
        assert "status: NOERROR" in said and "ANSWER: 0" in said and "SOA" in said, said
    for name in (f"no.{ZONE}", f"no.app.{ZONE}", f"no.down.{ZONE}"):
        said = names.dig(name, "A")
        assert "status: NXDOMAIN" in said and re.search(rf"{ZONE}\.\s+60\s+IN\s+SOA", said), said
    assert names.status("example.org", "A") == "REFUSED"
    # As it was asked, so it is answered: resolvers mix the case to tell forged answers.
    assert f"aPp.ExAmPle.com." in names.dig("aPp.ExAmPle.com", "A")
    # RFC 8482, unknown types, DNSSEC types.
    assert "ANSWER: 0" not in names.dig(f"app.{ZONE}", "ANY")
    said = names.dig(f"app.{ZONE}", "TYPE65280")
    assert "status: NOERROR" in said and "ANSWER: 0" in said, said
    assert "RRSIG" in names.dig("+dnssec", f"app.{ZONE}", "A")
    assert "RRSIG" not in names.dig("+nodnssec", f"app.{ZONE}", "A")
    assert names.short(ZONE, "DNSKEY")[0].startswith("257 3 13 ")
    # EDNS.
    assert re.search(r'NSID:.*\("test"\)', names.dig("+nsid", f"app.{ZONE}", "A"))
    assert "(good)" in names.dig("+cookie", f"app.{ZONE}", "A")
    assert names.status("+edns=1", "+noednsneg", f"app.{ZONE}", "A") == "BADVERS"
    assert "flags: qr aa tc" in names.dig("+dnssec", "+bufsize=512", "+ignore", "+notcp", f"no.{ZONE}", "A")
    assert "NXDOMAIN" in names.dig("+dnssec", "+bufsize=512", f"no.{ZONE}", "A")  # comes back over TCP
    assert "OPT" not in names.dig("+noedns", f"app.{ZONE}", "A")
    # Not what it is for.
    assert names.status("+opcode=NOTIFY", ZONE, "SOA") == "NOTIMP"
    assert names.status("+opcode=UPDATE", ZONE, "SOA") == "NOTIMP"
    assert names.status("-c", "CH", "version.bind", "TXT") == "REFUSED"
    assert "app.example.com." in names.dig("+dnssec", "+nsid", f"app.{ZONE}", "A", tool="kdig")
    said = names.edge.metrics()
    assert said['adit_edge_dns_answers_total{rcode="NXDOMAIN"}'] >= 4
    assert said['adit_edge_dns_questions_total{type="ANY"}'] == 1
    assert said["adit_edge_dns_truncated_total"] >= 1
    assert said[f'adit_edge_dns_zone_serial{{zone="{ZONE}"}}'] == names.serial()
    status = json.loads(names.edge.command("status", "--json").stdout)["dns"]
    assert status["mode"] == "authoritative" and status["zones"][0]["serial"] == names.serial(), status


def test_validators_accept_the_zone(names):
    tunnel = names.tunnel()
    names.cli.route(tunnel, f"app.{ZONE}", f"*.{ZONE}", f"a.b.c.{ZONE}")
    names.command("add", ZONE, "MX", "10", f"mail.{ZONE}")
    names.command("add", f"mail.{ZONE}", "A", "192.0.2.25")
    names.command("add", f"www.{ZONE}", "CNAME", f"app.{ZONE}")
    names.command("add", f"_sip._tcp.{ZONE}", "SRV", "10", "5", "5060", f"mail.{ZONE}")
    names.command("add", ZONE, "CAA", "0", "issue", "letsencrypt.org")
    names.command("add", ZONE, "TXT", "x" * 600)
    key = names.folder / "transfer.key"
    names.command("key", "add", "transfer", "--output", str(key))
    assert key.stat().st_mode & 0o777 == 0o600 and "secret" in key.read_text()
    names.command("secondary", "add", "127.0.0.1:9", "--key", "transfer")
    zone = names.dig("-k", str(key), "+noall", "+answer", ZONE, "AXFR")
    (names.folder / "zone").write_text("\n".join(zone.strip().split("\n")[:-1]) + "\n")
    done = run(["ldns-verify-zone", names.folder / "zone"])
    assert done.returncode == 0 and "verified and complete" in done.stdout, done
    # Without the key, or with another one, nobody gets it.
    assert "Transfer failed" in names.dig(ZONE, "AXFR")
    wrong = key.read_text().replace('secret "', 'secret "AAAA')
    (names.folder / "wrong.key").write_text(wrong)
    assert "Transfer failed" in names.dig("-k", str(names.folder / "wrong.key"), ZONE, "AXFR")
    # What a secondary that has the last serial needs is small.
    before = names.serial()
    names.command("add", f"new.{ZONE}", "A", "192.0.2.9")
    change = names.dig("-k", str(key), "+noall", "+answer", ZONE, f"IXFR={before}")
    assert f"new.{ZONE}." in change and "192.0.2.25" not in change, change

    # A zone within the zone: the one above vouches for it.
    names.cli.route(tunnel, f"a.home.{ZONE}")
    names.command("add", f"c.home.{ZONE}", "A", "192.0.2.3")
    assert names.edge.command("zone", "add", f"home.{ZONE}").returncode == 0
    assert names.short(f"c.home.{ZONE}", "A") == ["192.0.2.3"]
    assert "1 record" in names.command("remove", f"c.home.{ZONE}")
    names.cli.route(tunnel, f"b.home.{ZONE}")
    zone = names.dig("-k", str(key), "+noall", "+answer", ZONE, "AXFR")
    assert f"a.home.{ZONE}." not in zone
    (names.folder / "zone").write_text("\n".join(zone.strip().split("\n")[:-1]) + "\n")
    done = run(["ldns-verify-zone", names.folder / "zone"])
    assert done.returncode == 0 and "verified and complete" in done.stdout, done
    assert names.short(f"home.{ZONE}", "DS")[0].split()[0] == names.command("ds", f"home.{ZONE}").split()[4]

    resolver = unbound(names)
    try:
        for args in ([f"a.home.{ZONE}", "A"], [f"b.home.{ZONE}", "AAAA"], [f"no.home.{ZONE}", "A"], [f"home.{ZONE}", "SOA"]):
            said = run(["dig", "@127.0.0.1", "-p", str(resolver), "+dnssec", "+time=10", *args]).stdout
            assert re.search(r"flags: qr rd ra ad[ ;]", said), said
        for args in ([f"app.{ZONE}", "A"], [f"any.{ZONE}", "AAAA"], [f"www.{ZONE}", "A"], [ZONE, "MX"], [ZONE, "TXT"],
                     [f"app.{ZONE}", "MX"], [f"b.c.{ZONE}", "A"], [f"c.{ZONE}", "TXT"], [f"no.app.{ZONE}", "A"],
                     [f"no.b.c.{ZONE}", "A"], [f"any.{ZONE}", "TXT"], [ZONE, "CAA"], [f"_sip._tcp.{ZONE}", "SRV"]):  # fmt: skip
            said = run(["dig", "@127.0.0.1", "-p", str(resolver), "+dnssec", "+time=10", *args]).stdout
            assert re.search(r"flags: qr rd ra ad[ ;]", said), said
        said = run(["dig", "@127.0.0.1", "-p", str(resolver), f"no.app.{ZONE}", "A"]).stdout
        assert "NXDOMAIN" in said
    finally:
        names.own.helpers[-1].kill()


def unbound(names):
    """A resolver that believes what the DS record of `adit-edge dns ds` vouches for. Its port."""
    port, folder = net.free_port(), names.folder
    ds = names.command("ds", ZONE).split("\n")[0]
    assert re.match(rf"{ZONE}\.\s+3600\s+IN\s+DS\s+\d+ 13 2 [0-9a-f]{{64}}$", ds), ds
    (folder / "unbound.conf").write_text(
        f"""server:
  interface: 127.0.0.1@{port}
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  do-not-query-localhost: no
  module-config: "validator iterator"
  trust-anchor: "{ds}"
  do-ip6: no
  verbosity: 2
  val-log-level: 2
remote-control:
  control-enable: no
stub-zone:
  name: "{ZONE}"
  stub-addr: 127.0.0.1@{names.port}
"""
    )
    helper = Program("unbound", [UNBOUND, "-d", "-c", folder / "unbound.conf"], folder)
    names.own.helpers.append(helper)
    helper.wait_log("start of service")
    return port


def test_records_and_routes(names):
    first, second = names.tunnel("first"), names.tunnel("second")
    host = f"app.{ZONE}"
    names.command("add", f"www.{ZONE}", "A", "192.0.2.7")
    assert names.short(f"www.{ZONE}", "A") == ["192.0.2.7"]
    # A hostname that has a record is not taken over by accident.
    done = names.cli.run("tunnel", "route", "dns", "first", f"www.{ZONE}")
    assert done.returncode != 0 and "already" in done.stderr, done
    names.cli.check("tunnel", "route", "dns", "--overwrite-dns", "first", f"www.{ZONE}")
    assert names.short(f"www.{ZONE}", "A") == ["192.0.2.1"]
    names.cli.route(first, host)
    assert names.short(host, "A") == ["192.0.2.1"]
    done = names.cli.run("tunnel", "route", "dns", "second", host)
    assert done.returncode != 0 and "already" in done.stderr, done
    assert "CNAME" not in names.dig(host, "A")
    done = names.cli.run("tunnel", "route", "dns", "first", "app.example.org")
    assert done.returncode != 0 and "in no zone of this account" in done.stderr, done
    assert "is routed" in names.command("add", f"www.{ZONE}", "CNAME", "x.example.net", expect=1)
    names.command("add", f"mx.{ZONE}", "MX", "10", "x.example.net")
    assert "stands alone" in names.command("add", f"mx.{ZONE}", "CNAME", "x.example.net", expect=1)
    assert "is routed" in names.command("add", host, "A", "192.0.2.7", expect=1)
    for said, args in (
        ("did you mean CNAME?", [f"x.{ZONE}", "CNAM", "y"]),
        ("in no zone", ["x.example.org", "A", "192.0.2.7"]),
        ("not the data of a", [f"x.{ZONE}", "A", "192.0.2"]),
        ("from 1 to", [f"x.{ZONE}", "A", "192.0.2.1", "--ttl", "99999999"]),
        ("cannot be a CNAME", [ZONE, "CNAME", "x.example.net"]),
    ):
        assert said in names.command("add", *args, expect=1)
    assert "did you mean 'dns add'" in names.command("ad", expect=2)

    # The API shows routes as the CNAMEs that its clients know.
    shown = {r["name"]: r for r in names.rest("GET", "dns_records?type=CNAME&per_page=50")}
    assert shown[host]["content"] == f"{first.id}.cfargotunnel.com" and shown[host]["proxied"]
    body = {"type": "CNAME", "name": "made", "content": f"{second.id}.cfargotunnel.com", "proxied": True, "ttl": 1}
    made = names.rest("POST", "dns_records", body)
    assert made["name"] == f"made.{ZONE}" and names.short(f"made.{ZONE}", "A") == ["192.0.2.1"]
    assert "already exists" in names.rest("POST", "dns_records", {**body, "content": f"{first.id}.cfargotunnel.com"}, 400)
    moved = names.rest("PATCH", f"dns_records/{made['id']}", {"content": f"{first.id}.cfargotunnel.com"})
    assert moved["id"] == made["id"] and moved["content"].startswith(first.id)
    assert names.rest("DELETE", f"dns_records/{made['id']}")["id"] == made["id"]
    assert names.status(f"made.{ZONE}", "A") == "NXDOMAIN"
    assert "does not exist" in names.rest("GET", f"dns_records/{made['id']}", expect=404)
    mx = names.rest("POST", "dns_records", {"type": "MX", "name": "@", "content": "mx.example.net", "priority": 5})
    assert names.short(ZONE, "MX") == ["5 mx.example.net."] and mx["priority"] == 5
    mx = names.rest("PATCH", f"dns_records/{mx['id']}", {"content": "mx2.example.net", "priority": 7})
    assert names.short(ZONE, "MX") == ["7 mx2.example.net."]
    srv = {"priority": 1, "weight": 2, "port": 3, "target": "t.example.net"}
    made = names.rest("POST", "dns_records", {"type": "SRV", "name": f"_x._tcp.{ZONE}", "data": srv})
    assert made["data"] == srv and names.short(f"_x._tcp.{ZONE}", "SRV") == ["1 2 3 t.example.net."]
    caa = {"flags": 0, "tag": "issue", "value": "ca.example.net"}
    assert names.rest("POST", "dns_records", {"type": "CAA", "name": ZONE, "data": caa})["data"] == caa
    names.rest("POST", "dns_records", {"type": "TXT", "name": "t", "content": 'say "hi"; ok'})
    assert names.short(f"t.{ZONE}", "TXT") == ['"say \\"hi\\"; ok"']
    assert "not the data" in names.rest("POST", "dns_records", {"type": "A", "name": "t", "content": "x y"}, 400)
    names.rest("GET", "dns_records/xyz", expect=400)
    assert len(names.rest("GET", "dns_records?per_page=2&page=2")) == 2

    listed = json.loads(names.command("list", "--json"))
    assert {r["from"] for r in listed} == {"record", "route"}
    assert "1 record" in names.command("remove", f"t.{ZONE}", "TXT", 'say "hi"; ok')
    assert "no such record" in names.command("remove", f"t.{ZONE}", expect=1)
    done = names.edge.command("route", "remove", host)
    assert done.returncode == 0 and names.status(host, "A") == "NXDOMAIN", done


def test_serials_grow_and_a_successor_answers(names):
    serials = [names.serial()]
    names.command("add", f"a.{ZONE}", "A", "192.0.2.7")
    serials.append(names.serial())
    names.command("remove", f"a.{ZONE}")
    serials.append(names.serial())
    names.edge.stop()
    ds = names.command("ds")
    names.command("add", f"b.{ZONE}", "A", "192.0.2.8")  # while nobody serves
    names.edge.start()
    serials.append(names.serial())
    assert names.short(f"b.{ZONE}", "A") == ["192.0.2.8"] and names.command("ds") == ds
    assert serials == sorted(set(serials))
    # One edge after the other has the sockets: nobody is left without an answer.
    left, missed, is_over = names.edge.program, [], threading.Event()

    def ask():
        while not is_over.is_set():
            for attempt in range(3):
                if names.udp(question(f"b.{ZONE}", 1), 5.0):
                    break
            else:
                missed.append(attempt)

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        argv = [ADIT_EDGE, "run", "--data", names.edge.data, "--takeover"]
        new = Program("edge-2", argv, names.edge.folder)
        new.wait_log(r"edge is ready")
        left.wait_log(r"a successor has taken over")
        names.edge.program = new
        assert left.wait() == 0
        assert names.short("+tcp", f"b.{ZONE}", "A") == ["192.0.2.8"]
    finally:
        is_over.set()
        asker.join()
    assert not missed
    assert names.serial() > serials[-1]


def test_it_is_no_amplifier_and_no_victim(names):
    names.command("add", ZONE, "TXT", "x" * 1000)
    for name, qtype in ((ZONE, 16), (ZONE, 255), (ZONE, 48), (f"no.{ZONE}", 1)):
        answer = names.udp(question(name, qtype, edns=65535))
        assert answer and len(answer) <= MOST_BYTES, (name, qtype, len(answer))
        answer = names.udp(question(name, qtype))
        assert answer and len(answer) <= 512
    # What is no question gets silence, or a head that says so and is no longer than what came.
    good = question(f"b.{ZONE}", 1, edns=1232)
    for packet in (b"", b"\0" * 11, good[:2] + b"\x80\0" + good[4:]):
        assert names.udp(packet, 0.3) is None
    for packet in (good[:14], good[:12] + b"\xff" * 40, good[:12] + b"\xc0\x0c\0\1\0\1",
                   good[:4] + b"\0\2" + good[6:], good[:4] + b"\xff\xff" * 4 + good[12:]):  # fmt: skip
        answer = names.udp(packet, 1.0)
        assert answer is None or (len(answer) <= len(packet) + 12 and answer[3] & 15 == 1), (packet, answer)
    chance = random.Random(77)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(("127.0.0.1", names.port))
        for _ in range(3000):
            packet = bytearray(good)
            for _ in range(chance.randrange(1, 6)):
                packet[chance.randrange(len(packet))] = chance.randrange(256)
            s.send(packet[: chance.randrange(len(packet) + 1)] if chance.random() < 0.3 else packet)
    # The same thing over and over: the rate is kept, and every second one beyond it is sent to TCP.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(("127.0.0.1", names.port))
        for _ in range(2000):
            s.send(question(ZONE, 16, edns=1232))
    wait_until(lambda: names.edge.metrics()["adit_edge_dns_limited_total"] > 100, "answers that are held back")
    # Who proves its address is served all the same.
    assert names.short("+tcp", f"adit.{ZONE}", "SOA") == []
    assert names.short(ZONE, "NS", at="::1") != []
    # TCP: half a question, and one that is too long.
    for start in (b"\0\x20\0\0", b"\xff\xff" + b"\0" * 100):
        with socket.create_connection(("127.0.0.1", names.port), timeout=20) as s:
            s.sendall(start)
    with socket.create_connection(("127.0.0.1", names.port), timeout=20) as s:
        two = b"".join(struct.pack("!H", len(q)) + q for q in (good, good))
        s.sendall(two[:5])
        s.sendall(two[5:])  # one after the other, in one connection
        for _ in range(2):
            size = struct.unpack("!H", exactly(s, 2))[0]
            assert size > 12 and exactly(s, size)


def test_settings_are_checked(own, tmp_path):
    edge = own.edge(start=False)
    config = edge.data / "edge.yml"
    text = config.read_text()

    def check(more):
        config.write_text(text + more)
        return edge.command("check")

    assert "records of the zones are managed elsewhere" in check("").stdout
    assert "records of the zones are managed elsewhere" in check("dns: wildcard\n").stdout
    port = net.free_port()
    done = check(f'dns: "127.0.0.1:{port}"\ndns-nameserver: [ns1.example.com, ns2.example.com=192.0.2.2]\n')
    assert done.returncode == 0 and "ns2.example.com=192.0.2.2" in done.stdout and "127.0.0.1" in done.stdout, done
    for more, said in (
        ("dns: unix:/tmp/x\n", "not resolved at a path"),
        ("dns-nameserver: 'ns1 x'\n", "edge.yml"),
        ("dns-nameserver: ns1.example.com=x\n", "no IP address"),
        ("dns-address: example.com\n", "no IP address"),
        ("dns-ttl: 0s\n", "from 1s to 168h"),
        ("dns-resolver: example.com\n", "neither an IP address nor off"),
        ("dns-sgin: off\n", "did you mean 'dns-sign'"),
    ):
        done = check(more)
        assert done.returncode == 1 and said in done.stderr, (more, done)
    # Name servers of other people's choice, and no signatures.
    config.write_text(
        text + f'dns: "127.0.0.1:{port}"\ndns-nameserver: [ns1.example.com, ns2.example.com=192.0.2.2, ns.example.net]\n'
        "dns-sign: off\ndns-contact: first.last@example.net\n"
    )
    edge.start()

    def dig(*args):
        return run(["dig", "@127.0.0.1", "-p", str(port), "+short", "+time=5", *args]).stdout.split("\n")[:-1]

    assert sorted(dig(ZONE, "NS")) == ["ns.example.net.", "ns1.example.com.", "ns2.example.com."]
    assert dig("ns1.example.com", "A") == ["127.0.0.1"] and dig("ns2.example.com", "A") == ["192.0.2.2"]
    assert dig(ZONE, "SOA")[0].split()[1] == "first\\.last.example.net."
    assert dig(ZONE, "DNSKEY") == []
    done = edge.command("dns", "ds")
    assert done.returncode == 1 and "dns-sign: off" in done.stderr, done
