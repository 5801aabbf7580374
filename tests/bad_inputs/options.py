"Bad words of the command line, for every command; and bad texts for a label, which some runs of other data would take."

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import torch
from processes import instead
from test_models import MODELS

from bad_inputs import Bad, gone, placed, then, written
from genlab import cli
from genlab.lab.images import DRAWN, Labels
from genlab.lab.pictures import ImageFacts

ABSENT = "mps" if torch.cuda.is_available() else "cuda"  # a device that isn't there
NO = ()  # runs that are needed
HAIR = Labels(("smiling", "hat", "glasses"), attributes=True)
UNKNOWN = r"Unrecognized\s+options:\s+"
MISPLACED = r"misplaced options:\s[\s│]+--seed \(applied to "


def words(*all: str) -> Callable[[Path], list]:
    return lambda here: [*all]


def train(model: str, *more: str) -> Callable[[Path], list]:
    "A small training with more words."
    return words("train", model, *instead(["--budget", "smoke", *MODELS[model]], *more))


def pi(*more: str) -> Callable[[Path], list]:
    return train("pi-vae", *more)


def sample(run: str, *more: str) -> Callable[[Path], list]:
    "Four samples, steered."
    return words("sample", run, *instead(["-n", "4", "--out", "new.png"], *more))


def after(*changes: Callable[[Path], object], run: Callable[[Path], list]) -> Callable[[Path], list]:
    "Some changes of the folder, then the words."
    return then(*changes, run=run(Path()))


def parsed(text: str) -> Callable[[Path], Callable]:
    "A label of a model with attributes."
    return lambda here: lambda: HAIR.parse(text)


def on_faces(model: str, *more: str) -> Callable[[Path], Callable]:
    "A training on a few drawn faces, which have attributes."

    def begin() -> None:
        with patch.dict(DRAWN, faces=(40, 20, 20)):
            cli.build(cli.run_from_options(model, [*MODELS[model], *more, "--data", "faces", "--budget", "smoke"])[0])

    return lambda here: begin


def beside(*more: str) -> Callable[[Path], list]:
    "A small training of points beside a file, a folder and a link that are somebody's."
    return after(written("file", "mine"), written("empty/.keep", ""), placed("lost", "link to nowhere"), run=pi(*more))


