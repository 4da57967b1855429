"""Bad networks: lines that lose, delay, reorder and limit; outages, new addresses, forgetful NATs, small MTUs.

The connector runs on another host, at the end of a line of the tests' own (tests/fake/lossy_link). Times to recover
are printed (pytest -rP), and bounded so that nobody could call them long; bench/paths has the throughput.
"""

import os
import pathlib
import re
import threading
import time

import pytest
from conftest import Own, why_no_stock

from testenv import lab as labs
from testenv.connector import REGISTERED
from testenv.edge import ZONE
from testenv.far import DIALS, Far, cpu_seconds
from testenv.origin import pattern_file
from testenv.program import PATIENCE
from testenv.wait import wait_until

MIB = 1 << 20
LONG = bool(os.environ.get("ADIT_LONG"))
PROTOCOLS = ("quic", "http2")
# Delays are each way, in ms.
LINES = {
    "loss 1 %, 10 ms": {"delay": 5, "loss": 1},
    "loss 5 %, 10 ms": {"delay": 5, "loss": 5},
    "100 ms": {"delay": 50},
    "reordered": {"delay": 5, "reorder": 5},
    "20 Mbit/s": {"delay": 5, "rate": 20, "queue": 64},
}
if LONG:
    LINES |= {
        "loss 1 %, 100 ms": {"delay": 50, "loss": 1},
        "loss 5 %, 100 ms": {"delay": 50, "loss": 5},
        "100 ms, jitter": {"delay": 50, "jitter": 20},
        "reordered, 100 ms": {"delay": 50, "reorder": 5, "late": 20},
        "20 Mbit/s, 100 ms, loss": {"delay": 50, "rate": 20, "queue": 256, "loss": 1},
        "100 Mbit/s, 100 ms": {"delay": 50, "rate": 100, "queue": 512},
    }
CLEAN = {"loss": 0, "reorder": 0, "delay": 0, "jitter": 0, "rate": 0, "queue": 256, "late": 5}
OUTAGE = 60 if LONG else 10  # seconds

pytestmark = pytest.mark.skipif(bool(labs.why_no_line()), reason=str(labs.why_no_line()))


def tell(what, seconds):
    print(f"RECOVERY {what}: {seconds:.2f} s")


# --- transfers -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    """A connector of each kind beside each other: what differs between the tests is the line."""
    folder = tmp_path_factory.mktemp("far")
    own = Own(folder)
    made = Far(own, folder)
    for protocol in PROTOCOLS:
        made.connect(protocol, protocol)
        if not why_no_stock():
            made.connect(f"stock-{protocol}", protocol, stock=True)
    pattern_file(folder / "file", 1 * MIB)
    yield made
    made.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("who", ("adit", "stock"))
