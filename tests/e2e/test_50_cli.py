"""The command line of adit, and the same table for cloudflared against our API: it is the oracle for texts,
files, formats and exit codes."""

import base64
import json
import os
import re
import stat

import pytest
import yaml

from testenv.connector import Cli, write_config
from testenv.program import ADIT, ADIT_EDGE, clean_env, run
from testenv.wait import wait_until

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


@pytest.fixture
def cli(own, kind):
    return own.cli(own.edge(), kind)


@pytest.fixture
def bare(kind, stage, tmp_path):
    """A command line without a certificate."""
    c = Cli(kind, stage.edge, tmp_path)
    c.dot.mkdir(parents=True)
    return c


def failed(done, code, *texts):
    """The exit status, and what stderr ends with: log lines may come before."""
    assert done.returncode == code, done
    for text in texts:
        assert text in done.stderr, (text, done.stderr)


# --- create --------------------------------------------------------------------------------------------


def test_create(cli):
    done = cli.run("tunnel", "create", "my-tunnel")
    assert done.returncode == 0
    match = re.fullmatch(
        rf"Tunnel credentials written to (\S+)\. {cli.word} chose this file based on where your origin certificate "
        rf"was found\. Keep this file secret\. To revoke these credentials, delete the tunnel\.\n\n"
        rf"Created tunnel my-tunnel with id ({UUID})\n",
        done.stdout,
    )
    assert match, done.stdout
    path, uuid = match[1], match[2]
    assert path == str(cli.dot / f"{uuid}.json")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o400
    with open(path) as f:
        said = json.load(f)
    assert said["TunnelID"] == uuid and len(base64.b64decode(said["TunnelSecret"])) == 32 and said["AccountTag"]


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_create_in_other_forms(cli, form):
    done = cli.run("tunnel", "create", "-o", form, "formed")
    assert done.returncode == 0
    said = (json.loads if form == "json" else yaml.safe_load)(done.stdout)
    tunnel = said if form == "json" else said["tunnel"]
    assert tunnel["name"] == "formed" and re.fullmatch(UUID, tunnel["id"]) and tunnel["connections"] == []
    token = json.loads(base64.b64decode(said["token"]))
    assert token["t"] == tunnel["id"] and len(base64.b64decode(token["s"])) == 32
    assert (cli.dot / f"{tunnel['id']}.json").exists()
    assert set(said) == ({"id", "name", "created_at", "deleted_at", "connections", "token"} if form == "json"
                         else {"tunnel", "token"})  # fmt: skip
    if form == "yaml":
        assert set(tunnel) == {"id", "name", "createdat", "deletedat", "connections"}


def test_create_with_secret_and_file(cli, tmp_path):
    secret = base64.b64encode(b"s" * 40).decode()
    path = tmp_path / "mine.json"
    done = cli.run("tunnel", "create", "--secret", secret, "--credentials-file", path, "chosen")
    assert done.returncode == 0 and f"Tunnel credentials written to {path}. Keep this file secret." in done.stdout
    assert json.loads(path.read_text())["TunnelSecret"] == secret
    # The file is there: nothing is overwritten, and the tunnel goes again.
    again = cli.run("tunnel", "create", "--credentials-file", path, "another")
    assert again.returncode == 1 and str(path) in again.stderr
    assert "another" not in cli.check("tunnel", "list")


def test_create_refusals(cli):
    cli.create("taken")
    failed(cli.run("tunnel", "create", "taken"), 1,
           "failed to create tunnel: Create Tunnel API call failed: tunnel with name already exists")  # fmt: skip
    failed(cli.run("tunnel", "create", "f4b2f4a0-7c10-4f8e-9d8c-111111111111"), 1, "you cannot use UUIDs as tunnel names")
    failed(cli.run("tunnel", "create", "--secret", "c2hvcnQ=", "x"), 1, "Decoded tunnel secret must be at least 32 bytes long")
    assert "taken" in cli.check("tunnel", "list")


# --- list, info ----------------------------------------------------------------------------------------


