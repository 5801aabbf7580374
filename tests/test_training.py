"The loop where it hurts: several processes, kills, full disks, NaNs, trackers. Real images, real processes."

import importlib.util
import json
import os
import random
import resource
import signal
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import assert_same_weights, rows, stop, train
from torch import nn

from genlab import NotNegative, Share, Size, Sizes, UserError
from genlab.lab.training import Model, Recipe, fit
from genlab.workshop.runs import create_run, load_checkpoint

SMALL = "--budget smoke --latent-dim 4 --widths 8 16 --steps 60 --batch-size 32 --components 2".split()


@pytest.fixture(scope="module")
def whole(tmp_path_factory, few_images):
    "Runs that nothing disturbed: in one process, in one process with two shards, in two."
    folder = tmp_path_factory.mktemp("runs")
    for name, processes, extra in (("one", 1, []), ("shards", 1, ["--accumulate", "2"]), ("two", 2, [])):
        done = train(folder, few_images, "vae", *SMALL, *extra, "--out", name, processes=processes)
        assert done.returncode == 0, done.stderr
    return folder


def assert_same(a: Path, b: Path) -> None:
    assert_same_weights(a, b)
    ours, theirs = (json.loads((run / "metrics.json").read_text()) for run in (a, b))
    for name in ("fid", "kid", "ssim", "mse", "bits_per_dim", "elbo", "precision", "recall"):
        assert ours[name] == theirs[name], name


def test_two_processes_are_one(whole):
    one, two = rows(whole / "shards"), rows(whole / "two")
    assert one.shape == two.shape == (60, 7)
    np.testing.assert_allclose(two, one, rtol=1e-5, equal_nan=True)
    assert json.loads((whole / "two" / "metrics.json").read_text())["processes"] == 2
    files = [sorted(p.name for p in (whole / run).rglob("*")) for run in ("two", "shards")]
    assert files[0] == files[1], "one writer, the same files"
    assert not np.allclose(rows(whole / "one")[:, 1], one[:, 1], rtol=1e-5), "other shards have other noise"


def test_without_noise_two_processes_are_one_without_shards(tmp_path, few_images):
    for name, processes in (("one", 1), ("two", 2)):
        done = train(tmp_path, few_images, "ae", *SMALL, "--out", name, processes=processes)
        assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(rows(tmp_path / "two"), rows(tmp_path / "one"), rtol=1e-5, equal_nan=True)


@pytest.mark.parametrize("processes,reference", [(1, "one"), (2, "two")])
def test_killed_at_random_moments(whole, tmp_path, few_images, processes, reference):
    seed = random.randrange(10**6)
    print("seed of the moments:", seed)  # pytest shows it when the test fails
    for i, step in enumerate(sorted(random.Random(seed).sample(range(3, 55, 3), 3))):
        stop(tmp_path, few_images, ["vae", *SMALL], f"killed{i}", processes, signal.SIGKILL, step)
        again = train(tmp_path, few_images, "--resume", f"killed{i}", processes=processes)
        assert again.returncode == 0, again.stderr
        assert_same(tmp_path / f"killed{i}", whole / reference)


def test_sigterm_is_a_polite_stop_in_two_processes(whole, tmp_path, few_images):
    stop(tmp_path, few_images, ["vae", *SMALL], "asked", 2, signal.SIGTERM, 12)
    saved = load_checkpoint(tmp_path / "asked" / "state")
    assert saved is not None and 12 <= saved["step"] < 60, "it saved where it was"
    again = train(tmp_path, few_images, "--resume", "asked", processes=2)
    assert again.returncode == 0, again.stderr
    assert_same(tmp_path / "asked", whole / "two")


def test_a_full_disk_is_a_sentence_and_loses_nothing(whole, tmp_path, few_images):
    def little_room():  # files may not grow beyond this: what a full disk does, without one
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    done = train(tmp_path, few_images, "vae", *SMALL, "--out", "full", preexec_fn=little_room)
    said = done.stderr.strip().splitlines()
    assert done.returncode == 2 and len(said) == 1 and "--resume" in said[0], done.stderr
    assert "File too large" in said[0] and "Make room" in said[0] and "full" in said[0], "the system's words, and where"
    assert not [p for p in (tmp_path / "full").rglob("*") if "writing" in p.name], "no rests of files"
    again = train(tmp_path, few_images, "--resume", "full")
    assert again.returncode == 0, again.stderr
    assert_same(tmp_path / "full", whole / "one")


