"""ViTGANs on Fashion-MNIST at equal time, and what their parts are worth (chapter 62_vitgan).

Time is that of one thread: an arm has as many steps as fit into its seconds at MS, what a step of each took on one
machine, one after the other and alone (`python -m studies.vitgan` in benchmarks/ measures that anew). Two seeds of a
transformer on either side and on both for 540 seconds, beside two with constant rates, convolutions on both sides
under the same recipe and chapter 50's DCGAN; three of a transformer that draws with as many steps as two threads do
in that time, and two of it with constant rates. Then, for 240 seconds and two seeds each, the generator's parts left
out or exchanged against a critic of convolutions, the discriminator's beside a generator of convolutions, and changes
to the pair. Rates are 1e-3, or what their chapters have where both are convolutions (2e-3; the DCGAN's), and fall in
the second half, the DCGAN's too. Some six hours with one thread; arms may run side by side.
"""

import copy
import math
from functools import partial
from unittest.mock import patch

import torch
from clock import judge, seconds_a_step, train_for
from torch import nn

from genlab.gan import dcgan
from genlab.gan.dcgan import DCGANConfig, DCGANRecipe
from genlab.lab.images import load_images
from genlab.lab.layers import TransformerBlock
from genlab.lab.pictures import draw_images
from genlab.vitgan.discriminator import ViTDiscriminator
from genlab.vitgan.generator import EqualLinear, ViTGenerator, pixel_norm
from genlab.vitgan.vitgan import ViTGANConfig, ViTGANRecipe

LONG, SHORT = 540, 240
WITH_CNN_D = dict(discriminator="cnn")
WITH_CNN_G = dict(generator="cnn")
DESIGNS = {
    "ViT-G, CNN-D": WITH_CNN_D,
    "CNN-G, ViT-D": WITH_CNN_G,
    "ViT-G, ViT-D": {},
}
HELD = {
    "no penalty": dict(gamma=0.0),
    "spectral norm, no penalty": dict(normalised=True, gamma=0.0),
}
CHANGED = {
    "ViT-G, CNN-D": {
        "whole": {},
        "constant rates": dict(recipe="constant"),
        "style added": dict(recipe="added"),
        "no mapping": dict(recipe="no mapping"),
        "places not learned": dict(recipe="fixed places"),
        "head linear": dict(head="linear"),
        "head siren": dict(head="siren"),
        "head cips": dict(head="cips"),
    },
    "CNN-G, ViT-D": {
        "whole": {},
        "constant rates": dict(recipe="constant"),
        "products, queries and keys untied": dict(recipe="products"),
        "no overlap": dict(recipe="no overlap"),
        "DiffAugment": dict(augment=0.8),
        "consistency": dict(consistency=10.0),
        **HELD,
    },
    "ViT-G, ViT-D": {
        "whole": {},
        "constant rates": dict(recipe="constant"),
        "with labels": dict(conditional=True),
        "non-saturating": dict(loss="non-saturating"),
        **HELD,
        "the paper's regularisers": dict(loss="non-saturating", normalised=True, gamma=0.0, augment=0.8,
                                         consistency=10.0),
    },
}
MS = {  # milliseconds of a step, the lower of two measurements; what costs nothing has the whole's
    "ViT-G, CNN-D": 126,
    "CNN-G, ViT-D": 257,
    "ViT-G, ViT-D": 316,
    "ViT-G, ViT-D, constant rates": 316,
    "CNN-G, CNN-D": 66,
    "dcgan": 51,
    "ViT-G, CNN-D on two cores": 100,  # with two threads
    "ViT-G, CNN-D on two cores, constant rates": 100,
    "ViT-G, CNN-D: whole": 126,
    "ViT-G, CNN-D: constant rates": 126,
    "ViT-G, CNN-D: style added": 120,
    "ViT-G, CNN-D: no mapping": 126,
    "ViT-G, CNN-D: places not learned": 126,
    "ViT-G, CNN-D: head linear": 120,
    "ViT-G, CNN-D: head siren": 156,
    "ViT-G, CNN-D: head cips": 179,
    "CNN-G, ViT-D: whole": 257,
    "CNN-G, ViT-D: constant rates": 257,
    "CNN-G, ViT-D: products, queries and keys untied": 262,
    "CNN-G, ViT-D: no overlap": 251,
    "CNN-G, ViT-D: DiffAugment": 260,
    "CNN-G, ViT-D: consistency": 378,
    "CNN-G, ViT-D: no penalty": 215,
    "CNN-G, ViT-D: spectral norm, no penalty": 231,  # not measured: no penalty's, and what the norm adds to a step
    "ViT-G, ViT-D: whole": 316,
    "ViT-G, ViT-D: constant rates": 316,
    "ViT-G, ViT-D: with labels": 330,
    "ViT-G, ViT-D: non-saturating": 308,
    "ViT-G, ViT-D: no penalty": 283,
    "ViT-G, ViT-D: spectral norm, no penalty": 303,  # nor this
    "ViT-G, ViT-D: the paper's regularisers": 386,
}