def test_list(cli):
    empty = cli.run("tunnel", "list")
    assert empty.returncode == 0
    assert empty.stdout == (f"No tunnels were found for the given filter flags. You can use '{cli.word} tunnel create' "
                            "to create a tunnel.\n")  # fmt: skip
    ids = {name: cli.create(name).id for name in ("zeta", "alpha-1", "alpha-2")}
    table = cli.check("tunnel", "list", "--sort-by", "name")
    lines = table.splitlines()
    assert lines[0] == f"You can obtain more detailed information for each tunnel with `{cli.word} tunnel info <name/uuid>`"
    assert re.fullmatch(r"ID +NAME +CREATED +CONNECTIONS ", lines[1])
    assert [re.fullmatch(rf"({UUID}) (\S+) +{TIME} +", line).groups() for line in lines[2:]] == [
        (ids[n], n) for n in ("alpha-1", "alpha-2", "zeta")
    ]
    assert [len(line) for line in lines[1:]] == [len(lines[1])] * 4  # columns line up
    said = json.loads(cli.check("tunnel", "list", "-o", "json", "--sort-by", "name", "--invert-sort"))
    assert [t["name"] for t in said] == ["zeta", "alpha-2", "alpha-1"]
    assert set(said[0]) == {"id", "name", "created_at", "deleted_at", "connections"}
    assert said[0]["deleted_at"] == "0001-01-01T00:00:00Z" and said[0]["connections"] == []
    said = yaml.safe_load(cli.check("tunnel", "list", "-o", "yaml"))
    assert set(said[0]) == {"id", "name", "createdat", "deletedat", "connections"}


def test_list_filters(cli):
    for name in ("web-1", "web-2", "db"):
        cli.create(name)
    gone = cli.create("gone")
    cli.check("tunnel", "delete", "gone")

    def names(*args):
        return {t["name"] for t in json.loads(cli.check("tunnel", "list", "-o", "json", *args)) or []}

    assert names() == {"web-1", "web-2", "db"}
    assert names("--name", "db") == {"db"}
    assert names("--name-prefix", "web") == {"web-1", "web-2"}
    assert names("--exclude-name-prefix", "web") == {"db"}
    assert names("--show-deleted") == {"web-1", "web-2", "db", "gone"}
    assert names("--show-deleted", "--id", gone.id) == {"gone"}
    assert cli.check("tunnel", "list", "-o", "json", "--name", "nobody").strip() in ("[]", "null")
    failed(cli.run("tunnel", "list", "-o", "xml"), 1, "Unknown output format 'xml'")


def test_info_and_connections(cli, own, tmp_path):
    tunnel = cli.create("informed")
    done = cli.run("tunnel", "info", "informed")
    assert done.returncode == 0
    assert f"Your tunnel {tunnel.id} does not have any active connection." in done.stdout + done.stderr
    own.connect(cli, tunnel, write_config(tmp_path / "c.yml", tunnel, []))
    lines = cli.check("tunnel", "info", tunnel.id).splitlines()
    assert lines[0] == "NAME:     informed" and lines[1] == f"ID:       {tunnel.id}"
    assert re.fullmatch(r"CREATED:  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? \+0000 UTC", lines[2])
    assert lines[3] == ""
    assert re.fullmatch(r"CONNECTOR ID +CREATED +ARCHITECTURE +VERSION +ORIGIN IP +EDGE +", lines[4])
    assert re.fullmatch(rf"{UUID} {TIME} +\S+ +\S+ +127\.0\.0\.1 +4xtest +", lines[5])
    said = json.loads(cli.check("tunnel", "info", "-o", "json", "informed"))
    assert set(said) == {"id", "name", "createdAt", "conns"} and said["id"] == tunnel.id
    [connector] = said["conns"]
    assert set(connector) - {"adit"} == {"id", "features", "version", "arch", "run_at", "conns"}
    assert len(connector["conns"]) == 4 and len({c["id"] for c in connector["conns"]}) == 4
    assert set(connector["conns"][0]) == {"colo_name", "id", "is_pending_reconnect", "origin_ip", "opened_at"}
    said = yaml.safe_load(cli.check("tunnel", "info", "-o", "yaml", "informed"))
    assert set(said) == {"id", "name", "createdat", "connectors"}
    assert "4xtest" in cli.check("tunnel", "list")
    failed(cli.run("tunnel", "info", "nobody"), 1, "nobody is neither the ID nor the name of any of your tunnels")


