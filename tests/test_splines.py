"Part 7's splines: inverses, log-determinants, twins in other libraries, masks, faults that a likelihood can hide."

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from genlab import UserError
from genlab.flow.couplings import Affine, Compose, Coupling, Flow, LULinear, inverse_error, jacobian_log_det
from genlab.flow.realnvp import ImageCoupling
from genlab.flow.splines import (
    Autoregressive,
    Conditional,
    MaskedLinear,
    RationalQuadratic,
    SplineFlow,
    SplinePointFlowConfig,
    SplinePointFlowRecipe,
    made,
)
from genlab.lab.layers import idle_parameters
from genlab.points.colored_pi import load_pi

bins = st.integers(2, 24)
seeds = st.integers(0, 10**6)
slow = settings(deadline=None, max_examples=25)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0, scale: float = 1.0, dtype=torch.float64) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=generator(seed), dtype=dtype)


def perturbed(module: nn.Module, seed: int = 0, scale: float = 0.3) -> nn.Module:
    "In float64, with weights that are not those of the start."
    g = generator(seed)
    with torch.no_grad():
        for p in module.double().parameters():
            p.add_(scale * torch.randn(p.shape, generator=g, dtype=p.dtype))
    return module


def check(transform: nn.Module, x: torch.Tensor, context: torch.Tensor | None = None) -> None:
    z, log_det = transform(x, context)
    assert log_det.shape == (len(x),)
    assert inverse_error(transform, x, context) < 1e-10
    torch.testing.assert_close(log_det, jacobian_log_det(transform, x, context), atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(transform.inverse(z, context)[1], -log_det, atol=1e-9, rtol=1e-9)


# one number

@slow
@given(k=bins, bound=st.floats(0.5, 6), scale=st.floats(0.1, 1.5), seed=seeds)
def test_a_spline_is_monotone_and_undone_and_its_slope_is_the_derivative(k, bound, scale, seed):
    spline = RationalQuadratic(k, bound)
    params = draw(40, 3 * k - 1, seed=seed, scale=scale)
    x = draw(40, seed=seed + 1, scale=bound).requires_grad_()
    z, log_slope = spline(x, params)
    torch.testing.assert_close(log_slope.exp(), torch.autograd.grad(z.sum(), x)[0], atol=1e-10, rtol=1e-8)
    back, log_back = spline.inverse(z, params)
    torch.testing.assert_close(back, x, atol=1e-10, rtol=0)
    torch.testing.assert_close(log_back, -log_slope, atol=1e-7, rtol=0)
    line = torch.linspace(-1.5 * bound, 1.5 * bound, 999, dtype=torch.float64)
    curve, slopes = spline(line, params[:1].expand(999, -1))
    assert (curve.diff() > 0).all() and slopes.isfinite().all()


@slow
@given(k=bins, bound=st.floats(0.5, 6), seed=seeds)
def test_zeros_are_the_identity_and_tails_are_lines(k, bound, seed):
    spline = RationalQuadratic(k, bound)
    x = draw(200, seed=seed, scale=bound)
    z, log_slope = spline(x, torch.zeros(200, 3 * k - 1, dtype=torch.float64))
    torch.testing.assert_close(z, x, atol=1e-12, rtol=0)
    torch.testing.assert_close(log_slope, torch.zeros_like(x), atol=1e-10, rtol=0)
    outside = x.abs() > bound
    z, log_slope = spline(x, draw(200, 3 * k - 1, seed=seed, scale=2))
    torch.testing.assert_close(z[outside], x[outside], atol=1e-12, rtol=0)
    torch.testing.assert_close(log_slope[outside], torch.zeros_like(x[outside]), atol=1e-10, rtol=0)
    if (~outside).any():
        assert (z[~outside] - x[~outside]).abs().max() > 1e-6


def test_gradients_stay_finite_far_outside():
    params = draw(6, 23).requires_grad_()
    x = torch.tensor([-1e6, -4.0, -3.9, 0.0, 4.0, 1e6], dtype=torch.float64, requires_grad=True)
    for f in (RationalQuadratic(8, 4.0), RationalQuadratic(8, 4.0).inverse):
        z, log_slope = f(x, params)
        slope, pull = torch.autograd.grad(z.sum() + log_slope.sum(), (x, params))
        assert slope.isfinite().all() and pull.isfinite().all()
        assert pull[[0, 5]].abs().max() < 1e-12, "the tails have no parameters"
        torch.testing.assert_close(slope[[0, 5]], torch.ones(2, dtype=torch.float64))


def test_float32():
    params = draw(20_000, 23, scale=0.7, dtype=torch.float32)
    x = draw(20_000, seed=1, scale=2, dtype=torch.float32)
    spline = RationalQuadratic(8, 4.0)
    assert (spline.inverse(spline(x, params)[0], params)[0] - x).abs().max() < 1e-3
    z = draw(20_000, seed=2, dtype=torch.float32)
    assert (spline(spline.inverse(z, params)[0], params)[0] - z).abs().max() < 1e-3


def ours_and_raw(k: int, seed: int, bound: float) -> tuple:
    params = draw(300, 3 * k - 1, seed=seed, scale=1.5)
    x = draw(300, seed=seed + 1, scale=0.6 * bound)
    return RationalQuadratic(k, bound), x, params, params[:, :k], params[:, k:2 * k], params[:, 2 * k:]


@pytest.mark.parametrize("library", ["nflows", "normflows"])
@slow
@given(k=bins, bound=st.floats(1, 5), seed=seeds)
def test_equal_to_the_twins(library, k, bound, seed):
    module = {"nflows": "nflows.transforms.splines.rational_quadratic", "normflows": "normflows.utils.splines"}[library]
    twin = pytest.importorskip(
        module, reason=f"the twin {library} is not installed").unconstrained_rational_quadratic_spline
    spline, x, params, widths, heights, slopes = ours_and_raw(k, seed, bound)
    raw = slopes + math.log(math.expm1(1 - 1e-3))  # theirs has slope softplus(0) + 0.001 at zero
    for inverse, f in ((False, spline), (True, spline.inverse)):
        theirs = twin(x, widths, heights, raw, inverse=inverse, tails="linear", tail_bound=bound)
        for a, b in zip(f(x, params), theirs, strict=True):
            torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-8)


