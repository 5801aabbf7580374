"""Bad records beside weights: of models that ship, of pairs and of classifiers, the lines of studies.

Each begins with a good copy of what ships with genlab, or with a finished run.
"""

import json
import math
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from safetensors.torch import load_file, save_file

from bad_inputs import Bad, edited, gone, placed, then, written
from genlab.gan import stable_gan
from genlab.gan.stable_gan import load_gan, write_gan
from genlab.lab import metrics
from genlab.lab.metrics import load_extractor
from genlab.studies import LINES, read_lines
from genlab.vae.editing import load_cvae
from genlab.vitgan import vitgan
from genlab.vitgan.vitgan import load_vitgan
from genlab.vq import prior
from genlab.vq.prior import load_pair, write_pair
from genlab.workshop.runs import animate, load_checkpoint, write_metrics

bad = partial(Bad, needs=())
LOOP = "link to itself"
NESTED, LONG_NUMBER = "[" * 100_000, '{"n": ' + "9" * 5_000 + "}"


def long_list() -> bytes:
    "JSON of 54 MB, which takes more than 1 GB when it's read."
    return b"[" + b"[]," * 18_000_000 + b"[]]"


def told(file: str, change: Callable[[dict], object]) -> Callable[[Path], None]:
    "Changes what a JSON file says."

    def edit(here: Path) -> None:
        said = json.loads((here / file).read_text(encoding="utf-8"))
        change(said)
        (here / file).write_text(json.dumps(said), encoding="utf-8")

    return edit


def without(name: str) -> Callable[[dict], object]:
    return lambda said: said.pop(name)


def with_(**values) -> Callable[[dict], object]:
    return lambda said: said.update(values)


def tensors(file: str, name: str, change: Callable) -> Callable[[Path], None]:
    "Changes a tensor of a file of weights."

    def edit(here: Path) -> None:
        stored = load_file(here / file)
        save_file(stored | {name: change(stored[name])}, here / file)

    return edit


# A generator that ships

RECORD, CONFIG, WEIGHTS = (f"kept/tiny/{name}" for name in ("record.json", "config.json", "model.safetensors"))
NO_RECORD = r"record.json is no record of a model \("
NO_MODEL = "kept/tiny does not hold a StableGenerator: "


def shipped(*steps: Callable[[Path], object]) -> Callable[[Path], Callable]:
    "A generator that ships is spoiled, and loaded."
    copy = partial(shutil.copytree, stable_gan.SHIPPED / "fashion_mnist")
    return then(lambda here: copy(here / "kept" / "tiny"), *steps, run=lambda: load_gan("tiny", Path("kept")))


