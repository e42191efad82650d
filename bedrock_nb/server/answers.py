"""What the embedded model knows: a table from the words of a prompt to an answer in Markdown.

Strategy: a row answers a sentence that is about it and about nothing else. So a key fits if all its words are
in one sentence of the prompt, whatever their order, and every other word there is one that merely asks
(`_ASKING`): "What is latency?" has an answer, "the latency of light" has none. The first row that fits
answers, so particular rows stand above general ones.

To add an answer, add a row; to have it found in more ways, add keys. The prompts of the lessons are all here.
Facts only; where a row depends on the prompt, its answer is a function of the sentence that fits. One thing
is kept in mind over the turns of a conversation, the user's name: so one can see whether they were sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

__all__ = ["ANSWERS", "READ", "Answer", "find"]


class Answer(NamedTuple):
    """One row: what a sentence must be about, one set of words or another, and the text."""

    keys: tuple[str, ...]
    text: str | Callable[[str], str]


RAINBOW = """\
# Rainbows

A rainbow is **sunlight sorted by colour**. It appears when the sun is behind you and rain, mist or spray \
is in front of you.

Each drop of water does three things to the light:

1. **Refraction**: the light bends as it enters the drop, violet a little more than red.
2. **Reflection**: it bounces off the back of the drop.
3. **Refraction again**: it bends once more on its way out, and the colours spread further apart.

The light comes back strongest at about 42 degrees from the direction opposite the sun, so all the drops \
at that angle form a circle. From the ground you see only its upper part; from an aeroplane you may see \
all of it.

A fainter *second* bow often stands at about 51 degrees, with its colours reversed: there the light was \
reflected twice. Nobody can walk to the end of a rainbow, because it moves with you: every observer sees \
light from different drops.
"""

HAIKU = """\
Small stream over stones,
each word arrives on its own:
soon there is a song.
"""

HAIKU_RAINBOW = """\
Rain turns, the sun looks:
one white ray, and every drop
gives back its colours.
"""

STREAMING = """\
**Streaming** means that you see an answer while it is being made. A language model writes one token after \
another; without streaming, the service keeps them all until the last one is done and then sends the whole \
message. With streaming, it sends a small event for each bit of text as soon as it exists. The answer is \
not finished any sooner, but it *begins* sooner: you can start to read after a fraction of a second, stop \
an answer that goes wrong, and pass the first sentence on while the last one is still unwritten. Two \
numbers describe what you feel: the time to the first token, and the time for each token after it.
"""

TOKEN = """\
A **token** is the unit in which a language model reads and writes: a short word, a piece of a longer \
word, a number or a punctuation mark. In English, a token is about four characters long on average, so 100 \
tokens are roughly 75 words.

- The model produces *one token at a time*, each chosen in view of all those before it.
- Limits such as `maxTokens`, and prices, are counted in tokens.
- Each family of models has its own way of cutting text into tokens, so the same text can have different \
counts.

A token is not a chunk. When an answer is streamed, one event can carry a single token or several.
"""

TTFT = """\
**Time to first token** (TTFT) is the time from sending a request to receiving the first piece of the \
answer. It holds the way over the network, any waiting for a free place, and the reading of the whole \
prompt, which is why long prompts make it longer. After that comes the **time per output token**: how fast \
the rest follows.

A person who reads along feels the first; a program that needs the whole answer feels their sum.
"""

LIGHTHOUSE = """\
## The Keeper of Gull Point

The lighthouse at Gull Point had been automatic for thirty years, and still Mara climbed its hundred and \
twelve steps every evening. She brought a cloth for the glass and a thermos of tea, and she told the lamp \
about her day.

One November night the wind took the power line down. The lamp went out in the middle of a turn, as if \
somebody had closed a book. Mara stood in the dark and heard, between two gusts, the engine of a small \
boat: too near, and on the wrong side.

There was an old brass bell on the gallery that nobody had rung since her grandfather's time. She pulled \
the rope until her hands burned. Three strokes, a pause, three strokes: *rocks, keep off*. The engine \
dropped to a murmur. She rang again. Slowly, the sound drew away to the west, where the water was deep.

In the morning a boy stood at the door with a bucket of mackerel. "My father says the light was out," he \
said, "but somebody was home."

Mara took the fish. She showed him the lamp, the cloth and the bell, and let him ring it once. He counted \
the steps aloud on the way down and got a hundred and eleven.

"You have missed one," said Mara.

"Then I have to come again," said the boy.