@slow
@given(k=bins, bound=st.floats(1, 5), seed=seeds)
def test_equal_to_zukos_on_the_same_knots(k, bound, seed):
    "zuko squashes its parameters another way, so it gets the knots and slopes that ours made."
    zuko = pytest.importorskip("zuko", reason="the twin zuko is not installed")
    spline, x, params, *_ = ours_and_raw(k, seed, bound)
    twin = zuko.transforms.MonotonicRQSTransform(params[:, :k], params[:, k:2 * k], params[:, 2 * k:], bound=bound)
    twin.horizontal, twin.vertical = spline.knots(params).unbind(1)
    slope = F.softplus(params[:, 2 * k:] + math.log(math.expm1(1 - 1e-3))) + 1e-3
    twin.derivatives = F.pad(slope, (1, 1), value=1.0)
    for a, b in zip(spline(x, params), twin.call_and_ladj(x), strict=True):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-8)
    torch.testing.assert_close(spline.inverse(x, params)[0], twin._inverse(x), atol=1e-9, rtol=1e-8)


def test_what_is_no_spline_says_so():
    for k, smallest in ((1, 1e-3), (1_000, 1e-3), (10, 0.1)):
        with pytest.raises(UserError, match="Take 2 to"):
            RationalQuadratic(k, 3.0, smallest)


# layers

