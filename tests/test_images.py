"Image data sets: the public layouts, torchvision as the twin, every fault said in one sentence, batches that resume."

import gzip
import importlib.util
import io
import os
import pickle
import shutil
import signal
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from decimal import Decimal
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from filelock import FileLock
from layouts import ATTRIBUTES, idx, png, write_celeba, write_cifar, write_cifar_pickles, write_gz, write_mnist
from PIL import EpsImagePlugin, Image
from torchvision import transforms
from torchvision.transforms.v2.functional import resize

import genlab
import genlab.lab.images as im
import genlab.workshop.datasets as ds
from genlab import UserError

SIZES = dict(train=50_000, validation=10_000, test=10_000)
DEBIAN = ds.DEBIAN["fashion_mnist"]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    "Nothing here may depend on what a network says, nor on what an earlier test tried."
    def refuse(name, staging):
        raise OSError("no network in tests")

    monkeypatch.setattr(ds, "_fetch", refuse)
    monkeypatch.setattr(ds, "_failed", {})
    monkeypatch.delenv("GENLAB_DATA", raising=False)


def complaint(*args, **kwargs) -> str:
    with pytest.raises(UserError) as e:
        im.load_images(*args, **kwargs)
    message = str(e.value)
    assert len(message) < 900 and "\n" not in message
    return message


# ---- IDX: Fashion-MNIST and MNIST

@pytest.fixture
def mnist(tmp_path):
    write_mnist(tmp_path)
    return tmp_path


def equal_to_torchvision(root, name, kind, held):
    "Every split is torchvision's reading of the same files, none is lost, none occurs twice."
    sets = {split: im.load_images(name, split, root=root) for split in im.SPLITS}
    for split, s in sets.items():
        twin = kind(root, train=split != "test")
        x, y = torch.as_tensor(twin.data), torch.as_tensor(twin.targets)
        x = x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)
        index = slice(None) if split == "test" else im.split_indices(len(x), split, held)
        assert torch.equal(s.x, x[index]) and torch.equal(s.y, y[index])
        assert (s.name, s.split, s.shape) == (name, split, tuple(x.shape[1:])) and s.x.dtype == torch.uint8
    n = len(sets["train"]) + len(sets["validation"])
    both = torch.cat([im.split_indices(n, split, held) for split in ("train", "validation")])
    assert torch.equal(both.sort().values, torch.arange(n))


def test_all_of_fashion_mnist_is_what_torchvision_reads(tmp_path):
    if not DEBIAN.is_dir():
        pytest.skip("Fashion-MNIST is missing: install Debian's package dataset-fashion-mnist")
    equal_to_torchvision(tmp_path, "fashion_mnist", torchvision.datasets.FashionMNIST, 1 / 6)
    for split, n in SIZES.items():
        s = im.load_images("FashionMNIST", split, root=tmp_path)
        assert len(s) == n and s.n_labels == 10 and s.y.bincount().min() > 0.08 * n
    for path in DEBIAN.glob("*.gz"):  # unpacked into ours, and whole
        assert (tmp_path / "FashionMNIST" / "raw" / path.stem).read_bytes() == gzip.decompress(path.read_bytes())
    assert len(list((tmp_path / "FashionMNIST" / "raw").iterdir())) == 4
    twin = torchvision.datasets.FashionMNIST.classes
    assert [n.lower() for n in s.names] == [n.lower().removesuffix("/top") for n in twin]


def test_mnist_is_what_torchvision_reads(mnist):
    equal_to_torchvision(mnist, "mnist", torchvision.datasets.MNIST, 1 / 6)


def test_mnist_as_gz_files(mnist):
    whole = im.load_images("mnist", root=mnist)
    for path in list((mnist / "MNIST" / "raw").iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert torch.equal(im.load_images("mnist", root=mnist).x, whole.x)


@pytest.mark.parametrize(
    "name,folder", [("mnist", "MNIST"), ("fashion_mnist", "Fashion_MNIST"), ("fashion_mnist", "FashionMNIST")]
)
def test_four_gz_files_laid_down_by_hand(tmp_path, monkeypatch, name, folder):
    "The layout that people make: data/Fashion_MNIST/ with the four files as they were downloaded."
    monkeypatch.setitem(ds.DEBIAN, "fashion_mnist", tmp_path / "no package")
    write_mnist(tmp_path / "whole")
    data = tmp_path / "data"
    write_gz(data, folder)
    for split in im.SPLITS:
        twin, s = im.load_images("mnist", split, root=tmp_path / "whole"), im.load_images(name, split, root=data)
        assert torch.equal(s.x, twin.x) and torch.equal(s.y, twin.y) and s.name == name
    assert len(list((data / folder).glob("*.gz"))) == 4, "what the user has laid down is left alone"


@pytest.mark.parametrize("cut", [0, 3, 10, 16, 500, -1])
def test_truncated_idx(mnist, cut):
    path = mnist / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:cut])
    message = complaint("mnist", root=mnist)
    assert str(path) in message and ("truncated" in message or "no IDX file" in message) and "again" in message


def test_idx_that_is_longer_than_its_header_says(mnist):
    path = mnist / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes() + b"\0")
    assert "has 39 bytes; expected 38" in complaint("mnist", root=mnist)


def test_damaged_gz(mnist):
    path = mnist / "MNIST" / "raw" / "train-images-idx3-ubyte"
    packed = gzip.compress(path.read_bytes())
    path.unlink()
    for content in (packed[:len(packed) // 2], b"<html>404</html>", packed[:50] + b"\xff\0" + packed[52:]):
        path.with_name(path.name + ".gz").write_bytes(content)
        assert "can't be unpacked" in complaint("mnist", root=mnist)
        assert not path.exists()


def test_a_gzip_bomb_is_not_unpacked(mnist):
    path = mnist / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.unlink()
    zeros = gzip.compress(bytes(2**24), compresslevel=9)
    path.with_name(path.name + ".gz").write_bytes(zeros * 64)  # a megabyte that unpacks to one gigabyte
    tracemalloc.start()
    assert "unpacks to more than 67,108,864 bytes" in complaint("mnist", root=mnist)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not path.exists() and peak < 2**28


def test_an_idx_file_of_a_terabyte_is_not_read(mnist):
    path = mnist / "MNIST" / "raw" / "train-images-idx3-ubyte"
    with open(path, "r+b") as f:
        f.truncate(2**40)  # sparse: it takes no room on the disk
    assert "has 1,099,511,627,776 bytes; expected at most" in complaint("mnist", root=mnist)


@pytest.mark.parametrize("dims", [0, 5, 255])
def test_an_idx_header_of_many_dimensions(mnist, dims):
    path = mnist / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(struct.pack(">HBB", 0, 8, dims) + b"\xff" * 4 * dims)
    assert "no IDX file of bytes" in complaint("mnist", root=mnist)


@pytest.mark.parametrize("shape", [(0, 2**32 - 1, 2**32 - 1, 2**32 - 1), (0, 28, 2**32 - 1), (2**32 - 1, 0)])
def test_an_idx_header_of_nothing_at_all(mnist, shape):
    "The header fits the file, whose length is that of the header; NumPy can't make such an array."
    (mnist / "MNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(
        bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape))
    message = complaint("mnist", root=mnist)
    assert "train-images-idx3-ubyte" in message and " x ".join(map(str, shape)) in message


def test_idx_of_another_shape(mnist):
    path = mnist / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(idx(np.zeros((30, 28, 27), np.uint8)))
    assert "expected (N, 28, 28)" in complaint("mnist", root=mnist)


def test_idx_of_floats(mnist):
    path = mnist / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes().replace(b"\0\0\x08", b"\0\0\x0d", 1))
    assert "no IDX file of bytes" in complaint("mnist", root=mnist)


