"""What a sweep asks: keys that say the same everywhere, blocks that hold each combination once, labels."""

from __future__ import annotations

import pickle
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_nb.errors import RequestError
from bedrock_nb.experiment.grid import cells
from bedrock_nb.request import Request

WEATHER = {"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}
PROMPTS = st.lists(st.text("ab c", min_size=1).filter(str.strip), min_size=1, max_size=4)
TEMPERATURES = st.lists(st.sampled_from([0, 0.25, 0.5, 1]), min_size=1, unique=True)
TOKENS = st.lists(st.integers(1, 99), min_size=1, max_size=3, unique=True)


@given(PROMPTS, TEMPERATURES, TOKENS, st.integers(1, 3), st.integers(0, 9))
def test_each_repeat_has_each_combination_once(prompts, temperatures, tokens, repeats, seed):
    """Randomised blocks: repeat after repeat, each of them in an order of its own, all keys distinct."""
    grid = {"temperature": temperatures, "max_tokens": tokens}
    found = cells(prompts, grid, repeats=repeats, seed=seed)
    size = len(prompts) * len(temperatures) * len(tokens)
    assert [cell.number for cell in found] == list(range(size * repeats))
    assert len({cell.key for cell in found}) == len(found)
    for repeat in range(repeats):
        block = found[repeat * size : (repeat + 1) * size]
        assert {cell.labels["repeat"] for cell in block} == {repeat + 1}
        asked = [(c.labels["prompt"], c.request.temperature, c.request.max_tokens) for c in block]
        assert len(set(asked)) == size
        assert {pair[1:] for pair in asked} == set(product(temperatures, tokens))


@given(PROMPTS, TEMPERATURES, st.integers(0, 9), st.randoms())
def test_a_key_does_not_depend_on_order(prompts, temperatures, seed, chance):
    """Dicts and lists in another order, another seed, more repeats, more values: a cell keeps its key."""
    fixed = {"max_tokens": 5, "system": "Be short.", "stop": ["x"]}
    before = cells(prompts, {"temperature": temperatures, "top_p": [0.5]}, fixed, seed=seed)
    shuffled = chance.sample(temperatures, len(temperatures))
    grid = {"top_p": [0.5, 0.75], "temperature": shuffled}
    after = cells([*prompts, "more"], grid, dict(reversed(fixed.items())), seed=seed + 1, repeats=2)
    assert {cell.key for cell in before} < {cell.key for cell in after}


def test_keys_are_the_same_in_every_process():
    """Whatever Python's seed of hashes is; and equal numbers are one, whoever made them."""
    code = (
        "from bedrock_nb.experiment.grid import cells; "
        "print(*(c.key for c in cells({'b': 'Hi', 'a': 'Ho'}, {'temperature': [0.5, 1]}, {'max_tokens': 5})))"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    given_ = cells({"b": "Hi", "a": "Ho"}, {"temperature": np.array([0.5, 1.0])}, {"max_tokens": np.int64(5)})
    assert there.stdout.split() == [cell.key for cell in given_]


@pytest.mark.parametrize(
    "change",
    [
        {"prompts": "Ho"},
        {"settings": {"max_tokens": 6}},
        {"settings": {"max_tokens": 5, "streaming": False}},
        {"settings": {"max_tokens": 5, "tools": [WEATHER]}},
        {"labels": {"run": 2}},
        {"targets": ["a"]},
    ],
)
def test_what_decides_an_answer_is_in_the_key(change):
    """Another request, another way to ask, another label or target is another cell; a time limit is not."""
    plain = {"prompts": "Hi", "settings": {"max_tokens": 5}}
    (before,) = cells(**plain)
    (same,) = cells("Hi", settings={"max_tokens": 5, "total_timeout": 3})
    (after,) = cells(**{**plain, **change})
    assert before.key == same.key != after.key
    assert same.options == {"total_timeout": 3}


def test_labels_say_what_was_asked():
    """Values that are no plain ones have names, None is not given, models have a column of their own."""
    grid = {
        "model": ["nova_lite", "nova_pro"],
        "tools": {"none": None, "weather": [WEATHER]},
        "guardrail_mode": [None, "async"],
    }
    found = cells(
        {"a": "Hi", "b": [{"role": "user", "content": [{"text": "Ho"}]}]},
        grid,
        {"guardrail": "embeddedwords"},
        targets=["x", "y"],
        labels={"run": 7},
    )
    assert len(found) == 32
    names = ["run", "target", "tools", "guardrail_mode", "prompt", "repeat"]
    assert all(list(cell.labels) == names for cell in found)
    asked = {(c.labels["tools"], c.labels["guardrail_mode"]): c.request.to_kwargs() for c in found}
    assert [("toolConfig" in asked[key]) for key in product(("none", "weather"), (None, "async"))] == [
        False,
        False,
        True,
        True,
    ]
    assert asked["none", "async"]["guardrailConfig"]["streamProcessingMode"] == "async"
    assert "streamProcessingMode" not in asked["none", None]["guardrailConfig"]
    assert {cell.request.model for cell in found} == {Request(m, "x").model for m in grid["model"]}


def test_long_prompts_are_told_apart():
    """A label is cut short, the later one of equal ones is numbered, so more prompts change no key."""
    prompts = ["word " * 20 + "one", "word " * 20 + "two", "Hi", Request(prompt="Ho"), [{"text": "x"}]]
    labels = {cell.labels["prompt"] for cell in cells(prompts)}
    cut = "word " * 7 + "word…"
    assert labels == {cut, f"{cut} (2)", "Hi", "Ho", "prompt 5"}
    assert all(cell.key in {c.key for c in cells(prompts)} for cell in cells(prompts[:1]))


def test_a_prompt_may_be_a_whole_request():
    """Its own settings hold where the grid says None."""
    found = cells([Request(prompt="Hi", temperature=0.3)], {"temperature": [None, 1]}, {"max_tokens": 5})
    assert {cell.request.temperature for cell in found} == {0.3, 1}
    assert {cell.request.max_tokens for cell in found} == {5}


def test_cells_travel():
    """To another process, and back."""
    found = cells(["Hi"], {"tools": {"w": [WEATHER]}}, {"streaming": False}, repeats=2)
    assert pickle.loads(pickle.dumps(found)) == found


@pytest.mark.parametrize(
    ("given_", "match"),
    [
        ({"prompts": None}, "There are no prompts"),
        ({"prompts": []}, "There are no prompts"),
        ({"prompts": [None]}, "The prompt 'prompt 1' is None"),
        ({"prompts": ["Hi"], "grid": {"prompt": ["Ho"]}}, "prompt in the grid besides"),
        ({"prompts": [{"role": "user", "content": []}]}, "looks like one prompt"),
        ({"prompts": {(1, 2): "Hi"}}, "A tuple is no label"),
        ({"grid": ["temperature"]}, "A list is given as the grid"),
        ({"grid": {"temperature": 1}}, "temperature=1; a list of values is wanted"),
        ({"grid": {"model": "nova_lite"}}, "a list of values is wanted"),
        ({"grid": {"temperature": []}}, "temperature has no values"),
        ({"grid": {"temperature": [0, 1, 0.0]}}, "temperature=0.0 twice"),
        ({"grid": {"tools": [[WEATHER]]}}, "A list among the values of tools has no name"),
        ({"grid": {"model": ["nova_lite", "us.amazon.nova-lite-v1:0"]}}, "would ask the very same"),
        ({"grid": {"temperature": [0]}, "settings": {"temperature": 1}}, "in the grid, and fixed besides"),
        ({"grid": {"temperature": [7]}}, "temperature is 7"),
        ({"settings": {"background": True}}, "settles background by itself"),
        ({"grid": {"journal": ["x"]}}, "settles journal by itself"),
        ({"settings": {"prompt": "x"}}, "prompt= is no setting"),
        ({"labels": {"repeat": 1}}, "label 'repeat' is made by the experiment"),
        ({"labels": {"run": object()}}, "has no form in JSON"),
        ({"repeats": 0}, "repeats is 0"),
        ({"seed": "x"}, "seed is 'x'"),
    ],
)
def test_what_cannot_be_asked_is_refused(given_, match):
    """The message says what is wanted."""
    with pytest.raises(RequestError, match=match):
        cells(**{"prompts": "Hi", **given_})
