"""The status page in a real Chromium: what it shows, that it stays calm, that nothing comes alive."""

from __future__ import annotations

import ast
import asyncio
import json
import threading
import time
import unicodedata
from typing import Any

import pytest
from aiohttp import web
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from bedrock_nb.server import BedrockServer, Classroom, Latency
from bedrock_nb.server.status import HEADERS, page
from tests.xss import CASES

NOW = 1_700_000_000.0
MODEL = "us.amazon.nova-lite-v1:0"
SERVER: dict[str, Any] = {
    "version": "0.1.0",
    "responder": "canned",
    "latency": "Latency(ttft=0.3, per_token=0.02)",
    "faults": None,
    "up_s": 12.3,
}
#: The head, then an event every 20 ms from 0.3 s on.
STEADY = [[0.25, 1, 118], *([round(0.3 + i * 0.02, 3), 1, 160] for i in range(40))]


def request(name: str = "one", **known: Any) -> dict[str, Any]:
    """A request as the server tells of it: one that was answered in 1.1 s, or what is given."""
    timeline = known.get("timeline", STEADY)
    return {
        "id": name,
        "operation": "ConverseStream",
        "model": MODEL,
        "arrived": NOW - 2.0,
        "queued_s": 0.0,
        "http_status": 200,
        "outcome": "complete",
        "code": None,
        "fault": None,
        "ended_s": 1.1,
        "writes": len(timeline),
        "bytes": sum(nbytes for _, _, nbytes in timeline),
        "events": sum(events for _, events, _ in timeline),
        "late_ms": 0.4 if timeline else None,
        "metadata": {},
        "timeline": timeline,
        **known,
    }


OPEN = {"outcome": "open", "ended_s": None}
THROTTLED = {
    "outcome": "refused",
    "http_status": 429,
    "code": "ThrottlingException",
    "ended_s": 0.002,
    "timeline": [],
}
BROKEN = {"outcome": "broken", "fault": "reset(after=5)", "ended_s": 0.4, "timeline": STEADY[:6]}
GONE = {"outcome": "gone", "ended_s": 0.5, "timeline": STEADY[:9]}


class Stage:
    """A server of the page, and of whatever ``requests`` and ``server`` are at the moment; it can go away."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.server = dict(SERVER)
        self.classroom: dict[str, Any] | None = None
        self.paused: list[tuple[str | None, Any]] = []  # key, what was asked for
        self.asked: list[str] = []
        self.instead: web.Response | None = None
        self.origins: list[str | None] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.port = 0
        self.start()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.port = self._run(self._listen())

    def stop(self) -> None:
        self._run(self._runner.cleanup())

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> int:
        app = web.Application()
        app.router.add_post("/pause", self._pause)
        app.router.add_get("/{name:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        return self._runner.addresses[0][1]

    async def _pause(self, asked: web.Request) -> web.Response:
        wanted = await asked.json()
        self.paused.append((asked.headers.get("x-bedrock-nb-key"), wanted))
        for each in (self.classroom or {"students": []})["students"]:
            if wanted["student"] in (None, each["name"]):
                each["paused"] = wanted["paused"]
        return web.Response(body=b"{}", content_type="application/json")

    async def _answer(self, asked: web.Request) -> web.Response:
        self.origins.append(asked.headers.get("Origin"))
        name = asked.match_info["name"]
        if name == "status.json":
            if self.instead is not None:
                return web.Response(status=self.instead.status, body=self.instead.body)
            self.asked.append(asked.query_string)
            told = {"server": self.server, "now": NOW, "requests": self.requests}
            if self.classroom is not None:
                told["classroom"] = self.classroom
            return web.Response(body=json.dumps(told), content_type="application/json", headers=HEADERS)
        found = page(name)
        if found is None:
            return web.Response(status=404)
        body, content_type = found
        return web.Response(body=body, headers={**HEADERS, "Content-Type": content_type})


@pytest.fixture
def stage():
    stage = Stage()
    yield stage
    stage.close()


class Tab:
    """The page in a tab; ``alarms`` gathers what should never be: errors, dialogs, requests to elsewhere."""

    def __init__(self, context, stage: Stage) -> None:
        self.stage, self.alarms = stage, []
        self.page = context.new_page()
        self.page.set_default_timeout(30_000)
        self.page.on("console", lambda said: self.alarms.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.alarms.append(str(error)))
        self.page.on("dialog", self._dialog)
        self.page.on("request", self._request)
        self.page.add_init_script("window.xss = () => console.error('xss ran')")

    def _dialog(self, dialog) -> None:
        self.alarms.append(dialog.message)
        dialog.dismiss()

    def _request(self, asked) -> None:
        if not asked.url.startswith((f"{self.stage.url}/", "data:")):
            self.alarms.append(asked.url)

    def open(self, search: str = ""):
        """Load the page, and wait until it has heard from the server."""
        self.page.goto(self.stage.url + search)
        expect(self.page.locator("#state")).to_have_text("live")
        return self.page


@pytest.fixture
def context(browser):
    """A context of the test's own: a clock or a permission is one for all tabs of a context."""
    with browser.browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        yield context


