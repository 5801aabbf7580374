"Reads the package's metadata from settings.ini, its one home."
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
parser = ConfigParser(interpolation=None)
parser.read(here / "settings.ini", encoding="utf-8")
cfg = parser["DEFAULT"]
lab, test, bench, lint = (cfg[f"{extra}_requirements"].split() for extra in ("lab", "test", "bench", "lint"))

setup(
    name=cfg["name"],
    version=cfg["version"],
    description=cfg["description"],
    keywords=cfg["keywords"],
    author=cfg["author"],
    license=cfg["license"],
    url=cfg["git_url"],
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=f">={cfg['min_python']}",
    packages=find_packages(include=["genlab", "genlab.*"]),
    package_data={"genlab": [f"**/*.{end}" for end in ("safetensors", "json", "jsonl", "txt")]},  # of any part
    install_requires=cfg["requirements"].split(),
    extras_require={"lab": lab, "test": lab + test, "bench": bench, "lint": lint},
    entry_points={"console_scripts": ["genlab=genlab.cli:main"], "nbdev": ["genlab=genlab._modidx:d"]},
)
