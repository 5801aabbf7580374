"One validator for settings, whoever wrote them: what it accepts is what the types say, and all else is a sentence."

import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal, Optional

import pytest
import tyro
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genlab import NotNegative, NotNegativeFloat, Positive, PositiveFloat, Range, Seed, Share, Size, Sizes, UserError
from genlab.workshop.runs import PlainLoader, validated


@dataclass
class Everything:
    "Settings of every kind."

    n: Positive = 1
    zero: NotNegative = 0
    width: Size = 8
    widths: Sizes = (8, 16)
    seed: Seed = 0
    lr: PositiveFloat = 1e-3
    beta: NotNegativeFloat = 1.0
    dropout: Share = 0.0
    whole: int = -5
    real: float = -0.5
    flag: bool = False
    name: str = "vae"
    folder: Path = Path("runs")
    kind: Literal["linear", "cosine", 3] = "linear"
    maybe: Positive | None = None
    perhaps: Annotated[float | None, Range(0, 1)] = None
    older: Optional[Path] = None  # noqa: UP045
    pair: tuple[int, float] = (1, 2.0)
    shape: tuple[int, ...] = ()
    kinds: tuple[Literal["a", "b"], ...] = ()
    foreign: Annotated[int, "metadata of somebody else", Range(0, 3)] = 2


def refused(values, cls: type = Everything) -> str:
    "The sentence with which values are refused."
    with pytest.raises(UserError) as error:
        validated(cls, values, "config.yaml")
    said = str(error.value)
    assert said.startswith("config.yaml: ") and said.endswith(".") and len(said) < 600 and said.isprintable()
    return said


ACCEPTED = [
    ("n", 10**9, 10**9), ("zero", 0, 0), ("seed", 2**40 - 1, 2**40 - 1), ("whole", -2**63, -2**63), ("foreign", 3, 3),
    ("lr", 1, 1.0), ("lr", 1e30, 1e30), ("beta", 0, 0.0), ("dropout", 0.999, 0.999),
    ("real", -1e38, -1e38), ("real", 0, 0.0),
    ("flag", True, True), ("name", "", ""), ("kind", 3, 3),
    ("folder", "a/b", Path("a/b")), ("folder", Path("a"), Path("a")),
    ("maybe", None, None), ("maybe", 7, 7), ("perhaps", 1, 1.0), ("perhaps", None, None), ("older", "x", Path("x")),
    ("widths", [4], (4,)), ("widths", (4, 5), (4, 5)), ("pair", [1, 2], (1, 2.0)), ("shape", [], ()),
    ("shape", [1, -2], (1, -2)), ("kinds", ["a"], ("a",)),
]


@pytest.mark.parametrize("name,value,expected", ACCEPTED)
def test_accepted(name, value, expected):
    found = getattr(validated(Everything, {name: value}, "here"), name)
    assert found == expected and type(found) is type(expected)


NUMBERS = [None, "abc", "", "1", [], [1], {}, {"a": 1}, [[1]], True, False, b"1", 1j, object()]
REFUSED = {
    "n": [*NUMBERS, 0, -1, 1.0, math.nan, 10**9 + 1, 10**400, -10**400],
    "zero": [-1, 0.0, -0.0],
    "width": [0, 2**16 + 1, 10**30],
    "seed": [-1, 2**40, "abc", 1.5],
    "lr": [*NUMBERS, 0, 0.0, -0.0, -1, math.nan, math.inf, -math.inf, 1e300, 10**400, 1e-320, 5e-324, "1e-3", "1e400"],
    "beta": [-1e-9, math.nan, math.inf],
    "dropout": [1, 1.0, -0.1, math.nan, True],
    "whole": [2**63, -2**63 - 1, 1.0, True],
    "real": [math.nan, math.inf, 1e39, -1e39, 1e-39, True, "0"],
    "flag": [0, 1, 1.0, "true", None, []],
    "name": [5, None, ["a"], b"a", True, "a" * 10_001],
    "folder": [5, None, "", "a\0b", ["a"], True, "a" * 10_001],
    "kind": ["Linear", 3.0, True, None, ["linear"], {}, "linear "],
    "maybe": [0, "7", True, [], 7.0],
    "perhaps": [1.1, -1, math.nan, "1", True],
    "older": [5, "", True],
    "widths": [None, 4, "48", {}, {4}, [], [0], [4, "5"], [4, True], [4, 5.0], [[4]], [4, None], [10**30], [4] * 33],
    "pair": [[1], [1, 2, 3], [1.0, 2], [1, "2"], [True, 1], 1, []],
    "shape": [[1.5], [None], 1, [10**400], [[]], [0] * 10_001],
    "kinds": [["c"], "a", ["a", None], [["a"]]],
    "foreign": [4, -1, "2"],
}


