"What can happen to a run's files: full disks, strangers' settings and checkpoints, two trainings in one folder."

import builtins
import errno
import math
import os
import pickle
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image
from safetensors.torch import save_file
from torch import nn

from genlab import UserError
from genlab.workshop import runs
from genlab.workshop.runs import (
    animate,
    create_run,
    load_checkpoint,
    load_weights,
    only_one,
    read_run,
    save_checkpoint,
    save_weights,
    write_atomically,
)

PYTHON = [sys.executable, "-c"]
ALONE = SimpleNamespace(is_main_process=True, num_processes=1)


def assert_sentence(error: Exception) -> None:
    "One line of a readable length, without PyTorch's advice."
    said = str(error)
    assert len(said.splitlines()) == 1 and len(said) < 500 and said.endswith("."), said
    assert "weights_only" not in said and "Weights only" not in said and "Traceback" not in said


# A full disk

LITTLE_ROOM = """
import resource
from pathlib import Path
import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from genlab.workshop.runs import write_atomically

WRITERS = {
    "a.pt": lambda p: torch.save(torch.zeros(100_000), p),
    "a.npy": lambda p: np.save(p, np.zeros(100_000)),
    "a.safetensors": lambda p: save_file(dict(a=torch.zeros(100_000)), p),
    "a.png": lambda p: Image.effect_noise((400, 400), 50).save(p),
    "a.txt": lambda p: p.write_text("a" * 400_000),
}
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
for name, write in WRITERS.items():
    try:
        write_atomically(name, write)
    except OSError as e:
        print(e.errno, e.strerror, e.filename)
"""


def test_a_file_that_may_not_grow_is_the_system_s_own_sentence(tmp_path):
    "Files may have 40,000 bytes: what a full disk does, without one. Each library reports it in words of its own."
    done = subprocess.run([*PYTHON, LITTLE_ROOM], cwd=tmp_path, capture_output=True, text=True, check=True)
    names = ("a.pt", "a.npy", "a.safetensors", "a.png", "a.txt")
    assert done.stdout.splitlines() == [f"{errno.EFBIG} File too large {name}" for name in names]
    assert list(tmp_path.iterdir()) == []


def no_room(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_in_a_checkpoint_is_named(tmp_path, monkeypatch):
    "PyTorch says `enforce fail at inline_container.cc`; the system, asked once more, says what it is."
    save_checkpoint(tmp_path, dict(step=10))

    def full(state, path):
        Path(path).write_bytes(b"half of it")
        monkeypatch.setattr(builtins, "open", no_room)
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(OSError, match="No space left on device") as error:
            save_checkpoint(tmp_path, dict(step=20))
    monkeypatch.undo()
    assert error.value.errno == errno.ENOSPC and error.value.filename == str(tmp_path / "000000020.pt")
    assert [p.name for p in tmp_path.iterdir()] == ["000000010.pt"] and load_checkpoint(tmp_path) == dict(step=10)


def test_other_failures_keep_their_own_words(tmp_path):
    def fails(error):
        def write(path):
            path.write_text("half of it")
            raise error
        return write

    others = (RuntimeError("shapes differ\nmore"), RuntimeError(), OSError("cannot write mode RGBA as JPEG"),
              KeyboardInterrupt(), ZeroDivisionError())
    for error in others:
        with pytest.raises(type(error)) as raised:
            write_atomically(tmp_path / "a", fails(error))
        assert raised.value is error, "there is room on the disk, so it is no disk that is full"
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_at_the_start_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "write_text", no_room)
    with pytest.raises(OSError, match="No space left on device"):
        create_run(tmp_path / "run", dict(model="vae"))
    assert list(tmp_path.iterdir()) == []


def test_settings_that_yaml_cannot_write_leave_nothing(tmp_path):
    with pytest.raises(Exception, match="cannot represent an object"):
        create_run(tmp_path / "run", dict(model=object()))
    assert list(tmp_path.iterdir()) == []


# Run folders

