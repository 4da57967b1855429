"""Very many, and for long: five thousand idle WebSockets, and a soak of mixed traffic that ends where it began.

SOAK_SECONDS sets how long the soak takes (60); `./dev test --long` makes it five minutes.
"""

import asyncio
import contextlib
import itertools
import os
import random
import resource
import signal
import ssl
import threading

import pytest

from testenv import websocket as ws
from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.program import PATIENCE, PRESET
from testenv.wait import wait_until

HOST = f"crowd.{ZONE}"
KIB, MIB = 1 << 10, 1 << 20
IDLE = 5000 if PRESET in ("dev", "release") else 1000
SOAK = int(os.environ.get("SOAK_SECONDS", "60"))
BLOCK = random.Random(7).randbytes(256 * KIB)


# --- the service: many connections on one thread --------------------------------------------------------


class Service(asyncio.Protocol):
    """/ws echoes frames as they are, /size/N answers N bytes, /sse dribbles, /count counts what it is sent."""

    def __init__(self, town):
        self.town, self.buffer, self.raw = town, b"", False
        self.left, self.counted, self.keep = 0, 0, b""
        self.events = None

    def connection_made(self, transport):
        self.transport = transport
        self.town.open += 1

    def connection_lost(self, exc):
        self.town.open -= 1
        if self.events:
            self.events.cancel()

    def data_received(self, data):
        if self.raw:
            self.transport.write(self.unmasked(data))
            return
        self.buffer += data
        while self.buffer and not self.raw and self.step():
            pass

    def unmasked(self, data):
        """Frames of a client, whole or not, back as a server sends them. Small ones only."""
        self.buffer += data
        out = b""
        while len(self.buffer) >= 6:
            size = self.buffer[1] & 127
            if len(self.buffer) < 6 + size:
                break
            mask, body = self.buffer[2:6], self.buffer[6 : 6 + size]
            out += bytes([self.buffer[0], size]) + bytes(b ^ mask[i % 4] for i, b in enumerate(body))
            self.buffer = self.buffer[6 + size :]
        return out

    def step(self):
        if self.left:
            taken = min(self.left, len(self.buffer))
            self.left -= taken
            self.counted += taken
            self.buffer = self.buffer[taken:]
            if not self.left:
                self.reply(str(self.counted).encode())
            return True
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head, self.buffer = self.buffer[:end].decode("latin-1"), self.buffer[end + 4 :]
        first, *lines = head.split("\r\n")
        fields = {n.lower(): v.strip() for n, v in (line.split(":", 1) for line in lines)}
        path = first.split(" ")[1]
        if path == "/ws":
            self.raw = True
            accept = ws.accept_of(fields["sec-websocket-key"])
            self.transport.write(
                f"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode()
            )
            if self.buffer:
                early, self.buffer = self.buffer, b""
                self.data_received(early)
            return False
        if path == "/sse":
            self.events = asyncio.ensure_future(self.dribble())
            return False
        if path.startswith("/size/"):
            self.reply(BLOCK[: int(path[6:])])
        else:
            self.counted, self.left = 0, int(fields.get("content-length", 0))
            if not self.left:
                self.reply(b"0")
        return True

    def reply(self, body):
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async def dribble(self):
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for n in itertools.count():
            event = b"data: %d\n\n" % n
            self.transport.write(b"%x\r\n%s\r\n" % (len(event), event))
            await asyncio.sleep(0.05)


class Town:
    """The services on a thread of their own."""

    def __init__(self):
        self.open = 0
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        self.ready.wait(10)

    def run(self):
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(
            self.loop.create_server(lambda: Service(self), "127.0.0.1", 0, backlog=4096)
        )
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        self.loop.run_forever()

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)


class World:
    def __init__(self, own, folder):
        self.town = Town()
        self.edge = own.edge()
        self.cli = own.cli(self.edge, "adit")
        self.tunnel = self.cli.create("crowd")
        self.cli.route(self.tunnel, HOST)
        self.rules = [{"hostname": HOST, "service": f"http://127.0.0.1:{self.town.port}"}]
        self.config = write_config(folder / "config.yml", self.tunnel, self.rules)
        self.own = own
        self.connector = self.connect("connector")
        self.tls = ssl.create_default_context(cafile=str(self.edge.ca))
        self.tls.set_alpn_protocols(["http/1.1"])

    def connect(self, name):
        return self.own.connect(self.cli, self.tunnel, self.config, name=name)

    async def open(self):
        return await asyncio.open_connection("127.0.0.1", self.edge.https, ssl=self.tls, server_hostname=HOST)

    def programs(self):
        return {"edge": self.edge.program, "connector": self.connector}

    def memory(self):
        return {name: p.memory("VmRSS") for name, p in self.programs().items()}


