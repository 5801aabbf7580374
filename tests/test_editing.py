"Proofs of edits: codes that move, changes that are exaggerated, a classifier in the loss, and models that ship."

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Categorical

import genlab
from genlab import UserError
from genlab.lab.images import load_images
from genlab.lab.metrics import load_extractor, mse
from genlab.vae.cvae import CVAE, CVAEConfig, CVAERecipe, asked_and_read, edits, keep_code
from genlab.vae.editing import (
    EditingCVAEConfig,
    EditingCVAERecipe,
    exaggerate,
    label_loss,
    load_cvae,
    move_code,
    write_cvae,
)
from genlab.workshop.runs import create_run, save_weights

SMALL = dict(latent_dim=6, widths=(8, 16), components=2)


def moved(model: nn.Module, std: float = 0.1) -> nn.Module:
    "As after some training: no layer is at its start."
    torch.manual_seed(0)
    for p in model.parameters():
        nn.init.normal_(p, std=std)
    return model.eval()


@pytest.fixture(params=["classes", "attributes"])
def told(request):
    "A model with a density of codes, codes, their labels and other ones."
    attributes = request.param == "attributes"
    model = moved(CVAE((1, 16, 16), 5, attributes, **SMALL))
    g = torch.Generator().manual_seed(1)
    y = torch.rand(600, 5, generator=g) < 0.5 if attributes else torch.randint(5, (600,), generator=g)
    z = torch.randn(600, 6, generator=g) + 2 * model.condition(y) @ torch.randn(5, 6, generator=g)
    model.given.fit(z, model.condition(y), z.var(dim=0))
    return model, z[:8], y[:8], y[8:16]


@torch.no_grad()
def test_a_code_moves_from_the_middle_of_its_label_to_that_of_the_other(told):
    model, z, y, new = told
    c = model.condition(torch.cat([y, new]))
    if model.attributes:
        middle = model.given.mean[0] + c @ model.given.mean[1:]
    else:
        middle = torch.stack([model.given[int(k)].mean for k in torch.cat([y, new])])
    for strength in (0.0, 1.0, 2.5):
        by_hand = model.decode(z + strength * (middle[8:] - middle[:8]), new)
        torch.testing.assert_close(move_code(model, z, y, new, strength), by_hand)
    torch.testing.assert_close(move_code(model, z, y, y), keep_code(model, z, y, y))
    assert (move_code(model, z, y, new) - keep_code(model, z, y, new)).abs().max() > 1e-3


@torch.no_grad()
def test_exaggerating_once_is_the_edit_itself_and_not_at_all_is_none(told):
    model, z, y, new = told
    before, after = model.decode(z, y), model.decode(z, new)
    torch.testing.assert_close(exaggerate(model, z, y, new, 1), after)
    torch.testing.assert_close(exaggerate(model, z, y, new, 0), before)
    torch.testing.assert_close(exaggerate(model, z, y, new, 3), (3 * after - 2 * before).clamp(-1, 1))
    assert exaggerate(model, z, y, new, 1e6).abs().max() <= 1


def test_the_label_loss_is_a_log_probability():
    logits = torch.randn(7, 5)
    y = torch.randint(5, (7,))
    torch.testing.assert_close(label_loss(logits, y), -Categorical(logits=logits).log_prob(y))
    y = torch.rand(7, 5) < 0.5
    torch.testing.assert_close(label_loss(logits, y), -Bernoulli(logits=logits).log_prob(y.float()).sum(dim=1))


@pytest.fixture(scope="module")
def faces():
    return {split: load_images("faces", split, size=16, n=300) for split in ("train", "validation", "test")}


def recipe_of(faces, **settings):
    torch.manual_seed(0)
    recipe = EditingCVAERecipe(EditingCVAEConfig(**SMALL, **settings), faces)
    moved(recipe.model, 0.2).train()
    moved(recipe.networks["reader"], 0.4)
    return recipe, *faces["train"][torch.arange(32)]


def test_the_loss_is_the_elbo_and_what_is_read_of_other_labels(faces):
    recipe, x, y = recipe_of(faces, reader=20.0)
    model = recipe.model
    torch.manual_seed(5)
    parts = recipe.model_loss(model, x, y, beta=0.5)
    torch.manual_seed(5)
    elbo = model.loss(x, y, beta=0.5)
    for name in ("reconstruction", "kl"):
        torch.testing.assert_close(parts[name], elbo[name])
    torch.testing.assert_close(parts["loss"], elbo["loss"] + 20 * parts["reading"])
    torch.manual_seed(5)  # the same codes, under the labels of others
    mu, logvar = model.encode(x, y)
    z = mu + (0.5 * logvar).exp() * torch.randn_like(mu)
    other = recipe.other_labels(y)
    with torch.no_grad():
        logits = recipe.networks["reader"].eval()(model.decode(z, other))
    assert logits.std(dim=0).mean() > 0.1, "else any label would do for any image"
    want = nn.functional.binary_cross_entropy_with_logits(logits, other.float(), reduction="sum") / len(x)
    torch.testing.assert_close(parts["reading"], want)
    assert sorted(map(tuple, other.tolist())) == sorted(map(tuple, y.tolist())) and not torch.equal(other, y)


