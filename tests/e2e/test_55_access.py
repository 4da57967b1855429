"""`adit access tcp`: real programs reach real services through it, over both connectors."""

import contextlib
import hashlib
import os
import pathlib
import pty
import re
import shlex
import signal
import socket
import stat
import subprocess
import threading

import pytest

from testenv import net, postgres, sshd
from testenv import stage as stages
from testenv import websocket as ws
from testenv.certs import OriginCerts
from testenv.connector import KINDS, Cli, write_config
from testenv.edge import ZONE, Edge
from testenv.origin import Origin, pattern_file, pattern_sha256
from testenv.program import ADIT, PATIENCE, STOCK, Program, clean_env, run
from testenv.wait import exactly, wait_settled, wait_until

MB = 1 << 20
BIG = 200 * MB


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while data := f.read(MB):
            digest.update(data)
    return digest.hexdigest()


# --- services ------------------------------------------------------------------------------------------


class Service:
    """A TCP service; `handle(sock)` in a thread for each connection."""

    def __init__(self, handle):
        self.handle, self.live, self.served = handle, 0, 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=300)
        self.url = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                threading.Thread(target=self.one, args=(sock,), daemon=True).start()

    def one(self, sock):
        with self.lock:
            self.live += 1
            self.served += 1
        try:
            with sock, contextlib.suppress(OSError):
                self.handle(sock)
        finally:
            with self.lock:
                self.live -= 1

    def close(self):
        self.listener.close()


def echo(sock):
    while data := sock.recv(65536):
        sock.sendall(data)


def after_end(sock):
    """Answers only once it has seen the end."""
    digest = hashlib.sha256()
    while data := sock.recv(65536):
        digest.update(data)
    sock.sendall(digest.hexdigest().encode())


def greet(sock):
    sock.sendall(b"welcome\n")
    echo(sock)


