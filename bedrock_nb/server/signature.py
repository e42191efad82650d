"""Is this request signed with the server's own key? AWS Signature Version 4, checked as AWS checks it.

Strategy: botocore signs, so botocore's own pieces say what the signature of these very bytes must be: the
request is built again with the headers that the client says it signed, and the signatures are compared. Only
requests under the server's own key are checked: a client that `connect` made has it, another program on this
machine has not, and may still ask (with any made-up key), for there is nothing here to protect but the truth
of who asked.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from bedrock_nb.server.loopback import Keys
from bedrock_nb.server.refusal import Refusal

__all__ = ["Signed", "verify"]

_FORM = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/,\s]+)/(?P<date>\d{8})/(?P<region>[^/,\s]+)"
    r"/(?P<service>[^/,\s]+)/aws4_request, ?SignedHeaders=(?P<headers>[^,\s]+)"
    r", ?Signature=(?P<signature>[0-9a-f]{64})"
)
#: A signature is good for so long, before and after its time.
_GOOD_FOR = timedelta(minutes=15)


@dataclass(frozen=True, repr=False)
class Signed:
    """What a signature is over.

    Parameters
    ----------
    method, path, query : str
        As they came, still percent-encoded.
    headers : mapping of str to str
        By lower-case name.
    body : bytes
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


def verify(request: Signed, keys: Keys, now: datetime | None = None) -> bool:
    """Check a request's signature, if it is under this key.

    Parameters
    ----------
    request : Signed
    keys : Keys
    now : datetime, optional
        With its time zone.

    Returns
    -------
    bool
        False if the request is not under this key, and so was not checked.

    Raises
    ------
    Refusal
        403 under this key, but the signature is not right, or too old.
    """
    said = request.headers.get("authorization", "")
    if f"Credential={keys.access_key}/" not in said:
        return False
    form = _FORM.fullmatch(said.strip())
    stamp = request.headers.get("x-amz-date", "")
    if form is None or not {"host", ":authority"} & set(form["headers"].split(";")):
        raise Refusal(403, "IncompleteSignatureException", "The Authorization header is not whole.")
    try:
        signed_at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise Refusal(403, "IncompleteSignatureException", "The request has no x-amz-date.") from None
    if abs((now or datetime.now(UTC)) - signed_at) > _GOOD_FOR or not stamp.startswith(form["date"]):
        raise Refusal(403, "InvalidSignatureException", f"Signature expired: {stamp} is not now.")
    declared = request.headers.get("x-amz-content-sha256")
    if declared is not None and declared != sha256(request.body).hexdigest():
        raise Refusal(403, "InvalidSignatureException", "The body is not what x-amz-content-sha256 says.")
    try:
        wanted = _signature(request, keys, form, stamp)
    except UnicodeError:  # no client signs what is no text
        wanted = ""
    if not hmac.compare_digest(wanted, form["signature"]):
        raise Refusal(
            403,
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check your AWS "
            "Secret Access Key and signing method. Consult the service documentation for details.",
        )
    return True


def _signature(request: Signed, keys: Keys, form: re.Match[str], stamp: str) -> str:
    """What the signature of these bytes must be."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.compat import HTTPHeaders
    from botocore.credentials import Credentials

    class OfWhatIsSaid(SigV4Auth):
        """botocore leaves out headers that other SDKs sign, such as user-agent."""

        def headers_to_sign(self, request: Any) -> Any:
            given = HTTPHeaders()
            for name, value in request.headers.items():
                given[name.lower()] = value
            return given

    host = request.headers.get("host", "")
    query = f"?{request.query}" if request.query else ""
    again = AWSRequest(request.method, f"http://{host}{request.path}{query}", data=request.body)
    for name in form["headers"].split(";"):
        # In HTTP/2, Host is called ":authority", and the AWS SDK for JavaScript signs it by that name.
        value = request.headers.get("host" if name == ":authority" else name, "")
        value.encode()  # bytes that are no text arrive as lone surrogates
        again.headers[name] = value
    again.context["timestamp"] = stamp
    auth = OfWhatIsSaid(Credentials(keys.access_key, keys.secret_key), form["service"], form["region"])
    canonical = auth.canonical_request(again)
    return str(auth.signature(auth.string_to_sign(again, canonical), again))
