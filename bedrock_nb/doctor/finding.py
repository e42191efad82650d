"""What a check found, and all findings together: as lines, as a table in a notebook, as JSON.

Strategy: a check says one of three words. ``ok`` needs nobody; ``note`` is worth knowing and stops no lesson;
``problem`` stops what was asked for. What was found may come from the environment, a file or a service, so it
is made printable here, once, and escaped where it becomes HTML.
"""

from __future__ import annotations

import html
import json
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from bedrock_nb.render import printable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Checkup", "Finding", "Status", "note", "ok", "problem"]

#: How it stands.
Status: TypeAlias = Literal["ok", "note", "problem"]

#: Status -> the sign before its word. The word says it too: not everybody sees the sign.
_SIGNS: dict[Status, str] = {"ok": "✓", "note": "·", "problem": "✗"}
_MOST = 400  # characters: a service may say more
_INDENT = " " * 28  # of what stands below the words of a finding
_NARROWEST = 50  # columns of a terminal, to fold for


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes
    ----------
    check : str
        Its name, such as ``"widgets"``.
    status : {"ok", "note", "problem"}
        A problem stops what was asked for; a note is worth knowing and stops no lesson.
    found : str
        What there is, in a line. Never a key, a token or a password.
    remedy : str
        What to do about it; empty if there is nothing to be done.
    seconds : float
        How long the look took.
    """

    check: str
    status: Status
    found: str
    remedy: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        return self.lines()

    def lines(self, width: int | None = None) -> str:
        """The finding and its remedy, folded for a terminal of so many columns."""
        rows = [f"{_SIGNS[self.status]} {self.status:8}{self.check:18}{self.found}"]
        rows += [f"{_INDENT}→ {self.remedy}"] if self.remedy else []
        if width is not None:
            fold = textwrap.TextWrapper(
                max(width, _NARROWEST),
                subsequent_indent=_INDENT,
                break_long_words=False,
                break_on_hyphens=False,
            )
            rows = [fold.fill(row) for row in rows]
        return "\n".join(rows)

    def named(self, check: str, seconds: float) -> Finding:
        """The same finding with the name of its check and the time that it took."""
        return replace(self, check=check, seconds=round(seconds, 3))


def ok(found: str) -> Finding:
    """All is well."""
    return _finding("ok", found, "")


def note(found: str, remedy: str = "") -> Finding:
    """Worth knowing; no lesson stops for it."""
    return _finding("note", found, remedy)


def problem(found: str, remedy: str) -> Finding:
    """What was asked for does not work like this."""
    return _finding("problem", found, remedy)


def _finding(status: Status, found: str, remedy: str) -> Finding:
    told, to_do = (" ".join(printable(text).split())[:_MOST] for text in (found, remedy))
    return Finding("", status, told, to_do)


class Checkup:
    """All findings, in the order in which they were made.

    Attributes
    ----------
    findings : tuple of Finding

    Examples
    --------
    >>> checkup = Checkup((Finding("python", "ok", "3.13.1"), Finding("region", "note", "none")))
    >>> checkup
    <Checkup: 1 ok, 1 note, 0 problem>
    >>> checkup.ok, checkup["region"].status
    (True, 'note')
    """

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        self.findings = findings

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __getitem__(self, check: str) -> Finding:
        """The finding of a check, by its name."""
        try:
            return next(finding for finding in self.findings if finding.check == check)
        except StopIteration:
            raise KeyError(check) from None

    @property
    def ok(self) -> bool:
        """Whether there is no problem. Notes are none."""
        return all(finding.status != "problem" for finding in self.findings)

    @property
    def table(self) -> pd.DataFrame:
        """A row for each check: ``check, status, found, remedy, seconds``."""
        import pandas as pd

        return pd.DataFrame([asdict(finding) for finding in self.findings])

    @property
    def verdict(self) -> str:
        """All of it in a sentence."""
        numbers = [f"{count} {word}{'s' * (count != 1)}" for word, count in self._counts() if count]
        if self.ok:
            return f"Everything that the lessons need is here ({', '.join(numbers) or 'no notes'})."
        return f"Something is in the way ({', '.join(numbers)}): do what stands behind the arrows."

    def _counts(self) -> list[tuple[str, int]]:
        said = [finding.status for finding in self.findings]
        return [(word, said.count(word)) for word in ("problem", "note")]

    def to_json(self) -> str:
        """The findings as a JSON list of objects, for programs."""
        return json.dumps([asdict(finding) for finding in self.findings], indent=2, ensure_ascii=False)

    def __str__(self) -> str:
        return "\n".join([*map(str, self.findings), "", self.verdict])

    def __repr__(self) -> str:
        said = {word: [finding.status for finding in self.findings].count(word) for word in _SIGNS}
        return f"<Checkup: {', '.join(f'{number} {word}' for word, number in said.items())}>"

    def _repr_html_(self) -> str:
        left = 'style="text-align:left; white-space:normal"'
        heads = "".join(f"<th {left}>{head}</th>" for head in ("", "check", "found", "what to do"))
        rows = "".join(
            "<tr>" + "".join(f"<td {left}>{html.escape(text)}</td>" for text in _cells(finding)) + "</tr>"
            for finding in self.findings
        )
        return (
            f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
            f"<p>{html.escape(self.verdict)}</p>"
        )

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        # A saved notebook keeps the lines too: where no HTML is shown, they say more than the repr.
        return {"text/plain": str(self), "text/html": self._repr_html_()}


def _cells(finding: Finding) -> tuple[str, str, str, str]:
    sign = f"{_SIGNS[finding.status]} {finding.status}"
    return sign, finding.check, finding.found, finding.remedy
