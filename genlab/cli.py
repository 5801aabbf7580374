"""The command line: genlab train, sample, evaluate, list.

The models are chapters' recipes, the loop is `genlab.lab.training.fit`; here is only what joins them to a shell.
Modules that load PyTorch are imported inside functions, so that `genlab --help` answers at once.
"""

import argparse
import dataclasses
import os
import re
import shutil
import sys
import textwrap
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from genlab import BUDGETS, Positive, Seed, UserError, budget_name, exit_code, printable, too_large
from genlab.models import MODELS, find_recipe

Device = Literal["cpu", "cuda", "mps"]


@dataclass
class Place:
    "Where a new run goes, and what it takes over."

    out: Path | None = None
    "run folder to make; must not exist. Default: runs/MODEL-N with the next free N"
    config: Path | None = None
    "config.yaml of another run: its settings, seed and data become the defaults"


@dataclass
class Train:
    "Train a model into a run folder: genlab train MODEL [options], or genlab train --resume RUN."


@dataclass(kw_only=True)
class Sample:
    "Draw new samples from a finished run. `genlab sample RUN --help` says by what that run's samples can be steered."

    run: Positional[Path]
    "run folder"
    n: Annotated[Positive | None, tyro.conf.arg(aliases=["-n"])] = None
    "how many samples. Default: 5000 points or 64 images"
    out: Path = Path("samples.png")
    "picture (.png) or numbers (.npy: points float32 (n, 5), images uint8 (n, C, H, W)); must not exist"
    seed: Seed = 0
    "of the samples"
    device: Device = "cpu"
    "where they are drawn; another device has other random numbers"


@dataclass
class Evaluate:
    "Measure a finished run anew, print the table and write metrics.json."

    run: Positional[Path]
    "run folder"
    device: Device | None = None
    "where it is measured. Default: where the run was told to be trained"


@dataclass
class List:
    "The models that can be trained, and the runs of a folder."

    runs: Path = Path("runs")
    "folder that holds run folders"


class Early(argparse.ArgumentParser):
    "Reads what has to be known before the other options are; what it can't read is a sentence."

    def error(self, message: str):
        raise UserError(f"{message}. See `genlab train --help`.")


def open_run(folder: Path):
    "The settings of a run folder, checked."
    from genlab.lab.training import parse_settings
    from genlab.workshop.runs import read_run

    settings = read_run(folder)
    return parse_settings(find_recipe(settings["model"]), settings, str(folder / "config.yaml"))


def build(run):
    "The recipe of a run on its data; a run that was begun must find them as they were."
    import torch

    from genlab.workshop.runs import use_threads

    use_threads(run.recipe.threads)
    data = run.source.load()
    torch.manual_seed(run.options.seed)
    recipe = run.recipe(run.config, data)
    recipe.check(run.facts)
    run.facts = recipe.facts()
    return recipe


def train(argv: list[str]) -> None:
    "`genlab train MODEL ...` or `genlab train --resume RUN`."
    parser = Early(prog="genlab train", add_help=False, allow_abbrev=False)
    parser.add_argument("--resume", type=Path)
    known, rest = parser.parse_known_args(argv)
    if known.resume is not None:
        from genlab.workshop.runs import is_finished

        if rest:
            raise UserError(f"--resume takes the settings from the run itself; leave out {' '.join(rest)}.")
        run = open_run(known.resume)
        if is_finished(known.resume):
            print(f"{known.resume} is finished; nothing to do. Its numbers: genlab evaluate {known.resume}")
            return
        recipe = build(run)
        check_run(run, recipe)
        run_training(known.resume, run, recipe)
        return
    name = argv[0] if argv else "--help"
    if name in ("-h", "--help"):
        print("usage: genlab train MODEL [options]\n       genlab train --resume RUN\n\n"
              + wrapped(f"MODEL is one of {', '.join(MODELS)}.") + "\n"
              + wrapped("`genlab train MODEL --help` explains a model's options; --resume continues a run that was "
                        "stopped or killed."))
        return
    run, out = run_from_options(name, argv[1:])
    recipe = build(run)
    check_run(run, recipe)  # bad data or settings say so before a folder is made
    run_training(make_run(out, run), run, recipe)


def wrapped(text: str) -> str:
    "A text in lines that are as wide as the terminal."
    return textwrap.fill(text, shutil.get_terminal_size().columns, break_long_words=False, break_on_hyphens=False)


def default_budget(argv: list[str]) -> str:
    "`budget_name`; help comes even if the environment names a budget that there isn't."
    try:
        return budget_name()
    except UserError:
        if {"-h", "--help"}.isdisjoint(argv):
            raise
        return "laptop"