# --- route dns -----------------------------------------------------------------------------------------


def test_route_dns(cli):
    one, two = cli.create("one"), cli.create("two")

    def said(done):
        assert done.returncode == 0 and done.stdout == "", done
        return re.search(rf"^{TIME} INF (.*?) *$", done.stderr, re.MULTILINE)[1]

    first = cli.run("tunnel", "route", "dns", "one", "app.example.com")
    assert said(first) == f"Added CNAME app.example.com which will route to this tunnel tunnelID={one.id}"
    again = cli.run("tunnel", "route", "dns", one.id, "app.example.com")
    assert said(again) == f"app.example.com is already configured to route to your tunnel tunnelID={one.id}"
    taken = cli.run("tunnel", "route", "dns", "two", "app.example.com")
    failed(taken, 1, "Failed to add route: code: 1003, reason: ")
    moved = cli.run("tunnel", "route", "dns", "--overwrite-dns", "two", "app.example.com")
    assert said(moved) == f"app.example.com updated to route to your tunnel tunnelID={two.id}"
    assert "*.example.com" in said(cli.run("tunnel", "route", "dns", "one", "*.example.com"))
    failed(cli.run("tunnel", "route", "dns", "one", "not_a host"), 1, "is not a valid hostname")
    failed(cli.run("tunnel", "route", "dns", "nobody", "x.example.com"), 1,
           "nobody is neither the ID nor the name of any of your tunnels")  # fmt: skip
    outside = cli.run("tunnel", "route", "dns", "one", "app.elsewhere.test")
    failed(outside, 1, "Failed to add route: ")


# --- token, cleanup, delete ----------------------------------------------------------------------------


def test_token(cli, tmp_path):
    tunnel = cli.create("tokened")
    token = json.loads(base64.b64decode(cli.check("tunnel", "token", "tokened").strip()))
    credentials = json.loads(tunnel.credentials.read_text())
    assert (token["t"], token["s"], token["a"]) == (tunnel.id, credentials["TunnelSecret"], credentials["AccountTag"])
    path = tmp_path / "written.json"
    done = cli.run("tunnel", "token", "--credentials-file", path, tunnel.id)
    assert done.returncode == 0 and done.stdout == ""
    written = json.loads(path.read_text())
    assert written["TunnelID"] == tunnel.id and stat.S_IMODE(path.stat().st_mode) == 0o400
    failed(cli.run("tunnel", "token", "--credentials-file", path, tunnel.id), 1, f"{path} already exists")
    failed(cli.run("tunnel", "token", "nobody"), 1, "nobody is neither the ID nor the name of any of your tunnels")


def test_cleanup(cli, own, tmp_path):
    tunnel = cli.create("cleaned")
    connector = own.connect(cli, tunnel, write_config(tmp_path / "c.yml", tunnel, []))
    mark = connector.mark()
    done = cli.run("tunnel", "cleanup", "cleaned")
    assert done.returncode == 0
    assert re.search(rf"INF Cleanup connection for tunnel {tunnel.id}", done.stderr)
    # The connector, which is alive, comes back.
    connector.wait_log(r"Registered tunnel connection", count=1 if cli.kind == "stock" else 4, since=mark)
    failed(cli.run("tunnel", "cleanup", "--connector-id", "zzz", "cleaned"), 1, "zzz is not a valid client ID (must be a UUID)")


def test_delete(cli):
    tunnel, other = cli.create("doomed"), cli.create("kept")
    done = cli.run("tunnel", "delete", "doomed")
    assert (done.returncode, done.stdout) == (0, "")
    assert not tunnel.credentials.exists() and other.credentials.exists()
    assert "doomed" not in cli.check("tunnel", "list") and "kept" in cli.check("tunnel", "list")
    failed(cli.run("tunnel", "delete", "doomed"), 1, "there should only be 1 non-deleted Tunnel named doomed")
    failed(cli.run("tunnel", "delete", tunnel.id), 1, f"Tunnel {tunnel.id} has already been deleted")
    assert cli.create("doomed").id != tunnel.id  # the name is free again
    assert cli.run("tunnel", "delete", "doomed", "kept").returncode == 0


