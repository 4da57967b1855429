"""The keys of originRequest, where a real server has to notice them; nginx is one that does."""

import contextlib
import os
import socket
import threading
import time

import pytest

from testenv import net, nginx
from testenv import websocket as ws
from testenv.certs import OriginCerts
from testenv.connector import KINDS, Cli, write_config
from testenv.edge import ZONE
from testenv.origin import Gone, Origin
from testenv.wait import wait_until

SERVERS = """
	server {{
		listen 127.0.0.1:{tls} ssl default_server;
		listen unix:{socket} ssl;
		server_name one.internal;
		ssl_certificate {one_cert}; ssl_certificate_key {one_key};
		location / {{ return 200 "one sni=$ssl_server_name host=$host connection=$connection"; }}
	}}
	server {{
		listen 127.0.0.1:{tls} ssl;
		listen unix:{socket} ssl;
		server_name two.internal *.{zone};
		ssl_certificate {two_cert}; ssl_certificate_key {two_key};
		location / {{ return 200 "two sni=$ssl_server_name host=$host connection=$connection"; }}
	}}
	server {{
		listen 127.0.0.1:{proxy} proxy_protocol;
		listen unix:{proxy_socket} proxy_protocol;
		location / {{ return 200 "$proxy_protocol_addr $proxy_protocol_server_addr $proxy_protocol_server_port $connection_requests"; }}
	}}
	server {{
		listen 127.0.0.1:{proxy_tls} ssl proxy_protocol;
		ssl_certificate {one_cert}; ssl_certificate_key {one_key};
		location / {{ return 200 "$proxy_protocol_addr"; }}
	}}
	server {{
		listen 127.0.0.1:{counting};
		listen [::1]:{counting};
		keepalive_timeout 60s;
		location / {{ return 200 "$connection $connection_requests $server_addr"; }}
	}}
"""

OURS = ("proxy1", "proxy2", "proxytls", "proxyunix", "idle", "strip", "fields", "keepone", "probesoff", "names1", "names2")
BOTH = ("snirule", "snihost", "snimiss", "unixtls", "counting", "localhost", "serial", "keeptime", "handshake",
        "probes", "unchunked", "renamed")  # fmt: skip


