"""The generators in the table of part 1 (chapters 11_distances to 14_likelihood), three seeds each.

A seed decides the first weights, the order of the points and the fit of a mixture; 20,000 points of each are judged.
Some 30 minutes with one thread, two thirds of them for the transformers.
"""

import time

import torch

from genlab.points.colored_pi import SIZE, PiData, draw_pi, load_jpeg_pi, load_pi, to_points
from genlab.points.distances import PlaceMixture, evaluate_points, fit_mixture, pi_log_prob
from genlab.points.likelihood import ColourVAE, iwae
from genlab.points.transformer_vae import TransformerPointVAE
from genlab.points.vae import BETAS, PointVAE, active_units, fit_prior, train

N = 20_000
LEARNED = dict(kind="vae", latent_dim=2, max_sigma_px=None)
PIXEL = dict(kind="vae", latent_dim=2, max_sigma_px=1.0)
ATTENDING = dict(kind="transformer", max_sigma_px=1.0)
GENERATORS = {
    "real draws": dict(kind="real"),
    "training points": dict(kind="training"),
    "one Gaussian": dict(kind="mixture", components=1),
    "mixture of 32": dict(kind="mixture", components=32),
    "mixture of 128": dict(kind="mixture", components=128),
    "place mixture of 128": dict(kind="place", components=128),
    "place mixture of 256": dict(kind="place", components=256),
    "VAE, N(0, I)": LEARNED | dict(epochs=100),
    "VAE, ex-post": LEARNED | dict(epochs=100, components=256),
    "VAE, ex-post, 3 x as long": LEARNED | dict(epochs=300, components=256),
    "one pixel, N(0, I)": PIXEL | dict(epochs=100),
    "one pixel, ex-post": PIXEL | dict(epochs=100, components=256),
    "one pixel, ex-post, 8 latents": PIXEL | dict(epochs=100, components=256, latent_dim=8),
    "linear beta": PIXEL | dict(epochs=100, components=256, beta="linear"),
    "cyclical beta": PIXEL | dict(epochs=100, components=256, beta="cyclical"),
    "a covariance by z": PIXEL | dict(kind="colour", epochs=100, components=256),
    "JPEG: a sigma for each colour": PIXEL | dict(epochs=100, components=256, jpeg=True),
    "JPEG: a sigma for each colour, 8 latents": PIXEL | dict(epochs=100, components=256, jpeg=True, latent_dim=8),
    "JPEG: one covariance": PIXEL | dict(kind="one colour", epochs=100, components=256, jpeg=True),
    "JPEG: a covariance by z": PIXEL | dict(kind="colour", epochs=100, components=256, jpeg=True),
    "transformer": ATTENDING | dict(epochs=100, components=256, latent_dim=2),
    "transformer, 8 latents": ATTENDING | dict(epochs=100, components=256, latent_dim=8),
    "MLP, as many weights": PIXEL | dict(epochs=100, components=256, hidden=65),
    "MLP, as many seconds": PIXEL | dict(epochs=260, components=256),
}
ARMS = [dict(generator=name, seed=seed, **settings) for name, settings in GENERATORS.items() for seed in range(3)]
SMALL = dict(epochs=1, components=8)
SMOKE = [
    {name: SMALL.get(name, value) for name, value in arm.items()}
    for arm in ARMS
    if arm["seed"] == 0 and arm["generator"] in ("mixture of 128", "place mixture of 256", "one pixel, ex-post")
]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def real(pi: PiData, seed: int) -> dict:
    "Four independent draws of 5000 points."
    points = torch.cat([to_points(*draw_pi(5_000, seed=900 + 10 * seed + i)) for i in range(4)])
    return dict(points=points, log_density=pi_log_prob(pi.real).mean().item(), parameters=None)


def training(pi: PiData, seed: int) -> dict:
    return dict(points=pi.points, log_density=None, parameters=None)


def mixture(pi: PiData, seed: int, components: int) -> dict:
    gm = fit_mixture(pi.points, components, generator(seed))
    numbers = components * (5 + 15 + 1) - 1  # means, covariances, weights
    density = gm.log_prob(pi.real).mean().item()
    return dict(points=gm.sample(N, generator=generator(7)), log_density=density, parameters=numbers)


def place(pi: PiData, seed: int, components: int) -> dict:
    gm = PlaceMixture(pi.points, components, generator(seed))
    numbers = components * (2 + 3 + 1) - 1 + 9 + 3
    density = gm.log_prob(pi.real).mean().item()
    return dict(points=gm.sample(N, generator=generator(7)), log_density=density, parameters=numbers)


class OneCovariance(ColourVAE):
    "A full covariance of the colours, the same at every place."

    def decode_all(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return super().decode_all(z)[0], super().decode_all(torch.zeros_like(z))[1]


def trained(
    pi: PiData,
    seed: int,
    kind: str,
    epochs: int,
    components: int | None = None,
    beta: str = "constant",
    **settings,
) -> dict:
    torch.manual_seed(seed)
    model = MODELS[kind](**settings)
    start = time.perf_counter()
    history, _ = train(model, pi.points, epochs, seed=seed, beta=BETAS[beta])
    seconds = time.perf_counter() - start
    if components:
        fit_prior(model, pi.points, components, seed=seed)
    ex_post = components is not None
    points = model.sample(N, generator=generator(7), ex_post=ex_post)
    torch.manual_seed(0)
    return dict(
        points=points,
        log_density=iwae(model, pi.real[::5], 64, ex_post).mean().item(),
        parameters=sum(p.numel() for p in model.parameters()),
        loss=history["loss"][-1],
        active=int(active_units(model, pi.points).sum()),
        sigma_px=(model.sigma()[:2] * SIZE).mean().item(),
        train_seconds=seconds,
    )


MODELS = {"vae": PointVAE, "colour": ColourVAE, "one colour": OneCovariance, "transformer": TransformerPointVAE}
OTHERS = dict(real=real, training=training, mixture=mixture, place=place)


def run(arm: dict) -> dict[str, float]:
    del arm["generator"]
    pi = load_jpeg_pi() if arm.pop("jpeg", False) else load_pi()
    make = OTHERS.get(arm["kind"])
    if make:
        del arm["kind"]
    values = (make or trained)(pi, **arm)
    judged = evaluate_points(values.pop("points"), pi)
    found = {name: judged[name]["value"] for name in ("swd", "on_glyph", "c2st", "nearest_train")}
    return found | dict(rule=0.5 + (1 - found["on_glyph"]) / 2) | values
