"""ViTGANs on Fashion-MNIST at equal time, and what their parts are worth (chapter 62_vitgan).

Time is CPU time of one thread, without that of the looks on the way. Three seeds of a transformer on either side and on
both for 540 seconds, beside convolutions on both sides under the same recipe, chapter 50's DCGAN and chapter 51's
design; then, for 240 seconds and two seeds each, parts of the generator left out against a critic of convolutions,
parts of the discriminator left out or added beside a generator of convolutions, and what might keep the pair from
training. Some five hours with one thread; arms may run side by side.
"""

import copy
import math

import torch
from clock import at, judge, train_for
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from genlab.gan.dcgan import DCGANConfig, DCGANRecipe
from genlab.gan.stable_gan import RelGANConfig, RelGANRecipe
from genlab.lab.images import load_images
from genlab.lab.layers import TransformerBlock
from genlab.lab.pictures import draw_images
from genlab.vitgan.discriminator import ViTDiscriminator
from genlab.vitgan.generator import ViTGenerator, pixel_norm
from genlab.vitgan.vitgan import ViTGANConfig, ViTGANRecipe

LONG, SHORT = 540, 240
WITH_CNN_D = dict(discriminator="cnn", lr=2e-3)
WITH_CNN_G = dict(generator="cnn")
DESIGNS = {
    "ViT-G, CNN-D": WITH_CNN_D,
    "CNN-G, ViT-D": WITH_CNN_G,
    "ViT-G, ViT-D": {},
}
HELD = {"improved spectral norm": dict(normalised=True), "no penalty": dict(gamma=0.0)}
CHANGED = {
    "ViT-G, CNN-D": {
        "whole": {},
        "style added to the tokens": dict(recipe="added"),
        "no mapping": dict(recipe="no mapping"),
        "places not learned": dict(recipe="fixed places"),
        "head linear": dict(head="linear"),
        "head siren": dict(head="siren"),
        "head cips": dict(head="cips"),
        "StyleGAN2's discriminator": dict(discriminator="stylegan2"),
    },
    "CNN-G, ViT-D": {
        "whole": {},
        "attention by products": dict(recipe="products"),
        "no overlap": dict(recipe="no overlap"),
        "DiffAugment": dict(augment=0.8),
        "consistency": dict(consistency=10.0),
    } | HELD,
    "ViT-G, ViT-D": {
        "whole": {},
        "with labels": dict(conditional=True),
        "PyTorch's start": dict(recipe="PyTorch's start"),
        "non-saturating": dict(loss="non-saturating"),
    } | HELD,
}
ARMS = [
    *(dict(dict(arm=name, recipe="vitgan", seconds=LONG, seed=seed), **settings)
      for seed in range(3) for name, settings in DESIGNS.items()),
    *(dict(dict(arm=name, recipe=recipe, seconds=LONG, seed=seed), **settings) for seed in range(2)
      for name, recipe, settings in (("CNN-G, CNN-D", "vitgan", WITH_CNN_G | WITH_CNN_D), ("dcgan", "dcgan", {}),
                                     ("relgan", "relgan", {}))),
    *(dict(arm=f"{design}: {name}", seconds=SHORT, seed=seed, **dict(recipe="vitgan") | DESIGNS[design] | changed)
      for seed in range(2) for design, changes in CHANGED.items() for name, changed in changes.items()),
]
TRIED = ("added", "no mapping", "fixed places", "products", "no overlap", "PyTorch's start", "dcgan", "relgan")
SMOKE = [dict(arm, seconds=1, images=1_000, judged=100)
         for arm in ARMS if arm["seed"] == 0 and (arm["recipe"] in TRIED or arm["arm"] in DESIGNS)]


class Deaf(nn.LayerNorm):
    "A LayerNorm in the place of one that is told a style."

    def forward(self, h, w):
        return super().forward(h)


class AddedStyle(ViTGenerator):
    "The style is added to the tokens once, before all blocks, and no norm is told it."

    def __init__(self, shape, width=96, **settings):
        super().__init__(shape, width=width, **settings)
        self.added = nn.Linear(width, width)
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


class ProductBlock(TransformerBlock):
    "Attention by products, in the form that has second derivatives."

    def attend(self, *args, **kwargs):
        with sdpa_kernel([SDPBackend.MATH]):
            return super().attend(*args, **kwargs)


def with_discriminator(**changed) -> type[ViTGANRecipe]:
    "With another setting of the discriminator, which the command line doesn't offer."
    def new_discriminator(self, n_labels):
        c = self.config
        return ViTDiscriminator(self.data.shape, **dict(width=c.width, depth=c.depth, n_heads=c.n_heads) | changed)

    return type("Changed", (ViTGANRecipe,), dict(new_discriminator=new_discriminator))


class PyTorchsStart(ViTGANRecipe):
    "The blocks' linear layers begin as PyTorch has them."

    def new_discriminator(self, n_labels):
        d = super().new_discriminator(n_labels)
        for layer in d.blocks.modules():
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        return d


RECIPES = {
    "vitgan": (ViTGANRecipe, ViTGANConfig), "dcgan": (DCGANRecipe, DCGANConfig), "relgan": (RelGANRecipe, RelGANConfig),
    "added": (with_generator(AddedStyle), ViTGANConfig), "no mapping": (with_generator(NoMapping), ViTGANConfig),
    "fixed places": (with_generator(FixedPlaces), ViTGANConfig),
    "products": (with_discriminator(block=ProductBlock), ViTGANConfig),
    "no overlap": (with_discriminator(overlap=0), ViTGANConfig), "PyTorch's start": (PyTorchsStart, ViTGANConfig),
}


def run(arm: dict) -> dict:
    torch.set_num_threads(1)
    splits = ("train", "validation", "test")
    data = {split: load_images("fashion_mnist", split, n=arm.get("images")) for split in splits}
    n = arm.get("judged", 5_000)
    recipe_class, config_class = RECIPES[arm["recipe"]]
    settings = {name: value for name, value in arm.items() if hasattr(config_class, name)}
    recipes, found = [], {}

    def make(steps):
        recipes[:] = [recipe_class(config_class(steps=steps, **settings), data)]
        return recipes[0]

    def look(model, values, seconds):
        if not found and seconds >= 0.97 * min(SHORT, arm["seconds"]):
            found.update(judge(data["test"], draw_images(model, n, arm["seed"])))
            raw = copy.deepcopy(recipes[0].model).eval()  # the weights of the moment, not their average
            found["fid_raw"] = judge(data["test"], draw_images(raw, n, arm["seed"]))["fid"]
        return values

    _, progress, about = train_for(make, arm["seed"], seconds=arm["seconds"], looks=max(2, arm["seconds"] // 30),
                                   at_look=look)
    model = progress.average.module.eval()
    end = judge(data["test"], draw_images(model, n, arm["seed"])) if arm["seconds"] > SHORT or not found else found
    curve = about["curve"]
    size = sum(p.numel() for p in model.parameters())
    return found | {f"end_{name}": value for name, value in end.items()} | dict(
        steps=about["steps"], parameters=size, held_out=at(curve, arm["seconds"], "held_out"),
        fake=at(curve, arm["seconds"], "fake"), seen=at(curve, arm["seconds"], "seen"), curve=curve)
