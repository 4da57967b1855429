"""A machine to follow the pages on: a home and a network of its own, and a shell."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

PROMPT = "\x04done "  # nobody prints this


class Failed(AssertionError):
    pass


class Sandbox:
    """`folder` is for its files, `programs` the folder with ours."""

    def __init__(self, folder, programs, seconds=60):
        self.folder, self.seconds = pathlib.Path(folder), seconds
        self.home = self.folder / "home"
        self.home.mkdir(parents=True)
        env = {
            "HOME": str(self.home),
            "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "TERM": "dumb",
        }
        env.update({k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")})
        shell = []
        if os.geteuid() == 0 and shutil.which("unshare"):
            shell = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        argv = [*shell, "env", "-i", *(f"{k}={v}" for k, v in env.items()), "bash", "--norc", "--noprofile"]
        self.shell = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1,
            start_new_session=True,
        )  # fmt: skip
        self.staying = {}  # name: process id there
        self.count = 0
        self.type("cd")

    def type(self, text):
        """Runs it in the shell: exit status and output."""
        self.count += 1
        name = f"block-{self.count}"
        out = self.folder / f"{name}.out"
        (self.folder / f"{name}.sh").write_text(text + "\n")
        # In the shell itself, so that `cd` and `export` last; a failed command ends the block.
        self.shell.stdin.write(
            f"trap 'return $?' ERR; . {self.folder}/{name}.sh >{self.folder}/{name}.out 2>&1 </dev/null; "
            f"code=$?; trap - ERR; printf '\\n{PROMPT}%s\\n' $code\n"
        )
        end = time.monotonic() + self.seconds
        for line in self.shell.stdout:
            if line.startswith(PROMPT):
                return int(line[len(PROMPT) :]), out.read_text(errors="replace")
            if time.monotonic() > end:
                break
        raise Failed(f"{text}: the shell has ended, or said nothing in {self.seconds} s")

    def stay(self, block):
        """Starts it and waits for its word."""
        name = block.option("name") or str(block)
        self.end(name)
        file = f"{re.sub(r'[^a-z0-9]', '-', name)}-{self.count}"
        log = self.folder / f"{file}.log"
        log.touch()
        (self.folder / f"{file}.sh").write_text("".join(f"exec {c}\n" for c in block.commands()))
        _, out = self.type(f"bash {self.folder}/{file}.sh >{self.folder}/{file}.log 2>&1 &\necho $!")
        self.staying[name] = pid = int(out.split()[-1])
        end = time.monotonic() + self.seconds
        while not re.search(block.option("stays"), log.read_text(errors="replace")):
            if time.monotonic() > end or self.type(f"kill -0 {pid}")[0]:
                raise Failed(f"{block}: no {block.option('stays')!r} in:\n{log.read_text(errors='replace')}")
            time.sleep(0.05)

    def end(self, name):
        pid = self.staying.pop(name, None)
        if pid:
            self.type(f"kill {pid} || true; wait {pid} || true")

    def follow(self, block):
        """What a reader would do with the block."""
        file = block.option("file")
        if file:
            path = self.home / file.replace("~/", "")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.language not in ("sh", "console") or block.why_not is not None:
            return
        elif block.option("stays"):
            self.stay(block)
        elif block.language == "sh":
            status, out = self.type(block.text)
            if status:
                raise Failed(f"{block}: exit {status}\n{block.text}\n{out}")
        else:
            for command, lines in block.steps():
                status, out = self.type(command)
                shown = "\n".join(line.rstrip() for line in out.splitlines() if line.strip())
                wanted = "\n".join(".*".join(re.escape(p.rstrip()) for p in line.split("…")) for line in lines)
                if status or not re.fullmatch(wanted, shown, re.S if any("…" in line for line in lines) else 0):
                    raise Failed(f"{block}: $ {command}\nexit {status}, and prints\n{shown}\ninstead of\n" + "\n".join(lines))

    def logs(self):
        return {p: p.read_text(errors="replace") for p in [*self.folder.glob("*.log"), *self.folder.glob("*.out")]}

    def close(self):
        for name in list(self.staying)[::-1]:
            self.end(name)
        self.shell.stdin.close()
        try:
            self.shell.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.shell.pid, signal.SIGKILL)
            self.shell.wait()
