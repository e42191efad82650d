"""Signatures: what real boto3 signs is verified, and nothing that was changed on the way is."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from bedrock_nb.server import BedrockServer, Latency, canned, loopback_client
from bedrock_nb.server.endpoint import Endpoint
from bedrock_nb.server.listening import listen
from bedrock_nb.server.loopback import Keys, keys_of
from bedrock_nb.server.refusal import Refusal
from bedrock_nb.server.signature import Signed, verify

HELLO = [{"role": "user", "content": [{"text": "Count to 2"}]}]
ONCE = Config(retries={"total_max_attempts": 1}, parameter_validation=False)
KEYS = Keys()
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STAMP = NOW.strftime("%Y%m%dT%H%M%SZ")

MODELS = [
    "us.amazon.nova-lite-v1:0",
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0",
    "two words",
    "a/b//c",
    "50%25 off",
    "Grüße, 世界 🌈",
    "a+b=c&d?e#f;g~h*(i)'j'",
    "../..",
]


def signed(
    method: str = "POST",
    path: str = "/model/m/converse",
    query: str = "",
    body: bytes = b'{"messages": []}',
    keys: Keys = KEYS,
    **headers: str,
) -> Signed:
    """A request as botocore signs it, at the time NOW."""
    host = "127.0.0.1:8080"
    request = AWSRequest(method, f"http://{host}{path}{f'?{query}' if query else ''}", data=body)
    sent = {"host": host, "content-type": "application/json", **headers}
    for name, value in sent.items():
        request.headers[name] = value
    auth = SigV4Auth(Credentials(keys.access_key, keys.secret_key), "bedrock", "us-east-1")
    request.context["timestamp"] = sent["x-amz-date"] = request.headers["X-Amz-Date"] = STAMP
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    names = auth.signed_headers(auth.headers_to_sign(request))
    said = f"Credential={auth.scope(request)}, SignedHeaders={names}, Signature={signature}"
    return Signed(method, path, query, {**sent, "authorization": f"AWS4-HMAC-SHA256 {said}"}, body)


def with_header(request: Signed, name: str, value: str | None) -> Signed:
    headers = {key: text for key, text in request.headers.items() if key != name}
    return replace(request, headers=headers if value is None else {**headers, name: value})


def refusal(request: Signed, now: datetime = NOW) -> Refusal:
    with pytest.raises(Refusal) as caught:
        verify(request, KEYS, now)
    return caught.value


# -- what boto3 signs ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def witness() -> Iterator[tuple[str, list[Signed]]]:
    """A listener that notes what was signed and refuses to answer; its URL, and the notes."""
    seen: list[Signed] = []

    async def note(request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        path, query = request.rel_url.raw_path, request.rel_url.raw_query_string
        seen.append(Signed(request.method, path, query, headers, await request.read()))
        raise Refusal(400, "ValidationException", "Noted.")

    told: list[Any] = []
    up = threading.Event()

    async def serve() -> None:
        listener = await listen(note, "127.0.0.1", 0)
        stop = asyncio.Event()
        told.extend([listener.url, asyncio.get_running_loop(), stop])
        up.set()
        await stop.wait()
        await listener.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert up.wait(20)
    url, loop, stop = told
    keys_of[url] = KEYS
    yield url, seen
    del keys_of[url]
    loop.call_soon_threadsafe(stop.set)
    thread.join()


CALLS: list[tuple[str, str, dict[str, Any]]] = [
    *[
        ("bedrock-runtime", operation, {"modelId": model, "messages": HELLO})
        for operation in ("converse", "converse_stream")
        for model in MODELS
    ],
    ("bedrock-runtime", "invoke_model", {"modelId": "a b:1/2", "body": b'{"prompt": "\xc3\xa9"}'}),
    ("bedrock-runtime", "invoke_model_with_response_stream", {"modelId": "m", "body": b"{}"}),
    ("bedrock-runtime", "count_tokens", {"modelId": "m", "input": {"converse": {"messages": HELLO}}}),
    (
        "bedrock-runtime",
        "apply_guardrail",
        {"guardrailIdentifier": "a/b:c", "guardrailVersion": "1", "source": "INPUT", "content": []},
    ),
    ("bedrock", "list_foundation_models", {}),
    ("bedrock", "list_foundation_models", {"byProvider": "Ä & B=c+d /?", "byOutputModality": "TEXT"}),
    ("bedrock", "get_foundation_model", {"modelIdentifier": "anthropic.claude-v2:1"}),
    ("bedrock", "list_inference_profiles", {"maxResults": 5, "nextToken": "a+/=b~*"}),
]


@pytest.mark.parametrize(
    ("service", "operation", "arguments"),
    CALLS,
    ids=[f"{operation}-{i}" for i, (_, operation, _) in enumerate(CALLS)],
)
def test_what_boto3_signs_is_verified(witness, service, operation, arguments):
    """Every request of a real client, over a real socket, is right under its key; one byte off is not."""
    url, seen = witness
    seen.clear()
    client = loopback_client(url, service, config=ONCE)
    with pytest.raises(ClientError, match=r"Noted\."):
        getattr(client, operation)(**arguments)
    client.close()
    (request,) = seen
    assert verify(request, KEYS)
    for changed in (
        replace(request, body=request.body + b" "),
        replace(request, path=request.path + "x"),
        replace(request, query="x=1"),
        replace(request, method="PUT"),
    ):
        with pytest.raises(Refusal, match="does not match the signature"):
            verify(changed, KEYS)


@pytest.mark.parametrize("model", MODELS)
def test_the_server_answers_its_own_client(model):
    """Clients of a server are served whatever the model id, with the signature checked on the way."""
    with BedrockServer(canned, latency=Latency.none()) as server:
        client = server.client(config=ONCE)
        assert client.converse(modelId=model, messages=HELLO)["stopReason"] == "end_turn"
        events = client.converse_stream(modelId=model, messages=HELLO)["stream"]
        assert [name for event in events for name in event][-1] == "metadata"
        client.close()
        wrong = server.client(config=ONCE, aws_secret_access_key="guessed")
        for operation in (wrong.converse, wrong.converse_stream):
            with pytest.raises(ClientError, match="does not match the signature") as caught:
                operation(modelId=model, messages=HELLO)
            assert caught.value.response["Error"]["Code"] == "InvalidSignatureException"
            assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        wrong.close()


def test_each_server_has_a_key_of_its_own():
    """A client of one server is a stranger to the next: not checked, and answered."""
    with BedrockServer(latency=Latency.none()) as one, BedrockServer(latency=Latency.none()) as other:
        keys = keys_of[one.endpoint_url]
        assert keys != keys_of[other.endpoint_url]
        stranger = loopback_client(
            other.endpoint_url, aws_access_key_id=keys.access_key, aws_secret_access_key="whatever"
        )
        assert stranger.converse(modelId="m", messages=HELLO)["stopReason"] == "end_turn"
        stranger.close()
        url = one.endpoint_url
    assert url not in keys_of


# -- what is refused -------------------------------------------------------------------------------


def flipped(text: str, at: int) -> str:
    """The text with one character made another."""
    return text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]


REQUEST = signed(**{"x-amz-security-token": "token", "x-amz-meta": "a  b"})


@pytest.mark.parametrize("name", ["host", "content-type", "x-amz-security-token", "x-amz-meta"])
def test_a_changed_header_is_refused(name):
    """Every header that was signed must come as it was signed, and must come."""
    assert verify(REQUEST, KEYS, NOW)
    text = REQUEST.headers[name]
    for value in (flipped(text, 0), text + "x", None):
        error = refusal(with_header(REQUEST, name, value))
        assert (error.status, error.code) == (403, "InvalidSignatureException")


def test_a_header_that_was_not_signed_may_change():
    """Intermediaries and clients add headers; blanks within a signed one do not count, as with AWS."""
    assert verify(with_header(REQUEST, "user-agent", "other"), KEYS, NOW)
    assert verify(with_header(REQUEST, "x-amz-meta", " a b "), KEYS, NOW)


@pytest.mark.parametrize("part", ["date", "region", "service", "signature"])
def test_a_changed_credential_or_signature_is_refused(part):
    """One character of the Authorization header is enough."""
    said = REQUEST.headers["authorization"]
    at = {
        "date": said.index("/") + 8,
        "region": said.index("us-east"),
        "service": said.index("/bedrock/") + 1,
        "signature": len(said) - 1,
    }[part]
    error = refusal(with_header(REQUEST, "authorization", flipped(said, at)))
    assert (error.status, error.code) == (403, "InvalidSignatureException")


@pytest.mark.parametrize(
    "said",
    [
        "AWS4-HMAC-SHA256 Credential={key}/20260301/us-east-1/bedrock/aws4_request",
        "AWS4-HMAC-SHA256 Credential={key}/20260301/us-east-1/bedrock/aws4_request, SignedHeaders=host",
        "AWS4-HMAC-SHA256 Credential={key}/20260301/us-east-1/bedrock/aws4_request, "
        "SignedHeaders=x-amz-date, Signature=" + "0" * 64,
        "AWS4-HMAC-SHA256 Credential={key}/20260301/us-east-1/bedrock/aws4_request, SignedHeaders=host, "
        "Signature=" + "Z" * 64,
        "AWS4-ECDSA-P256-SHA256 Credential={key}/20260301/us-east-1/bedrock/aws4_request",
        "Credential={key}/",
    ],
    ids=["no headers", "no signature", "host not signed", "no hex", "other algorithm", "nothing"],
)
def test_half_a_header_under_our_key_is_refused(said):
    """Whoever uses the server's own key must sign as AWS wants it, the host included."""
    error = refusal(with_header(REQUEST, "authorization", said.format(key=KEYS.access_key)))
    assert (error.status, error.code) == (403, "IncompleteSignatureException")


