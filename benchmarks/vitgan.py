"""Part 6's attention, spectral norm and steps of training, side by side: python benchmarks/vitgan.py [--quick] [--cost]

Attention by squared distance, 32 images of 50 and of 65 tokens, 4 heads of 24 numbers, queries and keys tied: ours
(`l2_attention`), all differences one by one, `torch.cdist` squared, as it comes (a product of matrices from 26 tokens
on) and without products, and PyTorch's own attention with a bias (MATH back end). Three passes: forward; forward and
backward; slopes that keep their graph, and backward from their squares (a gradient penalty). Before a pass is timed,
its results in float64 are held against those of all differences; what raises or isn't finite is not timed, and a line
below the table says so. (Where a distance comes out as 0, as a token's to itself, attention by `torch.cdist` as it
comes has NaN for its second derivatives.)

Spectral norm: forward of `ViTDiscriminator` in training mode as it is, with `improve_spectrum`, and with PyTorch's
parametrisation. Before: the improved one is the same network, even if its stored weights are doubled; PyTorch's is the
same network with other weights.

Steps on Fashion-MNIST, with the recipes' defaults: an update of D and one of G as `fit` does them; the mean over four,
the first of which has both gradient penalties (the DCGAN has none). Before: the losses of the first step are those of
a plain script with copies of the networks (benchmarks/gan.py). Beside stands what the original project did per step
(teodorToshkov/ViTGAN-pytorch, of 2021), written anew from what its code computes, faults included, in our sizes (its
own are width 384, depth 4, batch 128): modulated layers as convolutions with a group per patch, MLPs whose results are
dropped, no penalties, but six forward passes of D per update, two of them for losses of weight 0. Left out: its
logging, its average of nothing, its diversity loss of weight 0. Before: G's MLPs get no gradient, all else does.

Cost: a step of ViTGAN against tokens (images of noise from 16 to 56 pixels), width and depth, with penalties and
without, drawn as vitgan_cost.png beside this file. --cost: this part alone.

Times: median of rounds in turns, one process. Images of 28 pixels have 49 patches; D has one token more.
"""

import argparse
import math
from collections.abc import Callable
from copy import deepcopy
from itertools import count, pairwise
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from einops import rearrange
from gan import bce, ours, print_rows, script
from matplotlib.figure import Figure
from measure import seconds
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrize

from genlab.gan.dcgan import DCGANRecipe, GANRecipe
from genlab.gan.stable_gan import RelGANRecipe, diff_augment, normalise_spectrum
from genlab.lab.images import ImageSet, load_images
from genlab.lab.training import batch_index, reseed
from genlab.vitgan.discriminator import ViTDiscriminator, improve_spectrum, l2_attention
from genlab.vitgan.generator import EqualLinear, Mapping, places
from genlab.vitgan.vitgan import ViTGANRecipe
from genlab.workshop.runs import keep_memory