def test_delete_of_a_connected_tunnel(cli, own, tmp_path):
    tunnel = cli.create("busy")
    connector = cli.connect(tunnel, write_config(tmp_path / "c.yml", tunnel, []))
    failed(cli.run("tunnel", "delete", "busy"), 1, f"Error deleting tunnel {tunnel.id}: ")
    assert cli.run("tunnel", "delete", "-f", "busy").returncode == 0
    cli.edge.wait_connections(0)
    if cli.kind == "adit":  # cloudflared takes ten seconds to try again
        connector.wait_log(r"Unauthorized")
    cli.edge.wait_idle()
    connector.stop()


# --- what needs no edge --------------------------------------------------------------------------------

USAGE = {
    "create": '"{} tunnel create" requires exactly 1 argument, the name of tunnel to create.',
    "info": '"{} tunnel info" accepts exactly one argument, the ID or name of the tunnel to get info about.',
    "delete": '"{} tunnel delete" requires at least 1 argument, the ID or name of the tunnel to delete.',
    "cleanup": '"{} tunnel cleanup" requires at least 1 argument, the IDs of the tunnels to cleanup connections.',
    "token": '"{} tunnel token" requires exactly 1 argument, the name or UUID of tunnel to fetch the credentials token for.',
    "route dns": 'This command expects the format "{} tunnel route dns <tunnel name/id> <hostname>"',
    "run a b": '"{} tunnel run" accepts only one argument, the ID or name of the tunnel to run.',
    "run": '"{} tunnel run" requires the ID or name of the tunnel to run as the last command line argument or in the '
    "configuration file.",
    "run --token zzz": "Provided Tunnel token is not valid.",
    "run --token-file /nonexistent": "Failed to read token file: ",
}


@pytest.mark.parametrize("command", USAGE)
def test_usage_errors(bare, command):
    done = bare.run("tunnel", *command.split())
    failed(done, 255, USAGE[command].format(bare.word), f"See '{bare.word} ", " --help'.")
    assert done.stdout == ""


def test_without_a_certificate(bare):
    done = bare.run("tunnel", "create", "x")
    failed(done, 1, "failed to create tunnel: couldn't create client to talk to Cloudflare Tunnel backend: "
                    "Error locating origin cert: client didn't specify origincert path")  # fmt: skip
    assert re.match(rf"{TIME} ERR ", done.stderr)
    (bare.dot / "cert.pem").write_text("-----BEGIN NONSENSE-----\nYQ==\n-----END NONSENSE-----\n")
    failed(bare.run("tunnel", "list"), 1, "unknown block NONSENSE in the certificate")


def test_a_certificate_that_is_not_accepted(bare, stage):
    pem = stage.edge.cert()
    said = json.loads(base64.b64decode("".join(pem.splitlines()[1:-1])))
    said["apiToken"] = "x" * len(said["apiToken"])
    text = base64.b64encode(json.dumps(said).encode()).decode()
    bare.cert.write_text(f"-----BEGIN ARGO TUNNEL TOKEN-----\n{text}\n-----END ARGO TUNNEL TOKEN-----\n")
    failed(bare.run("tunnel", "create", "x"), 1, "failed to create tunnel: Create Tunnel API call failed: ")
    # cloudflared closes the body of a list before it reads the error in it; adit says why.
    why = "unauthorized" if bare.kind == "stock" else "Authentication error"
    failed(bare.run("tunnel", "list"), 1, "Error Parsing page 1: REST request failed: ", why)


