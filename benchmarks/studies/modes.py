"""Which losses cover the 25 Gaussians (chapter 51_stable_gan): five seeds each, some 15 minutes with one thread."""

import torch

from genlab.gan.stable_gan import modes_covered, play_on_plane

STEPS = 4_000
LOSSES = {
    "minimax": dict(losses="minimax"),
    "non-saturating": dict(losses="non-saturating"),
    "non-saturating, R1": dict(losses="non-saturating", gamma=[0.1, 0.0]),
    "hinge, spectral norm": dict(losses="hinge", normalised=True),
    "relativistic": dict(losses="relativistic"),
    "relativistic, R1 + R2": dict(losses="relativistic", gamma=[0.1, 0.1]),
}
ARMS = [dict(arm=name, steps=STEPS, seed=seed, **settings) for name, settings in LOSSES.items() for seed in range(5)]
SMOKE = [dict(arm, steps=20) for arm in ARMS if arm["seed"] == 0]


def run(arm: dict) -> dict:
    torch.set_num_threads(1)
    settings = {name: value for name, value in arm.items() if name != "arm"}
    G = play_on_plane(**settings)
    torch.manual_seed(arm["seed"])
    with torch.no_grad():
        points = G(torch.randn(2_500, 2))
    modes, share = modes_covered(points)
    return dict(modes=modes, share=share)
