"The two runs of part 4 on the command line: tokens, then their writer; refused pairs, two processes."

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from processes import assert_refused, rows, train

WORDS = ["--budget", "smoke", "--steps", "40", "--batch-size", "32",
         "--n-codes", "32", "--dim", "8", "--widths", "8", "16"]
WRITER = ["--budget", "smoke", "--steps", "40", "--batch-size", "32", "--d-model", "16", "--depth", "1"]


@pytest.fixture(scope="module")
def work(tmp_path_factory, few_images):
    "A folder with a finished VQ-VAE and a finished prior."
    folder = tmp_path_factory.mktemp("vq")
    for args in (["vqvae", *WORDS, "--out", "words"], ["prior", "--vqvae", "words", *WRITER, "--out", "writer"]):
        done = train(folder, few_images, *args)
        assert done.returncode == 0, done.stderr
    return folder


def test_both_runs_say_what_they_reached(work):
    words, writer = (json.loads((work / run / "metrics.json").read_text()) for run in ("words", "writer"))
    assert {"fid", "mse", "ssim", "reconstruction_fid", "bits_per_dim", "usage", "perplexity"} <= words.keys()
    assert {"fid", "nats_per_word", "unigram", "bigram", "bits_per_dim", "label_agreement"} <= writer.keys()
    assert (work / "writer" / "samples" / "final.png").is_file() and (work / "writer" / "loss.png").is_file()


def test_samples_are_steered(work, genlab, tmp_path):
    out = tmp_path / "grid.png"
    code, said = genlab("sample", "writer", "--label", 3, "--guidance", 2, "--top-p", ".9", "-n", 64, "--out", out)
    assert code == 0, said
    assert Image.open(out).size[0] > 64
    pixels = []
    for i, knobs in enumerate(([], [], ["--temperature", ".5"], ["--label", "1"], ["--top-k", "3"])):
        code, said = genlab("sample", "writer", "-n", 6, *knobs, "--out", tmp_path / f"{i}.npy")
        assert code == 0, said
        pixels.append(np.load(tmp_path / f"{i}.npy"))
    assert pixels[0].shape == (6, 1, 28, 28) and pixels[0].dtype == np.uint8
    assert np.array_equal(pixels[0], pixels[1]) and not any(np.array_equal(pixels[0], p) for p in pixels[2:])


@pytest.mark.parametrize("args,said", [
    (["sample", "writer", "--label", "10"], "from 0 to 9"),
    (["sample", "writer", "--label", "-1"], "from 0 to 9"),
    (["sample", "writer", "-n", "0"], "at least 1"),
    (["sample", "writer", "--top-p", "1.5"], "top_p is 1.5"),
    (["sample", "writer", "--temperature", "0"], "temperature is 0"),
    (["train", "prior", *WRITER], "--vqvae runs/vqvae-1"),
    (["train", "prior", "--vqvae", "writer", *WRITER], "not one of a VQVAE"),
    (["train", "prior", "--vqvae", "nothing", *WRITER], "not a run folder"),
    (["train", "prior", "--vqvae", "words", *WRITER, "--dropout", "1"], "below 1"),
    (["train", "prior", "--vqvae", "words", *WRITER, "--n-heads", "3"], "multiple of the 3 heads"),
    (["train", "vqvae", *WORDS, "--quantizer", "fsq", "--levels", "8", "1"], "at least 2 levels"),
    (["train", "vqvae", *WORDS, "--form", "residual", "--patch", "7"], "power of 2"),
])
def test_refusals_are_one_sentence_and_change_nothing(work, genlab, args, said):
    assert_refused(work, genlab, args, said)


def test_another_vqvae_is_refused_by_samples_and_by_resuming(work, few_images, genlab, tmp_path):
    done = train(work, few_images, "vqvae", *WORDS, "--seed", "1", "--out", "others")
    assert done.returncode == 0, done.stderr
    shutil.copytree(work / "writer", work / "moved")
    config = work / "moved" / "config.yaml"
    config.write_text(config.read_text().replace(str(work / "words"), str(work / "others")))
    for args in (["sample", "moved", "--out", tmp_path / "x.png"], ["evaluate", "moved"]):
        code, out = genlab(*args)
        assert code == 2 and ("codes of another VQ-VAE" if args[0] == "sample"
                              else "not the one that this prior was trained on") in out
    shutil.rmtree(work / "moved")


@pytest.mark.parametrize("model,settings", [("vqvae", WORDS)] + [
    (prior, ["--vqvae", "words", *WRITER, "--dropout", "0", "--label-dropout", "0"])
    for prior in ("prior", "masked-prior")])
def test_two_processes_are_one(work, few_images, model, settings):
    for name, processes, extra in (("shards", 1, ["--accumulate", "2"]), ("two", 2, [])):
        done = train(work, few_images, model, *settings, *extra, "--out", f"{model}_{name}", processes=processes)
        assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(rows(work / f"{model}_two"), rows(work / f"{model}_shards"), rtol=1e-4, equal_nan=True)
