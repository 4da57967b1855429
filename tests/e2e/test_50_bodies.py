"""Bodies: large ones, slow ones, and what happens when somebody leaves half-way."""

import hashlib
import subprocess
import threading

import pytest

from testenv.origin import BLOCK, pattern_file, pattern_sha256
from testenv.program import PATIENCE
from testenv.visitor import SlowReader
from testenv.wait import wait_settled, wait_until

MIB, GIB = 1 << 20, 1 << 30
QUICK = 64 * MIB
SIZES = [pytest.param(QUICK, id="64MiB"), pytest.param(GIB, id="1GiB", marks=(pytest.mark.slow, pytest.mark.bulk))]
# What a program may grow by while a body of any size passes: stream window (512 KiB), the queues on
# both sides of it, TLS and socket buffers, and a sanitizer's quarantine on top.
GROWTH = 48 * MIB
GROWTH_SANITIZED = 500 * MIB


def memory_watch(stage, site):
    """Call the result at the end: asserts and reports how much both programs grew at their peak."""
    watched = {"edge": stage.edge.program}
    if site.kind == "adit":
        watched["connector"] = site.connector
    for p in watched.values():
        p.forget_peak()
    before = {name: p.memory("VmRSS") for name, p in watched.items()}

    def end():
        for name, p in watched.items():
            peak = p.memory("VmHWM")
            print(f"peak RSS of {name}: {peak / MIB:.1f} MiB, {(peak - before[name]) / MIB:.1f} MiB more than before")
            assert peak - before[name] < (GROWTH if PATIENCE == 1 else GROWTH_SANITIZED), name

    return end


def digest_of(pipe):
    digest = hashlib.sha256()
    while block := pipe.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("size", SIZES)
def test_download(site, stage, visitor, origin, size):
    def handler(r):
        r.head(200, [("Content-Length", str(size))])
        r.send_pattern(size)

    path = origin.on(handler)
    end = memory_watch(stage, site)
    curl = visitor.start(site.host("app"), path, "--max-time", "550")
    assert digest_of(curl.stdout) == pattern_sha256(size)
    assert curl.wait(10) == 0
    end()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("size", SIZES)
def test_upload(site, stage, visitor, origin, tmp_path, size):
    path = origin.on(lambda r: r.reply(200, body=r.digest_body().encode()))
    body = pattern_file(tmp_path / "body", size)
    end = memory_watch(stage, site)
    answer = visitor.get(site.host("app"), path, "--upload-file", body, headers=[("Expect", "")], seconds=550)
    assert answer.text == pattern_sha256(size)
    [request] = origin.requests(path)
    assert request.body_size == size and request.get("content-length") == str(size)
    body.unlink()
    end()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("size", SIZES)
def test_slow_reader_stops_the_origin(site, stage, visitor, origin, size):
    """The visitor does not read: the origin's writes must block, and nobody may store the body."""
    sent = [0]

    def handler(r):
        r.head(200, [("Content-Length", str(size))])
        r.send_pattern(size, sent)

    end = memory_watch(stage, site)
    curl = visitor.start(site.host("app"), origin.on(handler), "--max-time", "280")
    reader = SlowReader(curl.stdout, hashlib.sha256())
    reader.start()
    wait_until(lambda: sent[0], "first block from the origin")
    blocked_at = wait_settled(lambda: sent[0])
    print(f"the origin was stopped after {blocked_at / MIB:.0f} MiB")
    assert blocked_at < 56 * MIB  # of sockets on the way, three, the kernel lets grow most
    reader.go()
    reader.join(250)
    assert reader.size == size and reader.digest.hexdigest() == pattern_sha256(size)
    end()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("size", SIZES)
def test_slow_origin_stops_the_visitor(site, stage, visitor, origin, tmp_path, size):
    gate = threading.Event()

    def handler(r):
        gate.wait(120)
        r.reply(200, body=r.digest_body().encode())

    path = origin.on(handler)
    end = memory_watch(stage, site)
    body = pattern_file(tmp_path / "body", size)
    with open(body, "rb") as f:
        curl = visitor.start(site.host("app"), path, "-X", "POST", "-H", "Expect:",
                             "-T", "-", "--max-time", "280", stdin=f)  # fmt: skip
        origin.wait_request(path)
        blocked_at = wait_settled(lambda: position(curl.pid))
        print(f"the visitor was stopped after {blocked_at / MIB:.0f} MiB")
        assert blocked_at < 56 * MIB  # the same
        gate.set()
        assert curl.stdout.read().decode() == pattern_sha256(size)
        assert curl.wait(10) == 0
    body.unlink()
    end()