def torrent(sock):
    block = bytes(65536)
    for _ in range(BIG // len(block)):
        sock.sendall(block)


def reset(sock):
    sock.sendall(b"part")
    sock.recv(1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


class Stalled:
    """Reads nothing until it is told to."""

    def __init__(self):
        self.may_read = threading.Event()

    def __call__(self, sock):
        self.may_read.wait()
        after_end(sock)


stalled = Stalled()
SERVICES = {"stalled": stalled, "echo": echo, "afterend": after_end, "greet": greet, "torrent": torrent, "reset": reset}


class Place:
    """One edge, services, and a connector of each kind in front of them."""

    def __init__(self, folder):
        self.folder = folder
        self.edge = Edge(folder).start()
        self.services = {name: Service(handle) for name, handle in SERVICES.items()}
        self.origin = Origin()
        self.sshd = sshd.start(folder / "sshd")
        self.connectors = {}
        self.client = Cli("adit", self.edge, folder / "client").log_in()
        self.closed_port = net.free_port()
        self.postgres = None

    def database(self):
        self.postgres = self.postgres or postgres.Postgres()
        return self.postgres

    def connect(self, kind):
        if kind in self.connectors:
            return
        cli = Cli(kind, self.edge, self.folder)
        if not cli.cert.exists():
            cli.log_in()
        tunnel = cli.create(f"{kind}-access")
        urls = {name: s.url for name, s in self.services.items()}
        urls |= {"ssh": f"ssh://127.0.0.1:{self.sshd.port}", "web": self.origin.service, "bastion": "bastion",
                 "refused": f"tcp://127.0.0.1:{self.closed_port}",
                 "postgres": f"tcp://127.0.0.1:{self.database().port}"}  # fmt: skip
        rules = [{"hostname": self.host(kind, name), "service": url} for name, url in urls.items()]
        rules.append({"hostname": self.host(kind, "socks"), "service": "socks-proxy", "originRequest":
                      {"ipRules": [{"prefix": "127.0.0.0/8", "allow": True}]}})  # fmt: skip
        cli.route(tunnel, *[r["hostname"] for r in rules], self.host(kind, "idle"))
        config = write_config(self.folder / f"{kind}-access.yml", tunnel, rules)
        self.connectors[kind] = cli.connect(tunnel, config, name=f"connector-{kind}")

    @staticmethod
    def host(kind, name):
        return f"{kind}-{name}.{ZONE}"

    def close(self):
        for connector in self.connectors.values():
            connector.stop()
        self.edge.wait_connections(0)
        self.edge.stop()
        if self.postgres:
            self.postgres.close()
        self.sshd.program.signal(signal.SIGTERM)
        self.sshd.program.wait()
        for service in self.services.values():
            service.close()
        self.origin.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    from conftest import edges

    missing = stages.have("sshd", "ssh", "scp", "sftp", "ssh-keygen", "setpriv")
    missing += [name for name in ("initdb", "postgres", "psql") if not postgres.find(name)]
    if missing:
        pytest.exit(f"not installed: {' '.join(missing)}", returncode=3)
    p = Place(tmp_path_factory.mktemp("access"))
    edges.append(p.edge)
    yield p
    edges.remove(p.edge)
    p.close()


class Access:
    """`adit access` as a person uses it, towards services of one kind of connector."""

    def __init__(self, place, kind):
        self.place, self.kind = place, kind
        self.programs = []

    def host(self, name):
        return self.place.host(self.kind, name)

    def argv(self, name, *args, command="tcp"):
        """The hostname has no address here, hence --connect-to; its certificate is verified all the same."""
        return [str(a) for a in (ADIT, "access", command, "--hostname", self.host(name), "--connect-to",
                                 f"127.0.0.1:{self.place.edge.https}", *args)]  # fmt: skip

    def env(self, **more):
        return self.place.client.env(**more)

    def run(self, name, *args, input=b"", env=None, seconds=30):
        """Standard input and output, as bytes."""
        return subprocess.run(self.argv(name, *args), input=input, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=self.env(**(env or {})), timeout=seconds * PATIENCE, check=False)  # fmt: skip

    def start(self, name, *args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=None):
        process = subprocess.Popen(self.argv(name, *args), stdin=stdin, stdout=stdout, stderr=subprocess.PIPE,
                                   env=self.env(**(env or {})))  # fmt: skip
        self.programs.append(process)
        return process

    def listen(self, name, *args, at="127.0.0.1:0", env=None):
        """A local listener: its program and where it is."""
        argv = self.argv(name, "--url", at, "--loglevel", "debug", *args)
        program = Program(f"access-{self.kind}-{name}", argv, self.place.folder, self.env(**(env or {})))
        self.programs.append(program)
        where = program.wait_log(r"Start Websocket listener host=(\S+)")[1]
        return program, where

    def port(self, name, *args, **kwargs):
        return int(self.listen(name, *args, **kwargs)[1].rsplit(":", 1)[1])

    def proxy_command(self, name="ssh"):
        return shlex.join(self.argv(name, command="ssh")).replace("%", "%%")

    def close(self):
        for program in self.programs:
            if isinstance(program, Program):
                program.stop()
                continue
            if program.poll() is None:
                program.kill()
            program.wait()
            for pipe in (program.stdin, program.stdout, program.stderr):
                if pipe:
                    with contextlib.suppress(OSError):
                        pipe.close()


@pytest.fixture(params=KINDS)
def access(request, place):
    from conftest import need

    need(request.param)
    place.connect(request.param)
    a = Access(place, request.param)
    yield a
    a.close()
    place.origin.forget()


@pytest.fixture
def ours(place):
    place.connect("adit")
    a = Access(place, "adit")
    yield a
    a.close()
    place.origin.forget()


def failed(done, *texts):
    """Nothing on standard output, one line on standard error, exit status 1."""
    out, err = done.stdout, done.stderr.decode() if isinstance(done.stderr, bytes) else done.stderr
    assert done.returncode == 1 and not out, done
    assert err.count("\n") == 1 and err.endswith("\n"), err
    for text in texts:
        assert text in err, (text, err)


# --- ssh -------------------------------------------------------------------------------------------------


def ssh(access, *args, **kwargs):
    where = access.place.sshd
    argv = ["ssh", *where.options(access.proxy_command()), f"{where.user}@service", *args]
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=access.env(),
                          timeout=60 * PATIENCE, check=False, **kwargs)  # fmt: skip


def test_ssh_runs_a_command(access):
    done = ssh(access, "echo out; echo err >&2; cat; exit 7", input=b"typed in")
    assert (done.stdout, done.stderr, done.returncode) == (b"out\ntyped in", b"err\n", 7)


def test_ssh_moves_much_both_ways_at_once(access):
    data = os.urandom(8 * MB)
    done = ssh(access, "cat", input=data)
    assert done.returncode == 0 and done.stdout == data


@pytest.mark.slow
def test_scp_of_a_large_file_both_ways(access, tmp_path):
    where = access.place.sshd
    options = where.options(access.proxy_command())
    pattern_file(tmp_path / "file", BIG)
    there, back = tmp_path / "there", tmp_path / "back"
    for source, sink in ((tmp_path / "file", f"{where.user}@service:{there}"), (f"{where.user}@service:{there}", back)):
        done = run(["scp", "-q", *options, source, sink], env=access.env(), seconds=180)
        assert done.returncode == 0, done
    assert sha256(there) == sha256(back) == pattern_sha256(BIG)


def test_sftp(access, tmp_path):
    where = access.place.sshd
    (tmp_path / "batch").write_text(f"cd {tmp_path}\nput file copied\nrename copied renamed\nget renamed back\nls -1\n")
    pattern_file(tmp_path / "file", 3 * MB)
    done = run(["sftp", "-q", "-b", tmp_path / "batch", *where.options(access.proxy_command()),
                f"{where.user}@service"], env=access.env(), cwd=tmp_path, seconds=60)  # fmt: skip
    assert done.returncode == 0 and "renamed" in done.stdout, done
    assert sha256(tmp_path / "back") == pattern_sha256(3 * MB)


def test_ssh_forwards_ports(access):
    where, port = access.place.sshd, net.free_port()
    inner = access.place.services["echo"].url.rsplit(":", 1)[1]
    argv = ["ssh", *where.options(access.proxy_command()), "-N", "-o", "ExitOnForwardFailure=yes", "-L",
            f"127.0.0.1:{port}:127.0.0.1:{inner}", f"{where.user}@service"]  # fmt: skip
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=access.env())
    try:

        def connect():
            assert process.poll() is None, process.stderr.read()
            with contextlib.suppress(OSError):
                return socket.create_connection(("127.0.0.1", port))
            return None

        with wait_until(connect, "ssh's forwarded port", 30 * PATIENCE) as sock:
            sock.settimeout(30 * PATIENCE)
            sock.sendall(b"through ssh")
            assert exactly(sock, 11) == b"through ssh"
    finally:
        process.terminate()
        process.wait(30 * PATIENCE)
        process.stderr.close()


