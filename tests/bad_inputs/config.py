"Bad config.yaml files: of a run that is resumed, sampled or evaluated, or whose settings are taken over."

import gzip
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from bad_inputs import Bad, replaced, then, written

FILE = "pi-vae/config.yaml"
RESUME = ["train", "--resume", "pi-vae"]
SAMPLE = ["sample", "pi-vae"]
EVALUATE = ["evaluate", "pi-vae"]
TAKE_OVER = ["train", "pi-vae", "--config", FILE, "--out", "new"]
NO_YAML = r"pi-vae/config\.yaml can't be read as YAML \("
NO_MODEL = r"pi-vae/config\.yaml doesn't name a model"
NO_RUN = "pi-vae is not a run folder: it has no config.yaml"
OTHER_WEIGHTS = r"model\.safetensors does not fit the model that"
RUNS = ("pi-vae", "vae", "cvae", "vqvae", "prior", "relgan", "realnvp")
GAN = "model: cvae-gan\nbudget: smoke\nseed: 0\nconfig: {}\nshape: [3, 16, 16]\n"


def edit(old: str, new: str, run: list = RESUME) -> Callable:
    "Other text in the file of pi-vae."
    return then(replaced(FILE, old, new), run=run)


def whole(content: bytes | str, run: list = RESUME) -> Callable:
    "Another content of the file of pi-vae."
    return then(written(FILE, content), run=run)


def more(*lines: str, run: list = RESUME) -> Callable:
    "Lines at the end of the file of pi-vae: indented, they are in its config."

    def step(here: Path) -> None:
        (here / FILE).write_text("\n".join([(here / FILE).read_text().rstrip("\n"), *lines]) + "\n")

    return then(step, run=run)


def to(name: str, value: str, of: str = "pi-vae") -> Callable[[Path], None]:
    "Sets one setting in the file of a run, whatever it was."

    def change(here: Path) -> None:
        file = here / of / "config.yaml"
        pattern = rf"(?m)^( *){name}:.*\n(?:\1- .*\n)*"
        text, n = re.subn(pattern, lambda found: f"{found[1]}{name}: {value}\n", file.read_text())
        assert n == 1, f"{name} is {n} times in {file}"
        file.write_text(text)

    return change


def line(name: str, value: str, run: list = RESUME) -> Callable:
    "One setting of the run that the command names last is another one."
    of = next(word for word in reversed(run) if word in RUNS)
    return then(to(name, value, of), run=run)


def lost(*files: str) -> Callable[[Path], None]:
    "Deletes files."
    return lambda here: [(here / file).unlink() for file in files]


def linked(target: str) -> Callable:
    "The file of pi-vae is a link."
    return then(lost(FILE), lambda here: (here / FILE).symlink_to(target), run=RESUME)


def recoded(change: Callable[[bytes], bytes], run: list = RESUME) -> Callable:
    "The bytes of the file of pi-vae, changed."
    return then(lambda here: (here / FILE).write_bytes(change((here / FILE).read_bytes())), run=run)


def gan(*lines: str, run: str = "sample") -> Callable:
    "A run of a CVAE-GAN, as far as its config.yaml goes."
    steps = [written("gan/config.yaml", GAN + "".join(f"{line}\n" for line in lines))]
    if run == "sample":
        steps.append(lambda here: shutil.copy(here / "cvae/model.safetensors", here / "gan"))
    return then(*steps, run=[run, "gan"])


def begun(*steps: Callable, run: list = RESUME) -> Callable:
    "The run has trained all its steps and wasn't measured; then its settings are changed."
    return then(lost("pi-vae/metrics.json"), *steps, run=run)


BOMB = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n"
                                  for a, b in zip("abcdefghi", "bcdefghij", strict=True))

