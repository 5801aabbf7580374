"The conditional VAEs by the same code on emoji by group, on attributes of CelebA and faces, and in two processes."

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from layouts import ATTRIBUTES, write_celeba
from PIL import Image
from processes import assert_refused, rows, train
from safetensors.torch import load_file

from genlab import cli
from genlab.lab import images
from genlab.lab.images import load_images, to_uint8
from genlab.lab.pictures import draw_images
from genlab.lab.training import load_run
from genlab.vae.cvae import ConditionalDecoder, ConditionalEncoder
from genlab.vae.vit_cvae import ViTDecoder, ViTEncoder

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
GROUPS = "smileys people animals food travel activities objects symbols flags".split()
SHORT = ["--budget", "smoke", "--batch-size", "16", "--latent-dim", "4", "--components", "2", "--pictures", "1"]
NETS = dict(cvae=["--widths", "8"], vit=["--width", "8", "--depth", "1", "--n-heads", "2"])
SETTINGS = {
    "cvae": ["cvae", *SHORT, *NETS["cvae"]],
    "vit-cvae": ["vit-cvae", *SHORT, *NETS["vit"]],
    "reads-cnn": ["vit-cvae", *SHORT, *NETS["vit"], *NETS["cvae"], "--encoder", "cnn", "--decoder", "vit"],
    "writes-cnn": ["vit-cvae", *SHORT, *NETS["vit"], *NETS["cvae"], "--encoder", "vit", "--decoder", "cnn"],
}
DATA = dict(
    emoji=["--data", "emoji", "--size", "28", "--steps", "12", "--lr", "0.01"],
    celeba=["--data", "celeba", "--size", "16", "--steps", "12", "--lr", "0.01"],
    faces=["--data", "faces", "--size", "64", "--steps", "3", "--lr", "0.01"],
)
both = pytest.mark.parametrize("model", ["cvae", "vit-cvae"])


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    "A folder for runs, and in it a small CelebA."
    folder = tmp_path_factory.mktemp("cvae")
    write_celeba(folder / "data", 150)
    return folder


