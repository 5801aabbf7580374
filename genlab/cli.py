"""The command line: genlab train, sample, evaluate, list.

The models are chapters' recipes, the loop is `genlab.lab.training.fit`; here is only what joins them to a shell.
Modules that load PyTorch are imported inside functions, so that `genlab --help` answers at once.
"""

import argparse
import dataclasses
import importlib
import os
import re
import sys
import time
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from genlab import BUDGETS, UserError, budget_name

# name on the command line: module, stem of the config's and the recipe's class names, what it learns from, chapter
MODELS = {
    "pi-vae": ("genlab.points.vae", "PointVAE", "points", "nbs/1_points/12_vae.ipynb"),
    "pi-transformer-vae": ("genlab.points.transformer_vae", "TransformerPointVAE", "points", "nbs/1_points/13_transformer_vae.ipynb"),
    "ae": ("genlab.vae.autoencoder", "AutoEncoder", "images", "nbs/3_vae/30_autoencoder.ipynb"),
    "vae": ("genlab.vae.vae", "VAE", "images", "nbs/3_vae/31_vae.ipynb"),
    "vqvae": ("genlab.vq.vqvae", "VQVAE", "images", "nbs/4_vq/41_vqvae.ipynb"),
    "prior": ("genlab.vq.prior", "TokenPrior", "codes", "nbs/4_vq/42_prior.ipynb"),
    "masked-prior": ("genlab.vq.prior", "MaskedPrior", "codes", "nbs/4_vq/42_prior.ipynb"),
    "pi-flow": ("genlab.flow.splines", "SplinePointFlow", "points", "nbs/7_flow/73_splines.ipynb"),
    "realnvp": ("genlab.flow.realnvp", "RealNVP", "images", "nbs/7_flow/71_realnvp.ipynb"),
    "glow": ("genlab.flow.glow", "Glow", "images", "nbs/7_flow/72_glow.ipynb"),
    "spline-flow": ("genlab.flow.splines", "SplineFlow", "images", "nbs/7_flow/73_splines.ipynb"),
    "tarflow": ("genlab.flow.tarflow", "TarFlow", "images", "nbs/7_flow/74_tarflow.ipynb"),
}
# by what `genlab sample` steers a model
KNOBS = dict.fromkeys(("realnvp", "glow", "spline-flow"), ("label", "temperature")) | {
    "pi-flow": ("temperature",),
    "prior": ("label", "guidance", "temperature", "top_k", "top_p"),
    "masked-prior": ("label", "guidance", "temperature", "top_k", "top_p"),
    "tarflow": ("label", "guidance", "temperature"),
}
Budget = Literal[BUDGETS]


def kind_of(settings: dict) -> str | None:  # points, images or codes
    "What a run's model learns from; None if there is no such model."
    return MODELS[settings["model"]][2] if settings["model"] in MODELS else None


def model_classes(name: str) -> tuple[type, type]:  # its config dataclass, its recipe
    "The classes behind a model's name."
    if name not in MODELS:
        raise UserError(f"there is no model {name!r}. There are {', '.join(MODELS)}; see `genlab list`.")
    module, stem, _, _ = MODELS[name]
    module = importlib.import_module(module)
    return getattr(module, f"{stem}Config"), getattr(module, f"{stem}Recipe")


@dataclass
class RunOptions:
    "What every training has beside its model's settings."

    budget: Budget | None = None
    """size of the run, smoke (seconds), laptop (minutes) or gpu: the defaults of the model's settings.
    Default: GENLAB_BUDGET; without it gpu where CUDA is there, else laptop"""
    seed: int = 0
    "of the weights, the noise and the order of the data"
    out: Path | None = None
    "run folder to make; must not exist. Default: runs/MODEL-N with the next free N"
    config: Path | None = None
    "config.yaml of another run: its settings, seed and data become the defaults"
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    "where the log goes beside log.csv; each has to be installed"
    device: Literal["cpu", "cuda", "mps"] | None = None
    "where the run is trained and measured. Default: cuda where it is there, else cpu"
    pictures: int = 20
    "looks on the way: pictures of samples, and numbers on held-out data"
    ema: float | None = None
    "decay of the average of the weights, from 0 to below 1; it grows into this value. Default: the model's own, mostly 0.99"


@dataclass
class PointOptions(RunOptions):
    data: Path | None = None
    "folder with pi_xs.npy, pi_ys.npy and sparse_pi_colored.png (or .jpg). Default: the points that ship with genlab"


