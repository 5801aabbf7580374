"""The command line: genlab train, sample, evaluate, list.

The models are chapters' recipes, the loop is `genlab.lab.training.fit`; here is only what joins them to a shell.
Modules that load PyTorch are imported inside functions, so that `genlab --help` answers at once.
"""

import argparse
import dataclasses
import importlib
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from genlab import BUDGETS, UserError, budget_name

# name on the command line: module, stem of the config's and the recipe's class names, chapter
MODELS = {
    "pi-vae": ("genlab.points.vae", "PointVAE", "nbs/1_points/12_vae.ipynb"),
    "pi-transformer-vae": ("genlab.points.transformer_vae", "TransformerPointVAE", "nbs/1_points/13_transformer_vae.ipynb"),
}
Budget = Literal[BUDGETS]


def model_classes(name: str) -> tuple[type, type]:  # its config dataclass, its recipe
    "The classes behind a model's name."
    if name not in MODELS:
        raise UserError(f"there is no model {name!r}. There are {', '.join(MODELS)}; see `genlab list`.")
    module, stem, _ = MODELS[name]
    module = importlib.import_module(module)
    return getattr(module, f"{stem}Config"), getattr(module, f"{stem}Recipe")


@dataclass
class RunOptions:
    "What every training has beside its model's settings."

    budget: Budget | None = None
    """size of the run, smoke (seconds), laptop (a minute) or gpu: the defaults of the model's settings.
    Default: GENLAB_BUDGET; without it gpu where CUDA is there, else laptop"""
    seed: int = 0
    "of the weights, the noise and the order of the data"
    out: Path | None = None
    "run folder to make; must not exist. Default: runs/MODEL-N with the next free N"
    data: Path | None = None
    "folder with pi_xs.npy, pi_ys.npy and sparse_pi_colored.png (or .jpg). Default: the points that ship with genlab"
    config: Path | None = None
    "config.yaml of another run: its settings, seed and data become the defaults"


@dataclass
class Train:
    "Train a model into a run folder: genlab train MODEL [options], or genlab train --resume RUN."


@dataclass
class Sample:
    "Draw new samples from a finished run."

    run: Positional[Path]
    "run folder"
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 5_000
    "how many samples"
    out: Path = Path("samples.png")
    "picture (.png) or points (.npy, float32 of shape (n, 5)); must not exist"
    seed: int = 0
    "of the samples"


@dataclass
class Evaluate:
    "Measure a finished run anew, print the table and write metrics.json."

    run: Positional[Path]
    "run folder"


@dataclass
class List:
    "The models that can be trained, and the runs of a folder."

    runs: Path = Path("runs")
    "folder that holds run folders"


def settings_of(config_file: Path | None, model: str) -> dict:
    "The model settings of another run's config.yaml."
    from genlab.lab.training import read_run

    if config_file is None:
        return {}
    settings = read_run(config_file.parent) if config_file.name == "config.yaml" else None
    if settings is None:
        raise UserError(f"{config_file} is not a run's config.yaml. Name one, such as runs/{model}-1/config.yaml.")
    if settings["model"] != model:
        raise UserError(f"{config_file} is of the model {settings['model']}, not {model}. Train that model, or take another file.")
    return settings


def make_config(config_class: type, values: dict, source: str):
    "A config from plain values, with a sentence for a name that it doesn't have."
    unknown = set(values) - {f.name for f in dataclasses.fields(config_class)}
    if unknown:
        raise UserError(f"{source} has settings that {config_class.__name__} doesn't know: {', '.join(sorted(unknown))}. Remove them.")
    return config_class(**values)


def check_config(config) -> None:
    "Settings that can't work get a sentence before anything is made."
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if isinstance(f.default, int | float) and not isinstance(value, int | float) and value is not None:
            raise UserError(f"{f.name.replace('_', '-')} is {value!r}; expected a number.")
        may_be_zero = f.name in ("depth", "free_bits")
        if isinstance(value, int | float) and not isinstance(value, bool) and not (value > 0 or may_be_zero and value == 0):
            raise UserError(f"--{f.name.replace('_', '-')} is {value}; it must be {'at least 0' if may_be_zero else 'above 0'}.")


def next_free(name: str) -> Path:
    "runs/NAME-1, or the first number that is not taken."
    n = 1
    while Path(f"runs/{name}-{n}").exists():
        n += 1
    return Path(f"runs/{name}-{n}")


