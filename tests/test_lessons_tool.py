"""Lessons as files, for teachers: made, checked, solved, graded, recorded, handed out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

import bedrock_nb as nb
from bedrock_nb import lessons
from bedrock_nb.cli import main
from bedrock_nb.errors import LessonError, RequestError
from bedrock_nb.lessons.bare import bare, course_files
from bedrock_nb.lessons.lesson import read
from bedrock_nb.lessons.names import names
from bedrock_nb.lessons.rules import PLACEHOLDER, RULES
from bedrock_nb.server import INSTANT, BedrockServer, echo

FOLDER = Path(nb.__file__).parents[1] / "notebooks"


@pytest.fixture
def upstream(monkeypatch):
    """A server that loses no time, where lessons are sent to."""
    with BedrockServer(echo, latency=INSTANT) as server:
        monkeypatch.setenv("BEDROCK_NB_TARGET", server.endpoint_url)
        yield server


def edit(path: Path, change) -> Path:
    """Change a notebook in its file."""
    notebook = nbformat.read(path, as_version=4)
    change(notebook)
    path.write_text(nbformat.writes(notebook))
    return path


def code(notebook, start: str):
    """The first cell that begins so."""
    return next(cell for cell in notebook.cells if cell.source.startswith(start))


def replace(start: str, old: str, new: str):
    """A change: other words in the first cell that begins so."""

    def change(notebook) -> None:
        cell = code(notebook, start)
        assert old in cell.source
        cell.source = cell.source.replace(old, new)

    return change


def write(cell) -> None:
    """Say something where a new lesson leaves it to its author."""
    cell.source = cell.source.replace(f"* You {PLACEHOLDER} ", "* You ").replace(PLACEHOLDER, "So.")


def finished(folder: Path) -> Path:
    """The lesson 4 of three that keep every rule."""
    made = [lessons.new(title, folder, number=n) for n, title in ((3, "Three"), (4, "Four"), (5, "Five"))]
    for path, after in zip(made, [*made[1:], None], strict=True):
        edit(path, lambda notebook: [write(cell) for cell in notebook.cells])
        if after is not None:
            link = f"**Next:** [{read(after).heading}]({after.name})\n**Reference:**"
            edit(path, replace("## What you have", "**Reference:**", link))
    return made[1]


# -- new -------------------------------------------------------------------------------------------


def test_a_new_lesson_keeps_every_rule_but_one(tmp_path):
    """What only its author can write is marked, and nothing else is wrong."""
    path = lessons.new("Streams at sea", tmp_path)
    assert path.name == "00-streams-at-sea.ipynb"
    assert read(path).heading == "0 · Streams at sea"
    assert {found.rule for found in lessons.check(path)} == {"written"}


def test_a_finished_lesson_keeps_every_rule(tmp_path):
    """The lessons that the tests below spoil are sound, and linked to each other."""
    finished(tmp_path)
    assert [str(found) for found in lessons.check(tmp_path)] == []


@pytest.mark.parametrize(
    ("title", "name", "heading"),
    [
        ("13-streams-at-sea", "13-streams-at-sea.ipynb", "13 · Streams at sea"),
        ("streams-at-sea.ipynb", "08-streams-at-sea.ipynb", "8 · Streams at sea"),
        ("Überraschung: Ströme!", "08-uberraschung-strome.ipynb", "8 · Überraschung: Ströme!"),
        ("Timing", "08-timing.ipynb", "8 · Timing"),
    ],
)
def test_the_name_of_a_new_lesson(tmp_path, title, name, heading):
    """From a title or from the name of a file; the number follows those that are there."""
    lessons.new("Before", tmp_path, number=7)
    path = lessons.new(title, tmp_path)
    assert (path.name, read(path).heading) == (name, heading)
    assert "**Before:** [7 · Before](07-before.ipynb)" in read(path).cells[-1].source


@pytest.mark.parametrize(("title", "number"), [("Another", 7), ("…", None), ("Far out", 100)])
def test_a_new_lesson_never_takes_the_place_of_another(tmp_path, title, number):
    """A number that is taken, or none, and a title without letters, are refused; no file is made."""
    before = lessons.new("Seven", tmp_path, number=7)
    with pytest.raises(LessonError):
        lessons.new(title, tmp_path, number=number)
    assert list(tmp_path.iterdir()) == [before]


# -- check -----------------------------------------------------------------------------------------


def tagged(notebook, tag: str):
    return next(cell for cell in notebook.cells if tag in cell.metadata.get("tags", []))


def run_as(*counts: int | None):
    """A change: cells that were run with these counts."""

    def change(notebook) -> None:
        code_cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        for cell, count in zip(code_cells, counts, strict=False):
            cell.execution_count = count

    return change


def shows(start: str, *outputs):
    """A change: all cells were run, and one of them has left this."""

    def change(notebook) -> None:
        run_as(*range(1, 100))(notebook)
        code(notebook, start).outputs = list(outputs)

    return change


def add(source: str, **metadata):
    """A change: one more cell of code before the exercises."""

    def change(notebook) -> None:
        notebook.cells.insert(8, new_code_cell(source, metadata=metadata))

    return change


def graded(name: str, status: str):
    return new_output(
        "execute_result",
        {"text/plain": f"Exercise {name}: {status}.", "text/html": "<p>Well: <b>so</b></p>"},
        execution_count=9,
    )


def drop(start: str):
    def change(notebook) -> None:
        notebook.cells.remove(code(notebook, start))

    return change


def forget(tag: str, *names: str):
    """A change: the first cell with a tag loses some of its metadata."""

    def change(notebook) -> None:
        for name in names:
            tagged(notebook, tag).metadata.pop(name)

    return change


def solve_with(source: str):
    def change(notebook) -> None:
        tagged(notebook, "exercise").metadata["bedrock_nb"] = {"solution": source}

    return change


def both(*changes):
    def change(notebook) -> None:
        for one in changes:
            one(notebook)

    return change


SECRET = "AKIA" + "ABCDEFGHIJKLMNOP"
IGNORED = {"tags": ["nbval-ignore-output"]}

#: The name of a rule -> ways to break it in a lesson that keeps them all, and a word of what is said then.
SPOILT = {
    "title": [(replace("# 4", "# 4 ·", "# 5 ·"), "# 4 · Title")],
    "goals": [
        (replace("# 4", "**In this lesson you will**", "You will"), "In this lesson you will"),
        (replace("# 4", "* So. measure ….", ""), "fewer than two"),
    ],
    "practical": [
        (replace("# 4", "about 20 minutes", "a while"), "how long"),
        (replace("# 4", "AWS account", "thing"), "no AWS account"),
    ],
    "set-up": [(replace("import bedrock_nb", "nb.connect()", "nb.connect('aws')"), "set-up")],
    "python": [(add("for x in"), "no Python")],
    "short": [(add("\n".join(f"x{n} = {n}" for n in range(40))), "40 lines")],
    "predict": [
        (both(drop("guess ="), drop("ax = ")), "nobody predicts"),
        (drop("ax = "), "nobody checks"),
    ],
    "axes": [
        (replace("ax = ", "ax = ", ""), "guess.check(…)"),
        (add("nb.plot.anatomy(reply)"), "nb.plot.anatomy(…)"),
        (add("1 + 1;"), "`;`"),
    ],
    "compared": [(both(add("1", **IGNORED), add("2", **IGNORED)), "second cell")],
    "links": [
        (replace("## Predict", "what", "[what](nowhere.ipynb)"), "nowhere.ipynb"),
        (add('nb.Recording.load("recordings/none.jsonl")'), "recordings/none.jsonl"),
        (replace("## Predict", "what", f"[what]({'x' * 5_000})"), "xxx"),
    ],
    "exercises": [
        (replace("## Exercises", "## Exercises", "## More"), "no section"),
        (replace("### Exercise 4.2", "4.2", "4.3"), "where 4.2 is due"),
        (replace("### Exercise 4.1", "### Exercise", "### Task"), "1 exercise"),
        (add("x = ...", tags=["exercise"]), "belongs to no"),
    ],
    "answers": [
        (forget("exercise", "tags"), "has 0 cells tagged `exercise`"),
        (forget("exercise", "bedrock_nb"), "no solution"),
        (replace("pieces = ...", "...", "None"), "no `...`"),
        (solve_with("pieces = ("), "no Python"),
        (solve_with("pieces = ..."), "is the exercise"),
    ],
    "checks": [
        (forget("check", "tags"), "has 0 cells tagged `check`"),
        (forget("check", "jupyter"), "gives the answer away"),
        (
            replace("# Run this cell", "# Run this cell to check your answer.", "# Pieces."),
            "first line is seen",
        ),
        (lambda notebook: setattr(tagged(notebook, "check"), "source", "print(pieces)"), "last line"),
        (
            lambda notebook: setattr(tagged(notebook, "check"), "source", 'nb.grade("4.2", pieces, 3)'),
            'nb.grade("4.1"',
        ),
    ],
    "stand alone": [
        (solve_with("pieces = len(list(guess.values))"), "`guess`"),
        (drop('reply = nb.stream(client, "Write'), "`reply`"),
        (solve_with("pieces, extra = 3, 4\ndef f():\n    return table"), "`table`"),
    ],
    "learned": [
        (replace("## What", "## What you have learned", "## The end"), "What you have learned"),
        (replace("## What", "* You measured ….", ""), "2 goals on top, and 1 here"),
        (replace("## What", "* You measured", "* Measuring"), "past tense"),
    ],
    "neighbours": [
        (replace("## What", "**Next:**", "Next"), "05-five.ipynb"),
        (replace("## What", "5 · Five", "5 · Fünf"), "is called"),
        (replace("## What", "(03-three.ipynb)", "(05-five.ipynb)"), "03-three.ipynb"),
    ],
    "reference": [(replace("## What", "docs.aws.amazon.com", "example.com"), "docs.aws.amazon.com")],
    "written": [(replace("## Predict", "So.", PLACEHOLDER), "still to be written")],
    "kernel": [(lambda notebook: notebook.metadata.kernelspec.update(name="mine"), "'mine'")],
    "in order": [
        (run_as(1, 3), "run as number 3"),
        (run_as(1, None, 2), "run as number None"),
    ],
    "sound": [(shows("guess =", new_output("error", ename="E", evalue="", traceback=[])), "traceback")],
    "discreet": [
        (shows("guess =", new_output("stream", text=text)), word)
        for text, word in [
            (SECRET, "an access key"),
            ("arn:aws:bedrock:us-east-2:" + "123456789012:x", "an account id"),
            ("Bearer " + "abcdefghijklmnopqrstuvwxyz", "a bearer token"),
            ("/home/ada/x.py", "a home directory"),
            ("<x at 0x7f0011223344>", "an address in memory"),
        ]
    ],
    "unsolved": [(shows("# Run this cell", graded("4.1", "right")), "was saved answered")],
}


def test_every_rule_is_broken_below():
    """A rule that never finds anything is no rule."""
    assert list(SPOILT) == [rule.name for rule in RULES]


@pytest.mark.parametrize(
    ("rule", "change", "said"),
    [
        pytest.param(rule, *case, id=f"{rule}-{n}")
        for rule, cases in SPOILT.items()
        for n, case in enumerate(cases)
    ],
)
def test_a_broken_rule_is_found(tmp_path, rule, change, said):
    """The finding names the file, says what is wrong, and how to mend it."""
    path = edit(finished(tmp_path), change)
    found = [one for one in lessons.check(path) if one.rule == rule]
    assert any(said in one.what for one in found), [str(one) for one in lessons.check(path)]
    for one in found:
        assert str(one).startswith("04-four.ipynb")
        assert one.mend


@pytest.mark.parametrize(
    ("source", "wanted", "given"),
    [
        ("a = b + len(c)", {"b", "c", "len"}, {"a"}),
        ("import os.path as p, sys\nfrom x import y", set(), {"p", "sys", "y"}),
        ("def f(x, y=z):\n    return x + w\nf(1)", {"z", "w"}, {"f"}),
        ("[n for n in ns if n in other]", {"ns", "other"}, set()),
        ("{k: v + w for k, v in d.items() for x in v if x}", {"d", "w"}, set()),
        (
            "def f():\n    return [n for n in ns]\nany((hit := x) > 3 for x in xs)",
            {"ns", "any", "xs"},
            {"f", "hit"},
        ),
        ("r = await s\nout = [e async for e in r if await ok(e)]", {"s", "ok"}, {"r", "out"}),
        ("for k, v in d.items():\n    k.v", {"d"}, {"k", "v"}),
        ("match e:\n    case T(i, t):\n        print(t)", {"e", "T", "print"}, {"i", "t"}),
        ("total = 0\ndef g():\n    global total\n    total += n", {"n"}, {"total", "g"}),
        ("class A(B):\n    def m(self): return self.x + y", {"B", "y"}, {"A"}),
        ("with open(p) as f:\n    x = lambda q: q + r", {"open", "p", "r"}, {"f", "x"}),
        ("(m := n)\n!ls", {"n", "get_ipython"}, {"m"}),
        ("for x in", set(), set()),
        ("-" * 100_000 + "x", set(), set()),
        ("x" + ".y" * 20_000, set(), set()),
    ],
)
def test_the_names_of_a_cell(source, wanted, given):
    """What it looks up outside of itself, in functions and comprehensions as well, and what it binds."""
    assert names(source) == (wanted, given)


def test_other_notebooks_are_asked_less(tmp_path):
    """A page beside the lessons has no goals and no exercises; what holds of any page holds of it."""
    path = tmp_path / "gallery.ipynb"
    kernel = {"name": "python3", "display_name": "Python 3"}
    path.write_text(
        nbformat.writes(new_notebook(cells=[new_code_cell("1 + 1")], metadata={"kernelspec": kernel}))
    )
    assert lessons.check(path) == []
    assert [found.rule for found in lessons.check(path, outputs=True)] == ["outputs"]


@pytest.mark.parametrize("text", ["", "{}", "[" * 100_000, '{"cells": 3, "nbformat": 4}', "\x00", "null"])
def test_what_is_no_notebook_is_said(tmp_path, text):
    """It is a finding, and so are the others of its folder."""
    (tmp_path / "04-broken.ipynb").write_text(text)
    assert [(found.rule, found.cell) for found in lessons.check(tmp_path)] == [("notebook", None)]


def test_nothing_to_check_is_refused(tmp_path):
    """A path that is not there, and a folder without notebooks."""
    for path in (tmp_path / "none.ipynb", tmp_path):
        with pytest.raises(LessonError):
            lessons.check(path)


def test_a_lesson_is_run(tmp_path, upstream):
    """A sound one gives no finding, and its file is as it was."""
    path = finished(tmp_path)
    before, told = path.read_bytes(), []
    assert [str(found) for found in lessons.check(path, run=True, announce=told.append)] == []
    assert path.read_bytes() == before
    assert told[0].startswith("04-four.ipynb: ")


def test_a_cell_that_fails_is_found(tmp_path):
    """By its number, with what it said; nothing but JSON is needed for it to be a lesson's."""
    path = tmp_path / "page.ipynb"
    cells = [new_code_cell("x = 1"), new_code_cell("x / 0"), new_code_cell("y")]
    path.write_text(
        nbformat.writes(
            new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "P"}})
        )
    )
    (found,) = lessons.check(path, run=True)
    assert (found.cell, found.what) == (2, "ZeroDivisionError: division by zero")


