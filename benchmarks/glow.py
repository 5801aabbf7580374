"""A step of training Glow on 3x32x32, side by side in one run: python benchmarks/glow.py [--quick]

Three levels of four steps, a batch of 16: forward, backward, AdamW. normflows' multi-scale Glow (LU 1x1 convolutions,
logit, diagonal Gaussians), and ours with normflows' own coupling networks put in and without learned priors, so that
both have the same layers and sizes; then ours as it comes. Times: median of rounds in turns, one process. Memory with
and without recomputation: growth of the peak during steps with a batch of 64, in a process of its own. Cost against
depth, width and resolution: ours as it comes, drawn as flow_cost.png beside this file.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure
from measure import seconds
from torch import nn

from genlab.flow.glow import Glow
from genlab.flow.realnvp import ImageCoupling
from genlab.workshop.runs import keep_memory

SHAPE, ROUNDS, WIDTH, LEVELS, BATCH = (3, 32, 32), 4, 64, 3, 16


class PeersNet(nn.Module):
    "normflows' coupling network with our signature."

    def __init__(self, n_in: int, width: int, n_out: int):
        import normflows as nf

        super().__init__()
        self.net = nf.nets.ConvNet2d([n_in, width, width, n_out], [3, 1, 3], 0.0, True)

    def forward(self, x, context=None):
        return self.net(x)


def normflows_glow(rounds: int, width: int):
    import normflows as nf

    (c, h, w), base, flows, merges = SHAPE, [], [], []
    for i in range(LEVELS):  # the coarsest first
        level = LEVELS - i
        steps = [nf.flows.GlowBlock(c * 2 ** (level + 1), width, split_mode="channel", scale=True)
                 for _ in range(rounds)]
        flows.append([*steps, nf.flows.Squeeze()])
        merges += [nf.flows.Merge()] if i else []
        base.append(nf.distributions.DiagGaussian((c * 2 ** (level + (i == 0)), h // 2**level, w // 2**level)))
    return nf.MultiscaleFlow(base, flows, merges, transform=nf.transforms.Logit(0.05), class_cond=False)


def make(name: str, rounds: int = ROUNDS, width: int = WIDTH, shape=SHAPE, batch: int = BATCH, recompute: bool = False):
    "A function that does one step of training, and the number of parameters."
    torch.manual_seed(0)
    u = torch.rand(batch, *shape)
    if name == "normflows":
        model = normflows_glow(rounds, width)
        loss = lambda: model.forward_kld(u)  # noqa: E731
    else:
        model = Glow(shape, rounds=rounds, width=width, levels=LEVELS, recompute=recompute)
        if name == "genlab, normflows' networks":
            model.transform.layers[1].priors = nn.ModuleList()
            for layer in model.modules():
                if isinstance(layer, ImageCoupling):
                    layer.net = PeersNet(layer.net.first.in_channels, width, layer.net.last.out_channels)
        loss = lambda: -sum(part.mean() for part in model.log_prob_terms(u))  # noqa: E731
        model.transform.init_from_data(u)
    with torch.no_grad():
        loss()  # normflows' activation norm starts in its first call
    opt = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step():
        loss().backward()
        opt.step()
        opt.zero_grad()

    return step, sum(p.numel() for p in model.parameters())


def memory(settings: dict) -> float:
    "Megabytes that three steps with a batch of 64 need at their peak, beyond what is there before."
    settings = settings | dict(batch=64)
    code = (f"import sys; sys.path.insert(0, {str(sys.path[0])!r}); "
            f"import glow, measure; step, _ = glow.make('genlab', **{settings!r}); "
            "before = measure.peak(); step(); step(); step(); print(measure.peak() - before)")
    return float(subprocess.check_output([sys.executable, "-c", code], text=True).split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 rounds, the small half of the sizes")
    quick = parser.parse_args().quick
    rounds = 3 if quick else 11
    keep_memory()
    steps = {name: make(name) for name in ("genlab, normflows' networks", "normflows", "genlab, as it comes")}
    for step, _ in steps.values():
        step()
    times = [{name: seconds(step) for name, (step, _) in steps.items()} for _ in range(rounds)]
    print(f"| Glow, 3x32x32, {LEVELS} levels of {ROUNDS} steps, width {WIDTH}, batch {BATCH}; "
          f"median of {rounds} rounds | parameters | ms per step | times the first (range) |\n|---|---|---|---|")
    for name, (_, parameters) in steps.items():
        ratios = sorted(t[name] / t["genlab, normflows' networks"] for t in times)
        ms = sorted(1e3 * t[name] for t in times)[rounds // 2]
        print(f"| {name} | {parameters:,} | {ms:.0f} | {ratios[rounds // 2]:.2f} "
              f"({ratios[0]:.2f} to {ratios[-1]:.2f}) |", flush=True)
    costs(quick)


def costs(quick: bool) -> None:
    "Time and memory against depth, width and resolution, with and without recomputation; the table and the figure."
    panels = {
        "Glow steps per level": {n: dict(rounds=n) for n in (2, 4, 8, 16)},
        "width of the networks": {n: dict(width=n) for n in (32, 64, 128)},
        "height and width in pixels": {n: dict(shape=(3, n, n)) for n in (16, 32, 64)},
    }
    print("\n| genlab as it comes | | ms per step of 16 | MB with 64 | "
          "ms, recomputed | MB, recomputed |\n|---|---|---|---|---|---|")
    measured = {}
    for what, sizes in panels.items():
        sizes = dict(list(sizes.items())[:2]) if quick else sizes
        measured[what] = {n: [*cost_of(one, quick), *cost_of(one | dict(recompute=True), quick)]
                          for n, one in sizes.items()}
        for n, (ms, mb, again_ms, again_mb) in measured[what].items():
            print(f"| {what} | {n} | {ms:.0f} | {mb:.0f} | {again_ms:.0f} | {again_mb:.0f} |", flush=True)
    if not quick:
        draw(measured)
    print("\n![time and memory of a step against depth, width and resolution](flow_cost.png)")


def draw(measured: dict[str, dict[int, list[float]]]) -> None:
    "flow_cost.png."
    fig = Figure(figsize=(10, 5), layout="constrained")
    for (top, bottom), (what, rows) in zip(fig.subplots(2, 3, sharey="row").T, measured.items(), strict=True):
        for ax, columns, unit, ticks in ((top, (0, 2), "ms per step of 16", (25, 50, 100, 200)),
                                         (bottom, (1, 3), "MB with 64", (50, 100, 200, 400))):
            for column, name in zip(columns, ("plain", "recomputed"), strict=True):
                ax.loglog(list(rows), [row[column] for row in rows.values()], "o-", label=name)
            ax.set(xlabel=what, ylabel=unit, xticks=list(rows), xticklabels=list(rows), yticks=ticks, yticklabels=ticks)
            ax.minorticks_off()
            ax.label_outer()
            ax.set_xlabel(what)
    top.legend()
    fig.savefig(Path(__file__).with_name("flow_cost.png"), dpi=110)


def cost_of(settings: dict, quick: bool) -> tuple[float, float]:  # milliseconds, megabytes
    step, _ = make("genlab", **settings)
    step()
    return 1e3 * sorted(seconds(step) for _ in range(1 if quick else 3))[0 if quick else 1], memory(settings)


if __name__ == "__main__":
    main()
