"""What is done to chapters as files: badges, running and saving them, the export check.

    python tools/chapters.py badges                rewrite badges and Colab set-up cells from settings.ini's address
    python tools/chapters.py run [--budget laptop] [NAME ...]   execute in a real kernel, save outputs and claims
    python tools/chapters.py check-export          is genlab/ what the notebooks export?
    python tools/chapters.py list                  what there is
    python tools/chapters.py map                   a small picture of each chapter, into the README and the index
"""

import argparse
import base64
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from configparser import ConfigParser
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT / "nbs"
SETUP = """\
# In Colab this installs genlab, and pins everything that Colab already has.
if "google.colab" in str(get_ipython()):
    !pip list --format=freeze > colab_has.txt
    !pip install -q -c colab_has.txt "genlab @ git+{git_url}@{branch}"
else:
    print("not in Colab: nothing to install")"""
CLAIMS = NBS / "claims.json"  # the ledger: what each saved chapter claims, and what it measured
PARTS = {1: "points", 2: "lab", 3: "VAE", 4: "VQ-VAE", 5: "GAN", 6: "ViTGAN", 7: "flows", 8: "use"}
PICTURES = {  # on the map: which of a chapter's figures, and which part of it (left, top, right, bottom), as shares
    "10_colored_pi": (0, (0, 0, 1, 1)),
    "11_distances": (2, (0.5, 0, 1, 1)),
    "12_vae": (0, (0.33, 0, 0.66, 1)),
    "13_transformer_vae": (3, (0, 0, 0.27, 1)),
    "14_likelihood": (0, (0.77, 0, 1, 1)),
    "20_images": (1, (0.07, 0.05, 0.6, 0.55)),
    "21_synthetic": (1, (0, 0.1, 0.5, 0.6)),
    "22_layers": (1, (0.33, 0, 0.68, 1)),
    "23_training": (2, (0, 0, 1, 1)),
    "24_metrics": (4, (0, 0, 1, 1)),
    "25_pictures": (2, (0, 0, 1, 1)),
    "30_autoencoder": (4, (0, 0, 1, 1)),
    "31_vae": (0, (0.5, 0, 1, 1)),
    "32_cvae": (0, (0.165, 0.065, 1, 0.62)),
    "33_vit_cvae": (0, (0.2, 0.15, 0.6, 1)),
    "34_editing": (0, (0.06, 0.05, 1, 0.6)),
    "40_quantize": (0, (0.5, 0, 1, 1)),
    "41_vqvae": (0, (0.33, 0, 0.67, 1)),
    "42_prior": (0, (0.15, 0, 1, 0.5)),
    "43_parallel": (0, (0.45, 0, 1, 0.58)),
    "50_dcgan": (0, (0.5, 0.05, 1, 1)),
    "51_stable_gan": (0, (0.5, 0.05, 1, 1)),
    "52_cvae_gan": (0, (0.34, 0.05, 0.67, 1)),
    "60_generator": (0, (0.34, 0.05, 0.67, 1)),
    "61_discriminator": (0, (0, 0, 1, 1)),
    "62_vitgan": (0, (0.065, 0.046, 0.454, 0.607)),
    "70_couplings": (0, (0.5, 0, 1, 1)),
    "71_realnvp": (2, (0, 0, 0.5, 1)),
    "72_glow": (3, (0.4, 0, 1, 0.55)),
    "73_splines": (6, (0, 0, 1, 1)),
    "74_tarflow": (9, (0, 0, 0.6, 1)),
}
COSTS = """\
import json, resource, sys
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
from genlab.workshop.runs import choose_device, versions
print(json.dumps(dict(peak=peak, device=choose_device(), versions=versions())))"""


def address() -> dict[str, str]:  # git_url, branch
    "The repository's address, from its one home."
    parser = ConfigParser(interpolation=None)
    parser.read(ROOT / "settings.ini", encoding="utf-8")
    return {key: parser["DEFAULT"][key] for key in ("git_url", "branch")}


def chapters() -> list[Path]:
    "All notebooks of the course, in its order."
    return sorted(p for p in NBS.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)