def position(pid, fd=0):
    """How far a process has read its standard input, a file."""
    with open(f"/proc/{pid}/fdinfo/{fd}") as f:
        return int(f.readline().split()[1])


def test_one_stalled_stream_does_not_stop_the_others(site, stage, h2, origin):
    """Two visitors on one HTTP/2 connection: one never gets window, the other is served."""
    path = origin.on(lambda r: (r.head(200, [("Content-Length", str(8 * MIB))]), r.send_pattern(8 * MIB)))
    small = origin.on(lambda r: r.reply(200, body=b"x" * 20000))
    connection = h2(site.host("app"), auto_window=False)
    stalled = connection.headers(path)
    connection.conn.increment_flow_control_window(4 * MIB)  # the connection's, not the stream's
    connection.flush()
    origin.wait_request(path)
    for _ in range(20):
        assert connection.response(connection.headers(small)).body == b"x" * 20000
    connection.conn.reset_stream(stalled)
    connection.flush()


# --- leaving half-way --------------------------------------------------------------------------------


def test_visitor_leaves_while_waiting(site, visitor, origin):
    gone = []

    def handler(r):
        gone.append(r.peer_gone())
        r.keep_alive = False

    path = origin.on(handler)
    curl = visitor.start(site.host("app"), path)
    origin.wait_request(path)
    curl.kill()
    assert wait_until(lambda: gone, "cancellation at the origin") == [True]


def test_visitor_leaves_during_the_response(site, visitor, origin):
    gone = []

    def handler(r):
        r.head(200, [("Transfer-Encoding", "chunked")])
        r.chunk(b"first")
        gone.append(r.peer_gone())
        r.keep_alive = False

    curl = visitor.start(site.host("app"), origin.on(handler))
    assert curl.stdout.read(5) == b"first"
    curl.kill()
    assert wait_until(lambda: gone, "cancellation at the origin") == [True]


def test_visitor_leaves_during_the_upload(site, raw, origin):
    seen = []

    def handler(r):
        try:
            for block in r.blocks():
                seen.append(len(block))
            seen.append("whole")
        finally:
            seen.append("end")

    path = origin.on(handler)
    connection = raw(site.host("app"))
    connection.request("POST", path, [("Content-Length", "1000000")], b"x" * 1000)
    wait_until(lambda: sum(n for n in seen if isinstance(n, int)) == 1000, "first bytes at the origin")
    connection.reset()
    wait_until(lambda: "end" in seen, "end of the request at the origin")
    assert "whole" not in seen


def test_http2_visitor_resets_one_stream_of_many(site, h2, origin):
    gone = []

    def handler(r):
        gone.append(r.peer_gone())
        r.keep_alive = False

    path = origin.on(handler)
    connection = h2(site.host("app"))
    stream = connection.headers(path)
    origin.wait_request(path)
    connection.conn.reset_stream(stream, error_code=8)
    connection.flush()
    assert wait_until(lambda: gone, "cancellation at the origin") == [True]
    assert connection.response(connection.headers("/echo")).status == 200


def test_origin_cuts_off_a_body_with_length(site, visitor, origin):
    """What arrived may arrive; that it is not all must be visible."""

    def handler(r):
        r.head(200, [("Content-Length", "100000")])
        r.send(b"x" * 20000)
        r.cut()

    answer = visitor.fetch(site.host("app"), origin.on(handler))
    assert answer.curl_exit in (18, 92, 56, 16), answer  # partial file, HTTP/2 stream, receive error
    assert len(answer.body) < 100_000


def test_origin_cuts_off_a_chunked_body(site, visitor, origin):
    def handler(r):
        r.head(200, [("Transfer-Encoding", "chunked")])
        r.chunk(b"x" * 2000)
        r.keep_alive = False

    answer = visitor.fetch(site.host("app"), origin.on(handler))
    assert answer.curl_exit in (18, 92, 56, 16), answer


def test_origin_goes_before_answering(site, visitor, origin):
    answer = visitor.get(site.host("app"), origin.on(lambda r: r.cut()))
    assert answer.status == 502