def test_a_lesson_that_takes_too_long_is_found(tmp_path):
    """More seconds than are allowed are a finding, however few those are."""
    path = tmp_path / "page.ipynb"
    path.write_text(
        nbformat.writes(
            new_notebook(
                cells=[new_code_cell("1")], metadata={"kernelspec": {"name": "python3", "display_name": "P"}}
            )
        )
    )
    (found,) = lessons.check(path, run=True, seconds=0.001)
    assert found.rule == "run"


@pytest.mark.parametrize("text", ["[](" * 20_000, "[" * 60_000, "[x](" * 20_000])
def test_no_text_takes_long_to_check(tmp_path, text):
    """Time grows with the length of a cell, not with its square: the limit of a test is far away."""
    path = edit(finished(tmp_path), replace("## Predict", "what", text))
    assert lessons.check(path) == []


def test_a_link_may_spell_a_space(tmp_path):
    """As a browser writes it."""
    (tmp_path / "a picture.png").write_text("")
    path = edit(finished(tmp_path), replace("## Predict", "what", "![what](a%20picture.png)"))
    assert lessons.check(path) == []


# -- solutions -------------------------------------------------------------------------------------


def test_solutions_are_built_without_running(tmp_path):
    """The set-up cell and the section, each exercise solved; nothing else, and no solution in metadata."""
    notebook = lessons.build(finished(tmp_path))
    sources = [cell.source for cell in notebook.cells]
    assert sources[0].startswith("# Solutions to 4 · Four\n")
    assert sources[1] == "import bedrock_nb as nb\n\nclient = nb.connect()"
    assert sources[2].startswith("## Exercises")
    assert "pieces = len(list(reply.text_stream))" in sources
    assert not any("..." in source for source in sources if source.startswith("pieces"))
    assert not any("What you have learned" in source for source in sources)
    assert not any("bedrock_nb" in cell.metadata for cell in notebook.cells)
    nbformat.validate(notebook)


