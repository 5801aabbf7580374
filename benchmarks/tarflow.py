"""TarFlow's three ways back side by side, and what a training step's memory is: python benchmarks/tarflow.py [--quick]

Grey images of 28x28 in patches of 4 (49 tokens) and of 2 (196 tokens); width 64, 4 blocks of 2 layers, classes,
Gaussian noise of .1. As Jacobi's rounds depend on the weights, each model is trained for a while first (Fashion-MNIST
where it is, else noise-free shapes, made grey). Plain: the whole network over all tokens for each token; "prefix": over
the tokens that are there, the best one can do without a cache. Median of rounds in turns, one process; the plain ways
are timed on few rounds. Memory: peak resident memory of a process of its own, above what it had before its first step.
"""

import argparse
import subprocess
import sys

import torch
from measure import peak, seconds

from genlab.flow.tarflow import TarFlow
from genlab.lab.images import load_images, to_float
from genlab.workshop.runs import keep_memory

SIZE = dict(channels=64, blocks=4, layers=2, n_labels=10, noise=0.1)


def grey_images() -> tuple[torch.Tensor, torch.Tensor]:  # (N, 1, 28, 28) in [-1, 1], classes
    data = load_images("fashion_mnist", "train", size=28, fallback="shapes", n=2_000)
    return to_float(data.x).mean(dim=1, keepdim=True), data.y


def trained(patch: int, steps: int) -> TarFlow:
    torch.manual_seed(0)
    x, y = grey_images()
    flow = TarFlow((1, 28, 28), patch=patch, **SIZE)
    opt = torch.optim.AdamW(flow.parameters(), lr=2e-3, fused=True)
    for _ in range(steps):
        index = torch.randint(len(x), (32,))
        flow(x[index], y[index])["loss"].backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 1.0)
        opt.step()
        opt.zero_grad()
    return flow.eval().requires_grad_(False)


def prefix_way(flow: TarFlow, z: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    for block in reversed(flow.transform.layers[1:]):
        z = block.ordered(z)
        x, where = z.clone(), block.where(context)
        for t in range(1, z.shape[1]):
            a, b = block.params(x[:, :t], where)
            x[:, t] = z[:, t] * a[:, -1].exp() + b[:, -1]
        z = block.ordered(x)
    return z


def rounds_of(flow: TarFlow, z: torch.Tensor, context: torch.Tensor) -> list[int]:
    "Jacobi rounds of each block, from noise to data."
    counts = []
    for block in reversed(flow.transform.layers[1:]):
        calls, params = [], block.params
        block.params = lambda *args, calls=calls, params=params: calls.append(1) or params(*args)
        z = block.inverse(z, context, way="jacobi")[0]
        del block.params
        counts.append(len(calls))
    return counts


def sampling(patch: int, steps: int, batch: int, rounds: int, slow: int) -> None:
    flow = trained(patch, steps)
    z, context = torch.randn(batch, *flow.shape), flow.context(torch.arange(batch) % 10)
    row = 28 // patch
    fast = {"cached": dict(way="cached"),
            "Jacobi": dict(way="jacobi"),
            f"Gauss-Seidel-Jacobi, pieces of {row}": dict(way="jacobi", piece=row)}
    ways = {name: lambda way=way: flow.undo(z, context, **way) for name, way in fast.items()}
    slows = {"plain": lambda: flow.undo(z, context, way="plain"),
             "plain, prefix only": lambda: prefix_way(flow, z, context)}
    reference, errors = flow.undo(z, context), {}
    for name, f in ways.items():
        errors[name] = float((f() - reference).abs().max())
    times = [{name: seconds(f) for name, f in (ways | (slows if i < slow else {})).items()} for i in range(rounds)]
    print(f"\n| {batch} samples of {flow.shape[0]} tokens, median of {rounds} rounds ({slow} of plain) | "
          "ms | times cached (range) | differs by |")
    print("|---|---|---|---|")
    for name in ways | slows:
        ms = sorted(1e3 * t[name] for t in times if name in t)
        ratio = sorted(t[name] / t["cached"] for t in times if name in t)
        print(f"| {name} | {ms[len(ms) // 2]:.0f} | {ratio[len(ratio) // 2]:.2f} "
              f"({ratio[0]:.2f} to {ratio[-1]:.2f}) | {errors.get(name, 0.0):.0e} |")
    print(f"\nAfter {steps} steps of training, Jacobi took {rounds_of(flow, z, context)} "
          f"rounds (last block first) of at most {flow.shape[0] - 1}.")


def one_step(patch: int, blocks: int, recompute: bool) -> None:
    "In a process of its own: memory above that before the first step, and the time of a later one."
    torch.manual_seed(0)
    flow = TarFlow((1, 28, 28), patch=patch, **(SIZE | dict(blocks=blocks, recompute=recompute)))
    y = torch.arange(64) % 10
    x = 2 * torch.rand(64, 1, 28, 28) - 1

    def step():
        flow.zero_grad()
        flow(x, y)["loss"].backward()

    flow(x[:1], y[:1])["loss"].backward()
    before = peak()
    step()
    print(peak() - before, min(seconds(step) for _ in range(3)))


def memory(patch: int, depths: tuple[int, ...]) -> None:
    print(f"\n| a training step of 64 images, {(28 // patch) ** 2} tokens | MB | ms |\n|---|---|---|")
    for blocks in depths:
        for recompute in (False, True):
            command = [sys.executable, __file__, "--step", str(patch), str(blocks), str(int(recompute))]
            mb, s = map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
            print(f"| {blocks} blocks{', computed again' if recompute else ''} | {mb:.0f} | {1e3 * s:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="49 tokens, 2 rounds")
    parser.add_argument("--step", nargs=3, type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        one_step(args.step[0], args.step[1], bool(args.step[2]))
        return
    keep_memory()
    sampling(4, 20 if args.quick else 200, batch=64, rounds=2 if args.quick else 9, slow=1 if args.quick else 3)
    if not args.quick:
        sampling(2, 60, batch=16, rounds=5, slow=1)
    memory(4, (4,) if args.quick else (4, 8, 16))


if __name__ == "__main__":
    main()
