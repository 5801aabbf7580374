"Skipped tests are counted as failures under CI: green must not mean 'not run'."

import gzip
import os
import sys
from pathlib import Path

import pytest
import torch
from processes import environment

from genlab import cli

DEBIAN = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture(scope="session")
def few_images(tmp_path_factory) -> Path:
    "The first images of the real Fashion-MNIST as a data set of its own, so that a run takes seconds."
    if not DEBIAN.is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is missing")
    raw = tmp_path_factory.mktemp("data") / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part, n in (("train", 1_200), ("t10k", 400)):
        for kind, head, size in (("images-idx3", 16, 784), ("labels-idx1", 8, 1)):
            content = gzip.decompress((DEBIAN / f"{part}-{kind}-ubyte.gz").read_bytes())
            (raw / f"{part}-{kind}-ubyte").write_bytes(content[:4] + n.to_bytes(4, "big") + content[8:head + n * size])
    return raw.parent.parent


@pytest.fixture
def genlab(work, few_images, monkeypatch, capsys):
    "Calls the command line in this process, in a test module's folder `work`; returns exit code and what was said."
    monkeypatch.chdir(work)
    for name, value in environment(few_images).items():
        monkeypatch.setenv(name, value)

    def call(*args) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["genlab", *map(str, args)])
        code = cli.main()
        said = capsys.readouterr()
        return code, said.out + said.err

    return call


@pytest.fixture
def one_thread():
    "As in the processes that a test starts: another number of threads may add in another order."
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


LONGEST = ["test_browser", "test_bad_inputs", "test_training", "test_models", "test_flow_cli", "test_vq", "test_loop"]


def pytest_collection_modifyitems(items):
    "The longest files first, so that no worker works on the last one alone."
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def pytest_sessionfinish(session, exitstatus):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter and reporter.stats.get("skipped")  # a worker has no reporter
    if os.environ.get("CI") and skipped and exitstatus == 0:
        print(f"\nCI: {len(skipped)} tests were skipped; here every test must run.")
        session.exitstatus = 1
