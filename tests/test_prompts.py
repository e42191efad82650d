"""Prompts of a load test: lists and files of them, their order, lengths by lot, and what is refused."""

from __future__ import annotations

import pickle
import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bedrock_nb import Lengths, Request
from bedrock_nb.errors import RequestError
from bedrock_nb.experiment.load.lengths import DISTRIBUTIONS, WORDS
from bedrock_nb.experiment.load.prompts import Asked, prompts_of
from bedrock_nb.server.tokens import count

FILES = {
    "a.txt": "\ufeffOne line\r\n\n  Another, with a comma \n",
    "a.jsonl": '"One line"\n\n{"prompt": "Another, with a comma", "max_tokens": 5, "temperature": null}\n',
    "a.csv": 'prompt , max_tokens,stop\nOne line,,\n"Another, with a comma",5,"[""x""]"\n\n',
}


def written(folder, name, text):
    """A file with this text."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("Hi", [Asked("Hi", {}, "Hi")]),
        (["b", "a"], [Asked("a", {}, "a"), Asked("b", {}, "b")]),
        ({"x": "Hi", "y": {"prompt": "a", "stop": 1}}, [Asked("Hi", {}, "x"), Asked("a", {"stop": 1}, "y")]),
        ([{"prompt": "Hi", "max_tokens": 3}], [Asked("Hi", {"max_tokens": 3}, "Hi")]),
        ({"prompt": "Hi", "system": "Be short"}, [Asked("Hi", {"system": "Be short"}, "Hi")]),
        (["Hi", "Hi"], [Asked("Hi", {}, "prompt 1"), Asked("Hi", {}, "prompt 2")]),
        (["a " * 50], [Asked("a " * 50, {}, "a a a a a a a a a a a a a a a a a a a a…")]),
        ([{"role": "user", "content": []}], [Asked([{"role": "user", "content": []}], {}, "prompt 1")]),
        ([["Look", {"image": {}}]], [Asked(["Look", {"image": {}}], {}, "prompt 1")]),
    ],
)  # fmt: skip
def test_whatever_is_given_becomes_prompts_with_names(given, asked):
    """A text, a list, names, settings of one's own; what is told apart by its text is named by it."""
    found = prompts_of(given)
    assert sorted(found.source, key=str) == sorted(asked, key=str)
    assert prompts_of(found) is found


def test_a_request_is_a_prompt():
    """As for stream."""
    request = Request(prompt="Hi")
    assert prompts_of([request]).at(7) == Asked(request, {}, "prompt 1")


@pytest.mark.parametrize("name", FILES)
def test_a_file_has_a_prompt_in_each_line(name, tmp_path):
    """Blank lines, byte-order marks and empty cells are nothing; settings are numbers and lists."""
    source: Any = prompts_of(written(tmp_path, name, FILES[name])).source
    first, second = source
    assert (first.prompt, first.settings) == ("One line", {})
    assert second.prompt == "Another, with a comma"
    assert {key: second.settings[key] for key in second.settings if key != "stop"} == (
        {} if name == "a.txt" else {"max_tokens": 5}
    )
    assert second.settings.get("stop", ["x"]) == ["x"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", " \n", "no prompt in 'a.txt'"),
        ("a.md", "Hi", r"must end in \.txt"),
        ("a.jsonl", '"a"\n{"prompt": "b"', "Line 2 of a.jsonl is no JSON: .*column"),
        ("a.jsonl", '\n\n{"text": "b"}', "Line 3 of a.jsonl: an object without prompt"),
        ("a.jsonl", "5", "Line 1 of a.jsonl: An int"),
        ("a.jsonl", '{"prompt": 5}', "Line 1 of a.jsonl: An int"),
        ("a.jsonl", '{"prompt": " "}', "Line 1 of a.jsonl is empty"),
        ("a.jsonl", '{"prompt": "b", "max_token": 5}', "Line 1 .* 'max_token', .*Did you mean max_tokens"),
        ("a.jsonl", "[" * 100_000, "Line 1 of a.jsonl is no JSON"),
        ("a.csv", "text,max_tokens\na,5", "a.csv has no column prompt; its columns are: text, max_tokens"),
        ("a.csv", "prompt\na, b", "Line 2 of a.csv has more than 1 cells.*double quotes"),
        ("a.csv", "prompt,top_p\n,0.5", "Line 2 of a.csv is empty"),
        ("a.csv", 'prompt\n"a" b', "Line 2 of a.csv is no CSV"),
        ("a.csv", "", "no column prompt; its columns are: none"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_line(name, text, message, tmp_path):
    """Before anything is asked; and what a line must be is said, too."""
    with pytest.raises(RequestError, match=message):
        prompts_of(written(tmp_path, name, text))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(sorted(FILES)),
    st.text("\n\"',{}[]:5 prompt\0\u2028é", max_size=40) | st.text(max_size=20),
    st.sampled_from(["", "prompt,top_p\n", '{"prompt": "a"}\n', '"']),
)
def test_any_file_has_prompts_or_is_refused(tmp_path, name, text, head):
    """Whatever stands in it; and every prompt of it can be asked."""
    try:
        found = prompts_of(written(tmp_path, name, head + text))
    except RequestError:
        return
    assert all(one.prompt and one.name for one in found.source)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "There is no prompt"),
        ({}, "There is no prompt"),
        (5, "An int is no prompt"),
        (["a", 5], "Prompt 2: An int is no prompt"),
        (["a", ""], "Prompt 2 is empty"),
        ({"x": None}, "The prompt 'x': "),
        ({"prompt": "a", "colour": "red"}, "'colour', which is no setting"),
        (Path("nowhere.txt"), "'nowhere.txt' cannot be read: No such file"),
    ],
)
def test_what_is_no_prompt_is_refused(given, message):
    """The message says which one, and what is wanted."""
    with pytest.raises(RequestError, match=message):
        prompts_of(given)


