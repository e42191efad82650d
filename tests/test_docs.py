"""The documentation agrees with the code: names, arguments, commands, errors, pictures, links of its site.

That the site builds without a warning is shown by ``make docs``; here is what can be shown without building
it.
"""

from __future__ import annotations

import ast
import doctest
import inspect
import logging
import re
import tomllib
from collections import Counter
from pathlib import Path
from types import ModuleType

import boto3
import pytest

import bedrock_nb as nb
from _ext import cards, commands, generated, layers, public, relink, tables, tabs, way
from bedrock_nb import errors
from bedrock_nb.metrics import METRICS
from bedrock_nb.server.faults import FAULTS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("api/*.md")), *sorted(ROOT.glob("*.md"))]
FENCE = re.compile(r"^```(\{?[\w-]*\}?)[^\n]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)


def fences(page: Path, kind: str) -> list[str]:
    """What stands in the fences of a kind."""
    return [text for found, text in FENCE.findall(page.read_text(encoding="utf-8")) if found == kind]


CODE = [(page, text) for page in PAGES for text in fences(page, "python")]
of_code = pytest.mark.parametrize(
    ("page", "text"), CODE, ids=[f"{page.name}-{number}" for number, (page, _) in enumerate(CODE)]
)


def parsed(text: str) -> ast.Module:
    """Code of a page as Python; magics of IPython and prompts of ``>>>`` are none."""
    if ">>> " in text:
        text = "".join(example.source for example in doctest.DocTestParser().get_examples(text))
    lines = ["pass" if re.match(r"\s*[%!]", line) else line for line in text.splitlines()]
    return ast.parse("\n".join(lines), feature_version=(3, 11)) if lines else ast.parse("")


def chain(node: ast.expr) -> list[str]:
    """``nb.plot.ecdf`` as three names; empty if it is not names joined by dots."""
    if isinstance(node, ast.Name):
        return [node.id]
    before = chain(node.value) if isinstance(node, ast.Attribute) else []
    return [*before, node.attr] if before and isinstance(node, ast.Attribute) else []


def meant(names: list[str]) -> object:
    """What such names stand for, as far as modules and classes go; None where that ends."""
    thing: object = nb
    for name in names[1:]:
        assert hasattr(thing, name), f"{'.'.join(names)}: there is no {name}"
        thing = getattr(thing, name)
    return thing


# -- code in pages ---------------------------------------------------------------------------------


@of_code
def test_code_in_pages_is_python(page, text):
    """It compiles, as the oldest Python that we take."""
    parsed(text)


@of_code
def test_code_in_pages_names_what_there_is(page, text):
    """Every ``nb.name``, every import from the package and every argument given by name is there."""
    tree = parsed(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bedrock_nb"):
            exec(compile(ast.Module([node], []), page.name, "exec"), {})
        if isinstance(node, ast.Attribute) and chain(node)[:1] == ["nb"] and len(chain(node)) > 1:
            first = getattr(nb, chain(node)[1], None)
            meant(chain(node) if isinstance(first, ModuleType) else chain(node)[:2])
        if isinstance(node, ast.Call) and chain(node.func)[:1] == ["nb"]:
            called = meant(chain(node.func))
            taken = inspect.signature(called).parameters.values()
            if not any(one.kind is one.VAR_KEYWORD for one in taken):
                given = {keyword.arg for keyword in node.keywords if keyword.arg}
                assert given <= {one.name for one in taken}, f"{'.'.join(chain(node.func))} in {page.name}"


@pytest.mark.parametrize("page", [page for page in PAGES if ">>> " in page.read_text("utf-8")] or [None])
def test_examples_in_pages_give_what_they_say(page, tmp_path, monkeypatch):
    """Pages with prompts of Python in them show what Python prints."""
    monkeypatch.chdir(tmp_path)
    if page is not None:
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        assert (
            doctest.testfile(str(page), module_relative=False, globs={"nb": nb}, optionflags=flags).failed
            == 0
        )


RECIPES = re.findall(
    r"^### ([^\n]+)\n(?:(?!^##).)*?^```python\n(.*?)^```",
    (DOCS / "patterns.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)


@pytest.fixture(scope="module")
def client():
    """Of a server that answers at once."""
    with nb.server.BedrockServer(latency=nb.server.Latency.none()) as server:
        yield server.client()


@pytest.mark.parametrize("code", [code for _, code in RECIPES], ids=[title for title, _ in RECIPES])
def test_every_recipe_runs(code, client, tmp_path, monkeypatch):
    """What the page of patterns shows can be copied and works, and is no longer than fifteen lines."""
    monkeypatch.chdir(tmp_path)
    audit = logging.getLogger("bedrock_nb.audit")
    handlers, level = list(audit.handlers), audit.level
    names = {"nb": nb, "client": client, "__name__": "recipe"}
    try:
        exec(compile(code, "<recipe>", "exec"), names)
    finally:
        for handler in set(audit.handlers) - set(handlers):
            audit.removeHandler(handler)
            handler.close()
        audit.setLevel(level)
        if "server_close" in dir(names.get("server")):
            names["server"].server_close()
    assert len(code.splitlines()) <= 15


@pytest.mark.parametrize("library", ["Here", "boto3"])
def test_the_same_lines_print_the_same(library, monkeypatch, capsys):
    """Ours and boto3's, side by side in the documentation, print one answer."""
    page = (DOCS / "coming-from.md").read_text(encoding="utf-8")
    code = FENCE.search(page, page.index(f"\n### {library}\n"))[2]
    with nb.server.BedrockServer(latency=nb.server.Latency.none()) as server:
        for name in ("BEDROCK_NB_TARGET", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"):
            monkeypatch.setenv(name, server.endpoint_url)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "made-up")
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it would keep these keys
        exec(compile(code, library, "exec"), {})
    answer = nb.server.canned(nb.Request("any", "Tell me about rainbows"))
    printed = capsys.readouterr().out
    assert f"{answer.text}\nend_turn\n{answer.usage['outputTokens']} tokens\n" in printed


def test_what_shows_a_defence_is_a_test_of_ours():
    """Every file that the page about security names as a proof is there."""
    named = re.findall(r"`([\w/]+\.py)`", (DOCS / "security.md").read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / "tests" / name).is_file()] == []
    assert len(named) > 20


# -- what the site is made of ----------------------------------------------------------------------


def test_the_reference_has_every_public_name_once():
    """No public name is missing in the API pages, none is there twice, and none that is not public."""
    listed = [
        name for page in DOCS.glob("api/*.md") for text in fences(page, "{public}") for name in text.split()
    ]
    assert [name for name, times in Counter(listed).items() if times > 1] == []
    assert set(listed) == set(public.names())


@pytest.mark.parametrize("name", public.names())
def test_every_name_of_the_reference_says_what_it_is(name):
    """Its docstring, or the comment of a value, is what the reference shows."""
    thing = public.value(name)
    told = (
        inspect.getdoc(thing) if inspect.isclass(thing) or inspect.isroutine(thing) else public.comment(name)
    )
    assert told


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_fences_of_pages_are_known(page):
    """A fence in braces is one that the code fills, or one of the site's own."""
    kinds = {kind for kind, _ in FENCE.findall(page.read_text(encoding="utf-8")) if kind.startswith("{")}
    assert kinds <= {f"{{{name}}}" for name in (*generated.FENCES, "toctree", "eval-rst")}


def test_the_picture_of_the_layers_is_that_of_the_code():
    """In letters, for code hosts, the page has what the drawing of the site is made from."""
    assert fences(DOCS / "architecture.md", "{layers}") == [f"{layers.letters()}\n"]


def test_the_layers_inside_the_server_are_those_of_the_code():
    """So is the picture of the server's own layers; what stands behind a line is a remark."""
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    drawn = FENCE.search(page, page.index("\n## Inside the server\n"))[2]
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    contracts = tools["importlinter"]["contracts"]
    server = next(one for one in contracts if one["containers"] == ["bedrock_nb.server"])
    rows = [re.findall(r"\w+", line.partition("   ")[0]) for line in drawn.splitlines()]
    assert rows == [re.findall(r"\w+", layer) for layer in server["layers"]]


def test_the_drawing_of_the_layers_has_every_part():
    """Each part is a box, and what it imports lies below it."""
    drawn = layers.picture()
    parts = [part for row in layers.rows() for part in row if part in layers.sizes()]
    level = {part: number for number, row in enumerate(layers.rows()) for part in row}
    for part in set(parts) - {"__main__"}:
        assert f"p-{part}" in drawn
        assert all(level[other] > level[part] for other in layers.imports().get(part, ()))
    assert set(layers.sizes()) - {""} == set(parts)


@pytest.mark.parametrize(
    "name", [step.name for _, *both in way.ROWS for step in both] + [step.name for step in way.BESIDES]
)
def test_every_step_of_the_way_of_a_byte_is_in_the_code(name):
    """The drawing names what there is."""
    assert way.found(name)


def test_drawings_take_their_colours_from_the_page():
    """Every colour of a drawing is a variable of the theme, with one for pages that have none."""
    for drawn in (layers.picture(), way.picture()):
        assert "\n\n" not in drawn.strip().partition("</figure>")[0]
        colours = re.findall(r"(?:fill|stroke):([^;}\"]+)", drawn)
        assert [one for one in colours if not one.startswith(("var(", "none"))] == []


def test_every_exception_has_a_card_or_a_reason():
    """One that is new needs an example in the troubleshooting, or a line that says why it has none."""
    known = [kind.__name__ for kind in cards.kinds()]
    assert sorted([*cards.FAULTY, *cards.OTHERS, *cards.UNSHOWN]) == sorted(known)
    exceptions = {name for name in errors.__all__ if inspect.isclass(getattr(errors, name))}
    assert set(known) == exceptions


@pytest.mark.parametrize("name", [*cards.FAULTY, *cards.OTHERS])
def test_the_code_of_a_card_raises_its_exception(name):
    """What the troubleshooting shows is what happens."""
    error = cards.happened(name)
    assert error.what
    assert error.what in cards.every() or name in cards.UNSHOWN


def test_tables_have_a_row_for_everything():
    """Metrics, faults, numbers of the latency law, commands: each is in its table."""
    assert tables.metrics().count("\n") == len(METRICS) + 1
    assert all(f"faults.{name}(" in tables.faults() for name in FAULTS)
    assert all(f"| `{name}` |" in tables.latency() for name in nb.server.Latency.__dataclass_fields__)
    assert "|  |" not in tables.latency()
    told = commands.reference()
    assert all(f"## bedrock-nb {name}\n" in told for name in commands.commands(commands.parser()))


@pytest.mark.parametrize(
    ("link", "came_from", "stands_in", "becomes"),
    [
        ("../notebooks/05-conversation.ipynb", "docs", "docs", "lessons/05-conversation.ipynb"),
        (
            "../../notebooks/gallery.ipynb#Which-plot?",
            "docs/api",
            "docs/api",
            "../lessons/gallery.ipynb#which-plot",
        ),
        ("../README.md#figures", "docs", "docs", "performance.md"),
        ("../README.md", "docs", "docs", "index.md"),
        ("../benchmarks/", "docs", "docs", "performance.md"),
        ("01-events.ipynb", "notebooks", "docs/lessons", "01-events.ipynb"),
        ("../docs/panel.md", "notebooks", "docs/lessons", "../panel.md"),
        ("recordings/make.py", "notebooks", "docs/lessons", "../../notebooks/recordings/make.py"),
        ("../tests/vectors/README.md", "docs", "docs", "path:../tests/vectors/README.md"),
        ("docs/measuring.md#files", ".", "docs/project", "../measuring.md#files"),
        ("#A-heading?", "notebooks", "docs/lessons", "#a-heading"),
        ("https://docs.aws.amazon.com/bedrock/", "docs", "docs", "https://docs.aws.amazon.com/bedrock/"),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(link, came_from, stands_in, becomes):
    """A lesson is a page there, the readme the first one; a file stays a file, to be downloaded."""
    assert relink.relink(f"see [it]({link}).", came_from, stands_in) == f"see [it]({becomes})."


def test_code_is_not_relinked():
    """What looks like a link in code is code."""
    text = "```python\nx = [a](b)\n```\n"
    assert relink.relink(text, "docs", "docs") == text


def test_headings_become_tabs():
    """Between the two comments each heading is a tab; comments in code and headings elsewhere are not."""
    text = "### A\n\n<!-- tabs -->\n### B\n```r\n# b\n```\n\n### C++\n\nc\n\n<!-- end of tabs -->\n\n### D\n"
    tab = ":::{tab-item} "
    made = f"::::{{tab-set}}\n\n{tab}B\n```r\n# b\n```\n:::\n\n{tab}C++\nc\n:::\n\n::::"
    assert tabs.tabs(text) == f"### A\n\n{made}\n\n### D\n"
    assert "<!--" not in tabs.tabs((DOCS / "coming-from.md").read_text(encoding="utf-8"))