SHIPPED = [
    bad("weights without a record", shipped(gone(RECORD)), "no generator 'tiny' ships; there are none in kept"),
    bad("a record that is a link to itself", shipped(placed(RECORD, LOOP)), "no generator 'tiny' ships"),
    bad("a pipe in the place of a record", shipped(placed(RECORD, "pipe")), "record.json|no generator"),
    bad("a folder in the place of a record", shipped(placed(RECORD, "folder")), NO_RECORD + ".*no regular file"),
    bad("a record without a byte", shipped(written(RECORD, "")), NO_RECORD + "Expecting value"),
    bad("a record of zero bytes", shipped(written(RECORD, bytes(900))), NO_RECORD + "Expecting value"),
    bad("a record cut off", shipped(edited(RECORD, lambda c: c[:100])), NO_RECORD + "Expecting"),
    bad("a record that is a list", shipped(written(RECORD, "[]")), NO_RECORD + "it holds a list"),
    bad("a record that is a number", shipped(written(RECORD, "3")), NO_RECORD + "it holds a int"),
    bad("a record that is null", shipped(written(RECORD, "null")), NO_RECORD + "it holds a NoneType"),
    bad("a record nested 100,000 deep", shipped(written(RECORD, NESTED)), NO_RECORD),
    bad("a record that is not UTF-8", shipped(edited(RECORD, lambda c: c.replace(b"T-shirt", b"T-\xff"))),
        NO_RECORD + ".*can't decode byte 0xff"),
    bad("a byte order mark before a record", shipped(edited(RECORD, lambda c: b"\xef\xbb\xbf" + c)),
        NO_RECORD + "Unexpected UTF-8 BOM"),
    bad("two records in one file", shipped(edited(RECORD, lambda c: c + c)), NO_RECORD + "Extra data"),
    bad("a control character in a record", shipped(edited(RECORD, lambda c: c.replace(b"T-shirt", b"T\x1b[2J"))),
        NO_RECORD + "Invalid control character"),
    bad("a record with a number of 5,000 digits", shipped(written(RECORD, LONG_NUMBER)), NO_RECORD + ".*4300 digits"),
    bad("a record of 54 MB", shipped(lambda here: (here / RECORD).write_bytes(long_list())), "has 54,000,004 bytes"),
    bad("a record without labels", shipped(told(RECORD, without("labels"))), NO_RECORD + "'labels'"),
    bad("labels that are a number", shipped(told(RECORD, with_(labels=10))), NO_RECORD + "labels.*10; expected a list"),
    bad("labels that are null", shipped(told(RECORD, with_(labels=None))), NO_RECORD + "labels.*None; expected a list"),
    bad("labels that are one text of ten letters", shipped(told(RECORD, with_(labels="0123456789"))), NO_RECORD),
    bad("nine labels of a model with ten", shipped(told(RECORD, lambda r: r["labels"].pop())),
        "record.json names 9 labels of a model with 10"),
    bad("a label twice", shipped(edited(RECORD, lambda c: c.replace(b"trouser", b"T-shirt"))),
        NO_RECORD + "The labels are called .*no name twice"),
    bad("a label without a letter", shipped(edited(RECORD, lambda c: c.replace(b"trouser", b""))),
        NO_RECORD + "The labels are called .*''"),
    bad("a label that is a number", shipped(told(RECORD, lambda r: r["labels"].__setitem__(3, 3))),
        NO_RECORD + "labels.*entry 3 is a text.*not 3"),
    bad("a label that is a list", shipped(told(RECORD, lambda r: r["labels"].__setitem__(3, ["dress"]))),
        NO_RECORD + r"labels.*entry 3 is a text.*not \['dress'\]"),
    bad("a label that is NaN", shipped(told(RECORD, lambda r: r["labels"].__setitem__(3, math.nan))),
        NO_RECORD + "labels.*entry 3 is a text.*not nan"),
]


# The settings beside its weights

