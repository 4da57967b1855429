"""Policies by country, from a database file; and CF-IPCountry for services."""

import json
import os
import signal
import subprocess

import pytest

from testenv import mmdb
from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.guard import Browser, Guard
from testenv.origin import Origin
from testenv.program import PATIENCE
from testenv.wait import wait_until

APP, OPEN = f"app.{ZONE}", f"open.{ZONE}"
STAFF = {"email_domain": {"domain": "example.com"}}
AT_HOME, AWAY, NOWHERE = "127.0.0.1", "127.0.0.2", "127.0.0.3"
NETWORKS = {"127.0.0.1/32": "PT", "127.0.0.2/32": "ES", "2001:db8::/32": "JP", "192.0.2.0/24": "PT"}


def geo(country):
    return {"geo": {"country_code": country}}


class Site:
    def __init__(self, own, tmp_path):
        self.file = mmdb.write(tmp_path / "countries.mmdb", NETWORKS)
        self.edge = own.edge(settings=f'country-database: "{self.file}"\n')
        self.origin = Origin()
        cli = own.cli(self.edge)
        tunnel = cli.create("guarded")
        for host in (APP, OPEN):
            cli.check("tunnel", "route", "dns", "guarded", host)
        config = write_config(own.folder / "guarded.json", tunnel, [{"hostname": f"*.{ZONE}", "service": self.origin.service}])
        own.connect(cli, tunnel, config)
        self.edge.wait_connections(4)
        self.guard = Guard(self.edge)

    def url(self, host=APP):
        return f"https://{host}:{self.edge.https}/"

    def status(self, source, host=APP, **headers):
        return Browser(self.edge, source).ask(self.url(host), headers=headers).status

    def test(self, **question):
        return self.guard.do("POST", "access/test", {"app": "app", **question})

    def reload(self, says):
        """SIGHUP, and what the log says then."""
        before = self.edge.program.text().count(says)
        self.edge.program.signal(signal.SIGHUP)
        wait_until(lambda: self.edge.program.text().count(says) > before, says, 30 * PATIENCE)


@pytest.fixture
def site(own, tmp_path):
    s = Site(own, tmp_path)
    yield s
    s.origin.close()


def looked_up(file, ip):
    done = subprocess.run(["mmdblookup", "--file", file, "--ip", ip, "country", "iso_code"], capture_output=True, text=True)
    return done.stdout.split('"')[1] if done.returncode == 0 else ""


def test_our_files_are_what_the_makers_program_reads(tmp_path):
    for bits in (24, 28, 32):
        file = mmdb.write(tmp_path / f"{bits}.mmdb", NETWORKS, bits=bits)
        assert [looked_up(file, ip) for ip in (AT_HOME, AWAY, NOWHERE, "2001:db8::1", "192.0.2.9")] == [
            "PT", "ES", "", "JP", "PT",
        ]  # fmt: skip


def test_a_country_decides(site):
    g = site.guard
    home = g.policy("At home", "bypass", geo("PT"))
    g.app("app", home)
    assert site.status(AT_HOME) == 200
    assert [site.status(a) for a in (AWAY, NOWHERE)] == [403, 403]
    # What a visitor says of where they are is nothing.
    forged = {"X-Forwarded-For": AT_HOME, "CF-Connecting-IP": AT_HOME, "CF-IPCountry": "PT", "True-Client-IP": AT_HOME}
    assert site.status(AWAY, **forged) == 403
    assert len(site.origin.seen) == 1

    # Why, to whom administers it; IPv4 in the other spelling, too.
    assert site.test(ip=AT_HOME)["country"] == "PT" and site.test(ip=AT_HOME)["passes"]
    assert site.test(ip="::ffff:127.0.0.1")["passes"] and not site.test(ip="2001:db8::1")["passes"]
    assert site.test(ip=NOWHERE)["country"] is None and not site.test(ip=NOWHERE)["passes"]
    said = site.edge.command("access", "test", "--app", "app", "--ip", AT_HOME)
    assert said.returncode == 0 and "country is pt" in said.stdout

    # Nobody knows the third address: a policy that is against a country is against it as well.
    g.do("PUT", f"access/policies/{home}", {"name": "Not Spain", "decision": "bypass", "include": [{"everyone": {}}],
                                            "exclude": [geo("ES")]})  # fmt: skip
    assert [site.status(a) for a in (AT_HOME, AWAY, NOWHERE)] == [200, 403, 403]