def run_from_options(name: str, argv: list[str]):  # its settings, and the folder that was asked for
    "A new run from its options."
    from genlab.lab.training import RunOptions, RunSettings

    recipe = find_recipe(name)
    early = Early(add_help=False, allow_abbrev=False)  # these two set the defaults of the others
    early.add_argument("--budget", choices=BUDGETS)
    early.add_argument("--config", type=Path)
    known = early.parse_known_args(argv)[0]
    run = RunSettings(name, recipe, RunOptions(), recipe.Data(), recipe.Config())
    if known.config is not None:
        run = run_of_config(known.config, name)
    run.options.budget = known.budget or run.options.budget or default_budget(argv)
    if known.budget or known.config is None:
        run.config = dataclasses.replace(run.config, **recipe.budgets[run.options.budget])
    parts = dict(folder=Place(), run=run.options, data=run.source, model=run.config)
    kinds = [(k, OmitArgPrefixes[type(v)], field(default_factory=lambda v=v: v)) for k, v in parts.items()]
    options = dataclasses.make_dataclass("Options", kinds, namespace=dict(__doc__=recipe.Config.__doc__))
    chosen = tyro.cli(OmitArgPrefixes[options], args=argv, prog=f"genlab train {name}")
    if chosen.run.compile and recipe.compiled == ():
        raise UserError(f"nothing of {name} is compiled. Leave --compile out, or say --no-compile.")
    return RunSettings(name, recipe, chosen.run, chosen.data, chosen.model).checked("the options"), chosen.folder.out


def run_of_config(path: Path, model: str):
    "The run whose config.yaml this is, without what it knows of its data."
    if path.name != "config.yaml":
        raise UserError(f"{path} is not a run's config.yaml. Name one, such as runs/{model}-1/config.yaml.")
    run = open_run(path.parent)
    if run.model != model:
        raise UserError(f"{path} is of the model {run.model}, not {model}. Train that model, or take another file.")
    return run


def check_run(run, recipe) -> None:
    "What would fail only later, when the run folder is there."
    from genlab.lab.training import check_training
    from genlab.workshop.runs import choose_device

    choose_device(run.options.device)
    batch = min(recipe.config.batch_size, len(recipe.data))
    check_training(recipe, batch, run.options.accumulate, run.options.trackers)


def processes(run):  # accelerate's PartialState
    "The processes of this training, on the device of its settings."
    from accelerate import PartialState

    from genlab.workshop.runs import choose_device

    return PartialState(cpu=choose_device(run.options.device) == "cpu")


def make_run(out: Path | None, run) -> Path:
    "Make the run folder, once for all processes: runs/MODEL-1, or the first number that isn't taken."
    from accelerate.utils import broadcast_object_list

    from genlab.workshop.runs import create_run

    out = out or next(path for n in count(1) if not (path := Path(f"runs/{run.model}-{n}")).exists())
    made = [create_run(out, run.plain()) if processes(run).is_main_process else None]
    return broadcast_object_list(made)[0]


def run_training(out: Path, run, recipe) -> None:
    "Train what is left of a run, then make its pictures and metrics. Every part may be cut short and is made again."
    from genlab.lab.pictures import draw_final, measure
    from genlab.lab.training import fit
    from genlab.workshop.runs import animate, only_one, peak_memory_mb, plot_log, save_weights, write_atomically

    o = run.options
    state = processes(run)
    with only_one(out, state):
        if state.is_main_process:
            steps = f"{recipe.steps} steps" + (f", {state.num_processes} processes" if state.num_processes > 1 else "")
            print(f"training {run.model} in {out} (budget {o.budget}, seed {o.seed}, {steps})", flush=True)
        try:
            model, progress = fit(recipe, recipe.data, steps=recipe.steps, batch_size=recipe.config.batch_size,
                                  seed=o.seed, out=out, ema=o.ema, accumulate=o.accumulate, device=o.device,
                                  compile=o.compile, trackers=o.trackers, pictures=o.pictures)
        except KeyboardInterrupt as e:
            again = f"{str(e) or 'stopped'}. Continue with: genlab train --resume {out}"
            raise KeyboardInterrupt(again) from None
        if state.is_main_process:
            save_weights(out / "model.safetensors", model)
            write_atomically(out / "loss.png", lambda path: plot_log(progress.log, recipe.steps).savefig(path, dpi=150))
            animate(sorted((out / "samples").glob("step_*.png")), out / "samples" / "training.gif")
            draw_final(recipe, model, o.seed, out / "samples" / "final.png")
            peak = peak_memory_mb()
            costs = dict(seconds=round(progress.seconds, 1), peak_memory_mb=None if peak != peak else round(peak),
                         device=state.device.type, processes=state.num_processes)
            measure(out, run, recipe, model, costs)
            print(f"\n  samples    {out / 'samples' / 'final.png'}\n  loss curve {out / 'loss.png'}\n"
                  f"  animation  {out / 'samples' / 'training.gif'}\n  metrics    {out / 'metrics.json'}\n\n"
                  f"More samples: genlab sample {out} --out picture.png")


