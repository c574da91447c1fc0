"""CAST AI's events endpoint: one call, tried again while the service is busy or out of order."""

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
"""Longest wait for one answer; a silent server must leave time for another attempt."""

_TOO_MANY = 429
_UNAUTHORISED = (401, 403)
_SERVER_ERROR = 500
_ANSWER_LIMIT = 4096
_MESSAGE_LIMIT = 300


class ReportError(Exception):
    """CAST AI did not take the report; the text never holds the key."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """How the report went."""

    attempts: int
    request_id: str
    """CAST AI's own, for its support."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    request_id: str
    retry_after: float
    message: str


class Castai:
    """The part of CAST AI's API that takes cloud events.

    `POST /v1/kubernetes/external-clusters/{id}/events`, fields as in castai/spot-handler,
    `internal/castai/types.go`. `nodeId` is CAST AI's own id of a node it made, which EC2 does
    not know; an empty one is what the DaemonSet sends for other nodes, `providerId` tells
    which it is. `nodeState` is left out, as there.
    """

    def __init__(self, url: str, cluster_id: str, key: Callable[[bool], str]) -> None:
        """`key` yields the API key; with True, after a refusal, a fresh one if it can."""
        self._events = f"{url.rstrip('/')}/v1/kubernetes/external-clusters/{cluster_id}/events"
        self._key = key
        self._opener = _opener()

    def report(self, report: Report, deadline: Deadline) -> Receipt:
        """Tell CAST AI, again until the deadline if need be, or raise a ReportError."""
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
            passing = answer.status in (0, _TOO_MANY) or answer.status >= _SERVER_ERROR
            if not passing or not deadline.pause(attempts, answer.retry_after):
                raise ReportError(_sentence(answer, attempts, key))

    def _post(self, body: bytes, key: str, deadline: Deadline) -> _Answer:
        request = urllib.request.Request(  # noqa: S310 - the address is configuration
            self._events,
            data=body,
            headers={"X-API-Key": key, "Content-Type": "application/json"},
            method="POST",
        )
        patience = max(1.0, min(ATTEMPT_SECONDS, deadline.left()))
        try:
            with self._opener.open(request, timeout=patience) as answer:
                return _answer(answer.status, answer.headers, b"")
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error.headers, _beginning(error))
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise ReportError(f"{self._events}: {reason}; nothing was sent") from None
            return _Answer(0, "", 0.0, f"no answer ({type(reason).__name__})")


def _opener() -> urllib.request.OpenerDirector:
    """Open addresses as urllib does, but for redirects: they would carry the key away."""
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


def _beginning(error: urllib.error.HTTPError) -> bytes:
    try:
        return error.read(_ANSWER_LIMIT)
    except (OSError, HTTPException):
        return b""


def _answer(status: int, headers: Message, body: bytes) -> _Answer:
    wanted = headers.get("Retry-After") or ""
    return _Answer(
        status=status,
        request_id=(headers.get("X-Castai-Request-Id") or "")[:_MESSAGE_LIMIT],
        retry_after=float(wanted) if wanted.isdecimal() else 0.0,
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
    said = answer.message.replace(key, "(key)") if key else answer.message
    status = f"status {answer.status}" if answer.status else "unreachable"
    return (
        f"CAST AI did not take the report: {status}, {said[:_MESSAGE_LIMIT] or 'no message'}; "
        f"attempts {attempts}, request id {answer.request_id or 'unknown'}"
    )