@pytest.fixture
def tab(context, stage):
    return Tab(context, stage)


@pytest.fixture
def paced(tab):
    """A tab whose clock stands still but for `paced.page.clock`; it notes when the page asks."""
    tab.page.clock.install(time=NOW)
    tab.page.clock.pause_at(NOW + 1)
    tab.page.add_init_script(
        "window.asked = []; const real = window.fetch;"
        "window.fetch = (...all) => { window.asked.push(Date.now()); return real(...all); };"
        "window.away = false; Object.defineProperty(document, 'hidden', { get: () => window.away });"
    )
    return tab


def asks_again(paced) -> None:
    """Have the page ask now, and not in two seconds: once it has shown an answer, it waits for its clock."""
    paced.page.clock.run_for(2000)


def cells(row) -> list[str]:
    """The words of a row, cell by cell, but for the drawing."""
    words = "row => [...row.querySelectorAll('tr.request > td')].map(td => td.innerText)"
    return [" ".join(text.split()) for text in row.evaluate(words)][:-1]


def rows(page):
    return page.locator("#requests > tbody")


def row_of(page, words: str):
    return rows(page).filter(has_text=words)


# -- what it shows -----------------------------------------------------------------------------------


def test_the_head_says_what_the_server_is(stage, tab):
    """Responder, law, faults, uptime and version are the server's."""
    stage.server |= {"faults": "reset(after=5)", "up_s": 3 * 3600 + 125}
    opened = tab.open()
    expect(opened.locator("#responder")).to_have_text("canned")
    expect(opened.locator("#latency")).to_have_text("Latency(ttft=0.3, per_token=0.02)")
    expect(opened.locator("#faults")).to_have_text("reset(after=5)")
    expect(opened.locator("#up")).to_have_text("3 h 2 min")
    expect(opened.locator("#version")).to_have_text("version 0.1.0")
    assert tab.alarms == []


@pytest.mark.parametrize(
    ("known", "outcome", "numbers"),
    [
        ({}, "✓ answered 200", ["0.30 s", "1.10 s", "41", "6.5 kB", "0.4 ms"]),
        (THROTTLED, "⊘ refused 429 ThrottlingException", ["–", "2.0 ms", "0", "0 B", "–"]),
        (BROKEN, "✕ broken off 200 reset(after=5)", ["0.30 s", "0.40 s", "6", "918 B", "0.4 ms"]),
        (GONE, "○ client left 200", ["0.30 s", "0.50 s", "9", "1.4 kB", "0.4 ms"]),
        ({**OPEN, "late_ms": 1234.5}, "● open 200", ["0.30 s", "2.00 s", "41", "6.5 kB", "1.23 s"]),
        (
            {**OPEN, "http_status": None, "timeline": []},
            "● open nothing sent yet",
            ["–", "2.00 s", "0", "0 B", "–"],
        ),
        (
            {"timeline": [[12.5, 0, 2_345_678]], "operation": "Converse", "ended_s": 312.0},
            "✓ answered 200",
            ["–", "5 min 12 s", "0", "2.3 MB", "0.4 ms"],
        ),
    ],
    ids=["answered", "refused", "broken", "gone", "open", "waiting", "plain"],
)
def test_a_row_says_what_became_of_a_request(stage, tab, known, outcome, numbers):
    """Each outcome has a word and a mark of its own, beside its HTTP status, error and fault."""
    stage.requests = [request(**known)]
    row = rows(tab.open()).first
    when = time.strftime("%H:%M:%S", time.localtime(NOW - 2.0))
    what = f"{known.get('operation', 'ConverseStream')} {MODEL}"
    assert cells(row) == [when, what, outcome, *numbers]
    assert tab.alarms == []


def test_requests_are_counted_by_their_outcome(stage, tab):
    """The counters, which are the live region, count what is listed."""
    kinds = [OPEN, {}, {}, {}, THROTTLED, THROTTLED, BROKEN, GONE]
    stage.requests = [request(f"r{i}", **known) for i, known in enumerate(kinds)]
    opened = tab.open()
    counts = opened.locator("[aria-live=polite] li").all_inner_texts()
    assert [" ".join(text.split()) for text in counts] == [
        "1 open", "3 answered", "2 refused", "1 broken off", "1 client left"
    ]  # fmt: skip
    assert opened.locator("[aria-live]").count() == 1
    assert opened.title() == "(1) Embedded Bedrock"


