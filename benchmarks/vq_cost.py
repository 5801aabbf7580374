"""How the cost of part 4 grows: python benchmarks/vq_cost.py [--quick]

Time of a quantiser's step (forward, backward, moving average; D = 64) against the number of codes K and of vectors N,
and of cached and uncached sampling by the prior (width 128, 4 blocks) against the number of tokens and of maps in a
batch. Median of 5 runs each, one process. Draws vq_cost.png beside this file, and prints the table behind it.
"""

import argparse
from pathlib import Path
from statistics import median

import torch
from matplotlib.figure import Figure
from measure import seconds
from quantize import make

from genlab.vq.prior import TokenPrior
from genlab.workshop.runs import keep_memory

N, K, TOKENS, BATCH = 8_192, 512, 49, 64


def cost_of(f, rounds: int) -> float:
    f()
    return median(seconds(f) for _ in range(rounds))


def samplers(of) -> dict:  # of: a size -> tokens, maps
    "Sampling with and without the cache, as functions of one size."

    def make_sampler(size, cache):
        torch.manual_seed(0)
        tokens, batch = of(size)
        side = round(tokens**0.5)
        prior = TokenPrior(K, (side, side), d_model=128, depth=4, n_heads=4, dropout=0.0).eval()
        return lambda: prior.sample(batch, torch.zeros(batch, dtype=torch.int64), cache=cache)

    return {"cached": lambda size: make_sampler(size, True), "without cache": lambda size: make_sampler(size, False)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1 run each, the small half of the sizes")
    quick = parser.parse_args().quick
    keep_memory()
    codes, vectors = (128, 512, 2_048, 8_192), (2_048, 8_192, 32_768, 131_072)
    tokens, batches = (16, 49, 100, 196), (4, 16, 64, 256)
    panels = [
        ("codes K", f"quantiser, {N:,} vectors", codes, {"step": lambda k: make("genlab", N, k, 64)}),
        ("vectors N", f"quantiser, {K} codes", vectors, {"step": lambda n: make("genlab", n, K, 64)}),
        ("tokens", f"sampling {BATCH} maps", tokens, samplers(lambda t: (t, BATCH))),
        ("maps in a batch", f"sampling maps of {TOKENS}", batches, samplers(lambda n: (TOKENS, n))),
    ]
    print("| | size | ms | times the smallest |\n|---|---|---|---|")
    fig = Figure(figsize=(11, 3), layout="constrained")
    for ax, (xlabel, title, sizes, ways) in zip(fig.subplots(1, 4), panels, strict=True):
        for name, way in ways.items():
            times = {size: cost_of(way(size), 1 if quick else 5) for size in sizes[:2 if quick else None]}
            ax.loglog(list(times), [1e3 * t for t in times.values()], "o-", label=name)
            for size, t in times.items():
                print(f"| {title}, {name} | {size:,} {xlabel} | {1e3 * t:.1f} | {t / times[sizes[0]]:.1f} |",
                      flush=True)
        ax.plot(list(times), [1e3 * times[sizes[0]] * s / sizes[0] for s in times], ":",
                color="0.6", label="in proportion")
        ax.set(xlabel=xlabel, ylabel="milliseconds", title=title)
        ax.legend(fontsize=7)
    if not quick:
        fig.savefig(Path(__file__).with_suffix(".png"), dpi=110)
    print("\n![time against codes, vectors, tokens and batch](vq_cost.png)")


if __name__ == "__main__":
    main()
