"""Manual pages and completions of shells: made from the tables of the programs, and read here by what reads them."""

import os
import pty
import re
import select
import shutil
import subprocess

import pytest

from testenv.program import ADIT, ADIT_EDGE, BIN, PATIENCE, check, clean_env, run
from testenv.wait import wait_until

PROGRAMS = {"adit": ADIT, "adit-edge": ADIT_EDGE}


@pytest.fixture(scope="module")
def share(tmp_path_factory):
    """What packages put into /usr/share."""
    folder = tmp_path_factory.mktemp("share")
    for program in PROGRAMS.values():
        check([program, "man", folder])
    return folder


def needs(*programs):
    missing = [p for p in programs if not shutil.which(p)]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {' '.join(missing)}")


def pages(share):
    return sorted((share / "man").glob("man*/*"))


# --- pages -----------------------------------------------------------------------------------------------


def commands(program, *words):
    """Every command that help shows, as tuples of words."""
    text = run([program, *words, "--help"]).stdout  # `access curl` leaves --help to curl
    for name in re.findall(r"^   ([a-z][a-z-]*)(?:, [a-z]+)*\s", text.partition("\nCOMMANDS:\n")[2].partition("\n\n")[0], re.M):
        yield (*words, name)
        yield from commands(program, *words, name)


def test_every_command_has_a_page(share):
    names = {p.name for p in pages(share)}
    assert {"adit.1", "adit-config.5", "adit-edge.8", "adit-edge-config.5"} <= names
    found = list(commands(ADIT))
    assert ("tunnel", "route", "dns") in found and len(found) > 30
    for words in found:
        assert f"adit-{'-'.join(words)}.1" in names
    edge = (share / "man/man8/adit-edge.8").read_text()
    for line in check([ADIT_EDGE, "help"]).splitlines():
        match = re.match(r"  ((?:[a-z][a-z-]* )+)", line)
        if match:
            assert "\\fB" + match[1].strip().replace("-", "\\-") in edge, line


@needs("mandoc")
def test_mandoc_has_nothing_to_say(share):
    found = run(["mandoc", "-T", "lint", *pages(share)])
    assert (found.stdout, found.returncode) == ("", 0)


@needs("man", "groff")
def test_man_has_no_warnings(share):
    # One call for all: the pager of man is not started, and its typesetter once a page.
    found = run(["man", "--warnings", "-l", *pages(share)], env=clean_env(MANPAGER="cat", MANWIDTH="80"))
    assert found.returncode == 0 and found.stderr == ""
    assert "adit tunnel route ip add 10.0.0.0/24 my-tunnel" in found.stdout
    ours = [p for p in pages(share) if "edge" not in p.name]
    assert not [p.name for p in ours if "@" in p.read_text()], "a mark was not replaced"


def test_links_between_pages_lead_somewhere(share):
    names = {p.name for p in pages(share)}
    for page in pages(share):
        for name, section in re.findall(r"^\.BR (\S+) \((\d)\)", page.read_text(), re.M):
            assert f"{name}.{section}".replace("\\-", "-") in names, page.name


def test_keys_of_the_configuration_are_in_the_manual(share, tmp_path):
    """Those that the parsers know: a key of each map that is almost right is answered with one that is."""
    page = (share / "man/man5/adit-config.5").read_text().replace("\\-", "-")
    keys = re.findall(r"^\.TP\n\\fB([A-Za-z0-9-]+)\\fR", page, re.M)
    assert {"tunnel", "protocol", "noTLSVerify", "expectedCodes", "maxActiveFlows"} <= set(keys)
    sections = dict(re.findall(r"^\.SH ([A-Z -]+)\n(.*?)(?=^\.SH )", page, re.M | re.S))
    config = tmp_path / "config.yml"
    for title, form in {
        "KEYS": "{0}: x\n",
        "ORIGINREQUEST": "originRequest:\n  {0}: x\n",
        "WARP-ROUTING": "warp-routing:\n  {0}: x\n",
    }.items():
        for key in re.findall(r"^\.TP\n\\fB([A-Za-z0-9-]+)\\fR", sections[title], re.M):
            config.write_text(form.format(key) + "ingress:\n- service: http_status:404\n")
            said = run([ADIT, "--config", config, "tunnel", "ingress", "validate"], env=clean_env(HOME=tmp_path), cwd=tmp_path)
            assert "unknown key" not in said.stderr + said.stdout, key


# --- completion ---------------------------------------------------------------------------------------------

