"""Who asks whom what: the clients, prompts and executors that a spec and options name.

Strategy: each function takes its own names out of the arguments of a command, and makes of them what `sweep`
and `load_test` take in their place.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any

import bedrock_nb as nb
from bedrock_nb.errors import RequestError

__all__ = ["PROMPTS", "TARGETS", "end_processes", "executor", "prompts", "target"]

#: Names of which clients are made.
TARGETS = frozenset({"target", "region", "profile", "targets"})
#: Names of which one says what is asked.
PROMPTS = ("prompts", "prompts_file", "lengths")
#: Seconds in which a Dask scheduler must answer.
_DASK_TIMEOUT = 10


def target(asked: dict[str, Any], pool: Executor | None) -> Any:
    """A client, or several by name, taking out of the arguments what says which."""

    def connect(**given: Any) -> Any:
        if pool is not None and given.get("target") == "aws" and "profile" in given:
            return functools.partial(nb.connect, **given, verbose=False)  # workers look up the keys
        return nb.connect(**given)

    where = {name: asked.pop(name) for name in ("target", "region", "profile") if name in asked}
    targets = asked.pop("targets", None)
    if targets is None:
        return connect(**where)
    if where:
        raise RequestError(f"{next(iter(where))} and targets both say where to.", remedy="Give one of them.")
    return {name: connect(**given) for name, given in targets.items()}


def prompts(asked: dict[str, Any]) -> Any:
    """What is asked, taken out of the arguments; None if the grid says it."""
    given = {name: asked.pop(name) for name in PROMPTS if name in asked}
    if not given and "prompt" in asked.get("grid", ()):
        return None
    if len(given) != 1:
        what = " and ".join(given) + " each say what is asked." if given else "There are no prompts."
        raise RequestError(what, remedy='Give one of them: for example prompts = ["Tell me about rainbows"].')
    return given.popitem()[1]


@contextlib.contextmanager
def executor(chosen: argparse.Namespace) -> Iterator[Executor | None]:
    """Who asks: nobody but us, processes, or a cluster."""
    if chosen.processes is not None:
        with _pool(chosen.processes) as pool:
            yield pool
    elif chosen.dask is not None:
        with _cluster(chosen.dask) as cluster, cluster.get_executor() as pool:
            yield pool
    else:
        yield None


@contextlib.contextmanager
def _pool(number: int) -> Iterator[Executor]:
    """Processes of this machine; at the end what they have begun is waited for, unless one is impatient."""
    from bedrock_nb.experiment.workers import processes  # late, as all that asks

    pool = processes(number)
    try:
        yield pool
        pool.shutdown()
    except KeyboardInterrupt:
        end_processes()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def end_processes() -> None:
    """End the processes of a pool at once; what they were at is lost."""
    for child in multiprocessing.active_children():
        child.terminate()


def _cluster(address: str) -> Any:
    """A client of a Dask scheduler."""
    try:
        import distributed  # late: an extra, and slow to import
    except ImportError as err:
        raise RequestError("Dask is not installed.", remedy='pip install "bedrock-nb[dask]"') from err
    connect: Any = distributed.Client
    try:
        return connect(address, timeout=_DASK_TIMEOUT)
    except (OSError, ValueError) as err:
        raise RequestError(
            f"No Dask scheduler answers at {address!r:.200}.",
            remedy="Start one with `dask scheduler`, and workers with `dask worker ADDRESS`.",
        ) from err
