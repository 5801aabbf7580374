"""The models that the command line trains: a line for each."""

import importlib

from genlab import UserError

MODELS = {  # name on the command line: where its recipe is
    "pi-vae": "genlab.points.vae:PointVAERecipe",
    "pi-transformer-vae": "genlab.points.transformer_vae:TransformerPointVAERecipe",
    "pi-colour-vae": "genlab.points.likelihood:ColourVAERecipe",
    "ae": "genlab.vae.autoencoder:AutoEncoderRecipe",
    "vae": "genlab.vae.vae:VAERecipe",
    "cvae": "genlab.vae.cvae:CVAERecipe",
    "editing-cvae": "genlab.vae.editing:EditingCVAERecipe",
    "vit-cvae": "genlab.vae.vit_cvae:ViTCVAERecipe",
    "vqvae": "genlab.vq.vqvae:VQVAERecipe",
    "prior": "genlab.vq.prior:TokenPriorRecipe",
    "masked-prior": "genlab.vq.parallel:MaskedPriorRecipe",
    "dcgan": "genlab.gan.dcgan:DCGANRecipe",
    "sngan": "genlab.gan.stable_gan:SNGANRecipe",
    "relgan": "genlab.gan.stable_gan:RelGANRecipe",
    "cvae-gan": "genlab.gan.cvae_gan:CVAEGANRecipe",
    "vitgan": "genlab.vitgan.vitgan:ViTGANRecipe",
    "pi-flow": "genlab.flow.splines:SplinePointFlowRecipe",
    "realnvp": "genlab.flow.realnvp:RealNVPRecipe",
    "glow": "genlab.flow.glow:GlowRecipe",
    "spline-flow": "genlab.flow.splines:SplineFlowRecipe",
    "tarflow": "genlab.flow.tarflow:TarFlowRecipe",
}


def find_recipe(name: str) -> type:
    "The recipe behind a model's name."
    if name not in MODELS:
        raise UserError(f"there is no model {name!r}. There are {', '.join(MODELS)}; see `genlab list`.")
    module, recipe = MODELS[name].split(":")
    return getattr(importlib.import_module(module), recipe)
