"""An experiment on one page: a single HTML file with tables, pictures, settings, formulas and caveats.

Strategy: `collecting` makes one `Material` of whatever holds replies, in one walk (`walking`); `tables`,
`settings`, `pictures` and `caveats` say what is in it, by what measures and draws already (`compare`,
`table`, `plot`); `making` puts it into the template ``page.html.jinja``, which escapes all that it is given.
Nothing is measured here.
"""

from __future__ import annotations

from bedrock_nb.report.making import report

__all__ = ["report"]
