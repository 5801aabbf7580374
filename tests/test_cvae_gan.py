"Proofs of the CVAE-GAN: what learns and what stays, each term of the loss by hand, and the CVAE that a run began with."

import copy
import math
import shutil

import pytest
import torch
import torch.nn.functional as F
import yaml

from genlab import UserError, cli
from genlab.gan.cvae_gan import (
    CVAEGANConfig,
    CVAEGANRecipe,
    decoder_side,
    described,
    description,
    feature_distance,
    fingerprint,
    reconstruction_error,
)
from genlab.gan.stable_gan import Critic
from genlab.lab import images
from genlab.lab.images import ImageSet, load_images
from genlab.lab.layers import idle_parameters
from genlab.lab.pictures import draw_images
from genlab.lab.training import check_recipe, fit
from genlab.vae.cvae import CVAE, ConditionalBlock
from genlab.vae.vit_cvae import ViTCVAE
from genlab.workshop.runs import create_run

KINDS = {"cvae": (CVAE, dict(widths=(8, 16))), "vit-cvae": (ViTCVAE, dict(width=8, depth=1, n_heads=2))}
every_kind = pytest.mark.parametrize("kind", KINDS)
SMALL = dict(critic_widths=(8, 16), batch_size=16, lr=1e-3)


@pytest.fixture(scope="module")
def shapes() -> dict:
    return {split: load_images("shapes", split, size=16, n=n)
            for split, n in (("train", 300), ("validation", 60), ("test", 100))}


@pytest.fixture(scope="module")
def faces(shapes) -> dict:
    "The same images with three attributes each."
    y = torch.rand(300, 3, generator=torch.Generator().manual_seed(0)) < 0.5
    return {split: ImageSet(s.x, y[:len(s)], ("hat", "beard", "cap"), "dressed", split) for split, s in shapes.items()}


def new_cvae(kind: str, data: dict) -> CVAE:
    "A CVAE whose blocks hear the label, with codes that know their label; nothing in it is trained."
    model, small = KINDS[kind]
    torch.manual_seed(0)
    net = model(data["train"].shape, data["train"].n_labels, data["train"].y.ndim == 2, latent_dim=4, components=2,
                **small)
    for block in net.modules():
        if isinstance(block, ConditionalBlock):
            torch.nn.init.normal_(block.modulate.weight, std=0.3)
    x, y = data["train"][torch.arange(300)]
    with torch.no_grad():
        net.given.fit(net.encode(x, y)[0], net.condition(y), torch.ones(4))
    net.pixels.fixed.fill_(-1.0)
    return net.eval()


def make(data: dict, kind: str = "cvae", recipe: type = CVAEGANRecipe, **settings) -> CVAEGANRecipe:
    start = new_cvae(kind, data)
    torch.manual_seed(1)
    return recipe(CVAEGANConfig(**SMALL | settings), data | dict(cvae=start))


def trained(recipe, steps: int = 12, judged: bool = False, **kwargs):
    "A short training; unless it is judged, the last weights are kept."
    if not judged:
        recipe.validate = lambda model: dict(fid=math.nan)
    return fit(recipe, recipe.data, steps=steps, batch_size=16, pictures=2, device="cpu", **kwargs)


def same(a: dict, b: dict) -> set[str]:
    "The names of what is equal in every bit in two state dicts."
    return {name for name in a if torch.equal(a[name], b[name])}


@every_kind
def test_every_parameter_of_the_decoder_and_of_the_critic_learns(kind, shapes):
    recipe = make(shapes, kind)
    x, y = recipe.data[torch.arange(32)]
    idle = idle_parameters(recipe.networks["discriminator"], lambda: recipe.d_loss(x, y)["loss"])
    assert set(idle) <= {"to_logit.bias"}, "only differences of logits count"
    g_loss = lambda: recipe.g_loss(x, y, 0.5)["loss"]  # noqa: E731
    whole = recipe.model
    sides = torch.nn.ModuleDict(dict(code=whole.from_code, decoder=whole.decoder))
    assert idle_parameters(sides, g_loss) == []
    learns = {id(w) for group in recipe.optimizers["generator"].param_groups for w in group["params"]}
    assert learns == {id(w) for w in sides.parameters()}
    check_recipe(recipe)


