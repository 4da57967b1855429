"""originRequest.access: the connector itself looks at Cf-Access-Jwt-Assertion, against the keys of the team.

No edge takes that field from a visitor: a courier between edge and connector puts it on.
"""

import threading
import time

import jwt
import pytest
from conftest import Own, need

from testenv.connector import KINDS, write_config
from testenv.courier import Courier
from testenv.edge import ZONE
from testenv.origin import Origin
from testenv.team import Key, Proxy, Team
from testenv.visitor import Visitor
from testenv.wait import wait_until

HEADER = "Cf-Access-Jwt-Assertion"
CARRIED = "X-Carried-" + HEADER
TEAM = "acme.cloudflareaccess.com"


class World:
    """An edge, a connector, an origin, and the team "acme", which is found through a proxy only."""

    def __init__(self, folder, kind="adit", access=None, by_proxy=True):
        self.own = Own(folder)
        self.kind = kind
        self.edge = self.own.edge()
        self.team = Team(folder / "team", TEAM)
        self.origin = Origin()
        self.proxy = Proxy(self.team.port)
        trusted = folder / "trusted.pem"
        trusted.write_text(self.edge.ca.read_text() + self.team.ca.read_text())
        cli = self.own.cli(self.edge, kind)
        tunnel = cli.create("guarded")
        access = access or {"required": True, "teamName": "acme", "audTag": ["app", "second"]}
        if callable(access):
            access = access(self.team)
        config = write_config(
            folder / "config.yml",
            tunnel,
            [
                {"hostname": self.host("rule"), "service": self.origin.service, "originRequest": {"access": access}},
                {"hostname": self.host("top"), "service": self.origin.service},
                {"hostname": self.host("free"), "service": self.origin.service,
                 "originRequest": {"access": {"required": False}}},
                {"hostname": self.host("none"), "service": self.origin.service,
                 "originRequest": {"access": {"required": True}}},
            ],
            originRequest={"access": access},
        )  # fmt: skip
        cli.route(tunnel, *[self.host(n) for n in ("rule", "top", "free", "none")])
        self.courier = Courier(folder / "courier", self.edge)
        env = {"SSL_CERT_FILE": str(trusted), **self.courier.env()}
        if by_proxy:
            env["HTTPS_PROXY"] = self.proxy.url
        self.connector = self.own.connect(cli, tunnel, config, env=env)
        self.visitor = Visitor(self.edge, "http2", folder)

    def host(self, name):
        return f"{name}.{ZONE}"

    def get(self, name, token=None, **kwargs):
        headers = [(CARRIED, token)] if token is not None else []
        path = self.origin.on(lambda r: r.reply(200, body=b"inside " + r.read_body()))
        answer = self.visitor.get(self.host(name), path, headers=headers, **kwargs)
        seen = self.origin.requests(path)
        assert len(seen) == (1 if answer.status == 200 else 0)
        if answer.status == 200 and token:
            assert seen[0].get(HEADER) == token  # the origin may look for itself
        return answer

    def close(self):
        try:
            self.visitor.close()
            self.own.close()
        finally:
            self.courier.close()
            self.proxy.close()
            self.team.close()
            self.origin.close()


@pytest.fixture(scope="module", params=KINDS)
def world(request, tmp_path_factory):
    need(request.param)
    w = World(tmp_path_factory.mktemp("access"), request.param)
    yield w
    w.close()


@pytest.fixture
def fresh(tmp_path):
    """fresh(...): a world for one test, with a connector that has no keys yet."""
    made = []

    def make(**kwargs):
        made.append(World(tmp_path, **kwargs))
        return made[-1]

    yield make
    for w in made:
        w.close()


def test_good_tokens_pass(world):
    assert world.get("rule", world.team.token()).body == b"inside "
    assert world.get("rule", world.team.token(aud="second")).status == 200
    assert world.get("rule", world.team.token(), data=b"a body").body == b"inside a body"
    assert world.team.asked == [Team.PATH]  # once
    assert world.proxy.asked == [f"{TEAM}:443"]


