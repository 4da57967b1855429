"""The NixOS modules and the Nix package: evaluated by Nix itself, and what comes out is run.

What needs nixpkgs' library (options, assertions) asks for it in NIXPKGS_LIB, a folder whose default.nix is nixpkgs'
lib/default.nix; no Debian package has it. The rest needs Debian's nix-bin alone.
"""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess

import pytest

from testenv.connector import Connector
from testenv.edge import ZONE
from testenv.origin import Origin
from testenv.program import ADIT, ADIT_EDGE, run
from testenv.visitor import Visitor

NIXOS = pathlib.Path(__file__).parents[2] / "packaging/nixos"
LIB = os.environ.get("NIXPKGS_LIB")
APP = f"app.{ZONE}"
OTHER = f"other.{ZONE}"

pytestmark = pytest.mark.skipif(not shutil.which("nix-instantiate"), reason="nix-instantiate is not installed")
needs_lib = pytest.mark.skipif(not LIB, reason="NIXPKGS_LIB is not set: options of the modules are not evaluated")


def nix(expression, fails=False):
    done = run(["nix-instantiate", "--eval", "--strict", "--json", "--store", "dummy://", "-E", expression])
    if fails:
        assert done.returncode != 0
        return done.stderr
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def literal(value):
    """A Python value as Nix writes it, by way of JSON."""
    return "(builtins.fromJSON ''" + json.dumps(value).replace("''", "'''").replace("${", "''${") + "'')"


def host(configuration, folder="/"):
    """A machine with both modules. What they set is collected, not interpreted; derivations are paths."""
    return f"""
    let
      lib = import {LIB};
      pkgs = {{
        writeText = name: _: "{folder}/${{name}}";
        coreutils = "/usr";
        callPackage = _: _: {{ type = "derivation"; name = "adit"; outPath = "/package"; }};
      }};
      collect = lib.mkOption {{ type = lib.types.attrsOf lib.types.anything; default = {{ }}; }};
      gather = lib.mkOption {{ type = lib.types.listOf lib.types.anything; default = [ ]; }};
      stubs.options = {{
        systemd.services = collect; systemd.targets = collect; boot.kernel.sysctl = collect;
        networking.firewall.allowedTCPPorts = gather; networking.firewall.allowedUDPPorts = gather;
        environment.systemPackages = gather; warnings = gather; assertions = gather;
      }};
      found = lib.evalModules {{
        specialArgs = {{ inherit pkgs; }};
        modules = [ {NIXOS}/default.nix stubs {configuration} ];
      }};
      c = found.config;
    in {{
      inherit (c) warnings boot;
      services = c.systemd.services;
      targets = c.systemd.targets;
      firewall = c.networking.firewall;
      failed = map (a: a.message) (builtins.filter (a: !a.assertion) c.assertions);
      files = lib.mapAttrs (_: t: t.configuration) c.services.adit.tunnels;
      edge = c.services.adit-edge.settings;
    }}"""


def test_all_files_are_nix():
    files = sorted(NIXOS.glob("*.nix"))
    assert len(files) >= 6
    for f in [*files, NIXOS.parents[1] / "flake.nix"]:
        done = run(["nix-instantiate", "--parse", f])
        assert done.returncode == 0, done.stderr


PRESETS = {"credentialsFile": None, "protocol": "auto", "originRequest": {}, "edgeIPVersion": "auto", "edge": [],
           "warp-routing": {"enabled": None}, "default": "http_status:404", "ingress": {}, "settings": {}}  # fmt: skip


def written(name="t", **tunnel):
    of = {"name": name, "unit": "adit-tunnel-" + name, "tunnel": {**PRESETS, **tunnel}}
    return nix(f"(import {NIXOS}/rules.nix).settings {literal(of)}")