@every_kind
@pytest.mark.parametrize("labels", ["classes", "attributes"])
def test_only_the_decoder_changes_and_the_average_is_a_cvae(kind, labels, shapes, faces):
    data = shapes if labels == "classes" else faces
    recipe = make(data, kind)
    before = copy.deepcopy(recipe.start.state_dict())
    model, _ = trained(recipe)
    decoder = {name for name, _ in model.named_parameters() if name.startswith(("from_code.", "decoder."))}
    for after in (recipe.model.state_dict(), model.state_dict()):
        assert before.keys() - same(before, after) == decoder
    assert same(before, recipe.start.state_dict()) == before.keys(), "the CVAE itself is left alone"
    assert type(model) is KINDS[kind][0] and not model.training
    x, y = data["test"][torch.arange(5)]
    assert torch.equal(model.encode(x, y)[0], recipe.start.encode(x, y)[0])
    assert not torch.equal(model.reconstruct(x, y), recipe.start.reconstruct(x, y))
    assert draw_images(model, 5, 0, y).shape == x.shape and draw_images(model, 3, 0).isfinite().all()


def test_a_cvae_that_ships_frozen_is_trained_all_the_same(shapes):
    start = new_cvae("cvae", shapes).requires_grad_(False)
    recipe = CVAEGANRecipe(CVAEGANConfig(**SMALL), shapes | dict(cvae=start))
    x, y = recipe.data[torch.arange(16)]
    recipe.g_loss(x, y)["loss"].backward()
    assert all(w.grad is not None for w in decoder_side(recipe.model))
    assert not any(w.requires_grad for w in start.parameters())


def test_the_critics_step_says_nothing_to_the_generator_and_the_other_way_round(shapes):
    recipe = make(shapes)
    x, y = recipe.data[torch.arange(16)]
    recipe.d_loss(x, y, penalised=True)["loss"].backward()
    assert all(w.grad is None for w in recipe.model.parameters())
    seen = []

    def update(name, loss):
        seen.append(name)
        return loss(x, y)

    update.step = 0
    recipe.step(update, 0.5)
    assert seen == ["discriminator", "generator"]
    critic = [w.clone() for w in recipe.networks["discriminator"].parameters()]
    recipe.model.zero_grad()
    recipe.g_loss(x, y)["loss"].backward()
    recipe.optimizers["generator"].step()
    assert all(torch.equal(a, b) for a, b in zip(critic, recipe.networks["discriminator"].parameters(), strict=True))
    frozen = [w for name, w in recipe.model.named_parameters() if not name.startswith(("from_code.", "decoder."))]
    assert frozen and all(w.grad is None for w in frozen)


def test_in_pretraining_the_generator_and_its_average_stay(shapes):
    recipe = make(shapes, pretraining=0.5)
    before = copy.deepcopy(recipe.model.state_dict())
    critic = copy.deepcopy(recipe.networks["discriminator"].state_dict())
    stops, step = [], recipe.step

    def watched(update, t):
        out = step(update, t)
        stops.append((t, same(before, recipe.model.state_dict()) == before.keys(), "generator_loss" in out,
                      same(before, update.progress.average.module.state_dict()) == before.keys()))
        return out

    recipe.step = watched
    model, _ = trained(recipe, steps=10)
    assert [stop[1] for stop in stops] == [True] * 5 + [False] * 5 == [not stop[2] for stop in stops]
    assert all(stop[3] for stop in stops[:6]), "the average of the step before is counted in afterwards"
    assert len(same(critic, recipe.networks["discriminator"].state_dict())) < len(critic)
    assert len(same(before, model.state_dict())) < len(before)


def test_projection_hears_the_label(shapes):
    torch.manual_seed(0)
    critic = Critic((3, 16, 16), (8, 16), n_labels=4)
    x = torch.randn(6, 3, 16, 16)
    c = F.one_hot(torch.tensor([0, 1, 2, 3, 0, 1]), 4).float()
    h = critic.features(x)
    got = critic.logit(h, c)
    torch.testing.assert_close(got, critic(x, c))
    by_hand = [critic.to_logit.weight[0] @ h[i] + critic.to_logit.bias[0] + critic.of_label.weight[:, k] @ h[i]
               for i, k in enumerate([0, 1, 2, 3, 0, 1])]
    torch.testing.assert_close(got, torch.stack(by_hand))
    assert not torch.isclose(got, critic.logit(h, c.roll(1, 0))).any()
    recipe = make(shapes)
    x, y = recipe.data[torch.arange(8)]
    features, logits = recipe.look(x, y)
    assert torch.equal(logits, recipe.opinion(x, y)) and features.shape == (8, recipe.networks[
        "discriminator"].to_logit.in_features)
    assert not torch.isclose(logits, recipe.opinion(x, (y + 1) % 10)).any()


