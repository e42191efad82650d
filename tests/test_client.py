"""connect(): every place it can go to, and what it says when it cannot."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading

import botocore.session
import pytest
from botocore.config import Config
from botocore.credentials import DeferredRefreshableCredentials
from botocore.exceptions import NoCredentialsError

import bedrock_nb as nb
from bedrock_nb.client import TARGET_VARIABLE, credentials_of, is_embedded, of_aws
from bedrock_nb.errors import BedrockNbError, CredentialsError, RequestError, ServerError
from bedrock_nb.server import BedrockServer, Latency, loopback_client
from tests.wire_server import GOOD, GOOD_TEXT, answer

MARKED = {
    "AWS_ACCESS_KEY_ID": "MARKED-ID",
    "AWS_SECRET_ACCESS_KEY": "MARKED-KEY",
    "AWS_SESSION_TOKEN": "MARKED-SESSION",
    "AWS_BEARER_TOKEN_BEDROCK": "MARKED-TOKEN",
}


@pytest.fixture
def credentials(environment):
    """The same with credentials that can be found by what they are called."""
    for name, value in MARKED.items():
        environment.setenv(name, value)
    return environment


@pytest.fixture(scope="module")
def url():
    """An embedded server that runs already."""
    with BedrockServer(latency=Latency.none()) as server:
        yield server.endpoint_url


def test_a_url_leads_to_the_server_there(environment, url, capsys):
    """It says in one line where it went, without the port: a saved lesson reads the same everywhere."""
    client = nb.connect(url)
    assert nb.stream(client, "Count from 1 to 3").text == "1, 2, 3."
    client.close()
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "embedded Bedrock" in said
    assert url not in said


def test_local_starts_a_server_of_its_own(environment, capsys):
    """In another process, shared by all who ask; quiet if asked to be."""
    one, other = nb.connect("local", verbose=False), nb.connect(verbose=False)
    assert one.meta.endpoint_url == other.meta.endpoint_url
    assert nb.stream(one, "Count from 1 to 3").text == "1, 2, 3."
    one.close()
    other.close()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("token", [False, True], ids=["credentials", "token"])
def test_aws_is_amazon_bedrock_in_the_region(credentials, capsys, token):
    """With the region given, and told; a bearer token alone is enough."""
    if token:
        for name in MARKED:
            if name != "AWS_BEARER_TOKEN_BEDROCK":
                credentials.delenv(name)
    client = nb.connect("aws", region="us-east-2")
    assert client.meta.endpoint_url == "https://bedrock-runtime.us-east-2.amazonaws.com"
    client.close()
    assert capsys.readouterr().out == "Connected to Amazon Bedrock in us-east-2.\n"


def test_the_region_and_the_profile_are_found_as_boto3_finds_them(environment, tmp_path, capsys):
    """From a profile of the configuration; its name is told, its credentials are not."""
    (tmp_path / "config").write_text("[profile class]\nregion = eu-west-1\n")
    (tmp_path / "credentials").write_text(
        "[class]\naws_access_key_id = MARKED-ID\naws_secret_access_key = MARKED-KEY\n"
    )
    client = nb.connect("aws", profile="class")
    assert client.meta.region_name == "eu-west-1"
    client.close()
    assert capsys.readouterr().out == "Connected to Amazon Bedrock in eu-west-1, profile class.\n"


def test_the_variable_sends_auto_elsewhere(credentials, url):
    """``connect()`` obeys it, an empty one is none, and an argument wins."""
    credentials.setenv("AWS_DEFAULT_REGION", "us-west-2")
    credentials.setenv(TARGET_VARIABLE, "aws")
    clients = [nb.connect(verbose=False), nb.connect(url, verbose=False)]
    credentials.setenv(TARGET_VARIABLE, url)
    clients.append(nb.connect(verbose=False))
    credentials.setenv(TARGET_VARIABLE, "")
    clients.append(nb.connect(verbose=False))
    places = [client.meta.endpoint_url for client in clients]
    for client in clients:
        client.close()
    assert places[:3] == ["https://bedrock-runtime.us-west-2.amazonaws.com", url, url]
    assert places[3].startswith("http://127.0.0.1:")
    assert places[3] != url


@pytest.mark.parametrize("target", ["", "amazon", "LOCAL", "ftp://127.0.0.1", None, 3, b"aws", ["aws"]])
def test_a_target_that_is_none_is_refused(environment, target):
    """The error says what was given, and what there is."""
    with pytest.raises(RequestError, match="Targets are") as caught:
        nb.connect(target)
    assert repr(target) in str(caught.value)


@pytest.mark.parametrize("target", ["http://example.org", "https://127.0.0.1:8080", "http://10.0.0.1:80"])
def test_a_url_of_another_machine_is_refused(environment, target):
    """The embedded server is on this machine; a key of AWS goes nowhere else."""
    with pytest.raises(RequestError, match="on this machine"):
        nb.connect(target)


def test_a_wrong_variable_is_named(environment):
    """Whoever has forgotten that it is set is told."""
    environment.setenv(TARGET_VARIABLE, "amazon")
    with pytest.raises(RequestError, match=TARGET_VARIABLE):
        nb.connect()


def test_a_url_at_which_nothing_answers_is_an_error_at_once(environment):
    """And not at the first call, after boto3's attempts."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ServerError, match="bedrock-nb serve"):
        nb.connect(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize("concurrency", [0, -1, 1.5, "50", None, True])
def test_a_wrong_concurrency_is_refused(environment, concurrency):
    """The error says what is wanted."""
    with pytest.raises(RequestError, match="whole number of at least 1"):
        nb.connect("local", concurrency=concurrency)


def test_the_connection_pool_fits_the_concurrency(credentials, wire):
    """So many streams at once, so many connections that are kept and used again."""
    there = nb.connect("aws", region="us-east-2", concurrency=7, verbose=False)
    assert there.meta.config.max_pool_connections == 7
    there.close()
    client = nb.connect(wire.url, concurrency=12, verbose=False)
    assert wire.wait_until_open(0)  # it only looked whether somebody is there
    for _ in range(2):
        gate = threading.Event()
        wire.lay(*[answer(GOOD, gates={1: gate})] * 12)
        replies = [nb.stream(client, "hi", model="m") for _ in range(12)]
        gate.set()
        assert [reply.text for reply in replies] == [GOOD_TEXT] * 12
    assert (wire.accepted, wire.open) == (13, 12)
    client.close()


# -- no AWS ----------------------------------------------------------------------------------------


def test_without_credentials_it_says_how_to_get_some(environment):
    """And that there is a way without any. Whoever catches botocore's class catches it."""
    with pytest.raises(NoCredentialsError) as caught:
        nb.connect("aws", region="us-east-2")
    assert type(caught.value) is CredentialsError
    for words in ("aws configure", "AWS_PROFILE", "AWS_BEARER_TOKEN_BEDROCK", 'connect("local")'):
        assert words in str(caught.value)


@pytest.mark.parametrize("how", ["argument", "variable"])
def test_a_profile_that_does_not_exist_is_named(environment, how):
    """Whether it was given or is in the environment."""
    if how == "variable":
        environment.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(
        CredentialsError, match=r"no AWS profile 'nobody'.*list-profiles.*connect\(\"local\"\)"
    ):
        nb.connect("aws", profile="nobody" if how == "argument" else None)


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ("[[[nonsense\n", {}),
        ("[default]\ncredential_process = /bin/sh -c 'echo MARKED-TOKEN >&2; false'\n", {}),
        ("[default]\nrole_arn = arn:x\nsource_profile = nobody\n", {}),
        ("", {"AWS_ACCESS_KEY_ID": "MARKED-ID"}),
    ],
    ids=["not a file of settings", "a program that fails", "a role from nowhere", "half of a key"],
)
def test_settings_that_boto3_cannot_use_are_an_error_of_ours(environment, tmp_path, config, names):
    """It shows neither what a program printed nor whose folder the settings are in."""
    (tmp_path / "config").write_text(config)
    for name, value in names.items():
        environment.setenv(name, value)
    with pytest.raises(CredentialsError, match="cannot load AWS credentials") as caught:
        nb.connect("aws", region="us-east-2")
    assert 'connect("local")' in str(caught.value)
    assert "MARKED" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_region_must_be_known(credentials):
    """It says how to give one."""
    with pytest.raises(RequestError, match=r'No AWS region.*region="us-east-2".*AWS_DEFAULT_REGION'):
        nb.connect("aws")


