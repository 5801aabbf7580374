"""The generators in chapter 12_vae's table, three seeds each, at its laptop settings; about 10 minutes with one thread.

A seed decides the first weights, the order of the points and the fit of the mixture. 20,000 points of each are judged.
"""

import torch

from genlab.points.colored_pi import PiData, draw_pi, load_pi, to_points
from genlab.points.distances import evaluate_points, fit_mixture
from genlab.points.vae import PointVAE, fit_prior, train

GENERATORS = {
    "real draws": dict(kind="real"),
    "mixture of 128": dict(kind="mixture", components=128),
    "learned sigma, N(0, I)": dict(kind="vae", max_sigma_px=None, epochs=100),
    "learned sigma, ex-post": dict(kind="vae", max_sigma_px=None, epochs=100, components=256),
    "one pixel, N(0, I)": dict(kind="vae", max_sigma_px=1.0, epochs=100),
    "one pixel, ex-post": dict(kind="vae", max_sigma_px=1.0, epochs=100, components=256),
}
ARMS = [dict(generator=name, seed=seed, **settings) for name, settings in GENERATORS.items() for seed in range(3)]
SMALL = dict(epochs=1, components=8)
SMOKE = [
    {name: SMALL.get(name, value) for name, value in arm.items()}
    for arm in ARMS
    if arm["seed"] == 0 and arm["generator"] in ("mixture of 128", "one pixel, ex-post")
]


def real(pi: PiData, seed: int) -> torch.Tensor:
    "Four independent draws of 5000 points, as in chapter 11."
    return torch.cat([to_points(*draw_pi(5_000, seed=900 + 10 * seed + i)) for i in range(4)])


def mixture(pi: PiData, seed: int, components: int) -> torch.Tensor:
    gm = fit_mixture(pi.points, components, torch.Generator().manual_seed(seed))
    return gm.sample(20_000, generator=torch.Generator().manual_seed(7))


def vae(pi: PiData, seed: int, max_sigma_px: float | None, epochs: int, components: int | None = None) -> torch.Tensor:
    torch.manual_seed(seed)
    model = PointVAE(latent_dim=8, max_sigma_px=max_sigma_px)
    train(model, pi.points, epochs, seed=seed)
    if components:
        fit_prior(model, pi.points, components, seed=seed)
    return model.sample(20_000, generator=torch.Generator().manual_seed(7), ex_post=components is not None)


def run(arm: dict) -> dict[str, float]:
    pi = load_pi()
    draw = dict(real=real, mixture=mixture, vae=vae)[arm.pop("kind")]
    del arm["generator"]
    judged = evaluate_points(draw(pi, **arm), pi)
    return {name: judged[name]["value"] for name in ("swd", "on_glyph", "c2st", "nearest_train")}
