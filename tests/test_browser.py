"A reader in a real browser: open the chapter in JupyterLab, run all, move the slider."

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from processes import assert_same_weights

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; on Debian: apt-get install chromium")
KERNEL = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status"
ERRORS = """() => window.jupyterapp.shell.currentWidget.content.model.toJSON().cells
    .flatMap(c => (c.outputs ?? []).filter(o => o.output_type === 'error').map(o => o.ename + ': ' + o.evalue))"""
SHOW_SLIDER = """() => { const book = window.jupyterapp.shell.currentWidget.content;
    const isSlider = c => c.cell_type === 'code' && /^interact\\(/m.test([].concat(c.source).join(''));
    return book.scrollToItem(book.model.toJSON().cells.findIndex(isSlider), 'center'); }"""
RAN = "() => window.jupyterapp.shell.currentWidget.content.model.toJSON().cells.filter(c => c.execution_count).length"


@pytest.fixture
def lab(tmp_path):
    "JupyterLab on copies of the chapters."
    shutil.copytree(ROOT / "nbs", tmp_path / "nbs", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    env = {**os.environ, "GENLAB_BUDGET": "smoke",
           "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
           "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")}
    env.pop("MPLBACKEND", None)
    with open(tmp_path / "lab.log", "w") as log:
        server = subprocess.Popen([sys.executable, "-m", "jupyter", "lab", "--no-browser",
                                   "--allow-root", "--ip=127.0.0.1", f"--port={port}",
                                   "--IdentityProvider.token=t", f"--ServerApp.root_dir={tmp_path / 'nbs'}",
                                   "--LabApp.expose_app_in_browser=True"],
                                  stdout=log, stderr=log, env=env)
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token=t", timeout=1)
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=30)


@needs_chromium
@pytest.mark.parametrize("chapter", ["1_points/12_vae", "7_flow/70_couplings"])
def test_a_chapter_in_a_browser(chapter, lab, tmp_path):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM,
                                    args=["--no-sandbox", "--disable-background-networking", "--disable-gpu"])
        page = browser.new_page(viewport=dict(width=1400, height=1000))
        page.goto(f"{lab}/doc/tree/{chapter}.ipynb?token=t")
        page.wait_for_function(f"{KERNEL} === 'idle'", timeout=90_000)
        page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        page.wait_for_function(f"({RAN})() > 30 && {KERNEL} === 'idle'", timeout=240_000)
        assert page.evaluate(ERRORS) == []
        page.evaluate(SHOW_SLIDER)  # JupyterLab draws cells when they come into view
        handle, picture = (page.locator(f".widget-interact {part}").first
                           for part in (".noUi-handle", ".jp-OutputArea-output img"))
        handle.scroll_into_view_if_needed(timeout=60_000)
        before = picture.get_attribute("src")
        handle.focus()
        for _ in range(5):
            page.keyboard.press("ArrowRight")
        page.wait_for_function("src => { "
                               "const img = document.querySelector('.widget-interact .jp-OutputArea-output img');"
                               " return img && img.src !== src; }", arg=before, timeout=60_000)
        page.screenshot(path=tmp_path / "slider.png")
        assert page.evaluate(ERRORS) == []
        browser.close()


# Two sessions without a browser: what a page shows, its kernel has sent.

TRAINS = """
import torch

from genlab.lab.training import fit
from genlab.points.colored_pi import load_pi
from genlab.points.vae import PointVAEConfig, PointVAERecipe
from genlab.workshop.runs import create_run, save_weights

torch.manual_seed(0)
pi = load_pi()
recipe = PointVAERecipe(PointVAEConfig(hidden=16, components=8), pi)
run = create_run("NAME", dict(model="pi-vae"))
"""
FITS = """
model, _ = fit(recipe, pi.points, steps=200, batch_size=100, out=run, device="cpu", live=True)
save_weights(run / "model.safetensors", model)
"""

def test_two_sessions_train_side_by_side(tmp_path):
    "To the same weights, each with its own curves."
    books = [nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in (
        TRAINS.replace("NAME", name), FITS)]) for name in ("one", "two")]
    env = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"} | dict(OMP_NUM_THREADS="1")

    where = dict(metadata=dict(path=str(tmp_path)))

    async def side_by_side():
        clients = [NotebookClient(book, timeout=240, kernel_name="python3", resources=where) for book in books]
        await asyncio.gather(*(client.async_execute(env=env) for client in clients))

    asyncio.run(side_by_side())
    assert_same_weights(tmp_path / "one", tmp_path / "two")
    for book in books:
        outputs = book.cells[1].outputs
        assert len([out for out in outputs if "image/png" in out.get("data", {})]) == 1, outputs