@pytest.mark.parametrize("region", ["no such region!", 5])
def test_a_region_that_cannot_be_is_refused(credentials, region):
    """The error shows what was given and what one looks like."""
    with pytest.raises(RequestError, match="us-east-2") as caught:
        nb.connect("aws", region=region)
    assert repr(region) in str(caught.value)


# -- secrets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["local", "url"])
def test_credentials_of_aws_neither_disturb_nor_reach_the_embedded_server(credentials, wire, url, target):
    """A bearer token demands https of boto3: not here. Keys of AWS are not sent to it."""
    client = nb.connect("local" if target == "local" else wire.url, verbose=False)
    if target == "url":
        wire.lay(answer(GOOD))
    assert nb.stream(client, "Count from 1 to 3").text == (GOOD_TEXT if target == "url" else "1, 2, 3.")
    client.close()
    assert b"MARKED" not in b"".join(wire.requests)


def test_credentials_show_nowhere(credentials, capsys):
    """Neither in what is printed nor in what the client or an error shows."""
    client = nb.connect("aws", region="us-east-2")
    shown = [repr(client), str(client), repr(client.meta.config), capsys.readouterr().out]
    client.close()
    credentials.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(BedrockNbError) as caught:
        nb.connect("aws", region="us-east-2")
    for text in (*shown, str(caught.value), repr(caught.value), str(caught.value.__cause__)):
        assert "MARKED" not in text


