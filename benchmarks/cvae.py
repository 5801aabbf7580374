"""A step of training a conditional VAE, and transformer blocks, side by side in one run:
python benchmarks/cvae.py [--quick]

Conditional VAEs: batches of 128 images in the shape of Fashion-MNIST, 10 classes, 64 latents; forward, backward, AdamW.
Ours with its defaults: the label scales and shifts a norm in each residual block; Gaussian pixels with the batch's best
variance. Then pythae's VAE around the same convolutional networks (`ConvEncoder` and `ConvDecoder` with our sizes, the
same linear maps) with the label put beside the input: ten constant planes for the encoder, ten more numbers in the
code; its loss is half the squared error plus the KL. That it computes what ours does with unit variance is checked
first. And the layout of PyTorch-VAE's conditional VAE, written anew: one plane made from the label by a linear map,
beside the image after a 1x1 convolution; five 3x3 convolutions with stride 2, batch norm and LeakyReLU, 32 to 512
channels, and back; mean squared error plus the KL divided by the number of pixels. It halves five times, so it gets the
same images in a frame, 32x32, framed beforehand: 1.3 times the pixels. The three differ in size, see the parameters,
and how well they draw isn't measured here.

Transformer blocks: ours, PyTorch's `TransformerEncoderLayer` (norm first) and timm's `Block` with the same weights,
forward and backward in training mode, without dropout. That outputs and gradients of the input agree is checked first.

Times: median of rounds in turns, one process. Memory: growth of the peak during three steps, in a process of its own;
the VAEs' contains the optimiser's state.
"""

import argparse
import subprocess
import sys
from itertools import pairwise
from math import log, pi, prod

import torch
import torch.nn.functional as F
from measure import seconds
from pythae.models import VAE as PeerVAE
from pythae.models import VAEConfig as PeerConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from timm.models.vision_transformer import Block
from torch import nn

from genlab.lab.layers import ConvDecoder, ConvEncoder, TransformerBlock
from genlab.points.vae import kl_per_dim, reparameterise
from genlab.vae.cvae import CVAE
from genlab.vae.vae import GaussianPixels
from genlab.workshop.runs import keep_memory

SHAPE, LABELS, BATCH, LATENT = (1, 28, 28), 10, 128, 64
SIZES = dict(widths=(32, 64), patch=2, blocks=1)  # our defaults
CHANNELS = (32, 64, 128, 256, 512)  # PyTorch-VAE's
TOKENS = [(64, 16, 128, 4), (64, 64, 128, 4), (16, 196, 384, 6)]  # images, tokens, width, heads


class Encoder(BaseEncoder):
    "Our convolutions around the image and ten constant planes."

    def __init__(self):
        super().__init__()
        self.net = ConvEncoder((SHAPE[0] + LABELS, *SHAPE[1:]), **SIZES)
        self.head, self.latent_dim = nn.Linear(prod(self.net.out_shape), 2 * LATENT), LATENT

    def forward(self, x):
        planes = self.told[..., None, None].expand(-1, -1, *SHAPE[1:])
        mu, logvar = self.head(self.net(torch.cat([x, planes], dim=1)).flatten(1)).chunk(2, dim=1)
        return ModelOutput(embedding=mu, log_covariance=logvar)


class Decoder(BaseDecoder):
    "Our convolutions around the code and ten more numbers."

    def __init__(self):
        super().__init__()
        self.net = ConvDecoder(SHAPE, **SIZES)
        self.head = nn.Linear(LATENT + LABELS, prod(self.net.in_shape))

    def forward(self, z):
        h = self.head(torch.cat([z, self.told], dim=1)).view(-1, *self.net.in_shape)
        return ModelOutput(reconstruction=self.net(h))


class Peer(PeerVAE):
    "pythae's VAE, which has no place for labels: both networks are told them before each step."

    def __init__(self):
        super().__init__(PeerConfig(input_dim=SHAPE, latent_dim=LATENT), encoder=Encoder(), decoder=Decoder())

    def loss(self, x, y):
        self.encoder.told = self.decoder.told = F.one_hot(y, LABELS).float()
        return self(dict(data=x))