def timed(arm: dict) -> dict:
    "With as many steps as fit into its seconds."
    return dict(arm, steps=round(1_000 * arm["seconds"] / MS[arm["arm"]]))


TWO_CORES = "ViT-G, CNN-D on two cores"
CNNS = WITH_CNN_G | WITH_CNN_D | dict(lr=2e-3)
UNTIMED = [
    *(dict(dict(arm=name, recipe=recipe, seconds=LONG, seed=seed), **settings) for seed in range(2)
      for name, recipe, settings in (*((name, "vitgan", settings) for name, settings in DESIGNS.items()),
                                     ("ViT-G, ViT-D, constant rates", "constant", {}),
                                     ("CNN-G, CNN-D", "vitgan", CNNS), ("dcgan", "dcgan", {}))),
    *(dict(dict(arm=name, recipe=recipe, seconds=LONG, seed=seed), **WITH_CNN_D)
      for name, recipe, seeds in ((TWO_CORES, "vitgan", 3), (f"{TWO_CORES}, constant rates", "constant", 2))
      for seed in range(seeds)),
    *(dict(arm=f"{design}: {name}", seconds=SHORT, seed=seed, **dict(recipe="vitgan") | DESIGNS[design] | changed)
      for seed in range(2) for design, changes in CHANGED.items() for name, changed in changes.items()),
]
ARMS = [timed(arm) for arm in UNTIMED if arm["arm"] in MS]  # the others have to be measured first
SMOKE = [dict(arm, steps=4, images=1_000, judged=100)  # the first of each recipe; all designs are among them
         for arm in {arm["recipe"]: arm for arm in reversed(ARMS)}.values()]


class Deaf(nn.LayerNorm):
    "A LayerNorm in the place of one that is told a style."

    def forward(self, h, w):
        return super().forward(h)


class AddedStyle(ViTGenerator):
    "The style is added to the tokens once, before all blocks, and no norm is told it."

    def __init__(self, shape, width=96, **settings):
        super().__init__(shape, width=width, **settings)
        self.added = EqualLinear(width, width)
        for block in self.blocks:
            block.norm1, block.norm2 = Deaf(width), Deaf(width)
        self.norm = Deaf(width)

    def tokens(self, w):
        h = self.places + self.added(w)[:, None]
        for block in self.blocks:
            h = block(h, w)
        return self.norm(h, w)


class Embedded(nn.Module):
    "The code itself as the style, in a fixed basis of so many numbers."

    def __init__(self, latent_dim, width):
        super().__init__()
        basis = torch.linalg.qr(torch.randn(width, latent_dim))[0]  # (width, latent_dim)
        self.register_buffer("basis", basis * math.sqrt(width / latent_dim))

    def forward(self, z, c=None):
        return pixel_norm(z) @ self.basis.T


