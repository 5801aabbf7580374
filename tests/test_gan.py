"Proofs of the DCGAN and of what all GANs have in common: whose gradient goes where, labels, looks on the way."

import pytest
import torch
import torch.nn.functional as F
from gans import IDLE, KINDS, every_kind, make, splits, stepped
from torch import nn

from genlab import UserError
from genlab.gan.dcgan import (
    DCGAN,
    Discriminator,
    ImageGenerator,
    d_logistic_loss,
    g_minimax_loss,
    g_nonsaturating_loss,
    nearest_training,
)
from genlab.lab.images import ImageSet, to_float
from genlab.lab.layers import idle_parameters
from genlab.lab.pictures import draw_images
from genlab.lab.training import fit


@pytest.fixture(scope="module")
def shapes():
    return splits()


@every_kind
@pytest.mark.parametrize("conditional", [False, True])
def test_every_parameter_learns(kind, conditional, shapes):
    recipe = make(kind, shapes, conditional=conditional)
    x, y = shapes["train"][torch.arange(16)]
    for name, loss in (("discriminator", recipe.d_loss), ("generator", recipe.g_loss)):
        def value(loss=loss):
            torch.manual_seed(1)
            return loss(x, y)["loss"]

        assert idle_parameters(recipe.networks[name], value) == (IDLE[kind] if name == "discriminator" else [])


@every_kind
def test_a_step_of_d_says_nothing_to_g_and_a_step_of_g_wins_d_over(kind, shapes):
    recipe = make(kind, shapes, lr=1e-3)
    x, y = shapes["train"][torch.arange(64)]
    for network in recipe.networks.values():
        network.zero_grad()
    recipe.d_loss(x, y)["loss"].backward()
    assert all(w.grad is None for w in recipe.model.parameters())
    stepped(recipe, n=3)
    d = recipe.networks["discriminator"].eval()
    g = recipe.model

    def opinion():
        torch.manual_seed(3)
        with torch.no_grad():
            return d(recipe.fakes(x, None)).mean().item()

    before, weights = opinion(), [w.clone() for w in d.parameters()]
    torch.manual_seed(3)
    g.zero_grad()
    recipe.g_loss(x, y)["loss"].backward()
    with torch.no_grad():
        for w in g.parameters():
            w -= 0.01 * w.grad / (1e-8 + torch.stack([v.grad.norm() for v in g.parameters()]).norm())
    assert opinion() > before
    assert all(torch.equal(a, b) for a, b in zip(weights, d.parameters(), strict=True))


def test_real_and_fake_go_through_d_apart(shapes):
    "BatchNorm sees batches of one kind: what it remembers is the mean of both kinds' statistics, one after the other."
    recipe = make("dcgan", shapes)
    seen = []
    d = recipe.networks["discriminator"]
    d.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    x, y = shapes["train"][torch.arange(16)]
    recipe.d_loss(x, y)
    assert [len(part) for part in seen] == [16, 16] and torch.equal(seen[0], x) and not torch.equal(seen[1], x)
    norm = next(m for m in d.modules() if isinstance(m, nn.BatchNorm2d))
    before = nn.Sequential(*list(d.net)[:list(d.net).index(norm)])
    want = torch.zeros_like(norm.running_mean)
    with torch.no_grad():
        for part in seen:
            want = 0.9 * want + 0.1 * before(part).mean(dim=(0, 2, 3))
    torch.testing.assert_close(norm.running_mean, want, rtol=1e-4, atol=1e-5)


def test_losses_are_those_of_the_papers():
    g = torch.Generator().manual_seed(0)
    real, fake = 3 * torch.randn(2, 50, generator=g, dtype=torch.float64)
    ones, zeros = torch.ones_like(real), torch.zeros_like(real)
    bce = F.binary_cross_entropy_with_logits
    torch.testing.assert_close(d_logistic_loss(real, fake), bce(real, ones) + bce(fake, zeros))
    torch.testing.assert_close(g_nonsaturating_loss(fake), bce(fake, ones))
    torch.testing.assert_close(g_minimax_loss(fake), -bce(fake, zeros))


@every_kind
def test_a_label_changes_the_picture_and_frequencies_are_kept(kind, shapes):
    recipe = make(kind, shapes, conditional=True)
    stepped(recipe, n=3)
    net = recipe.model.eval()
    assert net.frequencies.tolist() == shapes["train"].y.bincount(minlength=10).tolist()
    a, b = (draw_images(net, 5, 0, torch.full((5,), k)) for k in (0, 1))
    assert not torch.allclose(a, b)
    with pytest.raises(UserError, match="without labels"):
        draw_images(make(kind, shapes).model, 5, 0, torch.zeros(5, dtype=torch.long))
    torch.manual_seed(9)
    y = net.some_labels(4_000, None, None).bincount(minlength=10) / 4_000
    torch.testing.assert_close(y, net.frequencies / net.frequencies.sum(), atol=0.03, rtol=0)


