"Proofs of the stable GANs, each by a second way: penalties, pairs, margins, spectra, labels, changed images, modes."

import copy
import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from gans import awake, gradients, make, splits, stepped
from torch import nn
from torch.nn.utils import parametrize

from genlab import UserError
from genlab.gan import stable_gan
from genlab.gan.stable_gan import (
    GAN_LOSSES,
    Critic,
    PlainBlock,
    StableGenerator,
    border_colour,
    d_hinge_loss,
    diff_augment,
    g_hinge_loss,
    gradient_penalty,
    modes_covered,
    normalise_spectrum,
    plane_network,
    play_on_plane,
    recoloured,
    relativistic_loss,
    shifted,
    stacks,
    stacks_covered,
    twenty_five,
    with_a_hole,
)
from genlab.lab.images import ImageSet, load_images, to_float
from genlab.lab.metrics import load_extractor
from genlab.lab.training import Progress, Update, fit
from genlab.vae.cvae import read

every_design = pytest.mark.parametrize("kind", ["sngan", "relgan", "vitgan"])
by_pairs = pytest.mark.parametrize("kind", ["relgan", "vitgan"])
CPU = SimpleNamespace(device=torch.device("cpu"), num_processes=1, process_index=0, mixed_precision="no")


@pytest.fixture(scope="module")
def shapes():
    return splits()


# Penalties

