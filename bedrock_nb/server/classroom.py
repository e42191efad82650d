"""A classroom on one embedded server: who has a seat, what each may ask, and where that is kept.

Strategy: a seat is a name and a key pair, for that is what every AWS SDK can sign with, and a signature is
all that tells students apart. Names and keys stand in one file for the teacher (``seats.csv``), which is
written when the server listens and read when it starts again, so that students keep their keys. Each student
has the same limits; the teacher has a seat without any. What students do is no concern of this module:
`accounts` keeps it.
"""

from __future__ import annotations

import csv
import hmac
import io
import os
import secrets
import stat
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from bedrock_nb.errors import RequestError
from bedrock_nb.files import write_text
from bedrock_nb.server.latency import Latency
from bedrock_nb.server.loopback import (
    KEY_BEGINS,
    LONGEST_NAME,
    SEAT_VARIABLE,
    TARGET_VARIABLE,
    Keys,
)

__all__ = ["LIMITS", "TEACHER", "Classroom", "Seat", "names_of"]

#: The seat without limits, for whoever gives the lesson.
TEACHER = "teacher"

#: What a student's limits are called: fields of `Latency`.
LIMITS = ("requests_per_minute", "tokens_per_minute", "slots", "queue")

_COLUMNS = ("name", "access_key", "secret_key", "export")
_MOST = 1_000  # students
_HEADINGS = ("name", "names", "student", "students")  # of a list of names: no student's
_LISTED = 1 * 2**20  # bytes of a list of names, or of seats


@dataclass(frozen=True)
class Seat:
    """One student's place: who it is, and what their requests are signed with.

    Parameters
    ----------
    name : str
    keys : Keys
        Its repr shows no secret.
    """

    name: str
    keys: Keys = field(default_factory=lambda: Keys(secret_key=secrets.token_hex(20)), repr=False)

    def environment(self, url: str) -> dict[str, str]:
        """The two variables with which ``nb.connect()`` comes to a server as this student.

        Parameters
        ----------
        url : str
            Where the server is.

        Returns
        -------
        dict
            ``BEDROCK_NB_TARGET`` and ``BEDROCK_NB_SEAT``; the second is a secret.
        """
        return {TARGET_VARIABLE: url, SEAT_VARIABLE: f"{self.keys.access_key}:{self.keys.secret_key}"}


