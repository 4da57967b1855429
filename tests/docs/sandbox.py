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
        argv = ["bash", "--norc", "--noprofile"]
        if os.geteuid() == 0 and shutil.which("unshare"):
            argv = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *argv]
        self.shell = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, cwd=self.home,
            text=True, bufsize=1, start_new_session=True,
        )  # fmt: skip
        self.staying = {}  # name: (pid, log)
        self.count = 0

    def type(self, text):
        """Runs it in the shell: exit status and output."""
        self.count += 1
        script = self.folder / f"block-{self.count}.sh"
        out = self.folder / f"block-{self.count}.out"
        script.write_text(text + "\n")
        # In the shell itself, so that `cd` and `export` last; a failed command ends the block.
        self.shell.stdin.write(
            f"trap 'return $?' ERR; . {script} >{out} 2>&1 </dev/null; code=$?; trap - ERR; printf '\\n{PROMPT}%s\\n' $code\n"
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
        log = self.folder / f"{re.sub(r'[^a-z0-9]', '-', name)}-{self.count}.log"
        script = self.folder / f"stay-{self.count}.sh"
        script.write_text("".join(f"exec {c}\n" for c in block.commands()))
        log.touch()
        status, out = self.type(f"bash {script} >{log} 2>&1 &\necho $!")
        pid = int(out.split()[-1])
        self.staying[name] = (pid, log)
        end = time.monotonic() + self.seconds
        while not re.search(block.option("stays"), log.read_text(errors="replace")):
            if time.monotonic() > end or not os.path.exists(f"/proc/{pid}"):
                raise Failed(f"{block}: no {block.option('stays')!r} in:\n{log.read_text(errors='replace')}")
            time.sleep(0.05)

    def end(self, name):
        if name not in self.staying:
            return
        pid, _ = self.staying.pop(name)
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return
        self.type(f"wait {pid} || true")

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