@pytest.fixture
def world(own, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    w = World(own, tmp_path)
    yield w
    w.town.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def handshake():
    return (
        f"GET /ws HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {ws.new_key()}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


async def say(reader, writer, text):
    writer.write(ws.frame(ws.TEXT, text, masked=True))
    await writer.drain()
    got = await asyncio.wait_for(reader.readexactly(2 + len(text)), 20 * PATIENCE)
    assert got == ws.frame(ws.TEXT, text, masked=False)


# --- five thousand at rest ------------------------------------------------------------------------------


def test_idle_websockets(world, record_property):
    need = 2 * IDLE + 500
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < need:
        pytest.skip(f"this process may open fewer than {need} files")
    # Those before may still be leaving.
    wait_until(lambda: world.edge.gauge("adit_edge_exchanges") == 0, "an edge at rest", 60 * PATIENCE)
    before = world.memory()

    async def crowd():
        connections, gate = [], asyncio.Semaphore(64)

        async def come():
            async with gate:
                reader, writer = await world.open()
                writer.write(handshake())
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60 * PATIENCE)
                assert head.startswith(b"HTTP/1.1 101 "), head
                connections.append((reader, writer))

        await asyncio.gather(*(come() for _ in range(IDLE)))
        assert world.edge.gauge("adit_edge_exchanges") == IDLE
        at_rest = world.memory()
        for name, was in before.items():
            each = (at_rest[name] - was) / IDLE
            record_property(f"{name}_bytes_per_websocket", int(each))
            print(f"{name}: {IDLE} idle WebSockets, {each / KIB:.1f} KiB each (RSS {at_rest[name] / MIB:.1f} MiB)")
            if PRESET == "release":
                assert each < 64 * KIB
        for reader, writer in random.sample(connections, 100):
            await say(reader, writer, b"still there?")
        for _, writer in connections:
            writer.transport.abort()

    asyncio.run(crowd())
    wait_until(lambda: world.town.open == 0, lambda: f"an empty service: {world.town.open}", 60 * PATIENCE)
    world.edge.wait_idle(60)


# --- the soak --------------------------------------------------------------------------------------------


class Soak:
    """Visitors of every kind, each again and again until the time is up."""

    def __init__(self, world):
        self.world, self.random = world, random.Random(1)
        self.done = {}
        self.over = False

    def count(self, what):
        self.done[what] = self.done.get(what, 0) + 1

    async def asks(self, reader, writer, method, path, body=b""):
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise AssertionError(f"{method} {path}: {head.decode()}{(await reader.read(3000)).decode()}")
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return await reader.readexactly(size)

    async def pages(self):
        reader, writer = await self.world.open()
        for _ in range(self.random.randrange(1, 30)):
            size = self.random.choice((0, 100, 5000, 100_000, len(BLOCK)))
            assert await self.asks(reader, writer, "GET", f"/size/{size}") == BLOCK[:size]
            self.count("pages")
        writer.close()

    async def uploads(self):
        reader, writer = await self.world.open()
        for _ in range(self.random.randrange(1, 5)):
            size = self.random.randrange(len(BLOCK))
            assert await self.asks(reader, writer, "POST", "/count", BLOCK[:size]) == str(size).encode()
            self.count("uploads")
        writer.close()

    async def chats(self):
        reader, writer = await self.world.open()
        writer.write(handshake())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        for n in range(self.random.randrange(1, 50)):
            await say(reader, writer, b"message %d" % n)
            self.count("messages")
            await asyncio.sleep(0.01)
        writer.transport.abort()

    async def listens(self):
        reader, writer = await self.world.open()
        writer.write(f"GET /sse HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        for n in range(self.random.randrange(1, 20)):
            await reader.readuntil(b"data: %d\n\n" % n)
            self.count("events")
        writer.transport.abort()

    async def leaves(self):
        """In the middle of something."""
        reader, writer = await self.world.open()
        if self.random.randrange(2):
            writer.write(f"GET /size/{len(BLOCK)} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            with contextlib.suppress(asyncio.IncompleteReadError):
                await reader.readexactly(self.random.randrange(1, 1000))
        else:
            writer.write(f"POST /count HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 999999\r\n\r\n".encode() + BLOCK[:5000])
            await asyncio.sleep(self.random.random() / 50)
        writer.transport.abort()
        self.count("left")

    async def for_ever(self, kind):
        while not self.over:
            await asyncio.wait_for(kind(), 60 * PATIENCE)

    async def disturbs(self):
        """Reloads all the time, and a second replica that comes and goes."""
        for n in itertools.count():
            if self.over:
                return
            self.world.rules[0]["originRequest"] = {"connectTimeout": f"{10 + n % 20}s"}
            write_config(self.world.config, self.world.tunnel, self.world.rules)
            self.world.connector.signal(signal.SIGHUP)
            self.count("reloads")
            if n % 4 == 3:
                replica = await asyncio.to_thread(self.world.connect, "replica")
                await asyncio.sleep(2)
                await asyncio.to_thread(replica.stop)
                self.count("replicas")
            await asyncio.sleep(1.5)

    async def run(self):
        kinds = [self.pages] * 6 + [self.uploads] * 3 + [self.chats] * 6 + [self.listens] * 4 + [self.leaves] * 3
        tasks = [asyncio.ensure_future(self.for_ever(kind)) for kind in kinds]
        tasks.append(asyncio.ensure_future(self.disturbs()))
        # What is allocated once is allocated in the first third.
        await asyncio.wait(tasks, timeout=SOAK / 3, return_when=asyncio.FIRST_EXCEPTION)
        self.warm = self.world.memory()
        await asyncio.wait(tasks, timeout=SOAK * 2 / 3, return_when=asyncio.FIRST_EXCEPTION)
        self.over = True
        await asyncio.gather(*tasks)


@pytest.mark.timeout(SOAK * 2 + 120)
@pytest.mark.skipif(PRESET not in ("dev", "release"), reason="a sanitizer keeps freed memory: RSS says nothing")
def test_soak(world, record_property):
    soak = Soak(world)
    asyncio.run(soak.run())
    world.edge.wait_idle(30)
    world.connector.wait_idle()
    after = world.memory()
    print(f"{SOAK} s: {soak.done}")
    for name, warm in soak.warm.items():
        record_property(f"{name}_rss_warm", warm)
        record_property(f"{name}_rss_end", after[name])
        print(f"{name}: RSS {warm / MIB:.1f} MiB after a third, {after[name] / MIB:.1f} MiB at the end")
        assert after[name] < warm * 1.15 + 2 * MIB, f"{name} grows"
    assert all(soak.done.get(what, 0) > 0 for what in ("pages", "uploads", "messages", "events", "left", "reloads"))
