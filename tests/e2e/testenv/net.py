"""A network of our own, and ports in it."""

import ctypes
import fcntl
import os
import socket
import struct

_CLONE_NEWNET = 0x40000000
_CLONE_NEWUSER = 0x10000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1

# Below the range outgoing connections take theirs from (ip_local_port_range begins at 32768).
_FIRST_PORT, _LAST_PORT = 12000, 32000
_next_port = _FIRST_PORT + os.getpid() * 13 % 8000

alone = False  # isolate() worked: nothing but loopback here


def _loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(s, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(s, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def isolate():
    """Moves this process, and what it starts, to a network with nothing but loopback: no name service
    can be asked, nobody else's ports are in the way. False where the system does not allow it."""
    global alone
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
            return False
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as f:
                f.write(text)
    _loopback_up()
    alone = True
    return True


def free_port():
    """A port of 127.0.0.1 that nobody listens on; never the same twice in one run."""
    global _next_port
    while True:
        port = _next_port
        _next_port = port + 1 if port < _LAST_PORT else _FIRST_PORT
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
