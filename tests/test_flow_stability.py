"""300 steps at 1e-3 of every flow: nothing becomes NaN, hardly a step is left out, and everything can still be undone.

Twenty seeds on points, three on images; GENLAB_SEEDS=20 pytest tests/test_flow_stability.py takes twenty there too
(ten minutes on two cores).
"""

import math
import os

import pytest
import torch

from genlab.flow.couplings import Affine, Flow, FlowRecipe, inverse_error, point_transform
from genlab.flow.glow import Glow
from genlab.flow.realnvp import RealNVP, dequantise
from genlab.flow.splines import Autoregressive, RationalQuadratic, SplineFlow
from genlab.flow.tarflow import TarFlow
from genlab.lab.images import load_images, to_float
from genlab.lab.training import fit

SEEDS = range(int(os.environ.get("GENLAB_SEEDS", "3")))
POINTS = {  # (rounds of norm, linear layer and) what moves the points
    "affine": lambda: point_transform(2, Affine, 4, 32),
    "spline": lambda: point_transform(2, RationalQuadratic, 4, 32),
    "autoregressive": lambda: Autoregressive(2, RationalQuadratic(), 32, 2),
}
IMAGES = {
    "realnvp": lambda: RealNVP((1, 16, 16), couplings=2, width=8, blocks=1),
    "variational": lambda: RealNVP((1, 16, 16), couplings=2, width=8, blocks=1, dequantisation="variational"),
    "glow": lambda: Glow((1, 16, 16), rounds=2, width=8, levels=2),
    "glow, noise": lambda: Glow((1, 16, 16), rounds=1, width=8, levels=2, growth=2, noise=0.1),
    "spline-flow": lambda: SplineFlow((1, 16, 16), couplings=1, width=8, blocks=1, levels=2, bins=4),
    "tarflow": lambda: TarFlow((1, 16, 16), patch=4, channels=16, blocks=4, layers=1, heads=2, noise=0.1),
    "tarflow, uniform": lambda: TarFlow((1, 16, 16), patch=4, channels=16, blocks=4, layers=1, heads=2, noise=0.0),
}


def trained(flow: Flow, x: torch.Tensor, u: torch.Tensor, seed: int) -> list[float]:
    "The losses on the way, of training on x; u is what the transform takes."
    _, progress = fit(FlowRecipe(flow, 1e-3), x, steps=300, batch_size=64, seed=seed)
    losses = [row["loss"] for row in progress.log]
    assert all(math.isfinite(loss) for loss in losses), losses
    assert sum(row["skipped"] for row in progress.log) / len(losses) < 0.05
    assert inverse_error(flow.transform, u) < 1e-4
    return losses


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", POINTS)
def test_points(name, seed):
    torch.manual_seed(seed)
    x = torch.rand(1_000, 2).round(decimals=1) * 4 - 2  # places that repeat, the worst case for a density
    flow = Flow(POINTS[name](), (2,))
    if hasattr(flow.transform, "init_from_data"):
        flow.transform.init_from_data(x)
    trained(flow, x, x, seed)


@pytest.fixture(scope="module")
def images(few_images) -> torch.Tensor:
    # large flat areas, again the worst case
    return to_float(load_images("fashion_mnist", "train", root=few_images).x[..., 6:22, 6:22])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", IMAGES)
def test_images(name, seed, images):
    torch.manual_seed(seed)
    flow = IMAGES[name]()
    u = dequantise(images[:256], torch.rand(256, 1, 16, 16))
    flow.transform.init_from_data(u)
    losses = trained(flow, images, u, seed)
    assert losses[-1] < losses[0]
    assert flow.sample(16, generator=torch.Generator().manual_seed(seed)).isfinite().all()