def test_the_loop_of_the_tutorials_runs_in_a_fresh_process(environment):
    """With nothing set up at all, `connect()` and boto3's own loop are enough; no server outlives it."""
    code = """
import bedrock_nb as nb
client = nb.connect()
response = client.converse_stream(
    modelId="us.amazon.nova-lite-v1:0",
    messages=[{"role": "user", "content": [{"text": "Count from 1 to 3"}]}],
)
for event in response["stream"]:
    if "contentBlockDelta" in event:
        print(event["contentBlockDelta"]["delta"]["text"], end="")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[1:] == ["1, 2, 3."]


def test_an_endpoint_that_is_not_aws_is_named(monkeypatch, capsys):
    """Numbers of an embedded server must not be taken for those of AWS."""
    for name, value in {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}.items():
        monkeypatch.setenv(name, value)
    nb.connect("aws", region="us-east-1").close()
    assert capsys.readouterr().out == "Connected to Amazon Bedrock in us-east-1.\n"
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "http://127.0.0.1:9")
    nb.connect("aws", region="us-east-1").close()
    assert "http://127.0.0.1:9, which is not AWS" in capsys.readouterr().out


def test_an_embedded_server_is_known_by_the_key_of_its_clients():
    """In whichever process it is, and when it has gone; a local address alone may be a tunnel to AWS."""
    with BedrockServer() as server:
        own, named = server.client(), nb.connect(server.endpoint_url, verbose=False)
        other = loopback_client("http://127.0.0.1:9")
        tunnel = server.client(aws_access_key_id="AKIAMARKED", aws_secret_access_key="x")
    assert [is_embedded(client) for client in (own, named, other, tunnel)] == [True, True, True, False]
    assert not is_embedded(object())


def test_who_asks_whether_a_server_is_embedded_renews_no_credentials():
    """Temporary ones are renewed when somebody looks at their key, with a call that takes long or fails."""

    def renew():
        raise AssertionError("renewed")

    session = botocore.session.Session()
    session._credentials = DeferredRefreshableCredentials(renew, "assume-role")  # type: ignore[attr-defined]
    client = session.create_client("bedrock-runtime", "us-east-1", endpoint_url="http://127.0.0.1:9")
    with pytest.raises(AssertionError, match="renewed"):
        _ = credentials_of(client).access_key
    assert not is_embedded(client)


@pytest.mark.parametrize(
    ("host", "is_of_aws"),
    [
        ("bedrock-runtime.us-east-1.amazonaws.com", True),
        ("bedrock-runtime.cn-north-1.amazonaws.com.cn", True),
        ("bedrock-runtime.eusc-de-east-1.amazonaws.eu", True),
        ("bedrock-runtime.us-east-1.api.aws", True),
        ("amazonaws.com.example.org", False),
        ("bedrock-runtime.us-east-1.amazonaws.example", False),
        ("127.0.0.1:9", False),
    ],
)
def test_an_endpoint_is_of_aws_by_how_its_host_ends(host, is_of_aws):
    """In every partition that the internet reaches; a name that only holds AWS's is not of AWS."""
    assert of_aws(f"https://{host}") is is_of_aws


def test_a_server_that_has_gone_is_said():
    """The next call says what happened and how to go on."""
    server = BedrockServer(latency=Latency.none()).start()
    client = server.client(config=Config(retries={"total_max_attempts": 1}))
    server.close()
    with pytest.raises(ServerError, match=r"gone away.*connect\(\)"):
        nb.stream(client, "x")