def test_signed_in_people_are_judged_by_where_they_are(site):
    g = site.guard
    g.make("identity_providers", name="Password", type="password")
    g.person("ann@example.com", "sesame")
    staff = g.policy("Staff", "allow", STAFF, require=[geo("PT")])
    g.app("app", staff)
    browser = Browser(site.edge, AT_HOME)
    assert browser.sign_in(site.url(), "ann@example.com", "sesame").status == 200
    who = json.loads(browser.ask(f"{site.url()}cdn-cgi/access/get-identity").body)
    assert who["geo"] == {"country": "PT"}
    # The same cookies from elsewhere.
    browser.source = AWAY
    assert browser.ask(site.url()).status == 403
    browser.source = AT_HOME
    assert browser.ask(site.url()).status == 200
    # The country has moved: whoever is signed in is judged anew.
    mmdb.write(site.file, {**NETWORKS, "127.0.0.1/32": "FR"})
    site.reload("countries of addresses are known")
    wait_until(lambda: browser.ask(site.url()).status == 403, "403 in another country", 30 * PATIENCE)


def test_a_broken_file_changes_nothing_until_there_is_a_good_one(site):
    site.guard.app("app", site.guard.policy("At home", "bypass", geo("PT")))
    whole = site.file.read_bytes()
    for broken in (b"", whole[:300], b"no database" * 100, mmdb.build({"127.0.0.1/32": {"asn": 64500}}, kind="ASN")):
        # In place: what is being read must not change under our hands.
        with open(site.file, "r+b") as file:
            file.truncate(0)
            file.write(broken)
        site.reload("the database of countries stays the one of before")
        assert [site.status(a) for a in (AT_HOME, AWAY)] == [200, 403]
    os.unlink(site.file)
    site.reload("the database of countries stays the one of before")
    assert [site.status(a) for a in (AT_HOME, AWAY)] == [200, 403]
    mmdb.write(site.file, {"127.0.0.2/32": "PT"})
    site.reload("countries of addresses are known")
    wait_until(lambda: [site.status(a) for a in (AT_HOME, AWAY)] == [403, 200], "the new file", 30 * PATIENCE)


def test_services_learn_the_country(site):
    for source in (AT_HOME, NOWHERE):
        assert site.status(source, OPEN, **{"CF-IPCountry": "JP"}) == 200
    assert [r.all("CF-IPCountry") for r in site.origin.seen] == [["PT"], ["XX"]]


def test_without_a_database_such_policies_are_refused_or_let_nobody_in(own, tmp_path):
    file = mmdb.write(tmp_path / "countries.mmdb", NETWORKS)
    edge = own.edge(settings=f'country-database: "{file}"\n')
    cli = own.cli(edge)
    cli.create("guarded")
    cli.check("tunnel", "route", "dns", "guarded", APP)
    edge.stop()
    settings = edge.data / "edge.yml"
    document = tmp_path / "access.yml"
    document.write_text(
        "policies:\n  - {name: Home, decision: bypass, include: [{geo: PT}]}\n"
        "  - {name: Not Spain, decision: bypass, include: [everyone], exclude: [{geo: ES}]}\n"
        f"applications:\n  - {{name: app, domain: {APP}, policies: [Home, Not Spain]}}\n"
    )

    # Without an edge that runs the files themselves are asked.
    assert "Test-Country of 2023-11-14" in edge.command("check").stdout
    assert edge.command("access", "apply", document).returncode == 0
    said = edge.command("access", "test", "--app", "app", "--ip", AT_HOME).stdout
    assert "country is pt" in said and "country: PT" in said
    exported = edge.command("access", "export").stdout
    assert 'geo: "PT"' in exported

    # What is wrong with the file is said, and by which setting.
    for broken, says in ((b"nothing", "no database"), (None, "No such file")):
        file.unlink(missing_ok=True)
        if broken:
            file.write_bytes(broken)
        for command in ("check", "run"):
            done = edge.command(command)
            text = done.stdout + done.stderr
            assert done.returncode == 1, text
            assert "country-database" in text and str(file) in text and says in text

    # The setting is gone; what was stored with it lets nobody in, and nothing new is taken.
    settings.write_text(settings.read_text().replace("country-database", "# country-database"))
    edge.start()
    for source in (AT_HOME, AWAY, NOWHERE):
        assert Browser(edge, source).ask(f"https://{APP}:{edge.https}/").status == 403
    why = edge.command("access", "test", "--app", "app", "--ip", AT_HOME)
    assert "refused" in why.stdout
    refused = edge.command("access", "apply", document)
    assert refused.returncode == 1
    assert "needs a database of countries: set country-database in edge.yml" in refused.stderr
    status, said = Guard(edge).ask("POST", "access/groups", {"name": "x", "include": [geo("PT")]})
    assert status == 400 and "country-database" in said["errors"][0]["message"]
