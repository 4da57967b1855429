"""The static connector (./dev static): it needs nothing of the machine, and carries what the other one carries."""

import pathlib
import re

import pytest

from testenv.connector import Tunnel, write_config
from testenv.edge import ZONE
from testenv.origin import Origin
from testenv.program import ADIT, PATIENCE, PRESET, Program, check
from testenv.visitor import Visitor
from testenv.wait import wait_until

ROOT = pathlib.Path(__file__).parents[2]
STATIC = ROOT / "build/release-static/adit.stripped"
APP = f"app.{ZONE}"

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(PRESET != "release", reason="it is a release that is static"),
    pytest.mark.skipif(not STATIC.exists(), reason="not built: ./dev static"),
]


def test_it_needs_nothing():
    head = check(["readelf", "-lW", STATIC])
    assert "INTERP" not in head and "NEEDED" not in check(["readelf", "-dW", STATIC])
    assert not re.search(r"LOAD .* RWE ", head)
    assert check([STATIC, "--version"]).split(" (")[0] == check([ADIT, "--version"]).split(" (")[0]
    # One that must be fit for a small machine.
    assert STATIC.stat().st_size < 8 * 1024 * 1024


@pytest.mark.parametrize("protocol", ["http2", "quic"])
def test_a_tunnel(own, tmp_path, protocol):
    origin = Origin()
    edge = own.edge()
    cli = own.cli(edge)
    # The API is asked by the static program, too: libcurl is in it.
    out = check([STATIC, "tunnel", "create", "home"], env=cli.env())
    identity = re.search(r"with id ([0-9a-f-]{36})", out)[1]
    tunnel = Tunnel("home", identity, cli.dot / f"{identity}.json")
    check([STATIC, "tunnel", "route", "dns", "home", APP], env=cli.env())
    path = origin.on(lambda r: r.reply(200, body=b"of a static one"))
    config = write_config(cli.dot / "static.yml", tunnel, [{"hostname": APP, "service": f"http://localhost:{origin.port}"}],
                          protocol=protocol, metrics="127.0.0.1:0")  # fmt: skip
    connector = Program("static", [STATIC, "--config", config, "tunnel", "run"], tmp_path, env=cli.env())
    visitor = Visitor(edge, "http1.1")
    wait_until(lambda: visitor.get(APP, path).body == b"of a static one", "an answer", 30 * PATIENCE)
    status = pathlib.Path(f"/proc/{connector.process.pid}/status").read_text()
    resident = int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])
    print(f"resident: {resident} KiB over {protocol}")
    assert resident < 8 * 1024
    for step in ("files", "system calls"):
        assert re.search(rf"INF {step} .*is=on", connector.text()), connector.text()
    connector.stop()
    origin.close()
