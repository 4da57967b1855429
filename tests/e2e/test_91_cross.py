"""Programs for other architectures (./dev cross ARCH), run by an emulator beside the native ones."""

import pathlib
import shutil

import pytest

from testenv import net
from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.origin import Origin
from testenv.program import ADIT, ADIT_EDGE, PATIENCE, PRESET, Program, check, clean_env, run
from testenv.visitor import Visitor
from testenv.wait import wait_until

ROOT = pathlib.Path(__file__).parents[2]
EMULATORS = {"arm64": "qemu-aarch64-static", "armhf": "qemu-arm-static"}
APP = f"app.{ZONE}"

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.skipif(PRESET != "release", reason="it is a release that is built for another architecture"),
]


@pytest.fixture(params=EMULATORS)
def arch(request):
    class Arch:
        name = request.param
        built = ROOT / f"build/release-{request.param}/bin"
        emulator = shutil.which(EMULATORS[request.param])
        emulated = [emulator, "-L", ROOT / f"build/cross-{request.param}"]

    if not (Arch.built / "adit").exists():
        pytest.skip(f"not built: ./dev cross {Arch.name}")
    if not Arch.emulator:
        pytest.skip("qemu-user-static is not installed")
    return Arch


def test_they_start(arch):
    for program in (ADIT, ADIT_EDGE):
        native = check([program, "--version"]).split(" (")[0]
        assert check([*arch.emulated, arch.built / program.name, "--version"]).split(" (")[0] == native


def test_a_tunnel_to_a_native_edge(arch, own, tmp_path):
    origin = Origin()
    edge = own.edge()
    cli = own.cli(edge)
    tunnel = cli.create("home")
    cli.route(tunnel, APP)
    # What libcurl is told, and SQLite and JSON tell, has other sizes there.
    assert "home" in check([*arch.emulated, arch.built / "adit", "tunnel", "list"], env=cli.env())
    path = origin.on(lambda r: r.reply(200, body=b"from afar"))
    visitor = Visitor(edge, "http1.1")
    for protocol in ("http2", "quic"):
        config = write_config(cli.dot / f"{protocol}.yml", tunnel, [{"hostname": APP, "service": origin.service}],
                              protocol=protocol, metrics="127.0.0.1:0")  # fmt: skip
        valid = run([*arch.emulated, arch.built / "adit", "--config", config, "tunnel", "ingress", "validate"])
        assert valid.returncode == 0, valid.stdout + valid.stderr
        command = [*arch.emulated, arch.built / "adit", "--config", config, "tunnel", "run"]
        connector = Program(f"{arch.name}-{protocol}", command, tmp_path, env=cli.env())
        wait_until(lambda: visitor.get(APP, path).body == b"from afar", f"an answer over {protocol}", 60 * PATIENCE)
        connector.stop()
    origin.close()


def test_an_edge_serves_a_native_connector(arch, tmp_path):
    data = tmp_path / "edge"
    edge_program = [*arch.emulated, arch.built / "adit-edge"]
    check([*edge_program, "init", "--zone", ZONE, "--control", "127.0.0.1", "--data", data], seconds=60)
    ports = {name: net.free_port() for name in ("https", "http", "tunnel", "metrics")}
    (data / "edge.yml").write_text("".join(f'{name}: "127.0.0.1:{port}"\n' for name, port in ports.items()))
    edge = Program("edge", [*edge_program, "run", "--data", data], tmp_path)
    edge.wait_log("edge is ready", seconds=60 * PATIENCE)
    (tmp_path / "cert.pem").write_text(check([*edge_program, "cert", "--zone", ZONE, "--data", data]))
    command = [ADIT, "--origincert", tmp_path / "cert.pem", "tunnel"]
    check([*command, "create", "--credentials-file", tmp_path / "home.json", "home"])
    check([*command, "route", "dns", "home", APP])
    token = check([*command, "token", "home"]).strip()
    connector = Program("connector", [ADIT, "tunnel", "run", "--url", "hello_world"], tmp_path,
                        env=clean_env(TUNNEL_TOKEN=token))  # fmt: skip
    fetch = ["curl", "-sSf", "-o", tmp_path / "page", "--cacert", data / "ca.pem", "--resolve",
             f"{APP}:{ports['https']}:127.0.0.1", f"https://{APP}:{ports['https']}/"]  # fmt: skip
    wait_until(lambda: run(fetch).returncode == 0, lambda: f"an answer:\n{edge.text()}", 60 * PATIENCE)
    connector.stop()
    edge.stop()
