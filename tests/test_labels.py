"Labels know what they are called: check, encode, draw, parse, plain types; and one pass through a set in pieces."

import pytest
import torch
import yaml

from genlab import UserError
from genlab.lab.images import ImageSet, Labels, load_images, numbered, to_float

CLOTHES = Labels(("T-shirt", "trouser", "ankle boot", "bag"))
FACES = Labels(("Smiling", "Hat", "Long_Hair"), attributes=True)


def complaint(call) -> str:
    with pytest.raises(UserError) as e:
        call()
    message = str(e.value)
    assert message.endswith(".") and "\n" not in message and len(message) < 900
    return message


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("y", [torch.tensor([0, 3, -1]), torch.zeros(0, dtype=torch.int64)], ids=["some", "none"])
def test_classes_pass_and_stay_as_they_are(y):
    assert CLOTHES.check(y) is y


@pytest.mark.parametrize(
    "y",
    [torch.tensor([[True, False, True]]), torch.tensor([[1, 0, 1]]), torch.tensor([[1.0, 0, 1]])],
    ids=["bool", "int", "float"],
)
def test_attributes_pass_as_bool(y):
    assert torch.equal(FACES.check(y), torch.tensor([[True, False, True]]))


@pytest.mark.parametrize(
    "labels,y,says",
    [
        (CLOTHES, torch.tensor([4]), "values from 4 to 4"),
        (CLOTHES, torch.tensor([-2, 0]), "values from -2 to 0"),
        (CLOTHES, torch.tensor([1.0]), "torch.float32"),
        (CLOTHES, torch.tensor([1], dtype=torch.int32), "torch.int32"),
        (CLOTHES, torch.tensor([[1]]), "shape (1, 1)"),
        (CLOTHES, torch.tensor(1), "shape ()"),
        (CLOTHES, [1], "are a list"),
        (CLOTHES, torch.tensor([True]), "torch.bool"),
        (FACES, torch.tensor([[True, False]]), "shape (1, 2)"),
        (FACES, torch.tensor([1, 0, 1]), "shape (3,)"),
        (FACES, torch.tensor([[1, 0, 2]]), "values from 0 to 2"),
        (FACES, torch.tensor([[1, 0, -1]]), "values from -1 to 1"),
        (FACES, torch.tensor([[1.0, 0, float("nan")]]), "torch.float32"),
        (FACES, torch.zeros(1, 3, dtype=torch.complex64) + 2j, "complex"),
        (FACES, None, "are a NoneType"),
    ],
)
def test_labels_that_cannot_be_are_refused_with_the_names_that_exist(labels, y, says):
    for call in (labels.check, labels.encode):
        message = complaint(lambda call=call: call(y))
        assert says in message and ", ".join(labels.names) in message
        assert ("classes, int64 (B,), from -1 to 3" in message) == (labels is CLOTHES)


def test_classes_become_one_hot_and_no_label_a_row_of_zeros():
    y = CLOTHES.encode(torch.tensor([2, -1, 0]))
    assert y.dtype == torch.float32
    assert y.tolist() == [[0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]]


def test_attributes_become_multi_hot():
    y = FACES.encode(torch.tensor([[True, False, True], [False, False, False]]))
    assert y.dtype == torch.float32 and y.tolist() == [[1, 0, 1], [0, 0, 0]]


def test_classes_are_drawn_by_their_counts():
    labels = Labels(("a", "b", "c"), frequencies=torch.tensor([6, 0, 2]))
    y = labels.draw(8_000, generator())
    assert y.dtype == torch.int64 and y.shape == (8_000,)
    assert abs((y == 0).float().mean() - 0.75) < 0.02 and not (y == 1).any()
    assert torch.equal(y, labels.draw(8_000, generator())) and not torch.equal(y, labels.draw(8_000, generator(1)))


def test_without_frequencies_classes_are_alike_and_attributes_fair_coins():
    counts = CLOTHES.draw(8_000, generator()).bincount(minlength=4)
    assert (counts - 2_000).abs().max() < 200
    y = FACES.draw(8_000, generator())
    assert y.dtype == torch.bool and (y.float().mean(dim=0) - 0.5).abs().max() < 0.03
    assert torch.corrcoef(y.T.float())[~torch.eye(3, dtype=torch.bool)].abs().max() < 0.05


def test_attributes_are_drawn_together():
    rows = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    y = Labels(FACES.names, True, rows).draw(3_000, generator())
    assert torch.equal(y[:, 0], y[:, 1]) and torch.equal(y[:, 0], ~y[:, 2])
    assert abs(y[:, 0].float().mean() - 2 / 3) < 0.03


def test_a_data_set_gives_its_own_frequencies():
    x = torch.zeros(5, 1, 2, 2, dtype=torch.uint8)
    classes = ImageSet(x, torch.tensor([2, 2, 0, 2, 0]), ("a", "b", "c"), "few", "train").labels
    assert classes == Labels(("a", "b", "c")) and classes.frequencies.tolist() == [2, 0, 3]
    y = torch.rand(5, 2, generator=generator()) < 0.5
    few = ImageSet(x, y, ("a", "b"), "few", "train").labels
    assert few.attributes and sorted(few.frequencies.tolist()) == sorted(y.tolist())


def test_of_many_rows_a_thousand_are_kept_from_all_over_the_set():
    y = torch.arange(5_000)[:, None] < 2_500  # sorted: the first thousand rows would all be true
    many = ImageSet(torch.zeros(5_000, 1, 1, 1, dtype=torch.uint8), y, ("early",), "many", "train").labels
    assert many.frequencies.shape == (1_000, 1) and 0.4 < many.frequencies.float().mean() < 0.6
    faces = load_images("faces", n=300, size=32)
    bald, long_hair = faces.names.index("Bald"), faces.names.index("Long_Hair")
    y = faces.labels.draw(5_000, generator())
    assert y[:, bald].any() and y[:, long_hair].any() and not (y[:, bald] & y[:, long_hair]).any()