def train(argv: list[str]) -> None:
    "`genlab train MODEL ...` or `genlab train --resume RUN`."
    from genlab.lab.training import create_run, read_run

    parser = argparse.ArgumentParser(prog="genlab train", add_help=False)
    parser.add_argument("--resume", type=Path)
    resume, rest = parser.parse_known_args(argv)
    if resume.resume is not None:
        if rest:
            raise UserError(f"--resume takes the settings from the run itself; leave out {' '.join(rest)}.")
        carry_out(resume.resume, read_run(resume.resume))
        return
    name = argv[0] if argv else "--help"
    if name in ("-h", "--help"):
        print(f"usage: genlab train MODEL [options]\n       genlab train --resume RUN\n\nMODEL is one of {', '.join(MODELS)}."
              "\n`genlab train MODEL --help` explains the options of a model; --resume continues a run that was stopped or killed.")
        return
    config_class, recipe_class = model_classes(name)
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)  # --budget and --config set the defaults of the others
    early.add_argument("--budget", choices=BUDGETS)
    early.add_argument("--config", type=Path)
    known, _ = early.parse_known_args(argv[1:])
    earlier = settings_of(known.config, name)
    budget = known.budget or earlier.get("budget") or budget_name()
    values = {**earlier.get("config", {}), **(recipe_class.budgets[budget] if known.budget or not earlier else {})}
    defaults = make_config(config_class, values, str(known.config))
    run_defaults = RunOptions(seed=earlier.get("seed", 0), data=Path(earlier["data"]) if earlier.get("data") else None)
    options = dataclasses.make_dataclass("Options", [
        ("run", OmitArgPrefixes[RunOptions], field(default_factory=lambda: run_defaults)),
        ("model", OmitArgPrefixes[config_class], field(default_factory=lambda: defaults)),
    ], namespace={"__doc__": config_class.__doc__})
    chosen = tyro.cli(OmitArgPrefixes[options], args=argv[1:], prog=f"genlab train {name}")
    check_config(chosen.model)
    run, data = chosen.run, chosen.run.data
    out = run.out or next_free(name)
    settings = dict(model=name, seed=run.seed, budget=budget, data=str(data.resolve()) if data else None, config=dataclasses.asdict(chosen.model))
    build(settings)  # bad data or settings say so before a folder is made
    carry_out(create_run(out, settings), settings)


def build(settings: dict):
    "The recipe that a run's settings describe, on its data."
    import torch

    from genlab.points.colored_pi import load_pi

    missing = [key for key in ("seed", "budget", "config") if key not in settings]
    if missing:
        raise UserError(f"config.yaml lacks {', '.join(missing)}. Put the file back as `genlab train` wrote it.")
    config_class, recipe_class = model_classes(settings["model"])
    config = make_config(config_class, settings["config"], "config.yaml")
    check_config(config)
    torch.manual_seed(settings["seed"])
    return recipe_class(config, load_pi(settings.get("data")))


def carry_out(out: Path, settings: dict) -> None:
    "Train what is left of a run, then make its pictures and metrics. Every part may be cut short and is made again."
    from genlab.lab.training import animate, default_device, fit, peak_memory_mb, plot_log, save_weights, write_atomically

    if (out / "metrics.json").is_file():
        print(f"{out} is finished; nothing to do. Its numbers: genlab evaluate {out}")
        return
    recipe = build(settings)
    c, seed = recipe.config, settings["seed"]
    print(f"training {settings['model']} in {out} (budget {settings['budget']}, seed {seed})", flush=True)
    try:
        model, progress = fit(recipe, recipe.data, epochs=c.epochs, batch_size=c.batch_size, seed=seed, out=out)
    except KeyboardInterrupt as e:
        raise KeyboardInterrupt(f"{e}. Continue with: genlab train --resume {out}") from None
    save_weights(out / "model.safetensors", model)
    write_atomically(out / "loss.png", lambda path: plot_log(progress.log, c.epochs).savefig(path, dpi=150))
    animate(sorted((out / "samples").glob("epoch_*.png")), out / "samples" / "training.gif")
    draw_picture(recipe, recipe.draw(model.cpu(), 5_000, seed), out / "samples" / "final.png")
    peak = peak_memory_mb()
    costs = dict(seconds=round(progress.seconds, 1), peak_memory_mb=None if peak != peak else round(peak), device=default_device())
    measure(out, settings, recipe, model, costs)
    print(f"\n  samples    {out / 'samples' / 'final.png'}\n  loss curve {out / 'loss.png'}\n  animation  {out / 'samples' / 'training.gif'}"
          f"\n  metrics    {out / 'metrics.json'}\n\nMore points: genlab sample {out} -n 5000 --out picture.png")


def draw_picture(recipe, samples, path: Path) -> None:
    "Training points and generated points, side by side."
    from matplotlib.figure import Figure

    from genlab.lab.training import write_atomically
    from genlab.points.colored_pi import plot_points

    fig = Figure(figsize=(9, 4.6), layout="constrained")
    for ax, points, title in zip(fig.subplots(1, 2), (recipe.pi.points, samples), ("training points", "generated points"), strict=True):
        plot_points(ax, points, f"{len(points)} {title}", size=1.5)
    write_atomically(path, lambda p: fig.savefig(p, dpi=130))