SETTINGS = [
    bad("no config.json", shipped(gone(CONFIG)), NO_MODEL + ".*config.json is missing"),
    bad("a folder in the place of config.json", shipped(placed(CONFIG, "folder")), NO_MODEL + ".*no regular file"),
    bad("a pipe in the place of config.json", shipped(placed(CONFIG, "pipe")), NO_MODEL),
    bad("no weights beside a config.json", shipped(gone(WEIGHTS)), NO_MODEL + ".*model.safetensors"),
    bad("a config.json without a byte", shipped(written(CONFIG, "")), NO_MODEL + "Expecting value"),
    bad("a config.json that is a list", shipped(written(CONFIG, "[]")), NO_MODEL + "'list' object has no"),
    bad("a config.json that is null", shipped(written(CONFIG, "null")), NO_MODEL + "'NoneType' object has no"),
    bad("a config.json that is not UTF-8", shipped(written(CONFIG, b"{\xff}")), NO_MODEL + ".*can't decode byte 0xff"),
    bad("a config.json nested 40,000 deep", shipped(written(CONFIG, NESTED[:40_000])), NO_MODEL + "maximum recursion"),
    bad("a config.json of 100,001 bytes", shipped(edited(CONFIG, lambda c: c + b" " * (100_001 - len(c)))),
        NO_MODEL + "config.json has 100,001 bytes; expected settings, in at most"),
    bad("a config.json with a number of 5,000 digits", shipped(written(CONFIG, LONG_NUMBER)), NO_MODEL + ".*4300"),
    bad("a setting that there is not", shipped(told(CONFIG, with_(wings=2))), "doesn't know: wings"),
    bad("the settings of a transformer", shipped(lambda here: shutil.copy(
        vitgan.SHIPPED / "fashion_mnist" / "config.json", here / CONFIG)), "doesn't know: depth, head, mapping"),
    bad("settings without a shape", shipped(told(CONFIG, without("shape"))), NO_MODEL + ".*required .*'shape'"),
    bad("a size that is a word", shipped(told(CONFIG, with_(latent_dim="many"))), "latent_dim is 'many'; expected"),
    bad("a size that is NaN", shipped(told(CONFIG, with_(latent_dim=math.nan))), "latent_dim is nan; expected"),
    bad("a size that is infinite", shipped(told(CONFIG, with_(latent_dim=math.inf))), "latent_dim is inf; expected"),
    bad("a size of 30 digits", shipped(told(CONFIG, with_(latent_dim=10**30))), "latent_dim is 1000000.*at most"),
    bad("attributes that are a word", shipped(told(CONFIG, with_(attributes="no"))), "attributes is 'no'; expected"),
    bad("widths that are a number", shipped(told(CONFIG, with_(widths=32))), "widths is 32; expected a list"),
    bad("a width of 0", shipped(told(CONFIG, with_(widths=[32, 0]))), r"widths is \[32, 0\]; .*entry 1"),
    bad("a shape of two numbers", shipped(told(CONFIG, with_(shape=[28, 28]))), r"shape is \[28, 28\]; expected"),
    bad("a shape that the patch doesn't divide", shipped(told(CONFIG, with_(patch=3))), "can't be made 6 times"),
    bad("labels for a generator without blocks", shipped(told(CONFIG, with_(blocks=0))), "hears labels in its blocks"),
    bad("labels below none", shipped(told(CONFIG, with_(n_labels=-5))), NO_MODEL + ".*(negative|-5)"),
    bad("settings of a model with two more labels", shipped(told(CONFIG, with_(n_labels=12))),
        NO_MODEL + ".*does not fit the model that its settings describe"),
    bad("sides below zero", shipped(told(CONFIG, with_(shape=[1, -28, -28]))), NO_MODEL),
    bad("one side below zero", shipped(told(CONFIG, with_(shape=[1, 28, -28]))), NO_MODEL),
    bad("images without rows", shipped(told(CONFIG, with_(shape=[1, 0, 28]))), NO_MODEL),
    bad("images without channels", shipped(told(CONFIG, with_(shape=[0, 28, 28]))), NO_MODEL),
    bad("256 blocks at each of six levels for two", shipped(told(CONFIG, with_(blocks=256, widths=[8] * 6))), NO_MODEL),
    bad("settings of images of 60,000 pixels a side", shipped(told(CONFIG, with_(shape=[1, 60_000, 60_000]))),
        NO_MODEL + ".*does not fit the model that its settings describe"),
    bad("settings of images that no memory holds", shipped(told(CONFIG, with_(shape=[1, 4 * 10**18, 4 * 10**18]))),
        NO_MODEL),
    bad("a generator in the place of a conditional VAE", then(
        lambda here: shutil.copytree(stable_gan.SHIPPED / "fashion_mnist", here / "kept" / "tiny"),
        run=lambda: load_cvae("tiny", Path("kept"))), "kept/tiny does not hold a CVAE: .*does not fit"),
]


TRANSFORMER = [
    bad(f"a transformer of {what}", then(
        lambda here: shutil.copytree(vitgan.SHIPPED / "fashion_mnist", here / "kept" / "tiny"),
        told(CONFIG, with_(**settings)), run=lambda: load_vitgan("tiny", Path("kept"))), says)
    for what, settings, says in (
        ("256 layers with the weights of three", dict(depth=256), "kept/tiny does not hold a ViT.*far more parts"),
        ("a thousand layers", dict(depth=1_000), "depth is 1000; expected .*at most 256"),
        ("a layer less than its weights", dict(depth=2), "kept/tiny does not hold a ViT.*does not fit"),
        ("images with sides below zero", dict(shape=[1, -28, -28]), "kept/tiny does not hold a ViT"))
]


# A pair of VQ-VAE and prior

PAIR, VQVAE, PRIOR = "pair/pair.json", "pair/vqvae.safetensors", "pair/prior.safetensors"
NO_PAIR = r"pair/pair.json is no record of a pair \("


def pair(*steps: Callable[[Path], object]) -> Callable[[Path], Callable]:
    "The pair that ships is spoiled, and loaded."
    return then(lambda here: shutil.copytree(prior.SHIPPED, here / "pair"), *steps, run=lambda: load_pair(Path("pair")))


def pair_told(part: str, place: str, **values) -> Callable[[Path], Callable]:
    return pair(told(PAIR, lambda said: said[part][place].update(values)))


