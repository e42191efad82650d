"""The doctor: each check under the real condition that it looks for, and that it never tells a key."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

import pytest

import bedrock_nb as nb
from bedrock_nb.cli import main
from bedrock_nb.client import TARGET_VARIABLE
from bedrock_nb.doctor import CHECKS, Account, Checkup, amazon, embedded, front_end, installation
from bedrock_nb.doctor.finding import note, ok, problem
from bedrock_nb.server import INSTANT, BedrockServer
from bedrock_nb.server.faults import refuse

ROOT = Path(nb.__file__).parents[1]
SECRET = "MARKED-SECRET-0123456789"
ELSEWHERE = "http://127.0.0.1:9"  # the port "discard", where nobody listens


@pytest.fixture
def environment(environment):
    """The same for the doctor: without proxies, and without a mark of a notebook program."""
    marks = ("VSCODE", "COLAB", "BINDER", "JUPYTERHUB", "JPY_")
    for name in [*os.environ]:
        if name.startswith(marks) or name.lower().endswith("_proxy"):
            environment.delenv(name)
    return environment


@pytest.fixture
def signed_in(environment):
    """The same with credentials in variables, and a region."""
    environment.setenv("AWS_ACCESS_KEY_ID", "MARKED-KEY-ID")
    environment.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return environment


@pytest.fixture(scope="module")
def bedrock():
    """An embedded server in place of AWS."""
    with BedrockServer(latency=INSTANT) as server:
        yield server


@pytest.fixture
def in_place_of_aws(signed_in, bedrock):
    """The environment that leads boto3 there."""
    for name in ("AWS_ENDPOINT_URL_BEDROCK", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"):
        signed_in.setenv(name, bedrock.endpoint_url)
    return signed_in


# -- the whole -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkup():
    """What the doctor finds here, where the tests run."""
    return nb.doctor()


def test_a_sound_machine_has_no_problem(checkup):
    """Here, where the tests run, each check is made and none finds a problem."""
    assert [finding.check for finding in checkup] == [
        check.name for check in CHECKS if check.when == "always"
    ]
    assert checkup.ok, str(checkup)
    assert checkup["embedded server"].status == checkup["files"].status == checkup["libraries"].status == "ok"
    assert list(checkup.table.columns) == ["check", "status", "found", "remedy", "seconds"]


def test_what_is_no_ok_says_what_to_do(checkup):
    """A note of the sound machine has a remedy, and a line whose second word is its status."""
    for finding in checkup:
        assert finding.found
        assert (finding.status == "ok") == (not finding.remedy)
        assert str(finding).split()[1] == finding.status


def test_the_command_prints_the_same_and_ends_with_0(environment, capsys):
    """A line for each check, and a last sentence."""
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    for check in CHECKS:
        assert (f" {check.name} " in told) == (check.when == "always")
    assert "Everything that the lessons need is here" in told


def test_json_is_for_programs(environment, capsys):
    """``--json`` prints one list of objects, and a problem is exit status 1."""
    environment.setenv(TARGET_VARIABLE, ELSEWHERE)
    assert main(["doctor", "--json"]) == 1
    found = {row["check"]: row for row in json.loads(capsys.readouterr().out)}
    assert found["target"]["status"] == "problem"
    assert set(found["target"]) == {"check", "status", "found", "remedy", "seconds"}


def test_a_check_that_fails_itself_is_a_note(environment, tmp_path):
    """Of a Python in which nothing can be asked, the doctor still says what it can."""
    folder = tmp_path / "gone"
    folder.mkdir()
    code = (
        "import importlib, os, bedrock_nb as nb; doctor = importlib.import_module('bedrock_nb.doctor')\n"
        "doctor.CHECKS = [check for check in doctor.CHECKS if check.name in ('disk', 'files')]\n"
        f"os.chdir({str(folder)!r}); os.rmdir({str(folder)!r}); print(nb.doctor())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    assert "could not be looked at (FileNotFoundError)" in done.stdout, done.stderr
    assert "✓ ok      files" in done.stdout


def test_a_checkup_is_a_table_in_a_notebook():
    """What was found is escaped there, and control characters are gone everywhere."""
    checkup = Checkup((problem("<b>bold</b>\x1b[2J", "mend\nit").named("x", 0.1), ok("fine").named("y", 0)))
    page = checkup._repr_html_()
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "<b>" not in page
    assert "\x1b" not in str(checkup) + page + checkup.to_json()
    assert "→ mend it" in str(checkup)
    assert repr(checkup) == "<Checkup: 1 ok, 0 note, 1 problem>"
    assert (checkup.ok, len(checkup), checkup["y"].found) == (False, 2, "fine")
    assert "1 problem" in checkup.verdict
    with pytest.raises(KeyError):
        checkup["z"]


def test_a_narrow_terminal_gets_folded_lines():
    """What goes on below stands under its words, and nothing that a program may read is folded."""
    finding = note("one two three four five six seven eight", "nine ten eleven twelve").named("widgets", 0)
    lines = finding.lines(60).splitlines()
    assert len(lines) > len(str(finding).splitlines()) == 2
    assert all(len(line) <= 60 for line in lines)
    assert all(line.startswith(" " * 28) for line in lines[1:])
    assert " ".join(" ".join(lines).split()) == " ".join(str(finding).split())


def test_no_key_is_ever_told(in_place_of_aws, tmp_path):
    """Neither of the credentials in variables and files, nor the password of a proxy or an endpoint."""
    (tmp_path / "credentials").write_text(
        f"[work]\naws_access_key_id = MARKED-KEY-ID\naws_secret_access_key = {SECRET}\n"
    )
    in_place_of_aws.setenv("AWS_SESSION_TOKEN", SECRET)
    in_place_of_aws.setenv("HTTPS_PROXY", f"http://me:{SECRET}@127.0.0.1:9")
    in_place_of_aws.setenv("NO_PROXY", "127.0.0.1")
    in_place_of_aws.setenv("AWS_ENDPOINT_URL", f"http://me:{SECRET}@127.0.0.1:9/{SECRET}")
    looks = [check.look for check in CHECKS if check.name not in ("embedded server", "gaps")]
    for profile in (None, "work", "absent"):
        told = [str(look(Account(profile=profile))) for look in looks]
        assert "MARKED" not in " ".join(told)


# -- what is installed -----------------------------------------------------------------------------


def test_every_file_that_is_no_python_is_on_the_list():
    """A new page or script of the package has to be named where the doctor looks for it."""
    root = Path(str(files("bedrock_nb")))
    there = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and "_lessons" not in path.parts
    }
    assert there == set(installation.FILES)


def test_a_file_that_is_missing_is_a_problem(monkeypatch):
    """It says which, and what does not work without it."""
    monkeypatch.setitem(installation.FILES, "panel/gone.js", "the chat panel")
    found = installation.assets()
    assert found.status == "problem"
    assert "panel/gone.js" in found.found
    assert "reinstall" in found.remedy


def installed(folder, *requirements, python=">=3.11"):
    """A folder with the metadata of a bedrock-nb that asks for this, and what a Python finds with it."""
    info = folder / "bedrock_nb-9.0.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.4", "Name: bedrock-nb", "Version: 9.0", f"Requires-Python: {python}"]
    lines += ["Provides-Extra: lab", *(f"Requires-Dist: {line}" for line in requirements)]
    (info / "METADATA").write_text("\n".join(lines))
    code = (
        f"import sys; sys.path[:0], sys.path[len(sys.path):] = [{str(folder)!r}], [{str(ROOT)!r}]\n"
        "from bedrock_nb.doctor.installation import *\n"
        "print(*(look() for look in (python, libraries, extras)), sep='|')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=folder
    )
    return [part.strip() for part in done.stdout.split("|")]


def test_versions_out_of_bounds_are_told(tmp_path):
    """What is too old, what is missing and the Python that is wanted: each with the command that mends it."""
    python, libraries, extras = installed(
        tmp_path,
        "boto3>=99",
        "not-a-library-at-all>=1",
        'boto3>=1; extra == "lab"',
        'boto3>=99; extra == "lab"',
        python=">=4",
    )
    assert python.startswith("✗ problem")
    assert "boto3 is 1." in libraries.replace(">=99", "")
    assert "not-a-library-at-all>=1 is not installed" in libraries
    assert '--upgrade "boto3>=99" "not-a-library-at-all>=1"' in libraries
    assert "boto3>=99" in extras
    assert "bedrock-nb[lab]" in extras


def test_versions_within_bounds_are_well(tmp_path):
    """An extra that is not there is not wanted, and no note."""
    python, libraries, extras = installed(tmp_path, "boto3>=1", 'not-a-library-at-all; extra == "lab"')
    assert python.startswith("✓ ok")
    assert "1 of 1" in libraries
    assert "not here: lab" in extras


def test_too_little_room_is_a_note(monkeypatch):
    """Recordings are files."""
    monkeypatch.setattr(installation, "_ROOM", float("inf"))
    assert "MB free" in installation.disk().found
    assert installation.disk().status == "note"


def test_a_home_that_cannot_be_written_to_is_told(tmp_path):
    """matplotlib then keeps its list of fonts in a folder that goes away."""
    (tmp_path / "home").write_text("a file, and no folder")
    code = "from bedrock_nb.doctor.installation import fonts; print(fonts())"
    environment = {name: value for name, value in os.environ.items() if name != "MPLCONFIGDIR"}
    environment |= {"HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": "", "XDG_CACHE_HOME": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment, cwd=ROOT
    )
    assert "Set MPLCONFIGDIR" in done.stdout, done.stderr


# -- where notebooks are shown ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "place"),
    [
        ("COLAB_RELEASE_TAG", "Google Colab"),
        ("BINDER_SERVICE_HOST", "Binder"),
        ("JUPYTERHUB_USER", "JupyterHub"),
        ("JPY_SESSION_NAME", "a Jupyter server"),
    ],
)
def test_a_place_is_known_by_its_mark(environment, variable, place):
    """Each notebook program leaves a variable."""
    assert front_end.where() == ""
    environment.setenv(variable, "1")
    assert front_end.where() == place
    assert place in front_end.program().found


def test_a_kernel_knows_that_it_is_one(kernel):
    """In a notebook the doctor says so, and shows a table."""
    _, client = kernel
    shown = []
    client.execute_interactive(
        "import bedrock_nb as nb; nb.doctor()",
        output_hook=lambda message: shown.append(message["content"]),
        timeout=60,
    )
    data = next(content["data"] for content in shown if "data" in content)
    assert "a kernel in" in data["text/plain"]
    assert data["text/html"].startswith("<table>")


@pytest.fixture
def labextensions(environment, tmp_path):
    """A place of JupyterLab's extensions with nothing in it but what a test puts there, name by version."""
    folder = tmp_path / "labextensions"
    folder.mkdir()
    environment.setattr("jupyter_core.paths.jupyter_path", lambda *_: [str(folder)])

    def put(name, version):
        (folder / name).mkdir(parents=True)
        (folder / name / "package.json").write_text(json.dumps({"version": version}))

    return put


