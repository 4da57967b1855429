"""An allocation that fails: whatever becomes of the program, it is not a crash, and its state is whole.

tests/fake/failing_malloc fails the n-th allocation, each n in a run of its own. docs/decisions/0002 says what may
happen then: a library gives an error and the program says it, or it ends with "out of memory". Programs that serve do it without their
sandbox: libseccomp makes thousands of allocations at the start, and crashes by itself when one fails.
"""

import os
import pathlib
import random
import re
import subprocess
import time

import pytest

from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.net import free_port
from testenv.program import ADIT, ADIT_EDGE, BIN, PRESET, clean_env, run

SHIM = BIN.parent / "libfailing_malloc.so"
LONG = bool(os.environ.get("ADIT_LONG"))
pytestmark = [
    pytest.mark.timeout(1800 if LONG else 120),
    pytest.mark.skipif(
        not SHIM.exists(), reason=f"the {PRESET} build has no failing malloc: sanitizers have an allocator of their own"
    ),
]

# They dereference what they could not allocate (Debian 12's versions). Nothing we could mend here.
CRASH_THEMSELVES = ("libfyaml.so", "libnghttp2.so", "libtasn1.so")
# They end the process by themselves, with words of their own or none.
ABORT_THEMSELVES = ("libgmp.so", "libgnutls.so", "libuv.so")


def shimmed(folder, at, goes_on):
    return clean_env(LD_PRELOAD=SHIM, FAIL_AT=at, FAIL_ON=int(goes_on), FAIL_COUNT=folder / "count")


def verdict(code, text):
    """None, or what is wrong with an end like that."""
    crash = re.search(r"crash in (\S+)", text)
    if crash:
        return None if pathlib.Path(crash[1]).name.startswith(CRASH_THEMSELVES) else crash[0]
    if code == -6:
        by = re.search(r"libc\.so\.6\(abort.*\n(\S+?)\(", text)
        if "out of memory" in text or (by and pathlib.Path(by[1]).name.startswith(ABORT_THEMSELVES)):
            return None
        return f"aborted: {text[-1500:]}"
    if code in (0, 1, 2):
        return None if code == 0 or text.strip() else "failed without a word"
    return f"ended with {code}: {text[-1500:]}"


def sweep(folder, once, samples):
    """once(at, goes_on) -> (code, text); at 0 nothing fails."""
    code, text = once(0, False)
    assert code == 0, text
    total = int((folder / "count").read_text())
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    places = range(1, total + 1) if LONG and total < 3000 else [rng.randrange(1, total + 1) for _ in range(samples)]
    problems = []
    for at in places:
        goes_on = rng.random() < 0.5
        wrong = verdict(*once(at, goes_on))
        if wrong:
            problems.append(f"allocation {at} of {total}{' and all after it' if goes_on else ''}: {wrong}")
    assert not problems, "\n".join([f"seed {seed}", *problems[:20]])


def test_connector_reads_its_configuration(tmp_path):
    config = tmp_path / "config.yml"
    config.write_text("ingress:\n  - hostname: a.b\n    service: http://localhost:80\n    path: ^/x\n"
                      "    originRequest: {connectTimeout: 5s}\n  - service: http_status:404\n")  # fmt: skip

    def once(at, goes_on):
        done = run([ADIT, "tunnel", "--config", config, "ingress", "validate"], env=shimmed(tmp_path, at, goes_on))
        return done.returncode, done.stdout + done.stderr

    sweep(tmp_path, once, 100)


@pytest.fixture
def made(tmp_path):
    data = tmp_path / "edge"
    done = run([ADIT_EDGE, "init", "--data", data, "--zone", ZONE, "--control", "127.0.0.1"])
    assert done.returncode == 0, done.stderr
    return data