def pair_shape(part: str, shape: list) -> Callable[[Path], Callable]:
    return pair(told(PAIR, lambda said: said[part].update(shape=shape)))


PAIRS = [
    bad("a pair without a record", pair(gone(PAIR)), "pair holds no pair.json"),
    bad("a folder in the place of pair.json", pair(placed(PAIR, "folder")), "pair holds no pair.json"),
    bad("a pair.json without a byte", pair(written(PAIR, "")), NO_PAIR + "Expecting value"),
    bad("a pair.json that is a list", pair(written(PAIR, "[]")), NO_PAIR + "it holds a list"),
    bad("a pair.json nested 100,000 deep", pair(written(PAIR, NESTED)), NO_PAIR + ".*recursion"),
    bad("a pair.json that is not UTF-8", pair(written(PAIR, b'{"vqvae": "\xff"}')), NO_PAIR + ".*decode byte 0xff"),
    bad("a pair.json of 54 MB", pair(lambda here: (here / PAIR).write_bytes(long_list())), "has 54,000,004 bytes"),
    bad("a pair.json without a prior", pair(told(PAIR, without("prior"))), NO_PAIR + "KeyError: 'prior'"),
    bad("a VQ-VAE without settings", pair(told(PAIR, lambda r: r["vqvae"].pop("config"))), NO_PAIR + ".*'config'"),
    bad("a prior that is a text", pair(told(PAIR, with_(prior="the best"))), NO_PAIR + "TypeError: string indices"),
    bad("settings of a VQ-VAE that are null", pair(told(PAIR, lambda r: r["vqvae"].update(config=None))),
        "pair.json: settings are None; expected names"),
    bad("a setting that a VQ-VAE doesn't have", pair_told("vqvae", "config", wings=2), "'wings' is no setting of V"),
    bad("a number of codes that is a text", pair_told("vqvae", "config", n_codes="512"), "n_codes is '512'; expected"),
    bad("a learning rate of NaN", pair_told("prior", "config", lr=math.nan), "pair.json: lr is nan; expected .*finite"),
    bad("a dropout of Infinity", pair_told("prior", "config", dropout=math.inf), "pair.json: dropout is inf; expected"),
    bad("a batch of 30 digits", pair_told("prior", "config", batch_size=10**30), "pair.json: batch_size is 1000000"),
    bad("five heads of a width of 96", pair_told("prior", "config", n_heads=5), "must be a multiple of the 5 heads"),
    bad("a VQ-VAE's shape of two numbers", pair_shape("vqvae", [28, 28]), r"pair.json: shape is \[28, 28\]; exp"),
    bad("a shape of a million pixels a side", pair_shape("vqvae", [1, 10**6, 10**6]), "pair.json: shape is .*entry 1"),
    bad("a prior of neither classes nor attributes", pair_shape("prior", [512, 7, 7, 10, 2]), "shape is .*entry 4 is"),
    bad("a prior of another number of codes", pair_shape("prior", [256, 7, 7, 10, 0]),
        "prior.safetensors does not fit (?!.*config.yaml)"),
    bad("a prior far wider than its weights", pair_told("prior", "config", d_model=4_096, depth=2),
        "prior.safetensors does not fit (?!.*config.yaml)"),
    bad("a pair without its VQ-VAE", pair(gone(VQVAE)), "vqvae.safetensors is missing(?!.*--resume)"),
    bad("a pair whose prior is cut off", pair(edited(PRIOR, lambda c: c[:9_999])), "damaged(?!.*--resume)"),
    bad("a VQ-VAE that is another one in one number", pair(tensors(VQVAE, "to_codes.bias", lambda t: t + 1)),
        "prior was trained on the codes of another VQ-VAE"),
    bad("a fingerprint that is no text", pair(tensors(PRIOR, "made_for", lambda t: t * 0 + 255)),
        "prior was trained on the codes of another VQ-VAE"),
]


# A classifier that measures

MINE, EYE = "mine.json", "mine.safetensors"
NO_EYE = r"mine.safetensors and the .json beside it are no classifier \("


def extractor(*steps: Callable[[Path], object]) -> Callable[[Path], Callable]:
    "The classifier of shapes is spoiled, and loaded."

    def copy(here: Path) -> None:
        for file in (MINE, EYE):
            shutil.copy(metrics._SHIPPED / file.replace("mine", "shapes"), here / file)

    return then(copy, *steps, run=lambda: load_extractor(EYE))


