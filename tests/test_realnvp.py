"""Flows of images (chapters 71 and 72): transforms against autograd's Jacobian and against peers, bits and their
constants, files, labels, training."""

import math
from dataclasses import replace

import flows
import pytest
import torch
from flows import perturbed
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from genlab import UserError
from genlab.flow.couplings import ActNorm, Affine, Compose, LULinear, inverse_error
from genlab.flow.glow import Centre, Glow, GlowConfig, GlowRecipe, LearnedPrior, glow_step
from genlab.flow.realnvp import (
    Channels,
    Checkerboard,
    ConvNet,
    Dequantiser,
    ImageCoupling,
    ImageFlow,
    Logit,
    MultiScale,
    RealNVP,
    RealNVPConfig,
    RealNVPRecipe,
    Squeeze,
    dequantise,
    image_transform,
)
from genlab.lab.images import load_images, to_float
from genlab.lab.layers import idle_parameters
from genlab.lab.training import fit
from genlab.points.vae import log_normal
from genlab.workshop.runs import create_run, load_weights, save_weights


def images(n, *shape):
    return to_float(torch.randint(256, (n, *shape), dtype=torch.uint8))


def proves(transform, x, context=None):
    "All that a transform has to prove, and the inverse in float32 too."
    flows.proves(transform, x, context)
    assert inverse_error(transform.float(), x.float(), None if context is None else context.float()) < 1e-4


HALVES = {"board": Checkerboard, "channels": Channels}


@settings(max_examples=12, deadline=None)
@given(kind=st.sampled_from(list(HALVES)), flip=st.booleans(),
       c=st.integers(2, 4), h=st.integers(1, 5), w=st.integers(1, 5),
       context_dim=st.sampled_from([0, 3]), seed=st.integers(0, 2**16))
def test_couplings(kind, flip, c, h, w, context_dim, seed):
    torch.manual_seed(seed)
    halves = HALVES[kind](flip)
    x = torch.randn(2, c, h, w, dtype=torch.float64)
    context = torch.randn(2, context_dim, dtype=torch.float64) if context_dim else None
    coupling = perturbed(ImageCoupling(c, halves, Affine(), 6, 1, context_dim))
    z = coupling(x, context)[0]
    stays, moves = halves.split(x)
    assert torch.equal(halves.split(z)[0], stays) and torch.equal(halves.join(stays, moves, (h, w)), x)
    assert torch.equal(halves.split(coupling.inverse(x, context)[0])[0], stays)  # both ways, bit for bit
    other = HALVES[kind](not flip).split(x)
    assert torch.equal(other[0], moves) and torch.equal(other[1], stays)
    proves(coupling, x, context)


@settings(max_examples=8, deadline=None)
@given(c=st.integers(1, 3), h=st.integers(1, 3), w=st.integers(1, 3), seed=st.integers(0, 2**16))
def test_transforms_without_networks(c, h, w, seed):
    torch.manual_seed(seed)
    u = torch.rand(2, c, 2 * h, 2 * w, dtype=torch.float64)
    for transform in (Logit(), Squeeze(), perturbed(ActNorm(c)), perturbed(LULinear(c)),
                      Compose(Logit(), Squeeze(), perturbed(LULinear(4 * c)))):
        proves(transform, u)


@pytest.mark.parametrize("multi_scale", [True, False])
@settings(max_examples=5, deadline=None)
@given(c=st.integers(1, 3), levels=st.integers(1, 2), h=st.integers(1, 2), w=st.integers(1, 2),
       context_dim=st.sampled_from([0, 2]), seed=st.integers(0, 2**16))
def test_realnvp_transform(multi_scale, c, levels, h, w, context_dim, seed):
    torch.manual_seed(seed)
    shape = (c, h * 2**levels, w * 2**levels)
    transform = perturbed(image_transform(shape, Affine, 2, 5, 1, levels, context_dim, multi_scale=multi_scale))
    proves(transform, torch.rand(2, *shape, dtype=torch.float64),
           torch.randn(2, context_dim, dtype=torch.float64) if context_dim else None)


@settings(max_examples=5, deadline=None)
@given(c=st.integers(1, 3), levels=st.integers(1, 2), h=st.integers(1, 2), w=st.integers(1, 2),
       n_labels=st.sampled_from([0, 3]), growth=st.integers(1, 2), noise=st.sampled_from([0.0, 0.3]),
       seed=st.integers(0, 2**16))
