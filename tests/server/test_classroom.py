"""A classroom on one server: who is let in, what each may do, and what nobody gets to see."""

from __future__ import annotations

import csv
import http.client
import json
import os
import stat
import subprocess
import sys
import threading
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

import bedrock_nb as nb
from bedrock_nb.cli import main
from bedrock_nb.client import EMBEDDED
from bedrock_nb.errors import BedrockNbError, CredentialsError, RequestError
from bedrock_nb.server import BedrockServer, Classroom, Latency, canned
from bedrock_nb.server.accounts import Accounts
from bedrock_nb.server.classroom import TEACHER, names_of
from bedrock_nb.server.loopback import SEAT_VARIABLE, TARGET_VARIABLE
from bedrock_nb.server.refusal import Refusal
from bedrock_nb.server.signature import Signed
from bedrock_nb.server.tally import Lateness, Tally

ONCE = Config(retries={"total_max_attempts": 1})
NOVA = "us.amazon.nova-lite-v1:0"


def turn(text: str = "Count to 3") -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"text": text}]}]


@pytest.fixture
def seat(monkeypatch):
    """Sit down: the environment of one student."""

    def sit(server: BedrockServer, name: str) -> None:
        assert server.classroom is not None
        for variable, value in server.classroom.seats[name].environment(server.endpoint_url).items():
            monkeypatch.setenv(variable, value)

    monkeypatch.delenv(SEAT_VARIABLE, raising=False)
    monkeypatch.delenv(TARGET_VARIABLE, raising=False)
    return sit


class Room:
    """A classroom's server, with boto3 clients of its students and bare HTTP to its page."""

    def __init__(self, server: BedrockServer, stack: ExitStack) -> None:
        self.server, self._stack = server, stack
        assert server.classroom is not None
        self.classroom: Classroom = server.classroom

    def client(self, name: str, secret_of: str | None = None, key: str | None = None) -> Any:
        keys, others = self.classroom.seats[name].keys, self.classroom.seats[secret_of or name].keys
        made = self.server.client(
            config=ONCE,
            aws_access_key_id=key or keys.access_key,
            aws_secret_access_key=others.secret_key,
        )
        return self._stack.enter_context(closing(made))

    def get(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str):
        connection = http.client.HTTPConnection(urlsplit(self.server.endpoint_url).netloc, timeout=30)
        connection.request(method, path, body, {name.replace("_", "-"): v for name, v in headers.items()})
        with closing(connection), connection.getresponse() as answer:
            return answer.status, answer.headers, answer.read().decode()

    def told(self, more: str = "") -> dict[str, Any]:
        status, _, body = self.get(f"/status.json?key={self.classroom.key}{more}")
        assert status == 200
        return json.loads(body)

    def student(self, name: str) -> dict[str, Any]:
        return next(each for each in self.told()["classroom"]["students"] if each["name"] == name)

    def pause(self, student: str | None, paused: bool, **headers: str) -> int:
        known = {"Content-Type": "application/json", "x-bedrock-nb-key": self.classroom.key, **headers}
        return self.get(
            "/pause", "POST", json.dumps({"student": student, "paused": paused}).encode(), **known
        )[0]


@pytest.fixture
def room():
    """Open a classroom of Ada, Bob and Cy; what is given goes to Classroom and BedrockServer."""
    with ExitStack() as stack:

        def open_one(responder=canned, latency: Latency | None = None, **limits: Any) -> Room:
            classroom = Classroom(["Ada", "Bob", "Cy"], **limits)
            server = BedrockServer(responder, latency=latency or Latency.none(), classroom=classroom)
            return Room(stack.enter_context(server), stack)

        yield open_one


def refused(client: Any) -> tuple[int, str, str]:
    """Status, error and words with which a request is refused."""
    with pytest.raises(ClientError) as caught:
        client.converse(modelId=NOVA, messages=turn())
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def said(client: Any, text: str = "Count to 3") -> str:
    return client.converse(modelId=NOVA, messages=turn(text))["output"]["message"]["content"][0]["text"]


# -- who is let in ---------------------------------------------------------------------------------