def test_links_count_as_something_that_exists(tmp_path):
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("nowhere", "loop"):
        with pytest.raises(UserError, match=f"{name} exists, and nothing in it was touched"):
            create_run(tmp_path / name, dict(model="vae"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["loop", "nowhere"]


def test_a_run_that_another_process_made_meanwhile(tmp_path, monkeypatch):
    rename = Path.rename

    def slow(self, target):
        (target / "samples").mkdir(parents=True)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", slow)
    with pytest.raises(UserError, match="made by another run at the same moment"):
        create_run(tmp_path / "run", dict(model="vae"))
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def ended() -> int:
    "The number of a process that is gone."
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_what_a_killed_start_has_left_is_removed_by_the_next_one(tmp_path, monkeypatch):
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(Path, "rename", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        create_run(tmp_path / "run", dict(model="vae"))
    os.waitpid(child, 0)
    left = tmp_path / f".run.making-{child}"
    assert sorted(p.name for p in left.iterdir()) == ["config.yaml", "samples"], "the run was killed too late"
    create_run(tmp_path / "other", dict(model="vae"))
    assert left.is_dir(), "another run's"
    create_run(tmp_path / "run", dict(model="vae"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "run"]


def test_what_may_be_somebodys_stays(tmp_path):
    "Of a process that lives, with a file of somebody's, a link, no number; and of a run with a similar name."
    number = ended()
    kept = [f".r*n.making-{os.getppid()}", f".r*n.making-{number}", f".r*n.making-{number}x", f".run.making-{number}"]
    for name in kept:
        (tmp_path / name / "samples").mkdir(parents=True)
    (tmp_path / kept[1] / "samples" / "mine.png").touch()
    (tmp_path / "away" / "samples").mkdir(parents=True)
    (tmp_path / f".r*n.making-0{number}").symlink_to("away")
    (tmp_path / f".r*n.making-{ended()}").symlink_to("away")
    before = sorted(tmp_path.rglob("*"))
    create_run(tmp_path / "r*n", dict(model="vae"))
    assert [p for p in sorted(tmp_path.rglob("*")) if tmp_path / "r*n" not in (p, *p.parents)] == before


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)) + "model: vae\n"
NOT_SETTINGS = {
    "alias bomb": BOMB,
    "one alias": "model: &a vae\ndata: *a\n",
    "too large": "model: vae\n" + "# long\n" * 20_000,
    "a month 13": "model: vae\nseed: 2020-13-45\n",
    "no timestamp": "model: vae\nseed: !!timestamp abc\n",
    "no number": "model: vae\nseed: !!int ''\n",
    "no truth": "model: vae\nseed: !!bool 5\n",
    "digits": "model: vae\nseed: " + "9" * 5_000 + "\n",
    "brackets": "model: " + "[" * 40_000,
    "braces": "model: " + "{a: " * 9_000,
    "python": "model: !!python/object/apply:os.system ['touch executed']\n",
    "bytes": b"model: \xff\xfe\n",
    "nul": "model: v\0ae\n",
    "a key that is a list": "? [a]\n: b\nmodel: vae\n",
    "a key that is a number": "model: vae\n5: 6\n",
    "a list": "- model\n",
    "a text": "model\n",
    "empty": "",
    "no model": "seed: 5\n",
    "models": "model: [pi-vae]\n",
    "nobody": "model:\n",
    "a number": "model: 5\n",
    "two documents": "model: vae\n---\nmodel: ae\n",
}


@pytest.mark.parametrize("what", NOT_SETTINGS)
def test_a_stranger_s_settings_are_a_sentence(tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    content = NOT_SETTINGS[what]
    (tmp_path / "config.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match="Put the file back as `genlab train` wrote it") as error:
        read_run(tmp_path)
    assert_sentence(error.value)
    assert not (tmp_path / "executed").exists()


def test_a_folder_without_settings_is_no_run(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match="is not a run folder"):
            read_run(folder)
    (tmp_path / "config.yaml").mkdir()
    with pytest.raises(UserError, match="is not a run folder"):
        read_run(tmp_path)


def test_control_characters_in_a_name_are_written_out(tmp_path):
    folder = tmp_path / "\x1b[2J\x1b]0;gone\x07\nrun\udcff"
    with pytest.raises(UserError) as error:
        read_run(folder)
    said = str(error.value)
    assert said.isprintable() and r"\x1b[2J\x1b]0;gone\x07\nrun\udcff is not a run folder" in said
    assert f"{UserError('a café, 模型')}" == "a café, 模型"


# Two trainings in one folder

HOLD = """
import sys, time, types
from genlab.workshop.runs import only_one
with only_one(sys.argv[1], types.SimpleNamespace(is_main_process=True, num_processes=1)):
    print("held", flush=True)
    time.sleep(120)
"""


def test_a_second_training_is_refused_until_the_first_is_killed(tmp_path):
    run = create_run(tmp_path / "run", dict(model="vae"))
    holder = subprocess.Popen([*PYTHON, HOLD, str(run)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another process is training in .*run right now") as error:
            with only_one(run, ALONE):
                raise AssertionError("both hold it")
        assert_sentence(error.value)
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    with only_one(run, ALONE), only_one(run, ALONE):
        pass  # who holds it may hold it again: the command line around the loop


def test_fit_holds_the_folder_and_lets_go_when_it_fails(tmp_path):
    from test_loop import Points
    from two_networks import Game

    from genlab.lab.training import fit

    run = create_run(tmp_path / "run", dict(model="game"))
    code = HOLD.replace('print("held", flush=True)\n    time.sleep(120)', 'print("held")')
    seen = []

    class Watched(Game):
        def step(self, update, t):
            seen.append(subprocess.run([*PYTHON, code, str(run)], capture_output=True, text=True))
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fit(Watched(), Points(), steps=1, batch_size=32, out=run)
    assert "right now" in seen[0].stderr and seen[0].stdout == ""
    fit(Game(), Points(), steps=1, batch_size=32, out=run)


def test_only_the_first_process_locks_and_all_hear_of_it(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(runs, "broadcast_object_list", lambda taken: told.append(list(taken)))
    second = SimpleNamespace(is_main_process=False, num_processes=2)
    with only_one(tmp_path, second):
        assert not (tmp_path / ".lock").exists() and told == [[False]]
    monkeypatch.setattr(runs, "broadcast_object_list", lambda taken: taken.__setitem__(0, True))
    with pytest.raises(UserError, match="right now"), only_one(tmp_path, second):
        raise AssertionError("it went on alone")


def test_a_frame_that_is_no_png_is_named_and_starts_no_ghostscript(tmp_path, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *a, **k: pytest.fail("Ghostscript was started"))
    good, bad = tmp_path / "step_1.png", tmp_path / "step_2.png"
    Image.new("L", (8, 8)).save(good)
    Image.new("L", (8, 8)).save(bad, "EPS")
    with pytest.raises(UserError, match="step_2.png can't be read as a PNG or JPEG .*Delete it"):
        animate([good, bad], tmp_path / "film.gif")
    assert not (tmp_path / "film.gif").exists()


# Checkpoints and weights

class Gift:
    "A pickle that would run something."

    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


def compressed(path):
    "The same checkpoint, packed: forty kilobytes can be forty megabytes."
    with zipfile.ZipFile(path) as archive:
        entries = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, content in entries:
            archive.writestr(info.filename, content)


def overlapping(path):
    "A hundred names for the same bytes: some kilobytes of it can be read as many megabytes."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data/0", bytes(1_000))
        archive.filelist *= 100
        archive._didModify = True


def old_pickle(path):
    path.write_bytes(pickle.dumps(Gift()))


NOT_CHECKPOINTS = {
    "a list": lambda path: torch.save([1], path),
    "nothing": lambda path: torch.save({}, path),
    "a step that is a word": lambda path: torch.save(dict(step="abc"), path),
    "a step that is true": lambda path: torch.save(dict(step=True), path),
    "another step": lambda path: torch.save(dict(step=31), path),
    "a function": lambda path: torch.save(dict(step=30, gift=Gift()), path),
    "a module": lambda path: torch.save(nn.Linear(2, 2), path),
    "an old pickle": old_pickle,
    "empty": lambda path: path.write_bytes(b""),
    "a text": lambda path: path.write_text("hello"),
    "a zip of something": lambda path: np.savez(path.open("wb"), a=np.zeros(3)),
    "half": lambda path: path.write_bytes(path.read_bytes()[:200]),
    "compressed": compressed,
    "overlapping": overlapping,
}


@pytest.mark.parametrize("what", NOT_CHECKPOINTS)
def test_what_is_no_checkpoint_is_named(tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "state"
    for step in (20, 30):
        save_checkpoint(folder, dict(step=step, weights=torch.zeros(3)))
    NOT_CHECKPOINTS[what](folder / "000000030.pt")
    said = r"000000030.pt is damaged \(.+\). Nothing .* to go on from 000000020.pt"
    with pytest.raises(UserError, match=said) as error:
        load_checkpoint(folder)
    assert_sentence(error.value)
    assert ("it is compressed, or a program" in str(error.value)) == (what == "compressed")
    assert ("its parts overlap" in str(error.value)) == (what == "overlapping")
    assert not (tmp_path / "executed").exists()
    (folder / "000000030.pt").unlink()
    assert load_checkpoint(folder)["step"] == 20


def test_a_disk_that_cannot_be_read_is_not_called_damage(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, dict(step=10))

    def broken(*args, **kwargs):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(torch, "load", broken)
    with pytest.raises(OSError, match="Input/output error"):
        load_checkpoint(tmp_path)


class Guessing(nn.Linear):
    "A layer with a number that isn't known yet, and some that are no floats."

    def __init__(self):
        super().__init__(2, 2)
        self.register_buffer("fixed", torch.tensor(math.nan))
        self.register_buffer("counts", torch.zeros(2, dtype=torch.long))
        self.register_buffer("started", torch.tensor(False))


@pytest.mark.parametrize("name", ["weight", "bias"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path, name, value):
    path = tmp_path / "model.safetensors"
    bad = Guessing()
    save_weights(path, bad)
    assert load_weights(path, Guessing).fixed.isnan(), "where the new model has a NaN, it may be one"
    bad.state_dict()[name].view(-1)[-1] = value
    save_weights(path, bad)
    model = Guessing()
    before = {key: v.clone() for key, v in model.state_dict().items()}
    with pytest.raises(UserError, match=f"not finite, in {name}") as error:
        load_weights(path, lambda: model)
    assert_sentence(error.value)
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0, equal_nan=True)


def test_weights_that_do_not_match_are_a_sentence(tmp_path):
    path = tmp_path / "model.safetensors"
    right = dict(weight=torch.zeros(2, 2), bias=torch.zeros(2))
    others = (right | dict(weight=torch.zeros(3, 2)), dict(weight=right["weight"]), {}, right | dict(a=torch.zeros(1)))
    for tensors in others:
        save_file(tensors, path)
        with pytest.raises(UserError, match="does not fit the model"):
            load_weights(path, lambda: nn.Linear(2, 2))
    for content in (b"", b"hello", b"\xff" * 100, (2**60).to_bytes(8, "little") + b"{}"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="is damaged.*genlab train --resume"):
            load_weights(path, lambda: nn.Linear(2, 2))


@pytest.mark.parametrize("content", [None, b"hello", "not finite"], ids=["missing", "damaged", "not finite"])
def test_the_advice_about_weights_is_the_caller_s(tmp_path, content):
    "Only a run can be continued."
    path = tmp_path / "model.safetensors"
    if content == "not finite":
        save_file(dict(weight=torch.full((2, 2), math.nan), bias=torch.zeros(2)), path)
    elif content:
        path.write_bytes(content)
    with pytest.raises(UserError, match="genlab train --resume"):
        load_weights(path, lambda: nn.Linear(2, 2))
    with pytest.raises(UserError, match="Download it again.$") as error:
        load_weights(path, lambda: nn.Linear(2, 2), advice="Download it again.")
    assert "genlab train" not in str(error.value)
    assert_sentence(error.value)


def test_checkpoints_are_not_compressed(tmp_path):
    save_checkpoint(tmp_path, dict(step=1, weights=torch.zeros(10_000)))
    with zipfile.ZipFile(tmp_path / "000000001.pt") as archive:
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
