"Small data sets in the public layouts: MNIST's, CIFAR-10's and CelebA's, as their authors and Kaggle pack them."

import gzip
import pickle
import shutil
import struct
import zlib

import numpy as np
from PIL import Image


def idx(a: np.ndarray) -> bytes:
    return struct.pack(">HBB", 0, 8, a.ndim) + struct.pack(f">{a.ndim}I", *a.shape) + a.tobytes()


def png(size, *chunks):
    "A PNG of that size, of any chunks."
    head = struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)
    out = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", head), *chunks, (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")):
        out += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return out


def write_mnist(root, n=30, n_test=12, seed=0):
    "The four files, unpacked, where torchvision puts them."
    rng, raw = np.random.default_rng(seed), root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, k in (("train", n), ("t10k", n_test)):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(rng.integers(0, 256, (k, 28, 28), dtype=np.uint8)))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(rng.integers(0, 10, k, dtype=np.uint8)))
    return raw


def python2_pickle(x: np.ndarray, y: np.ndarray) -> bytes:
    "A batch as CIFAR-10's authors wrote it with Python 2, opcode by opcode."
    n, raw = len(x), x.tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R(K\x01J"
        + struct.pack("<i", n)
        + b"M\0\x0c\x86"
        + b"cnumpy\ndtype\nU\x02u1K\0K\x01\x87R(K\x03U\x01|NNN"
        + b"J\xff\xff\xff\xff" * 2
        + b"K\0tb\x89T"
        + struct.pack("<i", len(raw))
        + raw
        + b"tb"
    )
    labels = b"](" + b"".join(b"K" + bytes([v]) for v in y) + b"e"
    names = b"](" + b"".join(b"U\x05" + f"{i:05d}".encode() for i in range(n)) + b"e"
    return (
        b"\x80\x02}(U\x0bbatch_labelU\x04testU\x06labels"
        + labels
        + b"U\x04data"
        + array
        + b"U\x09filenames"
        + names
        + b"u."
    )


def cifar_parts(n=10):
    "The images and classes of a small CIFAR-10, file by file."
    rng = np.random.default_rng(0)
    for file in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        yield file, rng.integers(0, 256, (n, 3072), dtype=np.uint8), rng.integers(0, 10, n)


def write_cifar(root, n=10):
    "The binary version: a byte for the class, then the image, for each."
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for file, x, y in cifar_parts(n):
        (folder / f"{file}.bin").write_bytes(np.concatenate([y[:, None].astype(np.uint8), x], axis=1).tobytes())
    return folder


def write_gz(root, folder, **numbers):
    "MNIST's or Fashion-MNIST's four .gz files, as they are downloaded, in a folder of one's own."
    raw = write_mnist(root / "unpacked", **numbers)
    (root / folder).mkdir(parents=True)
    for path in raw.iterdir():
        (root / folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    shutil.rmtree(root / "unpacked")


def write_cifar_pickles(root, n=10):
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for file, x, y in cifar_parts(n):
        (folder / file).write_bytes(python2_pickle(x, y))
    names = "airplane automobile bird cat deer dog frog horse ship truck".split()
    (folder / "batches.meta").write_bytes(pickle.dumps(dict(label_names=names), protocol=2))
    return folder


ATTRIBUTES = """
5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair Blurry
Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male
Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks
Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace
Wearing_Necktie Young
""".split()


def write_celeba(root, n=40, kaggle=False):
    "A CelebA of n noise pictures in the layout of torchvision, or of Kaggle."
    rng, folder = np.random.default_rng(0), root / "celeba"
    pictures = folder / "img_align_celeba" / ("img_align_celeba" if kaggle else "")
    pictures.mkdir(parents=True)
    files = [f"{i + 1:06d}.jpg" for i in range(n)]
    for file in files:
        small = Image.fromarray(rng.integers(0, 256, (11, 9, 3), dtype=np.uint8))
        small.resize((178, 218), Image.Resampling.BICUBIC).save(pictures / file, quality=90)
    y, part = rng.choice([-1, 1], (n, 40)), np.arange(n) * 5 // n
    part = np.where(part < 3, 0, part - 2)
    if kaggle:
        rows = [",".join([file, *map(str, row)]) for file, row in zip(files, y, strict=True)]
        (folder / "list_attr_celeba.csv").write_text("\n".join([",".join(["image_id", *ATTRIBUTES]), *rows]) + "\n")
        (folder / "list_eval_partition.csv").write_text(
            "image_id,partition\n" + "".join(f"{f},{p}\n" for f, p in zip(files, part, strict=True))
        )
        return folder
    lines = [f"{file} " + " ".join(f"{v:2d}" for v in row) for file, row in zip(files, y, strict=True)]
    (folder / "list_attr_celeba.txt").write_text(f"{n}\n" + " ".join(ATTRIBUTES) + " \n" + "\n".join(lines) + "\n")
    (folder / "list_eval_partition.txt").write_text("".join(f"{f} {p}\n" for f, p in zip(files, part, strict=True)))
    (folder / "identity_CelebA.txt").write_text("".join(f"{f} 1\n" for f in files))
    for name, columns in (
        ("list_bbox_celeba", "x_1 y_1 width height"),
        ("list_landmarks_align_celeba", "lefteye_x lefteye_y"),
    ):
        (folder / f"{name}.txt").write_text(
            f"{n}\n{columns}\n" + "".join(f"{f}" + " 1" * len(columns.split()) + "\n" for f in files)
        )
    return folder
