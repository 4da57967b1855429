"""A service of somebody else says who may come in: external_evaluation rules, and what becomes of its bad answers."""

import concurrent.futures
import time

import jwt
import pytest

from conftest import Own
from testenv.guard import Browser
from testenv.judge import Judge
from testenv.place import STAFF, Place
from testenv.team import Key
from testenv.wait import wait_until

UNSURE = "no answer that can be trusted"


@pytest.fixture(scope="module")
def module_place(tmp_path_factory):
    own = Own(tmp_path_factory.mktemp("evaluation"))
    p = judge = None
    try:
        p = Place(own)
        p.password = p.provider("password", {}, name="Password")
        for name in ("ann", "bob", "root"):
            p.guard.person(f"{name}@example.com", "sesame")
        p.judge = judge = Judge(tmp_path_factory.mktemp("judge") / "tls", p.edge)
        p.asking = p.guard.policy("Ask", "allow", judge.rule())
        p.url = p.app(p.password, p.asking)
        yield p
    finally:
        own.close()
        if p:
            p.origin.close()
        if judge:
            judge.close()


@pytest.fixture
def place(module_place):
    module_place.origin.forget()
    module_place.judge.reset()
    return module_place


def enter(place, who="ann", url=None):
    browser = Browser(place.edge)
    return browser, browser.sign_in(url or place.url, f"{who}@example.com", "sesame")


def evaluations(place):
    found = place.guard.do("GET", "access/audit?limit=1000")
    return [e for e in found if e["action"] == "access.evaluation"]


def test_the_service_says_who_may_come_in(place):
    browser, answer = enter(place)
    assert answer.status == 200 and answer.url == place.url
    [question] = place.judge.questions
    who = question["identity"]
    assert who["email"] == "ann@example.com" and who["idp"] == {"id": place.password, "type": "password"}
    assert who["amr"] == ["pwd"] and who["ip"] == "127.0.0.1" and who["user_uuid"]
    assert question["exp"] - question["iat"] == 60 and len(question["nonce"]) >= 43
    # Whatever is asked of the service itself costs it nothing.
    assert {browser.ask(place.url).status for _ in range(8)} == {200} and len(place.judge.questions) == 1
    # It does not say where the other service is.
    claims = jwt.decode(browser.jar(place.url)["CF_Authorization"], options={"verify_signature": False})
    assert list(claims["external"].values()) == [True] and place.judge.url not in str(claims)
    last = evaluations(place)[-1]
    assert last["outcome"] == "yes" and last["actor"] == "ann@example.com"
    assert last["detail"]["url"] == f"{place.judge.url}/evaluate"


def test_the_service_says_who_may_not(place):
    _, answer = enter(place, "bob")
    assert answer.status == 403 and "may not open" in answer.text and not place.origin.seen
    assert evaluations(place)[-1]["outcome"] == "no"
    # What was a question is not a way in: a token of the edge, but for nobody here.
    assert place.judge.questions[0]["type"] == "external_evaluation"


def replayed(place):
    """An answer of before, to another question."""
    old = []
    place.judge.forge = lambda claims: old.append(place.judge.sign(claims)) or old[0]
    assert enter(place)[1].status == 200
    return lambda claims: old[0]


def huge(request):
    request.reply(200, [("Content-Type", "application/json")], b'{"token": "' + b"x" * 300_000 + b'"}')


def elsewhere(place):
    def reply(request):
        request.reply(302, [("Location", f"{place.judge.url}/evaluate?again")])

    return reply


BAD = {
    "by a stranger": lambda p: setattr(p.judge, "forge", lambda c: p.judge.sign(c, Key("stranger"))),
    "by a stranger who takes the name of the key": lambda p: setattr(p.judge, "forge", lambda c: p.judge.sign(c, Key("judge"))),
    "unsigned": lambda p: setattr(p.judge, "forge", lambda c: jwt.encode(c, None, algorithm="none", headers={"kid": "judge"})),
    "signed with a secret": lambda p: setattr(p.judge, "forge", lambda c: jwt.encode(c, "x" * 32, algorithm="HS256", headers={"kid": "judge"})),
    "to another question": lambda p: setattr(p.judge, "changed", {"nonce": "x" * 43}),
    "to no question": lambda p: setattr(p.judge, "changed", {"nonce": None}),
    "to a question of before": lambda p: setattr(p.judge, "forge", replayed(p)),
    "of yesterday": lambda p: setattr(p.judge, "changed", {"iat": int(time.time()) - 86400, "exp": int(time.time()) - 86000}),
    "of tomorrow": lambda p: setattr(p.judge, "changed", {"iat": int(time.time()) + 86400, "exp": int(time.time()) + 90000}),
    "without end": lambda p: setattr(p.judge, "changed", {"exp": None}),
    "neither yes nor no": lambda p: setattr(p.judge, "changed", {"success": "true"}),
    "without success": lambda p: setattr(p.judge, "changed", {"success": None}),
    "huge": lambda p: setattr(p.judge, "reply", huge),
    "a redirect": lambda p: setattr(p.judge, "reply", elsewhere(p)),
    "an error": lambda p: setattr(p.judge, "reply", lambda r: r.reply(403, [], b'{"success": true, "error": "oops"}')),
    "no JSON": lambda p: setattr(p.judge, "reply", lambda r: r.reply(200, [], b"true")),
    "unsigned JSON": lambda p: setattr(p.judge, "reply", lambda r: r.reply(200, [], b'{"success": true}')),
    "nothing": lambda p: setattr(p.judge, "reply", lambda r: r.sock.shutdown(2)),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_answers_let_nobody_in(place, name):
    BAD[name](place)
    asked, seen = len(place.judge.questions), len(place.origin.seen)
    _, answer = enter(place)
    assert answer.status == 503 and UNSURE in answer.text, answer.text
    assert len(place.origin.seen) == seen
    last = evaluations(place)[-1]
    assert last["outcome"] == "no answer" and last["detail"]["error"], last
    assert len(place.judge.questions) == asked + 1  # no redirect was followed


def test_a_service_that_hangs_lets_nobody_in(place):
    place.judge.gate.clear()
    _, answer = enter(place)
    assert answer.status == 503 and UNSURE in answer.text and not place.origin.seen
    # With it back, the next try works.
    place.judge.gate.set()
    assert enter(place)[1].status == 200


def test_many_questions_at_a_time(place):
    """Some are asked, some wait, the others are no answer at once; and nobody else has to wait for them."""
    browser, _ = enter(place, url=place.app(place.password))
    login = browser.ask(place.url).location
    count = len(evaluations(place))
    place.judge.gate.clear()
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(browser.ask, login) for _ in range(20)]
        wait_until(lambda: sum(a.done() for a in asked) >= 4, "those that are too many", 30)
        assert "asked already" in evaluations(place)[count]["detail"]["error"]
        place.judge.gate.set()
        answers = [a.result() for a in asked]
    assert {a.status for a in answers} == {302, 503}
    assert 1 <= sum(a.status == 302 for a in answers) <= len(place.judge.questions) <= 16


