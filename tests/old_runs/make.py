"""How the runs in this folder were made: with commit cd11c77, the last one before the training loop was rewritten.

They stand for the runs that people have from before, so newer code must not make them again.
`python make.py` in an empty folder writes, for each model, a run that finished, the same run stopped in the middle
of a row of its log, and four samples of the finished one.
The data set is cut to the sizes in `IMAGES`, as in test_old_runs.py: 60,000 images take long to measure.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

from genlab import cli
from genlab.lab import images, training

IMAGES = (4_000, 200, 800)  # drawn for training, validation, test
STEPS, STOP = 200, 101  # a row of the log is two steps
POINTS = "--epochs 4 --latent-dim 4 --hidden 8 --depth 1 --components 2"
PIXELS = f"--data shapes --size 12 --batch-size 16 --steps {STEPS}"
CODES = f"--vqvae vqvae/finished --batch-size 16 --steps {STEPS} --d-model 8 --depth 1 --n-heads 2"
MODELS = {
    "pi-vae": POINTS,
    "pi-transformer-vae": f"{POINTS} --n-heads 2",
    "pi-flow": f"--steps {STEPS} --batch-size 64 --hidden 8 --layers 2 --depth 1 --bins 4 --octaves 1",
    "ae": f"{PIXELS} --latent-dim 4 --widths 4 8 --components 2",
    "vae": f"{PIXELS} --latent-dim 4 --widths 4 8 --components 2 --beta linear",
    "vqvae": f"{PIXELS} --n-codes 16 --dim 4 --widths 4 8",
    "prior": CODES,
    "masked-prior": CODES,
    "realnvp": f"{PIXELS} --levels 1 --couplings 1 --width 4 --blocks 1",
    "glow": f"{PIXELS} --levels 2 --rounds 1 --width 4 --n-labels 10",
    "spline-flow": f"{PIXELS} --levels 1 --couplings 1 --width 4 --blocks 1 --bins 4",
    "tarflow": f"{PIXELS} --channels 8 --blocks 2 --layers 1",
}
count = training.Progress.count


def count_and_stop(progress, shards) -> None:
    "Count a step; after step `STOP`, ask for a polite stop, as `kill` does."
    count(progress, shards)
    if progress.step == STOP:
        os.kill(os.getpid(), signal.SIGTERM)


images.DRAWN["shapes"] = IMAGES
for model, settings in MODELS.items():
    for name, training.Progress.count, code in (("finished", count, 0), ("unfinished", count_and_stop, 130)):
        run = Path(model, name)
        sys.argv = f"genlab train {model} --budget smoke --seed 3 {settings} --out {run}".split()
        assert cli.main() == code
        config = run / "config.yaml"
        config.write_text(config.read_text().replace(f"{Path.cwd()}/", ""))  # where a prior's VQ-VAE is
        shutil.rmtree(run / "samples")
    shutil.rmtree(Path(model, "finished", "state"))
    Path(model, "finished", "loss.png").unlink()
    sys.argv = f"genlab sample {model}/finished -n 4 --seed 7 --out {model}/samples.npy".split()
    assert cli.main() == 0
