"""A browser shows pages of a service over HTTP/3 and over HTTP/2."""

import re
import shutil
import subprocess

import pytest

from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.origin import Origin
from testenv.program import clean_env, run

CHROMIUM = shutil.which("chromium")
APP = f"app.{ZONE}"

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")

# How the page, an image of it and what it asks for came, written into the page.
PAGE = b"""<!doctype html><title>A page</title><p id=said>nothing</p><img src="/picture.svg">
<script>
onload = () => {
	const asked = new XMLHttpRequest()
	asked.open("POST", "/data", false)
	asked.send("x".repeat(300000))
	const by = (type, name) => performance.getEntriesByType(type).find(e => e.name.endsWith(name)).nextHopProtocol
	document.getElementById("said").textContent =
		[by("navigation", ""), by("resource", "/picture.svg"), by("resource", "/data"), asked.responseText].join(" ")
}
</script>"""
PICTURE = b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'


@pytest.fixture
def page(own, tmp_path):
    origin = Origin()
    edge = own.edge()
    cli = own.cli(edge)
    tunnel = cli.create("home")
    cli.route(tunnel, APP)
    own.connect(cli, tunnel, write_config(tmp_path / "c.yml", tunnel, [{"hostname": APP, "service": origin.service}]))
    origin.handlers["/page"] = lambda r: r.reply(200, [("Content-Type", "text/html")], PAGE)
    origin.handlers["/picture.svg"] = lambda r: r.reply(200, [("Content-Type", "image/svg+xml")], PICTURE)
    origin.handlers["/data"] = lambda r: r.reply(200, body=str(len(r.read_body())).encode())
    yield edge
    origin.close()


def key_pin(edge):
    """SHA-256 of the certificate's public key: what a browser can be told to trust, over QUIC as well."""
    script = (
        f"openssl s_client -connect 127.0.0.1:{edge.https} -servername {APP} </dev/null 2>/dev/null |"
        "openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64"
    )
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def browse(edge, folder, *flags):
    """What the page says in the end."""
    done = run(
        [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
         f"--ignore-certificate-errors-spki-list={key_pin(edge)}", f"--host-resolver-rules=MAP {APP} 127.0.0.1",
         "--dump-dom", *flags, f"https://{APP}:{edge.https}/page"],
        env=clean_env(HOME=folder), seconds=60,
    )  # fmt: skip
    said = re.search(r'<p id="said">(.*?)</p>', done.stdout)
    assert said, done.stdout + done.stderr
    return said[1]


def test_a_page_over_http3(page, tmp_path):
    said = browse(page, tmp_path, "--enable-quic", f"--origin-to-force-quic-on={APP}:{page.https}")
    assert said == "h3 h3 h3 300000"
    assert "proto=h3" in page.program.text()


def test_a_page_over_http2(page, tmp_path):
    assert browse(page, tmp_path, "--disable-quic") == "h2 h2 h2 300000"