def test_credentials_that_do_not_fit(bare, tmp_path):
    some = "f4b2f4a0-7c10-4f8e-9d8c-111111111111"
    failed(bare.run("tunnel", "run", some), 1, "tunnel credentials file not found")
    failed(bare.run("tunnel", "run", "--credentials-file", "/nonexistent", some), 1,
           "Tunnel credentials file '/nonexistent' doesn't exist or is not a file")  # fmt: skip
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    failed(bare.run("tunnel", "run", "--credentials-file", broken, some), 1,
           "Invalid JSON when parsing tunnel credentials file")  # fmt: skip


def validate(bare, tmp_path, text, *command):
    path = tmp_path / "config.yml"
    path.write_text(text)
    return bare.run("--config", path, "tunnel", "ingress", *(command or ("validate",))), path


GOOD = """
ingress:
  - hostname: app.example.com
    path: ^/api/v[0-9]+
    service: http://localhost:8000
  - hostname: "*.example.com"
    service: unix:/tmp/x.sock
  - service: http_status:404
"""


def test_ingress_validate(bare, tmp_path):
    done, path = validate(bare, tmp_path, GOOD)
    assert (done.returncode, done.stdout) == (0, f"Validating rules from {path}\nOK\n"), done


BAD = {
    "ingress: []": "The config file doesn't contain any ingress rules",
    "ingress: [{hostname: a.b, service: 'http://x'}]":
        "Validation failed: The last ingress rule must match all URLs (i.e. it should not have a hostname or path filter)",
    "ingress: [{service: 'http://x'}, {service: 'http://y'}]":
        "Validation failed: Rule #1 is matching the hostname '', but this will match every hostname, meaning the rules "
        "which follow it will never be triggered.",
    "ingress: [{hostname: 'a.*.b', service: 'http://x'}, {service: 'http://y'}]":
        'Validation failed: Hostname patterns can have at most one wildcard character ("*") and it can only be used for '
        'subdomains, e.g. "*.example.com"',
    "ingress: [{hostname: 'a.b:80', service: 'http://x'}, {service: 'http://y'}]":
        "Validation failed: Hostname cannot contain a port",
    "ingress: [{path: '(', service: 'http://x'}, {service: 'http://y'}]":
        "Validation failed: Rule #1 has an invalid regex: error parsing regexp: ",
    "ingress: [{service: 'localhost:8000'}]":
        "is an invalid address, please make sure it has a scheme and a hostname",
    "ingress: [{service: ''}]": "is an invalid address, please make sure it has a scheme and a hostname",
    "ingress: [{service: 'http://x/path'}]":
        "is an invalid address, ingress rules don't support proxying to a different path on the origin service. The path "
        "will be the same as the eyeball request's path",
    "ingress: [{service: 'http_status:1000'}]": "invalid HTTP status code: 1000",
}  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_ingress_validate_refuses(bare, tmp_path, text):
    done, _ = validate(bare, tmp_path, text)
    failed(done, 1, BAD[text])
    assert "OK" not in done.stdout


UNKNOWN = """tunel: x
no-tls-verify: false
noTLSVerify: true
originRequest:
  conectTimeout: 5s
ingress:
  - hostname: a.example.com
    service: https://localhost
    originRequest:
      access: {teamname: t}
      ipRules: [{prefix: "::/0", ports: [1], permit: true}]
    htpHostHeader: x
  - service: http_status:404
    bogus: 1
warp-routing: {enabled: true, conectTimeout: 1s}
"""


def test_ingress_validate_refuses_unknown_keys(bare, tmp_path):
    """The stock client prints a warning and exit status 0; a setting that is not in force deserves better."""
    done, path = validate(bare, tmp_path, UNKNOWN)
    if bare.kind == "stock":
        assert done.returncode == 0 and "Warning: unused keys detected in your config file." in done.stdout
        return
    assert done.returncode == 1 and "OK" not in done.stdout
    assert done.stderr == f"""Validation failed: unknown keys in the configuration:
  {path}:1:1: unknown key tunel in the configuration; did you mean tunnel?
  {path}:3:1: unknown key noTLSVerify in the configuration; it belongs under originRequest
  {path}:15:31: unknown key conectTimeout in warp-routing; did you mean connectTimeout?
  {path}:5:3: unknown key conectTimeout in originRequest; did you mean connectTimeout?
  {path}:12:5: unknown key htpHostHeader in an ingress rule
  {path}:10:16: unknown key teamname in access; did you mean teamName?
  {path}:11:46: unknown key permit in an IP rule
  {path}:14:5: unknown key bogus in an ingress rule
"""


