"""Client of CAST AI's events endpoint, with retries while the service is busy or failing."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from typing import Any

from .deadline import Deadline
from .decide import Report

ATTEMPT_SECONDS = 10.0
"""Timeout of one attempt, short enough to leave time for another."""

_TOO_MANY = 429
_UNAUTHORISED = (401, 403)
_NOT_FOUND = 404
_REDIRECTS = range(300, 400)
_SERVER_ERROR = 500
_ANSWER_LIMIT = 4096
_MESSAGE_LIMIT = 300


class ReportError(Exception):
    """CAST AI did not accept the report. The text never contains the key."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Result of an accepted report."""

    attempts: int
    request_id: str
    """CAST AI's id of the request, for its support."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    request_id: str
    retry_after: float
    message: str


class Castai:
    """Client of `POST /v1/kubernetes/external-clusters/{id}/events`.

    Fields as in castai/spot-handler, `internal/castai/types.go`. `nodeId` is CAST AI's id of a
    node that it created, which EC2 does not know. It is empty, as the DaemonSet sends it for
    other nodes, and `providerId` identifies the node. `nodeState` is absent, as there.
    """

    def __init__(self, url: str, cluster_id: str, key: Callable[[bool], str]) -> None:
        """`key` returns the API key; its argument asks for a fresh one, after a refusal."""
        self._url = url.rstrip("/")
        self._events = f"{self._url}/v1/kubernetes/external-clusters/{cluster_id}/events"
        self._key = key
        self._opener = _opener()

    def report(self, report: Report, deadline: Deadline) -> Receipt:
        """Send a report, with retries until the deadline. Raises ReportError."""
        body = json.dumps(
            {"eventType": report.event_type, "nodeId": "", "providerId": report.provider_id}
        ).encode()
        attempts = 0
        keys = [self._key(False)]
        while True:
            attempts += 1
            answer = self._post(body, keys[-1], deadline)
            if answer.status // 100 == 2:  # noqa: PLR2004 - the class of success
                return Receipt(attempts, answer.request_id)
            if answer.status in _UNAUTHORISED and len(keys) == 1:
                keys.append(self._key(True))
                if keys[0] != keys[1]:
                    continue
            retryable = answer.status in (0, _TOO_MANY) or answer.status >= _SERVER_ERROR
            if not retryable or not deadline.pause(attempts, answer.retry_after):
                raise ReportError(_sentence(answer, attempts, self._url, keys))

    def _post(self, body: bytes, key: str, deadline: Deadline) -> _Answer:
        request = urllib.request.Request(  # noqa: S310 - the address is configuration
            self._events,
            data=body,
            headers={"X-API-Key": key, "Content-Type": "application/json"},
            method="POST",
        )
        timeout = max(1.0, min(ATTEMPT_SECONDS, deadline.left()))
        try:
            with self._opener.open(request, timeout=timeout) as answer:
                return _answer(answer.status, answer.headers, b"")
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error.headers, _body(error))
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise ReportError(
                    f"CAST AI did not get the report: {self._url}: {reason.verify_message}. "
                    "The key was not sent; api.url must be an address whose certificate an "
                    "authority of the system signed."
                ) from None
            # Only the type: http.client quotes the header that it refuses, which is the key.
            return _Answer(0, "", 0.0, type(reason).__name__)


def _opener() -> urllib.request.OpenerDirector:
    """Return urllib's opener without redirects, which would forward the key."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _body(error: urllib.error.HTTPError) -> bytes:
    try:
        return error.read(_ANSWER_LIMIT)
    except (OSError, HTTPException):
        return b""


def _answer(status: int, headers: Message, body: bytes) -> _Answer:
    retry_after = headers.get("Retry-After") or ""
    return _Answer(
        status=status,
        request_id=(headers.get("X-Castai-Request-Id") or "")[:_MESSAGE_LIMIT],
        retry_after=float(retry_after) if retry_after.isdecimal() else 0.0,
        message=_message(body),
    )


def _message(body: bytes) -> str:
    """Return the API's own message; a gateway's page is named and not quoted."""
    if not body.strip():
        return ""
    try:
        answer: Any = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        return "the answer is no JSON object"
    message = answer.get("message")
    return message if isinstance(message, str) else ""


def _sentence(answer: _Answer, attempts: int, url: str, keys: Iterable[str]) -> str:
    status = f"HTTP {answer.status}" if answer.status else "no answer"
    message = _without(answer.message, keys)[:_MESSAGE_LIMIT]
    request = _without(answer.request_id, keys)
    parts = [
        f"CAST AI did not accept the report: {status}",
        f", {message}" if message else "",
        f" after {attempts} attempt{'' if attempts == 1 else 's'}",
        f" [request id {request}]" if request else "",
        f". {_advice(answer.status, url)}",
    ]
    return "".join(parts)


def _advice(status: int, url: str) -> str:
    if status in _UNAUTHORISED:
        return (
            f"{url} does not accept the API key for this cluster: run `pulumi up` with a valid "
            "key, and check that api.url is the region of its account."
        )
    if status == _NOT_FOUND or status in _REDIRECTS:
        return (
            f"Check that {url} (api.url) is the API's address without a version, and that CAST AI "
            "still has the cluster (`pulumi refresh`)."
        )
    if status == 0:
        return f"Check that the function reaches {url}: its subnets, security groups and proxy."
    if status == _TOO_MANY or status >= _SERVER_ERROR:
        return "The service is busy or failing; Lambda repeats the event."
    return "The next `pulumi up` brings the current handler; report it if the error stays."


def _without(text: str, keys: Iterable[str]) -> str:
    for key in keys:
        text = text.replace(key, "***") if key else text
    return text
