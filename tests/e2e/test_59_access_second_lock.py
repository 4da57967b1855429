"""The connector's second lock in front of the real gate: what did not come through the gate does not reach the service."""

import json
import threading
import time

import jwt
import pytest
from test_58_access import claims

from testenv import net
from testenv.connector import write_config
from testenv.courier import Courier
from testenv.edge import ZONE
from testenv.guard import Browser, Guard
from testenv.origin import Origin
from testenv.team import Proxy
from testenv.wait import wait_until

APP, OTHER, FREE = f"app.{ZONE}", f"other.{ZONE}", f"free.{ZONE}"
CARRIED = "X-Carried-Cf-Access-Jwt-Assertion"


def key_of(token):
    return jwt.get_unverified_header(token)["kid"]


class Locked:
    """`by_courier`: who puts CARRIED on a request speaks to the connector behind the edge's back. Keys are fetched
    through a proxy, which can lead elsewhere."""

    def __init__(self, own, by_courier=False, **lock):
        self.edge = own.edge()
        self.origin = Origin()
        self.proxy = Proxy(self.edge.https)
        self.courier = Courier(own.folder / "courier", self.edge) if by_courier else None
        cli = own.cli(self.edge)
        tunnel = cli.create("locked")
        for host in (APP, OTHER, FREE):
            cli.check("tunnel", "route", "dns", "locked", host)
        self.guard = g = Guard(self.edge)
        g.make("identity_providers", name="Password", type="password")
        self.staff = g.policy("Staff", "allow", {"email_domain": {"domain": "example.com"}})
        g.person("ann@example.com", "sesame")
        self.app, self.other = g.app("app", self.staff), g.app("other", self.staff)
        lock = {"required": True, "issuer": self.edge.public_url, "audTag": [self.app["aud"]], **lock}
        # One rule has the lock of its own, the others that of the top.
        rules = [{"hostname": APP, "service": self.origin.service, "originRequest": {"access": lock}},
                 {"hostname": f"*.{ZONE}", "service": self.origin.service}]  # fmt: skip
        config = write_config(own.folder / "locked.json", tunnel, rules, originRequest={"access": lock})
        env = {"SSL_CERT_FILE": str(self.edge.ca), "HTTPS_PROXY": self.proxy.url}
        if self.courier:
            env |= self.courier.env()
        self.connector = own.connect(cli, tunnel, config, env=env)
        self.edge.wait_connections(4)

    def url(self, host=APP):
        return f"https://{host}:{self.edge.https}/"

    def signed_in(self):
        browser = Browser(self.edge)
        page = browser.open(self.url())
        return browser, browser.follow(browser.send_password(page, "ann@example.com", "sesame"))

    def close(self):
        if self.courier:
            self.courier.close()
        self.proxy.close()
        self.origin.close()


@pytest.fixture
def lock(own):
    made = []

    def make(**kwargs):
        made.append(Locked(own, **kwargs))
        return made[-1]

    yield make
    for w in made:
        w.close()


def test_only_what_came_through_the_gate_reaches_the_service(lock):
    locked = lock()
    browser, answer = locked.signed_in()
    assert answer.status == 200
    token = browser.jar(locked.url())["CF_Authorization"]
    assert len(locked.origin.seen) == 1

    # Through the gate, but of another application: the lock is for this one.
    assert browser.open(locked.url(OTHER)).status == 403
    assert len(locked.origin.seen) == 1

    # A service has a statement, too; what bypasses the gate has none.
    made = locked.guard.make("service_tokens", name="monitor")
    machines = locked.guard.policy("Machines", "non_identity", {"service_token": {"token_id": made["id"]}})
    hooks = locked.guard.policy("Hooks", "bypass", {"everyone": {}})
    locked.guard.do("PUT", f"access/apps/{locked.app['id']}", {**locked.app, "policies": [locked.staff, machines]})
    locked.guard.app("hook", hooks, domain=f"{APP}/hook")
    secret = {"CF-Access-Client-Id": made["client_id"], "CF-Access-Client-Secret": made["client_secret"]}
    assert Browser(locked.edge).ask(locked.url(), headers=secret).status == 200
    assert len(locked.origin.seen) == 2
    assert browser.ask(locked.url() + "hook").status == 403

    # Somebody takes the guard away: nothing gets through the lock, with or without a token of a visitor's own.
    count = len(locked.origin.seen)
    locked.guard.do("DELETE", f"access/apps/{locked.app['id']}")
    plain = Browser(locked.edge)
    wait_until(lambda: plain.ask(locked.url()).status == 403, "no guard, but a lock")
    forged = {"Cf-Access-Jwt-Assertion": token, "Cf-Access-Token": token}
    assert plain.ask(locked.url(), headers=forged).status == 403
    assert len(locked.origin.seen) == count


