"Part 7 on the command line: what is measured, refusals, two processes."

import json

import numpy as np
import pytest
from processes import assert_refused, rows, train

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
    assert ({"swd", "on_glyph", "c2st", "nll", "inverse_error"} <= values.keys()
            and values["inverse_error"]["value"] < 1e-4)


@pytest.mark.parametrize("args,said", [
    (["sample", "realnvp", "--label", "1"], "without labels"),
    (["sample", "glow", "--temperature", "-1"], "temperature"),
    (["sample", "realnvp", "-n", "0"], "at least 1"),
    (["sample", "tarflow", "--label", "10"], "0 to 9"),
    (["train", "realnvp", *SHORT, "--size", "30", "--levels", "3"], "multiple of"),
    (["train", "tarflow", *SHORT, "--patch", "5"], "Choose a patch of"),
    (["train", "glow", *SHORT, "--growth", "0"], "growth is 0; expected"),
    (["train", "glow", *SHORT, "--growth", "200", "--rounds", "2"], "Choose a smaller growth"),
    (["train", "glow", *SHORT, "--noise", "-1"], "noise is -1.0; expected"),
    (["train", "glow", *SHORT, "--noise", "nan"], "noise is nan; expected"),
])
def test_refusals_are_one_sentence_and_change_nothing(work, genlab, args, said):
    assert_refused(work, genlab, args, said)


@pytest.mark.parametrize("model", ["realnvp", "tarflow"])
def test_two_processes_are_one(work, few_images, model):
    for name, processes, extra in (("shards", 1, ["--accumulate", "2"]), ("two", 2, [])):
        done = train(work, few_images, *settings(model), *extra, "--out", f"{model}_{name}", processes=processes)
        assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(rows(work / f"{model}_two"), rows(work / f"{model}_shards"), rtol=1e-3, equal_nan=True)