def stage(layer: nn.Module) -> nn.Module:
    return nn.Sequential(layer, nn.BatchNorm2d(layer.out_channels), nn.LeakyReLU())


class Planes(nn.Module):
    "The layout of PyTorch-VAE's conditional VAE, for grey images of 32x32."

    def __init__(self):
        super().__init__()
        self.plane, self.image = nn.Linear(LABELS, 32 * 32), nn.Conv2d(1, 1, 1)
        self.encoder = nn.Sequential(*(stage(nn.Conv2d(a, b, 3, stride=2, padding=1))
                                       for a, b in pairwise((2, *CHANNELS))), nn.Flatten())
        self.mu, self.logvar = nn.Linear(CHANNELS[-1], LATENT), nn.Linear(CHANNELS[-1], LATENT)
        self.from_code = nn.Linear(LATENT + LABELS, CHANNELS[-1])
        self.decoder = nn.Sequential(nn.Unflatten(1, (CHANNELS[-1], 1, 1)),
                                     *(stage(nn.ConvTranspose2d(a, b, 3, stride=2, padding=1, output_padding=1))
                                       for a, b in pairwise((*reversed(CHANNELS), CHANNELS[0]))),
                                     nn.Conv2d(CHANNELS[0], 1, 3, padding=1), nn.Tanh())

    def loss(self, x, y):
        told = F.one_hot(y, LABELS).float()
        h = self.encoder(torch.cat([self.image(x), self.plane(told).view(-1, 1, 32, 32)], dim=1))
        mu, logvar = self.mu(h), self.logvar(h)
        out = self.decoder(self.from_code(torch.cat([reparameterise(mu, logvar), told], dim=1)))
        return dict(loss=F.mse_loss(out, x) + kl_per_dim(mu, logvar).sum(dim=1).mean() / x[0].numel())


VAES = {
    "genlab": lambda: CVAE(SHAPE, LABELS, latent_dim=LATENT, **SIZES),
    "pythae, our convolutions, label beside the input": Peer,
    "layout of PyTorch-VAE, 32x32": Planes,
}


def make_vae(name: str):
    "A function that does one step of training, and the number of parameters."
    torch.manual_seed(0)
    model = VAES[name]().train()
    x, y = 2 * torch.rand(BATCH, *SHAPE) - 1, torch.arange(BATCH) % LABELS
    if isinstance(model, Planes):
        x = F.pad(x, (2, 2, 2, 2), value=-1.0)
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step():
        model.loss(x, y)["loss"].backward()
        opt.step()
        opt.zero_grad()

    return step, sum(p.numel() for p in model.parameters())


def check_vaes() -> None:
    "Our default sizes are those above, and pythae computes our KL, and our reconstruction term with unit variance."
    count = [sum(p.numel() for p in model.parameters()) for model in (CVAE(SHAPE), VAES["genlab"]())]
    assert count[0] == count[1], count
    torch.manual_seed(0)
    mu, logvar, x, out = (torch.randn(BATCH, *shape) for shape in ((LATENT,), (LATENT,), SHAPE, SHAPE))
    _, squares, kl = Peer().loss_function(out, x, mu, logvar, None)
    torch.testing.assert_close(kl, kl_per_dim(mu, logvar).sum(dim=1).mean())
    nats = -GaussianPixels("unit")(x, out).mean()
    torch.testing.assert_close(squares, nats - prod(SHAPE) / 2 * log(2 * pi))


