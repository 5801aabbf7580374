"Yardsticks and mixture against their twins in other libraries."

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from scipy.stats import multivariate_normal, norm, wasserstein_distance
from sklearn.mixture import GaussianMixture as SklearnMixture
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier

from genlab import UserError
from genlab.points.colored_pi import GLYPH, SIZE, colour_field, draw_pi, glyph_mask, load_pi, to_points
from genlab.points.distances import (
    PlaceMixture,
    c2st,
    directions,
    energy_distance,
    evaluate_points,
    fit_mixture,
    interval,
    nearest_train,
    on_glyph,
    pi_log_prob,
    sliced_wasserstein,
    wasserstein_1d,
)


@pytest.fixture(scope="module")
def pi():
    return load_pi()


def test_the_letter_is_pillows_polygon():
    k = 8
    image = Image.new("L", (SIZE * k, SIZE * k))
    ImageDraw.Draw(image).polygon([(x * k, y * k) for x, y in GLYPH], fill=255)
    twin = np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BOX)) > 127
    mask = glyph_mask()
    assert (mask & twin).sum() / (mask | twin).sum() > 0.99


@pytest.mark.parametrize(("n", "m"), [(500, 500), (500, 311), (1, 7)])
def test_w1_is_scipys(n, m):
    g = torch.Generator().manual_seed(n + m)
    x, y = torch.randn(n, 3, generator=g), torch.randn(m, 3, generator=g).exp()
    want = [wasserstein_distance(x[:, i].numpy(), y[:, i].numpy()) for i in range(3)]
    np.testing.assert_allclose(wasserstein_1d(x, y), want, rtol=1e-4)


def test_sliced_wasserstein_is_the_mean_over_its_directions(pi):
    x, y, theta = pi.points[:400], pi.real[:300], directions(5, 16, seed=3)
    want = np.mean([wasserstein_distance((x @ t).numpy(), (y @ t).numpy()) for t in theta.T])
    assert sliced_wasserstein(x, y, 16, seed=3).item() == pytest.approx(want, rel=1e-4)
    torch.testing.assert_close(theta.norm(dim=0), torch.ones(16))


def test_energy_averages_to_zero_for_one_distribution():
    g = torch.Generator().manual_seed(0)
    pairs = [(torch.randn(40, 3, generator=g), torch.randn(40, 3, generator=g)) for _ in range(300)]
    values = torch.stack([energy_distance(x, y) for x, y in pairs])
    assert values.mean().abs() < 4 * values.std() / math.sqrt(300)
    assert (values < 0).any()


def test_c2st_agrees_with_sklearns_classifier(pi):
    x = pi.points[:1500].clone()
    x[:, 2] += 0.04
    y = to_points(*draw_pi(1500, seed=8))
    data = np.concatenate([x, y])
    shuffle = np.random.default_rng(0).permutation(3000)
    twin = cross_val_score(MLPClassifier((64, 64), max_iter=40, random_state=0),
                           ((data - data.mean(0)) / data.std(0))[shuffle],
                           (np.arange(3000) >= 1500)[shuffle], cv=5).mean()
    assert c2st(x, y) == pytest.approx(twin, abs=0.04)
    assert c2st(x, y) > 0.55


def test_c2st_of_one_distribution_is_a_half():
    values = [c2st(torch.randn(2000, 5, generator=torch.Generator().manual_seed(s)),
                   torch.randn(2000, 5, generator=torch.Generator().manual_seed(50 + s)), seed=s) for s in range(3)]
    assert all(abs(v - 0.5) < 3 * math.sqrt(0.25 / 4000) for v in values)


