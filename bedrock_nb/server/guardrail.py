"""Guardrails as lists of words: what they are, what they find, and the operation that asks one by itself.

Strategy: one kind of the service's policies, the custom words, done completely. A list is three regular
expressions: a word whose end has come, a word at the end of a text, and what may yet become a word; so a text
that still grows can be let go up to where it is known to be clean. `guarding` puts a guardrail around a
responder.

Words are looked for in text alone: as on the service, tool requests, tool results and tool definitions are
not evaluated, nor is reasoning. A phrase must stand in one block; two blocks are two texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple
from unicodedata import normalize

from bedrock_nb.errors import RequestError
from bedrock_nb.server.refusal import Refusal

__all__ = [
    "DEFAULT",
    "REASONS",
    "Guardrail",
    "Patterns",
    "apply",
    "asked_texts",
    "assessment",
    "checked_texts",
    "named",
]

#: Characters of text to one unit that is billed.
_UNIT = 1000
#: A custom word of the service has this many characters at most.
_LONGEST = 100
_SORRY = "Sorry, the model cannot answer this question."
REASONS = {True: "Guardrail blocked.", False: "No action."}
_ID = re.compile(r"[a-z0-9]+")
_ARN = re.compile(r"arn:aws[^:]*:bedrock:[^:]*:\d{12}:guardrail/([a-z0-9]+)")
# A letter and the accents that are written after it belong together.
_BEFORE, _AFTER, _FOLLOWED = r"(?<![\w\u0300-\u036f])", r"(?![\w\u0300-\u036f])", r"(?=[^\w\u0300-\u036f])"

_GAP = r"\s{1,20}"  # between the words of a phrase; with no limit, spaces without end would be held back


# -- words -----------------------------------------------------------------------------------------


class Patterns(NamedTuple):
    """What to look for in a text that may go on: a whole word, one at the end too, the beginning of one."""

    passed: re.Pattern[str]
    ended: re.Pattern[str]
    begun: re.Pattern[str]


@dataclass(frozen=True)
class Guardrail:
    """A list of words that block a prompt or an answer.

    Parameters
    ----------
    id : str
        Small letters and digits, as the service demands.
    words : sequence of str
        Words and phrases of up to 100 characters. Whole words are found, whatever their capitals and with
        up to 20 characters of white space between them; accents may be written as one character or as two.
    version : str
        Its number. ``"DRAFT"`` names any guardrail as well.
    blocked_input, blocked_output : str
        What is answered in place of the model, and in place of what the model said.

    Raises
    ------
    RequestError
        The id or a word cannot be one.

    Examples
    --------
    >>> fruit = Guardrail("fruit", ["banana split", "kiwi"])
    >>> body = {"source": "INPUT", "content": [{"text": {"text": "One Kiwi?"}}]}
    >>> apply("fruit", "1", body, [fruit])["action"]
    'GUARDRAIL_INTERVENED'
    """

    id: str
    words: Sequence[str]
    version: str = "1"
    blocked_input: str = _SORRY
    blocked_output: str = _SORRY

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise RequestError(
                f"A guardrail's id is {self.id!r}.", remedy="Give small letters and digits, such as 'words1'."
            )
        words = (self.words,) if isinstance(self.words, str) else tuple(self.words)
        for word in words:
            if not isinstance(word, str) or not word.strip() or len(word) > _LONGEST:
                raise RequestError(
                    f"A word of guardrail {self.id!r} is {word!r:.120}.",
                    remedy=f"Give texts of 1 to {_LONGEST} characters.",
                )
        object.__setattr__(self, "words", tuple(word.strip() for word in words))

    @cached_property
    def patterns(self) -> Patterns:
        """What finds its words in whole texts and in those that still grow."""
        forms = [form for word in self.words for form in _forms(word)]
        whole, begun = _whole(forms), _whole([[_begun(form)] for form in forms]) + r"\Z"
        return Patterns(*(re.compile(p, re.IGNORECASE) for p in (whole + _FOLLOWED, whole + _AFTER, begun)))

    def found(self, texts: Iterable[str]) -> list[str]:
        """The words of the list that stand in any of the texts."""
        texts = [text for text in texts if self.patterns.ended.search(text)]
        return [word for word, pattern in self._each.items() if any(map(pattern.search, texts))]

    @cached_property
    def _each(self) -> dict[str, re.Pattern[str]]:
        return {word: re.compile(_whole(_forms(word)) + _AFTER, re.IGNORECASE) for word in self.words}


def _forms(word: str) -> list[list[str]]:
    """Patterns of a word, character by character, for each way in which its accents may be written."""
    written = dict.fromkeys(" ".join(normalize(form, word).split()) for form in ("NFC", "NFD"))
    return [[_GAP if sign == " " else re.escape(sign) for sign in text] for text in written]


def _whole(forms: list[list[str]]) -> str:
    """The pattern of any of these words where one may begin; of none, a pattern that nothing fits."""
    return f"{_BEFORE}(?:{'|'.join(''.join(form) for form in forms) or '(?!)'})"


def _begun(form: list[str]) -> str:
    """The pattern of a beginning of a word: its first character, perhaps its second, and so on."""
    pattern = ""
    for sign in reversed(form):
        pattern = f"{sign}(?:{pattern})?" if pattern else sign
    return pattern


#: The guardrail that is always there, so that lessons work at once.
DEFAULT = Guardrail("embeddedwords", ("swordfish", "open sesame"))


def named(guardrails: Sequence[Guardrail], id: str, version: str) -> Guardrail:
    """The guardrail of this id or ARN and version; a draft is the last one of that id."""
    arn = _ARN.fullmatch(id)
    wanted = arn[1] if arn else id
    for guardrail in reversed(guardrails):
        if guardrail.id == wanted and version in (guardrail.version, "DRAFT"):
            return guardrail
    raise Refusal(
        400,
        "ValidationException",
        "The guardrail identifier or version provided in the request does not exist.",
    )


# -- what was found --------------------------------------------------------------------------------


def assessment(guardrail: Guardrail, texts: Sequence[str], total: int, *, full: bool) -> dict[str, Any]:
    """What a guardrail says of texts that it checked, out of ``total`` characters that there were."""
    hits = guardrail.found(texts)
    shown = guardrail.words if full else hits
    said: dict[str, Any] = {}
    if shown:
        words = [
            {"match": word, "action": "BLOCKED" if word in hits else "NONE", "detected": word in hits}
            for word in shown
        ]
        said["wordPolicy"] = {"customWords": words, "managedWordLists": []}
    checked = sum(map(len, texts))
    said["invocationMetrics"] = {
        "guardrailProcessingLatency": 0,
        "usage": _units(checked),
        "guardrailCoverage": {"textCharacters": {"guarded": checked, "total": total}},
    }
    return said


def _units(characters: int) -> dict[str, int]:
    """What is billed: all members that the installed botocore knows, and all but one at 0."""
    # Late: the service model is for the process that serves, and not for its clients.
    from bedrock_nb.server.validation import operation

    response: Any = operation("ApplyGuardrail").output_shape
    names = response.members["usage"].members
    return {**dict.fromkeys(names, 0), "wordPolicyUnits": -(-characters // _UNIT)}


def checked_texts(blocks: Iterable[Mapping[str, Any]]) -> list[str]:
    """The texts to check of blocks with qualifiers: those to be guarded, or all but sources and queries."""
    marked = [(block["text"], block.get("qualifiers") or ()) for block in blocks]
    guarded = [text for text, qualifiers in marked if "guard_content" in qualifiers]
    return guarded or [text for text, qualifiers in marked if not qualifiers]


def asked_texts(kwargs: Mapping[str, Any]) -> tuple[list[str], int]:
    """The texts of a request that are checked, and the number of characters of all its text.

    Without ``guardContent`` that is every turn of the conversation and not the system prompt; with it, that
    alone. So a prompt that was blocked blocks the turns after it as well, until it is taken out.
    """
    turns = [block for turn in kwargs["messages"] for block in turn["content"]]
    system = list(kwargs.get("system") or ())
    marked = [block["guardContent"] for block in turns if "guardContent" in block]
    plain = [block["text"] for block in turns if "text" in block]
    texts = checked_texts(item["text"] for item in marked if "text" in item) if marked else plain
    rules = [block["guardContent"] for block in system if "guardContent" in block]
    texts += checked_texts(item["text"] for item in rules if "text" in item)
    total = sum(len(block["text"]) for block in (*turns, *system) if "text" in block)
    total += sum(len(item["text"]["text"]) for item in (*marked, *rules) if "text" in item)
    return texts, total


# -- the operation ---------------------------------------------------------------------------------


def apply(
    guardrail_id: str, version: str, body: Mapping[str, Any], guardrails: Iterable[Guardrail] = (DEFAULT,)
) -> dict[str, Any]:
    """The response of ApplyGuardrail.

    Parameters
    ----------
    guardrail_id, version : str
        From the path; an ARN will do.
    body : mapping
        The checked body: ``source``, ``content``, ``outputScope``.
    guardrails : iterable of Guardrail
        Those that exist.

    Returns
    -------
    dict
        With ``outputScope`` ``FULL``, words that were not found are listed too. The service leaves its word
        lists as they are then; but here there is nothing else that a full answer could show.

    Raises
    ------
    Refusal
        There is no such guardrail.
    """
    guardrail = named(tuple(guardrails), guardrail_id, version)
    content = body["content"]
    blocks = [item["text"] for item in content if "text" in item]
    texts = checked_texts(blocks)
    total = sum(len(block["text"]) for block in blocks)
    assessed = assessment(guardrail, texts, total, full=body.get("outputScope") == "FULL")
    blocked = bool(guardrail.found(texts))
    words = guardrail.blocked_input if body["source"] == "INPUT" else guardrail.blocked_output
    metrics = assessed["invocationMetrics"]
    images = sum("image" in item for item in content)
    if images:  # there is no policy here that looks at them
        metrics["guardrailCoverage"]["images"] = {"guarded": 0, "total": images}
    return {
        "usage": dict(metrics["usage"]),
        "action": "GUARDRAIL_INTERVENED" if blocked else "NONE",
        "actionReason": REASONS[blocked],
        "outputs": [{"text": words}] if blocked else [],
        "assessments": [assessed],
        "guardrailCoverage": {**metrics["guardrailCoverage"]},
    }
