"The commands of the Makefile and of CI, what they install, and nbdev-test without make."

import json
import os
import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), flags=re.M))
GIVEN = "MAKEFLAGS MAKEOVERRIDES MFLAGS MAKELEVEL GENLAB_BUDGET MPLBACKEND OMP_NUM_THREADS IN_TEST".split()  # by make


def run(*args, cwd: Path = ROOT, **more: str) -> tuple[int, str]:  # exit code, what was said
    "Run a command as a user's shell would."
    env = {k: v for k, v in os.environ.items() if k not in GIVEN} | more
    done = subprocess.run([*map(str, args)], cwd=cwd, env=env, text=True, timeout=120,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_help_names_every_target():
    targets = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), flags=re.M)[1].split()
    code, said = run("make", "help")
    assert code == 0 and re.findall(r"^make (\w+)", said, flags=re.M) == targets[1:]


@pytest.mark.parametrize("target,does", [("demo", "train pi-vae"), ("test", "pytest -n 2"), ("lint", "ruff check")])
def test_a_bare_checkout_gets_the_tested_versions(target, does, tmp_path):
    code, said = run("make", "-n", f"VENV={tmp_path}/env", target)
    installs = [line for line in said.splitlines() if "bin/pip install" in line]
    assert code == 0 and does in said.splitlines()[-2 if target == "demo" else -1]
    assert installs and all(" -c constraints.txt " in line for line in installs)


def test_newest_is_bound_by_nothing():
    code, said = run("make", "-n", "newest")
    installs = [line for line in said.splitlines() if "pip install" in line]
    assert code == 0 and not any(" -c " in line or ".venv/" in line for line in installs)
    assert ".venv-newest/bin/pytest" in said


@pytest.mark.parametrize("fails_on,said", [
    ("version_info", "genlab needs Python 3.11 or newer: make PYTHON=python3.12 ..."),
    ("ensurepip", "lacks the modules venv and ensurepip, which make "),
])
def test_a_python_that_will_not_do_is_refused(fails_on, said, tmp_path):
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\ncase "$*" in *{fails_on}*) exit 1;; esac\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    code, out = run("make", f"PYTHON={python}", f"VENV={tmp_path}/env", "demo")
    assert code == 2 and len(out.strip().splitlines()) == 2  # the sentence, and make's own line
    assert said in out and (fails_on != "ensurepip" or "apt-get install python3-venv." in out)
    assert not (tmp_path / "env").exists()


def test_ci_does_what_a_new_user_does():
    makes = re.findall(r"^make .+$", (ROOT / ".ci" / "run").read_text(), flags=re.M)
    assert makes == ["make lint", "make demo", "make test"]
    assert "- run: .ci/run" in (ROOT / ".github" / "workflows" / "ci.yml").read_text()


def test_constraints_pin_all_that_settings_ini_asks_for():
    settings = ConfigParser(interpolation=None)
    settings.read(ROOT / "settings.ini", encoding="utf-8")
    asked = " ".join(v for k, v in settings["DEFAULT"].items() if k.endswith("requirements"))
    pins = {plain(name): version for name, version in PINS.items()}
    assert len(pins) == len(PINS)
    for requirement in map(Requirement, asked.split()):
        version = pins.get(plain(requirement.name))
        assert version and requirement.specifier.contains(version), f"{requirement} and {version} in constraints.txt"
    assert not [p for p in pins if re.match(r"genlab$|triton$|nvidia-|cuda-", p)]  # those follow from torch


def test_nbdev_test_needs_no_environment(tmp_path):
    "In two workers: the smoke budget, one thread each, and what the user has set stays."
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "nbs").mkdir()
    code = """import os
from genlab import budget_name
assert budget_name() == os.environ.get("EXPECTED", "smoke")
import torch
assert torch.get_num_threads() == 1 and os.environ["MPLBACKEND"] == "agg"
"""
    cell = dict(cell_type="code", id="a", source=code, metadata={}, outputs=[], execution_count=None)
    for name in ("00_one", "01_two"):
        book = dict(cells=[cell], metadata={}, nbformat=4, nbformat_minor=5)
        (tmp_path / "nbs" / f"{name}.ipynb").write_text(json.dumps(book))
    nbdev_test = (Path(sys.executable).parent / "nbdev-test", "--n-workers", "2")
    for env in ({}, dict(GENLAB_BUDGET="laptop", EXPECTED="laptop")):
        done, said = run(*nbdev_test, cwd=tmp_path, **env)
        assert done == 0 and "Success." in said, said