def test_ssh_through_a_listener(access):
    where = access.place.sshd
    port = access.port("ssh")
    argv = ["ssh", *where.options(), "-p", str(port), f"{where.user}@127.0.0.1", "echo here; exit 3"]
    done = run(argv, env=access.env(), seconds=60)
    assert (done.stdout, done.returncode) == ("here\n", 3), done


def test_the_printed_ssh_config_works(ours, tmp_path):
    """ssh-config's own stanza; only where the hostname is has to be added, it is in no name service."""
    done = ours.place.client.run("access", "ssh-config", "--hostname", ours.host("ssh"))
    assert done.returncode == 0
    stanza = done.stdout.split(".ssh/config:\n", 1)[1]
    place = f"--connect-to 127.0.0.1:{ours.place.edge.https}"
    (tmp_path / "config").write_text(stanza.replace("%h", f"%h {place}"))
    where = ours.place.sshd
    options = where.options()
    options[options.index("-F") + 1] = str(tmp_path / "config")
    done = run(["ssh", *options, f"{where.user}@{ours.host('ssh')}", "exit 5"], env=ours.env(), seconds=60)
    assert done.returncode == 5, done


# --- databases, SOCKS, bastions ------------------------------------------------------------------------


def test_a_postgres_session(access, tmp_path):
    port = access.port("postgres")

    def psql(sql, *args):
        argv = [postgres.find("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", port,
                "-U", "adit", "-d", "postgres", *args, "-c", sql]  # fmt: skip
        return run(argv, env=access.env(PGSSLMODE="disable"), seconds=120)

    rows, width = 5000, 10_000  # 50 MB
    table = f"t_{access.kind}"
    source, back = tmp_path / "rows", tmp_path / "back"
    line = hashlib.shake_128(b"row").hexdigest(width // 2)
    source.write_text("".join(f"{i}\t{line}\n" for i in range(rows)))
    assert psql(f"create table {table} (id int primary key, text text)").returncode == 0
    done = psql(f"\\copy {table} from '{source}'")
    assert done.returncode == 0, done
    assert psql(f"select count(*), sum(length(text)) from {table}").stdout == f"{rows}|{rows * width}\n"
    done = psql(f"\\copy (select * from {table} order by id) to '{back}'")
    assert done.returncode == 0 and sha256(back) == sha256(source), done
    done = psql(f"insert into {table} values (1, 'again')")
    assert done.returncode == 1 and "duplicate key value" in done.stderr, done
    # The error was the statement's, not the way's.
    assert psql(f"drop table {table}").returncode == 0


def test_curl_through_a_socks_proxy(access):
    origin = access.place.origin
    path = origin.on(lambda r: r.reply(200, body=b"by way of SOCKS"))
    port = access.port("socks")
    url = f"{origin.service}{path}"
    done = run(["curl", "-sS", "--socks5", f"127.0.0.1:{port}", url], env=access.env(), seconds=60)
    assert done.stdout == "by way of SOCKS", done
    refused = url.replace("127.0.0.1", "10.0.0.1")
    done = run(["curl", "-sS", "--socks5", f"127.0.0.1:{port}", refused], env=access.env(), seconds=60)
    assert done.returncode != 0


def test_a_bastion(access):
    inner = access.place.services["greet"].url
    done = access.run("bastion", "--destination", inner.removeprefix("tcp://"), input=b"hello")
    assert (done.returncode, done.stdout) == (0, b"welcome\nhello"), done


# --- standard input and output -------------------------------------------------------------------------


def test_the_service_may_speak_first(access):
    process = access.start("greet")
    assert process.stdout.read(8) == b"welcome\n"
    process.stdin.write(b"and back")
    process.stdin.flush()
    assert process.stdout.read(8) == b"and back"
    process.stdin.close()
    assert process.stdout.read() == b"" and process.wait(30 * PATIENCE) == 0
    assert process.stderr.read() == b""


def test_everything_arrives_before_the_end(access):
    """Whatever the far end makes of half-close, what it sends back is not lost."""
    data = os.urandom(20 * MB)
    done = access.run("echo", input=data, seconds=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


def test_half_close(ours):
    """A service that answers only once it has seen the end of what it is sent."""
    data = os.urandom(5 * MB)
    done = ours.run("afterend", input=data)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == hashlib.sha256(data).hexdigest()
    assert ours.run("afterend").stdout.decode() == hashlib.sha256(b"").hexdigest()


def test_half_close_through_a_listener(ours):
    port = ours.port("afterend")
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(30 * PATIENCE)
        sock.sendall(b"some bytes")
        sock.shutdown(socket.SHUT_WR)
        assert sock.makefile("rb").read().decode() == hashlib.sha256(b"some bytes").hexdigest()


def test_files_as_input_and_output(access, tmp_path):
    source = pattern_file(tmp_path / "in", 3 * MB + 1)
    with open(source, "rb") as stdin, open(tmp_path / "out", "wb") as stdout:
        process = access.start("echo", stdin=stdin, stdout=stdout)
        assert process.wait(60 * PATIENCE) == 0, process.stderr.read()
    assert sha256(tmp_path / "out") == sha256(source)


def test_a_terminal_as_input_and_output_stays_as_it_was(ours):
    ours_end, theirs = pty.openpty()
    flags = os.get_blocking(theirs)
    process = ours.start("greet", stdin=theirs, stdout=theirs)
    said = b""
    while b"welcome" not in said:
        said += os.read(ours_end, 100)
    os.write(ours_end, b"typed\n")
    while said.count(b"typed") < 2:  # the terminal's own echo, and the service's
        said += os.read(ours_end, 100)
    assert os.get_blocking(theirs) == flags
    os.write(ours_end, b"\x04")
    assert process.wait(30 * PATIENCE) == 0, process.stderr.read()
    assert os.get_blocking(theirs) == flags
    os.close(ours_end)
    os.close(theirs)


def test_nobody_reads_the_output_any_more(access):
    process = access.start("torrent", stdin=subprocess.DEVNULL)
    assert process.stdout.read(10) == bytes(10)
    process.stdout.close()
    assert process.wait(30 * PATIENCE) == 1
    assert process.stderr.read() == b""
    torrents = access.place.services["torrent"]
    wait_until(lambda: not torrents.live, "end at the service", 30 * PATIENCE)


@pytest.mark.slow
def test_a_slow_reader_stops_the_service_and_costs_no_memory(access):
    process = access.start("torrent", stdin=subprocess.PIPE)
    assert process.stdout.read(1) == b"\0"

    def resident():
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        return int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)[1]) * 1024

    wait_settled(resident)
    assert resident() < 100 * MB  # with a sanitizer's own; without bounds it would be 200 more
    assert access.place.services["torrent"].live == 1
    assert len(process.stdout.read()) == BIG - 1
    process.stdin.close()
    assert process.wait(60 * PATIENCE) == 0


def test_a_reset_is_told(ours):
    process = ours.start("reset")
    assert process.stdout.read(4) == b"part"
    process.stdin.write(b"x")
    process.stdin.flush()
    assert process.wait(30 * PATIENCE) == 1
    assert process.stderr.read().count(b"\n") == 1


def test_the_connector_goes_away(place, tmp_path):
    """A stream that is cut is not taken for one that has ended."""
    cli = Cli("adit", place.edge, tmp_path).log_in()
    tunnel = cli.create("short-lived")
    host = f"short-lived.{ZONE}"
    cli.route(tunnel, host)
    config = write_config(tmp_path / "c.yml", tunnel, [{"hostname": host, "service": place.services["greet"].url}])
    connector = cli.connect(tunnel, config)
    argv = [ADIT, "access", "tcp", "--hostname", host, "--connect-to", f"127.0.0.1:{place.edge.https}"]
    with subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env=cli.env()) as process:  # fmt: skip
        assert process.stdout.read(8) == b"welcome\n"
        connector.kill()
        assert process.wait(60 * PATIENCE) == 1
        assert process.stderr.read().count(b"\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_stream(ours, number):
    process = ours.start("greet")
    assert process.stdout.read(8) == b"welcome\n"
    process.send_signal(number)
    assert process.wait(30 * PATIENCE) == 1
    assert process.stderr.read() == b""
    greeters = ours.place.services["greet"]
    wait_until(lambda: not greeters.live, "end at the service", 30 * PATIENCE)


# --- listening -----------------------------------------------------------------------------------------


def talk(sock, data):
    sock.settimeout(60 * PATIENCE)
    sock.sendall(data)
    got = b""
    while len(got) < len(data):
        more = sock.recv(65536)
        assert more, "ended early"
        got += more
    assert got == data


def test_many_connections_at_once(access):
    port = access.port("echo")
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(100)]
        for i, sock in enumerate(socks):
            talk(sock, f"connection {i}".encode() * 10)
        for sock in reversed(socks):
            talk(sock, b"again")


