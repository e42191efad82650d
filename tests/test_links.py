"""Links lead somewhere: those to files and headings are followed, those to the web are looked at, without
a network.

A page is any Markdown of the repository that readers see: on a code host, in JupyterLab, in the site. Code
in it is no link. Each place has its own way to make an anchor of a heading.
"""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parent.parent
GENERATED = {"lessons", "project", "_build"}  # folders of docs/
PAGES = [
    path
    for pattern in ("*.md", "docs/**/*.md", "tests/**/*.md", "benchmarks/*.md", "notebooks/*.ipynb")
    for path in sorted(ROOT.glob(pattern))
    if path.relative_to(ROOT).parts[:1] != ("docs",) or path.relative_to(ROOT).parts[1] not in GENERATED
]
MODULES = [
    path for path in sorted(ROOT.glob("bedrock_nb/**/*.py")) if "http" in path.read_text(encoding="utf-8")
]

#: Hosts that are linked, and below which all may be: who publishes what we build on, and who is cited.
HOSTS = [
    "amazon.com",
    "amazonaws.com",
    "anthropic.com",
    "apache.org",
    "arxiv.org",
    "claude.com",
    "colab.research.google.com",
    "conda-forge.org",
    "docker.com",
    "docs.google.com",
    "docs.rs",
    "duckdb.org",
    "genai.owasp.org",
    "github.com",
    "ietf.org",
    "itl.nist.gov",
    "jupyter.org",
    "keepachangelog.com",
    "langchain.com",
    "matplotlib.org",
    "modelcontextprotocol.io",
    "mybinder.org",
    "numpy.org",
    "ollama.com",
    "openai.com",
    "opentelemetry.io",
    "perfetto.dev",
    "pydata.org",
    "pypi.org",
    "python.org",
    "quay.io",
    "r-project.org",
    "readthedocs.io",
    "rfc-editor.org",
    "rust-lang.org",
    "scipy.org",
    "semver.org",
    "smithy.io",
    "swift.org",
    "usenix.org",
    "vllm.ai",
    "w3.org",
    "whatwg.org",
]
#: What a lesson or a test shows as an attack, and addresses of this machine.
SHOWN = ("attacker.example", "127.0.0.1", "localhost")

_CODE = re.compile(r"^(```|~~~|:::).*?^\1[ \t]*$|``.+?``|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
_URL = re.compile(r"https?://[^\s)<>\"'`\]}\\]+")

of_pages = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


@cache
def prose(page: Path) -> str:
    """The Markdown of a page; of a notebook, its text cells."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return text


@cache
def anchors(page: Path) -> set[str]:
    """What may stand behind ``#``: as JupyterLab makes it of a heading, or as a code host does."""
    text = re.sub(r"^```.*?^```", "", prose(page), flags=re.MULTILINE | re.DOTALL)
    titles = [re.sub(r"[`*]", "", title).strip() for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]
    if page.suffix == ".ipynb":
        return {title.replace(" ", "-") for title in titles}
    if "{error-cards}" in prose(page):  # the site makes these headings
        from bedrock_nb import errors

        titles += errors.__all__
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def docstrings(module: Path) -> str:
    """What a module says in the reference."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = ast.walk(ast.parse(module.read_text(encoding="utf-8")))
    return "\n".join(ast.get_docstring(node) or "" for node in nodes if isinstance(node, kinds))


def links(page: Path) -> list[tuple[str, str, str]]:
    """Every link of a page: ``!`` of a picture, its text, its target."""
    return _LINK.findall(_CODE.sub("", prose(page)))


@of_pages
def test_links_to_files_lead_somewhere(page):
    """The file or folder is there, and inside of the repository; so is the heading."""
    for _, text, target in links(page):
        if urlsplit(target).scheme:
            continue
        path, _, anchor = unquote(target).partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"[{text}]({target})"
        assert there.is_relative_to(ROOT), f"[{text}]({target})"
        if anchor and there.suffix in (".md", ".ipynb"):
            assert anchor in anchors(there), f"[{text}]({target})"


@of_pages
def test_pictures_say_what_they_show(page):
    """Who cannot see a picture has more than a word about it."""
    for mark, text, target in links(page):
        if mark:
            assert len(text.split()) >= 2 or "badge" in target, target


@pytest.mark.parametrize("page", [*PAGES, *MODULES], ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_the_web_are_https_and_to_known_hosts(page):
    """Nobody is sent anywhere unencrypted, or to a host that only some can reach."""
    text = prose(page) if page in PAGES else docstrings(page)
    for url in _URL.findall(text):
        host = urlsplit(url.rstrip(".,;:…")).hostname or ""
        if (
            host in SHOWN
            or host.endswith((".example", ".invalid"))
            or not re.fullmatch(r"[a-z0-9.-]+\.[a-z]+", host)
        ):
            continue  # shown, not linked; or a pattern with a placeholder in it
        assert url.startswith("https:"), url
        assert any(host == known or host.endswith(f".{known}") for known in HOSTS), url
