"""Modules:

- `genlab.cli`: The command line: genlab train, sample, evaluate, list."""

import functools
import os
from types import SimpleNamespace

__all__ = ["UserError", "budget", "exercise"]

BUDGETS = ("smoke", "laptop", "gpu")


class UserError(ValueError):
    "Something that the user can put right. Its message says what was wrong, what was expected and what to do."


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