@pytest.mark.parametrize("name,value", [(name, value) for name in REFUSED for value in REFUSED[name]])
def test_refused(name, value):
    said = refused({name: value})
    assert said.startswith(f"config.yaml: {name} is ") and "; expected " in said


def test_the_sentence_names_source_field_value_and_what_was_expected():
    sentences = {
        "lr": (math.nan, "lr is nan; expected a number, above 0, and finite."),
        "dropout": (1, "dropout is 1; expected a number, at least 0 and below 1."),
        "n": (True, "n is True; expected a whole number, at least 1 and at most 1,000,000,000."),
        "kind": ("x", "kind is 'x'; expected one of linear, cosine, 3."),
        "maybe": (0, "maybe is 0; expected a whole number, at least 1 and at most 1,000,000,000 or nothing (null)."),
        "flag": (1, "flag is 1; expected true or false."),
        "widths": ([4, "5"], "widths is [4, '5']; expected a list whose entry 1 is a whole number, "
                             "at least 1 and at most 65,536, not '5'."),
        "pair": ([1], "pair is [1]; expected a list with a length of at least 2 and at most 2."),
        "real": ("1e-3", "real is '1e-3'; expected a number (YAML reads 1e-3 as a text: write 1.0e-3)."),
    }
    for name, (value, said) in sentences.items():
        assert refused({name: value}) == f"config.yaml: {said}"


@pytest.mark.parametrize("typed,better", [
    ("1e-3", "1.0e-3"), ("1E-3", "1.0e-3"), ("1.5e3", "1.5e+3"), ("-2.e4", "-2.e+4"), ("+3.5E05", "+3.5e+5"),
    (".5e5", None), ("1e3", "1.0e+3"), ("1.5e-3", None), ("1e", None), ("e3", None), (".e3", None), ("1e3x", None),
    ("1e1.5", None)])
def test_a_number_that_yaml_takes_for_a_text_is_told_how_to_be_written(typed, better):
    read = yaml.safe_load(f"real: {typed}")["real"]
    assert isinstance(read, float) == (typed == "1.5e-3")
    if not isinstance(read, float):
        said = refused(dict(real=read))
        assert (f"(YAML reads {typed} as a text: write {better})" in said) == (better is not None), said
    if better:
        assert yaml.safe_load(f"real: {better}")["real"] == float(typed)


def test_a_long_text_of_digits_is_no_hint():
    assert "YAML" not in refused(dict(real="1" * 5_000 + "e3"))


def test_names_that_are_unknown_or_missing():
    @dataclass
    class Needs:
        steps: Positive
        made: list = field(default_factory=list, init=False)

    assert "'stepz' is no setting of Needs; expected some of steps." in refused(dict(stepz=1), Needs)
    assert "steps is missing" in refused({}, Needs)
    assert "'made' is no setting" in refused(dict(steps=1, made=[]), Needs)
    for key in (5, None, ("a",), "\x1b[2J", "x" * 10_000):
        assert "is no setting of Everything" in refused({key: 1})
    for values in (None, [], "abc", 5, [("n", 1)]):
        assert "expected names with their values" in refused(values)


def test_values_that_cannot_be_shown():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    try:
        for name in ("n", "lr", "name", "kind", "flag", "shape"):
            assert "a very large list" in refused({name: deep})
        assert "a very large int" in refused(dict(flag=2**20_000))
    finally:
        while deep:  # else Python's own clearing of it is as deep
            deep = deep.pop()


def test_a_type_that_settings_cannot_have_is_the_programmer_s_error():
    @dataclass
    class Strange:
        a: dict = field(default_factory=dict)

    with pytest.raises(TypeError, match="no type that settings can have"):
        validated(Strange, dict(a={}), "here")


def test_types_that_are_texts():
    names = {"__annotations__": {"n": "Annotated[int, Range(1, 3)]"}, "__module__": __name__}
    Late = dataclass(type("Late", (), names))
    assert validated(Late, dict(n=3), "here").n == 3
    assert "at most 3" in refused(dict(n=4), Late)


