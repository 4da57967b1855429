"""A machine whose services are the test's own: what `service install` writes is not this machine's."""

import os
import shutil
import signal
import subprocess

import pytest

from .program import run
from .wait import wait_until

# What is read and written below these is the test's own; systemd and OpenRC are not there.
OWN = """
set -e
mount --make-rprivate /
mkdir -p {0}/up {0}/work
mount -t tmpfs tmpfs {0}
mkdir -p {0}/up {0}/work
mount -t overlay overlay -o lowerdir=/etc,upperdir={0}/up,workdir={0}/work /etc
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
mount -t tmpfs tmpfs /var/lib
for name in rmem_max wmem_max; do
    echo 212992 >/run/$name
    [ ! -e /proc/sys/net/core/$name ] || mount --bind /run/$name /proc/sys/net/core/$name
done
mkdir -p /run/lock /etc/init.d /etc/rc2.d /etc/rc3.d /etc/rc4.d /etc/rc5.d /etc/rc0.d /etc/rc1.d /etc/rc6.d
touch {1}
exec sleep 1000000
"""


class Machine:
    """A mount namespace with an /etc, a /run, a /var/lib and a /var/log of its own; UDP buffers, too."""

    def __init__(self, folder, service):
        self.service = service
        ready = folder / "ready"
        (folder / "layers").mkdir()
        self.holder = subprocess.Popen(["unshare", "-m", "bash", "-c", OWN.format(folder / "layers", ready)])
        wait_until(lambda: ready.exists() or self.holder.poll() is not None, "a namespace")
        if self.holder.poll() is not None:
            pytest.skip("no mount namespaces, or no overlays, here")
        names = ("/proc/sys/net/core/rmem_max", "/proc/sys/net/core/wmem_max")
        self.sysctls = [name for name in names if os.path.exists(name)]

    def run(self, *argv, **more):
        return run(["nsenter", "-t", self.holder.pid, "-m", *argv], **more)

    def files(self, *folders):
        """What there is below the folders that the machine outside does not have."""
        found = self.run("find", *folders, "-mindepth", "1").stdout.split()
        return sorted(f for f in found if not os.path.lexists(f))

    def close(self):
        pid = self.run("cat", f"/var/run/{self.service}.pid").stdout.strip()
        self.holder.kill()
        self.holder.wait()
        if pid.isdigit():  # what a failed test has left
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass


# A service manager cannot be had in a namespace like ours: what is asked of systemctl is written down.
SYSTEMCTL = """#!/bin/sh
echo "$@" >>/run/asked
case "$1" in
is-active) [ -e /run/up ] ;;
is-failed) [ -e /run/down ] ;;
esac
"""


def with_systemctl(machine, folder):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd is not installed")
    folder = folder / "bin"
    folder.mkdir()
    (folder / "systemctl").write_text(SYSTEMCTL)
    (folder / "systemctl").chmod(0o755)
    machine.run("mkdir", "-p", "/run/systemd/system", "/etc/systemd/system")
    machine.path = f"{folder}:{os.environ['PATH']}"
    return machine


def judge(machine, unit):
    """What systemd says of a unit: nothing that it does not know, and an exposure below 2.0."""
    verified = machine.run("systemd-analyze", "verify", "--man=no", unit)
    assert unit not in verified.stdout + verified.stderr, verified.stderr
    rated = machine.run("systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", unit)
    assert rated.returncode == 0, rated.stdout
