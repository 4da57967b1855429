"""Claim: a thousand hostnames, each with a certificate of its own, cost little memory and no time.

Both servers have the same certificates and keys (P-256). Counted are the time from exec to the first handshake, what is
resident after it, and CPU per handshake when every visitor comes for another name.
"""

import http.client
import json
import os
import random
import socket
import ssl
import subprocess
import time

import visitors
from chains import Edge
from lab import CannotMeasure, Chain, free_port

ADIT, NGINX = "adit", "nginx"
CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]


def host_of(number):
    return f"h{number}.example.com"


def make_certificates(lab, count):
    """NAME.pem and NAME.key of each, by the root of the lab."""
    folder = lab.scratch / "names"
    folder.mkdir()
    for number in range(count):
        name = host_of(number)
        lab.run(["openssl", "req", "-x509", *CURVE, "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem",
                 "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-addext",
                 "basicConstraints=critical,CA:FALSE", "-CA", "ca.pem", "-CAkey", "ca.key"])  # fmt: skip
    return folder


class Admin(http.client.HTTPConnection):
    """The edge's socket for administration."""

    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(str(self.path))

    def post(self, path, body):
        self.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = self.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise CannotMeasure(f"POST {path}: {answer.status} {text[:200]!r}")


class OurNames:
    """An edge that was told of all certificates, one by one."""

    def __init__(self, lab, folder, count):
        self.lab = lab
        self.edge = Edge(lab, "names-edge")
        began = time.monotonic()
        admin = Admin(self.edge.data / "admin.sock")
        for number in range(count):
            name = host_of(number)
            pem = (folder / f"{name}.pem").read_text() + (folder / f"{name}.key").read_text()
            admin.post("/admin/v1/tls", {"pem": pem})
        admin.close()
        self.import_seconds = time.monotonic() - began
        self.port = self.edge.https
        lab.stop(self.edge.program)

    def start(self):
        argv = [self.lab.bin / "adit-edge", "run", "--data", self.edge.data]
        return self.lab.start("names-edge", argv)


class TheirNames:
    """nginx with a server block for each."""

    def __init__(self, lab, folder, count):
        self.lab, self.port = lab, free_port()
        lines = [
            "user root;" if os.geteuid() == 0 else "",
            "daemon off; worker_processes auto; worker_rlimit_nofile 16384; error_log stderr error; pid names.pid;",
            "events { worker_connections 8192; }",
            "http { access_log off; server_names_hash_max_size 8192; server_names_hash_bucket_size 128;",
            "client_body_temp_path names-body; proxy_temp_path names-proxy; fastcgi_temp_path names-fastcgi;",
            "uwsgi_temp_path names-uwsgi; scgi_temp_path names-scgi; ssl_protocols TLSv1.2 TLSv1.3;",
        ]
        for number in range(count):
            name = host_of(number)
            listen = f"127.0.0.1:{self.port} ssl" + (" reuseport backlog=4096" if number == 0 else "")
            lines.append(
                f"server {{ listen {listen}; server_name {name}; ssl_certificate {folder}/{name}.pem; "
                f"ssl_certificate_key {folder}/{name}.key; return 200; }}"
            )
        self.config = lab.scratch / "names.conf"
        self.config.write_text("\n".join([*lines, "}"]))

    def start(self):
        return self.lab.nginx("names-nginx", self.config)


def first_handshake(lab, subject, host, began, seconds=60):
    context = ssl.create_default_context(cafile=str(lab.scratch / "ca.pem"))
    while True:
        try:
            with socket.create_connection(("127.0.0.1", subject.port), timeout=5) as raw:
                with context.wrap_socket(raw, server_hostname=host):
                    return time.monotonic() - began
        except OSError as e:
            if time.monotonic() - began > seconds:
                raise CannotMeasure(f"no handshake in {seconds} s: {e}") from e
            time.sleep(0.002)


def handshakes(lab, subject, program, names, rounds):
    """CPU µs of one full handshake, for names at random."""
    chain = Chain("", subject.port, {}, names[0], lab.scratch / "ca.pem")
    before = program.cpu()
    for host in names:
        chain.host = host
        visitors.handshakes(chain, rounds, False)
    return (program.cpu() - before) / (len(names) * rounds) * 1e6


def run(lab, results):
    count, rounds, visits = (40, 1, 100) if lab.quick else (1000, 5, 1000)
    results.about["hostnames"] = str(count)
    try:
        folder = make_certificates(lab, count)
        subjects = {ADIT: OurNames(lab, folder, count), NGINX: TheirNames(lab, folder, count)}
    except (CannotMeasure, OSError, subprocess.SubprocessError) as e:
        results.fail("names", e)
        return
    results.add("import", ADIT, "ms each", 0, subjects[ADIT].import_seconds / count * 1e3)
    for turn in range(rounds):
        for name, subject in subjects.items():
            try:
                began = time.monotonic()
                program = subject.start()
                first = first_handshake(lab, subject, host_of(count - 1), began)
                resident, start_cpu = program.rss(), program.cpu()
                names = [host_of(random.randrange(count)) for _ in range(visits)]
                cost = handshakes(lab, subject, program, names, 1)
                after = program.rss()
                lab.stop(program)
            except (CannotMeasure, OSError) as e:
                results.fail(f"{count} names of {name}, round {turn + 1}", e)
                continue
            results.add("names", name, "first ms", turn, first * 1e3)
            results.add("names", name, "start CPU ms", turn, start_cpu * 1e3)
            results.add("names", name, "bytes", turn, resident)
            results.add("names", name, "bytes after", turn, after)
            results.add("names", name, "µs", turn, cost)
            print(f"  {turn + 1}/{rounds} {name:6} first {first * 1e3:6.0f} ms, {resident / 1e6:6.1f} MB, "
                  f"{cost:5.0f} µs each", flush=True)  # fmt: skip
