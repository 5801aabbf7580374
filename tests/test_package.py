"A wheel, installed into a clean environment, works on its own."

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    "The Python of a new environment with genlab's wheel; its dependencies come from here, since tests use no network."
    work = tmp_path_factory.mktemp("package")
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for f in filter(None, files):  # a clean checkout: no build leftovers
        (work / "src" / f).parent.mkdir(parents=True, exist_ok=True)
        (work / "src" / f).write_bytes((ROOT / f).read_bytes())
    strangers = {f"genlab/flow/to/come.{end}" for end in ("safetensors", "json", "jsonl", "txt")}
    for f in strangers:
        (work / "src" / f).parent.mkdir(parents=True, exist_ok=True)
        (work / "src" / f).touch()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    make_wheel = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", work, work / "src"]
    subprocess.run([*pip, *make_wheel], check=True)
    wheel = next(work.glob("genlab-*.whl"))
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"genlab/points/vae.py", "genlab/workshop/runs.py", "genlab/cli.py"} <= names
    assert not [n for n in names if n.startswith(("tests", "nbs", "tools"))]
    shipped = {f for f in files if f.startswith("genlab/")}
    assert shipped and shipped <= names, "whatever lies in a part's folder ships"
    assert strangers <= names, "of a part to come, and of every kind that ships"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", work / "env"], check=True)
    python = work / "env" / "bin" / "python"
    site = call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=work).strip()
    subprocess.run([*pip, "--python", python, "install", "--no-deps", "--no-index", wheel], check=True)
    Path(site, "outer.pth").write_text(sysconfig.get_path("purelib"))
    return python


def call(*args, cwd, **env):
    env = {**os.environ, **env}
    done = subprocess.run([*map(str, args)], cwd=cwd, capture_output=True, text=True, check=True, env=env)
    return done.stdout


def test_import_and_generated_data(installed, tmp_path):
    code = """import genlab; from genlab.points.colored_pi import load_pi
print(genlab.__file__)
print(*load_pi().points.shape, load_pi().name)"""
    where, data = call(installed, "-c", code, cwd=tmp_path).splitlines()
    assert str(installed.parent.parent) in where
    assert data == "5000 5 coloured pi"


def test_shipped_classifiers_load(installed, tmp_path):
    code = """import torch; from genlab.lab.metrics import load_extractor
print(*load_extractor('shapes').features(torch.zeros(2, 3, 32, 32)).shape)"""
    assert call(installed, "-c", code, cwd=tmp_path).split() == ["2", "64"]


def test_console_script(installed, tmp_path):
    script = installed.parent / "genlab"
    assert "train" in call(script, "--help", cwd=tmp_path)
    options = ("--epochs", 1, "--components", 4, "--out", "run")
    call(script, "train", "pi-vae", *options, cwd=tmp_path, GENLAB_BUDGET="smoke")
    assert (tmp_path / "run" / "metrics.json").is_file()
