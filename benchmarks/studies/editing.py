"""What makes a decoder follow a switched label while the code is kept (chapter 34_editing).

Faces of 32 pixels; two seeds each, three of the best. Every arm has the same networks but for what its name says, the
same steps, and the same judge; edits that need no training are measured on every arm. Some 60 minutes with one thread.
"""

import time
from functools import partial

import torch
import torch.nn.functional as F

from genlab.lab.images import ImageSet, load_images, to_uint8
from genlab.lab.metrics import feature_stats, fit_classifier, frechet_distance, load_extractor, mse, ssim
from genlab.lab.pictures import HeldOut, draw_images
from genlab.lab.training import fit
from genlab.points.vae import kl_per_dim, reparameterise
from genlab.vae.cvae import CVAEConfig, CVAERecipe, agreement, edits, keep_code, read
from genlab.vae.editing import EditingCVAEConfig, EditingCVAERecipe, exaggerate, label_loss, move_code
from genlab.vae.vae import draw_codes

FACES = dict(data="faces", size=32, widths=[64, 128], patch=4, batch_size=64, steps=800)
ARMS = [
    *(dict(arm="as in chapter 32", seed=seed, **FACES) for seed in range(2)),
    *(dict(arm="twice as long", seed=seed, **FACES | dict(steps=1_600)) for seed in range(2)),
    *(dict(arm=f"{size} latents", seed=seed, latent_dim=size, **FACES) for size in (16, 8, 4) for seed in range(2)),
    *(dict(arm=f"beta {beta}", seed=seed, beta=float(beta), **FACES) for beta in (2, 4, 8) for seed in range(2)),
    *(dict(arm=f"independence {weight}", seed=seed, independence=float(weight), **FACES)
      for weight in (10, 100, 1_000) for seed in range(2)),
    *(dict(arm=f"reader {weight}", seed=seed, reader=float(weight), **FACES)
      for weight in (100, 300, 1_000) for seed in range(2)),
    *(dict(arm="reader trained along", seed=seed, along=300.0, **FACES) for seed in range(3)),
    *(dict(arm="reader of own labels", seed=seed, along=300.0, own=True, **FACES) for seed in range(2)),
]
SMOKE = [dict(arm, steps=20, images=1_000, judged=100) for arm in ARMS
         if arm["seed"] == 0 and arm["arm"] in ("independence 10", "reader of own labels")]
EDITED = ("Smiling", "Hat", "Eyeglasses", "Beard", "Dark_Skin")