def test_labels_that_do_not_match(mnist):
    path = mnist / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    path.write_bytes(idx(np.zeros(29, np.uint8)))
    assert "30 images and 29 labels" in complaint("mnist", root=mnist)
    path.write_bytes(idx(np.full(30, 10, np.uint8)))
    assert "classes from 10 to 10; expected 0 to 9" in complaint("mnist", root=mnist)


def test_an_empty_split(tmp_path):
    write_mnist(tmp_path, n=2, n_test=0)
    assert "validation split of mnist is empty" in complaint("mnist", "validation", root=tmp_path)
    assert "is empty" in complaint("mnist", "test", root=tmp_path)


# ---- CIFAR-10

@pytest.fixture
def unchecked(monkeypatch):
    "torchvision without its checksums, which only the real files have."
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *a, **k: True)
    monkeypatch.setattr(torchvision.datasets.CelebA, "_check_integrity", lambda self: True)


def test_cifar10_is_what_torchvision_reads(tmp_path, unchecked):
    "Our reading of the binary version against torchvision's of the same pickles; then the pickles through us."
    write_cifar_pickles(tmp_path)
    binary = write_cifar(tmp_path)
    for last in (False, True):
        equal_to_torchvision(tmp_path, "cifar10", torchvision.datasets.CIFAR10, 1 / 5)
        assert [len(im.load_images("cifar-10", s, root=tmp_path)) for s in im.SPLITS] == [40, 10, 10]
        if not last:
            shutil.rmtree(binary)
    assert list(ds.NAMES["cifar10"]) == torchvision.datasets.CIFAR10(tmp_path).classes


class Attack:
    def __init__(self, function, *args):
        self.recipe = (function, args)

    def __reduce__(self):
        return self.recipe


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize(
    "attack",
    [
        (os.system, "touch executed"),
        (eval, "open('executed', 'w')"),
        (subprocess.Popen, ["touch", "executed"]),
        (getattr, np.ndarray, "tofile"),
        (np.load, "executed", None, True),
        (type, "T", (), {}),
    ],
    ids=lambda a: a[0].__name__,
)
def test_a_malicious_pickle_is_refused(tmp_path, monkeypatch, attack, protocol):
    attack = Attack(*attack)
    folder = write_cifar_pickles(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pickle, "load", lambda *a, **k: pytest.fail("a pickle was loaded"))
    honest = dict(data=np.zeros((2, 3072), np.uint8), labels=[0, 1])
    for content in (dict(honest, extra=attack), dict(honest, labels=attack), {**honest, "data": attack}, attack):
        (folder / "data_batch_3").write_bytes(pickle.dumps(content, protocol=protocol))
        message = complaint("cifar10", root=tmp_path)
        assert "cifar-10-batches-py" in message and "a checksum differs" in message
        assert "Nothing in it was executed" in message and "cifar-10-binary.tar.gz" in message
    assert not (tmp_path / "executed").exists()


def test_the_authors_own_checksums_are_asked_for_every_file(tmp_path, monkeypatch):
    "One file of six that isn't theirs is enough, wherever it is."
    write_cifar_pickles(tmp_path)
    monkeypatch.setattr(pickle, "load", lambda *a, **k: pytest.fail("a pickle was loaded"))
    for stranger in ("data_batch_1", "data_batch_5", "test_batch", "batches.meta"):
        def check(path, md5=None, stranger=stranger):
            assert md5 and len(md5) == 32
            return Path(path).name != stranger

        monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", check)
        for split in im.SPLITS if stranger != "batches.meta" else ():
            assert "a checksum differs" in complaint("cifar10", split, root=tmp_path)