class Keys:
    """Services, and one connector of each kind that reaches them with every key."""

    def __init__(self, stage, folder):
        self.stage, self.folder = stage, folder
        self.certs = OriginCerts(folder / "certs")
        one = self.certs.issue("one.internal")
        two = self.certs.issue("two.internal", f"*.{ZONE}")
        self.ports = {name: net.free_port() for name in ("tls", "proxy", "proxy_tls", "counting")}
        self.socket, self.proxy_socket = folder / "tls.sock", folder / "proxy.sock"
        self.nginx = nginx.start(
            folder / "nginx",
            SERVERS.format(
                **self.ports, zone=ZONE, socket=self.socket, proxy_socket=self.proxy_socket,
                one_cert=one[0], one_key=one[1], two_cert=two[0], two_key=two[1],
            ),
        )  # fmt: skip
        self.origin, self.lonely = Origin(), Origin()
        self.mute = socket.create_server(("127.0.0.1", 0))
        self.sites = {}

    def rules(self, host, kind):
        tls = f"https://127.0.0.1:{self.ports['tls']}"
        proxy = f"http://127.0.0.1:{self.ports['proxy']}"
        counting = f"127.0.0.1:{self.ports['counting']}"
        pool = {"caPool": str(self.certs.ca)}
        both = {
            "snirule": (tls, {**pool, "originServerName": "two.internal"}),
            "snihost": (tls, {**pool, "matchSNItoHost": True}),
            "snimiss": (tls, {**pool, "originServerName": "three.internal"}),
            "unixtls": (f"unix+tls:{self.socket}", {**pool, "originServerName": "one.internal"}),
            "counting": (f"http://{counting}", {}),
            "localhost": (f"http://localhost:{self.ports['counting']}", {}),
            "serial": (f"http://localhost:{self.ports['counting']}", {"noHappyEyeballs": True}),
            "keeptime": (self.lonely.service, {"keepAliveTimeout": "1s"}),
            "handshake": (f"https://127.0.0.1:{self.mute.getsockname()[1]}", {"tlsTimeout": "1s"}),
            "probes": (self.origin.service, {"tcpKeepAlive": "300s"}),
            "unchunked": (self.origin.service, {"disableChunkedEncoding": True}),
            "renamed": (tls, {**pool, "matchSNItoHost": True, "httpHostHeader": "two.internal"}),
        }
        ours = {
            "proxy1": (proxy, {"proxyProtocol": "v1"}),
            "proxy2": (proxy, {"proxyProtocol": "v2"}),
            "proxytls": (f"https://127.0.0.1:{self.ports['proxy_tls']}",
                         {**pool, "proxyProtocol": "v2", "originServerName": "one.internal"}),
            "proxyunix": (f"unix:{self.proxy_socket}", {"proxyProtocol": "v1"}),
            "idle": (self.origin.service, {"idleTimeout": "2s"}),
            "strip": (self.origin.service, {"stripPrefix": "/app"}),
            "fields": (self.origin.service, {"removeHeaders": ["Cookie", "X-Gone"],
                                             "setHeaders": {"X-Gone": "back", "X-Team": "blue"}}),
            "keepone": (f"http://{counting}", {"keepAliveConnections": 1}),
            "probesoff": (self.origin.service, {"tcpKeepAlive": "0s"}),
            "names1": (tls, {**pool, "matchSNItoHost": True}),
            "names2": (tls, {**pool, "matchSNItoHost": True}),
        }  # fmt: skip
        wanted = {**both, **ours} if kind == "adit" else both
        return [{"hostname": host(name), "service": s, "originRequest": o} for name, (s, o) in wanted.items()]

    def site(self, kind):
        if kind not in self.sites:
            self.sites[kind] = KeysSite(self, kind)
        return self.sites[kind]

    def close(self):
        for site in self.sites.values():
            site.connector.stop()
        self.nginx.program.stop()
        self.origin.close()
        self.lonely.close()
        self.mute.close()


class KeysSite:
    def __init__(self, keys, kind):
        self.keys, self.kind = keys, kind
        folder = keys.folder / kind
        folder.mkdir()
        cli = Cli(kind, keys.stage.edge, folder).log_in()
        tunnel = cli.create(f"keys-{kind}")
        cli.route(tunnel, *[self.host(name) for name in (BOTH + OURS if kind == "adit" else BOTH)])
        config = write_config(folder / "keys.yml", tunnel, keys.rules(self.host, kind))
        self.connector = cli.connect(tunnel, config, name=f"keys-{kind}")

    def host(self, name):
        return f"{self.kind}-key-{name}.{ZONE}"


@pytest.fixture(scope="module")
def keys(stage, tmp_path_factory):
    k = Keys(stage, tmp_path_factory.mktemp("keys"))
    yield k
    k.close()


@pytest.fixture(params=KINDS)
def site(request, keys):
    from conftest import need

    need(request.param)
    yield keys.site(request.param)
    keys.origin.forget()
    keys.lonely.forget()


@pytest.fixture
def ours(keys):
    yield keys.site("adit")
    keys.origin.forget()
    keys.lonely.forget()


@pytest.fixture
def origin(keys):
    return keys.origin


def words(answer):
    return dict(w.split("=", 1) for w in answer.text.split() if "=" in w)


# --- names in TLS ------------------------------------------------------------------------------------


def test_origin_server_name(site, visitor):
    answer = visitor.get(site.host("snirule"), "/")
    assert (words(answer)["sni"], words(answer)["host"]) == ("two.internal", site.host("snirule"))


def test_a_certificate_of_another_name_is_refused(site, visitor):
    assert visitor.get(site.host("snimiss"), "/").status == 502


def test_sni_of_the_visitors_host(site, visitor):
    """Without a port in Host: cloudflared would look for the port in the certificate."""
    host = site.host("snihost")
    answer = visitor.get(host, "/", headers=[("Host", host)])
    assert answer.text.startswith(f"two sni={host}")


def test_sni_follows_the_host_that_is_sent(site, visitor):
    answer = visitor.get(site.host("renamed"), "/")
    assert answer.text.startswith("two sni=two.internal host=two.internal")


