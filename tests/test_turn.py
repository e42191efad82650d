"""What who only looks at a conversation has: news of its changes, its turn, the events that are there."""

from __future__ import annotations

import gc
import threading
from functools import partial

import pytest

import bedrock_nb as nb
from bedrock_nb.conversation.history import Exchange
from bedrock_nb.conversation.loop import Loop
from bedrock_nb.errors import RefusedError, RequestError, ThrottlingError
from bedrock_nb.events import TextDelta
from bedrock_nb.message import Message, TextBlock
from bedrock_nb.server import faults
from bedrock_nb.toolruns import ToolFinished, ToolStarted
from tests.chatting import held, in_thread, outcomes, said, use, wait_for
from tests.wire_server import LIMIT


class Watcher:
    """Notes at each change how the exchanges stand, and whether the last of them has its turn."""

    def __init__(self) -> None:
        self.seen: list[tuple[list[str], bool]] = []

    def on_change(self, conversation: nb.Conversation) -> None:
        turn, exchanges = conversation.turn, conversation.exchanges
        there = turn is not None and bool(exchanges) and turn.exchange is exchanges[-1]
        self.seen.append(([exchange.status for exchange in exchanges], there))


@nb.tool
def look(what: str) -> str:
    """Look something up."""
    return f"seen {what}"


@nb.tool(side_effects=True, approve="ask")
def remove(path: str) -> str:
    """Remove a file."""
    return f"removed {path}"


# -- on_change -------------------------------------------------------------------------------------


@pytest.mark.parametrize("background", [False, True])
def test_a_turn_is_told_of_when_it_is_asked_there_and_over(service, background):
    """Also one that a thread reads; and nothing is told of what happens between."""
    chat, watcher = service.chat(said("Hm.", use("look", {"what": "x"})), "So.", tools=[look]), Watcher()
    turn = chat.on(watcher).stream("Go.", background=background)
    turn.drain()
    wait_for(lambda: watcher.seen[-1] == (["complete"], True))
    assert watcher.seen[0] == (["streaming"], False)
    assert len(watcher.seen) == 3
    assert chat.turn is turn
    del turn
    wait_for(lambda: gc.collect() >= 0 and chat.turn is None)


ENDS = {
    "cancelled": lambda chat, turn: turn.cancel(),
    "closed": lambda chat, turn: turn.close(),
    "from the conversation": lambda chat, turn: chat.cancel(),
    "by the next prompt": lambda chat, turn: chat.stream("And?").drain(),
}


@pytest.mark.parametrize("how", ENDS)
def test_every_end_is_told(service, how):
    """When it is told, the lock of the turn is free: another thread can look at it to its end."""
    chat, ends = service.chat("One two three.", "Fine."), []

    class Looking:
        def on_change(self, conversation: nb.Conversation) -> None:
            if turn.exchange.status != "streaming" and not ends:
                looking = in_thread(turn.drain)
                looking.join(LIMIT)
                ends.append((turn.exchange.status, looking.is_alive()))

    turn = chat.stream("Go.")
    chat.on(Looking())
    next(iter(turn))
    ENDS[how](chat, turn)
    assert ends == [("cancelled", False)]


def test_a_turn_that_nobody_holds_is_told_of(service):
    """When the last who holds it lets it go."""
    chat, watcher = service.chat("One two three."), Watcher()
    turn = chat.on(watcher).stream("Go.")
    next(iter(turn))
    del turn
    gc.collect()
    assert watcher.seen[-1] == (["cancelled"], False)
    assert chat.turn is None


def test_what_is_refused_is_told_of(service):
    """A prompt that got no answer; and one that was to replace another, which is put back."""
    chat, watcher = service.chat("Fine."), Watcher()
    chat.on(watcher)
    with service.server.fault([faults.refuse(429)]), pytest.raises(ThrottlingError):
        chat.send("Go.")
    assert watcher.seen[-1] == (["error"], False)
    chat.rerun().drain()
    assert watcher.seen[-1] == (["complete"], True)
    kept = chat.exchanges[0]
    with service.server.fault([faults.refuse(429)]), pytest.raises(ThrottlingError):
        chat.edit("Stay.")
    assert [status for status, _ in watcher.seen[-3:]] == [["streaming"], ["error"], ["complete"]]
    assert chat.exchanges == [kept]


# -- one turn at a time ----------------------------------------------------------------------------


def test_while_a_head_is_awaited_nothing_else_begins(service):
    """There is no turn yet, and the conversation has one on its way all the same; it can be stopped."""
    chat = service.chat("Fine.")
    with service.server.fault([faults.no_head(), None]):
        asking = in_thread(lambda: chat.stream("Anybody?"))
        wait_for(lambda: service.requests)
        for other in (lambda: chat.stream("Me, too"), chat.undo, lambda: chat.rerun(turn=0)):
            with pytest.raises(RequestError, match="still being answered"):
                other()
        chat.cancel()
        assert chat.send("And now?").text == "Fine."
    asking.join(LIMIT)
    assert [exchange.status for exchange in chat.exchanges] == ["cancelled", "complete"]


