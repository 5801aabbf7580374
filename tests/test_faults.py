"""Runs that are killed at random moments go on to the same end, whatever the moment.

`make test` kills each kind twice, `make faults` twenty times.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

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


def lines(run: Path) -> int:
    "How far a run's log has come."
    try:
        return (run / "log.csv").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


@pytest.fixture(scope="module", params=LONGER)
def whole(request, work):
    "A run that nobody kills: its name, what it was told, the seconds before its first line, its lines."
    name = request.param
    length, value = LONGER[name]
    words = [name, *MODELS[name], "--budget", "smoke"]
    words[words.index(length) + 1] = value
    out = work / f"{name}-whole"
    start = time.time()
    process = started(work, *words, "--out", out.name)
    while not lines(out) and process.poll() is None:
        time.sleep(0.002)
    first = time.time() - start
    ended(process)
    return name, words, first, lines(out)


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_run_that_is_killed_at_a_random_moment_goes_on_to_the_same_end(whole, kill, work):
    "By its own lines, not by the clock: every kill comes before the end, however busy the machine is."
    name, words, first, n = whole
    out = work / f"{name}-{kill}"
    draw = random.Random(f"{out.name} {os.environ.get('FAULTS')}")
    wanted = draw.randrange(n)  # 0: while it starts
    process = started(work, *words, "--out", out.name)
    while lines(out) < wanted and process.poll() is None:
        time.sleep(0.001)
    time.sleep(draw.uniform(0, 0.8) * first if wanted == 0 else draw.uniform(0, 0.02))
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it had ended before"
    assert not (out / "metrics.json").exists()
    again = ["--resume", out.name] if out.exists() else [*words, "--out", out.name]
    ended(started(work, *again))
    assert_same_weights(out, work / f"{name}-whole")
    assert (out / "metrics.json").is_file()
