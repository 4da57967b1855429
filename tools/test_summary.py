#!/usr/bin/python3
"""Adds up the results of one test run, names what failed, and closes with one line:

    N passed, N failed, N skipped

Reads a folder of JUnit files (*.xml, from ctest and pytest) and of *.count files, each one line
"passed failed skipped name". A ctest entry is a whole cmocka program; its own counts are read from
its output. What failed in NAME.xml and passed in NAME-again.xml or NAME-again2.xml counts as passed, and is
named as unsteady.
Exit status 1 if anything failed. With --failed FILE.xml it prints how many cases of that file failed.
"""

import pathlib
import re
import sys
import xml.etree.ElementTree

CMOCKA = re.compile(r"^\[\s+(PASSED|FAILED|SKIPPED)\s+\]\s+(\d+) test\(s\)", re.MULTILINE)
AGAIN = re.compile(r"-again2?$")
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def cmocka_counts(output):
    """(passed, failed, skipped) as a cmocka program said it; None if it is not one."""
    counts = {"PASSED": 0, "FAILED": 0, "SKIPPED": 0}
    found = CMOCKA.findall(ANSI.sub("", output))
    for word, number in found:
        counts[word] += int(number)
    if not found:
        return None
    return counts["PASSED"], counts["FAILED"], counts["SKIPPED"]


def junit_case(case):
    """(passed, failed, skipped) of one <testcase>."""
    broken = case.find("failure") is not None or case.find("error") is not None
    broken = broken or case.get("status") == "fail"
    skipped = case.find("skipped") is not None or case.get("status") in ("notrun", "disabled")
    counts = cmocka_counts(case.findtext("system-out") or "")
    if counts is not None:
        passed, failed, skips = counts
        if broken and failed == 0:
            failed = 1  # it crashed, or leaked after its last test
        return passed, failed, skips
    if broken:
        return 0, 1, 0
    return (0, 0, 1) if skipped else (1, 0, 0)


def junit_file(file):
    """Yields (passed, failed, skipped, name) for each case."""
    for case in xml.etree.ElementTree.parse(file).getroot().iter("testcase"):
        parts = [case.get("classname"), case.get("name")]
        if parts[0] == parts[1]:
            parts = parts[:1]
        yield (*junit_case(case), "::".join(p for p in parts if p))


def settled(rows, tries):
    """The rows, those that failed replaced by what a later try said; and the names of those that passed then."""
    passed = {row[3]: row for file in tries if file.exists() for row in junit_file(file) if row[0] and not row[1]}
    unsteady = [row[3] for row in rows if row[1] and row[3] in passed]
    return [passed[row[3]] if row[3] in unsteady else row for row in rows], unsteady


def main():
    if sys.argv[1] == "--failed":
        print(sum(failed for _, failed, _, _ in junit_file(sys.argv[2])))
        return 0
    folder = pathlib.Path(sys.argv[1])
    total = [0, 0, 0]
    failures = []
    unsteady = []
    files = [f for f in sorted(folder.glob("*.xml")) if not AGAIN.search(f.stem)]
    for file in files + sorted(folder.glob("*.count")):
        try:
            if file.suffix == ".xml":
                tries = [file.with_stem(file.stem + again) for again in ("-again", "-again2")]
                rows, shaky = settled(list(junit_file(file)), tries)
                unsteady += [f"{file.stem}: {name}" for name in shaky]
            else:
                passed, failed, skipped, name = file.read_text().strip().split(" ", 3)
                rows = [(int(passed), int(failed), int(skipped), name)]
        except (ValueError, xml.etree.ElementTree.ParseError) as why:
            rows = [(0, 1, 0, f"unreadable result: {why}")]
        sums = [sum(row[i] for row in rows) for i in range(3)]
        total = [a + b for a, b in zip(total, sums)]
        print(f"{file.stem:32} {sums[0]:5} passed {sums[1]:4} failed {sums[2]:4} skipped")
        failures += [f"{file.stem}: {name}" for _, failed, _, name in rows if failed]

    for name in unsteady:
        print(f"UNSTEADY {name} (failed, and passed when it ran again alone)")
    for failure in failures:
        print(f"FAILED {failure}")
    print(f"{total[0]} passed, {total[1]} failed, {total[2]} skipped")
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main())