def test_hosts_come_before_wildcards_and_long_wildcards_before_short_ones():
    rules = written(ingress={"*.a.b": "http://x:1", "*.sub.a.b": "http://x:2", "www.a.b": "http://x:3",
                             "api.a.b": {"service": "http://x:4", "path": "^/v1"}})["ingress"]  # fmt: skip
    assert [r.get("hostname") for r in rules] == ["api.a.b", "www.a.b", "*.sub.a.b", "*.a.b", None]
    assert rules[0] == {"hostname": "api.a.b", "service": "http://x:4", "path": "^/v1"}
    assert rules[-1] == {"service": "http_status:404"}


def test_a_list_stays_in_its_order():
    given = [{"hostname": "b.c", "path": "^/x", "service": "http://x:1"}, {"hostname": "b.c", "service": "http://x:2"}]
    assert written(ingress=given)["ingress"][:2] == given


def test_what_was_not_said_is_not_written():
    found = written(originRequest={"noTLSVerify": None, "connectTimeout": "5s"},
                    ingress={"a.b": {"service": "http://x", "path": None, "originRequest": {"caPool": None}}})  # fmt: skip
    assert found["originRequest"] == {"connectTimeout": "5s"}
    assert found["ingress"][0] == {"hostname": "a.b", "service": "http://x"}
    assert "warp-routing" not in found and "credentials-file" not in found and "edge" not in found


def start(home, argv, settings):
    """What systemd would do with ExecStart: files in their places, %d the folder of credentials."""
    file = home.folder / "config.json"
    file.write_text(json.dumps({**settings, "metrics": "127.0.0.1:0"}))
    argv = [str(ADIT), *(a.replace("%d", str(home.folder)) for a in argv[1:])]
    done = run([ADIT, "tunnel", "--config", file, "ingress", "validate"])
    assert done.returncode == 0 and "OK" in done.stdout, done.stderr
    home.program = Connector("connector", argv, home.folder, env=home.cli.env())
    home.edge.wait_connections(4)


@pytest.fixture
def home(own, tmp_path):
    class Home:
        pass

    h = Home()
    h.folder = tmp_path / "nix"
    h.folder.mkdir()
    h.origin, h.program = Origin(), None
    h.edge = own.edge()
    h.cli = own.cli(h.edge)
    h.tunnel = h.cli.create("home")
    h.cli.route(h.tunnel, APP, OTHER)
    yield h
    if h.program:
        h.program.stop()
    h.origin.close()


def serves(home, name, text):
    path = home.origin.on(lambda r: r.reply(200, body=text))
    assert Visitor(home.edge, "http1.1").get(name, path).body == text


def test_a_connector_runs_by_what_is_written(home):
    credentials = home.folder / "credentials.json"
    shutil.copy(home.tunnel.credentials, credentials)
    found = written(name="home", credentialsFile="/secret", protocol="http2",
                    ingress={APP: home.origin.service, f"*.{ZONE}": {"service": home.origin.service}})  # fmt: skip
    assert found["credentials-file"] == "/run/credentials/adit-tunnel-home.service/credentials.json"
    found["credentials-file"] = str(credentials)
    argv = ["adit", "--no-autoupdate", "--config", str(home.folder / "config.json"), "tunnel", "run"]
    start(home, argv, found)
    serves(home, APP, b"by its name")
    serves(home, OTHER, b"by the wildcard")


def rendered(unit):
    """A unit as systemd reads it; only what the judge looks at."""
    lines = ["[Service]"]
    for key, value in unit["serviceConfig"].items():
        for one in value if isinstance(value, list) else [value]:
            lines.append(f"{key}={'yes' if one is True else 'no' if one is False else one}")
    return "\n".join(lines) + "\n"


def judged(folder, name, unit):
    (folder / f"{name}.service").write_text(rendered(unit))
    done = run(["systemd-analyze", "security", "--offline=yes", "--threshold=20", folder / f"{name}.service"])
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr
    assert re.search(r"Overall exposure level.*: 1\.\d", done.stdout), done.stdout[-500:]


