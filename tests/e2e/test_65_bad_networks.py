"""Bad networks: on lines that lose, delay, reorder and limit, whatever passes a tunnel arrives whole.

The connectors run on another host, at the end of a line of the tests' own (tests/fake/lossy_link). bench/paths has the
throughput, test_65_paths_that_change.py and test_65_outages.py what happens to a line.
"""

import pytest
from conftest import Own, why_no_stock

from testenv import lab as labs
from testenv.edge import ZONE
from testenv.far import LONG, Far
from testenv.origin import pattern_file

MIB = 1 << 20
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

pytestmark = pytest.mark.skipif(bool(labs.why_no_line()), reason=str(labs.why_no_line()))


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