@pytest.mark.parametrize("token", [None, "other audience"])
def test_no_token_or_one_for_others_is_forbidden(world, token):
    answer = world.get("rule", world.team.token(aud=["other"]) if token else None)
    assert (answer.status, answer.body) == (403, b"")


STRANGER = Key("first")
UNKNOWN = Key("unknown")
INVALID = {
    "garbage": (lambda t: "garbage", "it is no signed token"),
    "expired": (lambda t: t.token(exp=int(time.time()) - 100), "it expired 10"),
    "not yet": (lambda t: t.token(nbf=int(time.time()) + 1000), "it is not valid yet"),
    "another issuer": (lambda t: t.token(iss="https://evil.example.com"), 'its issuer is "https://evil.example.com"'),
    "another signer": (lambda t: t.token(STRANGER), "its signature is wrong"),
    "unknown key": (lambda t: t.token(UNKNOWN), 'its key "unknown" is not among those of the issuer'),
    "none": (lambda t: jwt.encode({"iss": t.issuer, "aud": "app"}, None, algorithm="none"), "it is "),
}  # fmt: skip


@pytest.mark.parametrize("name", INVALID)
def test_invalid_tokens_are_refused_with_the_reason(world, name):
    """cloudflared answers 502, as if the origin had failed."""
    make, reason = INVALID[name]
    world.get("rule", world.team.token())  # the keys are there
    answer = world.get("rule", make(world.team))
    if world.kind == "stock":
        assert answer.status == 502
    else:
        assert answer.status == 403
        assert "The Access token of the request is not valid: " in answer.text and reason in answer.text


def test_two_tokens_are_refused(world):
    good = world.team.token()
    answer = world.visitor.get(world.host("rule"), "/", headers=[(CARRIED, good), (CARRIED, good)])
    assert answer.status == (403 if world.kind == "adit" else 200)


def test_access_of_the_top_level_is_enforced(world):
    """cloudflared shows it in /config and lets everybody pass."""
    assert world.get("top").status == (403 if world.kind == "adit" else 200)
    assert world.get("top", world.team.token()).status == 200


def test_a_rule_may_be_free(world):
    assert world.get("free").status == 200


def test_a_rule_without_audiences_lets_nobody_in(world):
    assert world.get("none").status == 403
    if world.kind == "adit":
        assert world.get("none", world.team.token()).status == 403


def test_requests_wait_for_the_first_keys(fresh):
    world = fresh()
    world.team.gate.clear()
    token = world.team.token()
    answers = []

    def ask(token, data):
        answers.append((token is None, world.get("rule", token, data=data)))

    threads = [threading.Thread(target=ask, args=(token, b"x" * 1000 * i)) for i in range(8)]
    bad = world.team.token(STRANGER)
    threads.append(threading.Thread(target=ask, args=(bad, b"")))
    for t in threads:
        t.start()
    wait_until(lambda: world.team.asked, "request for keys")
    assert world.get("rule").status == 403  # needs no key
    assert world.get("free").status == 200
    # One who leaves meanwhile.
    process = world.visitor.start(world.host("rule"), "/left", "-H", f"{CARRIED}: {token}")
    wait_until(lambda: world.connector.requests_now() == 10, "ten that wait")
    process.kill()
    wait_until(lambda: world.connector.requests_now() == 9, "nine that wait")
    assert world.origin.requests("/left") == []
    world.team.gate.set()
    for t in threads:
        t.join()
    assert sorted(a.status for _, a in answers) == [200] * 8 + [403]
    assert {len(a.body) for _, a in answers if a.status == 200} == {len(b"inside ") + 1000 * i for i in range(8)}
    assert world.team.asked == [Team.PATH]


def test_a_team_out_of_reach_lets_nobody_in_and_is_asked_again(fresh):
    world = fresh()
    world.team.status = 500
    answer = world.get("rule", world.team.token())
    assert answer.status == 502 and "answered with status 500" in answer.text
    assert world.get("rule", world.team.token()).status == 502
    assert world.team.asked == [Team.PATH]  # not for every request
    world.team.status = 200
    wait_until(lambda: world.get("rule", world.team.token()).status == 200, "access", 20)


