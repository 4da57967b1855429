"""Fixtures, and what every test ends with: nothing is left over, no sanitizer has spoken.

Tests are numbered by meaning: 10 protocol, 30 transport, 50 features, 70 failure, 80 past bugs.
"""

import contextlib
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from testenv import net, program, stage as stages  # noqa: E402
from testenv.connector import KINDS, Cli, Connector  # noqa: E402
from testenv.edge import Edge  # noqa: E402
from testenv.far import Far  # noqa: E402
from testenv.visitor import HTTP_VERSIONS, H2, Raw, Visitor  # noqa: E402

NEEDED = ("curl", "openssl", "nginx", "h2load")
edges = []  # every Edge that may run


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: more than a few seconds; left out of quick runs")
    config.addinivalue_line("markers", "bulk: a gigabyte; ./dev test has it on the optimised build")
    config.addinivalue_line("markers", "long: runs with ADIT_LONG=1 only (./dev test --long)")
    try:
        net.isolate()
    except OSError as e:
        sys.stderr.write(f"e2e: no network of our own: {e}\n")


# Files are shared out whole and in this order: what waits longest begins first, and the rest is done meanwhile.
LONGEST = ("test_62_dialling", "test_63_replicas", "test_50_twins", "test_66_protocols", "test_58_access", "test_51_access_check",
           "test_65_paths_that_change", "test_65_outages", "test_70_chaos", "test_69_ports", "test_56_local_api",
           "test_71_killed_edge")  # fmt: skip


def pytest_collection_modifyitems(items):
    order = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))
    if os.environ.get("ADIT_LONG"):
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="takes long: ADIT_LONG=1"))


def pytest_report_header():
    return [
        f"programs: {program.BIN} ({program.PRESET})",
        f"network: {'its own, loopback only' if net.alone else 'that of this machine'}",
        f"cloudflared: {program.STOCK or 'CLOUDFLARED is not set, comparisons with it are skipped'}",
    ]


def why_no_stock():
    if not program.STOCK:
        return "CLOUDFLARED is not set"
    if not os.access(program.STOCK, os.X_OK):
        return f"CLOUDFLARED={program.STOCK} is no program"
    if not net.alone:
        return "no network of its own here, and cloudflared would ask the internet"
    return None


def need(kind):
    if kind == "stock" and why_no_stock():
        pytest.skip(why_no_stock())


@pytest.fixture(scope="session", autouse=True)
def programs_exist():
    for path in (program.ADIT, program.ADIT_EDGE):
        if not os.access(path, os.X_OK):
            pytest.exit(f"there is no {path}: ./dev build", returncode=3)
    missing = stages.have(*NEEDED)
    if missing:
        pytest.exit(f"not installed: {' '.join(missing)}", returncode=3)


# --- what every test ends with ---------------------------------------------------------------------


def sanitizer_words():
    found = []
    for p, since in program.logs_since.items():
        text = p.text(since)
        hit = program.SANITIZER.search(text)
        if hit:
            found.append(f"{p.name}: {text[hit.start():hit.start() + 6000]}")
    return found


@pytest.fixture(autouse=True)
def nothing_is_left(request):
    """Runs after the fixtures of the test have ended."""
    for p in list(program.logs_since):
        if p in program.running:
            program.logs_since[p] = p.mark()
        else:
            del program.logs_since[p]
    yield
    problems = []
    for edge in list(edges):
        if not edge.program or edge.program not in program.running:
            continue
        if not edge.program.is_running():
            problems.append(f"{edge.name} ended with {edge.program.process.returncode}")
            continue
        try:
            edge.wait_idle()
        except AssertionError as e:
            problems.append(str(e))
    for p in program.running:
        if isinstance(p, Connector) and p.is_running():
            try:
                p.wait_idle()
            except (AssertionError, OSError) as e:
                problems.append(f"{p.name}: {e}")
    problems += sanitizer_words()
    problems += program.ended_badly
    program.ended_badly.clear()
    assert not problems, "\n".join(problems)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for p, since in program.logs_since.items():
            with contextlib.suppress(OSError):  # an exception here would end the whole run
                report.sections.append((f"log of {p.name}", p.text(since)[-8000:]))


# --- the shared stage --------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def stage(tmp_path_factory):
    s = stages.Stage(tmp_path_factory.mktemp("stage"))
    edges.append(s.edge)
    yield s
    s.close()
    problems = sanitizer_words() + program.ended_badly
    program.ended_badly.clear()
    assert not problems, "\n".join(problems)


@pytest.fixture(params=KINDS)
def site(request, stage):
    """A running connector of each kind, and what it serves."""
    need(request.param)
    site = stage.site(request.param)
    yield site
    stage.origin.forget()
    stage.second.forget()
    stage.tls_origin.forget()
    stage.unix_origin.forget()


@pytest.fixture
def ours(stage):
    """The site of adit, for what does not concern a stock connector."""
    yield stage.site("adit")
    stage.origin.forget()


@pytest.fixture
def origin(stage):
    return stage.origin


@pytest.fixture(params=HTTP_VERSIONS)
def visitor(request, stage, tmp_path):
    v = Visitor(stage.edge, request.param, tmp_path)
    yield v
    v.close()


@pytest.fixture
def raw(stage):
    """raw(host): a connection for HTTP/1.1 by hand."""
    made = []

    def connect(host, **kwargs):
        made.append(Raw(stage.edge, host, **kwargs))
        return made[-1]

    yield connect
    for r in made:
        r.close()


@pytest.fixture
def h2(stage):
    """h2(host): a connection for HTTP/2 frame by frame."""
    made = []

    def connect(host, **kwargs):
        made.append(H2(stage.edge, host, **kwargs))
        return made[-1]

    yield connect
    for c in made:
        c.close()


# --- an edge for one test ----------------------------------------------------------------------------


class Own:
    """Makes edges, command lines and connectors for one test, and ends them in the right order."""

    def __init__(self, folder):
        self.folder = folder
        self.edges, self.connectors = [], []
        self.helpers = []  # programs that are simply killed if they still run

    def edge(self, name="edge", start=True, **kwargs):
        edge = Edge(self.folder, name, **kwargs)
        self.edges.append(edge)
        edges.append(edge)
        return edge.start() if start else edge

    def cli(self, edge, kind="adit", folder=None):
        return Cli(kind, edge, folder or self.folder).log_in()

    def connect(self, cli, *args, **kwargs):
        connector = cli.connect(*args, **kwargs)
        self.connectors.append(connector)
        return connector

    def close(self):
        for helper in self.helpers:
            helper.kill()
        for connector in self.connectors:
            connector.stop()
        for edge in self.edges:
            if edge.program in program.running and edge.program.is_running():
                edge.wait_connections(0)
                edge.wait_idle()
            edge.stop()
            edges.remove(edge)


@pytest.fixture
def own(tmp_path):
    o = Own(tmp_path)
    try:
        yield o
    finally:
        o.close()


@pytest.fixture
def place(own, tmp_path):
    """An edge here, and connectors at the far end of a line that a test does things to."""
    made = Far(own, tmp_path, delay=5)
    yield made
    made.close()


@pytest.fixture(params=KINDS)
def kind(request):
    need(request.param)
    return request.param
