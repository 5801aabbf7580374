"""What strangers and bad days hand over: tables of bad inputs, how each is made, and the sentence it must lead to.

A module for each kind: config, layouts, checkpoints, weights, records, options, environment. `tests/test_bad_inputs.py`
goes through all of them.
"""

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Bad:
    "A bad input."

    cause: str  # what is wrong, in a few words; no two have the same
    # spoils what lies in a folder, and returns the words after `genlab`, or a function that must raise a UserError
    make: Callable[[Path], list | Callable[[], object]]
    says: str  # regular expression that the sentence must hold
    needs: tuple[str, ...] = ("pi-vae",)  # finished runs that are copied into the folder first
    env: dict[str, str] = field(default_factory=dict)  # environment variables; {here} stands for the folder


def replaced(file: str, old: str, new: str) -> Callable[[Path], None]:
    "Changes a text file of the folder; the old text must be there exactly once."

    def change(here: Path) -> None:
        text = (here / file).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {file}"
        (here / file).write_text(text.replace(old, new), encoding="utf-8")

    return change


def written(file: str, content: bytes | str) -> Callable[[Path], None]:
    "Puts a file in the place of another, or where none is."

    def change(here: Path) -> None:
        (here / file).parent.mkdir(parents=True, exist_ok=True)
        (here / file).write_bytes(content.encode() if isinstance(content, str) else content)

    return change


def then(*steps: Callable[[Path], None], run: list | Callable[[], object]) -> Callable[[Path], object]:
    "Several changes, then the command, or the function."

    def make(here: Path):
        for step in steps:
            step(here)
        return run

    return make


def edited(file: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    "Changes the bytes of a file; they must not stay what they were."

    def edit(here: Path) -> None:
        before = (here / file).read_bytes()
        after = change(before)
        assert after != before, f"{file} is what it was"
        (here / file).write_bytes(after)

    return edit


def gone(*files: str) -> Callable[[Path], None]:
    "Takes files away."

    def take(here: Path) -> None:
        for file in files:
            (here / file).unlink()

    return take


class Gift:
    "Its pickle makes the file `ran` where it is loaded as a program."

    def __reduce__(self):
        return Path.touch, (Path("ran"),)


# Who waits for a pipe's end gets it after two seconds, and finds the file `waited`: the folder has changed.
ENDS = """(sleep 2; for i in 1 2 3 4 5; do
    [ -p "$0" ] && timeout 4 sh -c 'exec 3>"$0"; : >"$1"' "$0" "$1"
done) </dev/null >/dev/null 2>&1 &"""


def placed(file: str, what: str) -> Callable[[Path], None]:
    "Puts a folder, a pipe, a link to nowhere, or a link to itself in the place of a file."

    def change(here: Path) -> None:
        path = here / file
        path.unlink(missing_ok=True)
        if what == "folder":
            path.mkdir()
        elif what == "pipe":
            os.mkfifo(path)
            subprocess.run(["sh", "-c", ENDS, path, here / "waited"], check=True)
        else:
            path.symlink_to({"link to nowhere": "nowhere", "link to itself": path.name}[what])

    return change