def badges(path: Path) -> str:
    "The row of badges under a chapter's title."
    a = address()
    where = f"{a['git_url'].removeprefix('https://github.com')}/blob/{a['branch']}/{path.relative_to(ROOT).as_posix()}"
    return (f"[![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
            f"(https://colab.research.google.com/github{where}) · [view source](https://github.com{where})")


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def write(path: Path, nb: dict) -> None:
    path.write_text(json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


def source(cell: dict) -> str:
    return "".join(cell["source"])


def set_source(cell: dict, text: str) -> None:
    cell["source"] = text.splitlines(keepends=True)


def write_badges(path: Path) -> None:
    "Put the address of settings.ini into a chapter's badges and set-up cell."
    nb = read(path)
    first = re.sub(r"^(BADGES|\[!\[Open In Colab\].*)$", lambda _: badges(path), source(nb["cells"][0]), flags=re.M)
    set_source(nb["cells"][0], first)
    for cell in nb["cells"]:
        if cell["cell_type"] == "code" and (source(cell) == "SETUP" or '"google.colab" in' in source(cell)):
            set_source(cell, SETUP.format(**address()))
    write(path, nb)


def keep_output(out: dict) -> bool:
    "Saved outputs are for readers of a page: no widgets (a page can't show them), no progress bars, no logging."
    if out["output_type"] == "stream":
        return out["name"] == "stdout"
    return "application/vnd.jupyter.widget-view+json" not in out.get("data", {})


def lighter(picture: str) -> str:
    "A figure, base64 PNG, in fewer bytes with the same pixels: no alpha, grey or a palette where that loses nothing."
    image = Image.open(BytesIO(base64.b64decode(picture)))
    if image.mode == "RGBA" and image.getextrema()[3] == (255, 255):
        image = image.convert("RGB")
    versions = [image]
    if image.mode == "RGB":
        grey = image.convert("L")
        pixels = np.asarray(image)
        if np.array_equal(pixels, np.asarray(grey)[..., None].repeat(3, axis=2)):
            versions.append(grey)
        if image.getcolors(256):
            colours, index = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
            few = Image.fromarray(index.reshape(pixels.shape[:2]).astype(np.uint8))
            few.putpalette(colours.tobytes())
            versions.append(few)
    files = [picture]
    for version in versions:
        out = BytesIO()
        version.save(out, format="png", optimize=True)
        files.append(base64.b64encode(out.getvalue()).decode())
    return min(files, key=len)


def run(path: Path, budget: str) -> tuple[float, float]:  # minutes, peak megabytes
    "Execute a chapter in a real kernel at a budget, and save it with its outputs, its measured cost and its claims."
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "claims.jsonl"
        lines.touch()
        os.environ.update(GENLAB_BUDGET=budget, GENLAB_CLAIMS=str(lines), TQDM_DISABLE="1")  # bars are not saved
        minutes, costs = execute(path, budget)
        write_claims(CLAIMS, path.stem, lines.read_text(encoding="utf-8"), budget, minutes, costs)
    return minutes, costs["peak"]


def write_claims(ledger: Path, chapter: str, lines: str, budget: str, minutes: float, costs: dict) -> None:
    "Replace a chapter's claims in the ledger; `lines` are those that `genlab.claim` wrote."
    book = json.loads(ledger.read_text(encoding="utf-8")) if ledger.exists() else {}
    book.pop(chapter, None)
    claims = [json.loads(line) for line in lines.splitlines()]
    if claims:
        for claim in claims:
            claim["value"] = float(f"{claim['value']:.9g}")
        about = dict(budget=budget, seconds=round(60 * minutes), device=costs["device"], versions=costs["versions"])
        book[chapter] = about | dict(claims=claims)
    text = json.dumps(book, indent=1, ensure_ascii=False, sort_keys=True)
    ledger.write_text(text + "\n", encoding="utf-8")


def execute(path: Path, budget: str) -> tuple[float, dict]:  # minutes; peak megabytes, device, versions
    "Execute a chapter and save it with its outputs and cost."
    import nbformat
    from nbclient import NotebookClient
    from nbclient.output_widget import OutputWidget

    class Unheard(OutputWidget):
        "Collects what a widget shows, and doesn't tell the kernel: its answers now and then swallow those of a cell."

        def sync_state(self) -> None:
            pass

    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command line does: fair to whatever else is running
    nb = nbformat.read(path, as_version=4)
    client = NotebookClient(nb, timeout=None, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}})
    client.widget_registry = {"@jupyter-widgets/output": {"OutputModel": Unheard}}
    nb.cells.append(nbformat.v4.new_code_cell(COSTS))
    start = time.perf_counter()
    client.execute()
    minutes = (time.perf_counter() - start) / 60
    costs = json.loads(nb.cells.pop().outputs[0].text)
    nb.metadata.pop("widgets", None)
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if keep_output(out)]
            for out in cell.outputs:
                if "image/png" in out.get("data", {}):
                    out.data["image/png"] = lighter(out.data["image/png"])
    cost = f"{max(minutes, 0.1):.1f} min, {round(costs['peak'], -1):.0f} MB"
    column = {"laptop": 3, "gpu": 4}.get(budget)
    lines = nb.cells[0].source.splitlines()
    for i, line in enumerate(lines):
        if column and line.startswith("|---"):
            row = lines[i + 1].split("|")
            row[column] = f" {cost} "
            lines[i + 1] = "|".join(row)
    nb.cells[0].source = "\n".join(lines)
    nbformat.write(nb, path)
    subprocess.run([Path(sys.executable).parent / "nbdev-clean", "--fname", path], check=True)
    clean = read(path)  # nbdev-clean drops the numbers that say "this cell was run"; a reader wants them
    for i, cell in enumerate((c for c in clean["cells"] if c["cell_type"] == "code"), 1):
        cell["execution_count"] = i
        for out in cell["outputs"]:
            if "execution_count" in out:
                out["execution_count"] = i
    write(path, clean)
    return minutes, costs