PENALISED = "relativistic, R1 and R2 in every fourth step"
RECIPES = {  # name: recipe, settings, its design in benchmarks/gan.py
    "ViT-G, ViT-D": (ViTGANRecipe, {}, PENALISED),
    "ViT-G, CNN-D": (ViTGANRecipe, dict(discriminator="cnn"), PENALISED),
    "ViT-G, StyleGAN2's D": (ViTGANRecipe, dict(discriminator="stylegan2"), PENALISED),
    "CNN-G, ViT-D": (ViTGANRecipe, dict(generator="cnn"), PENALISED),
    "RelGAN": (RelGANRecipe, {}, PENALISED),
    "DCGAN": (DCGANRecipe, {}, "DCGAN"),
}
PANELS = {  # what grows: sizes, and the settings of each; 28 pixels, width 96 and depth 3 else
    "tokens": {(side // 4) ** 2: dict(side=side) for side in (16, 28, 40, 56)},
    "width": {width: dict(width=width) for width in (48, 96, 192, 384)},
    "depth": {depth: dict(depth=depth) for depth in (1, 2, 4, 8)},
}


def by_distance(square: Tensor, width: int, v: Tensor) -> Tensor:  # |q - k|^2 (..., n, T), values (..., T, e)
    return (-square / math.sqrt(width)).softmax(dim=-1) @ v


def differences(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return by_distance((q[..., :, None, :] - k[..., None, :, :]).square().sum(dim=-1), q.shape[-1], v)


def cdist(q: Tensor, k: Tensor, v: Tensor, mode: str = "use_mm_for_euclid_dist_if_necessary") -> Tensor:
    return by_distance(torch.cdist(q, k, compute_mode=mode) ** 2, q.shape[-1], v)


def biased(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    bias = -k.square().sum(dim=-1)[..., None, :] / math.sqrt(q.shape[-1])
    with sdpa_kernel([SDPBackend.MATH]):
        return F.scaled_dot_product_attention(2 * q, k, v, attn_mask=bias)


WAYS = {
    "genlab": l2_attention,
    "all differences": differences,
    "torch.cdist": cdist,
    "torch.cdist without products": lambda q, k, v: cdist(q, k, v, "donot_use_mm_for_euclid_dist"),
    "PyTorch's, with a bias": biased,
}


def penalise(attend: Callable, q: Tensor, v: Tensor, g: Tensor) -> tuple[Tensor, ...]:
    slopes = torch.autograd.grad(attend(q, q, v), (q, v), g, create_graph=True)
    return torch.autograd.grad(sum(slope.square().sum() for slope in slopes), (q, v))


PASSES = {
    "forward": lambda attend, q, v, g: (attend(q, q, v),),
    "backward too": lambda attend, q, v, g: torch.autograd.grad(attend(q, q, v), (q, v), g),
    "slopes and backward": penalise,
}


def inputs(tokens: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    "Queries that are the keys too, values, and what comes back to the output: (32, 4, tokens, 24) each."
    torch.manual_seed(0)
    return [a.to(dtype).requires_grad_(i < 2) for i, a in enumerate(torch.randn(3, 32, 4, tokens, 24))]


def fault(attend: Callable, run: Callable, tokens: int) -> str:
    "Why a way can't be used in a pass, if so; if not, its results are those of all differences."
    double = inputs(tokens, torch.float64)
    try:
        found = run(attend, *double)
    except RuntimeError as error:
        return str(error).splitlines()[0]
    nan = 1 - torch.cat([a.isfinite().flatten() for a in found]).double().mean().item()
    if nan:
        return f"{nan:.0%} of what comes out is not finite"
    torch.testing.assert_close(found, run(differences, *double), rtol=1e-9, atol=1e-9)
    return ""


def time_attention(rounds: int) -> list[str]:  # what can't be used
    faults = {}
    for tokens in (50, 65):
        for what, run in PASSES.items():
            wrong = {name: fault(attend, run, tokens) for name, attend in WAYS.items()}
            faults |= {f"{name}, {what}: {why}.": None for name, why in wrong.items() if why}
            timed = inputs(tokens)
            print_rows(f"attention, {tokens} tokens, {what}",
                       {name: lambda attend=attend, run=run, timed=timed: run(attend, *timed)
                        for name, attend in WAYS.items() if not wrong[name]}, rounds)
    return list(faults)


def discriminators() -> dict[str, Callable[[], Tensor]]:
    "The forward of a discriminator as it is, and with spectra held or normalised."
    torch.manual_seed(0)
    plain = ViTDiscriminator((1, 28, 28))
    improved = improve_spectrum(deepcopy(plain))
    normalised = normalise_spectrum(deepcopy(plain)).eval()  # no power iteration
    same = deepcopy(plain)
    x = 2 * torch.rand(32, 1, 28, 28) - 1
    with torch.no_grad():
        for name, layer in plain.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                same.get_submodule(name).weight.copy_(normalised.get_submodule(name).weight)
                improved.get_submodule(name).parametrizations.weight.original.mul_(2)
        torch.testing.assert_close(same(x), normalised(x))
        torch.testing.assert_close(plain(x), improved(x))
    normalised.train()
    return {"as it is": lambda: plain(x), "improved spectral norm": lambda: improved(x),
            "PyTorch's spectral norm": lambda: normalised(x)}


class PortNorm(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.gamma = EqualLinear(width, width)
        self.beta = EqualLinear(width, width)

    def forward(self, h: Tensor, w: Tensor) -> Tensor:
        return self.gamma(w)[:, None] * self.norm(h) + self.beta(w)[:, None]


class PortAttention(nn.Module):
    "By products; or by distances, neither squared, nor tied, nor with a minus. Scaled behind the softmax."

    def __init__(self, width: int, n_heads: int, distances: bool):
        super().__init__()
        self.n_heads, self.distances = n_heads, distances
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = rearrange(self.qkv(x), "b n (h d three) -> three b h n d", h=self.n_heads, three=3).contiguous()
        weights = (torch.cdist(q, k) if self.distances else q @ k.mT).softmax(dim=-1) / math.sqrt(x.shape[-1])
        return self.out(rearrange(weights @ v, "b h n d -> b n (h d)"))


class PortBlock(nn.Module):
    "One norm for both places; what the MLP makes is dropped."

    def __init__(self, width: int, n_heads: int):
        super().__init__()
        self.norm = PortNorm(width)
        self.attention = PortAttention(width, n_heads, distances=False)
        self.mlp = nn.Sequential(EqualLinear(width, 4 * width), nn.GELU(), EqualLinear(4 * width, width))

    def forward(self, h: Tensor, w: Tensor) -> Tensor:
        h = h + self.attention(self.norm(h, w))
        normed = self.norm(h, w)
        self.mlp(normed)
        return h + normed


class PortModulated(nn.Module):
    "Weights of its own for each patch, as a convolution with so many groups."

    def __init__(self, n_in: int, n_out: int, most: float):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_out, n_in).uniform_(-most, most) / math.sqrt(n_in))

    def forward(self, x: Tensor, token: Tensor) -> Tensor:  # (N, P, n_in), (N, n_in) -> (N, P, n_out)
        weight = (self.weight * token[:, None]).flatten(0, 1)[..., None]       # (N n_out, n_in, 1)
        x = x.reshape(1, -1, x.shape[1])                                      # (1, N n_in, P)
        return F.conv1d(x, weight, groups=len(token)).view(len(token), x.shape[2], -1)


class PortGenerator(nn.Module):
    def __init__(self, latent_dim: int = 64, width: int = 96, depth: int = 3, n_heads: int = 4):
        super().__init__()
        self.mapping = Mapping(latent_dim, width, depth=8, rate=0.01)
        self.places = nn.Parameter(torch.randn(49, width))
        self.blocks = nn.ModuleList(PortBlock(width, n_heads) for _ in range(depth))
        self.norm = PortNorm(width)
        self.waves = nn.Linear(2, width)
        small = math.sqrt(6 / width) / 30
        self.layers = nn.ModuleList([PortModulated(width, width, 1 / width), PortModulated(width, width, small)])
        self.to_colour = PortModulated(width, 1, small)

    def forward(self, z: Tensor) -> Tensor:  # (B, Z) -> (B, 1, 28, 28)
        w = self.mapping(z)
        h = self.places.sin().expand(len(z), -1, -1)
        for block in self.blocks:
            h = block(h, w)
        tokens = self.norm(h, w).flatten(0, 1)                                 # (B 49, width)
        x = self.waves(places(4, 4)).sin().repeat(len(tokens), 1, 1)           # (B 49, 16, width)
        for layer in self.layers:
            x = torch.sin(30 * layer(x, tokens))
        return rearrange(self.to_colour(x, tokens), "(b h w) (p q) c -> b c (h p) (w q)", h=7, w=7, p=4)


class PortSpectralNorm(nn.Module):
    "One round of power iteration from the same vector every time; the first result is kept as large as the weight."

    def __init__(self, weight: Tensor):
        super().__init__()
        self.register_buffer("u", F.normalize(torch.randn(len(weight)), dim=0))
        self.start = None

    def forward(self, weight: Tensor) -> Tensor:
        W = weight.flatten(1)
        v = F.normalize(W.mT @ self.u, dim=0)
        u = F.normalize(W @ v, dim=0)
        sigma = (u @ W @ v).expand_as(weight)
        if self.start is None:
            self.start = sigma.detach().clone()
        return self.start.clone() * weight / sigma


class PortDiscriminator(nn.Module):
    "Patches without padding, and a logit that goes through GELU."

    def __init__(self, width: int = 96, depth: int = 3, n_heads: int = 4):
        super().__init__()
        self.patches = nn.Conv2d(1, width, 8, stride=4)
        self.summary = nn.Parameter(torch.randn(1, width))
        self.positions = nn.Parameter(torch.randn(37, width))
        self.attentions = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), PortAttention(width, n_heads, distances=True)) for _ in range(depth))
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
            for _ in range(depth))
        sizes = [width, 4098, 1024, 512, 1]
        self.head = nn.Sequential(nn.LayerNorm(width), *[
            layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.GELU())])
        for layer in list(self.modules()):
            if isinstance(layer, nn.Conv2d | nn.Linear):
                parametrize.register_parametrization(layer, "weight", PortSpectralNorm(layer.weight))

    def forward(self, x: Tensor) -> Tensor:  # (B, 1, 28, 28) -> (B, 1)
        h = torch.cat([self.summary.expand(len(x), 1, -1), self.patches(x).flatten(2).mT], dim=1)
        h = h + self.positions.sin()
        for attention, mlp in zip(self.attentions, self.mlps, strict=True):
            h = h + attention(h)
            h = h + mlp(h)
        return self.head(h[:, 0])