def test_a_read_only_folder_is_a_sentence(tmp_path, few_images):
    if os.geteuid() == 0:  # root may write wherever the file system lets it; here it doesn't
        locked = Path("/sys/kernel")
    else:
        locked = tmp_path / "locked"
        locked.mkdir(mode=0o500)
    done = train(tmp_path, few_images, "vae", *SMALL, "--out", str(locked / "run"))
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1 and str(locked) in done.stderr


class Images:
    def __len__(self):
        return 64

    def to(self, device):
        return self

    def __getitem__(self, index):
        return torch.linspace(-1, 1, 64)[index.cpu(), None].expand(-1, 4).to(index.device), None


class Fragile(nn.Module):
    "Its middle layer gives NaN once `sick` is set; its loss is a plain regression."

    def __init__(self):
        super().__init__()
        self.first, self.middle, self.last, self.sick = nn.Linear(4, 8), nn.Hardtanh(), nn.Linear(8, 4), False

    def forward(self, x, y=None):
        h = self.middle(self.first(x) * (torch.inf if self.sick == "middle" else 1))
        out = self.last(h * 0 + torch.inf if self.sick == "last" else h)
        loss = (out - x).square().sum(dim=1).mean()
        return dict(loss=loss * torch.nan if self.sick == "loss" else loss)


class FragileRecipe(Recipe):
    def __init__(self, sick, at):
        torch.manual_seed(0)
        super().__init__(Fragile(), lr=1e-2)
        self.sick, self.at, self.count = sick, at, 0

    def step(self, update, t):
        self.model.sick = self.sick if round(t * 40) >= self.at else False
        return super().step(update, t)


@pytest.mark.parametrize("sick,where", [("last", "last (Linear)"), ("loss", "the model (Fragile)")])
def test_a_nan_stops_the_run_and_names_step_and_module(tmp_path, sick, where):
    run = create_run(tmp_path / "run", dict(model="fragile"))
    with pytest.raises(UserError, match=r"in step 13: .*" + where.replace("(", r"\(").replace(")", r"\)")) as error:
        fit(FragileRecipe(sick, at=12), Images(), steps=40, batch_size=16, out=run, save_every=5)
    assert "000000010.pt" in str(error.value)
    saved = load_checkpoint(run / "state")
    assert saved["step"] == 10 and all(v.isfinite().all() for v in saved["networks"]["model"].values())
    healthy, _ = fit(FragileRecipe("nothing", at=12), Images(), steps=40, batch_size=16, out=run, save_every=5)
    straight, _ = fit(FragileRecipe("nothing", at=12), Images(), steps=40, batch_size=16)
    for name, value in healthy.state_dict().items():
        assert torch.equal(value, straight.state_dict()[name]), "it goes on as if it had never been sick"


def test_a_nan_from_the_command_line(tmp_path, few_images):
    done = train(tmp_path, few_images, "ae", *SMALL, "--lr", "1e30", "--out", "hot")
    said = done.stderr.strip().splitlines()
    assert done.returncode == 2 and len(said) == 1, done.stderr
    assert "training stopped in step" in said[0] and "lower learning rate" in said[0] and "is that of" in said[0]


class Scripted(Recipe):
    "Held-out numbers by script: the third look is the best."

    def __init__(self):
        torch.manual_seed(0)
        super().__init__(nn.Linear(4, 4), lr=1e-2)
        self.script = [5.0, 4.0, 1.0, 2.0, 3.0, 6.0]
        self.seen = []

    def loss(self, x, y):
        return dict(loss=(self.model(x) - 3).square().mean())

    def validate(self, model):
        self.seen.append({k: v.clone() for k, v in model.state_dict().items()})
        return dict(loss=self.script[len(self.seen) - 1])


def test_the_best_weights_are_kept():
    recipe = Scripted()
    model, progress = fit(recipe, Images(), steps=60, batch_size=16, pictures=5)
    assert len(recipe.seen) == 6 and progress.best["value"] == 1.0
    assert all(torch.equal(v, recipe.seen[2][k]) for k, v in model.state_dict().items())
    assert [row["val_loss"] for row in progress.log if "val_loss" in row] == recipe.script