def check_export() -> int:
    "Export anew, and name every module that was not what its notebook says."
    def files() -> dict[Path, bytes]:
        return {p: p.read_bytes() for p in (ROOT / "genlab").rglob("*.py")}

    before = files()
    subprocess.run([Path(sys.executable).parent / "nbdev-export"], check=True, cwd=ROOT)
    after = files()
    stale = sorted(str(p.relative_to(ROOT)) for p in before.keys() | after.keys() if before.get(p) != after.get(p))
    if stale:
        print(f"Not what the notebooks export: {', '.join(stale)}. Edit the notebook, run nbdev-export, commit both.")
        return 1
    print(f"export check: {len(after)} modules are what {len(chapters())} notebooks say")
    return 0


def figure(path: Path, number: int) -> Image.Image:
    "One of a chapter's saved figures, counted from 0."
    outputs = [out for cell in read(path)["cells"] for out in cell.get("outputs", [])]
    pictures = [out["data"]["image/png"] for out in outputs if "image/png" in out.get("data", {})]
    return Image.open(BytesIO(base64.b64decode(pictures[number]))).convert("RGB")


def draw_map() -> None:
    "A small picture per chapter, and the tables that show them in the README and in the index."
    folder = NBS / "images" / "map"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    for path in chapters():
        if path.stem in PICTURES:
            number, box = PICTURES[path.stem]
            whole = figure(path, number)
            part = whole.crop([round(share * side) for share, side in zip(box, 2 * whole.size, strict=True)])
            small = ImageOps.pad(part, (280, 200), Image.Resampling.LANCZOS, color="white").quantize(64)
            small.save(folder / f"{path.stem}.png", optimize=True)
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, rest = text.split("<!-- map -->\n", 1)
    after = rest.split("<!-- end of map -->", 1)[1]
    readme.write_text(f"{before}<!-- map -->\n{map_table('nbs/')}<!-- end of map -->{after}", encoding="utf-8")
    index = read(NBS / "index.ipynb")
    (cell,) = (c for c in index["cells"] if source(c).startswith("| part |"))
    set_source(cell, map_table("").rstrip())
    write(NBS / "index.ipynb", index)


def map_table(base: str) -> str:  # base: the path of nbs, as seen from the page
    "One line per part, one picture per chapter."
    lines = ["| part |" + " |" * 6, "|---|" + "---|" * 6]
    for number, part in PARTS.items():
        pages = [p for p in chapters() if p.stem in PICTURES and p.parent.name.startswith(f"{number}_")]
        cells = [
            f"[<img src=\"{base}images/map/{p.stem}.png\" width=\"140\" alt=\"{p.stem}\"><br>{p.stem}]"
            f"({base}{p.relative_to(NBS).as_posix()})"
            for p in pages
        ]
        lines.append(f"| {number} {part} | " + " | ".join(cells or ["*coming*"]) + " |" * (7 - max(1, len(cells))))
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("badges")
    commands.add_parser("check-export")
    commands.add_parser("list")
    commands.add_parser("map")
    runner = commands.add_parser("run")
    runner.add_argument("--budget", default="laptop", choices=["smoke", "laptop", "gpu"])
    runner.add_argument("names", nargs="*", metavar="NAME", help="chapters such as 12_vae; all of them without a name")
    args = parser.parse_args()
    if args.command == "check-export":
        return check_export()
    if args.command == "map":
        draw_map()
        return 0
    if args.command == "list":
        print(f"{len(chapters())} notebooks: {', '.join(p.stem for p in chapters())}; none is skipped")
        return 0
    wanted = [p for p in chapters() if not getattr(args, "names", None) or p.stem in args.names]
    missing = set(getattr(args, "names", [])) - {p.stem for p in wanted}
    if missing:
        there = ", ".join(p.stem for p in chapters())
        parser.error(f"no such chapter: {', '.join(sorted(missing))}; there are {there}")
    for i, path in enumerate(wanted, 1):
        if args.command == "badges":
            write_badges(path)
            continue
        print(f"[{i}/{len(wanted)}] {path.relative_to(ROOT)} at {args.budget} ...", end=" ", flush=True)
        minutes, peak = run(path, args.budget)
        print(f"{minutes:.1f} min, {peak:.0f} MB; the file has {path.stat().st_size // 1024} kB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
