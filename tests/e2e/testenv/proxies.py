"""Proxies on the way out: HTTP CONNECT and SOCKS 5, and relays that can be told to misbehave."""

import base64
import contextlib
import socket
import threading

from .wait import exactly


class Listener:
    """Takes connections; carry(sock) is run for each in a thread. `accepted` counts them."""

    def __init__(self, at="127.0.0.1", tls=None):
        self.socket = socket.create_server((at, 0), family=socket.AF_INET6 if ":" in at else socket.AF_INET)
        self.port = self.socket.getsockname()[1]
        self.accepted, self.tls, self.open = 0, tls, set()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.socket.accept()
                self.accepted += 1
                threading.Thread(target=self._one, args=(sock,), daemon=True).start()

    def _one(self, sock):
        with contextlib.suppress(OSError, ValueError), sock:
            self.open.add(sock)
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            with sock:
                self.carry(sock)

    def carry(self, sock):
        """By default: hangs up."""

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for sock in list(self.open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def copy(source, sink):
    """The end of one direction leaves the other one open: what is under way there still arrives."""
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for s in (source, sink):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)


def both_ways(a, b):
    thread = threading.Thread(target=copy, args=(a, b), daemon=True)
    thread.start()
    copy(b, a)
    thread.join()


class ConnectProxy(Listener):
    """With `user` it wants "name:password". `refuse` is a status line to answer with. `to` overrides where to."""

    def __init__(self, user=None, refuse=None, to=None, **kwargs):
        self.user, self.refuse, self.to, self.heads = user, refuse, to, []
        super().__init__(**kwargs)

    def carry(self, sock):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = sock.recv(1)
            if not byte:
                return
            head += byte
        self.heads.append(head.decode())
        if self.user:
            wanted = "Basic " + base64.b64encode(self.user.encode()).decode()
            if f"proxy-authorization: {wanted}\r\n".lower() not in head.decode().lower():
                sock.sendall(b'HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n')
                return
        if self.refuse:
            sock.sendall(f"HTTP/1.1 {self.refuse}\r\nContent-Length: 0\r\n\r\n".encode())
            return
        host, port = head.split(b" ")[1].decode().rsplit(":", 1)
        with socket.create_connection(self.to or (host.strip("[]"), int(port))) as far:
            sock.sendall(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 x\r\n\r\n")
            both_ways(sock, far)


class SocksProxy(Listener):
    """`asked` has (address type, host, port) of each request. `code` is the reply's."""

    def __init__(self, user=None, code=0, to=None, **kwargs):
        self.user, self.code, self.to, self.asked = user, code, to, []
        super().__init__(**kwargs)

    def carry(self, sock):
        version, count = exactly(sock, 2)
        methods = exactly(sock, count)
        assert version == 5
        if self.user:
            if 2 not in methods:
                sock.sendall(b"\x05\xff")
                return
            sock.sendall(b"\x05\x02")
            _, size = exactly(sock, 2)
            name = exactly(sock, size)
            password = exactly(sock, exactly(sock, 1)[0])
            right = f"{name.decode()}:{password.decode()}" == self.user
            sock.sendall(b"\x01\x00" if right else b"\x01\x01")
            if not right:
                return
        else:
            sock.sendall(b"\x05\x00")
        _, _, _, kind = exactly(sock, 4)
        if kind == 3:
            host = exactly(sock, exactly(sock, 1)[0]).decode()
        elif kind == 4:
            host = socket.inet_ntop(socket.AF_INET6, exactly(sock, 16))
        else:
            host = socket.inet_ntop(socket.AF_INET, exactly(sock, 4))
        port = int.from_bytes(exactly(sock, 2), "big")
        self.asked.append((kind, host, port))
        if self.code:
            sock.sendall(bytes([5, self.code, 0, 1, 0, 0, 0, 0, 0, 0]))
            return
        with socket.create_connection(self.to or (host, port)) as far:
            sock.sendall(b"\x05\x00\x00\x03\x04name\x00\x50")
            both_ways(sock, far)


class Relay(Listener):
    """Between a connector and its edge. `lifetime`: so many seconds after it was taken, a connection is cut."""

    def __init__(self, to, lifetime=None, **kwargs):
        self.to, self.lifetime = to, lifetime
        super().__init__(**kwargs)

    def carry(self, sock):
        with socket.create_connection(self.to) as far:
            if self.lifetime:

                def cut():
                    for s in (sock, far):
                        with contextlib.suppress(OSError):
                            s.shutdown(socket.SHUT_RDWR)

                timer = threading.Timer(self.lifetime, cut)
                timer.start()
            both_ways(sock, far)


class Hasty(Listener):
    """Hears a question and hangs up."""

    def carry(self, sock):
        sock.recv(65536)


class Mute(Listener):
    """Takes connections and says nothing."""

    def carry(self, sock):
        while sock.recv(65536):
            pass
