"""Runs what is missing of a study: python benchmarks/study.py NAME [--list] [--budget smoke]

A study is benchmarks/studies/NAME.py with
    ARMS   a list of plain dicts, each with a `seed` and the whole configuration beside it
    SMOKE  a shorter list for tests
    run    a function of one arm that returns a dict of its values
A finished arm is one line of genlab/studies/NAME.jsonl (at smoke: of runs/studies/NAME.jsonl, which git ignores).
Stop it whenever you like: the same command goes on where it was.
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

from genlab import UserError
from genlab.studies import LINES, read_lines

ROOT = Path(__file__).resolve().parent.parent
STUDIES = ROOT / "benchmarks" / "studies"
SMOKE_LINES = ROOT / "runs" / "studies"


def load(name: str) -> ModuleType:
    if str(STUDIES.parent) not in sys.path:
        sys.path.insert(0, str(STUDIES.parent))  # for clock.py
    spec = importlib.util.spec_from_file_location(name, STUDIES / f"{name}.py")
    study = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(study)
    return study


def key(arm: dict) -> str:
    "Arms are the same if nothing in them differs."
    return json.dumps(arm, sort_keys=True)


def arm_of(row: dict) -> dict:
    "The arm whose line this is."
    return row["config"] | dict(seed=row["seed"])


def config_of(arm: dict) -> dict:
    "What all seeds of this arm have in common."
    return {name: value for name, value in arm.items() if name != "seed"}


def read_arms(path: Path) -> dict[str, dict]:
    "The lines of a file by the key of their arm."
    return {key(arm_of(row)): row for row in read_lines(path)}


def append(path: Path, row: dict) -> None:
    "Add a line in one write, on the disk when this returns. Half a line that a kill left at the end goes first."
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.read_bytes().rfind(b"\n") + 1 if path.exists() else 0
    with open(path, "ab") as f:
        f.truncate(whole)
        f.write(json.dumps(row).encode() + b"\n")
        f.flush()
        os.fsync(f.fileno())


def tidy(path: Path, arms: list[dict]) -> None:
    "Once no arm is missing: the lines in the study's order, without those of arms that it no longer names."
    rows = read_arms(path)
    named = [rows.pop(key(arm)) for arm in arms]
    for row in rows.values():
        print(f"dropped, since the study no longer names it: {describe(arm_of(row))}")
    text = "".join(json.dumps(row) + "\n" for row in named)
    if text.encode() != path.read_bytes():
        from genlab.workshop.runs import write_atomically

        write_atomically(path, lambda p: p.write_text(text, encoding="utf-8", newline="\n"))


def describe(arm: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in arm.items())


def device() -> str:
    "What has computed so far, without the machine's name: a GPU only if it was used."
    torch = sys.modules.get("torch")  # a study that has not loaded it can't have used it
    if torch is None:
        return f"CPU, {platform.machine()}"
    cpu = f"{platform.machine()}, threads: {torch.get_num_threads()}"
    return f"{torch.cuda.get_device_name()}; {cpu}" if torch.cuda.is_initialized() else f"CPU, {cpu}"


def versions() -> dict[str, str]:
    "What a value may depend on; from the packages' metadata, so that nothing heavy is imported."
    return dict(python=platform.python_version(), **{name: version(name) for name in ("genlab", "torch", "numpy")})


def commit() -> str:
    "The commit that is checked out, with a + where files differ from it; the lines of studies don't count."

    def git(*args: str) -> str:
        return subprocess.run(["git", *args], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--", ".", ":!genlab/studies/*.jsonl")
    return git("rev-parse", "--short=12", "HEAD") + "+" * bool(changed)


def seconds_left(missing: list[dict], rows: dict[str, dict]) -> float | None:
    "By what other seeds of the same configuration took, else by the mean of all lines; None before the first line."
    if not rows:
        return None
    took = {key(row["config"]): row["seconds"] for row in rows.values()}
    typical = statistics.fmean(took.values())
    return sum(took.get(key(config_of(arm)), typical) for arm in missing)


def run_missing(study: ModuleType, arms: list[dict], path: Path) -> None:
    about = dict(versions=versions(), commit=commit())
    while missing := [arm for arm in arms if key(arm) not in read_arms(path)]:
        arm, left = missing[0], seconds_left(missing, read_arms(path))
        rest = "" if left is None else f" (this and the rest: about {left / 60:.1f} min)"
        print(f"[{len(arms) - len(missing) + 1}/{len(arms)}] {describe(arm)}{rest} ...", end=" ", flush=True)
        start = time.perf_counter()
        values = study.run(dict(arm))
        seconds = round(time.perf_counter() - start, 1)
        cost = dict(seconds=seconds, device=device())
        append(path, dict(config=config_of(arm), seed=arm["seed"], **cost, **about, values=values))
        print(f"{seconds:.1f} s", flush=True)
    tidy(path, arms)
    print(f"{path.name}: all {len(arms)} arms are there, {path.stat().st_size / 1e3:.1f} kB")


def show(arms: list[dict], path: Path) -> None:
    rows = read_arms(path)
    for arm in arms:
        row = rows.pop(key(arm), None)
        took = "missing" if row is None else f"{row['seconds']:.1f} s"
        print(f"{took:>10}  {describe(arm)}")
    for row in rows.values():
        print(f"{'not named':>10}  {describe(arm_of(row))}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = sorted(p.stem for p in STUDIES.glob("*.py"))
    parser.add_argument("name", metavar="NAME", choices=names, help=", ".join(names))
    parser.add_argument("--list", action="store_true", help="what is there and what is missing; runs nothing")
    parser.add_argument("--budget", choices=["smoke"], help="the short arms, into a file of their own")
    args = parser.parse_args(argv)
    study = load(args.name)
    smoke = args.budget == "smoke"
    arms = study.SMOKE if smoke else study.ARMS
    path = (SMOKE_LINES if smoke else LINES) / f"{args.name}.jsonl"
    try:
        if args.list:
            show(arms, path)
        else:
            run_missing(study, arms, path)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here")
        return 130
    except UserError as e:
        print(e, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