@dataclass
class NetworkOptions(RunOptions):
    "What the training of networks on images or codes has beside that."

    accumulate: int = 1
    "shards of a batch that a process does one after the other: less memory, the same step"
    compile: bool = False
    "torch.compile: worth its half a minute for long runs on a GPU"


@dataclass
class ImageOptions(NetworkOptions):
    data: Literal["fashion_mnist", "mnist", "cifar10", "celeba", "shapes", "faces"] = "fashion_mnist"
    "data set; shapes and faces are drawn by genlab and need no files"
    size: int | None = None
    "images are resized to this height and width. Default: as they are; 64 for celeba"
    root: Path | None = None
    "folder of the data sets. Default: GENLAB_DATA; without it the checkout's data folder, or one in the home folder"


@dataclass
class CodeOptions(NetworkOptions):
    vqvae: Path | None = None
    "run folder of the VQ-VAE whose codes are learned, finished; the images are those that it was trained on"


@dataclass
class Train:
    "Train a model into a run folder: genlab train MODEL [options], or genlab train --resume RUN."


@dataclass
class Sample:
    "Draw new samples from a finished run."

    run: Positional[Path]
    "run folder"
    n: Annotated[int | None, tyro.conf.arg(aliases=["-n"])] = None
    "how many samples. Default: 5000 points or 64 images"
    out: Path = Path("samples.png")
    "picture (.png) or numbers (.npy: points float32 (n, 5), images uint8 (n, C, H, W)); must not exist"
    seed: int = 0
    "of the samples"
    device: Literal["cpu", "cuda", "mps"] = "cpu"
    "where they are drawn; another device has other random numbers"
    label: int | None = None
    "priors, and flows with labels: the class to draw, from 0. Default: all classes"
    guidance: float = 1.0
    "priors and tarflow: 1 is none, above it the label is exaggerated"
    temperature: float = 1.0
    "priors: below 1 only likely words, above 1 unlikely ones too. Flows: a factor on the noise"
    top_k: int | None = None
    "prior: only the k likeliest words"
    top_p: float = 1.0
    "prior: only the likeliest words that have this probability together"


@dataclass
class Evaluate:
    "Measure a finished run anew, print the table and write metrics.json."

    run: Positional[Path]
    "run folder"
    device: Literal["cpu", "cuda", "mps"] | None = None
    "where it is measured. Default: where the run was told to be trained"


@dataclass
class List:
    "The models that can be trained, and the runs of a folder."

    runs: Path = Path("runs")
    "folder that holds run folders"


def settings_of(config_file: Path | None, model: str) -> dict:
    "The model settings of another run's config.yaml."
    from genlab.workshop.runs import read_run

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


def check_config(config):  # the same config
    "Settings that can't work get a sentence before anything is made. Lists become tuples, as YAML has no tuples."
    for f in dataclasses.fields(config):
        value, name = getattr(config, f.name), f.name.replace("_", "-")
        if isinstance(f.default, tuple):
            if not isinstance(value, list | tuple) or not value or not all(isinstance(v, int) and v > 0 for v in value):
                raise UserError(f"{name} is {value!r}; expected whole numbers above 0.")
            setattr(config, f.name, tuple(value))
            continue
        if isinstance(f.default, int | float) and not isinstance(value, int | float) and value is not None:
            raise UserError(f"{name} is {value!r}; expected a number.")
        may_be_zero = f.name in ("depth", "blocks", "free_bits", "dropout", "label_dropout", "n_labels", "noise")
        if isinstance(value, int | float) and not isinstance(value, bool) and not (value > 0 or may_be_zero and value == 0):
            raise UserError(f"--{name} is {value}; it must be {'at least 0' if may_be_zero else 'above 0'}.")
        if f.name.endswith("dropout") and value >= 1:
            raise UserError(f"--{name} is {value}; it's a share and must be below 1.")
        choices = typing.get_args(f.type) if typing.get_origin(f.type) is Literal else ()
        if choices and value not in choices:
            raise UserError(f"{name} is {value!r}; expected one of {', '.join(choices)}.")
    return config


def next_free(name: str) -> Path:
    "runs/NAME-1, or the first number that is not taken."
    n = 1
    while Path(f"runs/{name}-{n}").exists():
        n += 1
    return Path(f"runs/{name}-{n}")


