"""The thread that paints: when it takes steps, how long it rests, when it is gone; by the test's clock."""

from __future__ import annotations

import threading

import pytest

from bedrock_nb.errors import RequestError
from bedrock_nb.panel.painter import BURST_S, INTERVAL_S, LONGEST_S, PACE, SHARE, Painter, Readers
from tests.chatting import wait_for
from tests.wire_server import LIMIT


class Work:
    """So many steps, each of them so long and with so much to send; nothing waits for a clock."""

    def __init__(self, *seconds: float, size: int = 0) -> None:
        self.seconds, self.now, self.steps, self.rests, self.size = list(seconds), 0.0, 0, 0, size
        self.slept: list[float] = []

    def step(self) -> int | None:
        self.steps += 1
        self.now += self.seconds.pop(0)
        return self.size if self.seconds else None

    def rest(self) -> None:
        self.rests += 1

    def painter(self) -> Painter:
        return Painter(self.step, self.rest, clock=lambda: self.now, sleep=self.slept.append)


@pytest.mark.parametrize(
    ("took", "size", "pause"),
    [
        (0.0, 0, INTERVAL_S),
        (0.01, 200, INTERVAL_S),
        (0.1, 0, 0.1 / SHARE),
        (60.0, 0, LONGEST_S),
        (0.0, 1000, 1000 / PACE),
        (0.0, 10**6, BURST_S),
    ],
)
def test_it_leaves_the_interpreter_to_others(took, size, pause):
    """At most 20 steps a second, fewer where steps take long or much comes; never long without a step."""
    work = Work(took, took, 0.0, size=size)
    painter = work.painter()
    painter.touch()
    assert painter.wait(LIMIT)
    assert work.slept == [pytest.approx(pause)] * 2


def test_it_ends_when_nothing_grows_and_begins_again_when_touched():
    """No thread is there that has nothing to do; each time it rests once."""
    work = Work(0.0, 0.0)
    painter = work.painter()
    painter.touch()
    assert painter.wait(LIMIT)
    assert (work.steps, work.rests) == (2, 1)
    work.seconds = [0.0]
    painter.touch()
    assert painter.wait(LIMIT)
    assert (work.steps, work.rests) == (3, 2)
    wait_for(lambda: not any(thread.name == "bedrock_nb.panel" for thread in threading.enumerate()))


def test_a_touch_while_it_paints_is_not_lost():
    """What became new during a step is painted in another."""
    work = Work(0.0, 0.0)
    steps = []

    def step() -> None:
        steps.append(len(steps))
        if len(steps) == 1:
            painter.touch()

    painter = Painter(step, clock=lambda: 0.0, sleep=work.slept.append)
    painter.touch()
    assert painter.wait(LIMIT)
    assert (steps, work.slept) == ([0, 1], [INTERVAL_S])


def test_a_step_that_fails_is_logged_and_ends_nothing_else(caplog):
    """The next touch tries again."""
    work = Work(0.0)
    tries = []

    def step() -> int | None:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("no")
        return work.step()

    painter = Painter(step, clock=lambda: 0.0, sleep=work.slept.append)
    painter.touch()
    assert painter.wait(LIMIT)
    assert "could not be painted" in caplog.text
    painter.touch()
    assert painter.wait(LIMIT)
    assert len(tries) == 2


def test_a_closed_painter_takes_no_step():
    """However it is touched."""
    work = Work(0.0)
    painter = work.painter()
    painter.close()
    painter.touch()
    assert painter.wait(LIMIT)
    assert work.steps == 0


# -- who reads -------------------------------------------------------------------------------------


def test_an_interrupt_at_the_very_end_leaves_nobody_who_reads(service):
    """Whoever waits for the readers is not left to wait for one that is gone."""
    chat, readers = service.chat("Fine."), Readers(lambda: None)

    def ended(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        readers.begin(chat, lambda: chat.stream("Go."), ended, wait=True)
    assert readers.wait(0.0)
    assert not readers.busy(chat)


def test_a_turn_that_code_began_instead_is_read(service):
    """Code was quicker than the prompt of a page: that is refused, and the turn of the code arrives."""
    chat, turns = service.chat("Fine."), []
    readers = Readers(lambda: None)

    def ended(*_: object) -> None:
        readers.follow(chat, lambda *_: None)

    def start() -> object:
        turns.append(chat.stream("I was first."))
        raise RequestError("The last turn is still being answered.")

    readers.begin(chat, start, ended, wait=False)
    assert readers.wait(LIMIT)
    assert turns[0].status == "complete"
