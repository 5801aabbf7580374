"Part 7 on the command line: what is measured, how samples are steered, refusals, two processes, kills."

import json
import signal

import numpy as np
import pytest
from processes import assert_refused, assert_same_weights, rows, stop, train

SHORT = ["--budget", "smoke", "--steps", "30", "--batch-size", "16"]
SMALL = {
    "realnvp": ["--width", "8", "--blocks", "1", "--couplings", "1"],
    "glow": ["--width", "8", "--rounds", "1", "--n-labels", "10"],
    "spline-flow": ["--width", "8", "--blocks", "1", "--couplings", "1", "--bins", "4"],
    "tarflow": ["--channels", "16", "--blocks", "2", "--layers", "1"],
}
POINTS = ["--budget", "smoke", "--steps", "60", "--hidden", "16", "--layers", "2"]


def settings(model: str) -> list[str]:
    return [model, *POINTS] if model == "pi-flow" else [model, *SHORT, *SMALL[model]]


@pytest.fixture(scope="module")
def work(tmp_path_factory, few_images):
    "A folder with a finished run of each flow."
    folder = tmp_path_factory.mktemp("flow")
    for model in ("pi-flow", *SMALL):
        done = train(folder, few_images, *settings(model), "--out", model)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("model", SMALL)
def test_what_image_flows_measure(work, model):
    values = json.loads((work / model / "metrics.json").read_text())
    assert {"fid", "bits_per_dim", "bits_per_dim_iw", "nll", "inverse_error"} <= values.keys()
    assert values["bits_per_dim_iw"]["value"] < values["bits_per_dim"]["value"] + 1e-4 < 9  # 30 steps
    assert values["bits_per_dim_iw"]["k"] > 1
    assert abs(values["nll"]["value"] / (784 * np.log(2)) - values["bits_per_dim"]["value"]) < 1e-3
    assert values["inverse_error"]["value"] < 1e-4
    assert (work / model / "samples" / "final.png").is_file()


def test_what_the_point_flow_measures(work):
    values = json.loads((work / "pi-flow" / "metrics.json").read_text())
    assert {"swd", "on_glyph", "c2st", "nll", "inverse_error"} <= values.keys() and values["inverse_error"]["value"] < 1e-4


@pytest.mark.parametrize("model", ["pi-flow", *SMALL])
def test_temperature_steers(genlab, tmp_path, model):
    out = []
    for i, knobs in enumerate(([], [], ["--temperature", ".5"])):
        code, said = genlab("sample", model, "-n", 6, *knobs, "--out", tmp_path / f"{i}.npy")
        assert code == 0, said
        out.append(np.load(tmp_path / f"{i}.npy"))
    assert out[0].shape == ((6, 5) if model == "pi-flow" else (6, 1, 28, 28))
    assert np.array_equal(out[0], out[1]) and not np.array_equal(out[0], out[2])


def test_a_flow_with_labels_draws_the_class_that_is_asked_for(genlab, tmp_path):
    out = []
    for i, knobs in enumerate(([], ["--label", "3"], ["--label", "3"], ["--label", "4"])):
        code, said = genlab("sample", "glow", "-n", 4, *knobs, "--out", tmp_path / f"{i}.npy")
        assert code == 0, said
        out.append(np.load(tmp_path / f"{i}.npy"))
    assert np.array_equal(out[1], out[2]) and not np.array_equal(out[1], out[0]) and not np.array_equal(out[1], out[3])


def test_tarflow_takes_a_label_and_guidance(genlab, tmp_path):
    out = []
    for i, knobs in enumerate((["--label", "3"], ["--label", "4"], ["--label", "3", "--guidance", "2"])):
        code, said = genlab("sample", "tarflow", "-n", 4, *knobs, "--out", tmp_path / f"{i}.npy")
        assert code == 0, said
        out.append(np.load(tmp_path / f"{i}.npy"))
    assert not np.array_equal(out[0], out[1]) and not np.array_equal(out[0], out[2])


@pytest.mark.parametrize("args,said", [
    (["sample", "realnvp", "--label", "1"], "without labels"),
    (["sample", "pi-flow", "--label", "1"], "not steered by label"),
    (["sample", "glow", "--guidance", "2"], "not steered by guidance"),
    (["sample", "pi-flow", "--top-p", ".9"], "not steered by top-p"),
    (["sample", "glow", "--temperature", "-1"], "temperature"),
    (["sample", "realnvp", "-n", "0"], "at least one"),
    (["sample", "tarflow", "--label", "10"], "0 to 9"),
    (["train", "realnvp", *SHORT, "--size", "30", "--levels", "3"], "multiple of"),
    (["train", "tarflow", *SHORT, "--patch", "5"], "Choose a patch of"),
])
def test_refusals_are_one_sentence_and_change_nothing(work, genlab, args, said):
    assert_refused(work, genlab, args, said)


@pytest.mark.parametrize("model", ["realnvp", "tarflow"])
def test_two_processes_are_one(work, few_images, model):
    for name, processes, extra in (("shards", 1, ["--accumulate", "2"]), ("two", 2, [])):
        done = train(work, few_images, *settings(model), *extra, "--out", f"{model}_{name}", processes=processes)
        assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(rows(work / f"{model}_two"), rows(work / f"{model}_shards"), rtol=1e-3, equal_nan=True)


@pytest.mark.parametrize("model", ["pi-flow", "realnvp", "tarflow"])
def test_a_run_cut_in_the_middle_is_the_whole_run(work, few_images, model):
    run = work / f"cut_{model}"
    stop(work, few_images, settings(model), run.name, 1, signal.SIGKILL, 24 if model == "pi-flow" else 12)
    done = train(work, few_images, "--resume", run.name)
    assert done.returncode == 0, done.stderr
    assert_same_weights(run, work / model)
