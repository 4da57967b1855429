"""Blocks and commands of pages."""

import pathlib
import re
import shlex
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).parents[2]
SHELLS = ("sh", "console")


@dataclass
class Block:
    page: str
    line: int
    language: str
    info: str
    text: str

    @property
    def why_not(self):
        """Why it is not run; None: it is."""
        return self.info.partition("no-run:")[2].strip() if "no-run:" in self.info else None

    def option(self, name):
        match = re.search(rf'\b{name}=(?:"([^"]*)"|(\S+))', self.info)
        return match and (match[1] or match[2])

    def commands(self):
        """What is typed; a command may have several lines."""
        if self.language == "sh":
            return [self.text]
        return [m[1] for m in re.finditer(r"^\$ (.*(?:(?<=\\)\n.*)*)", self.text, re.M)]

    def steps(self):
        """Of a console: pairs of a command and the lines that it prints."""
        parts = re.split(r"^\$ ", self.text, flags=re.M)[1:]
        for part in parts:
            lines = part.split("\n")
            taken = 1
            while lines[taken - 1].endswith("\\"):
                taken += 1
            yield "\n".join(lines[:taken]), [line for line in lines[taken:] if line.strip()]

    def __str__(self):
        return f"{self.page}:{self.line}"


def pages():
    names = [p for p in sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/*.md"))]
    return {str(p.relative_to(ROOT)): p.read_text() for p in names}


def blocks(page, text):
    for m in re.finditer(r"^```([a-z]*) ?([^\n]*)\n(.*?)^```$", text, re.M | re.S):
        yield Block(page, text.count("\n", 0, m.start()) + 1, m[1], m[2], m[3])


def after(text):
    """The page that has to be read before."""
    match = re.match(r"<!-- after: (\S+) -->", text)
    return match and f"docs/{match[1]}"


def words_of(command):
    """Lists of words: each simple command of a line that calls one of our programs, from its name on."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    simple = []
    try:
        tokens = list(lexer)
    except ValueError:
        return
    for token in [*tokens, ";"]:
        if not set(token) <= set("();<>|&"):
            simple.append(token)
            continue
        # What follows a redirection is a file, and the command goes on behind it.
        names = [i for i, word in enumerate(simple) if word.rpartition("/")[2] in ("adit", "adit-edge")]
        if names and (names[0] == 0 or simple[0] in ("sudo", "exec", "watch", "timeout", "env", "nohup") or "=" in simple[0]):
            yield simple[names[0] :]
        simple = []


def commands_in_shells(page, text):
    """(place, words) of every call in a fenced block, whether it is run or not."""
    for block in blocks(page, text):
        lines = block.commands() if block.language in SHELLS else []
        if not block.language:
            lines = re.findall(r"^(?:\$ )?((?:sudo )?adit(?:-edge)? .*)", block.text, re.M)
        if lines:
            joined = "\n".join(lines).replace("\\\n", " ")
            for line in joined.split("\n"):
                for words in words_of(re.sub(r"\s#\s.*$", "", line)):
                    yield str(block), words


def commands_in_prose(page, text):
    """The same for `adit …` between backticks."""
    prose = re.sub(r"^```.*?^```$", lambda m: "\n" * m[0].count("\n"), text, flags=re.M | re.S)
    for m in re.finditer(r"`((?:sudo )?adit(?:-edge)? [^`]+)`", prose):
        place = f"{page}:{prose.count(chr(10), 0, m.start()) + 1}"
        for words in words_of(m[1].replace("\n", " ").replace("[", " ").replace("]", " ")):
            yield place, words
