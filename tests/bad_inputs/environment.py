"Bad surroundings: environment variables, current folders, places for output that are none, what others have left."

import fcntl
import gzip
import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from layouts import idx, write_celeba

from bad_inputs import Bad, then, written
from genlab import claim
from genlab.workshop import datasets

DIGITS = ["train", "vae", "--data", "mnist", "--out", "new"]
CLOTHES = ["train", "vae", "--data", "fashion_mnist", "--out", "new"]
TRAIN = ["train", "pi-vae", "--budget", "smoke", "--out"]
RESUME = ["train", "--resume", "pi-vae"]
SAMPLE = ["sample", "pi-vae", "--out"]
NOT_THERE = ", named by GENLAB_DATA, does not exist"
OPEN = []  # what would close by itself if nobody held it
NO_NETWORK = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")


def data(folder: str, **others: str) -> dict[str, str]:
    return dict(GENLAB_DATA=folder, **others)


def folder(*names: str) -> Callable[[Path], None]:
    return lambda here: [(here / name).mkdir(parents=True) for name in names]


def link(name: str, to: str) -> Callable[[Path], None]:
    return lambda here: (here / name).symlink_to(to)


def unmeasured(here: Path) -> None:
    "The run has trained all its steps, and its numbers are missing."
    (here / "pi-vae/metrics.json").unlink()


def gone(here: Path) -> None:
    "The current folder is deleted."
    (here / "gone").mkdir()
    os.chdir(here / "gone")
    (here / "gone").rmdir()


def inside(place: str) -> Callable[[Path], None]:
    return lambda here: os.chdir(place)


def in_time(here: Path) -> None:
    "Ends the test where it would wait for ever."
    def wake(*_) -> None:
        assert os.environ.get("GENLAB_DATA") != "/proc", "it has waited for 30 s"  # else the test is over

    signal.signal(signal.SIGALRM, wake)
    signal.alarm(30)


def untried(here: Path) -> None:
    "Forgets that a download has failed in this process."
    datasets._failed.clear()


def packed(here: Path) -> None:
    "A data set of which only one packed file is there, in one of its folders."
    written("data/Fashion_MNIST/train-images-idx3-ubyte.gz", gzip.compress(idx(np.zeros((2, 28, 28), np.uint8))))(here)


def held(here: Path) -> None:
    "Somebody else trains in the run; a lock belongs to who has opened the file, so this process can play them."
    OPEN.append((here / "pi-vae/.lock").open("a"))
    fcntl.flock(OPEN[-1], fcntl.LOCK_EX)


def full(here: Path) -> None:
    "What is printed goes to a full disk."
    OPEN.append(open("/dev/full", "wb", buffering=0))
    sys.stdout = io.TextIOWrapper(OPEN[-1], write_through=True)  # capsys puts the other one back


def making(here: Path) -> None:
    "A file where the run folder is put together."
    (here / f".new.making-{os.getpid()}").touch()


def full_disk(here: Path) -> None:
    "A disk that is full when a data set is unpacked."
    raw = here / "data/FashionMNIST/raw"
    raw.mkdir(parents=True)
    (raw / f".train-images-idx3-ubyte.{os.getpid()}").symlink_to("/dev/full")


def celeba(here: Path) -> None:
    write_celeba(here / "data", 30)
    (here / "data/celeba/decoded").touch()


def counted() -> None:
    "What a chapter says of a trained model."
    claim("one is one", 1.0, at_least=1)


