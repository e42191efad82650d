"""A real language model, small enough to read: it counts which token follows which, and draws from that.

Strategy: `Ngram` is the model; it turns counts into a distribution over its vocabulary. `adjusted` bends a
distribution as the settings of a request say: temperature first, then top_k, then topP. `ngram` makes a
responder of both. The end of a paragraph is a token too, so an answer ends by itself.

The model goes on from the last words of the user's turn that it knows, or from the beginning of its own
answer (a prefill) if the conversation ends with one. It reads nothing else. ``corpus.txt``, from which it
learns, was written for this package and has its licence: 75 paragraphs of stories, dialogues, explanations.
numpy is imported late: a server that never asks this model does not wait for it.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from bedrock_nb.errors import RequestError
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server.fields import check_abilities
from bedrock_nb.server.tokens import tokenize
from bedrock_nb.server.writing import last_turn, recorded, text_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["END", "Ngram", "adjusted", "ngram", "shipped"]

#: The token that ends a paragraph, and so an answer.
END = "\n\n"
_LEAST = 12  # tokens that come before the end at least: about a sentence
_LIMIT = 400  # tokens of an answer whose request names no limit
_MOST = 4096  # tokens of any answer: at temperature 0 the model may go round in a circle for ever
_LETTER, _DIGIT, _SIGN = re.compile(r"[^\W\d_]"), re.compile(r"\d"), re.compile(r"[^\w\s]")


class Ngram:
    """A language model that knows how often each token came after the ``order - 1`` tokens before it.

    After a context that was followed N times, by T different tokens, a token that came c times there has

        P(token | context) = (c + T * P(token | context without its first token)) / (N + T)

    which is interpolated Witten-Bell smoothing (Witten and Bell, "The zero-frequency problem", IEEE Trans.
    Information Theory 37(4), 1991; in this form Chen and Goodman, 1998): the more kinds of tokens came, the
    likelier is one that has not come yet. Below the empty context all tokens are equally likely. A context
    that was never seen says nothing: the shorter one decides. A token that the tokenizer would not cut there
    has probability 0, so what is drawn has the same tokens when it is counted.

    Parameters
    ----------
    text : str
        What to learn from; a blank line ends a paragraph. A `RequestError` says if there is nothing in it.
    order : int
        Length of the n-grams, 1 to 6: an order of 3 looks back over two tokens.
    """

    def __init__(self, text: str, *, order: int = 3) -> None:
        self.order = _checked(order)
        self._number = {END: 0}
        self._after: dict[tuple[str, ...], dict[int, int]] = {}
        for context, token in self._steps(text):
            number = self._number.setdefault(token, len(self._number))
            for begin in range(order):
                counts = self._after.setdefault(context[begin:], {})
                counts[number] = counts.get(number, 0) + 1
        self.vocabulary = tuple(self._number)
        self._bases: dict[str, NDArray[Any]] = {}

    def __repr__(self) -> str:
        return f"<Ngram: order {self.order}, {len(self.vocabulary)} tokens, {len(self._after)} contexts>"

    def probabilities(self, context: Sequence[str] = ()) -> NDArray[Any]:
        """How likely each token of the vocabulary is to come after a context.

        Parameters
        ----------
        context : sequence of str
            Tokens, of which the last ``order - 1`` matter; unknown ones do no harm.

        Returns
        -------
        numpy array
            In the order of `vocabulary`: all at least 0, their sum 1.
        """
        p = self._base(context[-1] if context else "").copy()
        for length in range(1, min(self.order - 1, len(context)) + 1):
            counts = self._after.get(tuple(context[-length:]))
            if counts is None:  # nor was any longer context seen that ends in this one
                break
            _mix(p, counts)
        return p

    def sample(
        self,
        context: Sequence[str],
        rng: Random,
        temperature: float = 1.0,
        top_p: float = 1.0,
        top_k: int | None = None,
    ) -> str:
        """Draw the next token, with the settings of `adjusted`; `END` if it is the end."""
        return self.vocabulary[_draw(adjusted(self.probabilities(context), temperature, top_p, top_k), rng)]

    def perplexity(self, text: str) -> float:
        """Between how many tokens the model wavers, on average, as it reads a text; 1 would be certainty.

        It is exp(mean of -log P) over all tokens, ends of paragraphs too. A token that is not in the
        vocabulary has no probability: it is left out of the mean.
        """
        steps = ((context, self._number.get(token)) for context, token in self._steps(text))
        logs = [math.log(self.probabilities(context)[i]) for context, i in steps if i is not None]
        return math.exp(-sum(logs) / len(logs))

    def _steps(self, text: str) -> Iterator[tuple[tuple[str, ...], str]]:
        """Each token after its context; a paragraph begins with ends as its context."""
        paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text)]
        if not any(paragraphs):
            raise RequestError("The text is empty.", remedy="Give a text with at least one word.")
        back = self.order - 1
        for paragraph in filter(None, paragraphs):
            tokens = [*[END] * back, *tokenize(paragraph), END]
            for i in range(back, len(tokens)):
                yield tuple(tokens[i - back : i]), tokens[i]

    def _base(self, last: str) -> NDArray[Any]:
        """The empty context's distribution, over the tokens that the tokenizer can cut after the last one."""
        shape = _SIGN.sub(".", _DIGIT.sub("0", _LETTER.sub("a", last))) if last in self._number else ""
        if shape not in self._bases:
            import numpy as np

            p = np.full(len(self.vocabulary), 1 / len(self.vocabulary))
            _mix(p, self._after[()])
            if shape:
                p[[tokenize(shape + token) != [shape, token] for token in self.vocabulary]] = 0
            self._bases[shape] = p / p.sum()
        return self._bases[shape]


