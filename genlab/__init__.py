"""Modules:

- `genlab.cli`: The command line: genlab train, sample, evaluate, list."""

import functools
import math
import os
from types import SimpleNamespace
from typing import Annotated, NamedTuple

__all__ = ["UserError", "budget", "exercise"]

BUDGETS = ("smoke", "laptop", "gpu")


class UserError(ValueError):
    "Something that the user can put right. Its message says what was wrong, what was expected and what to do."


class Range(NamedTuple):
    "Stands in a setting's type, and limits a number or the length of a tuple: `Annotated[int, Range(1, 8)]`."

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False   # must it be above `low`, not equal to it?
    high_open: bool = False  # and below `high`?

    def holds(self, x: float) -> bool:
        above = x > self.low if self.low_open else x >= self.low
        below = x < self.high if self.high_open else x <= self.high
        return above and below

    def __str__(self) -> str:
        low = f"{'above' if self.low_open else 'at least'} {self.low:,}" if self.low > -math.inf else ""
        high = f"{'below' if self.high_open else 'at most'} {self.high:,}" if self.high < math.inf else ""
        return " and ".join(limit for limit in (low, high) if limit)


Positive = Annotated[int, Range(1, 10**9)]              # steps, samples
NotNegative = Annotated[int, Range(0, 10**9)]
Size = Annotated[int, Range(1, 2**16)]                  # a width, a number of layers, heads or codes
Sizes = Annotated[tuple[Size, ...], Range(1, 32)]       # a width for each level
Seed = Annotated[int, Range(0, 2**40 - 1)]
PositiveFloat = Annotated[float, Range(0, low_open=True)]
NotNegativeFloat = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1, high_open=True)]   # a dropout, a decay


def budget_name() -> str:  # "smoke", "laptop" or "gpu"
    "The size at which chapters run: `GENLAB_BUDGET` if set, else smoke under nbdev-test, gpu with CUDA, or laptop."
    name = os.environ.get("GENLAB_BUDGET")
    if not name:
        if os.environ.get("IN_TEST"):  # nbdev-test sets it for a chapter and the processes that the chapter starts
            return "smoke"
        import torch

        return "gpu" if torch.cuda.is_available() else "laptop"
    if name not in BUDGETS:
        known = ", ".join(BUDGETS)
        raise UserError(f"GENLAB_BUDGET is {name!r}; expected one of {known}. Set it to one of them, or unset it.")
    return name


def budget(
    *,
    smoke: dict,  # for tests: seconds
    laptop: dict,  # for two CPU cores: minutes
    gpu: dict,  # for one GPU, Colab's included
) -> SimpleNamespace:  # the chosen settings as attributes, and `name`
    "The one call by which a chapter picks its size."
    name = budget_name()
    return SimpleNamespace(name=name, **dict(smoke=smoke, laptop=laptop, gpu=gpu)[name])


def before_nbdev_test(cells: list) -> None:  # all cells that will run
    "Called by nbdev-test before its workers start (pyproject.toml says so): one thread each, figures without a window."
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers that wait for each other's threads are 5 to 20 times slower
    os.environ.setdefault("MPLBACKEND", "agg")


def exercise(check):
    "Make a function of asserts into the check of an exercise: it prints what is missing, and returns whether all held."

    @functools.wraps(check)
    def judged(*args, **kwargs) -> bool:
        try:
            check(*args, **kwargs)
        except Exception as e:  # a reader's object may fail in any way, and the notebook goes on
            print(f"Not yet: {e}" if isinstance(e, AssertionError) and str(e) else f"Not yet: {type(e).__name__}: {e}")
            return False
        print("Right.")
        return True

    return judged


def __getattr__(name):
    if name == "__version__":  # its home is settings.ini, from where the installed metadata has it
        from importlib.metadata import version

        return version("genlab")
    raise AttributeError(f"module 'genlab' has no attribute {name!r}")
