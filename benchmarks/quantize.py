"""The quantiser's step, side by side in one run: python benchmarks/quantize.py [--quick]

Forward and backward, and the codebook's moving average, for N vectors of D numbers and K codes: ours,
vector-quantize-pytorch and pythae's QuantizerEMA with the same options (decay 0.99, no restart, the same codes at the
start). Each gets vectors in the layout that it asks for; agreement: the share of vectors that get the same code as from
ours. Times: median of rounds in turns, in one process. Memory: growth of the peak in a process of its own, over what it
holds before the step. Prints one table.
"""

import argparse
import subprocess
import sys

import torch
from measure import seconds
from pythae.models.vq_vae.vq_vae_config import VQVAEConfig as PeerConfig
from pythae.models.vq_vae.vq_vae_utils import QuantizerEMA
from vector_quantize_pytorch import VectorQuantize

from genlab.vq.quantize import VectorQuantizer
from genlab.workshop.runs import keep_memory

SIZES = [(8_192, 512, 64), (65_536, 1_024, 64)]
NAMES = ("genlab", "vector-quantize-pytorch", "pythae")


def make(name: str, n: int, k: int, d: int):
    "A function that does one step and returns the codes' numbers."
    torch.manual_seed(0)
    codes, h = torch.randn(k, d), torch.randn(8, d, n // 8 // 32, 32)
    if name == "genlab":
        layer = VectorQuantizer(k, d, start="uniform", restart=False).train()
        layer.codebook.data.copy_(codes)
    elif name == "pythae":
        config = PeerConfig(input_dim=(1, 28, 28), latent_dim=d, num_embeddings=k, use_ema=True)
        config.embedding_dim = d
        layer, h = QuantizerEMA(config).train(), h.permute(0, 2, 3, 1).contiguous()
        layer.embeddings.data.copy_(codes)
        layer.ema_embed.data.copy_(codes)
        layer.cluster_size.fill_(1.0)
    else:
        layer = VectorQuantize(dim=d, codebook_size=k, decay=0.99,
                               threshold_ema_dead_code=0, rotation_trick=False).train()
        h = h.flatten(2).mT.contiguous()
        layer._codebook.embed.data.copy_(codes[None])
        layer._codebook.embed_avg.data.copy_(codes[None])
        layer._codebook.cluster_size.data.fill_(1.0)

    def step():
        x = h.requires_grad_()
        out = layer(x)
        if name == "genlab":
            z, index, loss = out.z, out.index, 0.25 * out.losses["commitment"]
            layer.update()
        elif name == "pythae":
            z, index, loss = out.quantized_vector, out.quantized_indices, out.loss
        else:
            z, index, loss = out[0], out[1], 0.25 * out[2].sum()
        (z.square().mean() + loss).backward()
        x.grad = None
        return index.flatten()

    return step


def memory(name: str, size: tuple[int, int, int]) -> float:
    "Megabytes that a step needs beyond what is there before it."
    code = (f"import sys; sys.path.insert(0, {str(sys.path[0])!r}); "
            f"import quantize, measure; step = quantize.make({name!r}, *{size}); "
            "before = measure.peak(); step(); print(measure.peak() - before)")
    return float(subprocess.check_output([sys.executable, "-c", code], text=True).split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the small size, 3 rounds")
    args = parser.parse_args()
    sizes, rounds = (SIZES[:1], 3) if args.quick else (SIZES, 11)
    keep_memory()
    print(f"| N x K x D, median of {rounds} rounds | | ms per step | times ours (range) | "
          "same codes | MB |\n|---|---|---|---|---|---|")
    for size in sizes:
        first = {name: make(name, *size)() for name in NAMES}
        steps = {name: make(name, *size) for name in NAMES}
        times = [{name: seconds(step) for name, step in steps.items()} for _ in range(rounds + 1)][1:]
        for name in NAMES:
            ratios = sorted(t[name] / t["genlab"] for t in times)
            ms = sorted(1e3 * t[name] for t in times)[rounds // 2]
            same = (first[name] == first["genlab"]).double().mean().item()
            print(f"| {' x '.join(f'{v:,}' for v in size)} | {name} | {ms:.0f} | "
                  f"{ratios[rounds // 2]:.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f}) "
                  f"| {same:.4%} | {memory(name, size):.0f} |", flush=True)


if __name__ == "__main__":
    main()