def test_a_student_is_known_by_the_signature(room):
    """Requests count as those of the seat whose keys have signed them."""
    opened = room()
    assert said(opened.client("Ada")) == "1, 2, 3."
    assert said(opened.client("Ada")) == "1, 2, 3."
    assert said(opened.client("Bob")) == "1, 2, 3."
    students = {each["name"]: each for each in opened.told()["classroom"]["students"]}
    assert {name: each["requests"] for name, each in students.items()} == {
        TEACHER: 0,
        "Ada": 2,
        "Bob": 1,
        "Cy": 0,
    }
    assert students["Ada"]["tokens"] > students["Bob"]["tokens"] > 0
    assert students["Cy"]["last_seen"] is None


def test_one_students_key_with_anothers_secret_is_refused(room):
    """Under a seat's key only that seat's secret signs; nothing is counted as anybody's."""
    opened = room()
    status, code, _ = refused(opened.client("Ada", secret_of="Bob"))
    assert (status, code) == (403, "InvalidSignatureException")
    assert opened.student("Ada")["requests"] == opened.student("Bob")["requests"] == 0


@pytest.mark.parametrize("key", ["embedded-bedrock", "EMBEDDED000000000000", "AKIAIOSFODNN7EXAMPLE"])
def test_a_key_without_a_seat_is_refused_as_by_the_service(room, key):
    """Made-up keys, which a server of one's own takes, are unknown here; the words are the service's."""
    assert refused(room().client("Ada", key=key)) == (
        403,
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    )


@pytest.mark.parametrize("path", ["/model/m/converse", "/model/m/converse-stream", "/foundation-models"])
def test_who_does_not_sign_is_refused(room, path):
    """No operation is answered without a signature, the control plane's neither."""
    method = "GET" if path == "/foundation-models" else "POST"
    status, headers, _ = room().get(path, method, b"{}", Content_Type="application/json")
    assert status == 403
    assert headers["x-amzn-ErrorType"].startswith("MissingAuthenticationTokenException")


def test_the_servers_own_client_has_the_teachers_seat(room):
    """``server.client()`` is let in, without limits, under the teacher's name."""
    opened = room(requests_per_minute=1)
    with closing(opened.server.client(config=ONCE)) as client:
        assert [said(client) for _ in range(3)] == ["1, 2, 3."] * 3
    assert opened.student(TEACHER)["requests"] == 3


def test_large_requests_are_counted_and_checked_like_small_ones(room):
    """What is worked on beside the others' streams is signed by its student too, and answered the same."""
    opened = room()
    ada = opened.client("Ada")
    prompt = {"converse": {"messages": turn("word " * 30_000)}}
    assert ada.count_tokens(modelId=NOVA, input=prompt)["inputTokens"] == 30_001
    asked = {"source": "INPUT", "content": [{"text": {"text": "word " * 30_000}}]}
    named = {"guardrailIdentifier": "embeddedwords", "guardrailVersion": "1"}
    assert ada.apply_guardrail(**named, **asked)["action"] == "NONE"
    forger = opened.client("Ada", secret_of="Bob")
    with pytest.raises(ClientError, match="InvalidSignatureException"):
        forger.apply_guardrail(**named, **asked)
    assert opened.student("Ada")["requests"] == 2


def test_a_request_that_was_not_checked_is_nobodys():
    """Whoever is looked up under one key has to be signed with that one, whatever else the header says."""
    classroom = Classroom(["Ada", "Bob"])
    accounts = Accounts(classroom, classroom.teacher.keys, Latency.none(), lambda _cache: canned)
    said = {"authorization": f"AWS4-HMAC-SHA256 Credential={classroom.seats['Bob'].keys.access_key}/x"}
    ada = accounts.whose({"authorization": f"Credential={classroom.seats['Ada'].keys.access_key}/x"})
    with pytest.raises(Refusal, match="security token"):
        accounts.verify(ada, Signed("GET", "/seat", "", said, b""))


