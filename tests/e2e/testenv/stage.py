"""The stage most tests play on: one edge, one connector of each kind, services behind them.

Both connectors have the same rules, each for hostnames of its own: `site.host("app")` is
"adit-app.example.com" or "stock-app.example.com". Whatever ended is started again for the next test.
"""

import os
import shutil
import socket

from . import net, nginx
from .certs import OriginCerts
from .connector import KINDS, Cli, write_config
from .edge import ZONE, Edge
from .origin import Origin, TcpService


class Site:
    """What one kind of connector serves."""

    def __init__(self, stage, kind, protocol=None):
        self.stage, self.kind, self.protocol = stage, kind, protocol
        self.name = f"{kind}-{protocol}" if protocol else kind
        folder = stage.folder / self.name if protocol else stage.folder
        self.cli = Cli(kind, stage.edge, folder).log_in()
        self.tunnel = self.cli.create(f"{self.name}-tunnel")
        self.config = write_config(stage.folder / f"{self.name}.yml", self.tunnel, stage.rules(self))
        self.cli.route(self.tunnel, *[self.host(name) for name in stage.HOSTS], f"*.{self.name}.{ZONE}")
        self.connector = None

    def host(self, name):
        return f"{self.name}-{name}.{ZONE}"

    def ensure(self):
        if not self.connector or not self.connector.is_running():
            if self.connector:
                self.connector.kill()
            self.connector = self.cli.connect(
                self.tunnel, self.config, name=f"connector-{self.name}", protocol=self.protocol
            )
        return self


class Stage:
    HOSTS = ("app", "nginx", "tls", "pool", "untrusted", "renamed", "socket", "status", "paths", "refused",
             "stuck", "silent", "unresolved", "unruled", "statuses",
             "tcp", "tcp-refused", "socks", "bastion", "hello")  # fmt: skip

    def __init__(self, folder):
        self.folder = folder
        self.certs = OriginCerts(folder / "certs")
        self.origin = Origin()
        self.second = Origin()
        self.tls_origin = Origin(tls=self.certs.server())
        self.unix_origin = Origin(unix=folder / "origin.sock")
        self.tcp = TcpService()
        # A backlog that is full does not even refuse: connecting to it takes for ever.
        self.stuck = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(self.stuck.getsockname())
            self.fillers.append(filler)
        self.nginx = nginx.start(folder / "nginx")
        self.edge = Edge(folder).start()
        self.sites = {}

    STATUSES = (200, 204, 301, 304, 403, 404, 410, 418, 451, 500, 502, 503, 599)

    def rules(self, site):
        def rule(name, service, path=None, **origin_request):
            r = {"hostname": site.host(name), "service": service}
            if path:
                r["path"] = path
            if origin_request:
                r["originRequest"] = origin_request
            return r

        port = net.free_port()  # and it stays so: nobody is given one of these twice
        https = self.tls_origin.service
        return [
            rule("app", self.origin.service),
            rule("nginx", f"http://127.0.0.1:{self.nginx.port}"),
            rule("tls", https, noTLSVerify=True),
            rule("pool", https, caPool=str(self.certs.ca), originServerName=self.certs.NAME),
            rule("untrusted", https),
            rule("renamed", self.origin.service, httpHostHeader="inside.internal"),
            rule("socket", self.unix_origin.service),
            rule("status", "http_status:418"),
            rule("paths", self.second.service, path=r"^/api/v[0-9]+/"),
            rule("paths", "http_status:410", path=r"\.old$"),
            rule("paths", self.origin.service),
            rule("refused", f"http://127.0.0.1:{port}"),
            rule("stuck", f"http://127.0.0.1:{self.stuck.getsockname()[1]}", connectTimeout="1s"),
            rule("silent", self.origin.service),
            rule("unresolved", "http://no-such-host.invalid:80"),
            *[rule("statuses", f"http_status:{n}", path=f"^/{n}$") for n in self.STATUSES],
            rule("tcp", f"tcp://127.0.0.1:{self.tcp.port}"),
            rule("tcp-refused", f"tcp://127.0.0.1:{port}"),
            rule("socks", "socks-proxy", ipRules=[{"prefix": "127.0.0.1/32", "ports": [self.tcp.port, port], "allow": True}]),
            rule("bastion", "bastion"),
            rule("hello", "hello_world"),
            {"hostname": f"*.{site.name}.{ZONE}", "service": self.second.service},
        ]

    def site(self, kind, protocol=None):
        """Without `protocol` what the kind uses by itself; a stock one HTTP/2."""
        assert kind in KINDS
        name = f"{kind}-{protocol}" if protocol else kind
        if not self.edge.program.is_running():
            self.edge.program.kill()
            self.edge.start()
        if name not in self.sites:
            self.sites[name] = Site(self, kind, protocol)
        return self.sites[name].ensure()

    def connections(self):
        return sum(4 for s in self.sites.values() if s.connector and s.connector.is_running())

    def close(self):
        try:
            for site in self.sites.values():
                if site.connector:
                    site.connector.stop()
            if self.edge.program.is_running():
                self.edge.wait_connections(0)
                self.edge.wait_idle()
            self.edge.stop()
        finally:
            self.nginx.program.stop()
            for origin in (self.origin, self.second, self.tls_origin, self.unix_origin, self.tcp):
                origin.close()
            for s in (self.stuck, *self.fillers):
                s.close()


def have(*programs):
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    return [p for p in programs if not shutil.which(p, path=path)]