def test_cifar_faults(tmp_path):
    folder = write_cifar(tmp_path)
    path = folder / "data_batch_2.bin"
    content = path.read_bytes()
    for k in (1, 50, len(content) // 2 + 1, len(content) - 1):
        path.write_bytes(content[:k])
        message = complaint("cifar10", root=tmp_path)
        assert (
            "data_batch_2.bin has" in message and "expected a multiple of 3,073" in message and "truncated" in message
        )
    path.write_bytes(b"\x0b" + content[1:])
    assert "classes from 0 to 11; expected 0 to 9" in complaint("cifar10", "train", root=tmp_path)
    path.write_bytes(b"")
    assert len(im.load_images("cifar10", "train", root=tmp_path)) == 32
    path.unlink()
    assert "data_batch_2.bin is missing" in complaint("cifar10", root=tmp_path)
    (folder / "test_batch.bin").write_bytes(b"")
    assert "test split of cifar10 is empty" in complaint("cifar10", "test", root=tmp_path)


def test_what_is_downloaded_of_cifar_is_bytes_with_a_checksum(tmp_path, monkeypatch):
    monkeypatch.undo()
    asked = []
    monkeypatch.setattr(
        torchvision.datasets.utils, "download_and_extract_archive", lambda url, root, **k: asked.append((url, k))
    )
    ds._fetch("cifar10", tmp_path)
    assert asked == [
        ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", dict(md5="c32a1d4ab5d03f1284b67883e8d87530"))
    ]


# ---- CelebA

@pytest.fixture
def celeba(tmp_path):
    write_celeba(tmp_path)
    return tmp_path


@pytest.mark.parametrize("size", [64, 32])
def test_celeba_is_what_torchvision_reads(celeba, unchecked, size):
    crop = transforms.Compose([transforms.CenterCrop(178), transforms.Resize(size), transforms.PILToTensor()])
    total = 0
    for split, theirs in dict(train="train", validation="valid", test="test").items():
        twin = torchvision.datasets.CelebA(celeba, split=theirs, target_type="attr", transform=crop)
        s = im.load_images("celeba", split, size=None if size == 64 else size, root=celeba)
        assert torch.equal(s.x, torch.stack([twin[i][0] for i in range(len(twin))]))
        assert torch.equal(s.y, twin.attr.bool()) and list(s.names) == twin.attr_names[:40] == ATTRIBUTES
        assert s.shape == (3, size, size) and len(im.load_images("celeba", split, size=size, root=celeba, n=3)) == 3
        total += len(s)
    assert total == 40


def test_kaggles_celeba_is_the_same(celeba, tmp_path_factory):
    other = tmp_path_factory.mktemp("kaggle")
    write_celeba(other, kaggle=True)
    for split in im.SPLITS:
        a, b = (im.load_images("celeba", split, root=root) for root in (celeba, other))
        assert torch.equal(a.x, b.x) and torch.equal(a.y, b.y) and a.names == b.names


def test_celeba_is_decoded_once(celeba):
    first = im.load_images("celeba", root=celeba)
    shutil.rmtree(celeba / "celeba" / "img_align_celeba")
    again = im.load_images("celeba", root=celeba)
    assert torch.equal(first.x, again.x)
    again.x[0] = 0  # a user's change never reaches the file
    assert torch.equal(im.load_images("celeba", root=celeba).x, first.x)


def cache(root, split="train") -> Path:
    "The one file of decoded pictures of a split."
    (path,) = (root / "celeba" / "decoded").glob(f"{split}_64_*.npy")
    return path


def test_a_cache_is_named_after_what_it_holds(celeba):
    "Somebody sorts the list: new labels must get their own pixels, not those that lay at their place before."
    first = im.load_images("celeba", root=celeba)
    for name in ("list_attr_celeba.txt", "list_eval_partition.txt"):
        path = celeba / "celeba" / name
        lines = path.read_text().splitlines()
        head = 2 if "attr" in name else 0
        path.write_text("\n".join(lines[:head] + lines[head:][::-1]) + "\n")
    again = im.load_images("celeba", root=celeba)
    assert torch.equal(again.x.flip(0), first.x) and torch.equal(again.y.flip(0), first.y)
    assert len(list((celeba / "celeba" / "decoded").glob("train_64_*.npy"))) == 2
    one_more = celeba / "celeba" / "list_eval_partition.txt"
    one_more.write_text(one_more.read_text().replace("000001.jpg 0", "000001.jpg 1"))
    assert torch.equal(im.load_images("celeba", root=celeba).x, again.x[:-1])


def test_what_another_version_has_decoded_is_decoded_anew(celeba, monkeypatch):
    "The pictures are the same, and the way to decode them isn't."
    im.load_images("celeba", root=celeba)
    monkeypatch.setattr(ds, "decode_picture", lambda item, size, expected: np.full((3, size, size), 7, np.uint8))
    assert im.load_images("celeba", root=celeba).x.unique().numel() > 1, "it comes from the cache"
    monkeypatch.setattr(ds, "DECODING", 0)
    assert im.load_images("celeba", root=celeba).x.unique().tolist() == [7]


KILLED = """
import os, signal, sys
import genlab.lab.images as im
import genlab.workshop.datasets as ds
ds.CHUNK, last, calls, real = 4, int(sys.argv[2]), [], ds.decode_picture
def decode(item, **settings):
    calls.append(item)
    if len(calls) == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(item, **settings)
ds.decode_picture = decode
im.load_images("celeba", root=sys.argv[1])
print("decoded", len(calls))
"""


def test_killed_while_decoding_then_the_same_file(celeba, tmp_path_factory):
    whole = tmp_path_factory.mktemp("whole")
    write_celeba(whole)
    n = len(im.load_images("celeba", root=whole))
    expected = cache(whole).read_bytes()
    decoded = celeba / "celeba" / "decoded"
    for last in (14, 9):
        run = subprocess.run([sys.executable, "-c", KILLED, celeba, str(last)], capture_output=True, text=True)
        assert run.returncode == -signal.SIGKILL, run.stderr
        assert len(list(decoded.glob("*.partial"))) == 1 and not list(decoded.glob("*.npy"))
    run = subprocess.run([sys.executable, "-c", KILLED, celeba, "-1"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert 0 < int(run.stdout.split()[-1]) < n  # it went on, and didn't start again
    assert cache(celeba).read_bytes() == expected and not list(decoded.glob("*.partial"))


@pytest.mark.parametrize("images,rubbish", [(0, 0), (0.3, 0), (3, 0), (9.5, 0), (8, 3.9), (9.5, 1), (24, 4), (24, -5)])
def test_a_partial_file_of_any_length_is_continued(celeba, monkeypatch, images, rubbish):
    "`rubbish`: images at its end that a power cut spoiled; negative: too many behind it."
    monkeypatch.setattr(ds, "CHUNK", 4)
    im.load_images("celeba", root=celeba)
    path = cache(celeba)
    whole, each = path.read_bytes(), 3 * 64 * 64
    head = len(whole) - 24 * each
    for extra in (-5, 0, 5):  # the header, too, may be cut
        left = whole[:head + extra + int(images * each)]
        spoiled = b"\xff" * int(abs(rubbish) * each)
        path.with_suffix(".partial").write_bytes(
            left + spoiled if rubbish < 0 else left[: len(left) - len(spoiled)] + spoiled
        )
        path.unlink()
        im.load_images("celeba", root=celeba)
        assert path.read_bytes() == whole


def test_two_processes_that_start_together(celeba):
    code = (
        "import sys, genlab.lab.images as im, genlab.workshop.datasets as ds; ds.CHUNK = 3; "
        "print(int(im.load_images('celeba', root=sys.argv[1]).x.long().sum()))"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, celeba], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    sums = [run.communicate(timeout=120)[0] for run in runs]
    assert sums[0] == sums[1] == f"{int(im.load_images('celeba', root=celeba).x.long().sum())}\n"


def test_who_comes_second_waits_until_the_first_has_decoded(celeba):
    im.load_images("celeba", root=celeba)
    path = cache(celeba)
    path.unlink()
    with ThreadPool(1) as pool:
        with FileLock(path.with_suffix(".lock")):  # the first is at work
            second = pool.apply_async(im.load_images, ("celeba",), dict(root=celeba))
            second.wait(1)
            assert not second.ready() and not path.exists() and not list(path.parent.glob("*.partial"))
        assert len(second.get(60)) == 24


def test_half_unzipped_celeba(celeba):
    folder = celeba / "celeba" / "img_align_celeba"
    for i in range(15, 41):
        (folder / f"{i:06d}.jpg").unlink()
    message = complaint("celeba", root=celeba)
    assert "lacks 10 of the 24 pictures that the list names, 000015.jpg" in message and "unzip" in message
    assert not list((celeba / "celeba").rglob("*.npy"))
    shutil.rmtree(folder)
    assert "000001.jpg is missing" in complaint("celeba", root=celeba)


def test_damaged_jpeg_is_named_and_its_repair_continues(celeba, monkeypatch):
    monkeypatch.setattr(ds, "CHUNK", 4)
    path = celeba / "celeba" / "img_align_celeba" / "000017.jpg"
    content = path.read_bytes()
    for wrong in (content[:len(content) // 2], b"", b"<html>"):
        path.write_bytes(wrong)
        assert "000017.jpg can't be read as a PNG or JPEG" in complaint("celeba", root=celeba)
    Image.new("RGB", (178, 178)).save(path)
    assert "000017.jpg has 178x178 pixels; expected 178x218" in complaint("celeba", root=celeba)
    path.write_bytes(content)
    assert len(im.load_images("celeba", root=celeba)) == 24


@pytest.mark.parametrize("content,says", [
    (png((60_000, 60_000)), "can't be read"), (png((9_000, 9_000)), "has 9000x9000 pixels; expected 178x218"),
    (png((178, 218), (b"zTXt", b"k\0\0" + zlib.compress(bytes(2**28), 9))), "can't be read"),
    (png((178, 218), (b"tRNS", b"\1")), "can't be read"), (png((178, 218)), "can't be read")],
    ids=["bomb", "large", "zTXt bomb", "tRNS", "short"])
def test_a_picture_that_is_a_bomb_is_refused_at_once(celeba, content, says):
    path = celeba / "celeba" / "img_align_celeba" / "000002.jpg"
    path.write_bytes(content)
    start = time.perf_counter()
    message = complaint("celeba", root=celeba)
    assert "000002.jpg" in message and says in message and time.perf_counter() - start < 5


def test_without_an_expected_size_a_picture_has_a_bound(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(png((5_000, 5_000)))
    with pytest.raises(UserError, match="has 5000x5000 pixels; expected at most 4,096 in each direction"):
        ds.decode_picture(path)
    for size in ((20_000, 1), (1, 20_000)):
        Image.new("L", size).save(path)
        with pytest.raises(UserError, match=f"has {size[0]}x{size[1]} pixels; expected at most 4,096"):
            ds.decode_picture(path, size=8)
    Image.new("L", (4_096, 1)).save(path)
    assert ds.decode_picture(path).shape == (3, 1, 4_096)


@pytest.mark.parametrize("name", ["000003.jpg", "000003.png"])
def test_an_eps_file_starts_no_ghostscript_whatever_its_name(tmp_path, monkeypatch, name):
    "EPS is a program; Pillow goes by the first bytes, and would run it."
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *a, **k: pytest.fail("Ghostscript was started"))
    path = tmp_path / name
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 178 218\n%%EndComments\nshowpage\n%%EOF\n")
    with Image.open(path) as opened:
        assert opened.format == "EPS", "Pillow takes it for what it is"
    with pytest.raises(UserError, match="can't be read as a PNG or JPEG"):
        ds.decode_picture(path)


def test_a_pipe_among_the_pictures_does_not_wait_for_ever(celeba):
    path = celeba / "celeba" / "img_align_celeba" / "000005.jpg"
    path.unlink()
    os.mkfifo(path)
    code = "import sys, genlab.lab.images as im; im.load_images('celeba', root=sys.argv[1])"
    run = subprocess.run([sys.executable, "-c", code, celeba], capture_output=True, text=True, timeout=60)
    assert "000005.jpg can't be read as a PNG or JPEG (it is no regular file)" in run.stderr


def test_a_pipe_instead_of_a_list_or_an_idx_file_is_missing(celeba):
    for file in ("celeba/list_attr_celeba.txt", "MNIST/raw/train-images-idx3-ubyte"):
        path = celeba / file
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)
        assert "was not found" in complaint(file.split("/")[0].lower(), root=celeba)


@pytest.mark.parametrize(
    "edit,says",
    [
        (lambda a, p: (a.replace(" 1", " 300", 1), p), "values [-1, 1, 300]"),
        (lambda a, p: (a.replace(" 1", " 99999999999999999999", 1), p), "has a line"),
        (lambda a, p: (a.replace(" 1", " \u00b2", 1), p), "has a line"),
        (lambda a, p: ("\u00b2" + a.removeprefix("40"), p), "has a line"),
        (lambda a, p: ("9" * 5_000 + a.removeprefix("40"), p), "has a line"),
        (lambda a, p: (a, p.replace("000001.jpg 0", "000001.jpg \u00b2")), "has a line"),
        (lambda a, p: (a, p.replace(".jpg ", ".jpg 0 ")), "has a line"),
        (
            lambda a, p: (a, "image_id partition part\n" + p.replace(".jpg ", ".jpg 0 ")),
            "has 2 columns of numbers; expected one",
        ),
        (lambda a, p: (a.replace("000002.jpg", "000001.jpg"), p), "names a picture or a column twice"),
        (lambda a, p: (a.replace("Bald", "Young"), p), "names a picture or a column twice"),
        (lambda a, p: (a.replace("000002.jpg", "../002.jpg"), p), "has a line"),
        (lambda a, p: (a, "\0.jpg" * 100), "has a line"),
        (lambda a, p: (",\n" + a, p), "has a line '40'"),
        (lambda a, p: (a, ",\n"), "lists 0 pictures"),
        (lambda a, p: (a, " , ,\n" + p), "has a line '000001.jpg 0'"),
        (lambda a, p: ("image_id\n" + "".join(f"{i:06d}.jpg\n" for i in range(1, 41)), p), "or no column"),
    ],
    ids=[
        "300",
        "10**20",
        "superscript",
        "count superscript",
        "count of 5,000 digits",
        "part superscript",
        "two columns",
        "two named columns",
        "picture twice",
        "column twice",
        "another folder",
        "zero bytes",
        "a comma before the count",
        "nothing but a comma",
        "commas",
        "no attributes",
    ],
)
def test_numbers_of_the_lists_that_cannot_be(celeba, edit, says):
    attributes, parts = celeba / "celeba" / "list_attr_celeba.txt", celeba / "celeba" / "list_eval_partition.txt"
    for path, text in zip((attributes, parts), edit(attributes.read_text(), parts.read_text()), strict=True):
        path.write_text(text)
    assert says in complaint("celeba", root=celeba)


@pytest.mark.parametrize("kaggle", [False, True])
def test_faults_of_the_lists(tmp_path, kaggle):
    folder, end = write_celeba(tmp_path, kaggle=kaggle), ".csv" if kaggle else ".txt"
    path, parts = folder / f"list_attr_celeba{end}", folder / f"list_eval_partition{end}"
    text, parts_text = path.read_text(), parts.read_text()
    lines = text.splitlines(keepends=True)
    cases = {
        "of them in one only" if kaggle else "lists 18 pictures; expected 40": "".join(lines[:20]),
        "has a line": text[:-30],
        "lists 0 pictures": "",
        "values [0, 1]; expected at least one, and -1 or 1": text.replace("-1", "0"),
        "expected the name of a .jpg and 40 whole numbers": text.replace("-1", "x", 1)}
    for says, content in cases.items():
        path.write_text(content)
        assert says in complaint("celeba", root=tmp_path)
    path.write_text(text)
    parts.write_text("".join(parts_text.splitlines(keepends=True)[:-3]))
    assert "3 of them in one only" in complaint("celeba", root=tmp_path)
    parts.write_text(parts_text.replace(" 1\n", " 0\n").replace(",1\n", ",0\n"))
    assert "0 pictures for validation" in complaint("celeba", "validation", root=tmp_path)
    parts.unlink()
    assert "list_eval_partition.txt (or .csv) is missing" in complaint("celeba", root=tmp_path)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (10000000000000, 3, 64, 64), }",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (24,), }",
        b"[" * 5_000,
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 3), }",
    ],
    ids=["10**13", "objects", "deep", "negative"],
)
def test_a_cache_with_a_header_that_cannot_be(celeba, header):
    im.load_images("celeba", root=celeba)
    path = cache(celeba)
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n" + bytes(100))
    assert "is damaged" in complaint("celeba", root=celeba)


