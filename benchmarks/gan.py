"""A step of training a GAN, and what GANs need beside, side by side in one run: python benchmarks/gan.py [--quick]

Steps of training on Fashion-MNIST: ours is a step of `fit` with the recipe's defaults (an update of D and one of G,
each with its own batch, codes, clipping and look at its gradient, and the average of G's weights), without the log.
Beside it stand copies of the same networks in the usual script: the loop of PyTorch's DCGAN example, with one batch and
one set of fakes for both updates and with PyTorch's own losses, gradient penalties and Adam. Then the same script with
new fakes for G, as ours has them. Then the passes that ours makes: a new batch and new fakes for G, D's weights frozen
meanwhile, fused Adam. Last, all that ours does beside: gradients cut to norm 1, and PyTorch's average of G. Where the
penalties come in every fourth step, a step is the mean over four. That the losses of a first step agree is checked
before: D's in all scripts, G's too where the passes are the same.

Augmentation: `diff_augment` with p = 1, forward and backward, and what comes nearest to it in kornia: RandomBrightness,
ColorJitter (saturation and contrast), RandomTranslate (the nearest pixel; its RandomCrop with a padding takes longer),
RandomErasing. kornia cuts off colours below 0 and above 1, takes another grey, and keeps the whole hole inside the
image; that both do the same to grey images of medium brightness, with the same numbers drawn, is checked before.

Spectral norm: forward of the critic in training mode, as it is and with PyTorch's parametrisation, so with one power
iteration per layer; that it's the same critic with other weights is checked before.

Times: median of rounds in turns, one process. torch-mimicry (0.1.16, of 2020) is no peer: its import needs TensorFlow,
for scores that aren't compared here, and with TensorFlow 2.21 beside torch 2.14 it ended in a segmentation fault.
"""

import argparse
from collections.abc import Callable, Iterator
from copy import deepcopy
from itertools import count

import kornia.augmentation as K
import torch
import torch.nn.functional as F
from measure import seconds
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from genlab.gan.dcgan import DCGANRecipe, GANRecipe
from genlab.gan.stable_gan import (
    Critic,
    RelGANRecipe,
    SNGANRecipe,
    diff_augment,
    normalise_spectrum,
    recoloured,
    shifted,
    with_a_hole,
)
from genlab.lab.images import ImageSet, load_images
from genlab.lab.training import Progress, Update, batch_index, reseed
from genlab.workshop.runs import keep_memory, make_accelerator

IN_A_ROW = 4  # calls that are timed together: a cycle of penalties in every fourth step


class Unpenalised(RelGANRecipe):
    "Pairs without gradient penalties: the step of any other GAN."

    step = GANRecipe.step