def test_mixture_density_is_scipys_and_sampling_matches():
    gm = fit_mixture(torch.randn(2000, 3, generator=torch.Generator().manual_seed(0)).cumsum(dim=1),
                     4, torch.Generator().manual_seed(1))
    x = torch.randn(20, 3)
    twin = sum(w * multivariate_normal(m, tril @ tril.T).pdf(x.double().numpy())
               for w, m, tril in zip(gm.weights.numpy(), gm.means.numpy(), gm.scale_tril.double().numpy(), strict=True))
    np.testing.assert_allclose(gm.log_prob(x).exp(), twin, rtol=1e-3)
    samples = gm.sample(40_000, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(samples.mean(dim=0), gm.weights @ gm.means, atol=0.03, rtol=0.03)


def test_mixture_fits_as_well_as_sklearns(pi):
    ours = fit_mixture(pi.points, 32, torch.Generator().manual_seed(0)).log_prob(pi.points).mean().item()
    twin = SklearnMixture(32, random_state=0, reg_covar=1e-6, init_params="k-means++",
                          max_iter=100).fit(pi.points.double().numpy())
    assert ours == pytest.approx(twin.score(pi.points.double().numpy()), abs=0.06)


def test_em_never_lowers_the_likelihood(pi):
    values = [fit_mixture(pi.points, 16, torch.Generator().manual_seed(0),
                          steps=s, tolerance=0).log_prob(pi.points).mean().item()
              for s in (1, 2, 4, 8, 16)]
    assert all(a < b + 1e-4 for a, b in zip(values, values[1:], strict=False))


def test_too_many_components_is_a_sentence(pi):
    with pytest.raises(UserError, match="Ask for fewer"):
        fit_mixture(pi.points[:10], 11)


def test_on_glyph_survives_anything(pi):
    bad = torch.tensor([[float("nan")] * 5, [float("inf")] * 5, [-9.0] * 5, [1e30] * 5, [0.25, 0.45, 0, 0, 0]])
    assert on_glyph(bad, pi.mask).tolist() == [0, 0, 0, 0, 1]


def test_intervals_hold_their_value_on_both_sides():
    boot = torch.tensor([-1.0, 0, 1])
    for value in (-0.5, 0.0, 0.5, 5.0):
        low, high = interval(value, boot)
        assert low < value < high or value == low == 0
    assert interval(5.0, boot) == [5 - 1.96, 5 + 1.96] and interval(0.5, boot)[0] == 0


def test_a_copy_has_distance_zero(pi):
    assert nearest_train(pi.points, pi.points).max() == 0


def test_nearest_train_is_the_double_loop(pi):
    x, t = pi.real[:30], pi.points[:40]
    want = torch.stack([torch.stack([(a - b).norm() for b in t]).min() for a in x])
    torch.testing.assert_close(nearest_train(x, t, chunk=7), want, atol=1e-4, rtol=1e-3)


def test_evaluation_states_n_interval_and_floor_and_repeats(pi):
    x = to_points(*draw_pi(2_000, seed=4))
    first, second = (evaluate_points(x, pi) for _ in range(2))
    assert first == second
    for name in ("swd", "energy", "on_glyph", "c2st", "nearest_train"):
        row = first[name]
        assert row["interval"][0] <= row["value"] <= row["interval"][1] and row["n"] > 0 and "floor" in row
    copies = evaluate_points(pi.points + 1e-4, pi)
    assert copies["nearest_train"]["value"] < 0.1 * copies["nearest_train"]["floor"]


def test_the_density_of_the_coloured_pi_is_that_of_its_recipe(pi):
    "By the recipe's own numbers, place by place; nothing off the letter; no fitted model is above it on fresh points."
    points = pi.real[::500]
    row, col = (points[:, :2] * 300).round().long().T.numpy()
    z = (points[:, 2:].double().numpy() - colour_field(row, col) / 255) / (12 / 255)
    want = math.log(300**2 / 22_084) - 0.5 * (z**2).sum(axis=1) - 3 * math.log(12 / 255 * math.sqrt(2 * math.pi))
    np.testing.assert_allclose(pi_log_prob(points).numpy(), want, atol=1e-4)
    off = points.clone()
    off[0, :2] = 0.01
    off[1, :2] = -3
    assert pi_log_prob(off)[:2].tolist() == [-math.inf] * 2 and pi_log_prob(off)[2:].isfinite().all()
    fitted = PlaceMixture(pi.points, 64, torch.Generator().manual_seed(0))
    assert fitted.log_prob(pi.real).mean() < pi_log_prob(pi.real).mean() < fitted.log_prob(pi.real).mean() + 0.3


def test_a_place_mixture_draws_what_its_density_says(pi):
    "Colours have the plane's mean and its noise; log p is the place's plus a normal's, by scipy."
    m = PlaceMixture(pi.points, 16, torch.Generator().manual_seed(0))
    s = m.sample(50_000, generator=torch.Generator().manual_seed(1))
    A = np.concatenate([np.ones((len(s), 1)), s[:, :2].numpy()], axis=1)
    plane, residual = np.linalg.lstsq(A, s[:, 2:].numpy(), rcond=None)[:2]
    np.testing.assert_allclose(plane, m.plane.numpy(), atol=0.01)
    np.testing.assert_allclose(np.sqrt(residual / len(s)), m.sigma.numpy(), rtol=0.02)
    x = s[:20]
    colour = norm.logpdf(x[:, 2:].numpy(), (A @ m.plane.numpy())[:20], m.sigma.numpy()).sum(axis=1)
    np.testing.assert_allclose(m.log_prob(x).numpy(), m.place.log_prob(x[:, :2]).numpy() + colour, rtol=1e-4, atol=1e-4)
