"""gRPC end to end: its own client (HTTP/2 and TLS to the edge) and its own server, in clear and behind TLS."""

import gc
import os
import pathlib
import sys
import threading
import time

import pytest

# This process starts programs while channels are open: the library's fork handlers only get in the way.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"
grpc = pytest.importorskip("grpc")

from conftest import need  # noqa: E402
from testenv import net  # noqa: E402
from testenv.certs import OriginCerts  # noqa: E402
from testenv.connector import write_config  # noqa: E402
from testenv.edge import ZONE  # noqa: E402
from testenv.grpc_origin import BIG  # noqa: E402
from testenv.origin import BLOCK  # noqa: E402
from testenv.program import PATIENCE, Program  # noqa: E402

WAYS = [("adit", "h2c"), ("adit", "h2"), ("stock", "h2")]  # a stock connector knows no h2c
SECONDS = 30 * PATIENCE
SCRIPT = pathlib.Path(__file__).parent / "testenv" / "grpc_origin.py"


class Services:
    def __init__(self, stage, folder):
        self.stage, self.folder = stage, folder
        self.certs = OriginCerts(folder / "certs")
        self.ports, self.programs, self.connectors = {}, {}, {}
        for way in ("h2c", "h2"):
            self.ports[way] = net.free_port()
            argv = [sys.executable, SCRIPT, self.ports[way]]
            if way == "h2":
                argv += [self.certs.key, self.certs.cert]
            self.programs[way] = Program(f"grpc-{way}", argv, folder)
        for program in self.programs.values():
            program.wait_log("serving")

    def service(self, way):
        return f"{'https' if way == 'h2' else 'h2c'}://127.0.0.1:{self.ports[way]}"

    def host(self, kind, way):
        return f"{kind}-grpc-{way}.{ZONE}"

    def connector(self, kind):
        if kind not in self.connectors or not self.connectors[kind].is_running():
            cli = self.stage.site(kind).cli
            tunnel = cli.create(f"{kind}-grpc")
            pool = {"caPool": str(self.certs.ca), "originServerName": self.certs.NAME, "http2Origin": True}
            rules = [
                {"hostname": self.host(k, w), "service": self.service(w), "originRequest": pool if w == "h2" else {}}
                for k, w in WAYS
                if k == kind
            ]
            cli.route(tunnel, *[r["hostname"] for r in rules])
            config = write_config(self.folder / f"{kind}.yml", tunnel, rules)
            self.connectors[kind] = cli.connect(tunnel, config, name=f"grpc-connector-{kind}")
        return self.connectors[kind]

    def close(self):
        for connector in self.connectors.values():
            connector.stop()
        for program in self.programs.values():
            program.kill()


@pytest.fixture(scope="module")
def services(stage, tmp_path_factory):
    s = Services(stage, tmp_path_factory.mktemp("grpc"))
    yield s
    s.close()


class Client:
    def __init__(self, channel, services, way):
        self.channel, self.services, self.way = channel, services, way

    def unary(self, method, request, service="Service", **kwargs):
        """(response, call)"""
        call = self.channel.unary_unary(f"/test.{service}/{method}")
        return call.with_call(request, timeout=kwargs.pop("timeout", SECONDS), **kwargs)

    def server_stream(self, method, request, **kwargs):
        return self.channel.unary_stream(f"/test.Service/{method}")(request, timeout=SECONDS, **kwargs)

    def client_stream(self, method, requests):
        return self.channel.stream_unary(f"/test.Service/{method}")(requests, timeout=SECONDS)

    def both(self, method, requests):
        return self.channel.stream_stream(f"/test.Service/{method}")(requests, timeout=SECONDS)

    def was_cancelled(self, name):
        """Asks the service itself."""
        if self.way == "h2":
            credentials = grpc.ssl_channel_credentials(self.services.certs.ca.read_bytes())
            options = [("grpc.ssl_target_name_override", self.services.certs.NAME)]
            channel = grpc.secure_channel(f"127.0.0.1:{self.services.ports[self.way]}", credentials, options)
        else:
            channel = grpc.insecure_channel(f"127.0.0.1:{self.services.ports[self.way]}")
        with channel:
            return channel.unary_unary("/test.Probe/Cancelled")(name.encode(), timeout=SECONDS) == b"yes"


@pytest.fixture(params=WAYS, ids="-".join)
def client(request, services, stage):
    kind, way = request.param
    need(kind)
    services.connector(kind)
    host = services.host(kind, way)
    credentials = grpc.ssl_channel_credentials(stage.edge.ca.read_bytes())
    options = [*BIG, ("grpc.ssl_target_name_override", host), ("grpc.default_authority", host)]
    with grpc.secure_channel(f"127.0.0.1:{stage.edge.https}", credentials, options) as channel:
        yield Client(channel, services, way)
    gc.collect()  # calls hold their channel


def metadata(pairs):
    return [(n, v) for n, v in pairs]


# --- the four kinds of calls -------------------------------------------------------------------------


def test_unary(client):
    response, call = client.unary("Echo", b"hello")
    assert response == b"hello"
    assert call.code() is grpc.StatusCode.OK
    trailing = metadata(call.trailing_metadata())
    assert ("x-trail", "end") in trailing and ("x-trail-bin", b"\0\xff") in trailing


def test_empty_message(client):
    assert client.unary("Echo", b"")[0] == b""


