"""The running programs are shut in: whoever makes them run code of theirs gets no file, no program and no process.

A debugger plays the intruder: it makes the real program, while it serves, call what it must not be able to call.
"""

import os
import pathlib
import re
import resource
import shutil
import signal
import tempfile

import pytest

from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.machine import Machine
from testenv.origin import Origin
from testenv.program import ADIT, ADIT_EDGE, PRESET, Program, run
from testenv.visitor import Visitor
from testenv.wait import wait_until

APP = f"app.{ZONE}"
NET_BIND_SERVICE = 1 << 10
DAC_READ_SEARCH = 1 << 2
sanitized = PRESET in ("asan", "tsan")



@pytest.fixture
def world(own, tmp_path):
    class World:
        pass

    w = World()
    w.origin = Origin()
    w.edge = own.edge()
    w.cli = own.cli(w.edge)
    w.tunnel = w.cli.create("shut")
    w.cli.route(w.tunnel, APP)
    w.folder = w.cli.dot
    w.config = write_config(w.folder / "config.yml", w.tunnel, [{"hostname": APP, "service": w.origin.service}])
    w.connector = w.cli.connect(w.tunnel, w.config)
    yield w
    if w.connector.is_running():
        w.connector.stop()
    w.origin.close()


@pytest.fixture
def elsewhere():
    """A folder that nobody was told of."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        yield pathlib.Path(folder)


def serves(world):
    path = world.origin.on(lambda r: r.reply(200, body=b"served"))
    assert Visitor(world.edge, "http1.1").get(APP, path).body == b"served"


def status(pid, thread):
    text = pathlib.Path(f"/proc/{pid}/task/{thread}/status").read_text()
    return dict(re.findall(r"^(\w+):\s*(.*)$", text, re.MULTILINE))


def test_every_thread_is_shut_in(world):
    serves(world)
    for program, kept in ((world.edge.program, NET_BIND_SERVICE), (world.connector, DAC_READ_SEARCH)):
        for thread in os.listdir(f"/proc/{program.pid}/task"):
            seen = status(program.pid, thread)
            assert seen["NoNewPrivs"] == "1" and seen["Seccomp"] == "2", (program.name, thread, seen)
            for kind in ("CapEff", "CapPrm", "CapAmb"):
                assert int(seen[kind], 16) & ~kept == 0, (program.name, kind, seen[kind])
    for step in ("privileges", "capabilities", "files", "system calls"):
        world.edge.program.wait_log(rf"INF {step} .*is=on")
        world.connector.wait_log(rf"INF {step} .*is=on")


def made_to(program, *calls):
    """The results of calls that the program is made to do: C expressions of open(), kill() and the like."""
    argv = ["gdb", "-nx", "-batch", "-p", str(program.pid), "-ex", "handle SIGSYS nostop noprint pass"]
    for call in calls:
        argv += ["-ex", f"print {call}"]
    done = run(argv)
    found = [int(n) for n in re.findall(r"^\$\d+ = (-?\d+)", done.stdout, re.MULTILINE)]
    return found, done.stdout[-2000:] + done.stderr[-1000:]


def children(pid):
    return [int(path.parent.name) for path in pathlib.Path("/proc").glob("[0-9]*/stat")
            if path.exists() and int(path.read_text().rpartition(")")[2].split()[1]) == pid]  # fmt: skip


def ways_to(key, edge):
    """A file by its name, and as processes see it that are not shut in as the edge is."""
    yield key
    for pid in ["self", os.getpid(), *children(edge.program.pid)]:
        yield f"/proc/{pid}/root{key}"
        yield f"/proc/{pid}/cwd/{os.path.relpath(key, os.getcwd())}"
        if pid != "self":
            yield f"/proc/{pid}/mem"


def c_open(path, flags=0):
    return f'((int (*)(const char *, int, int)) open)("{path}", {flags}, 384)'


@pytest.mark.skipif(not shutil.which("gdb"), reason="gdb is not installed")
@pytest.mark.skipif(sanitized, reason="what a debugger makes a program do, sanitizers call leaks and races")
@pytest.mark.parametrize("which", ["edge", "connector"])
def test_an_intruder_reaches_nothing(world, elsewhere, which):
    program = world.edge.program if which == "edge" else world.connector
    secret = elsewhere / "secret"
    secret.write_text("of somebody else")
    other = world.connector if which == "edge" else world.edge.program
    master = (world.edge.data / "master.key").read_text()
    own_file = world.edge.data / "edge.yml" if which == "edge" else world.config
    inside = [c_open(own_file)]
    outside = [c_open(secret), c_open("/etc/shadow"), c_open(f"/proc/{other.pid}/mem"),
               c_open(elsewhere / "new", os.O_CREAT | os.O_WRONLY), c_open("/root")]  # fmt: skip
    if which == "edge":
        key, db = world.edge.data / "master.key", world.edge.data / "db"
        inside.append(c_open(db / "adit.db"))
        outside += [c_open(path) for path in ways_to(key, world.edge)]
        outside += [
            c_open(world.edge.data / "new", os.O_CREAT | os.O_WRONLY),
            c_open(key, os.O_WRONLY),
            f'((int (*)(const char *, const char *)) link)("{key}", "{db}/moved")',
            f'((int (*)(const char *, const char *)) rename)("{key}", "{db}/moved")',
        ]
    if which == "connector":
        outside.append(c_open(world.folder / "new", os.O_CREAT | os.O_WRONLY))
    calls = [
        *inside,
        *outside,
        f"((int (*)(int, int)) kill)({other.pid}, 9)",
        "((int (*)(int, int, int)) socket)(17, 3, 0)",  # packets of everybody
    ]
    found, said = made_to(program, *calls)
    assert len(found) == len(calls), said
    assert all(n >= 0 for n in found[: len(inside)]), f"its own files are in reach: {said}"
    assert all(n == -1 for n in found[len(inside) :]), said
    assert (world.edge.data / "master.key").read_text() == master
    assert not (elsewhere / "new").exists()
    serves(world)


@pytest.mark.skipif(not shutil.which("gdb"), reason="gdb is not installed")
@pytest.mark.skipif(sanitized, reason="sanitizers start a program to explain what they found")
def test_an_intruder_who_starts_a_program_ends_the_process(world):
    resource.prlimit(world.connector.pid, resource.RLIMIT_CORE, (0, 0))
    call = '((int (*)(const char *, void *, void *)) execve)("/bin/true", (void *)0, (void *)0)'
    made_to(world.connector, call)
    wait_until(lambda: not world.connector.is_running(), "the end of the connector")
    assert world.connector.process.returncode == -signal.SIGSYS
    world.connector.wait()



def test_a_reload_that_leaves_the_sandbox_says_so(world, elsewhere):
    """Rules may name new files; what was out of reach at the start needs a restart."""
    (elsewhere / "ca.pem").write_text(world.edge.ca.read_text())
    rules = [{"hostname": APP, "service": world.origin.service},
             {"hostname": "b.c", "service": "https://b.c", "originRequest": {"caPool": str(elsewhere / "ca.pem")}}]
    write_config(world.folder / "config.yml", world.tunnel, rules)  # fmt: skip
    world.connector.signal(signal.SIGHUP)
    world.connector.wait_log(r"ca\.pem: Permission denied.*sandbox-read")
    serves(world)
    world.connector.stop()
    world.connector = world.cli.connect(world.tunnel, world.config)
    serves(world)


def test_a_file_out_of_reach_is_refused_when_it_is_named(own, elsewhere):
    """Not when somebody wants to sign in."""
    edge = own.edge(start=False)
    (edge.data / "files").mkdir(mode=0o755)
    edge.start()
    ca = elsewhere / "ca.pem"
    ca.write_text(edge.ca.read_text())
    (elsewhere / "empty.pem").write_text("nothing")
    document = elsewhere / "access.yml"
    urls = "evaluate_url: https://a.test/e, keys_url: https://a.test/k"

    def apply(file, where="provider"):
        document.write_text({
            "provider": f"identity_providers:\n  - name: Ours\n    type: oidc\n    config: {{issuer: 'https://a.test', "
                        f"client_id: x, client_secret: y, ca_file: '{file}'}}\n",
            "rule": f"policies:\n  - name: On call\n    decision: allow\n    include:\n"
                    f"      - external_evaluation: {{{urls}, ca_file: '{file}'}}\n",
        }[where])  # fmt: skip
        return run([ADIT_EDGE, "access", "apply", document, "--data", edge.data])

    for where, key in (("provider", "config.ca_file: "), ("rule", "include[0]: external_evaluation.ca_file: ")):
        done = apply(ca, where)
        assert done.returncode == 1 and f"{key}{ca} is out of the edge's reach" in done.stderr, done.stderr
        assert "sandbox-read" in done.stderr and f"{document}:2:" in done.stderr
    inside = edge.data / "files/ours.pem"
    for file, why in (("/nowhere.pem", "No such file"), (edge.data, "is no file"), (inside, "has no certificate")):
        inside.write_text("nothing")
        done = apply(file)
        assert done.returncode == 1 and "config.ca_file: " in done.stderr and why in done.stderr, done.stderr
    inside.write_text(edge.ca.read_text())
    assert apply(inside).returncode == 0
    edge.stop()
    settings = edge.data / "edge.yml"
    settings.write_text(re.sub("sandbox-read: .*", f"sandbox-read: {elsewhere}", settings.read_text()))
    edge.start()
    assert apply(ca).stdout == "~ identity provider Ours: changed\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="others may read all of /etc")
@pytest.mark.parametrize("allowed", [False, True])
def test_root_is_told_when_names_cannot_be_looked_up_any_more(world, tmp_path, allowed):
    """A resolver's file that is replaced is another file, and root may read all of /etc only when somebody says so."""
    machine = Machine(tmp_path, "adit")
    try:
        def hosts():
            machine.run("sh", "-c", "echo 127.0.0.1 origin.test >/etc/hosts.new && mv /etc/hosts.new /etc/hosts")

        hosts()
        service = f"http://origin.test:{world.origin.port}"
        write_config(world.config, world.tunnel, [{"hostname": APP, "service": service}])
        read = ["--sandbox-read", "/etc"] if allowed else []
        command = ["nsenter", "-t", machine.holder.pid, "-m", ADIT, "--config", world.config, "tunnel", *read, "run"]
        world.connector.stop()
        world.connector = Program("of-root", command, tmp_path, env=world.cli.env())
        world.connector.wait_log("Registered tunnel connection", seconds=60)
        hosts()
        path = world.origin.on(lambda r: r.reply(200, body=b"found"))
        status = Visitor(world.edge, "http1.1").get(APP, path).status
        if allowed:
            assert status == 200
        else:
            assert status == 502
            world.connector.wait_log(r"origin\.test: .*/etc/hosts: Permission denied.*sandbox-read")
    finally:
        machine.close()


def test_it_can_be_left_out(own, tmp_path):
    edge = own.edge(settings="sandbox: off\n")
    edge.program.wait_log("sandbox is=off")
    assert status(edge.program.pid, edge.program.pid)["Seccomp"] == "0"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_becomes_a_user(own):
    edge = own.edge(settings="")
    edge.stop()
    done = run(["chown", "-R", "nobody", edge.data])
    assert done.returncode == 0
    # Folders above belong to root alone in tests.
    above = edge.data.parent
    while above != pathlib.Path("/"):
        above.chmod(above.stat().st_mode | 0o011)
        above = above.parent
    with open(edge.data / "edge.yml", "a") as f:
        f.write("user: nobody\nsandbox: required\n")
    edge.start()
    seen = status(edge.program.pid, edge.program.pid)
    assert seen["Uid"].split() == [seen["Uid"].split()[0]] * 4 and seen["Uid"].split()[0] != "0"
    assert int(seen["CapEff"], 16) == NET_BIND_SERVICE
    assert edge.ask("/ready").status == 200
