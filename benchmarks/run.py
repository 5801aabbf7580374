"""All benchmarks in one run: python benchmarks/run.py [NAME ...].

Each prints a table, which goes to its section of README.md."""

import argparse
import platform
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import torch

from genlab.workshop.runs import versions

HERE = Path(__file__).parent
SECTIONS = {
    "points": "Coloured pi",
    "feed": "Feeding images",
    "faces": "Drawing faces",
    "loop": "The training loop",
    "metrics": "Metrics",
    "quality": "A minute of training on Fashion-MNIST",
    "cvae": "Conditional VAEs",
    "quantize": "Quantisers",
    "prior": "Transformers over codes",
    "vq_cost": "How the cost of quantisers and priors grows",
    "vq_quality": "Two minutes of VQ-VAE and prior on Fashion-MNIST",
    "gan": "GANs",
    "vitgan": "ViTGAN",
    "flow_points": "Flows on points",
    "glow": "Glow",
    "tarflow": "Sampling from TarFlow",
    "side_by_side": "Side by side",
}
HEAD = """# Benchmarks

`make bench` measures everything below but the studies and rewrites this page, section by section; \
`python benchmarks/run.py feed` does one of them.
Within a section everything was measured side by side in one run. \
Machines differ and are noisy: read ratios, not seconds.
"""


def section(name: str, text: str) -> str:
    v = versions()
    about = (f"{date.today()}, {torch.get_num_threads()} threads on "
             f"{platform.machine()}, {'GPU' if torch.cuda.is_available() else 'CPU only'}, ")
    about += f"Python {v['python']}, torch {v['torch']}, numpy {v['numpy']}, genlab {v['genlab']}. "
    about += f"What is compared: the head of `benchmarks/{name}.py`."
    return f"## {SECTIONS[name]}\n\n{about}\n\n{text.strip()}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SECTIONS))
    names = parser.parse_args().names or list(SECTIONS)
    if set(names) - set(SECTIONS):
        parser.error(f"no such benchmark: {', '.join(sorted(set(names) - set(SECTIONS)))}; "
                     f"there are {', '.join(SECTIONS)}")
    page = HERE / "README.md"
    for name in names:
        print(f"{name} ...", flush=True)
        text = subprocess.run([sys.executable, HERE / f"{name}.py"], check=True,
                              stdout=subprocess.PIPE, text=True).stdout
        print(text, flush=True)
        old = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page.read_text(), flags=re.S | re.M))
        new = {title: section(n, text) if n == name else f"## {title}\n\n{old[title].strip()}\n"
               for n, title in SECTIONS.items() if n == name or title in old}
        by_hand = [f"## {title}\n\n{text.strip()}\n" for title, text in old.items() if title not in SECTIONS.values()]
        page.write_text(HEAD + "\n" + "\n".join([*new.values(), *by_hand]))


if __name__ == "__main__":
    main()
