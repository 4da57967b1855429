"""What the operating system knows about processes: CPU time and memory of a program and its children."""

import os
import pathlib
import time

# The kernel's clock of one process: user + system time of all its threads, living and gone, in
# nanoseconds. /proc/PID/stat has the same figure in ticks of 10 ms, too coarse for an idle program.
_CPUCLOCK_SCHED = 2


def cpu_seconds(pid):
    try:
        return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)
    except OSError:
        return 0.0


def tree(pid):
    """The process and its descendants."""
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found


def rss_bytes(pids):
    """Memory of a program that may be several processes: of the largest all, of the others what is theirs alone. What
    they share, libraries and pages from before a fork, is in memory once."""
    largest, largest_own, own = 0, 0, 0
    for pid in pids:
        try:
            text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        sizes = {line.split()[0]: int(line.split()[1]) << 10 for line in text.splitlines()[1:]}
        alone = sizes["Private_Clean:"] + sizes["Private_Dirty:"]
        own += alone
        if sizes["Rss:"] > largest:
            largest, largest_own = sizes["Rss:"], alone
    return own - largest_own + largest


def machine_busy_seconds():
    """CPU time that this machine spent on anything at all (including what the host stole from it)."""
    fields = [int(n) for n in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    user, nice, system, _idle, _wait, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