def test_an_empty_server_tells_how_to_send_the_first_request(stage, paced):
    """Three statements of Python with this server's address; they go as soon as there is a request."""
    opened = paced.open()
    code = opened.locator("#first")
    expect(code).to_be_visible()
    expect(opened.locator("#requests")).to_be_hidden()
    assert len(ast.parse(code.text_content()).body) == 3
    assert f'endpoint_url="{stage.url}"' in code.text_content()
    stage.requests = [request()]
    asks_again(paced)
    expect(rows(opened)).to_have_count(1)
    expect(code).to_be_hidden()


@pytest.mark.parametrize("source", ["environment", "first"])
def test_lines_can_be_copied(context, stage, tab, source):
    """A Copy button puts exactly the lines beside it on the clipboard, with this server's address."""
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=stage.url)
    opened = tab.open()
    button = opened.locator(f"[data-copies={source}]")
    button.click()
    expect(button).to_have_text("Copied")
    copied = opened.evaluate("navigator.clipboard.readText()")
    assert copied == opened.locator(f"#{source}").text_content()
    assert stage.url in copied
    assert tab.alarms == []


def test_lines_are_marked_where_the_clipboard_is_closed(stage, tab):
    """Without a clipboard the lines are selected, and the button says what to press."""
    tab.page.add_init_script(
        "Object.defineProperty(navigator, 'clipboard', { value: { writeText: () => Promise.reject() } })"
    )
    opened = tab.open()
    button = opened.locator("[data-copies=environment]")
    button.click()
    expect(button).to_have_text("Press Ctrl+C")
    selected = opened.evaluate("String(getSelection())")
    assert selected.split() == opened.locator("#environment").text_content().split()


# -- the drawing -------------------------------------------------------------------------------------


def drawing(row) -> dict[str, Any]:
    """What is drawn of a request: x of ticks on a scale of 1000, widths in percent, the mark at the end."""
    read = """row => {
      const at = (part, name) => row.querySelector(part).getAttribute(name);
      return {
        ticks: [...at(".writes", "d").matchAll(/M([\\d.]+) 100v-(\\d+)/g)].map(m => [+m[1], +m[2]]),
        wait: parseFloat(at(".wait", "width")), track: parseFloat(at(".track", "width")),
        end: at(".end", "d"), at: parseFloat(at(".ending", "x")),
        scale: row.querySelector(".scale").textContent, told: at(".drawing", "aria-label"),
      }; }"""
    return row.evaluate(read)


def test_writes_are_ticks_on_a_scale_of_time(stage, tab):
    """A write stands at its time; more events in it make it taller; the bar ends when the answer did."""
    stage.requests = [request(timeline=[[0.5, 1, 10], [1.0, 8, 80], [1.5, 500, 900]], ended_s=1.5)]
    drawn = drawing(rows(tab.open()).first)
    assert drawn["scale"] == "2 s"
    assert [x for x, _ in drawn["ticks"]] == [250, 500, 750]
    one, eight, many = (height for _, height in drawn["ticks"])
    assert 20 < one < eight < many == 100
    assert drawn["track"] == 75
    assert drawn["end"] == ""
    assert drawn["told"] == "3 writes in 1.50 s"


def test_waiting_for_a_place_is_drawn_and_told(stage, tab):
    """The time in the queue is a lead of its own, and part of the drawing's description."""
    stage.requests = [request(queued_s=0.5, timeline=[[0.9, 2, 10]], ended_s=1.0)]
    drawn = drawing(rows(tab.open()).first)
    assert (drawn["wait"], drawn["track"]) == (50, 100)
    assert drawn["told"] == "waited 0.50 s, then 1 write in 1.00 s"


def test_endings_are_told_apart_by_their_shape(stage, tab):
    """Broken off, left and refused end in marks of different shapes; the others have none."""
    stage.requests = [
        request(f"r{i}", **known) for i, known in enumerate([{}, OPEN, THROTTLED, BROKEN, GONE])
    ]
    opened = tab.open()
    drawn = [drawing(row) for row in rows(opened).all()]
    whole, still_open, *others = (each["end"] for each in drawn)
    assert whole == still_open == ""
    assert len({*others, ""}) == 4
    assert drawn[3]["at"] == 80  # of 500 ms, at 400


# -- while it goes on --------------------------------------------------------------------------------


