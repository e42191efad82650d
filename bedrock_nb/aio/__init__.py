"""True async: an answer streamed by the event loop, hundreds in one process.

Strategy: boto3 makes and signs a request (`signing`), aiohttp sends it over a session that the loop owns
(`session`), as often as boto3 would (`attempts`). What comes goes the same way as for `stream`: `calling` is
a source of arrivals for `intake.Intake`, so decoder, events, recording, errors, journal and time limits are
one code. A task takes it in (`reading`), and `reply.AsyncReply` is the view of it.

Not here: answers in the place of the network, such as botocore's Stubber; `stream` takes those.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from bedrock_nb.aio.calling import AsyncCalling
from bedrock_nb.aio.reply import AsyncReply
from bedrock_nb.asked import asked
from bedrock_nb.request import Request

__all__ = ["AsyncReply", "astream"]


def astream(
    client: Any,
    prompt: str | Mapping[str, Any] | Sequence[Any] | Request | None = None,
    *,
    model: str | None = None,
    system: str | Mapping[str, Any] | Sequence[Any] | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    stop: Sequence[str] | None = None,
    tools: Any = None,
    tool_choice: str | Mapping[str, Any] | None = None,
    guardrail: str | Mapping[str, Any] | None = None,
    guardrail_mode: str | None = None,
    guardrail_trace: str | None = None,
    schema: Any = None,
    effort: str | None = None,
    service_tier: str | None = None,
    latency: str | None = None,
    prompt_variables: Mapping[str, Any] | None = None,
    metadata: Mapping[str, str] | None = None,
    thinking: int | str | Mapping[str, Any] | None = None,
    additional: Mapping[str, Any] | None = None,
    response_fields: Sequence[str] | None = None,
    streaming: bool | None = None,
    labels: Mapping[str, Any] | None = None,
    first_event_timeout: float | None = None,
    idle_timeout: float | None = None,
    total_timeout: float | None = None,
    retries: int = 0,
    journal: str | os.PathLike[str] | None = None,
    durability: str | None = None,
    errors: str | None = None,
    record: bool = True,
    **converse_kwargs: Any,
) -> AsyncReply:
    """Ask a model and stream its answer in an event loop.

    No coroutine: what it returns is iterated, ``async for event in nb.astream(client, "Hi")``, or drained,
    ``await nb.astream(client, "Hi").drain()``. Nothing is sent before that.

    Parameters
    ----------
    client : boto3 bedrock-runtime client
        From `connect`, or your own. Its credentials, endpoint, hooks, TLS, proxies, time limits and retries
        hold; its own connections are not used. ``proxies_config`` is not known here.
    prompt, model, system, …
        As for `stream`. A reply is always read as fast as it comes, so there is no ``background``.
    retries : int
        As for `stream`. A refusal before the stream (HTTP 429, 503) is repeated as the client's own retry
        handler says, in its mode and from its quota.
    journal : path, optional
        As for `stream`; it is opened when the call begins.
    record : bool
        As for `stream`. False keeps no event: when nobody takes them, the network waits.

    Returns
    -------
    AsyncReply

    Raises
    ------
    RequestError
        An argument that cannot work, or a client whose requests cannot be sent by somebody else; `stream`
        with ``background=True`` takes those. A stub in the client is noticed when the call begins.
    CapabilityError
        ``streaming=True``, and the model is known not to stream.
    """
    wanted = asked("astream", locals())
    return AsyncReply(AsyncCalling(client, **wanted.call), wanted.keeping)