def test_a_team_that_is_not_trusted(fresh):
    world = fresh(access=lambda team: {"required": True, "teamName": f"127.0.0.1:{team.port}", "audTag": ["app"]},
                  by_proxy=False)  # fmt: skip
    answer = world.get("rule", world.team.token())
    assert answer.status == 502 and "Access" in answer.text  # its certificate names localhost
    assert world.team.asked == []


@pytest.mark.parametrize("form", ["host", "url"])
def test_a_team_of_ones_own(fresh, form):
    def access(team):
        name = f"localhost:{team.port}"
        team.issuer = f"https://{name}" if form == "host" else f"https://{name}/of/mine/"
        return {"required": True, "teamName": name if form == "host" else team.issuer, "audTag": ["app"]}

    world = fresh(access=access, by_proxy=False)
    assert world.get("rule", world.team.token()).status == 200
    assert world.get("rule", world.team.token(iss=f"https://{TEAM}")).status == 403
    assert world.team.asked == [Team.PATH if form == "host" else "/of/mine" + Team.PATH]
    assert world.proxy.asked == []


def test_a_key_that_is_not_known_yet_is_asked_for(fresh):
    """A moment after the last fetch, too: the request waits."""
    world = fresh()
    assert world.get("rule", world.team.token()).status == 200
    second = Key("second")
    world.team.keys.append(second)
    assert world.get("rule", world.team.token(second)).status == 200
    assert world.team.asked == [Team.PATH] * 2
    assert world.get("rule", world.team.token()).status == 200
    # And while keys that are older are on their way.
    third = Key("third")
    world.team.gate.clear()
    answers = []
    stranger = threading.Thread(target=lambda: answers.append(world.get("rule", world.team.token(UNKNOWN)).status))
    stranger.start()
    wait_until(lambda: len(world.team.asked) == 3, "a fetch that somebody else began")
    late = threading.Thread(target=lambda: answers.append(world.get("rule", world.team.token(third)).status))
    late.start()
    wait_until(lambda: world.connector.requests_now() == 2, "two that wait")
    world.team.gate.set()
    stranger.join()
    world.team.keys.append(third)
    late.join()
    assert sorted(answers) == [200, 403]


def test_invented_keys_are_no_flood(fresh):
    """One fetch in five seconds at most, however many ask; who has a good token does not notice."""
    world = fresh()
    good = world.team.token()
    assert world.get("rule", good).status == 200
    started = time.monotonic()
    threads = []
    for i in range(40):
        token = world.team.token(UNKNOWN, headers={"kid": f"invented {i}"})
        threads.append(threading.Thread(target=lambda token=token: world.get("rule", token)))
        threads[-1].start()
        assert world.get("rule", good).status == 200
    for t in threads:
        t.join()
    assert len(world.team.asked) <= 2 + (time.monotonic() - started) / 5


@pytest.mark.parametrize("shift", [-45, 45])
def test_clocks_may_differ_by_less_than_a_minute(world, shift):
    """The connector's and the edge's: what has just been made, or just ended, is good."""
    now = int(time.time())
    times = {"exp": now + shift} if shift < 0 else {"nbf": now + shift, "iat": now + shift}
    if world.kind == "adit":
        assert world.get("rule", world.team.token(**times)).status == 200
        far = {k: v + (shift * 2) for k, v in times.items()}
        assert world.get("rule", world.team.token(**far)).status == 403


@pytest.mark.slow
def test_a_silent_team(fresh):
    world = fresh()
    world.team.gate.clear()
    started = time.monotonic()
    answer = world.get("rule", world.team.token(), seconds=60)
    assert answer.status == 502 and time.monotonic() - started > 8
    world.team.gate.set()
    wait_until(lambda: world.get("rule", world.team.token()).status == 200, "access", 20)
