"""Metrics of images beside the libraries', equal values next to the times: python benchmarks/metrics.py [--quick]

Both sides get the same input and run in alternating rounds; one unmeasured call of each goes first where a call is
short. With fewer samples than dimensions genlab starts from the features, the others from the covariances; ratios are
taken round by round.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import pytorch_fid.fid_score
import scipy.linalg
import torch
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import calculate_precision_recall_full
from torchmetrics.functional.image import structural_similarity_index_measure

from genlab.lab.metrics import FeatureStats, frechet_distance, frechet_from_features, kid, precision_recall, ssim


class Linalg:
    "pytorch-fid calls scipy's root with an argument that newer versions of scipy refuse; here only."

    @staticmethod
    def sqrtm(m, disp=True):
        root = scipy.linalg.sqrtm(m)
        return root if disp else (root, 0.0)


pytorch_fid.fid_score.linalg = Linalg


def features(n: int, d: int, seed: int) -> torch.Tensor:
    "Correlated and non-negative, as the features of a network are."
    g = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=torch.Generator().manual_seed(7)) / d**0.5
    return (torch.randn(n, d, generator=g) @ mix + 0.05 * seed).relu()


def in_turns(sides: dict[str, Callable[[], float]], rounds: int, warm: bool) -> dict[str, tuple[float, list[float]]]:
    "Value and seconds of each side; the rounds alternate."
    out = {name: (call() if warm else None, []) for name, call in sides.items()}
    for _ in range(rounds):
        for name, call in sides.items():
            start = time.perf_counter()
            value = float(call())
            out[name][1].append(time.perf_counter() - start)
            out[name] = (value, out[name][1])
    return out


def fid_case(n: int, d: int, rounds: int) -> tuple[str, dict]:
    fa, fb = features(n, d, 1), features(n, d, 2)
    a, b = FeatureStats().update(fa), FeatureStats().update(fb)
    mu_a, s_a, mu_b, s_b = (t.numpy() for t in (a.mean, a.cov, b.mean, b.cov))
    dicts = dict(mu=mu_a, sigma=s_a), dict(mu=mu_b, sigma=s_b)
    ours = {"genlab": (lambda: frechet_from_features(fa, fb)) if n <= d else (lambda: frechet_distance(a, b))}
    peers = {
        "pytorch-fid": lambda: pytorch_fid.fid_score.calculate_frechet_distance(mu_a, s_a, mu_b, s_b),
        "torch-fidelity": lambda: fid_statistics_to_metric(*dicts, verbose=False)["frechet_inception_distance"],
    }
    return f"FID algebra, d = {d}, n = {n}", in_turns(ours | peers, rounds, warm=d < 1_000)


def ssim_case(n: int, channels: int, size: int, rounds: int) -> tuple[str, dict]:
    g = torch.Generator().manual_seed(0)
    a = torch.rand(n, channels, size, size, generator=g) * 2 - 1
    b = (a + 0.2 * torch.randn(a.shape, generator=g)).clamp(-1, 1)
    p, q = (a + 1) / 2, (b + 1) / 2
    sides = {"genlab": lambda: ssim(a, b).mean(),
             "torchmetrics": lambda: structural_similarity_index_measure(q, p, data_range=1.0)}
    return f"SSIM, {n} images {channels}x{size}x{size}", in_turns(sides, rounds, warm=True)


def set_cases(n: int, d: int, rounds: int) -> list[tuple[str, dict]]:
    fa, fb = features(n, d, 1), features(n, d, 2)
    how = dict(kid_subsets=1, kid_subset_size=n, kid_kernel="poly", kid_kernel_poly_degree=3,
               kid_kernel_poly_gamma=None, kid_kernel_poly_coef0=1, rng_seed=0, verbose=False)
    kids = {
        "genlab": lambda: kid(fa, fb),
        "torch-fidelity": lambda: kid_features_to_metric(
            fa.double(), fb.double(), **how)["kernel_inception_distance_mean"],
    }
    balls = {
        "genlab": lambda: precision_recall(fa, fb)[1],
        "torch-fidelity": lambda: calculate_precision_recall_full(fb.double(), fa.double(), 3)[1],
    }
    return [(f"KID, all pairs of {n:,}, d = {d}", in_turns(kids, rounds, warm=True)),
            (f"precision and recall (value: recall), {n:,}, d = {d}", in_turns(balls, rounds, warm=True))]


def table(cases: list[tuple[str, dict]]) -> str:
    lines = ["| metric | code | value | seconds, median (from-to) | theirs / ours |", "|---|---|---|---|---|"]
    for name, sides in cases:
        ours = sides["genlab"][1]
        for code, (value, seconds) in sides.items():
            ratios = sorted(theirs / mine for theirs, mine in zip(seconds, ours, strict=True))
            times = f"{statistics.median(seconds):.3f} ({min(seconds):.3f}-{max(seconds):.3f})"
            ratio = "1" if code == "genlab" else f"{statistics.median(ratios):.1f} ({ratios[0]:.1f}-{ratios[-1]:.1f})"
            lines.append(f"| {name} | {code} | {value:.8g} | {times} | {ratio} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    args = parser.parse_args()
    sizes = [(100, 128, 3), (300, 128, 3)] if args.quick else [
        (400, 512, 5), (5_000, 512, 5), (500, 2_048, 2), (5_000, 2_048, 2)]
    cases = []
    for n, d, rounds in sizes:
        print(f"FID algebra, d = {d}, n = {n} ...", flush=True, file=sys.stderr)
        cases.append(fid_case(n, d, rounds))
    print("the others ...", flush=True, file=sys.stderr)
    cases += [ssim_case(64, 1, 28, 3)] if args.quick else [ssim_case(1_000, 1, 28, 7), ssim_case(256, 3, 64, 7)]
    cases += set_cases(300 if args.quick else 4_000, 64, 3)
    for name, sides in cases:
        mine = sides["genlab"][0]
        for code, (value, _) in sides.items():
            assert np.isclose(value, mine, rtol=1e-4, atol=1e-7), f"{name}: {code} gives {value}, genlab {mine}"
    print(table(cases))
    print("\nBeside: " + ", ".join(f"{p} {version(p)}"
                                   for p in ("scipy", "pytorch-fid", "torch-fidelity", "torchmetrics")) + ".")


if __name__ == "__main__":
    main()
