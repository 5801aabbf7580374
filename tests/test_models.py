"""One law for every model of the command line: it trains, saves, loads elsewhere, samples with each of its knobs,
refuses what can't be, measures twice the same, and goes on after a kill.

On shapes that genlab draws; then one model on small folders in the layouts of MNIST, CIFAR-10 and CelebA.
"""

import dataclasses
import inspect
import json
import shutil
import signal
import subprocess
import sys
import time
import typing
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
import yaml
from layouts import write_celeba, write_cifar, write_cifar_pickles, write_gz, write_mnist
from processes import OFTEN, assert_same_weights, environment
from safetensors.torch import load_file, save_file

from genlab import UserError, cli
from genlab.gan import dcgan
from genlab.lab import images
from genlab.lab.training import Model, fit, load_run
from genlab.workshop import datasets
from genlab.workshop.runs import peak_memory_mb, validated

# The smallest of each model that still has all its parts. A key is a model's name on the command line; what
# follows a "_" in it says which variant of that model.
POINTS = ["--epochs", "2", "--components", "8"]
IMAGES = ["--data", "shapes", "--size", "16", "--steps", "20", "--batch-size", "16"]
VITGAN = [*IMAGES, "--latent-dim", "4", "--width", "8", "--depth", "1", "--n-heads", "2", "--critic-widths", "8", "16"]
CODES = ["--vqvae", "vqvae", "--steps", "20", "--batch-size", "16", "--d-model", "16", "--depth", "1", "--n-heads", "2"]
MODELS = {
    "pi-vae": [*POINTS, "--hidden", "16"],
    "pi-transformer-vae": [*POINTS, "--hidden", "8"],
    "pi-colour-vae": [*POINTS, "--hidden", "16"],
    "pi-flow": ["--steps", "40", "--hidden", "16"],
    "ae": [*IMAGES, "--latent-dim", "4", "--widths", "8", "16", "--components", "2"],
    "vae": [*IMAGES, "--latent-dim", "4", "--widths", "8", "16", "--components", "2"],
    "cvae": [*IMAGES, "--latent-dim", "4", "--widths", "8", "16", "--components", "2"],
    "editing-cvae": [*IMAGES, "--latent-dim", "4", "--widths", "8", "16", "--components", "2"],
    "vit-cvae": [*IMAGES, "--latent-dim", "4", "--width", "8", "--depth", "1", "--n-heads", "2", "--components", "2"],
    "vqvae": [*IMAGES, "--n-codes", "16", "--dim", "4", "--widths", "8", "16"],
    "prior": CODES,
    "masked-prior": CODES,
    "cvae-gan": ["--cvae", "cvae", "--steps", "20", "--batch-size", "16", "--critic-widths", "8", "16"],
    "dcgan": [*IMAGES, "--latent-dim", "4", "--widths", "8", "16", "--conditional"],
    "sngan": [*IMAGES, "--latent-dim", "4", "--widths", "8", "16", "--critic-widths", "8", "16"],
    "relgan": [*IMAGES, "--latent-dim", "4", "--widths", "8", "16", "--critic-widths", "8", "16", "--augment", ".5",
               "--conditional"],
    "vitgan": VITGAN,
    "vitgan_cips": [*VITGAN, "--head", "cips", "--normalised", "--augment", ".5", "--consistency", "1",
                    "--conditional"],
    "vitgan_vit_cnn": [*VITGAN, "--discriminator", "cnn", "--head", "siren", "--conditional"],
    "vitgan_vit_stylegan2": [*VITGAN, "--discriminator", "stylegan2", "--head", "linear", "--loss", "non-saturating"],
    "vitgan_cnn_vit": [*VITGAN, "--generator", "cnn", "--conditional"],
    "vitgan_cnn_cnn": [*VITGAN, "--generator", "cnn", "--discriminator", "cnn", "--consistency", "1"],
    "vitgan_cnn_stylegan2": [*VITGAN, "--generator", "cnn", "--discriminator", "stylegan2", "--conditional"],
    "realnvp": [*IMAGES, "--couplings", "1", "--width", "8", "--blocks", "1", "--n-labels", "10"],
    "glow": [*IMAGES, "--rounds", "1", "--width", "8"],
    "spline-flow": [*IMAGES, "--couplings", "1", "--width", "8", "--blocks", "1"],
    "tarflow": [*IMAGES, "--channels", "16", "--layers", "1", "--blocks", "2", "--heads", "2", "--n-labels", "10"],
}
KNOBS = dict(label="triangle", temperature="0.5", guidance="3", top_k="2", top_p="0.3", codes="prior", vary="class",
             truncation="0.5")