@every_kind
def test_the_terms_of_the_loss_by_hand(kind, shapes):
    recipe = make(shapes, kind, feature_matching=0.7, reconstruction=20.0, reconstruction_end=2.0)
    x, y = recipe.data[torch.arange(16)]
    torch.manual_seed(5)
    fake = recipe.fakes(x, y).detach()
    torch.manual_seed(5)
    parts = recipe.g_loss(x, y, 0.25)
    critic = recipe.networks["discriminator"]
    c = recipe.model.condition(y)
    adversarial = sum(F.softplus(critic(x, c)[i] - critic(fake, c)[i]) for i in range(16)) / 16
    torch.testing.assert_close(parts["adversarial"], adversarial)
    real, made = critic.features(x), critic.features(fake)
    features = sum((sum(real[:, k]) / 16 - sum(made[:, k]) / 16) ** 2 for k in range(real.shape[1]))
    torch.testing.assert_close(parts["features"], features)
    back = recipe.model.decode_all(recipe.model.encode(x, y)[0], y)
    error = ((back - x) ** 2).sum() / x.numel()
    torch.testing.assert_close(parts["reconstruction"], error)
    torch.testing.assert_close(parts["loss"], adversarial + 0.7 * features + 15.5 * error)
    assert [recipe.reconstruction_weight(t) for t in (0.0, 0.5, 1.0)] == [20.0, 11.0, 2.0]


def test_who_pulls_at_whom(shapes):
    "A step along the adversarial loss alone makes fakes look more real; features come nearer; images come back."
    for name in ("adversarial", "features", "reconstruction"):
        recipe = make(shapes)
        x, y = recipe.data[torch.arange(64)]
        values = []
        for _ in range(2):
            torch.manual_seed(5)
            part = recipe.g_loss(x, y)[name]
            values.append(part.item())
            recipe.model.zero_grad()
            part.backward()
            with torch.no_grad():
                steepest = torch.stack([w.grad.norm() for w in decoder_side(recipe.model)]).norm()
                for w in decoder_side(recipe.model):
                    w -= 0.01 * w.grad / steepest
        assert values[1] < values[0], name
    torch.manual_seed(0)
    a, b = torch.randn(2, 9, 5)
    assert feature_distance(a, a + 1).item() == pytest.approx(5) and feature_distance(a, a[torch.randperm(9)]) < 1e-10
    torch.testing.assert_close(feature_distance(a, b), feature_distance(b, a))


def test_reconstruction_reaches_pixels_beyond_the_range(shapes):
    "An image is shown within [-1, 1], but the error is that of what the decoder says, so that it can come back."
    net = new_cvae("cvae", shapes)
    x, y = shapes["train"][torch.arange(8)]
    mu, _ = net.encode(x, y)
    torch.testing.assert_close(reconstruction_error(net, x, y), (net.decode_all(mu, y) - x).square().mean())
    assert reconstruction_error(net, x, y) >= (net.reconstruct(x, y) - x).square().mean()


def test_fakes_are_samples_with_the_labels_of_real_images(shapes):
    recipe = make(shapes)
    x, y = recipe.data[torch.arange(8)]
    torch.manual_seed(3)
    fake = recipe.fakes(x, y)
    torch.manual_seed(3)
    assert torch.equal(fake, recipe.model.sample(8, y))
    assert fake.requires_grad and fake.abs().max() <= 1


def test_means_over_a_batch_are_not_cut_into_shards(shapes):
    with pytest.raises(UserError, match="whole batch"):
        trained(make(shapes), accumulate=2)
    trained(make(shapes, feature_matching=0.0), steps=2, accumulate=2)


@pytest.mark.parametrize("labels", ["classes", "attributes"])
def test_looks_on_the_way_and_numbers_at_the_end(labels, shapes, faces, monkeypatch):
    data = shapes
    if labels == "attributes":
        data = {split: load_images("faces", split, size=16, n=n)
                for split, n in (("train", 300), ("validation", 60), ("test", 100))}
    recipe = make(data)
    monkeypatch.setattr("genlab.gan.dcgan.N_LOOK", 50)
    values = recipe.validate(recipe.model.eval())
    assert values["fid"] > 0 and {"seen", "held_out", "fake"} <= values.keys()
    found = recipe.evaluate(recipe.model, 0)
    assert {"fid", "kid", "recall", "mse", "ssim", "nearest", "agreement"} <= found.keys()
    assert ("balanced" in found) == (labels == "attributes")
    model, progress = trained(recipe, steps=6, judged=True)
    fids = {row["val_fid"]: row["step"] for row in progress.log if "val_fid" in row}
    assert progress.best["value"] == min(fids) and len(fids) >= 2
    assert same(progress.best["weights"], model.state_dict()) == model.state_dict().keys()


def test_images_of_another_kind_are_refused(shapes, faces):
    start = new_cvae("cvae", shapes)
    large = {split: load_images("shapes", split, size=20, n=20) for split in shapes}
    for data, said in ((faces, "3 labels, attributes: True"), (large, r"\(3, 20, 20\)")):
        with pytest.raises(UserError, match=said):
            CVAEGANRecipe(CVAEGANConfig(**SMALL), data | dict(cvae=start))