def test_an_open_request_grows_in_its_row(stage, tab):
    """Numbers, ticks and bar grow in the same row, and it ends there; what has the focus keeps it."""
    stage.requests = [request("b", **OPEN, arrived=NOW - 0.4, timeline=STEADY[:3]), request("a")]
    opened = tab.open()
    row = rows(opened).first
    row.evaluate("row => { row.kept = true; }")
    row.get_by_role("button").focus()
    before = drawing(row)
    assert len(before["ticks"]) == 3
    stage.requests = [request("b", **OPEN, arrived=NOW - 0.48, timeline=STEADY[:9]), request("a")]
    expect(row.locator(".events")).to_have_text("9")
    after = drawing(row)
    assert len(after["ticks"]) == 9
    assert after["track"] > before["track"]
    assert after["scale"] == before["scale"] == "500 ms"
    stage.requests = [request("c", **OPEN), request("b"), request("a")]
    expect(rows(opened)).to_have_count(3)
    same = rows(opened).nth(1)
    expect(same.locator(".word")).to_have_text("answered")
    assert same.evaluate("row => row.kept && row.contains(document.activeElement)")
    assert tab.alarms == []


def test_rows_follow_the_list(stage, paced):
    """Newest first, as the server lists them; what it no longer lists goes."""
    stage.requests = [request(name, model=name) for name in "cba"]
    opened = paced.open()
    models = rows(opened).locator(".model")
    expect(models).to_have_text(["c", "b", "a"])
    stage.requests = [request(name, model=name) for name in "edcb"]
    asks_again(paced)
    expect(models).to_have_text(["e", "d", "c", "b"])
    stage.requests = [request(name, model=name) for name in "bd"]
    asks_again(paced)
    expect(models).to_have_text(["b", "d"])
    stage.requests = []
    asks_again(paced)
    expect(opened.locator("#first")).to_be_visible()
    assert rows(opened).count() == 0


def asks(paced, number: int) -> list[int]:
    """When the page asked, in ms of its own clock after the first time, once it did so ``number`` times."""
    paced.page.wait_for_function(
        "n => asked.length >= n && document.querySelector('#state').textContent === 'live'", arg=number
    )
    first, *others = paced.page.evaluate("asked")
    return [t - first for t in others]


@pytest.mark.parametrize(
    ("known", "pause"), [(OPEN, 500), ({}, 2000), (BROKEN, 2000)], ids=["open", "complete", "broken"]
)
def test_the_page_asks_more_often_while_something_is_open(stage, paced, known, pause):
    """Twice a second while an answer is under way, every two seconds otherwise."""
    stage.requests = [request(**known)]
    paced.open()
    paced.page.clock.run_for(pause - 1)
    assert asks(paced, 1) == []
    paced.page.clock.run_for(10)
    assert asks(paced, 2) == [pause]


def test_a_hidden_page_does_not_ask(stage, paced):
    """Nothing is asked for while the tab is hidden, and at once when it is seen again."""
    stage.requests = [request(**OPEN)]
    paced.open()
    show = "away => { window.away = away; document.dispatchEvent(new Event('visibilitychange')); }"
    paced.page.evaluate(show, True)
    paced.page.clock.run_for(60_000)
    assert asks(paced, 1) == []
    paced.page.evaluate(show, False)
    assert asks(paced, 2) == [60_000]


def test_news_that_are_none_change_nothing(stage, paced):
    """The same status once more touches no node of the page, whatever the number of rows."""
    kinds = [{}, THROTTLED, BROKEN, GONE, OPEN]
    stage.requests = [request(f"r{i}", **kinds[i % 5]) for i in range(200)]
    opened = paced.open()
    expect(opened.locator("#most")).to_be_visible()
    opened.evaluate(
        "() => { window.changes = []; new MutationObserver(seen => window.changes.push(...seen)).observe("
        "document, { subtree: true, childList: true, characterData: true, attributes: true }); }"
    )
    opened.clock.run_for(500)
    asks(paced, 2)
    opened.evaluate("() => new Promise(done => queueMicrotask(done))")
    assert opened.evaluate("changes.length") == 0


