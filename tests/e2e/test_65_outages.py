"""Outages: the cable, the line somewhere else, the edge itself. Service returns by itself, and nothing burns meanwhile.

Times to recover are printed (pytest -rP), and bounded so that nobody could call them long.
"""

import re
import time

import pytest

from testenv import lab as labs
from testenv.connector import REGISTERED
from testenv.far import DIALS, LONG, cpu_seconds, tell
from testenv.program import PATIENCE

OUTAGE = 60 if LONG else 10  # seconds

pytestmark = pytest.mark.skipif(bool(labs.why_no_line()), reason=str(labs.why_no_line()))


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
@pytest.mark.parametrize("protocol", ("auto", "http2") if LONG else ("auto",))
def test_the_cable_is_pulled(place, protocol):
    connector = place.connect("app", protocol)
    outage(place, connector, "app", place.pull, place.put_back)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("protocol", ("auto", "quic", "http2") if LONG else ("auto", "http2"))
def test_the_line_is_dead_somewhere_else(place, protocol):
    """No link goes down: nobody says that anything has changed."""
    connector = place.connect("app", protocol)
    outage(place, connector, "app", lambda: place.line.set(block="all"), lambda: place.line.set(block="none"))


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
@pytest.mark.parametrize("protocol", ("auto", "http2") if LONG else ("auto",))
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