def test_who_goes_on_to_the_end_is_busy_between_two_steps(service):
    """A thread that drains a turn, and neither reads nor drives just now, is not to be talked into."""
    turn = service.chat("One two three.").stream("Go.")
    assert turn._may_drive(lambda: False)  # so another thread waits until it may
    draining = in_thread(turn.drain)
    wait_for(lambda: turn.recordings[0].status == "complete" and not turn._readers)
    busy = turn.busy
    turn._let_go()
    draining.join(LIMIT)
    assert busy
    assert (turn.busy, turn.status) == (False, "complete")


@pytest.mark.parametrize("head", [False, True])
def test_what_is_stopped_before_anything_came_replaces_nothing(service, head):
    """The old turns stay, also where they are asked again before the call is made."""
    chat = service.chat("One.", "Two.", "Three.")
    for prompt in ("a", "b"):
        chat.send(prompt)
    kept = list(chat.exchanges)

    class Stopping:
        def on_change(self, conversation: nb.Conversation) -> None:
            if not head:
                conversation.cancel()

    with service.server.fault([faults.no_head()]):
        asking = in_thread(lambda: chat.on(Stopping()).rerun(turn=0))
        wait_for(lambda: not asking.is_alive() or len(service.requests) > 2)
        chat.cancel()
        asking.join(LIMIT)
    assert [each is other for each, other in zip(chat.exchanges, kept, strict=True)] == [True, True]


def test_a_call_that_could_not_be_made_has_its_words(service):
    """Also a later one: what is wrong with it is in the exchange, as what the service refuses is."""

    def ask(*_: object) -> nb.Reply:
        raise RequestError("It cannot be sent.")

    loop = Loop(Exchange(Message("user", (TextBlock("Go."),))), ask, service.chat().runner, nb.Limits())
    with pytest.raises(RequestError):
        list(loop.steps())
    assert (loop.exchange.status, str(loop.exchange.error)) == ("error", "It cannot be sent.")


def test_an_exchange_has_the_recordings_of_its_calls(service):
    """Of those that the conversation keeps; what was asked in its place and taken back is none of them."""
    chat = service.chat(said(use("look", {"what": "x"})), "So.", "Fine.", tools=[look])
    chat.send("a")
    chat.send("b")
    assert [len(exchange.recordings) for exchange in chat.exchanges] == [2, 1]
    assert chat.fork().exchanges[0].recordings == chat.recordings[:2]
    turn = chat.stream("And?")
    assert [len(exchange.recordings) for exchange in chat.fork().exchanges] == [2, 1, 0]
    turn.cancel()
    chat.undo()
    chat.undo()
    with service.server.fault([faults.refuse(429)]), pytest.raises(ThrottlingError):
        chat.send("c")
    assert chat.exchanges[1].recordings == chat.recordings[-1:]


@pytest.mark.parametrize("status", [403, 429, 500])
@pytest.mark.parametrize("round", [1, 2])
def test_a_refused_call_has_a_recording(service, status, round):
    """It stands in the tables, once, as an error of its turn and round."""
    chat = service.chat(said(use("look", {"what": "x"})), "So.", tools=[look])
    plan = [None] * (round - 1) + [faults.refuse(status)]
    with service.server.fault(plan), pytest.raises(RefusedError):
        chat.send("Go.")
    assert chat.exchanges[0].recordings == chat.recordings == list(nb.recordings)[-round:]
    labels = {"conversation": chat.id, "turn": 1, "round": round}
    assert chat.recordings[-1].labels.items() >= labels.items()
    assert nb.summary(chat)["status"].tolist() == ["complete"] * (round - 1) + ["error"]


def test_what_was_never_sent_has_no_recording(service):
    """boto3 itself refuses what the service could not read."""
    chat = service.chat("Fine.")
    with pytest.raises(RequestError):
        chat.send("Go.", additional={"set": {1}})
    assert (chat.recordings, service.requests) == ([], [])


# -- what is taken back ----------------------------------------------------------------------------


def test_what_is_taken_back_is_told_of(service):
    """And a fork tells nobody."""
    chat, watcher = service.chat("Fine."), Watcher()
    chat.send("Go.")
    chat.on(watcher).fork().send("Elsewhere.")
    assert watcher.seen == []
    chat.undo()
    assert watcher.seen == [([], False)]
    chat.off(watcher).off(watcher).send("Once more.")
    assert len(watcher.seen) == 1


def test_an_observer_that_fails_breaks_nothing(service):
    """It is warned about each time, and others are told all the same."""

    class Failing:
        def on_change(self, conversation: nb.Conversation) -> None:
            raise ValueError("no")

    chat, watcher = service.chat("Fine."), Watcher()
    chat.on(Failing()).on(watcher)
    with pytest.warns(UserWarning, match="An observer failed in on_change: ValueError"):
        assert chat.send("Go.").text == "Fine."
    assert watcher.seen[-1][0] == ["complete"]
    with pytest.raises(RequestError, match="on_change"):
        chat.on(object())


