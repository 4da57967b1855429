"""Programs under test and beside it: started here, ended here, their logs kept."""

import ctypes
import os
import pathlib
import re
import signal
import subprocess

from .wait import NeverCame, wait_until

BIN = pathlib.Path(os.environ.get("ADIT_BIN_DIR") or pathlib.Path(__file__).parents[3] / "build/dev/bin").resolve()
ADIT = BIN / "adit"
ADIT_EDGE = BIN / "adit-edge"
STOCK = os.environ.get("CLOUDFLARED") or None
PRESET = os.environ.get("ADIT_PRESET", "dev")
# Sanitizers make everything two to ten times slower.
PATIENCE = {"asan": 3, "tsan": 6, "coverage": 2}.get(PRESET, 1)

SANITIZER = re.compile(
    r"ERROR: (Address|Leak|Memory|Thread)Sanitizer|WARNING: ThreadSanitizer|SUMMARY: \w+Sanitizer|runtime error: "
)

_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1

running = []  # every Program that was started and not yet ended
logs_since = {}  # Program -> where the current test began in its log
ended_badly = []  # one line each; read and emptied at the end of every test


def _die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def clean_env(**more):
    """The environment without anything that steers cloudflared or adit."""
    env = {k: v for k, v in os.environ.items() if not re.match(r"TUNNEL_|ADIT_|NO_|HTTPS?_PROXY|SSL_CERT", k, re.I)}
    env.update({"LC_ALL": "C", "TZ": "UTC"})
    env.update({k: str(v) for k, v in more.items() if v is not None})
    return env


class Program:
    def __init__(self, name, argv, folder, env=None):
        self.name = name
        self.log = pathlib.Path(folder) / f"{name}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.start = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(
                [str(a) for a in argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=folder,
                env=env if env is not None else clean_env(),
                preexec_fn=_die_with_parent,
            )
        running.append(self)
        logs_since[self] = self.start

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process.poll() is None

    def text(self, since=None):
        with open(self.log, "rb") as f:
            f.seek(self.start if since is None else since)
            return f.read().decode(errors="replace")

    def mark(self):
        """A place in the log, for wait_log(since=)."""
        return self.log.stat().st_size

    def wait_log(self, pattern, count=1, seconds=20, since=None):
        """Waits for `count` matches of a regular expression and returns the last one."""
        found = []

        def look():
            found[:] = re.finditer(pattern, self.text(since), re.MULTILINE)
            if len(found) < count and not self.is_running():
                found[:] = re.finditer(pattern, self.text(since), re.MULTILINE)
                if len(found) < count:
                    raise NeverCame(f"{self.name} ended with {self.process.returncode}:\n{self.text()[-3000:]}")
            return len(found) >= count

        wait_until(
            look,
            lambda: f"{count} × /{pattern}/ in the log of {self.name} ({len(found)} there), which ends:\n"
            f"{self.text()[-2000:]}",
            seconds * PATIENCE,
        )
        return found[-1]

    def memory(self, what):
        """A line of /proc/PID/status in bytes: VmRSS, VmHWM (the peak)."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"^{what}:\s+(\d+) kB", status, re.MULTILINE)[1]) * 1024

    def forget_peak(self):
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=30):
        try:
            code = self.process.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired as e:
            raise NeverCame(f"{self.name} did not end in {seconds * PATIENCE} s") from e
        if self in running:
            running.remove(self)
        return code

    def stop(self, expect=0, seconds=40):
        """Ends it as an operator would. Anything but a clean end fails the test that runs."""
        if self not in running:
            return
        if self.is_running():
            self.signal(signal.SIGTERM)
        try:
            code = self.wait(seconds)
        except NeverCame as e:
            ended_badly.append(str(e))
            self.kill()
            return
        if code != expect:
            ended_badly.append(f"{self.name} ended with {code} instead of {expect}")

    def kill(self):
        if self.is_running():
            self.process.kill()
        self.process.wait()
        if self in running:
            running.remove(self)


def run(argv, env=None, cwd=None, input=None, seconds=30):
    """A command that ends by itself; never fails for its exit status."""
    return subprocess.run(
        [str(a) for a in argv],
        env=env if env is not None else clean_env(),
        cwd=cwd,
        input=input,
        stdin=subprocess.DEVNULL if input is None else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=seconds * PATIENCE,
        text=True,
        errors="replace",
        check=False,
    )


def check(argv, **kwargs):
    """As run(), but the command has to succeed. Its standard output."""
    done = run(argv, **kwargs)
    assert done.returncode == 0, f"{argv}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout
