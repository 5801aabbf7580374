"Bad weights and their settings: model.safetensors of a run, and the two files of `from_pretrained`."

import json
import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bad_inputs import Bad, Gift, gone, placed, replaced, then, written
from genlab.lab.training import load_run
from genlab.models import find_recipe

FILE = "pi-vae/model.safetensors"
SAMPLE = ["sample", "pi-vae", "-n", "4", "--out", "new.png"]
PRIOR = ("prior", "vqvae")


# Of a run

def spoilt(change: Callable[[Path], object], run: str = "pi-vae", command: str = "sample") -> Callable[[Path], list]:
    "The run's weights are changed; then it is sampled, or evaluated."

    def make(here: Path) -> list:
        change(here / run / "model.safetensors")
        return [command, run, *(SAMPLE[2:] if command == "sample" else [])]

    return make


def header(change: Callable[[dict], dict | bytes]) -> Callable[[Path], list]:
    "Another header before the same numbers."

    def rewrite(path: Path) -> None:
        content = path.read_bytes()
        end = 8 + int.from_bytes(content[:8], "little")
        new = change(json.loads(content[8:end]))
        new = new if isinstance(new, bytes) else json.dumps(new).encode()
        path.write_bytes(len(new).to_bytes(8, "little") + new + content[end:])

    return spoilt(rewrite)


def entry(**changed) -> Callable[[Path], list]:
    "The header says something else of log_sigma, five numbers in float32."
    return header(lambda h: h | dict(log_sigma=h["log_sigma"] | changed))


def tensors(change: Callable[[dict[str, Tensor]], object], run: str = "pi-vae", command: str = "sample"):
    "Other tensors in a file that is one."

    def rewrite(path: Path) -> None:
        own = load_file(path)
        save_file(own | (change(own) or {}), path)

    return spoilt(rewrite, run, command)


def to(name: str, value: float, run: str = "pi-vae", command: str = "sample") -> Callable[[Path], list]:
    "A number in the place of all of a tensor's."
    return tensors(lambda t: {name: torch.full_like(t[name], value)}, run, command)


def own_words(here: Path) -> None:
    "The prior takes the VQ-VAE that lies in this folder, as far as it knows the one that it was trained on."
    path = here / "prior" / "config.yaml"
    text, n = re.subn(r"^vqvae: .*$", f"vqvae: {here / 'vqvae'}", path.read_text(), flags=re.M)
    assert n == 1
    path.write_text(text)


def of_prior(change: Callable[[Path], list]) -> Callable[[Path], list]:
    "Something is changed in the VQ-VAE or the prior; then the prior is sampled."
    return lambda here: (own_words(here), change(here), ["sample", "prior", *SAMPLE[2:]])[-1]


def copied(here: Path) -> None:
    (here / FILE).write_bytes((here / "vae" / "model.safetensors").read_bytes())


# Of a stored model

def stored(*changes: Callable[[Path], object], run: str = "vae", as_: str = "vae") -> Callable[[Path], Callable]:
    "The model of a run is stored, the files are changed, and it is read again."

    def make(here: Path) -> Callable:
        load_run(here / run, find_recipe(run))[1].save_pretrained(here / "stored")
        for change in changes:
            change(here)
        return lambda: find_recipe(as_).Model.from_pretrained(here / "stored")

    return make


def said(**settings) -> Callable[[Path], None]:
    "config.json says something else."

    def change(here: Path) -> None:
        path = here / "stored" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | settings))

    return change


def says(content: str | bytes) -> Callable[[Path], Callable]:
    return stored(written("stored/config.json", content))


def setting(**settings) -> Callable[[Path], Callable]:
    return stored(said(**settings))


def without(name: str) -> Callable[[Path], None]:
    def change(here: Path) -> None:
        path = here / "stored" / "config.json"
        path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != name}))

    return change


def moved(name: str) -> Callable[[Path], Callable]:
    "The stored model under another name of its folder; only its config.json is bad."

    def make(here: Path) -> Callable:
        stored(written("stored/config.json", "{"))(here)
        (here / "stored").rename(here / name)
        return lambda: find_recipe("vae").Model.from_pretrained(here / name)

    return make