TWO_ISSUERS = """ingress:
  - service: http_status:404
    originRequest:
      access: {required: true, teamName: acme, issuer: "https://adit.example.com", audTag: [a]}
"""


def test_ingress_validate_refuses_two_issuers_for_one_lock(bare, tmp_path):
    done, path = validate(bare, tmp_path, TWO_ISSUERS)
    if bare.kind == "stock":
        return
    assert done.returncode == 1 and "OK" not in done.stdout
    assert f'{path}:4:56: access.issuer is "https://adit.example.com", but access.teamName "acme"' in done.stderr
    good, _ = validate(bare, tmp_path, TWO_ISSUERS.replace("teamName: acme, ", ""))
    assert (good.returncode, "OK" in good.stdout) == (0, True), good
    done, _ = validate(bare, tmp_path, TWO_ISSUERS.replace("teamName: acme, ", "").replace("https://", "http://"))
    assert done.returncode == 1 and f"{path}:4:40: access.issuer is" in done.stderr


def test_ingress_validate_json_with_an_issuer(bare):
    lock = {"required": True, "issuer": "https://adit.example.com", "audTag": ["a"]}
    for more, code in (({}, 0), ({"teamName": "acme"}, 1)):
        rules = [{"service": "http_status:404", "originRequest": {"access": {**lock, **more}}}]
        done = bare.run("tunnel", "ingress", "validate", "--json", json.dumps({"ingress": rules}))
        if bare.kind == "adit":
            assert (done.returncode, "access.issuer" in done.stderr) == (code, bool(more)), done


def test_ingress_validate_json(bare):
    done = bare.run("tunnel", "ingress", "validate", "--json", '{"ingress":[{"service":"http_status:404"}]}')
    assert (done.returncode, done.stdout) == (0, "Validating rules from cmdline flag --json\nOK\n"), done


RULES = {
    "https://app.example.com/api/v1/x": (0, "\thostname: app.example.com\n\tpath: ^/api/v[0-9]+\n\tservice: http://localhost:8000\n"),
    "https://app.example.com/": (1, "\thostname: *.example.com\n\tservice: unix:/tmp/x.sock\n"),
    "https://deep.er.example.com/": (1, "\thostname: *.example.com\n\tservice: unix:/tmp/x.sock\n"),
    "https://example.com/": (2, "\tservice: http_status:404\n"),
}


@pytest.mark.parametrize("url", RULES)
def test_ingress_rule(bare, tmp_path, url):
    done, path = validate(bare, tmp_path, GOOD, "rule", url)
    number, text = RULES[url]
    assert done.returncode == 0
    assert done.stdout == f"Using rules from {path}\nMatched rule #{number}\n{text}", done.stdout


def test_ingress_rule_refusals(bare, tmp_path):
    failed(validate(bare, tmp_path, GOOD, "rule")[0], 1, "tunnel rule expects a single argument, the URL to test")
    failed(validate(bare, tmp_path, GOOD, "rule", "app.example.com")[0], 1,
           "app.example.com doesn't have a hostname, consider adding a scheme")  # fmt: skip


def test_broken_yaml_names_the_file(bare, tmp_path):
    done, path = validate(bare, tmp_path, "ingress: [\n")
    failed(done, 1, f"error parsing YAML in config file at {path}: ")


def test_version(bare):
    assert re.fullmatch(rf"{bare.word} version \d+\.\d+\.\d+ \(built .+\)\n", bare.check("version"))
    assert bare.check("--version") == bare.check("version")
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", bare.check("version", "--short"))


@pytest.mark.parametrize("command", ["", "tunnel", "tunnel create", "tunnel route dns", "tunnel run", "tunnel ingress rule", "version"])
def test_help(bare, command):
    done = bare.run(*command.split(), "--help")
    assert done.returncode == 0 and "USAGE:" in done.stdout and bare.word in done.stdout
    if bare.kind == "adit":
        assert not re.search(r"(?<![/.])cloudflared", done.stdout)  # but for the directories