NOT_YAML = [
    Bad("empty file", whole(""), NO_MODEL),
    Bad("every line is a comment", recoded(lambda text: b"# " + text.replace(b"\n", b"\n# ")), NO_MODEL),
    Bad("a tab for blanks", edit("  hidden", "\thidden"), NO_YAML + "while scanning for the next token"),
    Bad("a blank too many", edit("  hidden", "   hidden"), NO_YAML + "mapping values are not allowed"),
    Bad("a blank too few", edit("  hidden", " hidden"), NO_YAML + "while parsing a block mapping"),
    Bad("blanks that don't break, from a web page", edit("  hidden", "\xa0\xa0hidden"), NO_YAML + "mapping values"),
    Bad("no blank after a colon", edit("hidden: 16", "hidden:16"), NO_YAML + "while scanning a simple key"),
    Bad("written as an .ini file", whole("[run]\nmodel = pi-vae\nseed = 0\n"), NO_YAML + "expected '<document start>'"),
    Bad("quotes that never close", edit("model: pi-vae", 'model: "pi-vae'), NO_YAML + "while scanning a quoted"),
    Bad("a bracket that never closes", edit("trackers: []", "trackers: ["), NO_YAML + "while parsing a flow sequence"),
    Bad("JSON without a comma", whole('{"model": "pi-vae", "seed": 0 "budget": "smoke"}'), NO_YAML + ".*flow mapping"),
    Bad("two commas in a list", edit("trackers: []", "trackers: [wandb,, wandb]"), NO_YAML + ".*a flow node"),
    Bad("a list that begins beside its name", edit("trackers: []", "trackers: - wandb"), NO_YAML + "sequence entries"),
    Bad("a text block with a wrong sign", edit("model: pi-vae", "model: |x"), NO_YAML + ".*a block scalar"),
    Bad("an @ in front of a name", edit("model: pi-vae", "model: @pi-vae"), NO_YAML + "while scanning for the next"),
    Bad("a Windows path in double quotes", edit("data: null", r'data: "C:\Users\me"'), NO_YAML + ".*double-quoted"),
    Bad("a later version of YAML", edit("model:", "%YAML 2.0\n---\nmodel:"), NO_YAML + "found incompatible YAML"),
    Bad("two documents", more("---", "model: pi-vae"), NO_YAML + "expected a single document"),
    Bad("settings after the end of the document", more("...", "seed: 1"), NO_YAML + "expected '<document start>'"),
    Bad("a conflict of git", edit("seed: 0", "<<<<<<< HEAD\nseed: 0\n=======\nseed: 1\n>>>>>>> b"),
        NO_YAML + "while scanning a simple key"),
    Bad("a pointer of Git LFS", whole("version https://git-lfs.github.com/spec/v1\noid sha256:4665a5\nsize 388\n"),
        NO_MODEL),
    Bad("a web page", whole("<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head></html>\n"), NO_MODEL),
    Bad("a list of settings", whole("- model: pi-vae\n- seed: 0\n"), NO_MODEL),
    Bad("an anchor that is used once", then(to("seed", "&n 20"), to("pictures", "*n"), run=RESUME), r"it repeats \*n"),
    Bad("aliases of aliases, 10^9 entries", whole(BOMB + "model: pi-vae\n"), r"it repeats \*a"),
    Bad("a list that holds itself", edit("trackers: []", "trackers: &t [*t]"), r"it repeats \*t"),
    Bad("settings merged from others", edit("model:", "base: &b {seed: 0}\n<<: *b\nmodel:"), r"it repeats \*b\b"),
    Bad("a merge of a number", edit("seed: 0", "seed: 0\n<<: 5"), NO_YAML + "while constructing a mapping"),
    Bad("a name between asterisks", edit("model: pi-vae", "model: *pi-vae*"), NO_YAML + "while scanning an alias"),
    Bad("a tag that would run a command", edit("seed: 0", 'seed: !!python/object/apply:os.system ["touch hacked"]'),
        NO_YAML + "could not determine a constructor .*os.system"),
    Bad("a tag that would import a module", edit("seed: 0", "seed: !!python/module:antigravity ''"),
        NO_YAML + "could not determine a constructor .*antigravity"),
    Bad("a tag of another program", edit("seed: 0", "seed: !Ref Seed"), NO_YAML + "could not determine .*!Ref"),
    Bad("a tag that never ends", edit("seed: 0", "seed: !<tag 0"), NO_YAML + "while parsing a tag"),
    Bad("a model in base64", edit("model: pi-vae", "model: !!binary cGktdmFl"), NO_MODEL),
    Bad("a word that is tagged as a number", edit("seed: 0", "seed: !!int zero"), NO_YAML + "invalid literal for int"),
    Bad("a word that is tagged as a time", edit("seed: 0", "seed: !!timestamp now"), NO_YAML),
    Bad("a date that is none", edit("model: pi-vae", "model: 2020-13-45"), NO_YAML + "month must be in"),
    Bad("an hour that is none", edit("seed: 0", "seed: 2026-11-30 25:00:00"), NO_YAML + "hour must be in"),
    Bad("lists in lists, 20,000 deep", edit("model: pi-vae", f"model: {'[' * 20_000}"), NO_YAML + "maximum recursion"),
    Bad("a list for a name", edit("seed: 0", "? [a]\n: 1\nseed: 0"), NO_YAML + "while constructing a mapping"),
    Bad("a setting twice", edit("seed: 0", "seed: 0\nseed: 1"), r"pi-vae/config\.yaml.*\bseed\b"),
    Bad("a number of 5,000 digits", line("seed", "9" * 5_000), NO_YAML + r"Exceeds the limit \(4300 digits\)"),
    Bad("Latin-1", recoded(lambda text: b"# f\xfcr mich\n" + text), NO_YAML + ".*can't decode byte 0xfc"),
    Bad("UTF-16, as PowerShell writes", recoded(lambda text: text.decode().encode("utf-16")), NO_YAML + ".*byte 0xff"),
    Bad("packed with gzip", recoded(gzip.compress), NO_YAML + ".*byte 0x8b"),
    Bad("a zero byte", edit("seed: 0", "seed: 0\0"), NO_YAML + "unacceptable character #x0000"),
    Bad("the colours of a terminal", edit("seed: 0", "seed: \x1b[31m0\x1b[0m"), NO_YAML + ".*character #x001b"),
    Bad("two byte order marks", recoded(lambda text: 2 * b"\xef\xbb\xbf" + text), NO_MODEL),
    Bad("200,000 bytes", recoded(lambda text: text + b"#" * 200_000), r"has 200,\d+ bytes; expected settings, in"),
]

NO_FILE = [
    Bad("no file", then(lost(FILE), run=RESUME), NO_RUN),
    Bad("a folder in the place of the file", then(lost(FILE), lambda here: (here / FILE).mkdir(), run=RESUME), NO_RUN),
    Bad("a link to nowhere", linked("gone.yaml"), NO_RUN),
    Bad("a link to itself", linked("config.yaml"), NO_RUN),
    Bad("a link to a device without end", linked("/dev/zero"), NO_RUN),
    Bad("a pipe that nobody writes into", then(lost(FILE), lambda here: os.mkfifo(here / FILE), run=RESUME), NO_RUN),
    Bad("a file that can't be read", linked("/proc/self/mem"), NO_YAML + ".*Input/output error"),
    # 5 MB, of which nothing is known before it is read: its size is 0
    Bad("a file that is longer than it says", linked("/proc/kallsyms"), r"config\.yaml .*expected settings, in"),
]

NAMES = [
    Bad("the line of the model is lost", edit("model: pi-vae\n", ""), NO_MODEL),
    Bad("a model that there isn't", edit("model: pi-vae", "model: pi-gan"), "there is no model 'pi-gan'"),
    Bad("a model's place in the code", edit("model: pi-vae", "model: os:system"), "there is no model 'os:system'"),
    Bad("two models", edit("model: pi-vae", "model: [pi-vae, vae]"), NO_MODEL),
    Bad("a model that YAML reads as false", edit("model: pi-vae", "model: NO"), NO_MODEL),
    Bad("a hyphen that looks like one", edit("model: pi-vae", "model: pi\u2011vae"), "there is no model 'pi\u2011vae'"),
    Bad("a model with the end of its line", edit("model: pi-vae", "model: |\n  pi-vae"), r"no model 'pi-vae\\n'"),
    Bad("the model is another one of points", line("model", "pi-flow"), "'latent_dim' is no setting of Spline"),
    Bad("a run of points becomes one of images", line("model", "vae", SAMPLE), "'hidden' is no setting of VAEConfig"),
    Bad("a name that YAML reads as true", edit("seed: 0", "on: 1\nseed: 0"), r"config\.yaml.*\bTrue\b"),
    Bad("a name that is a number", edit("seed: 0", "2026: 1\nseed: 0"), r"config\.yaml.*\b2026\b"),
    Bad("an unknown name", more("wings: 2"), "has settings that pi-vae doesn't know: 'wings'"),
    Bad("an unknown name in config", more("  wings: 2"), "'wings' is no setting of PointVAEConfig"),
    Bad("one of the model's settings outside of config", more("lr: 0.001"), "that pi-vae doesn't know: 'lr'"),
    Bad("one of the run's settings in config", more("  ema: null"), "'ema' is no setting of PointVAEConfig"),
    Bad("a name as the command line has it", edit("latent_dim", "latent-dim"), "'latent-dim' is no setting of"),
    Bad("a name that would clear the screen", more(r'"\e[2J": 1'), r"pi-vae doesn't know: '\\x1b\[2J'"),
    Bad("2,000 unknown names", more(*(f"name_{i}: {i}" for i in range(2_000))), "(?m)doesn't know.{1,600}$"),
    Bad("no seed", edit("seed: 0\n", ""), r"pi-vae/config\.yaml lacks seed"),
    Bad("no config", recoded(lambda text: text.partition(b"config:")[0]), r"pi-vae/config\.yaml lacks config"),
    Bad("a config of nothing", recoded(lambda text: text.partition(b"config:")[0] + b"config:\n"),
        "settings are None; expected names with their values"),
    Bad("a config that is a list", recoded(lambda text: text.partition(b"config:")[0] + b"config: [lr, 0.001]\n"),
        r"settings are \['lr', 0\.001\]; expected names"),
    Bad("images without their shape", then(replaced("vae/config.yaml", "shape:\n- 3\n- 16\n- 16\n", ""),
                                           run=["sample", "vae"]), r"vae/config\.yaml: shape is missing", ("vae",)),
    Bad("cut off in the middle", recoded(lambda text: text.partition(b"  hidden:")[0], SAMPLE), OTHER_WEIGHTS),
]

VALUES = [
    Bad("a negative seed", line("seed", "-1"), "seed is -1; expected a whole number, at least 0"),
    Bad("a seed above the last one", line("seed", str(2**40)), "seed is 1099511627776; expected .* at most"),
    Bad("half a seed", line("seed", "1.5"), r"seed is 1\.5; expected a whole number"),
    Bad("a number in quotes", line("seed", '"0"'), "seed is '0'; expected a whole number"),
    Bad("yes for a number", line("seed", "yes"), "seed is True; expected a whole number"),
    Bad("nothing for a number", line("seed", ""), "seed is None; expected a whole number"),
    Bad("a list of one number", line("seed", "[0]"), r"seed is \[0\]; expected a whole number"),
    Bad("braces around a number", line("seed", "{0}"), r"seed is \{0: None\}; expected a whole number"),
    Bad("a date for a number", line("seed", "2026-11-30"), r"seed is datetime\.date\(2026, 11, 30\); expected a whole"),
    Bad("an invisible character in a number", line("seed", "\ufeff0"), r"seed is '\\ufeff0'; expected a whole number"),
    Bad("50,000 digits that YAML can read", line("seed", f"0x{'f' * 50_000}"), "seed is a very large int; expected"),
    Bad("33,000 digits to the base of 60", line("pictures", "1" + ":59" * 33_000), "pictures is a very large int"),
    Bad("no pictures", line("pictures", "0"), "pictures is 0; expected a whole number, at least 1"),
    Bad("more epochs than can be counted", line("epochs", "1000000001"), "epochs is 1000000001; .* at most 1,000"),
    Bad("a whole number with an exponent", line("epochs", "1e3"), r"epochs is '1e3'; .*write 1000\b"),
    Bad("an exponent without a point", line("lr", "1e-3"), r"lr is '1e-3'; .*YAML reads 1e-3 as a text: write 1\.0e-3"),
    Bad("a comma in a number", line("lr", "0,001"), "lr is '0,001'; expected a number, above 0"),
    Bad("a learning rate of 0", line("lr", "0"), "lr is 0; expected a number, above 0"),
    Bad("a learning rate that climbs", line("lr", "-0.001"), r"lr is -0\.001; expected a number, above 0"),
    Bad("not a number", line("lr", ".nan"), "lr is nan; expected a number, above 0, and finite"),
    Bad("infinitely many bits", line("free_bits", ".inf"), "free_bits is inf; .* at least 0, and finite"),
    Bad("an exponent that overflows", line("lr", "1.0e+400"), "lr is inf; expected .* and finite"),
    Bad("a number that single precision can't hold", line("lr", "1.0e+300"), r"lr is 1e\+300; .*that float32 can hold"),
    Bad("a number that single precision takes for 0", line("max_sigma_px", "1.0e-60"), "px is 1e-60; .*float32"),
    Bad("a width beyond all networks", line("hidden", "65537"), "hidden is 65537; expected .* at most 65,536"),
    Bad("a thousand layers", line("depth", "1000"), "depth is 1000; expected .* at most 256"),
    Bad("a width that YAML reads as octal", line("hidden", "016", SAMPLE), OTHER_WEIGHTS),
    Bad("a choice that there isn't", line("beta", "quadratic"), "beta is 'quadratic'; expected one of constant"),
    Bad("a number for a choice", line("budget", "3"), "budget is 3; expected one of smoke, laptop, gpu"),
    Bad("a device that there isn't", line("device", "gpu"), "device is 'gpu'; expected one of cpu, cuda, mps"),
    Bad("a device that isn't here", line("device", "mps", EVALUATE), "the device mps is not to be had here"),
    Bad("a text for a list", line("trackers", "tensorboard"), "trackers is 'tensorboard'; expected a list"),
    Bad("a set for a list", line("trackers", "!!set {wandb}"), r"trackers is \{'wandb'\}; expected a list"),
    Bad("a module for a tracker", line("trackers", "[os.path]"), "entry 0 is one of tensorboard, wandb, not 'os.path'"),
    Bad("10,001 trackers", line("trackers", f"[{'wandb, ' * 10_001}]"), "trackers is .* a length of .* at most 10,000"),
    Bad("lists in lists, a hundred deep", line("trackers", "[" * 100 + "]" * 100), r"entry 0 is one of .*, not \[\[\["),
    Bad("1 for true", line("compile", "1"), "compile is 1; expected true or false"),
    Bad("an average that never moves", line("ema", "1"), "ema is 1; expected a number, at least 0 and below 1"),
    Bad("a number for a path", line("data", "5"), "data is 5; expected a path"),
    Bad("an empty path", line("data", '""'), "data is ''; expected a path"),
    Bad("a path with a zero byte", line("data", r'"a\0b"'), r"data is 'a\\x00b'; expected a path"),
    Bad("a path of 20,000 characters", line("data", "a" * 20_000), "data is .*; expected a path of at most 10,000"),
]