def test_a_cache_that_does_not_fit(celeba):
    im.load_images("celeba", root=celeba)
    path = cache(celeba)
    np.save(path, np.zeros((23, 3, 64, 64), np.uint8))
    assert "(23, 3, 64, 64); expected uint8 (24, 3, 64, 64)" in complaint("celeba", root=celeba)
    path.write_bytes(path.read_bytes()[:5_000])
    assert f"{path.name} is damaged" in complaint("celeba", root=celeba)
    path.unlink()
    assert len(im.load_images("celeba", root=celeba)) == 24


# ---- Copies from Hugging Face

def test_parquet_without_pyarrow_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "cifar10" / "plain_text").mkdir(parents=True)
    (tmp_path / "cifar10" / "plain_text" / "train-00000-of-00001.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert "pip install pyarrow" in complaint("cifar10", root=tmp_path)


def test_hugging_face_copies(tmp_path, tmp_path_factory, monkeypatch):
    if importlib.util.find_spec("pyarrow") is None:
        pytest.skip("pyarrow is missing: pip install pyarrow")
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.setattr(ds, "CHUNK", 7)
    write_celeba(tmp_path)
    original = {split: im.load_images("celeba", split, root=tmp_path) for split in im.SPLITS}
    root = tmp_path_factory.mktemp("copies")
    folder = root / "celeba" / "img_align+identity+attr"
    folder.mkdir(parents=True)
    for split, theirs in dict(train="train", validation="valid", test="test").items():
        files, y, _ = ds._celeba_lists(tmp_path / "celeba", split)
        half = len(files) // 2
        for k, part in enumerate((slice(0, half), slice(half, None))):
            columns = dict(
                image=[dict(bytes=f.read_bytes(), path=f.name) for f in files[part]], celeb_id=[1] * len(files[part])
            )
            columns |= {a: (y[part, j] > 0).tolist() for j, a in enumerate(ATTRIBUTES)}
            pq.write_table(pa.table(columns), folder / f"{theirs}-{k:05d}-of-00002.parquet")
    for split, s in original.items():
        copy = im.load_images("celeba", split, root=root)
        assert torch.equal(copy.x, s.x) and torch.equal(copy.y, s.y) and copy.names == s.names
    write_cifar(tmp_path)
    folder = root / "cifar10" / "plain_text"
    folder.mkdir(parents=True)
    for theirs, files in dict(train=[f"data_batch_{i}" for i in range(1, 6)], test=["test_batch"]).items():
        batches = [ds.read_records(tmp_path / "cifar-10-batches-bin" / f"{f}.bin") for f in files]
        cells = []
        for x in np.concatenate([x for x, _ in batches]):
            out = io.BytesIO()
            Image.fromarray(x.transpose(1, 2, 0)).save(out, format="png")
            cells.append(dict(bytes=out.getvalue(), path=None))
        pq.write_table(
            pa.table(dict(img=cells, label=[int(v) for _, y in batches for v in y])),
            folder / f"{theirs}-00000-of-00001.parquet",
        )
    for split in im.SPLITS:
        s, copy = (im.load_images("cifar10", split, root=r) for r in (tmp_path, root))
        assert torch.equal(copy.x, s.x) and torch.equal(copy.y, s.y)
    (folder / "test-00000-of-00001.parquet").write_bytes(b"PAR1 not really PAR1")
    assert "Parquet file that can't be read" in complaint("cifar10", "test", root=root)


@pytest.mark.parametrize(
    "column,says",
    [
        (None, "has no column 'label'; it has img"),
        (lambda pa: pa.array([1, None, 2]), "has None in column 'label'"),
        (lambda pa: pa.array([1, 2**63 + 5, 2], pa.uint64()), "classes from 1 to 9223372036854775813"),
        (lambda pa: pa.array([1, Decimal(2**70), 2]), "has 1 in column 'label'; expected int"),
        (lambda pa: pa.array([1.0, 2.0, float("nan")]), "expected int"),
        (lambda pa: pa.array(["1", "2", "3"]), "expected int"),
        (lambda pa: pa.array([1, -1, 2]), "classes from -1 to 2; expected 0 to 9"),
        (lambda pa: pa.array([[1], [2], [3]]), "expected int"),
    ],
    ids=["missing", "null", "2**63", "2**70", "float", "text", "-1", "list"],
)
def test_labels_of_a_parquet_file_that_cannot_be(tmp_path, column, says):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    cells = [dict(bytes=png_of(np.full((32, 32, 3), k, np.uint8)), path=None) for k in range(3)]
    table = dict(img=cells) | (dict(label=column(pa)) if column else {})
    (tmp_path / "cifar10").mkdir()
    pq.write_table(pa.table(table), tmp_path / "cifar10" / "test-0.parquet")
    assert says in complaint("cifar10", "test", root=tmp_path)


@pytest.mark.parametrize(
    "cells,says",
    [
        ([None], "without their bytes"),
        ([dict(bytes=None, path="a.png")], "without its bytes"),
        ([dict(path="a.png")], "without their bytes"),
        ([b"\x89PNG"], "without their bytes"),
        ([dict(bytes=b"\x89PNG", path="")], "can't be read as a PNG"),
        ([3], "without their bytes"),
    ],
    ids=["null", "null bytes", "no bytes", "bare", "broken", "number"],
)
def test_pictures_of_a_parquet_file_that_cannot_be(tmp_path, cells, says):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "cifar10").mkdir()
    pq.write_table(pa.table(dict(img=cells, label=[1])), tmp_path / "cifar10" / "test-0.parquet")
    assert says in complaint("cifar10", "test", root=tmp_path)


