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
    total = 0
    page = os.sysconf("SC_PAGE_SIZE")
    for pid in pids:
        try:
            total += int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * page
        except OSError:
            pass
    return total


def machine_busy_seconds():
    """CPU time that this machine spent on anything at all (including what the host stole from it)."""
    fields = [int(n) for n in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    user, nice, system, _idle, _wait, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
