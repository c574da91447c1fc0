"""Checks the signature of a request: whoever signs must hold the secret.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

_SIGNED = re.compile(r"SignedHeaders=([^,\s]+)")
_SIGNATURE = re.compile(r"Signature=([0-9a-f]+)")
_STS_SECONDS = 15 * 60


def session_token(environ: Mapping[str, Any]) -> str:
    """Read the session token that a request carries, or nothing."""
    query = dict(parse_qsl(environ.get("QUERY_STRING", "")))
    return environ.get("HTTP_X_AMZ_SECURITY_TOKEN") or query.get("X-Amz-Security-Token", "")


def expired_url(environ: Mapping[str, Any], service: str, now: datetime) -> bool:
    """Whether a presigned address has expired.

    STS grants 15 minutes, whatever `X-Amz-Expires` names: kubernetes-sigs/aws-iam-authenticator,
    pkg/token/token.go, `presignedURLExpiration`.
    """
    query = dict(parse_qsl(environ.get("QUERY_STRING", "")))
    if "X-Amz-Signature" not in query:
        return False
    signed = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    seconds = _STS_SECONDS if service == "sts" else int(query.get("X-Amz-Expires", "0"))
    return now > signed + timedelta(seconds=seconds)


def is_valid(
    environ: Mapping[str, Any], body: bytes, secret: str, region: str, service: str
) -> bool:
    """Whether the request was signed with `secret`, in its header or in its address."""
    path, _, query = str(environ.get("REQUEST_URI") or environ["RAW_URI"]).partition("?")
    presigned = "X-Amz-Signature=" in query
    if presigned:
        values = dict(parse_qsl(query))
        signed, given = values["X-Amz-SignedHeaders"], values["X-Amz-Signature"]
        moment = values["X-Amz-Date"]
        query = "&".join(p for p in query.split("&") if not p.startswith("X-Amz-Signature="))
    else:
        header = environ.get("HTTP_AUTHORIZATION", "")
        names, signature = _SIGNED.search(header), _SIGNATURE.search(header)
        if names is None or signature is None:
            return False
        signed, given, moment = names[1], signature[1], environ.get("HTTP_X_AMZ_DATE", "")
    request = AWSRequest(
        environ["REQUEST_METHOD"],
        f"http://{environ['HTTP_HOST']}{path}" + (f"?{query}" if query else ""),
        {name: _header(environ, name) for name in signed.split(";")},
        b"" if presigned else body,
    )
    if not presigned and "HTTP_X_AMZ_CONTENT_SHA256" in environ:
        request.headers["X-Amz-Content-SHA256"] = environ["HTTP_X_AMZ_CONTENT_SHA256"]
    request.context["timestamp"] = moment
    auth = _Signer(Credentials("", secret), service, region, signed)
    wanted = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    return hmac.compare_digest(wanted, given)


class _Signer(SigV4Auth):
    """botocore's signature, over exactly the headers that the caller names."""

    def __init__(self, credentials: Credentials, service: str, region: str, signed: str) -> None:
        super().__init__(credentials, service, region)
        self._signed = signed.split(";")

    def headers_to_sign(self, request: AWSRequest) -> Any:
        """Only what the caller signed."""
        headers = HTTPHeaders()
        for name in self._signed:
            headers[name] = request.headers[name]
        return headers


def _header(environ: Mapping[str, Any], name: str) -> str:
    key = name.upper().replace("-", "_")
    key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
    return str(environ.get(key, ""))
