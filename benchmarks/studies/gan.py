"""The DCGAN on Fashion-MNIST at equal time (chapter 50_dcgan), beside the course's VAE and VQ prior.

Time is CPU time of one thread, without that of the looks on the way. Three seeds for 900 seconds; for 300 seconds two
seeds each of other sizes of the code and of the minimax loss, one of the VAE of chapter 31 and of chapter 42's pair;
for 150 seconds: faults. Some two hours with one thread; arms may run side by side.
"""

import time

import torch

from genlab.gan.dcgan import DCGANConfig, DCGANRecipe, d_logistic_loss, g_minimax_loss
from genlab.lab.images import load_images, to_uint8
from genlab.lab.metrics import evaluate_images
from genlab.lab.pictures import draw_images
from genlab.lab.training import fit
from genlab.vae.vae import VAEConfig, VAERecipe
from genlab.vq.prior import TokenPriorConfig, TokenPriorRecipe, encode_all, generate
from genlab.vq.vqvae import VQVAEConfig, VQVAERecipe

LONG, SHORT, FAULT = 900, 300, 150
ARMS = [
    *(dict(arm="dcgan", recipe="dcgan", seconds=LONG, seed=seed) for seed in range(3)),
    *(dict(arm=f"dcgan, z {z}", recipe="dcgan", latent_dim=z, seconds=SHORT, seed=seed)
      for z in (10, 2_000) for seed in range(2)),
    *(dict(arm="dcgan, minimax", recipe="minimax", seconds=SHORT, seed=seed) for seed in range(2)),
    *(dict(arm=name, recipe=name, seconds=SHORT, seed=seed) for name in ("vae", "vq prior") for seed in range(1)),
    *(dict(arm=name, recipe=name, seconds=FAULT, seed=seed)
      for name in ("mixed batch", "D too strong") for seed in range(2)),
]
TRIED = ("dcgan, minimax", "vq prior", "mixed batch")
SMOKE = [dict(arm, seconds=2, images=1_000, judged=100) for arm in ARMS if arm["seed"] == 0 and arm["arm"] in TRIED]


class Minimax(DCGANRecipe):
    def g_loss(self, x, y):
        return dict(loss=g_minimax_loss(self.networks["discriminator"](self.fakes(x, None))))


class MixedBatch(DCGANRecipe):
    "Real and fake go through D together."

    def d_loss(self, x, y):
        both = torch.cat([x, self.fakes(x, None).detach()])
        real, fake = self.networks["discriminator"](both).chunk(2)
        return dict(loss=d_logistic_loss(real, fake), real=real.mean(), fake=fake.mean())


class StrongD(DCGANRecipe):
    "D learns five times as often."

    def step(self, update, t):
        for _ in range(4):
            update("discriminator", self.d_loss)
        return super().step(update, t)


GANS = dict(dcgan=(DCGANRecipe, DCGANConfig), minimax=(Minimax, DCGANConfig))
GANS |= {"mixed batch": (MixedBatch, DCGANConfig), "D too strong": (StrongD, DCGANConfig)}


def seconds_a_step(recipe, data, batch_size: int, seed: int, n: int = 20) -> float:
    "CPU seconds of a step of a recipe that is thrown away, the first steps left out."
    times = []
    step = recipe.step

    def timed(update, t):
        times.append(time.process_time())
        return step(update, t)

    recipe.step = timed
    if hasattr(type(recipe), "validate"):
        recipe.validate = lambda model: {recipe.score[0]: 0.0}
    fit(recipe, data, steps=n + 5, batch_size=batch_size, seed=seed, pictures=1)
    return (times[-1] - times[4]) / (len(times) - 5)


def judge(images, test, n: int) -> dict[str, float]:
    "The numbers of samples against test images."
    found = evaluate_images(test, to_uint8(images[:n]))
    return {name: found[name]["value"] for name in ("fid", "kid", "precision", "recall", "coverage")}


