"""The connector's second lock in front of the real gate: what did not come through the gate does not reach the service."""

import pytest
from test_58_access import claims

from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.guard import Browser, Guard
from testenv.origin import Origin
from testenv.wait import wait_until

APP, OTHER = f"app.{ZONE}", f"other.{ZONE}"


class Locked:
    def __init__(self, own):
        self.edge = own.edge()
        self.origin = Origin()
        cli = own.cli(self.edge)
        tunnel = cli.create("locked")
        for host in (APP, OTHER):
            cli.check("tunnel", "route", "dns", "locked", host)
        self.guard = g = Guard(self.edge)
        g.make("identity_providers", name="Password", type="password")
        self.staff = g.policy("Staff", "allow", {"email_domain": {"domain": "example.com"}})
        g.person("ann@example.com", "sesame")
        self.app, self.other = g.app("app", self.staff), g.app("other", self.staff)
        lock = {"required": True, "teamName": self.edge.public_url, "audTag": [self.app["aud"]]}
        rules = [{"hostname": f"*.{ZONE}", "service": self.origin.service, "originRequest": {"access": lock}}]
        config = write_config(own.folder / "locked.json", tunnel, rules)
        own.connect(cli, tunnel, config, env={"SSL_CERT_FILE": str(self.edge.ca)})
        self.edge.wait_connections(4)

    def url(self, host=APP):
        return f"https://{host}:{self.edge.https}/"


@pytest.fixture
def locked(own):
    w = Locked(own)
    yield w
    w.origin.close()


def test_only_what_came_through_the_gate_reaches_the_service(locked):
    browser = Browser(locked.edge)
    assert browser.sign_in(locked.url(), "ann@example.com", "sesame").status == 200
    token = browser.jar(locked.url())["CF_Authorization"]
    assert len(locked.origin.seen) == 1

    # Through the gate, but of another application: the lock is for this one.
    assert browser.open(locked.url(OTHER)).status == 403
    assert len(locked.origin.seen) == 1

    # Somebody takes the guard away: nothing gets through the lock, with or without a token of a visitor's own.
    count = len(locked.origin.seen)
    locked.guard.do("DELETE", f"access/apps/{locked.app['id']}")
    plain = Browser(locked.edge)
    wait_until(lambda: plain.ask(locked.url()).status == 403, "no guard, but a lock")
    forged = {"Cf-Access-Jwt-Assertion": token, "Cf-Access-Token": token}
    assert plain.ask(locked.url(), headers=forged).status == 403
    assert len(locked.origin.seen) == count


@pytest.mark.slow
@pytest.mark.long
def test_keys_change_and_the_lock_follows(locked):
    """It asks for keys that it does not know once a minute at most."""
    browser = Browser(locked.edge)
    assert browser.sign_in(locked.url(), "ann@example.com", "sesame").status == 200
    first = browser.jar(locked.url())["CF_Authorization"]

    # A key that the connector has not seen: it fetches the edge's keys anew.
    locked.guard.do("POST", "access/keys/rotate", {})
    stranger = Browser(locked.edge)

    def with_the_new_key():
        answer = stranger.ask(locked.url())
        if answer.status == 200:
            return True
        answer = stranger.follow(answer)
        if "Sign in to" in answer.text:
            answer = stranger.follow(stranger.send_password(answer, "ann@example.com", "sesame"))
        return answer.status == 200

    wait_until(with_the_new_key, "a token of the new key that is taken", 100)
    second = stranger.jar(locked.url())["CF_Authorization"]
    assert first.split(".")[0] != second.split(".")[0] and claims(second)["aud"] == [locked.app["aud"]]
    # The one of before is good still.
    assert browser.ask(locked.url()).status == 200