def test_what_gets_behind_the_gate_does_not_get_through_the_lock(lock):
    locked = lock(by_courier=True)
    browser, answer = locked.signed_in()
    assert answer.status == 200
    good = browser.jar(locked.url())["CF_Authorization"]
    browser.open(locked.url(OTHER))
    head, body, signature = good.split(".")
    forged = jwt.encode({**claims(good), "email": "eve@example.com"}, "k" * 32, headers={"kid": key_of(good)})
    bad = {
        "none": None,
        "another application's": browser.jar(locked.url(OTHER))["CF_Authorization"],
        "the session's": browser.jar(locked.edge.public_url)["CF_Authorization"],
        "another payload": ".".join((head, forged.split(".")[1], signature)),
        "another signature": ".".join((head, body, signature[:-6] + ("AAAAAA" if signature[-6:] != "AAAAAA" else "BBBBBB"))),
        "no signature": f"{head}.{body}.",
        "HS256": forged,
        "none of it": "x",
    }  # fmt: skip
    plain = Browser(locked.edge)
    count = len(locked.origin.seen)
    for name, token in bad.items():
        answer = plain.ask(locked.url(FREE), headers={CARRIED: token} if token else {})
        assert answer.status == 403, name
    # Two readers would pick two tokens.
    assert browser.ask(locked.url(), headers={CARRIED: good}).status == 403
    assert len(locked.origin.seen) == count
    # It is the token that decides.
    assert plain.ask(locked.url(FREE), headers={CARRIED: good}).status == 200


def test_an_edge_out_of_reach_opens_nothing_and_the_lock_recovers(lock):
    locked = lock()
    locked.proxy.to = net.free_port()
    browser, answer = locked.signed_in()
    assert answer.status == 502 and "Access cannot be checked" in answer.text
    assert browser.ask(locked.url()).status == 502
    assert Browser(locked.edge).ask(locked.url(FREE)).status == 403, "without a token no key is needed"
    assert not locked.origin.seen
    locked.proxy.to = locked.edge.https
    wait_until(lambda: browser.ask(locked.url()).status == 200, "keys", 30)
    # It has them: the edge is not asked for each request.
    asked = len(locked.proxy.asked)
    locked.proxy.to = net.free_port()
    assert browser.ask(locked.url()).status == 200
    assert len(locked.proxy.asked) == asked


class Flow:
    """Requests of somebody who is signed in, one after the other."""

    def __init__(self, locked, browser):
        self.locked, self.browser = locked, browser
        self.statuses = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.over.wait(0.02):
            self.statuses.append(self.browser.ask(self.locked.url()).status)

    def end(self):
        self.over.set()
        self.thread.join()
        return self.statuses


def test_no_request_is_refused_while_keys_change(lock):
    """Even keys that sign at once, a moment after the connector has fetched what there was."""
    locked = lock()
    ann, answer = locked.signed_in()
    assert answer.status == 200
    flow = Flow(locked, ann)
    kids = [key_of(ann.jar(locked.url())["CF_Authorization"])]
    locked.guard.do("POST", "access/keys/rotate", {"now": True})
    stranger, answer = locked.signed_in()
    assert answer.status == 200
    kids.append(key_of(stranger.jar(locked.url())["CF_Authorization"]))
    statuses = flow.end()
    assert len(set(kids)) == 2
    assert set(statuses) == {200} and len(statuses) > 20
    assert len(locked.proxy.asked) == 2, "a fetch for the change"

    # Keys that are withdrawn end what they have signed.
    locked.guard.do("POST", "access/keys/rotate", {"withdraw": True})
    assert ann.ask(locked.url()).status == 302
    assert "Sign in to" in Browser(locked.edge).open(locked.url()).text
    assert locked.signed_in()[1].status == 200


@pytest.mark.slow
@pytest.mark.long
def test_a_key_is_published_before_it_signs(lock):
    locked = lock()
    ann, answer = locked.signed_in()
    assert answer.status == 200
    first = key_of(ann.jar(locked.url())["CF_Authorization"])
    said = locked.guard.do("POST", "access/keys/rotate", {})
    assert said["signs_at"]
    flow = Flow(locked, ann)

    def published():
        keys = ann.ask(locked.edge.public_url + "/cdn-cgi/access/certs").text
        return [k["kid"] for k in json.loads(keys)["keys"]]

    assert published()[0] == first and len(published()) == 2
    started, refused = time.monotonic(), []

    def signs():
        stranger, answer = locked.signed_in()
        if answer.status != 200:
            refused.append(answer.status)
        return key_of(stranger.jar(locked.url())["CF_Authorization"]) != first

    wait_until(lambda: published()[1] == first, "the change", 200)
    wait_until(signs, "the new key", 60)
    assert time.monotonic() - started > 100 and not refused
    assert set(flow.end()) == {200}
