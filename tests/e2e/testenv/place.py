"""An edge with a service behind it, and an application for each way to sign in that a test wants to see."""

from .connector import write_config
from .edge import ZONE
from .guard import Guard
from .origin import Origin

STAFF = {"email_domain": {"domain": "example.com"}}


class Place:
    """An edge, and an application for each way to sign in."""

    def __init__(self, own):
        self.edge = own.edge()
        self.origin = Origin()
        cli = own.cli(self.edge)
        tunnel = cli.create("guarded")
        cli.check("tunnel", "route", "dns", "guarded", f"*.{ZONE}")
        rules = [{"hostname": f"*.{ZONE}", "service": self.origin.service}]
        own.connect(cli, tunnel, write_config(own.folder / "guarded.json", tunnel, rules))
        self.edge.wait_connections(4)
        self.guard = Guard(self.edge)
        self.staff = self.guard.policy("Staff", "allow", STAFF)
        self.count = 0

    def provider(self, kind, config, name="Somewhere"):
        return self.guard.make("identity_providers", name=name, type=kind, config=config)["id"]

    def app(self, provider, policy=None, **more):
        """The URL of a new application."""
        self.count += 1
        name = f"app-{self.count}"
        self.guard.app(name, policy or self.staff, allowed_idps=[provider], **more)
        return f"https://{name}.{ZONE}:{self.edge.https}/"

    def emails(self):
        return [r.get("Cf-Access-Authenticated-User-Email") for r in self.origin.seen]