LABELLED = {"cvae", "editing-cvae", "vit-cvae", "cvae-gan", "prior", "masked-prior", "realnvp", "tarflow"} | {
    model for model, settings in MODELS.items() if "--conditional" in settings}
every_model = pytest.mark.parametrize("model", MODELS)
every_name = pytest.mark.parametrize("model", cli.MODELS)  # for what no variant changes


def command_name(model: str) -> str:
    "The model of the command line that a key of MODELS is a variant of."
    return model.partition("_")[0]


def test_every_model_is_under_this_law():
    assert {command_name(model) for model in MODELS} == cli.MODELS.keys() and MODELS.keys() >= cli.MODELS.keys()


def test_all_pairs_of_networks_and_all_heads_of_vitgan_are_under_it():
    "Each network with and without labels, as well."
    kinds = typing.get_type_hints(cli.find_recipe("vitgan").Config)
    there = [cli.run_from_options("vitgan", MODELS[m])[0].config for m in MODELS if command_name(m) == "vitgan"]
    for names in (("generator", "discriminator"), ("head",), ("generator", "conditional"),
                  ("discriminator", "conditional")):
        offered = product(*(typing.get_args(kinds[name]) or (False, True) for name in names))
        assert set(offered) == {tuple(getattr(config, name) for name in names) for config in there}, names


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def call(work, monkeypatch, capsys):
    "Calls the command line in this process, on few shapes; returns exit code and what was said."
    monkeypatch.chdir(work)
    monkeypatch.setitem(images.DRAWN, "shapes", (600, 100, 100))
    monkeypatch.setattr(dcgan, "N_LOOK", 200)

    def call(*args) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["genlab", *map(str, args)])
        try:
            code = cli.main()
        except SystemExit as e:  # tyro's own, for a word that is no option
            code = e.code
        said = capsys.readouterr()
        return code, said.out + said.err

    return call


@pytest.fixture
def run(work, call, model) -> Path:
    "A finished run of a model, trained once."
    for first in ("vqvae", "cvae"):  # a run that another one begins with
        if first in MODELS[model] and not (work / first).exists():
            assert call("train", first, *MODELS[first], "--budget", "smoke", "--out", first)[0] == 0
    if not (work / model).exists():
        code, said = call("train", command_name(model), "--budget", "smoke", *MODELS[model], "--out", model)
        assert code == 0, said
    return work / model


@every_model
def test_a_run_is_whole_and_what_is_logged_adds_up(run, model):
    written = {p.name for p in run.iterdir()}
    assert {"config.yaml", "log.csv", "samples", "state", "model.safetensors", "metrics.json", "loss.png"} <= written
    assert (run / "samples" / "final.png").is_file() and (run / "samples" / "training.gif").is_file()
    metrics = json.loads((run / "metrics.json").read_text())
    measured = [row for row in metrics.values() if isinstance(row, dict) and "value" in row]
    assert len(measured) >= 6 and all(row["n"] > 0 for row in measured)
    assert metrics["seconds"] > 0 and metrics["peak_memory_mb"] > 50 and metrics["versions"]["torch"]
    run_settings, net = load_run(run, cli.find_recipe(command_name(model)))
    recipe = run_settings.recipe(run_settings.config, run_settings.source.load())
    batch = recipe.data[torch.arange(8)]
    batch = batch if isinstance(batch, tuple) else (batch,)
    updated = {}

    def update(name, loss):
        updated[name] = loss(*batch)
        recipe.accept(name, norm=1.0)
        return updated[name]

    update.step = 0
    recipe.step(update, 0.5)
    assert updated.keys() == recipe.networks.keys(), "each network learns"
    for parts in updated.values():
        assert list(parts)[0] == "loss" and parts["loss"].shape == () and parts["loss"].isfinite()
    if hasattr(net, "loss"):  # a generator has none of its own
        torch.manual_seed(0)
        parts = net.loss(*batch)
        assert list(parts)[0] == "loss" and parts["loss"].shape == ()
        if len(parts) > 1:
            torch.testing.assert_close(sum(parts.values()) - parts["loss"], parts["loss"], rtol=1e-4, atol=1e-3)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model.safetensors")