BASH = """
source {share}/bash-completion/completions/{program}
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_{program}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""

ZSH = """
compdef() {{ :; }}
_files() {{ print -r -- '<files>'; }}
_describe() {{ print -rl -- "${{(@P)2%%:*}}"; }}
source {share}/zsh/site-functions/_{program}
words=({words})
CURRENT=${{#words}}
_{program}
"""

FISH = """
source {share}/fish/vendor_completions.d/{program}.fish
complete -C '{line}'
"""

# What is typed, as words; what is offered among other things.
CASES = [
    ("adit", ["tun"], {"tunnel"}),
    ("adit", ["tunnel", "route", ""], {"dns", "ip", "port"}),
    ("adit", ["tunnel", "--loglevel", ""], {"debug", "info", "warn", "error", "fatal"}),
    ("adit", ["tunnel", "run", "--credentials-f"], {"--credentials-file"}),
    ("adit", ["tunnel", "--metrics", "run", "r"], {"run", "ready", "route"}),
    ("adit", ["completion", ""], {"bash", "zsh", "fish"}),
    ("adit", ["tunnel", "run", "--config", "not-e"], {"not-empty.yml"}),
    ("adit-edge", ["zone", ""], {"add", "list", "remove", "set", "show"}),
    ("adit-edge", ["init", "--cont"], {"--control"}),
    ("adit-edge", ["backup", "--data", "x", "not-e"], {"not-empty.yml"}),
]


@pytest.fixture
def place(tmp_path):
    (tmp_path / "not-empty.yml").write_text("#\n")
    return tmp_path


def shell(argv, place):
    env = clean_env(HOME=place, PATH=f"{BIN}:/usr/bin:/bin", TERM="dumb", XDG_CONFIG_HOME=place, XDG_DATA_HOME=place)
    done = subprocess.run(argv, capture_output=True, text=True, cwd=place, env=env, timeout=60)
    assert done.stderr == "" and done.returncode == 0, done
    return done.stdout.split("\n")[:-1]


def quoted(words):
    return " ".join(f"'{w}'" for w in words)


def judge(found, words, wanted, files="not-empty.yml"):
    found = [f.partition("\t")[0].strip() for f in found if f.strip()]
    if found == ["<files>"]:
        found = [files]
    assert wanted <= set(found), found
    assert all(f.startswith(words[-1]) for f in found), found
    assert len(set(found)) == len(found), found


@pytest.mark.parametrize("program,words,wanted", CASES, ids=lambda v: "-".join(v) if isinstance(v, list) else None)
def test_bash_completes(program, words, wanted, share, place):
    script = BASH.format(share=share, program=program, words=quoted([program, *words]))
    judge(shell(["bash", "--norc", "-c", script], place), words, wanted)


@needs("zsh")
@pytest.mark.parametrize("program,words,wanted", CASES, ids=lambda v: "-".join(v) if isinstance(v, list) else None)
def test_zsh_completes(program, words, wanted, share, place):
    script = ZSH.format(share=share, program=program, words=quoted([program, *words]))
    judge(shell(["zsh", "-f", "-c", script], place), words, wanted)


@needs("fish")
@pytest.mark.parametrize("program,words,wanted", CASES, ids=lambda v: "-".join(v) if isinstance(v, list) else None)
def test_fish_completes(program, words, wanted, share, place):
    script = FISH.format(share=share, program=program, line=" ".join([program, *words]))
    judge(shell(["fish", "--no-config", "-c", script], place), words, wanted)


TYPED = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source {share}/bash-completion/completions/adit"),
    "zsh": (["zsh", "-f", "-i"], "fpath=({share}/zsh/site-functions $fpath); autoload -U compinit; compinit -u -D"),
}  # `complete -C`, as above, is all that fish has behind the key


@pytest.mark.parametrize("name", TYPED)
def test_the_tabulator_key_completes(name, share, place):
    """The shell itself, on a terminal: what is typed becomes longer."""
    if not shutil.which(name):
        pytest.skip(f"not installed: {name}")
    argv, setup = TYPED[name]
    env = clean_env(HOME=place, PATH=f"{BIN}:/usr/bin:/bin", TERM="vt100", XDG_CONFIG_HOME=place, XDG_DATA_HOME=place)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        argv, stdin=theirs, stdout=theirs, stderr=theirs, env=env, cwd=place, start_new_session=True
    )
    os.close(theirs)
    seen = b""

    def sees(text):
        nonlocal seen
        if select.select([ours], [], [], 0.1)[0]:
            seen += os.read(ours, 65536)
        return text in seen

    try:
        os.write(ours, setup.format(share=share).encode() + b"; echo re''ady\n")
        wait_until(lambda: sees(b"ready"), lambda: f"a prompt: {seen!r}", 30 * PATIENCE)
        seen = b""
        # What is printed proves that the word was whole before it was run.
        os.write(ours, b"adit comple\t")
        wait_until(lambda: sees(b"tion"), lambda: f"the rest of the word: {seen!r}", 30 * PATIENCE)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.mark.parametrize("program", PROGRAMS)
def test_completion_prints_what_is_installed(program, share):
    for name, path in {
        "bash": f"bash-completion/completions/{program}",
        "zsh": f"zsh/site-functions/_{program}",
        "fish": f"fish/vendor_completions.d/{program}.fish",
    }.items():
        assert check([PROGRAMS[program], "completion", name]) == (share / path).read_text()
    assert run([PROGRAMS[program], "completion", "csh"]).returncode in (2, 255)