def test_edge_makes_its_state(tmp_path):
    """Halfway through is not too late: a second `init` completes it."""
    count = 0

    def once(at, goes_on):
        nonlocal count
        count += 1
        data = tmp_path / f"edge{count}"
        argv = [ADIT_EDGE, "init", "--data", data, "--zone", ZONE, "--control", "127.0.0.1"]
        done = run(argv, env=shimmed(tmp_path, at, goes_on))
        again = run(argv)
        checked = run([ADIT_EDGE, "check", "--data", data, "--https", "127.0.0.1:18443", "--http", "off"])
        if again.returncode or checked.returncode:
            return 99, f"not mended: {again.stderr} {checked.stdout} {checked.stderr}"
        return done.returncode, done.stdout + done.stderr

    sweep(tmp_path, once, 500 if LONG else 20)


def test_edge_serves(tmp_path, made):
    https, metrics, tunnel = free_port(), free_port(), free_port()
    settings = ["--https", f"127.0.0.1:{https}", "--http", "off", "--tunnel", f"127.0.0.1:{tunnel}",
                "--metrics", f"127.0.0.1:{metrics}", "--grace-period", "1s", "--sandbox", "off"]  # fmt: skip
    urls = (f"https://127.0.0.1:{https}/login", f"https://127.0.0.1:{https}/client/v4/zones")

    def once(at, goes_on):
        log = tmp_path / "log"
        with open(log, "w") as out:
            edge = subprocess.Popen([ADIT_EDGE, "run", "--data", made, *settings], stdout=out, stderr=out,
                                    env=shimmed(tmp_path, at, goes_on))  # fmt: skip
        until = time.monotonic() + 20
        while edge.poll() is None and time.monotonic() < until and "Ready" not in log.read_text():
            if run(["curl", "-s", "-m", "2", f"http://127.0.0.1:{metrics}/ready"]).returncode == 0:
                break
            time.sleep(0.01)
        for url in urls:
            for version in ("--http1.1", "--http2"):
                if edge.poll() is None:
                    run(["curl", "-sk", "-m", "5", version, "-H", "Authorization: Bearer x", url])
        edge.terminate()
        try:
            edge.wait(30)
        except subprocess.TimeoutExpired:
            edge.kill()
            edge.wait()
            return 98, "hangs: " + log.read_text()[-500:]
        return edge.returncode, log.read_text()

    sweep(tmp_path, once, 300 if LONG else 15)
    done = run([ADIT_EDGE, "check", "--data", made, *settings])
    assert done.returncode == 0, done.stdout + done.stderr


def test_connector_serves(tmp_path, own):
    """The edge is whole; the connector lacks memory once, while it dials, serves or ends."""
    edge = own.edge()
    cli = own.cli(edge)
    tunnel = cli.create("scarce")
    cli.route(tunnel, f"scarce.{ZONE}")
    config = write_config(tmp_path / "config.yml", tunnel, [{"hostname": f"scarce.{ZONE}", "service": "hello_world"}],
                          metrics="127.0.0.1:0", protocol="http2", sandbox="off")  # fmt: skip

    def once(at, goes_on):
        log = tmp_path / "log"
        with open(log, "w") as out:
            connector = subprocess.Popen([ADIT, "--config", config, "tunnel", "run"], stdout=out, stderr=out,
                                         env={**shimmed(tmp_path, at, goes_on), "HOME": str(tmp_path)})  # fmt: skip
        until = time.monotonic() + 3
        while connector.poll() is None and time.monotonic() < until and "Registered" not in log.read_text():
            time.sleep(0.01)
        for _ in range(3):
            if connector.poll() is None:
                run(["curl", "-s", "-m", "5", *edge.curl_args(f"scarce.{ZONE}"), f"https://scarce.{ZONE}:{edge.https}/"])
        connector.terminate()
        try:
            connector.wait(40)
        except subprocess.TimeoutExpired:
            connector.kill()
            connector.wait()
            return 98, "hangs: " + log.read_text()[-500:]
        return connector.returncode, log.read_text()

    sweep(tmp_path, once, 300 if LONG else 15)
    assert edge.ask("/ready").status == 200