He came the next evening, and the one after that. The electricians mended the line before Christmas, and \
the light turned by itself as it always had. But from then on, there were two cups beside the thermos.
"""

PLANETS = """\
The Solar System has eight planets. In order from the Sun:

| # | Planet | Kind | Diameter (km) | Year (Earth time) |
|---|---------|-----------|---------|------------|
| 1 | Mercury | rocky | 4,879 | 88 days |
| 2 | Venus | rocky | 12,104 | 225 days |
| 3 | Earth | rocky | 12,756 | 365 days |
| 4 | Mars | rocky | 6,792 | 687 days |
| 5 | Jupiter | gas giant | 142,984 | 12 years |
| 6 | Saturn | gas giant | 120,536 | 29 years |
| 7 | Uranus | ice giant | 51,118 | 84 years |
| 8 | Neptune | ice giant | 49,528 | 165 years |

Diameters are at the equator. Pluto has counted as a dwarf planet since 2006.
"""

ADD = """\
Here is a function that adds two numbers:

```python
def add(a: float, b: float) -> float:
    \"\"\"Return the sum of a and b.\"\"\"
    return a + b


print(add(2, 3))  # 5
```

It works for whole numbers and for decimal ones. Remember that decimal fractions are stored in binary: \
`add(0.1, 0.2)` gives `0.30000000000000004`.
"""

BEDROCK = """\
**Amazon Bedrock** is a service of AWS that runs foundation models from several companies behind one API. \
You send messages, the service runs the model, and you pay for what you use.

- **Converse** takes a conversation and returns the whole answer in one response.
- **ConverseStream** takes the same request and returns a stream of events while the answer is being made.