class NoMapping(ViTGenerator):
    def __init__(self, shape, latent_dim=64, width=96, **settings):
        super().__init__(shape, latent_dim=latent_dim, width=width, **settings)
        self.mapping = Embedded(latent_dim, width)


class FixedPlaces(ViTGenerator):
    "The tokens' places are random, and stay."

    def __init__(self, shape, **settings):
        super().__init__(shape, **settings)
        places = self.places.detach()
        del self.places
        self.register_buffer("places", places)


def with_generator(model: type) -> type[ViTGANRecipe]:
    return type(model.__name__, (ViTGANRecipe,), dict(generator_class=classmethod(lambda cls, config: model)))


def with_discriminator(**changed) -> type[ViTGANRecipe]:
    "With another setting of the discriminator, which the command line doesn't offer."
    def new_discriminator(self, n_labels):
        c = self.config
        return ViTDiscriminator(self.data.shape, **dict(width=c.width, depth=c.depth, n_heads=c.n_heads) | changed)

    return type("Changed", (ViTGANRecipe,), dict(new_discriminator=new_discriminator))


class ConstantRates(ViTGANRecipe):
    "Rates rise, and stay."

    def schedule(self, name, t):
        super().schedule(name, min(t, 0.5))


class FallingDCGAN(DCGANRecipe):
    "Chapter 50's, whose rate falls in the second half as that of the others does."

    def schedule(self, name, t):
        for group in self.optimizers[name].param_groups:
            group["lr"] = self.config.lr * min(1.0, 2 * (1 - t))


RECIPES = {
    "vitgan": (ViTGANRecipe, ViTGANConfig), "dcgan": (FallingDCGAN, DCGANConfig),
    "added": (with_generator(AddedStyle), ViTGANConfig), "no mapping": (with_generator(NoMapping), ViTGANConfig),
    "fixed places": (with_generator(FixedPlaces), ViTGANConfig), "constant": (ConstantRates, ViTGANConfig),
    "products": (with_discriminator(block=partial(TransformerBlock, twice_differentiable=True)), ViTGANConfig),
    "no overlap": (with_discriminator(overlap=0), ViTGANConfig),
}


def maker(arm: dict) -> tuple:  # from a number of steps to a recipe; the images
    torch.set_num_threads(1)
    splits = ("train", "validation", "test")
    data = {split: load_images("fashion_mnist", split, n=arm.get("images")) for split in splits}
    recipe_class, config_class = RECIPES[arm["recipe"]]
    settings = {name: value for name, value in arm.items() if hasattr(config_class, name) and name != "steps"}
    return lambda steps: recipe_class(config_class(steps=steps, **settings), data), data


def run(arm: dict) -> dict:
    make_recipe, data = maker(arm)
    recipes = []

    def make(steps):
        recipes[:] = [make_recipe(steps)]
        return recipes[0]

    def numbers(model):
        "Of samples of a generator as it is, in a copy: BatchNorm's averages stay."
        images = draw_images(copy.deepcopy(model).eval(), arm.get("judged", 5_000), arm["seed"])
        return judge(data["test"], images)

    with patch.object(dcgan, "N_LOOK", arm.get("judged", dcgan.N_LOOK)):  # samples of a look
        looks = max(2, arm["seconds"] // 60)
        _, progress, about = train_for(make, arm["seed"], steps=arm["steps"], looks=looks)
    networks, last = recipes[0].networks, about["curve"][-1]
    return numbers(progress.average.module) | dict(
        fid_raw=numbers(recipes[0].model)["fid"],  # of the weights of the moment, not their average
        steps=about["steps"], took=about["took"],
        **{f"{name}_parameters": sum(w.numel() for w in net.parameters()) for name, net in networks.items()},
        **{name: last[name] for name in ("seen", "held_out", "fake")}, curve=about["curve"])


if __name__ == "__main__":
    for arm in UNTIMED:
        if arm["seed"] == 0:
            print(f'    "{arm["arm"]}": {1_000 * seconds_a_step(maker(arm)[0], 0, 24):.0f},', flush=True)
