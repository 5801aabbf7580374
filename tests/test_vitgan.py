"Proofs of ViTGAN's recipe, each by a second way: D's loss, warm-up, who plays, shards, spectra, average, truncation."

import copy
import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from gans import IDLE, awake, gradients, make, splits, stepped
from processes import assert_refused, instead, rows, train
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils import parametrize

from genlab import UserError
from genlab.gan import stable_gan
from genlab.gan.stable_gan import Critic, StableGenerator
from genlab.lab.images import load_images, to_uint8
from genlab.lab.layers import idle_parameters
from genlab.lab.training import check_training, fit, load_run
from genlab.vitgan.discriminator import StyleDiscriminator, ViTDiscriminator
from genlab.vitgan.generator import HEADS, CIPSHead, PatchHead, SirenHead, ViTGenerator
from genlab.vitgan.vitgan import ViTGANRecipe

PAIRS = list(product(("vit", "cnn"), ("vit", "cnn", "stylegan2")))
every_pair = pytest.mark.parametrize("generator,discriminator", PAIRS)
labelled_or_not = pytest.mark.parametrize("conditional", [False, True])
every_loss = pytest.mark.parametrize("loss", ["relativistic", "non-saturating"])
close = torch.testing.assert_close


@pytest.fixture(scope="module")
def shapes():
    return splits()


# Losses

@every_loss
@pytest.mark.parametrize("augment", [0.0, 0.4])
def test_the_whole_loss_of_both_networks(loss, augment, shapes, monkeypatch):
    "And D's gradient. R1 and R2 by a Jacobian per image, of what D says of a changed image, by the image before."
    monkeypatch.setattr(stable_gan, "diff_augment", lambda x, p, background: (1 + p) * x + 0.1)
    recipe = make("vitgan", shapes, conditional=True, loss=loss, augment=augment, gamma=0.7, penalty_every=3,
                  consistency=2.5)
    d = awake(recipe.networks["discriminator"])
    x, y = shapes["train"][torch.arange(6)]
    c = recipe.condition(y)
    torch.manual_seed(4)
    parts = recipe.d_loss(x, y, penalised=True)
    torch.manual_seed(4)
    fake = recipe.fakes(x, c).detach()

    def shown(images):
        return 1.4 * images + 0.1 if augment else images

    said, steep, apart = [], 0, 0
    for images in (x, fake):
        slope = torch.autograd.functional.jacobian(lambda images: d(shown(images), c), images, create_graph=True)
        steep = steep + slope.square().sum() / 6                                     # of (B, B, C, H, W)
        said.append(d(shown(images), c))
        apart = apart + (said[-1] - d(2 * images + 0.1, c)).square().sum() / 6
    real, fake = said
    told = (real - fake).sigmoid().log() if loss == "relativistic" else real.sigmoid().log() + (-fake).sigmoid().log()
    fooled = (fake - real if loss == "relativistic" else fake).sigmoid().log()
    close(parts["r1"] + parts["r2"], steep)
    close(parts["consistency"], apart)
    close(parts["real"], real.mean())
    close(parts["fake"], fake.mean())
    by_hand = -told.mean() + 3 * 0.7 / 2 * steep + 2.5 * apart
    close(parts["loss"], by_hand)
    close(gradients(parts["loss"], d), gradients(by_hand, d), rtol=1e-3, atol=1e-5)
    torch.manual_seed(4)
    plain = recipe.d_loss(x, y)
    close(plain["loss"], -told.mean() + 2.5 * apart)
    assert plain.keys() == {"loss", "real", "fake", "consistency"} and not x.requires_grad
    plain["loss"].backward()
    assert all(w.grad is None for w in recipe.model.parameters()), "a step of D says nothing to G"
    torch.manual_seed(4)
    close(recipe.g_loss(x, y)["loss"], -fooled.mean())
    asked = []
    d.register_forward_pre_hook(lambda module, args: asked.append(len(args[0])))
    recipe.g_loss(x, y)
    assert len(asked) == (2 if loss == "relativistic" else 1), "real images are judged where they count, and only there"


