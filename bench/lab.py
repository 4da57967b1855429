"""The place where measurements happen: a scratch folder in memory, programs, certificates, clients.

Programs are started here and ended here, each by its own process; nothing else is touched.
"""

import ctypes
import dataclasses
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

import accounting

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
HOST = "app.example.com"
GIB = 1 << 30
PARTS = 64  # of the bulk, when many carry it together
CORES = len(os.sched_getaffinity(0))

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


class CannotMeasure(Exception):
    """A measurement could not be made; the message says why."""


def _die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]



class Program:
    """One started program with its children. Its output goes to SCRATCH/NAME.log."""

    def __init__(self, name, argv, scratch, env=None):
        self.name = name
        self.log = scratch / f"{name}.log"
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(
                [str(a) for a in argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=scratch,
                env={**os.environ, **(env or {})},
                preexec_fn=_die_with_parent,
            )

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process.poll() is None

    def cpu(self):
        return sum(accounting.cpu_seconds(pid) for pid in accounting.tree(self.pid))

    def rss(self):
        return accounting.rss_bytes(accounting.tree(self.pid))

    def tail(self):
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-3:])

    def wait_for(self, what, ready, seconds=15):
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running():
                raise CannotMeasure(f"{self.name} ended with {self.process.returncode}: {self.tail()}")
            if time.monotonic() > deadline:
                raise CannotMeasure(f"{self.name}: no {what} in {seconds} s: {self.tail()}")
            time.sleep(0.02)

    def wait_listening(self, port):
        def listening():
            with socket.socket() as s:
                s.settimeout(1)
                return s.connect_ex(("127.0.0.1", port)) == 0

        self.wait_for(f"listener on port {port}", listening)

    def wait_logged(self, text, count=1, seconds=15):
        self.wait_for(
            f"{count} × '{text}' in the log",
            lambda: self.log.read_text(errors="replace").count(text) >= count,
            seconds,
        )

    def stop(self, seconds=10):
        if self.running():
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@dataclasses.dataclass
class Chain:
    """From a visitor's TLS port to the origin: one way of doing what a tunnel does."""

    name: str
    port: int
    parts: dict  # what we call it: Program
    host: str = HOST
    ca: pathlib.Path = None

    def cpu(self):
        return {part: program.cpu() for part, program in self.parts.items()}

    def check_alive(self):
        for program in self.parts.values():
            if not program.running():
                raise CannotMeasure(f"{self.name}: {program.name} has ended: {program.tail()}")


class Lab:
    def __init__(self, quick):
        self.quick = quick
        self.bulk_bytes = GIB // 8 if quick else GIB
        self.bin = pathlib.Path(os.environ["ADIT_BIN_DIR"]).resolve()
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="adit-bench-", dir=memory))
        self.scratch.chmod(0o755)  # nginx's workers may run as somebody else
        self.programs = []
        self.cloudflared = os.environ.get("CLOUDFLARED") or None
        self.haproxy = shutil.which("haproxy")
        try:
            self._make_certificates()
            self._start_origin()
        except CannotMeasure:
            self.close()
            raise

    # --- programs ---

    def start(self, name, argv, env=None):
        program = Program(name, argv, self.scratch, env)
        self.programs.append(program)
        return program

    def stop(self, *programs):
        for program in reversed(programs):
            program.stop()
            self.programs.remove(program)

    def close(self):
        for program in reversed(self.programs):
            program.stop()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def run(self, argv, env=None, seconds=30, stdin=None):
        """A command that ends by itself; its standard output."""
        try:
            done = subprocess.run(
                [str(a) for a in argv],
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self.scratch,
                env={**os.environ, **(env or {})},
                timeout=seconds,
                text=True,
                check=False,
            )
        except subprocess.TimeoutExpired as e:
            raise CannotMeasure(f"{argv[0]} took more than {seconds} s") from e
        if done.returncode != 0:
            raise CannotMeasure(
                f"{' '.join(map(str, argv))}: exit {done.returncode}: {(done.stderr or done.stdout)[-300:]}"
            )
        return done.stdout

    def template(self, source, target, **values):
        text = (HERE / source).read_text()
        root = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
        everywhere = {
            "USER": root,
            "DIR": self.scratch,
            "HOST": HOST,
            "CORES": CORES,
            "ORIGIN": self.origin_port,
            "COUNTER": self.counter_port,
            "SINK": self.sink_port,
        }
        for key, value in {**everywhere, **values}.items():
            text = text.replace(f"@{key}@", str(value))
        path = self.scratch / target
        path.write_text(text)
        return path

    def nginx(self, name, config):
        return self.start(name, ["nginx", "-p", self.scratch, "-e", "stderr", "-c", config])

    # --- what all chains share ---

    def _make_certificates(self):
        """P-256, as the edge's own: a root and a server certificate for the rivals."""

        def openssl(*args):
            self.run(["openssl", *args])

        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
        openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=bench")
        openssl("req", "-x509", *curve, "-keyout", "server.key", "-out", "server.pem", "-subj",
                f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}", "-addext",
                "basicConstraints=critical,CA:FALSE", "-CA", "ca.pem", "-CAkey", "ca.key")  # fmt: skip
        both = (self.scratch / "server.pem").read_text() + (self.scratch / "server.key").read_text()
        (self.scratch / "server-both.pem").write_text(both)

    def _start_origin(self):
        self.origin_port, self.counter_port, self.sink_port = (free_port() for _ in range(3))
        self.resize_bulk(self.bulk_bytes)
        self.origin = self.nginx(
            "origin", self.template("nginx-origin.conf", "origin.conf", KIB="0123456789abcdef" * 64)
        )
        self.sink = self.start("sink", ["/usr/bin/python3", HERE / "sink.py", self.sink_port])
        self.origin.wait_listening(self.counter_port)
        self.sink.wait_listening(self.sink_port)

    def resize_bulk(self, size):
        self.bulk_bytes = size
        for name, length in (("bulk", size), ("part", size // PARTS)):
            with open(self.scratch / name, "wb") as bulk:
                bulk.truncate(length)

    def requests_at_origin(self):
        """How many requests the origin has had, this question not counted."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.counter_port}/", timeout=5) as answer:
            requests = int(answer.read().split()[9])
        self._questions = getattr(self, "_questions", 0) + 1
        return requests - self._questions

    # --- a visitor ---

    def curl(self, chain, path, *args, seconds=120):
        return self.run(
            ["curl", "-sS", "--http1.1", "--fail", "--cacert", chain.ca, "--max-time", seconds,
             "--resolve", f"{chain.host}:{chain.port}:127.0.0.1", *args,
             f"https://{chain.host}:{chain.port}{path}"],
            seconds=seconds + 5,
        )  # fmt: skip

    def check_chain(self, chain):
        """The whole way is there, and answers what the origin said."""
        deadline = time.monotonic() + 10
        while True:
            try:
                body = self.curl(chain, "/small", seconds=10)
                break
            except CannotMeasure:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        if len(body) != 1024:
            raise CannotMeasure(f"{chain.name}: /small has {len(body)} bytes, not 1024")