def test_a_class_that_checks_itself_still_does():
    @dataclass
    class Both:
        low: int
        high: int

        def __post_init__(self):
            if self.low > self.high:
                raise UserError("low is above high.")

    with pytest.raises(UserError, match="low is above high"):
        validated(Both, dict(low=2, high=1), "here")


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.integers(10**18, 10**420),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=8)
NAMES = [f.name for f in fields(Everything)]
slow_machine = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def assert_well(config: Everything) -> None:
    "What an accepted config may hold, said once more without the validator's own code."
    for name in ("n", "zero", "width", "seed", "whole", "foreign"):
        assert type(getattr(config, name)) is int and abs(getattr(config, name)) <= 2**63
    for name in ("lr", "beta", "dropout", "real"):
        value = getattr(config, name)
        assert type(value) is float and math.isfinite(value) and (value == 0 or 1e-38 <= abs(value) <= 1e38)
    assert 1 <= config.n <= 10**9 and config.zero >= 0 and 1 <= config.width <= 65_536 and 0 <= config.seed < 2**40
    assert config.lr > 0 and config.beta >= 0 and 0 <= config.dropout < 1 and 0 <= config.foreign <= 3
    assert type(config.flag) is bool and type(config.name) is str and isinstance(config.folder, Path)
    assert config.kind in ("linear", "cosine") or type(config.kind) is int and config.kind == 3
    assert config.maybe is None or type(config.maybe) is int and config.maybe >= 1
    assert config.perhaps is None or type(config.perhaps) is float and 0 <= config.perhaps <= 1
    assert type(config.widths) is tuple and config.widths and all(type(w) is int and w >= 1 for w in config.widths)
    assert type(config.pair) is tuple and [type(x) for x in config.pair] == [int, float]
    assert type(config.shape) is tuple and all(type(n) is int for n in config.shape)
    assert type(config.kinds) is tuple and set(config.kinds) <= {"a", "b"}


@slow_machine
@given(st.dictionaries(st.sampled_from(NAMES), PLAIN, max_size=4))
def test_whatever_is_in_it_it_is_a_good_config_or_a_sentence(values):
    try:
        config = validated(Everything, values, "config.yaml")
    except UserError:
        refused(values)
    else:
        assert_well(config)


GOOD = dict(
    n=st.integers(1, 10**9),
    lr=st.floats(1e-38, 1e38) | st.integers(1, 1000),
    dropout=st.just(0) | st.floats(1e-38, 0.99),
    widths=st.lists(st.integers(1, 2**16), min_size=1, max_size=32),
    flag=st.booleans(),
    name=st.text(max_size=30),
    kind=st.sampled_from(["linear", "cosine", 3]),
    maybe=st.none() | st.integers(1, 99),
    seed=st.integers(0, 2**40 - 1),
    kinds=st.lists(st.sampled_from(["a", "b"]), max_size=3),
)


@slow_machine
@given(st.fixed_dictionaries({}, optional=GOOD))
def test_a_good_config_survives_json_and_yaml(values):
    config = validated(Everything, values, "here")
    assert_well(config)
    plain = {name: str(v) if isinstance(v, Path) else v for name, v in asdict(config).items()}
    plain = {name: list(v) if isinstance(v, tuple) else v for name, v in plain.items()}
    assert validated(Everything, json.loads(json.dumps(plain)), "json") == config
    assert validated(Everything, yaml.load(yaml.safe_dump(plain), PlainLoader), "yaml") == config


def test_json_s_own_infinities():
    values = json.loads('{"lr": 1e400, "beta": NaN}')
    assert "lr is inf; expected a number, above 0, and finite" in refused(values)
    assert "beta is nan" in refused(dict(beta=values["beta"]))


def test_the_same_class_makes_a_command_line():
    args = "--n 5 --widths 4 5 --lr 1 --maybe 3 --perhaps None --kind cosine --folder a --foreign 9".split()
    config = tyro.cli(Everything, args=args)
    assert (config.n, config.widths, config.lr, config.maybe) == (5, (4, 5), 1.0, 3)
    assert (config.kind, config.folder) == ("cosine", Path("a"))
    with pytest.raises(UserError, match="command line: foreign is 9"):
        validated(Everything, vars(config), "command line")
    config.foreign = 1
    assert validated(Everything, vars(config), "command line") == config


@pytest.mark.parametrize("limits,inside,outside", [
    (Range(0, 1), (0, 0.5, 1), (-0.1, 1.1)),
    (Range(0, 1, low_open=True), (1e-9, 1), (0, 1.1)),
    (Range(0, 1, high_open=True), (0, 0.99), (-1, 1)),
    (Range(), (-math.inf, 0, math.inf), (math.nan,)),
    (Range(low=3), (3, 10**400), (2,)),
    (Range(high=3), (-10**400, 3), (4,)),
])
def test_ranges(limits, inside, outside):
    assert all(x in limits for x in inside) and not any(x in limits for x in (*outside, math.nan))
