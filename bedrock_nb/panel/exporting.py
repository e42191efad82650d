"""A conversation handed out: as a file to keep, as a picture of its times.

Strategy: a table from the name of a form to how it is made. Bytes come from what the forms' own makers write;
a picture is drawn off the screen, in the thread that asks.
"""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bedrock_nb import files
from bedrock_nb.conversation import Conversation
from bedrock_nb.errors import RequestError
from bedrock_nb.lines import as_path
from bedrock_nb.recording import Recording
from bedrock_nb.timing import timing

__all__ = ["FORMS", "File", "made", "picture", "write"]


class File(NamedTuple):
    """A file to download."""

    name: str
    type: str
    data: bytes


def _markdown(conversation: Conversation, recordings: Sequence[Recording]) -> bytes:
    return conversation.to_markdown().encode()


def _html(conversation: Conversation, recordings: Sequence[Recording]) -> bytes:
    return conversation.to_html().encode()


def _recordings(conversation: Conversation, recordings: Sequence[Recording]) -> bytes:
    """A zip of the files that ``Recording.save`` writes, numbered from the oldest; none that still grows."""
    out, over = io.BytesIO(), [recording for recording in recordings if recording.status != "streaming"]
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, recording in enumerate(over, 1):
            turn, of = recording.labels.get("turn", 0), recording.labels.get("round", 1)
            name = f"{number:03}-turn-{turn}-round-{of}.jsonl"
            archive.writestr(name, files.dumped(recording))
    return out.getvalue()


def _json(conversation: Conversation, recordings: Sequence[Recording]) -> bytes:
    return conversation.to_json().encode()


#: What a page calls a form -> its suffix, its media type, how it is made.
FORMS: dict[str, tuple[str, str, Callable[[Conversation, Sequence[Recording]], bytes]]] = {
    "markdown": (".md", "text/markdown", _markdown),
    "html": (".html", "text/html", _html),
    "recordings": (".zip", "application/zip", _recordings),
    "conversation": (".json", "application/json", _json),
}


def made(form: object, conversation: Conversation, recordings: Sequence[Recording]) -> File:
    """A conversation, or its recordings, as a file.

    Parameters
    ----------
    form : {"markdown", "html", "recordings", "conversation"}
    conversation : Conversation
    recordings : sequence of Recording

    Raises
    ------
    RequestError
        There is no such form, or something in the conversation has none in it.
    """
    if not isinstance(form, str) or form not in FORMS:
        raise RequestError(f"There is no form {form!r:.40}.", remedy=f"There are {', '.join(FORMS)}.")
    suffix, kind, make = FORMS[form]
    named = re.sub(r"\W", "-", conversation.id)[:40]  # of a loaded conversation, a file says what it is
    return File(f"chat-{named}{suffix}", kind, make(conversation, recordings))


def write(path: str | os.PathLike[str], conversation: Conversation, recordings: Sequence[Recording]) -> Path:
    """Write a conversation to a file of the form that its suffix says.

    Raises
    ------
    RequestError
        The suffix is none of `FORMS`.
    RecordingError
        The file cannot be written.
    """
    target = as_path(path)
    forms = {suffix: form for form, (suffix, _, _) in FORMS.items()}
    if (form := forms.get(target.suffix.lower())) is None:
        raise RequestError(
            f"{target.name!r} does not say in which form to write it.",
            remedy=(
                "It may end in .md (Markdown), .html (a page), .zip (recordings as JSON lines) or .json (a "
                "conversation to load again)."
            ),
        )
    return files.write_chunks(target, [made(form, conversation, recordings).data], "conversation")


#: Inches: the width of a picture of several rounds; its height around, and for each row.
_WIDE, _AROUND, _ROW = 9.6, 1.5, 0.4


def picture(number: int, recordings: Sequence[Recording], *, dark: bool) -> tuple[bytes, str]:
    """The times of one turn, drawn: its anatomy if it had one round, else its rounds and tools.

    Parameters
    ----------
    number : int
        Which turn it is, counted from 1.
    recordings : sequence of Recording
        Of its rounds.
    dark : bool
        For a dark page.

    Returns
    -------
    bytes, str
        A PNG, and in words what it shows.

    Raises
    ------
    RequestError
        There is no recording.
    """
    # Late: drawing needs matplotlib, and most turns are never drawn.
    from bedrock_nb.plot import anatomy, tool_rounds
    from bedrock_nb.slider.picture import drawn

    if not recordings:
        raise RequestError(
            f"There is no recording of turn {number}, so there is nothing to draw.",
            remedy="Turns of a saved conversation have none, and of long ones only the newest are kept.",
        )
    theme, words = "dark" if dark else "light", timing(list(recordings)).words
    if len(recordings) == 1:
        (one,) = recordings
        png, _ = drawn(theme, lambda ax: anatomy(one, ax=ax))
        return png, f"Anatomy of turn {number}: {words}"
    rows = sum(1 + len(recording.tools) for recording in recordings)
    png, _ = drawn(theme, lambda ax: tool_rounds(list(recordings), ax=ax), (_WIDE, _AROUND + _ROW * rows))
    return png, f"The {len(recordings)} rounds of turn {number}, with their tools: {words}"
