"""The prompt cache: what of a request the service has read before, and what that does to the counts.

Strategy: a ``cachePoint`` marks the prefix of the request that ends there, in the order in which a model
reads it: tools, system prompt, messages. The cache remembers a digest of each marked prefix and for how long,
never its text. Nothing gets faster here, only the counts change: `cached` rewrites the usage of answers whose
tokens this server counted itself.

As the service does, a lookup also goes back over the blocks before a cache point, so that a conversation
whose only cache point moves on with each turn reads what the turn before has written.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import wraps
from typing import Any, NamedTuple

from bedrock_nb.events import Metadata
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server.latency import is_timed
from bedrock_nb.server.refusal import Refusal
from bedrock_nb.server.responders import Answer, Responder
from bedrock_nb.server.tokens import count
from bedrock_nb.server.writing import texts

__all__ = ["PromptCache", "cached"]

#: Seconds that a prefix lives after it was last written or read, by its ttl.
_LIFE = {"1h": 3600.0, "5m": 300.0}  # in the order of cacheDetails
_DEFAULT_TTL = "5m"
#: Cache points that a request may have.
_MOST_POINTS = 4
#: Blocks before a cache point at whose ends an earlier prefix is looked for; the service says about 20.
_LOOKBACK = 20


class _Prefix(NamedTuple):
    """The beginning of a request: its digest, its tokens, and the ttl of the cache point that ends it."""

    digest: bytes
    tokens: int
    ttl: str | None = None


class _Entry(NamedTuple):
    """A prefix in the cache: when it is forgotten, and for how long each use keeps it."""

    until: float
    life: float


class PromptCache:
    """Prefixes of requests, remembered for some minutes by each model.

    Safe to share between threads. When it is full, those that are past their time make room first, then those
    that were not used for longest.

    Parameters
    ----------
    min_tokens : int
        Shorter prefixes are not cached, and nothing says so but the counts. On the service the number
        depends on the model; 1,024 is what most have.
    clock : function, optional
        Seconds on a clock that never goes back.
    most : int
        Prefixes that are remembered at most; each takes about 200 bytes.

    Examples
    --------
    >>> cache = PromptCache(min_tokens=3)
    >>> point = {"cachePoint": {"type": "default"}}
    >>> request = Request(prompt=[{"text": "one two three four"}, point, {"text": "five"}])
    >>> counted = {"inputTokens": 5, "outputTokens": 1, "totalTokens": 6}
    >>> cache.usage(request, counted)["cacheWriteInputTokens"]
    4
    >>> cache.usage(request, counted)["cacheReadInputTokens"]
    4
    """

    def __init__(
        self, min_tokens: int = 1024, clock: Callable[[], float] = time.monotonic, *, most: int = 10_000
    ) -> None:
        self.min_tokens, self.most = min_tokens, most
        self._clock = clock
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<PromptCache: {len(self)} prefixes, of at least {self.min_tokens} tokens>"

    def usage(self, request: Request, usage: Mapping[str, Any]) -> dict[str, Any]:
        """Read and write the prefixes of a request, and say what that does to its usage.

        Parameters
        ----------
        request : Request
        usage : mapping
            Token counts in Bedrock's names, ``inputTokens`` of the whole request.

        Returns
        -------
        dict
            A copy. If the request has cache points, ``inputTokens`` is what was neither read nor written,
            and ``cacheReadInputTokens``, ``cacheWriteInputTokens`` and ``cacheDetails`` are added.
            ``totalTokens`` stays: on the service it is the sum of all three and the output, too.

        Raises
        ------
        Refusal
            400: too many cache points, or a longer ttl after a shorter one.
        """
        return self._count(_prefixes(request), usage)

    def _count(self, prefixes: list[_Prefix], usage: Mapping[str, Any]) -> dict[str, Any]:
        counted = dict(usage)
        if not _marked(prefixes):
            return counted
        # Who counted the usage may have other tokens than ours: no more is cached than there is.
        whole = counted.get("inputTokens", 0)
        read, written = self._turn(prefixes)
        read, left = min(read, whole), max(0, whole - read)
        details = []
        for ttl in _LIFE:
            tokens = min(written.get(ttl, 0), left)
            left -= tokens
            if tokens:
                details.append({"ttl": ttl, "inputTokens": tokens})
        counted |= {
            "inputTokens": left,
            "cacheReadInputTokens": read,
            "cacheWriteInputTokens": whole - read - left,
            "cacheDetails": details,
        }
        return counted

    def _turn(self, prefixes: list[_Prefix]) -> tuple[int, dict[str, int]]:
        """Tokens that are read, and tokens that are written by ttl. Afterwards every mark is cached."""
        marks = [i for i in _marked(prefixes) if prefixes[i].tokens >= self.min_tokens]
        near = sorted({j for i in marks for j in range(max(0, i - _LOOKBACK), i + 1)}, reverse=True)
        read, written = 0, dict.fromkeys(_LIFE, 0)
        with self._lock:
            now = self._clock()
            for prefix in (prefixes[j] for j in near):
                if self._renew(prefix.digest, now):
                    read = prefix.tokens
                    break
            end = read
            for prefix in (prefixes[i] for i in marks):
                ttl = prefix.ttl or _DEFAULT_TTL  # a mark has one
                if prefix.tokens > end:
                    written[ttl] += prefix.tokens - end
                    end = prefix.tokens
                if not self._renew(prefix.digest, now):
                    self._write(prefix.digest, now, _LIFE[ttl])
        return read, written

    def _renew(self, digest: bytes, now: float) -> bool:
        """Whether a prefix is known; if so, its life begins anew."""
        entry = self._entries.get(digest)
        if entry is None or entry.until <= now:
            return False
        self._entries[digest] = _Entry(now + entry.life, entry.life)
        self._entries.move_to_end(digest)
        return True

    def _write(self, digest: bytes, now: float, life: float) -> None:
        self._entries.pop(digest, None)  # one that is past its time
        if len(self._entries) >= self.most:
            for old in [key for key, entry in self._entries.items() if entry.until <= now]:
                del self._entries[old]
        while len(self._entries) >= self.most:
            self._entries.popitem(last=False)
        self._entries[digest] = _Entry(now + life, life)


def cached(respond: Responder, cache: PromptCache) -> Responder:
    """A responder whose answers count what the prompt cache has read and written.

    Only the usage of whole recordings changes, and only where this server counted it: an answer with times
    was recorded elsewhere, one that names caches has been through one, and whoever answers event by event
    counts for himself. An answer that took no input was stopped before any model read the request.

    Parameters
    ----------
    respond : Responder
        The model. A guardrail belongs around the result and not inside: ``guarded(cached(canned, cache))``.
    cache : PromptCache

    Returns
    -------
    Responder
        It raises a `Refusal` for cache points that the service does not take.
    """

    @wraps(respond)
    def answer(request: Request) -> Answer:
        prefixes = _prefixes(request)
        given = respond(request)
        if not _marked(prefixes) or not isinstance(given, Recording) or is_timed(given):
            return given
        usage = given.usage
        if not usage.get("inputTokens") or usage.keys() & {"cacheReadInputTokens", "cacheWriteInputTokens"}:
            return given
        return _recounted(given, cache._count(prefixes, usage))

    return answer


def _recounted(recording: Recording, usage: dict[str, Any]) -> Recording:
    """The same recording with another usage."""
    copy = recording.like()
    for t, read, nbytes, event in recording.rows():
        copy.append(replace(event, usage=usage) if isinstance(event, Metadata) else event, t, read, nbytes)
    copy.status = recording.status
    return copy


# -- what is asked ---------------------------------------------------------------------------------


def _marked(prefixes: list[_Prefix]) -> list[int]:
    return [i for i, prefix in enumerate(prefixes) if prefix.ttl is not None]


def _prefixes(request: Request) -> list[_Prefix]:
    """Every prefix that ends with a block up to the last cache point; those at a cache point have a ttl.

    A cache point is no part of a prefix: the same text without it is the same prefix.

    Raises
    ------
    Refusal
        The cache points are not as the service wants them.
    """
    if not _has_points(request):
        return []
    parts = list(_parts(request.to_kwargs()))
    points = [i for i, (_, block) in enumerate(parts) if "cachePoint" in block]
    _check(parts, points)
    running = hashlib.sha256(request.model.encode("utf-8", "surrogatepass"))
    tokens = 0
    found = [_Prefix(running.digest(), 0)]
    for place, block in parts[: points[-1] + 1]:
        if "cachePoint" in block:
            found[-1] = found[-1]._replace(ttl=_ttl(block))
            continue
        # Where it stands is part of it, but not its number: system prompts differ from messages, and roles.
        running.update(place.partition(" ")[2].encode())
        _digest(running.update, block)
        tokens += sum(count(text) for text in texts(block))
        found.append(_Prefix(running.digest(), tokens))
    return found


def _has_points(request: Request) -> bool:
    """Whether there is a cache point; told without a copy of the request, for most have none."""
    kwargs: dict[str, Any] = {"system": request.system, "toolConfig": request.tools, **request.extra}
    tools = kwargs["toolConfig"]
    places = [kwargs["system"], tools.get("tools") if isinstance(tools, Mapping) else tools]
    places += [request.prompt, *(turn["content"] for turn in request.messages if isinstance(turn, Mapping))]
    return any(
        "cachePoint" in block for place in places if not isinstance(place, str) for block in place or ()
    )


def _parts(kwargs: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each block in the order of reading, with its path and, after a space, what kind of part it is."""
    for i, tool in enumerate((kwargs.get("toolConfig") or {}).get("tools") or ()):
        yield f"tools.{i} tool", tool
    for i, block in enumerate(kwargs.get("system") or ()):
        yield f"system.{i} system", block
    for i, turn in enumerate(kwargs["messages"]):
        for j, block in enumerate(turn["content"]):
            yield f"messages.{i}.content.{j} {turn['role']}", block