def test_the_penalty_of_a_linear_d_is_the_length_of_its_weights():
    w = torch.randn(3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = torch.randn(7, 3, 5, 4, dtype=torch.float64).requires_grad_()
    torch.testing.assert_close(gradient_penalty((x * w).sum(dim=(1, 2, 3)) + 3, x), w.square().sum())
    steep = torch.arange(7, dtype=torch.float64)  # another slope at each image: the mean of squares
    found = gradient_penalty(steep * (x * w).sum(dim=(1, 2, 3)), x)
    torch.testing.assert_close(found, steep.square().mean() * w.square().sum())


@pytest.mark.parametrize("which", ["critic", "smooth"])
def test_the_penalty_and_its_gradient_by_weights_are_finite_differences(which):
    torch.manual_seed(0)
    d = (Critic((2, 8, 8), (3, 4), blocks=1) if which == "critic" else
         nn.Sequential(nn.Flatten(), nn.Linear(128, 6), nn.Tanh(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1),
                       nn.Flatten(0)))
    d = awake(d.double())
    x = 0.5 * torch.randn(3, 2, 8, 8, dtype=torch.float64)
    e = 1e-6

    def penalty() -> torch.Tensor:
        inside = x.clone().requires_grad_()
        return gradient_penalty(d(inside), inside)

    with torch.no_grad():
        way = e * torch.eye(128, dtype=torch.float64).view(128, 2, 8, 8)
        slopes = [(d(one + way) - d(one - way)) / (2 * e) for one in x]     # (128,) each
    torch.testing.assert_close(penalty(), torch.stack(slopes).square().sum(dim=1).mean(), rtol=1e-6, atol=0)
    grads = gradients(penalty(), d)
    for w, grad in zip(d.parameters(), grads, strict=True):
        way = torch.randn_like(w)
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                w += sign * e * way
            ends.append(penalty().item())
            with torch.no_grad():
                w -= sign * e * way
        assert (grad * way).sum().item() == pytest.approx((ends[0] - ends[1]) / (2 * e), rel=1e-4, abs=1e-8)
    assert sum(grad.abs().sum() > 0 for grad in grads) >= 3


@pytest.mark.parametrize("conditional", [False, True])
def test_the_whole_loss_of_d(conditional, shapes):
    "Pairs by hand; R1 and R2 by a Jacobian per image, of what D says of a changed image, by the image before."
    recipe = make("relgan", shapes, conditional=conditional, gamma=0.7, penalty_every=3)
    recipe.augmented = lambda x: 1.5 * x + 0.1
    d = awake(recipe.networks["discriminator"])
    x, y = shapes["train"][torch.arange(6)]
    c = recipe.condition(y)
    torch.manual_seed(4)
    parts = recipe.d_loss(x, y, penalised=True)
    torch.manual_seed(4)
    fake = recipe.fakes(x, c).detach()
    said, squares = [], []
    for images in (x, fake):
        slope = torch.autograd.functional.jacobian(lambda images: d(1.5 * images + 0.1, c), images)  # (B, B, C, H, W)
        squares.append(slope.square().sum() / 6)
        said.append(d(1.5 * images + 0.1, c))
    pairs = -(said[0] - said[1]).sigmoid().log().mean()
    torch.testing.assert_close(parts["r1"], squares[0])
    torch.testing.assert_close(parts["r2"], squares[1])
    torch.testing.assert_close(parts["real"], said[0].mean())
    torch.testing.assert_close(parts["fake"], said[1].mean())
    torch.testing.assert_close(parts["loss"], pairs + 3 * 0.7 / 2 * (squares[0] + squares[1]))
    torch.manual_seed(4)
    plain = recipe.d_loss(x, y)
    torch.testing.assert_close(plain["loss"], pairs)
    assert plain.keys() == {"loss", "real", "fake"} and not x.requires_grad
    parts["loss"].backward()
    assert all(w.grad is None for w in recipe.model.parameters()), "a step of D says nothing to G"


def test_each_penalty_alone_is_weighed_by_half_of_gamma(shapes):
    "The gradient that D's weights get from the penalties, against the two penalties' own gradients."
    recipe = make("relgan", shapes, gamma=0.4, penalty_every=1)
    d = awake(recipe.networks["discriminator"])
    x, y = shapes["train"][torch.arange(8)]

    def loss(penalised):
        torch.manual_seed(4)
        return recipe.d_loss(x, y, penalised)

    torch.manual_seed(4)
    want = [torch.zeros_like(w) for w in d.parameters()]
    for images in (x.clone(), recipe.fakes(x, None).detach()):
        images.requires_grad_()
        slope, = torch.autograd.grad(d(images).sum(), images, create_graph=True)
        own = gradients(slope.flatten(1).norm(dim=1).square().mean(), d)
        want = [a + 0.2 * b for a, b in zip(want, own, strict=True)]
    apart = [a - b for a, b in zip(gradients(loss(True)["loss"], d), gradients(loss(False)["loss"], d), strict=True)]
    torch.testing.assert_close(apart, want, rtol=1e-3, atol=1e-5)


class Steps:
    "What a recipe's `step` is given, but with weights that stay: notes losses, and the gradients of D."

    def __init__(self, recipe, x, y):
        self.recipe, self.x, self.y = recipe, x, y
        self.said, self.grads = [], []

    def __call__(self, name, loss):
        torch.manual_seed(7)
        parts = loss(self.x, self.y)
        if name == "discriminator":
            self.said.append(parts)
            self.grads.append(gradients(parts["loss"], self.recipe.networks[name]))
        return {f"{name}_{part}": value for part, value in parts.items()}


def played(recipe, x, y, steps: int) -> Steps:
    update = Steps(recipe, x, y)
    for update.step in range(steps):
        logged = recipe.step(update, 0.5)
        assert "generator_loss" in logged and "discriminator_loss" in logged
    return update


@by_pairs
def test_lazy_penalties_come_every_fourth_time_with_four_times_the_weight(kind, shapes):
    "At equal weights the mean gradient of four steps is that of penalties in every step."
    x, y = shapes["train"][torch.arange(8)]
    lazy, eager = (make(kind, shapes, penalty_every=k, gamma=0.5) for k in (4, 1))
    for recipe in (lazy, eager):
        awake(recipe.networks["discriminator"])
    rare, often = played(lazy, x, y, 9), played(eager, x, y, 4)
    assert [k for k, parts in enumerate(rare.said) if "r1" in parts] == [0, 4, 8]
    assert [k for k, parts in enumerate(rare.said) if "r2" in parts] == [0, 4, 8]
    assert all("r1" in parts and "r2" in parts for parts in often.said)
    penalty = often.said[0]["r1"] + often.said[0]["r2"]
    for update, times in ((rare, 4), (often, 1)):
        torch.testing.assert_close(update.said[0]["loss"] - rare.said[1]["loss"], times * 0.25 * penalty)
    means = [[torch.stack(w).mean(dim=0) for w in zip(*update.grads[:4], strict=True)] for update in (rare, often)]
    torch.testing.assert_close(*means, rtol=1e-4, atol=1e-5)


def test_penalties_are_logged_by_their_own_count(shapes):
    recipe = make("relgan", shapes)
    progress = Progress(recipe, None)
    update = Update(recipe, shapes["train"], progress, CPU, steps=100, batch_size=8, accumulate=1, seed=0)
    seen = []
    for _ in range(8):
        parts = recipe.step(update, 0.0)
        progress.count(parts, recipe.model)
        seen.append(parts)
    row = progress.close_row({})
    for name, times in (("discriminator_r1", 2), ("discriminator_r2", 2), ("discriminator_loss", 8)):
        values = [float(parts[name]) for parts in seen if name in parts]
        assert len(values) == times and row[name] == pytest.approx(sum(values) / times, rel=1e-5)


# Losses

def test_pairs_are_told_apart_as_by_a_classifier_of_differences():
    g = torch.Generator().manual_seed(0)
    real, fake = 3 * torch.randn(2, 50, generator=g, dtype=torch.float64)
    loss = relativistic_loss(real, fake)
    torch.testing.assert_close(loss, F.binary_cross_entropy_with_logits(real - fake, torch.ones_like(real)))
    torch.testing.assert_close(relativistic_loss(-fake, -real), loss)
    torch.testing.assert_close(relativistic_loss(fake, real) - loss, (real - fake).mean())
    torch.testing.assert_close(relativistic_loss(real + 5, fake + 5), loss)
    assert relativistic_loss(fake + 9, fake) < 1e-3 < 8 < relativistic_loss(fake, fake + 9)


def test_margins_by_hand():
    real, fake = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-2.0, -0.5, 3.0])
    assert d_hinge_loss(real, fake).item() == pytest.approx((0 + 0.5 + 2) / 3 + (0 + 0.5 + 4) / 3)
    assert d_hinge_loss(torch.tensor([1.0, 7.0]), torch.tensor([-1.0])).item() == 0
    assert g_hinge_loss(fake).item() == pytest.approx(-0.5 / 3)


