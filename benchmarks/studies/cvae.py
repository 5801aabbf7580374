"""Conditional VAEs (chapter 32_cvae): who obeys, and three ways to build one wrong; three seeds each.

Fashion-MNIST, and faces of 32 pixels, all with one network and the same steps, and these faces once more with the
steps that they would take. Some 50 minutes with one thread.
"""

import time

import torch

from genlab.lab.images import ImageSet, load_images, to_uint8
from genlab.lab.metrics import feature_stats, frechet_distance, load_extractor, mse, ssim
from genlab.lab.pictures import draw_images
from genlab.lab.training import fit
from genlab.vae.cvae import CVAE, CVAEConfig, CVAERecipe, agreement, edits, read

FASHION = dict(data="fashion_mnist", steps=1_600)
FACES = dict(data="faces", size=32, widths=[64, 128], patch=4, batch_size=64, steps=800)
ARMS = [
    *(dict(arm="fashion", seed=seed, **FASHION) for seed in range(3)),
    *(dict(arm="faces", seed=seed, **FACES) for seed in range(3)),
    *(dict(arm="faces, trained longer", seed=seed, **FACES | dict(steps=3_000)) for seed in range(2)),
    *(dict(arm=f"label only in the {told}", seed=seed, told=told, **FACES)
      for told in ("encoder", "decoder") for seed in range(3)),
    *(dict(arm="KL summed over the batch", seed=seed, beta=64.0, **FACES) for seed in range(3)),
]
SMOKE = [dict(arm, steps=20, images=1_000, judged=100) for arm in ARMS
         if arm["seed"] == 0 and arm["arm"] in ("fashion", "faces")]
EDITED = ("Smiling", "Hat", "Eyeglasses", "Beard", "Dark_Skin")


class Told(CVAE):
    "Only one half is told the label; the other one hears zeros."

    told = "both"

    def encode(self, x, y=None):
        return super().encode(x, torch.zeros_like(y) if self.told == "decoder" else y)

    def decode_all(self, z, y=None):
        return super().decode_all(z, torch.zeros_like(y) if self.told == "encoder" else y)


class StudyRecipe(CVAERecipe):
    "The chapter's recipe, with a weight on the KL."

    Model = Told

    def __init__(self, config, data, told="both", beta=1.0):
        super().__init__(config, data)
        self.model.told = told
        self.beta = beta

    def step(self, update, t):
        return update("model", lambda x, y: self.model(x, y, beta=self.beta))


def faces(model: CVAE, test: ImageSet, n: int) -> dict[str, float]:
    "Reconstructions, and what is read when one attribute at a time is switched and the code is kept."
    extractor = load_extractor(test.name)
    x, y = next(test.take(slice(n)).pieces(n))
    with torch.no_grad():
        back = model.reconstruct(x, y)
    kept = agreement(read(back, extractor), y)
    found = dict(reconstructed_balanced=kept["balanced"].item())
    switched = edits(model, x, y, [test.names.index(name) for name in EDITED], extractor)
    found |= {f"edit_{name}": value for name, value in zip(EDITED, switched["read"].tolist(), strict=True)}
    return found | {name: switched[column].mean().item()
                    for name, column in dict(edited="read", unedited="unedited", others_kept="kept").items()}


def run(arm: dict) -> dict[str, float]:
    torch.set_num_threads(1)
    seed = arm["seed"]
    n = arm.get("judged", 1_000)
    data = {split: load_images(arm["data"], split, size=arm.get("size"), n=arm.get("images"))
            for split in ("train", "validation", "test")}
    settings = {k: tuple(v) if k == "widths" else v for k, v in arm.items()
                if k in ("steps", "widths", "patch", "batch_size", "latent_dim")}
    how = {k: arm[k] for k in ("told", "beta") if k in arm}
    config = CVAEConfig(**settings)
    torch.manual_seed(seed)
    recipe = StudyRecipe(config, data, **how)
    start = time.perf_counter()
    model, progress = fit(recipe, recipe.data, steps=config.steps, batch_size=config.batch_size, seed=seed, pictures=1)
    seconds = time.perf_counter() - start
    recipe.finish(model, seed)
    test = data["test"]
    extractor = load_extractor(test.name)
    real = feature_stats(test.x.split(500), extractor)
    values = dict(train_seconds=seconds, parameters=sum(p.numel() for p in model.parameters()))
    with torch.no_grad():
        x, y = next(test.take(slice(500)).pieces(500))
        parts = model.loss(x, y)
        values |= {name: parts[name].item() for name in ("loss", "kl")}
        back = model.reconstruct(x, y)
        values |= dict(mse=mse(x, back).mean().item(), ssim=ssim(x, back).mean().item())
    for codes in ("prior", "marginal", "given"):
        made = draw_images(model, 2 * n, seed, test.y[:2 * n], codes=codes)
        values[f"fid_{codes}"] = frechet_distance(real, feature_stats(to_uint8(made).split(500), extractor))
        said = agreement(read(made[:n], extractor), test.y[:n])
        values |= {f"{name}_{codes}": share.item() for name, share in said.items() if share.ndim == 0}
    return values | (faces(model, test, n) if model.attributes else {})