ROWS = [
    # Commands
    Bad("no command", words(), r"Expected\s+one\s+of.*train", NO),
    Bad("a command that there is not", words("sing"), UNKNOWN + "sing", NO),
    Bad("a command in capitals", words("TRAIN", "pi-vae"), UNKNOWN + "TRAIN", NO),
    Bad("an empty word as the command", words(""), r"Unrecognized\s+options", NO),
    Bad("an option in front of the command", words("--seed", "1", "train", "pi-vae"), MISPLACED + "genlab\\)", NO),
    Bad("the option of another command", words("evaluate", "pi-vae", "--seed", "1"), MISPLACED + "genlab evaluate"),
    Bad("an option that there is not", pi("--no-such-option", "1"), UNKNOWN + "--no-such-option", NO),
    Bad("an option that steers a terminal", pi("--\x1b[2J"), r"--\\x1b\[2J is no option", NO),
    Bad("an option in capitals", pi("--SEED", "1"), UNKNOWN + "--SEED", NO),
    Bad("an option with a long dash", pi("\N{EM DASH}seed", "1"), UNKNOWN + "\N{EM DASH}seed", NO),
    Bad("a short option that there is not", pi("-s", "1"), UNKNOWN + "-s", NO),
    Bad("options after two dashes", pi("--", "--seed", "1"), UNKNOWN + "--seed", NO),
    Bad("an option without a value", pi("--seed"), r"Missing\s+value\s+for\s+argument\s+'--seed'", NO),
    Bad("an option in the place of a value", pi("--seed", "--ema", ".5"), r"value\s+for\s+argument\s+'--seed'", NO),
    Bad("a value for a switch", pi("--compile", "yes"), UNKNOWN + "yes", NO),
    Bad("an option twice", pi("--seed", "1", "--seed", "2"), "--seed is given twice, and one of the two", NO),
    Bad("an option twice, once with a sign", pi("--seed", "1", "--seed=1"), "--seed is given twice", NO),
    Bad("an option twice, once with an underscore", pi("--batch-size", "10", "--batch_size", "20"),
        "--batch-size is given twice", NO),
    Bad("a list twice", train("vae", "--widths", "8", "--widths", "16"), "--widths is given twice", NO),
    Bad("a switch and its opposite", pi("--compile", "--no-compile"), "--compile is given twice", NO),
    Bad("two budgets", pi("--budget", "smoke", "--budget", "laptop"), "--budget is given twice", NO),
    Bad("a number of samples under both of its names", words("sample", "pi-vae", "-n", "4", "-n", "5"),
        "-n is given twice"),
    Bad("two runs to go on with", words("train", "--resume", "pi-vae", "--resume", "vae"), "--resume is given twice",
        ("pi-vae", "vae")),
    Bad("half of an option's name", words("train", "--res", "pi-vae"), "no model '--res'", NO),
    Bad("two devices to measure on", words("evaluate", "pi-vae", "--device", "cpu", "--device", "cuda"),
        "--device is given twice"),
    Bad("compiling what is too small for it", pi("--compile"), "nothing of pi-vae is compiled. Leave", NO),
    Bad("compiling what is never called as a whole", words("train", "cvae-gan", "--cvae", "cvae", "--compile"),
        "nothing of cvae-gan is compiled", NO),

    # Numbers
    Bad("a number that is a word", pi("--seed", "seven"), r"--seed:\s+invalid\s+literal.*'seven'", NO),
    Bad("a number that is empty", pi("--seed", ""), r"--seed:\s+invalid\s+literal.*''", NO),
    Bad("a number in curly quotes", pi("--seed", "\N{LEFT DOUBLE QUOTATION MARK}7\N{RIGHT DOUBLE QUOTATION MARK}"),
        r"--seed:\s+invalid\s+literal", NO),
    Bad("a whole number with a point", pi("--seed", "1.5"), r"--seed:\s+invalid\s+literal.*'1\.5'", NO),
    Bad("a whole number of 5,000 digits", pi("--seed", "9" * 5_000), r"--seed:\s+Exceeds\s+the\s+limit", NO),
    Bad("a number of 5,000 digits where there may be none", sample("realnvp", "-n", "9" * 5_000),
        r"Exceeds\s+the\s+limit|very\s+large", ("realnvp",)),
    Bad("a seed below zero", pi("--seed", "-1"), r"seed is -1; expected a whole number, at least 0", NO),
    Bad("a seed beyond 40 bits", sample("pi-vae", "--seed", str(2**40)), r"seed is \d+; expected .*at most 1,099"),
    Bad("a count of none", pi("--accumulate", "0"), r"accumulate is 0; expected .*at least 1", NO),
    Bad("a count beyond all counts", pi("--epochs", "10000000000"), r"epochs is .*at most 1,000,000,000", NO),
    Bad("a rate that is a word", pi("--lr", "fast"), r"--lr:\s+could\s+not\s+convert", NO),
    Bad("a rate with a comma", pi("--lr", "0,001"), r"--lr:\s+could\s+not\s+convert.*'0,001'", NO),
    Bad("a rate that is NaN", pi("--lr", "nan"), r"lr is nan; expected .*finite", NO),
    Bad("a rate that is infinite", pi("--lr", "inf"), r"lr is inf; expected .*finite", NO),
    Bad("a rate below zero", pi("--lr", "-1"), r"lr is -1\.0; expected a number, above 0", NO),
    Bad("a rate of zero", pi("--lr", "0"), r"lr is 0\.0; expected a number, above 0", NO),
    Bad("a rate that float32 takes for zero", pi("--lr", "1e-50"), r"lr is 1e-50; expected .*float32", NO),
    Bad("a rate beyond float32", pi("--lr", "1e300"), r"lr is 1e\+300; expected .*float32", NO),
    Bad("a decay of 1", pi("--ema", "1"), r"ema is 1\.0; expected .*below 1", NO),
    Bad("a decay that is NaN", pi("--ema", "nan"), r"ema is nan; expected .*finite", NO),
    Bad("a probability above 1", train("relgan", "--augment", "1.5"), r"augment is 1\.5; expected .*at most 1", NO),
    Bad("a width of none", train("vae", "--widths", "8", "0"), r"widths is .*entry 1 is .*at least 1", NO),
    Bad("a width beyond all networks", train("vae", "--latent-dim", "70000"), r"latent_dim is 70000.*65,536", NO),
    Bad("no widths", train("vae", "--widths"), r"widths is \(\); expected .*length of at least 1|widths is \[\]", NO),
    Bad("a width that is a word", train("vae", "--widths", "8", "wide"), r"--widths:.*parse", NO),
    Bad("33 widths", train("vae", "--widths", *["8"] * 33), r"widths is .*at most 32", NO),
    Bad("depth beyond all networks", pi("--depth", "257"), r"depth is 257; expected .*at most 256", NO),

    # Choices
    Bad("a budget that there is not", pi("--budget", "huge"), r"budget.*'huge'", NO),
    Bad("a budget without a value", words("train", "pi-vae", "--budget"), r"--budget.*expected one argument", NO),
    Bad("a schedule that there is not", pi("--beta", "sometimes"), r"invalid\s+choice\s+'sometimes'", NO),
    Bad("a data set that there is not", train("vae", "--data", "imagenet"), r"invalid\s+choice\s+'imagenet'", NO),
    Bad("a tracker that there is not", pi("--trackers", "mlflow"), r"invalid\s+choice\s+'mlflow'", NO),
    Bad("a tracker that is a module", pi("--trackers", "os.path"), r"invalid\s+choice\s+'os\.path'", NO),
    Bad("a device that no computer has", pi("--device", "tpu"), r"invalid\s+choice\s+'tpu'", NO),
    Bad("a device that isn't there, to train on", pi("--device", ABSENT), f"the device {ABSENT} is not to be had", NO),
    Bad("a device that isn't there, to draw on", sample("pi-vae", "--device", ABSENT), f"device {ABSENT} is not to be"),
    Bad("a device that isn't there, to measure on", words("evaluate", "pi-vae", "--device", ABSENT),
        f"device {ABSENT} is not to be"),

    # Models
    Bad("no model of that name", words("train", "pi-gan"), r"there is no model 'pi-gan'", NO),
    Bad("an empty word as the model", words("train", ""), r"there is no model ''", NO),
    Bad("a model whose name steers a terminal", words("train", "\x1b[2J"), r"there is no model '\\x1b\[2J'", NO),
    Bad("options in front of the model", words("train", "--seed", "1", "pi-vae"), r"there is no model '--seed'", NO),
    Bad("two models", words("train", "pi-vae", "vae"), UNKNOWN + "vae", NO),
    Bad("an option of another model", pi("--n-codes", "16"), UNKNOWN + "--n-codes", NO),
    Bad("the data of a model without data of its own", train("prior", "--data", "shapes"), UNKNOWN + "--data", NO),

    # Settings that don't go together
    Bad("a batch that can't be shared equally", pi("--accumulate", "3"), r"batch of 100 can't be cut into 3 equal", NO),
    Bad("shards of a network that sees the batch", train("dcgan", "--accumulate", "2"), r"look at a whole batch", NO),
    Bad("a batch of one for BatchNorm", train("dcgan", "--batch-size", "1"), r"BatchNorm needs at least 2", NO),
    Bad("more Gaussians than points", pi("--components", "6000"), r"components is 6000.*only \d+ training points", NO),
    Bad("more Gaussians than images", train("vae", "--components", "601"), r"components is 601.*600 training im", NO),
    Bad("heads that don't divide a token of numbers", train("pi-transformer-vae", "--n-heads", "3"),
        r"hidden is 8 and n_heads 3", NO),
    Bad("heads that don't divide a width", train("vit-cvae", "--n-heads", "3"),
        r"width .* is 8.*multiple of the 3", NO),
    Bad("images that can't be halved", train("vae", "--size", "18"), r"18x18 images can't be made 4 times smaller", NO),
    Bad("a critic that halves too often", train("sngan", "--critic-widths", *["8"] * 5), r"Choose fewer critic", NO),
    Bad("a discriminator that halves too often", train("dcgan", "--widths", *["8"] * 5), r"Choose fewer widths", NO),
    Bad("StyleGAN2's discriminator on other sides", train("vitgan", "--discriminator", "stylegan2", "--critic-widths",
        *["8"] * 6), r"16x16 images can't be halved 5 times", NO),
    Bad("patches that don't divide an image", train("vit-cvae", "--tokens-across", "5"), r"into 5 x 5 equal patch", NO),
    Bad("tokens that don't divide an image", train("vitgan", "--token-pixels", "5"),
        r"token pixels 5 don't divide", NO),
    Bad("patches of a flow that don't divide an image", train("tarflow", "--patch", "3"), r"patches of 3x3", NO),
    Bad("a norm for a transformer of a judge without", train("vitgan", "--discriminator", "cnn", "--normalised"),
        r"normalised holds a transformer's weights", NO),
    Bad("labels for a generator without blocks", train("relgan", "--blocks", "0"), r"hears labels in its blocks", NO),
    Bad("a patch that is no power of 2", train("vqvae", "--form", "residual", "--patch", "3", "--size", "24"),
        r"patch is 3; the residual form", NO),
    Bad("a number of one level", train("vqvae", "--quantizer", "fsq", "--levels", "1"), r"needs at least 2 levels", NO),
    Bad("levels whose product no memory holds", train("vqvae", "--quantizer", "fsq", "--levels", *["1000000"] * 3),
        r"3 levels make 1e\+18 codes", NO),
    Bad("levels whose product 64 bits can't hold", train("vqvae", "--quantizer", "fsq", "--levels", *["2"] * 70),
        r"levels|memory", NO),
    Bad("images too small for SSIM", train("vae", "--size", "8"), r"--size is 8; .*window needs 11", NO),
    Bad("images too large for any memory", train("vae", "--size", "1000000000"), r"need more memory than there is", NO),
    Bad("a flow with more levels than halves", train("glow", "--levels", "9"), r"can't be squeezed 9 times", NO),
    Bad("a spline of one bin", train("spline-flow", "--bins", "1"), r"1 bins of at least 0\.001", NO),
    Bad("a network with fewer units than numbers", train("pi-flow", "--hidden", "1"),
        r"1 hidden units are too few", NO),
    Bad("labels of another number", train("realnvp", "--n-labels", "3"), r"n_labels is 3, and shapes has 10", NO),
    Bad("classes of another number", train("tarflow", "--n-labels", "3"), r"n_labels is 3, but shapes has 10", NO),
    Bad("classes of images with attributes", on_faces("tarflow"), r"labels of faces are attributes", NO),
    Bad("labels of images with fewer attributes", on_faces("realnvp"), r"n_labels is 10, and faces has \d+ labels", NO),

    # Places
    Bad("a run folder that is there", beside("--out", "pi-vae"), r"pi-vae exists, and nothing in it was touched"),
    Bad("a run folder that is an empty folder", beside("--out", "empty"), r"empty exists, and nothing", NO),
    Bad("a run folder that is a file", beside("--out", "file"), r"file exists, and nothing", NO),
    Bad("a run folder that is a link to nowhere", beside("--out", "lost"), r"lost exists, and nothing", NO),
    Bad("a run folder in a file", beside("--out", "file/run"), r"file.*Make room or permission", NO),
    Bad("a run folder without a name", beside("--out", ""), r"\. exists, and nothing", NO),
    Bad("a run folder with a very long name", beside("--out", "x" * 300), r"File name too long", NO),
    Bad("a run folder whose name steers a terminal", after(written("\x1b[2J/a", ""), run=pi("--out", "\x1b[2J")),
        r"\\x1b\[2J exists, and nothing", NO),
    Bad("settings of a run that is not there", pi("--config", "nowhere/config.yaml"),
        r"nowhere is not a run folder", NO),
    Bad("settings that are a folder", pi("--config", "pi-vae"), r"pi-vae is not a run's config\.yaml"),
    Bad("settings of another model", train("vae", "--config", "pi-vae/config.yaml"),
        r"is of the model pi-vae, not vae"),
    Bad("settings without a value", words("train", "pi-vae", "--config"), r"--config.*expected one argument", NO),
    Bad("points in a folder that is not there", pi("--data", "nowhere"), r"nowhere is not a folder", NO),
    Bad("points in a folder without them", beside("--data", "empty"), r"pi_xs\.npy is missing", NO),
    Bad("a root that is not there", train("vae", "--data", "mnist", "--root", "nowhere"),
        r"nowhere, named by root", NO),
    Bad("a root that is a file", then(written("file", ""), run=["train", "vae", "--data", "mnist", "--root", "file"]),
        r"file is a file; expected a folder for data sets", NO),
    Bad("no VQ-VAE for a prior", words("train", "prior", "--budget", "smoke"),
        r"Train one with `genlab train vqvae`", NO),
    Bad("a VQ-VAE that is not there", train("prior"), r"vqvae is not a run folder", NO),
    Bad("a VQ-VAE that has not finished", after(gone("vqvae/model.safetensors"), run=train("prior")),
        r"vqvae/model\.safetensors is missing\. The run has not finished", ("vqvae",)),
    Bad("a VQ-VAE that is a VAE", train("prior", "--vqvae", "vae"),
        r"vae is a run of 'vae', not one of a VQVAE", ("vae",)),
    Bad("no CVAE for a CVAE-GAN", words("train", "cvae-gan", "--budget", "smoke"), r"goes on from a trained CVAE", NO),
    Bad("a CVAE that is a VAE", train("cvae-gan", "--cvae", "vae"), r"run of 'vae'; expected one of cvae, ", ("vae",)),

    # Going on
    Bad("a run that is not there", words("train", "--resume", "nowhere"), r"nowhere is not a run folder", NO),
    Bad("a run that is a file", words("train", "--resume", "pi-vae/config.yaml"), r"config\.yaml is not a run folder"),
    Bad("a run that is an empty folder", then(written("empty/.keep", ""), run=["train", "--resume", "empty"]),
        r"empty is not a run folder", NO),
    Bad("a run without a name", words("train", "--resume="), r"\. is not a run folder", NO),
    Bad("a run whose name steers a terminal", words("train", "--resume", "\x1b[2J"),
        r"\\x1b\[2J is not a run folder", NO),
    Bad("a run with a very long name", words("train", "--resume", "x" * 300),
        r"File name too long|not a run folder", NO),
    Bad("no run to go on with", words("train", "--resume"), r"--resume.*expected one argument", NO),
    Bad("going on with another rate", words("train", "--resume", "pi-vae", "--lr", "1"), r"leave out --lr 1"),
    Bad("going on with a model's name", words("train", "pi-vae", "--resume", "pi-vae"), r"leave out pi-vae"),
    Bad("going on with words that steer a terminal", words("train", "--resume", "pi-vae", "\x1b[2J"),
        r"leave out \\x1b\[2J"),

    # Samples
    Bad("samples of no run", words("sample"), r"Missing\s+from\s+genlab\s+sample", NO),
    Bad("samples of a run that is not there", words("sample", "nowhere"), r"nowhere is not a run folder", NO),
    Bad("samples of a file", words("sample", "pi-vae/config.yaml"), r"config\.yaml is not a run folder"),
    Bad("samples of two runs", words("sample", "pi-vae", "vae"), UNKNOWN + "vae", ("pi-vae", "vae")),
    Bad("no samples", sample("pi-vae", "-n", "0"), r"n is 0; expected .*at least 1"),
    Bad("half a sample", sample("pi-vae", "-n", "1.5"), r"-n/--n:.*\s.*\['1\.5'\]"),
    Bad("more samples than can be counted", sample("pi-vae", "-n", "2000000000"), r"n is 2000000000; .*at most 1,000"),
    Bad("a short option without a value", words("sample", "pi-vae", "-n"), r"Missing\s+value\s+for\s+argument"),
    Bad("samples in a picture of another kind", sample("pi-vae", "--out", "new.jpg"),
        r"--out is new\.jpg; expected .*png"),
    Bad("samples in a file without a kind", sample("pi-vae", "--out", "new"), r"--out is new; expected .*\.png"),
    Bad("samples in a file without a name", sample("pi-vae", "--out", ".png"), r"--out is \.png; expected .*ends in"),
    Bad("samples in a kind in capitals", sample("pi-vae", "--out", "new.PNG"), r"--out is new\.PNG; expected .*\.png"),
    Bad("samples in a file that is there", after(written("taken.png", ""), run=sample("pi-vae", "--out", "taken.png")),
        r"taken\.png exists, and was not touched"),
    Bad("samples in a folder that looks like a picture", after(written("taken.png/a", ""),
        run=sample("pi-vae", "--out", "taken.png")), r"taken\.png exists, and was not touched"),
    Bad("samples in a link to nowhere", after(placed("lost.png", "link to nowhere"),
        run=sample("pi-vae", "--out", "lost.png")), r"lost\.png exists, and was not touched"),
    Bad("samples in a folder that is a file", sample("pi-vae", "--out", "pi-vae/config.yaml/new.png"),
        r"config\.yaml.*Make room or permission"),
    Bad("samples in a file whose name steers a terminal", sample("pi-vae", "--out", "\x1b[2J.jpg"),
        r"--out is \\x1b\[2J\.jpg; expected"),
    Bad("a knob of a model that has none", sample("pi-vae", "--temperature", ".5"), UNKNOWN + "--temperature"),
    Bad("guidance of a flow without it", sample("realnvp", "--guidance", "2"), UNKNOWN + "--guidance", ("realnvp",)),
    Bad("a temperature below zero", sample("realnvp", "--temperature", "-1"), r"temperature is -1\.0; expected .*at le",
        ("realnvp",)),
    Bad("a temperature that is NaN", sample("realnvp", "--temperature", "nan"), r"temperature is nan; .*finite",
        ("realnvp",)),
    Bad("a temperature above the scale", sample("realnvp", "--temperature", "101"), r"temperature is 101.*at most 100",
        ("realnvp",)),
    Bad("no token to choose from", sample("prior", "--top-k", "0"), r"top_k is 0; expected .*at least 1", ("prior",)),
    Bad("tokens of no probability", sample("prior", "--top-p", "0"), r"top_p is 0\.0; expected .*at least 1e-06",
        ("prior",)),
    Bad("guidance below zero", sample("prior", "--guidance", "-1"), r"guidance is -1\.0; expected .*at least 0",
        ("prior",)),
    Bad("truncation to nothing", sample("relgan", "--truncation", "0"), r"truncation is 0\.0; expected .*above 0",
        ("relgan",)),
    Bad("codes that there are not", sample("cvae", "--codes", "posterior"),
        r"invalid\s+choice\s+'posterior'", ("cvae",)),
    Bad("an attribute of images with classes to vary", sample("cvae", "--vary", "smiling"),
        r"vary is 'smiling'; images",
        ("cvae",)),
    Bad("nothing to vary", sample("cvae", "--vary", ""), r"vary is ''; images with one class", ("cvae",)),

    # Labels
    Bad("a label of a model that takes none", sample("vae", "--label", "3"), UNKNOWN + "--label", ("vae",)),
    Bad("a label of a model that was trained without",
        lambda here: lambda: ImageFacts((3, 16, 16)).of(SimpleNamespace()),
        r"trained without labels, so it can't draw a class", NO),
    Bad("a class number too large", sample("cvae", "--label", "10"),
        r"There is no class '10'; .*from 0 to 9", ("cvae",)),
    Bad("a class number below zero", sample("cvae", "--label", "-1"), r"There is no class '-1'", ("cvae",)),
    Bad("a class number with a point", sample("cvae", "--label", "3.0"), r"There is no class '3\.0'", ("cvae",)),
    Bad("a class number in other digits", sample("cvae", "--label", "\N{ARABIC-INDIC DIGIT THREE}"),
        "There is no class '\N{ARABIC-INDIC DIGIT THREE}'", ("cvae",)),
    Bad("a class number of 5,000 digits", sample("cvae", "--label", "1" * 5_000),
        r"There is no class '1{40}'", ("cvae",)),
    Bad("a class number of 5,000 digits in front of the run", words("sample", "--label", "1" * 5_000, "cvae"),
        r"There is no class '1{40}'", ("cvae",)),
    Bad("a class of another name", sample("relgan", "--label", "unicorn"), r"There is no class 'unicorn'; .*disc",
        ("relgan",)),
    Bad("a class without a name", sample("cvae", "--label", ""), r"There is no class ''", ("cvae",)),
    Bad("a class whose name steers a terminal", sample("cvae", "--label", "\x1b[2J"),
        r"no class '\\x1b\[2J'", ("cvae",)),
    Bad("two classes", sample("cvae", "--label", "disc,ring"), r"There is no class 'disc,ring'", ("cvae",)),
    Bad("an attribute of a model with classes", sample("realnvp", "--label", "disc=1"), r"There is no class 'disc=1'",
        ("realnvp",)),
    Bad("a label without a value", words("sample", "cvae", "--label"), r"Missing\s+value\s+for\s+argument\s+'--label'",
        ("cvae",)),
    Bad("a class of a model with attributes", parsed("smiling"), r"'smiling' says nothing about an attribute", NO),
    Bad("no attribute", parsed(""), r"'' says nothing about an attribute", NO),
    Bad("an attribute of another name", parsed("beard=1"),
        r"There is no attribute 'beard'; expected one of smiling", NO),
    Bad("an attribute without a name", parsed("=1"), r"There is no attribute ''", NO),
    Bad("an attribute by its number", parsed("0=1"), r"There is no attribute '0'", NO),
    Bad("an attribute that is 2", parsed("smiling=2"), r"'smiling=2' says nothing", NO),
    Bad("an attribute that is true", parsed("smiling=true"), r"'smiling=true' says nothing", NO),
    Bad("an attribute with two values", parsed("smiling=1=0"), r"'smiling=1=0' says nothing", NO),
    Bad("an attribute twice", parsed("smiling=1,Smiling=0"), r"'Smiling=0' says nothing .*twice", NO),
    Bad("a comma after the last attribute", parsed("smiling=1,"), r"'' says nothing .*expected a text", NO),

    # Measuring, and the list
    Bad("measuring no run", words("evaluate"), r"Missing\s+from\s+genlab\s+evaluate", NO),
    Bad("measuring a run that is not there", words("evaluate", "nowhere"), r"nowhere is not a run folder", NO),
    Bad("measuring two runs", words("evaluate", "pi-vae", "vae"), UNKNOWN + "vae", ("pi-vae", "vae")),
    Bad("a list of something", words("list", "models"), UNKNOWN + "models", NO),
    Bad("a list of no folder", words("list", "--runs"), r"Missing\s+value\s+for\s+argument\s+'--runs'", NO),
    Bad("a list of a file", then(written("file", ""), run=["list", "--runs", "file"]), r"file.*folder", NO),
]