@pytest.mark.parametrize("form", ["{}", "tcp://{}", "ssh://{}", "http://{}"])
def test_forms_of_the_listeners_address(ours, form):
    port = net.free_port()
    _, where = ours.listen("echo", at=form.format(f"localhost:{port}"))
    assert where == f"127.0.0.1:{port}"
    with socket.create_connection(("127.0.0.1", port)) as sock:
        talk(sock, b"x")


def test_a_unix_socket(ours, tmp_path):
    path = tmp_path / "s"
    program, _ = ours.listen("echo", at=f"unix:{path}")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        talk(sock, b"local")
    program.stop()
    assert not path.exists()


def test_a_signal_lets_running_connections_end(ours):
    program, where = ours.listen("echo")
    port = int(where.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)) as sock:
        talk(sock, b"before")
        program.signal(signal.SIGTERM)
        program.wait_log("Stopping")
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port))
        talk(sock, b"after")
    assert program.wait() == 0


def test_a_second_signal_ends_them(ours):
    program, where = ours.listen("echo")
    with socket.create_connection(("127.0.0.1", int(where.rsplit(":", 1)[1]))) as sock:
        talk(sock, b"before")
        program.signal(signal.SIGINT)
        program.wait_log("Stopping")
        program.signal(signal.SIGINT)
        assert program.wait() == 0
        sock.settimeout(20)
        assert sock.recv(10) == b""