class Classroom:
    """Who may ask an embedded server, and how much.

    Parameters
    ----------
    students : int or sequence of str
        Their names; a number makes ``student-01``, ``student-02`` …
    seats : path, optional
        The file of names and keys: read if it is there, and written by `save`. Without one the keys are new
        each time.
    requests_per_minute, tokens_per_minute : float, optional
        What each student may ask for; beyond it a request is refused with 429 ThrottlingException. None or 0
        is no limit.
    slots : int, optional
        Answers that one student gets at once; further requests of theirs wait.
    queue : int, optional
        Requests of one student that may wait; the next is refused with 503 ServiceUnavailableException.

    Attributes
    ----------
    seats : dict of str to Seat
        Name -> seat, in the order of the names.
    teacher : Seat
        One more, without limits.
    limits : Latency
        Of one student: ``slots``, ``queue``, ``requests_per_minute`` and ``tokens_per_minute`` of it.
    key : str
        What opens the dashboard; it stays the same as long as the file of seats does.

    Raises
    ------
    RequestError
        Names that cannot be told apart, a file that is no list of seats, a limit that cannot be.

    Examples
    --------
    >>> room = Classroom(["Ada", "Grace"], requests_per_minute=30)
    >>> list(room.seats)
    ['Ada', 'Grace']
    >>> sorted(room.seats["Ada"].environment("http://127.0.0.1:8080"))
    ['BEDROCK_NB_SEAT', 'BEDROCK_NB_TARGET']
    """

    def __init__(
        self,
        students: int | Sequence[str],
        *,
        seats: str | os.PathLike[str] | None = None,
        requests_per_minute: float | None = 120,
        tokens_per_minute: float | None = 100_000,
        slots: int | None = 8,
        queue: int | None = 100,
    ) -> None:
        self.limits = Latency(
            slots=slots or None,
            queue=queue or None,
            requests_per_minute=requests_per_minute or None,
            tokens_per_minute=tokens_per_minute or None,
        )
        names = _numbered(students) if isinstance(students, int) else _checked(students)
        self.file = None if seats is None else Path(seats)
        known = _read(self.file) if self.file is not None else {}
        self.teacher = known[TEACHER] if TEACHER in known else Seat(TEACHER)
        self.seats = {name: known[name] if name in known else Seat(name) for name in names}
        # Not of this lesson, but their keys are kept.
        self._absent = [seat for name, seat in known.items() if name not in {TEACHER, *names}]
        # Of the teacher's own secret, so that a bookmark lives as long as the file of seats.
        self.key = hmac.new(self.teacher.keys.secret_key.encode(), b"dashboard", "sha256").hexdigest()[:40]
        self._of = {seat.keys.access_key: seat for seat in (self.teacher, *self.seats.values())}
        self._paused: set[str] = set()

    def find(self, access_key: str) -> Seat | None:
        """Whose access key this is."""
        return self._of.get(access_key)

    def opens(self, key: str) -> bool:
        """Whether this is the key of the dashboard."""
        return hmac.compare_digest(key.encode(errors="replace"), self.key.encode())

    def dashboard(self, url: str) -> str:
        """The address of the teacher's page; whoever has it sees what the students do."""
        return f"{url}/?key={self.key}"

    # -- eyes up -----------------------------------------------------------------------------------

    def pause(self, name: str | None = None, paused: bool = True) -> None:
        """Refuse new requests for a while, of one student or of all; answers that have begun go on.

        Parameters
        ----------
        name : str, optional
            Without one: all students.
        paused : bool
            False lets them ask again.

        Raises
        ------
        RequestError
            There is no such student.
        """
        if name is not None and name not in self.seats:
            raise RequestError(f"There is no student {name[:LONGEST_NAME]!r}.", remedy="Names are in .seats.")
        for each in self.seats if name is None else [name]:
            (self._paused.add if paused else self._paused.discard)(each)

    def is_paused(self, name: str) -> bool:
        """Whether requests of a student are refused just now."""
        return name in self._paused

    # -- the file ----------------------------------------------------------------------------------

    def save(self, url: str) -> Path | None:
        """Write the file of seats, for nobody else to read; None if there is to be none.

        Parameters
        ----------
        url : str
            Where the server is: it is in the line that each student pastes into a terminal.

        Raises
        ------
        RecordingError
            The file cannot be written.
        """
        if self.file is None:
            return None
        text = io.StringIO()
        out = csv.writer(text, lineterminator="\n")
        out.writerow(_COLUMNS)
        for seat in (self.teacher, *self.seats.values(), *self._absent):
            line = "export " + " ".join(f"{name}={value}" for name, value in seat.environment(url).items())
            out.writerow([seat.name, seat.keys.access_key, seat.keys.secret_key, line])
        return write_text(self.file, text.getvalue(), "list of seats")

    @property
    def said(self) -> str:
        """The limits of one student, in words: ``requests_per_minute 120, slots 8``."""
        known = ((name, getattr(self.limits, name)) for name in LIMITS)
        return ", ".join(f"{name} {value:,g}" for name, value in known if value) or "no limits"

    def __repr__(self) -> str:
        return f"<Classroom: {len(self.seats)} students, each {self.said}>"


# -- names -----------------------------------------------------------------------------------------


def names_of(said: str) -> int | list[str]:
    """What ``--classroom`` says: a number, or a file with a name a line.

    Parameters
    ----------
    said : str
        ``"30"``, or the path of a text file, UTF-8. Of a CSV file the first column counts.

    Raises
    ------
    RequestError
        There is no such file, or it holds no names.
    """
    if said.isdecimal() and len(said) < 10:
        return int(said)
    try:
        with Path(said).open("rb") as file:
            text = unicodedata.normalize("NFC", _text(file))  # as most keyboards write it, whoever saved it
        between = ";" if ";" in text.partition("\n")[0] else ","  # as some spreadsheets have it
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=between))
    except (OSError, ValueError, csv.Error) as err:
        raise RequestError(
            f"The list of names {Path(said).name!r} cannot be read: {_why(err)}.",
            remedy="Give a number of students, or a text file with a name a line, saved as UTF-8.",
        ) from None
    # Blanks of every kind, such as those of word processors, become plain ones.
    names = [name for row in rows if row and (name := " ".join(row[0].split()))]
    if names and names[0].lower() in _HEADINGS:
        del names[0]
    return names


