"""Samples, their arithmetic, and the text files they are kept in (bench/results/CLAIM.tsv).

A sample is (case, subject, metric) → one value per round. Round i of every subject was taken next
to round i of every other, so a ratio is the median of the ratios of the rounds: what disturbs the
machine for a while disturbs both.
"""

import statistics


class Results:
    def __init__(self, claim):
        self.claim = claim
        self.about = {}  # when, where, which versions
        self.samples = {}  # (case, subject, metric): {round: value}
        self.missing = []  # what could not be measured, and why

    def add(self, case, subject, metric, turn, value):
        self.samples.setdefault((case, subject, metric), {})[turn] = float(value)

    def has(self, case, subject, metric):
        return (case, subject, metric) in self.samples

    def values(self, case, subject, metric):
        return list(self.samples.get((case, subject, metric), {}).values())

    def median(self, case, subject, metric):
        values = self.values(case, subject, metric)
        return statistics.median(values) if values else None

    def ratio(self, case, ours, rival):
        """(median, least, most) of ours ÷ rival; each is (subject, metric). None without both."""
        a = self.samples.get((case, *ours), {})
        b = self.samples.get((case, *rival), {})
        ratios = [a[turn] / b[turn] for turn in a if b.get(turn)]
        if not ratios:
            return None
        return statistics.median(ratios), min(ratios), max(ratios)

    def fail(self, what, why):
        self.missing.append(f"{what}: {' '.join(str(why).split())[:300]}")

    def save(self, path):
        lines = [f"# {key}\t{value}" for key, value in self.about.items()]
        lines += [f"! {text}" for text in self.missing]
        for (case, subject, metric), turns in self.samples.items():
            cells = " ".join(f"{turn}={value:.6g}" for turn, value in turns.items())
            lines.append(f"{case}\t{subject}\t{metric}\t{cells}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")

    @classmethod
    def load(cls, path):
        results = cls(path.stem)
        for line in path.read_text().splitlines():
            if line.startswith("# "):
                key, _, value = line[2:].partition("\t")
                results.about[key] = value
            elif line.startswith("! "):
                results.missing.append(line[2:])
            else:
                case, subject, metric, cells = line.split("\t")
                for cell in cells.split():
                    turn, _, value = cell.partition("=")
                    results.add(case, subject, metric, int(turn), value)
        return results
