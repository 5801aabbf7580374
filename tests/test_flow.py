"Flows of points (chapter 70): every transform against autograd's Jacobian and against nflows; steps that explode; recomputation."

import math

import pytest
import torch
from flows import perturbed, proves
from hypothesis import given, settings
from hypothesis import strategies as st

from genlab import UserError
from genlab.flow.couplings import (
    ActNorm,
    Affine,
    Compose,
    Coupling,
    Flow,
    FlowRecipe,
    LULinear,
    PointFlow,
    PointFlowConfig,
    PointFlowRecipe,
    inverse_error,
    jacobian_log_det,
    point_transform,
)
from genlab.lab.layers import idle_parameters
from genlab.lab.training import fit
from genlab.points.colored_pi import load_pi
from genlab.points.vae import log_normal

MAKE = {
    "norm": lambda d, e: ActNorm(d),
    "linear": lambda d, e: LULinear(d),
    "coupling": lambda d, e: Coupling(d, Affine(), 16, 1, e),
    "all": lambda d, e: point_transform(d, Affine, 3, 16, 1, e),
    "nested": lambda d, e: Compose(point_transform(d, Affine, 1, 8, 1, e), LULinear(d), Compose(ActNorm(d))),
}


@pytest.mark.parametrize("name", MAKE)
@settings(max_examples=8, deadline=None)
@given(dim=st.integers(2, 6), context_dim=st.sampled_from([0, 3]), seed=st.integers(0, 2**16))
def test_inverse_and_log_det(name, dim, context_dim, seed):
    torch.manual_seed(seed)
    transform, x = perturbed(MAKE[name](dim, context_dim), 0.3), torch.randn(3, dim, dtype=torch.float64)
    context = torch.randn(3, context_dim, dtype=torch.float64) if context_dim else None
    assert transform(x, context)[0].shape == x.shape
    proves(transform, x, context)


@pytest.mark.parametrize("name", MAKE)
def test_inverse_in_single_precision(name):
    torch.manual_seed(0)
    assert inverse_error(perturbed(MAKE[name](5, 0), 0.3, dtype=torch.float32), torch.randn(500, 5)) < 1e-4


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 2, 6), (4, 1, 1)])
@pytest.mark.parametrize("kind", [ActNorm, LULinear])
def test_channels_of_images(kind, shape):
    torch.manual_seed(0)
    transform, x = perturbed(kind(shape[0]), 0.3), torch.randn(2, *shape, dtype=torch.float64)
    z, log_det = transform(x)
    torch.testing.assert_close(log_det, jacobian_log_det(transform, x), rtol=0, atol=1e-10)
    assert inverse_error(transform, x) < 1e-10
    pixel, _ = transform(x[:, :, -1, -1])  # a pixel alone, as a point, gives the same
    torch.testing.assert_close(z[:, :, -1, -1], pixel)


def test_actnorm_starts_standardised():
    x = 5 * torch.randn(4, 3, 20, 20) + 2
    flow = Compose(ActNorm(3), LULinear(3), ActNorm(3))
    flow.start(x)
    out = flow(x)[0].transpose(0, 1).flatten(1)
    torch.testing.assert_close(out.mean(dim=1), torch.zeros(3), rtol=0, atol=1e-4)
    torch.testing.assert_close(out.std(dim=1), torch.ones(3), rtol=0, atol=5e-3)


def test_the_same_coupling_in_nflows():
    from nflows.transforms import AffineCouplingTransform

    torch.manual_seed(0)
    ours = perturbed(Coupling(5, Affine(), 16, 2), 0.3)

    class Net(torch.nn.Module):  # theirs wants all shifts, then all scales; it hands over what is kept
        def forward(self, kept, context=None):
            s, t = ours.params(kept, None).unbind(dim=2)
            return torch.cat([t, s], dim=1)

    class Theirs(AffineCouplingTransform):  # their own scale is a sigmoid
        def _scale_and_shift(self, params):
            return (ours.elementwise.scale * params[:, 2:].tanh()).exp(), params[:, :2]

    theirs = Theirs(torch.tensor([0, 0, 0, 1, 1]), lambda n_in, n_out: Net())
    x = torch.randn(40, 5, dtype=torch.float64)
    for a, b in zip(ours(x), theirs(x), strict=True):
        torch.testing.assert_close(a, b)
    for a, b in zip(ours.inverse(x), theirs.inverse(x), strict=True):
        torch.testing.assert_close(a, b)


def test_the_same_linear_layer_in_nflows():
    from nflows.transforms import LULinear as Theirs

    torch.manual_seed(0)
    ours, theirs = perturbed(LULinear(4), 0.3), Theirs(4, using_cache=False).double()
    with torch.no_grad():
        theirs.bias.zero_()
        theirs.lower_entries.copy_(ours.lower[theirs.lower_indices])
        theirs.upper_entries.copy_(ours.upper[theirs.upper_indices])
        theirs.unconstrained_upper_diag.copy_((ours.log_diagonal.exp() - theirs.eps).expm1().log())
    x = torch.randn(10, 4, dtype=torch.float64)
    z, log_det = ours(x)
    torch.testing.assert_close(z.flip(1), theirs(x)[0])  # theirs leaves the order as it is
    torch.testing.assert_close(log_det, theirs(x)[1])