def test_who_floods_the_server_drives_out_nobodys_truth(room):
    """After more refusals than a server remembers requests, a student's answer is still known."""
    opened = room()
    answer = opened.client("Ada").converse(modelId=NOVA, messages=turn())
    connection = http.client.HTTPConnection(urlsplit(opened.server.endpoint_url).netloc, timeout=30)
    with closing(connection):
        for _ in range(2_100):
            connection.request("POST", "/model/m/converse", b"{}")
            assert connection.getresponse().read()
    assert opened.server.truth(answer["ResponseMetadata"]["RequestId"]).outcome == "complete"


# -- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "words"),
    [({"requests_per_minute": 2}, "Too many requests"), ({"tokens_per_minute": 50}, "Too many tokens")],
    ids=["requests", "tokens"],
)
def test_limits_are_each_students_own(room, limits, words):
    """Who has asked too much is throttled in the service's words; others are not, nor counted for it."""
    opened = room(**limits)
    ada, bob = opened.client("Ada"), opened.client("Bob")
    wanted = {"modelId": NOVA, "messages": turn(), "inferenceConfig": {"maxTokens": 45}}
    refusals: list[ClientError] = []
    for _ in range(6):
        try:
            ada.converse(**wanted)
        except ClientError as err:
            refusals.append(err)
    assert refusals
    assert {err.response["Error"]["Code"] for err in refusals} == {"ThrottlingException"}
    assert {err.response["ResponseMetadata"]["HTTPStatusCode"] for err in refusals} == {429}
    assert words in refusals[0].response["Error"]["Message"]
    assert bob.converse(**wanted)["stopReason"] == "end_turn"
    assert opened.student("Ada")["throttled"] == len(refusals)
    assert opened.student("Bob")["throttled"] == 0


@pytest.mark.parametrize("shared", [False, True], ids=["own places", "shared places"])
def test_one_students_queue_holds_up_no_other(room, shared):
    """While all of Ada's requests hold their places or wait, Bob is answered; then Ada's go on."""
    go, begun = threading.Event(), threading.Semaphore(0)

    def slow(request):
        if "wait" in request.conversation[-1]["content"][0]["text"]:
            begun.release()
            go.wait(60)
        return canned(request)

    latency = Latency(ttft=0.0, per_token=0.0, slots=2) if shared else None
    opened = room(slow, latency, slots=1)
    ada = opened.client("Ada")
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(said(ada, "Please wait"))) for _ in range(4)]
    try:
        for thread in threads:
            thread.start()
        assert begun.acquire(timeout=60)
        assert [said(opened.client("Bob")) for _ in range(3)] == ["1, 2, 3."] * 3
        assert opened.student("Ada")["running"] == 1
        assert opened.student("Bob")["running"] == opened.student("Bob")["waiting"] == 0
    finally:
        go.set()
        for thread in threads:
            thread.join()
    assert len(answers) == 4
    assert opened.student("Ada")["running"] == opened.student("Ada")["waiting"] == 0


def test_a_students_times_and_cache_do_not_hang_on_others(room):
    """The same question first asked gets the same law's draw and an empty prompt cache, for each student."""
    opened = room(latency=Latency(ttft=0.02, per_token=0.001, jitter=0.5))
    system = [{"text": "word " * 1500}, {"cachePoint": {"type": "default"}}]
    usages, dues = [], []
    for name in ("Ada", "Bob"):
        answer = opened.client(name).converse_stream(modelId=NOVA, messages=turn(), system=system)
        usages += [each["metadata"]["usage"] for each in answer["stream"] if "metadata" in each]
        request_id = answer["ResponseMetadata"]["RequestId"]
        dues.append([round(t, 6) for t in opened.server.truth(request_id).due])
    assert usages[0] == usages[1]
    assert usages[0]["cacheWriteInputTokens"] > 1000
    assert dues[0] == dues[1]


# -- the student's side ----------------------------------------------------------------------------


def test_two_variables_are_all_that_a_student_needs(room, seat, capsys):
    """``nb.connect()`` says where it went and as whom, and requests come under that name."""
    opened = room()
    seat(opened.server, "Cy")
    with closing(nb.connect()) as client:
        reply = nb.stream(client, "Count to 3")
        assert reply.text == "1, 2, 3."
    assert capsys.readouterr().out == "Connected to the classroom server on this machine, as Cy.\n"
    assert opened.student("Cy")["requests"] == 1
    truth = nb.server.truth(reply.envelope["request_id"])
    assert sum(truth.events) == len(reply.recording)