def test_the_classifier_learns_from_real_images_alone(faces):
    recipe, x, y = recipe_of(faces)
    reader = recipe.networks["reader"]
    before = {name: value.clone() for name, value in reader.named_buffers()}
    recipe.model_loss(recipe.model, x, y)["loss"].backward()
    after = dict(reader.named_buffers())
    assert all(torch.equal(after[name], value) for name, value in before.items()), "no statistics of decoded images"
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in recipe.model.decoder.parameters())
    recipe.reader_loss(x, y)["loss"].backward()
    assert any(not torch.equal(value, before[name]) for name, value in reader.named_buffers())
    torch.testing.assert_close(recipe.reader_loss(x, y)["loss"], label_loss(reader(x), y).mean())


def test_what_is_written_comes_back_in_half_the_bytes(faces, tmp_path, monkeypatch):
    recipe = CVAERecipe(CVAEConfig(**SMALL), faces)
    recipe.finish(moved(recipe.model), seed=0)
    run = dict(model="cvae", seed=0, budget="smoke", data="faces", size=16, shape=[3, 16, 16],
               labels=list(faces["train"].names), attributes=True, config=vars(recipe.config))
    create_run(tmp_path / "run", json.loads(json.dumps(run)))
    save_weights(tmp_path / "run" / "model.safetensors", recipe.model)
    monkeypatch.setattr("genlab.lab.images.DRAWN", dict(faces=(300, 100, 100)))
    record = write_cvae(tmp_path / "run", tmp_path / "kept" / "faces")
    model, labels, read = load_cvae("faces", tmp_path / "kept")
    assert read == record and labels.names == faces["train"].names and labels.attributes
    assert {"mse", "elbo", "balanced"} <= record["metrics"].keys()
    assert not any(p.requires_grad for p in model.parameters()) and not model.training
    for name, value in recipe.model.state_dict().items():
        stored = model.state_dict()[name]
        half = value.half().float() if value.is_floating_point() and value.dim() > 1 else value
        torch.testing.assert_close(stored, half, rtol=0, atol=0, equal_nan=True)
    long, short = (tmp_path / place / "model.safetensors" for place in ("run", "kept/faces"))
    assert short.stat().st_size < 0.75 * long.stat().st_size
    with pytest.raises(UserError, match="no conditional VAE 'cats' ships; there are faces"):
        load_cvae("cats", tmp_path / "kept")
    (tmp_path / "run" / "config.yaml").write_text(
        (tmp_path / "run" / "config.yaml").read_text().replace("model: cvae", "model: vae"))
    with pytest.raises(UserError, match="expected one of cvae, editing-cvae"):
        write_cvae(tmp_path / "run", tmp_path / "kept" / "other")
    assert not (tmp_path / "kept" / "other").exists()


@pytest.mark.parametrize("name,least", [("faces", dict(balanced=0.85, all_right=0.35)),
                                        ("fashion_mnist", dict(agreement=0.86))])
def test_what_ships_is_small_and_obeys_as_its_record_says(name, least):
    folder = Path(genlab.__file__).parent / "vae" / "shipped" / name
    assert sum(p.stat().st_size for p in folder.iterdir()) < 2e6
    model, labels, record = load_cvae(name)
    try:
        test = load_images(name, "test", size=model.shape[1])
    except UserError:
        pytest.skip("Fashion-MNIST is missing: apt-get install dataset-fashion-mnist")
    assert labels.names == test.names and record["data"] == name
    found = asked_and_read(model, test, seed=record["seed"])
    for score, bound in least.items():
        assert found[score]["value"] == pytest.approx(record["metrics"][score]["value"], abs=0.02)
        assert found[score]["value"] >= bound
    x, y = test[torch.arange(500)]
    assert mse(x, model.reconstruct(x, y)).mean() == pytest.approx(record["metrics"]["mse"]["value"], rel=0.1)


def test_the_editing_model_that_ships_edits():
    model, labels, _ = load_cvae("faces")
    x, y = load_images("faces", "test", size=32)[torch.arange(500)]
    switched = [labels.names.index(name) for name in ("Smiling", "Hat", "Eyeglasses", "Beard", "Dark_Skin")]
    found = edits(model, x, y, switched, load_extractor("faces"))
    assert found["read"].mean() >= 0.6 and found["kept"].mean() >= 0.93
