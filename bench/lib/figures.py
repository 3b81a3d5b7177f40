"""What a benchmark yields: figures, each with its alternatives, goal, command and the state of the machine, as JSON and as
rows of a markdown table. A figure that could not be taken says why; nothing is ever filled in.
"""

import dataclasses
import datetime
import platform
import statistics


@dataclasses.dataclass
class Figure:
    name: str
    command: str
    values: dict            # label -> number, what was measured
    unit: str
    ratio: float | None = None   # what the goal speaks of
    goal: str = ""
    met: bool | None = None
    note: str = ""
    raw: dict = dataclasses.field(default_factory=dict)
    date: str = dataclasses.field(default_factory=lambda: datetime.datetime.now().astimezone().isoformat(timespec="minutes"))
    kernel: str = dataclasses.field(default_factory=platform.release)
    load_before: float = 0.0     # of the machine, before the bench began; set by who runs it

    def json(self):
        return dataclasses.asdict(self)

    def row(self):
        shown = "; ".join(f"{k} {_short(v)}" for k, v in self.values.items())
        ratio = "" if self.ratio is None else f"{self.ratio:.3f}"
        met = {True: "yes", False: "no", None: ""}[self.met]
        cells = [self.name, f"{shown} {self.unit}".strip(), ratio, self.goal, met, f"`{self.command}`", self.date,
                 self.kernel, f"{self.load_before:.1f}", self.note]
        return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"


HEADER = ("| figure | measured | ratio | goal | met | command | date | kernel | load before | note |\n"
          "|---|---|---|---|---|---|---|---|---|---|")


def unavailable(name, command, reason):
    return Figure(name, command, {}, "", note=f"not measured: {reason}")


def _short(value):
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def paired(a, b):
    """Median of b/a over pairs, with the order statistics that hold it with 95 % or more (from 6 pairs on)."""
    ratios = sorted(y / x for x, y in zip(a, b))
    n, low = len(ratios), 0
    # P(fewer than k of n pairs on one side) of a fair coin, both sides together, kept below 5 %.
    tail, term = 0.0, 0.5 ** n
    for k in range(n // 2):
        tail += term
        if 2 * tail > 0.05:
            break
        low = k
        term = term * (n - k) / (k + 1)
    return statistics.median(ratios), ratios[low], ratios[-1 - low]
