"The command line as a user meets it, in processes of its own: runs, kills, resuming, errors."

import json
import math
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.numpy import load_file

from genlab import cli
from genlab.lab import images, pictures

SMALL = ["--budget", "smoke", "--epochs", "6", "--components", "16"]


def genlab(*args, cwd, check=True):
    done = subprocess.run([sys.executable, "-m", "genlab.cli", *map(str, args)], cwd=cwd,
                          capture_output=True, text=True, timeout=300)
    if check:
        assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def refused(work, monkeypatch, capsys):
    "Calls the command line in this process; expects exit code 2, one sentence, and nothing changed."
    def call(*args) -> str:
        before = sorted((p, p.stat().st_mtime_ns) for p in work.rglob("*"))
        monkeypatch.chdir(work)
        monkeypatch.setattr(sys, "argv", ["genlab", *map(str, args)])
        assert cli.main() == 2
        said = capsys.readouterr().err
        assert len(said.strip().splitlines()) == 1, said
        assert sorted((p, p.stat().st_mtime_ns) for p in work.rglob("*")) == before, "something was changed"
        return said

    return call


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    "A folder with one finished run."
    folder = tmp_path_factory.mktemp("work")
    genlab("train", "pi-vae", *SMALL, "--out", "runs/whole", cwd=folder)
    return folder


def weights(run: Path) -> dict[str, np.ndarray]:
    return load_file(run / "model.safetensors")


def assert_same_run(a: Path, b: Path) -> None:
    for (name, x), y in zip(sorted(weights(a).items()), (v for _, v in sorted(weights(b).items())), strict=True):
        np.testing.assert_array_equal(x, y, err_msg=name)
    assert (a / "log.csv").read_text() == (b / "log.csv").read_text()
    ours, theirs = (json.loads((run / "metrics.json").read_text()) for run in (a, b))
    for key in ("swd", "energy", "on_glyph", "c2st", "nearest_train", "w1", "seed", "budget", "versions"):
        assert ours[key] == theirs[key], key


@pytest.mark.parametrize("sizes", [(2**46,), (2**40, 2**40)])  # what isn't there, and what can't be counted
def test_sizes_that_no_memory_has_are_a_sentence(monkeypatch, capsys, sizes):
    monkeypatch.setattr(cli, "command", lambda argv: torch.empty(*sizes))
    assert cli.main() == 2
    assert "need more memory than there is. Choose smaller settings" in capsys.readouterr().err


def test_evaluating_again_cures_a_damaged_metrics_file(work):
    shutil.copytree(work / "runs/whole", work / "runs/cured")
    for damaged in ("{", "{}"):
        (work / "runs/cured/metrics.json").write_text(damaged)
        assert "training unknown s" in genlab("evaluate", "runs/cured", cwd=work).stdout
    assert json.loads((work / "runs/cured/metrics.json").read_text())["seconds"] is None


def test_a_run_is_held_until_its_numbers_are_written(work, monkeypatch):
    monkeypatch.chdir(work)
    shutil.copytree(work / "runs/whole", work / "runs/held")
    (work / "runs/held/metrics.json").unlink()
    seconds = []
    monkeypatch.setattr(pictures, "measure",
                        lambda *args: seconds.append(genlab("train", "--resume", "runs/held", cwd=work, check=False)))
    cli.train(["--resume", "runs/held"])
    assert seconds[0].returncode == 2 and "another process is training in runs/held right now" in seconds[0].stderr


def test_what_a_run_of_points_adds(work):
    run = work / "runs/whole"
    metrics = json.loads((run / "metrics.json").read_text())
    for key in ("swd", "on_glyph", "c2st", "nearest_train"):
        row = metrics[key]
        assert row["interval"][0] <= row["value"] <= row["interval"][1] and row["n"] >= 5000
    assert metrics["seed"] == 0 and metrics["budget"] == "smoke"
    assert len((run / "log.csv").read_text().splitlines()) == 1 + 100  # rows of 3 steps, 300 in all
    with Image.open(run / "samples/training.gif") as film:
        assert film.n_frames == 21  # the first row and every fifth
    assert not [p for p in run.rglob("*") if "writing" in p.name]


