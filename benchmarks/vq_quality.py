"""VQ-VAE and prior end to end, side by side in one run:
python benchmarks/vq_quality.py [--seconds 60] [--seeds 3] [--quick]

Real Fashion-MNIST; so many seconds for the training steps of the VQ-VAE, and as many for those of the prior, on the
same threads. Ours: the recipes of chapters 41 and 42 with their defaults, as many steps as fit. The peer: pythae's
VQVAE with its residual networks for MNIST (16 numbers per code, 512 codes), Adam 1e-3, batches of 128, then its
PixelCNN sampler as it comes (batches of 128, Adam 1e-3). FID: 5000 samples, and all reconstructions, against the test
images, the course's small classifier as extractor. nats of words: what the codes of a test image cost together; theirs
are 16 codes per image, ours 49. Bits per dimension: what the codes cost and what they leave (Gaussian, the variance
that is left on training images, uniform dequantisation). Prints one table.
"""

import contextlib
import math
import os
import tempfile

import torch
import torch.nn.functional as F
from pythae.data.datasets import BaseDataset
from pythae.models import VQVAE as PeerVQVAE
from pythae.models import VQVAEConfig as PeerConfig
from pythae.models.nn.benchmarks.mnist import Decoder_ResNet_VQVAE_MNIST, Encoder_ResNet_VQVAE_MNIST
from pythae.samplers import PixelCNNSampler
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from quality import Clock, OutOfTime, options

from genlab.lab.images import to_float, to_uint8
from genlab.lab.metrics import FeatureStats, bits_per_dim, evaluate_images, frechet_distance, load_extractor
from genlab.lab.training import fit
from genlab.vq.prior import TokenPriorConfig, TokenPriorRecipe, encode_all, generate, token_nats
from genlab.vq.vqvae import VQVAEConfig, VQVAERecipe

N = 5_000


# samples uint8, back: float in [-1, 1]
def judge(test, samples, back, code_nats: float, per_image: int, variance: float) -> dict:
    extractor, real, made = load_extractor("fashion_mnist"), FeatureStats(), FeatureStats()
    x = to_float(test.x)
    for i in range(0, len(x), 500):
        real.update(extractor.features(x[i:i + 500]))
        made.update(extractor.features(to_float(to_uint8(back[i:i + 500]))))
    squares = (x - back).square().flatten(1)
    pixels = (0.5 * (squares + (2 / 255) ** 2 / 12) / variance
              + 0.5 * math.log(2 * math.pi * variance)).sum(dim=1).mean().item()
    fid = evaluate_images(test, samples)["fid"]
    return dict(fid=fid["value"], floor=fid["floor"], rfid=frechet_distance(real, made),
                mse=squares.mean().item() / 4, nats=code_nats * per_image,
                bits=bits_per_dim(code_nats * per_image + pixels, 784, scale=127.5))


def timed_fit(make, data, seconds: float, batch: int, seed: int):
    "As many steps as fit into the time: a short run tells how long a step takes."
    def run(steps):
        torch.manual_seed(seed)
        recipe = make(steps)
        model, progress = fit(recipe, data, steps=steps, batch_size=batch, seed=seed, pictures=1)
        return model, progress.seconds

    steps = int(seconds / (run(40)[1] / 40))
    model, spent = run(steps)
    return model.cpu(), steps, spent


def ours(splits, seconds: float, seed: int) -> tuple[str, dict]:
    few = {**splits, "validation": splits["validation"].take(slice(0, 500))}
    vqvae, steps, spent = timed_fit(lambda n: VQVAERecipe(VQVAEConfig(steps=n), few),
                                    splits["train"], seconds, 128, seed)
    codes = encode_all(vqvae, few)
    prior, more, longer = timed_fit(lambda n: TokenPriorRecipe(TokenPriorConfig(steps=n), codes),
                                    codes["train"], seconds, 64, seed)
    samples = to_uint8(generate(prior, vqvae, N, seed=seed))
    test = splits["test"]
    back = torch.cat([vqvae.reconstruct(to_float(x)) for x in test.x.split(500)])
    name = f"ours ({steps} steps in {spent:.0f} s, {more} in {longer:.0f} s)"
    return name, judge(test, samples, back, token_nats(prior, codes["test"]), 49, vqvae.error.item())


def train_peer(model, x, seconds: float, seed: int) -> int:
    "Their trainer until the time is over; steps."
    clock = Clock(seconds)
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(output_dir=folder, num_epochs=10_000, per_device_train_batch_size=128,
                                   learning_rate=1e-3, no_cuda=True, seed=seed)
        with contextlib.suppress(OutOfTime):
            BaseTrainer(model, train_dataset=BaseDataset(x, torch.zeros(len(x))),
                        training_config=config, callbacks=[clock]).train()
    model.eval()
    return clock.steps


def peers(splits, seconds: float, seed: int) -> tuple[str, dict]:
    def pieces(f, x):
        with torch.no_grad():
            return torch.cat([f(part) for part in x.split(500)])

    torch.manual_seed(seed)
    x, test = splits["train"].x.float() / 255, splits["test"].x.float() / 255
    config = PeerConfig(input_dim=(1, 28, 28), latent_dim=16, num_embeddings=512)
    with open(os.devnull, "w") as sink, contextlib.redirect_stderr(sink), contextlib.redirect_stdout(sink):
        model = PeerVQVAE(config, encoder=Encoder_ResNet_VQVAE_MNIST(config),
                          decoder=Decoder_ResNet_VQVAE_MNIST(config))
        steps = train_peer(model, x, seconds, seed)
        codes, test_codes = (pieces(lambda x: model({"data": x}).quantized_indices, images).float()
                             for images in (x, test))
        sampler = PixelCNNSampler(model)
        more = train_peer(sampler.pixelcnn_model, codes, seconds, seed)  # what sampler.fit does, with a clock
        sampler.is_fitted = True
        samples = (sampler.sample(N, batch_size=500) * 255).round().clamp(0, 255).to(torch.uint8)
        back = pieces(lambda x: model({"data": x}).recon_x, test) * 2 - 1
        few = pieces(lambda x: model({"data": x}).recon_x, x[:10_000]) * 2 - 1
        logits = pieces(lambda c: sampler.pixelcnn_model({"data": c}).out, test_codes)
    nats = F.cross_entropy(logits, test_codes.long()).item()
    variance = (to_float(splits["train"].x[:10_000]) - few).square().mean().item()
    return f"pythae ({steps} steps, {more} steps)", judge(splits["test"], samples, back, nats,
                                                          test_codes[0].numel(), variance)


def main() -> None:
    seconds, seeds, splits = options(__doc__)
    print(f"| {seconds:.0f} s for the VQ-VAE, {seconds:.0f} s for the prior | seed | FID of samples (floor) "
          "| FID of reconstructions | MSE | nats of words | bits/dim |\n|---|---|---|---|---|---|---|")
    for seed in range(seeds):
        for way in (ours, peers):
            name, r = way(splits, seconds, seed)
            print(f"| {name} | {seed} | {r['fid']:.2f} ({r['floor']:.2f}) | {r['rfid']:.2f} | {r['mse']:.4f} "
                  f"| {r['nats']:.1f} | {r['bits']:.3f} |", flush=True)


if __name__ == "__main__":
    main()
