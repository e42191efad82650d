"""Tools of MCP servers (Model Context Protocol), by way of the official client.

Strategy: a server is a `Link` (a thread that holds the official client) and a list of tools. Each tool of the
server becomes a `Tool` whose function hands the call to that thread and waits for it. The package ``mcp`` is
an extra and is imported when a server is started.
"""

from __future__ import annotations

import atexit
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from bedrock_nb.errors import RequestError
from bedrock_nb.mcp_tools.link import Link, Place
from bedrock_nb.tools import Tool, ToolContext, tool

__all__ = ["MCPServer", "fit_names"]


class MCPServer:
    """The tools of an MCP server, which is started as a process or reached by HTTP.

    Use it as a context manager, or call `start` and `close`; a server that was closed can be started again.

    Parameters
    ----------
    command : str or Path
        The program to start, which speaks MCP over stdin and stdout.
    *args : str or Path
        Its arguments.
    url : str
        In place of a command: where a server listens (streamable HTTP).
    headers : mapping, optional
        Sent with each HTTP request, for example ``{"Authorization": …}``. Never shown.
    env : mapping, optional
        Environment variables for the process. It does not get this process's: the official client hands on
        HOME, LOGNAME, PATH, SHELL, TERM and USER, and these here on top. Never shown.
    cwd : str or Path, optional
        The folder in which the process starts.
    prefix : str
        Put before each tool's name, to tell two servers' tools apart.
    timeout : float or None
        Seconds that one call of a tool may take.
    start_timeout : float
        Seconds until the server has answered and listed its tools.

    Raises
    ------
    RequestError
        The arguments name no server, or two, or are of a wrong type. No value of ``env`` or ``headers`` is in
        the message.

    Notes
    -----
    A tool that its server calls read-only runs without asking; all others ask (``side_effects=True``). That
    is the server's word: start only servers that you trust.

    Examples
    --------
    >>> with nb.MCPServer("python", "my_server.py") as server:         # doctest: +SKIP
    ...     talk = nb.Conversation(client, tools=server.tools)
    """

    def __init__(
        self,
        command: str | os.PathLike[str] | None = None,
        *args: str | os.PathLike[str],
        url: str | None = None,
        headers: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        prefix: str = "",
        timeout: float | None = 60.0,
        start_timeout: float = 30.0,
    ) -> None:
        if (command is None) == (url is None):
            raise RequestError(
                "An MCP server is a command to start or a url to reach, one of the two.",
                remedy='Write MCPServer("npx", "-y", "some-server") or MCPServer(url="https://…/mcp").',
            )
        if url is not None and (env is not None or cwd is not None):
            raise RequestError("env= and cwd= are for a command.", remedy="A url takes headers=.")
        if url is None and headers is not None:
            raise RequestError("headers= are for a url.", remedy="A command takes env=.")
        if url is not None and not _is_address(url):
            raise RequestError(
                "url= is not the address of an HTTP server.", remedy='It looks like "https://host/mcp".'
            )
        if cwd is not None and not Path(_path("cwd", cwd)).is_dir():
            raise RequestError(f"cwd={os.fspath(cwd)!r} is no folder.", remedy="Give one that exists.")
        if not isinstance(prefix, str):
            raise RequestError(f"prefix is of type {type(prefix).__name__}; a text is wanted.")
        if timeout is not None:
            _check_seconds("timeout", timeout)
        _check_seconds("start_timeout", start_timeout)
        self._place = Place(
            () if command is None else tuple(_path("A part of the command", one) for one in (command, *args)),
            url,
            headers=_texts("headers", headers),
            env=_texts("env", env),
            cwd=None if cwd is None else _path("cwd", cwd),
            start_timeout=start_timeout,
        )
        self._prefix, self._timeout = prefix, timeout
        self._link: Link | None = None
        self._tools: list[Tool] = []

    def start(self) -> MCPServer:
        """Start or reach the server and list its tools; nothing if it is there already.

        Raises
        ------
        RequestError
            The package ``mcp`` is not installed, or there is no such command.
        ServerError
            The server ended, cannot be reached, or did not answer in ``start_timeout`` seconds.
        """
        if self._link is not None:
            if self._link.state == "running":
                return self
            self.close()
        _installed()
        self._link = Link(self._place)
        try:
            self._link.start()
            self._tools = list(self._made(self._link))
            if not self._link.all_listed:
                warnings.warn(
                    f"The list of tools of the MCP server {self.name!r} did not come to an end; "
                    f"its first {len(self._tools)} are used.",
                    stacklevel=2,
                )
        except BaseException:
            self.close()
            self._link = None
            raise
        atexit.register(self.close)
        return self

    def close(self) -> None:
        """End the connection, the process and the thread; a call that runs is given up."""
        atexit.unregister(self.close)
        if self._link is not None:
            self._link.close()

    def __enter__(self) -> MCPServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def tools(self) -> list[Tool]:
        """The server's tools, in its order.

        Raises
        ------
        RequestError
            The server was not started, or was closed.
        """
        if self._link is None or self._link.state == "closed":
            raise RequestError(
                f"The MCP server {self.name!r} is not running.",
                remedy="Call start(), or use it in a with statement.",
            )
        return list(self._tools)

    @property
    def name(self) -> str:
        """What the server calls itself, or its command or address."""
        return self._link.name if self._link is not None else self._place.label

    @property
    def stderr(self) -> str:
        """The last lines that the process wrote to stderr, with the values of ``env`` masked."""
        return "\n".join(self._link.last_lines()) if self._link is not None else ""

    def __repr__(self) -> str:
        if self._link is None:
            return f"<MCPServer {self.name!r}: not started>"
        count = len(self._tools)
        return f"<MCPServer {self.name!r}: {count} tool{'s' * (count != 1)}, {self._link.state}>"

    def _made(self, link: Link) -> Iterator[Tool]:
        listed = link.listed
        for name, theirs in zip(fit_names([one.name for one in listed], self._prefix), listed, strict=True):
            hints = theirs.annotations
            yield tool(
                _function(link, theirs.name, self._timeout),
                name=name,
                description=theirs.description or theirs.title or theirs.name,
                schema={**theirs.input_schema, "type": "object"},
                side_effects=not (hints is not None and hints.read_only_hint is True),
                timeout=self._timeout,
            )