def test_missing_halves_of_widgets_are_told(labextensions):
    """Without them widgets stay text, which is no reason not to begin."""
    found = front_end.widgets()
    assert found.status == "note"
    assert "pip install ipywidgets anywidget" in found.remedy


@pytest.mark.parametrize(("manager", "status"), [("5.0.16", "ok"), ("4.1.0", "note"), ("strange", "note")])
def test_halves_have_to_fit(labextensions, manager, status):
    """The manager's version in the page goes with that of ipywidgets in the kernel."""
    labextensions("@jupyter-widgets/jupyterlab-manager", manager)
    labextensions("anywidget", front_end._version("anywidget"))
    assert front_end.widgets().status == status


def test_colab_brings_its_own_widgets(labextensions, environment):
    """What JupyterLab would need is of no interest there."""
    environment.setenv("COLAB_RELEASE_TAG", "1")
    assert front_end.widgets().status == "ok"


# -- the embedded server ---------------------------------------------------------------------------


def test_a_server_that_cannot_start_is_a_problem(tmp_path):
    """It is what every lesson needs; the remedy is the error's own."""
    code = (
        "import sys; from bedrock_nb.doctor import embedded; sys.executable = '/bin/false'\n"
        "print(embedded.stream()); print(embedded.gaps())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("✗ problem"), done.stderr
    assert "ended before it listened" in lines[0]
    assert any(line.startswith("· note") and "not measured" in line for line in lines)


def test_a_server_that_cannot_be_reached_is_a_problem():
    """It started, so starting another is no remedy: something is between the programs of this machine."""
    code = (
        f"from bedrock_nb import server; server.local = lambda: {ELSEWHERE!r}\n"
        "from bedrock_nb.doctor import embedded; print(embedded.stream())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.stdout.startswith("✗ problem"), done.stderr
    assert "it started, and then" in done.stdout
    assert "127.0.0.1: look at firewall" in done.stdout


@pytest.mark.parametrize(
    ("seconds", "shown"), [(6e-8, "60 ns"), (1.5e-5, "15 µs"), (0.0021, "2.1 ms"), (1.25, "1.25 s")]
)
def test_short_times_have_a_unit_that_fits(seconds, shown):
    """From nanoseconds to seconds."""
    assert embedded._span(seconds) == shown


# -- the way to AWS --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "status", "said"),
    [
        ({}, "ok", "embedded Bedrock"),
        ({TARGET_VARIABLE: "local"}, "ok", "embedded Bedrock"),
        ({TARGET_VARIABLE: "aws"}, "note", "costs money"),
        ({TARGET_VARIABLE: "nowhere"}, "problem", "'nowhere'"),
        ({TARGET_VARIABLE: ELSEWHERE}, "problem", "No embedded Bedrock answers"),
        ({TARGET_VARIABLE: "https://example.com"}, "problem", "not the URL of a server on this machine"),
        ({"AWS_ENDPOINT_URL": "http://10.0.0.1:80/path"}, "note", "AWS_ENDPOINT_URL=10.0.0.1:80:"),
        ({"AWS_ENDPOINT_URL": f"http://[{SECRET}"}, "note", "AWS_ENDPOINT_URL=no URL:"),
    ],
)
def test_where_connect_leads_is_told(environment, variables, status, said):
    """By the variables that lead somewhere else."""
    for name, value in variables.items():
        environment.setenv(name, value)
    found = amazon.target()
    assert (found.status, said in found.found) == (status, True), found


def test_a_running_server_is_a_good_target(environment, bedrock):
    """A URL at which an embedded server answers is well."""
    environment.setenv(TARGET_VARIABLE, bedrock.endpoint_url)
    assert amazon.target().status == "ok"


def test_proxies_are_named_without_their_password(environment):
    """They are for AWS only."""
    environment.setenv("https_proxy", f"http://me:{SECRET}@proxy.example:3128")
    assert amazon.proxies().found.startswith("https_proxy=proxy.example:3128, for AWS only")


def test_a_proxy_is_no_reason_to_make_new_settings(environment):
    """Who has no credentials is told so, even where boto3 fails when it asks for the role of the machine."""
    environment.delenv("AWS_EC2_METADATA_DISABLED")
    environment.setenv("http_proxy", ELSEWHERE)
    environment.setenv("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "1")
    found = amazon.credentials(Account())
    assert found.status == "note"
    assert found.found.startswith("boto3 finds none")


@pytest.mark.parametrize(
    ("files", "profile", "status", "said"),
    [
        ({}, None, "note", "boto3 finds none"),
        ({}, "absent", "note", "no AWS profile 'absent'"),
        (
            {"credentials": "[work]\naws_access_key_id=A\naws_secret_access_key=B\n"},
            "work",
            "ok",
            "credentials file",
        ),
        ({"config": "[profile work]\ncredential_process = /bin/false\n"}, "work", "note", "cannot load"),
        ({"config": "no section\n"}, None, "note", "cannot load"),
    ],
)
def test_the_source_of_credentials_is_told(environment, tmp_path, files, profile, status, said):
    """Where they are from, or why there are none."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = amazon.credentials(Account(profile=profile))
    assert (found.status, said in found.found) == (status, True), found


def test_variables_and_api_keys_are_sources_too(signed_in):
    """Credentials in variables, and a Bedrock API key, which goes first."""
    assert amazon.credentials(Account()).found == "from variables of the environment"
    signed_in.setenv("AWS_BEARER_TOKEN_BEDROCK", SECRET)
    assert "API key" in amazon.credentials(Account()).found


def test_the_region_is_told(environment):
    """That of the call, that of the environment, or none."""
    assert amazon.region(Account()).status == "note"
    environment.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert amazon.region(Account()).found == "eu-west-1"
    assert amazon.region(Account(region="us-east-2")).found == "us-east-2"
    assert "no region of AWS's" in amazon.region(Account(region="ohio")).found


def test_aws_lists_the_model_and_answers(in_place_of_aws):
    """With ``ask`` both checks are made, in this order, and are well."""
    checkup = nb.doctor(ask=True)
    assert [finding.check for finding in checkup][-2:] == ["models", "answer"]
    assert checkup["models"].status == checkup["answer"].status == "ok", str(checkup)
    assert "a server not of AWS" in checkup["models"].found
    assert "tokens" in checkup["answer"].found


def test_a_model_that_is_not_there_is_a_problem(in_place_of_aws):
    """A model of another region, say."""
    found = amazon.models(Account(model="amazon.nova-unheard-of-v1:0"))
    assert found.status == "problem"
    assert "no amazon.nova-unheard-of-v1:0" in found.found


def test_without_credentials_or_region_aws_cannot_be_asked(environment):
    """A problem, for AWS was asked for; the sentence says what is missing."""
    for look in (amazon.models, amazon.answer):
        assert "region" in look(Account()).found or "credentials" in look(Account()).found
        found = look(Account(region="us-east-1"))
        assert found.status == "problem"
        assert "credentials" in found.found.lower()


def test_an_endpoint_where_nobody_is(signed_in):
    """It is told in a sentence, with what to look at."""
    signed_in.setenv("AWS_ENDPOINT_URL_BEDROCK", ELSEWHERE)
    found = amazon.models(Account())
    assert found.status == "problem"
    assert "EndpointConnectionError" in found.found
    assert found.remedy == "Look at credentials, network and proxy."


def test_a_refused_answer_is_told_with_its_remedy(in_place_of_aws, bedrock):
    """The service's own words, and what to do."""
    in_place_of_aws.setenv("AWS_MAX_ATTEMPTS", "1")
    with bedrock.fault(refuse(503)):
        found = amazon.answer(Account())
    assert found.status == "problem"
    assert "ServiceUnavailableException" in found.found
    assert found.remedy


class ControlPlane(BaseHTTPRequestHandler):
    """What AWS says of its models, as a test wants it: path -> status, headers and body."""

    says: ClassVar[dict[str, tuple[int, dict[str, str], dict[str, object]]]] = {}

    def do_GET(self):
        status, headers, body = next(
            (told for start, told in self.says.items() if self.path.startswith(start)), (404, {}, {})
        )
        sent = json.dumps(body).encode()
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(sent)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_): ...


@pytest.fixture
def control_plane(signed_in):
    """A server in place of Bedrock's control plane."""
    with ThreadingHTTPServer(("127.0.0.1", 0), ControlPlane) as server:
        threading.Thread(target=server.serve_forever, args=[0.01]).start()
        signed_in.setenv("AWS_ENDPOINT_URL_BEDROCK", f"http://127.0.0.1:{server.server_port}")
        yield ControlPlane.says
        server.shutdown()
    ControlPlane.says.clear()


LISTED = {"modelSummaries": [{"modelArn": "x", "modelId": "amazon.nova-lite-v1:0"}]}
SHUT = {
    "modelId": "amazon.nova-lite-v1:0",
    "agreementAvailability": {"status": "AVAILABLE"},
    "authorizationStatus": "AUTHORIZED",
    "entitlementAvailability": "NOT_AVAILABLE",
    "regionAvailability": "AVAILABLE",
}


@pytest.mark.parametrize(
    ("says", "status", "said"),
    [
        ({"/foundation-models": (200, {}, LISTED)}, "ok", "1 models"),
        (
            {"/foundation-models": (200, {}, LISTED), "/foundation-model-availability": (200, {}, SHUT)},
            "problem",
            "entitlementAvailability NOT_AVAILABLE",
        ),
        (
            {"/foundation-models": (200, {"Date": "Mon, 01 Jan 2024 00:00:00 GMT"}, LISTED)},
            "note",
            "s from AWS's",
        ),
        (
            {
                "/foundation-models": (
                    403,
                    {"x-amzn-ErrorType": "AccessDeniedException"},
                    {"message": "User: arn:aws:iam::123456789012:user/me is not authorized"},
                )
            },
            "problem",
            "arn:aws:iam::************:user/me is not authorized",
        ),
        (
            {
                "/foundation-models": (
                    403,
                    {"x-amzn-ErrorType": "ExpiredTokenException"},
                    {"message": "The security token included in the request is expired"},
                )
            },
            "problem",
            "ExpiredTokenException",
        ),
    ],
    ids=["listed", "no access", "clock", "not allowed", "expired"],
)
def test_what_the_control_plane_says_is_told(control_plane, says, status, said):
    """Lists, locks, wrong clocks and refusals, each as a line, without account numbers."""
    control_plane.update(says)
    found = amazon.models(Account())
    assert (found.status, said in found.found) == (status, True), found
    assert bool(found.remedy) == (status != "ok")


def test_findings_have_a_word_each():
    """The three makers of findings."""
    assert [make("x", *rest).status for make, *rest in ((ok,), (note, "y"), (problem, "y"))] == [
        "ok",
        "note",
        "problem",
    ]
