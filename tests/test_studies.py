"Studies: interrupted in any way they end with the same lines, and two configurations are never averaged."

import importlib.util
import json
import math
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from genlab import UserError
from genlab import studies as reader

ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("study_tool", ROOT / "benchmarks" / "study.py")
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)
NAMES = sorted(p.stem for p in tool.STUDIES.glob("*.py"))
every_study = pytest.mark.parametrize("name", NAMES)

TOY = '''
import time
from pathlib import Path

HERE = Path(__file__).parent
ARMS = [dict(width=width, note="10 \u00b5m", seed=seed) for width in (8, 16) for seed in range(3)]
SMOKE = ARMS[:1]


def run(arm):
    with open(HERE / "started.txt", "a") as f:
        f.write(f"{arm['width']} {arm['seed']}\\n")
    while arm == ARMS[2] and (HERE / "the third waits").exists():
        time.sleep(0.01)
    return dict(loss=1 / arm["width"] + arm["seed"] / 1_000, hits=arm["seed"])
'''


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    "A folder with a study of six arms, toy.py; its lines go to toy.jsonl beside it, those of smoke into smoke/."
    write_toy(tmp_path)
    monkeypatch.setattr(tool, "STUDIES", tmp_path)
    monkeypatch.setattr(tool, "LINES", tmp_path)
    monkeypatch.setattr(tool, "SMOKE_LINES", tmp_path / "smoke")
    return tmp_path


def write_toy(folder: Path, **replaced: str) -> None:
    text = TOY
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "toy.py").write_text(text, encoding="utf-8")
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)  # of a text that may be as long and as old


def started(folder: Path) -> list[str]:
    "Which arms were begun, in order."
    path = folder / "started.txt"
    return path.read_text().splitlines() if path.exists() else []


def results(folder: Path) -> list[tuple]:
    "The lines without what depends on the moment."
    return [(row["config"], row["seed"], row["values"]) for row in reader.read_lines(folder / "toy.jsonl")]


def process(folder: Path) -> subprocess.Popen:
    code = f"import sys, pathlib; sys.path.insert(0, {str(ROOT / 'benchmarks')!r}); import study\n"
    code += f"study.STUDIES = study.LINES = pathlib.Path({str(folder)!r}); sys.exit(study.main(['toy']))"
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, **pipes)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_and_resumed_gives_the_same_lines(folder, how):
    (folder / "the third waits").touch()
    first = process(folder)
    deadline = time.time() + 120
    while len(started(folder)) < 3 and first.poll() is None and time.time() < deadline:
        time.sleep(0.01)
    first.send_signal(how)
    said, _ = first.communicate(timeout=60)
    (folder / "the third waits").unlink()
    assert len(results(folder)) == 2 and len(started(folder)) == 3, said
    assert how == signal.SIGKILL or "the same command goes on" in said and "Traceback" not in said
    second = process(folder)
    said, _ = second.communicate(timeout=120)
    assert second.returncode == 0, said
    assert results(folder) == [
        (dict(width=w, note="10 \u00b5m"), s, dict(loss=1 / w + s / 1_000, hits=s)) for w in (8, 16) for s in range(3)]
    assert [len(started(folder)), started(folder).count("8 2")] == [7, 2], "only the arm that was cut short ran twice"


def test_half_a_line_is_dropped(folder):
    assert tool.main(["toy"]) == 0
    path = folder / "toy.jsonl"
    whole, rows = path.read_bytes(), reader.read_lines(path)
    last = whole.splitlines(keepends=True)[-1]
    assert "\\u00b5" in last.decode(), "a character is never cut in two"
    for kept in range(len(last)):
        path.write_bytes(whole[: len(whole) - len(last) + kept])
        assert reader.read_lines(path) == rows[:-1]
    before = len(started(folder))
    assert tool.main(["toy"]) == 0  # the last of them lacked nothing but the newline
    assert [(r["config"], r["seed"], r["values"]) for r in rows] == results(folder)
    assert started(folder)[before:] == ["16 2"]
    assert path.read_bytes().count(b"\n") == 6


