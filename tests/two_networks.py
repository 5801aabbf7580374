"""A small game of two networks for tests of the loop: a step is three updates of D and one of G, R1 in every fourth.

As a program it trains the game in a run folder, so that tests can kill it, resume it, and start it in processes:

    python tests/two_networks.py RUN STEPS NOISE ACCUMULATE [die at this loss of D]
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.lab.training import Recipe, fit
from genlab.workshop.runs import create_run

N = 256


class Points:
    "A ring, indexed as an `ImageSet` is."

    def __len__(self) -> int:
        return N

    def to(self, device):
        return self

    def __getitem__(self, index: Tensor) -> tuple[Tensor, Tensor]:
        angle = 2 * torch.pi * index.cpu() / N
        return torch.stack([angle.cos(), angle.sin()], dim=1).to(index.device), index % 2


class Game(Recipe):
    "D learns three times as often as G, and is told to be smooth in every fourth step."

    averaged = "generator"
    score = ("distance", "lowest")
    compiled = ("generator",)

    def __init__(self, noise: bool = True, die_at: int | None = None):
        torch.manual_seed(0)
        generator = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 2))
        discriminator = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
        super().__init__(dict(discriminator=discriminator, generator=generator), lr=2e-3)  # the averaged one is second
        self.noise = noise
        self.die_at = die_at
        self.seen = 0
        self.with_penalty = False

    def codes(self, x: Tensor) -> Tensor:  # (B, 3)
        return torch.randn(len(x), 3, device=x.device) if self.noise else torch.cat([x, x[:, :1]], dim=1)

    def d_loss(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        self.seen += 1
        if self.seen == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        d = self.networks["discriminator"]
        x = x.detach().requires_grad_(self.with_penalty)
        real = d(x)
        fake = d(self.networks["generator"](self.codes(x)).detach())
        adversarial = F.softplus(-real).mean() + F.softplus(fake).mean()
        if not self.with_penalty:
            return dict(loss=adversarial)
        gradient, = torch.autograd.grad(real.sum(), x, create_graph=True)
        r1 = gradient.square().sum(dim=1).mean()
        return dict(loss=adversarial + r1, r1=r1)

    def g_loss(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        fake = self.networks["generator"](self.codes(x))
        return dict(loss=F.softplus(-self.networks["discriminator"](fake)).mean())

    def step(self, update, t: float) -> dict[str, Tensor]:
        d = {}
        for i in range(3):
            self.with_penalty = i == 0 and update.step % 4 == 0
            d |= update("discriminator", self.d_loss)
        return d | update("generator", self.g_loss)

    def validate(self, model: nn.Module) -> dict[str, float]:
        "How far the samples' mean radius is from the ring's."
        codes = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            radius = model(codes.to(next(model.parameters()).device)).norm(dim=1).mean()
        return dict(distance=float((radius - 1).abs()))


def main() -> None:
    run, steps, noise, accumulate, *die_at = sys.argv[1:]
    run = Path(run)
    if not run.exists() and int(os.environ.get("RANK", 0)) == 0:
        create_run(run, dict(model="game"))
    recipe = Game(noise == "True", int(die_at[0]) if die_at else None)
    options = dict(out=run, save_every=20, pictures=5, device="cpu", accumulate=int(accumulate))
    model, progress = fit(recipe, Points(), steps=int(steps), batch_size=32, **options)
    if int(os.environ.get("RANK", 0)) == 0:
        torch.save(dict(state=progress.state_dict(), model=model.state_dict()), run / "end.pt")
        (run / "log.json").write_text(json.dumps(progress.log))


if __name__ == "__main__":
    main()
