#!/usr/bin/python3
"""Prints what `llvm-cov export -summary-only` says as a Markdown table, a row for each folder under src/.

With --files N it lists the N files with the most lines that no test reaches instead.
"""

import collections
import json
import pathlib
import sys

DEEP = ("edge", "connector")  # folders whose folders have rows of their own


def folder_of(path):
    parts = path.parts[:-1]
    return "/".join(parts[:2] if parts[0] in DEEP else parts[:1])


def percent(part, whole):
    return f"{100 * part / whole:.1f} %" if whole else ""


def main():
    source = pathlib.Path(__file__).resolve().parents[1] / "src"
    files = {}
    for file in json.loads(pathlib.Path(sys.argv[1]).read_text())["data"][0]["files"]:
        path = pathlib.Path(file["filename"])
        if path.is_relative_to(source):
            files[path.relative_to(source)] = file["summary"]

    if len(sys.argv) > 3 and sys.argv[2] == "--files":
        missed = sorted(files.items(), key=lambda item: item[1]["lines"]["covered"] - item[1]["lines"]["count"])
        for path, summary in missed[: int(sys.argv[3])]:
            lines = summary["lines"]
            print(f"{lines['count'] - lines['covered']:5} of {lines['count']:5}  src/{path}")
        return 0

    rows = collections.defaultdict(lambda: [0, 0, 0, 0])
    for path, summary in files.items():
        of = [summary[what][which] for what in ("lines", "branches") for which in ("covered", "count")]
        for name in (folder_of(path), "all"):
            rows[name] = [a + b for a, b in zip(rows[name], of)]
    total = rows.pop("all")
    print("| folder | lines | reached | branches | reached |\n|---|--:|--:|--:|--:|")
    for name, (lines, of_lines, branches, of_branches) in [*sorted(rows.items()), ("all", total)]:
        print(f"| {name} | {of_lines} | {percent(lines, of_lines)} | {of_branches} | {percent(branches, of_branches)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