DATA = [
    Bad("a path longer than the system takes", line("data", "/a" * 4_000, EVALUATE), "(?m)(data|folder).{0,400}$"),
    Bad("a folder of points that is gone", line("data", "/nowhere/pi", EVALUATE), "/nowhere/pi is not a folder"),
    Bad("a file for a folder of points", line("data", "pi-vae/log.csv", EVALUATE), r"log\.csv is not a folder"),
    Bad("half of a surrogate in a path", line("data", r'"\ud800"', EVALUATE), r"\\ud800 is not a folder"),
    Bad("more Gaussians than points", line("components", "65536", EVALUATE), "components is 65536, .* training points"),
    Bad("settings of another width", line("hidden", "17", SAMPLE), OTHER_WEIGHTS),
    Bad("a network of gigabytes for small weights", line("hidden", "12000", SAMPLE), "does not fit the model"),
    Bad("begun with another seed", begun(to("seed", "1")), "it was begun with seed 0, not 1"),
    Bad("begun with another learning rate", begun(to("lr", "0.5")), r"it was begun with lr 0\.001, not 0\.5"),
    Bad("shards that aren't equal", begun(to("accumulate", "3")), "a batch of 100 can't be cut into 3 equal shards"),
    Bad("unequal shards, taken over", line("accumulate", "3", TAKE_OVER), "a batch of 100 can't be cut into 3 equal"),
    Bad("data that are gone, taken over", line("data", "/nowhere/pi", TAKE_OVER), "/nowhere/pi is not a folder"),
]