@every_model
def test_a_stored_model_comes_back(run, model, tmp_path):
    recipe = cli.find_recipe(command_name(model))
    _, net = load_run(run, recipe)
    assert net.state_dict().keys() == weights(run).keys()
    assert all(torch.equal(value, weights(run)[name]) for name, value in net.state_dict().items())
    if not isinstance(net, Model) or model == "pi-flow":
        return  # part 1 is plain PyTorch, and a flow of points is made of modules, not of plain settings
    net.save_pretrained(tmp_path / "stored")
    again = type(net).from_pretrained(tmp_path / "stored")
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in again.state_dict().items())
    config = tmp_path / "stored" / "config.json"
    right = json.loads(config.read_text())
    config.write_text(json.dumps(right | dict(wings=2)))
    with pytest.raises(UserError, match="wings"):
        type(net).from_pretrained(tmp_path / "stored")
    taken = peak_memory_mb()
    for name, value in (*((k, [60_000] * len(v)) for k, v in right.items() if k.endswith("shape")),
                        *((k, 60_000) for k in ("width", "latent_dim", "dim", "channels") if k in right),
                        *((k, [60_000, 60_000]) for k in ("widths",) if k in right and model != "vit-cvae")):
        config.write_text(json.dumps(right | {name: value}))
        with pytest.raises(UserError, match="does not hold"):  # that would be terabytes of weights
            type(net).from_pretrained(tmp_path / "stored")
    assert peak_memory_mb() - taken < 200, "MB, for settings that don't fit the weights"
    config.write_text(json.dumps(right))
    tensors = load_file(tmp_path / "stored" / "model.safetensors")
    name = next(name for name, value in tensors.items() if value.is_floating_point() and value.numel() > 1)
    fewer = {k: v for k, v in tensors.items() if k != name}
    nan = tensors | {name: tensors[name] * float("nan")}
    for wrong, said in ((fewer, name), (tensors | dict(wings=torch.ones(2)), "wings"), (nan, "not finite")):
        save_file(wrong, tmp_path / "stored" / "model.safetensors")
        with pytest.raises(UserError, match=said):
            type(net).from_pretrained(tmp_path / "stored")


def draw(call, folder: Path, model: str, *knobs) -> np.ndarray:
    out = folder / f"{len(list(folder.iterdir()))}.npy"
    code, said = call("sample", model, "-n", 6, "--seed", 5, *knobs, "--out", out)
    assert code == 0, said
    return np.load(out)


@every_model
def test_samples_are_steered_by_each_knob(run, model, call, tmp_path):
    plain = draw(call, tmp_path, model)
    assert np.array_equal(plain, draw(call, tmp_path, model)) and len(plain) == 6
    knobs = [f.name for f in dataclasses.fields(cli.find_recipe(command_name(model)).Knobs)]
    for name in knobs:
        extra = ["--label", "disc"] if name == "guidance" else []
        if name == "label" and model not in LABELLED:
            assert "without labels" in call("sample", model, "--label", "3", "--out", tmp_path / "never.npy")[1]
            continue
        steered = draw(call, tmp_path, model, f"--{name.replace('_', '-')}", KNOBS[name], *extra)
        assert not np.array_equal(steered, draw(call, tmp_path, model, *extra)), f"{name} changes nothing"
    others = KNOBS.keys() - set(knobs)
    for name in others:
        option = f"--{name.replace('_', '-')}"
        assert call("sample", model, option, KNOBS[name], "--out", tmp_path / "never.npy")[0] == 2
    shown = call("sample", model, "--help")[1]
    assert all((f"--{name.replace('_', '-')}" in shown) == (name in knobs) for name in KNOBS)
    assert not (tmp_path / "never.npy").exists()