def test_adit_takes_cloudflareds_files(own, tmp_path):
    """With nothing of its own, adit reads ~/.cloudflared."""
    cli = own.cli(own.edge())
    cli.create("one")
    (cli.home / ".adit").rename(cli.home / ".cloudflared")
    assert "one" in cli.check("tunnel", "list")


def test_adit_called_cloudflared(own, tmp_path):
    """Called by that name it speaks of itself by that name."""
    cli = own.cli(own.edge())
    link = tmp_path / "cloudflared"
    link.symlink_to(ADIT)
    done = run([link, "tunnel", "create"], env=cli.env(), cwd=cli.home)
    assert '"cloudflared tunnel create" requires exactly 1 argument' in done.stderr


@pytest.mark.parametrize("how", ["name", "token", "token file", "token env", "credentials", "contents", "config"])
def test_ways_to_run(cli, own, tmp_path, how):
    tunnel = cli.create("by-any-name")
    config = write_config(tmp_path / "c.yml", tunnel, [])
    plain = tmp_path / "plain.yml"
    plain.write_text("ingress: [{service: 'http_status:404'}]\n")
    token = cli.check("tunnel", "token", "by-any-name").strip()
    (tmp_path / "token").write_text(token + "\n")
    moved = tmp_path / "elsewhere.json"

    def connect(**kwargs):
        own.connect(cli, tunnel, kwargs.pop("config", plain), wait=1, **kwargs)

    if how == "name":
        connect(by=tunnel.name)
    elif how == "token":
        connect(by="nothing", args=["--token", token])
    elif how == "token file":
        connect(by="nothing", args=["--token-file", tmp_path / "token"])
    elif how == "token env":
        connect(by="nothing", env={"TUNNEL_TOKEN": token})
    elif how == "credentials":
        tunnel.credentials.rename(moved)
        connect(args=["--credentials-file", moved])
    elif how == "contents":
        connect(env={"TUNNEL_CRED_CONTENTS": tunnel.credentials.read_text()})
    else:
        connect(config=config, by="nothing")
    wait_until(lambda: cli.edge.gauge("adit_edge_tunnel_connections") >= 1, "a registered connection")


def test_ready_and_pidfile(own, tmp_path):
    """`tunnel ready` asks the connector's own port; the pidfile comes with the first registration."""
    from testenv import net

    edge = own.edge()
    cli = own.cli(edge)
    tunnel = cli.create("watched")
    port = net.free_port()
    pidfile = tmp_path / "pid"
    config = write_config(tmp_path / "c.yml", tunnel, [])
    connector = own.connect(cli, tunnel, config, args=["--pidfile", pidfile, "--metrics", f"127.0.0.1:{port}"])
    wait_until(lambda: pidfile.exists() and pidfile.read_text().strip(), "pidfile")
    assert int(pidfile.read_text()) == connector.pid
    done = cli.run("tunnel", "--metrics", f"127.0.0.1:{port}", "ready")
    assert (done.returncode, done.stdout) == (0, ""), done
    connector.stop()
    assert cli.run("tunnel", "--metrics", f"127.0.0.1:{port}", "ready").returncode == 1


def test_secrets_are_in_no_log(cli, own, tmp_path):
    tunnel = cli.create("discreet")
    secret = json.loads(tunnel.credentials.read_text())["TunnelSecret"]
    token = cli.check("tunnel", "token", "discreet").strip()
    plain = tmp_path / "plain.yml"
    plain.write_text("ingress: [{service: 'http_status:404'}]\n")
    connector = own.connect(cli, tunnel, plain, by="nothing", env={"TUNNEL_TOKEN": token})
    for text in (connector.text(), cli.edge.program.text()):
        assert secret not in text and token not in text


# --- adit-edge -----------------------------------------------------------------------------------------


