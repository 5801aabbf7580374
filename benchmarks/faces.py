"""Painters of synthetic faces side by side: python benchmarks/faces.py [--quick]

The first painter of ours, a plain one that computes each of its forty shapes as a signed distance on the whole picture,
against the course's (0_workshop/01_drawing), in turns on the same machine. Prints one markdown table; read ratios, not
rates.
"""

import argparse

import torch
from measure import seconds

from genlab.lab.synthetic import make_faces, make_shapes

NAMES = (
    "Smiling Eyeglasses Sunglasses Hat Beard Mustache Bald Long_Hair Bangs Blond Gray_Hair Dark_Skin Mouth_Open "
    "Rosy_Cheeks"
).split()
P = torch.tensor([0.48, 0.13, 0.06, 0.06, 0.15, 0.10, 0.06, 0.45, 0.2, 0.15, 0.06, 0.35, 0.4, 0.1])


def ellipse(x, y, cx, cy, rx, ry):
    return (torch.sqrt(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2) - 1) * torch.minimum(rx, ry)


class Plain:
    "The first painter: what it draws, in its order, is left as it was."

    def __init__(self, y, size, g):
        self.n, self.size, self.g, self.w = len(y), size, g, 2.0 / size
        self.has = {name: y[:, j].float().view(-1, 1, 1) for j, name in enumerate(NAMES)}
        self.one = torch.ones(self.n, 1, 1)

    def between(self, lo, hi):
        return lo + (hi - lo) * torch.rand(self.n, 1, 1, generator=self.g)

    def colour(self, lo, hi):
        lo, hi = torch.tensor(lo).view(1, 3, 1, 1), torch.tensor(hi).view(1, 3, 1, 1)
        return lo + (hi - lo) * torch.rand(self.n, 3, 1, 1, generator=self.g)

    def paint(self, colour, d, alpha=1.0):
        self.img = self.img + (colour - self.img) * (torch.sigmoid(-d / self.w * 2) * alpha)[:, None]

    def hair_colour(self):
        natural, blond = (
            self.colour([0.03, 0.02, 0.01], [0.4, 0.22, 0.12]),
            self.colour([0.8, 0.62, 0.25], [0.98, 0.85, 0.5]),
        )
        c = torch.lerp(natural, blond, self.has["Blond"][:, None])
        return torch.lerp(c, self.colour([0.6] * 3, [0.85] * 3), self.has["Gray_Hair"][:, None])

    def start(self):
        t = (torch.arange(self.size) + 0.5) / self.size * 2 - 1
        y, x = torch.meshgrid(t, t, indexing="ij")
        turn = self.between(-0.15, 0.15)
        x0, y0 = x[None] - self.between(-0.08, 0.08), y[None] - self.between(-0.08, 0.08)
        self.x, self.y = x0 * turn.cos() - y0 * turn.sin(), x0 * turn.sin() + y0 * turn.cos()
        c0, c1 = self.colour([0.1] * 3, [0.9] * 3), self.colour([0.1] * 3, [0.9] * 3)
        self.img = c0.expand(-1, 3, self.size, self.size) + (c1 - c0) * ((y0 + 1) / 2)[:, None]
        light, dark = (
            self.colour([0.85, 0.65, 0.5], [1.0, 0.82, 0.7]),
            self.colour([0.3, 0.18, 0.1], [0.55, 0.36, 0.25]),
        )
        self.skin, self.hc = torch.lerp(light, dark, self.has["Dark_Skin"][:, None]), self.hair_colour()
        self.fw, self.fh, self.hair = self.between(0.42, 0.52), self.between(0.56, 0.66), 1 - self.has["Bald"]

    def head(self):
        x, y, one, fw, fh, has = self.x, self.y, self.one, self.fw, self.fh, self.has
        self.paint(self.hc, ellipse(x, y, 0 * one, 0.15 * one, fw * 1.35, fh * 1.35), self.hair * has["Long_Hair"])
        self.paint(self.hc, ellipse(x, y, 0 * one, -0.22 * one, fw * 1.16, fh * 0.85), self.hair)
        self.paint(self.skin * 0.85, torch.maximum(x.abs() - 0.2, (y - 0.75).abs() - 0.3))
        self.paint(
            self.colour([0.05] * 3, [0.95] * 3), ellipse(x, y, 0 * one, 1.2 * one, self.between(0.75, 0.95), 0.42 * one)
        )
        for s in (-1, 1):
            self.paint(self.skin * 0.92, ellipse(x, y, s * fw, 0.05 * one, 0.08 * one, 0.13 * one))
        face = ellipse(x, y, 0 * one, 0 * one, fw, fh)
        self.paint(self.skin, face)
        shade = (x / fw).clamp(-1, 1) * self.between(-0.12, 0.12)
        self.img = self.img * (1 - (shade * torch.sigmoid(-face / self.w * 2))[:, None])
        self.paint(
            self.hc,
            torch.maximum(face, -ellipse(x, y, 0 * one, self.between(0.35, 0.5), fw * 1.4, fh * 1.2)),
            has["Beard"] * 0.95,
        )
        self.paint(self.hc, torch.maximum(face - 0.03, y + fh * self.between(0.5, 0.62)), self.hair)
        self.paint(
            self.hc,
            torch.maximum(face, ellipse(x, y, self.between(-0.1, 0.1), -fh * 0.62, fw * 0.9, fh * 0.38)),
            self.hair * has["Bangs"],
        )

    def eyes(self):
        x, y, one, has = self.x, self.y, self.one, self.has
        ex, ey, er = self.between(0.17, 0.22), self.between(-0.12, -0.04), self.between(0.05, 0.07)
        iris, look = self.colour([0.1, 0.1, 0.05], [0.45, 0.6, 0.75]), self.between(-0.02, 0.02)
        for s in (-1, 1):
            self.paint(torch.ones(1, 3, 1, 1), ellipse(x, y, s * ex, ey, er * 1.5, er))
            self.paint(iris, ellipse(x, y, s * ex + look, ey, er * 0.75, er * 0.85))
            self.paint(torch.zeros(1, 3, 1, 1), ellipse(x, y, s * ex + look, ey, er * 0.4, er * 0.45))
            self.paint(
                self.hc * 0.7,
                torch.maximum((x - s * ex).abs() - 0.1, (y - ey + 0.13 + 0.15 * (x - s * ex) ** 2 * 8).abs() - 0.018),
            )
            cheek = ellipse(x, y, s * ex * 1.35, 0.2 * one, 0.09 * one, 0.07 * one)
            self.paint(torch.tensor([0.95, 0.4, 0.4]).view(1, 3, 1, 1), cheek, has["Rosy_Cheeks"] * 0.6)
            self.paint(
                torch.full((1, 3, 1, 1), 0.08),
                ellipse(x, y, s * ex, ey, 0.13 * one, 0.11 * one).abs() - 0.016,
                has["Eyeglasses"],
            )
            self.paint(
                torch.full((1, 3, 1, 1), 0.06),
                ellipse(x, y, s * ex, ey, 0.14 * one, 0.12 * one),
                has["Sunglasses"] * 0.95,
            )
        self.paint(
            torch.full((1, 3, 1, 1), 0.08),
            torch.maximum(x.abs() - ex + 0.12, (y - ey).abs() - 0.014),
            has["Eyeglasses"],
        )

    def mouth_and_hat(self):
        x, y, one, has = self.x, self.y, self.one, self.has
        self.paint(
            self.skin * 0.8, ellipse(x, y, 0 * one, 0.12 * one, self.between(0.04, 0.07), self.between(0.06, 0.1))
        )
        my, mw = self.between(0.3, 0.36), self.between(0.14, 0.2)
        curve = torch.where(has["Smiling"] > 0, self.between(1.2, 2.4), self.between(-1.2, 0.1))
        line = my - curve * (x**2 - mw**2 * 0.5)
        lip = self.colour([0.55, 0.1, 0.1], [0.85, 0.4, 0.4])
        self.paint(lip, torch.maximum((y - line).abs() - 0.025 - 0.035 * has["Mouth_Open"], x.abs() - mw))
        self.paint(
            torch.ones(1, 3, 1, 1), torch.maximum((y - line).abs() - 0.03, x.abs() - mw * 0.85), has["Mouth_Open"]
        )
        self.paint(self.hc, torch.maximum((y - my + 0.11 + 0.6 * x**2).abs() - 0.035, x.abs() - mw), has["Mustache"])
        hat = self.colour([0.05] * 3, [0.95] * 3)
        self.paint(
            hat, torch.maximum(ellipse(x, y, 0 * one, -0.3 * one, self.fw * 1.2, self.fh * 0.8), y + 0.32), has["Hat"]
        )
        self.paint(hat * 0.7, torch.maximum((y + 0.33).abs() - 0.05, x.abs() - self.fw * 1.35), has["Hat"])

    def render(self):
        for step in (self.start, self.head, self.eyes, self.mouth_and_hat):
            step()
        return (self.img.clamp(0, 1) * 255).byte()


