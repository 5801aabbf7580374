"Claims: printed with their bounds, refused when they don't hold, collected in the ledger beside the saved chapters."

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from test_chapters import CHAPTERS, cells, tool

from genlab import claim

LEDGER = json.loads(tool.CLAIMS.read_text(encoding="utf-8"))


@pytest.fixture
def laptop(monkeypatch):
    monkeypatch.setenv("GENLAB_BUDGET", "laptop")
    monkeypatch.delenv("GENLAB_CLAIMS", raising=False)


@pytest.mark.parametrize("bounds,inside,outside,said", [
    (dict(at_least=0.5), (0.5, 7), (0.49, -1), "at least 0.5"),
    (dict(at_most=2), (2, -1), (2.01, 1e9), "at most 2"),
    (dict(at_least=0, at_most=1), (0, 0.5, 1), (-0.01, 1.01), "at least 0 and at most 1"),
    (dict(at_least=0), (0,), (-1e-9,), "at least 0"),
])
def test_a_claim_holds_or_fails_with_its_sentence(laptop, capsys, bounds, inside, outside, said):
    for value in inside:
        claim("more points on the letter", value, **bounds)
        assert capsys.readouterr().out == f"more points on the letter: {value:.4g} ({said})\n"
    for value in (*outside, math.nan, math.inf, -math.inf):
        with pytest.raises(AssertionError) as error:
            claim("more points on the letter", value, **bounds)
        assert f"does not hold: more points on the letter: {value:.4g} ({said})" in str(error.value)
    assert capsys.readouterr().out == ""


def test_tensors_and_numpy_are_numbers(laptop, capsys):
    for value in (torch.tensor(0.25), np.float32(0.25), torch.tensor([0.25]), np.int64(1), True):
        claim("small", value, at_most=1)
    with pytest.raises(AssertionError):
        claim("small", torch.tensor(math.nan), at_most=1)


@pytest.mark.parametrize("bounds", [
    {}, dict(smoke=1), dict(at_least=math.nan), dict(at_most=math.inf), dict(at_least=0, at_most=math.nan)])
def test_a_claim_needs_a_bound(laptop, bounds):
    with pytest.raises(TypeError, match="bound"):
        claim("anything", 0, **bounds)


def test_at_smoke_another_bound_holds_and_without_one_the_same(monkeypatch, capsys):
    def holds(budget, value, **bounds):
        monkeypatch.setenv("GENLAB_BUDGET", budget)
        try:
            claim("it", value, **bounds)
        except AssertionError:
            return False
        return True

    for budget in ("laptop", "gpu"):
        assert not holds(budget, 0.1, at_least=0.5, smoke=-1) and holds(budget, 0.6, at_least=0.5, smoke=0.7)
    assert holds("smoke", 0.1, at_least=0.5, smoke=0) and not holds("smoke", 0.6, at_least=0.5, smoke=0.7)
    assert "it: 0.1 (at least 0)" in capsys.readouterr().out, "the bound that is said is the one that holds"
    assert not holds("smoke", 0.1, at_least=0.5) and holds("smoke", 0.6, at_least=0.5)
    assert holds("smoke", 3, at_most=2, smoke=4) and not holds("smoke", 5, at_most=2, smoke=4)
    assert holds("smoke", -1, at_least=0, at_most=1, smoke=(-2, 1)) and not holds("smoke", 2, at_least=0, at_most=1)
    assert not holds("smoke", 1.5, at_least=0, at_most=9, smoke=(-2, 1))
    with pytest.raises(TypeError):
        claim("it", 0, at_least=0, at_most=1, smoke=3)
    with pytest.raises(TypeError, match="bounds of a claim are numbers"):
        claim("it", 0, at_least=0, smoke=math.nan)


def test_a_claim_is_added_to_the_ledger_that_the_environment_names(laptop, tmp_path, monkeypatch):
    lines = tmp_path / "claims.jsonl"
    monkeypatch.setenv("GENLAB_CLAIMS", str(lines))
    claim("größer", torch.tensor(0.5), at_least=0.25, seeds=3)
    claim("smaller", 1, at_least=0, at_most=2, smoke=(0, 9))
    with pytest.raises(AssertionError):
        claim("wrong", 1, at_most=0)
    assert [json.loads(line) for line in lines.read_text().splitlines()] == [
        dict(claim="größer", value=0.5, at_least=0.25, seeds=3),
        dict(claim="smaller", value=1.0, at_least=0, at_most=2),
    ]