def train(argv: list[str]) -> None:
    "`genlab train MODEL ...` or `genlab train --resume RUN`."
    from genlab.workshop.runs import read_run

    parser = argparse.ArgumentParser(prog="genlab train", add_help=False)
    parser.add_argument("--resume", type=Path)
    resume, rest = parser.parse_known_args(argv)
    if resume.resume is not None:
        if rest:
            raise UserError(f"--resume takes the settings from the run itself; leave out {' '.join(rest)}.")
        settings = read_run(resume.resume)
        if (resume.resume / "metrics.json").is_file():
            print(f"{resume.resume} is finished; nothing to do. Its numbers: genlab evaluate {resume.resume}")
            return
        carry_out(resume.resume, settings, build(settings))
        return
    name = argv[0] if argv else "--help"
    if name in ("-h", "--help"):
        print(f"usage: genlab train MODEL [options]\n       genlab train --resume RUN\n\nMODEL is one of {', '.join(MODELS)}."
              "\n`genlab train MODEL --help` explains the options of a model; --resume continues a run that was stopped or killed.")
        return
    settings, out = settings_from(name, argv[1:])
    recipe = build(settings)
    check_run(settings, recipe)  # bad data or settings say so before a folder is made
    carry_out(make_run(out, settings), settings, recipe)


def settings_from(name: str, argv: list[str]) -> tuple[dict, Path | None]:
    "The settings of a new run from its options, and where it should be."
    config_class, recipe_class = model_classes(name)
    options_class = {"points": PointOptions, "images": ImageOptions, "codes": CodeOptions}[MODELS[name][2]]
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)  # --budget and --config set the defaults of the others
    early.add_argument("--budget", choices=BUDGETS)
    early.add_argument("--config", type=Path)
    known, _ = early.parse_known_args(argv)
    earlier = settings_of(known.config, name)
    budget = known.budget or earlier.get("budget") or budget_name()
    values = {**earlier.get("config", {}), **(recipe_class.budgets[budget] if known.budget or not earlier else {})}
    defaults = make_config(config_class, values, str(known.config))
    types = {f.name: f.type for f in dataclasses.fields(options_class)}
    kept = {k: v for k, v in earlier.items() if k in types and k not in ("budget", "out", "config") and v is not None}
    run_defaults = options_class(**{k: Path(v) if types[k] == Path | None else tuple(v) if k == "trackers" else v for k, v in kept.items()})
    options = dataclasses.make_dataclass("Options", [
        ("run", OmitArgPrefixes[options_class], field(default_factory=lambda: run_defaults)),
        ("model", OmitArgPrefixes[config_class], field(default_factory=lambda: defaults)),
    ], namespace={"__doc__": config_class.__doc__})
    chosen = tyro.cli(OmitArgPrefixes[options], args=argv, prog=f"genlab train {name}")
    run, model = chosen.run, check_config(chosen.model)
    if not 0 <= run.seed < 2**40:
        raise UserError(f"--seed is {run.seed}; expected a whole number from 0 to {2**40 - 1}.")
    if getattr(run, "accumulate", 1) < 1:
        raise UserError(f"--accumulate is {run.accumulate}; it must be at least 1.")
    if run.pictures < 1:
        raise UserError(f"--pictures is {run.pictures}; at least one look is needed, at the end.")
    if run.ema is not None and not 0 <= run.ema < 1:
        raise UserError(f"--ema is {run.ema}; expected a decay from 0 (no average) to below 1.")
    if getattr(run, "vqvae", 0) is None:
        raise UserError(f"{name} learns the codes of a VQ-VAE. Train one with `genlab train vqvae`, and name its run folder: --vqvae runs/vqvae-1.")
    plain = {k: str(v.resolve()) if isinstance(v, Path) else list(v) if isinstance(v, tuple) else v for k, v in vars(run).items()}
    values = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(model).items()}
    settings = dict(model=name) | plain | dict(budget=budget, config=values)
    return {k: v for k, v in settings.items() if k != "out"}, run.out


def check_run(settings: dict, recipe) -> None:
    "What would fail only later, when the run folder is there or after hours of training."
    from genlab.lab.training import check_recipe, check_sharing
    from genlab.workshop.runs import choose_device

    choose_device(settings.get("device"))
    check_recipe(recipe)
    batch = min(recipe.config.batch_size, len(recipe.data))
    check_sharing(recipe, batch, settings.get("accumulate", 1), int(os.environ.get("WORLD_SIZE", 1)), settings.get("trackers", []))
    if kind_of(settings) == "images" and min(recipe.data.shape[1:]) < 11:
        raise UserError(f"--size is {min(recipe.data.shape[1:])}; images are judged by SSIM too, whose window needs 11. Choose at least 11.")