DATA = [
    Bad("a data folder that isn't there", then(run=DIGITS), "/nowhere" + NOT_THERE, (), data("/nowhere")),
    Bad("a data folder that is a file", then(written("data", ""), run=DIGITS),
        "/data is a file; expected a folder for data sets", (), data("{here}/data")),
    Bad("a data folder that is a link to nowhere", then(link("data", "away"), run=DIGITS), "/data" + NOT_THERE, (),
        data("{here}/data")),
    Bad("a data folder that is a link to itself", then(link("loop", "loop"), run=DIGITS), "/loop" + NOT_THERE, (),
        data("{here}/loop")),
    Bad("a data folder below a file", then(written("file", ""), run=DIGITS), "/file/data" + NOT_THERE, (),
        data("{here}/file/data")),
    Bad("a data folder with a name of 300 letters", then(run=DIGITS),
        r"/d{50,} .*can't be the data folder \(File name too long\)", (), data("/" + "d" * 300)),
    Bad("a data folder 3,000 folders deep", then(run=DIGITS),
        r"/d/d.*can't be the data folder \(File name too long\)", (), data("/d" * 3_000)),
    Bad("a data folder that is a device", then(run=DIGITS), "/dev/full is a file; expected a folder", (),
        data("/dev/full")),
    Bad("a data folder of the kernel", then(run=DIGITS), "mnist was not found .*/sys can't be written", (),
        data("/sys")),
    # there a file that can't be made looks like one that somebody else has just removed
    Bad("a data folder of processes", then(in_time, run=DIGITS), "mnist was not found .*/proc can't be written", (),
        data("/proc")),
    Bad("the home of a user whom nobody knows", then(run=DIGITS), "~nobody-knows/data can't be the data folder", (),
        data("~nobody-knows/data")),
    Bad("a home that is a file", then(written("home", ""), run=DIGITS), "/home/data" + NOT_THERE, (),
        data("~/data", HOME="{here}/home")),
    Bad("a variable in a data folder's name", then(run=DIGITS), r"\$HOME/data" + NOT_THERE, (), data("$HOME/data")),
    Bad("quotes around a data folder's name", then(folder("data"), run=DIGITS), '/data"' + NOT_THERE, (),
        data('"{here}/data"')),
    Bad("two data folders, as in a PATH", then(folder("a", "b"), run=DIGITS), "/a:.*/b" + NOT_THERE, (),
        data("{here}/a:{here}/b")),
    Bad("a data folder named by a blank", then(run=DIGITS), "data folder +" + NOT_THERE, (), data(" ")),
    Bad("a data folder with colours in its name", then(run=DIGITS), r"/\\x1b\[31mdata" + NOT_THERE, (),
        data("/\x1b[31mdata")),
    Bad("a data folder with two lines in its name", then(run=DIGITS), "/one two" + NOT_THERE, (), data("/one\ntwo")),
    Bad("a data folder whose name isn't UTF-8", then(run=DIGITS), r"/caf\\udce9" + NOT_THERE, (), data("/caf\udce9")),
    Bad("a zero byte in a data folder's name", then(run=lambda: datasets.data_folder("a\0b")),
        r"a\\x00b, named by root, does not exist", ()),
    Bad("an empty data folder and no network", then(folder("data"), run=DIGITS),
        "mnist was not found .*can't be downloaded", (), data("{here}/data", **NO_NETWORK)),
    Bad("a folder where a download has its lock", then(folder("data/.download.lock"), run=DIGITS),
        "mnist was not found .*can't be written: .*Is a directory", (), data("{here}/data")),
    Bad("a link where a download has its lock", then(
        folder("data"), link("data/.download.lock", "/dev/null"), run=DIGITS),
        "mnist was not found .*can't be written: .*symbolic link", (), data("{here}/data")),
    Bad("a file where a download goes", then(
        untried, written("data/.download", ""), written("data/.download.lock", ""), run=DIGITS),
        "mnist was not found .*can't be written: .*File exists", (), data("{here}/data")),
    Bad("a file where a data set is unpacked", then(packed, written("data/FashionMNIST", ""), run=CLOTHES),
        r"data folder .*/data can't be used \((File exists|Not a directory)", (), data("{here}/data")),
    Bad("no room to unpack a data set", then(packed, full_disk, run=CLOTHES),
        r"data folder .*/data can't be used \(No space left on device", (), data("{here}/data")),
    Bad("a file where decoded pictures go", then(celeba, run=["train", "vae", "--data", "celeba", "--out", "new"]),
        r"data folder .*/data can't be used \(File exists", (), data("{here}/data")),
]

