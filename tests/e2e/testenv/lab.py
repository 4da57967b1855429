"""A second host: a network and mount namespace joined to ours by one cable, and a name server for it."""

import socket
import struct
import subprocess
import threading

from .program import BIN, _die_with_parent, check

OURS4, OURS6 = "10.91.0.1", "fd91::1"
THEIRS4, THEIRS6 = "10.91.0.2", "fd91::2"


class Lab:
    """`host(argv)` is the argument list of a program that runs on the other host. The cable ends in `lab0` here
    and `eth0` there. Default routes lead to us. With `line` the cable is a bad one, with settings as Line takes
    them, and there is no ARP on it."""

    count = 0

    def __init__(self, folder, v4=True, v6=True, line=None):
        Lab.count += 1
        self.folder = folder
        self.names = {}
        self.ours = f"lab{Lab.count}"
        # /etc/resolv.conf of the other host is a file of ours.
        self.resolv_conf = folder / "resolv.conf"
        self.resolv_conf.write_text(f"nameserver {OURS4 if v4 else OURS6}\noptions timeout:1 attempts:1\n")
        script = f"mount --bind {self.resolv_conf} /etc/resolv.conf && ip link set lo up && echo up && exec sleep 9999"
        self.holder = subprocess.Popen(
            ["unshare", "-n", "-m", "sh", "-c", script], stdout=subprocess.PIPE, preexec_fn=_die_with_parent
        )
        assert self.holder.stdout.readline() == b"up\n"
        if line is None:
            self.ip("link", "add", "name", self.ours, "type", "veth", "peer", "name", "eth0", "netns", self.holder.pid)
        self.line = Line(self.holder.pid, self.ours, "eth0", line) if line is not None else None
        # No link-local addresses: they come a second later, and a change is a change.
        self.ip("link", "set", self.ours, "addrgenmode", "none")
        self.there("link", "set", "eth0", "addrgenmode", "none")
        if v4:
            self.ip("addr", "add", f"{OURS4}/24", "dev", self.ours)
            self.there("addr", "add", f"{THEIRS4}/24", "dev", "eth0")
        if v6:
            # nodad: nobody else can have it, and the check takes a second.
            self.ip("addr", "add", f"{OURS6}/64", "dev", self.ours, "nodad")
            self.there("addr", "add", f"{THEIRS6}/64", "dev", "eth0", "nodad")
        self.ip("link", "set", self.ours, "up")
        self.there("link", "set", "eth0", "up")
        if v4:
            self.there("route", "add", "default", "via", OURS4)
        self.dns = None

    def host(self, argv):
        return ["nsenter", "-t", self.holder.pid, "-n", "-m", "--", *argv]

    def ip(self, *args):
        return check(["ip", *args])

    def there(self, *args):
        return check(self.host(["ip", *args]))

    def pull(self):
        self.ip("link", "set", self.ours, "down")

    def put_back(self):
        self.ip("link", "set", self.ours, "up")

    def serve_names(self, names, at=OURS4):
        self.dns = Dns(names, at)
        return self.dns

    def peers_of(self, port):
        """Addresses of the other host that have a connection to our `port`, by the kernel's tables."""
        peers = []
        for line in check(["ss", "-Htn", "state", "established", f"sport = :{port}"]).splitlines():
            peers.append(line.split()[3].rsplit(":", 1)[0].strip("[]").removeprefix("::ffff:"))
        return sorted(peers)

    def close(self):
        if self.dns:
            self.dns.close()
        if self.line:
            self.line.close()
        self.holder.kill()
        self.holder.wait()
        subprocess.run(["ip", "link", "del", self.ours], check=False, stderr=subprocess.DEVNULL)


class Line:
    """A bad line: tests/fake/lossy_link. Settings are those of the program: loss and reorder in per cent, delay and
    jitter in ms each way, rate in Mbit/s, queue in KiB, mtu in bytes, block (none, udp, tcp, all)."""

    PROGRAM = BIN / "lossy_link"

    def __init__(self, pid, ours, theirs, settings):
        argv = [self.PROGRAM, f"/proc/{pid}/ns/net", ours, theirs, *(f"{k}={v}" for k, v in settings.items())]
        self.program = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=_die_with_parent
        )
        assert self.program.stdout.readline() == "up\n", "no TUN devices here"

    def _ask(self, line):
        self.program.stdin.write(line + "\n")
        self.program.stdin.flush()
        return self.program.stdout.readline().strip()

    def set(self, **settings):
        answer = self._ask(" ".join(f"{k}={v}" for k, v in settings.items()))
        assert answer == "ok", answer

    def rebind(self):
        """The other host is seen with other ports from now on, as behind a NAT that has forgotten."""
        assert self._ask("rebind") == "ok"

    def counts(self):
        return {name: int(n) for name, n in (word.split("=") for word in self._ask("counts").split())}

    def close(self):
        self.program.stdin.close()
        self.program.wait()


def why_no_line():
    """Why bad lines cannot be had here, or None."""
    if not Line.PROGRAM.exists():
        return f"there is no {Line.PROGRAM}"
    try:
        with open("/dev/net/tun", "r+b", buffering=0):
            return None
    except OSError as e:
        return f"no TUN devices: {e}"


TYPES = {"A": 1, "AAAA": 28, "SRV": 33}


class Dns:
    """A name server. `names` maps (name, type) to a list of texts: addresses, or "priority weight port target";
    it may be changed at any time. Other names do not exist."""

    def __init__(self, names, at):
        self.names, self.asked = names, []
        self.answers = True
        self.socket = socket.socket(socket.AF_INET6 if ":" in at else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((at, 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                question, peer = self.socket.recvfrom(4096)
            except OSError:
                return
            if not question:  # shut down
                return
            if self.answers:
                try:
                    self.socket.sendto(self._answer(question), peer)
                except OSError:
                    pass

    @staticmethod
    def _wire(name):
        return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"

    def _data(self, kind, text):
        if kind == "A":
            return socket.inet_pton(socket.AF_INET, text)
        if kind == "AAAA":
            return socket.inet_pton(socket.AF_INET6, text)
        priority, weight, port, target = text.split()
        return struct.pack("!HHH", int(priority), int(weight), int(port)) + self._wire(target)

    def _answer(self, question):
        at, labels = 12, []
        while question[at]:
            labels.append(question[at + 1 : at + 1 + question[at]].decode().lower())
            at += 1 + question[at]
        end = at + 5
        name, number = ".".join(labels), struct.unpack("!H", question[at + 1 : at + 3])[0]
        kind = next((k for k, n in TYPES.items() if n == number), None)
        self.asked.append((name, kind))
        texts = self.names.get((name, kind), [])
        exists = any(known == name for known, _ in self.names)
        flags = 0x8180 if exists else 0x8183
        head = question[:2] + struct.pack("!HHHHH", flags, 1, len(texts), 0, 0)
        records = b""
        for text in texts:
            data = self._data(kind, text)
            records += b"\xc0\x0c" + struct.pack("!HHIH", number, 1, 60, len(data)) + data
        return head + question[12:end] + records

    def close(self):
        # Wakes recvfrom(), which close() does not.
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()
