"""GANs on Fashion-MNIST at equal time (chapters 50_dcgan and 51_stable_gan), beside the course's VAE and VQ prior.

Time is CPU time of one thread, without that of the looks on the way. Three seeds of the DCGAN and of the relativistic
design for 900 seconds; for 300 seconds other sizes of the code, the minimax loss, spectral norm, the VAE of chapter 31
and chapter 42's pair; for 150 seconds faults, parts of the design left out, stacks of three garments, and 500 images.
Some four hours with one thread; arms may run side by side.
"""

import torch
from clock import judge, train_for

from genlab.gan.dcgan import (
    DCGANConfig,
    DCGANRecipe,
    d_logistic_loss,
    g_minimax_loss,
    nearest_training,
)
from genlab.gan.stable_gan import (
    GAN_LOSSES,
    RelGANConfig,
    RelGANRecipe,
    SNGANConfig,
    SNGANRecipe,
    stacks,
    stacks_covered,
)
from genlab.lab.images import load_images, to_float
from genlab.lab.metrics import load_extractor
from genlab.lab.pictures import draw_images
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
    *(dict(arm="relgan", recipe="relgan", seconds=LONG, seed=seed) for seed in range(3)),
    *(dict(arm="sngan", recipe="sngan", seconds=SHORT, seed=seed) for seed in range(2)),
    *(dict(arm=f"{name}, stacks", recipe=name, stacks=50_000, seconds=FAULT, seed=seed)
      for name in ("dcgan", "sngan", "relgan") for seed in range(1)),
    *(dict(arm=f"500 {data}{said}", recipe="relgan", data=data, few=500, augment=augment, seconds=FAULT, seed=seed)
      for data in ("emoji", "fashion_mnist") for augment, said in ((0.0, ""), (0.8, ", augmented"))
      for seed in range(2)),
    *(dict(arm="500 fashion_mnist, augmented for D only", recipe="for D only", data="fashion_mnist", few=500,
           augment=0.8, seconds=FAULT, seed=seed) for seed in range(1)),
    *(dict(arm=f"relgan, {name}", recipe=recipe, seconds=FAULT, seed=seed, **settings)
      for name, recipe, settings in (("no penalty", "relgan", dict(gamma=0.0)), ("not paired", "not paired", {}))
      for seed in range(2)),
]
TRIED = ("dcgan, minimax", "vq prior", "mixed batch", "relgan", "sngan", "relgan, stacks", "500 emoji, augmented",
         "relgan, not paired")
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


class NotPaired(RelGANRecipe):
    "Each image is judged by itself; all else is as in the design."

    losses = GAN_LOSSES["non-saturating"]
    paired = False


class ForDOnly(RelGANRecipe):
    "Images are changed in D's step, and not in G's."

    def g_loss(self, x, y):
        self.plain = True
        try:
            return super().g_loss(x, y)
        finally:
            self.plain = False

    def augmented(self, x):
        return x if getattr(self, "plain", False) else super().augmented(x)


GANS = dict(dcgan=(DCGANRecipe, DCGANConfig), minimax=(Minimax, DCGANConfig))
GANS |= {"mixed batch": (MixedBatch, DCGANConfig), "D too strong": (StrongD, DCGANConfig)}
GANS |= {"relgan": (RelGANRecipe, RelGANConfig), "sngan": (SNGANRecipe, SNGANConfig)}
GANS |= {"not paired": (NotPaired, RelGANConfig), "for D only": (ForDOnly, RelGANConfig)}


def numbers(images, data: dict, n: int) -> dict[str, float]:
    "The numbers of samples against test images; of stacks, which kinds there are."
    if "stacked" in data["test"].name:
        return stacks_covered(images[:n], load_extractor("fashion_mnist"))
    return judge(data["test"], images[:n])


