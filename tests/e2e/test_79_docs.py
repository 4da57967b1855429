"""The documentation tells the truth: every command in it exists, and what can be followed is followed, word by word."""

import json
import os
import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from docs import pages as docs  # noqa: E402
from docs.sandbox import Sandbox  # noqa: E402
from testenv.program import ADIT, ADIT_EDGE, BIN, PATIENCE, SANITIZER, run  # noqa: E402

PAGES = docs.pages()
# Followed from top to bottom; the others show commands in passing.
STORIES = [name for name, text in PAGES.items() if docs.after(text)]
FIRST = "docs/first-tunnel.md"
# Blocks that say why they are not run. One more needs a look.
NO_RUN_MAX = 30


def test_every_command_exists():
    """Its words and flags are taken by the program: --help at the end is reached only then."""
    wrong, seen = [], {}
    for page, text in PAGES.items():
        for place, words in [*docs.commands_in_shells(page, text), *docs.commands_in_prose(page, text)]:
            rest = words[1:]
            for i, word in enumerate(rest):
                if word in ("…", "...", "COMMAND") and not rest[i - 1].startswith("-"):
                    rest = rest[:i]
                    break
            if rest[:2] == ["access", "curl"]:
                rest = rest[:1]  # what follows is curl's
            program = ADIT_EDGE if words[0].endswith("adit-edge") else ADIT
            key = (program, *rest)
            if key not in seen:
                seen[key] = run([program, *rest, "--help"])
                # A flag in prose may stand without its value.
                if seen[key].returncode and rest and rest[-1].startswith("-"):
                    seen[key] = run([program, *rest, "x", "--help"])
            if seen[key].returncode:
                wrong.append(f"{place}: {' '.join(words)}: {(seen[key].stderr or seen[key].stdout).splitlines()[:1]}")
    assert not wrong, "\n" + "\n".join(wrong)
    assert len(seen) > 100


def test_configurations_are_accepted(tmp_path):
    """Whole files of connectors, as the pages show them."""
    wrong, count = [], 0
    for page, text in PAGES.items():
        for block in docs.blocks(page, text):
            if block.language != "yaml" or not re.search(r"^ingress:", block.text, re.M):
                continue
            count += 1
            (tmp_path / "config.yml").write_text(block.text)
            done = run([ADIT, "--config", tmp_path / "config.yml", "tunnel", "ingress", "validate"], cwd=tmp_path)
            if done.returncode:
                wrong.append(f"{block}: {done.stderr}")
    assert not wrong and count >= 3, "\n".join(wrong)


def test_blocks_of_commands_are_run_or_say_why_not():
    silent, reasons = [], []
    for page, text in PAGES.items():
        for block in docs.blocks(page, text):
            if block.language not in docs.SHELLS:
                if not block.language and re.search(r"^(?:\$ )?(?:sudo )?adit(?:-edge)? ", block.text, re.M):
                    silent.append(f"{block} (what is typed needs `sh` or `console` behind its fence)")
                continue
            if block.why_not:
                reasons.append(str(block))
            elif page != FIRST and page not in STORIES:
                silent.append(str(block))
    assert not silent, f"on pages that are not followed: {silent}"
    assert len(reasons) <= NO_RUN_MAX, f"{len(reasons)} blocks are not run"


def test_links_lead_somewhere():
    wrong = []
    for page, text in PAGES.items():
        folder = (docs.ROOT / page).parent
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", prose):
            if not re.match(r"[a-z]+:", target) and not (folder / target).exists():
                wrong.append(f"{page}: {target}")
    assert not wrong


def test_the_index_has_every_page():
    index = PAGES["docs/README.md"]
    missing = [p.name for p in (docs.ROOT / "docs").glob("*.md") if p.name != "README.md" and f"({p.name})" not in index]
    assert not missing


def test_the_dashboard_asks_for_metrics_that_exist():
    """Names of metrics in Grafana's dashboard are names in the programs' sources."""
    dashboard = json.loads((docs.ROOT / "packaging/grafana/adit.json").read_text())
    text = json.dumps(dashboard)
    asked = set(re.findall(r"\b(?:adit|cloudflared)_[a-z0-9_]+", text))
    assert len(asked) > 15
    sources = "\n".join(p.read_text() for p in (docs.ROOT / "src").rglob("*.[ch]"))
    for name in asked:
        base = re.sub(r"_(?:bucket|sum|count)$", "", name)
        assert re.search(rf'["\s](?:{name}|{base})["\s]', sources), name
    for panel in dashboard["panels"]:
        assert panel["type"] == "row" or panel["targets"], panel["title"]


def story_order():
    """The first page, then those that go on from it, each behind the one it names."""
    order = [FIRST]
    while len(order) < 1 + len(STORIES):
        ready = [s for s in STORIES if s not in order and docs.after(PAGES[s]) in order]
        assert ready, f"{set(STORIES) - set(order)} follow nothing"
        order += ready
    return order


@pytest.mark.skipif(os.geteuid() != 0, reason="a network of its own, with the ports that the pages name")
@pytest.mark.timeout(300)
def test_the_pages_can_be_followed(tmp_path):
    sandbox = Sandbox(tmp_path, BIN, 40 * PATIENCE)
    try:
        for page in story_order():
            for block in docs.blocks(page, PAGES[page]):
                sandbox.follow(block)
    finally:
        sandbox.close()
    for path, text in sandbox.logs().items():
        assert not SANITIZER.search(text), f"{path}\n{text}"


@pytest.mark.parametrize(
    "text, why",
    [
        ("```sh\nfalse\ntrue\n```\n", "exit 1"),
        ("```console\n$ echo one\ntwo\n```\n", "instead of"),
        ("```console\n$ echo one; exit 3\none\n```\n", "ended"),
        ('```sh stays="never said"\ntrue\n```\n', "never said"),
    ],
)
def test_what_fails_is_noticed(text, why, tmp_path):
    sandbox = Sandbox(tmp_path, BIN, 5)
    try:
        with pytest.raises(AssertionError, match=why):
            for block in docs.blocks("page", text):
                sandbox.follow(block)
    finally:
        sandbox.close()