@pytest.mark.parametrize(
    ("held", "error", "words"),
    [
        (None, CredentialsError, "is a classroom's, and the variable BEDROCK_NB_SEAT is not set"),
        ("EMBEDDED0123456789AB:MARKED", CredentialsError, "knows no such seat"),
        ("MARKED", RequestError, "BEDROCK_NB_SEAT holds no seat"),
        ("AKIAMARKED:MARKED", RequestError, "BEDROCK_NB_SEAT holds no seat"),
    ],
    ids=["missing", "unknown", "half", "AWS"],
)
def test_a_seat_that_is_none_is_said_without_repeating_it(room, monkeypatch, held, error, words):
    """The message says what to set; what was set, which may be a secret, is in no part of it."""
    opened = room()
    monkeypatch.setenv(TARGET_VARIABLE, opened.server.endpoint_url)
    monkeypatch.delenv(SEAT_VARIABLE, raising=False)
    if held is not None:
        monkeypatch.setenv(SEAT_VARIABLE, held)
    with pytest.raises(error, match=words) as caught:
        nb.connect()
    assert "MARKED" not in f"{caught.value} {caught.value!r}"
    assert isinstance(caught.value, BedrockNbError)
    assert caught.value.remedy


def test_another_students_secret_is_found_out_at_once(room, monkeypatch):
    """A seat with a wrong secret is refused by connect, not by the first call."""
    opened = room()
    ada, bob = (opened.classroom.seats[name].keys for name in ("Ada", "Bob"))
    monkeypatch.setenv(SEAT_VARIABLE, f"{ada.access_key}:{bob.secret_key}")
    with pytest.raises(CredentialsError, match="knows no such seat"):
        nb.connect(opened.server.endpoint_url)


@pytest.mark.parametrize(
    "answer",
    [b'{"student": "\\u001b[31mAda"}', b'{"student": "%s"}' % (b"x" * 61), b"[" * 60_000, b"[]", b"\xff"],
    ids=["escape", "long", "deep", "list", "no text"],
)
def test_whoever_listens_there_has_no_words_in_ours(monkeypatch, capsys, answer):
    """What answers in place of a server may be another's program: only a name is said."""
    monkeypatch.setenv(SEAT_VARIABLE, "EMBEDDED0123456789AB:secret")

    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        thread = threading.Thread(target=stranger.serve_forever)
        thread.start()
        try:
            nb.connect(f"http://127.0.0.1:{stranger.server_port}").close()
        finally:
            stranger.shutdown()
            thread.join()
    assert capsys.readouterr().out == f"Connected to {EMBEDDED}.\n"


def test_a_seat_does_no_harm_elsewhere(monkeypatch, capsys):
    """With a seat in the environment, a server of one's own is reached as ever."""
    monkeypatch.setenv(SEAT_VARIABLE, "EMBEDDED0123456789AB:secret")
    with BedrockServer(latency=Latency.none()) as server, closing(nb.connect(server.endpoint_url)) as client:
        assert nb.stream(client, "Count to 3").text == "1, 2, 3."
    assert "embedded Bedrock" in capsys.readouterr().out


# -- the page --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/status.json"])
@pytest.mark.parametrize("query", ["", "?key=", "?key=0123456789", "?key=%C3%A9"])
def test_the_page_is_the_teachers(room, path, query):
    """Without the key there is one sentence and no figure, under the page's own headers."""
    opened = room()
    said(opened.client("Ada"))
    status, headers, body = opened.get(path + query)
    assert status == 403
    assert body.startswith("This is the teacher's page")
    assert "Ada" not in body
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_with_the_key_it_is_shown(room):
    """The page itself, and one student's requests if that is asked for."""
    opened = room()
    said(opened.client("Ada"))
    said(opened.client("Bob"))
    url = urlsplit(opened.classroom.dashboard(opened.server.endpoint_url))
    assert opened.get(f"{url.path}?{url.query}")[0] == 200
    assert [each["student"] for each in opened.told()["requests"]] == ["Bob", "Ada"]
    assert [each["student"] for each in opened.told("&student=Ada")["requests"]] == ["Ada"]
    assert opened.told("&student=Nobody")["requests"] == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://example.com"},
        {"Origin": "null"},
        {"Host": "example.com"},
        {"Host": "127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
    ],
    ids=lambda headers: "-".join(headers.values()),
)
def test_other_web_pages_are_refused_even_with_the_key(room, headers):
    """Neither the page nor its hand is there for a page of elsewhere, or under a strange name."""
    opened = room()
    assert opened.get(f"/status.json?key={opened.classroom.key}", **headers)[0] == 403
    assert opened.pause(None, True, **headers) == 403
    assert not opened.classroom.is_paused("Ada")