def train_gan(arm: dict, data: dict, n: int) -> tuple[list[dict], dict]:
    "The curve, and what the averaged generator reaches after 300 seconds, or at the end of a shorter run."
    recipe_class, config_class = GANS[arm["recipe"]]
    settings = {k: v for k, v in arm.items() if hasattr(config_class, k)}
    make = lambda: recipe_class(config_class(**settings), data)  # noqa: E731
    batch = config_class().batch_size
    recipe = make()
    steps = max(4, round(arm["seconds"] / seconds_a_step(recipe, recipe.data, batch, arm["seed"])))
    torch.manual_seed(arm["seed"])
    recipe = make()
    curve, found = [], {}
    start, spent = time.process_time(), 0.0
    looks = max(2, arm["seconds"] // 30)

    def look(model):
        nonlocal spent
        begin = time.process_time()
        seconds = begin - start - spent
        values = type(recipe).validate(recipe, model)
        curve.append(dict(seconds=round(seconds, 1), **{k: round(float(v), 3) for k, v in values.items()}))
        if not found and seconds >= 0.97 * min(SHORT, arm["seconds"]):
            found.update(judge(draw_images(model, n, arm["seed"]), data["test"], n))
        spent += time.process_time() - begin
        return values

    recipe.validate = look
    model, progress = fit(recipe, recipe.data, steps=steps, batch_size=batch, seed=arm["seed"], pictures=looks)
    found = found or judge(draw_images(progress.average.module.eval(), n, arm["seed"]), data["test"], n)
    rows = [row for row in progress.log if "val_fid" in row]
    for point, row in zip(curve, rows, strict=True):
        point |= dict(step=row["step"], real=round(row["discriminator_real"], 3),
                      fake=round(row["discriminator_fake"], 3))
    return curve, found


def trained(make, config, data, seconds: float, seed: int):
    "The model of a recipe after so many CPU seconds; `make` makes the recipe."
    per_step = seconds_a_step(make(), data, config.batch_size, seed)
    torch.manual_seed(seed)
    steps = max(4, round(seconds / per_step))
    model, _ = fit(make(), data, steps=steps, batch_size=config.batch_size, seed=seed, pictures=5)
    return model


def train_vae(arm: dict, data: dict, n: int) -> dict:
    config = VAEConfig()
    model = trained(lambda: VAERecipe(config, data), config, data["train"], arm["seconds"], arm["seed"])
    return judge(draw_images(model, n, arm["seed"]), data["test"], n)


def train_pair(arm: dict, data: dict, n: int) -> dict:
    "A third of the time for the VQ-VAE, two thirds for its prior."
    first, second, seed = VQVAEConfig(), TokenPriorConfig(), arm["seed"]
    vqvae = trained(lambda: VQVAERecipe(first, data), first, data["train"], arm["seconds"] / 3, seed)
    codes = encode_all(vqvae, data)
    prior = trained(lambda: TokenPriorRecipe(second, codes), second, codes["train"], 2 * arm["seconds"] / 3, seed)
    return judge(generate(prior, vqvae, n, seed=seed), data["test"], n)


def at(curve: list[dict], seconds: float, name: str) -> float | None:
    "A value at the look nearest to a time; None where a run was shorter."
    if not curve or curve[-1]["seconds"] < 0.9 * seconds:
        return None
    return min(curve, key=lambda point: abs(point["seconds"] - seconds)).get(name)


def run(arm: dict) -> dict:
    torch.set_num_threads(1)
    splits = ("train", "validation", "test")
    data = {split: load_images("fashion_mnist", split, n=arm.get("images")) for split in splits}
    n = arm.get("judged", 5_000)
    if arm["recipe"] in ("vae", "vq prior"):
        curve, found = [], dict(vae=train_vae, **{"vq prior": train_pair})[arm["recipe"]](arm, data, n)
    else:
        curve, found = train_gan(arm, data, n)
    best = min(curve, key=lambda point: point["fid"], default={})
    values = {f"{name}_{seconds}": at(curve, seconds, name) for seconds in (FAULT, SHORT)
              for name in ("fid", "step", "real", "fake", "held_out")}
    last = curve[-1]["fid"] if curve else None
    return found | values | dict(best_fid=best.get("fid"), best_at=best.get("seconds"), last_fid=last, curve=curve)