def test_connections_with_different_names_are_not_mixed(ours, visitor):
    """nginx would answer 421 to a Host that is not the connection's; what it says is the connection's name."""
    for _ in range(8):
        for name in ("names1", "names2"):
            assert words(visitor.get(ours.host(name), "/"))["sni"] == ours.host(name)


def test_tls_over_a_unix_socket(site, visitor):
    assert words(visitor.get(site.host("unixtls"), "/"))["sni"] == "one.internal"


# --- PROXY protocol ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["proxy1", "proxy2"])
@pytest.mark.parametrize("client", ["127.0.0.1", "127.0.0.9"])
def test_proxy_protocol(ours, keys, visitor, name, client):
    for _ in range(3):
        answer = visitor.get(ours.host(name), "/", "--interface", client)
        assert answer.text == f"{client} 127.0.0.1 {keys.ports['proxy']} 1", "each request its own connection"


def test_proxy_protocol_before_tls(ours, visitor):
    assert visitor.get(ours.host("proxytls"), "/", "--interface", "127.0.0.7").text == "127.0.0.7"


def test_proxy_protocol_over_a_unix_socket(ours, visitor):
    assert visitor.get(ours.host("proxyunix"), "/", "--interface", "127.0.0.7").text == "127.0.0.7 0.0.0.0  1"  # nginx prints no port 0


# --- connections -------------------------------------------------------------------------------------


def test_kept_connections_are_used_again(site, visitor):
    host = site.host("counting")
    seen = [visitor.get(host, "/").text.split() for _ in range(30)]
    # Four tunnel connections may be served by as many workers.
    assert len({connection for connection, _, _ in seen}) <= 4
    assert max(int(count) for _, count, _ in seen) >= 7


def test_at_most_so_many_are_kept(ours, visitor):
    """Twenty at once, and one a worker is left."""
    host = ours.host("keepone")
    for _ in range(2):
        curls = [visitor.start(host, "/") for _ in range(20)]
        assert all(int(c.communicate(timeout=60)[0].split()[0]) for c in curls)
    connections = {visitor.get(host, "/").text.split()[0] for _ in range(20)}
    assert len(connections) <= 4


def test_idle_connections_are_closed_in_time(site, keys, visitor):
    path = keys.lonely.on(lambda r: r.reply(200, body=b"x"))
    assert visitor.get(site.host("keeptime"), path).body == b"x"
    wait_until(lambda: not keys.lonely.connections, "the idle connection closed")


@pytest.mark.parametrize("name", ["localhost", "serial"])
def test_localhost(site, visitor, name):
    """Where both answer: what /etc/hosts says first for cloudflared, ::1 for adit."""
    seen = visitor.get(site.host(name), "/").text.split()[2]
    assert seen == "::1" or (site.kind == "stock" and seen == "127.0.0.1")


def test_a_handshake_without_end(site, visitor):
    answer = visitor.get(site.host("handshake"), "/")
    assert answer.status == (504 if site.kind == "adit" else 502)
    assert site.kind == "stock" or "not finished within 1000 ms" in answer.text


def keepalive_of(port):
    """(armed, seconds until the next probe) of established connections to the port, as the kernel tells."""
    found = []
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in table.readlines()[1:]:
            fields = line.split()
            if int(fields[2].split(":")[1], 16) == port and fields[3] == "01":
                kind, when = fields[5].split(":")
                found.append((kind == "02", int(when, 16) / os.sysconf("SC_CLK_TCK")))
    return found


def timer_of(sock):
    """Of the other end of an accepted connection; None: the table does not show it just now. Others may have the
    same port, towards somebody else."""
    ends = (f":{sock.getpeername()[1]:04X}", f":{sock.getsockname()[1]:04X}")
    with open("/proc/net/tcp", encoding="ascii") as table:
        found = [f for f in map(str.split, table) if f[1].endswith(ends[0]) and f[2].endswith(ends[1])]
    return found[0][5].split(":")[0] if found else None


