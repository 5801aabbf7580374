"Small GANs for the tests of parts 5 and 6."

import pytest
import torch
from torch import nn

from genlab.gan.dcgan import DCGANConfig, DCGANRecipe
from genlab.gan.stable_gan import RelGANConfig, RelGANRecipe, SNGANConfig, SNGANRecipe
from genlab.lab.images import load_images
from genlab.vitgan.vitgan import ViTGANConfig, ViTGANRecipe

SMALL = dict(widths=(8, 16), latent_dim=6)
TINY = dict(width=8, depth=1, n_heads=2, latent_dim=6, critic_widths=(8, 16))
KINDS = {
    "dcgan": (DCGANRecipe, DCGANConfig, SMALL),
    "sngan": (SNGANRecipe, SNGANConfig, SMALL | dict(critic_widths=(8, 16))),
    "relgan": (RelGANRecipe, RelGANConfig, SMALL | dict(critic_widths=(8, 16))),
    "vitgan": (ViTGANRecipe, ViTGANConfig, TINY),
    "stylegan2": (ViTGANRecipe, ViTGANConfig, TINY | dict(discriminator="stylegan2", loss="non-saturating")),
}
# What gets no gradient at the start: real and generated images move the bias of the logit as much one way as the other,
# under hinges inside of their margins, under pairs always (test_stable_gan.py looks at it). The bias of the norm before
# the logit is a constant of the logit as well.
IDLE = {"dcgan": [], "sngan": ["to_logit.bias"], "relgan": ["to_logit.bias"],
        "vitgan": ["norm.bias", "to_logit.bias"], "stylegan2": []}
every_kind = pytest.mark.parametrize("kind", KINDS)


def splits() -> dict:
    return {split: load_images("shapes", split, size=16, n=n)
            for split, n in (("train", 600), ("validation", 100), ("test", 100))}


def make(kind: str, data, seed: int = 0, **settings):
    recipe_class, config_class, small = KINDS[kind]
    torch.manual_seed(seed)
    return recipe_class(config_class(**small | settings), data)


def stepped(recipe, n: int) -> None:
    "Plain steps on 16 images each, without the loop."
    for k in range(n):
        x, y = recipe.data[torch.arange(16) + k * 16]
        for name, loss in (("discriminator", recipe.d_loss), ("generator", recipe.g_loss)):
            for network in recipe.networks.values():
                network.zero_grad()
            loss(x, y)["loss"].backward()
            recipe.optimizers[name].step()


def awake(network: nn.Module, seed: int = 0) -> nn.Module:
    "The same with all weights moved, so that nothing is zero any more."
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for w in network.parameters():
            w += 0.1 * torch.randn(w.shape, generator=g, dtype=w.dtype)
    return network


def gradients(loss: torch.Tensor, network: nn.Module) -> list[torch.Tensor]:
    return torch.autograd.grad(loss, list(network.parameters()), materialize_grads=True)
