"""Paths that change under a connection: UDP or TCP is blocked and comes back, addresses and ports change, the MTU shrinks.

Times to recover are printed (pytest -rP), and bounded so that nobody could call them long.
"""

import threading
import time

import pytest

from testenv import lab as labs
from testenv.connector import REGISTERED
from testenv.far import LONG, tell, wait_protocol
from testenv.origin import pattern_file
from testenv.program import PATIENCE
from testenv.wait import wait_until

MIB = 1 << 20

pytestmark = pytest.mark.skipif(bool(labs.why_no_line()), reason=str(labs.why_no_line()))


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


@pytest.mark.timeout(400)
@pytest.mark.parametrize("protocol", ("auto", "quic") if LONG else ("quic",))
def test_large_packets_vanish_from_now_on(place, protocol):
    """The path's MTU shrinks, and no router says so."""
    place.connect("app", protocol)
    assert place.download("app", 1 * MIB)
    place.line.set(mtu=1300)
    start = time.monotonic()
    place.download("app", 1 * MIB, 90 * PATIENCE)
    tell(f"MTU shrunk silently to 1300, {protocol}, until a download of 1 MiB is there", time.monotonic() - start)
    pattern_file(place.folder / "file", 1 * MIB)
    place.upload("app", place.folder / "file", 1 * MIB, 90 * PATIENCE)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("protocol", ("auto", "quic") if LONG else ("quic",))
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