def train_gan(arm: dict, data: dict, n: int) -> tuple[list[dict], dict]:
    "The curve, and what the averaged generator reaches after 300 seconds, or at the end of a shorter run."
    recipe_class, config_class = GANS[arm["recipe"]]
    settings = {k: v for k, v in arm.items() if hasattr(config_class, k)}
    found = {}

    def look(model, values, seconds):
        if not found and seconds >= 0.97 * min(SHORT, arm["seconds"]):
            found.update(numbers(draw_images(model, n, arm["seed"]), data, n))
        if "stacks" in arm:
            values.pop("fid")  # there is no judge of stacks
        return values

    _, progress, about = train_for(lambda steps: recipe_class(config_class(**settings), data), arm["seed"],
                                   seconds=arm["seconds"], looks=max(2, arm["seconds"] // 30), at_look=look)
    made = draw_images(progress.average.module.eval(), n, arm["seed"])
    found = found or numbers(made, data, n)
    if "few" in arm:
        held = to_float(data["test"].x[:1_000])
        near, far = (nearest_training(x, data["train"].x)[0].median().item() for x in (made[:1_000], held))
        found["nearest"] = near / far
    logged = {row["step"]: row for row in progress.log}
    curve = [point | {name: round(logged[point["step"]][f"discriminator_{name}"], 3) for name in ("real", "fake")}
             for point in about["curve"]]
    return curve, found


def train_vae(arm: dict, data: dict, n: int) -> dict:
    model, _, _ = train_for(lambda steps: VAERecipe(VAEConfig(), data), arm["seed"], seconds=arm["seconds"], looks=5)
    return numbers(draw_images(model, n, arm["seed"]), data, n)


def train_pair(arm: dict, data: dict, n: int) -> dict:
    "A third of the time for the VQ-VAE, two thirds for its prior."
    seed, third = arm["seed"], arm["seconds"] / 3
    vqvae, _, _ = train_for(lambda steps: VQVAERecipe(VQVAEConfig(), data), seed, seconds=third, looks=5)
    codes = encode_all(vqvae, data)
    prior, _, _ = train_for(lambda steps: TokenPriorRecipe(TokenPriorConfig(), codes), seed, seconds=2 * third, looks=5)
    return numbers(generate(prior, vqvae, n, seed=seed), data, n)


def at(curve: list[dict], seconds: float, name: str) -> float | None:
    "A value at the look nearest to a time; None where a run was shorter."
    if not curve or curve[-1]["seconds"] < 0.9 * seconds:
        return None
    return min(curve, key=lambda point: abs(point["seconds"] - seconds)).get(name)


def load(arm: dict) -> dict:
    "All splits; of stacks; or a few training images, and as held-out ones those that are not among them."
    name = arm.get("data", "fashion_mnist")
    n = arm.get("images") if name == "fashion_mnist" else None
    data = {split: load_images(name, split, n=n) for split in ("train", "validation", "test")}
    if "stacks" in arm:
        return {split: stacks(images, arm["stacks"]) for split, images in data.items()}
    if name == "emoji":  # its validation and test splits are small
        data["validation"] = data["test"] = data["train"].take(slice(arm["few"], None))
    return data | (dict(train=data["train"].take(slice(arm["few"]))) if "few" in arm else {})


def run(arm: dict) -> dict:
    torch.set_num_threads(1)
    data = load(arm)
    n = min(arm.get("judged", 10_000 if "stacks" in arm else 5_000), len(data["test"]))
    if arm["recipe"] in ("vae", "vq prior"):
        curve, found = [], dict(vae=train_vae, **{"vq prior": train_pair})[arm["recipe"]](arm, data, n)
    else:
        curve, found = train_gan(arm, data, n)
    best = min(curve, key=lambda point: point["fid"], default={}) if "stacks" not in arm else {}
    values = {f"{name}_{seconds}": at(curve, seconds, name) for seconds in (FAULT, SHORT)
              for name in ("fid", "step", "real", "fake", "held_out")}
    last = curve[-1].get("fid") if curve else None
    return found | values | dict(best_fid=best.get("fid"), best_at=best.get("seconds"), last_fid=last, curve=curve)