def _check(parts: list[tuple[str, Mapping[str, Any]]], points: list[int]) -> None:
    """The rules of cache points, in the words of the models that have them."""
    if len(points) > _MOST_POINTS:
        raise _refused(
            f"A maximum of {_MOST_POINTS} blocks with cache_control may be provided. Found {len(points)}."
        )
    least = max(_LIFE.values())
    for i in points:
        ttl = _ttl(parts[i][1])
        if _LIFE[ttl] > least:
            path = parts[max(0, i - 1)][0].partition(" ")[0]  # a cache point is a mark on the block before
            raise _refused(
                f"{path}.cache_control.ttl: a ttl='{ttl}' cache_control block must not come after a "
                "ttl='5m' cache_control block. Note that blocks are processed in the following order: "
                "`tools`, `system`, `messages`."
            )
        least = min(least, _LIFE[ttl])


def _ttl(block: Mapping[str, Any]) -> str:
    ttl = block["cachePoint"].get("ttl")
    return ttl if ttl in _LIFE else _DEFAULT_TTL


def _refused(text: str) -> Refusal:
    return Refusal(400, "ValidationException", f"The model returned the following errors: {text}")


def _digest(update: Callable[[bytes], None], node: Any) -> None:
    """Hash nested data by type, length and content, without recursion: documents may be nested deeply."""
    waiting = [node]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Mapping):
            update(b"{%d " % len(item))
            for name in sorted(item, key=str, reverse=True):
                waiting += [item[name], name]
        elif isinstance(item, list | tuple):
            update(b"[%d " % len(item))
            waiting += reversed(item)
        else:
            raw = bytes(item) if isinstance(item, bytes | bytearray) else None
            data = str(item).encode("utf-8", "surrogatepass") if raw is None else raw
            update(f"{type(item).__name__} {len(data)} ".encode() + data)
