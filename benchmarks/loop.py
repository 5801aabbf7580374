"""What the loop costs, side by side in one run: python benchmarks/loop.py [--quick]

The same VAE (chapter 31's, 16 latents) on the same Fashion-MNIST images in batches of 128: a raw PyTorch loop with
nothing but the step (index, forward, backward, clip, AdamW), `fit` (which adds noise by step, the average of the
weights, the log, a look at every gradient), and pythae's trainer around the same network and loss. `fit` tells the
allocator to keep memory (chapter 23, `keep_memory`), which the others don't; so they are measured as they come and
after the same call too. Every measurement is a process of its own; all take turns in every round; ratios are of times
within a round. What `fit` adds to a step is less than processes differ from each other, so it's measured again in one
process, where short pieces of both loops alternate: with this one network, and with two, the VAE and a classifier of
images, which take turns in each step.
"""

import argparse
import contextlib
import logging
import os
import subprocess
import sys
import tempfile
import time

import torch
import torch.nn.functional as F
from pythae.data.datasets import BaseDataset
from pythae.models import VAE as PeerVAE
from pythae.models import VAEConfig as PeerConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import nn

from genlab.lab.images import load_images
from genlab.lab.layers import ConvEncoder
from genlab.lab.training import Recipe, batch_index, fit
from genlab.vae.vae import VAE
from genlab.workshop.runs import keep_memory

BATCH, LATENT = 128, 16


class Encoder(BaseEncoder):
    def __init__(self, vae: VAE):
        BaseEncoder.__init__(self)
        self.net, self.head, self.latent_dim = vae.encoder, vae.to_code, LATENT

    def forward(self, x):
        mu, logvar = self.head(self.net(x).flatten(1)).chunk(2, dim=1)
        return ModelOutput(embedding=mu, log_covariance=logvar)


class Decoder(BaseDecoder):
    def __init__(self, vae: VAE):
        BaseDecoder.__init__(self)
        self.net, self.head, self.shape = vae.decoder, vae.from_code, vae.encoder.out_shape

    def forward(self, z):
        return ModelOutput(reconstruction=self.net(self.head(z).view(-1, *self.shape)))


def make() -> VAE:
    torch.manual_seed(0)
    return VAE((1, 28, 28), LATENT, pixels="unit")


def raw(data, steps: int) -> float:
    "Seconds of the plain loop."
    model = make()
    opt, start = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True), time.perf_counter()
    for step in range(steps):
        loss = model.loss(*data[batch_index(len(data), BATCH, 0, step)])["loss"]
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad()
    return time.perf_counter() - start


def ours(data, steps: int) -> float:
    model = make()
    start = time.perf_counter()
    fit(Recipe(model, lr=1e-3), data, steps=steps, batch_size=BATCH)
    return time.perf_counter() - start


def peers(data, steps: int) -> float:
    model = make()
    peer = PeerVAE(PeerConfig(input_dim=(1, 28, 28), latent_dim=LATENT), encoder=Encoder(model), decoder=Decoder(model))
    x = (data.x[:BATCH * steps].float() / 127.5 - 1)
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as sink, \
            contextlib.redirect_stderr(sink), contextlib.redirect_stdout(sink):
        config = BaseTrainerConfig(output_dir=folder, num_epochs=1, per_device_train_batch_size=BATCH,
                                   learning_rate=1e-3, no_cuda=True)
        trainer = BaseTrainer(peer, train_dataset=BaseDataset(x, torch.zeros(len(x))), training_config=config)
        start = time.perf_counter()
        trainer.train()
        return time.perf_counter() - start


def make_two() -> dict[str, nn.Module]:
    vae = make()
    return dict(vae=vae,
                critic=nn.Sequential(ConvEncoder((1, 28, 28), (16, 32)), nn.Flatten(), nn.Linear(32 * 7 * 7, 10)))


