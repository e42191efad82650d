"""Code in colours.

Strategy: Pygments cuts code into tokens, and a finite table gives each kind a style. Colours are those of
JupyterLab's editor, by its variables, so they follow the theme; where there is no theme, one for light pages
and one for dark ones. Nothing of the code reaches an attribute.

Lexers are regular expressions, and most of them take time that grows with the square of a text made for it.
So only languages that were measured are cut, and no code that is long, or has a long line or a long gap.

Not here: guessing a language that was not named.
"""

from __future__ import annotations

from functools import cache, lru_cache
from html import escape
from itertools import groupby
from typing import Any

from bedrock_nb.render.characters import printable

__all__ = ["LANGUAGES", "LONGEST_GAP", "LONGEST_LINE", "STYLES", "coloured"]

#: Most characters of a line of code that is coloured, and most blank lines in succession.
LONGEST_LINE, LONGEST_GAP = 500, 20
# The most characters of a whole block. Of the worst texts found, a block of the first languages takes 0.2 s,
# and one of the second 0.4 s.
_QUICK, _SLOW = 10_000, 4_000
_FIRST = {"python", "pycon", "bash", "console", "powershell", "json", "yaml", "toml", "ini", "properties"}
_FIRST |= {"c", "cpp", "objective-c", "rust", "swift", "kotlin", "scala", "dart", "php", "ruby", "lua"}
_FIRST |= {"julia", "matlab", "haskell", "ocaml", "fsharp", "elixir", "erlang", "clojure", "common-lisp"}
_FIRST |= {"nix", "sql", "postgresql", "graphql", "protobuf", "docker", "cmake", "nginx", "http", "diff"}
_FIRST |= {"tex", "scss"}
_SECOND = {"java", "csharp", "go", "javascript", "typescript", "jsx", "tsx", "html", "html+jinja", "xml"}
_SECOND |= {"css", "perl", "r", "make", "terraform"}

#: Languages by one of Pygments' names, whose other names count too, and the most characters of each.
LANGUAGES = dict.fromkeys(_FIRST, _QUICK) | dict.fromkeys(_SECOND, _SLOW)
LANGUAGES["csharp"] = 1_500  # a name on each line: 2 s for 4,000 characters


def _style(variable: str, light: str, dark: str, more: str = "") -> str:
    return f"color:var(--jp-{variable},light-dark({light},{dark})){more}"


# JupyterLab's own colours for comments, atoms and brackets are too faint to read; these are others of its
# theme. Fallbacks have a contrast of 4.5 at least, on white and on black.
_KEYWORD = _style("mirror-editor-keyword-color", "#008000", "#4caf50")
_STRING = _style("mirror-editor-string-color", "#ba2121", "#ff7070")
_STRING_2 = _style("mirror-editor-string-2-color", "#770088", "#ba68c8")
_NUMBER = _style("mirror-editor-number-color", "#008000", "#66bb6a")
_DEFINED = _style("mirror-editor-def-color", "#0000ff", "#64b5f6")
_BUILTIN = _style("mirror-editor-builtin-color", "#008000", "#43a047")
_PROPERTY = _style("mirror-editor-property-color", "#0055aa", "#42a5f5")
_ATTRIBUTE = _style("mirror-editor-attribute-color", "#0000cc", "#64b5f6")
_TAG = _style("mirror-editor-tag-color", "#117700", "#66bb6a")
_OPERATOR = _style("mirror-editor-operator-color", "#7800c2", "#d48fff")
_HEADING = _style("mirror-editor-header-color", "#0000ff", "#64b5f6")
_COMMENT = _style("content-font-color2", "#6a6a6a", "#b0b0b0", ";font-style:italic")

# By Pygments' kinds of token; a kind that is not here has the style of the one above it, or none.
_KINDS = {
    "Token.Comment": _COMMENT,
    "Token.Comment.Preproc": _PROPERTY,
    "Token.Keyword": _KEYWORD,
    "Token.Literal.Number": _NUMBER,
    "Token.Literal.String": _STRING,
    "Token.Literal.String.Escape": _STRING_2,
    "Token.Literal.String.Interpol": _STRING_2,
    "Token.Literal.String.Regex": _STRING_2,
    "Token.Name.Attribute": _ATTRIBUTE,
    "Token.Name.Builtin": _BUILTIN,
    "Token.Name.Class": _DEFINED,
    "Token.Name.Constant": _PROPERTY,
    "Token.Name.Decorator": _PROPERTY,
    "Token.Name.Exception": _BUILTIN,
    "Token.Name.Function": _DEFINED,
    "Token.Name.Tag": _TAG,
    "Token.Operator": _OPERATOR,
    "Token.Operator.Word": _KEYWORD,
    "Token.Generic.Deleted": _STRING,
    "Token.Generic.Heading": _HEADING,
    "Token.Generic.Inserted": _KEYWORD,
    "Token.Generic.Prompt": _NUMBER,
    "Token.Generic.Subheading": _HEADING,
}

#: Every style that code may have.
STYLES = frozenset(_KINDS.values())


@lru_cache(maxsize=64)  # the last rendering of a reply has the code that was already there while it came
def coloured(code: str, language: str) -> str | None:
    """Code as HTML with a ``<span>`` for each run of one colour, or None where it stays plain.

    Parameters
    ----------
    code : str
    language : str
        One of Pygments' names for one of `LANGUAGES`, in small or capital letters.

    Returns
    -------
    str or None
        None for a language that is not known, for code that is too long, and where a lexer fails or does not
        give back what it was given.
    """
    name = language.lower()
    if len(code) > _longest().get(name, 0) or _stretched(code):
        return None
    from pygments.lexers import get_lexer_by_name  # late: many replies have no code

    code = printable(code)
    try:
        tokens = [
            (_style_of(kind), value)
            for _, kind, value in get_lexer_by_name(name).get_tokens_unprocessed(code)
        ]
    except Exception:  # a library that reads hostile text; whatever it raises, the code stays plain
        return None
    if "".join(value for _, value in tokens) != code:
        return None
    runs = (
        (style, "".join(value for _, value in run)) for style, run in groupby(tokens, lambda each: each[0])
    )
    return "".join(
        f'<span style="{style}">{escape(run)}</span>' if style else escape(run) for style, run in runs
    )


@cache
def _longest() -> dict[str, int]:
    """All names of our languages, and the most characters of each."""
    from pygments.lexers import get_all_lexers

    found: dict[str, int] = {}
    for _, aliases, _, _ in get_all_lexers(plugins=False):  # plugins would take long
        for name in LANGUAGES.keys() & set(aliases):
            found |= dict.fromkeys(aliases, LANGUAGES[name])
    return found


def _stretched(code: str) -> bool:
    """Whether code has a line or a gap that is too long."""
    lines = code.split("\n")
    gaps = groupby(lines, lambda line: not line.strip())
    return max(map(len, lines)) > LONGEST_LINE or any(
        blank and len(list(gap)) > LONGEST_GAP for blank, gap in gaps
    )


@cache
def _style_of(kind: Any) -> str:
    """The style of a kind of token, or of the nearest above it; "" for none."""
    while kind is not None:
        if style := _KINDS.get(str(kind)):
            return style
        kind = kind.parent
    return ""
