"The synthetic data sets: determinism, exact labels that can be seen, frequencies, errors."

import pytest
import torch

from genlab import UserError
from genlab.lab.images import ImageSet, load_images
from genlab.lab.synthetic import make_faces, make_shapes
from genlab.workshop import drawing
from genlab.workshop.drawing import (
    ATTRIBUTES,
    BLOCK,
    EXCLUSIVE,
    PROBABILITIES,
    SHAPES,
    STAGES,
    ellipse,
    frequencies,
    outside,
    paint_faces,
    pixel_grid,
    pose,
)

MAKERS = pytest.mark.parametrize("make", [make_shapes, make_faces])
# Where an attribute may change a 64 x 64 picture: rows and columns, poses included. Not listed: anywhere.
PLACES = {
    "Smiling": (27, 58, 11, 53),
    "Mouth_Open": (27, 60, 11, 53),
    "Eyeglasses": (24, 44, 8, 56),
    "Sunglasses": (24, 44, 8, 56),
    "Hat": (0, 42, 0, 64),
    "Beard": (25, 62, 8, 56),
    "Mustache": (35, 50, 18, 46),
    "Bald": (0, 44, 4, 60),
    "Bangs": (4, 32, 8, 56),
    "Rosy_Cheeks": (29, 50, 10, 54),
    "Lipstick": (34, 58, 17, 47),
    "Earrings": (32, 50, 4, 60),
    "Bushy_Eyebrows": (19, 38, 12, 52),
}

FLOORS = dict(
    zip(ATTRIBUTES, (8, 10, 15, 60, 150, 18, 6, 30, 140, 15, 35, 35, 250, 18, 8, 9, 8), strict=True)
)  # half of what was measured


def flipped(y: torch.Tensor, name: str, value: bool) -> torch.Tensor:
    "The same attributes with one of them set, and its rivals off."
    y = y.clone()
    for group in EXCLUSIVE:
        if name in group:
            y[:, [ATTRIBUTES.index(rival) for rival in group]] = False
    y[:, ATTRIBUTES.index(name)] = value
    return y


@MAKERS
@pytest.mark.parametrize("size", [32, 64])
def test_an_image_set_of_the_asked_size(make, size):
    data = make(70, size=size)
    assert (
        isinstance(data, ImageSet)
        and data.x.shape == (70, 3, size, size)
        and data.x.dtype == torch.uint8
        and data.x.is_contiguous()
    )
    if make is make_shapes:
        assert (
            data.y.dtype == torch.int64 and data.names == tuple(SHAPES) and len(SHAPES) == 10 and data.name == "shapes"
        )
    else:
        assert (
            data.y.dtype == torch.bool
            and data.y.shape == (70, len(ATTRIBUTES))
            and data.names == ATTRIBUTES
            and len(ATTRIBUTES) >= 14
        )
    assert data.x.float().flatten(1).std(dim=1).min() > 5, "no image is blank"


@MAKERS
def test_the_seeds_of_the_splits_are_said(make):
    "Who trains on seed 0 and tests on seed 1 takes the validation split; the label says train for both."
    name = make.__name__.removeprefix("make_")
    for seed, split in enumerate(("train", "validation", "test")):
        made, loaded = make(20, seed=seed), load_images(name, split, n=20)
        assert torch.equal(made.x, loaded.x) and torch.equal(made.y, loaded.y)
        assert made.split == "train" and loaded.split == split
    said = " ".join(make.__doc__.split())
    assert f'Seeds 0, 1, 2 are the train, validation and test splits of `load_images("{name}")`' in said


@MAKERS
def test_loading_draws_the_same_pictures(make):
    "load_images and the chapter's function go through one painter."
    for size in (32, 64):
        name, made = make.__name__.removeprefix("make_"), make(40, seed=2, size=size)
        loaded = load_images(name, "test", size=size, n=40)
        assert torch.equal(made.x, loaded.x) and torch.equal(made.y, loaded.y)
        assert (made.names, made.name, made.split) == (loaded.names, loaded.name, "train")


@MAKERS
def test_the_first_k_are_the_same_for_every_n(make):
    many = make(BLOCK + 200, seed=5)
    for k in (1, 63, 64, 65, BLOCK - 1, BLOCK, BLOCK + 1):
        few = make(k, seed=5)
        assert torch.equal(few.x, many.x[:k]) and torch.equal(few.y, many.y[:k])


