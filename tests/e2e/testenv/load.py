"""Steady requests and WebSockets while something happens to what serves them: every failure is counted.

Clients behave as browsers and proxies do: they keep connections, open a new one when the server says that it closes, and
send a request again only when its connection had been idle and was closed before a byte of the answer (RFC 9112
§9.3.1); those are counted apart.
"""

import asyncio
import os
import struct
import threading
import time
from dataclasses import dataclass, field

from .websocket import new_key

TEXT, CLOSE = 1, 8


@dataclass
class Count:
    sent: int = 0
    answered: int = 0
    repeated: int = 0  # on a fresh connection, after a kept one was closed under it
    failed: list = field(default_factory=list)  # (seconds since the start, what)
    slowest: float = 0.0
    sockets: int = 0
    broken: list = field(default_factory=list)  # WebSockets
    messages: int = 0

    def __str__(self):
        return (
            f"{self.sent} requests, {len(self.failed)} failed, {self.repeated} sent again, slowest "
            f"{self.slowest * 1000:.0f} ms; {self.sockets} WebSockets, {len(self.broken)} broken, {self.messages} messages"
        )


class Connection:
    def __init__(self, address, host, tls):
        self.address, self.host, self.tls = address, host, tls
        self.reader = self.writer = None
        self.used = 0

    async def open(self):
        self.reader, self.writer = await asyncio.open_connection(*self.address, ssl=self.tls, server_hostname=self.host)
        self.used = 0

    def close(self):
        if self.writer:
            self.writer.transport.abort()
        self.reader = self.writer = None

    async def get(self, path):
        """(status, may it be used again)"""
        self.used += 1
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode())
        await self.writer.drain()
        head = await self.reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").lower().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        if "content-length" in fields:
            await self.reader.readexactly(int(fields["content-length"]))
        else:
            while size := int(await self.reader.readline(), 16):
                await self.reader.readexactly(size + 2)
            await self.reader.readline()
        return int(lines[0].split()[1]), fields.get("connection") != "close"


GONE = (asyncio.IncompleteReadError, ConnectionError)


class Load:
    """In a thread of its own, from start() to stop()."""

    def __init__(self, edge, host, tls, rate=500, clients=50, sockets=20, patience=30, path="/echo"):
        self.address, self.host, self.tls = ("127.0.0.1", edge.https), host, tls
        self.rate, self.clients, self.socket_count, self.patience = rate, clients, sockets, patience
        self.path = path
        self.count = Count()
        self.idle, self.over = [], False
        self.requests = set()  # under way
        self.started = 0.0
        self.ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self):
        self.thread.start()
        assert self.ready.wait(30 * 3), "the load does not begin"
        return self

    def stop(self):
        self.over = True
        self.thread.join(120)
        assert not self.thread.is_alive(), "the load does not end"
        return self.count

    def _fail(self, what):
        self.count.failed.append((round(time.monotonic() - self.started, 2), what))

    async def _ask(self, connection):
        status, again = await connection.get(self.path)
        if status != 200:
            self._fail(f"status {status}")
            again = False
        else:
            self.count.answered += 1
        if again:
            self.idle.append(connection)
        else:
            connection.close()

    async def _request(self):
        self.count.sent += 1
        begun = time.monotonic()
        connection = self.idle.pop(0) if self.idle else Connection(self.address, self.host, self.tls)
        try:
            async with asyncio.timeout(self.patience):
                if not connection.writer:
                    await connection.open()
                kept = connection.used > 0
                try:
                    await self._ask(connection)
                except GONE as e:
                    # Closed while it was idle: nobody has seen the request.
                    if not kept or getattr(e, "partial", b""):
                        raise
                    self.count.repeated += 1
                    connection.close()
                    await connection.open()
                    await self._ask(connection)
        except (OSError, EOFError, ValueError, TimeoutError) as e:
            self._fail(repr(e)[:200])
            connection.close()
        self.count.slowest = max(self.count.slowest, time.monotonic() - begun)

    async def _socket(self):
        """A WebSocket that says something now and then, and hears it back."""
        connection = Connection(self.address, self.host, self.tls)
        try:
            await connection.open()
            connection.writer.write(
                f"GET /ws HTTP/1.1\r\nHost: {self.host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {new_key()}\r\n\r\n".encode()
            )
            head = await connection.reader.readuntil(b"\r\n\r\n")
            assert b" 101 " in head, head[:100]
            self.count.sockets += 1
            while not self.over:
                mask, text = os.urandom(4), os.urandom(6).hex().encode()
                masked = bytes(b ^ mask[i % 4] for i, b in enumerate(text))
                connection.writer.write(bytes([0x80 | TEXT, 0x80 | len(text)]) + mask + masked)
                async with asyncio.timeout(self.patience):
                    first, size = struct.unpack("BB", await connection.reader.readexactly(2))
                    echoed = await connection.reader.readexactly(size)
                assert first == 0x80 | TEXT and echoed == text, (first, echoed, text)
                self.count.messages += 1
                await asyncio.sleep(0.1)
        except (OSError, EOFError, AssertionError, TimeoutError) as e:
            self.count.broken.append((round(time.monotonic() - self.started, 2), repr(e)[:200]))
        finally:
            connection.close()

    async def _run(self):
        self.started = time.monotonic()
        tasks = {asyncio.create_task(self._socket()) for _ in range(self.socket_count)}
        while self.count.sockets + len(self.count.broken) < self.socket_count:
            await asyncio.sleep(0.01)
        requests = self.requests
        begun = time.monotonic()
        due = 0
        while not self.over:
            # At its rate, but never more at once than there are clients, or one stall would be a flood.
            now = time.monotonic()
            due = min(due + (now - begun) * self.rate, self.rate / 5)
            begun = now
            while due >= 1 and len(requests) < self.clients * 10:
                due -= 1
                task = asyncio.create_task(self._request())
                requests.add(task)
                task.add_done_callback(requests.discard)
            if self.count.answered > self.clients:
                self.ready.set()
            await asyncio.sleep(0.005)
        while requests:
            await asyncio.wait(requests)
        await asyncio.wait(tasks) if tasks else None
        for connection in self.idle:
            connection.close()