COSTS = ("seconds", "peak_memory_mb", "device")  # of the training: measured once, kept when a run is evaluated again


def measure(out: Path, settings: dict, recipe, model, costs: dict) -> None:
    "Evaluate, write metrics.json, print the table."
    from genlab.lab.training import versions, write_metrics

    start = time.perf_counter()
    values = recipe.evaluate(model.cpu(), settings["seed"])
    costs["evaluation_seconds"] = round(time.perf_counter() - start, 1)
    write_metrics(out, dict(**values, **costs, seed=settings["seed"], budget=settings["budget"], model=settings["model"],
                            data=recipe.pi.name, versions=versions()))
    print(f"\n{settings['model']} on {recipe.pi.name}\n\n{'':16}{'value':>9}   {'95 % interval':19}{'floor':>9}{'n':>8}")
    for name, row in values.items():
        if "interval" in row:
            low, high = row["interval"]
            print(f"{name:16}{row['value']:9.4f}   {f'{low:.4f} to {high:.4f}':19}{row['floor']:9.4f}{row['n']:8}")
    costs = {k: "unknown" if v is None else v for k, v in costs.items()}
    print(f"\ntraining {costs['seconds']} s, evaluation {costs['evaluation_seconds']} s, peak memory {costs['peak_memory_mb']} MB")


def finished(run: Path):  # settings, recipe, model
    "A run's trained model."
    from genlab.lab.training import load_weights, read_run

    settings = read_run(run)
    recipe = build(settings)
    return settings, recipe, load_weights(run / "model.safetensors", recipe.model)


def sample(args: Sample) -> None:
    import numpy as np
    from PIL import Image

    from genlab.lab.training import write_atomically
    from genlab.points.colored_pi import points_to_image

    if args.out.suffix not in (".png", ".npy"):
        raise UserError(f"--out is {args.out}; expected a name that ends in .png (a picture) or .npy (the points).")
    if args.out.exists():
        raise UserError(f"{args.out} exists, and was not touched. Choose another --out.")
    if args.n < 1:
        raise UserError(f"-n is {args.n}; ask for at least one sample.")
    _, recipe, model = finished(args.run)
    points = recipe.draw(model, args.n, args.seed)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    if args.out.suffix == ".npy":
        write_atomically(args.out, lambda path: np.save(path, points.numpy()))
    else:
        write_atomically(args.out, lambda path: Image.fromarray(points_to_image(points)).save(path))
    print(f"{args.n} samples in {args.out}")


def evaluate(args: Evaluate) -> None:
    import json

    settings, recipe, model = finished(args.run)
    try:
        costs = {k: v for k, v in json.loads((args.run / "metrics.json").read_text()).items() if k in COSTS}
    except (FileNotFoundError, ValueError, AttributeError):  # measuring anew is the cure
        costs = dict.fromkeys(COSTS)
    measure(args.run, settings, recipe, model, costs)


def list_all(args: List) -> None:
    from genlab.lab.training import read_run

    print("models")
    for name, (module, stem, chapter) in MODELS.items():
        print(f"  {name:22}{model_classes(name)[0].__doc__}\n  {'':22}{module}.{stem}, taught by {chapter}")
    runs = sorted(p.parent for p in args.runs.glob("[!.]*/config.yaml"))
    print(f"\nruns in {args.runs}" + ("" if runs else ": none yet; genlab train pi-vae makes one"))
    for run in runs:
        try:
            state = "finished" if (run / "metrics.json").is_file() else f"unfinished; genlab train --resume {run}"
            print(f"  {run!s:30}{read_run(run)['model']!s:22}{state}")
        except UserError as e:
            print(f"  {run!s:30}{e}")


def main() -> int:
    "The entry point: 0 if all went well, 2 after something that the user can put right, 130 after Ctrl-C."
    argv = sys.argv[1:]
    try:
        if argv[:1] == ["train"]:
            train(argv[1:])
            return 0
        command = tyro.extras.subcommand_cli_from_dict({"train": Train, "sample": Sample, "evaluate": Evaluate, "list": List},
                                                       args=argv, prog="genlab", description="genlab: train, sample and measure generative models.")
        {Sample: sample, Evaluate: evaluate, List: list_all}[type(command)](command)
        return 0
    except UserError as e:
        print(f"genlab: {e}", file=sys.stderr)
    except OSError as e:
        print(f"genlab: {e.strerror or e}{f': {e.filename}' if e.filename else ''}. Make room or permission there, then try again; "
              "a run that was begun goes on with genlab train --resume RUN.", file=sys.stderr)
    except KeyboardInterrupt as e:
        print(f"\ngenlab: {str(e) or 'stopped; a run that was begun goes on with genlab train --resume RUN'}", file=sys.stderr)
        return 130
    return 2


if __name__ == "__main__":
    sys.exit(main())
