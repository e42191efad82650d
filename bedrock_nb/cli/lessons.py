"""``bedrock-nb lessons``: the course, and what a teacher does with it.

Strategy: a row of `_COMMANDS` for each, its arguments beside what it runs; each is a few lines round one
function of `bedrock_nb.lessons`, and says in plain lines what came of it.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from bedrock_nb import files, lessons
from bedrock_nb.errors import LessonError, RequestError
from bedrock_nb.lessons import finding
from bedrock_nb.lessons.lesson import listed, read
from bedrock_nb.lessons.running import SECONDS
from bedrock_nb.render import printable

__all__ = ["add"]


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to a parser's."""
    parser = commands.add_parser(
        "lessons",
        help="list, copy, make, check, solve, grade or record lessons",
        description="The course, and what a teacher does with it.",
    )
    below = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, row in _COMMANDS.items():
        command = below.add_parser(
            name,
            help=row.help,
            description=row.about,
            epilog="examples:\n" + "\n".join(f"  bedrock-nb lessons {line}" for line in row.examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        row.arguments(command)
        command.set_defaults(run=row.run)


# -- what is there ---------------------------------------------------------------------------------


def _folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", help="a folder of lessons (default: as `bedrock-nb lab`)")


def _list(chosen: argparse.Namespace) -> int:
    folder = Path(chosen.folder) if chosen.folder else finding.readable()
    for path in listed(folder):
        try:
            heading = read(path).heading
        except LessonError as err:
            heading = err.what
        print(printable(f"{path.name:32} {heading}".rstrip()))
    print(f"In {printable(str(folder))}.")
    return 0


def _into(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "into", nargs="?", default=finding.COPIES, help="a folder (default: %(default)s), made if need be"
    )
    parser.add_argument(
        "--force", action="store_true", help="replace files that differ: what you wrote is lost"
    )


def _copy(chosen: argparse.Namespace) -> int:
    made = lessons.copy(chosen.into, replace=chosen.force)
    for inner in made.kept:
        print(printable(f"kept as it is, for it differs: {made.folder / inner}"))
    counted = [(made.written, "written"), (made.same, "there already"), (made.kept, "kept")]
    print(", ".join(f"{len(some)} {word}" for some, word in counted if some) + ".")
    print(printable(f"Open them with `bedrock-nb lab {made.folder}`."))
    return 0


# -- a teacher's own -------------------------------------------------------------------------------


def _title(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("title", help='a title, "Streams at sea", or a name, 13-streams-at-sea')
    parser.add_argument("--number", type=int, help="0 to 99 (default: the next one that is free)")
    parser.add_argument("--folder", default=".", help="where the lessons are (default: here)")


def _new(chosen: argparse.Namespace) -> int:
    path = lessons.new(chosen.title, chosen.folder, number=chosen.number)
    print(printable(f"{path}: {read(path).heading}"))
    for what in (found for found in lessons.check([path]) if found.rule == "written"):
        print(what)
    for word, other in zip(("Next", "Before"), read(path).neighbours(), strict=True):
        if other is not None:
            print(printable(f"Link it in {other.name}: **{word}:** [{read(path).heading}]({path.name})"))
    return 0


def _notebooks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="notebooks, or folders (default: the lessons)"
    )


def _checked(parser: argparse.ArgumentParser) -> None:
    _notebooks(parser)
    parser.add_argument(
        "--run", action="store_true", dest="runs", help="run each, too: does it fail, how long does it take?"
    )
    parser.add_argument("--outputs", action="store_true", help="refuse those that were never run")
    parser.add_argument("--rules", action="store_true", help="print the rules, and check nothing")
    _seconds(parser)


def _seconds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seconds", type=_positive, default=SECONDS, help="how long a lesson may take (default: %(default)s)"
    )


def _positive(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError("it has to be more than 0")
    return seconds


def _check(chosen: argparse.Namespace) -> int:
    if chosen.rules:
        from bedrock_nb.lessons.rules import RULES

        for rule in RULES:
            print(f"{rule.name:12} {rule.what} {rule.mend}")
        return 0
    paths = chosen.files or [finding.readable()]
    found = lessons.check(
        paths,
        outputs=chosen.outputs,
        run=chosen.runs,
        seconds=chosen.seconds,
        progress=_bar if chosen.runs else iter,
        announce=_said,
    )
    for one in found:
        print(one)
    if found:
        print(f"{len(found)} finding{'s' * (len(found) != 1)}.", file=sys.stderr)
        return 1
    print("Every rule is kept.")
    return 0


def _solved(parser: argparse.ArgumentParser) -> None:
    _notebooks(parser)
    parser.add_argument("--into", default="solutions", metavar="FOLDER", help="default: %(default)s")
    _seconds(parser)


def _solutions(chosen: argparse.Namespace) -> int:
    for path in lessons.solutions(
        chosen.files or [finding.readable()], chosen.into, seconds=chosen.seconds, progress=_bar
    ):
        print(printable(str(path)))
    return 0


# -- a class ---------------------------------------------------------------------------------------


def _handed_in(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="students' notebooks, or folders of them")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table")


def _grades(chosen: argparse.Namespace) -> int:
    table = lessons.grades(chosen.files)
    if chosen.csv is not None:
        text: str = table.to_csv(index=False, quoting=csv.QUOTE_ALL)  # some tables part cells at a semicolon
        files.write_chunks(chosen.csv, [text.encode()], "table")
        print(f"{len(table):,} rows: {chosen.csv}")
        return 0
    print(printable(table.to_string(index=False)))
    return 0


def _recorded(parser: argparse.ArgumentParser) -> None:
    _notebooks(parser)
    parser.add_argument(
        "--into", default="tapes", metavar="FOLDER", help="the cassette (default: %(default)s)"
    )
    parser.add_argument(
        "--upstream",
        default="aws",
        metavar="TARGET",
        help="who is asked: aws, or a URL (default: %(default)s)",
    )
    parser.add_argument("--afresh", action="store_true", help="ask for what is there, too, and replace it")
    parser.add_argument("--yes", action="store_true", help="do not ask before it costs money")


def _record(chosen: argparse.Namespace) -> int:
    paths = chosen.files or [finding.readable()]
    if chosen.upstream == "aws":
        from bedrock_nb.lessons.taping import asked

        endpoint = asked("aws").meta.endpoint_url
        if not chosen.yes:
            _agreed(f"The lessons will ask {endpoint}, and your account pays for the tokens.")
    made = lessons.record(paths, chosen.into, upstream=chosen.upstream, afresh=chosen.afresh, progress=_bar)
    for one in made.findings:
        print(one)
    print(
        f"{made.calls:,} calls, {made.input_tokens:,} input and {made.output_tokens:,} output tokens; "
        f"{len(made.new):,} recordings in {printable(str(made.folder))}."
    )
    print(printable(f"`bedrock-nb lab --cassette {made.folder}` replays them."))
    return 1 if made.findings else 0


def _agreed(what: str) -> None:
    """Ask, and go on only if somebody agrees."""
    if not sys.stdin.isatty():
        raise RequestError(f"{what} Nobody is here to agree.", remedy="Say --yes.")
    try:
        answer = input(f"{what} Go on? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise LessonError("Nothing was asked.")


def _bar(paths: Iterable[Path]) -> Iterable[Path]:
    """A bar for a terminal, which names the lesson that runs; nothing elsewhere."""
    from tqdm import tqdm

    named = list(paths)
    with tqdm(named, unit="lesson", disable=None, leave=False) as bar:
        for path in bar:
            bar.set_description(path.stem)
            yield path


def _said(line: str) -> None:
    """Print a line above the bar."""
    from tqdm import tqdm

    tqdm.write(printable(line), file=sys.stdout)


class _Command(NamedTuple):
    help: str
    about: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    examples: tuple[str, ...]


_COMMANDS = {
    "list": _Command("list the lessons", "The lessons and their titles.", _folder, _list, ("list",)),
    "copy": _Command(
        "copy the lessons, to write into them",
        "Copy the lessons and their recordings. What you have changed is kept.",
        _into,
        _copy,
        ("copy", "copy ~/course"),
    ),
    "new": _Command(
        "begin a lesson of your own",
        "Make a lesson that runs and keeps the rules, but for what only you can write.",
        _title,
        _new,
        ('new "Streams at sea"', 'new "Streams at sea" --number 13 --folder notebooks'),
    ),
    "check": _Command(
        "say what is wrong with lessons",
        "Check lessons against the rules. Exit status 1 if one is broken.",
        _checked,
        _check,
        ("check", "check mine/13-streams-at-sea.ipynb --run", "check --rules"),
    ),
    "solutions": _Command(
        "make the solutions, run and graded",
        "Write a notebook for each lesson with its exercises solved; each must be graded right.",
        _solved,
        _solutions,
        ("solutions", "solutions notebooks/02-timing.ipynb --into solutions"),
    ),
    "grades": _Command(
        "a table of what students have solved",
        "Read grades from saved notebooks. Nothing of students is run; who edits the file can cheat.",
        _handed_in,
        _grades,
        ("grades handed-in", "grades handed-in --csv grades.csv"),
    ),
    "record": _Command(
        "run lessons against Bedrock, and record it",
        "Run lessons against Amazon Bedrock and keep every answer, to be replayed without an account.",
        _recorded,
        _record,
        ("record --into tapes", "record notebooks/00-start-here.ipynb --upstream http://127.0.0.1:8080"),
    ),
}
