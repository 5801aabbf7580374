"""Do synthetic images of rare classes help a classifier? (chapter 80_augmentation)

Three tasks: a long tail of Fashion-MNIST; two of its classes that are hard to tell, one of them rare; faces with and
without hats and glasses, the rarer the more of both. An arm's line has, for one replicate (a draw of training images,
an order of classes, generators, a classifier), the confusion matrix on test images, classes from frequent to rare.
Trainings and generators are kept in runs/augmentation/TASK as by `genlab augment`, so that what was stopped goes on.
"""

from functools import cache

import torch
from study import ROOT

from genlab.lab.pictures import ImageData
from genlab.studies import read_lines
from genlab.use.augmentation import QUALITIES, USUAL, AugmentationConfig, Experiment

FEW = dict(replicates=7, arms=("plain", "class-weights", "oversampling", "strong", "real-all", "oversampling+cvae",
                               "oversampling+cvae-gan", "oversampling+relgan", "only+cvae"))
TASKS = {
    "long tail": (ImageData("fashion_mnist"), dict(arms=USUAL)),
    "pullover or shirt": (ImageData("fashion_mnist"), dict(classes=("pullover", "shirt"), **FEW)),
    "faces": (ImageData("faces"), dict(attributes=("Hat", "Eyeglasses"), **FEW)),
}
TINY = dict(most=20, tail=2.0, steps=2, batch_size=8, generator_steps=2, replicates=2)


@cache
def experiment(task: str, tiny: bool = False) -> Experiment:
    source, settings = TASKS[task]
    config = AugmentationConfig(**settings | (TINY if tiny else {}))
    return Experiment(source, config, ROOT / "runs" / ("augmentation-tiny" if tiny else "augmentation") / task)


def arms(task: str, tiny: bool = False) -> list[dict]:
    found = experiment(task, tiny)
    return [dict(task=task, arm=arm, seed=replicate) for arm, _, replicate in found.planned()
            if replicate < found.config.replicates]


ARMS = [arm for task in TASKS for arm in arms(task)]
SMOKE = [dict(arm, tiny=True) for task in TASKS for arm in arms(task, tiny=True)
         if arm["seed"] == 0 and arm["arm"] in ("plain", "oversampling", "oversampling+cvae", "only+cvae")]


def run(arm: dict) -> dict:
    torch.set_num_threads(1)
    made = experiment(arm["task"], arm.get("tiny", False))
    row = made.do(arm["arm"], None if "+" in arm["arm"] else 0.0, arm["seed"])
    values = {name: row[name] for name in ("confusion", "validation", "share")}
    values |= dict(fid=None, precision=None, recall=None, copied=None)
    base, _, kind = arm["arm"].partition("+")
    for quality in read_lines(made.folder / "generators.jsonl", QUALITIES):
        asked = dict(generator=kind, replicate=arm["seed"], cheating=base == "cheating")
        if quality | asked == quality:
            values |= {name: quality[name] for name in ("fid", "precision", "recall", "copied")}
    return values