def test_the_page_says_when_the_server_has_gone_and_recovers(stage, paced):
    """Its absence is said in words, what was known stays to be read, and a server that is back is shown."""
    stage.requests = [request("a")]
    opened = paced.open()
    stage.stop()
    asks_again(paced)
    try:
        notice = opened.locator("#notice")
        expect(notice).to_contain_text("The server does not answer any more.")
        when = time.strftime("%H:%M:%S", time.localtime(NOW))
        expect(notice).to_contain_text(f"Last heard from at {when}.")
        expect(opened.locator("#state")).to_have_text("no answer")
        assert rows(opened).count() == 1
        stage.requests = [request("b", model="another"), request("a")]
    finally:
        stage.start()
    asks_again(paced)
    expect(rows(opened)).to_have_count(2)
    expect(notice).to_be_hidden()
    expect(opened.locator("#state")).to_have_text("live")
    assert [alarm for alarm in paced.alarms if "ERR_CONNECTION_REFUSED" not in alarm] == []


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"<html>"), (200, b"null"), (500, b"{}")],
    ids=["html", "null", "error"],
)
def test_an_answer_that_is_no_status_is_said(stage, paced, status, body):
    """If something else has the server's port, the page says so, and goes on asking."""
    opened = paced.open()
    stage.instead = web.Response(status=status, body=body)
    asks_again(paced)
    expect(opened.locator("#notice")).to_contain_text("not as this server does")
    stage.instead = None
    asks_again(paced)
    expect(opened.locator("#notice")).to_be_hidden()
    assert [alarm for alarm in paced.alarms if "Failed to load resource" not in alarm] == []


# -- details, by mouse and by keyboard -----------------------------------------------------------------


DETAILED = request("0c8d-1f", **BROKEN, metadata={"student": "Ada", "task": {"n": 1}}, queued_s=0.25)


@pytest.mark.parametrize("how", ["click", "Enter", "Space"])
def test_details_open_and_close(stage, tab, how):
    """A click anywhere on a row, or a key on its button, opens what else is known, and closes it again."""
    stage.requests = [DETAILED, request("other")]
    opened = tab.open()
    row, button = rows(opened).first, rows(opened).first.get_by_role("button").first

    def act() -> None:
        if how == "click":
            row.locator(".model").click()
        else:
            button.press(how)

    details = row.locator("tr.details")
    assert button.get_attribute("aria-expanded") == "false"
    act()
    expect(details).to_be_visible()
    assert button.get_attribute("aria-expanded") == "true"
    assert button.get_attribute("aria-controls") == details.get_attribute("id")
    pairs = details.locator("dl > div")
    known = [pair.locator("bdi").all_text_contents() for pair in pairs.all()]
    assert ["Request id", "0c8d-1f"] in known
    assert ["Fault", "reset(after=5)"] in known
    assert ["Waited for a free place", "0.25 s"] in known
    assert known[-2:] == [["student", "Ada"], ["task", '{"n":1}']]
    assert opened.locator("tr.details:visible").count() == 1
    act()
    expect(details).to_be_hidden()
    assert button.get_attribute("aria-expanded") == "false"
    assert tab.alarms == []


def test_details_stay_open_and_follow(stage, tab):
    """While an answer grows its details do too."""
    stage.requests = [request(**OPEN, timeline=STEADY[:3])]
    opened = tab.open()
    rows(opened).first.locator(".model").click()
    details = rows(opened).first.locator("tr.details")
    expect(details).to_contain_text("Faultnone")
    stage.requests = [request(**BROKEN)]
    expect(details).to_contain_text("Faultreset(after=5)")
    expect(details).to_be_visible()


def test_a_request_id_can_be_copied(context, stage, tab):
    """The id of a request, and nothing else, goes to the clipboard; the details stay open."""
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=stage.url)
    stage.requests = [DETAILED]
    opened = tab.open()
    rows(opened).first.locator(".model").click()
    opened.get_by_role("button", name="Copy the request id").click()
    expect(opened.get_by_role("button", name="Copy the request id")).to_have_text("Copied")
    assert opened.evaluate("navigator.clipboard.readText()") == "0c8d-1f"
    expect(rows(opened).first.locator("tr.details")).to_be_visible()


def test_arrow_keys_move_from_row_to_row(stage, tab):
    """Down and up go to the neighbouring request, and stop at the last one."""
    stage.requests = [request(name) for name in "cba"]
    opened = tab.open()
    buttons = rows(opened).get_by_role("button")
    buttons.nth(0).focus()
    for key, number in [("ArrowDown", 1), ("ArrowDown", 2), ("ArrowDown", 2), ("ArrowUp", 1)]:
        opened.keyboard.press(key)
        expect(buttons.nth(number)).to_be_focused()


@pytest.mark.parametrize("width", [400, 1280])
def test_the_list_is_a_table_to_those_who_do_not_see_it(stage, tab, width):
    """Also where rows are shown as cards, a screen reader finds a table of rows and cells with headers."""
    stage.requests = [request("b", **THROTTLED), request("a")]
    tab.page.set_viewport_size({"width": width, "height": 900})
    opened = tab.open()
    table = opened.get_by_role("table", name="Requests, newest first")
    assert table.get_by_role("columnheader").count() == 9
    assert table.get_by_role("row").count() == 3
    assert table.get_by_role("cell").count() == 18
    assert table.get_by_role("img", name="41 writes in 1.10 s").count() == 1


