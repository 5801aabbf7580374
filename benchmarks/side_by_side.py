"""Two trainings at once on one machine: what each costs, beside one alone, for settings of OpenMP's waiting threads.

    python benchmarks/side_by_side.py                # all settings, a table
    python benchmarks/side_by_side.py --train images  # one training in this process: prints its seconds a step

A share is what two trainings would have if they divided two cores without loss: twice the fastest time alone for what
uses both cores, and the fastest time alone for points, for which a second core is no help. Each training is a process
of its own, as `genlab train` would be; seconds are those of the loop, without the start.
`genlab` sets one thread for points and GOMP_SPINCOUNT=1000 for everything (genlab/cli.py, `share_the_cores`).
"""

import argparse
import os
import subprocess
import sys
from statistics import median

SETTINGS = {
    "as it comes": {},
    "one thread": dict(OMP_NUM_THREADS="1"),
    "OMP_WAIT_POLICY=PASSIVE": dict(OMP_WAIT_POLICY="PASSIVE"),
    "GOMP_SPINCOUNT=100": dict(GOMP_SPINCOUNT="100"),
    "GOMP_SPINCOUNT=1000": dict(GOMP_SPINCOUNT="1000"),
    "GOMP_SPINCOUNT=10000": dict(GOMP_SPINCOUNT="10000"),
}
ROUNDS = 3
STEPS = dict(points=300, images=20, transformer=20)


def train(what: str) -> float:  # seconds a step
    "One training in this process, without its first steps."
    import torch

    from genlab.lab.training import fit

    torch.manual_seed(0)
    if what == "points":
        from genlab.points.colored_pi import load_pi
        from genlab.points.vae import PointVAEConfig, PointVAERecipe

        pi = load_pi()
        recipe, data = PointVAERecipe(PointVAEConfig(), pi), pi.points
    else:
        from genlab.flow.tarflow import TarFlowConfig, TarFlowRecipe
        from genlab.lab.images import load_images
        from genlab.vae.vae import VAEConfig, VAERecipe

        data = load_images("shapes", "train", n=2_000)
        few = data.take(slice(0, 100))
        splits = dict(train=data, validation=few, test=few)
        recipe = (VAERecipe(VAEConfig(), splits) if what == "images"
                  else TarFlowRecipe(TarFlowConfig(n_labels=0), splits))
    recipe.picture = lambda model, seed: None
    recipe.finish = lambda model, seed: None
    steps = STEPS[what]
    fit(recipe, data, steps=max(10, steps // 6), batch_size=100, pictures=1)
    _, progress = fit(recipe, data, steps=steps, batch_size=100 if what != "transformer" else 32, pictures=1)
    return progress.seconds / steps


def together(n: int, what: str, env: dict[str, str]) -> float:  # mean seconds a step
    "n trainings side by side, each in its own process."
    command = [sys.executable, __file__, "--train", what]
    env = {**os.environ, "TQDM_DISABLE": "1", **env}
    started = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(n)]
    seconds = [float(process.communicate()[0]) for process in started]
    return sum(seconds) / n


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", choices=list(STEPS))
    args = parser.parse_args()
    if args.train:
        print(train(args.train))
        return
    for what in STEPS:
        print(f"\n| {what} | alone, ms a step | beside another | "
              "beside another, in shares |\n|---|---|---|---|", flush=True)
        rounds = {name: [] for name in SETTINGS}
        for _ in range(ROUNDS):  # all settings in turns, so that a busy moment meets each of them
            for name, env in SETTINGS.items():
                rounds[name].append((together(1, what, env), together(2, what, env)))
        times = {name: [median(column) for column in zip(*pairs, strict=True)] for name, pairs in rounds.items()}
        share = min(alone for alone, _ in times.values()) * (1 if what == "points" else 2)
        for name, (alone, beside) in times.items():
            print(f"| {name} | {1e3 * alone:.2f} | {1e3 * beside:.2f} | {beside / share:.2f} |", flush=True)


if __name__ == "__main__":
    main()