@needs_lib
def test_a_configuration_of_cloudflared_moves_by_renaming(home):
    # As the manual of nixpkgs shows services.cloudflared, but for its name.
    found = nix(host(f"""{{
      services.adit = {{
        enable = true;
        tunnels.home = {{
          credentialsFile = "{home.tunnel.credentials}";
          originRequest.connectTimeout = "10s";
          ingress = {{
            "*.{ZONE}" = {{ service = "{home.origin.service}"; originRequest.noTLSVerify = true; }};
            "{APP}" = "{home.origin.service}";
          }};
          default = "http_status:418";
          protocol = "http2";
          edgeIPVersion = "4";
          warp-routing.enabled = true;
        }};
      }};
    }}""", home.folder))  # fmt: skip
    assert found["failed"] == [] and found["warnings"] == []
    unit = found["services"]["adit-tunnel-home"]
    assert unit["serviceConfig"]["LoadCredential"] == [f"credentials.json:{home.tunnel.credentials}"]
    assert found["targets"]["adit-tunnel-home"]["requires"] == ["adit-tunnel-home.service"]
    settings = found["files"]["home"]
    assert settings["warp-routing"] == {"enabled": True}
    argv = shlex.split(unit["serviceConfig"]["ExecStart"])
    assert argv[0] == "/package/bin/adit"
    judged(home.folder, "adit-tunnel-home", unit)

    # systemd puts credentials below /run; here they are where the test may write.
    settings["credentials-file"] = str(home.tunnel.credentials)
    argv[argv.index(f"{home.folder}/adit-home.json")] = str(home.folder / "config.json")
    start(home, argv, settings)
    serves(home, APP, b"by NixOS")
    assert Visitor(home.edge, "http1.1").get(OTHER, home.origin.on(lambda r: r.reply(200, body=b"x"))).body == b"x"


@needs_lib
def test_a_token_is_a_credential_too(home):
    (home.folder / "token").write_text(home.cli.check("tunnel", "token", home.tunnel.name))
    found = nix(host(f"""{{
      services.adit.enable = true;
      services.adit.tunnels.home = {{
        tokenFile = "{home.folder}/token"; protocol = "http2"; ingress."{APP}" = "{home.origin.service}";
        settings.loglevel = "debug";
      }};
    }}""", home.folder))  # fmt: skip
    unit = found["services"]["adit-tunnel-home"]["serviceConfig"]
    assert unit["LoadCredential"] == [f"token:{home.folder}/token"]
    assert found["files"]["home"]["loglevel"] == "debug"
    argv = shlex.split(unit["ExecStart"])
    argv[argv.index(f"{home.folder}/adit-home.json")] = str(home.folder / "config.json")
    start(home, argv, found["files"]["home"])
    serves(home, APP, b"by token")


@needs_lib
def test_what_cannot_be_is_said_when_the_machine_is_built():
    def of(tunnel):
        return nix(host(f"{{ services.adit = {{ enable = true; tunnels.{tunnel}; }}; }}"))

    assert "say exactly one of" in of('t = { }')["failed"][0]
    assert "say exactly one of" in of('t = { token = "x"; tokenFile = "/x"; }')["failed"][0]
    assert "in the Nix store" in of('t.token = "x"')["warnings"][0]
    assert "use the tunnel's UUID" in of('"my tunnel".tokenFile = "/x"')["failed"][0]
    for bad in ('t.protocol = "h3"', 't.originRequest.noTLSVerify = "yes"', 't.ingress."a.b" = 7'):
        assert "is not of type" in nix(host(f"{{ services.adit = {{ enable = true; tunnels.{bad}; }}; }}"), fails=True)


