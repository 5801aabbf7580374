"""Runs from before the training loop was rewritten (commit cd11c77) still draw, measure and go on as they did.

They lie in old_runs, and make.py there says how they were made.
The weights that ship with genlab have to stay as they are, too.
"""

import csv
import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import genlab
from genlab import cli
from genlab.flow import couplings
from genlab.lab import images

OLD = Path(__file__).parent / "old_runs"
FLOWS = ("pi-flow", "realnvp", "glow", "spline-flow", "tarflow")
MODELS = ("pi-vae", "pi-transformer-vae", "ae", "vae", "vqvae", "prior", "masked-prior", *FLOWS)

# With instructions of older CPUs (AVX2, SSE4), losses moved by 7e-5 at most, and most of them by less than 1e-6.
# One word of an image that lies between two codes may become another one, and a batch of a prior has 144 words.
TRAINING = dict.fromkeys(MODELS, 1e-4) | {"prior": 1e-2, "masked-prior": 1e-2}
HELD_OUT = 1e-3
# Shares count samples, 400 for images, and some of them lie on a border; there, up to two changed sides.
SHARES = ("precision", "recall", "density", "coverage", "label_agreement", "bayes_accuracy", "on_glyph", "c2st")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    "A copy of the runs, as somebody has them: with a folder of pictures, which git doesn't keep when it's empty."
    folder = tmp_path_factory.mktemp("old") / "runs"
    shutil.copytree(OLD, folder)
    for config in folder.glob("*/*/config.yaml"):
        (config.parent / "samples").mkdir()
    return folder


@pytest.fixture
def call(runs, monkeypatch, capsys):
    "Calls the command line in this process, where the runs are, on the CPU, with the data set as make.py cut it."
    monkeypatch.chdir(runs)
    monkeypatch.setitem(images.DRAWN, "shapes", (4_000, 200, 800))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def call(*args) -> None:
        monkeypatch.setattr(sys, "argv", ["genlab", *map(str, args)])
        assert cli.main() == 0, capsys.readouterr().err

    return call


def read_log(run: Path) -> dict[str, np.ndarray]:
    "The columns of log.csv; NaN where nothing was measured."
    with open(run / "log.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in rows[0]}


def assert_same_metrics(run: Path, old: Path, rtol: float) -> None:
    "Two runs reached the same numbers."
    new, old = (json.loads((folder / "metrics.json").read_text()) for folder in (run, old))
    measured = {name: row for name, row in old.items() if isinstance(row, dict) and "value" in row}
    assert len(measured) >= 6
    for name, row in measured.items():
        assert new[name]["n"] == row["n"], name
        atol = 1e-2 if name in SHARES else 1e-4
        np.testing.assert_allclose(new[name]["value"], row["value"], rtol=rtol, atol=atol, err_msg=name)


@pytest.mark.parametrize("model", MODELS)
def test_a_finished_run_draws_the_same_samples(call, tmp_path, model):
    call("sample", f"{model}/finished", "-n", 4, "--seed", 7, "--out", tmp_path / "samples.npy")
    new, old = np.load(tmp_path / "samples.npy"), np.load(OLD / model / "samples.npy")
    assert new.shape == old.shape and new.dtype == old.dtype
    if old.dtype == np.uint8:  # rounded, so that a grey level may become its neighbour
        apart = np.abs(new.astype(int) - old)
        assert apart.max() <= 1 and (apart > 0).mean() <= 0.01
    else:
        np.testing.assert_allclose(new, old, rtol=0, atol=1e-4)


@pytest.mark.parametrize("model", MODELS)
def test_a_finished_run_measures_the_same(runs, call, model):
    call("evaluate", f"{model}/finished")
    assert_same_metrics(runs / model / "finished", OLD / model / "finished", rtol=1e-3)


@pytest.mark.parametrize("model", MODELS)
def test_an_unfinished_run_goes_on_to_the_same_end(runs, call, monkeypatch, model):
    run, whole, exploded, norms = runs / model / "unfinished", OLD / model / "finished", couplings.exploded, []
    monkeypatch.setattr(couplings, "exploded", lambda n, recent: norms.append(len(recent)) or exploded(n, recent))
    call("train", "--resume", f"{model}/unfinished")
    drawn = sorted(int(path.stem.removeprefix("step_")) for path in (run / "samples").glob("step_*.png"))
    assert drawn[0] > 101 and drawn[-1] == 200, "it went on from its checkpoint, which is of step 101"
    assert norms[:1] == ([100] if model in FLOWS else []), "a flow remembers the norms of a hundred gradients"
    new, old = read_log(run), read_log(whole)
    assert new.keys() == old.keys()
    for name in old:
        rtol = HELD_OUT if name.startswith("val_") else TRAINING[model]
        np.testing.assert_allclose(new[name], old[name], rtol=rtol, err_msg=name)
    assert_same_metrics(run, whole, rtol=3e-3)


SHIPPED = {
    "gan/shipped/emoji/model": "4358f078baa55b27ea760b4d933a38b58bfe9201307cefb7f40169195ecd3348",
    "gan/shipped/fashion_mnist/model": "3799ce7f70bcde190675807f506c136a7c8b0454be24a714c7a10a866cdd3573",
    "lab/classifiers/faces": "92aef26f1c672cf460e1481adbccd0a42c797e44c3dc508d316f276cc4ee5598",
    "lab/classifiers/fashion_mnist": "c8db89934613c5ccedaa43c38e51f5f71b31eda8093f5c561a890191801b5925",
    "lab/classifiers/shapes": "4c41ca877ccfada8694f2bfdd59f82ea94a00c9a7e3800c5384cf76f5e6ab501",
    "vae/shipped/faces/model": "ee09e37b122204fa8300268f5e86031db1edbe90df900a7f238e8760e8b151b4",
    "vae/shipped/fashion_mnist/model": "5f36f5ed7d32bc288db95983a6c0f14d0a60a5d2580ff4249a5260689a842205",
    "vitgan/shipped/emoji/model": "585b652072ba1fd53daee6cbb7daea26347f80f40649ba682829924dd7033513",
    "vitgan/shipped/fashion_mnist/model": "8999e333d0469442db7dda4ad1e5660abf57324351ddbf551183b5fad19f30f0",
    "vq/shipped/prior": "70c1f5118adea7255d24a29ba979da24ef9ee1f8a54d89536e79779df494a492",
    "vq/shipped/vqvae": "22f86d3f0b971f9807b15da4f12cf4afc33021efd8cf97550d9e9aa2296d0210",
}


@pytest.mark.parametrize("name", SHIPPED)
def test_weights_that_ship_are_unchanged(name):
    weights = Path(genlab.__file__).parent / f"{name}.safetensors"
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == SHIPPED[name]