def eye_told(**values) -> Callable[[Path], Callable]:
    return extractor(told(MINE, lambda said: said["config"].update(values)))


EXTRACTORS = [
    bad("a classifier without its record", extractor(gone(MINE)), NO_EYE + ".*mine.json.*is missing"),
    bad("a record without its classifier", extractor(gone(EYE)), NO_EYE + ".*mine.safetensors"),
    bad("a folder in the place of a classifier's record", extractor(placed(MINE, "folder")), NO_EYE + ".*no regular"),
    bad("a pipe in the place of a classifier's record", extractor(placed(MINE, "pipe")), NO_EYE),
    bad("a classifier's record without a byte", extractor(written(MINE, "")), NO_EYE + ".*Expecting value"),
    bad("a classifier's record that is a list", extractor(written(MINE, "[1]")), NO_EYE + ".*it holds a list"),
    bad("a classifier's record that is not UTF-8", extractor(written(MINE, b'"\xff"')), NO_EYE + ".*decode byte 0xff"),
    bad("a classifier's record nested 100,000 deep", extractor(written(MINE, NESTED)), NO_EYE + ".*recursion"),
    bad("a classifier's record of 54 MB", extractor(lambda here: (here / MINE).write_bytes(long_list())),
        "has 54,000,004 bytes"),
    bad("a classifier without settings", extractor(told(MINE, without("config"))), NO_EYE + "KeyError: 'config'"),
    bad("a classifier's settings that are a text", extractor(told(MINE, with_(config="small"))), NO_EYE + ".*'small'"),
    bad("a setting that a classifier doesn't have", eye_told(wings=2), NO_EYE + ".*'wings' is no setting"),
    bad("a classifier's width that is NaN", eye_told(width=math.nan), NO_EYE),
    bad("a classifier's features that are a text", eye_told(dim="64"), NO_EYE + ".*dim is '64'"),
    bad("a classifier of another number of labels", eye_told(n_labels=12), "mine.*(no classifier|not fit)"),
    bad("a classifier far wider than its weights", eye_told(width=2_000), "mine.*(no classifier|not fit)"),
    bad("a classifier without features in its settings", extractor(told(MINE, lambda r: r["config"].pop("dim"))),
        "mine.*dim"),
    bad("a classifier without a name", extractor(told(MINE, without("name"))), NO_EYE + ".*name"),
    bad("a classifier that doesn't say whether it reads attributes", extractor(told(MINE, without("attributes"))),
        NO_EYE + ".*attributes"),
    bad("a classifier's attributes that are a word", extractor(told(MINE, with_(attributes="false"))),
        "mine.*attributes"),
    bad("nine labels of a classifier with ten", extractor(told(MINE, lambda r: r["labels"].pop())), "mine.*labels"),
    bad("a classifier of images of two numbers", extractor(told(MINE, with_(size=[32, 32]))), "mine.*size"),
]


# Lines of studies

def lines(*content: bytes) -> Callable[[Path], Callable]:
    "A good line, others, and another good one."

    def write(here: Path) -> None:
        first, second, *_ = (LINES / "modes.jsonl").read_bytes().split(b"\n")
        written("arms.jsonl", b"\n".join([first, *content, second, b""]))(here)

    return then(write, run=lambda: read_lines(Path("arms.jsonl")))


def arm(**changes) -> bytes:
    "A line with other fields; None takes one away."
    row = dict(config={}, seed=0, seconds=1, device="", versions={}, commit="", values={}) | changes
    return json.dumps({name: value for name, value in row.items() if value is not None}).encode()


NO_LINE = "arms.jsonl, line 2 is not one JSON object with commit, config, device"

STUDIES = [
    bad("half a line in the middle", lines(b'{"config": {"arm": "mini'), NO_LINE),
    bad("an empty line", lines(b""), NO_LINE),
    bad("a conflict of git", lines(b"<<<<<<< HEAD"), NO_LINE),
    bad("a line that is a list", lines(b"[1, 2]"), NO_LINE),
    bad("a line that is null", lines(b"null"), NO_LINE),
    bad("a line that is a text", lines(b'"config"'), NO_LINE),
    bad("a line that is not UTF-8", lines(b'{"config": "\xff"}'), NO_LINE),
    bad("a line nested 100,000 deep", lines(NESTED.encode()), NO_LINE),
    bad("a line with a number of 5,000 digits", lines(LONG_NUMBER.encode()), NO_LINE),
    bad("a line without its seed", lines(arm(seed=None)), NO_LINE),
    bad("a line with a field more", lines(arm(note="good")), NO_LINE),
    bad("two objects in a line", lines(arm() + arm()), NO_LINE),
    bad("lines that are a table", lines(b"minimax,0,6,0.417"), NO_LINE),
]


