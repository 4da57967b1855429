"""Debian's pebble, an ACME authority for tests, in strict mode; and a name server that it believes."""

import http.server
import json
import shutil
import ssl
import threading
import urllib.error
import urllib.request

from . import net
from .program import PATIENCE, Program, clean_env
from .wait import wait_until

NEEDED = ("pebble", "pebble-challtestsrv")


class Names:
    """pebble-challtestsrv: every name leads to 127.0.0.1, and what set() says."""

    def __init__(self, folder):
        self.port, self.management = net.free_port(), net.free_port()
        self.program = Program(
            "challtestsrv",
            ["pebble-challtestsrv", "-dns01", f"127.0.0.1:{self.port}", "-http01", "", "-https01", "", "-tlsalpn01", "",
             "-management", f"127.0.0.1:{self.management}", "-defaultIPv6", ""],
            folder,
        )  # fmt: skip
        wait_until(self._answers, "name server of pebble")

    def _answers(self):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.management}/", timeout=5)
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def set(self, what, **body):
        """As its management has it: set("add-a", host="a.example.com.", addresses=["127.0.0.2"])."""
        url = f"http://127.0.0.1:{self.management}/{what}"
        urllib.request.urlopen(url, json.dumps(body).encode(), timeout=20)


class Pebble:
    """`edge` is where it looks for challenges, `dns` is "host:port" of the name server that it asks."""

    def __init__(self, folder, certs, edge, dns, eab=None, seconds=None, rejects=0, name="pebble"):
        self.folder, self.name, self.dns = folder, name, dns
        self.port, self.management = net.free_port(), net.free_port()
        self.ca = certs.ca
        cert, key = certs.issue("localhost")
        config = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": str(cert),
            "privateKey": str(key),
            "httpPort": edge.http,
            "tlsPort": edge.https,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": bool(eab),
        }
        if eab:
            config["externalAccountMACKeys"] = dict([eab])
        if seconds:
            config["certificateValidityPeriod"] = seconds
        self.config = folder / f"{name}.json"
        self.config.write_text(json.dumps({"pebble": config}))
        self.env = clean_env(PEBBLE_VA_NOSLEEP=1, PEBBLE_WFE_NONCEREJECT=rejects, PEBBLE_AUTHZREUSE=0)
        self.program = None

    @property
    def directory(self):
        return f"https://localhost:{self.port}/dir"

    def _get(self, port, path):
        context = ssl.create_default_context(cafile=self.ca)
        return urllib.request.urlopen(f"https://localhost:{port}{path}", timeout=20, context=context).read()

    def start(self):
        argv = ["pebble", "-strict", "-config", self.config, "-dnsserver", self.dns]
        self.program = Program(self.name, argv, self.folder, env=self.env)
        wait_until(self._answers, "pebble", 20 * PATIENCE)
        return self

    def _answers(self):
        try:
            return self._get(self.management, "/roots/0")
        except OSError:
            return False

    def root(self, path):
        """Writes its root certificate, a new one with each start, to a file."""
        path.write_bytes(self._get(self.management, "/roots/0"))
        return path

    def settings(self, *more):
        """What edge.yml says to use it."""
        lines = [f'acme-directory: "{self.directory}"', f'acme-ca-file: "{self.ca}"', *more]
        return "".join(f"{line}\n" for line in lines)

    def kill(self):
        self.program.kill()


class Advice:
    """A directory of pebble's with renewal information (RFC 9773), which pebble itself does not have yet. What is
    asked for is renewed at once when `is_due`, else in a year."""

    def __init__(self, pebble, certs):
        self.pebble, self.is_due, self.asked = pebble, False, []
        advice = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = json.dumps(advice.answer(self.path)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certs.issue("localhost"))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://localhost:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path):
        if path == "/dir":
            return {**json.loads(self.pebble._get(self.pebble.port, "/dir")), "renewalInfo": f"{self.url}/ari"}
        self.asked.append(path.removeprefix("/ari/"))
        times = ("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z") if self.is_due else ("2099-01-01T00:00:00Z",) * 2
        return {"suggestedWindow": dict(zip(("start", "end"), times))}


def missing():
    return [name for name in NEEDED if not shutil.which(name)]