@MAKERS
def test_seeds_and_blocks_are_different_draws(make):
    draws = [make(BLOCK + 50, seed=seed) for seed in (0, 1)]
    pictures = torch.cat([part for d in draws for part in (d.x[:50], d.x[BLOCK:])]).flatten(1)
    assert len(pictures.unique(dim=0)) == len(pictures)


@MAKERS
def test_the_number_of_threads_changes_nothing(make):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = make(2 * BLOCK + 7)
        torch.set_num_threads(2)
        assert torch.equal(one.x, make(2 * BLOCK + 7).x)
        assert torch.get_num_threads() == 2, "the setting is given back"
    finally:
        torch.set_num_threads(threads)


def test_classes_of_shapes_are_equally_frequent_and_painted():
    data = make_shapes(4_000, seed=2)
    assert (data.y.bincount(minlength=10) - 400).abs().max() < 4 * (4_000 * 0.09) ** 0.5
    small = torch.nn.functional.avg_pool2d(data.x.float(), 2).flatten(1)
    small = (small - small.mean(dim=1, keepdim=True)) / small.std(dim=1, keepdim=True)
    right = data.y[:3_000][torch.cdist(small[3_000:], small[:3_000]).argmin(dim=1)] == data.y[3_000:]
    assert right.float().mean() > 0.25, "a nearest neighbour beats guessing (0.1), so classes are in the pixels"


def test_labels_painted_again_give_the_set():
    data = make_faces(BLOCK + 30, seed=4, probabilities={"Hat": 0.5})
    assert torch.equal(paint_faces(data.y, seed=4), data.x)


def test_a_wish_changes_attributes_and_not_persons():
    a, b = make_faces(300, seed=1), make_faces(300, seed=1, probabilities={"Mouth_Open": 1.0})
    same = (a.y == b.y).all(dim=1)
    assert 20 < same.sum() < 280 and torch.equal(a.x[same], b.x[same])
    others = [j for j, name in enumerate(ATTRIBUTES) if name != "Mouth_Open"]
    assert torch.equal(a.y[:, others], b.y[:, others]) and b.y[:, ATTRIBUTES.index("Mouth_Open")].all()


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_every_attribute_shows_where_it_sits_and_nowhere_else(name):
    y = make_faces(
        256, seed=11, probabilities={"Hat": 0.4, "Sunglasses": 0.3, "Bangs": 0.4, "Beard": 0.4, "Mustache": 0.4}
    ).y
    off, on = (paint_faces(flipped(y, name, value), seed=11).int() for value in (False, True))
    change = (on - off).abs().amax(dim=1)
    assert (change > 24).flatten(1).sum(dim=1).min() >= FLOORS[name], "too few pixels on the worst face"
    top, bottom, left, right = PLACES.get(name, (0, 64, 0, 64))
    change[:, top:bottom, left:right] = 0
    assert change.max() == 0, "all else stays equal"


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_every_attribute_shows_at_32_pixels(name):
    y = make_faces(256, seed=12).y
    off, on = (paint_faces(flipped(y, name, value), seed=12, size=32).int() for value in (False, True))
    assert (on - off).abs().amax(dim=1).flatten(1).amax(dim=1).min() > 15


@pytest.mark.parametrize(
    "wishes",
    [None, {"Eyeglasses": 0.05}, {"Bald": 0.9, "Sunglasses": 0.5}, {"Blond": 1.0}, {"Blond": 0.5, "Gray_Hair": 0.5}],
)
def test_frequencies_are_what_was_asked(wishes, monkeypatch):
    monkeypatch.setattr(drawing, "paint_faces", lambda y, *_: torch.zeros(len(y), 3, 64, 64, dtype=torch.uint8))
    n = 8 * BLOCK
    data, p = make_faces(n, seed=3, probabilities=wishes), frequencies(wishes)
    for name, value in (wishes or PROBABILITIES).items():
        assert p[name] == pytest.approx(value)
    for j, name in enumerate(ATTRIBUTES):
        assert abs(data.y[:, j].float().mean() - p[name]) <= 4 * (p[name] * (1 - p[name]) / n) ** 0.5 + 1e-6, name
    for group in EXCLUSIVE:
        assert data.y[:, [ATTRIBUTES.index(name) for name in group]].sum(dim=1).max() <= 1