@every_name
def test_what_is_compiled_is_what_trains(run, model, call, work, monkeypatch):
    "Or --compile is refused: what compiles nothing would promise speed that never comes."
    recipe = cli.find_recipe(model)
    if recipe.compiled == ():
        code, said = call("train", model, "--compile")
        assert code == 2 and f"nothing of {model} is compiled" in said
        return
    called = []

    def compile(network):
        network._compiled_call_impl = lambda *args, **kwargs: called.append(1) or network._call_impl(*args, **kwargs)

    monkeypatch.setattr(torch.nn.Module, "compile", compile)
    recipe = cli.build(cli.open_run(work / model))
    fit(recipe, recipe.data, steps=1, batch_size=16, device="cpu", compile=True, pictures=1)
    assert called


@every_name
def test_a_default_is_written_once(model):
    "Where a model's setting, a config's field and a knob have the same name, they have the same default."
    recipe = cli.find_recipe(model)
    config = {f.name: f.default for f in dataclasses.fields(recipe.Config)}
    for name, p in inspect.signature(recipe.Model).parameters.items():
        if name in config and p.default is not p.empty and hasattr(recipe, "Model") and issubclass(recipe.Model, Model):
            assert p.default == config[name], name
    sample = inspect.signature(recipe.Model.sample).parameters
    for f in dataclasses.fields(recipe.Knobs):
        if f.name in sample:
            assert sample[f.name].default == f.default, f.name


def test_a_fresh_process_draws_the_same(work, call, tmp_path):
    "All models, in one new process."
    for model in MODELS:
        if not (work / model).exists():
            assert call("train", command_name(model), "--budget", "smoke", *MODELS[model], "--out", model)[0] == 0
    code = ("import sys; from genlab import cli; out, *models = sys.argv[1:]\n"
            "for m in models:\n"
            "    sys.argv = ['genlab', 'sample', m, '-n', '6', '--seed', '5', '--out', f'{out}/{m}.npy']\n"
            "    assert cli.main() == 0, m\n")
    (tmp_path / "there").mkdir()
    command = [sys.executable, "-c", code, tmp_path / "there", *MODELS]
    subprocess.run(command, cwd=work, env=environment(work), check=True)
    (tmp_path / "here").mkdir()
    for model in MODELS:
        here = draw(call, tmp_path / "here", model).astype(np.float32)
        there = np.load(tmp_path / "there" / f"{model}.npy").astype(np.float32)
        np.testing.assert_allclose(there, here, atol=1e-5, err_msg=model)


@every_model
def test_measuring_again_gives_the_same_digits(run, model, call):
    before = json.loads((run / "metrics.json").read_text())
    code, said = call("evaluate", model)
    numbers = {name for name, row in before.items() if isinstance(row, dict) and isinstance(row.get("value"), float)}
    assert code == 0 and len(numbers) > 3 and all(name in said for name in numbers)
    after = json.loads((run / "metrics.json").read_text())
    del before["evaluation_seconds"], after["evaluation_seconds"]
    assert before == after


BAD = (True, "abc", [[1]], {}, float("nan"), float("inf"), -1, 10**30, None)


