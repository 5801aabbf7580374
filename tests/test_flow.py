"""Flows of points (chapter 70): every transform against autograd's Jacobian and against nflows; steps that explode;
recomputation."""

import math

import pytest
import torch
from accelerate import Accelerator
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
    exploded,
    inverse_error,
    jacobian_log_det,
    point_transform,
)
from genlab.lab.layers import idle_parameters
from genlab.lab.training import NonFiniteError, Progress, Update, fit
from genlab.points.colored_pi import load_pi
from genlab.points.vae import learning_rate, log_normal

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
    transform = perturbed(MAKE[name](dim, context_dim), 0.3)
    x = torch.randn(3, dim, dtype=torch.float64)
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
    transform = perturbed(kind(shape[0]), 0.3)
    x = torch.randn(2, *shape, dtype=torch.float64)
    z, log_det = transform(x)
    torch.testing.assert_close(log_det, jacobian_log_det(transform, x), rtol=0, atol=1e-10)
    assert inverse_error(transform, x) < 1e-10
    pixel, _ = transform(x[:, :, -1, -1])  # a pixel alone, as a point, gives the same
    torch.testing.assert_close(z[:, :, -1, -1], pixel)


def test_actnorm_starts_standardised():
    x = 5 * torch.randn(4, 3, 20, 20) + 2
    flow = Compose(ActNorm(3), LULinear(3), ActNorm(3))
    flow.init_from_data(x)
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
    ours = perturbed(LULinear(4), 0.3)
    theirs = Theirs(4, using_cache=False).double()
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
    flow = Flow(point_transform(5, Affine, 3, 16, context_dim=2), (5,))
    x = torch.rand(200, 5)
    assert idle_parameters(flow, lambda: flow(x, x[:, :2])["loss"]) == []


def test_recomputation_gives_the_same_gradients():
    x = torch.randn(30, 4)
    grads = []
    for recompute in (False, True):
        torch.manual_seed(0)
        flow = Flow(Compose(*perturbed(point_transform(4, Affine, 3, 16), 0.3, dtype=torch.float32).layers,
                            recompute=recompute), (4,))
        flow(x)["loss"].backward()
        grads.append([p.grad for p in flow.parameters()])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_a_step_that_explodes_is_left_out_and_counted():
    torch.manual_seed(0)
    x = torch.randn(2_000, 2)
    x[1_990:] = 1e4  # a few batches will have these

    class Recipe(FlowRecipe):
        def loss(self, batch):
            before.append({name: p.detach().clone() for name, p in self.model.named_parameters()})
            return self.model(batch)

    before = []
    flow = Flow(point_transform(2, Affine, 2, 16), (2,))
    recipe = Recipe(flow, 1e-3)
    _, progress = fit(recipe, x, steps=100, batch_size=20)
    skipped = [row["step"] for row in progress.log if row["skipped"]]
    assert 3 <= len(skipped) <= 40
    step = skipped[0]  # counted from 1; before[step] is what the next step found
    assert step < len(before) and all(torch.equal(before[step - 1][k], before[step][k]) for k in before[step])
    moved = next(row["step"] for row in progress.log if not row["skipped"] and row["step"] < 100)
    assert any(not torch.equal(before[moved - 1][k], before[moved][k]) for k in before[moved])


class Given:
    "Batches in the order in which they are asked for, whatever the index."

    def __init__(self, batches):
        self.batches = list(batches)

    def __len__(self):
        return 20 * 100

    def __getitem__(self, index):
        return self.batches.pop(0)


class Steps(FlowRecipe):
    "A flow of two numbers; a row beyond 1e3 makes a gradient explode, `nan` a NaN."

    def __init__(self):
        torch.manual_seed(0)
        super().__init__(Flow(point_transform(2, Affine, 2, 16), (2,)), 1e-3)
        self.rates = []
        self.progress = Progress(self, decay=0.99)

    def loss(self, batch):
        self.rates.append(self.optimizers["model"].param_groups[0]["lr"])
        return self.model(batch)

    def go(self, batches):
        "What the loop does, on given batches, half way through a training."
        self.progress.step = 500
        update = Update(self, Given(batches), self.progress, Accelerator(cpu=True),
                        steps=1_000, batch_size=20, accumulate=1, seed=0)
        return [float(self.step(update, 0.5)["skipped"]) for _ in range(len(batches))]


def batches(n, seed=0):
    return list(torch.randn(n, 20, 2, generator=torch.Generator().manual_seed(seed)))


