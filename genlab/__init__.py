"""Modules:

- `genlab.cli`: The command line: genlab train, sample, evaluate, list."""

import functools
import json
import math
import os
import sys
from collections.abc import Callable
from types import FunctionType, SimpleNamespace
from typing import Annotated, NamedTuple

__all__ = ["UserError", "budget", "claim", "exercise", "printable"]

BUDGETS = ("smoke", "laptop", "gpu")


def printable(text: object) -> str:
    "A text whose control characters are written out, such as \\x1b, so that a name can't steer a terminal."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


class UserError(ValueError):
    "Something that the user can put right. Its message says what was wrong, what was expected and what to do."

    def __str__(self) -> str:
        return printable(super().__str__())


class Range(NamedTuple):
    "Stands in a setting's type, and limits a number or the length of a tuple: `Annotated[int, Range(1, 8)]`."

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False   # must it be above `low`, not equal to it?
    high_open: bool = False  # and below `high`?

    def __contains__(self, x: float) -> bool:
        above = x > self.low if self.low_open else x >= self.low
        below = x < self.high if self.high_open else x <= self.high
        return above and below

    def __str__(self) -> str:
        low = f"{'above' if self.low_open else 'at least'} {self.low:,}" if self.low > -math.inf else ""
        high = f"{'below' if self.high_open else 'at most'} {self.high:,}" if self.high < math.inf else ""
        return " and ".join(limit for limit in (low, high) if limit)


Positive = Annotated[int, Range(1, 10**9)]              # steps, samples
NotNegative = Annotated[int, Range(0, 10**9)]
Size = Annotated[int, Range(1, 2**16)]                  # a width, a number of heads or codes
Layers = Annotated[int, Range(1, 256)]                  # of a network, one after the other
Blocks = Annotated[int, Range(0, 256)]                  # layers, or feature maps, that there may be none of
Sizes = Annotated[tuple[Size, ...], Range(1, 32)]       # a width for each level
Seed = Annotated[int, Range(0, 2**40 - 1)]
PositiveFloat = Annotated[float, Range(0, low_open=True)]
NotNegativeFloat = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1, high_open=True)]   # a dropout, a decay
Probability = Annotated[float, Range(0, 1)]             # how often something is done, always included


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


def _watched(f, returned: list):
    "The same function, which also notes what it returns."
    @functools.wraps(f)
    def call(*args, **kwargs):
        out = f(*args, **kwargs)
        returned.append(out)
        return out

    return call


def exercise(check):
    "Make a function of asserts into the check of an exercise: it prints what is missing, and returns whether all held."

    @functools.wraps(check)
    def judged(*args, **kwargs) -> bool:
        returned = []
        try:
            check(*(_watched(a, returned) if isinstance(a, FunctionType) else a for a in args), **kwargs)
        except Exception as e:  # a reader's object may fail in any way, and the notebook goes on
            if isinstance(e, AssertionError) and str(e):
                print(f"Not yet: {e}")
            elif returned and returned[-1] is None:
                print("Not yet: it returns nothing. Put your code in place of the `...`, and return the result.")
            else:
                print(f"Not yet: {type(e).__name__}: {e}")
            return False
        print("Right.")
        return True

    return judged


def claim(
    sentence: str,  # what the chapter says about a trained model
    value: float,  # what was measured; a number or a tensor with one
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    smoke: float | tuple[float, float] | None = None,  # the bound at the smoke budget, if it is another one there
    seeds: int | None = None,  # how many seeds stand behind the value
) -> None:
    """Print a sentence with its value and bound; raises AssertionError if it doesn't hold at this budget.

    With both bounds, `smoke` is a pair. Where the environment variable GENLAB_CLAIMS names a file, the claim is added
    to it as a line of JSON; so `make chapters` collects the ledger, nbs/claims.json."""
    low, high = bounds = claimed_bounds(at_least, at_most, smoke)
    value = float(value)
    wanted = " and ".join(f"{name} {bound:g}" for name, bound in zip(("at least", "at most"), bounds, strict=True)
                          if bound is not None)
    said = f"{sentence}: {value:.4g} ({wanted})"
    holds = math.isfinite(value) and (low is None or value >= low) and (high is None or value <= high)
    assert holds, f"this claim does not hold: {said}"
    if ledger := os.environ.get("GENLAB_CLAIMS"):
        line = dict(claim=sentence, value=value, at_least=low, at_most=high, seeds=seeds)
        try:
            with open(ledger, "a", encoding="utf-8") as f:
                f.write(json.dumps({name: v for name, v in line.items() if v is not None}, ensure_ascii=False) + "\n")
        except (OSError, ValueError) as e:
            raise UserError(f"GENLAB_CLAIMS names {ledger[:300]}, which can't be written ({e.args[-1]}). Name a file, "
                            "or unset it.") from None
    print(said)


def claimed_bounds(low, high, smoke) -> tuple[float | None, float | None]:
    "The bounds of a claim at this budget. Raises TypeError if it has none, or if they are not numbers."
    if low is None and high is None:
        raise TypeError("a claim needs a bound: at_least, at_most, or both")
    if smoke is not None and budget_name() == "smoke":
        if low is not None and high is not None:
            low, high = smoke
        else:
            low, high = (None, smoke) if low is None else (smoke, None)
    if not all(bound is None or math.isfinite(bound) for bound in (low, high)):
        raise TypeError(f"the bounds of a claim are numbers, not {low} and {high}")
    return low, high


def too_large(e: Exception) -> bool:
    "Whether PyTorch or Python failed for want of memory."
    return isinstance(e, MemoryError) or any(word in str(e) for word in ("allocate", "overflowed"))


def exit_code(
    do: Callable[[], object],  # what a command was asked for
    who: str = "genlab",       # its name, in front of what is said
) -> int:
    """0 if all went well, 2 after something that the user can put right, which is said in a sentence.

    130 after Ctrl-C, and 141 where who reads has closed the pipe, as a shell would say."""
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's has no encoding to fail at
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        do()
        sys.stdout.flush()
        return 0
    except UserError as e:
        said = str(e)
    except BrokenPipeError:  # `genlab list | head -1`: who reads has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as e:
        said = (f"{e.strerror or e}{f': {e.filename}' if e.filename else ''}. Make room or permission there, then try "
                "again; a run that was begun goes on with genlab train --resume RUN.")
        try:
            os.getcwd()
        except FileNotFoundError:
            said = "the current folder was deleted. Change into one that is there."
    except (MemoryError, RuntimeError) as e:
        if not too_large(e):
            raise
        said = "the model or its samples need more memory than there is. Choose smaller settings, or fewer samples."
    except KeyboardInterrupt as e:
        print(f"\n{who}: {str(e) or 'stopped; what began goes on with genlab train --resume RUN'}", file=sys.stderr)
        return 130
    print(f"{who}: {said}", file=sys.stderr)
    return 2


def __getattr__(name):
    if name == "__version__":  # its home is settings.ini, from where the installed metadata has it
        from importlib.metadata import version

        return version("genlab")
    raise AttributeError(f"module 'genlab' has no attribute {name!r}")
