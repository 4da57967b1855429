"""A PostgreSQL server of one's own: a data directory in /tmp, loopback only."""

import glob
import os
import pathlib
import pwd
import shutil
import signal
import socket
import tempfile

from . import net
from .program import Program, check, logs_since
from .wait import wait_until


def find(name):
    """Debian keeps them by version, outside PATH."""
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    return found[-1] if found else shutil.which(name)


class Postgres:
    def __init__(self):
        # pytest's folders are closed to other users, and the server refuses to be root.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="adit-postgres-", dir="/tmp"))
        self.become = []
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self.become = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        self.data, self.port = self.folder / "data", net.free_port()
        check([*self.become, find("initdb"), "-D", self.data, "-U", "adit", "-A", "trust", "-N", "--no-locale",
               "-E", "UTF8"], cwd="/", seconds=60)  # fmt: skip
        argv = [*self.become, find("postgres"), "-D", self.data, "-p", self.port, "-k", self.folder, "-F",
                "-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=16MB"]  # fmt: skip
        self.program = Program("postgres", argv, self.folder)

        def ready():
            assert self.program.is_running(), self.program.text()
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", self.port)) == 0 and "ready to accept" in self.program.text()

        wait_until(ready, "postgres", 60)

    def close(self):
        self.program.signal(signal.SIGINT)  # its fast shutdown: does not wait for clients
        self.program.wait()
        logs_since.pop(self.program, None)
        shutil.rmtree(self.folder, ignore_errors=True)