def test_edge_init_is_idempotent(own, tmp_path):
    edge = own.edge(start=False)
    assert "login/link?token=" in edge.init_output and str(edge.ca) in edge.init_output
    before = edge.ca.read_text()
    again = edge.command("init", "--zone", "example.com")
    assert again.returncode == 0 and edge.ca.read_text() == before
    for name in edge.data.iterdir():
        if name.suffix not in (".pem", ".yml"):
            assert stat.S_IMODE(name.stat().st_mode) & 0o077 == 0, name
    missing = run([ADIT_EDGE, "run", "--data", tmp_path / "nothing"])
    assert missing.returncode == 1 and "adit-edge init" in missing.stderr


@pytest.mark.parametrize("running", [False, True])
def test_edge_zones(own, running):
    edge = own.edge(start=running)
    assert edge.command("zone", "add", "other.test").returncode == 0
    assert {z["name"] for z in json.loads(edge.command("zone", "list", "--json").stdout)} == {"example.com", "other.test"}
    assert edge.command("zone", "add", "other.test").returncode == 1
    assert edge.command("zone", "remove", "other.test").returncode == 0
    assert "other.test" not in edge.command("zone", "list").stdout
    bad = edge.command("zone", "add", "no spaces.test")
    assert bad.returncode == 1 and bad.stderr


def test_edge_zone_with_routes_stays(own):
    edge = own.edge()
    cli = own.cli(edge)
    cli.route(cli.create("one"), "app.example.com")
    assert edge.command("zone", "remove", "example.com").returncode == 1


def test_edge_status_and_check(own, tmp_path):
    edge = own.edge()
    status = json.loads(edge.command("status", "--json").stdout)
    assert status["running"] is True
    assert "is running" in edge.command("status").stdout
    check = edge.command("check")
    assert check.returncode == 0 and check.stdout.endswith("OK\n"), check
    settings = edge.data / "edge.yml"
    good = settings.read_text()
    settings.write_text(good + "worker: 2\n")
    broken = edge.command("check")
    assert broken.returncode == 1 and re.search(r"edge\.yml:\d+:\d+", broken.stderr) and "workers" in broken.stderr
    settings.write_text(good)
    edge.stop()
    assert "not running" in edge.command("status").stdout


def test_edge_backup_and_restore(own, tmp_path):
    edge = own.edge()
    cli = own.cli(edge)
    tunnel = cli.create("saved")
    backup = tmp_path / "backup"
    assert edge.command("backup", backup).returncode == 0
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    edge.stop()
    settings = (edge.data / "edge.yml").read_text()
    edge.data.rename(tmp_path / "lost")
    restored = edge.command("restore", backup)
    assert restored.returncode == 0, restored
    (edge.data / "edge.yml").write_text(settings)
    edge.start()
    assert "saved" in cli.check("tunnel", "list")
    own.connect(cli, tunnel, write_config(tmp_path / "c.yml", tunnel, []))


def test_edge_users(own):
    edge = own.edge()
    assert edge.command("user", "add", "second@example.com").returncode == 0
    password = edge.command("user", "password", "second@example.com", input="correct horse battery\n")
    assert password.returncode == 0 and "battery" not in password.stdout
    short = edge.command("user", "password", "second@example.com", input="short\n")
    assert short.returncode == 1
    users = json.loads(edge.command("user", "list", "--json").stdout)
    assert {u["email"]: u["has_password"] for u in users} == {"admin@example.com": False, "second@example.com": True}
    assert "correct horse" not in edge.program.text()


def test_edge_usage(tmp_path):
    assert run([ADIT_EDGE, "nosuch"]).returncode == 2
    assert run([ADIT_EDGE, "run", "--nosuch"]).returncode == 2
    assert run([ADIT_EDGE, "--help"]).returncode == 0
    assert re.fullmatch(r"adit-edge version \S+ \(built .+\)\n", run([ADIT_EDGE, "version"]).stdout)
    env = clean_env(ADIT_EDGE_DATA=tmp_path / "from-env")
    assert run([ADIT_EDGE, "init", "--zone", "env.test"], env=env).returncode == 0
    assert (tmp_path / "from-env" / "ca.pem").exists()
