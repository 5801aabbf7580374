"Proofs of the VAE: exact cases, bounds, gradients, and the faults that were once real."

import math

import pytest
import torch
from torch import nn

from genlab.points.colored_pi import load_pi
from genlab.points.likelihood import ColourVAE, iwae
from genlab.points.transformer_vae import (
    CloudVAE,
    TransformerPointVAE,
    TransformerPointVAEConfig,
    TransformerPointVAERecipe,
    attention,
    attention_maps,
    train_cloud,
)
from genlab.points.vae import (
    PointVAE,
    PointVAEConfig,
    PointVAERecipe,
    active_units,
    annealed_elbo,
    cyclical_beta,
    fit_prior,
    free_bits_kl,
    kl_per_dim,
    kl_to_standard_normal,
    learning_rate,
    linear_beta,
    log_normal,
    train,
)

MODELS = {"mlp": PointVAE, "transformer": TransformerPointVAE}


@pytest.fixture(scope="module")
def points():
    return load_pi().points


@pytest.fixture(params=MODELS)
def model(request, points):
    torch.manual_seed(0)
    return MODELS[request.param](latent_dim=4, max_sigma_px=1.0).standardise(points)


def test_kl_closed_form_monte_carlo_and_torch():
    torch.manual_seed(1)
    mu, logvar = torch.randn(5, 3), torch.randn(5, 3)
    q = torch.distributions.Normal(mu, (0.5 * logvar).exp())
    exact = torch.distributions.kl_divergence(q, torch.distributions.Normal(0, 1)).sum(dim=1)
    torch.testing.assert_close(kl_to_standard_normal(mu, logvar), exact)
    torch.testing.assert_close(kl_per_dim(mu, logvar).sum(dim=1), exact)
    z = q.sample((100_000,))
    torch.testing.assert_close((log_normal(z, mu, logvar) - log_normal(z)).mean(dim=0), exact, atol=0.05, rtol=0.02)


def linear_gaussian(points) -> tuple[PointVAE, torch.Tensor]:
    "A VAE with linear networks and the exact posterior of x = W z + b + sigma * noise; also its exact log p(x)."
    g = torch.Generator().manual_seed(0)
    m, W, b, s = PointVAE(latent_dim=2, depth=0), torch.randn(5, 2, generator=g), torch.randn(5, generator=g), 0.7
    posterior = torch.linalg.inv(torch.eye(2) + W.T @ W / s**2)
    U = torch.linalg.eigh(posterior).eigenvectors
    W = W @ U  # rotate z so that the posterior is diagonal, as q is
    posterior = torch.linalg.inv(torch.eye(2) + W.T @ W / s**2)
    A = posterior @ W.T / s**2
    with torch.no_grad():
        m.encoder[0].weight[:] = torch.cat([A, torch.zeros(2, 5)])
        m.encoder[0].bias[:] = torch.cat([-A @ b, posterior.diagonal().log()])
        m.decoder[0].weight[:], m.decoder[0].bias[:] = W, b
        m.log_sigma.fill_(-6 + math.log(math.expm1(math.log(s) + 6)))
    exact = torch.distributions.MultivariateNormal(b, W @ W.T + s**2 * torch.eye(5)).log_prob(points)
    return m, exact