Both have the same shape for every model, so changing the model means changing its id.
"""

SKY = """\
The sky is blue because air scatters short waves of light more strongly than long ones (*Rayleigh \
scattering*). Blue light from the sun is sent off in all directions and reaches you from every part of the \
sky, while red light mostly goes straight on. Violet is scattered even more, but there is less of it in \
sunlight and our eyes are less sensitive to it. Towards evening the light takes a longer way through the \
air, most of the blue is lost on it, and what is left is the red of the sunset.
"""

HELLO = """\
Hello! I am the model that is built into bedrock_nb: a small program with prepared answers, no neural \
network. Ask me about **rainbows**, **tokens** or **streaming**, let me *count from 1 to 20*, or ask for a \
short story about a lighthouse. I am here so that you can watch an answer stream in.
"""

NO_NAME = "I do not know your name: nobody has told me in this conversation."


def _count(prompt: str) -> str:
    """Count from one number of the prompt to the other, in either direction, two hundred numbers at most."""
    found = [int(number) for number in re.findall(r"\d{1,6}", prompt)][:2]
    first, last = (1, *found)[-2:] if found else (1, 10)
    step = 1 if last >= first else -1
    numbers = range(first, last + step, step)[:200]
    return ", ".join(map(str, numbers)) + "."


def _pairs(ones: str, others: str) -> Iterator[str]:
    """A key for each word of one list with each of the other."""
    return (f"{one} {other}" for one in ones.split() for other in others.split())


#: In order of search. A key is words that must all be in a sentence; each row may have several keys.
ANSWERS: tuple[Answer, ...] = (
    Answer(("haiku rainbow", "haiku rainbows", "poem rainbow", "poem rainbows"), HAIKU_RAINBOW),
    Answer(("haiku", *_pairs("haiku poem", "stream streams streaming river rivers water")), HAIKU),
    Answer(("story", "lighthouse", "story lighthouse", "story lighthouse keeper"), LIGHTHOUSE),
    Answer(("count from", "count to"), _count),
    Answer(tuple(_pairs("function code", "add adds sum")), ADD),
    Answer(("planets", "planet list", "planets solar system", "planets sun"), PLANETS),
    Answer(("rainbow", "rainbows", "rainbow form", "rainbows form", "rainbows formed"), RAINBOW),
    Answer(("ttft", "time first token", "ttft time first token", "latency"), TTFT),
    Answer(("token", "tokens", "tokenizer"), TOKEN),
    Answer(("sky blue",), SKY),
    Answer(("bedrock", "amazon bedrock", "aws bedrock"), BEDROCK),
    Answer(("streaming", "stream", "streams", "converse_stream", "conversestream"), STREAMING),
)

#: Words that a sentence about anything may have: they ask, or say how the answer should be.
_ASKING = frozenset(
    {"a", "about", "again", "all", "also", "an", "and", "answer", "are", "as", "be", "brief"}
    | {"briefly", "can", "child", "could", "define", "definition", "describe", "description"}
    | {"detail", "details", "do", "does", "down", "each", "english", "exactly", "example"}
    | {"examples", "explain", "explanation", "for", "from", "give", "go", "hello", "help"}
    | {"hey", "hi", "how", "i", "in", "interested", "into", "introduce", "is", "it", "know"}
    | {"language", "let", "like", "list", "llm", "llms", "long", "me", "mean", "meaning"}
    | {"means", "mind", "model", "models", "my", "name", "never", "now", "numbers", "of", "ok"}
    | {"one", "other", "paragraph", "please", "python", "quick", "quickly", "s", "say"}
    | {"sentence", "sentences", "short", "show", "simple", "simply", "slowly", "so", "some"}
    | {"something", "talk", "teach", "tell", "terms", "than", "thank", "thanks", "that", "the"}
    | {"their", "them", "then", "there", "they", "this", "three", "to", "two", "understand"}
    | {"up", "us", "want", "was", "we", "well", "were", "what", "whats", "when", "which", "who"}
    | {"why", "will", "with", "word", "words", "work", "works", "would", "write", "you", "your"}
)
#: A sentence with one of these and a word or two that ask for nothing, such as a name.
_GREETINGS = ("hello", "hi", "hey", "good morning", "good afternoon", "good evening")
_NAME_WORDS = 2
#: Characters of a prompt, from its end, in which words are looked for: while a regular expression reads, no
#: other stream goes on.
READ = 100_000
_WORD = re.compile(r"[^\W_]+(?:_[^\W_]+)*")
#: Who says the one is greeted by name, and is told it again when they ask the other.
_PROPER = r"(?-i:[^\W\d_a-z])[^\W\d_]*"  # not "my name is not important"
_NAMED = re.compile(rf"\b(?:the user's name is |my name is )(?P<name>{_PROPER})", re.IGNORECASE)
_INTRODUCED = re.compile(rf"(?:(?:hello|hi|hey)\W+)?my name is (?P<name>{_PROPER})\W*", re.IGNORECASE)
_ASKED_NAME = re.compile(
    r"\b(?:what is|what's|do you (?:still )?(?:know|remember)|(?:tell|remind) me|say) my name(?: again)?\s*$",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?;:…]+(?=\s|$)|\n")


def find(prompt: str, before: Sequence[str] = ()) -> str | None:
    """The prepared answer for a prompt, in Markdown; None if there is none.

    Parameters
    ----------
    prompt : str
        Of one that is longer than a book's chapter, the end is looked at.
    before : sequence of str
        What was said before to the model in the same conversation, its system prompt first.

    Examples
    --------
    >>> find("Please count from 3 to 5!")
    '3, 4, 5.'
    >>> find("What is the latency of light?")
    >>> find("What is my name?", before=["My name is Ada."])
    'Your name is Ada.'
    """
    prompt = prompt[-READ:]
    sentences = [(text, _WORD.findall(text.lower())) for text in _SENTENCE_END.split(prompt)]
    about = [(text, set(words), _subject(words)) for text, words in sentences if words]
    for answer in ANSWERS:
        for key in answer.keys:
            wanted = set(key.split())
            for text, words, subject in about:
                if subject <= wanted <= words:
                    return (answer.text(text) if callable(answer.text) else answer.text).strip()
    if any(_ASKED_NAME.search(text) for text, _ in sentences):
        said = [found["name"] for text in (*before, prompt) for found in _NAMED.finditer(text)]
        return f"Your name is {said[-1]}." if said else NO_NAME
    if introduced := _INTRODUCED.fullmatch(prompt.strip()):
        return f"Nice to meet you, {introduced['name']}."
    return HELLO.strip() if _greets([word for _, words in sentences for word in words]) else None


def _subject(words: Sequence[str]) -> set[str]:
    """The words that say what a sentence is about; numbers and words that ask do not."""
    return {word for word in words if word not in _ASKING and not word.isdecimal()}


def _greets(words: Sequence[str]) -> bool:
    """Whether this is a greeting, and at most a name or two follow it."""
    said = " ".join(words)
    for greeting in _GREETINGS:
        if f"{said} ".startswith(f"{greeting} "):
            rest = words[len(greeting.split()) :]
            return len(rest) <= _NAME_WORDS and set(rest) - {"there"} <= _subject(rest)
    return False
