"""A real sshd on loopback with keys of its own, and what a client needs to reach it."""

import os
import pwd
import shutil
import socket
from dataclasses import dataclass

from . import net
from .program import Program, check
from .wait import wait_until

CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {dir}/host_key
AuthorizedKeysFile {dir}/user_key.pub
PidFile none
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
UsePAM {pam}
MaxStartups 100
Subsystem sftp internal-sftp
"""


@dataclass
class Sshd:
    program: Program
    port: int
    folder: object
    user: str

    def options(self, proxy=None):
        """Of ssh, scp and sftp; nothing of this machine's or user's is read."""
        args = ["-F", "none", "-i", str(self.folder / "user_key"), "-o", f"UserKnownHostsFile={self.folder}/known_hosts",
                "-o", "GlobalKnownHostsFile=none", "-o", "HostKeyAlias=service", "-o", "StrictHostKeyChecking=yes",
                "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
                "-o", "LogLevel=ERROR"]  # fmt: skip
        return args + (["-o", f"ProxyCommand={proxy}"] if proxy else [])


def start(folder, more=""):
    """`more`: lines for its configuration, which win over those above."""
    folder.mkdir(parents=True)
    is_root = os.geteuid() == 0
    if is_root:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # where it locks itself in; init makes it elsewhere
    for name in ("host_key", "user_key"):
        check(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name])
    (folder / "known_hosts").write_text("service " + (folder / "host_key.pub").read_text())
    port = net.free_port()
    (folder / "sshd_config").write_text(more + CONFIG.format(dir=folder, port=port, pam="yes" if is_root else "no"))
    binary = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    program = Program("sshd", [binary, "-D", "-e", "-f", folder / "sshd_config"], folder)

    def listening():
        assert program.is_running(), program.text()
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listening, "sshd")
    return Sshd(program, port, folder, pwd.getpwuid(os.geteuid()).pw_name)
