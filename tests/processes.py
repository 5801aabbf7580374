"Runs of the command line in processes of their own, for the tests that count them, kill them and compare them."

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import torch
from safetensors.torch import load_file

# A program with few drawn images, which looks at few samples and saves every five steps.
OFTEN = ("from genlab.lab import images, training; from genlab.gan import dcgan; from genlab import cli; import sys;"
         "images.DRAWN['shapes'] = (600, 100, 100); dcgan.N_LOOK = 200;"
         "training.fit.__kwdefaults__['save_every'] = 5; sys.exit(cli.main())")


def command(processes: int, *args) -> list[str]:
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)] if processes > 1 else []
    return [sys.executable, *launch, "-m", "genlab.cli", *map(str, args)]


def instead(words: list[str], *more) -> list[str]:
    "The words of a command with more options; of those that it has already, the new values."
    kept, keep = [], True
    for word in words:
        keep = word not in more if re.match("--?[a-z]", word) else keep
        kept += [word] if keep else []
    return [*kept, *more]


def environment(data: Path) -> dict[str, str]:
    return {**os.environ, "GENLAB_DATA": str(data), "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}


def train(folder: Path, data: Path, *args, processes: int = 1, **kwargs):
    return subprocess.run(command(processes, "train", *args), cwd=folder, env=environment(data), capture_output=True,
                          text=True, timeout=300, **kwargs)


def rows(run: Path) -> np.ndarray:
    "The log, without its name row; empty where nothing was measured."
    lines = (run / "log.csv").read_text().splitlines()[1:]
    return np.array([[float(v or "nan") for v in line.split(",")] for line in lines])


def assert_same_weights(a: Path, b: Path) -> None:
    "Two runs ended with the same bits, on the same way."
    ours, theirs = load_file(a / "model.safetensors"), load_file(b / "model.safetensors")
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)
    assert (a / "log.csv").read_text() == (b / "log.csv").read_text()


def stop(folder: Path, data: Path, what: list[str], name: str, processes: int, how: int, step: int) -> tuple[int, str]:
    "Start a run, wait for the picture of a step, send a signal."
    process = subprocess.Popen(command(processes, "train", *what, "--out", name), cwd=folder, env=environment(data),
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    seen = folder / name / "samples" / f"step_{step:07d}.png"
    deadline = time.time() + 120
    while not seen.exists() and process.poll() is None and time.time() < deadline:
        time.sleep(0.005)
    assert process.poll() is None, f"finished too early: {process.stderr.read()}"
    launched = psutil.Process(process.pid)
    everyone = [launched, *launched.children(recursive=True)]  # torchrun's workers have sessions of their own
    for p in everyone if how == signal.SIGKILL else everyone[:1]:  # torchrun hands SIGTERM on
        p.send_signal(how)
    _, said = process.communicate(timeout=60)
    assert not (folder / name / "metrics.json").exists()
    return process.returncode, said


def assert_refused(work: Path, genlab, args, said: str) -> None:
    "The command line (the fixture `genlab`) refuses in one sentence, and changes nothing."
    before = sorted((p, p.stat().st_mtime_ns) for p in work.rglob("*"))
    code, out = genlab(*args)
    assert code == 2 and said in out and len(out.strip().splitlines()) == 1, out
    assert sorted((p, p.stat().st_mtime_ns) for p in work.rglob("*")) == before