def layer(kind: str, dim: int, k: int, context_dim: int, octaves: int = 0) -> nn.Module:
    spline = RationalQuadratic(k, 2.5)
    return {"coupling": lambda: Coupling(dim, spline, 16, 2, context_dim),
            "autoregressive": lambda: Autoregressive(dim, spline, 16, 2, context_dim, octaves),
            "autoregressive, affine": lambda: Autoregressive(dim, Affine(), 16, 1, context_dim, octaves),
            "conditional": lambda: Conditional(
                1, Autoregressive(1, spline, 16, 1, context_dim or 1) if context_dim else Fixed(spline),
                Autoregressive(dim - 1, spline, 16, 2, context_dim + 1)),
            "composition": lambda: Compose(
                Autoregressive(dim, spline, 16, 2, context_dim), LULinear(dim),
                Coupling(dim, spline, 16, 2, context_dim)),
            }[kind]()


class Fixed(nn.Module):
    "A spline with parameters of its own."

    def __init__(self, spline: RationalQuadratic):
        super().__init__()
        self.spline = spline
        self.params = nn.Parameter(torch.zeros(spline.n_params))

    def forward(self, x, context=None):
        z, log_det = self.spline(x, self.params.expand(*x.shape, -1))
        return z, log_det.sum(dim=1)

    def inverse(self, z, context=None):
        x, log_det = self.spline.inverse(z, self.params.expand(*z.shape, -1))
        return x, log_det.sum(dim=1)


KINDS = ["coupling", "autoregressive", "autoregressive, affine", "conditional", "composition"]
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
@settings(deadline=None, max_examples=8)
@given(dim=st.integers(2, 6), k=st.integers(2, 9), context_dim=st.sampled_from([0, 0, 1, 3]),
       octaves=st.integers(0, 2), seed=seeds)
def test_inverse_and_log_det_in_float64(kind, dim, k, context_dim, octaves, seed):
    transform = perturbed(layer(kind, dim, k, context_dim, octaves), seed, 0.15 if kind == "composition" else 0.3)
    check(transform, draw(3, dim, seed=seed, scale=2), draw(3, context_dim, seed=seed + 1) if context_dim else None)


@every_kind
def test_a_new_layer_is_the_identity_and_every_parameter_learns(kind):
    torch.manual_seed(0)
    transform = layer(kind, 4, 5, 0)
    x = draw(50, 4, dtype=torch.float32)
    z, log_det = transform(x)
    torch.testing.assert_close(z if kind != "composition" else z.flip(1), x, atol=1e-5, rtol=0)
    torch.testing.assert_close(log_det, torch.zeros(50), atol=1e-5, rtol=0)
    flow = Flow(transform, (4,))
    assert idle_parameters(flow, lambda: flow(x)["loss"]) == []


@every_kind
def test_float32_inverse(kind):
    transform = perturbed(layer(kind, 5, 8, 0), scale=0.15).float()
    x = draw(500, 5, dtype=torch.float32)
    assert inverse_error(transform, x) < 1e-4


@pytest.mark.parametrize("shape", [(2, 4, 4), (3, 5, 7)])
def test_an_image_coupling_with_splines(shape):
    from genlab.flow.realnvp import Checkerboard

    transform = perturbed(
        ImageCoupling(shape[0], Checkerboard(), RationalQuadratic(4, 2.0), width=6, blocks=1), scale=0.2)
    check(transform, draw(2, *shape))


@settings(deadline=None, max_examples=20)
@given(dim=st.integers(2, 7), context_dim=st.integers(0, 3), depth=st.integers(1, 3), hidden=st.integers(8, 30),
       octaves=st.integers(0, 3), seed=seeds)