def test_sample(work):
    genlab("sample", "runs/whole", "-n", 700, "--out", "some/points.npy", cwd=work)
    genlab("sample", "runs/whole", "-n", 700, "--out", "some/picture.png", cwd=work)
    points = np.load(work / "some/points.npy")
    assert points.shape == (700, 5) and points.dtype == np.float32
    image = np.asarray(Image.open(work / "some/picture.png"))
    assert image.shape == (300, 300, 3) and 300 < (image.max(axis=2) > 0).sum() <= 700


def test_the_same_seed_gives_the_same_run_and_config_repeats_it(work):
    genlab("train", "pi-vae", "--config", "runs/whole/config.yaml", "--out", "runs/again", cwd=work)
    assert_same_run(work / "runs/whole", work / "runs/again")
    genlab("train", "pi-vae", "--config", "runs/whole/config.yaml", "--seed", 1, "--epochs", 1,
           "--out", "runs/other", cwd=work)
    settings = yaml.safe_load((work / "runs/other/config.yaml").read_text())
    assert settings["seed"] == 1 and settings["config"]["epochs"] == 1 and settings["config"]["components"] == 16
    assert any(not np.array_equal(x, weights(work / "runs/other")[k]) for k, x in weights(work / "runs/whole").items())


def interrupted(work, name, how, after) -> None:
    "Start a run, wait until `after(run)` holds, send a signal."
    run = work / "runs" / name
    process = subprocess.Popen([sys.executable, "-m", "genlab.cli", "train", "pi-vae", *SMALL, "--out", f"runs/{name}"],
                               cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for _ in range(6000):
        if after(run) or process.poll() is not None:
            break
        time.sleep(0.01)
    assert process.poll() is None, f"finished too early: {process.stderr.read()}"
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (130 if how == signal.SIGINT else -how)
    if how == signal.SIGINT:
        assert "--resume" in said and "Traceback" not in said
    assert not (run / "metrics.json").exists()


def picture_of(step):
    return lambda run: (run / "samples" / f"step_{step:07d}.png").exists()


@pytest.mark.parametrize("name,how,after", [
    ("killed-at-once", signal.SIGKILL, lambda run: (run / "config.yaml").exists()),
    ("killed-midway", signal.SIGKILL, picture_of(240)),
    ("killed-after-training", signal.SIGKILL, lambda run: (run / "model.safetensors").exists()),
    ("interrupted", signal.SIGINT, picture_of(90)),
])
def test_a_stopped_run_resumes_to_the_same_weights(work, name, how, after):
    interrupted(work, name, how, after)
    genlab("train", "--resume", f"runs/{name}", cwd=work)
    assert_same_run(work / "runs/whole", work / "runs" / name)


def test_resuming_a_finished_run_says_so(work):
    before = (work / "runs/whole/metrics.json").read_bytes()
    assert "finished" in genlab("train", "--resume", "runs/whole", cwd=work).stdout
    assert (work / "runs/whole/metrics.json").read_bytes() == before


def test_a_damaged_checkpoint_is_refused_and_its_removal_helps(work, refused):
    name = "damaged"
    interrupted(work, name, signal.SIGINT, picture_of(240))
    newest = sorted((work / "runs" / name / "state").glob("*.pt"))[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 3] ^= 4
    newest.write_bytes(content)
    assert "is damaged" in refused("train", "--resume", f"runs/{name}")
    newest.write_bytes(content[:1000])
    assert "is damaged" in refused("train", "--resume", f"runs/{name}")
    newest.unlink()
    genlab("train", "--resume", f"runs/{name}", cwd=work)
    assert_same_run(work / "runs/whole", work / "runs" / name)


def test_refusals_are_one_sentence_and_change_nothing(work, refused):
    (work / "empty").mkdir(exist_ok=True)
    (work / "broken").mkdir(exist_ok=True)
    (work / "broken/config.yaml").write_text("model: [pi-vae\n")
    (work / "odd").mkdir(exist_ok=True)
    (work / "odd/config.yaml").write_text("model: pi-vae\nseed: 0\nbudget: smoke\nconfig: {wings: 2}\n")
    (work / "bare").mkdir(exist_ok=True)
    (work / "bare/config.yaml").write_text("model: pi-vae\n")
    (work / "words").mkdir(exist_ok=True)
    (work / "words/config.yaml").write_text("model: pi-vae\nseed: 0\nbudget: smoke\nconfig: {epochs: many}\n")
    (work / "taken.png").write_bytes(b"mine")
    for args, said in [
        (("train", "pi-gan"), "there is no model 'pi-gan'"),
        (("train", "pi-vae", "--out", "runs/whole"), "exists"),
        (("train", "pi-vae", "--data", "empty"), "is missing"),
        (("train", "pi-vae", "--data", "nowhere"), "is not a folder"),
        (("train", "pi-vae", "--lr", "-1"), "above 0"),
        (("train", "pi-vae", "--components", "6000"), "Choose fewer"),
        (("train", "pi-transformer-vae", "--hidden", "30"), "multiple"),
        (("train", "pi-transformer-vae", "--config", "runs/whole/config.yaml"), "is of the model pi-vae"),
        (("train", "--resume", "empty"), "is not a run folder"),
        (("train", "--resume", "nowhere"), "is not a run folder"),
        (("train", "--resume", "broken"), "can't be read as YAML"),
        (("train", "--resume", "odd"), "wings"),
        (("train", "--resume", "bare"), "lacks seed"),
        (("train", "--resume", "words"), "expected a whole number"),
        (("train", "--resume", "runs/whole", "--lr", "1"), "leave out"),
        (("sample", "empty"), "is not a run folder"),
        (("sample", "runs/whole", "--out", "x.jpg"), ".png"),
        (("sample", "runs/whole", "--out", "taken.png"), "exists"),
        (("sample", "runs/whole", "-n", "0"), "at least 1"),
        (("evaluate", "nowhere"), "is not a run folder"),
    ]:
        assert said in refused(*args), args
    assert (work / "taken.png").read_bytes() == b"mine"


def test_damaged_weights_are_refused_and_made_again(work, refused):
    shutil.copytree(work / "runs/whole", work / "runs/fragile")
    run = work / "runs/fragile"
    (run / "model.safetensors").write_bytes(b"not weights")
    assert "is damaged" in refused("sample", "runs/fragile")
    (run / "model.safetensors").unlink()
    assert "unfinished" in next(line for line in genlab("list", cwd=work).stdout.splitlines() if "fragile" in line)
    assert "has not finished" in refused("sample", "runs/fragile")
    genlab("train", "--resume", "runs/fragile", cwd=work)
    assert_same_run(work / "runs/whole", run)


def test_wrong_options_exit_with_2(work):
    for args in (("train", "pi-vae", "--no-such-option", "1"), ("train", "pi-vae", "--budget", "huge"), ("sing",), ()):
        done = genlab(*args, cwd=work, check=False)
        assert done.returncode == 2 and "Traceback" not in done.stderr, args


def test_list_and_help(work):
    (work / "runs/torn").mkdir()
    (work / "runs/torn/config.yaml").write_text("[")
    listed = genlab("list", cwd=work).stdout
    assert "can't be read as YAML" in listed
    assert "pi-transformer-vae" in listed and "runs/whole" in listed and "12_vae" in listed
    options = genlab("train", "pi-vae", "--help", cwd=work).stdout
    from dataclasses import fields

    from genlab.points.vae import PointVAEConfig

    for f in fields(PointVAEConfig):
        assert f"--{f.name.replace('_', '-')}" in options
    assert "upper bound of the decoder's sigma" in re.sub(r"[\s│]+", " ", options)
    start = time.perf_counter()
    assert "evaluate" in genlab("--help", cwd=work).stdout
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("args", [("list",), ("--help",), ("train", "pi-vae", "--help"), ("train", "--help")])
def test_a_closed_pipe_is_quiet(work, args):
    "As `genlab list | head -1` closes it."
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-m", "genlab.cli", *args], cwd=work, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_terminal_that_knows_ascii_only(work):
    named = work / "runs/\u03c0"
    named.mkdir()
    (named / "config.yaml").write_text("[")
    done = subprocess.run([sys.executable, "-m", "genlab.cli", "list"], cwd=work, capture_output=True,
                          env=os.environ | dict(PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C"))
    shutil.rmtree(named)
    assert done.returncode == 0 and b"\\udc80" in done.stdout and not done.stderr  # bytes that C does not know


def test_help_comes_whatever_the_environment_says(work, monkeypatch, capsys):
    monkeypatch.setenv("GENLAB_BUDGET", "tiny")
    monkeypatch.setattr(sys, "argv", ["genlab", "train", "pi-vae", "--help"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0 and "--hidden" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["genlab", "train", "pi-vae"])
    assert cli.main() == 2 and "GENLAB_BUDGET is 'tiny'" in capsys.readouterr().err


@pytest.mark.parametrize("module, words, said", [
    ("genlab.lab.metrics", ["--data", "imagenet"], "There is no data set 'imagenet'"),
    ("genlab.lab.metrics", ["--data", "mnist"], "The data folder nowhere, named by GENLAB_DATA, does not exist"),
    ("genlab.lab.metrics", ["--data", "shapes", "--epochs", "0"], "epochs is 0; expected a whole number, at least 1"),
    ("genlab.lab.metrics", ["--data", "shapes", "--seed", "-1"], "seed is -1; expected a whole number, at least 0"),
    ("genlab.lab.metrics", ["--data", "shapes", "--out", "file"], "File exists: file. Make room or permission there"),
    ("genlab.vq.prior", ["--vqvae", "a", "--prior", "b", "--out", "c"], "a is not a run folder"),
    ("genlab.gan.stable_gan", ["--run", "a", "--out", "c"], "a is not a run folder")])
def test_commands_of_chapters_say_a_sentence_too(module, words, said, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENLAB_DATA", "nowhere")
    monkeypatch.setitem(images.DRAWN, "shapes", (600, 100, 100))
    monkeypatch.setattr(sys, "argv", ["python -m", *words])
    with warnings.catch_warnings(action="ignore"), pytest.raises(SystemExit) as ended:  # of a module that runs twice
        runpy.run_module(module, run_name="__main__")
    err = capsys.readouterr().err
    assert ended.value.code == 2 and said in err and len(err.strip().splitlines()) == 1, err
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_measuring_again_keeps_what_a_training_may_have_cost(tmp_path):
    "And nothing else: what a stranger's metrics.json says is held against its kind."
    path = tmp_path / "metrics.json"
    costs = dict(seconds=1.5, peak_memory_mb=300, device="cpu", processes=2)
    path.write_text(json.dumps(costs | dict(swd=1.0)))
    assert cli.known_costs(path) == costs
    for wrong in (math.nan, math.inf, -1, "NaN", [1], {}, True, 10**400):
        path.write_text(json.dumps(dict.fromkeys(costs, wrong)))
        assert cli.known_costs(path) == dict.fromkeys(costs) | dict(device=wrong if wrong == "NaN" else None), wrong


def test_no_colour_in_a_pipe(work):
    done = subprocess.run([sys.executable, "-m", "genlab.cli", "train", "pi-vae", "--help"], cwd=work, text=True,
                          capture_output=True, env=os.environ | dict(COLUMNS="40"))
    assert done.returncode == 0 and "\x1b" not in done.stdout
    boxes = [line for line in done.stdout.splitlines() if line[:1] in tuple("│╭╰")]
    assert len(boxes) > 50 and max(map(len, boxes)) == 40


def test_transformer_trains_from_a_users_folder(work):
    from genlab.points.colored_pi import draw_pi, save_pi

    save_pi(work / "quiz", *draw_pi(600, seed=3))
    genlab("train", "pi-transformer-vae", "--budget", "smoke", "--epochs", 2,
           "--components", 8, "--data", "quiz", "--out", "runs/quiz", cwd=work)
    assert "every fifth held back" in json.loads((work / "runs/quiz/metrics.json").read_text())["data"]
    genlab("train", "pi-transformer-vae", "--config", "runs/quiz/config.yaml", "--out", "runs/quiz2", cwd=work)
    assert_same_run(work / "runs/quiz", work / "runs/quiz2")


def test_read_only_parent_is_a_sentence(work, refused):
    if os.geteuid() == 0:  # root may write everywhere: a file in the place of a folder stands for it
        (work / "file").write_text("")
        assert "file" in refused("train", "pi-vae", *SMALL, "--out", "file/run")
        return
    (work / "locked").mkdir(mode=0o500)
    assert "locked" in refused("train", "pi-vae", *SMALL, "--out", "locked/run")


def test_looks_average_and_device_are_options(work):
    genlab("train", "pi-vae", *SMALL, "--pictures", 3, "--ema", 0.5, "--device", "cpu", "--out", "runs/few", cwd=work)
    few = work / "runs/few"
    assert [p.stem for p in sorted((few / "samples").glob("step_*"))] == ["step_0000003", "step_0000102",
                                                                          "step_0000201", "step_0000300"]
    settings = yaml.safe_load((few / "config.yaml").read_text())
    assert (settings["pictures"], settings["ema"], settings["device"]) == (3, 0.5, "cpu")
    assert (few / "log.csv").read_text() == (work / "runs/whole/log.csv").read_text(), "the same training"
    assert any(not np.array_equal(v, weights(work / "runs/whole")[name])
               for name, v in weights(few).items()), "another average of it"
    assert json.loads((few / "metrics.json").read_text())["device"] == "cpu"


@pytest.mark.parametrize("option,value,said", [
    ("--pictures", 0, "at least 1"), ("--ema", 1, "below 1"), ("--ema", -0.1, "below 1"), ("--ema", "nan", "below 1"),
    ("--device", "mps", "is not to be had here")])
def test_options_that_cannot_work_are_refused(refused, option, value, said):
    assert said in refused("train", "pi-vae", *SMALL, option, value, "--out", "runs/never")


def test_two_trainings_share_the_cores(work):
    "Before PyTorch is loaded, threads that wait don't spin for long; points get one thread; what a user set stays."
    clean = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "GOMP_SPINCOUNT")}

    def said(code: str, **given) -> list[str]:
        code = "import os, sys; from genlab import cli; " + code
        return subprocess.check_output([sys.executable, "-c", code], cwd=work, env=clean | given, text=True).split()

    waiting = ("cli.command = lambda argv: print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules); "
               "sys.argv = ['genlab', 'train', 'vae']; cli.main()")
    assert said(waiting) == ["1000", "False"]
    assert said(waiting, GOMP_SPINCOUNT="7") == ["7", "False"]
    threads = ("import torch; from genlab.workshop.runs import use_threads; "
               "use_threads(cli.find_recipe({!r}).threads); print(torch.get_num_threads())")
    assert said(threads.format("pi-vae")) == said(threads.format("pi-flow")) == ["1"]
    assert said(threads.format("pi-vae"), OMP_NUM_THREADS="2") == ["2"]
    assert said(threads.format("vae"), OMP_NUM_THREADS="2") == ["2"]