def test_exactly_the_steps_with_the_outliers_are_left_out():
    recipe = Steps()
    given = batches(60)
    for i in (5, 25, 40):
        given[i] = given[i] * 1e4
    before = recipe.go(given[:40])
    assert [i for i, skipped in enumerate(before) if skipped] == [25]  # the one before the twentieth step can't be told
    old = [p.detach().clone() for p in recipe.model.parameters()]
    assert recipe.go(given[40:41]) == [1.0]
    assert all(torch.equal(a, b) for a, b in zip(old, recipe.model.parameters(), strict=True))
    assert all(p.grad is None for p in recipe.model.parameters())  # nothing of it is left for the next step
    assert recipe.go(given[41:42]) == [0.0]
    assert any(not torch.equal(a, b) for a, b in zip(old, recipe.model.parameters(), strict=True))


def test_the_norms_travel_with_the_optimizer():
    recipe, again = Steps(), Steps()
    recipe.go(batches(40))
    state = recipe.optimizers["model"].state_dict()
    assert len(state["param_groups"][0]["norms"]) == 40
    outlier = [batches(1, seed=1)[0] * 1e4]
    assert again.go(outlier) == [0.0]
    again.optimizers["model"].load_state_dict(state)
    assert again.go(outlier) == recipe.go(outlier) == [1.0]


def test_a_share_of_a_step_is_counted_as_a_step():
    torch.manual_seed(0)
    x = torch.randn(2_000, 2)
    x[1_990:] = 1e4
    logs = [fit(Steps(), x, steps=60, batch_size=20, accumulate=n)[1].log for n in (1, 2)]
    for log in logs:
        assert {row["skipped"] for row in log} == {0.0, 1.0}


@pytest.mark.parametrize("size", [3e19, 1e38])
def test_a_norm_beyond_single_precision_is_left_out_too(size):
    recipe = Steps()
    recipe.go(batches(30))
    old = [p.detach().clone() for p in recipe.model.parameters()]
    recipe.loss = lambda batch: dict(loss=sum((size * p).sum() for p in recipe.model.parameters()))
    assert recipe.go(batches(1)) == [1.0]
    assert all(torch.equal(a, b) for a, b in zip(old, recipe.model.parameters(), strict=True))
    assert max(recipe.optimizers["model"].param_groups[0]["norms"]) < math.inf


def test_nan_stops_a_flow_as_everything_else():
    class Recipe(Steps):
        def loss(self, batch):
            parts = super().loss(batch)
            return parts if len(self.rates) < 30 else {name: part * math.nan for name, part in parts.items()}

    with pytest.raises(UserError, match="step 30"):
        fit(Recipe(), torch.randn(500, 2), steps=60, batch_size=20)


def test_a_single_nan_is_no_explosion():
    recipe = Steps()
    recipe.go(batches(30))
    first = next(recipe.model.parameters())
    recipe.loss = lambda batch: dict(loss=sum(p.sum() for p in recipe.model.parameters()) + (math.nan * first).sum())
    with pytest.raises(NonFiniteError):
        recipe.go(batches(2))  # the second is asked for when the update is made again, to find the module
    assert len(recipe.optimizers["model"].param_groups[0]["norms"]) == 30


def test_rate_and_norm_of_each_step():
    recipe = Steps()
    norms = []
    recipe.optimizers["model"].register_step_pre_hook(
        lambda opt, *_: norms.append(float(torch.nn.utils.get_total_norm(
            [p.grad for g in opt.param_groups for p in g["params"]]))))
    for p in recipe.model.parameters():
        p.register_hook(lambda grad: 100 * grad)
    fit(recipe, torch.randn(500, 2), steps=30, batch_size=20)
    assert len(norms) == 30 and max(norms) < 1 + 1e-4
    assert recipe.rates == [learning_rate(step / 30, 1e-3) for step in range(30)]


def test_what_counts_as_exploded():
    assert not exploded(1e9, [1.0] * 19) and exploded(1e9, [1.0] * 20)
    assert exploded(110.0, [1.0] * 30 + [50.0]) and not exploded(50.0, [0.01] + [1.0] * 30)
    assert not exploded(90.0, [1.0] * 30) and exploded(12.0, [1.0] * 30, factor=10)
    recent = []
    assert not any(exploded(1.0 if i < 120 else 90.0, recent) for i in range(250))
    assert recent == [90.0] * 100


def test_recipe_on_real_points():
    pi = load_pi()
    torch.manual_seed(0)
    recipe = PointFlowRecipe(PointFlowConfig(layers=3, hidden=32, steps=100), pi)
    assert len(recipe.data) == 4_500 and len(recipe.held) == 500
    model, progress = fit(recipe, recipe.data, steps=100, batch_size=256)
    values = recipe.evaluate(model, 0)
    assert progress.best["value"] < -1.0 and values["nll"]["value"] < -1.0 and values["inverse_error"]["value"] < 1e-4
    assert values["nll"]["n"] == len(pi.real)