@every_kind
def test_a_description_gives_the_same_model_again(kind, shapes):
    net = new_cvae(kind, shapes)
    again = described(description(net))
    assert type(again) is type(net) and fingerprint(again) != fingerprint(net)
    again.load_state_dict(net.state_dict())
    assert fingerprint(again) == fingerprint(net) and description(again) == description(net)
    net.given[0].mean[0] += 1e-6  # the codes belong to it
    assert fingerprint(again) != fingerprint(net)
    for wrong in ("", "[]", "abc", '["VAE", {}]', '["CVAE", {"wings": 2}]', '["CVAE", 3]', '{"CVAE": {}}'):
        with pytest.raises(UserError, match="doesn't describe a generator"):
            described(wrong)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("cvae_gan")


@pytest.fixture
def call(work, monkeypatch, capsys):
    "The command line in this process, on few shapes."
    monkeypatch.chdir(work)
    monkeypatch.setitem(images.DRAWN, "shapes", (300, 60, 100))
    monkeypatch.setattr("genlab.gan.dcgan.N_LOOK", 50)

    def call(*args) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["genlab", *map(str, args)])
        code = cli.main()
        said = capsys.readouterr()
        return code, said.out + said.err

    return call


CVAE_RUN = ["cvae", "--data", "shapes", "--size", "16", "--steps", "6", "--batch-size", "16", "--latent-dim", "4",
            "--widths", "8", "16", "--components", "2", "--budget", "smoke"]
GAN_RUN = ["--steps", "8", "--batch-size", "16", "--critic-widths", "8", "16", "--budget", "smoke"]


def test_the_cvae_of_a_run(work, call):
    "It is named, it is finished, it is a CVAE, and it is the same when the run goes on; samples do without it."
    assert "--cvae runs/cvae-1" in call("train", "cvae-gan", *GAN_RUN)[1]
    for seed in (0, 1):
        code, said = call("train", *CVAE_RUN, "--seed", seed, "--out", f"start_{seed}")
        assert code == 0, said
    code, said = call("train", "cvae-gan", "--cvae", "start_0", *GAN_RUN, "--out", "run")
    assert code == 0 and "fid" in said and "agreement" in said and "mse" in said, said
    shutil.copytree(work / "start_0", work / "unfinished")
    (work / "unfinished" / "model.safetensors").unlink()
    before = sorted(work.rglob("*"))
    for wrong, what in (("run", "expected one of cvae, vit-cvae, editing-cvae"), ("nowhere", "not a run folder"),
                        ("unfinished", "has not finished")):
        code, said = call("train", "cvae-gan", "--cvae", wrong, *GAN_RUN)
        assert code == 2 and what in said and len(said.strip().splitlines()) == 1, said
    assert sorted(work.rglob("*")) == before, "a refusal makes nothing"
    settings = yaml.safe_load((work / "run" / "config.yaml").read_text())
    assert len(settings["made_for"]) == 16 and settings["generator"].startswith('["CVAE"')
    (work / "run" / "model.safetensors").rename(work / "kept")
    right = (work / "run" / "config.yaml").read_text()
    (work / "run" / "config.yaml").write_text(right.replace(str(work / "start_0"), str(work / "start_1")))
    code, said = call("train", "--resume", "run")
    assert code == 2 and "the CVAE is not the one that this run began with" in said, said
    (work / "run" / "config.yaml").write_text(right)
    (work / "kept").rename(work / "run" / "model.safetensors")
    (work / "start_0").rename(work / "moved")
    code, said = call("sample", "run", "-n", "4", "--label", "ring", "--out", "four.npy")
    assert code == 0, said
    code, said = call("evaluate", "run")
    assert code == 2 and "not a run folder" in said
    (work / "moved").rename(work / "start_0")


def test_a_run_that_was_cut_ends_with_the_same_bits(shapes, tmp_path):
    ends = []
    for cut in (None, 3, 7):  # within the pretraining, and after it
        recipe = make(shapes, pretraining=0.5)
        out = create_run(tmp_path / str(cut), dict(model="cvae-gan"))
        if cut:
            step = recipe.step

            def stopped(update, t, step=step, cut=cut):
                if update.step == cut:
                    raise KeyboardInterrupt
                return step(update, t)

            recipe.step = stopped
            with pytest.raises(KeyboardInterrupt):
                trained(recipe, steps=10, out=out, save_every=1)
            recipe = make(shapes, pretraining=0.5)
        model, _ = trained(recipe, steps=10, out=out, save_every=1)
        critic = recipe.networks["discriminator"].state_dict()
        ends.append(model.state_dict() | {f"critic.{name}": value for name, value in critic.items()})
    assert all(same(ends[0], end) == ends[0].keys() for end in ends[1:])