def _function(link: Link, name: str, limit: float | None) -> Callable[..., list[dict[str, Any]] | None]:
    def call(context: ToolContext | None = None, /, **arguments: Any) -> list[dict[str, Any]] | None:
        return link.call(name, arguments, limit, context)

    return call


def _is_address(url: object) -> bool:
    try:
        address = urlsplit(url if isinstance(url, str) else "")
        return address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:  # of brackets, or of a port that is none
        return False


def _path(name: str, value: object) -> str:
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(path, str):
        raise RequestError(f"{name} is of type {type(value).__name__}; a text or a Path is wanted.")
    return path


def _texts(name: str, value: Mapping[str, str] | None) -> dict[str, str]:
    """A dict of texts; what is wrong with it is said without a value, for it may be a secret."""
    pairs: Any = {} if value is None else value
    if not isinstance(pairs, Mapping):
        raise RequestError(f"{name}= is of type {type(value).__name__}; a dict of names and texts is wanted.")
    for key, text in pairs.items():
        if not isinstance(key, str):
            raise RequestError(f"A name in {name}= is of type {type(key).__name__}; a text is wanted.")
        if not isinstance(text, str):
            raise RequestError(
                f"The value of {key!r} in {name}= is of type {type(text).__name__}; a text is wanted.",
                remedy="Write str(…) around it, or leave it out." if text is not None else "Leave it out.",
            )
    return dict(pairs)


def _check_seconds(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        what = f"of type {type(value).__name__}" if not isinstance(value, int | float) else repr(value)
        raise RequestError(f"{name} is {what}; a number of seconds above 0 is wanted.")


def _installed() -> None:
    try:
        from mcp import Client  # noqa: F401 - the name that is new in version 2
    except ImportError:
        raise RequestError(
            "Tools of MCP servers need the package mcp, version 2 or later.",
            remedy='Install it: pip install "bedrock-nb[mcp]".',
        ) from None
    # The client logs with a traceback what it cannot read. Without any handler Python would print that
    # into the notebook; handlers of the user's own still get it.
    log = logging.getLogger("mcp")
    if not log.handlers:
        log.addHandler(logging.NullHandler())


def fit_names(names: Iterable[str], prefix: str = "") -> list[str]:
    """Tool names that Bedrock takes: 1 to 64 of ``a-z A-Z 0-9 _ -``, no two the same.

    Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolSpecification.html
    """
    wanted = [(re.sub(r"[^a-zA-Z0-9_-]", "_", prefix + name) or "tool")[:64] for name in names]
    kept = set(wanted)  # a number must not make a name that another tool has
    seen, out = set[str](), []
    for name in wanted:
        fit, number = name, 2
        while fit in seen or (fit != name and fit in kept):
            fit = f"{name[: 63 - len(str(number))]}_{number}"
            number += 1
        seen.add(fit)
        out.append(fit)
    return out