def test_tcp_keep_alive(site, visitor, origin):
    seen = []

    def handler(r):
        # A segment that is not acknowledged yet has a timer of another kind.
        wait_until(lambda: any(armed for armed, _ in keepalive_of(origin.port)), "keep-alive")
        seen.extend(keepalive_of(origin.port))
        r.reply(200, body=b"x")

    visitor.get(site.host("probes"), origin.on(handler))
    assert any(armed and 200 < seconds <= 300 for armed, seconds in seen), seen


def test_tcp_keep_alive_off(ours, visitor, origin):
    timers = []

    def handler(r):
        timers.append(wait_until(lambda: (t := timer_of(r.sock)) != "01" and t, "acknowledgements"))
        r.reply(200, body=b"x")

    visitor.get(ours.host("probesoff"), origin.on(handler))
    assert timers == ["00"]


# --- bodies ------------------------------------------------------------------------------------------


def test_a_known_length_stays_known(site, visitor, origin):
    path = origin.on(lambda r: r.reply(200, body=r.read_body()))
    assert visitor.get(site.host("unchunked"), path, data=b"x" * 5000).body == b"x" * 5000
    [request] = origin.requests(path)
    assert request.get("content-length") == "5000" and not request.get("transfer-encoding")


@pytest.mark.parametrize("size", [0, 5, 1_000_000, 4 * 1024 * 1024])
def test_an_unknown_length_is_found_out(ours, visitor, origin, size):
    """(cloudflared sends such a body without any framing: the service takes it for another request.)"""
    path = origin.on(lambda r: r.reply(200, body=b"%d" % len(r.read_body())))
    answer = upload(visitor, ours.host("unchunked"), path, b"y" * size)
    assert answer == b"%d" % size
    request = origin.requests(path)[-1]
    assert request.get("content-length") == str(size) and not request.get("transfer-encoding")


def upload(visitor, host, path, data):
    """Of a length that curl does not know."""
    read, write = os.pipe()
    with os.fdopen(read, "rb") as reading:
        process = visitor.start(host, path, "-T", "-", "-X", "POST", "-H", "Expect:", stdin=reading)

    def feed():
        with os.fdopen(write, "wb") as writing, contextlib.suppress(BrokenPipeError):
            writing.write(data)

    thread = threading.Thread(target=feed)
    thread.start()
    out = process.communicate(timeout=100)[0]
    thread.join()
    return out


def test_what_is_too_large_to_be_collected_is_refused(ours, visitor, origin):
    path = origin.on(lambda r: r.reply(200))
    out = upload(visitor, ours.host("unchunked"), path, b"z" * (5 * 1024 * 1024))
    assert b"Content-Length" in out or b"411" in out or out == b""
    assert origin.requests(path) == []


# --- Expect and interim heads ------------------------------------------------------------------------


def ask_first(connection, path, length):
    connection.request("POST", path, [("Expect", "100-continue"), ("Content-Length", str(length))])


def test_the_service_is_asked_for_the_body(ours, raw, origin):
    def handler(r):
        r.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        r.reply(200, body=r.read_body())

    path = origin.on(handler)
    connection = raw(ours.host("unchunked"))
    ask_first(connection, path, 5)
    assert connection.read_head().status == 100
    connection.send(b"hello")
    assert connection.read().body == b"hello"
    assert origin.requests(path)[0].get("expect") == "100-continue"


def test_a_refusal_saves_the_upload(ours, raw, origin):
    def handler(r):
        r.keep_alive = False
        r.reply(413, [("Connection", "close")], b"too much")

    path = origin.on(handler)
    connection = raw(ours.host("unchunked"))
    ask_first(connection, path, 10**9)
    answer = connection.read()
    assert (answer.status, answer.body) == (413, b"too much")


def test_a_service_that_does_not_know_expect_gets_the_body(ours, raw, origin):
    path = origin.on(lambda r: r.reply(200, body=r.read_body()))
    connection = raw(ours.host("unchunked"))
    ask_first(connection, path, 5)
    assert connection.read_head().status == 100
    connection.send(b"hello")
    assert connection.read().body == b"hello"


def hints(r):
    r.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n")
    r.reply(200, body=b"page")