@every_kind
def test_both_networks_hear_the_label(kind, shapes):
    recipe = make(kind, shapes, conditional=True)
    stepped(recipe, n=3)
    d = recipe.networks["discriminator"].eval()
    x = shapes["test"][torch.arange(4)][0]
    with torch.no_grad():
        said = [d(x, recipe.condition(torch.full((4,), k))) for k in range(3)]
    assert not torch.allclose(said[0], said[1], atol=1e-6) and not torch.allclose(said[1], said[2], atol=1e-6)


def test_attributes(shapes):
    "Several labels per image: told to both networks, and drawn as they occur together."
    g = torch.Generator().manual_seed(0)
    y = torch.rand(600, 1, generator=g) < torch.tensor([0.2, 0.8, 0.5])
    y[:, 2] = y[:, 0]
    named = {split: ImageSet(s.x, y[:len(s)], ("hat", "beard", "cap"), "dressed", split) for split, s in shapes.items()}
    for kind in KINDS:
        recipe = make(kind, named, conditional=True)
        stepped(recipe, n=2)
        drawn = recipe.model.some_labels(2_000, None, torch.Generator().manual_seed(1))
        assert torch.equal(drawn[:, 2], drawn[:, 0])
        torch.testing.assert_close(drawn.float().mean(dim=0), y.float().mean(dim=0), atol=0.06, rtol=0)
        assert draw_images(recipe.model.eval(), 3, 0, torch.tensor([[True, False, True]])).shape == (3, 3, 16, 16)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 16, 24)])
def test_images_of_any_size(shape):
    assert DCGAN(shape, widths=(8, 16)).decode(torch.randn(2, 100)).shape == (2, *shape)
    assert Discriminator(shape, (8, 16)).eval()(torch.randn(2, *shape)).shape == (2,)
    with pytest.raises(UserError, match="halved"):
        Discriminator((1, 12, 12), (8,) * 4)


def test_batch_norm_needs_two_images(shapes):
    with pytest.raises(UserError, match="at least 2"):
        make("dcgan", shapes, batch_size=1)
    with pytest.raises(UserError, match="condition"):
        make("dcgan", shapes, conditional=True).model.decode(torch.randn(2, 6))


@pytest.mark.parametrize("kind", ["dcgan", "sngan"])  # each shard would move the power iteration
def test_batch_norm_and_spectral_norm_refuse_shards(kind, shapes):
    recipe = make(kind, shapes, steps=12)
    with pytest.raises(UserError, match="look at a whole batch"):
        fit(recipe, shapes["train"], steps=12, batch_size=16, device="cpu", accumulate=2)


@every_kind
def test_the_average_is_what_is_sampled_and_the_best_is_kept(kind, shapes):
    recipe = make(kind, shapes, steps=12)
    model, progress = fit(recipe, shapes["train"], steps=12, batch_size=16, pictures=2, device="cpu")
    last = progress.networks["generator"]
    assert model is progress.average.module and model is not last
    fids = [row["val_fid"] for row in progress.log if "val_fid" in row]
    assert len(fids) == 3 and progress.best["value"] == min(fids)
    state = model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in progress.best["weights"].items())


@every_kind
def test_looks_on_the_way_leave_the_game_alone(kind, shapes):
    "BatchNorm's averages, power iteration and the random numbers are as if nobody had looked."
    ends = []
    for pictures in (1, 12):
        recipe = make(kind, shapes, steps=12)
        fit(recipe, shapes["train"], steps=12, batch_size=16, pictures=pictures, device="cpu")
        ends.append([value.clone() for n in recipe.networks.values() for value in n.state_dict().values()])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_what_is_measured(shapes):
    recipe = make("dcgan", shapes, conditional=True)
    train, test = shapes["train"], shapes["test"]
    recipe.draw = lambda model, n, seed: to_float(train.x[:n])
    assert recipe.likelihood(recipe.model, 0)["nearest"]["value"] < 1e-3, "copies are seen"
    recipe.draw = lambda model, n, seed: to_float(test.x[:n])
    found = recipe.likelihood(recipe.model, 0)
    assert found["nearest"]["value"] == 1.0 and "agreement" in found
    x = to_float(test.x[:5])
    distance, which = nearest_training(x, train.x)
    many = torch.cat([train.x, 255 - train.x])  # more than one piece
    assert nearest_training(to_float(many[[1_150, 20]]), many)[1].tolist() == [1_150, 20]
    all_of_them = (x[:, None] - to_float(train.x)[None]).square().mean(dim=(2, 3, 4)).sqrt()
    torch.testing.assert_close(distance, all_of_them.min(dim=1).values, atol=1e-4, rtol=1e-4)
    assert which.tolist() == all_of_them.argmin(dim=1).tolist()


def test_looks_on_the_way_draw_labels_as_the_data_have_them(shapes, monkeypatch):
    rare = {split: s.take((s.y < 2).nonzero()[:, 0]) for split, s in shapes.items()}
    recipe = make("dcgan", rare, conditional=True)
    asked = []
    draw = ImageGenerator.some_labels
    monkeypatch.setattr(ImageGenerator, "some_labels", lambda *args: asked.append(draw(*args)) or asked[-1])
    recipe.validate(recipe.model)
    assert len(asked) == 4 and max(int(y.max()) for y in asked) <= 1
