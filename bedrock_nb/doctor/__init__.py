"""What works on this machine, and how to mend what does not: ``nb.doctor()``, ``bedrock-nb doctor``.

Strategy: one table of checks. Each looks at one thing and says ``ok``, ``note`` or ``problem`` in a line,
with a remedy. Things are tried and not guessed where that is quick; a check that fails itself is a note.
Nothing is sent to AWS unless that is asked for, and no check ever tells a key.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from bedrock_nb.doctor import amazon, embedded, front_end, installation
from bedrock_nb.doctor.amazon import Account
from bedrock_nb.doctor.finding import Checkup, Finding, note
from bedrock_nb.request import DEFAULT_MODEL

__all__ = ["CHECKS", "Account", "Check", "Checkup", "Finding", "doctor", "examine"]


class Check(NamedTuple):
    """One thing to look at.

    Attributes
    ----------
    name : str
    looks_at : str
        What it is about, in words for users.
    look : function
        From an `Account` to a `Finding` without a name.
    when : {"always", "aws", "ask"}
        When it is made: what sends something to AWS, or costs money, only if it is asked for.
    """

    name: str
    looks_at: str
    look: Callable[[Account], Finding]
    when: str = "always"


def _here(look: Callable[[], Finding]) -> Callable[[Account], Finding]:
    """A check that has nothing to do with AWS."""
    return lambda _: look()


#: Every check, in the order in which they are made.
CHECKS = (
    Check("python", "Python's version", _here(installation.python)),
    Check("libraries", "libraries that this package needs", _here(installation.libraries)),
    Check("extras", "libraries for more than the lessons", _here(installation.extras)),
    Check("files", "this package's own files", _here(installation.assets)),
    Check("notebook", "the notebook program", _here(front_end.program)),
    Check("widgets", "the page's half of widgets", _here(front_end.widgets)),
    Check("embedded server", "starting it, and one answer", _here(embedded.stream)),
    Check("clock", "how fine the clock is", _here(embedded.clock)),
    Check("gaps", "measured times against the server's truth", _here(embedded.gaps)),
    Check("disk", "room for recordings", _here(installation.disk)),
    Check("fonts", "fonts for plots", _here(installation.fonts)),
    Check("target", "where nb.connect() leads", _here(amazon.target)),
    Check("proxies", "proxies on the way to AWS", _here(amazon.proxies)),
    Check("credentials", "where boto3 finds AWS credentials", amazon.credentials),
    Check("region", "the AWS region", amazon.region),
    Check("models", "whether AWS lists the model, and lets this account use it", amazon.models, "aws"),
    Check("answer", "one token of the model", amazon.answer, "ask"),
)


def examine(account: Account, *, aws: bool = False, ask: bool = False) -> Iterator[Finding]:
    """The findings, one by one as they are made; arguments as for `doctor`."""
    wanted = {"always"} | ({"aws"} if aws or ask else set()) | ({"ask"} if ask else set())
    for check in CHECKS:
        if check.when not in wanted:
            continue
        begun = time.perf_counter()
        try:
            found = check.look(account)
        except Exception as err:  # the next check may well work, and this one is what is broken
            found = note(
                f"could not be looked at ({type(err).__name__})",
                "If a lesson fails too, reinstall bedrock-nb.",
            )
        yield found.named(check.name, time.perf_counter() - begun)


def doctor(
    *,
    aws: bool = False,
    ask: bool = False,
    region: str | None = None,
    profile: str | None = None,
    model: str = DEFAULT_MODEL,
) -> Checkup:
    """Look at what works on this machine, and say how to mend what does not.

    It takes about 3 seconds. A *problem* stops what was asked for: the lessons on the embedded server, and
    Amazon Bedrock if ``aws`` or ``ask`` is given. A *note* is worth knowing and stops no lesson.

    Parameters
    ----------
    aws : bool
        Ask Amazon Bedrock which models it lists and whether this account may use one. Costs nothing.
    ask : bool
        Have a model stream one token, too. Costs a fraction of a cent.
    region, profile : str, optional
        For AWS, as for `connect`.
    model : str
        The model that is looked for, and asked.

    Returns
    -------
    Checkup
        In a notebook a table; ``print`` gives lines. ``checkup["widgets"]`` is one finding.

    Examples
    --------
    >>> nb.doctor()["embedded server"].status
    'ok'
    """
    return Checkup(tuple(examine(Account(region, profile, model), aws=aws, ask=ask)))