def png_of(a: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(a).save(out, format="png")
    return out.getvalue()


def test_a_parquet_cache_is_named_after_its_files(tmp_path):
    "Another copy of the same length in the same place is decoded anew."
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "cifar10").mkdir()
    for k in (3, 200):
        cells = [dict(bytes=png_of(np.full((32, 32, 3), k, np.uint8)), path=None)]
        pq.write_table(pa.table(dict(img=cells, label=[1])), tmp_path / "cifar10" / "test-0.parquet")
        assert im.load_images("cifar10", "test", root=tmp_path).x.unique().tolist() == [k]


def parquet(root, image, label=(1, 2, 3), **how):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (root / "cifar10").mkdir(exist_ok=True)
    table = pa.table(dict(img=[dict(bytes=cell, path=None) for cell in image], label=list(label)))
    pq.write_table(table, root / "cifar10" / "test-0.parquet", **how)
    return root / "cifar10" / "test-0.parquet"


def test_a_parquet_file_of_more_rows_than_any_data_set_has(tmp_path):
    "A null takes no bytes: half a kilobyte can announce a million rows."
    path = parquet(tmp_path, [None] * 2**20, [None] * 2**20)
    assert path.stat().st_size < 20_000
    assert "has 1,048,576 rows; expected at most 262,144" in complaint("cifar10", "test", root=tmp_path)