def test_metadata(client):
    sent = [("x-one", "1"), ("x-two", "a"), ("x-two", "b"), ("x-raw-bin", b"\0\1\xfe\xff")]
    response, call = client.unary("Meta", b"", metadata=sent)
    got = response.decode().split("\n")
    for line in ("x-one=1", "x-two=a", "x-two=b", "x-raw-bin=b'\\x00\\x01\\xfe\\xff'"):
        assert line in got
    assert ("x-early", "yes") in metadata(call.initial_metadata())


def test_server_stream(client):
    assert list(client.server_stream("Count", b"500")) == [str(i).encode() for i in range(500)]


def test_server_stream_of_nothing(client):
    assert list(client.server_stream("Count", b"0")) == []


def test_client_stream(client):
    assert client.client_stream("Collect", (b"x" * 1000 for _ in range(500))) == b"500 500000"


def test_client_stream_of_nothing(client):
    assert client.client_stream("Collect", iter(())) == b"0 0"


def test_both_in_turns(client):
    """Each answer comes before the next question: nothing is held back on the way."""
    answered = threading.Semaphore(1)

    def questions():
        for i in range(30):
            assert answered.acquire(timeout=SECONDS)
            yield str(i).encode()

    got = []
    for answer in client.both("Chat", questions()):
        got.append(answer)
        answered.release()
    assert got == [b"re: %d" % i for i in range(30)]


def test_both_at_full_speed(client):
    got = list(client.both("Chat", (BLOCK[:1000] for _ in range(2000))))
    assert got == [b"re: " + BLOCK[:1000]] * 2000


def test_server_ends_first(client):
    """The call is over with the trailers, whatever the client still wants to say."""
    done = threading.Event()

    def questions():
        yield b"first"
        done.wait(SECONDS)

    try:
        assert list(client.both("Early", questions())) == [b"first"]
    finally:
        done.set()


# --- errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [c for c in grpc.StatusCode if c is not grpc.StatusCode.OK], ids=lambda c: c.name)
def test_status(client, code):
    """A response of nothing but trailers."""
    with pytest.raises(grpc.RpcError) as e:
        client.unary("Fail", f"{code.name} because of ümläut 100%".encode())
    assert e.value.code() is code
    assert e.value.details() == "because of ümläut 100%"
    assert ("x-why", "asked") in metadata(e.value.trailing_metadata())


def test_unknown_method(client):
    with pytest.raises(grpc.RpcError) as e:
        client.unary("Nothing", b"")
    assert e.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_error_after_messages(client):
    got = []
    with pytest.raises(grpc.RpcError) as e:
        for message in client.server_stream("FailLate", b""):
            got.append(message)
    assert got == [b"one", b"two"]
    assert (e.value.code(), e.value.details()) == (grpc.StatusCode.DATA_LOSS, "late")


def test_deadline(client, request):
    """The client gives up: the service hears of it."""
    name = request.node.name
    with pytest.raises(grpc.RpcError) as e:
        client.unary("Hang", b"", timeout=0.5, metadata=[("x-name", name)])
    assert e.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert client.was_cancelled(name)


def test_cancelled_stream(client, request):
    name = request.node.name
    call = client.server_stream("Forever", b"", metadata=[("x-name", name)])
    assert [next(call) for _ in range(3)] == [b"tick"] * 3
    call.cancel()
    with pytest.raises(grpc.RpcError) as e:
        list(call)
    assert e.value.code() is grpc.StatusCode.CANCELLED
    assert client.was_cancelled(name)


# --- sizes and numbers -------------------------------------------------------------------------------


def test_large_messages(client):
    message = BLOCK * 8
    assert client.unary("Echo", message)[0] == message


def test_large_stream(client):
    got = client.client_stream("Collect", (BLOCK for _ in range(24)))
    assert got == b"24 %d" % (24 << 20)


def test_a_hundred_at_once(client):
    call = client.channel.unary_unary("/test.Service/Echo")
    futures = [call.future(b"%d" % i * 100, timeout=SECONDS) for i in range(100)]
    assert [f.result() for f in futures] == [b"%d" % i * 100 for i in range(100)]


def test_a_hundred_that_last(client):
    """All are open at the same time, and a short one gets through beside them."""
    go_on = threading.Event()

    def questions(i):
        yield b"%d" % i
        go_on.wait(SECONDS)
        yield b"bye"

    calls = [client.both("Chat", questions(i)) for i in range(90)]
    try:
        assert [next(call) for call in calls] == [b"re: %d" % i for i in range(90)]
        assert client.unary("Echo", b"short")[0] == b"short"
    finally:
        go_on.set()
    assert [list(call) for call in calls] == [[b"re: bye"]] * 90


def test_compressed(client):
    """grpc-encoding travels with the messages; nobody on the way touches them."""
    message = b"again and again " * 10_000
    assert client.unary("Compressed", message)[0] == message
    assert client.unary("Echo", message, compression=grpc.Compression.Gzip)[0] == message
    response, _ = client.unary("Meta", b"x", compression=grpc.Compression.Gzip)
    assert "user-agent=" in response.decode()


def test_over_and_over(client):
    """Sessions are kept between calls."""
    started = time.monotonic()
    for i in range(100):
        assert client.unary("Echo", b"%d" % i)[0] == b"%d" % i
    assert time.monotonic() - started < SECONDS
