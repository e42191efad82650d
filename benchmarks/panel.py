"""What the chat panel costs in a real JupyterLab: traffic, the kernel's CPU, how smoothly the page paints.

    PYTHONPATH=. python benchmarks/panel.py [--quick] [--others]

A long answer in real Markdown (headings, lists, tables, code, maths; six characters a delta) comes from the
embedded server into a panel: 5,000 deltas at 100 a second, 5,000 and 50,000 at once, 50,000 at 1,000 a
second. Counted are the messages on the kernel's websocket and their bytes, the kernel's CPU seconds, the
page's tasks above 50 ms, and how long a message takes from the moment the kernel made it to the end of the
frame that shows it. With ``--others`` the first answer is also shown by other means: `nb.live`, updates of
``display(Markdown)``, and ipywidgets' Output widget. ``--quick`` takes a fifth of the time:
500 deltas a second.

Run it in the project's folder: it drives JupyterLab and Chromium as the tests in ``tests/browser`` do.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from bedrock_nb.events import Event
from bedrock_nb.request import Request
from bedrock_nb.server import BedrockServer, Latency
from tests.browser.conftest import CHROMIUM, FLAGS, LESSONS, Lab, Notebook, Page
from tests.long_markdown import deltas, events

GOAL = "goals: 0.8 MB and no task above 50 ms for 5,000 deltas at 100/s; no task above 100 ms for 50,000"

SET_UP = """
import time
import bedrock_nb as nb
import ipywidgets
from IPython.display import Markdown, display
client = nb.connect({url!r}, verbose=False)
"""
#: Name -> the cell that shows the answer to ``prompt``.
WAYS = {
    "panel": "panel = nb.ChatPanel(nb.Conversation(client))\ndisplay(panel)",
    "nb.live": "_ = nb.live(nb.stream(client, prompt))",
    "Markdown, each delta": """
shown, text = display(Markdown(""), display_id=True), ""
for delta in nb.stream(client, prompt).text_stream:
    text += delta
    shown.update(Markdown(text))
""",
    "Markdown, 10 Hz": """
shown, text, last = display(Markdown(""), display_id=True), "", 0.0
for delta in nb.stream(client, prompt).text_stream:
    text += delta
    if time.monotonic() > last + 0.1:
        shown.update(Markdown(text))
        last = time.monotonic()
shown.update(Markdown(text))
""",
    "Output, 20 Hz": """
shown, text, last = ipywidgets.Output(), "", 0.0
display(shown)
for delta in nb.stream(client, prompt).text_stream:
    text += delta
    if time.monotonic() > last + 0.05:
        shown.append_stdout(text)
        text, last = "", time.monotonic()
