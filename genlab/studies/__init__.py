"""What several seeds showed: the lines of the studies that chapters draw from, and their reader.

NAME.jsonl holds one JSON object per arm. `benchmarks/study.py` writes these files; they lie in the package because a
chapter in Colab has nothing but the package.
"""

import json
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from genlab import UserError

__all__ = ["Arm", "Spread", "curves", "read_study", "runs", "spreads", "table"]

LINES = Path(__file__).parent
FIELDS = {"config", "seed", "seconds", "device", "versions", "commit", "values"}


def read_lines(path: Path) -> list[dict]:
    "The finished arms in a study's file. What follows the last newline is half a line, left by a kill, and is ignored."
    if not path.is_file():
        return []
    *lines, _ = path.read_bytes().split(b"\n")
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict) or row.keys() != FIELDS:
            raise UserError(
                f"{path}, line {number} is not one JSON object with {', '.join(sorted(FIELDS))}. "
                "Delete this line and run the study again: it does what is missing."
            )
        rows.append(row)
    return rows


def read_study(name: str) -> list[dict]:  # one dict per arm: config, seed, seconds, device, versions, commit, values
    "The arms of a study that ships with genlab, in its order."
    path = LINES / f"{name}.jsonl"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in LINES.glob("*.jsonl"))) or "none"
        raise UserError(f"There is no study {name!r}; there are: {known}. Choose one of them.")
    return read_lines(path)


@dataclass(frozen=True)
class Spread:
    "One measured value over the seeds of an arm."

    numbers: tuple[float, ...]
    "one per seed"

    @property
    def mean(self) -> float:
        return statistics.fmean(self.numbers)

    @property
    def low(self) -> float:
        return min(self.numbers)

    @property
    def high(self) -> float:
        return max(self.numbers)

    def next_seed(
        self,
        share: float = 0.99,  # of all cases
    ) -> tuple[float, float]:  # low, high
        "Prediction interval: where the value of one more seed lies, if seeds vary normally. Needs two seeds or more."
        from scipy.stats import t

        n = len(self.numbers)
        half = t.ppf(0.5 + share / 2, n - 1) * statistics.stdev(self.numbers) * math.sqrt(1 + 1 / n)
        return self.mean - half, self.mean + half


@dataclass(frozen=True)
class Arm:
    "All seeds of one configuration."

    config: dict
    seeds: list[int]
    values: dict[str, Spread]


def spreads(rows: list[dict]) -> list[Arm]:  # in the order in which the configurations first appear
    "Group the lines of a study by configuration: two that differ in anything but the seed are never averaged."
    groups = {}
    for row in rows:
        groups.setdefault(json.dumps(row["config"], sort_keys=True), []).append(row)
    return [
        Arm(
            config=group[0]["config"],
            seeds=[row["seed"] for row in group],
            values={name: Spread(tuple(row["values"][name] for row in group)) for name in group[0]["values"]},
        )
        for group in groups.values()
    ]


def runs(rows: list[dict], arm: str) -> list[dict]:  # the values, one dict for each seed
    "All runs of an arm of a study."
    return [row["values"] for row in rows if row["config"]["arm"] == arm]


def curves(
    ax,  # matplotlib's
    rows: list[dict],  # of a study whose values have a `curve`, a list of looks
    arm: str,
    value: str | Callable[[dict], float],  # a name in a look, or what to make of a look
    x: str = "seconds",
    label: str | None = None,  # for the legend: once, however many seeds
    **line,  # color, ls and so on
) -> None:
    "A line for each seed of an arm."
    read = value if callable(value) else lambda point: point[value]
    for i, run in enumerate(runs(rows, arm)):
        ax.plot(*zip(*[(point[x], read(point)) for point in run["curve"]], strict=True),
                **dict(lw=1.2) | line, label=None if i else label)


def table(
    rows: list[dict],  # of a study
    key: str,  # of the configuration: what names an arm
    names: list[str],  # the arms to show, in this order
    columns: dict[str, int],  # values to show, each with its number of decimals
) -> str:
    "Arms as lines of text: the mean over seeds ± half of their range; `-` for what has no value."
    arms = {arm.config[key]: arm.values for arm in spreads(rows)}
    lines = [[""] + list(columns)]
    for name in names:
        line = [name]
        for column, digits in columns.items():
            spread = arms[name].get(column)
            if spread is None or None in spread.numbers:
                line.append("-")
                continue
            half = f"{(spread.high - spread.low) / 2:.{digits}f}"
            line.append(f"{spread.mean:,.{digits}f}" + (f" ± {half.lstrip('0')}" if float(half) else ""))
        lines.append(line)
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns) + 1)]
    return "\n".join(
        line[0].ljust(widths[0]) + "".join(text.rjust(width + 2) for text, width in zip(line[1:], widths[1:], strict=True))
        for line in lines
    )