IMAGES = [
    Bad("a data set that there isn't", line("data", "imagenet", ["sample", "vae"]),
        "data is 'imagenet'; expected one of mnist", ("vae",)),
    Bad("images without pixels", line("size", "0", ["sample", "vae"]), "size is 0; expected .* at least 1", ("vae",)),
    Bad("images too small to judge", line("size", "8", ["evaluate", "vae"]), "size is 8; .* at least 11", ("vae",)),
    Bad("images that can't be halved so often", line("size", "18", ["evaluate", "vae"]),
        "18x18 images can't be made 4 times smaller", ("vae",)),
    Bad("images of another size than begun with", line("size", "20", ["evaluate", "vae"]),
        r"began with data whose shape is \(3, 16, 16\), and now it is \(3, 20, 20\)", ("vae",)),
    Bad("images larger than any memory", line("size", "1000000000", ["evaluate", "vae"]),
        "need more memory than there is", ("vae",)),
    Bad("a data folder that is gone", then(to("data", "mnist", "vae"), to("root", "/nowhere/data", "vae"),
                                           run=["evaluate", "vae"]),
        "data folder /nowhere/data, named by root, does not exist", ("vae",)),
    Bad("a shape of two numbers", line("shape", "[16, 16]", ["sample", "vae"]),
        r"shape is \[16, 16\]; expected a list with a length of at least 3", ("vae",)),
    Bad("a shape without channels", line("shape", "[0, 16, 16]", ["sample", "vae"]),
        "shape is .*a list whose entry 0 is a whole number, at least 1", ("vae",)),
    Bad("a shape with the channels last", line("shape", "[16, 16, 3]", ["evaluate", "vae"]),
        r"began with data whose shape is \(16, 16, 3\)", ("vae",)),
    Bad("a shape of other weights", line("shape", "[3, 32, 32]", ["sample", "vae"]), OTHER_WEIGHTS, ("vae",)),
    Bad("a shape of gigabytes for small weights", line("shape", "[3, 6400, 6400]", ["sample", "vae"]),
        "does not fit the model", ("vae",)),
    Bad("numbers for the names of labels", line("labels", "[1, 2]", ["sample", "vae"]),
        "labels is .*a list whose entry 0 is a text", ("vae",)),
    Bad("classes that became attributes", line("attributes", "true", ["evaluate", "vae"]),
        "began with data whose attributes is True, and now it is False", ("vae",)),
    Bad("no widths", line("widths", "[]", ["sample", "vae"]), r"widths is \[\]; .* length of at least 1", ("vae",)),
    Bad("a number for a list of widths", line("widths", "8", ["sample", "vae"]), "widths is 8; expected a list",
        ("vae",)),
    Bad("a width in words", line("widths", "[8, sixteen]", ["sample", "vae"]),
        "a list whose entry 1 is a whole number, .*, not 'sixteen'", ("vae",)),
    Bad("labels of fewer classes than the weights", line("labels", "[disc, ring]", ["sample", "cvae"]), OTHER_WEIGHTS,
        ("cvae",)),
    # each class behind it would be drawn under the name of its neighbour
    Bad("the name of one class is lost", then(replaced("realnvp/config.yaml", "- disc\n", ""),
                                              run=["sample", "realnvp", "--label", "ring"]), r"\blabels\b",
        ("realnvp",)),
    Bad("a class twice", then(replaced("realnvp/config.yaml", "- disc\n", "- ring\n"),
                              run=["sample", "realnvp", "--label", "ring"]), "no name twice", ("realnvp",)),
    Bad("a flow of 3 of 10 classes", line("n_labels", "3", ["evaluate", "realnvp"]),
        "n_labels is 3, and shapes has 10 labels", ("realnvp",)),
    Bad("65,536 layers for the weights of some", then(
        to("couplings", "256", "realnvp"), to("blocks", "256", "realnvp"), run=["sample", "realnvp"]),
        r"model\.safetensors does not fit .*far more parts", ("realnvp",)),
    Bad("256 layers for the weights of one", line("depth", "256", ["sample", "prior"]), OTHER_WEIGHTS, ("prior",)),
    Bad("more levels than an image has", line("levels", "9", ["sample", "realnvp"]),
        "16x16 can't be squeezed 9 times", ("realnvp",)),
    Bad("a critic that halves too often", line("critic_widths", "[8, 8, 8, 8, 8]", ["evaluate", "relgan"]),
        "16x16 images can't be halved 5 times", ("relgan",)),
    Bad("a generator that hears no labels", line("blocks", "0", ["sample", "relgan"]),
        "hears labels in its blocks. Choose at least 1", ("relgan",)),
    Bad("a probability above 1", line("augment", "1.5", ["sample", "relgan"]),
        r"augment is 1\.5; expected a number, at least 0 and at most 1", ("relgan",)),
]