@pytest.mark.parametrize("n", [0, -1, 2.5, "3", None])
def test_a_number_of_draws_that_makes_no_sense(n):
    assert "n is" in complaint(lambda: CLOTHES.draw(n))


@pytest.mark.parametrize(
    "text,k", [("3", 3), ("bag", 3), ("Bag", 3), (" T-SHIRT ", 0), ("tshirt", 0), ("ankle_boot", 2), ("0", 0)]
)
def test_what_somebody_types_for_a_class(text, k):
    y = CLOTHES.parse(text)
    assert y.dtype == torch.int64 and y.tolist() == [k]


def test_a_name_comes_before_a_number():
    assert Labels(("9", "1", "0")).parse("1").tolist() == [1] and Labels(("9", "1", "0")).parse("0").tolist() == [2]
    assert Labels(("9", "1", "0")).parse("2").tolist() == [2]
    assert Labels(("a b", "A_B")).parse("A_B").tolist() == [1]  # exact, where two are alike but for case


@pytest.mark.parametrize("text", ["4", "-1", "sneaker", "", "\u00b2", "1.0", "9" * 5_000, "bag,bag", "ab", "\0"])
def test_no_class(text):
    labels = Labels((*CLOTHES.names, "A-B", "a b"))
    message = complaint(lambda: (CLOTHES if text == "4" else labels).parse(text))
    assert "There is no class" in message and "T-shirt, trouser" in message and "a number from 0 to" in message


@pytest.mark.parametrize(
    "text,row",
    [
        ("smiling=1,hat=0", [1, 0, 0]),
        ("Smiling=1", [1, 0, 0]),
        (" long hair = 1 , HAT=1", [0, 1, 1]),
        ("hat=0", [0, 0, 0]),
    ],
)
def test_what_somebody_types_for_attributes(text, row):
    "Those that aren't named are false."
    y = FACES.parse(text)
    assert y.dtype == torch.bool and y.shape == (1, 3) and y[0].int().tolist() == row


@pytest.mark.parametrize(
    "text",
    [
        "",
        "smiling",
        "1",
        "smiling=2",
        "smiling=yes",
        "smiling=1,smiling=0",
        "grin=1",
        "=1",
        "smiling=1,",
        "smiling=",
        "smiling=\u00b9",
        "0=1",
    ],
)
def test_no_attributes(text):
    message = complaint(lambda: FACES.parse(text))
    assert "Smiling, Hat, Long_Hair" in message


@pytest.mark.parametrize("labels", [CLOTHES, FACES], ids=["classes", "attributes"])
def test_through_a_config_file_and_back(labels):
    text = yaml.safe_dump(labels.as_dict())
    again = Labels.from_dict(yaml.safe_load(text))
    assert again == labels and again.names == labels.names and len(again) == len(labels) and again.frequencies is None


@pytest.mark.parametrize(
    "d",
    [
        None,
        [],
        "names",
        {},
        dict(names=["a"]),
        dict(names=["a"], attributes=1),
        dict(names="ab", attributes=False),
        dict(names=["a"], attributes=True, more=1),
        dict(names=[], attributes=True),
        dict(names=["a", "a"], attributes=False),
        dict(names=[1], attributes=False),
        dict(names=[""], attributes=False),
        dict(names=[["a"]], attributes=False),
    ],
    ids=str,
)
def test_plain_types_of_a_stranger(d):
    assert "The labels are" in complaint(lambda: Labels.from_dict(d))


@pytest.mark.parametrize(
    "attributes,f",
    [
        (False, torch.tensor([1, 2])),
        (False, torch.tensor([1, -1, 1])),
        (False, torch.tensor([0, 0, 0])),
        (False, torch.tensor([1, float("inf"), 1])),
        (False, torch.tensor([1, float("nan"), 1])),
        (True, torch.tensor([1, 1, 1])),
        (True, torch.zeros(0, 3, dtype=torch.bool)),
        (True, torch.zeros(2, 2, dtype=torch.bool)),
        (True, torch.zeros(2, 3)),
    ],
)
def test_frequencies_that_cannot_be(attributes, f):
    assert "The frequencies of 3" in complaint(lambda: Labels(("a", "b", "c"), attributes, f))


def test_a_pass_in_pieces_is_the_whole_set_in_order():
    s = load_images("shapes", n=23)
    for n, sizes in ((10, [10, 10, 3]), (23, [23]), (50, [23])):
        parts = list(s.pieces(n, "cpu"))
        assert [len(y) for _, y in parts] == sizes
        assert torch.equal(torch.cat([x for x, _ in parts]), to_float(s.x)) and torch.equal(
            torch.cat([y for _, y in parts]), s.y
        )
        assert all(x.dtype == torch.float32 and x.device == y.device == torch.device("cpu") for x, y in parts)


def test_pieces_go_to_the_device_that_is_asked_for():
    s = load_images("shapes", n=5)
    for x, y in s.pieces(2, "meta"):
        assert x.device == y.device == torch.device("meta")
    assert s.device == torch.device("cpu")


@pytest.mark.parametrize("n", [0, -2, 1.5, "3"])
def test_pieces_that_make_no_sense(n):
    assert "A piece of" in complaint(lambda: load_images("shapes", n=5).pieces(n))


def test_labels_without_names_are_numbers():
    assert numbered(3).names == ("0", "1", "2") and not numbered(3).attributes
    assert numbered(2, attributes=True).encode(torch.tensor([[True, False]])).tolist() == [[1.0, 0.0]]