def test_glow_transform(c, levels, h, w, n_labels, growth, noise, seed):
    torch.manual_seed(seed)
    shape = (c, h * 2**levels, w * 2**levels)
    model = perturbed(Glow(shape, n_labels, 2 // growth, 5, 1, levels, growth, noise))
    y = torch.randint(3, (2,))
    proves(model.transform, model.perturb(images(2, *shape).double()), model.context(y))


def test_the_first_layer_with_noise_counts_its_volume():
    "The linear first layer alone, and the flow around it, by PyTorch's Jacobian; also beside the unit interval."
    torch.manual_seed(0)
    u = 3 * torch.rand(1, 1, 4, 4, dtype=torch.float64) - 1
    for transform in (Centre(), perturbed(Glow((1, 4, 4), rounds=1, width=4, growth=2, noise=0.1)).transform):
        jacobian = torch.autograd.functional.jacobian(lambda v, f=transform: f(v)[0].flatten(), u).view(16, 16)
        torch.testing.assert_close(transform(u)[1][0], torch.linalg.slogdet(jacobian).logabsdet, rtol=0, atol=1e-10)
        torch.testing.assert_close(transform.inverse(transform(u)[0])[0], u, rtol=0, atol=1e-10)


def test_levels_grow():
    def sizes(**settings):
        stages = Glow((3, 16, 16), **settings).transform.layers[1].stages
        couplings = [[layer for layer in stage.layers if isinstance(layer, ImageCoupling)] for stage in stages]
        return [(len(level), *{layer.net.first.out_channels for layer in level}) for level in couplings]

    assert sizes(rounds=2, width=4, levels=3, growth=2) == [(2, 4), (4, 8), (8, 16)]
    assert sizes(rounds=1, width=2, levels=3, growth=3) == [(1, 2), (3, 6), (9, 18)]
    assert sizes(rounds=3, width=6, levels=3) == sizes(rounds=3, width=6, levels=3, growth=1) == [(3, 6)] * 3
    assert [type(Glow((1, 4, 4), noise=noise).transform.layers[0]) for noise in (0.0, 0.1)] == [Logit, Centre]


@settings(max_examples=8, deadline=None)
@given(leaving=st.integers(1, 4), staying=st.integers(0, 4),
       context_dim=st.sampled_from([0, 2]), seed=st.integers(0, 2**16))
def test_learned_prior(leaving, staying, context_dim, seed):
    torch.manual_seed(seed)
    prior = perturbed(LearnedPrior(leaving, staying, context_dim))
    gone = torch.randn(2, leaving, 3, 2, dtype=torch.float64)
    stays = torch.randn(2, staying, 3, 2, dtype=torch.float64)
    context = torch.randn(2, context_dim, dtype=torch.float64) if context_dim else None
    z, log_det = prior(gone, stays, context)
    back, back_log_det = prior.inverse(z, stays, context)
    torch.testing.assert_close(back, gone, rtol=0, atol=1e-10)
    torch.testing.assert_close(back_log_det, -log_det, rtol=0, atol=1e-10)
    mean = prior.inverse(torch.zeros_like(gone), stays, context)[0]
    one = prior.inverse(torch.ones_like(gone), stays, context)[0]
    expected = torch.distributions.Normal(mean, one - mean).log_prob(gone).flatten(1).sum(dim=1)
    torch.testing.assert_close(log_normal(z.flatten(1)) + log_det, expected, rtol=0, atol=1e-10)


def test_squeeze_sorts_by_place():
    x = torch.arange(2 * 3 * 4 * 4.0).view(2, 3, 4, 4)
    z = Squeeze()(x)[0]
    for i, (dy, dx) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        assert torch.equal(z[:, 3 * i:3 * i + 3], x[:, :, dy::2, dx::2])


def test_logit_equals_torch_distributions():
    u = torch.rand(3, 1, 2, 2, dtype=torch.float64)
    z, log_det = Logit(0.05)(u)
    squash = torch.distributions.AffineTransform(0.05, 0.9)
    spread = torch.distributions.SigmoidTransform().inv
    p = squash(u)
    torch.testing.assert_close(z, spread(p))
    torch.testing.assert_close(
        log_det, (squash.log_abs_det_jacobian(u, p) + spread.log_abs_det_jacobian(p, z)).flatten(1).sum(dim=1))


def test_every_coupling_hears_the_kept_half_and_moves_the_other():
    "The seed's mask of zeros: a layer that kept nothing and heard nothing."
    torch.manual_seed(0)
    transform = perturbed(image_transform((1, 8, 8), Affine, 2, 6, 1, 2))
    couplings = [layer for layer in transform.modules() if isinstance(layer, ImageCoupling)]
    assert [c.halves.flip for c in couplings] == [False, True] * 4 + [False, True, False]
    assert [type(c.halves) for c in couplings] == ([Checkerboard] * 2 + [Channels] * 2) * 2 + [Checkerboard] * 3
    for coupling in couplings:
        c = coupling.net.first.in_channels // (2 if isinstance(coupling.halves, Checkerboard) else 1)
        c = c if isinstance(coupling.halves, Checkerboard) else 2 * c
        x = torch.randn(1, c, 4, 4, dtype=torch.float64, requires_grad=True)
        stays, moves = coupling.halves.split(x)
        out = coupling.halves.split(coupling(x)[0])[1]
        (gradient,) = torch.autograd.grad(out.sum(), x)
        heard, _ = coupling.halves.split(gradient)
        assert stays.numel() == moves.numel() == 8 * c and (heard != 0).all() and (out != moves).all()


# constants

def test_bits_of_the_identity_are_eight():
    class Nothing(ImageFlow):
        def log_prob_terms(self, u, context=None):
            return u.new_zeros(len(u)), u.new_zeros(len(u))

    for shape in ((1, 28, 28), (3, 5, 7)):
        flow = Nothing(shape, Compose(), shape)
        x = images(4, *shape)
        bits = -flow.bound(x.double()) / math.prod(shape) / math.log(2)
        torch.testing.assert_close(bits, torch.full((4,), 8.0, dtype=torch.float64), rtol=0, atol=1e-12)
        parts = flow.loss(x)
        assert parts["volume"].item() == pytest.approx(math.prod(shape) * math.log(256)) and parts["base"].item() == 0


def tiny(seed=0):
    "A flow of images of one row of two pixels."
    torch.manual_seed(seed)
    layers = [layer for i in range(4)
              for layer in (ActNorm(1), ImageCoupling(1, Checkerboard(i % 2 == 1), Affine(), 8, 1))]
    return ImageFlow((1, 1, 2), perturbed(Compose(Logit(), *layers), 0.3, torch.float32), (1, 1, 2))


@torch.no_grad()
def test_probabilities_of_all_images_sum_to_the_mass_inside():
    "65,536 images; what they lack to 1 is what the samples have beside the unit square."
    flow = tiny()
    level = to_float(torch.arange(256, dtype=torch.uint8))
    x = torch.cartesian_prod(level, level).view(-1, 1, 1, 2)
    log_p = flow.log_prob(x, k=4)
    u = flow.transform.inverse(torch.randn(100_000, 1, 1, 2))[0]
    inside = ((u >= 0) & (u < 1)).flatten(1).all(dim=1).float().mean().item()
    assert 0.5 < inside <= 1
    assert log_p.exp().sum().item() == pytest.approx(inside, abs=0.01)
    made = flow.sample(100_000, generator=torch.Generator().manual_seed(0))[:, 0, 0]
    assert (made[:, 0] > 0).float().mean().item() == pytest.approx(
        (u[:, 0, 0, 0] >= 0.5).float().mean().item(), abs=0.01)


@torch.no_grad()
def test_importance_weighted_bound_rises_to_the_truth():
    flow = tiny()
    x = images(40, 1, 1, 2)
    grid = ((torch.cartesian_prod(torch.arange(32.0), torch.arange(32.0)) + 0.5) / 32).view(1024, 1, 1, 2)
    density = torch.stack([sum(flow.log_prob_terms(dequantise(one.expand_as(grid), grid))) for one in x])
    exact = density.logsumexp(dim=1) - math.log(1024) - 2 * math.log(256)
    many = x.repeat(200, 1, 1, 1)
    errors = [(exact.repeat(200) - flow.log_prob(many, k=k)).mean().item() for k in (1, 4, 16)]
    assert errors[0] > errors[1] > errors[2] > -1e-3 and errors[2] < 0.1 * errors[0]


def test_samples_come_back():
    torch.manual_seed(0)
    for model in (RealNVP((1, 8, 8), couplings=2, width=8, blocks=1), Glow((3, 4, 4), rounds=2, width=8, levels=1)):
        model = perturbed(model, 0.1)
        z = torch.randn(8, *model.shape, dtype=torch.float64)
        u, log_det = model.transform.inverse(z)
        torch.testing.assert_close(model.transform(u)[0], z, rtol=0, atol=1e-10)
        base, volume = model.log_prob_terms(u)
        torch.testing.assert_close(base + volume, log_normal(z) - log_det, rtol=0, atol=1e-9)
        x = images(8, *model.image_shape)
        assert torch.equal(model.decode(model.encode(x.double())), x)  # through the middle of each cell
        model.float()
        made = [model.sample(4, generator=torch.Generator().manual_seed(1), temperature=t) for t in (1.0, 1.0, 0.0)]
        assert torch.equal(made[0], made[1]) and torch.equal(made[2][:1].expand_as(made[2]), made[2])
        assert (made[0].abs().max() <= 1
                and torch.equal(to_float(((made[0] + 1) * 127.5).round().to(torch.uint8)), made[0]))


# noise

@pytest.mark.parametrize("sigma", [0.1, 0.7])
def test_denoising_a_gaussian_is_its_conditional_mean(sigma):
    "Four pixels with a covariance: the score by automatic differentiation, the answer by conditioning a Gaussian."
    torch.manual_seed(0)
    mean = 0.3 * torch.randn(4, dtype=torch.float64)
    root = torch.tril(torch.randn(4, 4, dtype=torch.float64))
    clean = root @ root.T + 0.1 * torch.eye(4)  # covariances of x and of v = x + sigma noise
    noisy = torch.distributions.MultivariateNormal(mean, clean + sigma**2 * torch.eye(4))

    class Known(ImageFlow):
        def log_prob_terms(self, u, context=None):
            return noisy.log_prob((2 * u - 1).flatten(1)), u.new_full((len(u),), 4 * math.log(2))

    v = torch.randn(50, 4, dtype=torch.float64, requires_grad=True)
    score, = torch.autograd.grad(noisy.log_prob(v).sum(), v)
    expected = mean + (v - mean) @ torch.linalg.solve(clean + sigma**2 * torch.eye(4), clean)  # E[x|v]
    torch.testing.assert_close(v + sigma**2 * score, expected)
    with torch.no_grad():  # as in sample
        u = Known((1, 2, 2), Compose(), (4,), sigma=sigma).denoise((v.view(-1, 1, 2, 2) + 1) / 2)
    torch.testing.assert_close((2 * u - 1).flatten(1), expected)


def test_a_noisy_glow_draws_denoised_images():
    torch.manual_seed(0)
    model = perturbed(Glow((1, 8, 8), rounds=1, width=8, growth=2, noise=0.3), 0.1)
    x = images(400, 1, 8, 8)
    error = 2 * (model.perturb(x) - dequantise(x, 0.5))
    assert abs(error.std() - 0.3) < 0.01 and abs(error.mean()) < 0.01
    assert torch.equal(model.decode(model.encode(x.double())), x)

    def rounded(u):
        return to_float((u * 256).floor().clamp(0, 255).to(torch.uint8))

    z = model.base_sample(5, torch.Generator().manual_seed(1), 0.8)
    u = model.transform.inverse(z)[0].detach().requires_grad_()
    score, = torch.autograd.grad(model.log_prob_terms(u)[0].sum() + model.transform(u)[1].sum(), u)
    drawn = [model.sample(5, generator=torch.Generator().manual_seed(1), temperature=0.8, denoise=denoise)
             for denoise in (True, False)]
    assert torch.equal(drawn[0], rounded(u + 0.15**2 * score)) and torch.equal(drawn[1], rounded(u))
    assert torch.equal(drawn[0], model.decode(z, denoise=True)) and torch.equal(drawn[1], model.decode(z))
    assert not torch.equal(*drawn)
    torch.manual_seed(2)
    parts = model(x)
    torch.manual_seed(2)
    u = dequantise(x, 0.5) + 0.15 * torch.randn(x.shape)
    expected = -sum(model.log_prob_terms(u)).mean() + 64 * math.log(256)
    torch.testing.assert_close(parts["loss"], expected)
    torch.testing.assert_close(parts["base"] + parts["volume"], expected)


def test_variational_noise_starts_uniform_and_keeps_its_volume():
    torch.manual_seed(0)
    x, y = images(1, 2, 2, 1), torch.randn(1, 3)
    noise = Dequantiser(2, 6, 1, 3, context_dim=3)
    with torch.no_grad():
        e, log_q = noise(x.expand(64, 2, 2, 1), y.expand(64, 3))
        assert (log_q.abs() < 1e-2).all() and e.min() >= 0 and e.max() <= 1
        perturbed(noise, 0.2, torch.float32)
        e, log_q = noise(x.expand(200_000, 2, 2, 1), y.expand(200_000, 3))
    assert log_q.std() > 0.1
    assert (-log_q).exp().mean().item() == pytest.approx(1.0, abs=0.05)


def test_variational_bound_is_below_the_same_truth():
    "Other noise, other bounds, the same probability."
    flow = tiny()
    crooked = ImageFlow((1, 1, 2), flow.transform, (1, 1, 2),
                        dequantiser=perturbed(Dequantiser(1, 8, 1, 2), 0.3, torch.float32))
    x = images(20, 1, 1, 2)
    with torch.no_grad():
        a, c = (one.bound(x.repeat(4_000, 1, 1, 1)).view(4_000, 20) for one in (flow, crooked))
    truth = [draws.logsumexp(dim=0) - math.log(4_000) for draws in (a, c)]
    assert (truth[0] - truth[1]).abs().max() < 0.1 and (c.mean(dim=0) < truth[0]).all()


# peers

class Sigmoid(nn.Module):
    "The scale of nflows' coupling: another elementwise map in Affine's place."

    n_params = 2

    def forward(self, x, params):
        scale = (params[..., 0] + 2).sigmoid() + 1e-3
        return x * scale + params[..., 1], scale.log()


def test_channel_couplings_squeeze_and_1x1_equal_nflows():
    nflows = pytest.importorskip("nflows.transforms", reason="nflows is not installed")
    torch.manual_seed(0)
    x = torch.randn(5, 1, 4, 6)
    couplings, theirs = [], []
    for flip in (False, True):
        c = perturbed(ImageCoupling(4, Channels(flip), Sigmoid(), 8, 1), 0.3, torch.float32)

        class Net(nn.Module):
            def __init__(self, *_, net=c.net):
                super().__init__()
                self.net = net

            def forward(self, kept, context=None):  # they want all shifts, then all scales
                out = self.net(kept).unflatten(1, (-1, 2))
                return torch.cat([out[:, :, 1], out[:, :, 0]], dim=1)

        mask = torch.tensor([1.0, 1, -1, -1]) if flip else torch.tensor([-1.0, -1, 1, 1])
        couplings.append(c)
        theirs.append(nflows.AffineCouplingTransform(mask, Net))
    ours = Compose(Squeeze(), *couplings)
    theirs = nflows.CompositeTransform([nflows.SqueezeTransform(), *theirs])  # one channel: the orders agree
    for a, b in zip(ours(x), theirs(x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    mine = perturbed(LULinear(4), 0.3, torch.float32)
    conv = nflows.OneByOneConvolution(4, identity_init=True)
    with torch.no_grad():
        conv.permutation._permutation.copy_(torch.arange(4))
        conv.lower_entries.copy_(mine.lower[tuple(conv.lower_indices)])
        conv.upper_entries.copy_(mine.upper[tuple(conv.upper_indices)])
        conv.unconstrained_upper_diag.copy_((mine.log_diagonal.exp() - conv.eps).expm1().log())
        conv.bias.zero_()
        z = ours(x)[0]
        a, a_log_det = mine(ours(x)[0])
        b, b_log_det = conv(ours(x)[0])
    assert a.shape == z.shape
    torch.testing.assert_close(a.flip(1), b, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(a_log_det, b_log_det, rtol=1e-4, atol=1e-4)


class OnTheBoard(nn.Module):
    "Our coupling's log-scale (0) or shift (1) as a function of the masked image, zero where pixels stay."

    def __init__(self, coupling, which):
        super().__init__()
        self.coupling = coupling
        self.which = which

    def forward(self, masked):
        kept, _ = self.coupling.halves.split(masked)
        params = self.coupling.params(kept, None)
        part = (self.coupling.elementwise.scale * params[..., 0].tanh(), params[..., 1])[self.which]
        return self.coupling.halves.join(torch.zeros_like(part), part, masked.shape[2:])


def test_checkerboard_equals_a_masked_coupling_of_normflows():
    nf = pytest.importorskip("normflows", reason="normflows is not installed")
    torch.manual_seed(0)
    for flip, (h, w) in ((False, (4, 6)), (True, (4, 6)), (False, (5, 3))):
        coupling = perturbed(ImageCoupling(2, Checkerboard(flip), Affine(), 8, 1), 0.3)
        x = torch.randn(3, 2, h, w, dtype=torch.float64)
        board = (torch.arange(h)[:, None] + torch.arange(w) + (0 if flip else 1)) % 2  # 1 where it stays
        masked = nf.flows.MaskedAffineFlow(
            board.double().expand(2, h, w), t=OnTheBoard(coupling, 1), s=OnTheBoard(coupling, 0))
        for a, b in zip(coupling(x), masked.forward(x), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
        theirs = nf.NormalizingFlow(nf.distributions.DiagGaussian((2, h, w), trainable=False).double(), [masked])
        z, log_det = coupling.inverse(x)  # they go from noise to data
        torch.testing.assert_close(theirs.log_prob(x), log_normal(z.flatten(1)) + log_det, rtol=0, atol=1e-9)


# models

MODELS = {
    "realnvp": lambda **k: RealNVP((1, 8, 8), couplings=2, width=8, blocks=1, **k),
    "variational": lambda **k: RealNVP((1, 8, 8), couplings=2, width=8, blocks=1, dequantisation="variational", **k),
    "one scale": lambda **k: RealNVP((1, 8, 8), couplings=1, width=8, blocks=1, multi_scale=False, **k),
    "glow": lambda **k: Glow((1, 8, 8), rounds=2, width=8, levels=2, **k),
}


@pytest.mark.parametrize("n_labels", [0, 10])
@pytest.mark.parametrize("name", MODELS)
def test_models_learn_store_and_recompute(name, n_labels, tmp_path):
    torch.manual_seed(0)
    model = MODELS[name](n_labels=n_labels)
    x, y = images(6, 1, 8, 8), torch.arange(6)
    assert idle_parameters(model, lambda: model(x, y)["loss"]) == []
    perturbed(model, 0.1, torch.float32)
    model.save_pretrained(tmp_path)
    back = type(model).from_pretrained(tmp_path)
    save_weights(tmp_path / "own.safetensors", model)
    own = load_weights(tmp_path / "own.safetensors", lambda: MODELS[name](n_labels=n_labels, recompute=True)).train()
    z = model.encode(x, y)
    assert torch.equal(back.encode(x, y), z) and torch.equal(own.encode(x, y), z)
    made = [one.sample(3, y[:3] if n_labels else None, generator=torch.Generator().manual_seed(0))
            for one in (model, back)]
    assert torch.equal(*made)
    if n_labels == 0:
        with pytest.raises(UserError, match="without labels"):
            model.sample(3, y[:3])
    gradients = []
    for one in (model, own):
        torch.manual_seed(1)
        one.zero_grad()
        one(x, y)["loss"].backward()
        gradients.append([p.grad for p in one.parameters()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    assert any(layer.recompute for layer in own.modules() if isinstance(layer, Compose))


def test_labels_matter_and_have_to_fit():
    torch.manual_seed(0)
    for model in (MODELS["realnvp"](n_labels=3), MODELS["glow"](n_labels=3)):
        perturbed(model, 0.2, torch.float32)
        x, y = images(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])
        assert (model.encode(x, y) - model.encode(x, (y + 1) % 3)).abs().amax(dim=1).min() > 1e-3
        attributes = nn.functional.one_hot(y, 3).bool()
        assert torch.equal(model.encode(x, attributes), model.encode(x, y))
        assert torch.equal(model.decode(model.encode(x, y), y), x)
        for wrong in (None, torch.tensor([3]), torch.tensor([-1]), torch.rand(4), torch.ones(4, 2, dtype=torch.bool)):
            with pytest.raises(UserError, match="labels"):
                model.context(wrong)
    assert RealNVP((1, 4, 4), levels=1).context(torch.tensor([7])) is None


def test_sentences():
    for wrong, what in (
        (lambda: RealNVP((1, 28, 28), levels=3), "1 to 2 times"),
        (lambda: Glow((3, 30, 32), levels=2), "1 to 1 times"),
        (lambda: Glow((1, 8, 8), growth=0), "growth is 0; .* 1 or more"),
        (lambda: Glow((3, 32, 32), levels=3, growth=16), "1,024 rounds of width 12,288.*smaller growth"),
        (lambda: Glow((3, 32, 32), levels=2, rounds=1, width=2**10, growth=65), "width 66,560.*smaller growth"),
        *((lambda noise=noise: Glow((1, 8, 8), noise=noise), "noise is .* standard deviation, 0 or more")
          for noise in (-0.1, math.nan, math.inf)),
        (lambda: Squeeze()(torch.zeros(1, 1, 3, 4)), "can't be cut"),
        (lambda: ImageCoupling(1, Channels(), Affine()), "no halves"),
        (lambda: RealNVP((1, 8, 8))(torch.zeros(2, 1, 4, 4)), "Resize"),
        (lambda: RealNVP((1, 8, 8)).encode(torch.zeros(2, 3, 8, 8)), "Resize"),
        (lambda: ImageCoupling(2, Channels(), Affine(), context_dim=2)(torch.zeros(1, 2, 2, 2)), "context"),
    ):
        with pytest.raises(UserError, match=what):
            wrong()


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64)])
def test_sizes(shape):
    x = images(2, *shape)
    for model in (RealNVP(shape, couplings=1, width=8, blocks=1), Glow(shape, rounds=1, width=8)):
        assert torch.equal(model.decode(model.encode(x)), x) and model.encode(x).shape == (2, math.prod(shape))


def test_start_standardises_what_arrives():
    torch.manual_seed(0)
    transform = image_transform((1, 8, 8), Affine, 2, 6, 1, 2)
    u = torch.rand(400, 1, 8, 8) ** 3
    transform.init_from_data(u)
    seen = []
    for layer in transform.modules():
        if isinstance(layer, ActNorm):
            layer.register_forward_hook(lambda m, a, out: seen.append(out[0]))
    transform(u)
    assert len(seen) == 11
    for out in seen:
        flat = out.transpose(0, 1).flatten(1)
        assert flat.mean(dim=1).abs().max() < 1e-3 and (flat.std(dim=1) - 1).abs().max() < 0.02


def test_what_leaves_has_its_place():
    "Without priors, z is the stages' outputs as they leave; the last numbers are the coarsest."
    torch.manual_seed(0)
    first, second = Compose(Squeeze()), Compose(Squeeze())
    x = torch.randn(2, 1, 4, 4)
    z, _ = MultiScale((1, 4, 4), [first, second])(x)
    squeezed = Squeeze()(x)[0]
    assert (torch.equal(z[:, :8], squeezed[:, 2:].flatten(1))
            and torch.equal(z[:, 8:], Squeeze()(squeezed[:, :2])[0].flatten(1)))
    assert [type(layer) for layer in glow_step(4)] == [ActNorm, LULinear, ImageCoupling]


# recipes

@pytest.fixture(scope="module")
def data(few_images):
    return {split: load_images("fashion_mnist", split, root=few_images, n=n)
            for split, n in (("train", 256), ("validation", 64), ("test", 64))}


RECIPES = {"realnvp": (RealNVPRecipe, RealNVPConfig(couplings=1, width=8, blocks=1)),
           "glow": (GlowRecipe, GlowConfig(rounds=1, width=8))}


@pytest.mark.parametrize("n_labels", [0, 10])
@pytest.mark.parametrize("name", RECIPES)
def test_recipes_train_and_go_on(name, n_labels, data, tmp_path):
    recipe_class, config = RECIPES[name]

    def run(out):
        torch.manual_seed(0)
        recipe = recipe_class(replace(config, n_labels=n_labels), data)
        return recipe, *fit(recipe, data["train"], steps=12, batch_size=32, out=out, save_every=6, pictures=2)

    out = create_run(tmp_path / "run", {"model": name})
    recipe, model, progress = run(out)
    bits = [row["val_bits_per_dim"] for row in progress.log if "val_bits_per_dim" in row]
    assert 7 < progress.log[0]["loss"] / 784 / math.log(2) < 9 and bits[-1] < bits[0]
    newest = sorted((out / "state").glob("[0-9]*.pt"))[-1]
    newest.unlink()  # as if it had been killed after step 6
    again = run(out)[1]
    for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    values = recipe.likelihood(model, seed=0)
    torch.rand(1)
    assert values == recipe.likelihood(model, seed=0)
    assert (set(values) == {"bits_per_dim", "bits_per_dim_iw", "nll", "inverse_error"}
            and values["bits_per_dim_iw"]["k"] == 16)
    assert values["nll"]["value"] / 784 / math.log(2) == pytest.approx(values["bits_per_dim"]["value"])
    assert values["inverse_error"]["value"] < 1e-4
    drawn = recipe.draw(model, 7, seed=0)
    assert drawn.shape == (7, 1, 28, 28) and torch.equal(drawn, recipe.draw(model, 7, seed=0))


def test_with_noise_the_loss_is_held_out_and_bits_are_still_a_bound(data):
    torch.manual_seed(0)
    recipe = GlowRecipe(GlowConfig(rounds=1, width=8, growth=2, noise=0.2), data)
    model = recipe.model.eval()
    first = model.transform.layers[1].stages[0].layers[1]
    seen = dequantise(data["train"][torch.arange(256)][0], 0.5) + 0.1 * torch.randn(256, 1, 28, 28)
    out = first(Squeeze()(Centre()(seen)[0])[0])[0].transpose(0, 1).flatten(1)  # of the first activation norm
    assert out.mean(dim=1).abs().max() < 0.02 and (out.std(dim=1) - 1).abs().max() < 0.02
    torch.manual_seed(4)
    held = recipe.validate(model)
    torch.manual_seed(4)
    with torch.no_grad():
        expected = float(model.loss(data["validation"][torch.arange(64)][0])["loss"])
    assert recipe.score == ("loss", "lowest") and held == dict(loss=pytest.approx(expected))
    x, _ = data["test"][torch.arange(64)]
    torch.manual_seed(5)
    with torch.no_grad():
        bound = -sum(model.log_prob_terms((((x + 1) * 127.5).round() + torch.rand_like(x)) / 256)).mean()
    bits = float(bound) / 784 / math.log(2) + 8
    assert recipe.likelihood(model, seed=5)["bits_per_dim"]["value"] == pytest.approx(bits, abs=1e-4)
    fitted, progress = fit(recipe, data["train"], steps=12, batch_size=32, pictures=2)
    losses = [row["val_loss"] for row in progress.log if "val_loss" in row]
    assert losses[-1] < losses[0] and not any("val_bits_per_dim" in row for row in progress.log)
    assert recipe.draw(fitted, 7, seed=0).shape == (7, 1, 28, 28)
    assert GlowRecipe(GlowConfig(rounds=1, width=8), data).score == ("bits_per_dim", "lowest")


def test_recipe_says_what_does_not_fit(data):
    with pytest.raises(UserError, match="n_labels"):
        RealNVPRecipe(RealNVPConfig(n_labels=3), data)


def test_likelihood_is_that_of_the_test_images(data):
    "Splits of different sizes, so that a wrong one is seen; one draw beside sixteen on the same images."
    splits = data | dict(test=replace(data["test"], x=data["test"].x[:40], y=data["test"].y[:40]))
    torch.manual_seed(0)
    recipe = RealNVPRecipe(RealNVPConfig(couplings=1, width=8, blocks=1), splits)
    model = recipe.model.eval()
    values = recipe.likelihood(recipe.model, seed=5)
    assert values["bits_per_dim"]["n"] == values["nll"]["n"] == values["bits_per_dim_iw"]["n"] == 40
    x, y = splits["test"][torch.arange(40)]
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(5)
        expected = float(-model.bound(x, y).mean()) / 784 / math.log(2)
    assert values["bits_per_dim"]["value"] == pytest.approx(expected, abs=1e-5)
    one = values["bits_per_dim_iw"]
    assert one["value"] < one["one_draw"] and one["one_draw"] == pytest.approx(expected, abs=0.02)
    torch.manual_seed(6)
    x, y = data["validation"][torch.arange(64)]
    expected = float(-model.bound(x, y).mean().detach()) / 784 / math.log(2)
    torch.manual_seed(6)
    assert recipe.validate(model)["bits_per_dim"] == pytest.approx(expected, abs=1e-5)


def test_pictures_are_drawn_with_the_labels_of_the_data(data, monkeypatch):
    torch.manual_seed(0)
    recipe = RealNVPRecipe(RealNVPConfig(couplings=1, width=8, blocks=1, n_labels=10), data)
    asked = []
    decode = type(recipe.model).decode
    monkeypatch.setattr(type(recipe.model), "decode",
                        lambda self, z, y=None, *more: asked.append(y) or decode(self, z, y, *more))
    recipe.draw(recipe.model, 300, seed=0)
    assert (torch.cat(asked).bincount(minlength=10) > 10).all()


def test_learned_noise_depends_on_the_image():
    torch.manual_seed(0)
    noise = perturbed(Dequantiser(1, 8), 0.3, torch.float32)
    noises = []
    for x in images(2, 1, 8, 8).split(1):
        torch.manual_seed(1)
        noises.append(noise(x)[0])
    assert (noises[0] - noises[1]).abs().max() > 1e-2


def test_what_can_not_be_built_or_drawn():
    with pytest.raises(UserError, match="dequantisation"):
        RealNVP((1, 8, 8), dequantisation="varational")
    with pytest.raises(UserError, match="one label for each"):
        RealNVP((1, 8, 8), couplings=1, width=8, blocks=1, n_labels=3).sample(4, torch.tensor([0, 1]))


def test_convolutions_are_not_rounded_on_a_gpu():
    net = ConvNet(1, 4, 2)
    seen = []
    net.last.register_forward_hook(lambda *_: seen.append(torch.backends.cudnn.allow_tf32))
    before = torch.backends.cudnn.allow_tf32
    net(torch.randn(2, 1, 4, 4))
    assert seen == [False] and torch.backends.cudnn.allow_tf32 == before and torch.backends.cudnn.enabled
