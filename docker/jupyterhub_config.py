"""JupyterHub for a classroom: who may sign in, the shared embedded Bedrock, and each student's seat in it.

Strategy: the hub starts the classroom server as a service of its own. That writes the file of seats; when a
student's notebook server starts, their line of the file becomes two variables of its environment, so that
``nb.connect()`` needs no argument. Each student is a user of the system, whose files and variables the others
cannot read. All settings are variables of the environment; passwords have no default.
"""

from __future__ import annotations

import asyncio
import csv
import os
import pwd
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from jupyterhub.spawner import LocalProcessSpawner, SimpleLocalProcessSpawner

from bedrock_nb.server.classroom import TEACHER, Classroom, names_of

c = get_config()  # noqa: F821

STATE = Path(os.environ.get("CLASSROOM_STATE", "/srv/classroom"))
SEATS = STATE / "seats" / "seats.csv"
PORT = 8080
FIRST_UID = 1000  # of people; below are users of the system, as `useradd --system` makes them
BESIDE = Path(sys.executable).parent  # where the other programs of this environment are

students = names_of(os.environ.get("CLASSROOM", "30"))
names = list(Classroom(students).seats)


def is_fit(name: str) -> bool:
    """Whether a student may be the user of this name: nobody becomes root, or who runs the server."""
    if not re.fullmatch(r"[a-z][a-z0-9._-]{0,30}", name):
        return False
    try:
        return 1000 <= pwd.getpwnam(name).pw_uid < 60_000  # those of people, on Debian
    except KeyError:
        return True


unfit = [name for name in names if not is_fit(name)]
if unfit:
    sys.exit(
        f"These names cannot be users: {unfit}. Small letters, digits, dots and dashes, a letter first; and "
        "not the name of a user that belongs to the system."
    )
# Their notebooks would run with that user's rights: root's, or those of who keeps the file of seats.
taken = [user.pw_name for user in pwd.getpwall() if user.pw_name in names and user.pw_uid < FIRST_UID]
if taken:
    sys.exit(f"These names are users of the system itself: {taken}. Take others, such as with a last name.")

# -- who may sign in -------------------------------------------------------------------------------

password = os.environ.get("CLASSROOM_PASSWORD", "")
if len(password) < 8:
    sys.exit("Set CLASSROOM_PASSWORD, of at least 8 characters: with it and their name students sign in.")
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = password
c.SharedPasswordAuthenticator.allowed_users = set(names)
teachers = os.environ.get("CLASSROOM_TEACHER_PASSWORD", "")
if teachers:  # 32 characters: JupyterHub sees to it
    c.SharedPasswordAuthenticator.admin_password = teachers
    c.SharedPasswordAuthenticator.admin_users = {TEACHER}

# -- the classroom server --------------------------------------------------------------------------

limits = os.environ.get("CLASSROOM_LIMITS")
service: dict[str, Any] = {
    "name": "embedded-bedrock",
    "command": [
        *(str(BESIDE / "bedrock-nb"), "serve", f"--classroom={os.environ.get('CLASSROOM', '30')}"),
        *(f"--seats={SEATS}", f"--port={PORT}"),
        *([f"--per-student={limits}"] if limits else []),
    ],
}
try:
    pwd.getpwnam("bedrock")
    service["user"] = "bedrock"
except KeyError:  # tried without the image: whoever runs the hub runs the server
    pass
c.JupyterHub.services = [service]

# -- a student's notebook server -------------------------------------------------------------------


async def seat_of(name: str) -> dict[str, str]:
    """The two variables of a student's seat."""
    for _ in range(100):  # whoever signs in first may be quicker than the server, which writes the file
        if SEATS.exists():
            break
        await asyncio.sleep(0.2)
    with SEATS.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["name"] == name:
                keys = f"{row['access_key']}:{row['secret_key']}"
                return {"BEDROCK_NB_TARGET": f"http://127.0.0.1:{PORT}", "BEDROCK_NB_SEAT": keys}
    raise RuntimeError(f"{name} has no seat. Is the classroom server running? The hub's log says.")


def make_user(name: str) -> None:
    """A user of the system; whoever had a home here before gets it back."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        home = Path("/home") / name
        kept = ["--uid", str(home.stat().st_uid), "--no-create-home"] if home.exists() else ["--create-home"]
        command = [
            "useradd",
            "--shell",
            "/bin/bash",
            "--home-dir",
            str(home),
            "-K",
            "HOME_MODE=0700",
            *kept,
            name,
        ]
        subprocess.run(command, check=True)


async def seat(spawner: LocalProcessSpawner) -> None:
    """Give a student their user and their seat, before their notebook server starts."""
    if not isinstance(spawner, SimpleLocalProcessSpawner):
        make_user(spawner.user.name)
    spawner.environment = {**spawner.environment, **await seat_of(spawner.user.name)}


c.JupyterHub.spawner_class = LocalProcessSpawner
c.Spawner.pre_spawn_hook = seat
# As the student: lessons that are there already are kept as the student left them.
lessons = f'"{BESIDE}/bedrock-nb" lessons copy "$HOME/lessons" && exec "{BESIDE}/jupyterhub-singleuser" "$@"'
c.Spawner.cmd = ["/bin/sh", "-c", lessons, "classroom"]
c.Spawner.default_url = "/lab/tree/lessons/00-start-here.ipynb"
c.Spawner.http_timeout = c.Spawner.start_timeout = 120  # 30 students sign in at once
c.JupyterHub.concurrent_spawn_limit = 10

# -- the hub itself --------------------------------------------------------------------------------

c.JupyterHub.bind_url = "http://:8000"
c.JupyterHub.cookie_secret_file = str(STATE / "hub" / "cookie_secret")
c.JupyterHub.db_url = f"sqlite:///{STATE / 'hub' / 'hub.sqlite'}"