def test_a_solution_that_is_wrong_is_an_error(tmp_path, upstream):
    """It names the exercise and repeats what its check says; the right ones are made all the same."""
    path = edit(finished(tmp_path), solve_with("pieces = len(reply.text)"))
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    (recordings / "one.jsonl").write_text("")
    edit(
        path,
        replace(
            'reply = nb.stream(client, "Write', "reply", 'name = "recordings/one.jsonl"\nopen(name)\nreply'
        ),
    )
    into = tmp_path / "solutions"
    with pytest.raises(LessonError, match=r"exercise 4\.1: it is wrong: .*Those are letters") as refused:
        lessons.solutions(path, into)
    assert "4.2" not in str(refused.value)
    assert (into / "recordings" / "one.jsonl").exists()
    assert read(into / path.name).cells[-1].outputs


def test_solutions_never_take_the_place_of_lessons(tmp_path):
    """They need a folder of their own."""
    path = finished(tmp_path)
    before = path.read_bytes()
    with pytest.raises(LessonError, match="another folder"):
        lessons.solutions(path, tmp_path)
    assert path.read_bytes() == before


# -- grades ----------------------------------------------------------------------------------------


def handed_in(folder: Path, *outputs) -> Path:
    folder.mkdir(parents=True)
    path = folder / "04-four.ipynb"
    path.write_text(
        nbformat.writes(new_notebook(cells=[new_code_cell("nb.grade()", outputs=[o]) for o in outputs]))
    )
    return path


