"""What scanners of TLS configurations find: sslscan, and testssl.sh, which takes a minute."""

import json
import os
import shutil
import xml.etree.ElementTree as tree

import pytest

from testenv.edge import ZONE
from testenv.program import run

HOST = f"adit.{ZONE}"
CIPHERS = {
    "TLSv1.3": ["TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_256_GCM_SHA384"],
    "TLSv1.2": ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES256-GCM-SHA384"],
}
GROUPS = {"secp256r1 (NIST P-256)", "secp384r1 (NIST P-384)", "x25519"}
# The authority is the built-in one, which publishes no revocation and is in nobody's list.
ABOUT_THE_AUTHORITY = ("cert_chain_of_trust", "cert_ocspURL", "cert_revocation", "cert_crlDistributionPoints",
                       "cert_trust_wildcard")  # fmt: skip


@pytest.mark.parametrize("listener", ["https", "tunnel"])
def test_sslscan_finds_nothing_weak(own, tmp_path, listener):
    edge = own.edge()
    name, port = (HOST, edge.https) if listener == "https" else ("h2.cftunnel.com", edge.tunnel)
    found = tmp_path / "scan.xml"
    done = run(["sslscan", f"--sni-name={name}", f"--xml={found}", f"127.0.0.1:{port}"], seconds=60)
    assert done.returncode == 0, done
    scan = tree.parse(found).getroot().find("ssltest")
    assert scan.get("host") == "127.0.0.1" and scan.get("port") == str(port)
    offered = {(p.get("type"), p.get("version")): p.get("enabled") for p in scan.iter("protocol")}
    assert {version for version, on in offered.items() if on == "1"} == {("tls", "1.2"), ("tls", "1.3")}
    assert [r.get("supported") for r in scan.iter("renegotiation")] == ["0"]
    assert all(h.get("vulnerable") == "0" for h in scan.iter("heartbleed"))
    assert not [c for c in scan.iter("compression") if c.get("supported") == "1"]
    for version, wanted in CIPHERS.items():
        # In our order: the client's does not count.
        assert [c.get("cipher") for c in scan.iter("cipher") if c.get("sslversion") == version] == wanted
    for version in CIPHERS:
        assert {g.get("name") for g in scan.iter("group") if g.get("sslversion") == version} == GROUPS
    assert scan.find("certificates/certificate/signature-algorithm").text == "ecdsa-with-SHA256"


@pytest.mark.long
def test_testssl_finds_nothing_weak(own, tmp_path):
    edge = own.edge()
    found = tmp_path / "found.json"
    done = run(
        ["testssl", "--quiet", "--color", "0", "--warnings", "batch", "--ip", "127.0.0.1", "--nodns", "min",
         "--jsonfile", found, "-p", "-s", "-f", "-U", "-S", f"https://{HOST}:{edge.https}"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TERM": "dumb"}, seconds=300,
    )  # fmt: skip
    assert shutil.which("testssl") and found.exists(), done
    weak = [
        f for f in json.loads(found.read_text())
        if f["severity"] in ("LOW", "MEDIUM", "HIGH", "CRITICAL", "FATAL") and not f["id"].startswith(ABOUT_THE_AUTHORITY)
    ]  # fmt: skip
    assert weak == []
