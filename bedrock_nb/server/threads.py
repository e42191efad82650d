"""Threads for what waits: responders, and answers that are still being made.

Strategy: an executor whose threads are daemons, so that nobody waits for a responder that still thinks when
the program ends; those of the standard library's pool are joined at exit. A thread that has nothing to do
waits a while for the next task, and goes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

__all__ = ["Daemons"]

P = ParamSpec("P")
T = TypeVar("T")
_IDLE = 10.0  # seconds


class Daemons(Executor):
    """As many daemon threads as there are tasks at once."""

    def __init__(self) -> None:
        self._tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._lock = threading.Lock()
        self._free = 0  # threads that wait for a task, less the tasks that wait for one of them

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Do something in a thread of its own."""
        future: Future[T] = Future()

        def task() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as err:
                future.set_exception(err)

        with self._lock:
            fresh = self._free == 0
            self._free -= not fresh
        if fresh:
            threading.Thread(target=self._work, args=(task,), name="bedrock-responder", daemon=True).start()
        else:
            self._tasks.put(task)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing: threads go by themselves."""

    def _work(self, task: Any) -> None:
        while True:
            task()
            del task  # what it holds need not live as long as this thread
            with self._lock:
                self._free += 1
            while True:
                try:
                    task = self._tasks.get(timeout=_IDLE)
                    break
                except Empty:
                    with self._lock:
                        if self._free > 0:  # else a task is on its way
                            self._free -= 1
                            return