def test_elbo_is_log_p_where_the_posterior_is_exact(points):
    m, exact = linear_gaussian(points[:200])
    torch.manual_seed(0)
    # the weights are constant: no noise at all
    torch.testing.assert_close(iwae(m, points[:200], k=1), exact, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(iwae(m, points[:200], k=5), exact, atol=1e-4, rtol=1e-4)
    elbo = -torch.stack([m.loss(points[:200])["loss"] for _ in range(400)]).mean()
    torch.testing.assert_close(elbo, exact.mean(), atol=0.02, rtol=0)


def test_units_are_nats_of_the_points(points):
    m, exact = linear_gaussian(points[:50])
    m.shift, m.scale = torch.full((5,), 0.3), torch.full((5,), 2.0)
    x = points[:50] * 2 + 0.3  # the same standardised points: the density is spread over a volume 2**5 larger
    torch.manual_seed(0)
    torch.testing.assert_close(iwae(m, x, k=1), exact - 5 * math.log(2), atol=1e-4, rtol=1e-4)


def test_iwae_is_monotone_and_above_the_elbo(model, points):
    torch.manual_seed(0)
    bounds = [iwae(model, points[:300], k).mean().item() for k in (1, 8, 64)]
    assert -model.loss(points[:300])["loss"].item() == pytest.approx(bounds[0], abs=0.05 * abs(bounds[0]))
    assert bounds[0] < bounds[1] < bounds[2]


def test_parts_add_up_and_duplicating_the_batch_changes_nothing(model, points):
    parts = model.loss(points[:64])
    torch.testing.assert_close(parts["loss"], parts["reconstruction"] + parts["kl"])
    assert next(iter(parts)) == "loss"
    x = points[:64]
    reconstruction, kl = model.terms(x)
    _, twice = model.terms(torch.cat([x, x]))
    torch.testing.assert_close(free_bits_kl(kl, 0.1), free_bits_kl(twice, 0.1), atol=1e-4, rtol=1e-4)
    losses = [torch.stack([model.loss(b)["loss"].detach() for _ in range(300)]).mean() for b in (x, torch.cat([x, x]))]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=0.05)


def test_every_parameter_gets_a_gradient(model, points):
    model.loss(points[:128])["loss"].backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all() and p.grad.abs().sum() > 0, name


def test_schedules_in_closed_form():
    assert [linear_beta(t) for t in (0, 0.1, 0.5, 0.9)] == [0, 0.2, 1, 1]
    ramp = [cyclical_beta((t + 0.5) / 1000) for t in range(1000)]
    assert sum(ramp) / 1000 == pytest.approx(0.75, abs=2e-3)  # half of each cycle ramps with mean 1/2, half stays at 1
    assert sum(a > b for a, b in zip(ramp, ramp[1:], strict=False)) == 3
    rates = [learning_rate(t / 100, 1.0) for t in range(101)]
    assert max(rates) <= 1 and rates[0] < 0.01 and rates[-1] == pytest.approx(0, abs=1e-9)


def test_the_objective_weighs_only_the_kl(model, points):
    def at(beta):
        torch.manual_seed(3)
        return annealed_elbo(model, points[:64], beta)

    zero, one = at(0.0), at(1.0)
    torch.testing.assert_close(zero["loss"], zero["reconstruction"])
    torch.testing.assert_close(one["loss"], one["reconstruction"] + one["kl"])
    torch.testing.assert_close(zero["reconstruction"], one["reconstruction"])