@pytest.mark.parametrize(
    ("minutes", "good"), [(0, True), (14, True), (-14, True), (16, False), (-16, False), (60 * 24, False)]
)
def test_a_signature_is_good_for_a_quarter_of_an_hour(minutes, good):
    """Before and after its time; later it is refused as expired."""
    now = NOW + timedelta(minutes=minutes)
    if good:
        assert verify(REQUEST, KEYS, now)
    else:
        error = refusal(REQUEST, now)
        assert (error.status, error.code) == (403, "InvalidSignatureException")
        assert error.message.startswith("Signature expired")


@pytest.mark.parametrize("stamp", [None, "", "now", "2026-03-01T12:00:00Z", "20261301T120000Z", "٢٠٢٦"])
def test_a_signature_has_a_date(stamp):
    """Without x-amz-date, or with one that is none, there is no telling its age."""
    error = refusal(with_header(REQUEST, "x-amz-date", stamp))
    assert (error.status, error.code) == (403, "IncompleteSignatureException")


def test_a_changed_date_is_refused():
    """A second more is another signature, and another day is not even that of the credential."""
    later = (NOW + timedelta(seconds=1)).strftime("%Y%m%dT%H%M%SZ")
    assert refusal(with_header(REQUEST, "x-amz-date", later)).code == "InvalidSignatureException"
    midnight = NOW.replace(hour=0, minute=0) + timedelta(days=1)
    tomorrow = with_header(REQUEST, "x-amz-date", midnight.strftime("%Y%m%dT%H%M%SZ"))
    assert refusal(tomorrow, midnight).message.startswith("Signature expired")


