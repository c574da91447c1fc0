"""Client of CAST AI's events endpoint, with retries while the service is busy or failing."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
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
        self._events = f"{url.rstrip('/')}/v1/kubernetes/external-clusters/{cluster_id}/events"
        self._key = key
        self._opener = _opener()

    def report(self, report: Report, deadline: Deadline) -> Receipt:
        """Send a report, with retries until the deadline. Raises ReportError."""
        body = json.dumps(
            {"eventType": report.event_type, "nodeId": "", "providerId": report.provider_id}
        ).encode()
        attempts = 0
        key = self._key(False)
        renewed = False
        while True:
            attempts += 1
            answer = self._post(body, key, deadline)
            if answer.status // 100 == 2:  # noqa: PLR2004 - the class of success
                return Receipt(attempts, answer.request_id)
            if answer.status in _UNAUTHORISED and not renewed:
                renewed = True
                fresh = self._key(True)
                if fresh != key:
                    key = fresh
                    continue
            retryable = answer.status in (0, _TOO_MANY) or answer.status >= _SERVER_ERROR
            if not retryable or not deadline.pause(attempts, answer.retry_after):
                raise ReportError(_sentence(answer, attempts, key))

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
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise ReportError(f"{self._events}: {reason}; nothing was sent") from None
            return _Answer(0, "", 0.0, f"no answer ({type(reason).__name__})")


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
    try:
        answer: Any = json.loads(body)
    except ValueError:
        return ""
    message = answer.get("message") if isinstance(answer, dict) else None
    return message if isinstance(message, str) else ""


def _sentence(answer: _Answer, attempts: int, key: str) -> str:
    message = answer.message.replace(key, "(key)") if key else answer.message
    status = f"status {answer.status}" if answer.status else "unreachable"
    return (
        f"CAST AI did not accept the report: {status}, "
        f"{message[:_MESSAGE_LIMIT] or 'no message'}; "
        f"attempts {attempts}, request id {answer.request_id or 'unknown'}"
    )
