"""Bad folders of `genlab augment`: an experiment that was begun is spoiled, and continued."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import yaml

from bad_inputs import Bad, gone, replaced, then, written
from genlab.lab.pictures import ImageData
from genlab.lab.training import plain
from genlab.use.augmentation import AugmentationConfig

bad = partial(Bad, needs=())
AUGMENT = ["augment", "--data", "shapes", "--out", "exp"]


def begun(*steps: Callable[[Path], object]) -> Callable[[Path], list]:
    "An experiment that was begun in exp is spoiled, and continued."

    def begin(here: Path) -> None:
        settings = plain(dict(data=asdict(ImageData("shapes")), experiment=asdict(AugmentationConfig())))
        written("exp/settings.yaml", yaml.safe_dump(settings, sort_keys=False))(here)
        written("exp/.lock", "")(here)

    return then(begin, *steps, run=AUGMENT)


DONE, OF_EXPERIMENT = "exp/trainings.jsonl", "exp/settings.yaml"

EXPERIMENTS = [
    bad("half a line among the trainings of an experiment", begun(written(DONE, '{"arm": "plain"\n')),
        "trainings.jsonl, line 1 is not one JSON object with arm, confusion"),
    bad("a study's line among the trainings of an experiment", begun(written(DONE, '{"config": {}, "seed": 0}\n')),
        "trainings.jsonl, line 1 is not one JSON object with arm, confusion"),
    bad("an experiment without settings", begun(gone(OF_EXPERIMENT)), "exp exists, and is no folder of .genlab"),
    bad("an experiment of other settings", begun(replaced(OF_EXPERIMENT, "tail: 100.0", "tail: 50.0")),
        "was begun with other settings; in exp/settings.yaml there are tail 50.0"),
    bad("an experiment's settings that are no YAML", begun(written(OF_EXPERIMENT, "data: [")),
        "exp/settings.yaml can't be read as YAML"),
    bad("an experiment's settings without a byte", begun(written(OF_EXPERIMENT, "")), "exp/settings.yaml"),
    bad("an experiment's settings that are a list", begun(written(OF_EXPERIMENT, "[data, experiment]")),
        "exp/settings.yaml"),
    bad("an experiment's data that are a number", begun(written(OF_EXPERIMENT, "data: 3\nexperiment: {}")),
        "exp/settings.yaml"),
]