def test_a_changed_arm_is_run_anew_and_never_averaged_with_the_old_one(folder, capsys):
    assert tool.main(["toy"]) == 0
    write_toy(folder, **{"(8, 16)": "(8, 32)"})
    study = tool.load("toy")
    path = folder / "toy.jsonl"
    tool.append(path, dict(reader.read_lines(path)[0], config=dict(width=32, note="10 \u00b5m")))
    arms = reader.spreads(reader.read_lines(path))
    assert [(arm.config["width"], arm.seeds) for arm in arms] == [(8, [0, 1, 2]), (16, [0, 1, 2]), (32, [0])]
    capsys.readouterr()
    assert tool.main(["toy", "--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[-1].split(",")[0] for line in listed if "missing" in line] == ["width 32"] * 2
    assert sum("not named" in line and "width 16" in line for line in listed) == 3
    before = len(started(folder))
    assert tool.main(["toy"]) == 0
    assert started(folder)[before:] == ["32 1", "32 2"]
    assert capsys.readouterr().out.count("dropped") == 3
    assert [dict(c, seed=s) for c, s, _ in results(folder)] == study.ARMS


def test_list_runs_nothing_and_smoke_has_a_file_of_its_own(folder, capsys):
    assert tool.main(["toy", "--list"]) == 0
    assert capsys.readouterr().out.count("missing") == 6 and not started(folder) and not (folder / "toy.jsonl").exists()
    assert tool.main(["toy", "--budget", "smoke"]) == 0
    assert started(folder) == ["8 0"] and not (folder / "toy.jsonl").exists()
    assert len(reader.read_lines(folder / "smoke" / "toy.jsonl")) == 1
    assert tool.main(["toy"]) == 0 and len(results(folder)) == 6


def test_what_is_no_line_is_named(folder, capsys):
    assert tool.main(["toy"]) == 0
    path = folder / "toy.jsonl"
    whole = path.read_text()
    for wrong in ("{", "3", "[]", "{}", '{"config": {}, "seed": 0, "values": {}}', ""):
        path.write_text(whole.replace(whole.splitlines()[2], wrong))
        with pytest.raises(UserError, match="line 3 .* Delete this line"):
            reader.read_lines(path)
        assert tool.main(["toy"]) == 2 and "line 3" in capsys.readouterr().err
        assert path.read_text() == whole.replace(whole.splitlines()[2], wrong), "nothing is lost"
    with pytest.raises(UserError, match="there are: .*points"):
        reader.read_study("no such study")


def test_spread_and_prediction_interval():
    s = reader.Spread((1.0, 2.0, 6.0))
    assert (s.mean, s.low, s.high) == (3, 1, 6)
    low, high = s.next_seed(0.95)
    half = 4.3027 * math.sqrt(7) * math.sqrt(4 / 3)  # Student's t with 2 degrees of freedom, from a printed table
    assert low == pytest.approx(3 - half, rel=1e-4) and high == pytest.approx(3 + half, rel=1e-4)


def test_the_prediction_interval_keeps_its_promise():
    import numpy as np

    rng, inside = np.random.default_rng(0), 0
    for _ in range(2_000):
        *seeds, one_more = rng.normal(5, 2, size=4)
        low, high = reader.Spread(tuple(seeds)).next_seed(0.9)
        inside += low <= one_more <= high
    assert inside / 2_000 == pytest.approx(0.9, abs=0.02)


def test_reading_needs_neither_torch_nor_numpy():
    code = "import sys; from genlab.studies import read_study, spreads; spreads(read_study('points'))\n"
    code += "print([m for m in ('torch', 'numpy', 'scipy') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout == "[]\n"


@every_study
def test_tracked_lines_are_what_the_study_names(name):
    path = reader.LINES / f"{name}.jsonl"
    assert path.stat().st_size < 200_000
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n")
    rows = reader.read_study(name)
    study = tool.load(name)
    assert [tool.key(row["config"] | dict(seed=row["seed"])) for row in rows] == [tool.key(arm) for arm in study.ARMS]
    for row in rows:
        assert len({tuple(other["values"]) for other in rows if other["config"] == row["config"]}) == 1
        assert isinstance(row["seed"], int) and row["seconds"] > 0 and row["values"] and row["device"]
        assert re.fullmatch(r"[0-9a-f]{7,40}", row["commit"]), "run from a commit, without other changes"
        assert {"python", "genlab", "torch"} <= row["versions"].keys()
    assert not re.search(r"(?<![\w.])(/|~|[A-Z]:\\\\)[\w.-]+[/\\]", text), "an absolute path"
    assert platform.node() not in text
    tracked = subprocess.run(["git", "ls-files", reader.LINES], cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"genlab/studies/{name}.jsonl" in tracked.stdout.split()


def test_every_file_of_lines_has_its_study():
    assert sorted(p.stem for p in reader.LINES.glob("*.jsonl")) == NAMES


@every_study
def test_smoke(name, tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "SMOKE_LINES", tmp_path)
    assert tool.main([name, "--budget", "smoke"]) == 0
    tracked, rows = reader.read_study(name), reader.read_lines(tmp_path / f"{name}.jsonl")
    assert {tuple(row["values"]) for row in rows} == {tuple(row["values"]) for row in tracked}
    configs = [{tool.key(row["config"]) for row in some} for some in (rows, tracked)]
    assert not configs[0] & configs[1], "smaller than the real ones"


def seeds_of(study: str) -> dict[str, list[dict]]:
    "The values of each generator, one dict per seed, without the reader."
    seeds = {}
    for line in (ROOT / "genlab" / "studies" / f"{study}.jsonl").read_text().splitlines():
        row = json.loads(line)
        seeds.setdefault(row["config"]["generator"], []).append(row["values"])
    return seeds


def saved_tables(chapter: str) -> list[list[list[str]]]:
    "What a chapter's cells with a study's table printed when it was saved: rows of entries, the columns' names first."
    book = json.loads((ROOT / "nbs" / "1_points" / f"{chapter}.ipynb").read_text(encoding="utf-8"))
    found = []
    for cell in book["cells"]:
        if cell["cell_type"] == "code" and "print(table(study" in "".join(cell["source"]):
            text = "".join("".join(out["text"]) for out in cell["outputs"] if out["output_type"] == "stream")
            head, *lines = text.splitlines()
            rows = [re.split(r"\s{2,}", line.strip()) for line in lines]
            found.append([head.split(), *(row for row in rows if len(row) == 1 + len(head.split()))])
    return found


TABLES = {"11_distances": 1, "12_vae": 2, "13_transformer_vae": 1, "14_likelihood": 2}


@pytest.mark.parametrize("chapter,tables", TABLES.items())
def test_chapters_say_what_the_lines_say(chapter, tables):
    "Means and ranges, computed anew."
    seeds = seeds_of("points")
    found = saved_tables(chapter)
    assert len(found) == tables
    for columns, *rows in found:
        assert len(rows) >= 3
        for name, *entries in rows:
            for column, entry in zip(columns, entries, strict=True):
                numbers = [v.get(column) for v in seeds[name]]
                if entry == "-":
                    assert numbers[0] is None
                    continue
                want = (sum(numbers) / 3, (max(numbers) - min(numbers)) / 2)
                shown = entry.replace(",", "").split(" ± ")
                assert len(shown) in (1, 2)
                for text, number in zip(shown, want, strict=False):
                    digits = len(text.partition(".")[2])
                    assert abs(float(text) - number) <= 0.5001 * 10**-digits, (name, column, entry)
                if len(shown) == 1:
                    assert want[1] <= 0.5001 * 10 ** -len(shown[0].partition(".")[2])


def test_a_live_arm_is_held_against_its_study():
    "The bounds that chapters 11 and 12 claimed for the models they trained, computed anew."
    claims = json.loads((ROOT / "nbs" / "claims.json").read_text(encoding="utf-8"))
    seeds = seeds_of("points")
    expected = [("11_distances", "on the letter, this chapter's own fit", "place mixture of 256", "on_glyph")]
    sentence = "of the model trained above, within what three seeds let expect"
    expected += [("12_vae", f"{c} {sentence}", "one pixel, ex-post", c)
                 for c in ("on_glyph", "c2st")]
    for chapter, sentence, arm, column in expected:
        (row,) = [row for row in claims[chapter]["claims"] if row["claim"] == sentence]
        numbers = [v[column] for v in seeds[arm]]
        mean = sum(numbers) / 3
        sd = math.sqrt(sum((n - mean) ** 2 for n in numbers) / 2)
        half = 9.9248 * sd * math.sqrt(4 / 3)  # Student's t, 2 degrees of freedom, 99 %, from a printed table
        assert row["at_least"] == pytest.approx(mean - half, abs=1e-4)
        assert row["at_most"] == pytest.approx(mean + half, abs=1e-4)
        assert row["at_least"] <= row["value"] <= row["at_most"]


def test_a_table_of_arms():
    rows = [dict(config=dict(name=name), seed=seed, values=dict(loss=loss + seed / 10, size=1_234, hits=None))
            for name, loss in (("a", 1.0), ("b b", 20.0)) for seed in range(3)]
    text = reader.table(rows, "name", ["b b", "a"], dict(loss=1, size=0, hits=2))
    lines = text.splitlines()
    assert [line.split() for line in lines] == [
        ["loss", "size", "hits"],
        ["b", "b", "20.1", "±", ".1", "1,234", "-"],
        ["a", "1.1", "±", ".1", "1,234", "-"],
    ]
    assert len({len(line) for line in lines}) == 1