@needs_lib
def test_the_edge_runs_by_what_is_written(tmp_path):
    found = nix(host("""{
      services.adit-edge = {
        enable = true;
        zone = "example.com";
        openFirewall = true;
        settings = { https = "127.0.0.1:8443"; http = "off"; dns = ":53"; log-format = "json"; limit-requests = 100; };
        credentials.eab = "/run/secrets/eab";
      };
    }""", tmp_path))  # fmt: skip
    unit = found["services"]["adit-edge"]
    assert found["firewall"] == {"allowedTCPPorts": [8443, 7844, 53], "allowedUDPPorts": [8443, 7844, 53]}
    assert unit["serviceConfig"]["LoadCredential"] == ["eab:/run/secrets/eab"]
    judged(tmp_path, "adit-edge", unit)

    (tmp_path / "edge.yml").write_text(json.dumps(found["edge"]))
    init, check = (
        [str(ADIT_EDGE), *(a.replace("/var/lib/adit-edge", str(tmp_path / "state")) for a in argv)]
        for argv in (
            shlex.split(unit["serviceConfig"]["ExecStartPre"])[1:],
            ["check", *shlex.split(unit["serviceConfig"]["ExecStart"])[2:]],
        )
    )
    done = run(init)
    assert done.returncode == 0, done.stderr
    assert run(init).returncode == 0, "it may run again at every start"
    done = run(check)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_flake_offers_package_and_modules():
    found = nix(f"""
      let
        genAttrs = names: f: builtins.listToAttrs (map (name: {{ inherit name; value = f name; }}) names);
        nixpkgs = {{
          lib = {{ inherit genAttrs; }};
          legacyPackages = genAttrs [ "x86_64-linux" "aarch64-linux" ] (system: {{
            callPackage = file: _: "${{system}} ${{toString file}}";
          }});
        }};
        o = (import {NIXOS.parents[1]}/flake.nix).outputs {{ self = {{ }}; inherit nixpkgs; }};
      in {{ inherit (o) packages; modules = map toString o.nixosModules.default.imports; }}""")
    assert found["packages"]["aarch64-linux"]["default"] == f"aarch64-linux {NIXOS}/package.nix"
    assert found["modules"] == [f"{NIXOS}/adit.nix", f"{NIXOS}/adit-edge.nix"]


def test_the_package_has_the_version_and_the_libraries_of_the_build():
    """Without nixpkgs: its library and its packages are names here, and what is asked for is looked at."""
    build = (NIXOS.parents[1] / "CMakeLists.txt").read_text()
    wanted = re.findall(r"pkg_check_modules\(\w+ REQUIRED (?:IMPORTED_TARGET )?([^)]*)\)", build)
    found = nix(f"""
      let
        f = import {NIXOS}/package.nix;
        names = builtins.functionArgs f;
        args = builtins.mapAttrs (n: _: n) names // {{
          lib = {{ cleanSource = p: toString p; makeLibraryPath = l: toString l; platforms.linux = []; }};
          stdenv.mkDerivation = d: d;
        }};
        d = f args;
      in {{ inherit (d) version buildInputs postFixup src; }}""")
    assert f"VERSION {found['version']} " in build
    assert found["src"] == str(NIXOS.parents[1])
    named = {"libuv": "libuv", "gnutls": "gnutls", "libnghttp2": "nghttp2", "libnghttp3": "nghttp3",
             "libngtcp2": "ngtcp2-gnutls", "libcurl": "curl", "libfyaml": "libfyaml", "libpcre2-8": "pcre2",
             "cjose": "cjose", "libfido2": "libfido2", "jansson": "jansson", "libsodium": "libsodium",
             "libzip": "libzip", "ldns": "ldns", "sqlite3": "sqlite", "libmaxminddb": "libmaxminddb",
             "libseccomp": "libseccomp", "libcap-ng": "libcap_ng"}  # fmt: skip
    for modules in wanted:
        module = re.split(r"[>=]", modules.split()[0])[0]
        assert named[module] in found["buildInputs"], f"package.nix lacks {module}"