def test_a_parquet_file_that_unpacks_to_too_much(tmp_path, monkeypatch):
    "The pieces of a file (row groups) say how large they are when unpacked, all its columns together."
    monkeypatch.setattr(ds, "LARGEST_TABLE", 2**20)
    image = png_of(np.zeros((32, 32, 3), np.uint8))
    path = parquet(tmp_path, [image] * 3)
    assert len(im.load_images("cifar10", "test", root=tmp_path)) == 3
    path = parquet(tmp_path, [bytes(2**20)] * 3, compression="zstd", use_dictionary=False)
    assert path.stat().st_size < 20_000
    assert "unpack to 3,1" in (said := complaint("cifar10", "test", root=tmp_path))
    assert "bytes; expected at most 1,048,576" in said


@pytest.mark.parametrize("dictionary", [True, False])
def test_a_picture_of_a_parquet_file_has_a_bound(tmp_path, dictionary):
    parquet(tmp_path, [bytes(2**20 + 1)] * 3, compression="zstd", use_dictionary=dictionary)
    assert "has a picture of 1,048,577 bytes; expected at most 1,048,576" in complaint("cifar10", "test", root=tmp_path)


LOADING = """
import sys

import pyarrow as pa

import genlab.lab.images as im
import genlab.workshop.datasets as ds
from genlab import UserError

ds.CHUNK = 10
try:
    print(len(im.load_images("cifar10", "test", root=sys.argv[1])))
except UserError as e:
    print(e)
print(pa.default_memory_pool().max_memory())
"""


@pytest.mark.parametrize("column,said", [("img", "200"), ("label", "string in column 'label'; expected int")])
def test_one_value_in_all_rows_takes_no_more_memory_than_once(tmp_path, column, said):
    "A dictionary: the value is stored once, and each row says its number. Unfolded it would be 200 MB."
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    long, zeros = png_of(np.zeros((32, 32, 3), np.uint8)) + bytes(10**6), pa.array([0] * 200, pa.int32())
    cells = pa.DictionaryArray.from_arrays(zeros, pa.array([long], pa.binary()))
    texts = pa.DictionaryArray.from_arrays(zeros, pa.array(["7" * 10**6]))
    pictures = pa.StructArray.from_arrays([cells, pa.array([None] * 200, pa.string())], ["bytes", "path"])
    table = pa.table(dict(img=pictures, label=texts if column == "label" else pa.array([1] * 200)))
    (tmp_path / "cifar10").mkdir()
    path = tmp_path / "cifar10" / "test-0.parquet"
    pq.write_table(table, path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 10_000
    # In a process of its own, whose peak is this reading's.
    done = subprocess.run([sys.executable, "-c", LOADING, tmp_path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    *heard, most = done.stdout.splitlines()
    assert said in heard[-1]
    assert 0 < int(most) < 2**24


def test_a_damaged_page_of_a_parquet_file(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "cifar10").mkdir()
    path = tmp_path / "cifar10" / "test-0.parquet"
    cells = [
        dict(bytes=png_of(np.random.default_rng(k).integers(0, 256, (32, 32, 3), dtype=np.uint8)), path=None)
        for k in range(9)
    ]
    pq.write_table(pa.table(dict(img=cells, label=list(range(9)))), path)
    content = bytearray(path.read_bytes())
    content[4:2_000] = b"\xff" * 1_996
    path.write_bytes(content)
    assert "cifar10" in complaint("cifar10", "test", root=tmp_path)


# ---- Found, fetched, or one sentence

@pytest.mark.parametrize("name", ["mnist", "cifar10", "celeba"])
def test_missing_data_is_one_message_with_three_ways_out(tmp_path, name):
    message = complaint(name, root=tmp_path)
    assert str(tmp_path / ds.PLACES[name][0]) in message and "no network in tests" in message
    assert "GENLAB_DATA" in message and "load_images('shapes')" in message


def test_missing_fashion_mnist_names_debians_package(tmp_path, monkeypatch):
    monkeypatch.setitem(ds.DEBIAN, "fashion_mnist", tmp_path / "no package")
    message = complaint("fashion_mnist", root=tmp_path)
    assert "dataset-fashion-mnist" in message and str(tmp_path / "FashionMNIST" / "raw") in message


def test_fallback_says_what_it_used(tmp_path, capsys):
    s = im.load_images("cifar10", "validation", root=tmp_path, fallback="shapes", n=30)
    assert (s.name, s.split, len(s), s.shape) == ("shapes", "validation", 30, (3, 32, 32))
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and "cifar10" in out and "shapes" in out
    f = im.load_images("celeba", root=tmp_path, fallback="faces", n=5)
    assert f.y.dtype == torch.bool and f.shape == (3, 64, 64)


def test_fallback_is_not_for_damaged_files(mnist):
    path = mnist / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-5])
    assert "truncated" in complaint("mnist", root=mnist, fallback="shapes")


def test_a_download_is_moved_into_place_and_keeps_what_was_there(tmp_path, monkeypatch):
    def fetch(name, staging):
        write_mnist(staging)
        (staging / "MNIST" / "raw" / "train-images-idx3-ubyte.gz").write_bytes(b"left over")

    monkeypatch.setattr(ds, "_fetch", fetch)
    mine = write_mnist(tmp_path, n_test=7, seed=1) / "t10k-images-idx3-ubyte"
    content = mine.read_bytes()
    (mine.parent / "train-images-idx3-ubyte").unlink()
    (mine.parent / "train-labels-idx1-ubyte").unlink()
    s = im.load_images("mnist", root=tmp_path)
    assert len(s) == 25 and mine.read_bytes() == content and not list(tmp_path.rglob("*.gz"))
    assert not (tmp_path / ".download").exists(), "nothing is kept twice"


def test_a_failed_download_is_not_repeated_at_once(tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr(
        ds, "_fetch", lambda name, staging: tried.append(name) or (_ for _ in ()).throw(OSError("timed out"))
    )
    now = [1_000.0]
    monkeypatch.setattr(ds.time, "monotonic", lambda: now[0])
    assert "can't be downloaded (timed out)" in complaint("mnist", root=tmp_path)
    for seconds in (0, 70):
        now[0] = 1_000 + seconds
        assert f"can't be downloaded (timed out; tried {seconds} s ago)" in complaint("mnist", root=tmp_path)
    assert tried == ["mnist"]
    now[0] = 1_300.0
    assert "can't be downloaded (timed out)" in complaint("mnist", root=tmp_path)
    assert tried == ["mnist"] * 2


def test_a_silent_network_does_not_hang(tmp_path):
    "torchvision against a server that takes the connection and never answers."
    code = """
import socket, sys, time, urllib.request
import genlab.lab.images as im
import genlab.workshop.datasets as ds
import torchvision.datasets as d
server = socket.create_server(("127.0.0.1", 0))
d.MNIST.mirrors = [f"http://127.0.0.1:{server.getsockname()[1]}/"]
real, ds.socket.setdefaulttimeout = ds.socket.setdefaulttimeout, lambda t: real(t if t is None else t / 10)
try:
    im.load_images("mnist", root=sys.argv[1])
except im.UserError as e:
    print(e)
assert socket.getdefaulttimeout() is None
"""
    env = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
    start = time.perf_counter()
    run = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, timeout=100, env=env)
    assert run.returncode == 0, run.stderr
    assert "can't be downloaded (" in run.stdout and "timed out" in run.stdout and time.perf_counter() - start < 60


def test_the_data_folder(tmp_path, monkeypatch):
    write_mnist(tmp_path / "elsewhere")
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path / "elsewhere"))
    assert len(im.load_images("mnist")) == 25
    assert im.data_folder(tmp_path) == tmp_path  # the argument comes first
    monkeypatch.delenv("GENLAB_DATA")
    assert im.data_folder() == Path(genlab.__file__).parent.parent / "data"
    (tmp_path / "file").write_text("")
    assert "is a file; expected a folder" in complaint("mnist", root=tmp_path / "file")


