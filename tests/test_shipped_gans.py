"Proofs of generators as they ship: what a run becomes on the disk; those that ship are as their records say."

import json
import runpy
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import pytest
import torch
from safetensors.torch import load_file

from genlab import UserError
from genlab.gan.stable_gan import SHIPPED, RelGANConfig, RelGANRecipe, StableGenerator, load_gan, write_gan
from genlab.lab.images import load_images, to_uint8
from genlab.lab.metrics import evaluate_images, load_extractor
from genlab.lab.pictures import ImageData, draw_images
from genlab.lab.training import RunOptions, RunSettings, fit, load_run
from genlab.vitgan.generator import ViTGenerator
from genlab.vitgan.vitgan import SHIPPED as TRANSFORMERS
from genlab.vitgan.vitgan import ViTGANConfig, ViTGANRecipe, load_vitgan, write_vitgan
from genlab.workshop.runs import create_run, save_weights

NAMES = ["emoji", "fashion_mnist"]
KINDS = {"relgan": (load_gan, SHIPPED, StableGenerator), "vitgan": (load_vitgan, TRANSFORMERS, ViTGenerator)}
FILES = {"config.json", "model.safetensors", "record.json"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    "A folder with a run of 20 steps on small shapes, and what the command has written of it, and has printed."
    folder = tmp_path_factory.mktemp("shipping")
    small = dict(widths=(8, 16), critic_widths=(8, 16), latent_dim=6, steps=20, batch_size=16)
    config = RelGANConfig(**small, conditional=True)
    source = ImageData("shapes", size=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genlab.lab.images.DRAWN", dict(shapes=(400, 100, 200)))
        patch.setattr("genlab.gan.dcgan.N_LOOK", 100)
        torch.manual_seed(0)
        recipe = RelGANRecipe(config, source.load())
        fit(recipe, recipe.data, steps=20, batch_size=16, seed=3, pictures=1, device="cpu")
        options = RunOptions(budget="smoke", seed=3)
        create_run(folder / "run", RunSettings("relgan", RelGANRecipe, options, source, config, recipe.facts()).plain())
        save_weights(folder / "run" / "model.safetensors", recipe.model)  # the last: the best may be deaf to labels yet
        patch.setattr(sys, "argv", ["stable_gan", "--run", f"{folder / 'run'}", "--out", f"{folder / 'kept' / 'tiny'}"])
        with redirect_stdout(StringIO()) as said, pytest.warns(RuntimeWarning, match="sys.modules"):
            runpy.run_module("genlab.gan.stable_gan", run_name="__main__")
    return folder, said.getvalue()


def test_what_is_written_draws_as_the_run_does(place):
    folder, _ = place
    _, model = load_run(folder / "run", RelGANRecipe)
    kept, labels, _ = load_gan("tiny", folder / "kept")
    assert not kept.training and not any(p.requires_grad for p in kept.parameters())
    for name, value in model.state_dict().items():
        half = value.half().float() if value.is_floating_point() and value.dim() > 1 else value
        torch.testing.assert_close(kept.state_dict()[name], half, rtol=0, atol=0)
    for y in (None, labels.parse(labels.names[2])):
        drawn, again = (draw_images(m, 20, 1, y) for m in (model, kept))
        assert 0 < (drawn - again).abs().max() < 0.01 and drawn.std() > 0.01
    assert (draw_images(kept, 20, 1, labels.parse(labels.names[0])) - again).abs().max() > 1e-3
    stored = load_file(folder / "kept" / "tiny" / "model.safetensors")
    assert all(value.dtype == torch.float16 for value in stored.values() if value.dim() > 1)


def test_a_record_says_what_was_trained_and_what_it_reached(place):
    folder, said = place
    kept, labels, record = load_gan("tiny", folder / "kept")
    assert {p.name for p in (folder / "kept" / "tiny").iterdir()} == FILES
    told = {name: record[name] for name in ("model", "data", "seed")}
    assert told == dict(model="relgan", data="shapes", seed=3)
    assert record["config"]["latent_dim"] == 6 and record["config"]["conditional"] and "torch" in record["versions"]
    assert labels.names == tuple(record["labels"]) and len(labels) == kept.n_labels and not labels.attributes
    assert {"fid", "kid", "precision", "recall"} <= record["metrics"].keys()
    assert json.loads(said) == record["metrics"], "the command prints them"
    test = load_images("shapes", "test", size=16, n=200)
    made = to_uint8(draw_images(kept, record["metrics"]["fid"]["n"], record["seed"]))
    fid = evaluate_images(test, made, load_extractor("shapes"), seed=record["seed"])["fid"]
    assert fid["value"] == pytest.approx(record["metrics"]["fid"]["value"], rel=0.01), "of the rounded weights"


def test_what_cannot_ship_is_refused_in_a_sentence(place, tmp_path):
    folder, _ = place
    with pytest.raises(UserError, match="no generator 'cats' ships; there are tiny in "):
        load_gan("cats", folder / "kept")
    with pytest.raises(UserError, match="no generator 'tiny' ships; there are none in "):
        load_gan("tiny", tmp_path)
    config = (folder / "run" / "config.yaml").read_text()
    create_run(tmp_path / "other", {})
    (tmp_path / "other" / "config.yaml").write_text(config.replace("model: relgan", "model: dcgan"))
    with pytest.raises(UserError, match="is a run of 'dcgan'; expected one of relgan, sngan"):
        write_gan(tmp_path / "other", tmp_path / "kept")
    with pytest.raises(UserError, match="is a run of 'relgan'; expected one of vitgan"):
        write_vitgan(folder / "run", tmp_path / "kept")
    with pytest.raises(UserError, match="is not a run folder"):
        write_gan(tmp_path / "nowhere", tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def files_of(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_generator_of_convolutions_does_not_ship_as_a_transformer(tmp_path):
    "Nobody could load it."
    config = ViTGANConfig(generator="cnn", width=16, depth=1, n_heads=2)
    images = load_images("shapes", "train", n=40)
    recipe = ViTGANRecipe(config, dict.fromkeys(("train", "validation", "test"), images))
    create_run(tmp_path / "run", RunSettings(
        "vitgan", ViTGANRecipe, RunOptions(budget="smoke"), ImageData("shapes"), config, recipe.facts()).plain())
    save_weights(tmp_path / "run" / "model.safetensors", recipe.model)
    with pytest.raises(UserError, match="made a StableGenerator; what ships is a ViTGenerator"):
        write_vitgan(tmp_path / "run", tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_shipping_touches_no_folder_of_others(place, tmp_path, monkeypatch):
    "Not the run's own, whose weights are not rounded yet; nor one with a reader's files. The command says so."
    folder, _ = place
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("mine")
    for out in (folder / "run", tmp_path / "mine"):
        before = files_of(out)
        with pytest.raises(UserError, match="is no model that ships, and was not touched"):
            write_gan(folder / "run", out)
        assert files_of(out) == before
    monkeypatch.setattr(sys, "argv", ["stable_gan", "--run", f"{tmp_path / 'mine'}", "--out", f"{tmp_path / 'new'}"])
    said = StringIO()
    with pytest.raises(SystemExit) as end, pytest.warns(RuntimeWarning, match="sys.modules"), redirect_stderr(said):
        runpy.run_module("genlab.gan.stable_gan", run_name="__main__")
    assert end.value.code == 2 and "is not a run folder" in said.getvalue()


def test_what_cannot_be_measured_leaves_nothing(place, tmp_path, monkeypatch):
    folder, _ = place
    monkeypatch.setattr("genlab.lab.images.DRAWN", dict(shapes=(400, 100, 200)))
    monkeypatch.setattr(RelGANRecipe, "evaluate", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_gan(folder / "run", tmp_path / "kept" / "tiny")
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("record", ["{", "[]", "{}", '{"labels": 3}', '{"labels": ["one"]}'])
def test_a_record_that_is_none_is_one_sentence(record, place, tmp_path):
    folder, _ = place
    shutil.copytree(folder / "kept" / "tiny", tmp_path / "tiny")
    (tmp_path / "tiny" / "record.json").write_text(record)
    with pytest.raises(UserError, match="record.json (is no record|names 1 labels)"):
        load_gan("tiny", tmp_path)


def test_these_generators_ship():
    for _, folder, _ in KINDS.values():
        assert sorted(p.name for p in folder.glob("*")) == NAMES


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_what_ships_is_small_and_draws_as_its_record_says(kind, name):
    load, folder, cls = KINDS[kind]
    files = list((folder / name).glob("*"))
    assert {p.name for p in files} == FILES, "settings, weights, a record: nothing that can be executed"
    assert not any(p.stat().st_mode & 0o111 for p in files) and sum(p.stat().st_size for p in files) < 1.5e6
    model, labels, record = load(name)
    assert type(model) is cls and record["data"] == name and record["model"] == kind
    try:
        test = load_images(name, "test", size=model.shape[1])
    except UserError as e:
        pytest.skip(f"{name} is missing: {e}")
    assert labels.names == test.names and (model.n_labels in (0, len(labels)))
    kept = record["metrics"]["fid"]
    made = to_uint8(draw_images(model, kept["n"], record["seed"]))
    found = evaluate_images(test, made, load_extractor(name), seed=record["seed"])["fid"]
    assert {key: found[key] for key in ("n", "extractor")} == {key: kept[key] for key in ("n", "extractor")}
    for key in ("value", "floor"):
        assert found[key] == pytest.approx(kept[key], rel=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_both_networks_of_vitgan_were_transformers(name):
    "And the garments, drawn by a pair that trained for an hour, are as near to real ones as the course has them."
    _, _, record = load_vitgan(name)
    assert record["config"]["generator"] == record["config"]["discriminator"] == "vit"
    assert record["metrics"]["fid"]["value"] < dict(fashion_mnist=0.6, emoji=8.0)[name]
