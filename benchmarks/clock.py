"Trains recipes for a time, and judges images: for studies that compare at equal CPU seconds of one thread."

import time
from collections.abc import Callable

import torch

from genlab.lab.images import to_uint8
from genlab.lab.metrics import evaluate_images
from genlab.lab.training import Progress, fit


def train_for(
    make: Callable,  # from a number of steps to a recipe
    seed: int,
    *,
    seconds: float | None = None,  # CPU seconds; or steps
    steps: int | None = None,
    looks: int = 6,
    at_look: Callable = lambda model, values, seconds: values,  # what of a look is noted in the curve
) -> tuple[torch.nn.Module, Progress, dict]:  # what `fit` returns; and steps, CPU seconds and curve
    "Train a recipe; looks on the way take no time."
    if steps is None:
        steps = max(4, round(seconds / seconds_a_step(make, seed, 24 if seconds > 5 else 4)))
    torch.manual_seed(seed)
    recipe = make(steps)
    curve, spent, start = [], 0.0, time.process_time()
    validate = recipe.validate

    def look(model):
        nonlocal spent
        begin = time.process_time()
        now = begin - start - spent
        values = validate(model)
        noted = at_look(model, dict(values), now)
        curve.append(dict(seconds=round(now, 1)) | {name: round(float(value), 3) for name, value in noted.items()})
        spent += time.process_time() - begin
        return values

    recipe.validate = look
    model, progress = fit(recipe, recipe.data, steps=steps, batch_size=recipe.config.batch_size, seed=seed,
                          pictures=looks)
    took = round(time.process_time() - start - spent, 1)
    rows = [row for row in progress.log if any(name.startswith("val_") for name in row)]
    curve = [point | dict(step=row["step"]) for point, row in zip(curve, rows, strict=True)]
    return model, progress, dict(steps=steps, took=took, curve=curve)


def seconds_a_step(make: Callable, seed: int, n: int) -> float:
    "CPU seconds of a step, by n of them in a training that is thrown away, the first four left out."
    torch.manual_seed(seed)
    recipe = make(n + 4)
    recipe.validate = lambda model: {recipe.score[0]: 0.0}
    times, step = [], recipe.step

    def timed(update, t):
        times.append(time.process_time())
        return step(update, t)

    recipe.step = timed
    fit(recipe, recipe.data, steps=n + 4, batch_size=recipe.config.batch_size, seed=seed, pictures=1)
    return (times[-1] - times[3]) / (len(times) - 4)


def judge(test, images: torch.Tensor) -> dict[str, float]:  # an ImageSet; images in [-1, 1]
    "The numbers of samples against test images."
    found = evaluate_images(test, to_uint8(images))
    return {name: found[name]["value"] for name in ("fid", "kid", "precision", "recall", "coverage")}