def _numbered(students: int) -> list[str]:
    if isinstance(students, bool) or not 1 <= students <= _MOST:
        raise RequestError(f"A classroom of {students} is none; 1 to {_MOST:,} students are wanted.")
    width = max(2, len(str(students)))
    return [f"student-{number:0{width}}" for number in range(1, students + 1)]


def _checked(names: Iterable[str]) -> list[str]:
    """The names, if they can be told apart and stand in a table."""
    names = list(names)
    if not 1 <= len(names) <= _MOST:
        raise RequestError(
            f"There are {len(names)} names; 1 to {_MOST:,} are wanted.", remedy="Give one a line."
        )
    seen = {TEACHER}
    for name in names:
        _check(name)
        alike = unicodedata.normalize("NFKC", name).casefold()
        if alike in seen:
            raise RequestError(
                f"The name {name!r} is given twice, or is the teacher's.",
                remedy="Give each student a name of their own, such as one with an initial.",
            )
        seen.add(alike)
    return names


def _check(name: Any) -> None:
    """Refuse what is no name: it goes into a file that spreadsheets open, where ``=`` begins a formula."""
    plain = isinstance(name, str) and all(c == " " or unicodedata.category(c)[0] in "LMNPS" for c in name)
    if not plain or name != name.strip() or not 1 <= len(name) <= LONGEST_NAME or name[0] in "=+-@":
        raise RequestError(
            f"{str(name)[:LONGEST_NAME]!r} is no name for a seat.",
            remedy=f"Names have 1 to {LONGEST_NAME} visible characters, and begin with none of = + - @.",
        )


# -- the file of seats -----------------------------------------------------------------------------


def _read(file: Path) -> dict[str, Seat]:
    """Name -> seat, of the file; none if it is not there yet."""
    if not file.exists():
        return {}
    try:
        with file.open("rb") as opened:
            about = os.fstat(opened.fileno())
            rows = list(csv.reader(io.StringIO(_text(opened), newline="")))
    except (OSError, ValueError, csv.Error) as err:
        _no_seats(file, _why(err))
    if os.name == "posix" and about.st_uid != os.geteuid():
        _no_seats(file, "it is another user's, who would know all keys")
    if not rows or tuple(rows[0]) != _COLUMNS:
        _no_seats(file, "its first line is not " + ",".join(_COLUMNS))
    seats: dict[str, Seat] = {}
    keys = set()
    for number, row in enumerate(rows[1:], 2):
        if (
            len(row) != len(_COLUMNS)
            or not _is_key(row[1])
            or not row[2]
            or row[1] in keys
            or row[0] in seats
        ):
            _no_seats(file, f"line {number} is no seat, or one that was there before")
        _check(row[0])
        keys.add(row[1])
        seats[row[0]] = Seat(row[0], Keys(row[1], row[2]))
    if os.name == "posix" and stat.S_IMODE(about.st_mode) & 0o077:
        _narrow(file)
    return seats


def _is_key(text: str) -> bool:
    return text.startswith(KEY_BEGINS) and text.isascii() and text.isalnum()


def _no_seats(file: Path, why: str) -> NoReturn:
    raise RequestError(
        f"{file.name!r} is no list of seats ({why}), and is left as it is.",
        remedy="Name another file with --seats, or delete this one: all students then get new keys.",
    ) from None


def _narrow(file: Path) -> None:
    """See to it that only its owner can read a file, and say that others could."""
    file.chmod(0o600)
    warnings.warn(
        f"{file.name} could be read by other users of this machine; now only you can. "
        "If somebody may have looked, delete it: all students then get new keys.",
        stacklevel=2,
    )


# -- both files ------------------------------------------------------------------------------------


def _text(file: BinaryIO) -> str:
    data = file.read(_LISTED + 1)
    if len(data) > _LISTED:
        raise ValueError(f"it is longer than {_LISTED // 2**20} MiB")
    return data.decode("utf-8-sig")


def _why(err: Exception) -> str:
    """What is wrong with a file, without its path."""
    if isinstance(err, UnicodeDecodeError):
        return "it is not UTF-8"
    return getattr(err, "strerror", None) or str(err)