@pytest.mark.parametrize("augment", [0.0, 0.5])
def test_an_image_is_compared_with_its_changed_self(augment, shapes):
    "And never with itself, where D is shown changed ones now and then. Without the term D isn't asked."
    recipe, without = (make("vitgan", shapes, augment=augment, consistency=weight) for weight in (1.0, 0.0))
    seen = []
    for r in (recipe, without):
        r.networks["discriminator"].register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    x, y = shapes["train"][torch.arange(64)]
    recipe.d_loss(x, y)
    shown, changed = seen[:2], seen[2:]
    assert augment or torch.equal(shown[0], x)
    for images, others in zip(shown, changed, strict=True):
        assert (images != others).flatten(1).any(dim=1).all()
    assert (changed[0] != x).flatten(1).any(dim=1).all()
    share = (shown[0] == x).flatten(1).all(dim=1).float().mean()
    assert share == 1 if not augment else 0.25 < share < 0.75
    seen.clear()
    without.d_loss(x, y)
    assert len(seen) == 2


@every_pair
@labelled_or_not
@every_loss
def test_every_parameter_learns(generator, discriminator, conditional, loss, shapes):
    recipe = make("vitgan", shapes, generator=generator, discriminator=discriminator, loss=loss,
                  conditional=conditional)
    x, y = shapes["train"][torch.arange(16)]
    d, g = (recipe.networks[name] for name in ("discriminator", "generator"))
    idle = [] if loss == "non-saturating" else IDLE["vitgan" if discriminator == "vit" else "relgan"]
    assert idle_parameters(d, lambda: recipe.d_loss(x, y)["loss"]) == idle
    assert idle_parameters(g, lambda: recipe.g_loss(x, y)["loss"]) == []
    assert all(grad.isfinite().all() for grad in gradients(recipe.d_loss(x, y, penalised=True)["loss"], d))


# Steps

@pytest.mark.parametrize("n,up", [(1_200, 100), (60, 6)])
def test_the_learning_rate_rises_over_100_steps_and_falls_in_the_second_half(n, up, shapes):
    recipe = make("vitgan", shapes, lr=0.02, steps=n)
    for name, optimizer in recipe.optimizers.items():
        rates = []
        for k in range(n):
            recipe.schedule(name, k / n)
            rates += [group["lr"] for group in optimizer.param_groups]
        assert rates == pytest.approx([
            0.02 * (k + 1) / up if k < up else 0.02 if 2 * k < n else 0.04 * (n - k) / n for k in range(n)])


def trained(recipe, **kwargs):
    "By the loop, on 16 images a step, without looks."
    recipe._judge = None, None
    return fit(recipe, recipe.data, steps=recipe.config.steps, batch_size=16, pictures=1, device="cpu", **kwargs)


@pytest.mark.parametrize("warm_up,share", [(1, 1.0), (100, 0.5)])
def test_the_rate_is_set_before_the_first_step(warm_up, share, shapes):
    "Adam's first step is as long as its rate, for every weight; 20 steps have a warm-up of two."
    recipe = make("vitgan", shapes, lr=0.1, steps=20)
    recipe.warm_up = warm_up
    before, first = copy.deepcopy(recipe.networks), {}
    for name, optimizer in recipe.optimizers.items():
        optimizer.register_step_post_hook(lambda *args, name=name: first.setdefault(
            name, copy.deepcopy(recipe.networks[name])))
    trained(recipe)
    for name, network in first.items():
        moved = [(a - b).abs().max() for a, b in zip(network.parameters(), before[name].parameters(), strict=True)]
        assert max(moved).item() == pytest.approx(0.1 * share, rel=1e-3)
    assert len(first) == 2


