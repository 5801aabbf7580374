"""Do synthetic images of rare classes help a classifier? (chapter 80_augmentation)

Three tasks: a long tail of Fashion-MNIST; two of its classes that are hard to tell, one of them rare; faces that smile
or don't, with glasses or without, some of the four combinations rare. A line is a replicate of a task (its own draw of
training images, order of classes, generators and classifiers): for each arm the confusion matrix on test images,
classes from frequent to rare, and for each generator what its images are like. The replicates behind the others' choose
how many synthetic images a generator's arms have. A replicate that was stopped goes on in runs/augmentation, as
`genlab augment` does. Five to seven hours of one thread; replicates may run side by side.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from study import ROOT

from genlab.lab.pictures import ImageData
from genlab.studies import LINES, append_line, read_lines
from genlab.use.augmentation import QUALITIES, TUNING, USUAL, AugmentationConfig, Experiment, opened, trainings

FEW = dict(replicates=6, steps=200, generator_steps=400)
FEW["arms"] = ("plain", "class-weights", "oversampling", "strong", "real-all", "oversampling+cvae",
               "oversampling+cvae-gan", "only+cvae")
TASKS = {
    "long tail": (ImageData("fashion_mnist"), dict(arms=USUAL)),
    "pullover or shirt": (ImageData("fashion_mnist"), dict(classes=("pullover", "shirt"), **FEW)),
    "faces": (ImageData("faces", size=32), dict(attributes=("Smiling", "Eyeglasses"), **FEW)),
}
TINY = dict(most=20, tail=2.0, steps=2, batch_size=8, generator_steps=2, replicates=2)


def config_of(task: str, tiny: bool = False) -> AugmentationConfig:
    return AugmentationConfig(**TASKS[task][1] | (TINY if tiny else {}))


def arms(task: str, tiny: bool = False) -> list[dict]:
    "Those that choose come first."
    n = config_of(task, tiny).replicates
    return [dict(task=task, seed=replicate) for replicate in (*range(n, n + TUNING), *range(n))]


ARMS = [arm for task in TASKS for arm in arms(task)]
SMOKE = [dict(arm, tiny=True) for arm in arms("faces", tiny=True)[:TUNING + 1]]


def run(arm: dict) -> dict:
    torch.set_num_threads(1)
    tiny = arm.get("tiny", False)
    with TemporaryDirectory() as elsewhere:
        folder = Path(elsewhere) if tiny else ROOT / "runs" / "augmentation" / f"{arm['task']}-{arm['seed']}"
        made = opened(folder / "run", TASKS[arm["task"]][0], config_of(arm["task"], tiny))
        return replicate(made, arm, [] if tiny else trainings(read_lines(LINES / "augmentation.jsonl"), arm["task"]))


def replicate(made: Experiment, arm: dict, tracked: list[dict]) -> dict:
    "All of a replicate's trainings; the shares of synthetic images are chosen by tracked ones."
    known = made.rows()
    for row in tracked:
        if row["replicate"] >= made.config.replicates and row not in known:
            append_line(made.folder / "trainings.jsonl", row)
    for name, share, number in made.planned():
        if number == arm["seed"]:
            made.do(name, share, number)

    def own(rows):
        return [{k: v for k, v in row.items() if k != "replicate"} for row in rows if row["replicate"] == arm["seed"]]

    generators = read_lines(made.folder / "generators.jsonl", QUALITIES)
    return dict(classes=made.data(arm["seed"])["train"].names, trainings=own(made.rows()), generators=own(generators))