@pytest.fixture(autouse=True)
def no_inception(monkeypatch, tmp_path):
    "Neither on this machine nor from the network."
    def unreachable(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


@pytest.fixture
def trained(work, genlab, monkeypatch):
    "Trains a model on a data set, once; gives the name of the run folder."
    monkeypatch.setitem(images.DRAWN, "faces", (120, 40, 60))

    def trained(model: str, data: str) -> str:
        if data == "emoji" and not FONT.is_file():
            pytest.skip("Debian's package fonts-noto-color-emoji is missing")
        name = f"{model}_{data}"
        if not (work / name).exists():
            code, said = genlab("train", *SETTINGS[model], *DATA[data], "--root", work / "data", "--out", name)
            assert code == 0, said
        return name

    return trained


@pytest.fixture
def draw(genlab, tmp_path):
    "Six samples of a run, uint8, always with the same seed."
    def draw(run: str, *knobs) -> np.ndarray:
        out = tmp_path / f"{len(list(tmp_path.iterdir()))}.npy"
        code, said = genlab("sample", run, "-n", 6, "--seed", 5, *knobs, "--out", out)
        assert code == 0, said
        return np.load(out)

    return draw


def open_model(run: Path):
    return load_run(run, cli.find_recipe(cli.open_run(run).model))[1].eval()


def drawn(model, y: torch.Tensor, **knobs) -> np.ndarray:
    "What `draw` must give for a label, without the command line."
    return to_uint8(draw_images(model, 6, 5, y, **knobs)).numpy()


def metrics(run: Path) -> dict:
    return json.loads((run / "metrics.json").read_text())


@both
def test_emoji_by_group(work, trained, draw, genlab, model, tmp_path):
    run = trained(model, "emoji")
    measured, net = metrics(work / run), open_model(work / run)
    assert measured["agreement"]["extractor"].startswith("genlab-emoji") and measured["agreement"]["floor"] > 0.6
    assert 0 <= measured["agreement"]["value"] <= 1 and measured["fid"]["value"] > 0
    data = load_images("emoji", "train", size=28, root=work / "data")
    assert net.frequencies.tolist() == data.y.bincount(minlength=9).tolist()
    columns = np.split(draw(run, "--label", "Food", "--vary", "class", "--codes", "prior"), 9, axis=3)
    assert len({column.tobytes() for column in columns}) == 9, "one column per group, and no two are the same"
    for k, (name, column) in enumerate(zip(GROUPS, columns, strict=True)):
        group = torch.tensor([k])
        assert np.array_equal(draw(run, "--label", name), drawn(net, group)), name
        assert np.array_equal(column, drawn(net, group, codes="prior")), "the same codes under each group"
    food = np.split(draw(run, "--label", "Food", "--vary", "class"), 9, axis=3)[GROUPS.index("food")]
    assert np.array_equal(food, draw(run, "--label", "3")), "the codes of food; under food they are food's samples"
    assert genlab("sample", run, "-n", 4, "--vary", "class", "--out", tmp_path / "strips.png")[0] == 0
    assert Image.open(tmp_path / "strips.png").size == (2 * 9 * 28, 2 * (4 * 29 - 1)), "one strip under another"


@both
def test_celeba_by_its_attributes(work, trained, draw, genlab, model):
    run = trained(model, "celeba")
    net = open_model(work / run)
    table = (work / "data" / "celeba" / "list_attr_celeba.txt").read_text().splitlines()[2:]
    train_rows = [tuple(value == "1" for value in row.split()[1:]) for row in table[:90]]  # 3 in 5, as write_celeba has
    assert {tuple(row) for row in net.frequencies.bool().tolist()} == set(train_rows)
    asked = torch.tensor([[name == "Smiling" for name in ATTRIBUTES]])
    switched = torch.tensor([[name in ("Smiling", "Male") for name in ATTRIBUTES]])
    label = ["--label", "Smiling=1,Eyeglasses=0"]
    assert np.array_equal(draw(run, *label), drawn(net, asked))
    for codes in ("given", "prior"):
        left, right = np.split(draw(run, *label, "--vary", "Male", "--codes", codes), 2, axis=3)
        assert np.array_equal(left, drawn(net, asked, codes=codes)) and not np.array_equal(left, right)
    assert np.array_equal(right, drawn(net, switched, codes="prior")), "the same codes under both values"
    before = metrics(work / run)
    code, said = genlab("evaluate", run)
    assert code == 0, said
    assert said.startswith("Samples are not judged: No classifier ships for celeba") and "Traceback" not in said
    names = {"mse", "ssim", "elbo", "bits_per_dim", "rate"}
    shown = {line.split()[0] for line in said.splitlines() if line.endswith(" 30")}  # the test images
    assert shown == names and all(np.isfinite(before[name]["value"]) for name in names)
    after = metrics(work / run)
    assert {name: after[name] for name in names} == {name: before[name] for name in names}


@pytest.mark.parametrize("model,encoder,decoder", [("reads-cnn", ConditionalEncoder, ViTDecoder),
                                                   ("writes-cnn", ViTEncoder, ConditionalDecoder)])
def test_faces_of_64_pixels_through_two_kinds_of_networks(work, trained, draw, model, encoder, decoder):
    run = trained(model, "faces")
    net = open_model(work / run)
    assert type(net.encoder) is encoder and type(net.decoder) is decoder and net.attributes
    measured = metrics(work / run)
    names = load_images("faces", n=1, size=64).names
    assert len(measured["per_attribute"]["value"]) == len(names) and measured["balanced"]["floor"] > 0.8
    assert {"fid", "mse", "bits_per_dim", "all_right"} <= measured.keys() and measured["mse"]["n"] == 60
    asked = torch.tensor([[name == "Smiling" for name in names]])
    switched = torch.tensor([[name in ("Smiling", "Hat") for name in names]])
    assert np.array_equal(draw(run, "--label", "Smiling=1"), drawn(net, asked))
    left, right = np.split(draw(run, "--label", "smiling=1", "--vary", "hat", "--codes", "prior"), 2, axis=3)
    assert left.shape == (6, 3, 64, 64) and np.array_equal(left, drawn(net, asked, codes="prior"))
    assert np.array_equal(right, drawn(net, switched, codes="prior")) and not np.array_equal(left, right)


@pytest.mark.parametrize("data,args,said", [
    ("emoji", ["--label", "unicorn"], "no class 'unicorn'; expected one of smileys, people, animals, food, travel"),
    ("emoji", ["--label", "99"], "no class '99'; expected one of smileys"),
    ("emoji", ["--label", "Smiling=1"], "no class 'Smiling=1'"),
    ("emoji", ["--vary", "Smiling"], "--vary class"),
    ("emoji", ["--vary", "food"], "--vary class"),
    ("celeba", ["--label", "Grinning=1"], "no attribute 'Grinning'; expected one of 5_o_Clock_Shadow, Arched_Eyebrows"),
    ("celeba", ["--label", "99"], "such as 5_o_Clock_Shadow=1,Young=0"),
    ("celeba", ["--label", "Smiling=2"], "'Smiling=2' says nothing about an attribute"),
    ("celeba", ["--vary", "class"], "no attribute 'class'; expected one of 5_o_Clock_Shadow"),
    ("celeba", ["--vary", "Grinning"], "no attribute 'Grinning'"),
])
@both
def test_what_can_not_be_drawn_is_refused_and_changes_nothing(work, trained, genlab, model, data, args, said):
    run = trained(model, data)
    assert_refused(work, genlab, ["sample", run, *args, "--out", "new/never.png"], said)


@both
def test_codes_of_no_kind_are_refused(work, trained, genlab, model, capsys):
    run = trained(model, "celeba")
    before = set(work.rglob("*"))
    with pytest.raises(SystemExit) as e:  # tyro's own, for a choice that isn't there
        genlab("sample", run, "--codes", "nonsense", "--out", "new/never.png")
    said = capsys.readouterr().err
    assert e.value.code == 2 and "'nonsense'" in said and "'given', 'marginal', 'prior'" in " ".join(said.split())
    assert set(work.rglob("*")) == before


@pytest.mark.parametrize("args,said", [
    (["vit-cvae", "--tokens-across", "5"], "28x28 images can't be cut into 5 x 5"),
    (["vit-cvae", "--width", "130", "--n-heads", "4"], "the transformer is 130; it must be a multiple of the 4 heads"),
    (["vit-cvae", "--encoder", "cnn", "--widths", "8", "8"], "28x28 images can't be made 8 times smaller"),
    (["cvae", "--widths", "8", "8", "8"], "28x28 images can't be made 8 times smaller"),
])
def test_networks_that_do_not_fit_are_refused_and_leave_no_folder(work, genlab, args, said):
    assert_refused(work, genlab, ["train", *args, *SHORT, "--out", "never"], said)


@both
def test_two_processes_are_one(work, genlab, few_images, one_thread, model):
    args = [*SETTINGS[model], "--steps", "20", "--out"]
    code, said = genlab("train", *args, f"{model}_shards", "--accumulate", "2")
    assert code == 0, said
    done = train(work, few_images, *args, f"{model}_two", processes=2)
    assert done.returncode == 0, done.stderr
    two, shards = work / f"{model}_two", work / f"{model}_shards"
    np.testing.assert_allclose(rows(two), rows(shards), rtol=1e-5, equal_nan=True)
    ours, theirs = load_file(two / "model.safetensors"), load_file(shards / "model.safetensors")
    assert ours.keys() == theirs.keys() and metrics(two)["processes"] == 2
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=0, atol=1e-6, err_msg=name)