def processes(settings: dict):  # accelerate's PartialState
    "The processes of this training, on the device of its settings."
    from accelerate import PartialState

    from genlab.workshop.runs import choose_device

    return PartialState(cpu=choose_device(settings.get("device")) == "cpu")


def make_run(out: Path | None, settings: dict) -> Path:
    "Make the run folder, once for all processes."
    from accelerate.utils import broadcast_object_list

    from genlab.workshop.runs import create_run

    state = processes(settings)
    made = [create_run(out or next_free(settings["model"]), settings) if state.is_main_process else None]
    return broadcast_object_list(made)[0]


def build(settings: dict):
    "The recipe that a run's settings describe, on its data."
    import torch

    needs = {"images": ["data"], "codes": ["vqvae"]}.get(kind_of(settings), [])
    missing = [key for key in ("seed", "budget", "config", *needs) if key not in settings]
    if missing:
        raise UserError(f"config.yaml lacks {', '.join(missing)}. Put the file back as `genlab train` wrote it.")
    config, recipe_class = config_of(settings)
    data = load_data(settings)
    torch.manual_seed(settings["seed"])
    recipe = recipe_class(config, data)
    if kind_of(settings) != "points":
        settings["shape"] = list(recipe.data.shape)  # so that sampling needs no data
    if kind_of(settings) == "codes":
        from genlab.vq.prior import fingerprint

        check_same_codes(settings, fingerprint(recipe.vqvae))
    return recipe


def check_same_codes(settings: dict, found: str) -> None:
    "The codes of a run are those of one VQ-VAE, known by its fingerprint."
    if settings.setdefault("made_for", found) != found:
        raise UserError(f"the VQ-VAE in {settings['vqvae']} is not the one that this prior was trained on (fingerprint {found}, expected "
                        f"{settings['made_for']}), so its codes mean nothing here. Put the old one back, or train a new prior.")


def config_of(settings: dict):  # the config, the recipe's class
    "A run's model settings, checked."
    config_class, recipe_class = model_classes(settings["model"])
    return check_config(make_config(config_class, settings["config"], "config.yaml")), recipe_class


def load_data(settings: dict):
    "What a run learns from."
    if kind_of(settings) == "points":
        from genlab.points.colored_pi import load_pi

        return load_pi(settings.get("data"))
    if kind_of(settings) == "codes":
        from genlab.vq.prior import encode_all

        source, vqvae = load_vqvae(settings)
        return encode_all(vqvae, load_data(source))
    from genlab.lab.images import load_images

    size, root = settings.get("size"), settings.get("root")
    return {split: load_images(settings["data"], split, size=size, root=root) for split in ("train", "validation", "test")}


def load_vqvae(settings: dict):  # the settings of its run, the model
    "The VQ-VAE that a prior's settings name."
    from genlab.workshop.runs import read_run

    run = Path(settings["vqvae"])
    source = read_run(run)
    if source["model"] != "vqvae":
        raise UserError(f"{run} is a run of {source['model']}; a prior needs one of vqvae.")
    return source, load_images_model(run, source)


def load_images_model(run: Path, settings: dict):
    "A finished run's model, built without its data."
    from genlab.workshop.runs import load_weights

    if "shape" not in settings:
        raise UserError(f"{run / 'config.yaml'} lacks shape. Put the file back as `genlab train` wrote it.")
    config, recipe_class = config_of(settings)
    return load_weights(run / "model.safetensors", recipe_class.build(config, tuple(settings["shape"])))


