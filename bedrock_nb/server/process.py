"""The embedded server as a process: run by hand (`serve`), or one for this process to share (`local`).

A process of its own keeps the server's clock away from the notebook's interpreter lock. Strategy: the child
announces itself in one line of JSON on its standard output, and watches its standard input, a pipe that
nobody writes to: when that ends, the parent is gone, however it went, and the child ends too. It also looks
whether its parent is still the same, for a pipe that a forked sibling keeps open. An interrupt of the
kernel reaches the whole process group; the child does not listen to it.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import bedrock_nb.errors
from bedrock_nb.errors import ServerError
from bedrock_nb.server.classroom import Classroom
from bedrock_nb.server.fault import Faults, Plan, plan, sound
from bedrock_nb.server.guardrail import DEFAULT, Guardrail
from bedrock_nb.server.latency import Latency
from bedrock_nb.server.loopback import (
    ACCESS_KEY,
    REGION,
    SEAT_VARIABLE,
    SECRET_KEY,
    TARGET_VARIABLE,
    Keys,
    keys_of,
)
from bedrock_nb.server.own_models import embedded
from bedrock_nb.server.responders import Responder
from bedrock_nb.server.truths import Log

if TYPE_CHECKING:
    from bedrock_nb.server.listening import Listener

__all__ = ["Settings", "child", "local", "serve", "serving"]

_START_LIMIT = 20.0  # seconds
_LAST_LINES = 8  # of the child's error output, in the message when it does not start
_PARENT_CHECK = 1.0  # seconds
_CLASS_REQUESTS, _CLASS_WRITES = 10_000, 1_000_000  # that a classroom's server remembers: 32 MB


# -- by hand ---------------------------------------------------------------------------------------


def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    latency: Latency | None = None,
    *,
    responder: Responder = embedded,
    faults: Faults = None,
    guardrails: Sequence[Guardrail] = (DEFAULT,),
    classroom: Classroom | None = None,
    announce: Callable[[str], None] = print,
) -> None:
    """Run the embedded server until it is interrupted.

    Parameters
    ----------
    host : str
        A loopback address.
    port : int
        0 takes any free port.
    latency : Latency, optional
        When events are sent.
    responder : function
        From a `Request` to the `Recording` of its answer.
    faults : Fault, sequence, or function, optional
        What goes wrong, as for `BedrockServer`.
    guardrails : sequence of Guardrail
        Those that requests may name.
    classroom : Classroom, optional
        Who may ask. Its file of seats is written when the server listens.
    announce : function
        Told, line by line, where the server is and how to point an AWS SDK at it.

    Raises
    ------
    RequestError
        An address that is not of this machine, or faults that are none.
    ServerError
        The port is in use, or may not be used.
    RecordingError
        The file of seats cannot be written.
    """

    def ready(url: str, _port: int) -> None:
        if classroom is not None:
            for line in _of_classroom(classroom, url):
                announce(line)
            sys.stdout.flush()
            return
        announce(
            f"Embedded Bedrock at {url} (Ctrl-C ends it; open it in a browser to watch). For any AWS SDK:"
        )
        announce(f"export AWS_ENDPOINT_URL_BEDROCK_RUNTIME={url}")
        announce(
            f"export AWS_ACCESS_KEY_ID={ACCESS_KEY} AWS_SECRET_ACCESS_KEY={SECRET_KEY} "
            f"AWS_REGION={REGION} AWS_DEFAULT_REGION={REGION} AWS_ENDPOINT_URL_BEDROCK={url}"
        )
        sys.stdout.flush()  # whoever reads these lines through a pipe waits for them

    with contextlib.suppress(KeyboardInterrupt):
        planned = plan(faults)
        settings = Settings(
            responder,
            latency or Latency(),
            lambda: planned,
            tuple(guardrails),
            log=None if classroom is None else Log(_CLASS_REQUESTS, _CLASS_WRITES),
            classroom=classroom,
        )
        _run(host, port, settings, ready)
    announce("Stopped.")


def _of_classroom(classroom: Classroom, url: str) -> Iterator[str]:
    """What a teacher is to know."""
    yield f"A classroom of {len(classroom.seats)} at {url} (Ctrl-C ends it). Each student: {classroom.said}."
    yield f"Your page, for nobody else: {classroom.dashboard(url)}"
    file = classroom.save(url)
    if file is None:
        return
    yield f"{file} has a line for each student. Only you can read it; it is read again at the next start."
    yield (
        f"It sets {TARGET_VARIABLE} and {SEAT_VARIABLE}: all that nb.connect() needs. Any AWS SDK takes "
        f"AWS_ENDPOINT_URL_BEDROCK_RUNTIME={url}, AWS_REGION={REGION} and both keys of the line."
    )


class Settings(NamedTuple):
    """What a server does: fields of its `Endpoint`, which is imported only where one runs."""

    responder: Responder = embedded
    latency: Latency = Latency()
    faults: Callable[[], Plan] = lambda: sound
    guardrails: tuple[Guardrail, ...] = (DEFAULT,)
    keys: Keys = Keys(ACCESS_KEY, SECRET_KEY)
    log: Log | None = None
    classroom: Classroom | None = None


@contextlib.asynccontextmanager
async def serving(host: str, port: int, settings: Settings) -> AsyncIterator[Listener]:
    """A server that listens for the time of an ``async with`` block."""
    # aiohttp and the service model, a third of a second: only in the process that serves.
    from bedrock_nb.server.endpoint import Endpoint
    from bedrock_nb.server.listening import listen

    endpoint = Endpoint(**{name: value for name, value in settings._asdict().items() if value is not None})
    listener = await listen(endpoint.handle, host, port)
    try:
        yield listener
    finally:
        await listener.close()


def _run(
    host: str, port: int, settings: Settings, ready: Callable[[str, int], None], parent: int = 0
) -> None:
    from bedrock_nb.server.selector import new_loop

    async def run() -> None:
        stop = asyncio.Event()
        with contextlib.suppress(
            NotImplementedError, ValueError, RuntimeError
        ):  # Windows; not the main thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        async with serving(host, port, settings) as listener:
            settle_down()
            ready(listener.url, listener.port)
            while not stop.is_set() and parent in (0, os.getppid()):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _PARENT_CHECK if parent else None)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(run())


def settle_down() -> None:
    """Make it a process that only serves: many connections, and seldom a pause of the garbage collector.

    What is loaded stays, so the collector need not look at it; nearly all that comes later goes by itself.
    """
    sys.setswitchinterval(0.001)  # a responder's thread gives way to a write that is due
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)
    with contextlib.suppress(ImportError, OSError, ValueError):  # Windows has no such limit
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65_536) if most > 0 else 65_536, most))


# -- the child of a kernel -------------------------------------------------------------------------


def child() -> None:
    """Serve until the parent is gone: what the process started by `local` runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_until_orphaned, args=(sys.stdin.fileno(),), daemon=True).start()

    keys = Keys()

    def ready(url: str, port: int) -> None:  # to the parent alone: it reads the other end of this pipe
        said = {"url": url, "port": port, "pid": os.getpid()}
        print(json.dumps({**said, "keys": [keys.access_key, keys.secret_key]}), flush=True)

    parent = os.getppid() if os.name == "posix" else 0
    _run("127.0.0.1", 0, Settings(keys=keys), ready, parent)