def _mix(p: NDArray[Any], counts: Mapping[int, int]) -> None:
    """One step of the formula, in place: before, ``p`` is what the shorter context says."""
    seen = sum(counts.values()) + len(counts)
    p *= len(counts) / seen
    p[[*counts]] += [c / seen for c in counts.values()]


def adjusted(
    p: NDArray[Any], temperature: float = 1.0, top_p: float = 1.0, top_k: int | None = None
) -> NDArray[Any]:
    """A copy of a distribution, or of what is left of one, after temperature, then top_k, then topP.

    Of equally likely tokens, the one that is first in the vocabulary ranks higher. A setting that is out of
    range is a `RequestError`.

    Parameters
    ----------
    p : numpy array
    temperature : float
        T: each p becomes p^(1/T), divided by the new sum. 0 leaves only the most likely token.
    top_p : float
        As few of the most likely tokens stay as have this mass together: the nucleus of Holtzman et al., "The
        curious case of neural text degeneration", 2020.
    top_k : int, optional
        So many of the most likely tokens stay.
    """
    import numpy as np

    if not (temperature >= 0 and 0 <= top_p <= 1 and (top_k is None or top_k >= 1)):
        raise RequestError(
            f"temperature is {temperature!r}, top_p {top_p!r}, top_k {top_k!r}.",
            remedy="Give a temperature from 0, a top_p from 0 to 1, and a top_k from 1 or None.",
        )
    if temperature not in (0, 1):
        with np.errstate(divide="ignore", over="ignore"):  # log 0 is -inf, and exp(-inf) is 0 again
            p = np.exp((np.log(p) - np.log(p.max())) / temperature)
    kept = np.argsort(-p, kind="stable")[: top_k if temperature else 1]
    if top_p < 1:
        kept = kept[: np.searchsorted(np.cumsum(p[kept]) / p[kept].sum(), top_p) + 1]
    out = np.zeros_like(p)
    out[kept] = p[kept] / p[kept].sum()
    return out


def _draw(p: NDArray[Any], rng: Random) -> int:
    """A position in the vocabulary, as likely as ``p`` says."""
    possible = p.nonzero()[0]
    at = int(p[possible].cumsum().searchsorted(rng.random(), side="right"))
    return int(possible[min(at, len(possible) - 1)])  # the sum may be a rounding error below 1


# -- the responder ---------------------------------------------------------------------------------

_models: dict[int, Ngram] = {}
_making = threading.Lock()