def steps_of(recipe) -> int:
    "How many steps a recipe's settings mean."
    c = recipe.config
    return c.steps if hasattr(c, "steps") else c.epochs * max(1, len(recipe.data) // min(c.batch_size, len(recipe.data)))


def carry_out(out: Path, settings: dict, recipe) -> None:
    "Train what is left of a run, then make its pictures and metrics. Every part may be cut short and is made again."
    from genlab.lab.training import fit
    from genlab.workshop.runs import animate, peak_memory_mb, plot_log, save_weights, write_atomically

    seed = settings["seed"]
    steps = steps_of(recipe)
    state = processes(settings)
    if state.is_main_process:
        together = f", {state.num_processes} processes" if state.num_processes > 1 else ""
        print(f"training {settings['model']} in {out} (budget {settings['budget']}, seed {seed}, {steps} steps{together})", flush=True)
    options = ("accumulate", "compile", "trackers", "device", "pictures", "ema")
    try:
        model, progress = fit(recipe, recipe.data, steps=steps, batch_size=recipe.config.batch_size, seed=seed, out=out,
                              **{k: settings[k] for k in options if k in settings})
    except KeyboardInterrupt as e:
        raise KeyboardInterrupt(f"{str(e) or 'stopped'}. Continue with: genlab train --resume {out}") from None
    if not state.is_main_process:
        return
    save_weights(out / "model.safetensors", model)
    write_atomically(out / "loss.png", lambda path: plot_log(progress.log, steps).savefig(path, dpi=150))
    animate(sorted((out / "samples").glob("step_*.png")), out / "samples" / "training.gif")
    draw_final(recipe, model, seed, out / "samples" / "final.png")
    peak = peak_memory_mb()
    costs = dict(seconds=round(progress.seconds, 1), peak_memory_mb=None if peak != peak else round(peak),
                 device=state.device.type, processes=state.num_processes)
    measure(out, settings, recipe, model, costs)
    print(f"\n  samples    {out / 'samples' / 'final.png'}\n  loss curve {out / 'loss.png'}\n  animation  {out / 'samples' / 'training.gif'}"
          f"\n  metrics    {out / 'metrics.json'}\n\nMore samples: genlab sample {out} --out picture.png")


def draw_final(recipe, model, seed: int, path: Path) -> None:
    "Training data and generated samples, side by side."
    from matplotlib.figure import Figure

    from genlab.workshop.runs import write_atomically

    fig = Figure(figsize=(9, 4.7), layout="constrained")
    if hasattr(recipe, "pi"):
        from genlab.points.colored_pi import plot_points

        for ax, points, title in zip(fig.subplots(1, 2), (recipe.pi.points, recipe.draw(model, 5_000, seed)), ("training", "generated"), strict=True):
            plot_points(ax, points, f"{len(points)} {title} points", size=1.5)
    else:
        from genlab.lab.pictures import show

        real = recipe.splits["train"].x[:64]
        for ax, images, title in zip(fig.subplots(1, 2), (real, recipe.draw(model, 64, seed)), ("training", "generated"), strict=True):
            show(ax, images, f"{title} images", columns=8)
    write_atomically(path, lambda p: fig.savefig(p, dpi=130))


COSTS = ("seconds", "peak_memory_mb", "device", "processes")  # of the training: measured once, kept when a run is evaluated again


def measure(out: Path, settings: dict, recipe, model, costs: dict) -> None:
    "Evaluate, write metrics.json, print the table."
    from genlab.workshop.runs import versions, write_metrics

    start = time.perf_counter()
    values = recipe.evaluate(model, settings["seed"])
    costs["evaluation_seconds"] = round(time.perf_counter() - start, 1)
    data = recipe.pi.name if hasattr(recipe, "pi") else recipe.splits["train"].name
    about = {k: settings[k] for k in ("seed", "budget", "model")}
    write_metrics(out, dict(**values, **costs, **about, data=data, versions=versions()))
    print(f"\n{settings['model']} on {data}\n\n{'':20}{'value':>11}{'floor':>11}{'n':>8}   95 % interval, or measured with")
    for name, row in values.items():
        if not isinstance(row["value"], float):  # a list, one for each coordinate
            continue
        about = "{:.4f} to {:.4f}".format(*row["interval"]) if "interval" in row else row.get("extractor", "")
        print(f"{name:20}{row['value']:11.4f}" + (f"{row['floor']:11.4f}" if "floor" in row else f"{'':11}") + f"{row['n']:8}   {about}".rstrip())
    costs = {k: "unknown" if v is None else v for k, v in costs.items()}
    print(f"\ntraining {costs['seconds']} s, evaluation {costs['evaluation_seconds']} s, peak memory {costs['peak_memory_mb']} MB")


def sample(args: Sample) -> None:
    from genlab.workshop.runs import choose_device, load_weights, read_run

    if args.out.suffix not in (".png", ".npy"):
        raise UserError(f"--out is {args.out}; expected a name that ends in .png (a picture) or .npy (numbers).")
    if args.out.exists():
        raise UserError(f"{args.out} exists, and was not touched. Choose another --out.")
    if args.n is not None and args.n < 1:
        raise UserError(f"-n is {args.n}; ask for at least one sample.")
    device = choose_device(args.device)
    settings = read_run(args.run)
    model_classes(settings["model"])
    knobs = {k: v for k, v in vars(args).items() if k in KNOBS["prior"] and v != getattr(Sample, k)}
    unknown = [k.replace("_", "-") for k in knobs if k not in KNOBS.get(settings["model"], ())]
    if unknown:
        raise UserError(f"{settings['model']} is not steered by {', '.join(unknown)}. Leave it out.")
    if kind_of(settings) == "points":
        import torch

        n = args.n or 5_000
        model = load_weights(args.run / "model.safetensors", build(settings).model).to(device)
        generator = torch.Generator(device).manual_seed(args.seed)
        save_points(model.sample(n, generator=generator, **knobs).cpu(), args.out)
    else:
        from genlab.lab.pictures import draw_images, save_images

        n = args.n or 64
        model = load_images_model(args.run, settings).to(device)
        images = draw_codes(model, settings, n, args.seed, knobs) if kind_of(settings) == "codes" else draw_images(model, n, args.seed, **knobs)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        save_images(images, args.out)
    print(f"{n} samples in {args.out}")


def draw_codes(prior, settings: dict, n: int, seed: int, knobs: dict):
    "Images that a prior writes, in the way that was asked for."
    import torch

    from genlab.vq.prior import generate

    _, vqvae = load_vqvae(settings)
    vqvae.to(prior.labels.device)
    label = knobs.pop("label", None)
    if label is not None and prior.attributes:
        raise UserError("--label is for classes, but this prior was trained with attributes. Leave it out.")
    if label is not None and label < 0:
        raise UserError(f"--label is {label}; the prior knows 0 to {prior.n_labels - 1}.")
    return generate(prior, vqvae, n, None if label is None else torch.full((n,), label), seed, **knobs)


def save_points(points, path: Path) -> None:
    "Points as a picture (.png) or as numbers (.npy)."
    import numpy as np
    from PIL import Image

    from genlab.points.colored_pi import points_to_image
    from genlab.workshop.runs import write_atomically

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        write_atomically(path, lambda p: np.save(p, points.numpy()))
    else:
        write_atomically(path, lambda p: Image.fromarray(points_to_image(points)).save(p))


def evaluate(args: Evaluate) -> None:
    import json

    from genlab.workshop.runs import choose_device, load_weights, read_run

    settings = read_run(args.run)
    device = choose_device(args.device or settings.get("device"))
    recipe = build(settings)
    model = load_weights(args.run / "model.safetensors", recipe.model).to(device)
    try:
        costs = {k: v for k, v in json.loads((args.run / "metrics.json").read_text()).items() if k in COSTS}
    except (FileNotFoundError, ValueError, AttributeError):  # measuring anew is the cure
        costs = dict.fromkeys(COSTS)
    measure(args.run, settings, recipe, model, costs)


def list_all(args: List) -> None:
    from genlab.workshop.runs import read_run

    print("models")
    for name, (module, stem, _, chapter) in MODELS.items():
        print(f"  {name:22}{model_classes(name)[0].__doc__}\n  {'':22}{module}.{stem}, taught by {chapter}")
    runs = sorted(p.parent for p in args.runs.glob("[!.]*/config.yaml"))
    print(f"\nruns in {args.runs}" + ("" if runs else ": none yet; genlab train pi-vae makes one"))
    for run in runs:
        try:
            state = "finished" if (run / "metrics.json").is_file() else f"unfinished; genlab train --resume {run}"
            print(f"  {run!s:30}{read_run(run)['model']!s:22}{state}")
        except UserError as e:
            print(f"  {run!s:30}{e}")


def model_in(argv: list[str]) -> str | None:
    "The model that a command is about: named in it, or in the config.yaml of the run that it names."
    for word in argv[1:]:
        if word in MODELS:
            return word
        try:
            text = (Path(word.removeprefix("--resume=")) / "config.yaml").read_text(encoding="utf-8")
        except (OSError, ValueError):  # no run folder
            continue
        named = re.search(r"^model: (\S+)$", text, flags=re.MULTILINE)
        return named[1] if named else None
    return None


def share_the_cores(argv: list[str]) -> None:
    """How OpenMP's threads wait, set before PyTorch is loaded; what the environment says already stays.

    By default they spin while they wait, and two trainings on the same two cores then cost ten times one (benchmarks/README.md,
    "Side by side"). Points are too small for a second thread at all. A run that is resumed or measured has as many threads as it
    began with, or the last bits of its numbers would be others."""
    if kind_of(dict(model=model_in(argv))) == "points":
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def main() -> int:
    "The entry point: 0 if all went well, 2 after something that the user can put right, 130 after Ctrl-C."
    argv = sys.argv[1:]
    try:
        share_the_cores(argv)
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
