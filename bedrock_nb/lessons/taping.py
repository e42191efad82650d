"""Recording what the lessons ask of a model, so that a class can replay it without an account.

Strategy: the lessons run in kernels as they are, and the one variable that `connect` looks at sends them to a
server here, whose responder is a cassette with Bedrock behind it. A lesson that starts a server of its own
asks that one, and nothing of it is recorded.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bedrock_nb import server
from bedrock_nb.client import TARGET_VARIABLE, connect, of_aws
from bedrock_nb.errors import RequestError
from bedrock_nb.lessons.checking import Finding
from bedrock_nb.lessons.lesson import listed, read
from bedrock_nb.lessons.running import run
from bedrock_nb.recording import Recording

__all__ = ["Taped", "asked", "record"]

#: Seconds that a lesson may take: a real model takes its time.
_SECONDS = 600.0


@dataclass
class Taped:
    """What a recording of lessons brought.

    Attributes
    ----------
    folder : path
        The cassette.
    calls : int
        Calls that were asked upstream.
    new : list of path
        Recordings that were made, or made again.
    input_tokens, output_tokens : int
        Their sum over these, as they are billed.
    findings : list of Finding
        Lessons that failed, and where.
    """

    folder: Path
    calls: int = 0
    new: list[Path] = field(default_factory=list)
    input_tokens: int = 0
    output_tokens: int = 0
    findings: list[Finding] = field(default_factory=list)


def asked(upstream: str) -> Any:
    """The client of whoever is to be asked.

    Raises
    ------
    RequestError
        AWS is wanted, and the environment leads elsewhere.
    CredentialsError
        boto3 finds no AWS credentials.
    """
    client = connect(upstream, verbose=False)
    endpoint = client.meta.endpoint_url
    if upstream == "aws" and not of_aws(endpoint):
        raise RequestError(
            f"This would ask {endpoint} and not AWS: the environment names it.",
            remedy="Use a terminal without AWS_ENDPOINT_URL_BEDROCK_RUNTIME, or say --upstream URL.",
        )
    return client


def record(
    paths: Iterable[str | os.PathLike[str]] | str | os.PathLike[str],
    into: str | os.PathLike[str] = "tapes",
    *,
    upstream: str = "aws",
    afresh: bool = False,
    seconds: float = _SECONDS,
    progress: Callable[[Iterable[Path]], Iterable[Path]] = iter,
) -> Taped:
    """Run lessons, and keep what they are answered in a cassette. On AWS this costs money.

    Parameters
    ----------
    paths : path, or iterable of paths
        Lessons, and folders of them. They are not changed.
    into : path
        The cassette, a folder.
    upstream : str
        Who is asked: ``"aws"``, or the URL of an embedded server.
    afresh : bool
        Ask for what is there, too, and replace it. Without it only what is missing is asked.
    seconds : float
        A lesson is given up after three times as many.
    progress : function
        Passes the lessons on one by one, such as tqdm.

    Returns
    -------
    Taped
        Calls, tokens, new recordings, and lessons that failed.

    Raises
    ------
    RequestError, CredentialsError, RecordingError
        Nobody can be asked, or the folder is no cassette.
    LessonError
        A path is not there, or a file is no notebook.
    """
    lessons = [read(path) for path in listed(paths, numbered=True)]
    made, lock = Taped(Path(into)), threading.Lock()
    ask = server.bedrock(asked(upstream))

    def counted(request: Any) -> Any:
        with lock:
            made.calls += 1
        return ask(request)

    before = _times(made.folder)
    cassette = server.Cassette(made.folder, "all" if afresh else "new_episodes", then=counted)
    by_path = {lesson.path: lesson for lesson in lessons}
    with server.BedrockServer(cassette) as running:
        for path in progress(list(by_path)):
            there = {TARGET_VARIABLE: running.endpoint_url}
            done = run(by_path[path].notebook, path.parent, seconds=seconds, environment=there)
            if done.failed:
                made.findings.append(Finding(path, done.cell, "run", done.why, ""))
    made.new = sorted(path for path, at in _times(made.folder).items() if before.get(path) != at)
    for path in made.new:
        usage = Recording.load(path).usage
        made.input_tokens += usage.get("inputTokens", 0)
        made.output_tokens += usage.get("outputTokens", 0)
    return made


def _times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.glob("*.jsonl")}
