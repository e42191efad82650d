"""``bedrock-nb doctor``: what works on this machine, line by line as it is found.

Strategy: the lines are those of `bedrock_nb.doctor`; here is only the choice between words and JSON. A
problem is exit status 1, so that a script can ask before a class begins; notes are not.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from typing import Any

from bedrock_nb.request import DEFAULT_MODEL

__all__ = ["add"]


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    doctor = commands.add_parser(
        "doctor",
        help="say what works here and how to mend what does not",
        description="Look at Python, libraries, widgets, clock, the embedded Bedrock and the way to AWS. "
        "Nothing is sent to AWS without --aws or --ask. Exit status 1: something is in the way.",
    )
    doctor.add_argument("--aws", action="store_true", help="ask AWS for its models and your access; free")
    doctor.add_argument(
        "--ask", action="store_true", help="the same, and one token of the model; costs little"
    )
    doctor.add_argument("--region", help="AWS region")
    doctor.add_argument("--profile", help="AWS profile")
    doctor.add_argument("--model", default=DEFAULT_MODEL, help="model id (default: %(default)s)")
    doctor.add_argument("--json", action="store_true", help="print a JSON list, for programs")
    doctor.set_defaults(run=_doctor)


def _doctor(chosen: argparse.Namespace) -> int:
    # Late: whoever wants another command does not wait for boto3.
    from bedrock_nb.doctor import Account, Checkup, examine

    account = Account(chosen.region, chosen.profile, chosen.model)
    findings = []
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for finding in examine(account, aws=chosen.aws, ask=chosen.ask):
        findings.append(finding)
        if not chosen.json:
            print(finding.lines(width), flush=True)
    checkup = Checkup(tuple(findings))
    print(checkup.to_json() if chosen.json else f"\n{checkup.verdict}")
    return 0 if checkup.ok else 1
