"""Bad checkpoints: what lies in RUN/state when `genlab train --resume RUN` goes on.

The runs are finished, so their results are deleted first. Where a bad state shows only in a training that goes on, the
checkpoint is one of half the way."""

import math
import pickle
import struct
import zipfile
from collections.abc import Callable
from functools import reduce
from operator import getitem
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bad_inputs import Bad, Gift, placed

LAST = "pi-vae/state/000000100.pt"  # the only checkpoint of that run, which has 100 steps; those of images have 20
WEIGHT = ("networks", "model", "encoder.0.weight")  # (16, 5)
MOMENTS = ("optimizers", "model", "state", 0)       # of log_sigma, (5,)


# Files

def resume(*changes: Callable[[Path], object], run: str = "pi-vae") -> Callable[[Path], list]:
    "The run lost its results, its folder was changed, and it is told to go on."

    def make(here: Path) -> list:
        for name in ("metrics.json", "model.safetensors"):
            (here / run / name).unlink()
        for change in changes:
            change(here)
        return ["train", "--resume", run]

    return make


def file(change: Callable[[Path], object], run: str = "pi-vae") -> Callable[[Path], list]:
    "As `resume`, with the path of the checkpoint."
    return resume(lambda here: change(*(here / run / "state").glob("*.pt")), run=run)


def zipped(path: Path, change: Callable[[dict[str, bytes]], object]) -> None:
    "Writes the entries of a checkpoint again, whose names then don't have the archive's in front."
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename.partition("/")[2]: archive.read(info) for info in archive.infolist()}
    change(entries)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(f"archive/{name}", content)


def entries(change: Callable[[dict[str, bytes]], object]) -> Callable[[Path], list]:
    return file(lambda path: zipped(path, change))


def told(name: str, value: object) -> Callable[[Path], list]:
    "The archive says something about all its entries that isn't so."

    def change(path: Path) -> None:
        with zipfile.ZipFile(path, "a") as archive:
            for info in archive.filelist:
                setattr(info, name, value)
            archive._didModify = True

    return file(change)