def test_grades_of_a_class(tmp_path):
    """A row for each notebook, a column for each exercise; the last check of an exercise counts."""
    handed_in(
        tmp_path / "ada", graded("4.10", "right"), graded("4.2", "not right yet"), graded("4.2", "right")
    )
    handed_in(tmp_path / "bob", graded("4.2", "not answered yet"))
    (tmp_path / "eve").mkdir()
    (tmp_path / "eve" / "x.ipynb").write_text("no")
    table = lessons.grades(tmp_path)
    assert list(table.columns) == ["notebook", "4.2", "4.10", "problem"]
    assert table[["4.2", "4.10"]].to_numpy().tolist() == [["right", "right"], ["open", ""], ["", ""]]
    assert table["problem"].tolist()[:2] == ["", ""]
    assert "no notebook" in table["problem"].iloc[2]


@pytest.mark.parametrize(
    "text",
    [
        "Exercise 4.1: right!",
        "Exercise 4.1: right.\nExercise 4.2: right.",
        "Exercise =1+1: right.",
        "Exercise ٣.٣: right.",
        "Exercise 04.1: right.",
        "Exercise 100.1: right.",
        "Exercise 4.1: \x1b[31mright.",
        ["Exercise 4.1: right."] * 2,
    ],
)
def test_what_is_no_grade_is_no_column(tmp_path, text):
    """A student can write anything into a notebook, but no column, no status and no formula of their own."""
    path = handed_in(tmp_path / "eve", graded("4.1", "right"))
    raw = json.loads(path.read_text())
    raw["cells"][0]["outputs"][0]["data"]["text/plain"] = text
    path.write_text(json.dumps(raw))
    assert list(lessons.grades(path).columns) == ["notebook"]