def _until_orphaned(stdin: int) -> None:
    # The descriptor and not the file object: its lock would be held by this thread for good.
    with contextlib.suppress(OSError):
        while os.read(stdin, 4096):
            pass
    os._exit(0)


class _Child:
    """A running server process and where it listens."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self.process, self.url = process, url
        self.owner = os.getpid()

    @property
    def alive(self) -> bool:
        """Whether it runs, and was started by this very process and not before a fork."""
        return self.owner == os.getpid() and self.process.poll() is None

    def close(self) -> None:
        """End it."""
        if self.owner != os.getpid():
            return
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


_lock = threading.Lock()
_shared: _Child | None = None


def local() -> str:
    """Start the embedded server for this process, or find the one that runs.

    Returns
    -------
    str
        Its URL. It ends with this process.

    Raises
    ------
    ServerError
        It did not start.
    """
    global _shared
    with _lock:
        if _shared is None or not _shared.alive:
            if _shared is None:
                atexit.register(_close)
            else:
                _shared.close()
            _shared = _start()
        return _shared.url


def _close() -> None:
    if _shared is not None:
        _shared.close()


def _start() -> _Child:
    # -P: not a module of the user's folder in place of the standard library's. The package itself is found
    # where it was found here, behind everything else.
    root = str(Path(bedrock_nb.errors.__file__).parents[1])
    code = "import sys; sys.path.append(sys.argv[1]); from bedrock_nb.server.process import child; child()"
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", code, root],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        line = _first_line(process)
        try:
            said = json.loads(line)
            keys_of[said["url"]] = Keys(*said["keys"])
            return _Child(process, said["url"])
        except (ValueError, KeyError, TypeError):
            late = not _ended(process)
            process.kill()
            _Child(process, "").close()
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()[-_LAST_LINES:]
    what = f"did not start within {_START_LIMIT:.0f} s" if late else "ended before it listened"
    told = "\n".join(["Its last words:", *said]) if said else "It said nothing."
    raise ServerError(
        f"The embedded server {what}.",
        remedy=f"Try `{Path(sys.executable).name} -m bedrock_nb serve --port 0` in a terminal. {told}",
    )


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether the child ends by itself: one that closed its output is about to."""
    try:
        process.wait(1)
    except subprocess.TimeoutExpired:
        return False
    return True


def _first_line(process: subprocess.Popen[bytes]) -> bytes:
    """The child's announcement; empty if it dies or takes too long."""
    assert process.stdout is not None
    lines: list[bytes] = []
    reader = threading.Thread(target=lambda: lines.append(process.stdout.readline()), daemon=True)  # type: ignore[union-attr]
    reader.start()
    reader.join(_START_LIMIT)
    return lines[0] if lines else b""