def shipped(order: int = 3) -> Ngram:
    """The model of the shipped text, made once in a process (about 20 ms, 3 MiB)."""
    with _making:
        if order not in _models:
            _models[order] = Ngram(Path(__file__).with_name("corpus.txt").read_text("utf-8"), order=order)
        return _models[order]


def ngram(text: str | None = None, *, order: int = 3, seed: int = 0) -> Callable[[Request], Recording]:
    """Make a responder that writes with an `Ngram`, so that sampling settings act on what it says.

    Kept are ``temperature`` (or 1), ``topP``, ``maxTokens`` (or 400; 4096 at most), ``stopSequences``, and of
    ``additionalModelRequestFields`` ``seed`` and ``top_k``, or ``topK``, or ``inferenceConfig.topK``. The
    same request with the same seed has the same answer to the byte. No answer ends before its 12th token.

    Parameters
    ----------
    text : str, optional
        What the model learns from, in place of the shipped text.
    order : int
        Length of the n-grams, 1 to 6.
    seed : int
        Where the answers to requests without a seed begin; each of them draws anew.

    Returns
    -------
    function
        A responder, for any number of threads. It never asks for a tool, and raises a `Refusal` if it has to.
    """
    own = None if text is None else Ngram(text, order=order)
    order, chance, turn = _checked(order), Random(seed), threading.Lock()

    def ngram(request: Request) -> Recording:
        kwargs = request.to_kwargs()
        check_abilities(kwargs)
        asked, top_k = _extras(kwargs.get("additionalModelRequestFields"))
        with turn:
            begin = chance.random() if asked is None else asked
        limit = min(request.max_tokens or _LIMIT, _MOST)
        said = _write(own or shipped(order), request, Random(f"{begin}"), limit, top_k)
        recording = recorded(request.replace(max_tokens=limit), said or [])
        recording.request = kwargs  # as it was asked, without the limit that is ours
        return recording

    return ngram


def _write(model: Ngram, request: Request, rng: Random, limit: int, top_k: int | None) -> str:
    """The answer; if it goes on after the limit, one token more, so that `recorded` sees it and cuts."""
    temperature = 1.0 if request.temperature is None else request.temperature
    top_p = 1.0 if request.top_p is None else request.top_p
    tokens, spaced = _context(model, request)
    said = ""
    for written in range(limit + 1):
        p = model.probabilities(tokens[-model.order :])
        if written < _LEAST and p[0] < 1:
            p[0] = 0
        token = model.vocabulary[_draw(adjusted(p, temperature, top_p, top_k), rng)]
        if token == END:
            break
        tokens.append(token)
        said += token.removeprefix(" ") if spaced and not said else token
        if any(said.find(stop, max(0, len(said) - len(token) - len(stop))) >= 0 for stop in request.stop):
            break
    return said


def _context(model: Ngram, request: Request) -> tuple[list[str], bool]:
    """The tokens to go on from, and whether the space after them is there already."""
    last = request.conversation[-1]
    begun = text_of(last["content"]) if last["role"] == "assistant" else ""
    if begun:
        return [END, *tokenize(begun.rstrip())], begun[-1].isspace()
    tokens = tokenize(f" {text_of(last_turn(request)).strip()}")  # a word within a text has a space before it
    while tokens and not (tokens[-1] in model._number and tokens[-1].strip().isalnum()):
        tokens.pop()
    return [END, *tokens], False


def _extras(fields: Any) -> tuple[Any, int | None]:
    """Seed and top_k, under any of its names; a top_k that is not a whole number above 0 is none of ours."""
    fields = fields if isinstance(fields, Mapping) else {}
    nested = fields.get("inferenceConfig")
    given = (fields.get("top_k"), fields.get("topK"), isinstance(nested, Mapping) and nested.get("topK"))
    return fields.get("seed"), next((k for k in given if type(k) is int and k > 0), None)


def _checked(order: int) -> int:
    if type(order) is not int or not 1 <= order <= 6:
        raise RequestError(f"order is {order!r}.", remedy="Give a whole number from 1 to 6.")
    return order