def raw_two(data, steps: int) -> float:
    "Seconds of the plain loop with two networks, each with an update of its own in every step."
    networks = make_two()
    optimizers = {name: torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
                  for name, network in networks.items()}
    losses = dict(vae=lambda x, y: networks["vae"].loss(x)["loss"],
                  critic=lambda x, y: F.cross_entropy(networks["critic"](x), y))
    start = time.perf_counter()
    for step in range(2 * steps):
        name = ("vae", "critic")[step % 2]
        losses[name](*data[batch_index(len(data), BATCH, 0, step)]).backward()
        nn.utils.clip_grad_norm_(networks[name].parameters(), 1.0)
        optimizers[name].step()
        optimizers[name].zero_grad()
    return time.perf_counter() - start


class Two(Recipe):
    averaged = "vae"

    def vae_loss(self, x, y):
        return self.networks["vae"].loss(x)

    def critic_loss(self, x, y):
        return dict(loss=F.cross_entropy(self.networks["critic"](x), y))

    def step(self, update, t):
        return update("vae", self.vae_loss) | update("critic", self.critic_loss)


def ours_two(data, steps: int) -> float:
    recipe = Two(make_two(), lr=1e-3)
    start = time.perf_counter()
    fit(recipe, data, steps=steps, batch_size=BATCH)
    return time.perf_counter() - start


ROWS = {  # name: (loop, with keep_memory)
    "raw PyTorch": (raw, False),
    "raw PyTorch, memory kept": (raw, True),
    "`fit`": (ours, False),  # calls it by itself
    "pythae's trainer": (peers, False),
    "pythae's trainer, memory kept": (peers, True),
}


def one(row: str, steps: int) -> None:
    "What a process of its own measures: prints seconds."
    loop, keep = ROWS[row]
    data = load_images("fashion_mnist")
    if keep:
        keep_memory()
    raw(data, 5)
    print(loop(data, steps))


# sorted ratios of neighbours; of the fastest
def alternate(plain, fitted, steps: int, rounds: int) -> tuple[list[float], float]:
    "`fit`'s time in shares of the raw loop's, piece by piece in one process, memory kept in both."
    data = load_images("fashion_mnist")
    keep_memory()
    plain(data, 5), fitted(data, 5)
    pieces = []
    for i in range(rounds):
        loops = (plain, fitted) if i % 2 else (fitted, plain)
        times = {loop: loop(data, steps) for loop in loops}
        pieces.append((times[plain], times[fitted]))
    fastest = [min(column) for column in zip(*pieces, strict=True)]
    return sorted(b / a for a, b in pieces), fastest[1] / fastest[0]


def three(values: list[float]) -> tuple[float, float, float]:
    return values[0], values[len(values) // 2], values[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10 steps, 1 round")
    parser.add_argument("--one", choices=ROWS, help="measure this one here and print seconds")
    args = parser.parse_args()
    logging.disable(logging.INFO)
    os.environ["TQDM_DISABLE"] = "1"
    steps, rounds = (10, 1) if args.quick else (100, 5)
    if args.one:
        return one(args.one, steps)
    command = [sys.executable, __file__, *(["--quick"] if args.quick else []), "--one"]
    times = [{row: float(subprocess.check_output([*command, row], text=True).split()[-1]) for row in ROWS}
             for _ in range(rounds)]
    print(f"| loop, {steps} steps, median of {rounds} rounds | ms per step | "
          "times the raw loop (range) | times the raw loop, memory kept |\n"
          "|---|---|---|---|")
    for row in ROWS:
        ms = sorted(1e3 * t[row] / steps for t in times)[rounds // 2]
        (low, ratio, high), (_, kept, _) = (three(sorted(t[row] / t[base] for t in times)) for base in list(ROWS)[:2])
        print(f"| {row} | {ms:.0f} | {ratio:.2f} ({low:.2f} to {high:.2f}) | {kept:.2f} |")
    length, rounds = (10, 1) if args.quick else (100, 7)
    print("\n`fit` in one process with the raw loop, memory kept in both, "
          f"{rounds} rounds of {length} steps each in turns:\n\n"
          "| networks | median of times the raw loop (range) | the fastest pieces of both |\n|---|---|---|")
    for name, loops in (("one", (raw, ours)), ("two", (raw_two, ours_two))):
        ratios, fastest = alternate(*loops, length, rounds)
        low, ratio, high = three(ratios)
        print(f"| {name} | {ratio:.3f} ({low:.3f} to {high:.3f}) | {fastest:.3f} |", flush=True)


if __name__ == "__main__":
    main()
