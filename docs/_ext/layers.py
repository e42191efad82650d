"""The layers as a picture: each part a box, in the order of the contract that import-linter enforces.

Strategy: rows come from pyproject.toml, boxes and imports from the import graph of the code (grimp, which
import-linter is built on). All imports at once would be a thicket, and would say only that they go
downwards, which the order says already. So none is drawn until a reader points at a box, or moves to it by
the Tab key: then what it imports is joined to it. What a part is for, how many modules it has and whom it
serves is its tooltip.
"""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from html import escape
from pathlib import Path

import grimp

from _ext.svg import box, drawing, text

ROOT = Path(__file__).resolve().parent.parent.parent

_WIDTH, _ROW, _GAP, _BOX = 720, 36, 8, 26


def rows() -> list[list[str]]:
    """The parts of the package, layer by layer, the highest first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    whole = next(one for one in contracts if one["containers"] == ["bedrock_nb"])
    return [re.findall(r"\w+", layer) for layer in whole["layers"]]


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph("bedrock_nb", exclude_type_checking_imports=True, cache_dir=None)


@cache
def imports() -> dict[str, set[str]]:
    """Part -> the parts that its modules import."""
    graph = _graph()
    found: dict[str, set[str]] = {}
    for module in graph.modules:
        part = _part(module)
        found.setdefault(part, set()).update(
            _part(other) for other in graph.find_modules_directly_imported_by(module)
        )
    return {part: others - {part, ""} for part, others in found.items() if part}


def sizes() -> dict[str, int]:
    """Part -> how many modules it is."""
    counted: dict[str, int] = {}
    for module in _graph().modules:
        counted[_part(module)] = counted.get(_part(module), 0) + 1
    return counted


def _part(module: str) -> str:
    return module.removeprefix("bedrock_nb").lstrip(".").partition(".")[0]


def _job(part: str) -> str:
    """The first sentence of a part's docstring."""
    path = ROOT / "bedrock_nb" / f"{part}.py"
    path = path if path.exists() else ROOT / "bedrock_nb" / part / "__init__.py"
    told = " ".join((ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").split("\n\n")[0].split())
    return re.sub(r"``?([^`]*)``?", r"\1", told)


def letters() -> str:
    """The picture in letters, for pages that are read without the site: packages end in a slash."""
    packages = {part for part, size in sizes().items() if size > 1}
    return "\n".join(
        " | ".join(f"{part}/" if part in packages else part for part in row)
        for row in rows()
        if row != ["__main__"]
    )


def picture(_: str = "") -> str:
    """The drawing, as HTML."""
    size, needs = sizes(), imports()
    served: dict[str, int] = {}
    for others in needs.values():
        for other in others:
            served[other] = served.get(other, 0) + 1
    shown = [[part for part in row if part in size] for row in rows()]
    shown = [row for row in shown if row and row != ["__main__"]]
    at: dict[str, tuple[float, float, float]] = {}
    bands, boxes, lines, rules = [], [], [], []
    for number, row in enumerate(shown):
        y: float = number * _ROW
        bands.append(box(0, y, _WIDTH, _ROW - 4, "band"))
        wide = [18 + 8.2 * len(_label(part, size)) for part in row]
        x = (_WIDTH - sum(wide) - _GAP * (len(row) - 1)) / 2
        for part, w in zip(row, wide, strict=True):
            at[part] = (x, y + (_ROW - 4 - _BOX) / 2, w)
            x += w + _GAP
    for part, (x, y, w) in at.items():
        users, used = served.get(part, 0), len(needs.get(part, ()))
        told = (
            f"{_job(part)}\n{size[part]} module{'s' * (size[part] > 1)}; imports {used} parts, serves {users}"
        )
        boxes.append(
            f'<g class="part p-{part}" tabindex="0"><title>{escape(told)}</title>'
            + box(x, y, w, _BOX)
            + text(x + w / 2, y + 17.5, _label(part, size), 13.5, "mono")
            + "</g>"
        )
        joined = [other for other in needs.get(part, ()) if other in at]
        for other in sorted(joined):
            x2, y2, w2 = at[other]
            lines.append(_curve(part, x + w / 2, y + _BOX, x2 + w2 / 2, y2))
        when = f".bnb svg:has(.p-{part}:is(:hover,:focus))"
        rules.append(f"{when} .f-{part}{{opacity:1}}")
        rules += [f"{when} .p-{other} .box{{stroke:var(--color-brand-primary,#0a4bff)}}" for other in joined]
    style = (
        ".bnb .from{opacity:0;pointer-events:none;stroke:var(--color-brand-primary,#0a4bff)}"
        ".bnb .part{cursor:default;outline:none}"
        ".bnb .part:is(:hover,:focus) .box{fill:var(--color-brand-primary,#0a4bff)}"
        ".bnb .part:is(:hover,:focus) text{fill:var(--color-background-primary,#fff)}" + "".join(rules)
    )
    title = f"The {len(shown)} layers of bedrock_nb, from what users touch down to the errors"
    caption = (
        "\n\n*Made from the code: a number is a part's modules. Point at a part, or reach it with Tab, "
        "to see what it imports; every line goes down.*\n"
    )
    return drawing(_WIDTH, len(shown) * _ROW, title, bands + lines + boxes, style) + caption


def _label(part: str, size: dict[str, int]) -> str:
    return f"{part} {size[part]}" if size[part] > 1 else part


def _curve(part: str, x1: float, y1: float, x2: float, y2: float) -> str:
    lean = (y2 - y1) / 2
    bent = f"M{x1:g} {y1:g}C{x1:g} {y1 + lean:g} {x2:g} {y2 - lean:g} {x2:g} {y2:g}"
    return f'<path class="line from f-{part}" d="{bent}"/>'