def test_origin_answers_early(site, raw, origin):
    """A refusal that comes before the upload ended reaches the visitor."""

    def handler(r):
        r.keep_alive = False
        r.reply(413, [("Connection", "close")], b"too much")
        r.peer_gone(5)

    path = origin.on(handler)
    connection = raw(site.host("app"))
    connection.request("POST", path, [("Content-Length", str(GIB))], b"x" * 100_000)
    answer = connection.read()
    assert (answer.status, answer.body) == (413, b"too much")


def test_origin_answers_early_and_goes_on_reading(site, h2, origin):
    """Response and request bodies at the same time: what was sent is echoed at once."""

    def handler(r):
        r.head(200, [("Transfer-Encoding", "chunked")])
        for block in r.blocks():
            r.chunk(block)
        r.last_chunk()

    connection = h2(site.host("app"))
    stream = connection.headers(origin.on(handler), method="POST", end=False)
    import h2.events as events

    for i in range(5):
        part = b"part %d " % i
        connection.data(stream, part)
        wait_until(
            lambda: connection.pump()
            and b"".join(e.data for e in connection.events if isinstance(e, events.DataReceived)).endswith(part),
            f"echo of {part}",
        )
    connection.data(stream, b"", end=True)
    assert connection.response(stream).body == b"".join(b"part %d " % i for i in range(5))


# --- without delay -----------------------------------------------------------------------------------


def test_server_sent_events_come_at_once(site, visitor, origin):
    """Each event is sent only after the one before was seen by the visitor."""
    seen = threading.Semaphore(0)

    def handler(r):
        r.head(200, [("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache"),
                     ("Transfer-Encoding", "chunked")])  # fmt: skip
        for i in range(10):
            r.chunk(b"data: %d\n\n" % i)
            if not seen.acquire(timeout=20):
                r.cut()
        r.last_chunk()

    curl = visitor.start(site.host("app"), origin.on(handler), "-H", "Accept: text/event-stream")
    for i in range(10):
        assert curl.stdout.readline() == b"data: %d\n" % i
        assert curl.stdout.readline() == b"\n"
        seen.release()
    assert curl.stdout.read() == b"" and curl.wait(10) == 0


def test_response_head_comes_before_the_body(site, raw, origin):
    gate = threading.Event()

    def handler(r):
        r.head(200, [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")])
        gate.wait(20)
        r.chunk(b"late")
        r.last_chunk()

    connection = raw(site.host("app"))
    connection.request("GET", origin.on(handler))
    assert connection.read_head().status == 200
    gate.set()
    assert b"".join(connection.read_chunks()) == b"late"


def test_upload_comes_at_once(site, raw, origin):
    """The origin sees each piece of a chunked upload before the next one is sent."""
    got = []

    def handler(r):
        for block in r.blocks():
            got.append(block)
        r.reply(200, body=b"".join(got))

    connection = raw(site.host("app"))
    connection.request("POST", origin.on(handler), [("Transfer-Encoding", "chunked")])
    for i in range(5):
        connection.send(b"5\r\npart%d\r\n" % i)
        wait_until(lambda: b"".join(got).endswith(b"part%d" % i), f"part {i} at the origin")
    connection.send(b"0\r\n\r\n")
    assert connection.read().body == b"part0part1part2part3part4"


def test_parallel_downloads_all_arrive(site, stage, visitor, origin):
    size = 3 * MIB + 17
    path = origin.on(lambda r: (r.head(200, [("Content-Length", str(size))]), r.send_pattern(size)))
    curls = [visitor.start(site.host("app"), path) for _ in range(16)]
    sums = [subprocess.run(["sha256sum"], stdin=c.stdout, stdout=subprocess.PIPE, check=True).stdout for c in curls]
    assert {s.split()[0].decode() for s in sums} == {pattern_sha256(size)}
    assert [c.wait(10) for c in curls] == [0] * 16


def test_block_sizes_at_every_edge(site, raw, origin):
    """Around record, frame, and window sizes nothing is lost or doubled."""
    sizes = [1, 16383, 16384, 16385, 65535, 65536, 65537, 131072, 524287, 524288, 524289]
    path = origin.on(lambda r: r.reply(200, body=r.read_body()))
    connection = raw(site.host("app"))
    for size in sizes:
        connection.request("POST", path, [("Content-Length", str(size))], BLOCK[:size])
        assert connection.read().body == BLOCK[:size], size