def test_the_average_is_its_formula_and_is_what_draws(shapes):
    recipe = make("vitgan", shapes, lr=0.1, steps=9)
    step, states = recipe.step, []

    def watched(update, t):
        parts = step(update, t)
        states.append(copy.deepcopy(recipe.model.state_dict()))
        return parts

    recipe.step = watched
    model, progress = trained(recipe)
    want = states[0]
    for k, state in enumerate(states[1:], start=1):
        d = (1 + k) / (10 + k)
        want = {name: d * want[name] + (1 - d) * value for name, value in state.items()}
    close(model.state_dict(), want)
    last = progress.networks["generator"]
    assert all((model.state_dict()[name] - value).abs().max() > 1e-4 for name, value in last.named_parameters())
    twin = copy.deepcopy(last)
    twin.load_state_dict(want)
    images = [g.sample(4, generator=torch.Generator().manual_seed(0)) for g in (model, twin, last)]
    close(images[0], images[1], rtol=0, atol=1e-4)
    assert (images[0] - images[2]).abs().max() > 0.01


# Networks

def twins(recipe, n_labels: int):
    "The same networks made by hand, with the settings of `test_who_plays_against_whom`, and the recipe's weights."
    c, shape = recipe.config, (3, 16, 16)
    g = (ViTGenerator(shape, n_labels, latent_dim=6, token_pixels=8, width=8, depth=2, n_heads=4, mapping=3,
                      head=c.head) if c.generator == "vit" else StableGenerator(shape, n_labels, latent_dim=6))
    d = {"vit": lambda: ViTDiscriminator(shape, 8, 2, 4, stride=8, overlap=4, n_labels=n_labels),
         "cnn": lambda: Critic(shape, (4, 6), blocks=1, n_labels=n_labels),
         "stylegan2": lambda: StyleDiscriminator(shape, (4, 6), n_labels)}[c.discriminator]()
    for name, network in (("generator", g), ("discriminator", d)):
        assert type(network) is type(recipe.networks[name])
        network.load_state_dict(recipe.networks[name].state_dict())
    return g, d


@every_pair
@labelled_or_not
def test_who_plays_against_whom(generator, discriminator, conditional, shapes):
    "Equal weights fit, and equal weights say the same: so sizes, heads of attention and overlaps are as asked for."
    for head in HEADS if generator == "vit" else ["conv"]:
        recipe = make("vitgan", shapes, generator=generator, discriminator=discriminator, conditional=conditional,
                      head=head, token_pixels=8, depth=2, n_heads=4, mapping=3, critic_widths=(4, 6), critic_blocks=1)
        for network in recipe.networks.values():
            awake(network)
        g, d = twins(recipe, n_labels=10 if conditional else 0)
        x, y = shapes["test"][torch.arange(4)]
        c, z = recipe.condition(y), torch.randn(4, 6)
        assert (c is not None) == conditional
        close(recipe.model.decode(z, c), g.decode(z, c), rtol=0, atol=0)
        close(recipe.networks["discriminator"](x, c), d(x, c), rtol=0, atol=0)


def test_the_head_is_the_one_that_was_asked_for(shapes):
    heads = {head: make("vitgan", shapes, head=head).model.head for head in HEADS}
    kinds = dict(conv=PatchHead, linear=PatchHead, siren=SirenHead, cips=CIPSHead)
    assert {head: type(layer) for head, layer in heads.items()} == kinds
    assert heads["conv"].smooth is not None and heads["linear"].smooth is None


def held(network: nn.Module) -> list[nn.Module]:
    "Layers whose spectra are held."
    return [layer for layer in network.modules() if parametrize.is_parametrized(layer)]


