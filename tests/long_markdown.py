"""A long answer in real Markdown, and its deltas: for tests and measurements of what paints a stream.

Headings, paragraphs, nested lists, tables, code in several languages and maths, in the proportions of a
model's long explanations; a token is about six characters, as those of models are.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from bedrock_nb.events import BlockStop, Event, MessageStart, MessageStop, Metadata, TextDelta

__all__ = ["deltas", "events", "text"]

_CHAPTER = """
## {n}. How a stream grows

A reply comes **token by token**: what is *shown* at a moment is a prefix of the whole, and a reader sees it
as text long before its Markdown is complete. Chapter {n} follows a delta from `messageStart` to the frame
that paints it, and says where the [time](https://docs.python.org/3/library/time.html) goes.

### What was measured

- the time to the first token, which is the time that a reader waits for anything at all;
- the gaps between tokens:
  - the median says how fast it reads,
  - the 95th percentile says how it stutters;
- bytes on the way to the browser, number {n}.

1. Ask the question once more, with the same words.
2. Wait until the answer is whole.
3. Write the number down before you look at the next one.

| model | TTFT (ms) | tokens/s | stalls |
|:------|----------:|---------:|:------:|
| small | {n}12 | 81.4 | none |
| medium | 348 | 52.7 | one |
| large | 9{n}1 | 23.9 | two, of 0.4 s |

```python
def pace(times: list[float]) -> float:
    \"\"\"Tokens a second after the first.\"\"\"
    if len(times) < 2:
        return math.nan  # chapter {n}
    return (len(times) - 1) / (times[-1] - times[0])
```

The rate is $r = \\frac{{n - 1}}{{t_n - t_1}}$, and over all calls of a turn

$$
r = \\frac{{\\sum_i (n_i - 1)}}{{\\sum_i (t_{{n_i}} - t_{{1,i}})}}
$$

> What is not in a recording is not known anywhere. It holds for chapter {n}, too.

```json
{{"contentBlockDelta": {{"delta": {{"text": "chapter {n}"}}, "contentBlockIndex": 0}}}}
```

So whoever compares two models lets both answer at the same moment, and counts what they *said* and not what
was promised. Everything else is chapter {n} over again, with other numbers.
"""


def text(characters: int) -> str:
    """Whole chapters of Markdown, at least so many characters."""
    number = -(-characters // len(_CHAPTER.format(n=1)))
    return "".join(_CHAPTER.format(n=n) for n in range(1, number + 1)) + "\nThe very end."


def deltas(number: int, *, characters: int = 6) -> list[str]:
    """A text in exactly so many deltas of about so many characters: parts of words, words, spaces, lines."""
    whole = text(number * characters)
    shifts = (0, 2, -1, 1, -2)
    cuts = [round(i * len(whole) / number) + shifts[i % len(shifts)] for i in range(1, number)]
    return [whole[a:b] for a, b in pairwise([0, *cuts, len(whole)])]


def events(pieces: list[str]) -> Iterator[Event]:
    """The events of an answer that is one block of text."""
    yield MessageStart("assistant")
    for piece in pieces:
        yield TextDelta(0, piece)
    yield BlockStop(0)
    yield MessageStop("end_turn")
    number = len(pieces)
    yield Metadata({"inputTokens": 10, "outputTokens": number, "totalTokens": number + 10}, 0)