def test_losses_on_the_plane_are_the_recipes():
    g = torch.Generator().manual_seed(0)
    real, fake = 2 * torch.randn(2, 40, generator=g)
    bce = F.binary_cross_entropy_with_logits
    ones, zeros = torch.ones(40), torch.zeros(40)
    apart = bce(real, ones) + bce(fake, zeros)
    want = {
        "minimax": (apart, -bce(fake, zeros)),
        "non-saturating": (apart, bce(fake, ones)),
        "hinge": ((1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean(), -fake.mean()),
        "relativistic": (bce(real - fake, ones), bce(fake - real, ones)),
    }
    assert GAN_LOSSES.keys() == want.keys()
    for name, losses in GAN_LOSSES.items():
        for loss, value in zip(losses, want[name], strict=True):
            torch.testing.assert_close(loss(real, fake), value)


@every_design
@pytest.mark.parametrize("conditional", [False, True])
def test_losses_of_the_recipes_by_hand(kind, conditional, shapes):
    recipe = make(kind, shapes, conditional=conditional)
    d = recipe.networks["discriminator"]
    with torch.no_grad():
        (d.to_logit.parametrizations.weight.original if kind == "sngan" else d.to_logit.weight).mul_(3)
    d = awake(d).eval()
    x, y = shapes["train"][torch.arange(10)]
    x = 20 * x  # some logits outside of the margins
    c = recipe.condition(y)
    torch.manual_seed(4)
    found = recipe.d_loss(x, y)
    torch.manual_seed(4)
    with torch.no_grad():
        real, fake = d(x, c), d(recipe.fakes(x, c), c)
    rest = (1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean()
    torch.testing.assert_close(found["loss"], rest if kind == "sngan" else (1 + (fake - real).exp()).log().mean())
    torch.testing.assert_close(found["real"], real.mean())
    torch.testing.assert_close(found["fake"], fake.mean())
    assert found["real"].grad_fn is not None and not fake.allclose(real)
    torch.manual_seed(4)
    found = recipe.g_loss(x, y)["loss"]
    torch.testing.assert_close(found, -fake.mean() if kind == "sngan" else (1 + (real - fake).exp()).log().mean())


def test_the_bias_of_the_logit_counts_where_a_margin_is_passed_and_never_among_pairs(shapes):
    "Why tests/gans.py lets it be idle."
    x, y = shapes["train"][torch.arange(16)]
    for kind, learns in (("sngan", True), ("relgan", False)):
        recipe = make(kind, shapes)
        d = recipe.networks["discriminator"]
        with torch.no_grad():
            d.to_logit.bias.fill_(1.0)
        loss = recipe.d_loss(x, y)["loss"]
        assert (torch.autograd.grad(loss, d.to_logit.bias)[0].abs() > 1e-3).all() == learns


# Spectra

def layers_of(network: nn.Module) -> list[nn.Module]:
    return [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def largest(weight: torch.Tensor) -> float:
    return torch.linalg.svdvals(weight.detach().flatten(1).double())[0].item()


def test_spectra_are_one_by_svd_after_training_and_in_copies(shapes):
    recipe = make("sngan", shapes, conditional=True, lr=3e-3)
    d = recipe.networks["discriminator"]
    start = [layer.parametrizations.weight.original.detach().clone() for layer in layers_of(d)]
    stepped(recipe, n=12)
    again = make("sngan", shapes, conditional=True, seed=5).networks["discriminator"]
    again.load_state_dict(d.state_dict())
    assert len(layers_of(d)) == 4, "two convolutions, the logit and the labels"
    x, y = shapes["test"][torch.arange(8)]
    c = recipe.condition(y)
    said = d.eval()(x, c)
    for other in (d, again.eval(), copy.deepcopy(d).eval()):
        assert torch.equal(other(x, c), said)
        for layer, before in zip(layers_of(other), start, strict=True):
            original = layer.parametrizations.weight.original
            assert not torch.allclose(original, before)
            sigma = (original.norm() / layer.weight.norm()).item()  # what it was divided by
            torch.testing.assert_close(layer.weight * sigma, original)
            assert 0.95 * largest(original) < sigma <= largest(original) * (1 + 1e-5)
            assert 1 - 1e-5 < largest(layer.weight) < 1.05
    for other in (d, again, copy.deepcopy(d)):
        for layer in layers_of(other.train()):
            for _ in range(300):  # each look at the weights in training is an iteration
                weight = layer.weight
            assert largest(weight) == pytest.approx(1, abs=2e-4)


def test_a_power_iteration_goes_on_where_the_last_one_stopped(shapes):
    recipe = make("sngan", shapes)
    recipe._judge = None, None
    _, progress = fit(recipe, shapes["train"], steps=5, batch_size=8, pictures=1, device="cpu")
    d = progress.networks["discriminator"].train()
    fresh = make("sngan", shapes).networks["discriminator"]
    for layer, new in zip(layers_of(d), layers_of(fresh), strict=True):
        norm = layer.parametrizations.weight[0]
        assert not torch.allclose(norm._u, new.parametrizations.weight[0]._u) or len(norm._u) == 1
        matrix = layer.parametrizations.weight.original.detach().flatten(1)
        u = F.normalize(matrix @ norm._v, dim=0)
        v = F.normalize(matrix.T @ u, dim=0)
        weight = layer.weight
        torch.testing.assert_close(norm._u, u)
        torch.testing.assert_close(norm._v, v)
        torch.testing.assert_close(weight.flatten(1), matrix / (u @ matrix @ v))


def test_a_critic_with_normalised_spectra_is_not_steep(shapes):
    "Each layer stretches by at most 1 times what the overlap of its kernels allows: 4x4, stride 2, so 2 at most."
    recipe = make("sngan", shapes, lr=1e-2)
    stepped(recipe, n=10)
    d = recipe.networks["discriminator"].eval()
    x = shapes["test"][torch.arange(50)][0].requires_grad_()
    assert gradient_penalty(d(x), x).sqrt() < 2 * 2 * 1.1
    plain = make("relgan", shapes).networks["discriminator"]
    assert not any(parametrize.is_parametrized(m) for m in plain.modules())


def test_spectra_of_any_network_and_in_its_gradient():
    "The gradient goes through the division: along the weights themselves nothing changes."
    torch.manual_seed(0)
    net = normalise_spectrum(nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(12, 2), nn.BatchNorm1d(2)))
    assert [parametrize.is_parametrized(m) for m in net] == [True, False, True, False]
    net.eval()
    net(torch.randn(5, 2, 4, 4)).square().sum().backward()
    for layer in layers_of(net):
        w = layer.parametrizations.weight.original
        assert abs((w * w.grad).sum()) < 1e-4 * w.norm() * w.grad.norm()


# Networks

def test_a_plain_block_starts_as_the_identity_and_then_adds_what_its_convolutions_say():
    torch.manual_seed(0)
    block = PlainBlock(5)
    x = torch.randn(2, 5, 6, 7)
    assert torch.equal(block(x), x)
    awake(block)

    def conv(h, layer):
        h = torch.where(h > 0, h, 0.2 * h)
        patches = F.unfold(h, 3, padding=1)  # (B, 5 * 9, 42)
        return (layer.weight.flatten(1) @ patches + layer.bias[:, None]).view(2, 5, 6, 7)

    torch.testing.assert_close(block(x), x + conv(conv(x, block.conv1), block.conv2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("attributes", [False, True])
def test_a_projected_label_is_a_loop_over_labels(attributes):
    torch.manual_seed(0)
    d = Critic((2, 8, 8), (3, 4), n_labels=5)
    x = torch.randn(6, 2, 8, 8)
    c = (torch.rand(6, 5) < 0.5).float() if attributes else F.one_hot(torch.tensor([0, 1, 2, 3, 4, 0]), 5).float()
    said = d(x, c)
    for image, told, logit in zip(x, c, said, strict=True):
        h = d.features(image[None])[0]
        want = d.to_logit.weight[0] @ h + d.to_logit.bias[0]
        for k in told.nonzero()[:, 0]:
            want = want + d.of_label.weight[:, k] @ h
        torch.testing.assert_close(logit, want)
    torch.testing.assert_close(d(x, torch.zeros(6, 5)), d.to_logit(d.features(x))[:, 0], msg="no label, no projection")
    deaf = Critic((2, 8, 8), (3, 4))
    for critic, told in ((d, None), (deaf, c)):
        with pytest.raises(UserError, match="has to be told"):
            critic(x, told)


def test_a_generator_that_could_not_hear_labels_is_refused():
    with pytest.raises(UserError, match="in its blocks"):
        StableGenerator((1, 8, 8), n_labels=3, blocks=0)
    told, deaf = (StableGenerator((1, 8, 8), n, latent_dim=2, widths=(4, 4)) for n in (3, 0))
    for generator, c in ((told, None), (deaf, torch.eye(3))):
        with pytest.raises(UserError, match="condition"):
            generator.decode(torch.randn(3, 2), c)


def test_blocks_that_start_at_zero_can_have_normalised_spectra():
    critic = normalise_spectrum(Critic((1, 8, 8), (4,), blocks=1))
    assert critic(torch.randn(2, 1, 8, 8)).isfinite().all()


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 16, 24)])
def test_images_of_any_size(shape):
    torch.manual_seed(0)
    for n_labels in (0, 3):
        c = torch.eye(3)[:2] if n_labels else None
        x = awake(StableGenerator(shape, n_labels, latent_dim=5, widths=(8, 16))).decode(torch.randn(2, 5), c)
        assert x.shape == (2, *shape) and x.abs().max() <= 1
        for blocks in (0, 1):
            assert Critic(shape, (4, 8, 8), blocks, n_labels)(x, c).shape == (2,)
    assert Critic((1, 9, 13), (4, 8, 8))(torch.randn(2, 1, 9, 13)).shape == (2,)


def test_a_critic_halves_and_then_looks_again():
    d = Critic((1, 16, 16), (4, 6), blocks=2)
    halving = ["Conv2d", "LeakyReLU", "PlainBlock", "PlainBlock"]
    assert [type(layer).__name__ for layer in d.features] == [*halving, *halving, "Flatten"]
    x = torch.randn(2, 1, 16, 16)
    for layer, shape in zip(d.features, [(4, 8, 8)] * 4 + [(6, 4, 4)] * 4 + [(96,)], strict=True):
        x = layer(x)
        assert x.shape == (2, *shape)


def test_impossible_sizes_are_refused_in_a_sentence():
    with pytest.raises(UserError, match="30x32 images can't be made 4 times smaller"):
        StableGenerator((1, 30, 32), widths=(8, 16))
    with pytest.raises(UserError, match="30x32 images can't be made 4 times smaller"):
        StableGenerator((1, 30, 32), n_labels=3, widths=(8, 16))
    with pytest.raises(UserError, match="12x40 images can't be halved 4 times.*fewer critic widths"):
        Critic((1, 12, 40), (8,) * 4)
    Critic((1, 16, 40), (8,) * 4)


# Changed images

def some(B: int = 6, shape: tuple[int, int, int] = (3, 16, 24), seed: int = 0) -> torch.Tensor:
    return torch.rand(B, *shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_nothing_is_changed_with_probability_0():
    x = some()
    state = torch.get_rng_state()
    assert torch.equal(diff_augment(x, 0, torch.zeros(3)), x) and torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("p", [0.3, 1.0])
def test_so_many_images_are_changed_each_by_its_own_chance(p):
    torch.manual_seed(0)
    x = some(2_000, (1, 8, 8))
    changed = (diff_augment(x, p, torch.zeros(1)) != x).flatten(1)
    share = changed.any(dim=1).float().mean().item()
    assert share == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 2_000) + 1e-9)
    assert changed.float().mean(dim=1)[changed.any(dim=1)].min() > 0.9, "or not at all"