def test_early_hints(ours, raw, origin):
    connection = raw(ours.host("strip"))
    connection.request("GET", origin.on(hints))
    first = connection.read_head()
    assert (first.status, first.get("link"), first.get("x-hop")) == (103, "</a.css>; rel=preload", None)
    assert connection.read().body == b"page"


def test_early_hints_over_http2(ours, h2, origin):
    import h2.events as events

    connection = h2(ours.host("strip"))
    stream = connection.headers(origin.on(hints))
    first = connection.wait(events.InformationalResponseReceived, stream)
    assert dict(first.headers)[":status"] == "103" and dict(first.headers)["link"] == "</a.css>; rel=preload"
    assert connection.response(stream).body == b"page"


# --- silence -----------------------------------------------------------------------------------------


def test_a_silent_service_times_out(ours, visitor, origin):
    answer = visitor.get(ours.host("idle"), origin.on(lambda r: r.peer_gone(20)))
    assert answer.status == 504
    assert "Service timed out" in answer.text or "no byte" in answer.text


def test_a_service_that_speaks_now_and_then_is_fine(ours, visitor, origin):
    def handler(r):
        r.head(200, [("Transfer-Encoding", "chunked")])
        for _ in range(6):
            time.sleep(0.5)  # longer than the timeout together, shorter each
            r.chunk(b"tick ")
        r.last_chunk()

    assert visitor.get(ours.host("idle"), origin.on(handler)).body == b"tick " * 6


def test_a_silent_websocket_is_closed(ours, raw, origin):
    connection = raw(ours.host("idle"))
    assert ws.open_through(connection, origin.on(ws.serve_echo)).status == 101
    assert connection.is_closed()


# --- the request that the service sees -----------------------------------------------------------------


@pytest.mark.parametrize(
    "path,seen,prefix",
    [
        ("/app/x?y=1", "/x?y=1", "/app"),
        ("/app", "/", "/app"),
        ("/app?q", "/?q", "/app"),
        ("/apple", "/apple", None),
        ("/other/app", "/other/app", None),
    ],
)
def test_strip_prefix(ours, visitor, origin, path, seen, prefix):
    visitor.get(ours.host("strip"), path, headers=[("X-Forwarded-Prefix", "/mine")])
    [request] = origin.seen
    assert (request.target, request.get("x-forwarded-prefix")) == (seen, prefix)


def test_set_and_remove_headers(ours, visitor, origin):
    path = origin.on(lambda r: r.reply(200))
    visitor.get(ours.host("fields"), path, headers=[("Cookie", "a=b"), ("X-Gone", "1"), ("X-Team", "red"), ("X-Own", "1")])
    [request] = origin.requests(path)
    assert (request.all("cookie"), request.all("x-gone"), request.all("x-team")) == ([], ["back"], ["blue"])
    assert request.get("x-own") == "1"


def test_set_headers_on_an_upgrade(ours, raw, origin):
    path = origin.on(ws.serve_echo)
    connection = raw(ours.host("fields"))
    assert ws.open_through(connection, path, [("X-Gone", "1")]).status == 101
    assert origin.requests(path)[0].all("x-gone") == ["back"]


# --- halves --------------------------------------------------------------------------------------------


def test_a_raw_stream_ends_in_halves(ours, raw, origin):
    """The service ends its side; what the visitor still says arrives."""
    got = bytearray()
    over = threading.Event()

    def handler(r):
        r.keep_alive = False
        r.head(101, [("Upgrade", "websocket"), ("Connection", "Upgrade"),
                     ("Sec-WebSocket-Accept", ws.accept_of(r.get("sec-websocket-key")))])  # fmt: skip
        r.send(b"bye")
        r.sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(Gone, OSError):
            while data := r.reader.read1(65536):
                got.extend(data)
        over.set()

    connection = raw(ours.host("strip"))
    assert ws.open_through(connection, origin.on(handler)).status == 101
    assert connection.reader.read(3) == b"bye"
    assert connection.reader.read1(10) == b""
    connection.send(b"still here")
    wait_until(lambda: bytes(got) == b"still here", "what the visitor says after the service's end")
    connection.close()
    assert over.wait(20)