def bce(logits: Tensor, label: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


CLASSIC = (  # the losses of D and of G from logits of real and of generated images
    lambda real, fake: bce(real, 1.0) + bce(fake, 0.0),
    lambda real, fake: bce(fake, 1.0),
)
HINGE = (
    lambda real, fake: F.relu(1 - real).mean() + F.relu(1 + fake).mean(),
    lambda real, fake: -fake.mean(),
)
PAIRS = (
    lambda real, fake: F.softplus(fake - real).mean(),
    lambda real, fake: F.softplus(real - fake).mean(),
)
DESIGNS = {  # name: recipe, losses, every how many steps there are penalties
    "DCGAN": (DCGANRecipe, CLASSIC, None),
    "SNGAN": (SNGANRecipe, HINGE, None),
    "relativistic, no penalties": (Unpenalised, PAIRS, None),
    "relativistic, R1 and R2 in every step": (RelGANRecipe, PAIRS, 1),
    "relativistic, R1 and R2 in every fourth step": (RelGANRecipe, PAIRS, 4),
}
SCRIPTS = {
    "usual script": {},
    "usual script, new fakes for G": dict(new_fakes=True),
    "script with the same passes as ours": dict(new_fakes=True, same_passes=True),
    "script that cuts and averages as ours": dict(new_fakes=True, same_passes=True, same_work=True),
}


def make(design: str, data: ImageSet) -> GANRecipe:
    torch.manual_seed(0)
    recipe, _, every = DESIGNS[design]
    settings = dict(penalty_every=every) if every else {}
    return recipe(recipe.Config(**settings), dict(train=data, validation=data))


def ours(recipe: GANRecipe) -> Callable[[], dict[str, float]]:
    "A function that does one step as `fit` does it."
    progress = Progress(recipe, None)
    update = Update(recipe, recipe.data, progress, make_accelerator("cpu", (), None), steps=recipe.config.steps,
                    batch_size=recipe.config.batch_size, accumulate=1, seed=0)

    def step():
        update.done = 0
        reseed(0, progress.step, shard=2**32 - 2)
        parts = recipe.step(update, progress.step / update.steps)
        progress.count(parts, recipe.model)
        return dict(d=float(parts["discriminator_loss"]), g=float(parts["generator_loss"]))

    return step


def penalty(logits: Tensor, x: Tensor) -> Tensor:
    slope, = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return slope.square().sum(dim=(1, 2, 3)).mean()


def script(
    design: str,
    recipe: GANRecipe,
    new_fakes: bool = False,    # for G, instead of those that D has just seen
    same_passes: bool = False,  # a new batch for G, D frozen meanwhile, fused Adam
    same_work: bool = False,    # gradients cut to norm 1, and an average of G's weights
    draw: Callable[[int, int], Tensor] = torch.randn,
) -> Callable[[], dict[str, float]]:
    "A function that does one step with copies of a recipe's networks, as one writes it without a library."
    config = recipe.config
    data = recipe.data
    _, (d_loss, g_loss), every = DESIGNS[design]
    pairs = isinstance(recipe, RelGANRecipe)
    G = deepcopy(recipe.networks["generator"])
    D = deepcopy(recipe.networks["discriminator"])
    fused = dict(fused=True) if same_passes else {}
    G_opt = torch.optim.Adam(G.parameters(), config.lr, recipe.betas, **fused)
    D_opt = torch.optim.Adam(D.parameters(), config.lr, recipe.betas, **fused)
    batches: Iterator[Tensor] = (data[batch_index(len(data), config.batch_size, 0, i)][0] for i in count())
    steps = count()
    average = AveragedModel(G, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True)

    def step():
        x = next(batches)
        fake = G.decode(draw(len(x), G.latent_dim))
        penalised = every is not None and next(steps) % every == 0
        x.requires_grad_(penalised)
        seen = fake.detach().requires_grad_(penalised)
        real_logits = D(x)
        fake_logits = D(seen)
        loss = d_loss(real_logits, fake_logits)
        if penalised:
            slopes = penalty(real_logits, x) + penalty(fake_logits, seen)
            loss = loss + every * config.gamma / 2 * slopes
        D_opt.zero_grad()
        loss.backward()
        if same_work:
            nn.utils.clip_grad_norm_(D.parameters(), 1.0)
        D_opt.step()

        if same_passes:
            x = next(batches)
            D.requires_grad_(False)
        if new_fakes:
            fake = G.decode(draw(len(x), G.latent_dim))
        with torch.no_grad():
            real_logits = D(x) if pairs else None
        g = g_loss(real_logits, D(fake))
        G_opt.zero_grad()
        g.backward()
        if same_work:
            nn.utils.clip_grad_norm_(G.parameters(), 1.0)
        G_opt.step()
        if same_work:
            average.update_parameters(G)
        D.requires_grad_(True)
        return dict(d=loss.item(), g=g.item())

    return step


def check_losses(data: ImageSet) -> None:
    "The losses of the first step agree: D's, and G's if the passes are the same."
    for design in DESIGNS:
        recipe = make(design, data)
        scripts = {}
        for name, settings in SCRIPTS.items():
            updates = count()

            def as_ours(n: int, latent_dim: int, updates=updates) -> Tensor:
                reseed(0, next(updates))
                return torch.randn(n, latent_dim)

            scripts[name] = script(design, recipe, draw=as_ours, **settings)()
        expected = ours(recipe)()
        for name, losses in scripts.items():
            for network in ("d", "g") if SCRIPTS[name].get("same_passes") else ("d",):
                off = abs(losses[network] - expected[network])
                assert off < 1e-5, f"{design}: {network.upper()}'s loss in the {name} is {off:.1e} away from ours"


def kornias(size: int) -> nn.Sequential:
    "What comes nearest to `diff_augment` with p = 1, for images in [0, 1]."
    return nn.Sequential(
        K.RandomBrightness((0.75, 1.25), clip_output=False, p=1.0),  # 0.25 here is 0.5 in [-1, 1]
        K.ColorJitter(saturation=1.0, contrast=0.5, order=(2, 1), p=1.0),
        K.RandomTranslate((-1 / 8, 1 / 8), (-1 / 8, 1 / 8), resample="nearest", p=1.0),
        K.RandomErasing((0.25, 0.25), (1.0, 1.0), p=1.0),
    )


def check_augmentation(size: int) -> None:
    "On grey images of medium brightness, our three changes with kornia's numbers are what kornia makes of them."
    torch.manual_seed(0)
    x = (0.4 + 0.2 * torch.rand(64, 1, size, size)).expand(-1, 3, -1, -1)
    layers = kornias(size)
    theirs = 2 * layers(x) - 1
    brightness, colours, shift, hole = (layer._params for layer in layers)
    black = -torch.ones(3)
    made = recoloured(2 * x - 1, 2 * (brightness["brightness_factor"] - 1), colours["saturation_factor"],
                      colours["contrast_factor"])
    made = shifted(made, torch.stack([shift["translate_y"], shift["translate_x"]], dim=1).round().long(), black)
    middle = size / 4 - 0.5  # of a hole, seen from its first pixel
    made = with_a_hole(made, torch.stack([hole["ys"], hole["xs"]], dim=1) + middle, black)
    off = (made - theirs).abs().max()
    assert off < 1e-5, f"kornia's augmentation and ours differ by {off:.1e}"


def augmentations(size: int) -> dict[str, Callable[[], None]]:
    torch.manual_seed(0)
    x = torch.rand(64, 3, size, size)
    g = torch.randn_like(x)
    layers = kornias(size)
    black = -torch.ones(3)

    def run(f: Callable[[Tensor], Tensor], x: Tensor) -> None:
        x.requires_grad_()
        f(x).backward(g)
        x.grad = None

    signed = 2 * x - 1
    return {"genlab": lambda: run(lambda x: diff_augment(x, 1.0, black), signed), "kornia": lambda: run(layers, x)}


def critics() -> dict[str, Callable[[], Tensor]]:
    "The forward of a critic as it is, and with normalised spectra."
    torch.manual_seed(0)
    plain = Critic((3, 32, 32)).train()
    normalised = normalise_spectrum(deepcopy(plain))
    x = 2 * torch.rand(64, 3, 32, 32) - 1
    same = deepcopy(plain)
    normalised.eval()  # no power iteration
    with torch.no_grad():
        for name, layer in plain.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                same.get_submodule(name).weight.copy_(normalised.get_submodule(name).weight)
        torch.testing.assert_close(same(x), normalised(x))
    normalised.train()
    return {"as it is": lambda: plain(x), "with spectral norm": lambda: normalised(x)}


def print_rows(what: str, steps: dict[str, Callable], rounds: int) -> None:
    "A line of the table for each function: milliseconds, and times the first."

    def several(step: Callable) -> None:
        for _ in range(IN_A_ROW):
            step()

    for step in steps.values():
        several(step)
    times = [{name: seconds(lambda step=step: several(step)) / IN_A_ROW for name, step in steps.items()}
             for _ in range(rounds)]
    first = next(iter(steps))
    for name in steps:
        ratios = sorted(t[name] / t[first] for t in times)
        ms = sorted(1e3 * t[name] for t in times)[rounds // 2]
        print(f"| {what} | {name} | {ms:.1f} | {ratios[rounds // 2]:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) |",
              flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 rounds")
    rounds = 3 if parser.parse_args().quick else 11
    keep_memory()
    data = load_images("fashion_mnist")
    check_losses(data)
    print(f"| median of {rounds} rounds | | ms | times the first (range) |\n|---|---|---|---|")
    for design in DESIGNS:
        recipe = make(design, data)
        scripts = {name: script(design, recipe, **settings) for name, settings in SCRIPTS.items()}
        print_rows(f"step of {recipe.config.batch_size} images, {design}", {"genlab": ours(recipe)} | scripts, rounds)
    for size in (32, 64):
        check_augmentation(size)
        print_rows(f"augmentation, 64 x 3 x {size} x {size}", augmentations(size), rounds)
    print_rows("critic's forward, 64 x 3 x 32 x 32", critics(), rounds)


if __name__ == "__main__":
    main()
