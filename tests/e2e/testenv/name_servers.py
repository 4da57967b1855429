"""Name servers that others wrote: nsd and knot as secondaries, named and knot as servers that are updated."""

import re

from . import net
from .program import Program, run
from .wait import NeverCame, wait_until

ZONE = "example.com"


def dig(port, *args, key=None):
    """What dig says, as text; `key` is a Key."""
    more = ["-y", key.dig] if key else []
    return run(["dig", "@127.0.0.1", "-p", str(port), "+time=2", "+tries=3", *more, *args], seconds=60).stdout


def short(port, name, kind, **kwargs):
    return sorted(dig(port, "+short", "+norecurse", name, kind, **kwargs).split("\n"))[1:]


def serial(port):
    found = re.findall(r"^\S+ \S+ (\d+) ", "\n".join(short(port, ZONE, "SOA")), re.MULTILINE)
    return int(found[0]) if found else None


class Key:
    def __init__(self, name, secret, algorithm="hmac-sha256"):
        self.name, self.secret, self.algorithm = name, secret, algorithm

    @property
    def dig(self):
        return f"{self.algorithm}:{self.name}:{self.secret}"


class NameServer:
    """One of them, on a port of its own."""

    def __init__(self, folder, name):
        self.folder = folder / name
        self.folder.mkdir()
        self.port, self.name, self.program = net.free_port(), name, None

    def start(self, argv):
        self.program = Program(self.name, argv, self.folder)
        return self

    def wait_answers(self):
        def answers():
            assert self.program.is_running(), f"{self.name} ended:\n{self.program.text()[-3000:]}"
            return "status:" in dig(self.port, ZONE, "SOA")

        wait_until(answers, f"{self.name} that answers", 30)
        return self

    def wait_serial(self, other):
        """Until it has what the server at that port has."""
        try:
            wait_until(lambda: serial(other) is not None and serial(self.port) == serial(other), "new serial", 60)
        except NeverCame as e:
            raise NeverCame(
                f"{e}: {serial(self.port)} instead of {serial(other)}\n{self.program.text()[-3000:]}"
            ) from e


class Nsd(NameServer):
    def __init__(self, folder, primary, key):
        super().__init__(folder, "nsd")
        conf = self.folder / "nsd.conf"
        conf.write_text(f"""
server:
    ip-address: 127.0.0.1@{self.port}
    username: ""
    server-count: 1
    database: ""
    zonesdir: "{self.folder}"
    pidfile: "{self.folder}/nsd.pid"
    xfrdfile: "{self.folder}/xfrd.state"
    zonelistfile: "{self.folder}/zone.list"
    xfrdir: "{self.folder}"
    verbosity: 3
    rrl-ratelimit: 0
remote-control:
    control-enable: no
key:
    name: "{key.name}"
    algorithm: {key.algorithm}
    secret: "{key.secret}"
zone:
    name: "{ZONE}"
    zonefile: "zone"
    allow-notify: 127.0.0.1 {key.name}
    request-xfr: 127.0.0.1@{primary} {key.name}
    provide-xfr: 127.0.0.1 NOKEY
""")
        self.start(["nsd", "-d", "-c", conf])

class Knot(NameServer):
    """With `primary` a secondary of that port; else a primary that takes updates signed with the key."""

    def __init__(self, folder, key, primary=None, records=()):
        super().__init__(folder, "knot")
        conf, zone = self.folder / "knot.conf", self.folder / "zone"
        if primary is None:
            zone.write_text(zone_text(records))
        conf.write_text(f"""
server:
    listen: 127.0.0.1@{self.port}
    rundir: "{self.folder}"
log:
  - target: stderr
    any: info
database:
    storage: "{self.folder}"
key:
  - id: {key.name}
    algorithm: {key.algorithm}
    secret: {key.secret}
remote:
  - id: primary
    address: 127.0.0.1@{primary or 1}
    key: {key.name}
acl:
  - id: signed
    address: 127.0.0.1
    key: {key.name}
    action: [notify, update, transfer]
  - id: local
    address: 127.0.0.1
    action: transfer
zone:
  - domain: {ZONE}
    storage: "{self.folder}"
    file: zone
    acl: [signed, local]
    zonefile-load: {"none" if primary else "whole"}
    {"master: primary" if primary else ""}
""")
        self.start(["knotd", "-c", conf])

    def transfers(self):
        """How many whole zones and how many changes came."""
        text = self.program.text()
        return len(re.findall(r"AXFR, incoming, .*finished", text)), len(re.findall(r"IXFR, incoming, .*finished", text))


class Named(NameServer):
    """A primary that takes updates signed with the key."""

    def __init__(self, folder, key, records=()):
        super().__init__(folder, "named")
        conf, zone = self.folder / "named.conf", self.folder / "zone"
        zone.write_text(zone_text(records))
        conf.write_text(f"""
options {{
    directory "{self.folder}";
    pid-file "{self.folder}/named.pid";
    session-keyfile "{self.folder}/session.key";
    listen-on port {self.port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    recursion no; notify no; dnssec-validation no; allow-transfer {{ 127.0.0.1; }};
}};
controls {{ }};
key "{key.name}" {{ algorithm {key.algorithm}; secret "{key.secret}"; }};
zone "{ZONE}" {{ type primary; file "{zone}"; allow-update {{ key "{key.name}"; }}; }};
""")
        self.start(["named", "-g", "-n", "1", "-c", conf])


def zone_text(records):
    lines = [f"$ORIGIN {ZONE}.", "$TTL 300", "@ SOA ns hostmaster 1 3600 600 86400 60", "@ NS ns", "ns A 192.0.2.53"]
    return "\n".join([*lines, *records, ""])


def transferred(port, folder, key=None):
    """The zone as AXFR gives it, in a file."""
    path = folder / "transferred"
    text = dig(port, "+nocomments", "+noquestion", "+nostats", "+nocmd", ZONE, "AXFR", key=key)
    path.write_text("\n".join(line for line in text.split("\n") if not re.search(r"\sTSIG\s", line)))
    return path


def verify(path):
    """ldns-verify-zone: all signatures and the chain of NSEC."""
    done = run(["ldns-verify-zone", path])
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{path.read_text()}"