def test_gradients_reach_every_image():
    torch.manual_seed(0)
    x = some(64).requires_grad_()
    out = diff_augment(x, 0.8, torch.zeros(3))
    for loss in (out.square().sum(), gradient_penalty((out * out).sum(dim=(1, 2, 3)), x)):
        grad, = torch.autograd.grad(loss, x, retain_graph=True)
        assert grad.isfinite().all() and (grad.flatten(1).norm(dim=1) > 0.1).all()


def test_images_are_moved_as_by_roll_and_the_background_comes_in():
    x = some()
    background = torch.tensor([5.0, 6.0, 7.0])
    by = torch.tensor([[0, 0], [2, -3], [-1, 4], [1, 0], [0, -2], [16, 5]])
    found = shifted(x, by, background)
    for image, (down, right), out in zip(x, by.tolist(), found, strict=True):
        want = torch.roll(image, (down, right), dims=(1, 2))
        for row in range(16):
            for column in range(24):
                if not (0 <= row - down < 16 and 0 <= column - right < 24):
                    want[:, row, column] = background
        assert torch.equal(out, want)
    assert torch.equal(found[0], x[0]) and torch.equal(found[5], background.view(3, 1, 1).expand(3, 16, 24))


def test_colours_are_changed_by_these_formulas():
    x = some().double()
    g = torch.Generator().manual_seed(1)
    brighter, saturation, contrast = torch.rand(3, 6, generator=g, dtype=torch.float64)
    found = recoloured(x, brighter, saturation, contrast)
    for image, b, s, c, out in zip(x, brighter, saturation, contrast, found, strict=True):
        light = image + b
        grey = (light[0] + light[1] + light[2]) / 3
        coloured = s * light + (1 - s) * grey
        torch.testing.assert_close(out, c * coloured + (1 - c) * coloured.mean())
    torch.testing.assert_close(recoloured(x, 0 * brighter, 0 * saturation + 1, 0 * contrast + 1), x)
    grey = recoloured(x, 0 * brighter, 0 * saturation, 0 * contrast + 1)
    assert (grey.std(dim=1) < 1e-12).all()
    torch.testing.assert_close(found.mean(dim=(1, 2, 3)), x.mean(dim=(1, 2, 3)) + brighter)


