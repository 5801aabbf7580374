"""Runs that are killed at random moments go on to the same end, whatever the moment.

`make test` kills each kind twice, `make faults` twenty times.
"""

import os
import random
import subprocess
import sys
import time

import pytest
from processes import OFTEN, assert_same_weights, environment
from test_models import MODELS

KILLS = int(os.environ.get("FAULTS", "2"))
LONGER = {"pi-vae": ("--epochs", "30"), "vae": ("--steps", "120"), "relgan": ("--steps", "90")}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("faults")


def started(work, *words) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", OFTEN, "train", *words], cwd=work, env=environment(work),
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen) -> None:
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said


@pytest.fixture(scope="module", params=LONGER)
def whole(request, work):
    "A run that nobody kills: its name, what it was told, and how long it took."
    name = request.param
    length, value = LONGER[name]
    words = [name, *MODELS[name], "--budget", "smoke"]
    words[words.index(length) + 1] = value
    start = time.time()
    ended(started(work, *words, "--out", f"{name}-whole"))
    return name, words, time.time() - start


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_run_that_is_killed_at_a_random_moment_goes_on_to_the_same_end(whole, kill, work):
    name, words, seconds = whole
    out = f"{name}-{kill}"
    moment = random.Random(f"{out} {os.environ.get('FAULTS')}").uniform(0.2, 1) * seconds
    process = started(work, *words, "--out", out)
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        process.kill()
    process.communicate()
    again = ["--resume", out] if (work / out).exists() else [*words, "--out", out]
    ended(started(work, *again))
    assert_same_weights(work / out, work / f"{name}-whole")
    assert (work / out / "metrics.json").is_file()
