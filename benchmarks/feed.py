"""Feeding images to a model, side by side in one run: python benchmarks/feed.py [--quick]

Ours: `genlab.lab.images.batches` and `flip`, bytes in memory. The peer: torchvision's own CIFAR10 and MNIST classes
(their `__getitem__`, with our bytes put in place of their files) and transforms in PyTorch's DataLoader, with 0 and
with 2 workers, which live on from epoch to epoch. Both give the same: float32 in [-1, 1], mirrored at random, in
batches of 128.
All take turns in every round, and each ratio is one of times within a round; the median counts. Prints one table.
"""

import argparse
import math
import time

import torch
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import CIFAR10, MNIST

from genlab.lab.images import ImageSet, batches, flip

BATCH = 128
GOAL = 20
SHAPES = {"1x28x28": (1, 28, 28), "3x32x32": (3, 32, 32)}


def random_set(n: int, shape: tuple[int, int, int]) -> ImageSet:
    g = torch.Generator().manual_seed(0)
    x, y = torch.randint(0, 256, (n, *shape), generator=g, dtype=torch.uint8), torch.randint(0, 10, (n,), generator=g)
    return ImageSet(x, y, tuple("0123456789"), "random", "train")


def peer(s: ImageSet) -> CIFAR10 | MNIST:
    "torchvision's data set class on the images of `s`."
    grey = s.shape[0] == 1
    data = object.__new__(MNIST if grey else CIFAR10)
    data.data, data.targets = (s.x[:, 0], s.y) if grey else (s.x.permute(0, 2, 3, 1).contiguous().numpy(), s.y.tolist())
    half = [0.5] * s.shape[0]
    data.transform = transforms.Compose(
        [transforms.RandomHorizontalFlip(), transforms.ToTensor(), transforms.Normalize(half, half)]
    )
    data.target_transform = None
    return data


def feeds(s: ImageSet, images: int) -> dict:
    "Name -> a function that goes through `images` images; ours through so many epochs that it can be timed."
    few = s.take(slice(0, images))
    options = dict(batch_size=BATCH, shuffle=True, drop_last=True)
    loaders = {
        0: DataLoader(peer(few), **options),
        2: DataLoader(peer(few), num_workers=2, persistent_workers=True, **options),
    }
    return {"ours": lambda epoch: batches(s, BATCH, epoch=epoch, augment=flip)} | \
        {f"{workers} workers": lambda epoch, loader=loader: loader for workers, loader in loaders.items()}


def rate(feed, epoch: int) -> float:  # images per second
    start, n = time.perf_counter(), 0
    for x, _ in feed(epoch):
        n += len(x)
    return n / (time.perf_counter() - start)


def same_numbers(s: ImageSet) -> float:
    "Largest difference between both feeds without the mirroring: they must do the same work."
    data = peer(s.take(slice(0, 64)))
    data.transform.transforms.pop(0)
    return (torch.stack([data[i][0] for i in range(64)]) - s[torch.arange(64)][0]).abs().max().item()


def measure(shape: tuple[int, int, int], n: int, images: int, rounds: int) -> dict[str, list[float]]:
    s = random_set(n, shape)
    assert same_numbers(s) < 1e-6
    competitors = feeds(s, images)
    for feed in competitors.values():
        rate(feed, 0)  # workers start here
    rates = {name: [] for name in competitors}
    for r in range(rounds):
        for name, feed in competitors.items():
            rates[name].append(rate(feed, r + 1))
    return rates


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def row(name: str, peer_name: str, rates: dict[str, list[float]]) -> tuple[str, float]:
    ratios = [a / b for a, b in zip(rates["ours"], rates[peer_name], strict=True)]
    order = [f"10^{math.log10(median(rates[k])):.1f}" for k in ("ours", peer_name)]
    ratio = median(ratios)
    return (
        f"| {name} | {peer_name} | {ratio:.0f} (from {min(ratios):.0f} to {max(ratios):.0f}) "
        f"| {order[0]} | {order[1]} |",
        ratio,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few seconds")
    args = parser.parse_args()
    n, images, rounds = (10_000, 1_024, 3) if args.quick else (50_000, 10_240, 7)
    torch.set_num_threads(1)  # threads of one small operation wait for each other as soon as somebody else computes
    rows = []
    for name, shape in SHAPES.items():
        rates = measure(shape, n, images, rounds)
        rows += [row(name, peer_name, rates) for peer_name in rates if peer_name != "ours"]
    version = torch.__version__.split("+")[0]
    print(
        f"Feeding images, batches of {BATCH}, mirrored at random, in [-1, 1]; torch {version}, one thread per process. "
        f"Median of {rounds} rounds in turns; goal: {GOAL} times the DataLoader.\n"
    )
    print(
        "| images | torchvision in a DataLoader with | ours / theirs | ours, images/s | theirs, images/s |\n"
        "|---|---|---|---|---|"
    )
    print("\n".join(text for text, _ in rows))
    if not all(ratio >= GOAL for _, ratio in rows):
        print(f"\nBelow the goal of {GOAL}.")


if __name__ == "__main__":
    main()