def test_attributes_are_independent_but_for_rivals(monkeypatch):
    "Two with a rival in common (long hair and bangs: the bald have neither) go together a little, of necessity."
    rivals = {a: {b for group in EXCLUSIVE if a in group for b in group} for a in ATTRIBUTES}
    monkeypatch.setattr(drawing, "paint_faces", lambda y, *_: torch.zeros(len(y), 3, 64, 64, dtype=torch.uint8))
    r = torch.corrcoef(make_faces(16 * BLOCK).y.T.float())
    for i, a in enumerate(ATTRIBUTES):
        for j, b in enumerate(ATTRIBUTES):
            if i < j and not rivals[a] & rivals[b]:
                assert abs(r[i, j]) < 0.04, (a, b)


def test_stages_build_on_each_other():
    y = flipped(make_faces(64).y, "Hat", True)
    pictures = [paint_faces(y, stages=k) for k in range(1, len(STAGES) + 1)]
    assert torch.equal(pictures[-1], paint_faces(y))
    hats = (pictures[-1] != pictures[-2]).any(dim=1)
    assert hats.flatten(1).any(dim=1).all() and not hats[:, 50:].any(), (
        "the last stage paints what is worn, and not on the shoulders"
    )


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "waves"])
def test_distances_have_slope_one(name):
    p = (
        3 * torch.rand(5_000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1.5
    ).requires_grad_()
    d = SHAPES[name](p[:, 0], p[:, 1], torch.tensor(0.6, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(d.sum(), p)
    assert (gradient.norm(dim=1) - 1).abs().max() < 1e-6


def test_a_turned_conic_is_the_conic_on_turned_pixels():
    x, y = pixel_grid(32)

    def monomials(x, y):
        return torch.stack([x * x, x * y, y * y, x, y, torch.ones_like(x)]).flatten(1)

    sin, dx, dy, scale = torch.tensor([0.3]), torch.tensor([0.1]), torch.tensor([-0.2]), torch.tensor([1.3])
    cos, c = (1 - sin**2).sqrt(), ellipse(0.1, 0.2, 0.4, 0.7, 0.05, shear=0.2)
    X, Y = (cos * (x - dx) + sin * (y - dy)) / scale, (-sin * (x - dx) + cos * (y - dy)) / scale
    assert torch.allclose((c @ pose(sin, dx, dy, scale)[0]) @ monomials(x, y), c @ monomials(X, Y), atol=1e-3)
    assert torch.allclose(c @ monomials(x, y) + outside(c) @ monomials(x, y), torch.ones(32 * 32), atol=1e-4)


@pytest.mark.parametrize(
    "call,words",
    [
        (lambda: make_shapes(0), "n is 0; expected a whole number, 1 or more"),
        (lambda: make_faces(-3), "n is -3"),
        (lambda: make_faces(2.5), "n is 2.5"),
        (lambda: make_shapes(5, size=48), "size is 48; expected a whole number, 32 or 64"),
        (lambda: make_faces(5, size=128), "size is 128"),
        (lambda: make_faces(5, seed=-1), "seed is -1; expected a whole number, 0 or more"),
        (
            lambda: make_faces(5, probabilities={"Smile": 0.5}),
            "no attribute 'Smile'; expected one of Smiling, Mouth_Open",
        ),
        (lambda: make_faces(5, probabilities={"Hat": 1.2}), "probability of Hat is 1.2; expected a number from 0 to 1"),
        (lambda: make_faces(5, probabilities={"Hat": float("nan")}), "probability of Hat is nan"),
        (lambda: make_faces(5, probabilities={"Hat": "often"}), "probability of Hat is 'often'"),
        (
            lambda: make_faces(5, probabilities={"Bald": 0.7, "Blond": 0.6}),
            "exclude each other, and their probabilities add up to 1.3",
        ),
        (lambda: paint_faces(torch.zeros(5, 3, dtype=torch.bool)), "expected torch.bool of shape"),
        (lambda: paint_faces(torch.zeros(5, len(ATTRIBUTES))), "expected torch.bool of shape"),
        (
            lambda: paint_faces(torch.ones(5, len(ATTRIBUTES), dtype=torch.bool)),
            "Face 0 has more than one of Bald, Blond, Gray_Hair",
        ),
    ],
)
def test_errors_say_what_to_do(call, words):
    with pytest.raises(UserError) as e:
        call()
    assert words in str(e.value) and str(e.value).endswith(".")