def test_what_the_recipe_measures():
    pi = load_pi()
    torch.manual_seed(0)
    recipe = PointFlowRecipe(PointFlowConfig(layers=2, hidden=16), pi)
    model = recipe.model.eval()
    state = torch.get_rng_state()
    values = recipe.evaluate(model, 3)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(3)
    assert values["nll"]["value"] == pytest.approx(float(model(pi.real)["loss"].detach()), abs=1e-5)
    held = recipe.validate(model)["nll"]
    recipe.held = recipe.held + 5
    assert recipe.validate(model)["nll"] > held + 5


def test_points_are_spread_and_shown_before_training():
    pi = load_pi()
    model = PointFlow(point_transform(5, Affine, 2, 16)).init_from_data(pi.points)
    spread = (model.dequantise(pi.points) - pi.points) / model.cell
    torch.testing.assert_close(spread.var(dim=0), torch.full((5,), 1 / 12), rtol=0, atol=5e-3)
    assert (torch.corrcoef(spread.T) - torch.eye(5)).abs().max() < 0.06
    assert all((layer.log_scale != 0).all() for layer in model.transform.layers if isinstance(layer, ActNorm))
    first = model.transform.layers[0]((model.dequantise(pi.points) - model.shift) / model.scale)[0]
    torch.testing.assert_close(first.mean(dim=0), torch.zeros(5), rtol=0, atol=0.02)
    torch.testing.assert_close(first.std(dim=0), torch.ones(5), rtol=0, atol=0.02)
    torch.manual_seed(1)
    with torch.no_grad():
        losses = [float(model(pi.points)["loss"]) for _ in range(2)]
        torch.manual_seed(1)
        expected = float(-model.log_prob(model.dequantise(pi.points)).mean())
    assert losses[0] == pytest.approx(expected, abs=1e-5) and abs(losses[1] - expected) > 1e-4


def test_a_colour_that_never_changes_is_no_obstacle():
    points = load_pi().points.clone()
    points[:, 4] = 0
    model = PointFlow(point_transform(5, Affine, 2, 16)).init_from_data(points)
    assert float(model(points)["loss"].detach()) < math.inf


def test_density_of_points_is_in_their_own_units():
    torch.manual_seed(0)
    model = PointFlow(point_transform(5, Affine, 2, 16)).double()
    model.init_from_data(torch.rand(500, 5, dtype=torch.float64) * 3)
    x = torch.rand(4, 5, dtype=torch.float64)
    whole = jacobian_log_det(lambda x, c: model.transform((x - model.shift) / model.scale, c), x)
    z = model.transform((x - model.shift) / model.scale)[0]
    torch.testing.assert_close(model.log_prob(x), log_normal(z) + whole)


def test_dequantisation_stays_in_the_cell():
    model = PointFlow(point_transform(5, Affine, 1))
    x = load_pi().points
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


def test_the_parts_of_the_loss_have_the_right_names():
    norm = ActNorm(2)
    with torch.no_grad():
        norm.log_scale.copy_(torch.tensor([0.3, 0.9]))
    x = torch.randn(50, 2)
    with torch.no_grad():
        parts = Flow(Compose(norm), (2,))(x)
    assert (float(parts["volume"]) == pytest.approx(-1.2)
            and float(parts["base"]) == pytest.approx(float(-log_normal(norm(x)[0].detach()).mean())))


def test_autocast_does_not_reach_a_flow():
    torch.manual_seed(0)
    flow = Flow(perturbed(point_transform(5, Affine, 3, 16), 0.3, torch.float32), (5,))
    x = torch.randn(50, 5)
    expected = flow.log_prob(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(flow.log_prob(x), expected)


def test_the_largest_error_counts():
    class Off(torch.nn.Module):
        def forward(self, x, context=None):
            return x, x.new_zeros(len(x))

        def inverse(self, z, context=None):
            return z + 0.5 * (torch.arange(len(z)) == 7)[:, None], z.new_zeros(len(z))

    assert inverse_error(Off(), torch.zeros(1_000, 1)) == 0.5


def test_start_of_a_norm_with_hardly_any_spread():
    for kept, expected in ((1e-3, 0.5), (0.0, 0.0)):
        norm = ActNorm(1)
        x = kept * torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0)) + 5
        norm.init_from_data(x)
        assert float(norm(x)[0].detach().std()) == pytest.approx(expected, abs=1e-2)
        assert float(norm.log_scale.detach()) == pytest.approx(-math.log(kept + 1e-3), abs=1e-2)
    norm = ActNorm(2)
    norm.init_from_data(torch.tensor([[3.0, 4.0]]))  # a single point has no spread
    assert norm.log_scale.isfinite().all() and float(norm(torch.tensor([[3.0, 4.0]]))[0].detach().abs().max()) == 0


def test_samples_have_the_precision_of_the_weights():
    flow = Flow(point_transform(2, Affine, 1, 8), (2,)).double()
    assert flow.sample(3).dtype == torch.float64