def test_causality_by_gradients(dim, context_dim, depth, hidden, octaves, seed):
    transform = perturbed(Autoregressive(dim, RationalQuadratic(3), hidden, depth, context_dim, octaves), seed, 1.0)
    x = draw(1, dim, seed=seed)
    context = draw(1, context_dim, seed=seed + 1) if context_dim else None
    # (D, D)
    reads = torch.autograd.functional.jacobian(
        lambda one: transform.params(one, context)[0], x)[:, :, 0].abs().sum(dim=1)
    blind = torch.ones(dim, dim).triu().bool()
    assert (reads[blind] == 0).all(), "a number's parameters see itself or a later number"
    assert (reads[~blind] > 0).all(), "a number's parameters miss an earlier number"
    if context_dim:
        hears = torch.autograd.functional.jacobian(
            lambda c: transform.params(x, c)[0], context)[:, :, 0].abs().sum(dim=1)
        assert (hears > 0).all(), "every number's parameters hear the context"


@pytest.mark.parametrize("kind", ["coupling", "autoregressive", "conditional", "composition"])
def test_every_part_hears_the_context(kind):
    transform = perturbed(layer(kind, 4, 5, 3))
    x, context = draw(1, 4), draw(1, 3)
    hears = torch.autograd.functional.jacobian(lambda c: transform(x, c)[0][0], context)[:, 0].abs().sum(dim=1)
    moved = slice(2, None) if kind == "coupling" else slice(None)  # a coupling's first half stays
    assert (hears[moved] > 0).all()


def test_masked_weights_and_only_those_are_without_gradient():
    torch.manual_seed(0)
    net = made(torch.tensor([0, 1, 2, 3]), 12, 2, torch.tensor([1, 1, 2, 3, 3]))
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn_like(p))
    net(torch.randn(64, 4)).square().sum().backward()
    masked = [m for m in net if isinstance(m, MaskedLinear)]
    assert len(masked) == 3
    for m in masked:
        assert (m.weight.grad[m.mask == 0] == 0).all() and 0 < m.mask.mean() < 1
        alive = (m.weight.grad != 0).any(dim=1)
        assert ((m.weight.grad[alive] != 0) | (m.mask[alive] == 0)).all()


def test_a_context_is_asked_for_and_refused():
    with pytest.raises(UserError, match="got none"):
        Autoregressive(2, Affine(), context_dim=3)(torch.zeros(1, 2))
    with pytest.raises(UserError, match="got one"):
        Autoregressive(2, Affine())(torch.zeros(1, 2), torch.zeros(1, 3))
    with pytest.raises(UserError, match="nothing to look at"):
        Autoregressive(1, Affine())


# densities

@every_kind
def test_the_density_integrates_to_one(kind):
    flow = Flow(perturbed(layer(kind, 2, 4, 0), 3, 0.3), (2,))
    n, reach = 700, 12.0
    t = (torch.arange(n, dtype=torch.float64) + 0.5) / n * 2 * reach - reach
    with torch.no_grad():
        total = float(flow.log_prob(torch.cartesian_prod(t, t)).exp().sum()) * (2 * reach / n) ** 2
    assert abs(total - 1) < 5e-3


@pytest.mark.parametrize("kind", ["coupling", "autoregressive", "conditional", "composition"])
def test_the_density_of_a_condition_integrates_to_one(kind):
    flow = Flow(perturbed(layer(kind, 2, 4, 3), 4, 0.2), (2,))
    n, reach = 500, 7.0
    t = (torch.arange(n, dtype=torch.float64) + 0.5) / n * 2 * reach - reach
    place = torch.cartesian_prod(t, t)
    totals = []
    for seed in (0, 1):
        with torch.no_grad():
            density = flow.log_prob(place, draw(1, 3, seed=seed).expand(len(place), -1)).exp()
        totals.append(float(density.sum()) * (2 * reach / n) ** 2)
    assert all(abs(total - 1) < 5e-3 for total in totals)