def correlations(z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:  # (B, Z), (B, A) -> (Z, A)
    "Of each latent dimension with each attribute; 0 for an attribute that all or none of the batch have."
    z = (z - z.mean(dim=0)) / z.std(dim=0)
    c = (c - c.mean(dim=0)) / c.std(dim=0).clamp(min=1e-3)
    return z.T @ c / (len(z) - 1)


class StudyRecipe(CVAERecipe):
    "The recipe of chapter 32 with a remedy in the loss; the weights with the best held-out loss are kept."

    def __init__(self, config, data, beta=1.0, independence=0.0, reader=None, weight=0.0):
        super().__init__(config, data)
        self.beta = beta
        self.independence = independence
        self.reader = reader
        self.weight = weight

    def step(self, update, t):
        return update("model", lambda x, y: self.penalised(self.model, x, y))

    def validate(self, model):
        return HeldOut(self.splits["validation"], model, 1_000).mean(lambda x, y: self.penalised(model, x, y))

    def penalised(self, model, x, y):
        mu, logvar = model.encode(x, y)
        z = reparameterise(mu, logvar)
        reconstruction = -model.pixels(x, model.decode_all(z, y)).mean()
        kl = kl_per_dim(mu, logvar).sum(dim=1).mean()
        penalty = torch.zeros(())
        if self.independence:  # the product of two halves' correlations is right on average: noise has no mean
            first, second = (correlations(*half) for half in zip(z.chunk(2), model.condition(y).chunk(2), strict=True))
            penalty = self.independence * (first * second).sum()
        if self.reader is not None:  # another face's label with this code: a classifier has to read that label
            asked = y[torch.randperm(len(y))]
            penalty = self.weight * label_loss(self.reader(model.decode(z, asked)), asked).mean()
        loss = reconstruction + self.beta * kl + penalty
        return dict(loss=loss, reconstruction=reconstruction, kl=kl, penalty=penalty)


class OwnLabels(EditingCVAERecipe):
    "A control: the classifier judges codes under their own labels, as reconstructions are."

    def other_labels(self, y):
        return y


EDITS = dict(kept=keep_code, overdo_2=partial(exaggerate, strength=2), overdo_4=partial(exaggerate, strength=4),
             move_1=partial(move_code, strength=1), move_2=partial(move_code, strength=2))


def probe(model, data: dict[str, ImageSet], seed: int) -> float:
    "Balanced accuracy of a linear reader of draws of codes, mean over the edited attributes."
    train, test = (data[split].take(slice(n)) for split, n in (("train", 8_000), ("test", 2_000)))
    A, B = (F.pad(draw_codes(model, images, seed)[1], (1, 0), value=1.0) for images in (train, test))
    numbers = [train.names.index(name) for name in EDITED]
    c = train.y[:, numbers].float()
    share = c.mean(dim=0)
    w = torch.where(train.y[:, numbers], 0.5 / share, 0.5 / (1 - share))   # both sides count alike
    found = []
    for k in range(len(numbers)):
        weighted = A * w[:, k, None]
        solution = torch.linalg.solve(weighted.T @ A + torch.eye(A.shape[1]), weighted.T @ (2 * c[:, k] - 1))
        found.append(B @ solution > 0)
    return agreement(torch.stack(found, dim=1), test.y[:, numbers])["balanced"].item()


def edited(model, test: ImageSet, n: int) -> dict[str, float]:
    "What is read after each kind of edit."
    extractor = load_extractor(test.name)
    x, y = next(test.take(slice(n)).pieces(n))
    with torch.no_grad():
        found = dict(reconstructed=agreement(read(model.reconstruct(x, y), extractor), y)["balanced"].item())
    for name, edit in EDITS.items():
        switched = edits(model, x, y, [test.names.index(k) for k in EDITED], extractor, edit)
        found |= {f"{name}: {k}": value for k, value in zip(EDITED, switched["read"].tolist(), strict=True)}
        found |= {f"{name}: {column}": switched[column].mean().item() for column in ("read", "unedited", "kept")}
    return found


def run(arm: dict) -> dict[str, float]:
    torch.set_num_threads(1)
    seed = arm["seed"]
    n = arm.get("judged", 1_000)
    data = {split: load_images(arm["data"], split, size=arm["size"], n=arm.get("images"))
            for split in ("train", "validation", "test")}
    settings = {k: tuple(v) if k == "widths" else v for k, v in arm.items()
                if k in ("steps", "widths", "patch", "batch_size", "latent_dim")}
    config = CVAEConfig(**settings)
    remedy = {k: arm[k] for k in ("beta", "independence") if k in arm}
    start = time.perf_counter()
    if "reader" in arm:  # not the judge: another network, at another size, from another seed
        reader = fit_classifier(data["train"], epochs=2, seed=100 + seed).eval().requires_grad_(False)
        remedy |= dict(reader=reader, weight=arm["reader"])
    torch.manual_seed(seed)
    if "along" in arm:
        config = EditingCVAEConfig(**settings, reader=arm["along"])
        recipe = (OwnLabels if "own" in arm else EditingCVAERecipe)(config, data)
    else:
        recipe = StudyRecipe(config, data, **remedy)
    model, progress = fit(recipe, recipe.data, steps=config.steps, batch_size=config.batch_size, seed=seed, pictures=1)
    seconds = time.perf_counter() - start
    recipe.finish(model, seed)
    test = data["test"]
    values = dict(train_seconds=seconds)
    with torch.no_grad():
        x, y = next(test.take(slice(500)).pieces(500))
        parts = model.loss(x, y)
        back = model.reconstruct(x, y)
    values |= {name: parts[name].item() for name in ("loss", "kl")}
    values |= dict(mse=mse(x, back).mean().item(), ssim=ssim(x, back).mean().item(), probe=probe(model, data, seed))
    extractor = load_extractor(test.name)
    made = draw_images(model, 2 * n, seed, test.y[:2 * n])
    real = feature_stats(test.x.split(500), extractor)
    values["fid"] = frechet_distance(real, feature_stats(to_uint8(made).split(500), extractor))
    said = agreement(read(made[:n], extractor), test.y[:n])
    return values | {name: said[name].item() for name in ("balanced", "all_right")} | edited(model, test, n)
