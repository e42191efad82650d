"""Threads that wait for responders: as many as are needed, and none that keeps a program from ending."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_nb.server.threads import Daemons


def test_a_result_and_an_error_come_back():
    """What a task returns is its future's result, and what it raises is raised there."""
    threads = Daemons()
    assert threads.submit(pow, 2, 10).result(10) == 1024
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 / 0).result(10)


def test_tasks_run_at_once_however_many_there_are():
    """A hundred tasks that wait for each other all come to their end."""
    threads, together = Daemons(), threading.Barrier(100)
    futures = [threads.submit(together.wait, 30) for _ in range(100)]
    assert sorted(future.result(30) for future in futures) == list(range(100))


def test_a_thread_that_is_free_is_used_again():
    """One task after another needs one thread."""
    threads, seen = Daemons(), set()
    for _ in range(50):
        seen.add(threads.submit(threading.get_ident).result(10))
        deadline = time.monotonic() + 10
        while threads._free == 0 and time.monotonic() < deadline:
            time.sleep(0.0005)  # until it says that it is free
    assert len(seen) == 1


@given(st.lists(st.integers(0, 5), max_size=30))
def test_every_task_is_done_once(numbers):
    """Whatever is submitted in whatever order: each result is that of its own task."""
    threads = Daemons()
    futures = [threads.submit(pow, n, 2) for n in numbers]
    assert [future.result(10) for future in futures] == [n * n for n in numbers]


def test_a_program_ends_while_a_task_still_runs():
    """Nobody waits at exit for a responder that thinks for an hour."""
    code = (
        "import time; from bedrock_nb.server.threads import Daemons;"
        "Daemons().submit(time.sleep, 3600); print('end')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "end\n"