def test_transfers_are_whole(far, line, protocol, who):
    if who == "stock" and why_no_stock():
        pytest.skip(why_no_stock())
    name = protocol if who == "adit" else f"stock-{protocol}"
    far.line.set(**{**CLEAN, **LINES[line]})
    before = far.line.counts()
    down = far.download(name, 1 * MIB)
    up = far.upload(name, far.folder / "file", 1 * MIB)
    after = far.line.counts()
    far.line.set(**CLEAN)
    print(f"{name} over {line}: {MIB / down / 1e6:.2f} MB/s down, {MIB / up / 1e6:.2f} MB/s up,",
          {k: after[k] - before[k] for k in after if after[k] != before[k]})  # fmt: skip
    if LINES[line].get("loss"):
        assert after["lost"] > before["lost"]
    if LINES[line].get("reorder"):
        assert after["reordered"] > before["reordered"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_slow_reader_does_not_stop_the_others(far, protocol):
    """On a line with loss: a download that nobody reads fills its window and no more."""
    far.line.set(**{**CLEAN, "delay": 5, "loss": 1})
    stuck = far.visitor.start(f"{protocol}.{ZONE}", far.down, "-H", f"x-size: {256 * MIB}")
    assert stuck.stdout.read(1000)
    took = far.download(protocol, 1 * MIB)
    stuck.kill()
    far.line.set(**CLEAN)
    print(f"{took:.2f} s beside a stalled download")


# --- events ----------------------------------------------------------------------------------------------


@pytest.fixture
def place(own, tmp_path):
    """Like `far`, for one test that does things to it."""
    made = Far(own, tmp_path, delay=5)
    yield made
    made.close()


def wait_protocol(connector, protocol, mark, count=4, seconds=60):
    connector.wait_log(rf"{REGISTERED} .*?protocol={protocol}", count=count, since=mark, seconds=seconds)


@pytest.mark.timeout(300)
def test_udp_is_blocked_from_the_start_and_comes_back(place):
    place.line.set(block="udp")
    start = time.monotonic()
    connector = place.connect("app", "auto")
    tell("start without UDP", time.monotonic() - start)
    assert set(place.protocols(connector)) == {"http2"}
    assert place.works("app", 20)
    mark = connector.mark()
    place.line.set(block="none")
    start = time.monotonic()
    wait_protocol(connector, "quic", mark)
    tell("back to QUIC after UDP was blocked from the start", time.monotonic() - start)
    assert place.works("app", 20)


@pytest.mark.timeout(300)
def test_udp_is_blocked_in_the_middle_and_comes_back(place):
    connector = place.connect("app", "auto")
    assert set(place.protocols(connector)) == {"quic"}
    mark = connector.mark()
    place.line.set(block="udp")
    tell("UDP blocked in the middle, until a visitor is served", place.recovery("app"))
    wait_protocol(connector, "http2", mark)
    mark = connector.mark()
    place.line.set(block="none")
    start = time.monotonic()
    wait_protocol(connector, "quic", mark)
    tell("back to QUIC after UDP was blocked in the middle", time.monotonic() - start)
    assert place.works("app", 20)


@pytest.mark.timeout(300)
def test_tcp_is_blocked(place):
    """Nothing but UDP gets through."""
    place.line.set(block="tcp")
    start = time.monotonic()
    connector = place.connect("app", "auto")
    tell("start without TCP", time.monotonic() - start)
    assert set(place.protocols(connector)) == {"quic"}
    assert place.works("app", 20)


def outage(place, connector, name, cut, heal):
    """For OUTAGE seconds: the line is cut, and nothing burns meanwhile. Then service returns by itself."""
    mark, cpu = connector.mark(), cpu_seconds(connector.pid)
    cut()
    start = time.monotonic()
    time.sleep(OUTAGE)  # the outage itself
    cpu = cpu_seconds(connector.pid) - cpu
    seconds = time.monotonic() - start
    dials = len(re.findall(DIALS, connector.text(mark)))
    heal()
    took = place.recovery(name)
    print(f"RECOVERY {name}: outage of {seconds:.0f} s, {dials} dials in vain, {cpu:.2f} s of CPU; {took:.2f} s")
    # Four connections, each dialled once in 0.8 s at the most once the waits have grown.
    assert dials < 4 * (8 + seconds / 0.8), dials
    assert cpu < (0.5 + seconds * 0.02) * 5 * PATIENCE, cpu
    return took


@pytest.mark.timeout(400)
@pytest.mark.parametrize("protocol", ("auto", "http2"))
def test_the_cable_is_pulled(place, protocol):
    connector = place.connect("app", protocol)
    outage(place, connector, "app", place.pull, place.put_back)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("protocol", ("auto", "quic", "http2"))
def test_the_line_is_dead_somewhere_else(place, protocol):
    """No link goes down: nobody says that anything has changed."""
    connector = place.connect("app", protocol)
    outage(place, connector, "app", lambda: place.line.set(block="all"), lambda: place.line.set(block="none"))


@pytest.mark.timeout(300)
def test_quic_moves_to_another_address(place):
    """In the middle of a download, which goes on; no connection is made anew."""
    connector = place.connect("app", "quic")
    mark = connector.mark()
    place.line.set(rate=20, queue=256)
    download = place.background_download("app", 6 * MIB)
    place.move("10.91.0.22")
    start = time.monotonic()
    connector.wait_log(r"A connection moves to another local address", count=4, since=mark)
    assert place.works("app", 20)
    tell("address changed, QUIC, until a visitor is served", time.monotonic() - start)
    download.join(100)
    assert download.failure is None, download.failure
    assert REGISTERED not in connector.text(mark)


@pytest.mark.timeout(300)
def test_http2_dials_again_from_another_address(place):
    connector = place.connect("app", "http2")
    mark = connector.mark()
    place.move("10.91.0.22")
    tell("address changed, HTTP/2, until a visitor is served", place.recovery("app"))
    wait_protocol(connector, "http2", mark)


@pytest.mark.timeout(300)
def test_a_nat_forgets_and_quic_goes_on(place):
    """The edge sees other ports: nothing is made anew, and a download goes on."""
    connector = place.connect("app", "quic")
    mark = connector.mark()
    place.line.set(rate=20, queue=256)
    download = place.background_download("app", 6 * MIB)
    place.line.rebind()
    tell("NAT rebinding, QUIC, until a visitor is served", place.recovery("app"))
    place.line.rebind()
    tell("NAT rebinding again", place.recovery("app"))
    download.join(100)
    assert download.failure is None, download.failure
    assert REGISTERED not in connector.text(mark)


@pytest.mark.timeout(300)
def test_a_nat_forgets_and_http2_dials_again(place):
    connector = place.connect("app", "http2")
    mark = connector.mark()
    place.line.rebind()
    tell("NAT rebinding, HTTP/2, until a visitor is served", place.recovery("app"))
    wait_protocol(connector, "http2", mark)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("protocol", ("auto", "quic", "http2"))
def test_the_edge_restarts(place, protocol):
    connector = place.connect("app", protocol)
    mark = connector.mark()
    place.edge.kill()
    place.edge.start()
    tell(f"edge killed and started, {protocol}, until a visitor is served", place.recovery("app"))
    connector.wait_log(REGISTERED, count=4, since=mark, seconds=40)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("protocol", ("auto", "http2"))
def test_the_edge_gets_another_address_in_dns(place, protocol):
    place.lab.ip("addr", "add", "10.91.0.7/24", "dev", place.lab.ours)
    dns = place.lab.serve_names({("edge.test", "A"): [labs.OURS4]}, at="10.91.0.7")
    place.lab.resolv_conf.write_text("nameserver 10.91.0.7\noptions timeout:1 attempts:1\n")
    connector = place.connect("app", protocol, edge=f"edge.test:{place.edge.tunnel}")
    mark = connector.mark()
    dns.names[("edge.test", "A")] = ["10.91.0.7"]
    # The old one is mute: nobody there who could refuse.
    place.lab.ip("addr", "del", f"{labs.OURS4}/24", "dev", place.lab.ours)
    place.lab.ip("addr", "replace", "10.91.0.7/24", "dev", place.lab.ours)
    tell(f"edge moved in DNS, {protocol}, until a visitor is served", place.recovery("app", 60))
    connector.wait_log(rf"{REGISTERED} .*10\.91\.0\.7", since=mark, seconds=40)
    place.lab.ip("addr", "add", f"{labs.OURS4}/24", "dev", place.lab.ours)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("protocol", ("auto", "quic"))
def test_large_packets_vanish_from_now_on(place, protocol):
    """The path's MTU shrinks, and no router says so."""
    place.connect("app", protocol)
    assert place.download("app", 1 * MIB)
    place.line.set(mtu=1300)
    start = time.monotonic()
    place.download("app", 1 * MIB, 90 * PATIENCE)
    tell(f"MTU shrunk silently to 1300, {protocol}, until a download of 1 MiB is there", time.monotonic() - start)
    pattern_file(pathlib.Path(place.folder) / "file", 1 * MIB)
    place.upload("app", place.folder / "file", 1 * MIB, 90 * PATIENCE)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("protocol", ("auto", "quic"))
def test_large_packets_vanish_from_the_start(place, protocol):
    place.line.set(mtu=1300)
    place.connect("app", protocol)
    place.download("app", 1 * MIB)


@pytest.mark.timeout(300)
def test_a_flood_of_small_requests_on_a_bad_line(place):
    """No request is lost or answered twice by what the transports do on such a line."""
    place.line.set(loss=2, reorder=2)
    place.connect("app", "auto")
    failures = []

    def visit():
        for _ in range(20):
            if not place.works("app", 30 * PATIENCE):
                failures.append(1)

    visitors = [threading.Thread(target=visit) for _ in range(4)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert not failures
    wait_until(lambda: len(place.origin.requests(place.down)) == 80, "80 requests at the service", 5)
