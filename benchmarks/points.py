"""Generators of the coloured pi side by side, in one run: python benchmarks/points.py [--quick]

Each row is trained in a process of its own, one after another, so that its peak memory is its own.
The training step of chapter 12_vae is then compared with the same model in a loop as one first writes it.
Prints the tables.
"""

import argparse
import json
import subprocess
import sys
import time

import torch
from torch.utils.data import DataLoader, TensorDataset

from genlab.lab.training import fit
from genlab.points.colored_pi import load_pi
from genlab.points.distances import evaluate_points, fit_mixture
from genlab.points.transformer_vae import CloudVAE, TransformerPointVAEConfig, TransformerPointVAERecipe, train_cloud
from genlab.points.vae import PointVAE, PointVAEConfig, PointVAERecipe, train
from genlab.workshop.runs import peak_memory_mb

N = 20_000


def seeds_recipe(pi, epochs):
    "As documented: cloud as one sample, batch 1, 100 epochs, (1 - beta) * MSE + beta * KL; each z gives 5000 points."
    torch.manual_seed(0)
    model = CloudVAE()
    train_cloud(model, pi.points, 100)
    with torch.no_grad():
        return lambda: model.decode(torch.randn(N // len(pi.points), model.latent_dim)).detach().flatten(0, 1)


def mixture(pi, epochs):
    gm = fit_mixture(pi.points, 128, torch.Generator().manual_seed(0))
    return lambda: gm.sample(N, generator=torch.Generator().manual_seed(0))


def recipe(recipe_class, config_class, **settings):
    def run(pi, epochs):
        torch.manual_seed(0)
        r = recipe_class(config_class(epochs=epochs, **settings), pi)
        model, _ = fit(r, pi.points, steps=50 * epochs, batch_size=100)
        return lambda: r.draw(model, N, 0)

    return run


GENERATORS = {
    "seed's recipe (cloud as one sample)": seeds_recipe,
    "mixture of 128 Gaussians": mixture,
    "VAE, sigma learned freely": recipe(PointVAERecipe, PointVAEConfig, max_sigma_px=None),
    "VAE, at most one pixel (pi-vae)": recipe(PointVAERecipe, PointVAEConfig),
    "transformer VAE (pi-transformer-vae)": recipe(TransformerPointVAERecipe, TransformerPointVAEConfig),
}


def one(name: str, epochs: int) -> dict:
    "Train and judge one generator."
    pi = load_pi()
    base, start = peak_memory_mb(), time.perf_counter()
    sample = GENERATORS[name](pi, epochs)
    seconds, peak = time.perf_counter() - start, peak_memory_mb()
    return dict(evaluate_points(sample(), pi), seconds=seconds, peak=peak, base=base)


def naive_epoch(model, points, opt) -> None:
    "The loop as one first writes it: a DataLoader of single points, collated; default Adam."
    for (x,) in DataLoader(TensorDataset(points), batch_size=100, shuffle=True):
        opt.zero_grad()
        model.loss(x)["loss"].backward()
        opt.step()


def steps_per_second(epochs: int, rounds: int = 5) -> dict[str, list[float]]:
    "The chapter's loop and the naive one, in turns."
    points, per_epoch = load_pi().points, 50
    rates = {"chapter's loop": [], "naive loop": []}
    train(PointVAE(), points, 1)  # the first steps of a process pay for its start
    for _ in range(rounds):
        model = PointVAE()
        start = time.perf_counter()
        train(model, points, epochs)
        rates["chapter's loop"].append(epochs * per_epoch / (time.perf_counter() - start))
        model = PointVAE().standardise(points)
        opt, start = torch.optim.Adam(model.parameters()), time.perf_counter()
        for _ in range(epochs):
            naive_epoch(model, points, opt)
        rates["naive loop"].append(epochs * per_epoch / (time.perf_counter() - start))
    return rates


def table(rows: dict[str, dict], rates: dict[str, list[float]]) -> str:
    lines = ["| generator | training, s | SWD | on glyph | C2ST | "
             "nearest train / fresh | peak memory, MB (of it before training) |",
             "|---|---|---|---|---|---|---|"]
    for name, r in rows.items():
        near = r["nearest_train"]["value"] / r["nearest_train"]["floor"]
        lines.append(f"| {name} | {r['seconds']:.1f} | {r['swd']['value']:.4f} | {r['on_glyph']['value']:.3f} "
                     f"| {r['c2st']['value']:.3f} | {near:.2f} | {r['peak']:.0f} ({r['base']:.0f}) |")
    lines.append(f"| floor (the training points) | | {r['swd']['floor']:.4f} | 1.000 | 0.500 | 1.00 | |")
    (ours, naive) = (sorted(v)[len(v) // 2] for v in rates.values())
    ratios = sorted(a / b for a, b in zip(*rates.values(), strict=True))
    lines += ["", "| loop of the vanilla VAE, batch 100 | steps/s, median of 5 rounds in turns |", "|---|---|",
              f"| chapter's loop (index tensor, fused AdamW, clipping) | {ours:.0f} |",
              f"| naive loop (DataLoader of single points, default Adam) | {naive:.0f} |",
              f"| ratio | {ratios[len(ratios) // 2]:.2f} (from {ratios[0]:.2f} to {ratios[-1]:.2f}) |"]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 epochs")
    parser.add_argument("--one", choices=GENERATORS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    epochs = 3 if args.quick else 100
    if args.one:
        print(json.dumps(one(args.one, epochs)))
        return
    rows = {}
    for name in GENERATORS:
        print(f"{name} ...", end=" ", flush=True, file=sys.stderr)
        command = [sys.executable, __file__, "--one", name] + ["--quick"] * args.quick
        rows[name] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE,
                                               text=True).stdout.splitlines()[-1])
        print(f"{rows[name]['seconds']:.1f} s", flush=True, file=sys.stderr)
    print("steps per second ...", flush=True, file=sys.stderr)
    print(table(rows, steps_per_second(1 if args.quick else 5)))


if __name__ == "__main__":
    main()
