"""Flows of points beside zuko, nflows and normflows, in one run: python benchmarks/flow_points.py [--quick]

Affine and spline couplings on 2 and 5 numbers; 6 couplings, MLPs with 2 hidden layers of 64 and SiLU, 8 bins on
[-4, 4], batches of 256. Between couplings: ours activation norm and LU linear; nflows the same two of its own;
normflows its LU linear; zuko nothing, as its flows alternate their masks (so do the peers' here). In the first table
each is therefore compared with ours with the same layers between couplings (no linear layer: the numbers reversed).
Every model is trained by the same lines (fused AdamW, clipped gradients). First the time of a training step and of
10,000 samples: pieces in turns, one process, medians. Then the nats of fresh points after equal seconds of training (of
the processor), the learning rate falling with the time that is left, for three seeds; the data are standardised for
all. Rate, batch and seconds are the same for all, and were settled after a first look at them all. Read differences
below .05 nats as none: so much comes from the order of the pi's five numbers alone, which decides what a coupling sees.
"""

import argparse
import math
import time
import warnings
from functools import partial

import torch
from measure import seconds
from torch import nn

from genlab.flow.couplings import ActNorm, Affine, Compose, Coupling, Flow, LULinear
from genlab.flow.splines import RationalQuadratic, SplinePointFlowConfig, pi_transform
from genlab.points.colored_pi import SIZE, load_pi
from genlab.points.vae import learning_rate, mlp
from genlab.workshop.runs import keep_memory

LAYERS, HIDDEN, DEPTH, BINS, BOUND, BATCH = 6, 64, 2, 8, 4.0, 256


class Reverse(nn.Module):
    "The numbers in the other order."

    def __init__(self, dim: int):
        super().__init__()

    def forward(self, x, context=None):
        return x.flip(1), x.new_zeros(len(x))

    inverse = forward


def ours(dim: int, kind: str, x, between=(ActNorm, LULinear)) -> nn.Module:
    elementwise = Affine if kind == "affine" else partial(RationalQuadratic, BINS, BOUND)
    rounds = [[*(layer(dim) for layer in between), Coupling(dim, elementwise(), HIDDEN, DEPTH)] for _ in range(LAYERS)]
    flow = Flow(Compose(*[layer for one in rounds for layer in one]), (dim,))
    flow.transform.init_from_data(x)
    return flow


class Told(nn.Module):
    "An MLP of ours where a peer passes a context."

    def __init__(self, n_in: int, n_out: int, zero: bool = True):
        super().__init__()
        self.net = mlp(n_in, HIDDEN, n_out, DEPTH)
        self.hidden_features = 1  # what the peers divide the softmax's inputs by: nothing
        if zero:
            nn.init.zeros_(self.net[-1].weight)
            nn.init.zeros_(self.net[-1].bias)

    def forward(self, x, context=None):
        return self.net(x)


def zukos(dim: int, kind: str, x) -> nn.Module:
    import zuko

    spline = dict(univariate=partial(zuko.transforms.MonotonicRQSTransform, bound=BOUND),
                  shapes=[(BINS,), (BINS,), (BINS - 1,)])
    flow = zuko.flows.NICE(dim, transforms=LAYERS, hidden_features=(HIDDEN,) * DEPTH, activation=nn.SiLU,
                           **(spline if kind == "spline" else {}))

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.flow = flow

        def log_prob(self, x):
            return self.flow().log_prob(x)

        def sample(self, n):
            return self.flow().sample((n,))

    return Wrapped()


def nflowss(dim: int, kind: str, x) -> nn.Module:
    from nflows import distributions, flows, transforms

    layers = []
    for i in range(LAYERS):
        mask = (torch.arange(dim) % 2 == i % 2).int()
        coupling = (transforms.AffineCouplingTransform(mask, Told) if kind == "affine" else
                    transforms.PiecewiseRationalQuadraticCouplingTransform(
                        mask, Told, num_bins=BINS, tails="linear", tail_bound=BOUND))
        layers += [transforms.ActNorm(dim), transforms.LULinear(dim), coupling]
    return flows.Flow(transforms.CompositeTransform(layers), distributions.StandardNormal([dim]))