@every_name
def test_wrong_settings_are_refused_in_a_sentence(run, model, call, work):
    "Each setting of config.yaml in turn: what can't be is refused by its type before anything else is done."
    right = yaml.safe_load((run / "config.yaml").read_text())
    (work / "wrong").mkdir(exist_ok=True)
    fields = dataclasses.fields(cli.find_recipe(model).Config)
    defaults = {f.name: f.default for f in fields}
    refused = 0
    for name in defaults:
        for value in BAD:
            if value is None and defaults[name] is None or isinstance(value, bool) and isinstance(defaults[name], bool):
                continue
            if name == "max_sigma_px" and value is None or isinstance(defaults[name], float) and value == 10**30:
                continue
            settings = right | dict(config=right["config"] | {name: value})
            (work / "wrong" / "config.yaml").write_text(yaml.safe_dump(settings))
            code, said = call("train", "--resume", "wrong")
            assert code == 2 and name in said and len(said.strip().splitlines()) == 1, (name, value, said)
            refused += 1
        if type(defaults[name]) is int and name not in ("steps", "epochs", "batch_size", "penalty_every", "n_labels"):
            with pytest.raises(UserError, match=name):  # no network is that large
                validated(cli.find_recipe(model).Config, {name: 10**9}, "the settings")
    assert refused > 20
    for key, value in (("seed", "abc"), ("trackers", ["os.path"]), ("budget", 3), ("config", None), ("config", []),
                       ("model", [model]), ("model", "pi-gan"), ("wings", 2), ("pictures", 0), ("ema", 1),
                       ("device", "tpu"), ("data", 5)):
        (work / "wrong" / "config.yaml").write_text(yaml.safe_dump(right | {key: value}))
        code, said = call("train", "--resume", "wrong")
        assert code == 2 and len(said.strip().splitlines()) == 1 and "Traceback" not in said, (key, value, said)
        code, said = call("list", "--runs", ".")
        assert code == 0 and model in said, "one bad folder doesn't hide the others"
    shutil.rmtree(work / "wrong")


def test_a_model_that_could_not_hear_what_it_is_told_is_refused():
    "Labels are told to the blocks, tokens to each other by attention."
    for model, setting in (("cvae", "blocks"), ("prior", "depth"), ("masked-prior", "depth"), ("vit-cvae", "depth")):
        with pytest.raises(UserError, match=f"{setting} .*at least 1"):
            validated(cli.find_recipe(model).Config, {setting: 0}, "the settings")