def plain_faces(n: int, size: int) -> torch.Tensor:
    "As the first painter was called: batches of 128, PyTorch's own threads."
    g = torch.Generator().manual_seed(0)
    y = torch.rand(n, len(P), generator=g) < P
    return torch.cat([Plain(part, size, g).render() for part in y.split(128)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer faces, two rounds")
    quick = parser.parse_args().quick
    n, rounds, cores = (1_024, 2, (2,)) if quick else (2_048, 7, (1, 2))
    print(
        f"Images per second, median of {rounds} rounds in turns, {n:,} images each; ratio: median of the rounds' "
        "ratios (smallest to largest).\n"
    )
    print("| images | threads | plain painter | make_faces | ratio |\n|---|---|---|---|---|")
    for size in (64, 32):
        for threads in cores:
            torch.set_num_threads(threads)
            plain_faces(256, size), make_faces(256, size=size)  # the first call of a process pays for its start
            rates = [
                (n / seconds(lambda s=size: plain_faces(n, s)), n / seconds(lambda s=size: make_faces(n, size=s)))
                for _ in range(rounds)
            ]
            plain, ours, ratios = (sorted(v) for v in (*zip(*rates, strict=True), [b / a for a, b in rates]))
            m = rounds // 2
            ratio = f"{ratios[m]:.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})"
            print(f"| faces, {size} px | {threads} | {plain[m]:,.0f} | {ours[m]:,.0f} | {ratio} |", flush=True)
    for threads in cores:
        torch.set_num_threads(threads)
        rates = sorted(4 * n / seconds(lambda: make_shapes(4 * n)) for _ in range(rounds))
        print(f"| make_shapes, 32 px | {threads} | | {rates[rounds // 2]:,.0f} | |", flush=True)


if __name__ == "__main__":
    main()