def normflowss(dim: int, kind: str, x) -> nn.Module:
    import normflows as nf
    from normflows.flows.neural_spline.coupling import PiecewiseRationalQuadraticCoupling

    # what its CoupledRationalQuadraticSpline does, with an MLP instead of its residual network
    class Coupling(nf.flows.Flow):
        def __init__(self, i):
            super().__init__()
            mask = (torch.arange(dim) % 2 == i % 2).int()
            self.inner = PiecewiseRationalQuadraticCoupling(mask, Told, num_bins=BINS, tails="linear", tail_bound=BOUND)

        def forward(self, z):
            return self.inner.inverse(z)

        def inverse(self, z):
            return self.inner(z)

    def affine():
        kept = (dim + 1) // 2
        return nf.flows.AffineCouplingBlock(Told(kept, 2 * (dim - kept)))

    layers = [layer for i in range(LAYERS)
              for layer in (Coupling(i) if kind == "spline" else affine(), nf.flows.LULinearPermute(dim))]
    flow = nf.NormalizingFlow(nf.distributions.DiagGaussian(dim, trainable=False), layers)

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.flow = flow

        def log_prob(self, x):
            return self.flow.log_prob(x)

        def sample(self, n):
            return self.flow.sample(n)[0]

    return Wrapped()


LINEAR, PLAIN = "genlab, LU linear", "genlab, reversals"
TIMED = {
    "genlab": ours, "nflows": nflowss,
    LINEAR: partial(ours, between=(LULinear,)), "normflows": normflowss,
    PLAIN: partial(ours, between=(Reverse,)), "zuko": zukos,
}
BASE = {"nflows": "genlab", "normflows": LINEAR, "zuko": PLAIN}  # which of ours has the same layers


class Trainer:
    "One model and its optimiser; `step` is the same for all."

    def __init__(self, model: nn.Module, lr: float = 5e-3):
        self.model, self.lr = model, lr
        self.opt = torch.optim.AdamW(model.parameters(), lr=lr, fused=True)

    def step(self, x, t: float = 0.5) -> None:
        self.opt.param_groups[0]["lr"] = learning_rate(t, self.lr)
        self.opt.zero_grad()
        (-self.model.log_prob(x).mean()).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.opt.step()


def sampling(model: nn.Module) -> None:
    with torch.no_grad():
        model.sample(10_000)


def speed(dim: int, kind: str, rounds: int, steps: int) -> dict[str, list[list[float]]]:
    "Seconds of a step and of sampling by library: pieces of all in turns, after a piece of each to warm up."
    torch.manual_seed(0)
    x = torch.randn(20_000, dim)
    trainers = {name: Trainer(make(dim, kind, x[:1_000])) for name, make in TIMED.items()}
    times = {name: [[], []] for name in TIMED}
    for turn in range(rounds + 1):
        for name, trainer in trainers.items():
            trainer.model.train()
            step = seconds(lambda trainer=trainer: [trainer.step(x[i * BATCH:(i + 1) * BATCH])
                                                    for i in range(steps)]) / steps
            trainer.model.eval()
            draw = seconds(lambda trainer=trainer: sampling(trainer.model))
            if turn:
                times[name][0].append(step)
                times[name][1].append(draw)
    return times