@pytest.mark.parametrize("shape", [(2, 16, 24), (2, 28, 28), (2, 24, 16)])
def test_a_hole_is_a_square_around_its_place(shape):
    x = some(3, shape)
    H, W = shape[1:]
    at = torch.tensor([[H // 2, W // 2], [0, W - 1], [H - 2, 1]])
    background = torch.tensor([5.0, 6.0])
    found = with_a_hole(x, at, background)
    reach = H // 4 - 1  # pixels on each side of the middle one
    for image, (row, column), out in zip(x, at.tolist(), found, strict=True):
        want = image.clone()
        rows = slice(max(0, row - reach), row + reach + 1)
        columns = slice(max(0, column - reach), column + reach + 1)
        want[:, rows, columns] = background[:, None, None]
        assert torch.equal(out, want)
    assert (found[0, 0] == 5).sum() == (H // 2 - 1) ** 2


@pytest.mark.parametrize("colour", [0, 255])
def test_what_is_uncovered_looks_like_the_background_of_the_data(colour, shapes):
    "On white images as on black ones."
    few = {split: ImageSet(torch.full_like(s.x, colour), s.y, s.names, s.name, split) for split, s in shapes.items()}
    recipe = make("relgan", few, augment=1.0)
    torch.manual_seed(0)
    x, _ = few["train"][torch.arange(64)]
    out = recipe.augmented(x)
    background = 1.0 if colour else -1.0
    assert recipe.background.tolist() == [background] * 3
    apart = 0
    for image in out:
        other = image[(image - background).abs() > 1e-6]
        if len(other):
            apart += 1
            assert other.max() - other.min() < 1e-5, "one colour beside the background"
            assert (image[0] == background).sum() >= 16, "a hole, or its quarter in a corner"
    assert apart > 60


def test_changes_are_as_large_as_is_said(monkeypatch):
    "Brightness within .5, saturation up to 2, contrast within .5 of 1, shifts up to an eighth, holes anywhere."
    seen = {}

    def spy(name):
        f = getattr(stable_gan, name)

        def call(x, *args):
            seen[name] = args
            return f(x, *args)

        monkeypatch.setattr(stable_gan, name, call)

    for name in ("recoloured", "shifted", "with_a_hole"):
        spy(name)
    torch.manual_seed(0)
    background = torch.tensor([0.5, 0.6, 0.7])
    diff_augment(some(3_000), 0.5, background)
    for values, low, high in zip(seen["recoloured"], (-0.5, 0, 0.5), (0.5, 2, 1.5), strict=True):
        assert low <= values.min() < low + 0.01 and high - 0.01 < values.max() <= high
        assert values.mean().item() == pytest.approx((low + high) / 2, abs=0.05)
    by, at = seen["shifted"][0], seen["with_a_hole"][0]
    for column in by.T:
        assert sorted(column.unique().tolist()) == [-2, -1, 0, 1, 2], "an eighth of 16"
    assert [sorted(column.unique().tolist()) for column in at.T] == [list(range(16)), list(range(24))]
    draws = torch.stack([*seen["recoloured"], *by.T, *at.T]).float()
    assert (torch.corrcoef(draws) - torch.eye(7)).abs().max() < 0.08, "independent of each other"
    assert all(torch.equal(seen[name][1], background) for name in ("shifted", "with_a_hole"))
    diff_augment(some(200, (1, 28, 28)), 0.5, torch.zeros(1))
    assert seen["shifted"][0].abs().max() == 4
    diff_augment(some(200, (1, 3, 3)), 0.5, torch.zeros(1))
    assert seen["shifted"][0].abs().max() == 1


@every_design
def test_d_sees_real_and_generated_images_changed_alike_in_both_steps(kind, shapes, monkeypatch):
    recipe = make(kind, shapes, augment=0.4)
    given, returned, seen = [], [], []

    def change(x, p, background):
        given.append((x, p, background))
        returned.append(1.5 * x + 0.01 * torch.rand(len(x), 1, 1, 1))
        return returned[-1]

    monkeypatch.setattr(stable_gan, "diff_augment", change)
    recipe.networks["discriminator"].register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    x, y = shapes["train"][torch.arange(8)]
    for loss, kinds in ((recipe.d_loss, "real fake"), (recipe.g_loss, "fake" if kind == "sngan" else "real fake")):
        for record in (given, returned, seen):
            record.clear()
        loss(x, y)["loss"].backward()
        assert ["real" if torch.equal(images, x) else "fake" for images, *_ in given] == kinds.split()
        assert len(seen) == len(returned) and all(map(torch.equal, seen, [out.detach() for out in returned]))
        for _, p, background in given:
            assert p == 0.4 and torch.equal(background, border_colour(shapes["train"].x))
        heard = [w.grad is not None and w.grad.abs().sum() > 0 for w in recipe.model.parameters()]
        assert any(heard) == (loss == recipe.g_loss), "G learns in its own step only"


@every_design
def test_looks_on_the_way_see_images_as_they_are(kind, shapes, monkeypatch):
    recipe = make(kind, shapes, augment=1.0)
    recipe._judge = None, None
    seen = []
    monkeypatch.setattr(stable_gan, "diff_augment", lambda *args: pytest.fail("changed"))
    recipe.networks["discriminator"].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    recipe.validate(recipe.model)
    assert torch.equal(seen[0], to_float(shapes["train"].x[:500]))
    assert torch.equal(seen[1], to_float(shapes["validation"].x))
    assert len(seen) == 3 and seen[2].shape == seen[1].shape


def test_every_image_and_every_step_has_its_own_change(shapes, monkeypatch):
    recipe = make("relgan", shapes, augment=1.0)
    recipe._judge = None, None
    drawn = []
    change = stable_gan.recoloured
    monkeypatch.setattr(stable_gan, "recoloured", lambda x, *how: drawn.append(torch.stack(how)) or change(x, *how))
    fit(recipe, shapes["train"], steps=3, batch_size=8, pictures=1, device="cpu")
    assert [how.shape for how in drawn] == [(3, 8)] * (3 * 4), "real and fake in D's and in G's step"
    assert len(torch.cat(drawn, dim=1).T.unique(dim=0)) == 3 * 4 * 8


def test_the_colour_of_borders_is_the_median_of_their_pixels():
    x = torch.zeros(3, 2, 6, 9, dtype=torch.uint8)
    x[:, 0] = 200
    x[:, 1] = 40
    x[:, :, 1:-1, 1:-1] = 77  # more pixels than the border has
    x[0, 0, 0] = 3            # a minority
    torch.testing.assert_close(border_colour(x), torch.tensor([200, 40]) / 127.5 - 1)
    x = torch.randint(256, (4, 3, 5, 7), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    for channel, found in enumerate(border_colour(x)):
        values = []
        for image in x[:, channel].tolist():
            values += image[0] + image[-1] + [row[0] for row in image] + [row[-1] for row in image]
        assert found == pytest.approx(sorted(values)[(len(values) - 1) // 2] / 127.5 - 1)


# Modes

def test_twenty_five_gaussians():
    x = twenty_five(20_000, torch.Generator().manual_seed(0))
    assert torch.equal(x, twenty_five(20_000, torch.Generator().manual_seed(0)))
    middles = torch.cartesian_prod(torch.tensor([-4.0, -2, 0, 2, 4]), torch.tensor([-4.0, -2, 0, 2, 4]))
    distance, nearest = torch.cdist(x, middles).min(dim=1)
    assert nearest.bincount(minlength=25).min() > 20_000 / 25 - 5 * math.sqrt(20_000 / 25)
    assert (distance.square().mean() / 2).sqrt().item() == pytest.approx(0.05, rel=0.02)
    modes, share = modes_covered(x)
    assert modes == 25 and share == pytest.approx(1 - math.exp(-4.5), abs=0.003)
    assert share == pytest.approx((distance < 0.15).float().mean().item())


def test_modes_are_counted():
    g = torch.Generator().manual_seed(0)
    one = torch.tensor([2.0, -4.0]) + 0.03 * torch.randn(500, 2, generator=g)
    assert modes_covered(one) == (1, pytest.approx(1, abs=0.01))
    assert modes_covered(torch.tensor([[6.0, 0.0], [0.0, -6.0], [1.0, 1.0], [0.2, 0.0], [40.0, 40.0]]), 1) == (0, 0.0)
    assert modes_covered(torch.tensor([[4.1, 4.1], [-4.1, 4.1]]), 1) == (2, 1.0), "within .15"
    assert modes_covered(torch.tensor([[4.12, 4.12]]), 1)[0] == 0, "a circle, no square"
    middles = torch.cartesian_prod(torch.arange(-4.0, 5, 2), torch.arange(-4.0, 5, 2))
    assert modes_covered(middles, least=1) == (25, 1.0) and modes_covered(middles, least=2)[0] == 0
    assert modes_covered(middles.repeat(20, 1))[0] == 25 and modes_covered(middles.repeat(19, 1))[0] == 0
    assert modes_covered(torch.full((9, 2), math.nan), 1) == (0, 0.0)


def test_a_game_on_the_plane(monkeypatch):
    "The average is what comes back; spectra and penalties are there where they are asked for, and only there."
    made, asked = [], []
    monkeypatch.setattr(stable_gan, "plane_network", lambda n: made.append(plane_network(n)) or made[-1])
    penalty = stable_gan.gradient_penalty
    monkeypatch.setattr(stable_gan, "gradient_penalty",
                        lambda logits, x: asked.append((logits, x)) or penalty(logits, x))
    g = play_on_plane("relativistic", steps=3)
    assert asked == [] and g(torch.randn(4, 2)).shape == (4, 2)
    G, D = made
    assert any(not torch.equal(a, b) for a, b in zip(g.parameters(), G.parameters(), strict=True)), "an average"
    assert not any(parametrize.is_parametrized(m) for m in D.modules())
    play_on_plane("hinge", steps=2, gamma=(1.0, 1.0), normalised=True)
    assert len(asked) == 4 and all(parametrize.is_parametrized(m) for m in made[3] if isinstance(m, nn.Linear))
    real, fake = asked[0][1].detach(), asked[1][1].detach()
    assert modes_covered(real, 1)[1] > 0.9 and modes_covered(fake, 1)[1] < 0.5, "R1, then R2"


@pytest.mark.parametrize("gamma", [(3.0, 0.0), (0.0, 3.0)])
def test_penalties_on_the_plane_are_weighed_by_half_of_gamma(gamma, monkeypatch):
    "D's first step by plain descent, against a loss written out."
    made = []
    monkeypatch.setattr(stable_gan, "plane_network", lambda n: made.append(plane_network(n)) or made[-1])
    monkeypatch.setattr(torch.optim, "Adam", lambda weights, *args, **kwargs: torch.optim.SGD(weights, 1.0))
    play_on_plane("non-saturating", steps=1, gamma=gamma)
    torch.manual_seed(0)
    G, D = plane_network(2), plane_network(1)
    x, fake = twenty_five(256), G(torch.randn(256, 2)).detach()
    images = (x if gamma[0] else fake).requires_grad_()
    slope = torch.func.vmap(torch.func.grad(lambda point: D(point)[0]))(images)
    loss = F.softplus(-D(x)).mean() + F.softplus(D(fake)).mean() + 1.5 * slope.square().sum(dim=1).mean()
    want = [w - grad for w, grad in zip(D.parameters(), gradients(loss, D), strict=True)]
    torch.testing.assert_close(list(made[1].parameters()), want, rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def garments() -> ImageSet:
    return load_images("fashion_mnist", "test")


def test_stacks_and_their_labels(garments):
    few = garments.take(slice(200))
    made = stacks(few, 400, seed=3)
    assert made.shape == (3, 28, 28) and made.n_labels == 1_000 and made.names[7] == "007"
    known = {image.numpy().tobytes(): int(y) for image, y in zip(few.x[:, 0], few.y, strict=True)}
    for image, y in zip(made.x, made.y, strict=True):
        a, b, c = (known[channel.numpy().tobytes()] for channel in image)
        assert int(y) == int(f"{a}{b}{c}")
    again, other = stacks(few, 400, seed=3), stacks(few, 400, seed=4)
    assert torch.equal(made.x, again.x) and not torch.equal(made.x, other.x)
    assert (made.x[:, 0] != made.x[:, 1]).flatten(1).any(dim=1).float().mean() > 0.95, "three images, not one"


def test_kinds_of_stacks_are_counted(garments):
    """Real stacks: the kinds that a classifier must read, from what it reads in single images. It takes some shirts for
    other garments, so kinds with three of them are rare, but all can be read."""
    extractor = load_extractor("fashion_mnist")
    n = 10_000
    found = stacks_covered(to_float(stacks(garments, n).x), extractor)
    said = read(to_float(garments.x), extractor)
    q = said.bincount(minlength=10) / len(said)
    accuracy = (said == garments.y).float().mean()
    assert 0.85 < accuracy < 0.99 and q.min() < 0.097, "which is why not all kinds are alike"
    kinds = (q[:, None, None] * q[:, None] * q).flatten()
    expected = (1 - (-n * kinds).exp()).sum().item()
    assert found["modes"] > 950 and found["modes"] == pytest.approx(expected, abs=6)
    noise = 999 / (2 * n)  # of frequencies among so many kinds
    assert found["kl"] == pytest.approx((kinds * (1_000 * kinds).log()).sum().item() + noise, abs=0.015)


def test_a_generator_of_one_kind_and_of_two(garments):
    extractor = load_extractor("fashion_mnist")
    said = read(to_float(garments.x[:300]), extractor)
    trousers = to_float(garments.x[:300][said == 1][:1])[:, 0]
    bag = to_float(garments.x[:300][said == 8][:1])[:, 0]
    one = torch.stack([trousers, bag, bag], dim=1)
    other = torch.stack([bag, bag, trousers], dim=1)
    found = stacks_covered(one.repeat(40, 1, 1, 1), extractor)
    assert found["modes"] == 1 and found["kl"] == pytest.approx(math.log(1_000), rel=1e-5)
    found = stacks_covered(torch.cat([one.repeat(39, 1, 1, 1), other]), extractor)  # one image is enough for a kind
    entropy = -(39 / 40 * math.log(39 / 40) + math.log(1 / 40) / 40)
    assert found["modes"] == 2 and found["kl"] == pytest.approx(math.log(1_000) - entropy, rel=1e-5)


# Shards

@by_pairs
def test_shards_make_the_same_training(kind, shapes):
    "Where codes depend on the image and not on the shard: no layer looks at a whole batch, and pairs stay together."
    ends = []
    for accumulate in (1, 2, 4):
        recipe = make(kind, shapes, conditional=True, lr=0.5)
        recipe._judge = None, None
        awake(recipe.networks["discriminator"])  # a LayerNorm of small tokens would make rounding large
        recipe.optimizers = {name: torch.optim.SGD(n.parameters(), lr=0.05) for name, n in recipe.networks.items()}
        recipe.max_norm = math.inf
        recipe.fakes = lambda x, c, recipe=recipe: recipe.model.decode(3 * x[:, :, 5, 5].repeat(1, 2), c)
        fit(recipe, shapes["train"], steps=6, batch_size=16, pictures=1, device="cpu", accumulate=accumulate)
        ends.append([w.detach().clone() for n in recipe.networks.values() for w in n.parameters()])
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=1e-5, atol=1e-6)
