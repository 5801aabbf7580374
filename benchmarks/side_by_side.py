"""Several trainings at once on one machine: what each costs, beside one alone, by OpenMP's settings for idle threads.

    python benchmarks/side_by_side.py                 # two at once, all settings, a table
    python benchmarks/side_by_side.py --at-once 4     # four at once, as it comes and as `genlab` sets it: at most 1.3?
    python benchmarks/side_by_side.py --at-once 4 --quick  # the same for a few steps: whether it runs, no result
    python benchmarks/side_by_side.py --train images  # one training in this process: prints its seconds a step

A share is what n trainings would have if they divided the cores without loss: the fastest time alone, times n, times
the cores that one alone can use (all for images and transformers, one for points, for which a second core is no help),
through the cores that there are. All shares of a table come from the same run of this program, in turns. Each training
is a process of its own, as `genlab train` would be, and they begin their measured steps together; seconds are those of
the loop, without the start. `genlab` sets one thread for points and GOMP_SPINCOUNT=1000 for everything (`main` in
genlab/cli.py).
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
OURS = dict(points="one thread", images="GOMP_SPINCOUNT=1000", transformer="GOMP_SPINCOUNT=1000")  # what `genlab` sets
ROUNDS = 3
STEPS = dict(points=300, images=20, transformer=20)
BAR = 1.3  # shares that four trainings at once may cost


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def wait_for_the_others() -> None:
    "Says that the measured steps could begin, and waits until they may."
    print("ready", flush=True)
    sys.stdin.readline()


def train(what: str, steps: int) -> float:  # seconds a step
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
    batch_size = 32 if what == "transformer" else 100
    fit(recipe, data, steps=max(2, steps // 6), batch_size=batch_size, pictures=1)
    wait_for_the_others()
    _, progress = fit(recipe, data, steps=steps, batch_size=batch_size, pictures=1)
    return progress.seconds / steps


def together(n: int, what: str, env: dict[str, str], steps: int) -> float:  # mean seconds a step
    "n trainings side by side, each in its own process."
    command = [sys.executable, __file__, "--train", what, "--steps", str(steps)]
    env = {**os.environ, "TQDM_DISABLE": "1", **env}
    started = [subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
               for _ in range(n)]
    for process in started:
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"a training of {what} didn't start; its message stands above")
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    seconds = [float(process.communicate()[0]) for process in started]
    return sum(seconds) / n


def share(what: str, n: int, alone: float) -> float:  # alone: the fastest time
    "What n trainings at once would take if nothing were lost."
    return alone * max(1.0, n * (1 if what == "points" else cores()) / cores())


def table(what: str, n: int, names: list[str], rounds: int, steps: int) -> dict[str, float]:  # shares
    "Print what n trainings cost under each setting."
    print(f"\n| {what} | alone, ms a step | {n} at once | {n} at once, in shares |\n|---|---|---|---|", flush=True)
    measured = {name: [] for name in names}
    for _ in range(rounds):  # all settings in turns, so that a busy moment meets each of them
        for name in names:
            measured[name].append([together(k, what, SETTINGS[name], steps) for k in (1, n)])
    times = {name: [median(column) for column in zip(*pairs, strict=True)] for name, pairs in measured.items()}
    whole = share(what, n, min(alone for alone, _ in times.values()))
    for name, (alone, beside) in times.items():
        ours = " (what `genlab` sets)" if name == OURS[what] else ""
        print(f"| {name}{ours} | {1e3 * alone:.2f} | {1e3 * beside:.2f} | {beside / whole:.2f} |", flush=True)
    return {name: beside / whole for name, (_, beside) in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at-once", type=int, choices=range(2, 17), default=2, metavar="N")
    parser.add_argument("--quick", action="store_true", help="a few steps, once: whether it runs")
    parser.add_argument("--train", choices=list(STEPS))
    parser.add_argument("--steps", type=int)
    args = parser.parse_args()
    if args.train:
        print(train(args.train, args.steps or STEPS[args.train]))
        return
    print(f"{cores()} cores" + (", quick: no result" if args.quick else ""), flush=True)
    worst = {}
    for what in STEPS:
        names = list(SETTINGS) if args.at_once == 2 and not args.quick else list(dict.fromkeys(
            ["as it comes", OURS[what]] if not args.quick else [OURS[what]]))
        shares = table(what, args.at_once, names, 1 if args.quick else ROUNDS, 2 if args.quick else STEPS[what])
        worst[what] = shares[OURS[what]]
    if args.at_once > 2 and not args.quick:
        for what, cost in worst.items():
            print(f"{what}: {args.at_once} at once cost {cost:.2f} shares; the bar is {BAR}: "
                  f"{'held' if cost <= BAR else 'NOT HELD'}")


if __name__ == "__main__":
    main()
