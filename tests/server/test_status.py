"""The files of the status page: which there are, and that nothing in them could reach out or be run from."""

from __future__ import annotations

import ast
import html
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_nb.server.loopback import ACCESS_KEY, REGION, SECRET_KEY
from bedrock_nb.server.status import HEADERS, page

NAMES = {
    "": "text/html; charset=utf-8",
    "status.js": "text/javascript; charset=utf-8",
    "classroom.js": "text/javascript; charset=utf-8",
    "status.css": "text/css; charset=utf-8",
}


def file(name: str) -> tuple[bytes, str]:
    """A file of the page that must be there."""
    found = page(name)
    assert found is not None
    return found


MARKUP, SCRIPT, CLASSROOM, LOOKS = (file(name)[0].decode() for name in NAMES)


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the text in those that run it."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[str] = []
        self._in = ""
        self.feed(markup)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._in = tag

    def handle_endtag(self, tag):
        self._in = ""

    def handle_data(self, data):
        if self._in in ("script", "style") and data.strip():
            self.inline.append(data)


FOUND = Elements(MARKUP)


def lines_of(name: str, url: str) -> str:
    """What the page shows in a ``pre``, with the address that a browser would put in."""
    inner = re.search(rf'<pre id="{name}"[^>]*>(.*?)</pre>', MARKUP, re.S)
    assert inner
    return html.unescape(inner[1].replace('<span class="origin"></span>', url))


# -- names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_each_file_has_its_type(name):
    """The page, its script and its style sheet are there, as UTF-8, with the types that nosniff demands."""
    content, content_type = file(name)
    assert content_type == NAMES[name]
    assert len(content.decode("utf-8")) > 1000


@pytest.mark.parametrize(
    "name",
    [
        "index.html",
        "/",
        "status.json",
        "status.py",
        "STATUS.JS",
        "status.js/",
        "status.js\0",
        "./status.js",
        "page/status.js",
        "..",
        "../status.py",
        "../../errors.py",
        "..%2fstatus.py",
        "..\\status.py",
        "/etc/passwd",
        "file:///etc/passwd",
    ],
)
def test_there_is_no_other_name(name):
    """A path, a way upwards and a name in another spelling are no names."""
    assert page(name) is None


@given(st.text())
def test_no_text_reaches_another_file(name):
    """Whatever is asked for, it is one of the four files or nothing."""
    assert (page(name) is None) == (name not in NAMES)


# -- what the browser is told --------------------------------------------------------------------------


def test_the_policy_allows_nothing_from_elsewhere():
    """The page's own script, style and questions, and its icon; no frame, base or form, nothing inline."""
    policy = dict(part.strip().split(" ", 1) for part in HEADERS["Content-Security-Policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "data:",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_nobody_else_may_read_or_keep_the_page():
    """No sniffing of types, no referrer, no cache, no reading by other origins."""
    assert {name: value for name, value in HEADERS.items() if name != "Content-Security-Policy"} == {
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


# -- what is in the files ------------------------------------------------------------------------------


def test_nothing_is_inline():
    """No script, style or handler stands in the markup, where the policy would have to allow it."""
    assert FOUND.inline == []
    attributes = {name for _, attrs in FOUND.elements for name in attrs}
    assert {name for name in attributes if name.startswith("on") or name in ("style", "srcdoc")} == set()
    assert "style" not in {tag for tag, _ in FOUND.elements}
    assert [attrs for tag, attrs in FOUND.elements if tag == "script"] == [
        {"src": "status.js", "defer": None},
        {"src": "classroom.js", "defer": None},
    ]


def test_everything_is_loaded_from_the_server_itself():
    """The only addresses in the markup are the page's own files and the icon, which it holds itself."""
    loading = ("src", "href", "srcset", "data", "poster", "action", "formaction", "background", "ping")
    loaded = {attrs[name] for _, attrs in FOUND.elements for name in loading if name in attrs}
    assert {address for address in loaded if not str(address).startswith("data:image/png;base64,")} == {
        "status.js",
        "classroom.js",
        "status.css",
    }
    assert {attrs["fill"] for _, attrs in FOUND.elements if "fill" in attrs} == {"url(#hatch)"}


@pytest.mark.parametrize("text", [MARKUP, SCRIPT, CLASSROOM, LOOKS], ids=["html", "js", "classroom", "css"])
def test_no_file_names_another_place(text):
    """No URL with a host, no import and no font is in any file."""
    assert (
        re.findall(r"(?i)\b(?:https?|wss?|ftp|file):|[\"'(]\s*//|@import|@font-face|\bimport\b\(", text) == []
    )
    assert set(re.findall(r"url\([^)]*\)", text)) <= {"url(#hatch)"}


@pytest.mark.parametrize(
    ("script", "asks"),
    [(SCRIPT, '"status.json" + location.search'), (CLASSROOM, '"pause"')],
    ids=["status", "classroom"],
)
def test_a_script_makes_no_markup_from_text(script, asks):
    """Nothing that parses a string as markup or code is in a script, and it asks for one thing."""
    makers = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment"
    runners = r"\beval\b|new Function|\.setHTML|srcdoc|javascript:|set(?:Timeout|Interval)\(\s*[\"'`]"
    assert re.findall(f"{makers}|{runners}", script) == []
    assert re.findall(r"fetch\(([^,)]*)", script) == [asks]


def test_every_part_that_the_script_looks_for_is_there():
    """The ids and classes that the script names are in the markup."""
    ids = {attrs["id"] for _, attrs in FOUND.elements if "id" in attrs}
    named = set(re.findall(r"(?:\$|make)\(\"([\w-]+)\"\)", SCRIPT + CLASSROOM))
    assert len(named) > 10
    assert ids >= named
    classes = {name for _, attrs in FOUND.elements for name in (attrs.get("class") or "").split()}
    parts = re.search(r"const PARTS = \[(.*?)\];", SCRIPT, re.S)
    assert parts
    assert classes >= set(re.findall(r"\"\.([\w-]+)", parts[1]))


def test_ids_are_unique():
    """No two elements share an id."""
    ids = [attrs["id"] for _, attrs in FOUND.elements if "id" in attrs]
    assert len(ids) == len(set(ids)) > 10


# -- what readers copy -----------------------------------------------------------------------------------


def test_the_environment_is_that_of_the_server():
    """The lines to copy set the address, the made-up credentials and the region, by all names of it."""
    address, others = lines_of("environment", "http://127.0.0.1:8080").splitlines()
    assert address == "export AWS_ENDPOINT_URL_BEDROCK_RUNTIME=http://127.0.0.1:8080"
    assert dict(pair.split("=") for pair in others.removeprefix("export ").split()) == {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
    }


def test_the_first_request_works_as_it_stands(server):
    """The three lines of Python, copied into a fresh interpreter, print a whole answer of the real server."""
    code = lines_of("first", server.endpoint_url)
    assert len(ast.parse(code).body) == 3
    ours = ("AWS_", "HTTP_PROXY", "http_proxy")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "messageStop" in done.stdout