def compressed(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        content = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in content.items():
            archive.writestr(name, value)


def overlapping(path: Path) -> None:
    "A hundred names for the same bytes."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data/0", bytes(10_000))
        archive.filelist *= 100
        archive._didModify = True


def flipped(path: Path) -> None:
    "One bit of a weight."
    with zipfile.ZipFile(path) as archive:
        info = max(archive.infolist(), key=lambda info: info.file_size)
    content = bytearray(path.read_bytes())
    name, extra = struct.unpack_from("<HH", content, info.header_offset + 26)
    content[info.header_offset + 30 + name + extra + info.file_size // 2] ^= 4
    path.write_bytes(content)


def pickled(*parts: bytes) -> Callable[[dict], None]:
    "Another pickle in the place of the archive's own."
    return lambda entries: entries.update({"data.pkl": b"\x80\x02" + b"".join(parts) + b"."})


def plain(value: object) -> bytes:
    "A value inside of a pickle."
    return pickle.dumps(value, 2)[2:-1]


EXEC = b"cbuiltins\nexec\n(" + plain("open('ran', 'w').close()") + b"tR"
NUMBERS = dict(step=100, updates=100, seconds=1.0, log=[], sums={}, counts={}, networks={})
DEEP = (b"}(" + b"".join(plain(name) + plain(value) for name, value in NUMBERS.items())
        + plain("best") + b"]" * 100_000 + b"a" * 99_999 + b"u")


# States

def put(*place, as_: object) -> Callable[[dict], dict]:
    "Something else, or a function of what it was, at a place of a state."

    def change(state: dict) -> dict:
        outer = reduce(getitem, place[:-1], state)
        outer[place[-1]] = as_(outer[place[-1]]) if callable(as_) else as_
        return state

    return change


def without(*place) -> Callable[[dict], dict]:
    def change(state: dict) -> dict:
        del reduce(getitem, place[:-1], state)[place[-1]]
        return state

    return change


def state(*changes: Callable[[dict], object], run: str = "pi-vae") -> Callable[[Path], list]:
    "The last checkpoint, changed."

    def change(path: Path) -> None:
        torch.save(reduce(lambda s, change: change(s), changes, torch.load(path, weights_only=True)), path)

    return file(change, run)


def middle(state: dict) -> dict:
    "The same in the middle of the training."
    step = state["step"] // 2
    return state | dict(step=step, updates=step, log=[row for row in state["log"] if row["step"] <= step])


def named(path: Path, state: object) -> None:
    "In a file with the name of its step."
    path.unlink()
    torch.save(state, path.with_name(f"{state['step']:09d}.pt"))


def halfway(*changes: Callable[[dict], dict], run: str = "pi-vae") -> Callable[[Path], list]:
    "A checkpoint of half the way, changed, under its own name."

    def change(path: Path) -> None:
        named(path, reduce(lambda s, change: change(s), (middle, *changes), torch.load(path, weights_only=True)))

    return file(change, run)


def two(*damaged: str) -> Callable[[Path], list]:
    "The newest two checkpoints, of which some are empty."

    def change(here: Path) -> None:
        path = here / LAST
        torch.save(middle(torch.load(path, weights_only=True)), path.with_name("000000050.pt"))
        for name in damaged:
            path.with_name(name).write_bytes(b"")

    return resume(change)


def of_step(step: int) -> Callable[[Path], list]:
    return file(lambda path: named(path, torch.load(path, weights_only=True) | dict(step=step)))


def nan(tensor: torch.Tensor) -> torch.Tensor:
    return torch.full_like(tensor, math.nan)


def first_version(state: dict) -> dict:
    "As the first version wrote it: one network."
    same = {name: state[name] for name in ("step", "seconds", "log", "sums", "best")}
    return same | dict(model=state["networks"]["model"], optimizers=[state["optimizers"]["model"]],
                       ema=state["average"], summed=0)


def of_another(path: Path, run: str, **changed) -> None:
    (other,) = (path.parents[2] / run / "state").glob("*.pt")
    named(path, torch.load(other, weights_only=True) | changed)


ROWS = [
    # The file
    Bad("an empty file", file(lambda path: path.write_bytes(b"")), r"100\.pt is damaged \(File is not a zip"),
    Bad("half a file", file(lambda path: path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])),
        r"100\.pt is damaged \(File is not a zip.*start again from step 0"),
    Bad("a zip of NumPy arrays", file(lambda path: np.savez(path.open("wb"), a=np.zeros(3))),
        r"is damaged \(.*(archive|data\.pkl)"),
    Bad("a compressed zip", file(compressed), r"is damaged \(it is compressed"),
    Bad("a hundred names for the same bytes", file(overlapping), r"is damaged \(its parts overlap"),
    Bad("entries that would be a gigabyte each", told("file_size", 10**9), r"is damaged \(its parts overlap"),
    Bad("a flipped bit", file(flipped), r"is damaged \(the checksum of .* is wrong"),
    Bad("encrypted entries", told("flag_bits", 1), r"is damaged \(.*encrypted"),
    Bad("an archive of TorchScript", entries(lambda e: e.update({"constants.pkl": b"\x80\x02)."})),
        r"is damaged \((?!.*weights_only)"),  # PyTorch advises to execute it
    Bad("no pickle in the archive", entries(lambda e: e.pop("data.pkl")), r"is damaged \("),
    Bad("a tensor's numbers are missing", entries(lambda e: e.pop("data/0")), r"is damaged \(.*data/0"),
    Bad("a tensor has fewer numbers than it says", entries(lambda e: e.update({"data/0": e["data/0"][:4]})),
        r"is damaged \("),
    Bad("bytes in an unknown order", entries(lambda e: e.update(byteorder=b"middle")), r"is damaged \(.*endian"),
    Bad("a format of the future", entries(lambda e: e.update(version=b"99\n")), r"is damaged \(.*version"),
    Bad("a pickle that ends early", entries(lambda e: e.update({"data.pkl": e["data.pkl"][:200]})), r"is damaged \("),
    Bad("an empty pickle", entries(lambda e: e.update({"data.pkl": b""})), r"is damaged \("),
    Bad("something to be executed beside the weights", state(lambda s: s | dict(gift=Gift())),
        r"is damaged \(it holds more than tensors"),
    Bad("a line of Python as the pickle", entries(pickled(EXEC)), r"is damaged \(it holds more than tensors"),
    Bad("something to be executed, without an archive", file(lambda path: path.write_bytes(pickle.dumps(Gift()))),
        r"is damaged \(File is not a zip"),
    Bad("something to be executed in front of the archive",
        file(lambda path: path.write_bytes(pickle.dumps(Gift()) + path.read_bytes())), r"is damaged \("),
    Bad("something to be executed in PyTorch's old format",
        file(lambda path: torch.save(dict(step=100, gift=Gift()), path, _use_new_zipfile_serialization=False)),
        r"is damaged \(File is not a zip"),
    Bad("a whole module", state(lambda s: nn.Linear(2, 2)), r"is damaged \(it holds more than tensors"),
    Bad("a NumPy array as a weight", state(put(*WEIGHT, as_=np.zeros((16, 5)))),
        r"is damaged \(it holds more than tensors"),
    Bad("a list", state(lambda s: [s]), r"is damaged \(it is not the checkpoint of the step in its name"),
    Bad("a tensor", state(lambda s: torch.ones(3)), r"is damaged \(it is not the checkpoint of the step in its name"),
    Bad("an empty dict", state(lambda s: {}), r"is damaged \(it is not the checkpoint of the step in its name"),
    Bad("named for another step", file(lambda path: path.rename(path.with_name("000000050.pt"))),
        r"050\.pt is damaged \(it is not the checkpoint of the step in its name"),
    Bad("a name that steers a terminal", file(lambda path: path.rename(path.with_name("1\x1b[2J.pt"))),
        r"1\\x1b\[2J\.pt is damaged"),
    Bad("a folder in its place", resume(placed(LAST, "folder")), r"100\.pt is damaged \(it is no regular"),
    Bad("a pipe in its place", resume(placed(LAST, "pipe")), r"100\.pt"),
    Bad("a link to nowhere in its place", resume(placed(LAST, "link to nowhere")), r"No such file.*100\.pt"),
    Bad("a link to itself in its place", resume(placed(LAST, "link to itself")), r"levels of symbolic links.*100\.pt"),
    Bad("a file in the place of the folder",
        file(lambda path: (path.unlink(), path.parent.rmdir(), path.parent.write_text("mine"))), r"pi-vae/state"),
    Bad("the newest of two is empty", two("000000100.pt"), r"100\.pt is damaged.*go on from 000000050\.pt"),
    Bad("both of two are empty", two("000000100.pt", "000000050.pt"), r"100\.pt is damaged"),

    # What it holds: names
    Bad("no step", state(without("step")), r"is damaged \(it is not the checkpoint of the step in its name"),
    Bad("no count of updates", state(without("updates")), r"state.*\bupdates\b"),
    Bad("no time", state(without("seconds")), r"state.*\bseconds\b"),
    Bad("no log", state(without("log")), r"state.*'log'"),
    Bad("no sums", state(without("sums")), r"state.*\bsums\b"),
    Bad("no counts", state(without("counts")), r"state.*\bcounts\b"),
    Bad("no best moment, not even none", state(without("best")), r"state.*'best'"),
    Bad("no word on the average's decay", state(without("grows")), r"state.*\bgrows\b"),
    Bad("no settings", state(without("settings")), r"state.*'settings'"),
    Bad("no networks", state(without("networks")), r"state.*('model'|networks)"),
    Bad("no optimisers", state(without("optimizers")), r"state.*optimizers"),
    Bad("no average", state(without("average")), r"state.*'average'"),
    Bad("the first version's form without its average", state(first_version, without("ema")), r"state.*'ema'"),
    Bad("the first version's form without an optimiser", state(first_version, put("optimizers", as_=[])),
        r"state.*list index"),

    # What it holds: numbers
    Bad("the step is a text", state(put("step", as_="100")), r"it is not the checkpoint of the step in its name"),
    Bad("the step is true, and the name says 1", of_step(True), r"step"),
    Bad("the step is beyond the end", of_step(101), r"step.*10[01]"),
    Bad("the updates are none", state(put("updates", as_=None)), r"its updates is None"),
    Bad("the updates are negative", halfway(put("updates", as_=-5)), r"updates is -5"),
    Bad("the updates are more than 64 bits hold", halfway(put("updates", as_=2**80)), r"updates is \d{25}"),
    Bad("the time is a text", state(put("seconds", as_="long")), r"its seconds is 'long'"),
    Bad("the time is NaN", state(put("seconds", as_=math.nan)), r"seconds is nan"),
    Bad("the time is negative", state(put("seconds", as_=-1e9)), r"seconds is -1"),
    Bad("the log is a number", state(put("log", as_=5)), r"its log is 5"),
    Bad("a row of the log is a number", state(put("log", as_=[5])), r"state.*(log|subscriptable)"),
    Bad("a row of the log has no step", state(without("log", -1, "step")), r"its log holds something"),
    Bad("a row of the log has a text as its step", state(put("log", -1, "step", as_="x")), r"log holds something that"),
    Bad("a row of the log has three steps", state(put("log", -1, "step", as_=torch.zeros(3))), r"state.*log"),
    Bad("a row of the log has a text as its loss", state(put("log", -1, "loss", as_="x")), r"state.*log"),
    Bad("a row of the log has a number as a name", state(lambda s: s | dict(log=[{"step": 100, 5: 1.0}])),
        r"state.*log"),
    Bad("the sums are a list", state(put("sums", as_=[1.0])), r"its sums is \[1\.0\]"),
    Bad("a sum is a text", state(put("sums", as_=dict(loss="x")), put("counts", as_=dict(loss=1))),
        r"its log holds something that is not a number"),
    Bad("sums and counts of other numbers", state(put("sums", as_=dict(loss=1.0)), put("counts", as_=dict(kl=1))),
        r"what it has counted"),
    Bad("a sum of three numbers", halfway(put("sums", as_=dict(loss=torch.ones(3))), put("counts", as_=dict(loss=1))),
        r"state.*(sum|log)"),
    Bad("a sum of 2**40 numbers in four bytes",
        halfway(put("sums", as_=dict(loss=torch.ones(1).expand(2**40))), put("counts", as_=dict(loss=1))),
        r"state.*(sum|log)"),
    Bad("a number that was logged -1 times", halfway(put("sums", as_=dict(loss=1.0)), put("counts", as_=dict(loss=-1))),
        r"state.*(count|log)"),
    Bad("the word on the decay is a text", state(put("grows", as_="yes")), r"its grows is 'yes'"),
    Bad("the best moment is a number", state(put("best", as_=5)), r"its best is 5"),
    Bad("the best moment is lists in lists", entries(pickled(DEEP)), r"its best is a very large list"),
    Bad("the best value is a text", state(put("best", "value", as_="low"), run="vae"),
        r"state.*(convert|value)", ("vae",)),
    Bad("the best value is NaN", state(put("best", "value", as_=math.nan), run="vae"), r"state.*best", ("vae",)),
    Bad("the best moment has no value", state(without("best", "value"), run="vae"), r"state.*\bvalue\b", ("vae",)),
    Bad("the best moment has no weights", state(without("best", "weights"), run="vae"), r"state.*'weights'", ("vae",)),
    Bad("the best weights are a list", state(put("best", "weights", as_=[1]), run="vae"),
        r"state.*(weights|items)", ("vae",)),
    Bad("the best weights are texts", state(put("best", "weights", "to_code.bias", as_="x"), run="vae"),
        r"state.*(weights|shape)", ("vae",)),
    Bad("the best weights are of another shape", state(put("best", "weights", "to_code.bias", as_=torch.zeros(3)),
        run="vae"), r"its best weights, .*to_code.bias.*another size", ("vae",)),
    Bad("the best weights are NaN", state(put("best", "weights", "to_code.bias", as_=nan), run="vae"),
        r"state.*not finite", ("vae",)),

    # What it holds: settings
    Bad("the settings are a list", state(put("settings", as_=[1])), r"its settings is \[1\]"),
    Bad("the settings of the model are a number", state(put("settings", "config", as_=5)),
        r"state.*(settings|operand)"),
    Bad("begun with another seed", state(put("settings", "seed", as_=7)), r"it was begun with seed 7, not 0"),
    Bad("begun with another rate", state(put("settings", "config", "lr", as_=0.5)), r"it was begun with lr 0\.5, not"),
    Bad("begun with numbers that are no setting", state(put("settings", "seed", as_=torch.zeros(3))),
        r"state.*(seed|ambiguous)"),
    Bad("begun with a seed of 100,000 letters", state(put("settings", "seed", as_="x" * 100_000)),
        r"\Agenlab: .{1,300}begun with seed .{1,300}\n\Z"),

    # What it holds: networks, their average, their optimisers
    Bad("the networks are a number", state(put("networks", as_=5)), r"state.*(networks|keys)"),
    Bad("a network of another name", state(lambda s: s | dict(networks=dict(judge=s["networks"]["model"]))),
        r"it has the networks judge, not model"),
    Bad("a network whose name steers a terminal", state(put("networks", as_={"\x1b[2J": {}})),
        r"it has the networks \\x1b\[2J, not model"),
    Bad("one of two networks is missing", state(without("networks", "discriminator"), run="relgan"),
        r"it has the networks generator, not generator, discriminator", ("relgan",)),
    Bad("a weight of another shape", state(put(*WEIGHT, as_=torch.zeros(3, 5))),
        r"weights, .*encoder\.0\.weight.*another size"),
    Bad("a weight is missing", state(without(*WEIGHT)), r"not those of the model.*encoder\.0\.weight"),
    Bad("a buffer is missing", state(without("networks", "model", "shift")), r"not those of the model.*shift"),
    Bad("a weight too many", state(lambda s: put("networks", "model", as_=s["networks"]["model"]
        | dict(wings=torch.ones(2)))(s)), r"not those of the model.*wings"),
    Bad("a weight that is a text", state(put(*WEIGHT, as_="many")), r"state.*encoder\.0\.weight"),
    Bad("a weight without numbers", state(put(*WEIGHT, as_=torch.empty(16, 5, device="meta"))),
        r"state.*(meta|encoder\.0\.weight)"),
    Bad("a weight of whole numbers", state(put(*WEIGHT, as_=lambda w: w.long())), r"state.*encoder\.0\.weight"),
    Bad("a weight is NaN", halfway(put(*WEIGHT, as_=nan)), r"state.*not finite"),
    Bad("the average lacks a weight", state(without("average", "module.log_sigma")),
        r"averaged weights are not those of the model.*module\.log_sigma"),
    Bad("the average is of another shape", state(put("average", "module.log_sigma", as_=torch.zeros(3))),
        r"averaged weights, .*module\.log_sigma.*another size"),
    Bad("the average is NaN", state(put("average", "module.decoder.0.weight", as_=nan)), r"state.*not finite"),
    Bad("the average is of -10 steps", halfway(put("average", "n_averaged", as_=torch.tensor(-10))), r"state.*averag"),
    Bad("no optimiser of the network", state(without("optimizers", "model")), r"state.*'model'"),
    Bad("an optimiser that is a list", state(put("optimizers", "model", as_=[])), r"state.*(optimi|list indices)"),
    Bad("an optimiser of two groups", state(put("optimizers", "model", "param_groups", as_=lambda groups: groups * 2)),
        r"its optimiser has other groups"),
    Bad("an optimiser of fewer weights", state(put("optimizers", "model", "param_groups", 0, "params", as_=[0, 1])),
        r"its optimiser's params is"),
    Bad("an optimiser without its decays", halfway(without("optimizers", "model", "param_groups", 0, "betas")),
        r"state.*(betas|optimi)"),
    Bad("an optimiser whose decays are texts", halfway(put("optimizers", "model", "param_groups", 0, "betas",
        as_=("x", "y"))), r"state.*(betas|optimi)"),
    Bad("an optimiser's means are of another shape", halfway(put(*MOMENTS, "exp_avg", as_=torch.zeros(3))),
        r"state.*(exp_avg|optimi)"),
    Bad("an optimiser's means have another name", halfway(put(*MOMENTS, as_=lambda s: dict(wings=s["exp_avg"]))),
        r"state.*(exp_avg|optimi)"),
    Bad("an optimiser's means are NaN", halfway(put(*MOMENTS, "exp_avg", as_=nan)), r"state.*not finite"),
    Bad("an optimiser's means are texts", halfway(put(*MOMENTS, "exp_avg", as_="x")), r"state.*(exp_avg|optimi)"),
    Bad("the norms of a flow's gradients are texts",
        halfway(put("optimizers", "model", "param_groups", 0, "norms", as_=["x"] * 50), run="realnvp"),
        r"state.*(norms|optimi)", ("realnvp",)),

    # Of another model
    Bad("of another model with networks of the same name", file(lambda path: of_another(path, "cvae"), "vae"),
        r"vae/state is damaged, or of another model.*not those of the model", ("vae", "cvae")),
    Bad("of another model with other networks", file(lambda path: of_another(path, "relgan", best=None)),
        r"it has the networks generator, discriminator, not model", ("pi-vae", "relgan")),
]