def test_samples_have_the_density_that_made_them():
    torch.manual_seed(0)
    flow = Flow(perturbed(point_transform(2, Affine, 4, 16), 0.2), (2,))
    z = torch.randn(50, 2, dtype=torch.float64)
    x, log_det = flow.transform.inverse(z)
    torch.testing.assert_close(flow.log_prob(x), log_normal(z) - log_det)
    with torch.no_grad():  # and the density is one: it integrates to 1, and a histogram of samples follows it
        t = (torch.arange(600, dtype=torch.float64) + 0.5) / 600 * 40 - 20
        density = flow.log_prob(torch.cartesian_prod(t, t)).exp().view(600, 600) * (40 / 600) ** 2
        x = flow.transform.inverse(torch.randn(100_000, 2, dtype=torch.float64))[0]
    assert abs(float(density.sum()) - 1) < 2e-3
    right = float(density[300:].sum())
    assert abs(float((x[:, 0] > 0).double().mean()) - right) < 4 * math.sqrt(0.25 / 100_000) + 2e-3


def test_every_parameter_learns():
    torch.manual_seed(0)
    flow, x = Flow(point_transform(5, Affine, 3, 16, context_dim=2), (5,)), torch.rand(200, 5)
    assert idle_parameters(flow, lambda: flow(x, x[:, :2])["loss"]) == []


def test_recomputation_gives_the_same_gradients():
    x, grads = torch.randn(30, 4), []
    for recompute in (False, True):
        torch.manual_seed(0)
        flow = Flow(Compose(*perturbed(point_transform(4, Affine, 3, 16), 0.3, dtype=torch.float32).layers, recompute=recompute), (4,))
        flow(x)["loss"].backward()
        grads.append([p.grad for p in flow.parameters()])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_a_step_that_explodes_is_left_out_and_counted():
    torch.manual_seed(0)
    x = torch.randn(2_000, 2)
    x[1_990:] = 1e4  # a few batches will have these

    class Recipe(FlowRecipe):
        def loss(self, batch, t):
            before.append({name: p.detach().clone() for name, p in self.model.named_parameters()})
            return self.model(batch)

    before, flow = [], Flow(point_transform(2, Affine, 2, 16), (2,))
    recipe = Recipe(flow, 1e-3)
    _, progress = fit(recipe, x, steps=100, batch_size=20)
    skipped = [row["step"] for row in progress.log if row["skipped"]]
    assert 3 <= len(skipped) <= 40
    step = skipped[0]  # counted from 1; before[step] is what the next step found
    assert step < len(before) and all(torch.equal(before[step - 1][k], before[step][k]) for k in before[step])
    moved = next(row["step"] for row in progress.log if not row["skipped"] and row["step"] < 100)
    assert any(not torch.equal(before[moved - 1][k], before[moved][k]) for k in before[moved])


@pytest.mark.parametrize("seed", range(20))
def test_no_seed_ends_in_nan(seed):
    torch.manual_seed(seed)
    x = torch.rand(1_000, 2).round(decimals=1) * 4 - 2  # places that repeat, the worst case for a density
    flow = Flow(point_transform(2, Affine, 4, 32), (2,))
    flow.transform.start(x)

    class Recipe(FlowRecipe):
        def loss(self, batch, t):
            return self.model(batch)

    _, progress = fit(Recipe(flow, 1e-3), x, steps=300, batch_size=64, seed=seed)
    assert all(math.isfinite(row["loss"]) for row in progress.log)


def test_recipe_on_real_points():
    pi = load_pi()
    torch.manual_seed(0)
    recipe = PointFlowRecipe(PointFlowConfig(layers=3, hidden=32, steps=100), pi)
    assert len(recipe.data) == 4_500 and len(recipe.held) == 500
    model, progress = fit(recipe, recipe.data, steps=100, batch_size=256)
    values = recipe.evaluate(model, 0)
    assert progress.best["value"] < -1.0 and values["nll"]["value"] < -1.0 and values["inverse_error"]["value"] < 1e-4
    assert values["nll"]["n"] == len(pi.real)


def test_density_of_points_is_in_their_own_units():
    torch.manual_seed(0)
    model = PointFlow(point_transform(5, Affine, 2, 16)).double()
    model.start(torch.rand(500, 5, dtype=torch.float64) * 3)
    x = torch.rand(4, 5, dtype=torch.float64)
    whole = jacobian_log_det(lambda x, c: model.transform((x - model.shift) / model.scale, c), x)
    z = model.transform((x - model.shift) / model.scale)[0]
    torch.testing.assert_close(model.log_prob(x), log_normal(z) + whole)


def test_dequantisation_stays_in_the_cell():
    model, x = PointFlow(point_transform(5, Affine, 1)), load_pi().points
    away = (model.dequantise(x) - x).abs() / model.cell
    assert away.max() <= 0.5 + 1e-3 and away.max() > 0.49
    assert (model.cell * torch.tensor([300, 300, 255, 255, 255]) == 1).all()


def test_temperature_scales_the_noise():
    torch.manual_seed(0)
    flow = Flow(LULinear(2), (2,))
    wide, narrow = (flow.sample(1_000, generator=torch.Generator().manual_seed(0), temperature=t) for t in (1.0, 0.5))
    torch.testing.assert_close(narrow, wide / 2)


def test_bad_requests():
    with pytest.raises(UserError, match="at least 2"):
        Coupling(1, Affine())
    with pytest.raises(UserError, match="context of 3"):
        Coupling(4, Affine(), context_dim=3)(torch.randn(2, 4))
    with pytest.raises(UserError, match="context of 0"):
        Coupling(4, Affine())(torch.randn(2, 4), torch.randn(2, 3))
    with pytest.raises(UserError, match="temperature"):
        Flow(LULinear(2), (2,)).sample(3, temperature=-1.0)
    with pytest.raises(UserError, match="at least one"):
        Flow(LULinear(2), (2,)).sample(0)