@pytest.mark.parametrize("declared", ["0" * 64, "UNSIGNED-PAYLOAD", ""])
def test_a_body_hash_that_lies_is_refused(declared):
    """x-amz-content-sha256 must be that of the body, signed or not."""
    for request in (signed(**{"x-amz-content-sha256": declared}), REQUEST):
        error = refusal(with_header(request, "x-amz-content-sha256", declared))
        assert (error.status, error.code) == (403, "InvalidSignatureException")
        assert "x-amz-content-sha256" in error.message


def test_another_secret_is_refused():
    """The key's name alone is not the key."""
    error = refusal(signed(keys=Keys(KEYS.access_key, KEYS.secret_key + "x")))
    assert (error.status, error.code) == (403, "InvalidSignatureException")


def test_bytes_that_are_no_text_are_refused_and_no_accident():
    """A signed header with bytes that are not UTF-8 cannot be ours; it is an error of the request."""
    error = refusal(with_header(REQUEST, "x-amz-meta", b"\xff".decode("utf-8", "surrogateescape")))
    assert (error.status, error.code) == (403, "InvalidSignatureException")


@pytest.mark.parametrize(
    "said",
    [
        None,
        "",
        "Bearer abc",
        signed(keys=Keys("embedded-bedrock", "not-a-secret")).headers["authorization"],
        f"AWS4-HMAC-SHA256 Credential=x{KEYS.access_key}/20260301/us-east-1/bedrock/aws4_request",
    ],
    ids=["none", "empty", "bearer", "other key", "longer key"],
)
def test_other_credentials_are_not_checked(said):
    """There is nothing to protect from other programs of this machine: they may ask, with any key."""
    assert verify(with_header(REQUEST, "authorization", said), KEYS, NOW) is False