def test_a_taken_port_is_told(ours):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = ours.run("echo", "--url", f"127.0.0.1:{port}")
    assert done.returncode == 1 and b"Address already in use" in done.stderr


def test_one_failure_does_not_stop_the_listener(ours):
    program, where = ours.listen("refused")
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", int(where.rsplit(":", 1)[1]))) as sock:
            sock.settimeout(30 * PATIENCE)
            assert sock.recv(10) == b""
    program.wait_log(r"failed to connect to origin .*502", count=2)


# --- whom to trust, and where to ------------------------------------------------------------------------


def test_the_edges_own_authority_is_trusted_only_when_somebody_says_so(ours, tmp_path):
    bare = clean_env(HOME=tmp_path)
    argv = ours.argv("echo")
    ca = ours.place.edge.ca

    def ask(args=(), **env):
        return run([*argv, *args], env={**bare, **{k: str(v) for k, v in env.items()}}, input="x")

    failed(ask(), "its issuer is unknown", "--cacert")
    for done in (ask(["--ca-file", ca]), ask(["--cacert", ca]), ask(ADIT_CA_FILE=ca), ask(TUNNEL_CACERT=ca),
                 ask(SSL_CERT_FILE=ca), ask(["--origincert", ours.place.client.cert])):  # fmt: skip
        assert (done.returncode, done.stdout) == (0, "x"), done
    failed(ask(["--ca-file", tmp_path / "none"]), "No such file")


