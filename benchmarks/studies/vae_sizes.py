"""Sizes of the latent space (chapter 31_vae): a VAE and an autoencoder on Fashion-MNIST, the same networks and steps.

VAEs with four sizes, three seeds each; those with 128 and 2048 numbers three times as long, to
see whether a larger space is only slower; and autoencoders with 10 and 128 numbers and a mixture fitted to their codes,
which has to do for them what the prior does for a VAE. All are what chapters 30 and 31 build, at the same learning
rate. An arm takes two to three minutes of one thread, with 2048 numbers some seven; about 100 minutes in all.
"""

import time

import torch
from clock import judge

from genlab.lab.images import ImageSet, load_images
from genlab.lab.metrics import mse, ssim
from genlab.lab.pictures import HeldOut, draw_images
from genlab.lab.training import fit
from genlab.vae.autoencoder import AutoEncoderConfig, AutoEncoderRecipe
from genlab.vae.vae import VAE, VAEConfig, VAERecipe, elbo_and_bits

STEPS = 900
ARMS = [
    *(dict(arm=f"VAE, {size}", model="vae", latent_dim=size, steps=STEPS, seed=seed)
      for seed in range(3) for size in (10, 128, 512, 2048)),
    *(dict(arm=f"autoencoder, {size}", model="ae", latent_dim=size, steps=STEPS, seed=seed)
      for seed in range(3) for size in (10, 128)),
    *(dict(arm=f"VAE, {size}, three times as long", model="vae", latent_dim=size, steps=3 * STEPS, seed=0)
      for size in (128, 2048)),
]
SMOKE = [dict(arm, steps=8, images=1_000, judged=100) for arm in ARMS
         if arm["seed"] == 0 and arm["arm"] in ("VAE, 10", "autoencoder, 10")]
RECIPES = dict(vae=(VAERecipe, VAEConfig), ae=(AutoEncoderRecipe, AutoEncoderConfig))


def ranks(size: int) -> list[int]:
    "Places in a sorted list, counted from 1: all of a short one, of a long one about 50, evenly on a log scale."
    return sorted({round(size ** (i / 60)) for i in range(61)})


def likelihood(model: VAE, test: ImageSet, n: int) -> dict:
    "What only a VAE has; the KL of each latent dimension, the largest first, at some ranks."
    with torch.no_grad():
        x, y = next(test.take(slice(n)).pieces(n))
        kl = torch.cat([model.terms(*part)[1] for part in zip(x.split(250), y.split(250), strict=True)]).mean(dim=0)
        means = torch.cat([model.encode(part)[0] for part in x.split(250)])  # (n, Z)
    places = ranks(model.latent_dim)
    largest = kl.sort(descending=True).values
    return HeldOut(test, model, n).mean(model.loss) | dict(
        bits=elbo_and_bits(model, test)["bits_per_dim"]["value"],
        active=int((means.var(dim=0) > 0.01).sum()),
        ranks=places,
        kl_sorted=[round(largest[place - 1].item(), 4) for place in places],
    )


def samples(model: torch.nn.Module, test: ImageSet, n: int, seed: int) -> dict[str, float]:
    "FID and its companions, with codes from N(0, I) and from the density fitted to the codes."
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        z = torch.randn(n, model.latent_dim, generator=g)
        prior = torch.cat([model.decode(part).clamp(-1, 1) for part in z.split(500)])
    found = dict(prior=judge(test, prior), ex_post=judge(test, draw_images(model, n, seed)))
    return {f"{name}_{codes}": values[name]
            for codes, values in found.items() for name in ("fid", "precision", "recall")}


def run(arm: dict) -> dict:
    torch.set_num_threads(1)
    seed = arm["seed"]
    n = arm.get("judged", 2_000)
    data = {split: load_images("fashion_mnist", split, n=arm.get("images"))
            for split in ("train", "validation", "test")}
    recipe_class, config_class = RECIPES[arm["model"]]
    config = config_class(latent_dim=arm["latent_dim"], steps=arm["steps"])
    torch.manual_seed(seed)
    recipe = recipe_class(config, data)
    start = time.process_time()
    model, progress = fit(recipe, recipe.data, steps=config.steps, batch_size=config.batch_size, seed=seed, ema=0.97,
                          pictures=9)
    seconds = time.process_time() - start
    model.eval()
    test = data["test"]
    errors = HeldOut(test, model, n).mean(lambda x, y: dict(mse=mse(x, model.reconstruct(x)).mean(),
                                                            ssim=ssim(x, model.reconstruct(x)).mean()))
    looks = [{name: round(float(row[name]), 2) for name in ("step", "val_loss", "val_kl") if name in row}
             for row in progress.log if "val_loss" in row]
    values = dict(steps=config.steps, train_seconds=round(seconds, 1),
                  parameters=sum(p.numel() for p in model.parameters()), curve=looks, **errors)
    torch.manual_seed(seed)  # of the draws of z
    return values | samples(model, test, n, seed) | (likelihood(model, test, n) if isinstance(model, VAE) else {})