shown.append_stdout(text)
""",
}

#: In the page: when the kernel made each message that changes the cell, and when a frame had shown it.
WATCH = """cell => {
  const open = window.jupyterapp.shell.currentWidget, waiting = [], painted = window.painted = [];
  const kinds = new Set(["comm_msg", "display_data", "update_display_data", "stream"]);
  open.sessionContext.session.kernel.anyMessage.connect((_, { msg, direction }) => {
    if (direction === "recv" && kinds.has(msg.header.msg_type)) waiting.push(Date.parse(msg.header.date));
  });
  const channel = new MessageChannel(), shown = [];
  let drawing = false;  // between the first callback of a frame and its end, which a posted message follows
  channel.port1.onmessage = () => {
    drawing = false;
    const now = performance.timeOrigin + performance.now();
    for (const one of shown.splice(0)) painted.push(now - one);
  };
  const frame = () => { drawing = true; channel.port2.postMessage(0); requestAnimationFrame(frame); };
  requestAnimationFrame(frame);
  const output = open.content.widgets[cell].outputArea.node;
  new MutationObserver(() => {
    const some = waiting.splice(0);
    if (drawing) shown.push(...some);
    else requestAnimationFrame(() => shown.push(...some));
  }).observe(output, { subtree: true, childList: true, characterData: true });
}"""
#: Whether the answer is whole on the page.
WHOLE = """cell => window.jupyterapp.shell.currentWidget.content.widgets[cell].outputArea.node.textContent
  .includes("The very end.")"""


@dataclass
class Cost:
    """What it took to show one answer."""

    name: str
    messages: int
    megabytes: float
    cpu_s: float
    long_tasks: list[float]
    painted: list[float]
    seconds: float

    HEAD = (
        f"{'shown by':24}{'deltas':>8}{'at':>8}{'ws msgs':>9}{'MB':>8}{'kernel CPU s':>14}"
        f"{'tasks > 50 ms':>15}{'longest ms':>12}{'paint p50/p95 ms':>18}{'s':>8}"
    )

    def row(self, number: int, rate: float) -> str:
        """As a line of the table."""
        at = f"{rate:g}/s" if rate else "once"
        longest = f"{max(self.long_tasks):.0f}" if self.long_tasks else "-"
        paint = "-"
        if len(self.painted) > 1:
            cuts = statistics.quantiles(self.painted, n=20)
            paint = f"{cuts[9]:.0f}/{cuts[18]:.0f}"
        return (
            f"{self.name:24}{number:8,}{at:>8}{self.messages:9,}{self.megabytes:8.2f}{self.cpu_s:14.2f}"
            f"{len(self.long_tasks):15}{longest:>12}{paint:>18}{self.seconds:8.1f}"
        )


def respond(request: Request) -> Iterator[Event]:
    """What a prompt asks for: so many deltas, at so many a second; 0: at once."""
    number, rate = map(float, request.conversation[-1]["content"][0]["text"].split())
    begin = time.monotonic()
    for i, event in enumerate(events(deltas(int(number)))):
        if rate:
            time.sleep(max(0.0, begin + i / rate - time.monotonic()))
        yield event


def measure(page: Page, lab: Lab, url: str, way: str, number: int, rate: float, patience: float) -> Cost:
    """Show one answer in a new notebook, whose kernel has done nothing else."""
    prompt = f"{number} {rate}"
    name = lab.write(
        f"{time.monotonic_ns()}.ipynb", SET_UP.format(url=url), f"prompt = {prompt!r}", WAYS[way]
    )
    notebook = Notebook(page, name)
    try:
        notebook.run(0)
        notebook.run(1)
        panel = way == "panel"
        if panel:
            notebook.run(2)
            notebook.page.wait_for_selector(".bedrock-nb-panel")
        notebook.page.evaluate(WATCH, 2)
        notebook.page.wait_for_timeout(500)
        begun = cpu(notebook)
        page.received(), page.long_tasks()
        begin = time.monotonic()
        if panel:
            notebook.ask("panel.ask(prompt)")
        else:
            notebook.begin(2)
        notebook.page.wait_for_function(WHOLE, arg=2, polling=100, timeout=patience * 1000)
        seconds = time.monotonic() - begin
        notebook.ready()
        notebook.page.wait_for_timeout(500)
        (messages, size), tasks = page.received(), page.long_tasks()
        painted = notebook.page.evaluate("() => window.painted")
        page.shot(f"{way}-{number}-{rate:g}".replace(" ", "-").replace(",", ""))
        return Cost(way, messages, size / 1e6, cpu(notebook) - begun, tasks, painted, seconds)
    finally:
        notebook.close()


def cpu(notebook: Notebook) -> float:
    """CPU seconds that the kernel has used, all threads together."""
    return float(notebook.ask("print(time.process_time())"))


def runs(quick: bool, others: bool) -> Iterator[tuple[str, int, float]]:
    """What is measured: the way, how many deltas, how many a second."""
    rate = 500.0 if quick else 100.0
    yield "panel", 5_000, rate
    yield "panel", 5_000, 0.0
    yield "panel", 50_000, 0.0
    if not quick:
        yield "panel", 50_000, 1_000.0
    if others:
        for way in WAYS:
            if way != "panel":
                yield way, 5_000, rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="500 deltas a second, and no slow 50,000")
    parser.add_argument("--others", action="store_true", help="compare with other ways to show an answer")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as place,
        BedrockServer(respond, latency=Latency.none()) as server,
        sync_playwright() as playwright,
    ):
        folder = Path(place) / "notebooks"
        shutil.copytree(LESSONS, folder)  # JupyterLab is not started on an empty folder
        lab = Lab(folder, Path(place))
        context = playwright.chromium.launch_persistent_context(
            Path(place) / "chromium",
            executable_path=CHROMIUM,
            args=FLAGS,
            viewport={"width": 1280, "height": 900},
        )
        try:
            print(Cost.HEAD)
            for way, number, rate in runs(options.quick, options.others):
                page = Page(context, lab)
                patience = 60 + 10 * (number / rate if rate else number / 1_000)
                try:
                    cost: Any = measure(page, lab, server.endpoint_url, way, number, rate, patience)
                    print(cost.row(number, rate), flush=True)
                except Exception as err:  # the others are still to be seen
                    print(f"{way:24}{number:8,}  failed: {str(err).splitlines()[0]}", flush=True)
                page.page.close()
            print(GOAL)
        finally:
            context.close()
            lab.close()


if __name__ == "__main__":
    main()