def port(data: ImageSet, batch_size: int) -> tuple[Callable[[], None], PortGenerator, PortDiscriminator]:
    "A function that does one step of the original project, and its networks."
    torch.manual_seed(0)
    G, D = PortGenerator(), PortDiscriminator()
    G_opt, D_opt = (torch.optim.Adam(network.parameters(), 1e-3, (0.0, 0.99)) for network in (G, D))
    steps = count()
    history = torch.zeros(batch_size, *data.shape)  # an image of each step
    grey = torch.zeros(data.shape[0])

    def opinion(x: Tensor) -> Tensor:
        return D(diff_augment(x, 1.0, grey)).flatten()

    def step():
        i = next(steps)
        x, _ = data[batch_index(len(data), batch_size, 0, i)]
        z = torch.randn(batch_size, 64)
        fake = G(z)
        history[i % batch_size] = fake[0].detach()
        real_logits = opinion(x)
        fake_logits = opinion(fake.detach())
        unlike = (real_logits - D(x)).square().mean() + (fake_logits - D(fake)).square().mean()  # of all pairs
        idle = bce(opinion(history), 0.0) + bce(opinion(2 * torch.rand_like(x) - 1), 0.0)
        D_opt.zero_grad()
        (0.5 * (bce(real_logits, 1.0) + bce(fake_logits, 0.0)) + 10 * unlike + 0 * idle).backward()
        D_opt.step()
        G_opt.zero_grad()
        bce(opinion(G(z)), 1.0).backward()
        G_opt.step()

    return step, G, D