def test_nothing_secret_is_shown(room):
    """No key of a seat and no word of a prompt is in the page's figures, a repr or the log of a request."""
    opened = room()
    client = opened.client("Ada")
    answer = client.converse(modelId=NOVA, messages=turn("Tell me about MARKED rainbows"))
    request_id = answer["ResponseMetadata"]["RequestId"]
    known = json.dumps(opened.told()) + repr(opened.classroom) + repr(opened.server)
    known += repr(opened.classroom.seats) + opened.get(f"/truth/{request_id}")[2]
    assert request_id in known
    seats = (*opened.classroom.seats.values(), opened.classroom.teacher)
    for secret in (*(each.keys.secret_key for each in seats), opened.classroom.key, "MARKED", "rainbow"):
        assert secret not in known
    for each in seats:
        assert each.keys.access_key not in known


# -- eyes up ---------------------------------------------------------------------------------------


def test_the_teacher_can_pause_a_student_or_all(room):
    """Requests of who is paused get 503 with a friendly word, and count as nobody's error."""
    opened = room()
    ada, bob = opened.client("Ada"), opened.client("Bob")
    origin = opened.server.endpoint_url
    assert opened.pause("Ada", True, Origin=origin) == 200
    status, code, words = refused(ada)
    assert (status, code) == (503, "ServiceUnavailableException")
    assert words.startswith("Eyes up")
    assert said(bob) == "1, 2, 3."
    assert opened.pause(None, True) == 200
    assert refused(bob)[0] == 503
    assert opened.pause(None, False) == 200
    assert said(ada) == said(bob) == "1, 2, 3."
    assert opened.student("Ada")["errors"] == 0


def test_only_the_teacher_can(room):
    """Without the key, or for a student that there is not, nothing is paused."""
    opened = room()
    assert opened.pause("Ada", True, **{"x-bedrock-nb-key": "no"}) == 403
    assert opened.pause("Nobody", True) == 400
    assert opened.get(f"/pause?key={opened.classroom.key}")[0] == 403  # a GET changes nothing: it is unsigned
    assert said(opened.client("Ada")) == "1, 2, 3."


# -- names and the file ----------------------------------------------------------------------------


def test_keys_survive_a_restart(tmp_path):
    """The file is read again; who is new gets keys, who is absent today keeps theirs, the page its own."""
    file = tmp_path / "seats.csv"
    first = Classroom(["Ada", "Bob"], seats=file)
    assert first.save("http://127.0.0.1:8080") == file
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    second = Classroom(["Ada", "Cy"], seats=file)
    assert second.seats["Ada"].keys == first.seats["Ada"].keys
    assert second.key == first.key
    assert second.find(first.seats["Bob"].keys.access_key) is None
    second.save("http://127.0.0.1:9090")
    third = Classroom(["Bob", "Cy"], seats=file)
    assert third.seats["Bob"].keys == first.seats["Bob"].keys
    assert third.seats["Cy"].keys == second.seats["Cy"].keys


def test_a_line_of_the_file_is_what_a_student_pastes(tmp_path):
    """The column ``export`` sets both variables to what the other columns say."""
    file = tmp_path / "seats.csv"
    Classroom(["Zoë O'Hara, 3b"], seats=file).save("http://127.0.0.1:8080")
    rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
    assert [row["name"] for row in rows] == [TEACHER, "Zoë O'Hara, 3b"]
    assert rows[1]["export"] == (
        f"export BEDROCK_NB_TARGET=http://127.0.0.1:8080 "
        f"BEDROCK_NB_SEAT={rows[1]['access_key']}:{rows[1]['secret_key']}"
    )


