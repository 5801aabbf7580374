"""Bad data sets: folders, files and caches of the public layouts, pictures, fonts, and the arrays of the coloured pi.

Nothing is downloaded: where files are missing, `offline` has put a file in the place of the download's own folder.
"""

import gzip
import io
import pickle
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from layouts import idx, png, write_celeba, write_cifar, write_cifar_pickles, write_gz, write_mnist
from PIL import Image

from bad_inputs import Bad, Gift, edited, gone, placed, then, written
from genlab.lab.images import load_images
from genlab.points.colored_pi import draw_pi, save_pi
from genlab.workshop.datasets import ParquetPictures, content_key, decode_emoji, decode_picture

bad = partial(Bad, needs=(), env={"GENLAB_DATA": "{here}"})
LOOP, NOWHERE = "link to itself", "link to nowhere"


def train(data: str, *more: str, model: str = "ae") -> list[str]:
    "A short training on a data set; a bad one is refused before it."
    return ["train", model, "--data", data, "--budget", "smoke", "--steps", "2", "--out", "new", *more]


def offline(here: Path) -> None:
    for name in (".download", ".download.lock"):
        (here / name).write_text("")


def set_aside(file: str, where: str) -> Callable[[Path], None]:
    def move(here: Path) -> None:
        (here / where).parent.mkdir(parents=True, exist_ok=True)
        (here / file).rename(here / where)

    return move


def sparse(file: str, size: int = 2**26 + 1) -> Callable[[Path], None]:
    "Makes a file that long; its end takes no room on the disk."

    def grow(here: Path) -> None:
        with open(here / file, "ab") as f:
            f.truncate(size)

    return grow


def mnist(here: Path) -> None:
    write_mnist(here)


def mnist_of(n: int, n_test: int) -> Callable[[Path], None]:
    return lambda here: write_mnist(here, n, n_test) and None


def fashion_mnist(here: Path) -> None:
    write_mnist(here)
    (here / "MNIST").rename(here / "FashionMNIST")


def cifar(here: Path) -> None:
    write_cifar(here, 4)


def cifar_pickles(here: Path) -> None:
    write_cifar_pickles(here, 2)


def celeba(here: Path) -> None:
    write_celeba(here, 5)


def kaggle(here: Path) -> None:
    write_celeba(here, 5, kaggle=True)


X, Y, TEST = (f"MNIST/raw/{name}-ubyte" for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3"))
GARMENTS = "FashionMNIST/raw/train-labels-idx1-ubyte"
WEB_PAGE = b"<html>404</html>"


def packed(change: Callable[[bytes], bytes], file: str = X) -> Callable[[Path], None]:
    "MNIST with a changed .gz in the place of one of its files."

    def pack(here: Path) -> None:
        mnist(here)
        content = (here / file).read_bytes()
        (here / file).unlink()
        (here / f"{file}.gz").write_bytes(change(gzip.compress(content)))

    return pack


def header(*shape: int) -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)


FOLDERS = [
    bad("a data folder that is not there", then(run=train("mnist")),
        "nowhere, named by GENLAB_DATA, does not exist", env={"GENLAB_DATA": "{here}/nowhere"}),
    bad("a data folder that is a link to nowhere", then(placed("data", NOWHERE), run=train("mnist")),
        "data, named by GENLAB_DATA, does not exist", env={"GENLAB_DATA": "{here}/data"}),
    bad("a data folder that is a link to itself", then(placed("data", LOOP), run=train("celeba")),
        "data, named by GENLAB_DATA, does not exist", env={"GENLAB_DATA": "{here}/data"}),
    bad("a data folder that is a file", then(written("data", ""), run=train("mnist", "--root", "data")),
        "data is a file; expected a folder for data sets"),
    bad("a data folder that is a pipe", then(placed("data", "pipe"), run=train("cifar10", "--root", "data")),
        "data is a file; expected a folder for data sets"),
    bad("a data folder named by root that is not there", then(run=train("emoji", "--root", "here/not")),
        "here/not, named by root, does not exist"),
]

