"""A report in a real Chromium: light, dark and narrow, for all readers, and nothing in it alive."""

from __future__ import annotations

import matplotlib as mpl

mpl.use("Agg")

import pytest
from axe_playwright_python.sync_playwright import Axe

import bedrock_nb as nb
from tests.test_report import answer, broken
from tests.xss import CASES

ADDRESS = "http://127.0.0.1/report.html"


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """A report with all its parts, and with hostile text wherever text can come from."""
    payloads = [payload for _, payload in CASES]
    request = {"modelId": payloads[40], "messages": [{"role": "user", "content": [{"text": payloads[60]}]}]}
    source = [
        answer(0.5 + i / 20, i, labels={"kind": payloads[20 * (i % 6)]}, request=request, tls=False)
        for i in range(18)
    ]
    path = tmp_path_factory.mktemp("report") / "report.html"
    nb.report([*source, broken()], path, title=payloads[3], by="kind", limits={"ttft_s": 1.0})
    return path.read_text(encoding="utf-8")


@pytest.fixture
def page(tab, html):
    """The page in a tab that is watched."""
    tab.page.route(ADDRESS, lambda route: route.fulfill(body=html, content_type="text/html; charset=utf-8"))
    return tab.page


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 360)])
def test_everybody_can_read_it(tab, page, scheme, width):
    """axe-core finds nothing; pictures are those of the scheme; only they and tables scroll sideways."""
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(ADDRESS)
    shown = page.evaluate(
        "() => [...document.images].map(one => [one.naturalWidth > 0, one.currentSrc === one.src])"
    )
    assert len(shown) >= 5
    assert shown == [[True, scheme == "light"]] * len(shown)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    violations = Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in violations] == []
    tab.shot(f"report-{scheme}-{width}")


def test_nothing_comes_alive_and_nothing_is_asked_for(tab, page):
    """Hovered over, focused and clicked, no hostile text runs; no request leaves the page."""
    page.goto(ADDRESS)
    assert tab.poke("body") > 50
    assert page.evaluate("() => document.querySelectorAll('script, link, a, [onclick], iframe').length") == 0
    page.wait_for_load_state("networkidle")
    assert (tab.ran, tab.outside, tab.errors) == ([], [], [])
