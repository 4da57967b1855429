"""Access at one edge: its administration, and people with browsers that keep cookies."""

import http.client
import json
import re
import socket
import ssl
import urllib.parse

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from . import net
from .edge import ZONE
from .wait import wait_until


class Admin(http.client.HTTPConnection):
    """The admin socket."""

    def __init__(self, edge):
        super().__init__("adit", timeout=30)
        self.path = str(edge.data / "admin.sock")

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


class Guard:
    def __init__(self, edge):
        self.edge = edge

    def ask(self, method, path, body=None):
        """Status, and the envelope."""
        admin = Admin(self.edge)
        data = json.dumps(body) if body is not None else None
        admin.request(method, f"/admin/v1/{path}", data, {"Content-Type": "application/json"})
        answer = admin.getresponse()
        said = json.loads(answer.read())
        admin.close()
        return answer.status, said

    def do(self, method, path, body=None):
        status, said = self.ask(method, path, body)
        assert status == 200 and said["success"], said
        return said["result"]

    def make(self, kind, **body):
        return self.do("POST", f"access/{kind}", body)

    def policy(self, name, decision, *include, **more):
        return self.make("policies", name=name, decision=decision, include=list(include), **more)["id"]

    def person(self, email, password):
        self.do("POST", "access/people", {"email": email, "password": password})

    def app(self, name, *policies, domain=None, **more):
        return self.make("apps", name=name, domain=domain or f"{name}.{ZONE}", policies=list(policies), **more)


class Answer:
    def __init__(self, url, response):
        self.url, self.status = url, response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def text(self):
        return self.body.decode()

    @property
    def location(self):
        return self.headers["Location"]


class Browser:
    """Follows nothing by itself; cookies are kept for each host, as all of ours are of one host."""

    def __init__(self, edge, source=None):
        """`source`: the address of loopback it comes from."""
        self.edge, self.source = edge, source
        self.jars = {}

    def jar(self, url):
        return self.jars.setdefault(urllib.parse.urlsplit(url).hostname, {})

    def post_json(self, url, body):
        return self.ask(url, "POST", json.dumps(body), {"Content-Type": "application/json"})

    def ask(self, url, method="GET", data=None, headers=()):
        parts = urllib.parse.urlsplit(url)
        context = ssl.create_default_context(cafile=str(self.edge.ca))
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.edge.https, timeout=30, source_address=(self.source, 0) if self.source else None
        )
        connection.connect()
        connection.sock = context.wrap_socket(connection.sock, server_hostname=parts.hostname)
        fields = {"Host": parts.netloc, "User-Agent": "browser of a test", **dict(headers)}
        jar = self.jar(url)
        if jar and "Cookie" not in fields:
            fields["Cookie"] = "; ".join(f"{n}={v}" for n, v in jar.items())
        if isinstance(data, dict):
            data = urllib.parse.urlencode(data)
            fields["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request(method, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), data, fields)
        answer = Answer(url, connection.getresponse())
        connection.close()
        for cookie in answer.headers.get_all("Set-Cookie", []):
            name, value = cookie.split(";")[0].split("=", 1)
            if value:
                jar[name] = value
            else:
                jar.pop(name, None)
        return answer

    def follow(self, answer, count=10):
        """Until something else than a redirect comes."""
        while answer.status in (301, 302, 303) and count:
            answer = self.ask(urllib.parse.urljoin(answer.url, answer.location))
            count -= 1
        return answer

    def open(self, url, **more):
        return self.follow(self.ask(url, **more))

    def sign_in(self, url, email, password):
        """From the application, by way of the form."""
        page = self.open(url)
        assert "Sign in to" in page.text, page.text
        return self.follow(self.send_password(page, email, password))

    def send_password(self, page, email, password):
        form = dict(re.findall(r'name="(csrf|provider)" value="([^"]*)"', page.text))
        return self.ask(page.url, "POST", {**form, "email": email, "password": password})


class MailSink:
    """A mail server that keeps what it gets: real SMTP, with STARTTLS and sign-in where a test wants them."""

    def __init__(self, tls=None, login=None, tls_at_once=None):
        self.mails = []
        self.login = login
        self.controller = Controller(
            self,
            hostname="127.0.0.1",
            port=net.free_port(),
            tls_context=tls,
            ssl_context=tls_at_once,
            require_starttls=bool(tls),
            authenticator=self.check if login else None,
            auth_required=bool(login),
            auth_require_tls=not tls_at_once,  # it does not count TLS that was there first
        )
        self.controller.start()
        self.url = f"{'smtps' if tls_at_once else 'smtp'}://127.0.0.1:{self.controller.port}"

    def check(self, server, session, envelope, mechanism, data):
        given = (data.login.decode(), data.password.decode()) if mechanism in ("LOGIN", "PLAIN") else None
        return AuthResult(success=given == self.login)

    async def handle_DATA(self, server, session, envelope):
        self.mails.append((envelope.rcpt_tos, envelope.content.decode()))
        return "250 OK"

    def pin_for(self, address):
        """The code in the newest mail to this address."""

        def newest():
            found = [text for to, text in self.mails if to == [address]]
            return found and re.search(r"^ {4}([0-9]{6})\r?$", found[-1], re.MULTILINE)

        return wait_until(newest, f"a code for {address}")[1]

    def close(self):
        self.controller.stop()
