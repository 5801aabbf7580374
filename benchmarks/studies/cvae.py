"""Conditional VAEs (chapter 32_cvae): who obeys, what happens to a face whose label is switched, and what it costs.

Fashion-MNIST with three seeds; faces of 32 pixels: the model with three seeds, controls, and four remedies at three
strengths with two. Every arm has the same network but for what its name says, the same steps, and the same judge.
About 80 minutes with one thread.
"""

import time

import torch
import torch.nn.functional as F

from genlab.lab.images import ImageSet, load_images, to_uint8
from genlab.lab.metrics import feature_stats, fit_classifier, frechet_distance, load_extractor, mse, ssim
from genlab.lab.pictures import draw_images
from genlab.lab.training import fit
from genlab.vae.cvae import CVAE, CVAEConfig, CVAERecipe, agreement, edits, read

FASHION = dict(data="fashion_mnist", steps=1_600)
FACES = dict(data="faces", size=32, widths=[64, 128], patch=4, batch_size=64, steps=800)
ARMS = [
    *(dict(arm="fashion", seed=seed, **FASHION) for seed in range(3)),
    *(dict(arm="faces", seed=seed, **FACES) for seed in range(3)),
    *(dict(arm="twice as long", seed=seed, **FACES | dict(steps=1_600)) for seed in range(2)),
    *(dict(arm=f"label only in the {told}", seed=seed, told=told, **FACES)
      for told in ("encoder", "decoder") for seed in range(3)),
    *(dict(arm="KL summed over the batch", seed=seed, beta=64.0, **FACES) for seed in range(3)),
    *(dict(arm=f"{size} latents", seed=seed, latent_dim=size, **FACES) for size in (16, 8, 4) for seed in range(2)),
    *(dict(arm=f"beta {beta}", seed=seed, beta=float(beta), **FACES) for beta in (2, 4, 8) for seed in range(2)),
    *(dict(arm=f"independence {weight}", seed=seed, independence=float(weight), **FACES)
      for weight in (10, 100, 1_000) for seed in range(2)),
    *(dict(arm=f"reader {weight}", seed=seed, reader=float(weight), **FACES)
      for weight in (30, 300, 1_000) for seed in range(2)),
]
SMOKE = [dict(arm, steps=20) for arm in ARMS if arm["seed"] == 0 and arm["arm"] in ("fashion", "reader 30")]
EDITED = ("Smiling", "Hat", "Eyeglasses", "Beard", "Dark_Skin")
N = 1_000


class Told(CVAE):
    "Only one half is told the label; the other one hears zeros."

    told = "both"

    def encode(self, x, y=None):
        return super().encode(x, torch.zeros_like(y) if self.told == "decoder" else y)

    def decode_all(self, z, y=None):
        return super().decode_all(z, torch.zeros_like(y) if self.told == "encoder" else y)


class StudyRecipe(CVAERecipe):
    "The chapter's recipe, with a remedy in the loss."

    Model = Told

    def __init__(self, config, data, told="both", beta=1.0, independence=0.0, reader=0.0, judge=None):
        super().__init__(config, data)
        self.model.told = told
        self.weights = dict(beta=beta, independence=independence, reader=reader)
        self.judge = judge

    def step(self, update, t):
        return update("model", self.penalised)

    def penalised(self, x, y):
        model, weights = self.model, self.weights
        parts = model(x, y, beta=weights["beta"])
        if not weights["independence"] and not weights["reader"]:
            return parts
        mu, logvar = model.encode(x, y)
        z = mu + (0.5 * logvar).exp() * torch.randn_like(mu)
        penalty = 0.0
        if weights["independence"]:  # of code and label: their covariances, estimated from the batch
            c = model.condition(y)
            covariance = (z - z.mean(dim=0)).T @ (c - c.mean(dim=0)) / (len(z) - 1)
            penalty = weights["independence"] * covariance.square().sum()
        if weights["reader"]:  # another face's label with this code: a classifier has to read that label
            asked = y[torch.randperm(len(y), device=y.device)]
            logits = self.judge(model.decode(z, asked))
            penalty = weights["reader"] * F.binary_cross_entropy_with_logits(
                logits, asked.float(), reduction="none").sum(dim=1).mean()
        return parts | dict(loss=parts["loss"] + penalty, penalty=penalty)


def faces(model: CVAE, test: ImageSet) -> dict[str, float]:
    "Reconstructions, and what is read when one attribute at a time is switched and the code is kept."
    extractor = load_extractor(test.name)
    x, y = next(test.take(slice(N)).pieces(N))
    with torch.no_grad():
        back = model.reconstruct(x, y)
    kept = agreement(read(back, extractor), y)
    found = dict(reconstructed_balanced=kept["balanced"].item())
    switched = edits(model, x, y, [test.names.index(name) for name in EDITED], extractor)
    found |= {f"edit_{name}": value for name, value in zip(EDITED, switched["read"].tolist(), strict=True)}
    return found | dict(edited=switched["read"].mean().item(), others_kept=switched["kept"].mean().item())


def run(arm: dict) -> dict[str, float]:
    torch.set_num_threads(1)
    seed = arm["seed"]
    data = {split: load_images(arm["data"], split, size=arm.get("size")) for split in ("train", "validation", "test")}
    settings = {k: tuple(v) if k == "widths" else v for k, v in arm.items()
                if k in ("steps", "widths", "patch", "batch_size", "latent_dim")}
    remedy = {k: arm[k] for k in ("told", "beta", "independence", "reader") if k in arm}
    if arm.get("reader"):  # not the judge: another network, at another size, from another seed
        remedy["judge"] = fit_classifier(data["train"], epochs=2, seed=100 + seed).eval().requires_grad_(False)
    config = CVAEConfig(**settings)
    torch.manual_seed(seed)
    recipe = StudyRecipe(config, data, **remedy)
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
        values |= {name: model.loss(x, y)[name].item() for name in ("loss", "kl")}
        back = model.reconstruct(x, y)
        values |= dict(mse=mse(x, back).mean().item(), ssim=ssim(x, back).mean().item())
    for codes in ("prior", "marginal", "given"):
        made = draw_images(model, 2 * N, seed, test.y[:2 * N], codes=codes)
        values[f"fid_{codes}"] = frechet_distance(real, feature_stats(to_uint8(made).split(500), extractor))
        said = agreement(read(made[:N], extractor), test.y[:N])
        values |= {f"{name}_{codes}": share.item() for name, share in said.items() if share.ndim == 0}
    return values | (faces(model, test) if model.attributes else {})
