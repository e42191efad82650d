"""`stream` and `chat`: ask a model. `resume`: take an answer up again that broke off."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bedrock_nb.answer import Answer
from bedrock_nb.asked import Keeping, asked
from bedrock_nb.background import WhenFull
from bedrock_nb.calling import Calling
from bedrock_nb.errors import RequestError
from bedrock_nb.options import split
from bedrock_nb.recording import Recording
from bedrock_nb.reply import Reply
from bedrock_nb.request import Request, as_request
from bedrock_nb.resuming import How, Resumed
from bedrock_nb.tap import check_client, timeouts_of

__all__ = ["chat", "resume", "stream"]


def stream(
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
    background: bool = False,
    buffer: int | None = None,
    when_full: WhenFull = "block",
    made: Callable[[Reply], None] | None = None,
    **converse_kwargs: Any,
) -> Reply:
    """Ask a model and stream its answer.

    Parameters
    ----------
    client : boto3 bedrock-runtime client
        From `connect`, or your own.
    prompt : str, list or Request
        What to ask: text, a list of texts and content blocks, a list of messages, or a `Request`; with the
        last, the other settings change it for this call.
    model, system, max_tokens, temperature, top_p, stop, tools, tool_choice
        As in `Request`; only what is given is sent.
    guardrail, guardrail_mode, guardrail_trace, service_tier, latency, metadata, prompt_variables
        As in `Request`.
    schema
        As in `Request`: a JSON schema or a pydantic model. ``reply.parsed`` is an object of it,
        ``reply.partials`` is it while it grows.
    effort, thinking, additional, response_fields
        As in `Request`.
    streaming : bool, optional
        False makes the plain call, Converse: the same reply, whose answer comes whole, at one time. By
        default that is done where the model is known not to stream, or not with tools; see
        `bedrock_nb.models`.
    labels : mapping, optional
        Columns by which the summary table tells this reply from others.
    first_event_timeout, idle_timeout, total_timeout : float, optional
        Seconds from the call to the first event, from one whole event to the next, and from the call to the
        end; ``float("inf")`` is no limit. By default those of the client: `connect` sets them, to 600, 300
        and none if nothing else is said. A shorter read timeout of the client's own comes first.
    retries : int
        How often to ask again if the stream begins with throttling or lack of room, before anything was
        shown. Later than that nothing is ever asked twice. A refusal before the stream (HTTP 429, 503) is
        repeated by boto3 itself, as the client's ``Config(retries=…)`` says; that is all that a plain call
        can fail with.
    journal : path, optional
        Each event is in this file before you get it, whatever becomes of this process: a folder, in which
        the reply gets a file of its own, or a new file. By default what `configure` says; ``reply.journal``
        is the file.
    durability : {"crash", "interval", "each"}, optional
        What the journal is to survive: the end of the process; loss of power, but for the last 100 ms; loss
        of power.
    errors : {"full", "plain"}, optional
        Whether error texts may hold the provider's words. By default what `configure` says.
    record : bool
        False keeps no event: memory stays the same however long the reply is; it can be read once.
    background : bool
        Read in a thread, and return at once: arrival times are true however slow your loop is.
    buffer : int, optional
        Events by which you may be behind a reply in the background; 1000 if it is not recorded, else any.
    when_full : {"block", "coalesce"}
        What happens then: the network waits, or neighbouring deltas are joined into one.
    made : function, optional
        Told of the reply before its head is waited for, so that another thread can cancel it even then.
    **converse_kwargs
        Any other argument of ``client.converse_stream``, under its own name.

    Returns
    -------
    Reply
        As soon as the response's head is there; no event has been read. In the background at once.

    Raises
    ------
    RequestError
        An argument that cannot work.
    CapabilityError
        ``streaming=True``, and the model is known not to stream; nothing was sent.
    StreamError
        There is no reply: a `RefusedError` if the service refused the request (a
        ``botocore.exceptions.ClientError`` too), a `FirstEventTimeout`, a `ConnectionLost` …
    RecordingError
        The journal cannot be opened; nothing was sent.
    """
    wanted = asked("stream", locals())
    return Reply.from_source(Calling(client, **wanted.call), wanted.keeping, made)


def chat(client: Any, messages_or_prompt: Any = None, **settings: Any) -> str:
    """Ask a model by a plain call and return the text of its answer.

    Parameters
    ----------
    client : boto3 bedrock-runtime client
        From `connect`, or your own.
    messages_or_prompt : list of messages, str, list of blocks, or Request
        As for `stream`.
    **settings
        As in `Request`, or arguments of ``client.converse`` under their own names.

    Returns
    -------
    str
        All visible text, wherever it stands among the blocks: reasoning and tool calls may come before it.

    Raises
    ------
    RequestError
        An argument that cannot work.
    RefusedError
        The service refuses the request.

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> client = nb.connect("local", verbose=False)
    >>> messages = nb.add_user_message([], "Count from 1 to 3")
    >>> answer = nb.chat(client, messages, temperature=0)
    """
    check_client(client, "chat")
    given, extra = split(settings)
    return as_request(messages_or_prompt, given, extra).send(client).text


def resume(
    client: Any,
    source: Answer | Recording | str | os.PathLike[str] | None = None,
    *,
    how: How = "auto",
    first_event_timeout: float | None = None,
    idle_timeout: float | None = None,
    total_timeout: float | None = None,
    journal: str | os.PathLike[str] | None = None,
    durability: str | None = None,
    errors: str | None = None,
    labels: Mapping[str, Any] | None = None,
    background: bool = False,
) -> Reply:
    """Take an answer up again that broke off: also one whose kernel died, from its journal.

    The part that came is sent back as the beginning of the assistant's turn, and the model goes on from
    there. Some models do not allow that, and an answer that broke off in reasoning or in a tool call cannot
    be gone on with: these are asked again from the start. In the recording of the new reply a `Seam` marks
    the place; the pause between both calls is no part of its times. Token counts are those of the second
    call alone: the first never told its own.

    Parameters
    ----------
    client : boto3 bedrock-runtime client
    source : Reply, AsyncReply, Recording, or path of a recording
        What broke off; it must be given.
    how : {"auto", "continue", "restart"}
        "auto" tries to continue, and restarts where that cannot be or the service refuses.
    first_event_timeout, idle_timeout, total_timeout : float, optional
        As for `stream`, counted from now on.
    journal, durability, errors, labels, background
        As for `stream`; labels are added to those of the first part, and ``errors`` are as they were there.

    Returns
    -------
    Reply
        Both parts, joined.

    Raises
    ------
    RequestError
        The reply is whole, or its message is, or it still streams, or its request is not known.
    StreamError
        The second call failed; what came before is in its reply as well.
    """
    check_client(client, "resume")
    if source is None:
        raise RequestError(
            "There is nothing to resume.",
            remedy="Give the reply that broke off, its recording, or the path of its journal.",
        )
    schema = source.schema if isinstance(source, Answer) else None
    if isinstance(source, Answer):
        source.settle(wait=True)
        errors = errors or ("plain" if source.masked else None)
    before = source if isinstance(source, Recording) else getattr(source, "recording", None)
    if not isinstance(before, Recording):
        before = Recording.load(source)  # type: ignore[arg-type]
    limits = timeouts_of(client).but(first_event_timeout, idle_timeout, total_timeout)
    keeping = Keeping(
        {**before.labels, **(labels or {})},
        journal,
        durability,
        errors,
        background=background,
        schema=schema,
    )
    keeping.check()
    return Reply.from_source(Resumed(client, before, how, limits), keeping)