# -- hostile -------------------------------------------------------------------------------------------


def visible(payload: str) -> str:
    """A text as the page shows it: characters without a face by their number."""
    faceless = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return "".join(f"\\u{{{ord(c):x}}}" if unicodedata.category(c) in faceless else c for c in payload)


def test_hostile_text_is_shown_and_does_nothing(stage, tab):
    """Markup and scripts in any text are shown letter by letter: nothing runs, nothing loads."""
    payloads = [payload for _, payload in CASES][:200]
    stage.requests = [
        request(f"{i} {payload}", model=payload, operation=payload, code=payload, fault=payload,
                metadata={payload: payload, "list": [payload]})
        for i, payload in enumerate(payloads)
    ]  # fmt: skip
    stage.server |= dict.fromkeys(("version", "responder", "latency", "faults"), payloads[0])
    elements = "() => ['script', 'style', 'link', 'meta', 'base', 'img', 'iframe', 'object', 'embed', 'form',"
    elements += " 'input', 'a', 'video', 'audio', 'math', '[style]', '[src]', '[href]']"
    elements += ".map(name => document.querySelectorAll(name).length)"
    opened = tab.page
    opened.goto(stage.url)
    opened.wait_for_function(
        "n => document.querySelectorAll('#requests > tbody').length === n", arg=len(payloads)
    )
    own = opened.evaluate(elements)
    assert own == [2, 0, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2]
    opened.evaluate("() => document.querySelectorAll('td.when button').forEach(button => button.click())")
    shown = opened.evaluate(
        "() => [...document.querySelectorAll('#requests > tbody')].map(row => ["
        " row.querySelector('.model').textContent, row.querySelector('.operation').textContent,"
        " row.querySelector('.metadata dt').textContent, row.querySelector('.metadata dd').textContent])"
    )
    assert shown == [[visible(payload)] * 4 for payload in payloads]
    expect(opened.locator("#responder")).to_have_text(payloads[0])
    for target in opened.locator("tr.details:visible dd").all()[::40]:
        target.hover()
        target.click()
    assert opened.evaluate(elements) == own
    assert tab.alarms == []


def test_no_request_of_the_page_names_an_origin(stage, tab):
    """The server refuses whatever carries an Origin header; nothing that the page asks for does."""
    tab.open()
    assert len(stage.origins) >= 4
    assert set(stage.origins) == {None}


# -- looks ---------------------------------------------------------------------------------------------


