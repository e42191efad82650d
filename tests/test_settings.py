"""settings.py: what holds for the process is changed as a whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from bedrock_nb.errors import RequestError
from bedrock_nb.settings import Settings, configure, current

DEFAULTS = {"journal": None, "durability": "crash", "errors": "full", "audit": "calls", "redact": None}
OTHERS = {
    "journal": Path("replies"),
    "durability": "each",
    "errors": "plain",
    "audit": "content",
    "redact": str.upper,
}


class Words:
    """A redaction that is an object; its own repr would hold an address."""

    def __call__(self, text: str) -> str:
        return text


@pytest.fixture(autouse=True)
def defaults():
    """Every test begins and ends with nothing set."""
    configure(**DEFAULTS)
    yield
    configure(**DEFAULTS)


def test_the_defaults():
    """Nothing is journalled, errors say all, the audit log holds no content."""
    assert current() == Settings() == Settings(**DEFAULTS)


@pytest.mark.parametrize("name", OTHERS)
def test_only_what_is_given_changes(name):
    """One setting is changed, the others stay, and what is returned is what is set."""
    changed = configure(**{name: OTHERS[name]})
    assert changed is current()
    assert changed == Settings(**{**DEFAULTS, name: OTHERS[name]})


@pytest.mark.parametrize("name", OTHERS)
def test_a_setting_can_be_taken_back(name):
    """Its default, None for some, is a value like any other."""
    configure(**OTHERS)
    assert configure(**{name: DEFAULTS[name]}) == Settings(**{**OTHERS, name: DEFAULTS[name]})


def test_to_ask_changes_nothing():
    """Without arguments it returns what is set."""
    everything = configure(**OTHERS)
    assert configure() == everything == Settings(**OTHERS)


def test_who_holds_settings_sees_no_change():
    """They are replaced and never edited."""
    before = current()
    configure(errors="plain")
    assert before.errors == "full"
    with pytest.raises(AttributeError):
        before.errors = "plain"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("durability", "always", "durability is 'always'; one of crash, interval, each is wanted"),
        ("durability", None, "durability is None"),
        ("errors", "none", "one of full, plain"),
        ("errors", ["full"], "errors is ['full']"),
        ("audit", True, "one of calls, content"),
        ("audit", "", "audit is ''"),
        ("journal", 5, "journal is 5; a folder"),
        ("journal", "", "journal is ''"),
        ("journal", b"replies", "journal is b'replies'"),
        ("journal", __file__, "a folder, or None, is wanted"),
        ("journal", "replies.jsonl", "a folder, or None, is wanted"),
        ("redact", "***", "redact is '***'; a function"),
    ],
)
def test_a_wrong_value_changes_nothing(name, value, said):
    """It is refused with a lesson, and what was right beside it is not set either."""
    before = configure(errors="plain")
    with pytest.raises(RequestError) as caught:
        configure(**{"durability": "each", "audit": "content", name: value})
    assert said in str(caught.value)
    assert current() is before


def test_there_is_no_other_setting():
    """A misspelt name is Python's own error."""
    with pytest.raises(TypeError, match="jurnal"):
        configure(jurnal="replies")  # type: ignore[call-arg]


@pytest.mark.parametrize(("redact", "shown"), [(None, "None"), (str.upper, "str.upper"), (Words(), "Words")])
def test_the_repr_is_the_same_each_time(redact, shown):
    """A saved notebook that shows the settings holds no address of a function."""
    said = repr(configure(journal="replies", redact=redact))
    assert said == (
        f"Settings(journal='replies', durability='crash', errors='full', audit='calls', redact={shown})"
    )