# -- any request -----------------------------------------------------------------------------------

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
paths = st.lists(names.filter(lambda name: name not in (".", "..")), max_size=4).map(
    lambda parts: "/" + "/".join(quote(part, safe="") for part in parts)
)
queries = st.lists(st.tuples(names, names), max_size=4).map(
    lambda pairs: "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
)
requests = st.builds(
    signed,
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    path=paths,
    query=queries,
    body=st.binary(max_size=40),
)


@given(requests, st.data())
def test_any_request_is_verified_and_none_that_was_changed(request_, data):
    """Whatever method, path, query and body: right as botocore signs it, wrong if one of them is another."""
    assert verify(request_, KEYS, NOW) is True
    changes: dict[str, st.SearchStrategy[Any]] = {
        "method": st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
        "path": paths,
        "query": queries.filter(lambda query: sorted(query.split("&")) != sorted(request_.query.split("&"))),
        "body": st.binary(max_size=40),
    }
    part = data.draw(st.sampled_from(sorted(changes)))
    value = data.draw(changes[part].filter(lambda value: value != getattr(request_, part)))
    error = refusal(replace(request_, **{part: value}))
    assert (error.status, error.code) == (403, "InvalidSignatureException")


# -- secrets ---------------------------------------------------------------------------------------


def test_secrets_are_in_no_repr_and_no_error():
    """Neither keys, nor what holds them, nor what is told when they do not fit shows the secret."""
    with BedrockServer(latency=Latency.none()) as server:
        own = keys_of[server.endpoint_url]
        client = server.client(config=ONCE, aws_secret_access_key="guessed")
        with pytest.raises(ClientError) as caught:
            client.converse(modelId="m", messages=HELLO)
        shown = [
            repr(own),
            str(own),
            repr(server),
            str(caught.value),
            json.dumps(caught.value.response, default=str),
        ]
        client.close()
        assert not [text for text in shown if own.secret_key in text]
    endpoint = Endpoint(canned, Latency.none(), keys=KEYS)
    shown = [repr(endpoint), repr(KEYS), repr(REQUEST), str(refusal(signed(keys=Keys(KEYS.access_key, "x"))))]
    assert not [text for text in shown if KEYS.secret_key in text]
    assert KEYS.access_key in repr(KEYS)
    assert "authorization" not in repr(REQUEST).lower()


def test_host_may_be_signed_under_its_name_in_http2():
    """The AWS SDK for JavaScript signs ``:authority``, which arrives here as Host."""
    keys, path, stamp = Keys("AKEY", "s" * 20), "/model/m/converse", "20260101T000000Z"
    headers = {":authority": "127.0.0.1:80", "x-amz-date": stamp}
    request = AWSRequest("POST", f"http://127.0.0.1:80{path}", data=b"{}", headers=headers)
    request.context["timestamp"] = stamp

    class AsItIs(SigV4Auth):
        def headers_to_sign(self, request: Any) -> Any:
            return request.headers

    auth = AsItIs(Credentials(keys.access_key, keys.secret_key), "bedrock", "us-east-1")
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    said = (
        f"AWS4-HMAC-SHA256 Credential=AKEY/20260101/us-east-1/bedrock/aws4_request, "
        f"SignedHeaders=:authority;x-amz-date, Signature={signature}"
    )
    at = datetime(2026, 1, 1, tzinfo=UTC)
    sent = {"host": "127.0.0.1:80", "x-amz-date": stamp, "authorization": said}
    assert verify(Signed("POST", path, "", sent, b"{}"), keys, at)
    with pytest.raises(Refusal):
        verify(Signed("POST", path, "", {**sent, "host": "localhost:80"}, b"{}"), keys, at)