def blocks(d: int, heads: int) -> dict[str, nn.Module]:
    "One block in three libraries, with the same weights."
    torch.manual_seed(0)
    ours = TransformerBlock(d, heads)
    with torch.no_grad():
        for p in ours.parameters():
            p += 0.02 * torch.randn_like(p)  # the norms shall do something too
    layer = nn.TransformerEncoderLayer(d, heads, 4 * d, dropout=0.0, activation="gelu", batch_first=True,
                                       norm_first=True)
    timms = Block(d, heads, qkv_bias=True, norm_layer=nn.LayerNorm)  # timm's own norm has another epsilon
    places = ("norm1.", "norm2.", "qkv.", "out.", "mlp.0.", "mlp.2.")
    theirs = {layer: ("norm1.", "norm2.", "self_attn.in_proj_", "self_attn.out_proj.", "linear1.", "linear2."),
              timms: ("norm1.", "norm2.", "attn.qkv.", "attn.proj.", "mlp.fc1.", "mlp.fc2.")}
    weights = ours.state_dict()
    for block, names in theirs.items():
        block.load_state_dict({b + end: weights[a + end] for a, b in zip(places, names, strict=True)
                               for end in ("weight", "bias")})
    return {"genlab": ours, "torch": layer, "timm": timms}


def make_block(name: str, n: int, tokens: int, d: int, heads: int):
    "A function that goes forward and backward once, and returns the output and the input's gradient."
    block = blocks(d, heads)[name].train()
    x, g = torch.randn(n, tokens, d, requires_grad=True), torch.randn(n, tokens, d)

    def step():
        block.zero_grad()
        x.grad = None
        out = block(x)
        out.backward(g)
        return out.detach(), x.grad

    return step


def check_blocks(steps: dict) -> None:
    "The outputs and the gradients of all blocks agree."
    ours = steps["genlab"]()
    for name, step in steps.items():
        for what, a, b in zip(("outputs", "gradients"), ours, step(), strict=True):
            assert (a - b).abs().max() < 1e-4, f"{what} of {name} and genlab differ by {(a - b).abs().max():.1e}"


def memory(call: str) -> float:
    "Megabytes that three steps need at their peak, beyond what is there before."
    code = (f"import sys; sys.path.insert(0, {str(sys.path[0])!r}); import cvae, measure; step = cvae.{call}; "
            "before = measure.peak(); step(); step(); step(); print(measure.peak() - before)")
    return float(subprocess.check_output([sys.executable, "-c", code], text=True).split()[-1])


def timed(steps: dict, rounds: int) -> dict[str, tuple[float, str]]:
    "Median of milliseconds, and of times the first, with the range, for each function that does a step."
    for step in steps.values():
        step()
    times = [{name: seconds(step) for name, step in steps.items()} for _ in range(rounds)]
    rows = {}
    for name in steps:
        ratios = sorted(t[name] / t["genlab"] for t in times)
        ms = sorted(1e3 * t[name] for t in times)[rounds // 2]
        rows[name] = ms, f"{ratios[rounds // 2]:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 rounds, blocks of the first size only")
    quick = parser.parse_args().quick
    rounds, sizes = (3, TOKENS[:1]) if quick else (21, TOKENS)
    keep_memory()
    check_vaes()
    made = {name: make_vae(name) for name in VAES}
    print(f"| conditional VAE, a step of {BATCH} images, median of {rounds} rounds | parameters | ms per step | "
          "times ours (range) | MB |\n|---|---|---|---|---|")
    for name, (ms, ratio) in timed({name: step for name, (step, _) in made.items()}, rounds).items():
        mb = memory(f"make_vae({name!r})[0]")
        print(f"| {name} | {made[name][1]:,} | {ms:.0f} | {ratio} | {mb:.0f} |", flush=True)
    print(f"\n| transformer block, images x tokens x width, median of {rounds} rounds | | ms, forward and backward | "
          "times ours (range) | MB |\n|---|---|---|---|---|")
    for size in sizes:
        steps = {name: make_block(name, *size) for name in ("genlab", "torch", "timm")}
        check_blocks(steps)
        shape = f"{' x '.join(map(str, size[:3]))}, {size[3]} heads"
        for name, (ms, ratio) in timed(steps, rounds).items():
            mb = memory(f"make_block({name!r}, *{size})")
            print(f"| {shape} | {name} | {ms:.1f} | {ratio} | {mb:.0f} |", flush=True)


if __name__ == "__main__":
    main()
