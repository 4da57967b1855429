"""`adit-edge access …`: what guards a service, put in place from a terminal and from a file."""

import base64
import json

import pytest
import yaml

from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.origin import Origin
from testenv.program import ADIT_EDGE, PATIENCE, run
from testenv.visitor import Visitor
from testenv.wait import wait_until

APP, OTHER = f"app.{ZONE}", f"other.{ZONE}"

DOCUMENT = """
identity_providers:
  - name: Codes
    type: onetimepin
  - name: Ours
    type: oidc
    config: {client_id: adit, client_secret: "file:SECRET", issuer: "https://idp.example.com"}
groups:
  - name: family
    include: [{email: a@example.com}, {email_domain: family.example}]
    exclude: [{email: b@family.example}]
policies:
  - name: Staff
    decision: allow
    include: [{group: family}, {login_method: Ours}]
    require: [{ip: 192.0.2.0/24}]
  - name: Machines
    decision: non_identity
    include: [{service_token: backup}]
service_tokens:
  - name: backup
    duration: 24h
applications:
  - {name: Photos, domain: PLACE, policies: [Staff, Machines], allowed_idps: [Codes]}
"""


class Admin:
    def __init__(self, edge, folder):
        self.edge, self.folder = edge, folder

    def __call__(self, *args, input=None):
        return run([ADIT_EDGE, "access", *args, "--data", self.edge.data], input=input)

    def ok(self, *args, **more):
        done = self(*args, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def audit(self, *args):
        done = run([ADIT_EDGE, "audit", *args, "--data", self.edge.data])
        assert done.returncode == 0, done.stderr
        return done.stdout

    def apply(self, text, *args):
        file = self.folder / "access.yml"
        file.write_text(text)
        return self("apply", file, *args)


@pytest.fixture
def edge(own):
    return own.edge()


@pytest.fixture
def access(edge, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("xyzzy-secret\n")
    a = Admin(edge, tmp_path)
    a.document = DOCUMENT.replace("SECRET", str(secret)).replace("PLACE", f"{APP}/photos")
    return a


def test_a_hostname_is_guarded_with_one_command(own, edge, access, tmp_path):
    origin = Origin()
    cli = own.cli(edge)
    tunnel = cli.create("home")
    cli.route(tunnel, APP, OTHER)
    rules = [{"hostname": name, "service": origin.service} for name in (APP, OTHER)]
    own.connect(cli, tunnel, write_config(tmp_path / "c.yml", tunnel, rules))
    visitor = Visitor(edge, "http1.1")
    assert visitor.get(APP, "/echo").status == 200
    said = access.ok("protect", APP, "--allow", "me@example.com", "--allow", "@example.org", "--session", "30m")
    assert f"application {APP}: created" in said
    wait_until(lambda: visitor.get(APP, "/echo").status == 302, "a guard", 20 * PATIENCE)
    assert visitor.get(OTHER, "/echo").status == 200
    assert "me@example.com" in access.ok("export")
    # Who is let in can be changed the same way.
    assert "policy" in access.ok("protect", APP, "--allow", "everyone")
    assert yaml.safe_load(access.ok("export"))["policies"][0]["include"] == ["everyone"]
    # A program with a service token passes once a policy says so.
    document = yaml.safe_load(access.ok("export"))
    document["service_tokens"] = [{"name": "probe"}]
    document["policies"].append({"name": "probes", "decision": "non_identity", "include": [{"service_token": "probe"}]})
    document["applications"][0]["policies"].append("probes")
    done = access.apply(yaml.safe_dump(document))
    assert done.returncode == 0, done.stderr
    token = [line.split(": ") for line in done.stdout.split("\n") if line.startswith("CF-Access")]

    def status(headers):
        return visitor.get(APP, "/echo", headers=headers).status

    wait_until(lambda: status(token) == 200, "the token to count", 20 * PATIENCE)
    rotated = json.loads(access.ok("token", "rotate", "probe", "--grace", "0s", "--json"))
    fresh = [("CF-Access-Client-Id", rotated["client_id"]), ("CF-Access-Client-Secret", rotated["client_secret"])]
    wait_until(lambda: status(token) != 200 and status(fresh) == 200, "the new secret to count", 20 * PATIENCE)
    # Without the application the hostname is open again, and the program says so.
    assert "open to everybody" in access.ok("remove", "app", APP)
    wait_until(lambda: visitor.get(APP, "/echo").status == 200, "no guard", 20 * PATIENCE)
    origin.close()


def test_a_document_goes_there_and_back(access):
    plan = access.apply(access.document, "--dry-run")
    assert plan.returncode == 0 and "+ application Photos: would be created" in plan.stdout
    assert "CF-Access-Client-Secret" not in plan.stdout
    assert "Nothing is guarded" in access.ok("list")

    done = access.apply(access.document)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": created") == 7 and "CF-Access-Client-Secret" in done.stdout
    assert access.apply(access.document).stdout == "Everything is as it should be.\n"

    text = access.ok("export")
    assert "xyzzy" not in text and "secret" not in text.split("\n", 2)[2]
    assert access.apply(text, "--prune").stdout == "Everything is as it should be.\n"
    shown = yaml.safe_load(text)
    assert shown["policies"][0]["include"] == [{"group": "family"}, {"login_method": "Ours"}]
    assert shown["applications"][0]["policies"] == ["Staff", "Machines"]
    assert json.loads(access.ok("export", "--json")) == shown

    # What is not named stays, or goes when that is asked for.
    more = access.apply("groups:\n  - {name: friends, include: [{email: f@example.com}]}\n")
    assert more.stdout == "+ group friends: created\n"
    assert access.apply(access.document, "--prune").stdout == "- group friends: removed\n"
    kept = json.loads(access.ok("list", "idp", "--json"))
    assert [p["name"] for p in kept] == ["Codes", "Ours"] and kept[1]["config"]["client_secret"] == ""


@pytest.mark.parametrize("old, new, item, why", [
    ("exclude: [{email:", "exclude: [{emial:", "name: family", 'did you mean "email"'),
    ("group: family", "group: famly", "name: Staff", 'there is no group "famly"'),
    ("policies: [Staff,", "policies: [Stuff,", "name: Photos", 'there is no policy "Stuff"'),
    ("decision: allow", "decision: alow", "name: Staff", "allow, deny, bypass"),
    ("file:", "file:/nowhere", "name: Ours", "the client secret is not in the file"),
    ("name: backup", "nam: backup", "nam: backup", '"name" is missing'),
    ("type: onetimepin", "type: saml", "name: Codes", "SAML"),
    ("name: Codes", "name: Ours", "client_id", "there twice"),
    ("/photos", "/photos?x", "name: Photos", "application Photos"),
    ("email: b@family.example", "geo: KP", "name: family", "needs a database of countries: set country-database"),
    ("require: [{ip", "approval_required: true\n    require: [{ip", "name: Staff", "nobody is asked for approval"),
    ("require: [{ip", "purpose_justification_required: 1\n    require: [{ip", "name: Staff", "true or false"),
    ("\ngroups:", "\ngruops:", None, 'did you mean "groups"'),
])  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(access, old, new, item, why):
    text = access.document.replace(old, new, 1)
    done = access.apply(text)
    assert done.returncode == 1 and why in done.stderr
    place = f"{access.folder}/access.yml:"
    if item:
        line = next(n for n, line in enumerate(text.split("\n"), 1) if item in line)
        line -= 2 if item == "client_id" else 0
        place += f"{line}:5: "
    assert place in done.stderr
    assert "Nothing is guarded" in access.ok("list"), "nothing of it may have been put in place"


def test_questions_about_policies(access):
    assert access.apply(access.document).returncode == 0

    def asked(*args):
        done = access("test", "--app", f"{APP}/photos/1", "--json", *args)
        answer = json.loads(done.stdout)
        assert (done.returncode == 0) == answer["passes"]
        return answer

    answer = asked("--email", "a@example.com", "--ip", "192.0.2.7")
    assert (answer["outcome"], answer["policy"]) == ("let in", "Staff")
    assert "family" in answer["why"]
    assert asked("--email", "c@family.example", "--ip", "192.0.2.7")["passes"]
    assert asked("--email", "b@family.example", "--ip", "192.0.2.7")["outcome"] == "refused"
    assert asked("--email", "a@example.com", "--ip", "198.51.100.7")["outcome"] == "refused"
    assert asked("--email", "z@example.com", "--idp", "Ours", "--ip", "192.0.2.7")["passes"]
    assert asked("--ip", "192.0.2.7")["outcome"] == "asked to sign in"
    assert asked("--token", "backup")["policy"] == "Machines"
    none = access("test", "--app", "nowhere.example.net")
    assert none.returncode == 1 and "open to everybody" in none.stderr
    assert access("test").returncode == 2


def test_people_and_the_log_of_what_happened(access):
    access.ok("user", "add", "bob@example.com", "--name", "Bob")
    again = access("user", "add", "bob@example.com")
    assert again.returncode == 1
    access.ok("user", "password", "bob@example.com", input="correct horse battery\n")
    assert access("user", "password", "nobody@example.com", input="correct horse battery\n").returncode == 1
    [bob] = json.loads(access.ok("user", "list", "--json"))
    assert (bob["email"], bob["has_password"]) == ("bob@example.com", True)
    access.ok("user", "revoke", "bob@example.com")
    access.ok("user", "remove", "bob@example.com")
    assert json.loads(access.ok("user", "list", "--json")) == []

    assert access.apply(access.document).returncode == 0
    assert access("remove", "policy", "Staff").returncode == 1, "an application needs it"
    access.ok("remove", "app", "Photos")
    log = json.loads(access.audit("--limit", "3", "--json"))
    assert [e["action"] for e in log][-1] == "application.delete"
    assert len(log) == 3
    assert "The next key is published. It signs from 2" in access.ok("rotate-keys")
    assert json.loads(access.ok("rotate-keys", "--json"))["signs_at"], "it is not put off"
    assert "signed with a new key; those of the old one stay good" in access.ok("rotate-keys", "--now")
    assert "all that was signed before is void" in access.ok("rotate-keys", "--withdraw")
    log = json.loads(access.audit("--limit", "4", "--json"))
    assert [e["action"] for e in log] == ["keys.rotate"] * 4 and log[-1]["detail"] == {"withdraw": True}


def test_the_api_needs_a_token_of_its_own(own, edge, access):
    cli = own.cli(edge)
    cli.create("home")
    token = access.ok("api-token", "add", "terraform").strip()
    assert access("api-token", "add", "terraform").returncode == 1
    login = json.loads(base64.b64decode("".join(cli.cert.read_text().split("\n")[1:-2])))
    account = login["accountID"]

    def ask(method, path, body=None, bearer=token, section="access/"):
        done = run(["curl", "-s", "--cacert", edge.ca, "-X", method, "-H", f"Authorization: Bearer {bearer}",
                    *(["--json", json.dumps(body)] if body is not None else []),
                    f"{edge.api_url}/accounts/{account}/{section}{path}"])  # fmt: skip
        return json.loads(done.stdout)

    group = ask("POST", "groups", {"name": "g", "include": [{"email": {"email": "a@example.com"}}]})
    assert group["success"], group
    policy = ask("POST", "policies", {"name": "p", "decision": "allow", "include": [{"group": {"id": group["result"]["id"]}}]})
    app = ask("POST", "apps", {"name": "a", "domain": APP, "type": "self_hosted", "policies": [policy["result"]["id"]]})
    assert len(app["result"]["aud"]) == 64
    assert [a["name"] for a in ask("GET", "apps")["result"]] == ["a"]
    one = ask("GET", f"apps/{app['result']['id']}")["result"]
    assert ask("PUT", f"apps/{one['id']}", {**one, "name": "b"})["result"]["aud"] == one["aud"]
    assert not ask("DELETE", f"policies/{policy['result']['id']}")["success"], "the application needs it"
    assert ask("POST", f"apps/{one['id']}/revoke_tokens", {})["success"]
    assert ask("GET", "organizations")["errors"]
    assert ask("PUT", "organizations", {"name": "Home", "auth_domain": "home.example"})["result"]["name"] == "Home"
    assert ask("GET", "organizations")["result"]["name"] == "Home"
    made = ask("POST", "service_tokens", {"name": "t"})["result"]
    assert len(made["client_secret"]) == 64
    again = ask("POST", f"service_tokens/{made['id']}/rotate", {})["result"]
    assert again["client_secret"] != made["client_secret"] and again["client_id"] == made["client_id"]
    assert ask("DELETE", f"apps/{one['id']}")["success"]
    log = ask("GET", "logs/access_requests?limit=20")["result"]
    assert {e["actor"] for e in log} == {"token terraform"}

    # A tunnel's token opens nothing here, and this one nothing there.
    tunnels = login["apiToken"]
    assert ask("GET", "cfd_tunnel", bearer=tunnels, section="")["success"]
    for bearer in (tunnels, "nonsense"):
        for method, path in (("GET", "apps"), ("GET", "users"), ("POST", "groups"), ("PUT", "organizations")):
            refused = ask(method, path, {} if method != "GET" else None, bearer=bearer)
            assert refused["errors"][0]["code"] == 10000, (method, path)
    assert ask("GET", "cfd_tunnel", section="")["errors"][0]["code"] == 10000
    access.ok("api-token", "remove", "terraform")
    assert ask("GET", "apps")["errors"][0]["code"] == 10000
