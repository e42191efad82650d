"""A real JupyterLab in a real Chromium, driven by Playwright.

`bedrock-nb lab` itself is what starts JupyterLab here, on a copy of the lessons, with configuration folders
of its own. The page is driven through JupyterLab's own command registry (``window.jupyterapp``), so that
nothing depends on where a menu or an icon is. Chromium is the distribution's; Playwright downloads nothing.
Every tab is watched: its errors, whom it asks, what reaches it from kernels, and whether hostile text ran.
With ``BEDROCK_NB_SHOTS=folder`` the tests leave pictures there of what they saw.
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
from typing import Any
from urllib.parse import urlsplit

import nbformat
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
#: Where pictures go, if anywhere.
SHOTS = os.environ.get("BEDROCK_NB_SHOTS")

#: Before anything else in a page: how long it was busy at a time, in ms.
SENSOR = """
window.longTasks = [];
new PerformanceObserver(list => { for (const one of list.getEntries()) longTasks.push(one.duration); })
  .observe({ entryTypes: ["longtask"] });
"""
#: Hovers over, focuses and clicks all in a part of the page that could answer: what has an attribute besides
#: its looks. Links to the web are clicked, not followed; so are those that JupyterLab makes of plain text.
POKE = """async selector => {
  const stay = event => {
    const link = event.composedPath().find(node => node.href);
    if (!link) return;
    const own = link.closest(".jp-RenderedText");
    if (own || /^(https?|mailto):/.test(String(link.href.baseVal ?? link.href))) event.preventDefault();
  };
  addEventListener("click", stay, true);
  let poked = 0;
  for (const root of document.querySelectorAll(selector)) {
    for (const one of root.querySelectorAll("details")) one.open = true;
    for (const one of root.querySelectorAll("*")) {
      if ([...one.attributes].every(({ name }) => name === "class" || name === "style")) continue;
      for (const name of ["pointerover", "mouseover", "mouseenter", "mousedown", "mouseup"])
        one.dispatchEvent(new MouseEvent(name));
      if (!one.closest("button, summary, input, select, textarea"))
        one.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true }));
      if (one.matches("[autofocus], [onfocus], [tabindex]")) one.focus({ preventScroll: true });
      if (++poked % 200 === 0) await new Promise(done => setTimeout(done));
    }
  }
  removeEventListener("click", stay, true);
  return poked;
}"""


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
            "--JupyterNotebookApp.expose_app_in_browser=True",
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

    def write(self, name: str, *cells: str) -> str:
        """Put a notebook of these code cells into the folder; returns its name."""
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
        made = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(code) for code in cells], metadata=kernel
        )
        nbformat.write(made, self.folder / name)
        return name

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


class Tab:
    """A tab that is watched.

    Attributes
    ----------
    errors : list of str
        What it logs as errors, and exceptions that nobody caught.
    ran : list of str
        Calls of ``xss()``, which every hostile text of `tests.xss` makes if it runs: where.
    outside : list of str
        Addresses of other hosts that it asked for, and of windows that it opened.
    frames : list of int
        The size of each message that came from a kernel.
    """

    def __init__(self, context) -> None:
        self.errors: list[str] = []
        self.ran: list[str] = []
        self.outside: list[str] = []
        self.frames: list[int] = []
        self.page = context.new_page()
        self.page.set_default_timeout(60_000)
        self.page.add_init_script(SENSOR)
        self.page.expose_binding("xss", lambda source, *_: self.ran.append(source["frame"].url))
        self.page.on("console", self._logged)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._asked)
        self.page.on("websocket", self._connected)
        self.page.on("popup", lambda popup: self.outside.append(popup.url))
        self.page.on("dialog", self._answer)

    def _logged(self, message) -> None:
        text = f"{message.text} {(message.location or {}).get('url', '')}"
        if message.type == "error" and not any(noise in text for noise in NOISE):
            self.errors.append(text)

    def _asked(self, request) -> None:
        url = urlsplit(request.url)
        if url.scheme not in ("data", "blob", "about") and url.hostname != "127.0.0.1":
            self.outside.append(request.url)

    def _answer(self, dialog) -> None:
        """Leave a page that has something unsaved; say no to everything else."""
        if dialog.type == "beforeunload":
            dialog.accept()
        else:
            dialog.dismiss()

    def _connected(self, socket) -> None:
        if "/api/kernels/" in socket.url:
            socket.on("framereceived", lambda frame: self.frames.append(len(frame)))

    def poke(self, selector: str, frame=None) -> int:
        """Hover over, focus and click all that is in a part of the page; returns how many elements."""
        return (frame or self.page).evaluate(POKE, selector)

    def long_tasks(self) -> list[float]:
        """How long the page was busy since the last time that this was asked, each time above 50 ms; ms."""
        return self.page.evaluate("() => longTasks.splice(0)")

    def received(self) -> tuple[int, int]:
        """Messages from kernels since the last time that this was asked, and their bytes."""
        self.page.evaluate("1")  # what is on its way to us comes before the answer
        frames, self.frames[:] = list(self.frames), []
        return len(frames), sum(frames)

    def shot(self, name: str) -> None:
        """Leave a picture, if pictures are wanted."""
        if SHOTS:
            Path(SHOTS).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(SHOTS) / f"{name}.png")


class Page(Tab):
    """JupyterLab in one tab, loaded once; ``at`` is another of the server's pages, such as Notebook 7's."""

    def __init__(self, context, lab: Lab, at: str = "lab") -> None:
        super().__init__(context)
        self.lab = lab
        self.page.goto(f"{lab.url}/{at}?token={lab.token}&reset")
        self.page.wait_for_function("() => window.jupyterapp?.restored.then(() => true)")

    def theme(self, name: str) -> None:
        """Change to ``JupyterLab Dark``, or to ``JupyterLab Light``."""
        self.page.evaluate(
            "theme => { window.jupyterapp.commands.execute('apputils:change-theme', { theme }); }", name
        )
        self.page.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=name)


#: In the page: the notebook that is open.
OPEN = "window.jupyterapp.shell.currentWidget"


class Notebook:
    """One notebook in JupyterLab, with a kernel of its own that ends with `close`."""

    def __init__(self, lab_page: Page, name: str, *, there: bool = False) -> None:
        self.tab, self.page, self.errors, self.name = lab_page, lab_page.page, lab_page.errors, name
        if there:
            self.ready()
            self.errors.clear()  # Notebook 7 logs one of its own while it reads its settings
        else:
            self.errors.clear()
            self.open()

    def open(self) -> None:
        """Open it, in the page as it is now; a kernel that it has is found again."""
        self.page.evaluate(
            "path => { window.jupyterapp.commands.execute("
            "'docmanager:open', { path, factory: 'Notebook' }); }",
            self.name,
        )
        self.ready()

    def ready(self) -> None:
        """Wait until its kernel has nothing to do."""
        self.page.wait_for_function(
            f"path => {{ const open = {OPEN};"
            " return open?.context?.path === path &&"
            "  open.sessionContext?.session?.kernel?.status === 'idle'; }",
            arg=self.name,
        )

    def reload(self) -> None:
        """Load the whole page anew; the kernel lives on."""
        self.page.reload()
        self.page.wait_for_function("() => window.jupyterapp?.restored.then(() => true)")
        if self.page.evaluate(f"() => {OPEN}?.context?.path") != self.name:
            self.open()
        self.ready()

    def restart(self) -> None:
        """Give the notebook a new kernel in place of its own."""
        self.page.evaluate(f"() => {OPEN}.sessionContext.session.kernel.restart()")
        self.ready()

    def save(self) -> dict[str, Any]:
        """Save it; returns the file."""
        self.page.evaluate(f"() => {OPEN}.context.save()")
        return json.loads((self.tab.lab.folder / self.name).read_text())

    def command(self, name: str) -> None:
        """Give one of JupyterLab's commands, and do not wait."""
        self.page.evaluate("name => { window.jupyterapp.commands.execute(name); }", name)

    def close(self) -> None:
        """Close the notebook without a question, and end its kernel."""
        self.page.evaluate(
            f"async () => {{ const open = {OPEN}; await open.sessionContext.shutdown(); open.dispose(); }}"
        )

    def begin(self, cell: int) -> None:
        """Start a cell, and do not wait."""
        self.page.evaluate(f"cell => {{ {OPEN}.content.activeCellIndex = cell; }}", cell)
        self.command("notebook:run-cell")

    def run(self, cell: int) -> None:
        """Run one cell, and wait for it."""
        before = self.page.evaluate(f"cell => {OPEN}.content.widgets[cell].model.executionCount", cell)
        self.begin(cell)
        self.page.wait_for_function(
            f"([cell, before]) => {{ const one = {OPEN}.content.widgets[cell].model;"
            " return one.executionCount && one.executionCount !== before &&"
            "  one.executionState !== 'running'; }",
            arg=[cell, before],
        )

    def ask(self, code: str) -> str:
        """Have the kernel run code that belongs to no cell; what it prints. What it raises is raised here."""
        printed, failed = self.page.evaluate(
            f"""async code => {{
              const {{ kernel }} = {OPEN}.sessionContext.session;
              const asked = kernel.requestExecute({{ code, store_history: false }});
              let printed = "", failed = null;
              asked.onIOPub = ({{ header, content }}) => {{
                if (header.msg_type === "stream") printed += content.text;
                if (header.msg_type === "error") failed = content.traceback.join("\\n");
              }};
              await asked.done;
              return [printed, failed];
            }}""",
            code,
        )
        if failed is not None:
            raise AssertionError(failed)
        return printed.strip()

    def finished(self, *, timeout: float = 120) -> None:
        """Wait until every cell has run, and none is waiting or running."""
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

    def output(self, cell: int):
        """Where the outputs of a cell are on the page."""
        return (
            self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell")
            .nth(cell)
            .locator(".jp-Cell-outputArea")
        )


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """JupyterLab on a copy of the lessons, for all tests of this folder."""
    folder = tmp_path_factory.mktemp("lab") / "notebooks"
    shutil.copytree(LESSONS, folder, ignore=shutil.ignore_patterns(".*"))
    lab = Lab(folder, tmp_path_factory.mktemp("private"))
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Chromium with a fresh profile; not for longer, for while it is there no test can run an event loop."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=30_000)  # what must come may take long on a busy machine
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


@pytest.fixture
def tab(browser):
    """A bare tab, for pages that are no JupyterLab."""
    tab = Tab(browser)
    yield tab
    tab.page.close()


def _opening(lab_page):
    opened: list[Notebook] = []

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


@pytest.fixture(scope="module")
def open_in_notebook7(browser, lab):
    """Open a notebook in Notebook 7, where each has a tab of its own."""
    opened: list[Notebook] = []

    def open_one(name: str) -> Notebook:
        opened.append(Notebook(Page(browser, lab, f"notebooks/{name}"), name, there=True))
        return opened[-1]

    yield open_one
    for notebook in opened:
        notebook.close()
        notebook.page.close()
