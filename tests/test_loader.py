"The loader says what is wrong with a data folder, for bad input of every kind."

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from layouts import png
from PIL import Image

import genlab.points.colored_pi as cp
from genlab import UserError

relaxed = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def folder(tmp_path):
    cp.save_pi(tmp_path, *cp.draw_pi(400, seed=5))
    return tmp_path


def complaint(folder) -> str:
    with pytest.raises(UserError) as e:
        cp.load_pi(folder)
    message = str(e.value)
    assert str(folder) in message and len(message) < 500
    return message


def test_what_ships_is_what_the_chapter_draws():
    home = cp.Path(cp.genlab.__file__).parent.parent / "data" / "colored_pi"
    for ours, drawn in zip(cp.read_pi(home), cp.draw_pi(), strict=True):
        np.testing.assert_array_equal(ours, drawn)


@pytest.mark.parametrize("name", ["pi_xs.npy", "pi_ys.npy", "sparse_pi_colored.png"])
def test_missing_file(folder, name):
    (folder / name).unlink()
    assert "is missing" in complaint(folder)


def test_no_folder(tmp_path):
    assert "is not a folder" in complaint(tmp_path / "nowhere")


@pytest.mark.parametrize("ext", ["jpg", "jpeg"])
def test_the_original_jpg_is_read(folder, ext):
    with Image.open(folder / "sparse_pi_colored.png") as picture:
        picture.save(folder / f"sparse_pi_colored.{ext}", quality=90)
    (folder / "sparse_pi_colored.png").unlink()
    pi = cp.load_pi(folder)
    assert len(pi.points) == 320 and len(pi.real) == 80


def test_swapped_axes(folder):
    xs, ys, image = cp.read_pi(folder)
    cp.save_pi(folder, ys, xs, image)
    assert "axes swapped" in complaint(folder)


def test_foreign_picture(folder):
    Image.fromarray(np.zeros((300, 300, 3), "u1")).save(folder / "sparse_pi_colored.png")
    assert "don't belong together" in complaint(folder)


@pytest.mark.parametrize("size", [(299, 300), (600, 600), (1, 1)])
def test_another_size(folder, size):
    Image.new("RGB", size, "white").save(folder / "sparse_pi_colored.png")
    assert "expected 300x300" in complaint(folder)


def test_grey_picture(folder):
    Image.new("L", (300, 300), 200).save(folder / "sparse_pi_colored.png")
    assert "has pixels of mode L; expected RGB" in complaint(folder)


@pytest.mark.parametrize("name", ["pi_xs.npy", "sparse_pi_colored.png"])
@relaxed
@given(st.binary(max_size=200))
def test_any_bytes_instead_of_a_file(folder, name, content):
    (folder / name).write_bytes(content)
    assert "can't be read" in complaint(folder)


@pytest.mark.parametrize("content, said", [
    (png((20_000, 20_000)), "can't be read as a PNG or JPEG"),
    (png((12_000, 12_000)), "12000x12000 pixels; expected 300x300"),
    (png((300, 300), (b"zTXt", b"k\0\0" + zlib.compress(bytes(2**24), 9))), "can't be read as a PNG or JPEG"),
    (png((300, 300), (b"tRNS", b"\1")), "can't be read as a PNG or JPEG")])
@pytest.mark.filterwarnings("ignore:Image size")  # Pillow's, before it refuses
def test_a_picture_that_would_fill_the_memory(folder, content, said):
    (folder / "sparse_pi_colored.png").write_bytes(content)
    tracemalloc.start()
    try:
        assert said in complaint(folder)
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


def test_an_array_that_promises_more_than_there_is(folder):
    header = str(dict(descr="<i8", fortran_order=False, shape=(10**13,))).ljust(117).encode() + b"\n"
    (folder / "pi_xs.npy").write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header)
    assert "can't be read as a NumPy array" in complaint(folder)


def test_more_numbers_than_pixels(folder):
    np.save(folder / "pi_ys.npy", np.zeros(90_001, int))
    assert "has 90,001 numbers; expected at most 90,000" in complaint(folder)


def test_truncated_files(folder):
    for name in ("pi_xs.npy", "sparse_pi_colored.png"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
        assert "can't be read" in complaint(folder)
        (folder / name).write_bytes(content)


def test_pickles_are_not_executed(folder):
    np.save(folder / "pi_xs.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "can't be read as a NumPy array" in complaint(folder)


@relaxed
@given(hnp.arrays(st.sampled_from(["f4", "f8", "?", "c8", "U3"]), st.integers(1, 20)))
def test_numbers_that_are_no_pixels(folder, a):
    np.save(folder / "pi_xs.npy", a)
    assert "expected int64 pixel numbers" in complaint(folder)


def test_nan_is_named(folder):
    np.save(folder / "pi_ys.npy", np.array([1.0, np.nan]))
    assert "with NaN" in complaint(folder)


@relaxed
@given(hnp.arrays("i8", hnp.array_shapes(min_dims=2, max_dims=3)) | hnp.arrays("i8", ()))
def test_other_shapes(folder, a):
    np.save(folder / "pi_xs.npy", a)
    assert "expected (n,)" in complaint(folder)


@relaxed
@given(st.integers(300, 2**62) | st.integers(-(2**62), -1))
def test_out_of_range(folder, value):
    np.save(folder / "pi_ys.npy", np.array([5, value]))
    assert "from 0 to 299" in complaint(folder)


def test_empty_set(folder):
    np.save(folder / "pi_xs.npy", np.zeros(0, "i8"))
    assert "is empty" in complaint(folder)


@relaxed
@given(st.integers(1, 399))
def test_lengths_that_differ(folder, n):
    np.save(
        folder / "pi_xs.npy",
        cp.read_pi(folder)[0][:n] if len(np.load(folder / "pi_xs.npy")) == 400 else np.load(folder / "pi_xs.npy")[:1],
    )
    assert "one of each per point" in complaint(folder)


@relaxed
@given(st.data())
def test_duplicates(folder, data):
    xs, ys, image = cp.draw_pi(400, seed=5)
    i = data.draw(st.lists(st.integers(0, 399), min_size=1, max_size=5))
    cp.save_pi(folder, np.r_[xs, xs[i]], np.r_[ys, ys[i]], image)
    assert f"{len(i)} duplicate points" in complaint(folder)


def test_too_few_to_judge(folder):
    cp.save_pi(folder, *cp.draw_pi(40, seed=5))
    assert "fewer than 50" in complaint(folder)


def test_all_integer_types_are_pixels(folder):
    for kind in ("i2", "u2", "i4", "u8"):
        xs, ys, image = cp.draw_pi(400, seed=5)
        cp.save_pi(folder, xs.astype(kind), ys.astype(kind), image)
        np.testing.assert_array_equal(cp.read_pi(folder)[0], xs)


def test_more_points_than_pixels():
    with pytest.raises(UserError, match="Ask for 1 to"):
        cp.draw_pi(30_000)