@every_kind
def test_samples_have_the_density_that_made_them(kind):
    "log p(x) of a sample = log N(z) of its noise - log_det of the way from z to x; and their histogram is the density."
    flow = Flow(perturbed(layer(kind, 2, 4, 0), 5, 0.25), (2,))
    z = draw(200_000, 2)
    with torch.no_grad():
        x, log_det = flow.transform.inverse(z)
        base = -0.5 * z.square().sum(dim=1) - math.log(2 * math.pi)
        torch.testing.assert_close(flow.log_prob(x), base - log_det, atol=1e-8, rtol=1e-8)
        fine = torch.cartesian_prod(*[(torch.arange(240, dtype=torch.float64) + 0.5) / 40 - 3] * 2)
        expected = flow.log_prob(fine).exp().view(24, 10, 24, 10).mean(dim=(1, 3)) / 16
    cell = (x + 3).mul(4).floor().long()
    inside = ((cell >= 0) & (cell < 24)).all(dim=1)
    counted = torch.bincount(cell[inside, 0] * 24 + cell[inside, 1], minlength=576).view(24, 24) / len(x)
    assert (counted - expected).abs().max() < 6 * (expected.max() / len(x)).sqrt() + 1e-3


def test_a_mask_that_reads_itself_is_found_by_the_integral():
    transform = perturbed(Autoregressive(2, RationalQuadratic(4), 16, 2), 3, 0.8)
    with torch.no_grad():
        transform.net[-1].mask.fill_(1)
        transform.net[0].mask.fill_(1)
    x = draw(4, 2)
    log_det = transform(x)[1]
    assert (log_det - jacobian_log_det(transform, x)).abs().max() > 0.05 and inverse_error(transform, x) > 1e-2


# models

def test_the_pi_recipe_learns_reports_and_is_rebuilt_from_its_settings():
    from genlab.lab.training import fit

    torch.manual_seed(0)
    pi = load_pi()
    for name in ("affine", "spline", "autoregressive"):
        config = SplinePointFlowConfig(transform=name, steps=30, hidden=32, layers=2, bins=8)
        recipe = SplinePointFlowRecipe(config, pi)
        before = recipe.validate(recipe.model)["nll"]
        model, progress = fit(recipe, recipe.data, steps=30, batch_size=256)
        assert progress.best["value"] < before
        again = SplinePointFlowRecipe.build(config)
        again.load_state_dict(model.state_dict())
        assert torch.equal(again.sample(5, generator=generator()), model.sample(5, generator=generator()))
        assert recipe.draw(model, 100, 0).shape == (100, 5)


def test_the_places_density_does_not_depend_on_colours():
    model = SplinePointFlowRecipe.build(SplinePointFlowConfig(hidden=16, bins=6))
    perturbed(model.transform, scale=0.3)
    x = draw(20, 5)
    other = torch.cat([x[:, :2], draw(20, 3, seed=9)], dim=1)
    torch.testing.assert_close(model.transform(x)[0][:, :2], model.transform(other)[0][:, :2])
    check(model.transform, x[:4])


def test_a_spline_flow_of_images():
    torch.manual_seed(0)
    flow = SplineFlow((1, 8, 8), couplings=1, width=6, blocks=1, levels=1, bins=4)
    splines = [m for m in flow.modules() if isinstance(m, RationalQuadratic)]
    assert splines and all(spline.bins == 4 for spline in splines)
    x = torch.randint(256, (6, 1, 8, 8)) / 127.5 - 1
    parts = flow(x)
    torch.testing.assert_close(parts["loss"], parts["base"] + parts["volume"])
    images = flow.sample(3, generator=generator())
    assert images.shape == (3, 1, 8, 8) and images.abs().max() <= 1
    assert idle_parameters(flow, lambda: flow(x)["loss"]) == []
    check(perturbed(flow.transform, scale=0.1), torch.rand(2, 1, 8, 8, dtype=torch.float64) * 0.9 + 0.05)


def test_parts_without_a_start_need_none():
    first, second = (Autoregressive(2, RationalQuadratic(), 8, 1, context_dim) for context_dim in (0, 2))
    Conditional(2, first, second).init_from_data(torch.randn(20, 4))