def test_names_of_files_are_made_harmless(tmp_path, monkeypatch, capsys):
    """No control character reaches the terminal, and no formula a spreadsheet."""
    monkeypatch.chdir(tmp_path)
    handed_in(tmp_path / "x", graded("4.1", "right")).rename(tmp_path / "=cmd\x1b[2J\nx.ipynb")
    assert main(["lessons", "grades", "=cmd\x1b[2J\nx.ipynb"]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "'=cmd" in shown
    assert len(shown.splitlines()) == 2
    assert main(["lessons", "grades", "=cmd\x1b[2J\nx.ipynb", "--csv", "grades.csv"]) == 0
    assert (tmp_path / "grades.csv").read_text().splitlines()[1].startswith("\"'=cmd")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("+x", "'+x"),
        ("-x", "'-x"),
        ("@x", "'@x"),
        (" =1", "' =1"),
        ("\uff1d1", "'\uff1d1"),
        ("\t=1", "' =1"),
        ("x;=1", "x;=1"),
        ("\u202ex", "\\u202ex"),
    ],
)
def test_no_name_of_a_file_is_a_formula(tmp_path, monkeypatch, capsys, name, shown):
    """Whichever sign a table takes for one, and whichever parts its cells: each is in quotation marks."""
    monkeypatch.chdir(tmp_path)
    handed_in(tmp_path / "x", graded("4.1", "right")).rename(tmp_path / f"{name}.ipynb")
    (tmp_path / "x").rmdir()
    assert main(["lessons", "grades", ".", "--csv", "grades.csv"]) == 0
    assert (tmp_path / "grades.csv").read_text().splitlines()[1] == f'"{shown}.ipynb","right"'