def test_tensorboard_gets_the_log(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = create_run(tmp_path / "run", dict(model="fragile"))
    _, progress = fit(FragileRecipe(None, at=99), Images(), steps=40, batch_size=16, out=run, trackers=("tensorboard",))
    events = EventAccumulator(str(next(run.rglob("events.out.tfevents*")).parent)).Reload()
    written = [(e.step, e.value) for e in events.Scalars("loss")]
    assert written == [(row["step"], pytest.approx(row["loss"])) for row in progress.log] and len(written) == 40


def records(content: bytes) -> Iterator[bytes]:
    "The records of a W&B file, a log in LevelDB's format: blocks of 32 KiB, each piece with checksum, length and type."
    at, record = 7, b""  # after the file's own header
    while at + 7 <= len(content):
        room = 32_768 - at % 32_768
        if room < 7:
            at += room
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        record += content[at + 7:at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or a last piece
            yield record
            record = b""


def complete(file: Path) -> bool:
    "Does a W&B file hold the record that ends a run?"
    from google.protobuf.message import DecodeError
    from wandb.proto.wandb_internal_pb2 import Record

    try:
        return "exit" in [Record.FromString(record).WhichOneof("record_type") for record in records(file.read_bytes())]
    except (DecodeError, struct.error):  # cut in the middle of a record
        return False


def test_weights_and_biases_gets_the_log_offline(tmp_path, monkeypatch):
    "The real package without its server: it writes the run into the run folder, from where `wandb sync` would send it."
    from wandb.proto.wandb_internal_pb2 import Record

    offline = dict(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_CONFIG_DIR=tmp_path, WANDB_CACHE_DIR=tmp_path)
    for name, value in offline.items():
        monkeypatch.setenv(name, str(value))
    run = create_run(tmp_path / "run", dict(model="fragile"))
    _, progress = fit(FragileRecipe(None, at=99), Images(), steps=40, batch_size=16, out=run, trackers=("wandb",))
    file, deadline = next(run.rglob("*.wandb")), time.monotonic() + 60
    while not complete(file):  # W&B writes it in a process of its own, which may be slower than ours
        assert time.monotonic() < deadline, "the file of the run never came to its end"
        time.sleep(0.1)
    written = []
    for record in map(Record.FromString, records(file.read_bytes())):
        if record.WhichOneof("record_type") == "history":
            items = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            written.append((items["_step"], items["loss"]))
    assert written == [(row["step"], pytest.approx(row["loss"])) for row in progress.log] and len(written) == 40


def test_a_tracker_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)  # what Python sees where it isn't installed
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    run = create_run(tmp_path / "run", dict(model="m"))
    with pytest.raises(UserError, match="wandb is not installed"):
        fit(FragileRecipe(None, at=99), Images(), steps=4, batch_size=16, out=run, trackers=("wandb",))


def test_a_tracker_that_does_not_start_is_a_sentence(tmp_path, monkeypatch):
    "wandb without a key and without a terminal, for one."
    import wandb

    def refuse(**settings):
        raise wandb.errors.UsageError("No API key configured. Use `wandb login` to log in.\nMore.")

    monkeypatch.setattr(wandb, "init", refuse)
    run = create_run(tmp_path / "run", dict(model="m"))
    with pytest.raises(UserError, match="didn't start: No API key configured.*WANDB_MODE=offline"):
        fit(FragileRecipe(None, at=99), Images(), steps=4, batch_size=16, out=run, trackers=("wandb",))
    assert not list(run.glob("state/*"))


def test_a_strange_tracker_is_refused_and_not_imported(tmp_path, monkeypatch):
    (tmp_path / "gift.py").write_text("raise SystemExit('executed')")
    monkeypatch.syspath_prepend(tmp_path)
    run = create_run(tmp_path / "run", dict(model="m"))
    with pytest.raises(UserError, match="there is no tracker 'gift'"):
        fit(FragileRecipe(None, at=99), Images(), steps=4, batch_size=16, out=run, trackers=("gift",))
    assert "gift" not in sys.modules


def test_batches_that_cannot_be_shared(tmp_path):
    with pytest.raises(UserError, match="multiple of 3"):
        fit(FragileRecipe(None, at=99), Images(), steps=4, batch_size=16, accumulate=3)


@pytest.mark.parametrize("name", ["steps", "batch_size", "save_every", "pictures"])
@pytest.mark.parametrize("value", [0, -1, 2.5, "4", None])
def test_numbers_that_no_training_can_have(name, value, tmp_path):
    settings = dict(steps=4, batch_size=16, save_every=2, pictures=1)
    fit(FragileRecipe(None, at=99), Images(), **settings)
    with pytest.raises(UserError, match=f"{name} is {value!r}; expected a whole number from 1 on"):
        fit(FragileRecipe(None, at=99), Images(), out=tmp_path, **settings | {name: value})
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_no_data_at_all():
    with pytest.raises(UserError, match="there is nothing to train on"):
        fit(FragileRecipe(None, at=99), torch.zeros(0, 3), steps=4, batch_size=16)


def test_a_run_folder_may_be_named_by_a_text(tmp_path):
    run = create_run(tmp_path / "run", dict(model="scripted"))
    fit(FragileRecipe(None, at=99), Images(), steps=4, batch_size=16, out=str(run))
    assert load_checkpoint(run / "state")["step"] == 4


# Stored models

BUILT = []


class Small(Model):
    "A model with limits in its hints."

    def __init__(self, width: Size = 3, blocks: NotNegative = 1, dropout: Share = 0.0, kinds: Sizes = (1, 2)):
        super().__init__()
        self.kinds = kinds
        BUILT.append((width, blocks, dropout))
        self.layers = nn.Sequential(*[nn.Linear(width, width) for _ in range(blocks)], nn.Dropout(dropout))


def stored(folder, **changes) -> Path:
    Small().save_pretrained(folder)
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    return folder


def refused(folder) -> str:
    with pytest.raises(UserError) as error:
        Small.from_pretrained(folder)
    said = str(error.value)
    assert said.startswith(f"{folder} does not hold a Small: ") and len(said.splitlines()) == 1 and len(said) < 500
    return said


@pytest.mark.parametrize("name,value,says", [
    ("blocks", -7, "blocks is -7; expected a whole number, at least 0"), ("blocks", 10**10, "blocks is 10000000000"),
    ("blocks", "many", "blocks is 'many'"), ("blocks", True, "blocks is True"), ("width", 2**20, "width is 1048576"),
    ("width", 3.0, "width is 3.0; expected a whole number"), ("dropout", "x", "dropout is 'x'; expected a number"),
    ("dropout", 1, "dropout is 1; expected a number, at least 0 and below 1"), ("kinds", [1, -1], "kinds is [1, -1]"),
    ("kinds", None, "kinds is None"), ("wings", 2, "settings that it doesn't know: wings")])
def test_settings_of_a_stored_model_are_checked_by_the_hints_of_its_init(tmp_path, name, value, says):
    assert Small.from_pretrained(stored(tmp_path, kinds=[4, 5])).kinds == (4, 5), "a list becomes the tuple it was"
    stored(tmp_path, **{name: value})
    BUILT.clear()
    assert says in refused(tmp_path) and BUILT == [], "it says so before it builds a network of a thousand layers"


@pytest.mark.parametrize("content", ["[1]", "5", "null", "{", "[" * 100_000, "", "\xff"])
def test_a_config_that_is_none(tmp_path, content):
    (stored(tmp_path) / "config.json").write_text(content, encoding="latin1")
    refused(tmp_path)


def test_a_config_that_is_larger_than_settings_are(tmp_path, monkeypatch):
    stored(tmp_path, wings="x" * 200_000)
    monkeypatch.setattr(json, "load", lambda *a: pytest.fail("it was read"))
    assert "config.json has 200,0" in (said := refused(tmp_path)) and "expected settings, in at most 100,000" in said


def test_weights_of_a_stored_model_that_are_missing_or_damaged(tmp_path):
    path = stored(tmp_path) / "model.safetensors"
    for spoil in (lambda: path.write_bytes(b"hello"), path.unlink):
        spoil()
        said = refused(tmp_path)
        assert said.endswith("Download it again.") and "genlab train" not in said, "there is no run to be resumed"