COSTS = dict(peak=1.0, device="cpu", versions=dict(torch="2"))


def test_the_ledger_replaces_a_chapter_and_keeps_the_others(tmp_path):
    ledger = tmp_path / "claims.json"

    def write(chapter, *values):
        lines = "".join(json.dumps(dict(claim=f"c{i}", value=v, at_least=0)) + "\n" for i, v in enumerate(values))
        tool.write_claims(ledger, chapter, lines, "laptop", 1.5, COSTS)
        return json.loads(ledger.read_text())

    write("23_b", 1 / 3, 2)
    book = write("12_a", 5)
    assert list(book) == ["12_a", "23_b"], "sorted, so that a diff shows what has changed"
    assert book["23_b"] == dict(budget="laptop", seconds=90, device="cpu", versions=dict(torch="2"), claims=[
        dict(claim="c0", value=0.333333333, at_least=0), dict(claim="c1", value=2.0, at_least=0)])
    again = ledger.read_text()
    write("12_a", 5)
    assert ledger.read_text() == again
    assert len(write("23_b", 7)["23_b"]["claims"]) == 1
    assert list(write("23_b")) == ["12_a"], "a chapter that claims nothing isn't in it"


def test_a_chapter_that_is_run_writes_its_claims(tmp_path, monkeypatch):
    book = tmp_path / "12_claims.ipynb"
    code = "from genlab import claim\n"
    cell = dict(cell_type="code", metadata={}, outputs=[], execution_count=None)
    claims = 'claim("it holds", 0.5, at_least=0, smoke=0.25)'
    made = [dict(cell, id="a", source=code), dict(cell, id="b", source=claims)]
    title = dict(cell_type="markdown", id="t", metadata={}, source="# A chapter\n")
    tool.write(book, dict(cells=[title, *made], metadata={}, nbformat=4, nbformat_minor=5))
    monkeypatch.setattr(tool, "CLAIMS", tmp_path / "claims.json")
    for name in ("GENLAB_BUDGET", "GENLAB_CLAIMS", "TQDM_DISABLE", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # so that all is put back
    minutes, peak = tool.run(book, "smoke")
    found = json.loads((tmp_path / "claims.json").read_text())["12_claims"]
    assert found["claims"] == [dict(claim="it holds", value=0.5, at_least=0.25)]
    assert found["budget"] == "smoke" and set(found["versions"]) == {"python", "genlab", "torch", "numpy", "accelerate"}
    assert found["device"] in ("cpu", "cuda") and peak > 20 and minutes > 0
    outputs = tool.read(book)["cells"][2]["outputs"]
    assert "".join(outputs[0]["text"]) == "it holds: 0.5 (at least 0.25)\n"


CLAIMING = [p for p in CHAPTERS if any("claim(" in code for code in cells(p, "code"))]


@pytest.mark.parametrize("path", CLAIMING, ids=lambda p: p.stem)
def test_the_ledger_is_that_of_the_saved_chapter(path):
    "Each claim of the ledger was printed in the chapter's saved outputs, in this order, and there are no others."
    outputs = [out for cell in tool.read(path)["cells"] for out in cell.get("outputs", [])]
    printed = "".join("".join(out["text"]) for out in outputs if out.get("name") == "stdout")
    found = re.findall(r"^(.*): (\S+) \((?:at least|at most) [^)]*\)$", printed, flags=re.M)
    claims = LEDGER[path.stem]["claims"]
    assert found == [(c["claim"], f"{c['value']:.4g}") for c in claims]
    for c in claims:
        assert c.get("at_least", -math.inf) <= c["value"] <= c.get("at_most", math.inf)
    assert LEDGER[path.stem]["budget"] in ("laptop", "gpu"), "saved outputs are not those of a test"


def test_the_ledger_knows_only_chapters_that_there_are():
    assert set(LEDGER) == {p.stem for p in CLAIMING}
    assert tool.CLAIMS == Path(tool.NBS / "claims.json") and tool.CLAIMS.read_text().endswith("}\n")
