"""A fresh Debian 12 that boots systemd, or OpenRC: build/debian-root (packaging/debian-root.sh), in layers of the test's own."""

import os
import shutil
import subprocess

import pytest

from .program import PATIENCE, run
from .wait import wait_until

MOUNT = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs {0}
mkdir {0}/up {0}/work {0}/root
mount -t overlay overlay -o lowerdir={1},upperdir={0}/up,workdir={0}/work {0}/root
rm -f {0}/root/usr/sbin/policy-rc.d
exec systemd-nspawn --register=no --keep-unit --private-network --bind-ro={2}:/mnt/packages -D {0}/root "$@"
"""

# What each needs to be installed, what runs then, and what says that it has come up.
INITS = {
    "systemd": (["systemd-sysv"], "/lib/systemd/systemd", "systemctl is-system-running", ("running", "degraded")),
    "openrc": (["sysvinit-core", "openrc"], "/sbin/init", "rc-status --runlevel", ("default",)),
}


class Debian:
    """`packages` is a folder with .deb files; it is at /mnt/packages inside. Nothing but loopback is there."""

    def __init__(self, root, folder, packages, install=(), init="systemd"):
        if os.geteuid() != 0 or not shutil.which("systemd-nspawn"):
            pytest.skip("this needs root and systemd-nspawn")
        if not (root / "etc/debian_version").exists():
            pytest.skip(f"there is no {root}: ./dev test --long makes it")
        layers = folder / "layers"
        layers.mkdir()
        self.log = folder / "debian.log"
        script = MOUNT.format(layers, root, packages)
        # What the init system itself needs comes first, before it is what runs.
        needs, program, *self.question = INITS[init]
        prepare = "DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \"$@\""
        first = f"{prepare} >/var/log/first.log 2>&1 || {{ cat /var/log/first.log; exit 1; }}; exec {program}"
        with open(self.log, "w") as out:
            self.holder = subprocess.Popen(
                ["unshare", "-m", "bash", "-c", script, "sh", "/bin/sh", "-c", first, "sh", *needs, *install],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip
        self.leader = None
        wait_until(self._is_up, lambda: f"Debian that is up:\n{self.log.read_text()[-3000:]}", 120 * PATIENCE)

    def _is_up(self):
        assert self.holder.poll() is None, self.log.read_text(errors="replace")[-3000:]
        children = run(["pgrep", "-P", self.holder.pid]).stdout.split()
        if not children:
            return False
        self.leader = children[0]
        command, answers = self.question
        return self.run(command).stdout.strip() in answers

    def run(self, script, seconds=60):
        """A shell script in there, as root; its result."""
        return run(
            ["nsenter", "-t", self.leader, "-a", "-r", "-w", "env", "-i", "HOME=/root", "LC_ALL=C", "TERM=dumb",
             "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive",
             "bash", "-c", script], seconds=seconds,
        )  # fmt: skip

    def check(self, script, seconds=60):
        done = self.run(script, seconds)
        assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def close(self):
        self.holder.kill()
        self.holder.wait()