# -- record ----------------------------------------------------------------------------------------


def test_lessons_are_recorded_once(tmp_path, upstream, capsys):
    """What they ask is in the cassette; a second time nobody is asked; who fails is named."""
    path = tmp_path / "04-four.ipynb"
    cells = [
        new_code_cell("import bedrock_nb as nb\n\nclient = nb.connect()"),
        new_code_cell('assert nb.stream(client, "Rainbows").text'),
        new_code_cell('assert nb.chat(client, "Tides")'),
        new_code_cell("1 / 0"),
    ]
    path.write_text(nbformat.writes(new_notebook(cells=cells)))
    made = lessons.record(path, tmp_path / "tapes", upstream=upstream.endpoint_url)
    assert (made.calls, len(made.new)) == (2, 2)
    assert made.output_tokens > 0
    assert [(found.cell, found.what) for found in made.findings] == [
        (4, "ZeroDivisionError: division by zero")
    ]
    again = ["record", str(path), "--into", str(tmp_path / "tapes"), "--upstream", upstream.endpoint_url]
    assert main(["lessons", *again]) == 1
    assert "0 calls" in capsys.readouterr().out


def test_nobody_is_asked_for_money_without_a_word(tmp_path, monkeypatch, capsys):
    """On AWS somebody has to agree first; the environment may not pass another server off as AWS."""
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "y"),
        ("AWS_DEFAULT_REGION", "us-east-2"),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", raising=False)
    path = finished(tmp_path)
    assert main(["lessons", "record", str(path), "--into", str(tmp_path / "tapes")]) == 1
    assert "--yes" in capsys.readouterr().err
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "http://127.0.0.1:9")
    assert main(["lessons", "record", str(path), "--into", str(tmp_path / "tapes"), "--yes"]) == 1
    assert "not AWS" in capsys.readouterr().err
    assert not (tmp_path / "tapes").exists()


# -- handing out -----------------------------------------------------------------------------------


def test_a_copy_of_the_course(tmp_path):
    """Every notebook without outputs, every file that they load, and no script."""
    made = lessons.copy(tmp_path / "course")
    files = {str(path.relative_to(made.folder)) for path in made.folder.rglob("*") if path.is_file()}
    assert files == {str(inner) for inner in course_files(FOLDER)} == {str(path) for path in made.written}
    assert "recordings/rainbows.jsonl" in files
    assert not any(name.endswith(".py") for name in files)
    for path in made.folder.glob("*.ipynb"):
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in read(path).cells)


def test_a_copy_keeps_what_a_student_wrote(tmp_path):
    """A file that differs stays, and is named, unless it is to be replaced."""
    into = tmp_path / "course"
    lessons.copy(into)
    mine = into / "01-events.ipynb"
    mine.write_text("mine")
    again = lessons.copy(into)
    assert (again.written, [str(path) for path in again.kept]) == ([], ["01-events.ipynb"])
    assert mine.read_text() == "mine"
    assert [str(path) for path in lessons.copy(into, replace=True).written] == ["01-events.ipynb"]
    assert mine.read_text() != "mine"


def test_a_bare_notebook_keeps_all_that_was_written(tmp_path):
    """Outputs, counts and times go; sources, tags and solutions stay; and it stays a notebook."""
    path = edit(finished(tmp_path), shows("guess =", new_output("stream", text="42")))
    edit(path, lambda notebook: notebook.cells[1].metadata.update(execution={"x": "y"}))
    without = nbformat.reads(bare(path.read_text()), as_version=4)
    nbformat.validate(without)
    assert "42" not in bare(path.read_text())
    kept = read(path).notebook
    assert [cell.source for cell in without.cells] == [cell.source for cell in kept.cells]
    assert [cell.metadata for cell in without.cells][2:] == [cell.metadata for cell in kept.cells][2:]
    assert without.cells[1].metadata == {}