def test_an_observer_that_is_interrupted_leaves_a_conversation_that_goes_on(service):
    """The exchange that was begun is there, and is not on its way for ever."""

    class Interrupted:
        def on_change(self, conversation: nb.Conversation) -> None:
            conversation.off(self)
            raise KeyboardInterrupt

    chat = service.chat("Fine.").on(Interrupted())
    with pytest.raises(KeyboardInterrupt):
        chat.stream("Go.")
    assert [exchange.status for exchange in chat.exchanges] == ["cancelled"]
    assert chat.send("And?").text == "Fine."


# -- since -----------------------------------------------------------------------------------------

ROUNDS = [said("First.", use("look", {"what": "x"})), said(use("look", {"what": "y"}, "b"), "Then."), "Last."]


@pytest.mark.parametrize("every", [1, 2, 7, 100])
def test_events_in_steps_are_those_of_a_view(service, every):
    """However often it is looked; from the beginning it is all of them; at the end there is nothing new."""
    turn = service.chat(*ROUNDS, tools=[look]).stream("Go.")
    seen, place = turn.since()
    assert seen == []
    for number, _ in enumerate(turn):
        if number % every == 0:
            fresh, place = turn.since(place)
            seen += fresh
    fresh, place = turn.since(place)
    assert turn.since()[0] == list(turn)
    assert turn.since(place) == ([], place)
    seen, all_of_it = seen + fresh, list(turn)
    assert len(seen) == len(all_of_it)
    for kinds in (ToolStarted, ToolFinished, TextDelta):
        assert [e for e in seen if isinstance(e, kinds)] == [e for e in all_of_it if isinstance(e, kinds)]


def test_whoever_looks_waits_for_nothing_and_brings_nothing(service):
    """What has not been read is not there; what another thread reads is, while it waits for more."""
    goes = threading.Event()
    chat = service.chat(held({3: goes}, "One moment.", "And more."))
    turn = chat.stream("Go.")
    assert turn.since()[0] == []
    reading = in_thread(turn.drain)
    wait_for(lambda: any(isinstance(event, TextDelta) for event in turn.since()[0]))
    seen, place = turn.since()
    assert [event.text for event in seen if isinstance(event, TextDelta)] == ["One moment."]
    goes.set()
    reading.join(LIMIT)
    assert [e.text for e in turn.since(place)[0] if isinstance(e, TextDelta)] == ["And more."]


def test_a_thread_that_looks_all_the_time_sees_each_event_once(service):
    """While another reads, and tools begin and end; each tool begins before it ends."""
    turn = service.chat(*ROUNDS, tools=[look]).stream("Go.")
    seen, place = [], (0, 0, 0)
    reading = in_thread(turn.drain)
    while reading.is_alive():
        fresh, place = turn.since(place)
        seen += fresh
    seen += turn.since(place)[0]
    told = ToolStarted | ToolFinished
    assert [e for e in seen if not isinstance(e, told)] == [e for reply in turn.replies for e in reply]
    assert sorted(map(repr, seen)) == sorted(map(repr, turn))
    for id in "ab":
        assert [type(e) for e in seen if isinstance(e, told) and e.call.id == id] == [
            ToolStarted,
            ToolFinished,
        ]


# -- who is asked ----------------------------------------------------------------------------------


def test_who_is_asked_can_be_replaced(service):
    """For the questions that are still to come; a fork asks the same; None is the keyboard again."""
    chat = service.chat(said(use("remove", {"path": "x"})), "Fine.", tools=[remove])
    at_the_keyboard, asked = chat.ask, []

    def ask(call) -> bool:
        asked.append(call.name)
        return len(asked) < 2

    chat.ask = ask
    assert outcomes(chat.stream("Go.").drain()) == {"a": "success"}
    service.lay(said(use("remove", {"path": "y"})), "Fine.")
    assert outcomes(chat.fork().stream("Go.").drain()) == {"a": "denied"}
    assert asked == ["remove", "remove"]
    chat.ask = None
    assert chat.ask is at_the_keyboard
    with pytest.raises(RequestError, match="ask is 'me'"):
        chat.ask = "me"


def test_a_tool_may_not_end_the_turn_that_waits_for_it(service):
    """Who drives is told in words; the turn is stopped all the same."""
    told = []

    @nb.tool
    def end() -> str:
        """End it."""
        try:
            turn.cancel()
        except RequestError as err:
            told.append(str(err))
        return "done"

    goes = threading.Event()
    chat = service.chat(held({6: goes}, use("end"), "And more."), tools=[end])
    turn = chat.stream("Go.")
    view = iter(turn)
    while not isinstance(next(view), ToolStarted):
        pass
    wait_for(partial(bool, told))
    goes.set()
    turn.cancel()
    assert turn.status == "cancelled"
    assert "A tool cannot wait" in told[0]