MNIST = [
    bad("an empty data folder", then(offline, run=train("mnist")), "mnist was not found .*can't be downl"),
    bad("MNIST by the names that Kaggle gives its files", then(mnist, offline, set_aside(
        X, X.replace("-idx3", ".idx3")), run=train("mnist")), "train-images-idx3-ubyte is missing"),
    bad("MNIST as a table", then(offline, written("MNIST/raw/mnist_train.csv", "label,1x1\n5,0\n"), run=train("mnist")),
        "train-images-idx3-ubyte is missing"),
    bad("the files for training alone", then(mnist, offline, gone(TEST), run=train("mnist")),
        "t10k-images-idx3-ubyte is missing"),
    bad("a folder in the place of the images", then(mnist, offline, placed(X, "folder"), run=train("mnist")),
        "train-images-idx3-ubyte is missing"),
    bad("a pipe in the place of the labels", then(mnist, offline, placed(Y, "pipe"), run=train("mnist")),
        "train-labels-idx1-ubyte is missing"),
    bad("images that are a link to nowhere", then(mnist, offline, placed(X, NOWHERE), run=train("mnist")),
        "train-images-idx3-ubyte is missing"),
    bad("labels that are a link to themselves", then(mnist, offline, placed(Y, LOOP), run=train("mnist")),
        "train-labels-idx1-ubyte is missing"),
    bad("a file in the place of the folder MNIST", then(offline, written("MNIST", ""), run=train("mnist")),
        "train-images-idx3-ubyte is missing"),
    bad("images without a byte", then(mnist, written(X, ""), run=train("mnist")), "no IDX file.* starts with nothing"),
    bad("images cut off", then(mnist, edited(X, lambda c: c[:-505]), run=train("mnist")),
        "has 23,031 bytes; expected 23,536, .*truncated"),
    bad("images cut off in their header", then(mnist, edited(X, lambda c: c[:10]), run=train("mnist")),
        "no IDX file of bytes: it starts with 00 00 08 03"),
    bad("a byte too many behind the labels", then(mnist, edited(Y, lambda c: c + b"\0"), run=train("mnist")),
        "has 39 bytes; expected 38"),
    bad("a web page in the place of the images", then(mnist, written(X, WEB_PAGE), run=train("mnist")),
        "no IDX file of bytes: it starts with 3c 68 74 6d"),
    bad("images of float numbers", then(mnist, edited(X, lambda c: b"\0\0\x0d" + c[3:]), run=train("mnist")),
        "no IDX file of bytes: it starts with 00 00 0d 03"),
    bad("a magic number in the order of small machines", then(mnist, edited(
        X, lambda c: struct.pack("<I", 2051) + c[4:]), run=train("mnist")), "it starts with 03 08 00 00"),
    bad("images without a dimension", then(mnist, written(X, header() + b"\5"), run=train("mnist")),
        "it starts with 00 00 08 00"),
    bad("images in 255 dimensions", then(mnist, written(X, header(*[1] * 255) + b"\5"), run=train("mnist")),
        "it starts with 00 00 08 ff"),
    bad("images in rows of 784", then(mnist, written(X, idx(np.zeros((30, 784), np.uint8))), run=train("mnist")),
        r"has shape \(30, 784\) .*expected \(N, 28, 28\)"),
    bad("images of 28 x 27", then(mnist, written(X, idx(np.zeros((30, 28, 27), np.uint8))), run=train("mnist")),
        r"has shape \(30, 28, 27\) .*expected \(N, 28, 28\)"),
    bad("labels in two columns", then(mnist, written(Y, idx(np.zeros((30, 2), np.uint8))), run=train("mnist")),
        r"train-labels-idx1-ubyte \(30, 2\); expected"),
    bad("images and labels exchanged", then(mnist, set_aside(X, "x"), set_aside(Y, X), set_aside("x", Y),
                                            run=train("mnist")), r"has shape \(30,\) .*\(30, 28, 28\); expected"),
    bad("a label too few", then(mnist, written(Y, idx(np.zeros(29, np.uint8))), run=train("mnist")),
        "has 30 images and 29 labels; expected one label per image"),
    bad("a label that is ten", then(mnist, edited(Y, lambda c: c[:-1] + b"\x0a"), run=train("mnist")),
        r"mnist has classes from \d to 10; expected 0 to 9"),
    bad("letters in the place of garments", then(fashion_mnist, edited(
        GARMENTS, lambda c: c[:8] + bytes(range(1, 27)) + c[34:]), run=train("fashion_mnist")),
        r"fashion_mnist has classes from \d to 26"),
    bad("no image to test by", then(mnist_of(30, 0), run=train("mnist")), "test split of mnist is empty"),
    bad("two images, of which none is left for validation", then(mnist_of(2, 2), run=train("mnist")),
        "validation split of mnist is empty"),
    bad("a header of more images than any file can hold", then(mnist, written(X, header(2**32 - 1, 0, 28)),
                                                               run=train("mnist")), "announces 4294967295 x 0 x 28"),
    bad("a header that announces a terabyte", then(mnist, written(X, header(2**26, 2**14)), run=train("mnist")),
        "expected 1,099,511,627,788, as its header"),
    bad("images of 64 MB and a byte", then(mnist, sparse(X), run=train("mnist")),
        "images-idx3-ubyte has 67,108,865 bytes; expected at most 67,108,864"),
    bad("a .gz that is none", then(packed(lambda c: WEB_PAGE), run=train("mnist")),
        r"ubyte.gz can't be unpacked \(Not a gzipped file"),
    bad("a .gz cut off", then(packed(lambda c: c[:len(c) // 2]), run=train("mnist")),
        r"can't be unpacked \(Compressed file ended"),
    bad("a .gz without a byte of its content", then(packed(lambda c: c[:10]), run=train("mnist")),
        r"can't be unpacked \(Compressed file ended"),
    bad("a .gz with another checksum", then(packed(lambda c: c[:-8] + b"\1\2\3\4" + c[-4:]), run=train("mnist")),
        r"can't be unpacked \(CRC check failed"),
    bad("a .gz with a block that can't be", then(packed(lambda c: c[:10] + b"\7" + c[11:]), run=train("mnist")),
        r"can't be unpacked \(Error -3 while decompressing"),
    bad("a .gz with rubbish behind it", then(packed(lambda c: c + b"rubbish"), run=train("mnist")),
        r"images-idx3-ubyte.gz can't be unpacked \("),
    bad("a .gz that unpacks to 80 MB", then(packed(lambda c: gzip.compress(bytes(2**24)) * 5), run=train("mnist")),
        "ubyte.gz unpacks to more than 67,108,864 bytes"),
    bad("a .gz of a web page", then(packed(lambda c: gzip.compress(WEB_PAGE)), run=train("mnist")), "no IDX file of"),
    bad("a .gz of labels, cut off, beside images", then(packed(lambda c: c[:-9], Y), run=train("mnist")),
        "labels-idx1-ubyte.gz can't be unpacked"),
    bad("a pipe in the place of a .gz", then(mnist, offline, gone(X), placed(f"{X}.gz", "pipe"), run=train("mnist")),
        "train-images-idx3-ubyte is missing"),
    bad("a file in the place of the folder to unpack into", then(
        lambda here: write_gz(here, "MNIST"), written("MNIST/raw", ""), run=train("mnist")), "can't be used .File"),
    bad("images of one layout and labels of another", then(mnist, gone(Y), set_aside(
        TEST.replace("images-idx3", "labels-idx1"), "MNIST/train-labels-idx1-ubyte"), run=train("mnist")),
        "has 30 images and 12 labels"),
]


BATCH = "cifar-10-batches-bin/data_batch_2.bin"
PICKLE = "cifar-10-batches-py/data_batch_1"
NOT_THE_AUTHORS = "cifar-10-batches-py lacks a file, or has one that isn't the authors' own: a checksum differs"
BATCHES = [f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)]


CIFAR = [
    bad("a batch cut off", then(cifar, edited(BATCH, lambda c: c[:-1]), run=train("cifar10", model="vae")),
        "data_batch_2.bin has 12,291 bytes; expected a multiple of 3,073"),
    bad("CIFAR-100's batches by CIFAR-10's names", then(cifar, written(BATCH, bytes(10 * 3_074)), run=train("cifar10")),
        "data_batch_2.bin has 30,740 bytes; expected a multiple of 3,073"),
    bad("an eleventh class", then(cifar, edited(BATCH, lambda c: b"\x0a" + c[1:]), run=train("cifar10")),
        r"cifar10 has classes from \d to 10; expected 0 to 9"),
    bad("five batches without a byte", then(cifar, *(written(b, b"") for b in BATCHES), run=train("cifar10")),
        "train split of cifar10 is empty"),
    bad("five batches with one image together", then(cifar, *(written(b, b"") for b in BATCHES[1:]), edited(
        BATCHES[0], lambda c: c[:3_073]), run=train("cifar10")), "validation split of cifar10 is empty"),
    bad("a folder in the place of the test batch", then(cifar, offline, placed(
        BATCH.replace("data_batch_2", "test_batch"), "folder"), run=train("cifar10")), "test_batch.bin is missing"),
    bad("a pipe in the place of a batch", then(cifar, offline, placed(BATCH, "pipe"), run=train("cifar10")),
        "data_batch_2.bin is missing"),
    bad("a batch of 64 MB and a byte", then(cifar, sparse(BATCH), run=train("cifar10", model="vqvae")),
        "data_batch_2.bin has 67,108,865 bytes; expected at most"),
    bad("CIFAR-10's archive, not unpacked", then(offline, written("cifar-10-binary.tar.gz", b"\x1f\x8b\x08"),
                                                 run=train("cifar10")), "data_batch_1.bin is missing"),
    bad("a pickle that would write a file", then(cifar_pickles, written(PICKLE, pickle.dumps(Gift(), 2)),
                                                 run=train("cifar10")), f"{NOT_THE_AUTHORS}.* Nothing in it was"),
    bad("a pickle of a list", then(cifar_pickles, written(PICKLE, pickle.dumps([1, 2], 2)), run=train("cifar10")),
        NOT_THE_AUTHORS),
    bad("pickles without the fifth batch", then(cifar_pickles, gone("cifar-10-batches-py/data_batch_5"),
                                                run=train("cifar10")), NOT_THE_AUTHORS),
    bad("a pipe in the place of a pickle", then(cifar_pickles, placed(PICKLE, "pipe"), run=train("cifar10")),
        NOT_THE_AUTHORS),
    bad("binary batches with one missing, and pickles of another copy", then(
        cifar, gone(BATCH), cifar_pickles, run=train("cifar10")), NOT_THE_AUTHORS),
]


def drawn(mode: str = "RGB", size: tuple[int, int] = (178, 218), kind: str = "PNG", noise: bool = False) -> bytes:
    "A picture of one colour, or of noise, as a file."
    picture = Image.effect_noise(size, 60).convert(mode) if noise else Image.new(mode, size)
    out = io.BytesIO()
    picture.save(out, format=kind)
    return out.getvalue()


def parquet(file: str, **columns) -> Callable[[Path], None]:
    "A Parquet file of columns; a function gets pyarrow and makes one."

    def write(here: Path) -> None:
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        (here / file).parent.mkdir(parents=True, exist_ok=True)
        made = {name: column(pa) if callable(column) else column for name, column in columns.items()}
        pq.write_table(pa.table(made), here / file, compression="zstd")

    return write


def cells(*pictures: bytes | None) -> list[dict]:
    return [dict(bytes=picture, path="a.png") for picture in pictures]


def opened(file: str, image: str = "img") -> ParquetPictures:
    return ParquetPictures([Path(file)], image)


def rows_announced(n: int, other: int) -> Callable[[bytes], bytes]:
    "Another number of rows at the end of a Parquet file, where it is the first number of 64 bits."

    def change(content: bytes) -> bytes:
        start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
        at = content.index(bytes([0x16, 2 * n]), start) + 1
        return content[:at] + bytes([2 * other]) + content[at + 1:]

    return change


TABLE, FACES = "cifar10/train-0.parquet", "celeba/train-0.parquet"
TINY = drawn(size=(32, 32))

PARQUET = [
    bad("a Parquet file that is none", then(written(TABLE, b"PAR1 not really PAR1"), run=train("cifar10")),
        "cifar10 has a Parquet file that can't be read"),
    bad("a Parquet file without a byte", then(written(TABLE, b""), run=train("cifar10")),
        "cifar10 has a Parquet file that can't be read"),
    bad("a Parquet file cut off", then(parquet(TABLE, img=cells(TINY), label=[1]), edited(TABLE, lambda c: c[:-20]),
                                       run=train("cifar10")), "cifar10 has a Parquet file that can't be read"),
    bad("a Parquet file without pictures", then(parquet(TABLE, label=[1]), run=train("cifar10")),
        "cifar10 has pictures without their bytes in column 'img'"),
    bad("pictures of a Parquet file that are paths alone", then(
        parquet(TABLE, img=[dict(path="a.png")], label=[1]), run=train("cifar10")), "without their bytes in column"),
    bad("pictures of a Parquet file that are numbers", then(parquet(TABLE, img=[3], label=[1]), run=train("cifar10")),
        "without their bytes in column 'img'"),
    bad("a picture of a Parquet file that is null", then(
        parquet(TABLE, img=[*cells(TINY), None], label=[1, 2]), run=lambda: opened(TABLE)[0:2]),
        "has a picture without its bytes in column 'img'"),
    bad("a picture of a Parquet file whose bytes are null", then(
        parquet(TABLE, img=cells(TINY, None), label=[1, 2]), run=lambda: opened(TABLE)[0:2]),
        "has a picture without its bytes in column 'img'"),
    bad("a picture of a Parquet file of a megabyte and a byte", then(
        parquet(TABLE, img=cells(TINY, bytes(2**20 + 1)), label=[1, 2]), run=lambda: opened(TABLE)[0:2]),
        "has a picture of 1,048,577 bytes; expected at most"),
    bad("a Parquet file without labels", then(
        parquet(TABLE, img=cells(TINY)), run=lambda: opened(TABLE).column("label", int)),
        "has no column 'label'; it has img"),
    bad("a label of a Parquet file that is null", then(
        parquet(TABLE, img=cells(TINY, TINY), label=[1, None]), run=train("cifar10")),
        "has None in column 'label'; expected int"),
    bad("a label of a Parquet file that is ten", then(
        parquet(TABLE, img=cells(TINY, TINY), label=[1, 10]), run=train("cifar10")), "has classes from 1 to 10"),
    bad("labels of a Parquet file that are texts", then(
        parquet(TABLE, img=cells(TINY), label=["frog"]), run=lambda: opened(TABLE).column("label", int)),
        "has string in column 'label'; expected int"),
    bad("labels of a Parquet file that are no whole numbers", then(
        parquet(TABLE, img=cells(TINY), label=[0.5]), run=lambda: opened(TABLE).column("label", int)),
        "has 0.5 in column 'label'; expected int"),
    bad("labels of a Parquet file that are lists", then(
        parquet(TABLE, img=cells(TINY), label=[[1]]), run=lambda: opened(TABLE).column("label", int)),
        "has list<.*> in column 'label'; expected int"),
    bad("a Parquet file that announces a row more than it has", then(
        parquet(TABLE, img=cells(*[TINY] * 5), label=[1] * 5), edited(TABLE, rows_announced(5, 6)),
        run=train("cifar10")), "train-0.parquet announces 6 rows, and has 5 values in column 'label'"),
    bad("a Parquet file that announces no row and has some", then(
        parquet(TABLE, img=cells(*[TINY] * 5), label=[1] * 5), edited(TABLE, rows_announced(5, 0)),
        run=train("cifar10")), "train-0.parquet announces 0 rows, and has 5 values in column 'label'"),
    bad("pictures of a Parquet file that announces a row less than it has", then(
        parquet(TABLE, img=cells(*[TINY] * 5), label=[1] * 5), edited(TABLE, rows_announced(5, 4)),
        run=lambda: opened(TABLE)[0:2]), "train-0.parquet announces 4 rows, and has 5 values in column 'img'"),
    bad("a Parquet file of a million rows", then(parquet(
        TABLE, img=lambda pa: pa.nulls(2**20, pa.struct([("bytes", pa.binary())])), label=lambda pa: pa.nulls(2**20)),
        run=train("cifar10")), "has 1,048,576 rows; expected at most 262,144"),
    bad("attributes of a Parquet CelebA that are numbers", then(
        parquet(FACES, image=cells(drawn()), Smiling=[1], Male=[0]), run=train("celeba")),
        "celeba.*no column of true and false"),
    bad("an attribute of a Parquet CelebA that is null", then(
        parquet(FACES, image=cells(drawn(), drawn()), Smiling=[True, None]), run=train("celeba")),
        "has None in column 'Smiling'; expected bool"),
    bad("two Parquet files with other attributes", then(
        parquet(FACES, image=cells(drawn()), Smiling=[True]),
        parquet(FACES.replace("0", "1"), image=cells(drawn()), Male=[True]), run=train("celeba")),
        "train-1.parquet has no column 'Smiling'; it has image, Male"),
]


ATTR, PART, JPEGS = "celeba/list_attr_celeba.txt", "celeba/list_eval_partition.txt", "celeba/img_align_celeba"


def swap(old: bytes, new: bytes, times: int = 1) -> Callable[[bytes], bytes]:
    return lambda content: content.replace(old, new, times)


CELEBA = [
    bad("a count above the lines of a list", then(celeba, edited(ATTR, swap(b"5\n", b"50\n")), run=train("celeba")),
        "lists 5 pictures; expected 50. It was truncated"),
    bad("a count of 5,000 digits", then(celeba, edited(ATTR, swap(b"5\n", b"5" * 5_000 + b"\n")), run=train("celeba")),
        "list_attr_celeba.txt has a line '5_o_Clock_Shadow"),
    bad("a line with an attribute too few", then(celeba, edited(ATTR, lambda c: c.rstrip()[:-2]), run=train("celeba")),
        "has a line '000005.jpg .*expected the name of a .jpg and 40 whole numbers"),
    bad("an attribute of 300", then(celeba, edited(ATTR, swap(b" 1", b" 300")), run=train("celeba")),
        r"with values \[-1, 1, 300\]; expected at least one, and -1 or 1"),
    bad("attributes of 0 and 1", then(celeba, edited(ATTR, swap(b"-1", b" 0", -1)), run=train("celeba")),
        r"with values \[0, 1\]; expected at least one, and -1 or 1"),
    bad("an attribute that is a word", then(celeba, edited(ATTR, swap(b"-1", b"no")), run=train("celeba")),
        "has a line '00000.*whole numbers"),
    bad("an attribute of twenty digits", then(celeba, edited(ATTR, swap(b" 1", b" " + b"9" * 20)), run=train("celeba")),
        "has a line '00000.*whole numbers"),
    bad("a name that leads out of the folder", then(celeba, edited(ATTR, swap(b"000002.jpg", b"../002.jpg")),
                                                    run=train("celeba")), "has a line '../002.jpg"),
    bad("a zero byte in a name", then(celeba, edited(ATTR, swap(b"000002.jpg", b"000\x0002.jpg")), run=train("celeba")),
        r"has a line '000\\+x0002.jpg"),
    bad("a picture that is listed twice", then(celeba, edited(ATTR, swap(b"000002.jpg", b"000001.jpg")),
                                               run=train("celeba")), "list_attr_celeba.txt names a picture or a"),
    bad("an attribute that is listed twice", then(celeba, edited(ATTR, swap(b"Bald", b"Young")), run=train("celeba")),
        "list_attr_celeba.txt names a picture or a column twice"),
    bad("a list without attributes", then(celeba, written(ATTR, "image_id\n000001.jpg\n000002.jpg\n"),
                                          run=train("celeba")), "list_attr_celeba.txt names .*, or no column"),
    bad("a list of attributes without a line", then(celeba, written(ATTR, ""), run=train("celeba")),
        "list_attr_celeba.txt lists 0 pictures; expected at least one"),
    bad("a list in UTF-16", then(celeba, edited(ATTR, lambda c: c.decode().encode("utf-16")), run=train("celeba")),
        "list_attr_celeba.txt has a line "),
    bad("a list of 64 MB and a byte", then(celeba, sparse(ATTR), run=train("celeba")),
        "list_attr_celeba.txt has 67,108,865 bytes; expected at most"),
    bad("a picture in one of the lists alone", then(celeba, edited(PART, lambda c: c[:-13]), run=train("celeba")),
        "list_attr_celeba has 5 pictures and list_eval_partition 4, 1 of them in one only"),
    bad("two parts of each picture", then(celeba, edited(PART, swap(b".jpg ", b".jpg 0 ", -1)), run=train("celeba")),
        "list_eval_partition.txt has a line '000001.jpg 0 0'"),
    bad("two columns of parts with names", then(celeba, edited(
        PART, lambda c: b"image_id partition part\n" + c.replace(b".jpg ", b".jpg 0 ")), run=train("celeba")),
        "list_eval_partition has 2 columns of numbers; expected one"),
    bad("a part that there is not", then(celeba, edited(PART, swap(b"000001.jpg 0", b"000001.jpg 7")),
                                         run=lambda: load_images("celeba", "validation")), "list_eval_partition.* 7"),
    bad("no picture for validation", then(celeba, edited(PART, swap(b".jpg 1", b".jpg 0")),
                                          run=lambda: load_images("celeba", "validation")),
        "lists have 0 pictures for validation"),
    bad("Kaggle's list of parts with its columns exchanged", then(kaggle, written(
        PART.replace("txt", "csv"), "partition,image_id\n" + "".join(f"0,{i:06d}.jpg\n" for i in range(1, 6))),
        run=train("celeba")), "list_eval_partition.csv has a line '0 000001.jpg'"),
    bad("Kaggle's list of attributes and the authors' of parts, of other pictures", then(
        celeba, gone(ATTR), written(ATTR.replace("txt", "csv"), "image_id,Male\n" + "".join(
            f"{i:06d}.jpg,1\n" for i in range(1, 8))), run=train("celeba")),
        "list_attr_celeba has 7 pictures and list_eval_partition 5, 2 of them in one only"),
    bad("no list of attributes", then(celeba, offline, gone(ATTR), run=train("celeba")),
        r"list_attr_celeba.txt \(or .csv\) is missing"),
    bad("a pipe in the place of the list of parts", then(celeba, offline, placed(PART, "pipe"), run=train("celeba")),
        r"list_eval_partition.txt \(or .csv\) is missing"),
    bad("CelebA's pictures in an archive", then(
        celeba, offline, set_aside(JPEGS, "elsewhere"), written(f"{JPEGS}.zip", b"PK\5\6" + bytes(18)),
        run=train("celeba")), "000001.jpg is missing"),
    bad("one picture of three that is missing", then(celeba, gone(f"{JPEGS}/000002.jpg"), run=train("celeba")),
        "lacks 1 of the 3 pictures that the list names, 000002.jpg"),
    bad("a file in the place of the folder of decoded pictures", then(
        celeba, written("celeba/decoded", ""), run=train("celeba")), "can't be used .File exists"),
]


def npy(text: str, version: int = 1, data: bytes = bytes(100)) -> bytes:
    "An array of NumPy's with a header of one's own."
    head = text.encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(head)) + head + data


def array(a: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, a)
    return out.getvalue()


def archive(**arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def cached(content: bytes) -> Callable[[Path], None]:
    "CelebA with decoded pictures for training."
    names = [f"{i:06d}.jpg" for i in (1, 2, 3)]
    return lambda here: (celeba(here), written(f"celeba/decoded/train_64_{content_key(names)}.npy", content)(here))


CACHES = [
    bad("decoded pictures cut off", then(cached(array(np.zeros((3, 3, 64, 64), np.uint8))[:-1]), run=train("celeba")),
        "train_64_.*npy is damaged .*Delete it"),
    bad("decoded pictures that are a pickle", then(cached(pickle.dumps(Gift())), run=train("celeba")),
        "train_64_.*npy is damaged .*Delete it"),
    bad("decoded pictures that are objects", then(cached(array(np.array([Gift()] * 3))), run=train("celeba")),
        "train_64_.*npy is damaged .*Delete it"),
    bad("decoded pictures in an archive of arrays", then(cached(archive(x=np.zeros(3, np.uint8))), run=train("celeba")),
        "train_64_.*npy (is damaged|holds) .*Delete it"),
    bad("decoded pictures whose header announces terabytes", then(cached(npy(
        "{'descr': '|u1', 'fortran_order': False, 'shape': (10000000000000, 3, 64, 64), }")), run=train("celeba")),
        "train_64_.*npy is damaged .*Delete it"),
    bad("decoded pictures of float numbers", then(cached(array(np.zeros((3, 3, 64, 64), np.float32))),
                                                  run=train("celeba")), r"holds float32 of shape .*expected uint8"),
    bad("decoded pictures with one too few", then(cached(array(np.zeros((2, 3, 64, 64), np.uint8))),
                                                  run=train("celeba")), r"\(2, 3, 64, 64\); expected uint8 \(3, 3, 64"),
    bad("decoded pictures of 32 x 32", then(cached(array(np.zeros((3, 3, 32, 32), np.uint8))), run=train("celeba")),
        r"\(3, 3, 32, 32\); expected uint8 \(3, 3, 64, 64\)"),
]


def text_bomb(n: int, chunk: bytes, unpacked: int, size: tuple[int, int] = (178, 218)) -> bytes:
    "A PNG with n chunks, each of which unpacks to so many zeros."
    return png(size, *[(chunk, b"k\0\0" + zlib.compress(bytes(unpacked), 9))] * n)


def picture(content: bytes | Callable[[], bytes], expected: tuple | None = (178, 218)) -> Callable[[Path], object]:
    "Writes a picture, and decodes it as one of CelebA's."
    return lambda here: then(written("000001.jpg", content() if callable(content) else content), run=lambda: (
        decode_picture(Path("000001.jpg"), 64, expected)))(here)


UNREADABLE = r"000001.jpg can't be read as a PNG or JPEG \("
NO_FILE = r"1.jpg can't be read as a PNG or JPEG \(it is no regular file"

PICTURES = [
    bad("a picture without a byte", picture(b""), UNREADABLE + "cannot identify"),
    bad("a web page in the place of a picture", picture(WEB_PAGE), UNREADABLE + "cannot identify"),
    bad("an EPS, which is a program, by the name of a JPEG", picture(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 178 218\n%%EndComments\nshowpage\n%%EOF\n"), UNREADABLE),
    bad("a TIFF by the name of a JPEG", picture(lambda: drawn(kind="TIFF")), UNREADABLE + "cannot identify"),
    bad("a GIF by the name of a JPEG", picture(lambda: drawn(kind="GIF")), UNREADABLE + "cannot identify"),
    bad("a bitmap by the name of a JPEG", picture(lambda: drawn(kind="BMP")), UNREADABLE + "cannot identify"),
    bad("an SVG by the name of a JPEG", picture(b'<svg xmlns="http://www.w3.org/2000/svg" width="178"/>'), UNREADABLE),
    bad("a JPEG cut off in the middle", picture(lambda: (c := drawn(kind="JPEG", noise=True))[:len(c) // 2]),
        UNREADABLE + "image file is truncated"),
    bad("a JPEG of a header alone", picture(lambda: drawn(kind="JPEG")[:200]), UNREADABLE),
    bad("a PNG with another checksum", picture(lambda: (c := drawn())[:29] + bytes(4) + c[33:]), UNREADABLE),
    bad("a PNG with too few bytes for its size", picture(png((178, 218))), UNREADABLE),
    bad("a picture of another size", picture(lambda: drawn(size=(178, 178))), "1.jpg has 178x178 pixels; expected"),
    bad("a PNG of 3,600 million pixels", picture(png((60_000, 60_000))), UNREADABLE + ".*exceeds limit of"),
    bad("a PNG of 81 million pixels", picture(png((9_000, 9_000))), "has 9000x9000 pixels; expected 178x218"),
    bad("a strip of 20,000 pixels where no size is known", picture(lambda: drawn("L", (20_000, 1)), None),
        "has 20000x1 pixels; expected at most 4,096"),
    bad("a PNG with a text that unpacks to 256 MB", picture(lambda: text_bomb(1, b"zTXt", 2**28)),
        UNREADABLE + "Decompressed data too large"),
    bad("a PNG with a colour profile that unpacks to 64 MB", picture(lambda: text_bomb(1, b"iCCP", 2**26)),
        UNREADABLE + "Decompressed data too large"),
    bad("a PNG with a hundred texts of a megabyte", picture(lambda: text_bomb(100, b"zTXt", 2**20 - 1)),
        UNREADABLE + "Too much memory used in text chunks"),
    bad("a PNG with half a transparency", picture(png((178, 218), (b"tRNS", b"\1"))), UNREADABLE),
    bad("a PNG of 16 bits", picture(lambda: drawn("I;16")), "mode I;16; expected .*8 bits"),
    bad("a pipe in the place of a picture", then(placed("1.jpg", "pipe"), run=lambda: decode_picture(Path("1.jpg"))),
        NO_FILE),
    bad("a folder in the place of a picture", then(placed("1.jpg", "folder"), run=lambda: decode_picture(
        Path("1.jpg"))), NO_FILE),
    bad("a picture that is a link to itself", then(placed("1.jpg", LOOP), run=lambda: decode_picture(
        Path("1.jpg"))), NO_FILE),
]


FONT, SYSTEM_FONT = "emoji/NotoColorEmoji.ttf", Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
NO_FONT = r"NotoColorEmoji.ttf can't be read as a font with pictures \("


def font_cut_off(here: Path) -> None:
    if not SYSTEM_FONT.is_file():
        pytest.skip("Debian's package fonts-noto-color-emoji is missing")
    content = SYSTEM_FONT.read_bytes()
    written(FONT, content[:len(content) // 3])(here)


def plain_font(here: Path) -> None:
    written(FONT, (Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf").read_bytes())(here)


EMOJI = [
    bad("a font without a byte", then(written(FONT, b""), run=train("emoji")), NO_FONT + ".*starts with nothing"),
    bad("a web page in the place of the font", then(written(FONT, WEB_PAGE), run=train("emoji")),
        NO_FONT + ".*starts with 3c 68 74 6d"),
    bad("a compressed font", then(written(FONT, b"wOF2" + bytes(400)), run=train("emoji")),
        NO_FONT + ".*starts with 77 4f 46 32"),
    bad("a collection of fonts", then(written("NotoColorEmoji.ttf", b"ttcf" + bytes(400)), run=train("emoji")),
        NO_FONT + ".*starts with 74 74 63 66"),
    bad("a font whose tables lie nowhere", then(written(FONT, b"OTTO" + b"\xff" * 400), run=train("emoji")), NO_FONT),
    bad("a font without pictures", then(plain_font, run=train("emoji")), NO_FONT + "KeyError: .*CBDT"),
    bad("a font cut off", then(font_cut_off, run=train("emoji")), NO_FONT),
    bad("a font of 64 MB and a byte", then(written(FONT, b"\0\1\0\0"), sparse(FONT), run=train("emoji")),
        "NotoColorEmoji.ttf has 67,108,865 bytes; expected at most"),
    bad("an SVG in a font", then(run=lambda: decode_emoji(b"<svg/>", 32)), "A picture of the emoji font can't be read"),
    bad("a strip of 20,000 pixels in a font", then(run=lambda: decode_emoji(drawn("RGBA", (20_000, 1)), 32)),
        "emoji font has 20000x1 pixels; expected 136x128"),
    bad("a picture cut off in a font", then(run=lambda: decode_emoji(drawn("RGBA", (136, 128), noise=True)[:999], 32)),
        "A picture of the emoji font can't be read"),
]


PI = ["train", "pi-vae", "--budget", "smoke", "--epochs", "1", "--data", "pi", "--out", "new"]
ROWS_OF, COLUMNS_OF, DRAWING = "pi/pi_xs.npy", "pi/pi_ys.npy", "pi/sparse_pi_colored.png"


def pi(here: Path, n: int = 300) -> None:
    save_pi(here / "pi", *draw_pi(n))


def pi_rows(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    "A coloured pi with other rows."

    def make(here: Path) -> None:
        pi(here)
        np.save(here / ROWS_OF, change(np.load(here / ROWS_OF)))

    return make


def rows_file(content: bytes) -> Callable[[Path], None]:
    return lambda here: (pi(here), written(ROWS_OF, content)(here))


def pi_drawing(mode: str = "RGB", size: tuple[int, int] = (300, 300), kind: str = "PNG") -> Callable[[Path], None]:
    return lambda here: (pi(here), written(DRAWING, drawn(mode, size, kind))(here))


NO_ARRAY = r"pi_xs.npy can't be read as a NumPy array \("

COLOURED_PI = [
    bad("no folder of the points", then(run=PI), "pi is not a folder"),
    bad("a folder of the points without rows", then(pi, gone(ROWS_OF), run=PI), "pi_xs.npy is missing"),
    bad("a folder in the place of the columns", then(pi, placed(COLUMNS_OF, "folder"), run=PI), "pi_ys.npy is missing"),
    bad("points without their picture", then(pi, gone(DRAWING), run=PI), "colored.png is missing .and no .jpg"),
    bad("a pipe in the place of the points' picture", then(pi, placed(DRAWING, "pipe"), run=PI),
        "colored.png is missing .and no .jpg"),
    bad("rows as text", then(rows_file(b"124 104 74"), run=PI), NO_ARRAY),
    bad("rows without a byte", then(rows_file(b""), run=PI), NO_ARRAY + "No data left in file"),
    bad("rows cut off", then(pi, edited(ROWS_OF, lambda c: c[:-9]), run=PI), NO_ARRAY + "mmap length is greater"),
    bad("rows that are a pickle", then(rows_file(pickle.dumps(Gift())), run=PI), NO_ARRAY),
    bad("rows that are objects", then(pi_rows(lambda a: np.array([Gift()] * 9)), run=PI), NO_ARRAY + "Array can't be"),
    bad("rows whose header announces terabytes", then(rows_file(npy(
        "{'descr': '<i8', 'fortran_order': False, 'shape': (10000000000000,), }")), run=PI), NO_ARRAY + "mmap length"),
    bad("rows with a header of 20,000 characters", then(rows_file(npy(" " * 20_000, version=2)), run=PI),
        NO_ARRAY + "Header info length(?!.*allow_pickle=True)"),
    bad("rows with a header that stops inside a bracket", then(rows_file(npy("{'descr': '<i8', 'shape': (")), run=PI),
        NO_ARRAY),
    bad("rows with a header of nested signs", then(rows_file(npy("-" * 9_000 + "1")), run=PI), NO_ARRAY),
    bad("rows with a header that is a list", then(rows_file(npy("['<i8', False, (9,)]")), run=PI),
        NO_ARRAY + "Header is not a dictionary"),
    bad("rows in an archive of arrays", then(rows_file(archive(x=np.arange(9))), run=PI), r"pi_xs.npy has shape \?"),
    bad("rows in an archive that is none", then(rows_file(b"PK\x03\x04 and so on"), run=PI), NO_ARRAY),
    bad("no row", then(pi_rows(lambda a: a[:0]), run=PI), "pi_xs.npy is empty: a data set needs at least one point"),
    bad("rows in two dimensions", then(pi_rows(lambda a: a[:, None]), run=PI), r"has shape \(300, 1\); expected"),
    bad("a single number in the place of rows", then(pi_rows(lambda a: a[0]), run=PI), r"has shape \(\); expected"),
    bad("90,001 rows", then(pi_rows(lambda a: np.zeros(90_001, int)), run=PI), "has 90,001 numbers; expected at most"),
    bad("rows that are no whole numbers", then(pi_rows(lambda a: a / 300), run=PI), "holds float64; expected int64"),
    bad("rows with a NaN", then(pi_rows(lambda a: np.where(a > 200, np.nan, a)), run=PI), "float64 with NaN or"),
    bad("rows that are true or false", then(pi_rows(lambda a: a > 99), run=PI), "holds bool; expected int64"),
    bad("rows of several fields", then(pi_rows(lambda a: a.view([("row", "i8")])), run=PI), "holds .*row.*; expected"),
    bad("rows that are texts", then(pi_rows(lambda a: a.astype(str)), run=PI), "holds <U21; expected int64"),
    bad("rows that are times, one of them none", then(pi_rows(
        lambda a: np.r_[a[:-1].astype("m8[s]"), np.timedelta64("NaT", "s")]), run=PI), "pi_xs.npy .*expected"),
    bad("a row of 300", then(pi_rows(lambda a: np.r_[a[:-1], 300]), run=PI), r"has values from \d+ to 300"),
    bad("a row of -1", then(pi_rows(lambda a: np.r_[a[:-1], -1]), run=PI), r"has values from -1 to \d+"),
    bad("a row beyond what int64 holds", then(pi_rows(lambda a: a.astype(np.uint64) + np.uint64(2**63)), run=PI),
        r"has values from 9223372036854\d+ to"),
    bad("a row too few", then(pi_rows(lambda a: a[1:]), run=PI), "299 values in pi_xs.npy and 300 in pi_ys.npy"),
    bad("a point twice", then(lambda here: pi(here) or [np.save(here / f, np.load(here / f)[[0, *range(299)]])
                                                        for f in (ROWS_OF, COLUMNS_OF)], run=PI),
        "holds 1 duplicate points"),
    bad("rows and columns exchanged", then(pi, set_aside(ROWS_OF, "pi/x"), set_aside(COLUMNS_OF, ROWS_OF),
                                           set_aside("pi/x", COLUMNS_OF), run=PI), "seems to have its axes swapped"),
    bad("points of another picture", then(pi_rows(lambda a: 299 - a), run=PI),
        "of the points hit a coloured pixel .*don't belong together"),
    bad("49 points", then(partial(pi, n=49), run=PI), "has 49 points; a fifth is held back"),
    bad("a points' picture of 300 x 299", then(pi_drawing(size=(300, 299)), run=PI), "has 300x299 pixels; exp"),
    bad("a points' picture of 3,600 million pixels", then(pi, written(DRAWING, png((60_000, 60_000))), run=PI),
        "can't be read as a PNG or JPEG .*exceeds limit"),
    bad("a points' picture in grey", then(pi_drawing("L"), run=PI), "has pixels of mode L; expected RGB, RGBA, P"),
    bad("a points' picture of 16 bits", then(pi_drawing("I;16"), run=PI), "of mode I;16; expected RGB, RGBA, P"),
    bad("a points' picture in the colours of printers", then(pi_drawing("CMYK", kind="JPEG"), run=PI),
        "has pixels of mode CMYK; expected RGB, RGBA, P"),
    bad("a points' picture that is a TIFF", then(pi_drawing(kind="TIFF"), run=PI), "as a PNG or JPEG .cannot"),
    bad("a points' picture cut off", then(pi, edited(DRAWING, lambda c: c[:len(c) // 2]), run=PI),
        "sparse_pi_colored.png can't be read as a PNG or JPEG"),
    bad("a points' picture with a text that unpacks to 256 MB", then(
        pi, edited(DRAWING, lambda c: text_bomb(1, b"zTXt", 2**28, (300, 300))), run=PI),
        "can't be read as a PNG or JPEG .Decompressed data too large"),
]

ROWS: list[Bad] = [*FOLDERS, *MNIST, *CIFAR, *PARQUET, *CELEBA, *CACHES, *PICTURES, *EMOJI, *COLOURED_PI]