@every_model
def test_a_killed_run_goes_on_to_the_same_end(run, model, call, work):
    settings = [*MODELS[model], "--budget", "smoke"]
    length, value = ("--epochs", "6") if "--epochs" in settings else ("--steps", "60")
    settings[settings.index(length) + 1] = value
    settings = [command_name(model), *settings]
    code, said = call("train", *settings, "--out", f"{model}_whole")
    assert code == 0, said
    middle = sorted((work / f"{model}_whole" / "samples").glob("step_*.png"))[8]
    command = [sys.executable, "-c", OFTEN, "train", *settings, "--out", f"{model}_cut"]
    process = subprocess.Popen(command, cwd=work, env=environment(work), stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    assert wait_for(work / f"{model}_cut" / "samples" / middle.name, process)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert not (work / f"{model}_cut" / "metrics.json").exists(), "it finished too early"
    assert any((work / f"{model}_cut" / "state").glob("*.pt")), "it would begin anew"
    assert call("train", "--resume", f"{model}_cut")[0] == 0
    assert_same_weights(work / f"{model}_cut", work / f"{model}_whole")
    for name in (f"{model}_cut", f"{model}_whole"):
        shutil.rmtree(work / name)


def wait_for(path: Path, process) -> bool:
    deadline = time.time() + 120
    while not path.exists() and process.poll() is None and time.time() < deadline:
        time.sleep(0.005)
    return path.exists()


LAYOUTS = {
    "mnist": ("mnist", lambda root: write_mnist(root, 300, 200)),
    "mnist, four .gz files": ("mnist", lambda root: write_gz(root, "MNIST", n=300, n_test=200)),
    "fashion_mnist, four .gz files": ("fashion_mnist", lambda root: write_gz(root, "Fashion_MNIST", n=300, n_test=200)),
    "cifar10": ("cifar10", lambda root: write_cifar(root, 100)),
    "cifar10, pickles": ("cifar10", lambda root: write_cifar_pickles(root, 100)),
    "celeba": ("celeba", lambda root: write_celeba(root, 150)),
    "celeba of Kaggle": ("celeba", lambda root: write_celeba(root, 150, kaggle=True)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_folders_as_the_data_sets_are_handed_out(layout, call, tmp_path, monkeypatch):
    "data/ holds a small copy in a public layout: the same commands train, sample with a label, evaluate and resume."
    name, write = LAYOUTS[layout]
    write(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path / "data"))
    monkeypatch.setitem(datasets.DEBIAN, "fashion_mnist", tmp_path / "no package")
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *args, **kwargs: True)
    before = {path: path.read_bytes() for path in sorted((tmp_path / "data").rglob("*")) if path.is_file()}
    size = [] if name in ("mnist", "fashion_mnist") else ["--size", "16"]
    shape, labels, label = {
        "cifar10": ((3, 16, 16), 10, "frog"),
        "celeba": ((3, 16, 16), 40, "Smiling=1,Male=0"),
    }.get(name, ((1, 28, 28), 10, "7"))
    settings = ["--data", name, *size, "--steps", "10", "--batch-size", "16", "--n-labels", labels]
    network = MODELS["realnvp"][len(IMAGES):-2]
    code, said = call("train", "realnvp", *network, *settings, "--budget", "smoke", "--out", "run")
    assert code == 0 and "Traceback" not in said, said
    assert call("sample", "run", "-n", "4", "--label", label, "--out", "four.npy")[0] == 0
    assert np.load("four.npy").shape == (4, *shape)
    code, said = call("sample", "run", "--label", "unicorn")
    assert code == 2 and "unicorn" in said
    first = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert call("evaluate", "run")[0] == 0
    again = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert first["bits_per_dim"] == again["bits_per_dim"] and first["bits_per_dim"]["n"] > 10
    (tmp_path / "run" / "model.safetensors").unlink()
    assert call("train", "--resume", "run")[0] == 0 and (tmp_path / "run" / "model.safetensors").is_file()
    assert all(path.read_bytes() == content for path, content in before.items()), "a user's files are left alone"


TOY = '''
"A model that isn't in genlab: what a new one needs is this file and a line in the command line's table."
from dataclasses import dataclass

import torch
from torch import nn

from genlab import Positive
from genlab.lab.pictures import LabelKnobs, MeasuredRecipe
from genlab.lab.training import Model, TrainingConfig, with_settings_of


class Toy(Model):
    def __init__(
        self,
        shape: tuple[int, int, int],
        n_labels: Positive = 10,  # classes
        hue: float = 0.5,         # a number that shows
    ):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(n_labels, *shape))
        self.n_labels = n_labels
        self.hue = hue

    def loss(self, x, y=None):
        return dict(loss=0.5 * (x - self.mean[y]).square().flatten(1).sum(dim=1).mean())

    @torch.no_grad()
    def sample(self, n, y=None, *, generator=None):
        y = torch.arange(n) % self.n_labels if y is None else y
        return self.mean[y] + 0.1 * torch.randn(n, *self.mean.shape[1:], generator=generator)


@with_settings_of(Toy)
@dataclass
class ToyConfig(TrainingConfig):
    "A mean image per class."

    lr: float = 0.1


class ToyRecipe(MeasuredRecipe):
    Model = Toy
    Config = ToyConfig
    Knobs = LabelKnobs
    budgets = dict(smoke=dict(steps=20), laptop=dict(), gpu=dict())
'''


def test_a_new_model_is_a_recipe_and_a_line(call, work, tmp_path, monkeypatch):
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(cli.MODELS, "toy", "toy:ToyRecipe")
    assert "--hue" in call("train", "toy", "--help")[1]
    settings = ["--budget", "smoke", "--data", "shapes", "--size", "16", "--hue", ".25"]
    code, said = call("train", "toy", *settings, "--out", "toy")
    assert code == 0 and "fid" in said, said
    assert yaml.safe_load((work / "toy" / "config.yaml").read_text())["config"]["hue"] == 0.25
    a, b = (draw(call, tmp_path, "toy", "--label", label) for label in ("ring", "5"))
    within, between = np.abs(a - a[:1].astype(float)).mean(), np.abs(a - b.astype(float)).mean()
    assert a.shape == (6, 3, 16, 16) and within < 20 < between
    assert call("evaluate", "toy")[0] == 0
    (work / "toy" / "metrics.json").unlink()
    assert call("train", "--resume", "toy")[0] == 0
    assert "A mean image per class" in call("list", "--runs", ".")[1]
    assert "--label" in call("sample", "toy", "--help")[1] and "--guidance" not in call("sample", "toy", "--help")[1]