PAIRS = [
    Bad("a prior without its VQ-VAE", line("vqvae", "null", ["sample", "prior"]),
        "a prior learns the codes of a VQ-VAE", ("prior",)),
    Bad("a VQ-VAE that is gone", line("vqvae", "/nowhere/vqvae", ["sample", "prior"]),
        "/nowhere/vqvae is not a run folder", ("prior",)),
    Bad("a VQ-VAE that is a run of another kind", line("vqvae", "pi-vae", ["sample", "prior"]),
        "pi-vae is a run of 'pi-vae', not one of a VQVAE", ("prior", "pi-vae")),
    Bad("a prior that learns its own codes", line("vqvae", "prior", ["evaluate", "prior"]),
        "prior is a run of 'prior', not one of a VQVAE", ("prior",)),
    Bad("a VQ-VAE that hasn't finished", then(to("vqvae", "vqvae", "prior"), lost("vqvae/model.safetensors"),
                                              run=["sample", "prior"]),
        r"vqvae/model\.safetensors is missing. The run has not finished", ("prior", "vqvae")),
    Bad("a VQ-VAE without settings", then(to("vqvae", "vqvae", "prior"), written("vqvae/config.yaml", ""),
                                          run=["evaluate", "prior"]),
        r"vqvae/config\.yaml doesn't name a model", ("prior", "vqvae")),
    Bad("a VQ-VAE whose images have changed", then(to("vqvae", "vqvae", "prior"), to("size", "20", "vqvae"),
                                                   run=["evaluate", "prior"]),
        r"the VQ-VAE is for images of shape \(3, 16, 16\)", ("prior", "vqvae")),
    Bad("another fingerprint than begun with", line("made_for", "0123456789abcdef", ["evaluate", "prior"]),
        "not the one that this prior was trained on .*expected 0123456789abcdef", ("prior",)),
    Bad("labels that are attributes by half", line("shape", "[16, 4, 4, 10, 2]", ["sample", "prior"]),
        "a list whose entry 4 is one of 0, 1, not 2", ("prior",)),
    Bad("heads that don't divide the width", line("n_heads", "3", ["sample", "prior"]),
        "the width of the transformer is 16; it must be a multiple of the 3 heads", ("prior",)),
    Bad("a code of one level", then(to("quantizer", "fsq", "vqvae"), to("levels", "[1, 8]", "vqvae"),
                                    run=["sample", "vqvae"]), r"levels are \(1, 8\); .*at least 2 levels", ("vqvae",)),
    Bad("a code of no numbers", then(to("quantizer", "fsq", "vqvae"), to("levels", "[]", "vqvae"), run=[
        "train", "vqvae", "--config", "vqvae/config.yaml", "--out", "new"]), r"\blevels\b", ("vqvae",)),
    Bad("a CVAE-GAN without its CVAE", gan(run="evaluate"), "a CVAE-GAN goes on from a trained CVAE", ()),
    Bad("a CVAE that is a run of another kind", gan("cvae: pi-vae", run="evaluate"),
        "pi-vae is a run of 'pi-vae'; expected one of cvae, vit-cvae"),
    Bad("a generator that isn't described", gan(), "config.yaml doesn't describe a generator .*JSONDecodeError",
        ("cvae",)),
    Bad("a generator that is a command", gan("""generator: '["os.system", {"command": "touch hacked"}]'"""),
        "doesn't describe a generator .*KeyError: 'os.system'", ("cvae",)),
    Bad("a generator with a setting of nobody", gan("""generator: '["CVAE", {"shape": [3, 16, 16], "wings": 2}]'"""),
        "doesn't describe a generator .*wings", ("cvae",)),
    Bad("a generator with patches of no pixels", gan("""generator: '["CVAE", {"shape": [3, 16, 16], "patch": 0}]'"""),
        "doesn't describe a generator .*ZeroDivisionError", ("cvae",)),
]

ROWS = NOT_YAML + NO_FILE + NAMES + VALUES + DATA + IMAGES + PAIRS