VAE, VQVAE = ("vae",), ("vqvae",)
ROWS = [
    # The file
    Bad("missing", then(gone(FILE), run=SAMPLE), r"safetensors is missing\. The run has not finished"),
    Bad("missing, when it is measured", spoilt(Path.unlink, "vae", "evaluate"),
        r"vae/model\.safetensors is missing", VAE),
    Bad("empty", then(written(FILE, b""), run=SAMPLE), r"is damaged \(.*[hH]eader.*small.*Delete it"),
    Bad("seven bytes", then(written(FILE, bytes(7)), run=["evaluate", "pi-vae"]), r"is damaged \(.*[hH]eader.*small"),
    Bad("a header of 2**63 bytes", then(written(FILE, (2**63).to_bytes(8, "little") + b"{}"), run=SAMPLE),
        r"is damaged \(.*header.*large"),
    Bad("a header that is longer than the file", then(written(FILE, (500).to_bytes(8, "little") + b"{}"), run=SAMPLE),
        r"is damaged \("),
    Bad("no header at all", then(written(FILE, bytes(8)), run=SAMPLE), r"is damaged \("),
    Bad("a header that is no JSON", header(lambda h: b"tensors: five"), r"is damaged \(.*header"),
    Bad("a header that is a list", header(lambda h: b"[1, 2]"), r"is damaged \(.*header"),
    Bad("a header that is not UTF-8", header(lambda h: b'{"\xff": 5}'), r"is damaged \(.*header"),
    Bad("a header in a header, 10,000 deep", header(lambda h: b'{"a":' * 10_000), r"is damaged \("),
    Bad("a second tensor of the same name", header(lambda h: json.dumps(h).encode()[:-1] + b', "log_sigma": '
        + json.dumps(h["shift"]).encode() + b"}"), r"is damaged \("),
    Bad("tensors that overlap", header(lambda h: h | dict(shift=h["scale"])), r"is damaged \(.*offset"),
    Bad("numbers of no tensor", header(lambda h: {k: v for k, v in h.items() if k != "shift"}), r"is damaged \("),
    Bad("numbers beyond the end of the file", spoilt(lambda path: path.write_bytes(path.read_bytes()[:-8])),
        r"is damaged \("),
    Bad("bytes after the last number", spoilt(lambda path: path.write_bytes(path.read_bytes() + b"more")),
        r"is damaged \("),
    Bad("a tensor that ends before it begins", entry(data_offsets=[20, 0]), r"is damaged \("),
    Bad("offsets that are negative", entry(data_offsets=[-20, 0]), r"is damaged \("),
    Bad("offsets that are texts", entry(data_offsets=["0", "20"]), r"is damaged \("),
    Bad("offsets that 64 bits can't hold", entry(data_offsets=[0, 2**70]), r"is damaged \("),
    Bad("a kind of number that there is not", entry(dtype="F33"), r"is damaged \(.*F33"),
    Bad("a kind of number that PyTorch has not", entry(dtype="F6_E2M3", shape=[5, 16], data_offsets=[0, 60]),
        r"model\.safetensors"),
    Bad("no kind of number", header(lambda h: h | dict(log_sigma=dict(shape=[5], data_offsets=[0, 20]))),
        r"is damaged \(.*dtype"),
    Bad("a shape that is a text", entry(shape="5"), r"is damaged \("),
    Bad("a shape below zero", entry(shape=[-5]), r"is damaged \("),
    Bad("a shape that no 64 bits can count", entry(shape=[2**40, 2**40]), r"is damaged \("),
    Bad("a shape of other numbers than there are", entry(shape=[6]), r"is damaged \("),
    Bad("remarks that are numbers", header(lambda h: h | dict(__metadata__=dict(made=5))), r"is damaged \("),
    Bad("a pickle", then(written(FILE, pickle.dumps(Gift())), run=SAMPLE), r"is damaged \("),
    Bad("a checkpoint of PyTorch", spoilt(lambda path: torch.save(dict(gift=Gift()), path)), r"is damaged \("),
    Bad("a folder in its place", then(placed(FILE, "folder"), run=SAMPLE), r"model\.safetensors is"),
    Bad("a pipe in its place", then(placed(FILE, "pipe"), run=SAMPLE), r"model\.safetensors is"),
    Bad("a link to nowhere in its place", then(placed(FILE, "link to nowhere"), run=SAMPLE), r"safetensors is missing"),
    Bad("a link to itself in its place", then(placed(FILE, "link to itself"), run=SAMPLE), r"safetensors is missing"),

    # Its tensors
    Bad("no tensor", spoilt(lambda path: save_file({}, path)), r"does not fit the model.*missing"),
    Bad("a tensor too few", spoilt(lambda path: save_file({k: v for k, v in load_file(path).items() if k != "shift"},
        path)), r"does not fit.*shift' is missing"),
    Bad("a tensor too many", tensors(lambda t: dict(wings=torch.ones(2))), r"does not fit.*wings"),
    Bad("ten thousand tensors too many, with long names",
        tensors(lambda t: {f"{i}{'x' * 1_000}": torch.ones(1) for i in range(10_000)}),
        r"\Agenlab: .{1,400}does not fit.{1,400}\n\Z"),
    Bad("a tensor whose name steers a terminal", tensors(lambda t: {"\x1b[2J": torch.ones(2)}), r"fit.*\\x1b\[2J"),
    Bad("a tensor whose name has two lines", tensors(lambda t: {"one\ntwo": torch.ones(2)}), r"does not fit.*two"),
    Bad("a tensor of another shape", tensors(lambda t: dict(log_sigma=torch.zeros(6))), r"does not fit.*log_sigma"),
    Bad("a number in the place of five", tensors(lambda t: dict(log_sigma=torch.tensor(0.0)), command="evaluate"),
        r"does not fit.*log_sigma"),
    Bad("of another model", then(copied, run=SAMPLE), r"pi-vae/model\.safetensors does not fit", ("pi-vae", "vae")),
    Bad("NaN", to("log_sigma", math.nan), r"not finite, in log_sigma"),
    Bad("minus infinity", to("shift", -math.inf), r"not finite, in shift"),
    Bad("an infinite number that may be unknown", to("pixels.fixed", math.inf, "vae", "evaluate"),
        r"not finite, in pixels\.fixed", VAE),
    Bad("a number that float32 can't hold", tensors(lambda t: dict(shift=torch.full((5,), 1e300, dtype=torch.float64))),
        r"not finite, in shift"),
    Bad("whole numbers", tensors(lambda t: dict(shift=t["shift"].long())), r"model\.safetensors.*shift"),
    Bad("complex numbers", tensors(lambda t: dict(shift=t["shift"] + 1j)), r"model\.safetensors.*shift"),
    Bad("numbers of eight bits", tensors(lambda t: dict(shift=t["shift"].to(torch.float8_e4m3fn))),
        r"model\.safetensors.*shift"),
    Bad("points that are not finite", tensors(lambda t: {name: torch.full_like(t[name], 3e38)
        for name in ("shift", "scale")}), r"not finite"),
    Bad("images that are not finite", to("decoder.0.conv1.weight", 3e38, "vae"),
        r"images have pixels that are not", VAE),
    Bad("shares of a mixture that are negative", to("prior.weights", -1.0), r"model\.safetensors"),
    Bad("shares of a mixture that are zero", to("density.mixture.weights", 0.0, "vae"), r"model\.safetensors", VAE),
    Bad("dimensions that there are not", to("density.together", 99, "vae"), r"model\.safetensors", VAE),
    Bad("words that never occur", to("counts", 0.0, "vqvae"), r"model\.safetensors", VQVAE),
    Bad("classes that occur less than never", to("frequencies", -1.0, "cvae"),
        r"frequencies of \d+ classes", ("cvae",)),
    Bad("labels that there are not", to("labels", 99, "prior"), r"labels are torch\.int64.*99", PRIOR),
    Bad("a fingerprint that is no text", of_prior(to("made_for", 255, "prior")), r"another VQ-VAE|fingerprint", PRIOR),
    Bad("another fingerprint", of_prior(to("made_for", 65, "prior")),
        r"another VQ-VAE \(fingerprint A{16}, not", PRIOR),
    Bad("the words of another VQ-VAE", of_prior(to("to_codes.bias", 0.5, "vqvae")), r"codes of another VQ-VAE", PRIOR),

    # config.json of a stored model
    Bad("no settings", stored(gone("stored/config.json")),
        r"stored does not hold a VAE: config\.json is missing", VAE),
    Bad("no weights", stored(gone("stored/model.safetensors")),
        r"stored does not hold a VAE: .*model\.safetensors is missing.*Download", VAE),
    Bad("weights that are a text", stored(written("stored/model.safetensors", "hello")), r"damaged.*Download", VAE),
    Bad("weights with something to be executed", stored(written("stored/model.safetensors", pickle.dumps(Gift()))),
        r"damaged.*Download", VAE),
    Bad("settings that are empty", says(""), r"does not hold a VAE: Expecting value", VAE),
    Bad("settings that end early", says('{"latent_dim": 4,'), r"does not hold a VAE: Expecting property", VAE),
    Bad("settings that are a list", says("[1]"), r"does not hold a VAE: .*(list|settings)", VAE),
    Bad("settings that are a text", says('"small"'), r"does not hold a VAE: .*(str|settings)", VAE),
    Bad("settings that are not UTF-8", says(b'{"pixels": "\xff"}'), r"does not hold a VAE: .*(utf-8|UTF-8)", VAE),
    Bad("settings with a byte order mark", says(b"\xef\xbb\xbf{}"), r"does not hold a VAE: .*BOM", VAE),
    Bad("settings in lists in lists", says("[" * 90_000), r"does not hold a VAE: .*recursion", VAE),
    Bad("settings of a megabyte", says('{"a": "' + "x" * 1_000_000 + '"}'), r"config\.json has 1,000,\d+ bytes", VAE),
    Bad("a setting too many", setting(wings=2), r"doesn't know: wings", VAE),
    Bad("a setting whose name steers a terminal", setting(**{"\x1b[2J": 2}), r"doesn't know: \\x1b\[2J", VAE),
    Bad("a setting that is a text", setting(latent_dim="many"), r"latent_dim is 'many'; expected a whole number", VAE),
    Bad("a setting below its limit", setting(latent_dim=0), r"latent_dim is 0; expected .*at least 1", VAE),
    Bad("a setting beyond 64 bits", setting(latent_dim=10**30), r"latent_dim is 1000.*at most 65,536", VAE),
    Bad("a setting of 5,000 digits", stored(replaced("stored/config.json", '"latent_dim": 4', '"latent_dim": 4'
        + "0" * 5_000)), r"does not hold a VAE: .*(limit|latent_dim)", VAE),
    Bad("a setting that is true", setting(blocks=True), r"blocks is True; expected a whole number", VAE),
    Bad("a setting with a point", setting(patch=2.0), r"patch is 2\.0; expected a whole number", VAE),
    Bad("a setting that is NaN", stored(said(commitment=math.nan), run="vqvae", as_="vqvae"),
        r"VQVAE: .*commitment is nan; expected a number", VQVAE),
    Bad("a setting that is none of its choices", setting(pixels="square"), r"pixels is 'square'; expected one of", VAE),
    Bad("a list that is a number", setting(widths=8), r"widths is 8; expected a list", VAE),
    Bad("a list of nothing", setting(widths=[]), r"widths is \[\]; expected .*at least 1", VAE),
    Bad("a list that is too long", setting(widths=[8] * 33), r"widths is .*at most 32", VAE),
    Bad("a list in a list", setting(widths=[[8], 16]), r"widths is .*entry 0", VAE),
    Bad("no shape", stored(without("shape")), r"does not hold a VAE: .*shape", VAE),
    Bad("a shape of two numbers", setting(shape=[16, 16]), r"shape is \[16, 16\]; expected .*3", VAE),
    Bad("a shape with a negative number", setting(shape=[-3, 16, 16]), r"does not hold a VAE", VAE),
    Bad("a shape that can't be halved", setting(shape=[3, 15, 15]), r"15x15 images can't be made 4 times smaller", VAE),
    Bad("a shape of a million pixels each way", setting(shape=[3, 2**20, 2**20]), r"does not hold a VAE", VAE),
    Bad("widths of a much larger model", setting(widths=[60_000, 60_000]), r"does not fit", VAE),
    Bad("as many blocks as there may be", setting(blocks=256), r"does not fit", VAE),
    Bad("levels whose product 64 bits can't hold", stored(said(quantizer="fsq", levels=[2] * 70), run="vqvae",
        as_="vqvae"), r"does not hold a VQVAE", VQVAE),
    Bad("a setting twice, the second of another model", stored(replaced("stored/config.json", '"latent_dim": 4',
        '"latent_dim": 4, "latent_dim": 5')), r"does not fit", VAE),
    Bad("settings of a class that has more", stored(run="cvae"), r"does not hold a VAE: .*doesn't know", ("cvae",)),
    Bad("settings of a class that has fewer", stored(as_="cvae"), r"does not hold a CVAE: .*(fit|shape)", VAE),
    Bad("a folder in the place of the settings", stored(placed("stored/config.json", "folder")),
        r"does not hold a VAE: config\.json is missing, or no", VAE),
    Bad("a pipe in the place of the settings", stored(placed("stored/config.json", "pipe")),
        r"VAE: config\.json is missing, or no", VAE),
    Bad("a link to itself in the place of the settings", stored(placed("stored/config.json", "link to itself")),
        r"does not hold a VAE: config\.json is missing, or no", VAE),
    Bad("a pipe in the place of stored weights", stored(placed("stored/model.safetensors", "pipe")),
        r"does not hold a VAE", VAE),
    Bad("no folder", lambda here: lambda: find_recipe("vae").Model.from_pretrained(here / "nowhere"),
        r"nowhere does not hold a VAE", ()),
    Bad("a file in the place of the folder", lambda here: lambda: find_recipe("vae").Model.from_pretrained(here / FILE),
        r"model\.safetensors does not hold a VAE"),
    Bad("a folder whose name steers a terminal", moved("\x1b[2J"), r"\\x1b\[2J does not hold a VAE", VAE),
]
