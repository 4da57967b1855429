"""A person at a command line in front of guarded services."""

import getpass
import re
import socket
import subprocess
import threading

from .connector import write_config
from .edge import ZONE
from .guard import Browser, Guard
from .origin import Origin
from .program import ADIT, run
from .team import Proxy

WEB, ECHO, SSH = (f"{name}.{ZONE}" for name in ("web", "echo", "ssh"))
TEAM = "team.cloudflareaccess.com"
USER = getpass.getuser()
ANN = f"{USER}@example.com"


class Echo:
    """Says what it hears, and counts who comes."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.count = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.count += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with sock:
            while data := sock.recv(65536):
                sock.sendall(data)


class World:
    def __init__(self, own):
        self.own = own
        self.folder = own.folder
        self.edge = own.edge()
        self.web, self.echo = Origin(), Echo()
        self.sshd = None
        self.cli = own.cli(self.edge)
        self.tunnel = self.cli.create("guarded")
        self.proxy = Proxy(self.edge.https)
        self.guard = g = Guard(self.edge)
        g.make("organizations", name="Team", auth_domain=TEAM)
        g.make("identity_providers", name="Password", type="password")
        self.staff = g.policy("Staff", "allow", {"email_domain": {"domain": "example.com"}})
        g.person(ANN, "sesame")
        self.apps = {}

    def serve(self, **services):
        hosts = {WEB: self.web.service, ECHO: f"tcp://127.0.0.1:{self.echo.port}", **services}
        for host in hosts:
            self.cli.check("tunnel", "route", "dns", "guarded", host)
        rules = [{"hostname": h, "service": s} for h, s in hosts.items()]
        config = write_config(self.folder / "guarded.json", self.tunnel, rules)
        self.own.connect(self.cli, self.tunnel, config)
        self.edge.wait_connections(4)
        return self

    def app(self, name, *policies, **more):
        self.apps[name] = self.guard.app(name, *(policies or [self.staff]), **more)
        return self.apps[name]

    def change(self, name, **more):
        self.apps[name] = {**self.apps[name], **more}
        self.guard.do("PUT", f"access/apps/{self.apps[name]['id']}", self.apps[name])

    def env(self, **more):
        return self.cli.env(HTTPS_PROXY=self.proxy.url, **more)

    def access(self, *args, env=None, **more):
        return run([ADIT, "access", *args], env=self.env(**(env or {})), cwd=self.cli.home, **more)

    def start(self, *args):
        return subprocess.Popen(
            [str(ADIT), "access", *args], env=self.env(), cwd=self.cli.home, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def url(self, host=WEB, path="/"):
        return f"https://{host}{path}"

    def approve(self, process, browser=None, email=ANN, word="sesame"):
        """What a person does with the address that a command prints. The code that it shows."""
        browser = browser or Browser(self.edge)
        code = None
        for line in process.stderr:
            if line.startswith("https://"):
                page = browser.open(line.strip())
            if found := re.search(r"shows this code: ([0-9a-f]{4}-[0-9a-f]{4})", line):
                code = found[1]
                break
        assert code, process.communicate()
        if "Sign in to" in page.text:
            page = browser.follow(browser.send_password(page, email, word))
        assert page.status == 200 and code in page.text and email in page.text, page.text
        csrf = re.search(r'name="csrf" value="([^"]*)"', page.text)[1]
        done = browser.ask(page.url, "POST", {"csrf": csrf})
        assert done.status == 200 and "close this window" in done.text, done.text
        return done

    def login(self, host=WEB, *args, **more):
        process = self.start("login", *args, self.url(host))
        self.approve(process, **more)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        return out

    def files(self, ending):
        return sorted(p.name for p in self.cli.dot.glob("*" + ending))

    def close(self):
        self.web.close()
        self.echo.listener.close()
        self.proxy.close()
        if self.sshd:
            self.sshd.program.stop()