def test_a_name_of_a_file_is_not_asked_as_a_prompt(tmp_path, monkeypatch):
    """Who writes the name of a file that is there means the file; one that is not there is a prompt."""
    written(tmp_path, "a.txt", "Hi")
    (tmp_path / "bad.txt").write_bytes(b"\xff")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match=r"give Path\('a.txt'\)"):
        prompts_of("a.txt")
    with pytest.raises(RequestError, match="not UTF-8: byte 0"):
        prompts_of(Path("bad.txt"))
    assert prompts_of("b.txt").at(0).prompt == "b.txt"


@given(st.integers(1, 9), st.integers(0, 5))
def test_all_prompts_come_before_one_comes_again(size, seed):
    """Each turn has all of them, in an order of its own that is the same in every process."""
    prompts = prompts_of([f"p{i}" for i in range(size)], seed=seed)
    other = pickle.loads(pickle.dumps(prompts))  # as an executor does
    asked = [prompts.at(i).prompt for i in range(3 * size)]
    assert [other.at(i).prompt for i in reversed(range(3 * size))] == asked[::-1]
    for turn in range(3):
        assert sorted(asked[turn * size : (turn + 1) * size]) == sorted(f"p{i}" for i in range(size))


# -- lengths -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("distribution", "cv"), [("lognormal", 0.5), ("uniform", 0.4), ("fixed", 0)])
def test_drawn_lengths_have_their_mean_and_spread(distribution, cv):
    """Within four standard errors of 2,000 draws; prompts are as long as they say, by the rule of thumb."""
    lengths = Lengths(input=(80, cv), output=(300, cv), distribution=distribution)
    drawn: list[Any] = [lengths.draw(i) for i in range(2000)]
    for values, mean in (([one.tokens for one in drawn], 80), ([one.max_tokens for one in drawn], 300)):
        assert statistics.mean(values) == pytest.approx(mean, abs=max(0.5, 4 * cv * mean / 2000**0.5))
        assert statistics.stdev(values) / mean == pytest.approx(cv, rel=0.15, abs=0.01)
    assert all(count(one.text) == one.tokens for one in drawn[:200])
    assert all(count(word) == 1 for word in WORDS)


@given(st.sampled_from(sorted(DISTRIBUTIONS)), st.integers(1, 60), st.integers(0, 99), st.integers(0, 10**9))
def test_a_prompt_depends_on_seed_and_number_alone(distribution, mean, seed, number):
    """Whoever draws it, and short ones are no longer than asked for."""
    lengths = Lengths(input=(mean, 0), output=None, distribution=distribution, seed=seed)
    drawn = lengths.draw(number)
    assert drawn == Lengths(input=mean, distribution=distribution, seed=seed).draw(number)
    assert (count(drawn.text), drawn.max_tokens) == (mean, None)


def test_drawn_prompts_are_asked_with_their_limit():
    """The limit is a setting of the request; the name says the length, for no two texts are alike."""
    asked = prompts_of(Lengths(input=20, output=7)).at(3)
    assert (asked.settings, asked.name) == ({"max_tokens": 7}, "about 20 tokens")
    assert asked.prompt != prompts_of(Lengths(input=20, output=7)).at(4).prompt


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input": 0}, r"input is 0\. Give the mean"),
        ({"input": (200, 0.5, 1)}, "input is"),
        ({"input": "long"}, "input is 'long'"),
        ({"input": (200, -1)}, "input is"),
        ({"input": None}, "input is None"),
        ({"input": 200, "output": 0.5}, "output is 0.5"),
        ({"input": (200, 0.7), "distribution": "uniform"}, "a uniform one can by 0.577 at most"),
        ({"input": (200, 0.7), "distribution": "fixed"}, "a fixed one can by 0 at most"),
        ({"input": 200, "distribution": "normal"}, "no distribution 'normal'.*There are: lognormal"),
        ({"input": 200, "seed": 0.5}, "seed is 0.5"),
    ],
)
def test_lengths_that_cannot_be_are_refused(arguments, message):
    """The message says what was given and what is wanted."""
    with pytest.raises(RequestError, match=message):
        Lengths(**arguments)