def test_lessons_here_come_first(tmp_path, monkeypatch):
    """``notebooks`` in this folder, then copies that were made here, then the checkout's; or those named."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "my-own.ipynb").write_text("{}")
    assert lessons.find() == FOLDER
    lessons.copy("bedrock-nb-lessons")
    assert lessons.find() == Path("bedrock-nb-lessons")
    lessons.new("Mine", "notebooks")
    assert lessons.find() == Path("notebooks")
    assert lessons.find(FOLDER) == FOLDER
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="no lessons in 'empty'"):
        lessons.find("empty")


def test_an_installed_package_hands_out_copies(tmp_path):
    """The lessons inside of it are never opened: a reader writes into a copy."""
    installed = tmp_path / "site" / "bedrock_nb"
    shutil.copytree(Path(nb.__file__).parent, installed, ignore=shutil.ignore_patterns("__pycache__"))
    lessons.copy(installed / "_lessons")
    (tmp_path / "here").mkdir()
    said = subprocess.run(
        [sys.executable, "-c", "from bedrock_nb import lessons; print(lessons.find(announce=print))"],
        cwd=tmp_path / "here",
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.splitlines()[-1] == "bedrock-nb-lessons"
    assert "copied" in said
    copies = {path.name for path in (tmp_path / "here" / "bedrock-nb-lessons").glob("*.ipynb")}
    assert copies == {path.name for path in FOLDER.glob("*.ipynb")}


# -- the command line ------------------------------------------------------------------------------


def test_the_commands_of_a_teacher(tmp_path, monkeypatch, capsys):
    """Make a lesson, list it, check it: what is wrong is printed, and the exit status says so."""
    monkeypatch.chdir(tmp_path)
    assert main(["lessons", "new", "Streams at sea", "--folder", "mine"]) == 0
    assert "00-streams-at-sea.ipynb" in capsys.readouterr().out
    assert main(["lessons", "list", "mine"]) == 0
    assert "0 · Streams at sea" in capsys.readouterr().out
    assert main(["lessons", "check", "mine"]) == 1
    assert "00-streams-at-sea.ipynb, cell 1: " in capsys.readouterr().out
    edit(tmp_path / "mine" / "00-streams-at-sea.ipynb", lambda notebook: [write(c) for c in notebook.cells])
    assert main(["lessons", "check", "mine"]) == 0
    assert main(["lessons", "copy"]) == 0
    assert "written" in capsys.readouterr().out
    assert main(["lessons", "check", "--rules"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(RULES)


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "nowhere"],
        ["new", "Rivers", "--folder", "a-file"],
        ["copy", "a-file"],
        ["solutions", "mine", "--into", "a-file"],
    ],
    ids=" ".join,
)
def test_a_folder_that_cannot_be_used_is_said(tmp_path, monkeypatch, capsys, arguments):
    """In a sentence with a remedy, and no traceback."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-file").write_text("")
    lessons.new("Rivers", "mine")
    assert main(["lessons", *arguments]) == 1
    said = capsys.readouterr().err
    assert said.startswith("bedrock-nb: ")
    assert arguments[-1] in said


def test_a_broken_notebook_does_not_hide_the_others(tmp_path, capsys):
    """The list goes on after it."""
    (tmp_path / "00-broken.ipynb").write_text("no")
    lessons.new("Rivers", tmp_path)
    assert main(["lessons", "list", str(tmp_path)]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "00-broken.ipynb",
        "01-rivers.ipynb",
        "In",
    ]


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "long"])
def test_seconds_are_more_than_none(seconds, capsys):
    """Otherwise nothing could be run."""
    with pytest.raises(SystemExit):
        main(["lessons", "check", f"--seconds={seconds}"])
    assert "--seconds" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["list", "copy", "new", "check", "solutions", "grades", "record"])
def test_every_command_has_examples(command, capsys):
    """``--help`` ends with lines that can be typed."""
    with pytest.raises(SystemExit) as ended:
        main(["lessons", command, "--help"])
    assert ended.value.code == 0
    assert f"bedrock-nb lessons {command}" in capsys.readouterr().out.split("examples:")[1]
