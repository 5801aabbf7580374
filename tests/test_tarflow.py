"""TarFlow: every way back undoes every block, volumes are exact, nobody sees the future, noise is taken away in the
right direction."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genlab import UserError
from genlab.flow.couplings import inverse_error, jacobian_log_det
from genlab.flow.realnvp import dequantise
from genlab.flow.tarflow import LIMIT, CausalBlock, Patches, TarFlow, TarFlowConfig, TarFlowRecipe
from genlab.lab.images import ImageSet, load_images, to_float
from genlab.lab.layers import idle_parameters
from genlab.lab.synthetic import make_faces
from genlab.lab.training import fit
from genlab.points.vae import log_normal

WAYS = [dict(way="plain"), dict(way="cached"),
        dict(way="jacobi"), dict(way="jacobi", piece=3), dict(way="jacobi", piece=1)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shaken(module, size=0.15, seed=0):
    "Weights that are not those of the start, in float64."
    g = generator(seed)
    with torch.no_grad():
        for p in module.double().parameters():
            p.add_(size * torch.randn(p.shape, generator=g, dtype=p.dtype))
    return module.eval()


def small_flow(shape=(1, 8, 12), **settings) -> TarFlow:
    torch.manual_seed(0)
    return shaken(TarFlow(
        shape, **(dict(patch=4, channels=8, blocks=3, layers=2, heads=2, n_labels=3, noise=0.0) | settings)))


def images(n, shape=(1, 8, 12), seed=0):
    return torch.randint(256, (n, *shape), generator=generator(seed)).double() / 127.5 - 1


# one block, and all of them

@settings(deadline=None, max_examples=15)
@given(channels=st.integers(1, 3), patch=st.integers(1, 3), rows=st.integers(1, 3), columns=st.integers(1, 3),
       blocks=st.integers(1, 3), layers=st.integers(1, 2), labels=st.integers(0, 3), seed=st.integers(0, 10**6))
def test_any_shape_is_undone_and_its_volume_is_that_of_the_jacobian(
    channels, patch, rows, columns, blocks, layers, labels, seed,
):
    if rows * columns < 2:
        columns = 2
    if channels * patch**2 * rows * columns > 60:  # the Jacobian is written out
        channels, patch = 1, min(patch, 2)
    shape = (channels, rows * patch, columns * patch)
    flow = shaken(TarFlow(shape, patch=patch, channels=8, blocks=blocks, layers=layers, heads=2,
                          n_labels=labels, noise=0.0), seed=seed)
    u = torch.rand(2, *shape, generator=generator(seed), dtype=torch.float64)
    context = flow.context(torch.tensor([labels - 1, -1])) if labels else None
    z, log_det = flow.transform(u, context)
    assert z.shape == (2, rows * columns, channels * patch**2) and flow.shape == tuple(z.shape[1:])
    assert inverse_error(flow.transform, u, context) < 1e-10
    assert torch.allclose(log_det, jacobian_log_det(flow.transform, u, context), atol=1e-9, rtol=0)
    assert torch.allclose(log_det, -flow.transform.inverse(z, context)[1], atol=1e-9, rtol=0)


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("backwards", [False, True])
def test_all_ways_back_are_one(way, guidance, backwards):
    block = shaken(CausalBlock(2, 5, 3, 8, 2, 2, n_labels=4, backwards=backwards))
    z = torch.randn(5, 10, 3, generator=generator(), dtype=torch.float64)
    context = torch.eye(4, dtype=torch.float64)[[0, 1, 2, 3, 0]]
    expected, expected_log_det = block.inverse(z, context, guidance=guidance, way="plain")
    exact, exact_log_det = block.inverse(z, context, guidance=guidance, tolerance=0.0, **way)
    assert (torch.allclose(exact, expected, atol=1e-10, rtol=0)
            and torch.allclose(exact_log_det, expected_log_det, atol=1e-9, rtol=0))
    if guidance == 1:
        assert torch.allclose(block(exact, context)[0], z, atol=1e-10, rtol=0)
    stopped, stopped_log_det = block.inverse(z, context, guidance=guidance, **way)
    assert (torch.allclose(stopped, expected, atol=1e-4, rtol=0)
            and torch.allclose(stopped_log_det, expected_log_det, atol=1e-3, rtol=0))
    single, reference = (block.float().inverse(z.float(), context.float(), guidance=guidance, **w)[0]
                         for w in (way, dict(way="plain")))
    assert torch.allclose(single, reference, atol=1e-4 if way["way"] == "jacobi" else 1e-5, rtol=0)


def test_guidance_is_another_map():
    block = shaken(CausalBlock(2, 3, 2, 8, 1, 2, n_labels=2))
    context = torch.eye(2, dtype=torch.float64)[[0, 1, 0]]
    z = torch.randn(3, 6, 2, generator=generator(), dtype=torch.float64)
    plain, guided, without, none = (
        block.inverse(z, c, guidance=s)[0] for c, s in ((context, 1.0), (context, 3.0), (context, 0.0), (None, 1.0)))
    assert (guided - plain).abs().max() > 1e-3 and torch.allclose(without, none, atol=1e-12)
    x = torch.randn(3, 5, 2, dtype=torch.float64)
    with_none = torch.cat([block.where(context), block.where(None).expand(3, -1, -1)])
    answers = block.params(x, block.where(context)), block.params(x, block.where(None)), block.guided(x, with_none, 3.0)
    for with_label, free, mixed in zip(*answers, strict=True):
        assert torch.allclose(mixed, free + 3 * (with_label - free), atol=1e-12)


def test_jacobi_finds_one_more_token_in_each_round_and_needs_no_more_rounds_than_that():
    block = shaken(CausalBlock(3, 3, 2, 8, 2, 2), 0.4)
    z = torch.randn(4, 9, 2, generator=generator(), dtype=torch.float64)
    calls = []
    exact = block.inverse(z, way="plain")[0]
    guess = z
    for round in range(1, 9):
        a, b = block.params(guess[:, :-1], block.where(None))
        guess = torch.cat([z[:, :1], z[:, 1:] * a.exp() + b], dim=1)
        assert torch.allclose(guess[:, :round + 1], exact[:, :round + 1], atol=1e-10)
    original = block.params
    block.params = lambda *args: calls.append(args[0].shape[1]) or original(*args)
    block.inverse(z, way="jacobi", tolerance=0.0)
    assert calls == [8] * 8
    calls.clear()
    block.inverse(z, way="jacobi", tolerance=1e9)
    assert calls == [8]
    calls.clear()
    block.inverse(z, way="jacobi", piece=3, tolerance=0.0)
    assert calls == [3] * 6 + [2] * 2
    calls.clear()
    block.inverse(z)
    assert calls == [1] * 8, "the cached way shows the network each token once"
    calls.clear()
    block.inverse(z, way="plain")
    assert calls == [8] * 8


@pytest.mark.parametrize("backwards", [False, True])
def test_no_token_sees_a_later_one(backwards):
    block = shaken(CausalBlock(2, 3, 3, 8, 2, 2, backwards=backwards), 0.3)
    x = torch.randn(1, 6, 3, generator=generator(), dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda one: block(one)[0], x)[0, :, :, 0]  # (t, i, s, j)
    strength = jacobian.abs().amax(dim=(1, 3))
    before = torch.ones(6, 6).tril(-1).bool()
    before = before.flip(0, 1) if backwards else before
    assert (strength[before] > 0).all() and (strength[~before & ~torch.eye(6).bool()] == 0).all()
    for t in range(6):  # number by number within a token
        own = jacobian[t, :, t]
        assert torch.equal(own, own.diag().diag()) and (own.diag() > 0).all()
    first = 5 if backwards else 0
    assert torch.equal(block(x)[0][:, first], x[:, first]), "the first token is left as it is"
    assert not torch.equal(block(x)[0][:, 5 - first], x[:, 5 - first])


def test_what_the_network_says_of_a_token_doesnt_depend_on_it():
    block = shaken(CausalBlock(2, 3, 3, 8, 2, 2), 0.3)
    x = torch.randn(1, 5, 3, dtype=torch.float64)
    for part in (0, 1):
        jacobian = torch.autograd.functional.jacobian(
            lambda one, part=part: block.params(one, block.where(None))[part], x)[0, :, :, 0]
        jacobian = jacobian.abs().amax(dim=(1, 3))
        assert (jacobian.triu(1) == 0).all() and (jacobian[torch.ones(5, 5).tril().bool()] > 0).all()
        assert block.params(x, block.where(None))[0].abs().max() < LIMIT


def test_blocks_take_turns_and_a_new_flow_is_the_identity():
    torch.manual_seed(0)
    flow = TarFlow((1, 8, 8), patch=4, channels=8, blocks=4, layers=1, heads=2, n_labels=0, noise=0.0).double()
    assert [block.backwards for block in flow.transform.layers[1:]] == [False, True, False, True]
    u = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    z, log_det = flow.transform(u)
    assert (torch.equal(z, flow.transform.layers[0](u)[0])
            and torch.allclose(log_det, torch.full((2,), 64 * math.log(2), dtype=torch.float64)))


def test_tokens_are_patches_in_reading_order():
    x = torch.arange(2 * 4 * 6, dtype=torch.float64).view(1, 2, 4, 6) / 48
    tokens = Patches((2, 4, 6), 2)(x)[0]
    for t in range(6):
        i, j = divmod(t, 3)
        assert torch.allclose(tokens[0, t], 2 * x[0, :, 2 * i:2 * i + 2, 2 * j:2 * j + 2].flatten() - 1)


def test_a_place_is_its_row_and_its_column_in_the_order_of_the_block():
    for backwards in (False, True):
        block = shaken(CausalBlock(2, 3, 2, 8, 1, 2, backwards=backwards))
        where = block.ordered(block.where(None))[0]
        for t in range(6):
            assert torch.allclose(where[t], block.row[t // 3, 0] + block.column[0, t % 3])


# the model

@pytest.mark.parametrize("labels,noise", [(0, 0.0), (3, 0.0), (3, 0.1)])
def test_everything_learns(labels, noise):
    torch.manual_seed(0)
    flow = TarFlow((1, 8, 12), patch=4, channels=8, blocks=2, layers=2, heads=2, n_labels=labels, noise=noise).train()
    x, y = images(64).float(), torch.arange(64) % 3
    assert idle_parameters(flow, lambda: flow(x, y)["loss"]) == []
    assert idle_parameters(flow.eval(), lambda: flow(x, y)["loss"]) == []


def test_the_density_of_what_is_drawn_is_the_one_that_it_was_drawn_from():
    flow = small_flow()
    z = torch.randn(6, 6, 16, generator=generator(), dtype=torch.float64)
    context = flow.context(torch.tensor([0, 1, 2, -1, 0, 1]))
    for way in WAYS:
        u = flow.undo(z, context, tolerance=0.0, **way)
        expected = log_normal(z.flatten(1)) - flow.transform.inverse(z, context)[1]
        assert torch.allclose(sum(flow.log_prob_terms(u, context)), expected, atol=1e-9, rtol=0)


def test_samples_are_the_grey_levels_below_the_points_drawn():
    flow = small_flow(noise=0.0)
    y = torch.tensor([2, 0, 1, 1])
    for knobs in ({}, dict(guidance=2.0), dict(temperature=0.5)):
        x = flow.float().sample(4, y, generator=generator(3), **knobs)
        z = knobs.get("temperature", 1.0) * torch.randn(4, 6, 16, generator=generator(3))
        u = flow.undo(z, flow.context(y), guidance=knobs.get("guidance", 1.0))
        level = (x + 1) * 127.5
        assert torch.allclose(level, level.round(), atol=1e-3) and level.min() >= 0 and level.max() <= 255
        assert (((level - 256 * u.clamp(0, 1 - 1e-6)) <= 1e-3).all()
                and ((level + 1 - 256 * u.clamp(0, 1 - 1e-6)) >= -1e-3).all())
        for way in WAYS[2:]:
            assert (flow.sample(4, y, generator=generator(3), **knobs, **way) - x).abs().max() <= 1 / 127.5 + 1e-6


def test_labels_are_drawn_evenly_from_the_generator():
    flow = TarFlow((1, 4, 4), patch=2, channels=8, blocks=1, layers=1, heads=2, n_labels=4, noise=0.0)
    y = flow.some_labels(4_000, None, generator(1))
    assert (torch.equal(y, flow.some_labels(4_000, None, generator(1)))
            and not torch.equal(y, flow.some_labels(4_000, None, generator(2))))
    assert (torch.bincount(y, minlength=4) - 1_000).abs().max() < 120
    a, b, c = (flow.sample(4, generator=generator(s)) for s in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_temperature_is_the_scale_of_the_noise():
    flow = TarFlow((1, 8, 8), patch=4, channels=8, blocks=2, layers=1, heads=2, n_labels=0, noise=0.0)  # the identity
    calm, hot = (flow.sample(64, generator=generator(), temperature=t) for t in (0.1, 0.4))
    assert abs(hot.std() / calm.std() - 4) < 0.1


def test_the_label_is_heard_and_minus_one_is_no_label():
    flow = small_flow(noise=0.1)
    x = images(3)
    torch.manual_seed(5)
    u = flow.perturb(x)

    def density(y):
        return sum(flow.log_prob_terms(u, flow.context(y)))

    assert torch.allclose(density(torch.full((3,), -1)), density(None), atol=1e-12)
    assert (density(torch.tensor([0, 1, 2])) - density(None)).abs().min() > 1e-3
    torch.manual_seed(5)
    by_label = flow.by_label(x)
    for k in range(3):
        assert torch.allclose(by_label[:, k], density(torch.full((3,), k)), atol=1e-10)


def test_labels_are_dropped_in_training_only():
    flow = small_flow(label_dropout=0.3).float()
    x = images(4_000).float()
    heard = []
    y = torch.arange(4_000) % 3
    flow.context = heard.append
    flow.parts = lambda u, context: (torch.zeros(1), torch.zeros(1))
    torch.manual_seed(0)
    flow.train()(x, y)
    assert (abs(float((heard[0] == -1).float().mean()) - 0.3) < 0.04
            and torch.equal(heard[0][heard[0] >= 0], y[heard[0] >= 0]))
    flow.eval()(x, y)
    assert torch.equal(heard[1], y)


def test_bayes_rule_tells_apart_what_differs():
    "Two classes of flat images, one bright and one dark, and a block that has learned just that."
    flow = TarFlow((1, 4, 8), patch=4, channels=8, blocks=1, layers=1, heads=2, n_labels=2, noise=0.0)
    opt = torch.optim.Adam(flow.parameters(), 1e-2)
    x = 0.1 * torch.randn(64, 1, 4, 8, generator=generator())
    y = torch.arange(64) % 2
    x = (x + y[:, None, None, None] - 0.5).clamp(-1, 1)
    x[..., :4] = 0  # the first token is the same for both
    for _ in range(150):
        opt.zero_grad()
        flow(x, y)["loss"].backward()
        opt.step()
    assert (flow.by_label(x).argmax(dim=1) == y).float().mean() > 0.95


def test_recomputing_changes_no_gradient():
    flows = [small_flow(recompute=recompute).train() for recompute in (False, True)]
    x, y = images(4), torch.tensor([0, 1, 2, 0])
    gradients = []
    for flow in flows:
        torch.manual_seed(1)
        flow(x, y)["loss"].backward()
        gradients.append([p.grad for p in flow.parameters()])
    assert all(torch.allclose(a, b, atol=1e-12, rtol=1e-10) for a, b in zip(*gradients, strict=True))
    runs = []
    for flow in flows:
        calls = []
        handle = flow.transform.layers[1].read.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        flow(x, y)["loss"].backward()
        handle.remove()
        runs.append(len(calls))
    assert runs == [1, 2], "each block is run a second time for its gradient"


def test_written_and_read_again(tmp_path):
    flow = small_flow(noise=0.07, label_dropout=0.2).float()
    flow.save_pretrained(tmp_path)
    again = TarFlow.from_pretrained(tmp_path).eval()
    assert again.sigma == 0.07 and again.label_dropout == 0.2 and again.n_labels == 3
    assert torch.equal(flow.sample(2, generator=generator(), guidance=2.0),
                       again.sample(2, generator=generator(), guidance=2.0))


# noise, and taking it away

@pytest.mark.parametrize("sigma", [0.05, 0.5])
def test_denoising_a_gaussian_is_the_closed_form(sigma):
    m, spread = -0.2, 0.6
    flow = TarFlow((1, 4, 8), patch=4, channels=8, blocks=1, layers=1, heads=2, noise=sigma, n_labels=0).double()
    last = flow.transform.layers[1].write
    with torch.no_grad():
        last.bias[:16] = LIMIT * math.atanh(0.5 * math.log(spread**2 + sigma**2) / LIMIT)
        last.bias[16:] = m
    v = torch.randn(20, 1, 4, 8, generator=generator(), dtype=torch.float64)
    cleaned = 2 * flow.denoise((v + 1) / 2) - 1
    assert torch.allclose(cleaned[..., 4:], (v + sigma**2 / (spread**2 + sigma**2) * (m - v))[..., 4:], atol=1e-10)
    assert torch.allclose(cleaned[..., :4], (1 - sigma**2) * v[..., :4], atol=1e-10), (
        "the first token: a standard normal")
    assert all(p.grad is None for p in flow.parameters())


def test_denoising_is_a_step_along_the_gradient():
    flow = small_flow(noise=0.2)
    u = torch.rand(2, 1, 8, 12, generator=generator(), dtype=torch.float64)
    context = flow.context(torch.tensor([0, 2]))
    e = 1e-5
    step = (flow.denoise(u, context) - u) / 0.1**2
    for place in ((0, 0, 0), (0, 3, 7), (0, 7, 11)):
        moved = torch.zeros_like(u)
        moved[(slice(None), *place)] = e
        slope = (sum(flow.log_prob_terms(u + moved, context)) - sum(flow.log_prob_terms(u - moved, context))) / (2 * e)
        assert torch.allclose(step[(slice(None), *place)], slope, atol=1e-5, rtol=1e-5)


def test_the_noise_of_the_training():
    x = images(50)
    gaussian, uniform = small_flow(noise=0.1), small_flow(noise=0.0)
    torch.manual_seed(0)
    error = 2 * (gaussian.perturb(x) - dequantise(x, 0.5))
    assert abs(error.std() - 0.1) < 0.003 and abs(error.mean()) < 0.003
    u = uniform.perturb(x)
    assert torch.equal((u * 256).floor(), ((x + 1) * 127.5).round())


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_the_loss_of_the_identity_has_its_constants(noise):
    torch.manual_seed(0)
    flow = TarFlow((1, 8, 8), patch=4, channels=8, blocks=2, layers=1, heads=2, noise=noise, n_labels=0).double()
    x = images(2_000, (1, 8, 8))
    parts = flow(x)
    second = (2 * dequantise(x, 0.5) - 1).square().mean() + noise**2
    expected = 64 * (0.5 * math.log(2 * math.pi) + 0.5 * second + math.log(128))
    assert abs(parts["loss"] - expected) < 0.5 and torch.allclose(parts["loss"], parts["base"] + parts["volume"])
    if noise == 0:
        torch.manual_seed(3)
        bound = -flow.bound(x).mean()
        torch.manual_seed(3)
        assert torch.allclose(flow(x)["loss"], bound, atol=1e-9)


# errors and the recipe

def test_users_are_told():
    flow, plain = small_flow(), small_flow(n_labels=0)
    for call, says in (
        (lambda: TarFlow((1, 28, 28), patch=5, n_labels=0, noise=0.0), "Choose a patch of 1, 2, 4, 7, 14"),
        (lambda: TarFlow((1, 8, 8), patch=8, n_labels=0, noise=0.0), "two or more patches"),
        (lambda: TarFlow((1, 8, 8), channels=10, n_labels=0, noise=0.0), "multiple of the 4 heads"),
        (lambda: TarFlow((1, 8, 8), noise=-1.0, n_labels=0), "standard deviation"),
        (lambda: flow.context(torch.tensor([3])), "from -1 to 2"),
        (lambda: flow.context(torch.tensor([[True, False, True]])), "bool"),
        (lambda: flow.sample(0), "at least one"),
        (lambda: flow.sample(2, torch.tensor([1])), "one label for each"),
        (lambda: flow.sample(2, temperature=0.0), "temperature"),
        (lambda: flow.sample(2, guidance=-1.0), "guidance"),
        (lambda: plain.sample(2, guidance=2.0), "without labels"),
        (lambda: plain.sample(2, torch.tensor([1, 2])), "without labels"),
        (lambda: plain.by_label(images(2)), "without labels"),
        (lambda: flow.loss(images(2, (1, 4, 4)), torch.tensor([0, 1])), "built for images"),
    ):
        with pytest.raises(UserError, match=says):
            call()


def test_data_that_doesnt_fit_is_refused():
    faces = make_faces(40, size=32)
    digits = ImageSet(torch.zeros(40, 1, 8, 8, dtype=torch.uint8), torch.arange(40) % 3,
                      ("a", "b", "c"), "digits", "train")
    for data, n_labels, says in ((faces, 10, "attributes"), (faces, faces.n_labels, "attributes"),
                                 (digits, 10, "has 3 classes")):
        with pytest.raises(UserError, match=says):
            TarFlowRecipe(TarFlowConfig(n_labels=n_labels, channels=8, layers=1),
                          dict(train=data, validation=data, test=data))
    free = TarFlowRecipe(TarFlowConfig(n_labels=0, channels=8, layers=1, blocks=1),
                         dict(train=faces, validation=faces, test=faces))
    assert free.model(*faces[torch.arange(4)])["loss"].isfinite()


@pytest.mark.parametrize("noise", [0.3, 0.0])
def test_the_recipe_learns_and_measures(few_images, noise):
    splits = {split: load_images("fashion_mnist", split, root=few_images) for split in ("train", "validation", "test")}
    torch.manual_seed(0)
    config = TarFlowConfig(channels=16, layers=1, blocks=2, noise=noise, steps=150, batch_size=32, lr=5e-3)
    recipe = TarFlowRecipe(config, splits)
    before = recipe.validate(recipe.model.eval())
    model, progress = fit(recipe, splits["train"], steps=150, batch_size=32, pictures=2, ema=0.9)
    model.cpu()
    after = recipe.validate(model)
    name = "loss" if noise else "bits_per_dim"
    assert list(after) == [name] and after[name] < 0.93 * before[name]
    assert all(math.isfinite(row["loss"]) for row in progress.log)
    assert recipe.likelihood(model, seed=0) == recipe.likelihood(model, seed=0) != recipe.likelihood(model, seed=1)
    recipe.n_samples = 40
    values = recipe.evaluate(model, seed=0)
    assert values["inverse_error"]["value"] < 1e-4 and values["fid"]["n"] == 40
    assert (0.05 < values["bayes_accuracy"]["value"] <= 1
            and values["bits_per_dim_iw"]["value"] <= values["bits_per_dim"]["value"] + 0.1)
    assert recipe.picture(model, 0).dtype.name == "uint8"
    x, y = splits["test"][torch.arange(100)]
    if noise:
        torch.manual_seed(0)
        u = model.perturb(x)
        left = [(v - dequantise(x, 0.5)).square().mean() for v in (u, model.denoise(u, model.context(y)))]
        assert left[1] < 0.9 * left[0]


def test_large_steps_stay_finite():
    x = to_float(make_faces(64, size=32).x[..., 8:24, 8:24])
    y = None
    for seed in range(3):
        torch.manual_seed(seed)
        flow = TarFlow((3, 16, 16), patch=4, channels=16, blocks=4, layers=1, heads=2, n_labels=0, noise=0.0)
        opt = torch.optim.AdamW(flow.parameters(), lr=1e-2)
        for _ in range(30):
            loss = flow(x, y)["loss"]
            opt.zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(flow.parameters(), 1.0)
            assert loss.isfinite() and norm.isfinite()
            opt.step()
        assert flow.sample(4, generator=generator()).isfinite().all()


def test_what_is_drawn_is_the_denoised_and_rounded_way_back():
    flow = small_flow(noise=0.1)
    y = torch.tensor([0, 2, 1])
    z = torch.randn(3, *flow.shape, generator=generator(4), dtype=torch.float64)
    noisy = flow.undo(z, flow.context(y))
    clean = flow.denoise(noisy, flow.context(y))
    drawn = [flow.sample(3, y, generator=generator(4), denoise=on) for on in (True, False)]
    for images, u in zip(drawn, (clean, noisy), strict=True):
        assert torch.equal(images, (u * 256).floor().clamp(0, 255) / 127.5 - 1)
    assert not torch.equal(*drawn) and not torch.allclose(clean, flow.denoise(noisy))


def test_more_that_can_not_be_done():
    with pytest.raises(UserError, match="block"):
        TarFlow((1, 8, 8), blocks=0, n_labels=0, noise=0.0)
    with pytest.raises(UserError, match="cahed"):
        small_flow().sample(2, way="cahed")