CONTRAST = """() => {
  const channels = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = colour => {
    const [r, g, b] = channels(colour);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = node => { for (let at = node; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (colour !== "rgba(0, 0, 0, 0)") return light(colour); } return 1; };
  const told = {};
  const names = "h1, h2, p, dt, dd, pre, button, th, td, .word, .status, .scale, b";
  for (const node of document.querySelectorAll(names)) {
    if (!node.offsetParent) continue;
    const [low, high] = [light(getComputedStyle(node).color), ground(node)].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    const name = `${node.tagName}.${node.className} ${node.textContent.slice(0, 20)}`;
    told[name] = ratio;
  }
  return [light(getComputedStyle(document.documentElement).backgroundColor), told];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(stage, tab, scheme):
    """The page follows the system's scheme; every text has a contrast of 4.5 to its ground (WCAG 2, AA)."""
    stage.requests = [
        request(f"r{i}", **known) for i, known in enumerate([{}, OPEN, THROTTLED, BROKEN, GONE])
    ]
    tab.page.emulate_media(color_scheme=scheme)
    ground, told = tab.open().evaluate(CONTRAST)
    assert (ground < 0.05) if scheme == "dark" else (ground > 0.8)
    assert len(told) > 50
    assert {name: ratio for name, ratio in told.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("width", [320, 400, 800, 1000, 1280, 1920])
def test_nothing_sticks_out(stage, tab, width):
    """At any width, with long names and open details, the page needs no scrolling to the side."""
    long = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/" + "a1b2c3d4" * 8
    stage.requests = [request(f"{i}" * 36, **known, model=long) for i, known in enumerate([OPEN, {}, BROKEN])]
    stage.server["responder"] = "x" * 200
    tab.page.set_viewport_size({"width": width, "height": 900})
    opened = tab.open()
    rows(opened).first.locator(".model").click()
    expect(rows(opened).first.locator("tr.details")).to_be_visible()
    assert opened.evaluate("document.documentElement.scrollWidth") <= width


# -- a classroom ---------------------------------------------------------------------------------------


def student(name: str, **known: Any) -> dict[str, Any]:
    """A student as the server tells of one: idle, or what is given."""
    return {
        "name": name,
        "paused": False,
        "teacher": name == "teacher",
        "requests": 0,
        "running": 0,
        "waiting": 0,
        "throttled": 0,
        "errors": 0,
        "tokens": 0,
        "last_seen": None,
        "late_p99_ms": None,
        "activity": [0] * 20,
        **known,
    }


LIMITS = {"requests_per_minute": 120, "tokens_per_minute": 100_000, "slots": 8, "queue": None}
BUSY = {"requests": 12, "running": 2, "tokens": 1234, "last_seen": NOW - 2, "late_p99_ms": 0.42}
THROTTLED_OFTEN = {"requests": 40, "waiting": 3, "throttled": 9, "last_seen": NOW - 200, "late_p99_ms": 12.3}


@pytest.fixture
def lesson(stage):
    """A stage with a teacher who has not asked, and three students."""
    stage.classroom = {
        "limits": LIMITS,
        "students": [
            student("teacher"),
            student("Ada", **BUSY, activity=[0] * 18 + [4, 8]),
            student("Bob"),
            student("Cy", **THROTTLED_OFTEN, errors=1),
        ],
    }
    return stage


def names(page) -> list[str]:
    return page.locator("#student-rows .only").all_inner_texts()


def test_a_classroom_has_a_row_for_each_student(lesson, tab):
    """Names, counters, times and a drawing; sums on top; no made-up keys, which do not work here."""
    opened = tab.open("/?key=k")
    expect(opened.locator("#room-limits")).to_have_text(
        "3 seats, each with 120 requests a minute, 100,000 tokens a minute, 8 answers at once"
    )
    told = [" ".join(text.split()) for text in opened.locator("#students tr").all_inner_texts()[1:]]
    assert told == [
        "All 52 2 3 9 1 1,234 12 ms now",
        "Ada 12 2 0 0 0 1,234 0.4 ms now Pause",
        "Bob 0 0 0 0 0 0 – – Pause",
        "Cy 40 0 3 9 1 0 12 ms 3 min ago Pause",
    ]
    assert opened.get_by_role("img", name="12 requests in the last 5 minutes").count() == 1
    assert opened.locator("#connect, #empty").filter(visible=True).count() == 0
    assert tab.alarms == []


def test_without_a_classroom_there_is_no_table_of_students(stage, tab):
    """The page of a server of one's own is what it was."""
    opened = tab.open()
    assert opened.locator("#room").is_hidden()
    assert opened.locator("#connect").is_visible()


def test_students_can_be_sorted(lesson, tab):
    """A heading sorts by its column, numbers from the largest; once more turns it round."""
    opened = tab.open("/?key=k")
    assert names(opened) == ["Ada", "Bob", "Cy"]
    opened.get_by_role("button", name="Throttled").click()
    assert names(opened) == ["Cy", "Ada", "Bob"]
    assert opened.locator("[aria-sort=descending]").inner_text().startswith("Throttled")
    opened.get_by_role("button", name="Requests", exact=True).click()
    opened.get_by_role("button", name="Requests", exact=True).press("Enter")
    assert names(opened) == ["Bob", "Ada", "Cy"]
    assert opened.locator("[aria-sort=ascending]").count() == 1
    opened.get_by_role("button", name="Student", exact=True).click()
    assert names(opened) == ["Ada", "Bob", "Cy"]


def test_the_list_can_be_of_one_student(lesson, tab):
    """A name asks the server for that student's requests; the address keeps it; a button takes it back."""
    lesson.requests = [request("b", student="Cy"), request("a", student="Ada")]
    opened = tab.open("/?key=k")
    expect(opened.locator(".who")).to_have_text(["Cy", "Ada"])
    lesson.requests = [request("b", student="Cy")]
    opened.get_by_role("button", name="Cy", exact=True).click()
    expect(opened.locator("#filter")).to_be_visible()
    expect(rows(opened)).to_have_count(1)
    assert lesson.asked[-1] == "key=k&student=Cy"
    assert opened.url.endswith("/?key=k&student=Cy")
    opened.reload()
    expect(opened.get_by_role("button", name="Cy", exact=True)).to_have_attribute("aria-pressed", "true")
    opened.get_by_role("button", name="Show everybody").click()
    expect(opened.locator("#filter")).to_be_hidden()
    assert opened.url.endswith("/?key=k")
    assert tab.alarms == []


def test_the_teacher_pauses_with_the_key(lesson, tab):
    """A student or everybody, and back; each is asked of the server under the page's key."""
    opened = tab.open("/?key=k")
    opened.get_by_role("button", name="Pause Ada").click()
    expect(opened.get_by_role("button", name="Let Ada go on")).to_be_visible()
    opened.get_by_role("button", name="Eyes up").click()
    expect(opened.get_by_role("button", name="Let Bob go on")).to_be_visible()
    opened.get_by_role("button", name="Let everybody go on").click()
    expect(opened.get_by_role("button", name="Eyes up")).to_be_visible()
    assert lesson.paused == [
        ("k", {"student": "Ada", "paused": True}),
        ("k", {"student": None, "paused": True}),
        ("k", {"student": None, "paused": False}),
    ]
    assert tab.alarms == []


def test_a_pause_that_no_server_hears_is_said(lesson, paced):
    """The page says that the server is gone; there is no other error."""
    opened = paced.open("/?key=k")
    lesson.stop()
    try:
        opened.get_by_role("button", name="Pause Ada").click()
        expect(opened.locator("#notice")).to_contain_text("The server does not answer any more.")
        expect(opened.get_by_role("button", name="Pause Ada")).to_be_visible()
    finally:
        lesson.start()
    assert [alarm for alarm in paced.alarms if "ERR_CONNECTION_REFUSED" not in alarm] == []


def test_hostile_names_are_shown_and_do_nothing(lesson, tab):
    """A name is text wherever it stands: in the table, in titles, in the list of requests."""
    payloads = [payload for _, payload in CASES][:60]
    assert lesson.classroom is not None
    lesson.classroom["students"] = [
        student(f"{i} {payload}", requests=1) for i, payload in enumerate(payloads)
    ]
    lesson.requests = [request(f"r{i}", student=payload) for i, payload in enumerate(payloads)]
    opened = tab.open("/?key=k")
    shown = opened.locator("#student-rows .only bdi").all_text_contents()
    assert shown == [f"{i} {visible(payload)}" for i, payload in enumerate(payloads)]
    assert opened.locator(".who").all_text_contents() == [visible(payload) for payload in payloads]
    opened.locator("#student-rows .only").nth(7).click()
    expect(opened.locator("#filter-name")).to_have_text(shown[7])
    assert opened.locator("#room :is(script, img, iframe, a, style)").count() == 0
    assert tab.alarms == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_classroom_is_accessible(lesson, tab, scheme):
    """axe-core finds nothing, with somebody paused, somebody picked and something of every colour."""
    assert lesson.classroom is not None
    lesson.classroom["students"][2]["paused"] = True
    lesson.requests = [request("a", student="Ada"), request("b", student="Cy", **THROTTLED)]
    tab.page.emulate_media(color_scheme=scheme)
    opened = tab.open("/?key=k&student=Cy")
    found = Axe().run(opened, context="main").response["violations"]
    assert {each["id"]: [node["html"][:120] for node in each["nodes"]] for each in found} == {}
    _, told = opened.evaluate(CONTRAST)
    assert {name: ratio for name, ratio in told.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("width", [320, 800, 1280, 1920])
def test_a_classroom_fits(lesson, tab, width):
    """At any width the table of students scrolls by itself, and the page does not."""
    assert lesson.classroom is not None
    lesson.classroom["students"].append(student("Maximiliana Wolfeschlegelsteinhausen " * 3, **BUSY))
    lesson.requests = [request("a", student="Maximiliana Wolfeschlegelsteinhausen " * 3)]
    tab.page.set_viewport_size({"width": width, "height": 900})
    opened = tab.open("/?key=k")
    assert opened.evaluate("document.documentElement.scrollWidth") <= width


def test_the_page_of_a_real_classroom(tab):
    """With the key it is live, shows who asked, and its pause reaches the students; without, one sentence."""
    room = Classroom(["Ada", "Bob"])
    with BedrockServer(latency=Latency.none(), classroom=room) as server:
        ada = room.seats["Ada"].keys
        client = server.client(aws_access_key_id=ada.access_key, aws_secret_access_key=ada.secret_key)
        client.converse(modelId=MODEL, messages=[{"role": "user", "content": [{"text": "Hello"}]}])
        client.close()
        opened = tab.page
        opened.goto(room.dashboard(server.endpoint_url))
        expect(opened.locator("#state")).to_have_text("live")
        expect(opened.locator(".who")).to_have_text(["Ada"])
        opened.get_by_role("button", name="Pause Ada").click()
        expect(opened.get_by_role("button", name="Let Ada go on")).to_be_visible()
        assert room.is_paused("Ada")
        assert not room.is_paused("Bob")
        assert [alarm for alarm in tab.alarms if not alarm.startswith(server.endpoint_url)] == []
        opened.goto(server.endpoint_url)
        expect(opened.locator("body")).to_contain_text("This is the teacher's page")