def test_a_file_that_others_could_read_is_narrowed_and_said(tmp_path):
    """Its mode becomes 0600, with a warning: its secrets may be known."""
    file = tmp_path / "seats.csv"
    Classroom(2, seats=file).save("http://127.0.0.1:8080")
    file.chmod(0o644)
    with pytest.warns(UserWarning, match="could be read by other users"):
        Classroom(2, seats=file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "text",
    [
        "Ada\nBob\n",
        "name,access_key,secret_key,export\nAda,AKIAIOSFODNN7EXAMPLE,x,y\n",
        "name,access_key,secret_key,export\nAda,EMBEDDED01,x,y\nBob,EMBEDDED01,z,y\n",
        "name,access_key,secret_key,export\nAda,EMBEDDED01\n",
        "name,access_key,secret_key,export\n=A1,EMBEDDED01,x,y\n",
        "\0\0",
        "\ufffe",
    ],
    ids=["names", "AWS key", "twice", "short", "formula", "zeros", "odd"],
)
def test_a_file_that_is_no_list_of_seats_is_left_alone(tmp_path, text):
    """Somebody else's file is refused, not overwritten."""
    file = tmp_path / "seats.csv"
    file.write_text(text, encoding="utf-8")
    file.chmod(0o644)
    with pytest.raises(RequestError):
        Classroom(["Ada"], seats=file)
    assert file.read_text(encoding="utf-8") == text
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="a file has no owner here")
def test_another_users_file_is_not_read(tmp_path):
    """Whoever laid it there would know every student's key, and the teacher's."""
    file = Path("/etc/passwd")
    if os.geteuid() == 0:
        file = tmp_path / "seats.csv"
        Classroom(["Ada"], seats=file).save("http://127.0.0.1:8080")
        os.chown(file, 12345, -1)
    with pytest.raises(RequestError, match="another user's"):
        Classroom(["Ada"], seats=file)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Ada\n\nBob \n", ["Ada", "Bob"]),
        ('\ufeffname,mail\nAda,a@x.org\n"O\'Hara, Zoë",z@x.org\n', ["Ada", "O'Hara, Zoë"]),
        ("Student\r\nAda\r\n", ["Ada"]),
        ("Name;Vorname\nMüller;Jörg\nO'Hara, Z.;Zoë\n", ["Müller", "O'Hara, Z."]),
        ("Zoe\u0308\n", ["Zo\u00eb"]),
        ("Ada\u00a0\u2003Lovelace\tb\n", ["Ada Lovelace b"]),
    ],
    ids=["lines", "csv", "windows", "semicolons", "decomposed", "blanks"],
)
def test_names_come_from_a_file(tmp_path, text, names):
    """A name a line, or the first column of a CSV file; a heading is none."""
    file = tmp_path / "names.csv"
    file.write_text(text, encoding="utf-8", newline="")
    assert names_of(str(file)) == names


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("Jörg".encode("cp1252"), "it is not UTF-8"),
        (b"x" * (2**20 + 1), "longer than 1 MiB"),
        (None, "No such"),
    ],
    ids=["old encoding", "long", "missing"],
)
def test_a_list_of_names_that_cannot_be_read_says_why(tmp_path, data, why):
    """The reason is in words, and the remedy says what is wanted; no path is shown."""
    file = tmp_path / "names.txt"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(RequestError, match=why) as caught:
        names_of(str(file))
    assert str(tmp_path) not in str(caught.value)
    assert "saved as UTF-8" in (caught.value.remedy or "")


@pytest.mark.parametrize(("number", "last"), [(1, "student-01"), (30, "student-30"), (120, "student-120")])
def test_a_number_makes_names(number, last):
    """``student-01`` and so on, so that they sort."""
    assert names_of(str(number)) == number
    names = list(Classroom(number).seats)
    assert len(names) == number
    assert names[-1] == last
    assert names == sorted(names)


