"""What a critic does to a trained CVAE's decoder at equal time (chapter 52_cvae_gan).

An arm trains a CVAE for a fixed number of steps (the same for all arms of a seed), and goes on from there for 50 CPU
seconds of one thread, once as a CVAE (control) and once as a CVAE-GAN. With convolutions on Fashion-MNIST, three seeds,
another CVAE is trained for both times in one go. Then transformers, faces, and what is left out or done wrong: the
CVAE-GAN alone, three seeds. Looks on the way are not counted. An hour with one thread; arms may run side by side.
"""

from functools import lru_cache

import torch
from clock import train_for

from genlab.gan.cvae_gan import CVAEGANConfig, CVAEGANRecipe
from genlab.gan.stable_gan import Critic, relativistic_loss
from genlab.lab.images import load_images, to_uint8
from genlab.lab.metrics import evaluate_images, load_extractor, mse
from genlab.lab.pictures import HeldOut, draw_images
from genlab.vae.cvae import CVAEConfig, CVAERecipe, asked_and_read
from genlab.vae.vit_cvae import ViTCVAEConfig, ViTCVAERecipe

SECONDS = 50
CNN = dict(data="fashion_mnist", model="cvae", steps=500, seconds=SECONDS)
VIT = CNN | dict(model="vit-cvae", steps=500)
FACES = dict(data="faces", size=32, model="cvae", steps=500, seconds=2 * SECONDS)
CHANGED = {
    "no pretraining": dict(pretraining=0.0),
    "no feature matching": dict(feature_matching=0.0),
    "no reconstruction": dict(reconstruction=0.0, reconstruction_end=0.0),
    "falling reconstruction": dict(reconstruction_end=2.0),
    "blind critic": dict(recipe="blind"),
    "towards the fake target": dict(recipe="towards fake"),
    "sigmoid twice": dict(recipe="sigmoid twice"),
}
ARMS = [
    *(dict(arm="convolutions", recipe="cvae-gan", trained=["start", "control", "whole", "gan"], seed=seed, **CNN)
      for seed in range(3)),
    *(dict(arm="transformers", recipe="cvae-gan", trained=["start", "control", "gan"], seed=seed, **VIT)
      for seed in range(1)),
    dict(arm="faces", recipe="cvae-gan", trained=["start", "control", "gan"], seed=0, **FACES),
    *(dict(dict(arm=name, recipe="cvae-gan", trained=["gan"], seed=seed, **CNN), **changed)
      for seed in range(3) for name, changed in CHANGED.items()),
]
TRIED = ("convolutions", "transformers", "faces", "blind critic", "towards the fake target", "sigmoid twice")
SMOKE = [dict(arm, seconds=1, steps=4, images=600, judged=100)
         for arm in ARMS if arm["seed"] == 0 and arm["arm"] in TRIED]
MODELS = {"cvae": (CVAERecipe, CVAEConfig), "vit-cvae": (ViTCVAERecipe, ViTCVAEConfig)}


class Blind(CVAEGANRecipe):
    "The critic doesn't see the label."

    def new_discriminator(self, n_labels):
        return Critic(self.data.shape, self.config.critic_widths, self.config.critic_blocks)

    def look(self, x, y):
        critic = self.networks["discriminator"]
        h = critic.features(x)
        return h, critic.to_logit(h)[:, 0]


class TowardsFake(CVAEGANRecipe):
    "The decoder's pairs are the critic's: real ahead."

    losses = (relativistic_loss, relativistic_loss)


class SigmoidTwice(CVAEGANRecipe):
    "A sigmoid before a loss that takes logits."

    def look(self, x, y):
        h, logits = super().look(x, y)
        return h, logits.sigmoid()


RECIPES = {"cvae-gan": CVAEGANRecipe, "blind": Blind, "towards fake": TowardsFake, "sigmoid twice": SigmoidTwice}


def trained(make, seed: int, **how) -> tuple:  # the model, and about its training
    model, _, about = train_for(make, seed, **how)
    return model, about


@lru_cache(maxsize=1)
def load(name: str, size: int | None, n: int | None) -> dict:
    return {split: load_images(name, split, size=size, n=n) for split in ("train", "validation", "test")}


def cvae(arm: dict, steps: int, begin=None):
    "The recipe of a CVAE, new or going on from another one's weights."
    recipe_class, config_class = MODELS[arm["model"]]
    recipe = recipe_class(config_class(steps=steps), data_of(arm))
    if begin is not None:
        recipe.model.load_state_dict(begin.state_dict())
    return recipe


def data_of(arm: dict) -> dict:
    return load(arm["data"], arm.get("size"), arm.get("images"))


@lru_cache(maxsize=1)
def start_of(data: str, size: int | None, images: int | None, model: str, steps: int, seed: int):
    "The CVAE with which all arms of a seed begin."
    arm = dict(data=data, size=size, images=images, model=model)
    return trained(lambda steps: cvae(arm, steps), seed, steps=steps)


def judge(model, data: dict, n: int, seed: int) -> dict[str, float]:
    "Samples against test images, how often the label is read, and reconstructions."
    test = data["test"]
    found = evaluate_images(test, to_uint8(draw_images(model, n, seed)), load_extractor(test.name), seed=seed)
    found = {name: found[name] for name in ("fid", "kid", "precision", "recall", "coverage")}
    read = asked_and_read(model, test, seed=seed)
    found |= {name: read[name] for name in ("agreement", "balanced") if name in read}
    values = {name: row["value"] for name, row in found.items()}
    values |= {f"{name}_real": row["floor"] for name, row in found.items() if "floor" in row}
    held = HeldOut(test, model)
    return values | held.mean(lambda x, y: dict(mse=mse(x, model.reconstruct(x, y)).mean()))


def run(arm: dict) -> dict:
    torch.set_num_threads(1)
    data = data_of(arm)
    seed = arm["seed"]
    n = min(arm.get("judged", 5_000), len(data["test"]) // 2)
    begin, about = start_of(*(arm.get(name) for name in ("data", "size", "images", "model", "steps", "seed")))
    settings = {name: arm[name] for name in vars(CVAEGANConfig()) if name in arm and name != "steps"}
    gan = lambda steps: RECIPES[arm["recipe"]](  # noqa: E731
        CVAEGANConfig(steps=steps, **settings), data | dict(cvae=begin))
    ways = dict(start=lambda: (begin, about),
                control=lambda: trained(lambda steps: cvae(arm, steps, begin), seed, seconds=arm["seconds"]),
                whole=lambda: trained(lambda steps: cvae(arm, steps), seed, seconds=about["took"] + arm["seconds"]),
                gan=lambda: trained(gan, seed, seconds=arm["seconds"]))
    values = {}
    for name in arm["trained"]:
        model, said = ways[name]()
        found = judge(model.eval(), data, n, seed)
        real = {key: found.pop(key) for key in list(found) if key.endswith("_real")}
        values |= {f"{name}_{key}": value for key, value in (found | said).items()} | real
    return values
