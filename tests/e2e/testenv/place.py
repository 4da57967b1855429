"""An edge with a service behind it, and an application for each way to sign in that a test wants to see."""

import base64
import json
import os
import re

from .edge import ZONE
from .guard import Browser, Guard
from .origin import Origin

STAFF = {"email_domain": {"domain": "example.com"}}


def connect(own, edge, service):
    """A tunnel for all names of the zone. The API is asked from here: programs do not find a
    control host with a name in this network."""
    cli = own.cli(edge)
    pem = re.search(r"-----BEGIN [^-]*-----(.*?)-----END", edge.cert(), re.DOTALL)[1]
    login = json.loads(base64.b64decode(pem))
    headers = {"Authorization": f"Bearer {login['apiToken']}", "Content-Type": "application/json"}

    def ask(method, path, body):
        answer = Browser(edge).ask(f"{edge.api_url}/{path}", method, json.dumps(body), headers)
        assert answer.status == 200, answer.text
        return json.loads(answer.body)["result"]

    secret = base64.b64encode(os.urandom(32)).decode()
    made = ask("POST", f"accounts/{login['accountID']}/cfd_tunnel", {"name": "guarded", "tunnel_secret": secret})
    route = {"type": "dns", "user_hostname": f"*.{ZONE}", "overwrite_existing": False}
    ask("PUT", f"zones/{login['zoneID']}/tunnels/{made['id']}/routes", route)
    config = own.folder / "guarded.json"
    config.write_text(json.dumps({"ingress": [{"service": service}]}))
    own.connect(cli, None, config, by="nothing", args=("--token", made["token"]))
    edge.wait_connections(4)


class Place:
    """An edge, and an application for each way to sign in."""

    def __init__(self, own, **kwargs):
        self.edge = own.edge(**kwargs)
        self.origin = Origin()
        connect(own, self.edge, self.origin.service)
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