def sample(argv: list[str]) -> None:
    "`genlab sample RUN ...`; the options are those that steer the samples of this run."
    from genlab.lab.training import plain
    from genlab.workshop.runs import choose_device, first_line, load_weights, use_threads, validated

    folder = next((word for word in argv if os.path.isfile(f"{word}/config.yaml")), None)
    if folder is None:  # help, or a sentence that says what a run folder is
        open_run(tyro.cli(Sample, args=argv, prog="genlab sample").run)
    run = open_run(Path(folder))
    Knobs = run.recipe.Knobs
    both = dataclass(kw_only=True)(type("Sample", (Sample, Knobs), dict(__doc__=f"Draw new samples from {folder}.")))
    args = tyro.cli(both, args=argv, prog=f"genlab sample {folder}")
    knobs = validated(Knobs, {f.name: getattr(args, f.name) for f in dataclasses.fields(Knobs)}, "the options")
    validated(Sample, {f.name: plain(getattr(args, f.name)) for f in dataclasses.fields(Sample)}, "the options")
    if args.out.suffix not in (".png", ".npy"):
        raise UserError(f"--out is {args.out}; expected a name that ends in .png (a picture) or .npy (numbers).")
    if os.path.lexists(args.out):
        raise UserError(f"{args.out} exists, and was not touched. Choose another --out.")
    use_threads(run.recipe.threads)
    n = args.n or run.recipe.shown
    model = load_weights(args.run / "model.safetensors", lambda: run.recipe.rebuild(run.config, run.facts))
    model.to(choose_device(args.device))
    try:
        samples = run.recipe.generate(model, n, args.seed, knobs, run.facts, run.source)
    except (IndexError, RuntimeError) as e:
        if too_large(e):
            raise
        raise UserError(f"{args.run / 'model.safetensors'} holds numbers that can't be sampled from "
                        f"({first_line(e)}). Train a new run.") from None
    args.out.parent.mkdir(parents=True, exist_ok=True)
    run.recipe.save(samples, args.out)
    print(f"{n} samples in {args.out}")


def known_costs(path: Path) -> dict:  # path: metrics.json, if there is one
    "What the training of a run cost, as far as it is known: measuring anew is the cure for a damaged record."
    from genlab.lab.pictures import COSTS
    from genlab.workshop.runs import Misfit, fitted, read_json

    if os.path.lexists(path) and not path.is_file():
        raise UserError(f"{path} is no regular file, so that the numbers can't be written there. Move it away.")
    costs, found = dict.fromkeys(COSTS), {}
    with suppress(UserError):
        found = read_json(path, "record", "")
    for name, kind in COSTS.items():
        with suppress(Misfit):
            costs[name] = fitted(found.get(name), kind | None)
    return costs


def evaluate(args: Evaluate) -> None:
    "`genlab evaluate RUN`."
    from genlab.lab.pictures import measure
    from genlab.workshop.runs import choose_device, load_weights

    run = open_run(args.run)
    costs = known_costs(args.run / "metrics.json")
    device = choose_device(args.device or run.options.device)
    recipe = build(run)
    model = load_weights(args.run / "model.safetensors", lambda: recipe.model).to(device)
    measure(args.run, run, recipe, model, costs)


def list_all(args: List) -> None:
    "`genlab list`."
    from genlab.workshop.runs import is_finished

    if os.path.lexists(args.runs) and not args.runs.is_dir():
        raise UserError(f"{args.runs} is no folder; expected one that holds run folders.")
    print("models")
    for name, place in MODELS.items():
        print(f"  {name:22}{find_recipe(name).Config.__doc__}\n  {'':22}{place.replace(':', '.')}")
    runs = sorted(p.parent for p in args.runs.glob("[!.]*/config.yaml"))
    print(f"\nruns in {args.runs}" + ("" if runs else ": none yet; genlab train pi-vae makes one"))
    for folder in runs:
        shown = printable(folder)
        try:
            model = open_run(folder).model
            state = "finished" if is_finished(folder) else f"unfinished; genlab train --resume {shown}"
        except UserError as e:
            model, state = "", e
        print(f"  {shown:30}{model:22}{state}")


def check_repeats(argv: list[str]) -> None:
    "Raise a UserError for an option that is given twice: of two values, the first would be lost without a word."
    given = [re.match(r"--?(?:no-)?([A-Za-z][\w-]*)", word) for word in argv]
    names = [found[1].replace("_", "-") for found in given if found]
    if twice := [name for name in names if names.count(name) > 1 and name not in ("h", "help")]:
        dashes = "-" if len(twice[0]) == 1 else "--"
        raise UserError(f"{dashes}{twice[0]} is given twice, and one of the two would be lost. Leave one out.")


def command(argv: list[str]) -> None:
    "Do what was asked for."
    if odd := [word for word in argv if word.startswith("-") and not word.isprintable()]:
        raise UserError(f"{odd[0]} is no option: it holds control characters.")
    check_repeats(argv)
    own = {"train": train, "sample": sample}  # their options depend on the model
    if argv and argv[0] in own:
        return own[argv[0]](argv[1:])
    commands = {"train": Train, "sample": Sample, "evaluate": Evaluate, "list": List}
    about = dict(prog="genlab", description="genlab: train, sample and measure generative models.")
    chosen = tyro.extras.subcommand_cli_from_dict(commands, args=argv, **about)
    return {Evaluate: evaluate, List: list_all}[type(chosen)](chosen)


def main() -> int:
    "The entry point; what the numbers mean that it returns: `exit_code`."
    # OpenMP's waiting threads spin: two trainings cost ten (benchmarks/README.md, "Side by side"). Set before PyTorch.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    return exit_code(lambda: command(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
