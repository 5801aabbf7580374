"""What a minute of training gives, side by side in one run:
python benchmarks/quality.py [--seconds 60] [--seeds 3] [--quick]

VAEs on real Fashion-MNIST with the same number of seconds for the training steps, on the same threads. Ours: the recipe
of chapter 31 with its defaults (optimal variance, ex-post mixture), as many steps as fit into the time. The peer:
pythae's VAE with its default MLPs and with its convolutional networks for MNIST, latent 16, Adam 1e-3, batches of 128,
samples from its normal and from its mixture sampler (10 Gaussians); all four are shown. FID and KID: 5000 samples
against 5000 test images, the course's small classifier as extractor; MSE: reconstructions of the test images, in units
of [0, 1]. Prints one table.
"""

import argparse
import contextlib
import logging
import os
import tempfile
import time

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE as PeerVAE
from pythae.models import VAEConfig as PeerConfig
from pythae.models.nn.benchmarks.mnist import Decoder_Conv_AE_MNIST, Encoder_Conv_VAE_MNIST
from pythae.samplers import GaussianMixtureSampler, GaussianMixtureSamplerConfig, NormalSampler
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback

from genlab.lab.images import load_images, to_uint8
from genlab.lab.metrics import evaluate_images
from genlab.lab.pictures import draw_images
from genlab.lab.training import fit
from genlab.vae.vae import VAEConfig, VAERecipe

N = 5_000


class OutOfTime(Exception):
    pass


class Clock(TrainingCallback):
    def __init__(self, seconds: float):
        self.seconds, self.steps = seconds, 0

    def on_train_begin(self, training_config, **kwargs):
        self.start = time.perf_counter()

    def on_train_step_end(self, training_config, **kwargs):
        self.steps += 1
        if time.perf_counter() - self.start > self.seconds:
            raise OutOfTime


def error(test, reconstruct) -> float:  # reconstruct: images in [-1, 1] to images in [-1, 1]
    with torch.no_grad():
        errors = [(x - reconstruct(x)).square().mean() / 4
                  for x in (test[torch.arange(i, i + 500)][0] for i in range(0, len(test), 500))]
    return torch.stack(errors).mean().item()


def judge(test, samples, mse: float) -> dict:  # samples: uint8
    values = evaluate_images(test, samples)
    return dict(fid=values["fid"]["value"], floor=values["fid"]["floor"], kid=values["kid"]["value"], mse=mse)


def ours(splits, seconds: float, seed: int) -> dict[str, dict]:
    def run(steps):
        torch.manual_seed(seed)
        recipe = VAERecipe(VAEConfig(steps=steps), {**splits, "validation": splits["validation"].take(slice(0, 500))})
        start = time.perf_counter()
        model, progress = fit(recipe, splits["train"], steps=steps, batch_size=128, seed=seed, pictures=5)
        return model, progress.seconds, time.perf_counter() - start

    probe = run(40)[1] / 40
    steps = int(seconds / probe)
    model, spent, _ = run(steps)
    name = f"ours ({steps} steps, {spent:.0f} s)"
    return {name: judge(splits["test"], to_uint8(draw_images(model, N, seed)),
                        error(splits["test"], model.reconstruct))}


def peers(splits, seconds: float, seed: int, kinds=("MLP", "conv")) -> dict[str, dict]:
    x = splits["train"].x.float() / 255
    rows = {}
    for kind in kinds:
        torch.manual_seed(seed)
        config = PeerConfig(input_dim=(1, 28, 28), latent_dim=16)
        nets = dict(encoder=Encoder_Conv_VAE_MNIST(config),
                    decoder=Decoder_Conv_AE_MNIST(config)) if kind == "conv" else {}
        model, clock = PeerVAE(config, **nets), Clock(seconds)
        with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as sink, contextlib.redirect_stderr(sink), \
                contextlib.redirect_stdout(sink):
            training = BaseTrainerConfig(output_dir=folder, num_epochs=10_000, per_device_train_batch_size=128,
                                         learning_rate=1e-3, no_cuda=True, seed=seed)
            with contextlib.suppress(OutOfTime):
                BaseTrainer(model, train_dataset=BaseDataset(x, torch.zeros(len(x))),
                            training_config=training, callbacks=[clock]).train()
            model.eval()
            mixture = GaussianMixtureSampler(model, GaussianMixtureSamplerConfig(n_components=10))
            mixture.fit(x[:10_000])
            draws = {"normal": NormalSampler(model).sample(N, batch_size=500),
                     "mixture": mixture.sample(N, batch_size=500)}
        mse = error(splits["test"], lambda x, m=model: m.reconstruct((x + 1) / 2) * 2 - 1)
        for sampler, samples in draws.items():
            name = f"pythae {kind}, {sampler} ({clock.steps} steps)"
            rows[name] = judge(splits["test"], (samples * 255).round().clamp(0, 255).to(torch.uint8), mse)
    return rows


def options(doc: str) -> tuple[float, int, dict]:  # seconds, seeds, the splits of Fashion-MNIST
    "What the command line asks for, and quiet peers."
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="5 seconds, 1 seed")
    args = parser.parse_args()
    logging.disable(logging.INFO)
    os.environ["TQDM_DISABLE"] = "1"
    seconds, seeds = (5, 1) if args.quick else (args.seconds, args.seeds)
    return seconds, seeds, {split: load_images("fashion_mnist", split) for split in ("train", "validation", "test")}


def main() -> None:
    seconds, seeds, splits = options(__doc__)
    print(f"| {seconds:.0f} s of training | seed | FID (floor) | KID | MSE |\n|---|---|---|---|---|")
    for seed in range(seeds):
        for name, r in (ours(splits, seconds, seed) | peers(splits, seconds, seed)).items():
            print(f"| {name} | {seed} | {r['fid']:.2f} ({r['floor']:.2f}) | {r['kid']:.4f} | {r['mse']:.4f} |",
                  flush=True)


if __name__ == "__main__":
    main()