def test_standardised_points_have_mean_0_and_variance_1(points):
    m = PointVAE().standardise(points)
    inside = (points - m.shift) / m.scale
    torch.testing.assert_close(inside.mean(dim=0), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(inside.var(dim=0), torch.ones(5), atol=1e-4, rtol=0)


def test_sigma_is_bounded_on_both_sides(points):
    m = PointVAE(max_sigma_px=2.0).standardise(points)
    with torch.no_grad():
        m.log_sigma.fill_(9.0)
        assert torch.allclose(m.sigma()[:2], torch.tensor(2 / 300)) and (m.sigma()[2:] > 1).all()
        m.log_sigma.fill_(-99.0)
        assert (m.sigma() / m.scale).log().min() > -6.001


def test_samples_have_the_models_own_moments(model):
    samples = model.sample(20_000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        decoded = model.decode(torch.randn(20_000, 4, generator=torch.Generator().manual_seed(1)))
    torch.testing.assert_close(samples.var(dim=0), decoded.var(dim=0) + model.sigma().detach() ** 2,
                               rtol=0.1, atol=1e-4)
    again = model.sample(20_000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(samples, again)


def test_ex_post_density_has_the_moments_of_the_codes(points):
    torch.manual_seed(0)
    m = PointVAE(latent_dim=4, max_sigma_px=1.0)
    train(m, points, epochs=3)
    with torch.no_grad():
        for row in (3, 7):  # switch the last latent dimension off
            m.encoder[-1].weight[row], m.encoder[-1].bias[row] = 0, 0
    fit_prior(m, points, 32)
    active = active_units(m, points)
    assert active.tolist() == [True, True, True, False]
    with torch.no_grad():
        mu, logvar = m.encode(points)
        z = m.prior.sample(50_000)
        want = mu.T.cov() + torch.diag(logvar.exp().mean(dim=0))
        torch.testing.assert_close(z.T.cov()[active][:, active], want[active][:, active], atol=0.05, rtol=0.05)
        torch.testing.assert_close(z[:, ~active].var(dim=0), torch.ones(1), atol=0.05, rtol=0)


def test_a_fresh_prior_is_standard_normal():
    m = PointVAE(latent_dim=3, n_components=7)
    z = torch.randn(50, 3)
    torch.testing.assert_close(m.prior.log_prob(z), log_normal(z))


@pytest.mark.parametrize("recipe_class,config_class",
                         [(PointVAERecipe, PointVAEConfig), (TransformerPointVAERecipe, TransformerPointVAEConfig)])
def test_recipes_learn_and_round_trip(recipe_class, config_class, tmp_path):
    from genlab.lab.training import fit
    from genlab.workshop.runs import load_weights, save_weights

    pi = load_pi()
    torch.manual_seed(0)
    recipe = recipe_class(config_class(components=16), pi)
    _, progress = fit(recipe, pi.points[:200], steps=30, batch_size=200, pictures=1)
    assert progress.log[-1]["loss"] < progress.log[0]["loss"]
    recipe.finish(recipe.model, seed=0)
    save_weights(tmp_path / "w.safetensors", recipe.model)
    other = load_weights(tmp_path / "w.safetensors", lambda: recipe_class.build(recipe.config))
    assert torch.equal(recipe.draw(recipe.model.eval(), 50, 1), recipe.draw(other, 50, 1))


def test_a_picture_leaves_model_and_random_state_alone():
    pi = load_pi()
    recipe = PointVAERecipe(PointVAEConfig(components=16), pi)
    before, state = {k: v.clone() for k, v in recipe.model.state_dict().items()}, torch.get_rng_state()
    recipe.picture(recipe.model, 0)
    torch.testing.assert_close(recipe.model.state_dict(), before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_attention_is_multiheads_single_head():
    torch.manual_seed(0)
    layer, x = nn.MultiheadAttention(8, 1, batch_first=True), torch.randn(3, 5, 8)
    q, k, v = (x @ layer.in_proj_weight.T + layer.in_proj_bias).chunk(3, dim=-1)
    out, weights = attention(q, k, v)
    want, want_weights = layer(x, x, x)
    torch.testing.assert_close(layer.out_proj(out), want)
    torch.testing.assert_close(weights, want_weights)


def test_attention_maps_are_those_of_the_forward_pass():
    torch.manual_seed(0)
    m = TransformerPointVAE(latent_dim=3)
    x, seen = torch.randn(6, 5), []
    for layer in m.encoder.transformer.layers:
        layer.self_attn.register_forward_pre_hook(lambda mod, args: seen.append(args[0].detach()))
    m.encoder.train()(x)
    want = [layer.self_attn(h, h, h, average_attn_weights=False)[1]
            for layer, h in zip(m.encoder.transformer.layers, seen, strict=False)]
    torch.testing.assert_close(attention_maps(m.encoder, x), torch.stack(want), atol=1e-5, rtol=1e-4)


# The seed's faults, each kept failing


def test_negative_control_reconstruction_switched_off(points):
    def seed_objective(model, x, beta):
        reconstruction, kl = model.terms(x)
        error = (model.decode(model.encode(x)[0]) - x).square().mean()
        return dict(loss=(1 - beta) * error + beta * kl.sum(dim=1).mean(), kl=kl.sum(dim=1).mean())

    torch.manual_seed(0)
    m = PointVAE(latent_dim=4)
    history, _ = train(m, points, epochs=6, beta=lambda t: t, objective=seed_objective)
    assert history["kl"][-1] < 0.02 and not active_units(m, points).any()
    torch.manual_seed(0)
    right = PointVAE(latent_dim=4)
    train(right, points, epochs=6)
    assert active_units(right, points).sum() >= 2


def test_negative_control_one_cloud_one_token(points):
    torch.manual_seed(0)
    m = CloudVAE(n_points=1_000, hidden=128)
    train_cloud(m, points[:1_000], epochs=100)
    with torch.no_grad():
        clouds = m.decode(torch.randn(16, 64))
    assert clouds.std(dim=0).mean() < 0.1 * points.std(dim=0).mean()  # every z gives the same cloud
    m.zero_grad()
    m.loss(points[None, :1_000], beta=0.5)["loss"].backward()
    for part in (m.encoder, m.decoder):
        attention_gradient = part[2].self_attn.in_proj_weight.grad
        # no question, no key, only values
        assert attention_gradient[:256].abs().max() < 1e-6 < attention_gradient[256:].abs().max()


def test_a_covariance_by_z_is_torchs_and_samples_have_it(points):
    torch.manual_seed(0)
    m = ColourVAE(max_sigma_px=1.0).standardise(points).double()
    z, x = torch.randn(6, 2).double(), points[:6].double()
    mean, L = m.decode_all(z)
    assert torch.equal(mean, m.decode(z))
    assert (L.diagonal(dim1=-2, dim2=-1) > 0).all() and torch.equal(L, L.tril()) and not torch.allclose(L[0], L[1])
    colour = torch.distributions.MultivariateNormal(m.decode(z)[:, 2:], scale_tril=L).log_prob(x[:, 2:])
    place = torch.distributions.Normal(m.decode(z)[:, :2], m.sigma()[:2]).log_prob(x[:, :2]).sum(dim=1)
    torch.testing.assert_close(m.log_likelihood(x, z), place + colour, rtol=1e-6, atol=1e-6)
    made = m.noisy(z[:1].expand(200_000, 2), torch.randn(200_000, 5).double())
    want = torch.block_diag(torch.diag(m.sigma()[:2] ** 2), L[0] @ L[0].T)
    torch.testing.assert_close(made.T.cov(), want, rtol=0.05, atol=0.01 * want[2:, 2:].max().item())
    torch.testing.assert_close(made.mean(dim=0), m.decode(z[:1])[0], rtol=0, atol=1e-2)


def test_the_bound_with_the_fitted_density_is_exact_where_all_is_gaussian(points):
    "A linear model whose codes have been given another Gaussian: p(x) is known, and every importance weight is it."
    m, _ = linear_gaussian(points)
    x = points[:100].double()
    exact = iwae(m.double(), x, k=3)
    torch.testing.assert_close(iwae(m, x, k=3, ex_post=True), exact, rtol=1e-6, atol=1e-6)  # a fresh prior is N(0, I)
    m.prior.weights = torch.ones(1).double()
    m.prior.means = torch.tensor([[3.0, 0.0]]).double()
    assert iwae(m, x, k=3, ex_post=True).mean() < exact.mean() - 1


def test_jpeg_correlates_the_colours_errors_only_if_colours_are_shared():
    from genlab.points.colored_pi import draw_pi, through_jpeg

    xs, ys, image = draw_pi(seed=5)
    assert (draw_pi(seed=5, jpeg=True)[2] == through_jpeg(image)).all() and (draw_pi(seed=5, jpeg=True)[0] == xs).all()
    place = torch.from_numpy(xs).double(), torch.from_numpy(ys).double()
    A = torch.stack([torch.ones(len(xs)).double(), *place], dim=1)
    found = []
    for picture in (image, through_jpeg(image), through_jpeg(image, whole=True)):
        colours = torch.from_numpy(picture[xs, ys]).double()
        errors = colours - A @ torch.linalg.lstsq(A, colours).solution
        found.append(torch.corrcoef(errors.T)[[0, 0, 1], [1, 2, 2]])
    assert found[1].min() > 0.4 and found[0].abs().max() < 0.1 and found[2].abs().max() < 0.15
