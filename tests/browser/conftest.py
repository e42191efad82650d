"""A real JupyterLab in a real Chromium, driven by Playwright.

`bedrock-nb lab` itself is what starts JupyterLab here, on a copy of the lessons, with configuration folders
of its own. The page is driven through JupyterLab's own command registry (``window.jupyterapp``), so that
nothing depends on where a menu or an icon is. Chromium is the distribution's; Playwright downloads nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LESSONS = Path(__file__).parent.parent.parent / "notebooks"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]
#: What JupyterLab itself logs where there is no network; it says nothing about a lesson.
NOISE = ("net::ERR_NAME_NOT_RESOLVED", "favicon", "/lsp/status", "Canceled future for execute_request")


def pytest_collection_modifyitems(config, items):
    """Without Chromium these tests are skipped, and say how not to; in CI they must run."""
    if CHROMIUM is None and os.environ.get("CI") != "true":
        skip = pytest.mark.skip(reason="no Chromium here (Debian: apt-get install chromium)")
        for item in items:
            if Path(__file__).parent in Path(item.path).parents:
                item.add_marker(skip)


class Lab:
    """A JupyterLab on a folder of notebooks; ``url`` and ``token`` open it."""

    def __init__(self, folder: Path, private: Path) -> None:
        self.folder, self.token = folder, "browser-test"
        settings = private / "settings" / "@jupyterlab"
        for name, values in {
            "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
            "docmanager-extension/plugin": {"autosave": False},
            "notebook-extension/tracker": {"windowingMode": "none"},  # every cell is on the page
        }.items():
            file = settings / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values))
        options = [
            "--ServerApp.port=0",
            f"--IdentityProvider.token={self.token}",
            "--LabApp.expose_app_in_browser=True",
            f"--FileCheckpoints.checkpoint_dir={private / 'checkpoints'}",
        ]
        code = f"from bedrock_nb.lab import lab; lab({str(folder)!r}, browser=False, options={options!r})"
        folders = {
            f"JUPYTER_{name}_DIR": str(private / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")
        }
        environment = {
            **os.environ,
            **folders,
            "JUPYTERLAB_SETTINGS_DIR": str(private / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(private / "workspaces"),
            "IPYTHONDIR": str(private / "ipython"),
            "JUPYTER_PREFER_ENV_PATH": "1",
        }
        environment.pop("BEDROCK_NB_TARGET", None)
        self.log = private / "lab.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code], env=environment, stdout=log, stderr=log, start_new_session=True
            )
        self.url = self._address(private / "runtime")

    def _address(self, runtime: Path) -> str:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and self.process.poll() is None:
            for file in runtime.glob("jpserver-*.json"):
                with contextlib.suppress(ValueError):
                    return f"http://127.0.0.1:{json.loads(file.read_text())['port']}"
            time.sleep(0.05)
        raise RuntimeError(f"JupyterLab did not start:\n{self.log.read_text()[-3000:]}")

    def close(self) -> None:
        """End JupyterLab as Ctrl-C does, and its kernels with it."""
        os.killpg(self.process.pid, signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(5)


class Page:
    """JupyterLab in one tab, loaded once. ``errors`` gathers what it logs as errors."""

    def __init__(self, context, lab: Lab) -> None:
        self.errors: list[str] = []
        self.page = context.new_page()
        self.page.set_default_timeout(60_000)
        self.page.on("console", self._logged)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(f"{lab.url}/lab?token={lab.token}&reset")
        self.page.wait_for_function("() => window.jupyterapp?.restored.then(() => true)")

    def _logged(self, message) -> None:
        text = f"{message.text} {(message.location or {}).get('url', '')}"
        if message.type == "error" and not any(noise in text for noise in NOISE):
            self.errors.append(text)


class Notebook:
    """One notebook in JupyterLab, with a kernel of its own that ends with `close`."""

    def __init__(self, lab_page: Page, name: str) -> None:
        self.page, self.errors = lab_page.page, lab_page.errors
        self.errors.clear()
        self.page.evaluate(
            "path => { window.jupyterapp.commands.execute("
            "'docmanager:open', { path, factory: 'Notebook' }); }",
            name,
        )
        self.page.wait_for_function(
            "path => { const open = window.jupyterapp.shell.currentWidget;"
            " return open?.context?.path === path &&"
            "  open.sessionContext?.session?.kernel?.status === 'idle'; }",
            arg=name,
        )

    def close(self) -> None:
        """Close the notebook without a question, and end its kernel."""
        self.page.evaluate(
            "async () => { const open = window.jupyterapp.shell.currentWidget;"
            " await open.sessionContext.shutdown(); open.dispose(); }"
        )

    def run_all(self, *, timeout: float = 120) -> None:
        """Run every cell and wait until none is waiting or running."""
        self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
        self.page.wait_for_function(
            "() => { const nb = window.jupyterapp.shell.currentWidget;"
            " return nb.sessionContext.session.kernel.status === 'idle' &&"
            "  nb.content.widgets.filter(c => c.model.type === 'code')"
            "   .every(c => c.model.executionCount && c.model.executionState !== 'running'); }",
            timeout=timeout * 1000,
            polling=200,
        )

    def outputs(self) -> list[list[dict]]:
        """The outputs of every cell, as nbformat has them; nothing for text cells."""
        return self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.content.widgets.map("
            "c => c.model.toJSON().outputs || [])"
        )


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab on a copy of the lessons."""
    folder = tmp_path_factory.mktemp("lab") / "notebooks"
    shutil.copytree(LESSONS, folder, ignore=shutil.ignore_patterns(".*"))
    lab = Lab(folder, tmp_path_factory.mktemp("private"))
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Chromium with a fresh profile."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("chromium"),
            executable_path=CHROMIUM,
            args=FLAGS,
            viewport={"width": 1280, "height": 900},
        )
        yield context
        context.close()


@pytest.fixture(scope="module")
def lab_page(browser, lab):
    """The one tab in which a module's notebooks are opened: to load JupyterLab takes longer than they do."""
    page = Page(browser, lab)
    yield page
    page.page.close()


def _opening(lab_page):
    opened = []

    def open_one(name: str) -> Notebook:
        notebook = Notebook(lab_page, name)
        opened.append(notebook)
        return notebook

    yield open_one
    for notebook in opened:
        notebook.close()


@pytest.fixture
def open_notebook(lab_page):
    """Open a notebook of the lab; it is closed after the test, and its kernel ended."""
    yield from _opening(lab_page)


@pytest.fixture(scope="module")
def open_for_all(lab_page):
    """Open a notebook that all tests of a module share."""
    yield from _opening(lab_page)