def test_a_data_folder_that_is_not_there_is_not_made(tmp_path, monkeypatch):
    "A typing error must not become a new folder with a gigabyte in it."
    typo = tmp_path / "dta" / "images"
    monkeypatch.setenv("GENLAB_DATA", str(typo))
    for name in ("mnist", "fashion_mnist", "celeba", "emoji"):
        message = complaint(name)
        assert str(typo) in message and "named by GENLAB_DATA, does not exist" in message
        assert "named by root, does not exist" in complaint(name, root=typo)
    assert not typo.parent.exists()
    (tmp_path / "dangling").symlink_to(typo)
    assert "does not exist" in complaint("mnist", root=tmp_path / "dangling")
    monkeypatch.setenv("GENLAB_DATA", "")
    assert im.data_folder() == Path(genlab.__file__).parent.parent / "data", "empty is not set"


@pytest.mark.parametrize("root", ["x" * 256, "/".join(["x" * 250] * 17), "~nobody-of-this-name/data", "a\0b"],
                         ids=["a long name", "a long path", "a user", "a zero byte"])
def test_data_folders_that_cannot_be(root, monkeypatch):
    assert "data folder" in complaint("mnist", root=root)
    if "\0" not in root:
        monkeypatch.setenv("GENLAB_DATA", root)
        assert "data folder" in complaint("celeba")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "celeba", "emoji"])
def test_a_root_as_long_as_a_path_may_be(tmp_path, monkeypatch, name):
    "The folder itself is there, but nothing in it can have a name."
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ds, "SYSTEM_FONTS", tmp_path / "no fonts")
    parts = ["y" * 250] * 16
    for part in parts:  # too long to be made in one go
        os.mkdir(part)
        os.chdir(part)
    length = 4_095 - len("/".join(parts)) - 1
    root = "/".join(parts)
    deeper = min(length - 1, 70)
    os.mkdir("z" * deeper)
    os.chdir(tmp_path)
    root = f"{root}/{'z' * deeper}"
    assert Path(root).is_dir()
    message = complaint(name, root=root)
    assert "data folder" in message or "was not found" in message
    shutil.rmtree(tmp_path / parts[0])


