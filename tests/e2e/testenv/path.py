"""The path to an edge: TCP and UDP on one port, passed on to another, and cut at will.

What is cut is swallowed, as firewalls and broken links do, not refused.
"""

import contextlib
import selectors
import socket
import threading

from .proxies import Listener, both_ways


class Path(Listener):
    """Connectors come to 127.0.0.1:`port`, the edge is at `to`. `udp`, `tcp`: what passes; may be changed at any
    time. With `udp` None the port is closed for it, and whoever tries is told so. `udp_packets` counts what
    connectors have sent, whatever became of it."""

    def __init__(self, to, udp=True, tcp=True):
        self.to, self.udp, self.tcp, self.udp_packets = ("127.0.0.1", to), udp, tcp, 0
        while True:
            super().__init__()
            self.front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                self.front.bind(("127.0.0.1", self.port))
                break
            except OSError:
                super().close()
        self.front.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.backs = {}  # connector's address -> socket to the edge
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.front, selectors.EVENT_READ)
        self.is_closed = udp is None
        if self.is_closed:
            self.front.close()
        self.thread = threading.Thread(target=self._relay, daemon=True)
        self.thread.start()

    def carry(self, sock):
        if not self.tcp:
            with contextlib.suppress(OSError):
                while sock.recv(65536):
                    pass
            return
        with socket.create_connection(self.to) as edge:
            both_ways(sock, edge)

    def _back(self, peer):
        if peer not in self.backs:
            back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            back.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            back.connect(self.to)
            self.backs[peer] = back
            self.selector.register(back, selectors.EVENT_READ, peer)
        return self.backs[peer]

    def _relay(self):
        while not self.is_closed:
            for key, _ in self.selector.select(0.2):
                for _ in range(64):
                    try:
                        self._pass(key)
                    except OSError:
                        break  # nothing more, or the edge's port is closed for now

    def _pass(self, key):
        if key.data is None:
            data, peer = self.front.recvfrom(65536, socket.MSG_DONTWAIT)
            self.udp_packets += 1
            if self.udp:
                self._back(peer).send(data)
        else:
            data = key.fileobj.recv(65536, socket.MSG_DONTWAIT)
            if self.udp:
                self.front.sendto(data, key.data)

    def close(self):
        self.is_closed = True
        self.thread.join()
        super().close()
        self.selector.close()
        for sock in (self.front, *self.backs.values()):
            sock.close()
