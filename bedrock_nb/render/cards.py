"""Pieces of HTML for what this program says itself: cards, headings, remarks, tables, a whole page.

Strategy: every text is escaped and set into constant markup of ours. Pieces are plain strings, so they go
together by joining.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from bedrock_nb.render.characters import escaped, visible

__all__ = [
    "BOX",
    "DIM",
    "ROOT",
    "card",
    "chapter",
    "columns",
    "error",
    "page",
    "paragraph",
    "remark",
    "table",
    "together",
]

# Colours come from JupyterLab's theme, or are half transparent, which suits light and dark pages alike.
#: The styles of a piece that is set off, and of what stands beside what was said.
BOX = "margin:.5em 0;padding:.3em .8em;border-left:3px solid var(--jp-border-color2,#8888)"
DIM = "color:var(--jp-content-font-color2,inherit)"
_WRONG = "margin:.5em 0;padding:.3em .8em;border-left:3px solid var(--jp-error-color1,#b00020)"
_COLUMNS = "display:flex;flex-wrap:wrap;gap:0 2em"
_COLUMN = "flex:1 1 18em;min-width:0;overflow-wrap:anywhere"
_LEFT = 'style="text-align:left"'

#: One root round each output.
ROOT = '<div class="bedrock-nb">{}</div>'


def card(title: str, facts: Mapping[str, str]) -> str:
    """A small card for an object's ``_repr_html_``: a title over a table of names and values, all escaped."""
    return ROOT.format(f"<p><strong>{escaped(title)}</strong></p>{_facts(facts)}")


def error(title: str, said: str, facts: Mapping[str, str]) -> str:
    """A card for what went wrong, in plain words, all escaped; invisible characters are spelled out.

    Parameters
    ----------
    title : str
        What went wrong, in a few words.
    said : str
        A sentence or more: what happened, and why. Line ends are kept.
    facts : mapping of str to str
        What else helps: the code, what is kept, what to try. May be empty.
    """
    lines = "<br>".join(escaped(visible(line)) for line in said.splitlines())
    told = f"<p><strong>{escaped(visible(title))}</strong></p><p>{lines}</p>"
    shown = {name: visible(facts[name]) for name in facts}
    return ROOT.format(f'<div style="{_WRONG}">{told}{_facts(shown) if shown else ""}</div>')


def _facts(facts: Mapping[str, str]) -> str:
    rows = (
        f"<tr><th {_LEFT}>{escaped(name)}</th><td {_LEFT}>{escaped(facts[name])}</td></tr>" for name in facts
    )
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def chapter(title: str, *parts: str, level: int = 2) -> str:
    """Pieces that `html`, `card`, `remark` and this function made, under a heading that is escaped."""
    return f'<h{level}>{escaped(visible(title))}</h{level}><div style="{BOX}">{"".join(parts)}</div>'


def columns(parts: Iterable[tuple[str, str]]) -> str:
    """Such pieces side by side under their heads, which are escaped; on a narrow page one below the other."""
    each = (
        f'<div style="{_COLUMN}"><p><strong>{escaped(visible(head))}</strong></p>{part}</div>'
        for head, part in parts
    )
    return f'<div class="bedrock-nb" style="{_COLUMNS}">{"".join(each)}</div>'


def paragraph(text: str) -> str:
    """A line of plain text that says what matters, escaped; for what stands beside it see `remark`."""
    return f"<p>{escaped(visible(text))}</p>"


def remark(text: str) -> str:
    """A line of plain text beside what was said, escaped."""
    return f'<p style="{DIM}">{escaped(visible(text))}</p>'


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of plain texts under their heads, all escaped."""
    heads = "".join(f"<th {_LEFT}>{escaped(visible(cell))}</th>" for cell in head)
    body = ("".join(f"<td {_LEFT}>{escaped(visible(cell))}</td>" for cell in row) for row in rows)
    filled = "".join(f"<tr>{row}</tr>" for row in body)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{filled}</tbody></table>"


def together(*parts: str) -> str:
    """Such pieces as one, under one ``<div class="bedrock-nb">``."""
    return ROOT.format("".join(parts))


# Nothing runs and nothing is fetched, whatever may stand in it; the images of a message are in the page.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_LOOK = (
    ":root{color-scheme:light dark}"
    "body{max-width:50em;margin:2em auto;padding:0 1em;font:1rem/1.5 system-ui,sans-serif}"
    "th,td{padding:.1em .8em .1em 0}"
)


def page(title: str, *parts: str) -> str:
    """Such pieces as a whole HTML document that needs nothing but itself."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{escape(visible(title))}</title>\n<style>{_LOOK}</style>\n</head>\n"
        f"<body>\n{together(*parts)}\n</body>\n</html>\n"
    )
