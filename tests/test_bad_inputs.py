"""Every bad input is a sentence and exit code 2, soon and in little memory, and changes nothing on disk.

What a row is: tests/bad_inputs.
"""

import hashlib
import importlib
import os
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from bad_inputs import Bad
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_models import MODELS

from genlab import UserError, cli
from genlab.gan import dcgan
from genlab.lab import images

KINDS = ("config", "layouts", "checkpoints", "weights", "records", "options", "environment")
TABLE = [(kind, bad) for kind in KINDS for bad in importlib.import_module(f"bad_inputs.{kind}").ROWS]
GOOD = ("pi-vae", "vae", "cvae", "vqvae", "prior", "relgan", "realnvp")


def test_the_table_is_long_and_no_cause_is_in_it_twice():
    assert len(TABLE) >= 400
    of_kind = Counter(kind for kind, _ in TABLE)
    assert min(of_kind.values()) >= 40 and of_kind.keys() == set(KINDS)
    causes = Counter((kind, bad.cause) for kind, bad in TABLE)
    assert max(causes.values()) == 1, causes.most_common(1)


def test_each_promise_of_security_md_has_its_test():
    root = Path(__file__).resolve().parent
    promised = re.findall(r"`(test_\w+)`", (root.parent / "SECURITY.md").read_text(encoding="utf-8"))
    there = "\n".join(path.read_text(encoding="utf-8") for path in root.glob("test_*.py"))
    assert len(promised) >= 10 and not [name for name in promised if f"def {name}(" not in there]


def few(patch, folder) -> None:
    "Work in a folder, with few drawn images, and looks at few samples."
    patch.chdir(folder)
    patch.setitem(images.DRAWN, "shapes", (600, 100, 100))
    patch.setattr(dcgan, "N_LOOK", 200)


@pytest.fixture(scope="session")
def good(tmp_path_factory) -> Path:
    "Finished runs of several kinds, each trained for some steps."
    folder = tmp_path_factory.mktemp("good")
    with pytest.MonkeyPatch.context() as patch:
        few(patch, folder)
        for name in GOOD:
            patch.setattr(sys, "argv", ["genlab", "train", name, "--budget", "smoke", *MODELS[name], "--out", name])
            assert cli.main() == 0, name
    return folder


def called(asked: list | Callable[[], object], monkeypatch) -> int:
    "The exit code of a command; 2 for a function that raises a UserError."
    if callable(asked):
        with pytest.raises(UserError) as error:
            asked()
        print(error.value, file=sys.stderr)
        return 2
    monkeypatch.setattr(sys, "argv", ["genlab", *map(str, asked)])
    try:
        return cli.main()
    except SystemExit as e:  # of the reader of options
        return e.code


def tree(folder: Path) -> dict[str, str]:
    "What lies in a folder: a hash of each file, where links lead, and which folders there are."
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = "folder" if path.is_dir() else "other"
    return found


def memory(line: str) -> float:  # GB
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"^{line}:\s+(\d+) kB", status, re.M)[1]) / 1e6


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is measured by Linux's /proc")
@pytest.mark.parametrize("bad", [pytest.param(bad, id=f"{kind}: {bad.cause}") for kind, bad in TABLE])
def test_bad_input(bad: Bad, good, tmp_path, monkeypatch, capsys):
    few(monkeypatch, tmp_path)
    for name in bad.needs:
        shutil.copytree(good / name, tmp_path / name, symlinks=True)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    asked = bad.make(tmp_path)
    for name, value in bad.env.items():
        monkeypatch.setenv(name, value.format(here=tmp_path))
    before, resident, start = tree(tmp_path), memory("VmRSS"), time.process_time()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    code = called(asked, monkeypatch)
    seconds, gigabytes = time.process_time() - start, memory("VmHWM") - resident
    out, said = capsys.readouterr()
    said = said.rpartition("\r")[2]  # what a progress bar leaves
    assert code == 2, (code, out + said)
    assert re.search(bad.says, said), out + said
    of_options = "helptext" in said  # that reader draws a box
    assert "Traceback" not in said and (len(said.strip().splitlines()) == 1 or of_options), said
    assert tree(tmp_path) == before, "something on disk has changed"
    assert seconds < 3 and gigabytes < 1, (seconds, gigabytes)


# Files that are damaged at random

EDGES = (b"\xff" * 8, b"\0" * 8, b"9" * 400, b"nan", b"-1", b"1e999", b"null", b"[" * 3_000, b"{}", b"\n",
         b"!!python/object/apply:os.system [touch ran]", "\u00b2".encode())
SAMPLE = ["sample", "{run}", "-n", "4", "--out", "drawn.npy"]
FILES = {  # of a good run, and what reads them; what a command needs to be away is away
    "config.yaml": SAMPLE, "model.safetensors": SAMPLE, "metrics.json": ["list", "--runs", "."],
    "log.csv": ["train", "--resume", "{run}"], "state/last": ["train", "--resume", "{run}"],
}
damage = st.lists(st.tuples(st.sampled_from(("flip", "cut", "drop", "swap", "repeat", "edge")), st.floats(0, 1),
                            st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=3)


class Heard(StringIO):
    "What is printed; it takes any character."

    def reconfigure(self, **kwargs) -> None:
        pass


def damaged(content: bytes, how: list[tuple]) -> bytes:
    "What is left of a file, or was made of it."
    for kind, a, b, n in how:
        i, j = sorted((int(a * len(content)), int(b * len(content))))
        edge = EDGES[n % len(EDGES)]
        content = {
            "flip": content[:i] + bytes(c ^ n for c in content[i:i + 1]) + content[i + 1:],
            "cut": content[:j],
            "drop": content[:i] + content[j:],
            "swap": content[j:] + content[i:j] + content[:i],
            "repeat": content[:j] + content[i:j] + content[j:],
            "edge": content[:i] + edge + content[i:],
        }[kind]
    return content


@settings(max_examples=int(os.environ.get("FUZZ", "100")), derandomize="FUZZ" not in os.environ, deadline=None,
          database=None, suppress_health_check=list(HealthCheck))
@given(name=st.sampled_from(GOOD), file=st.sampled_from(list(FILES)), how=damage)
def test_a_damaged_file_is_a_sentence_or_harmless(good, name, file, how):
    "`make fuzz` tries 1,000 others, which nobody has chosen."
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder, Heard() as said:
        few(patch, folder)
        for run in {name} | {other for other in ("vqvae",) if name == "prior"}:
            shutil.copytree(good / run, run)
        if file in ("log.csv", "state/last"):
            (Path(name) / "model.safetensors").unlink()
            (Path(name) / "metrics.json").unlink()
        path = max((Path(name) / "state").glob("*.pt")) if file == "state/last" else Path(name) / file
        path.write_bytes(damaged(path.read_bytes(), how))
        with redirect_stdout(said), redirect_stderr(said):
            code = called([word.format(run=name) for word in FILES[file]], patch)
        assert code in (0, 2) and "Traceback" not in said.getvalue(), said.getvalue()
        assert not Path("ran").exists(), "a stranger's code was executed"
        if code == 2:
            assert len([line for line in said.getvalue().splitlines() if line.startswith("genlab: ")]) == 1