def test_connecting_elsewhere_does_not_turn_verification_off(ours, tmp_path):
    """The stock client accepts any certificate with SNI:PORT:HOST. This server takes any SNI, and has one
    certificate: only the name in it may be reached."""
    certs = OriginCerts(tmp_path / "certs")
    elsewhere = Origin(tls=certs.server())
    port = elsewhere.service.rsplit(":", 1)[1]
    argv = [ADIT, "access", "tcp", "--hostname", ours.host("echo"), "--ca-file", certs.ca, "--connect-to"]
    try:
        for place, name in (
            (f"127.0.0.1:{port}", ours.host("echo")),
            (f"elsewhere.invalid:{port}:127.0.0.1", "elsewhere.invalid"),
        ):
            failed(run([*argv, place], env=ours.env()), f'certificate of "{name}" refused', "for another name")
        # The right name gets as far as HTTP, and this is no WebSocket.
        failed(run([*argv, f"{certs.NAME}:{port}:127.0.0.1"], env=ours.env()), "answered")
        # The right name under an authority that nobody named does not.
        no_ca = [*argv[: argv.index("--ca-file")], "--connect-to", f"{certs.NAME}:{port}:127.0.0.1"]
        failed(run(no_ca, env=ours.env()), f'certificate of "{certs.NAME}" refused', "issuer is unknown")
    finally:
        elsewhere.close()
    edge = ours.place.edge
    good = run([ADIT, "access", "tcp", "--hostname", ours.host("echo"), "--connect-to",
                f"{ours.host('echo')}:{edge.https}:127.0.0.1"], env=ours.env(), input="x")  # fmt: skip
    assert (good.returncode, good.stdout) == (0, "x"), good