def test_patches_overlap_by_half_and_spectra_of_a_transformer_are_held_if_asked_for(shapes):
    for token_pixels in (1, 2, 4, 8, 16):
        patches = make("vitgan", shapes, token_pixels=token_pixels).networks["discriminator"].patches
        assert patches.stride == (token_pixels,) * 2 and patches.padding == (token_pixels // 2,) * 2
        assert patches.kernel_size == (token_pixels + 2 * (token_pixels // 2),) * 2
    for generator in ("vit", "cnn"):
        for normalised in (False, True):
            networks = make("vitgan", shapes, generator=generator, normalised=normalised).networks
            layers = [m for m in networks["discriminator"].modules() if isinstance(m, nn.Conv2d | nn.Linear)]
            assert held(networks["discriminator"]) == (layers if normalised else [])
            assert held(networks["generator"]) == []
        for discriminator in ("cnn", "stylegan2"):
            with pytest.raises(UserError, match="normalised holds a transformer's weights"):
                make("vitgan", shapes, generator=generator, discriminator=discriminator, normalised=True)


def largest(weight: torch.Tensor) -> float:
    return float(np.linalg.svd(weight.detach().flatten(1).numpy(), compute_uv=False)[0])


def test_spectra_stay_where_they_were_by_svd_also_in_files_and_copies(shapes, tmp_path):
    recipe = make("vitgan", shapes, normalised=True, conditional=True, lr=0.4, steps=20)
    start = [largest(layer.parametrizations.weight.original) for layer in held(recipe.networks["discriminator"])]
    _, progress = trained(recipe)
    d = progress.networks["discriminator"]
    grown = [abs(largest(layer.parametrizations.weight.original) / sigma - 1)
             for layer, sigma in zip(held(d), start, strict=True)]
    assert max(grown) > 0.4 and sum(grown) / len(grown) > 0.1 and len(grown) == 8, "the weights themselves don't stay"
    torch.save(d.state_dict(), tmp_path / "d.pt")
    again = make("vitgan", shapes, seed=5, normalised=True, conditional=True).networks["discriminator"]
    again.load_state_dict(torch.load(tmp_path / "d.pt"))
    x, y = shapes["test"][torch.arange(8)]
    c = recipe.condition(y)
    said = d.eval()(x, c)
    for other in (d, again.eval(), copy.deepcopy(d)):
        assert torch.equal(other(x, c), said)
        for layer, sigma in zip(held(other), start, strict=True):
            assert 1 - 1e-5 < largest(layer.weight) / sigma < 1.05
            layer.train()
            used = [layer.weight for _ in range(300)][-1]  # each look in training is a round
            assert largest(used) == pytest.approx(sigma, rel=1e-3)


def test_images_of_64_pixels_learn_by_patches_of_8(shapes):
    large = {split: load_images("shapes", split, size=64, n=16) for split in shapes}
    recipe = make("vitgan", large, token_pixels=8, conditional=True)
    before = [w.clone() for n in recipe.networks.values() for w in n.parameters()]
    stepped(recipe, n=1)
    idle = len(IDLE["vitgan"])
    after = [w for n in recipe.networks.values() for w in n.parameters()]
    assert sum(torch.equal(a, b) for a, b in zip(before, after, strict=True)) == idle
    assert recipe.model.sample(2).shape == (2, 3, 64, 64) and len(recipe.model.places) == 64
    assert recipe.networks["discriminator"].tokens(large["test"][torch.arange(2)][0]).shape == (2, 1 + 64, 8)


# Shards

@pytest.mark.parametrize("generator,discriminator,normalised", [
    (*pair, normalised) for pair in PAIRS for normalised in (False, True) if pair[1] == "vit" or not normalised])
def test_shards_where_no_logit_hears_of_the_others(generator, discriminator, normalised, shapes):
    recipe = make("vitgan", shapes, generator=generator, discriminator=discriminator, normalised=normalised)
    check_training(recipe, batch_size=16, accumulate=1, trackers=())
    if discriminator == "stylegan2" or normalised:
        with pytest.raises(UserError, match="look at a whole batch"):
            check_training(recipe, batch_size=16, accumulate=2, trackers=())
    else:
        check_training(recipe, batch_size=16, accumulate=2, trackers=())


# The command line

SHORT = ["vitgan", "--budget", "smoke", "--steps", "20", "--batch-size", "16", "--pictures", "1", "--latent-dim", "4",
         "--width", "8", "--depth", "1", "--n-heads", "2", "--critic-widths", "8", "16"]


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("vitgan")


@pytest.fixture
def run(work, genlab, one_thread):
    "The name of a run with a generator, trained once; that of transformers in two shards."
    def run(generator: str) -> str:
        more = ["--augment", ".5", "--consistency", "1", "--accumulate", "2"] if generator == "vit" else [
            "--generator", "cnn", "--discriminator", "cnn"]
        if not (work / generator).exists():
            code, said = genlab("train", *SHORT, *more, "--conditional", "--out", generator)
            assert code == 0, said
        return generator

    return run


def test_two_processes_are_one(work, run, few_images):
    shards = work / run("vit")
    done = train(work, few_images, *SHORT, "--augment", ".5", "--consistency", "1", "--conditional", "--out", "two",
                 processes=2)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(rows(work / "two"), rows(shards), rtol=1e-5, equal_nan=True)
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (work / "two", shards))
    assert ours.keys() == theirs.keys()
    assert json.loads((work / "two" / "metrics.json").read_text())["processes"] == 2
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=0, atol=1e-6, err_msg=name)


@pytest.fixture
def draw(genlab, tmp_path):
    "Six bags of a run, always with the same seed."
    def draw(run: str, *knobs) -> np.ndarray:
        out = tmp_path / f"{len(list(tmp_path.iterdir()))}.npy"
        code, said = genlab("sample", run, "-n", 6, "--label", "bag", *knobs, "--out", out)
        assert code == 0, said
        return np.load(out).astype(int)

    return draw


def test_truncation_goes_from_the_mean_style_to_the_plain_sample(work, run, draw, genlab):
    name = run("vit")
    net = load_run(work / name, ViTGANRecipe)[1].eval()
    z = torch.randn(1_000, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        w = net.mapping(z, torch.eye(10)[[8]].expand(1_000, -1)).mean(dim=0)
        mean = to_uint8(net.synthesise(w[None])).numpy()
    none, half, all_of_it = (draw(name, "--truncation", t) for t in ("0", ".5", "1"))
    assert np.abs(none - mean).max() <= 1 and np.abs(all_of_it - draw(name)).max() <= 1
    assert np.abs(none - half).max() > 1 < np.abs(half - all_of_it).max()
    assert_refused(work, genlab, ["sample", name, "--truncation", "2", "--out", "never.png"], "truncation is 2")


def test_truncation_of_a_generator_of_convolutions_limits_its_codes(run, draw):
    name = run("cnn")
    plain, half = draw(name), draw(name, "--truncation", ".5")
    assert half.std(axis=0).mean() < 0.7 * plain.std(axis=0).mean()
    assert (draw(name, "--truncation", "0").std(axis=0) == 0).all()


@pytest.mark.parametrize("args,said", [
    (["--token-pixels", "5"], "token pixels 5 don't divide 28x28"),
    (["--token-pixels", "5", "--generator", "cnn"], "token pixels 5 don't divide 28x28"),
    (["--token-pixels", "5", "--discriminator", "cnn"], "token pixels 5 don't divide 28x28"),
    (["--token-pixels", "56"], "token pixels 56 don't divide 28x28"),
    (["--n-heads", "3"], "multiple of the 3 heads"),
    (["--n-heads", "3", "--generator", "cnn"], "multiple of the 3 heads"),
    (["--discriminator", "stylegan2", "--critic-widths", "8", "8", "8", "8"], "28x28 images can't be halved 3 times"),
    (["--discriminator", "cnn", "--critic-widths", "8", "8", "8", "8", "8"], "28x28 images can't be halved 5 times"),
    (["--generator", "cnn", "--discriminator", "cnn", "--size", "30"], "30x30 images can't be made 4 times smaller"),
    (["--discriminator", "stylegan2", "--accumulate", "2"], "2 shards would not be the same training"),
    (["--normalised", "--accumulate", "2"], "2 shards would not be the same training"),
])
def test_what_can_not_be_is_refused_before_training(work, genlab, args, said):
    assert_refused(work, genlab, ["train", *instead(SHORT, *args), "--out", "never"], said)