BUDGETS = [
    Bad(f"a budget {how}", then(run=["train", "pi-vae", "--out", "new"]), f"GENLAB_BUDGET is {said}; expected one of",
        (), dict(GENLAB_BUDGET=name))
    for how, name, said in (
        ("that there isn't", "tiny", "'tiny'"), ("in capitals", "SMOKE", "'SMOKE'"), ("and a blank", "gpu ", "'gpu '"),
        ("and another one", "smoke,gpu", "'smoke,gpu'"), ("that is a number", "1", "'1'"),
        ("that would clear the screen", "smoke\x1b[2J", r"'smoke\\x1b\[2J'"))
]

PROCESSES = [
    Bad("a number of processes in words", then(run=[*TRAIN, "new"]), "WORLD_SIZE", (), dict(WORLD_SIZE="two")),
    Bad("a training in no process", then(run=[*TRAIN, "new"]), "WORLD_SIZE", (), dict(WORLD_SIZE="0")),
    Bad("three processes for a batch of 100", then(run=[*TRAIN, "new"]), "batch of 100 can't be cut into 3 equal", (),
        dict(WORLD_SIZE="3")),
    Bad("accumulation that DeepSpeed would choose", then(unmeasured, run=RESUME),
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS", env=dict(ACCELERATE_GRADIENT_ACCUMULATION_STEPS="auto")),
    Bad("a compiler that Accelerate doesn't know", then(unmeasured, run=RESUME), "ACCELERATE_DYNAMO_BACKEND|(?i:turbo)",
        env=dict(ACCELERATE_DYNAMO_BACKEND="turbo")),
    Bad("DeepSpeed, which isn't installed", then(unmeasured, run=RESUME), "(?i)deepspeed",
        env=dict(ACCELERATE_USE_DEEPSPEED="true")),
]

CLAIMS = [
    Bad("a ledger that is a folder", then(folder("ledger"), run=counted), "GENLAB_CLAIMS.*ledger", (),
        dict(GENLAB_CLAIMS="{here}/ledger")),
    Bad("a ledger in a folder that isn't there", then(run=counted), "GENLAB_CLAIMS.*nowhere", (),
        dict(GENLAB_CLAIMS="/nowhere/claims")),
    Bad("a ledger on a full disk", then(run=counted), "GENLAB_CLAIMS.*/dev/full", (), dict(GENLAB_CLAIMS="/dev/full")),
    Bad("a ledger with a name of 300 letters", then(run=counted), "GENLAB_CLAIMS.*too long", (),
        dict(GENLAB_CLAIMS="{here}/" + "c" * 300)),
]

CURRENT = [
    Bad("training in a folder that was deleted", then(gone, run=["train", "pi-vae", "--budget", "smoke"]),
        "[Cc]urrent folder", ()),
    Bad("samples for a folder that was deleted", lambda here: (gone(here), ["sample", here / "pi-vae"])[1],
        "[Cc]urrent folder"),
    Bad("a run in a folder that was deleted", then(gone, run=["evaluate", "pi-vae"]),
        "pi-vae is not a run folder|[Cc]urrent folder"),
    Bad("training in a folder of the kernel", then(inside("/proc"), run=["train", "pi-vae", "--budget", "smoke"]),
        r": runs\b", ()),
    Bad("samples in a folder of the kernel", lambda here: (inside("/sys")(here), ["sample", here / "pi-vae"])[1],
        r": samples\.png"),
    Bad("a full disk for what is printed", then(full, run=["list"]), "No space left on device", ()),
]

PLACES = [
    Bad("a run below a link to nowhere", then(link("away", "nowhere"), run=[*TRAIN, "away/new"]), r"\baway\b", ()),
    Bad("a run below a link to itself", then(link("loop", "loop"), run=[*TRAIN, "loop/new"]), r"\bloop\b", ()),
    Bad("a run whose name leaves no room for another one", then(run=[*TRAIN, "n" * 250]), "File name too long: .*nn",
        ()),
    Bad("a run in the place of a link to itself", then(link("loop", "loop"), run=[*TRAIN, "loop"]),
        "loop exists, and nothing", ()),
    Bad("settings below a link to itself", then(
        link("loop", "loop"), run=[*TRAIN, "new", "--config", "loop/config.yaml"]),
        "loop is not a run folder", ()),
    Bad("points in a link to itself", then(link("loop", "loop"), run=[*TRAIN, "new", "--data", "loop"]),
        "loop is not a folder", ()),
    Bad("a VQ-VAE that is a link to itself", then(link("loop", "loop"), run=["train", "prior", "--vqvae", "loop"]),
        "loop is not a run folder", ()),
    Bad("a run 3,000 folders deep", then(run=[*TRAIN, "/d" * 3_000]), "File name too long: /d/d", ()),
    Bad("a run in the place of a pipe", then(lambda here: os.mkfifo(here / "new"), run=[*TRAIN, "new"]),
        "new exists, and nothing", ()),
    Bad("a run in a folder of the kernel", then(run=[*TRAIN, "/proc/new"]), r"/proc/(\.new\.making|new)", ()),
    Bad("a run in the folder above itself", then(run=[*TRAIN, "new/.."]), r"new/\.\.", ()),
    Bad("new folders, and in them a name of 300 letters", then(run=[*TRAIN, f"a/b/{'n' * 300}"]),
        "File name too long: a/b/", ()),
    Bad("a run with two lines in its name", then(folder("new\nrun"), run=[*TRAIN, "new\nrun"]),
        r"new\\nrun exists, and nothing", ()),
    Bad("a run whose name isn't UTF-8", then(folder("caf\udce9"), run=[*TRAIN, "caf\udce9"]),
        r"caf\\udce9 exists, and nothing", ()),
    Bad("a file where the run is put together", then(making, run=[*TRAIN, "new"]), r"\.new\.making-\d+", ()),
    Bad("samples below a link to nowhere", then(link("away", "nowhere"), run=[*SAMPLE, "away/s.png"]), r"\baway\b"),
    Bad("samples below a link to itself", then(link("loop", "loop"), run=[*SAMPLE, "loop/s.png"]), r"\bloop\b"),
    Bad("samples in the place of a link to itself", then(link("loop.png", "loop.png"), run=[*SAMPLE, "loop.png"]),
        "loop.png exists, and was not touched"),
    Bad("samples in a folder without room for files", then(run=[*SAMPLE, "/proc/s.npy"]), r"/proc/s\.npy"),
    Bad("samples whose name leaves no room for another one", then(run=[*SAMPLE, "s" * 249 + ".png"]),
        r"File name too long: s{249}\.png"),
    Bad("a folder where samples are written", then(folder(".s.writing.png"), run=[*SAMPLE, "s.png"]),
        r"Is a directory: .*s\.(writing\.)?png"),
]

RUNS = [
    Bad("a run that somebody else trains", then(unmeasured, held, run=RESUME), "another process is training in pi-vae"),
    Bad("a folder in the place of the lock", then(
        unmeasured, lambda here: (here / "pi-vae/.lock").unlink(), folder("pi-vae/.lock"), run=RESUME),
        r"Is a directory: .*pi-vae/\.lock"),
    Bad("a link in the place of the lock", then(
        unmeasured, lambda here: (here / "pi-vae/.lock").unlink(), link("pi-vae/.lock", "/dev/null"), run=RESUME),
        r"symbolic links: .*pi-vae/\.lock"),
    Bad("a file in the place of the pictures", then(
        unmeasured, lambda here: (here / "pi-vae/samples").rename(here / "saved"), written("pi-vae/samples", ""),
        run=RESUME), "pi-vae/samples"),
    Bad("a run to go on with that is a link to itself", then(link("loop", "loop"), run=["train", "--resume", "loop"]),
        "loop is not a run folder", ()),
    Bad("a list of runs in a link to itself", then(link("loop", "loop"), run=["list", "--runs", "loop"]),
        "loop is no folder; expected one that holds run folders", ()),
    Bad("a run that is a link to itself", then(link("loop", "loop"), run=["evaluate", "loop"]),
        "loop is not a run folder", ()),
]

ROWS = DATA + BUDGETS + PROCESSES + CLAIMS + CURRENT + PLACES + RUNS