def test_a_folder_that_cannot_be_written(mnist, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    path = mnist / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    monkeypatch.setattr(os, "replace", full)
    message = complaint("mnist", root=mnist)
    assert "can't be used" in message and "No space left on device" in message and "GENLAB_DATA" in message


def test_requests_that_make_no_sense(mnist):
    assert (
        "There is no data set 'imagenet'; expected one of mnist, fashion_mnist, cifar10, celeba, emoji, shapes, faces"
        in complaint("imagenet")
    )
    assert "There is no split 'dev'" in complaint("mnist", "dev", root=mnist)
    assert "can't be a fallback" in complaint("mnist", root=mnist, fallback="cifar10")
    for size in (0, -3, 2.5, "64"):
        assert "size is" in complaint("mnist", size=size, root=mnist)
    assert "n is 26, and the train split of mnist has 25" in complaint("mnist", root=mnist, n=26)
    assert "n is 0" in complaint("mnist", root=mnist, n=0)


def test_resizing_is_torchvisions(mnist):
    x = im.load_images("mnist", root=mnist).x
    for size in (14, 20, 32):
        s = im.load_images("mnist", size=size, root=mnist)
        twin = resize(x, [size, size], antialias=True)
        assert s.shape == (1, size, size) and (s.x.int() - twin.int()).abs().max() <= 1
    assert torch.equal(im.load_images("mnist", size=28, root=mnist).x, x)


def test_drawn_sets_are_fixed_and_their_splits_differ():
    for name, size in (("shapes", 32), ("faces", 64)):
        few = {split: im.load_images(name, split, n=40) for split in im.SPLITS}
        assert all(s.split == split and s.name == name and s.shape == (3, size, size) for split, s in few.items())
        assert torch.equal(few["test"].x, im.load_images(name, "test", n=60).x[:40])
        assert not torch.equal(few["train"].x, few["test"].x) and not torch.equal(few["validation"].x, few["test"].x)
    assert im.load_images("shapes", "test", size=28, n=3).shape == (3, 28, 28)
    assert len(im.load_images("shapes", "test")) == 10_000


# ---- Bytes, batches, flips and crops

def test_bytes_to_floats_and_back():
    every = torch.arange(256, dtype=torch.uint8)
    x = im.to_float(every)
    assert torch.equal(im.to_uint8(x), every) and x.dtype == torch.float32
    assert x[0] == -1 and x[255] == 1 and torch.equal(x, -x.flip(0))
    assert (x.double() - (every.double() / 127.5 - 1)).abs().max() < 1e-7
    assert torch.equal(im.to_uint8((x + 0.9 / 255).clamp(max=1)), every) and torch.equal(
        im.to_uint8(x - 0.9 / 255), every
    )
    wild = torch.tensor([-5.0, 5.0, float("inf"), -float("inf"), float("nan")], requires_grad=True)
    assert im.to_uint8(wild).tolist() == [0, 255, 255, 0, 0]
    assert torch.equal(im.to_uint8(x.bfloat16())[[0, 255]], every[[0, 255]])


def numbered(n=103, shape=(2, 5, 6)):
    x = torch.arange(n)[:, None, None, None].expand(n, *shape).to(torch.uint8).contiguous()
    return im.ImageSet(x, torch.arange(n), tuple(map(str, range(n))), "numbered", "train")


def test_batches_cover_each_image_once():
    data = numbered()
    for epoch in range(3):
        parts = list(im.batches(data, 10, seed=4, epoch=epoch))
        y = torch.cat([y for _, y in parts])
        assert len(parts) == 10 and len(y.unique()) == 100 and all(x.dtype == torch.float32 for x, _ in parts)
        assert torch.equal(
            im.to_uint8(torch.cat([x for x, _ in parts]))[:, 1, 4, 5].long(), y
        )  # images and labels stay together
        assert torch.equal(y, im.epoch_order(103, 4, epoch)[:100])
    assert torch.equal(torch.cat([y for _, y in im.batches(data, 1)]).sort().values, torch.arange(103))


def test_the_order_is_the_one_that_runs_were_trained_with():
    assert torch.equal(
        im.epoch_order(50, 3, 2), torch.randperm(50, generator=torch.Generator().manual_seed(3 * 1_000_003 + 2))
    )


@pytest.mark.parametrize("start", [0, 1, 7, 9, 10])
def test_start_resumes_exactly(start):
    data = numbered()
    whole = list(im.batches(data, 10, seed=1, epoch=5))
    torch.randn(10)  # other random numbers change nothing
    rest = list(im.batches(data, 10, seed=1, epoch=5, start=start))
    assert len(rest) == 10 - start
    for (a, b), (c, d) in zip(whole[start:], rest, strict=True):
        assert torch.equal(a, c) and torch.equal(b, d)


def test_batches_that_cannot_be():
    for settings in (dict(batch_size=104), dict(batch_size=10, start=11), dict(batch_size=10, start=-1)):
        with pytest.raises(UserError, match="Choose a smaller"):
            im.batches(numbered(), **settings)
    for batch_size in (0, -1, 2.5, None):
        with pytest.raises(UserError, match=f"batches of {batch_size}"):
            im.batches(numbered(), batch_size)


def test_augment_sees_bytes_and_loses_nothing():
    data, seen = numbered(), []
    for (x, y), (plain, y2) in zip(
        im.batches(data, 10, augment=lambda x: seen.append(x.dtype) or 255 - x), im.batches(data, 10), strict=True
    ):
        assert torch.equal(x, -plain) and torch.equal(y, y2)
    assert set(seen) == {torch.uint8}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_flips_are_independent_and_seeded(dtype):
    x = torch.randint(0, 255, (4_000, 3, 4, 6)).to(dtype)
    y = im.flip(x, torch.Generator().manual_seed(0))
    mirrored = (y == x.flip(-1)).flatten(1).all(dim=1)
    assert torch.equal(mirrored, ~(y == x).flatten(1).all(dim=1)) and y.dtype == dtype
    assert 0.45 < mirrored.float().mean() < 0.55
    neighbours = (mirrored[1:] == mirrored[:-1]).float().mean()
    assert 0.45 < neighbours < 0.55
    assert torch.equal(y, im.flip(x, torch.Generator().manual_seed(0))) and not torch.equal(
        y, im.flip(x, torch.Generator().manual_seed(1))
    )
    torch.manual_seed(5)
    a = im.flip(x)
    torch.manual_seed(5)
    assert torch.equal(a, im.flip(x)) and not torch.equal(a, im.flip(x))


def test_crops_are_windows_and_every_shift_occurs():
    x = torch.randint(0, 255, (5_000, 1, 9, 11), dtype=torch.uint8)
    y = im.crop(x, 2, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(x.float(), (2,) * 4, mode="reflect").to(torch.uint8)
    windows = padded.unfold(2, 9, 1).unfold(3, 11, 1)  # (B, 1, 5, 5, 9, 11)
    same = (windows == y[:, :, None, None]).all(dim=-1).all(dim=-1)[:, 0]
    assert same.flatten(1).any(dim=1).all()
    counts = same.float().sum(dim=0)
    assert counts.min() > 120 and counts.max() < 290  # 25 shifts, 200 each
    assert torch.equal(y, im.crop(x, 2, torch.Generator().manual_seed(0))) and torch.equal(im.crop(x, 0), x)
    with pytest.raises(UserError, match="padding is 9"):
        im.crop(x, 9)


def test_flips_and_crops_have_gradients():
    x = torch.randn(4, 1, 6, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda t: im.crop(im.flip(t, torch.Generator().manual_seed(0)), 2, torch.Generator().manual_seed(0)), x
    )


def test_an_image_set_that_is_none():
    good = numbered(6)
    for changes, says in (
        (dict(x=good.x.float()), "expected uint8"),
        (dict(x=good.x[:, 0]), "expected uint8"),
        (dict(y=good.y[:5]), "6 images and 5 labels"),
        (dict(y=good.y - 1), "classes from -1 to 4"),
        (dict(names=("a",)), "expected 0 to 0"),
        (dict(y=good.y.int()), "labels of torch.int32"),
        (dict(y=torch.zeros(6, 3, dtype=torch.bool)), "a column per name"),
        (dict(split="valid"), "There is no split"),
        (dict(x=good.x[:0], y=good.y[:0]), "is empty"),
    ):
        with pytest.raises(UserError, match=says):
            im.replace(good, **changes)
    with pytest.raises(UserError, match="is empty"):
        good.take(slice(6, 9))
    assert repr(good) == "ImageSet(numbered, train: 6 images of 2x5x6, 6 classes)" and good.take(
        torch.tensor([4, 2])
    ).y.tolist() == [4, 2]
    assert good.to("cpu").device == torch.device("cpu") and good.n_labels == 6


# ---- Memory

PEAK = """
import re, sys
from pathlib import Path
from genlab.lab.images import load_images

def kept(name):
    return 1024 * int(re.search(rf"{name}:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

load_images("shapes", "test", n=1)  # what is imported or made but once
before = kept("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
data = load_images(sys.argv[1], "train")
print(kept("VmHWM") - before, len(data))
"""


def write_fashion(root: Path) -> int:
    raw, x = root / "FashionMNIST" / "raw", np.random.default_rng(0).integers(0, 256, (60_000, 28, 28), dtype=np.uint8)
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte").write_bytes(idx(x))
    (raw / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(60_000, np.uint8)))
    return x.nbytes


def write_fashion_gz(root: Path) -> int:
    size = write_fashion(root)
    for path in list((root / "FashionMNIST" / "raw").iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), compresslevel=1))
        path.unlink()
    return size


def write_whole_cifar(root: Path) -> int:
    folder = root / "cifar-10-batches-bin"
    folder.mkdir()
    for i in range(1, 6):
        (folder / f"data_batch_{i}.bin").write_bytes(bytes(10_000 * ds.RECORD))
    return 5 * 10_000 * ds.RECORD


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is measured by Linux's /proc")
@pytest.mark.parametrize("name, write, most", [
    ("fashion_mnist", write_fashion, 2), ("fashion_mnist", write_fashion_gz, 2),
    ("cifar10", write_whole_cifar, 2.2)])  # the allocator may keep the room of one of five files
def test_loading_takes_less_than_twice_the_set(name, write, most, tmp_path):
    "The files' images are in memory once, and beside them a split; every further copy would be too many."
    size = write(tmp_path)
    peak, n = map(int, subprocess.check_output(
        [sys.executable, "-c", PEAK, name], env=os.environ | dict(GENLAB_DATA=str(tmp_path)), text=True).split())
    assert n == dict(fashion_mnist=50_000, cifar10=40_000)[name] and size < peak < most * size, (peak, size)
