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
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", work, work / "src"], check=True)
    wheel = next(work.glob("genlab-*.whl"))
    names = zipfile.ZipFile(wheel).namelist()
    assert "genlab/points/vae.py" in names and "genlab/cli.py" in names and not [n for n in names if n.startswith(("tests", "nbs", "tools"))]
    assert {f"genlab/lab/classifiers/{d}.{end}" for d in ("fashion_mnist", "shapes", "faces") for end in ("safetensors", "json")} <= set(names)
    assert {f"genlab/vq/shipped/{name}" for name in ("vqvae.safetensors", "prior.safetensors", "pair.json")} <= set(names)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", work / "env"], check=True)
    python = work / "env" / "bin" / "python"
    site = subprocess.run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True, check=True)
    subprocess.run([*pip, "--python", python, "install", "--no-deps", "--no-index", wheel], check=True)
    Path(site.stdout.strip(), "outer.pth").write_text(sysconfig.get_path("purelib"))
    return python


def call(*args, cwd, **env):
    return subprocess.run([*map(str, args)], cwd=cwd, capture_output=True, text=True, check=True, env={**os.environ, **env}).stdout


def test_import_and_generated_data(installed, tmp_path):
    code = "import genlab; print(genlab.__file__); from genlab.points.colored_pi import load_pi; print(*load_pi().points.shape, load_pi().name)"
    where, data = call(installed, "-c", code, cwd=tmp_path).splitlines()
    assert str(installed.parent.parent) in where
    assert data == "5000 5 coloured pi"


def test_shipped_classifiers_load(installed, tmp_path):
    code = "import torch; from genlab.lab.metrics import load_extractor as load; print(*load('shapes').features(torch.zeros(2, 3, 32, 32)).shape)"
    assert call(installed, "-c", code, cwd=tmp_path).split() == ["2", "64"]


def test_console_script(installed, tmp_path):
    script = installed.parent / "genlab"
    assert "train" in call(script, "--help", cwd=tmp_path)
    call(script, "train", "pi-vae", "--epochs", 1, "--components", 4, "--out", "run", cwd=tmp_path, GENLAB_BUDGET="smoke")
    assert (tmp_path / "run" / "metrics.json").is_file()
