"""The little SVG that the drawings of the architecture need: boxes with text, arrows, in the page's own
colours.

Strategy: a drawing is inline in its page, so that the theme's colours, light or dark, are its colours, and
a reader's browser finds its words. It is as wide as the page lets it be.
"""

from __future__ import annotations

from html import escape

#: Colours by what they are for; furo sets the variables, the second is for a page that does not.
STYLE = """
.bnb text{font-family:var(--font-stack,sans-serif);fill:var(--color-foreground-primary,#222)}
.bnb .mono{font-family:var(--font-stack--monospace,monospace)}
.bnb .dim{fill:var(--color-foreground-secondary,#666)}
.bnb .box{fill:var(--color-background-secondary,#f6f6f8);stroke:var(--color-foreground-border,#888)}
.bnb .band{fill:var(--color-background-hover,#eee)}
.bnb .strong{stroke:var(--color-brand-primary,#0a4bff);stroke-width:1.6}
.bnb .tip{fill:var(--color-foreground-muted,#888)}
.bnb .line{fill:none;stroke:var(--color-foreground-muted,#888);stroke-width:1.4}
"""


def drawing(width: float, height: float, title: str, parts: list[str], style: str = "") -> str:
    """A figure for Markdown: one piece of HTML without empty lines, described for who does not see it."""
    said = escape(title)
    rules = "".join((STYLE + style).split("\n"))
    arrow = (
        '<defs><marker id="bnb-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path class="tip" d="M0 0L8 4L0 8z"/>'
        "</marker></defs>"
    )
    return (
        f'<figure class="bnb"><style>{rules}</style>'
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{said}">'
        f"{arrow}{''.join(parts)}</svg></figure>"
    )


def box(x: float, y: float, w: float, h: float, kind: str = "box") -> str:
    """A rectangle with round corners."""
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="5"/>'


def text(x: float, y: float, said: str, size: float = 13, kind: str = "", anchor: str = "middle") -> str:
    """A line of text; ``y`` is its base line."""
    place = f'x="{x:g}" y="{y:g}" font-size="{size:g}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}>{escape(said)}</text>'


def arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    """A straight line with a tip at its second end."""
    return f'<path class="line" marker-end="url(#bnb-tip)" d="M{x1:g} {y1:g}L{x2:g} {y2:g}"/>'