def checked_port(data: ImageSet, batch_size: int) -> Callable[[], None]:
    step, G, D = port(data, batch_size)
    step()
    for network in (G, D):
        for name, p in network.named_parameters():
            assert (p.grad is None) == (network is G and ".mlp." in name), f"the gradient of {name}"
    return step


def make(data: ImageSet, recipe_class: type[GANRecipe], **settings) -> GANRecipe:
    torch.manual_seed(0)
    return recipe_class(recipe_class.Config(**settings), dict(train=data, validation=data))


def check_losses(data: ImageSet) -> None:
    "The losses of the first step are those of a plain script with the same networks."
    for name, (recipe_class, settings, design) in RECIPES.items():
        recipe = make(data, recipe_class, **settings)
        recipe.warm_up = 1  # the script knows no schedule
        updates = count()

        def as_ours(n: int, latent_dim: int, updates=updates) -> Tensor:
            reseed(0, next(updates))
            return torch.randn(n, latent_dim)

        found = script(design, recipe, new_fakes=True, same_passes=True, same_work=True, draw=as_ours)()
        expected = ours(recipe)()
        off = max(abs(found[network] - expected[network]) for network in "dg")
        assert off < 1e-5, f"{name}: a loss in the script is {off:.1e} away from ours"


def noise(side: int) -> ImageSet:
    "Grey images of noise."
    x = torch.randint(256, (2_000, 1, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ImageSet(x, torch.zeros(len(x), dtype=torch.int64), ("noise",), "noise", "train")


def cost(side: int = 28, rounds: int = 3, **settings) -> tuple[float, float]:
    "Milliseconds of a step with penalties, and of one without."
    step = ours(make(noise(side), ViTGANRecipe, **settings))
    times = [1e3 * seconds(step) for _ in range(4 * (rounds + 1))][4:]
    return median(times[::4]), median(t for i, t in enumerate(times) if i % 4)


def costs(quick: bool) -> None:
    "The table and the figure: a step against tokens, width and depth."
    print("\n| step of ViTGAN, 32 images | | ms with penalties | times the smallest | ms without | "
          "times the smallest |\n|---|---|---|---|---|---|")
    measured = {}
    for what, sizes in PANELS.items():
        rows = measured[what] = {}
        for size, settings in list(sizes.items())[:2 if quick else None]:
            rows[size] = cost(rounds=1 if quick else 3, **settings)
            first = next(iter(rows.values()))
            print(f"| {what} | {size} | " + " | ".join(f"{ms:.0f} | {ms / least:.1f}" for ms, least
                                                      in zip(rows[size], first, strict=True)) + " |", flush=True)
    if not quick:
        draw(measured)
    print("\n![time of a step against tokens, width and depth](vitgan_cost.png)")


def draw(measured: dict[str, dict[int, tuple[float, float]]]) -> None:
    "vitgan_cost.png."
    fig = Figure(figsize=(10, 3.2), layout="constrained")
    axs = fig.subplots(1, 3, sharey=True)
    ticks = (50, 100, 200, 500, 1_000, 2_000, 5_000)
    for ax, (what, rows) in zip(axs, measured.items(), strict=True):
        sizes = list(rows)
        for marker, name, times in zip("so", ("with penalties", "without"), zip(*rows.values(), strict=True),
                                       strict=True):
            ax.loglog(sizes, times, marker + "-", label=name)
        ax.plot(sizes, [times[0] * size / sizes[0] for size in sizes], ":", color="0.6", label="in proportion")
        ax.set(xlabel=what, xticks=sizes, xticklabels=sizes, yticks=ticks, yticklabels=[f"{t:,}" for t in ticks])
        ax.minorticks_off()
    axs[0].set_ylabel("ms per step of 32 images")
    axs[0].legend(frameon=False)
    fig.savefig(Path(__file__).with_name("vitgan_cost.png"), dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 rounds, the small half of the sizes, no figure")
    parser.add_argument("--cost", action="store_true", help="the cost against tokens, width and depth alone")
    args = parser.parse_args()
    keep_memory()
    if not args.cost:
        rounds = 3 if args.quick else 11
        print(f"| median of {rounds} rounds | | ms | times the first (range) |\n|---|---|---|---|")
        faults = time_attention(rounds)
        print_rows("forward of ViTDiscriminator, 32 x 1 x 28 x 28", discriminators(), rounds)
        data = load_images("fashion_mnist")
        check_losses(data)
        steps = {name: ours(make(data, recipe, **settings)) for name, (recipe, settings, _) in RECIPES.items()}
        print_rows("step of 32 images", steps | {"original project": checked_port(data, 32)}, rounds)
        print("\nNot timed: " + " ".join(faults or ["nothing."]))
    costs(args.quick)


if __name__ == "__main__":
    main()