# Runs: what a command reads beside settings, weights and checkpoints; and what is to become a record

MEASURED = "pi-vae/metrics.json"

RUNS = [
    bad("a folder in the place of metrics.json", then(placed(MEASURED, "folder"), run=["evaluate", "pi-vae"]),
        "pi-vae/metrics.json is no regular file", needs=("pi-vae",)),
    bad("a metrics.json that is a link to itself", then(placed(MEASURED, LOOP), run=["evaluate", "pi-vae"]),
        "pi-vae/metrics.json is no regular file", needs=("pi-vae",)),
    bad("a pipe in the place of metrics.json", then(placed(MEASURED, "pipe"), run=["evaluate", "pi-vae"]),
        "pi-vae/metrics.json is no regular file", needs=("pi-vae",)),
    bad("numbers to be written that are NaN", then(run=lambda: write_metrics(Path("pi-vae"), dict(
        swd=dict(value=0.1, interval=[0.1, math.nan]), seconds=1))), r"not finite \(swd\)", needs=("pi-vae",)),
    bad("a cost to be written that is infinite", then(run=lambda: write_metrics(Path("pi-vae"), dict(
        seconds=math.inf))), r"not finite \(seconds\)", needs=("pi-vae",)),
    bad("a file in the place of the checkpoints", then(
        lambda here: shutil.rmtree(here / "pi-vae" / "state"), written("pi-vae/state", ""),
        run=lambda: load_checkpoint(Path("pi-vae/state"))), "pi-vae/state", needs=("pi-vae",)),
    bad("a web page among the pictures of a training", then(written("step_1.png", "<html>"), run=lambda: animate(
        [Path("step_1.png")], Path("training.gif"))), "step_1.png can't be read as a PNG or JPEG"),
    bad("an EPS among the pictures of a training", then(
        written("step_1.png", "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        run=lambda: animate([Path("step_1.png")], Path("training.gif"))), "step_1.png can't be read as a PNG or JPEG"),
    bad("nothing that could ship", then(run=lambda: write_gan(Path("relgan"), Path("kept"))), "is not a run folder"),
    bad("a run of another model that is to ship", then(run=lambda: write_gan(Path("vae"), Path("kept"))),
        "vae is a run of 'vae'; expected one of relgan, sngan", needs=("vae",)),
    bad("somebody's folder in the place of a model that is to ship", then(
        written("kept/README.md", "mine"), run=lambda: write_gan(Path("relgan"), Path("kept"))),
        "kept exists, is no model that ships, and was not touched", needs=("relgan",)),
    bad("a link to nowhere in the place of a model that is to ship", then(
        lambda here: os.symlink("nowhere", here / "kept"), run=lambda: write_gan(Path("relgan"), Path("kept"))),
        "kept exists, is no model that ships, and was not touched", needs=("relgan",)),
    bad("a run without weights that is to ship", then(
        gone("relgan/model.safetensors"), run=lambda: write_gan(Path("relgan"), Path("kept"))),
        "relgan/model.safetensors is missing. The run has not finished", needs=("relgan",)),
    bad("a prior and its VQ-VAE exchanged in a new pair", then(
        run=lambda: write_pair(Path("prior"), Path("vqvae"), Path("pair"))),
        "prior is a run of 'prior', not one of a VQVAE", needs=("vqvae", "prior")),
    bad("a prior of another VQ-VAE in a new pair", then(
        tensors("vqvae/model.safetensors", "to_codes.bias", lambda t: t + 1),
        run=lambda: write_pair(Path("vqvae"), Path("prior"), Path("pair"))),
        "prior was trained on the codes of another VQ-VAE", needs=("vqvae", "prior")),
]

ROWS: list[Bad] = [*SHIPPED, *SETTINGS, *TRANSFORMER, *PAIRS, *EXTRACTORS, *STUDIES, *RUNS]