def chessboard(n: int, seed: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    u, v = torch.rand(n, generator=g), torch.rand(n, generator=g)
    column = (4 * u).floor()
    return torch.stack([column, 2 * (2 * v).floor() + column % 2], dim=1) + torch.rand(n, 2, generator=g) - 2


def ring(n: int, seed: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    u, v, noise = torch.rand(n, generator=g), torch.rand(n, generator=g), torch.randn(n, 2, generator=g)
    return (torch.where(v < 0.3, 0.0, 2.0)[:, None]
            * torch.stack([(2 * math.pi * u).cos(), (2 * math.pi * u).sin()], dim=1) + 0.2 * noise)


def pi_points(n: int, seed: int) -> torch.Tensor:
    "Points of the coloured pi, somewhere in their cells: training points for an even seed, fresh ones for an odd one."
    pi, g = load_pi(), torch.Generator().manual_seed(seed)
    points = pi.points if seed % 2 == 0 else pi.real
    spread = points[torch.arange(n) % len(points)]
    return spread + torch.tensor([1 / SIZE] * 2 + [1 / 255] * 3) * (torch.rand(spread.shape, generator=g) - 0.5)


DATA = {"chessboard": chessboard, "ring": ring, "pi": pi_points}


def nats_after(model: nn.Module, x: torch.Tensor, fresh: torch.Tensor, budget: float, seed: int) -> tuple[float, int]:
    "Nats of fresh points after so many seconds of training (processor time), and how many steps these were."
    trainer, g, steps, used = Trainer(model.train()), torch.Generator().manual_seed(seed), 0, 0.0
    while used < budget:
        batch = x[torch.randint(len(x), (BATCH,), generator=g)]
        start = time.process_time()  # of the processor: what else runs on the machine doesn't count
        trainer.step(batch, used / budget)
        used, steps = used + time.process_time() - start, steps + 1
    model.eval()
    with torch.no_grad():
        return -float(torch.cat([model.log_prob(part) for part in fresh.split(5_000)]).mean()), steps


def equal_seconds(data: str, kind: str, budget: float, seed: int) -> dict[str, tuple[float, int]]:
    x, fresh, out = DATA[data](40_000, 2 * seed), DATA[data](20_000, 2 * seed + 1), {}
    x, fresh = ((part - x.mean(dim=0)) / x.std(dim=0) for part in (x, fresh))
    for name in ("genlab", PLAIN, "nflows", "normflows", "zuko"):
        torch.manual_seed(seed)
        out[name] = nats_after(TIMED[name](x.shape[1], kind, x[:1_000]), x, fresh, budget, seed)
    if data == "pi" and kind == "spline":
        torch.manual_seed(seed)
        out["genlab, autoregressive"] = nats_after(Flow(pi_transform(SplinePointFlowConfig()), (5,)),
                                                   x, fresh, budget, seed)
    return out


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 rounds, 1 second of training, 1 seed")
    parser.add_argument("--part", choices=("speed", "nats"), help="only one of the two tables")
    args = parser.parse_args()
    rounds, steps, budget, seeds = (2, 5, 1.0, 1) if args.quick else (9, 30, 15.0, 3)
    warnings.filterwarnings("ignore")
    keep_memory()
    if args.part != "nats":
        print("| numbers, coupling | library | step, ms | times ours (range) | "
              f"10,000 samples, ms | times ours (range) |\n|{'---|' * 6}")
        for dim, kind in ((2, "affine"), (2, "spline"), (5, "affine"), (5, "spline")):
            times = speed(dim, kind, rounds, steps)
            for name in TIMED:
                cells = []
                for own, base in zip(times[name], times[BASE.get(name, name)], strict=True):
                    ratios = sorted(a / b for a, b in zip(own, base, strict=True))
                    cells += [f"{1e3 * median(own):.1f}", f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"]
                print(f"| {dim}, {kind} | {name} | " + " | ".join(cells) + " |", flush=True)
    if args.part != "speed":
        print(f"\n| data, coupling | library | nats of fresh points after {budget:g} s, "
              f"seed by seed | steps |\n|{'---|' * 4}")
        for data, kind in (("chessboard", "affine"), ("chessboard", "spline"),
                           ("ring", "spline"), ("pi", "affine"), ("pi", "spline")):
            found = [equal_seconds(data, kind, budget, seed) for seed in range(seeds)]
            for name in found[0]:
                nats, done = zip(*[one[name] for one in found], strict=True)
                print(f"| {data}, {kind} | {name} | " + ", ".join(f"{v:.3f}" for v in nats)
                      + f" | {min(done)} to {max(done)} |", flush=True)


if __name__ == "__main__":
    main()
