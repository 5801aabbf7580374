"""Convolutions against transformers in a conditional VAE (chapter 33_vit_cvae), at equal time and equal parameters.

Encoder and decoder in all four combinations, at two learning rates, two seeds each; what the ways of the code, the
number of tokens and the smoothing do; three seeds of both on Fashion-MNIST; both three times as long. Equal time is
equal CPU time of one thread: how many steps that makes is measured before each arm. Some 60 minutes with one thread.
"""

import time

import torch

from genlab.lab.images import load_images, to_uint8
from genlab.lab.metrics import feature_stats, frechet_distance, load_extractor, mse, ssim
from genlab.lab.pictures import HeldOut, draw_images
from genlab.lab.training import fit
from genlab.vae.cvae import agreement, read
from genlab.vae.vit_cvae import ViTCVAEConfig, ViTCVAERecipe, seam_ratio

FACES = dict(data="faces", size=32, batch_size=64, seconds=60)
FASHION = dict(data="fashion_mnist", batch_size=64, seconds=60, widths=[64, 88], patch=2)
NETS = dict(cnn=dict(encoder="cnn", decoder="cnn"), vit=dict(encoder="vit", decoder="vit"))
CHOSEN = dict(cnn=4e-3, vit=2e-3)  # learning rates, by the held-out loss of the arms at 60 seconds
MIXED = {"cnn, then vit": dict(encoder="cnn", decoder="vit"), "vit, then cnn": dict(encoder="vit", decoder="cnn")}
ARMS = [
    *(dict(arm=f"{name}, lr {lr:g}", **nets, lr=lr, seed=seed, **FACES)
      for name, nets in (NETS | MIXED).items() for lr in (2e-3, 4e-3) for seed in range(2)),
    *(dict(arm=f"{name}, class token", **nets, code="class", lr=2e-3, seed=seed, **FACES)
      for name, nets in (NETS | MIXED).items() if name != "cnn" for seed in range(2)),
    *(dict(arm="vit, 64 tokens", **NETS["vit"], tokens_across=8, lr=2e-3, seed=seed, **FACES) for seed in range(2)),
    *(dict(arm="vit, patches alone", **NETS["vit"], smoothing=0, lr=2e-3, seed=seed, **FACES) for seed in range(2)),
    *(dict(arm=f"{name}, three times as long", **nets, lr=CHOSEN[name], seed=seed, **FACES | dict(seconds=180))
      for name, nets in NETS.items() for seed in range(2)),
    *(dict(arm="cnn on Fashion-MNIST", **NETS["cnn"], lr=CHOSEN["cnn"], seed=seed, **FASHION | dict(widths=[32, 64]))
      for seed in range(3)),  # chapter 32's: with as many parameters as the transformer it takes twice as long a step
    *(dict(arm="vit on Fashion-MNIST", **NETS["vit"], lr=CHOSEN["vit"], seed=seed, **FASHION) for seed in range(3)),
]
SMOKE = [dict(arm, seconds=2, images=1_000, judged=100) for arm in ARMS
         if arm["seed"] == 0 and arm["arm"] in ("vit, patches alone", "vit on Fashion-MNIST")]


def seconds_a_step(recipe: ViTCVAERecipe, batch_size: int, n: int = 20) -> float:
    "CPU seconds of a step, the first ones left out."
    x, y = recipe.data[torch.arange(batch_size)]
    optimizer = torch.optim.AdamW(recipe.model.parameters(), fused=True)
    for k in range(n + 5):
        if k == 5:
            start = time.process_time()
        optimizer.zero_grad()
        recipe.model.loss(x, y)["loss"].backward()
        optimizer.step()
    return (time.process_time() - start) / n


def run(arm: dict) -> dict[str, float]:
    torch.set_num_threads(1)
    seed, n = arm["seed"], arm.get("judged", 1_000)
    data = {split: load_images(arm["data"], split, size=arm.get("size"), n=arm.get("images"))
            for split in ("train", "validation", "test")}
    settings = {k: tuple(v) if k == "widths" else v for k, v in arm.items() if hasattr(ViTCVAEConfig, k)}
    config = ViTCVAEConfig(**settings)
    per_step = seconds_a_step(ViTCVAERecipe(config, data), config.batch_size)
    steps = max(1, round(arm["seconds"] / per_step))
    torch.manual_seed(seed)
    recipe = ViTCVAERecipe(config, data)
    start = time.process_time()
    model, _ = fit(recipe, recipe.data, steps=steps, batch_size=config.batch_size, seed=seed, pictures=1)
    values = dict(steps=steps, train_seconds=time.process_time() - start)
    recipe.finish(model, seed)
    test = data["test"]
    extractor = load_extractor(test.name)
    values |= dict(parameters=sum(p.numel() for p in model.parameters()))
    values |= {f"validation_{name}": value for name, value in recipe.validate(model).items()}
    values |= HeldOut(test, model, n).mean(model.loss)
    x, y = next(test.take(slice(n)).pieces(n))
    with torch.no_grad():
        back = torch.cat([model.reconstruct(*part) for part in zip(x.split(250), y.split(250), strict=True)])
    side = x.shape[-1] // config.tokens_across
    values |= dict(mse=mse(x, back).mean().item(), ssim=ssim(x, back).mean().item(),
                   seams=seam_ratio(back, side, side), seams_real=seam_ratio(x, side, side))
    made = draw_images(model, 2 * n, seed, test.y[:2 * n])
    real = feature_stats(test.x.split(500), extractor)
    values |= dict(fid=frechet_distance(real, feature_stats(to_uint8(made).split(500), extractor)),
                   seams_made=seam_ratio(made, side, side))
    said = agreement(read(made[:n], extractor), test.y[:n])
    return values | {name: share.item() for name, share in said.items() if share.ndim == 0}