class ConnectProxy:
    """An HTTP proxy that knows where the edge is, whatever the name."""

    def __init__(self, edge, authorization=None):
        self.edge, self.authorization, self.heads = edge, authorization, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                threading.Thread(target=self.carry, args=(sock,), daemon=True).start()

    def carry(self, sock):
        with sock, contextlib.suppress(OSError):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += sock.recv(1)
            self.heads.append(head.decode())
            if self.authorization and f"Proxy-Authorization: {self.authorization}" not in self.heads[-1]:
                sock.sendall(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", self.edge.https)) as there:
                sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                threading.Thread(target=self.copy, args=(there, sock), daemon=True).start()
                self.copy(sock, there)

    @staticmethod
    def copy(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for s in (source, sink):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)


def test_through_a_proxy(ours):
    proxy = ConnectProxy(ours.place.edge, "Basic dXNlcjpwYXNz")
    argv = [str(ADIT), "access", "tcp", "--hostname", ours.host("echo")]
    url = f"http://user:pass@127.0.0.1:{proxy.port}"
    done = run(argv, env=ours.env(HTTPS_PROXY=url), input="proxied", seconds=60)
    assert (done.returncode, done.stdout) == (0, "proxied"), done
    assert proxy.heads[0].startswith(f"CONNECT {ours.host('echo')}:443 HTTP/1.1\r\n")
    failed(run(argv, env=ours.env(HTTPS_PROXY=f"http://127.0.0.1:{proxy.port}")), "407", "HTTPS_PROXY")
    asked = len(proxy.heads)
    failed(run(argv, env=ours.env(HTTPS_PROXY=url, NO_PROXY=ZONE)), "cannot reach")
    assert len(proxy.heads) == asked
    failed(run(argv, env=ours.env(HTTPS_PROXY="socks5://127.0.0.1:1")), "socks5")


# --- what is said, and what is answered ------------------------------------------------------------------


def test_headers(ours):
    path = ours.place.origin.on(ws.serve_echo)
    argv = ours.argv("web", "--destination", "10.0.0.1:22", "--service-token-id", "the-id", "-H", "X-One: a, b",
                     "--header", "x-two:c", "-H", "Upgrade: h2c")  # fmt: skip
    argv[argv.index("--hostname") + 1] += path
    done = run(argv, env=ours.env(TUNNEL_SERVICE_TOKEN_SECRET="the-secret"), input="x")
    assert done.returncode == 0 and "the-secret" not in done.stderr, done
    [request] = ours.place.origin.requests(path)
    assert request.get("x-one") == "a, b" and request.get("x-two") == "c"
    assert request.get("cf-access-jump-destination") == "10.0.0.1:22"
    assert request.get("user-agent").startswith("adit/") and request.get("upgrade") == "websocket"
    assert request.get("host") == ours.host("web")


def test_a_secret_on_the_command_line_is_warned_of_once(ours):
    done = ours.run("echo", "--service-token-secret", "the-secret", input=b"x")
    assert (done.returncode, done.stdout) == (0, b"x")
    assert done.stderr.count(b"\n") == 1 and b"TUNNEL_SERVICE_TOKEN_SECRET" in done.stderr
    assert b"the-secret" not in done.stderr


def test_refusals_are_one_sentence(ours):
    origin = ours.place.origin
    failed(ours.run("nosuch"), "404", "Unknown host")
    failed(ours.run("idle", env={}), "answered")
    failed(ours.run("refused"), "502", "refused")

    def ask(handler):
        argv = ours.argv("web")
        argv[argv.index("--hostname") + 1] += origin.on(handler)
        return run(argv, env=ours.env(), input="x")

    failed(ask(lambda r: r.reply(200, [("Content-Type", "text/html")], b"<html>")), "web site")
    login = "https://team.example.com/cdn-cgi/access/login/app?state=hidden"
    done = ask(lambda r: r.reply(302, [("Location", login)]))
    failed(done, "login", "service token")
    assert "hidden" not in done.stderr
    failed(ask(lambda r: r.reply(301, [("Location", "https://other.example.com/")])), "other.example.com")
    failed(ask(lambda r: r.reply(403, [("Content-Type", "text/plain")], b"\x1b[2Jno")), "403", "service token")
    failed(ask(lambda r: r.reply(500, [("Content-Type", "text/plain")], b"\x1b[2Jwhy")), "500", "?[2Jwhy")


def test_a_route_without_a_connector(place, tmp_path):
    cli = Cli("adit", place.edge, tmp_path).log_in()
    host = f"nobody-home.{ZONE}"
    cli.route(cli.create("nobody-home"), host)
    argv = [ADIT, "access", "ssh", "--hostname", host, "--connect-to", f"127.0.0.1:{place.edge.https}"]
    failed(run(argv, env=cli.env()), "530", "1033")


def test_wrong_command_lines(place):
    cli = place.client
    for args, code, text in (
        (["tcp"], 255, "--hostname"),
        (["tcp", "--hostname", "h", "--url", "foo://x:1"], 1, "foo://"),
        (["tcp", "--hostname", "h", "--url", "localhost"], 1, "localhost:2222"),
        (["tcp", "--hostname", "h", "--url", "127.0.0.1:1", "127.0.0.1:2"], 255, "one place"),
        (["tcp", "--hostname", "a b"], 1, "not the hostname"),
        (["tcp", "--hostname", "h", "--debug-stream", "5"], 1, "--debug-stream"),
        (["tcp", "--hostname", "h", "-H", "no colon"], 1, "NAME: VALUE"),
        (["tcp", "--hostname", "h", "--connect-to", "a:b:c:d"], 1, "invalid connection override"),
    ):
        done = cli.run("access", *args)
        assert done.returncode == code and not done.stdout and text in done.stderr, (args, done)
    listed = cli.run("access", "--help").stdout
    assert "tcp, ssh, rdp, smb" in listed and "ssh-config" in listed
    assert len(re.findall(r"^   (login|token|curl|ssh-gen)\b", listed, re.MULTILINE)) == 4


def test_ssh_config_is_that_of_the_stock_client(place):
    from conftest import need

    need("stock")
    stock = Cli("stock", place.edge, place.folder)
    for args in (["--hostname", "h.example.com"], []):
        theirs = stock.run("access", "ssh-config", *args).stdout.replace(str(stock.home), "HOME")
        ours = place.client.run("access", "ssh-config", *args).stdout.replace(str(place.client.home), "HOME")
        assert ours.replace(str(ADIT), "PROGRAM") == theirs.replace(str(pathlib.Path(STOCK).resolve()), "PROGRAM")
    with_port = place.client.run("access", "ssh-config", "--hostname", "h.example.com:8443").stdout
    assert "Host h.example.com\n" in with_port and "--hostname h.example.com:8443\n" in with_port


@pytest.mark.slow
@pytest.mark.long
def test_idle_and_stalled_streams_are_not_taken_for_dead(place):
    """Two rounds of pings: answered where nothing happens, and stuck behind data where a service is slow."""
    from conftest import why_no_stock

    kinds = ["adit"] if why_no_stock() else KINDS
    stalled.may_read.clear()
    data = os.urandom(20 * MB)
    with contextlib.ExitStack() as stack:
        idle, stuck = {}, {}
        for kind in kinds:
            place.connect(kind)
            a = Access(place, kind)
            stack.callback(a.close)
            idle[kind], stuck[kind] = a.start("greet"), a.start("stalled")
            assert idle[kind].stdout.read(8) == b"welcome\n"
            feed = threading.Thread(target=lambda p=stuck[kind]: (p.stdin.write(data), p.stdin.close()), daemon=True)
            feed.start()
        with pytest.raises(subprocess.TimeoutExpired):
            idle[kinds[0]].wait(75)  # two periods of 30 s, and some
        for kind in kinds:
            assert idle[kind].poll() is None and stuck[kind].poll() is None, kind
            idle[kind].stdin.write(b"still here")
            idle[kind].stdin.close()
            assert idle[kind].stdout.read() == b"still here" and idle[kind].wait(30 * PATIENCE) == 0
        stalled.may_read.set()
        for kind in kinds:
            if kind == "adit":  # a stock connector's service sees no end before the stream is over
                assert stuck[kind].stdout.read().decode() == hashlib.sha256(data).hexdigest()
            assert stuck[kind].wait(60 * PATIENCE) == 0, (kind, stuck[kind].stderr.read())


@pytest.mark.slow
@pytest.mark.long
def test_a_dead_peer_is_noticed(place, tmp_path):
    """An edge that is stopped keeps its connections open and says nothing."""
    from conftest import edges

    edge = Edge(tmp_path, "frozen").start()
    edges.append(edge)
    try:
        cli = Cli("adit", edge, tmp_path).log_in()
        tunnel = cli.create("frozen")
        host = f"frozen.{ZONE}"
        cli.route(tunnel, host)
        service = {"hostname": host, "service": place.services["greet"].url}
        connector = cli.connect(tunnel, write_config(tmp_path / "c.yml", tunnel, [service]))
        argv = [ADIT, "access", "tcp", "--hostname", host, "--connect-to", f"127.0.0.1:{edge.https}"]
        with subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=cli.env()) as process:  # fmt: skip
            assert process.stdout.read(8) == b"welcome\n"
            edge.program.signal(signal.SIGSTOP)
            try:
                assert process.wait(100 * PATIENCE) == 1
            finally:
                edge.program.signal(signal.SIGCONT)
            assert b"has not answered" in process.stderr.read()
        connector.stop()
        edge.wait_connections(0)
        edge.wait_idle()
        edge.stop()
    finally:
        edges.remove(edge)