@pytest.mark.parametrize(
    "students",
    [
        0,
        -1,
        5000,
        True,
        [],
        ["Ada", "ada"],
        ["Zo\u00eb", "Zoe\u0308"],
        ["teacher"],
        [""],
        [" Ada"],
        ["=1+1"],
        ["A\nB"],
        ["\u202eA"],
        ["x" * 61],
    ],
    ids=repr,
)
def test_names_that_cannot_be_are_refused(students):
    """Nobody, twice the same, the teacher's, what a spreadsheet would calculate, what cannot be seen."""
    with pytest.raises(RequestError):
        Classroom(students)


@pytest.mark.parametrize("none", [0, None])
def test_no_limit_is_a_limit_too(none):
    """0 and None lift a limit; the others stay."""
    room = Classroom(1, requests_per_minute=none, slots=none)
    assert room.limits.requests_per_minute is None
    assert room.limits.slots is None
    assert room.limits.tokens_per_minute


# -- the command line ------------------------------------------------------------------------------


def test_serve_opens_a_classroom_and_writes_the_seats(tmp_path):
    """It says where the page and the seats are; a student's two variables from the file lead there."""
    arguments = ["--classroom=2", "--port=0", "--ttft=0", "--per-token=0", "--per-student=slots=2,queue=none"]
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "bedrock_nb", "serve", *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        lines = [process.stdout.readline() for _ in range(4)]
        assert lines[0].startswith("A classroom of 2 at http://127.0.0.1:")
        assert "slots 2" in lines[0]
        assert "queue" not in lines[0]
        assert "/?key=" in lines[1]
        (row,) = [
            row
            for row in csv.DictReader((tmp_path / "seats.csv").read_text(encoding="utf-8").splitlines())
            if row["name"] == "student-02"
        ]
        target = row["export"].split()[1].partition("=")[2]
        with closing(
            nb.server.loopback_client(
                target, aws_access_key_id=row["access_key"], aws_secret_access_key=row["secret_key"]
            )
        ) as client:
            assert said(client) == "1, 2, 3."
        assert row["secret_key"] not in "".join(lines)
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--seats", "x.csv"], "--seats means nothing without --classroom"),
        (["--per-student", "slots=1"], "--per-student means nothing without --classroom"),
        (["--classroom", "nobody.txt"], "'nobody.txt' cannot be read"),
        (["--classroom", "0"], "classroom of 0"),
        (["--classroom", "2", "--per-student", "places=1"], "names no limit"),
        (["--classroom", "2", "--per-student", "slots=many"], "slots is 'many'"),
    ],
)
def test_what_serve_cannot_do_is_said(capsys, monkeypatch, tmp_path, options, words):
    """One sentence, exit status 1, no file of seats."""
    monkeypatch.chdir(tmp_path)
    assert main(["serve", *options]) == 1
    assert words in capsys.readouterr().err
    assert list(Path(tmp_path).iterdir()) == []


# -- numbers ---------------------------------------------------------------------------------------


def test_lateness_is_precise_to_a_tenth():
    """A quantile of the histogram is at most 10 % above that of the values themselves."""
    late, values = Lateness(), [0.0001 * 1.005**i for i in range(1000)]
    assert late.quantile(0.99) is None
    late.add(values)
    for share in (0.5, 0.9, 0.99, 1.0):
        exact, told = values[int(share * 1000) - 1], late.quantile(share)
        assert told is not None
        assert exact <= told <= exact * 1.1001
    late.add([1e9])
    assert late.quantile(1.0) == pytest.approx(60, rel=0.1)


def test_a_tally_forgets_what_was_minutes_ago():
    """The bars are of the last five minutes, the oldest first; the counters stay."""
    now = [1000.0]
    tally = Tally(lambda: now[0])
    tally.begin()
    tally.begin()
    now[0] += 60
    tally.begin()
    bars = tally.shown()["activity"]
    assert len(bars) == 20
    assert bars[-5:] == [2, 0, 0, 0, 1]
    now[0] += 400
    assert sum(tally.shown()["activity"]) == 0
    assert tally.shown()["requests"] == 3
    assert tally.shown()["last_seen"] == 1060