def test_what_it_may_keep_out_stays_out(place):
    """Excluded or blocked by a service that does not answer."""
    excluded = place.app(place.password, place.guard.policy("All but", "allow", STAFF, exclude=[place.judge.rule()]))
    blocked = place.guard.policy("Bad", "deny", place.judge.rule())
    place.guard.app("blocked", blocked, place.staff, allowed_idps=[place.password])
    blocked = excluded.replace(excluded.split("//")[1].split(".")[0], "blocked")
    for url in (excluded, blocked):
        assert enter(place, "bob", url)[1].status == 200
        assert enter(place, "ann", url)[1].status == 403
        place.judge.reply = lambda r: r.reply(500)
        assert enter(place, "bob", url)[1].status == 503
        place.judge.reset()


def test_others_are_let_in_without_it(place):
    """A policy behind the one that cannot be decided."""
    admins = place.guard.policy("Admins", "allow", {"email": {"email": "root@example.com"}})
    place.guard.app("two", place.asking, admins, allowed_idps=[place.password])
    url = place.url.replace(place.url.split("//")[1].split(".")[0], "two")
    place.judge.reply = lambda r: r.reply(500)
    browser, answer = enter(place, "root", url)
    assert answer.status == 200 and {browser.ask(url).status for _ in range(4)} == {200}
    assert enter(place, "bob", url)[1].status == 503


def test_it_is_asked_again_for_each_token(place):
    url = place.app(place.password, place.asking, session_duration="2s")
    browser, answer = enter(place, url=url)
    assert answer.status == 200 and len(place.judge.questions) == 1
    wait_until(lambda: browser.ask(url).status == 302, "end of the token", 30)
    assert browser.open(url).status == 200 and len(place.judge.questions) == 2
    place.judge.allowed = set()
    wait_until(lambda: browser.ask(url).status == 302, "end of the token", 30)
    assert browser.open(url).status == 403
    place.judge.allowed = {"ann@example.com"}
    # A rule that is new asks whoever is in already.
    plain = place.app(place.password)
    browser, answer = enter(place, url=plain)
    asked = len(place.judge.questions)
    place.guard.do("PUT", f"access/policies/{place.staff}", {"name": "Staff", "decision": "allow", "include": [STAFF], "require": [place.judge.rule()]})  # fmt: skip
    try:
        wait_until(lambda: browser.ask(plain).status == 302, "the new rule", 30)
        assert browser.open(plain).status == 200 and len(place.judge.questions) == asked + 1
    finally:
        place.guard.do("PUT", f"access/policies/{place.staff}", {"name": "Staff", "decision": "allow", "include": [STAFF]})  # fmt: skip


def test_new_keys_of_the_service(place):
    """Under another name, and under the same one. They are asked for at most every 30 seconds."""
    fresh = Judge(place.edge.folder / "fresh", place.edge)
    url = place.app(place.password, place.guard.policy("Fresh", "allow", fresh.rule()))
    assert enter(place, url=url)[1].status == 200
    fresh.key = Key(fresh.key.kid)
    fresh.published = [fresh.key]
    assert enter(place, url=url)[1].status == 200
    assert len(fresh.server.requests("/keys")) == 2
    fresh.close()
    assert enter(place, url=url)[1].status == 503


def test_the_question_of_who_would_be_let_in(place):
    """`adit-edge access test` asks nobody, and says so."""
    asked = len(place.judge.questions)
    body = {"app": "app-1", "identity": {"email": "ann@example.com", "idp": "Password"}}
    said = place.guard.do("POST", "access/test", body)
    assert said["outcome"] == "asked elsewhere" and not said["passes"]
    assert f"{place.judge.url}/evaluate is asked when they sign in" in said["why"]
    assert len(place.judge.questions) == asked


def test_what_cannot_work_is_refused(place):
    for urls in ({"evaluate_url": "http://127.0.0.1/", "keys_url": "https://127.0.0.1/"}, {"evaluate_url": "https://a.test/"}):
        status, said = place.guard.ask("POST", "access/policies", {"name": "x", "decision": "allow", "include": [{"external_evaluation": urls}]})  # fmt: skip
        assert status == 400, said
    status, said = place.guard.ask("POST", "access/policies", {"name": "x", "decision": "bypass", "include": [place.judge.rule()]})  # fmt: skip
    assert status == 400 and "before anybody has signed in" in str(said)
