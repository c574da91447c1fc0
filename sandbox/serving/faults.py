"""Request log and fault injection in front of a WSGI application.

What a request means and how a refusal looks are given by functions, so that the AWS and the
CAST AI servers share this. Requests under `/_sandbox/` are neither logged nor disturbed.
"""

import fnmatch
import io
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from werkzeug.test import run_wsgi_app
from werkzeug.wrappers import Request, Response

from sandbox.serving.http_server import WsgiApp

CONTROL = "/_sandbox/"
_FAULTS = CONTROL + "faults"
_REQUESTS = CONTROL + "requests"
_FAULT_KEYS = frozenset(
    {"throttle", "seed", "rules", "kill", "latency_seconds", "broken", "bucket"}
)
_BUCKET_KEYS = frozenset({"action", "rate", "burst"})
_RULE_KEYS = frozenset({"action", "status", "times", "after_effect", "code", "message"})
_KILL_KEYS = frozenset({"actions", "after", "pid", "writes_only"})


class Call(NamedTuple):
    """Action of a request and the principal that makes it."""

    service: str
    action: str
    write: bool
    principal: str
    """ARN, or who else asks; empty when nobody is named."""

    @property
    def name(self) -> str:
        """`service:action`, as policies and rules spell it."""
        return f"{self.service}:{self.action}"


NO_ANSWER = 0
"""Status of a rule that ends the connection without an answer."""
HALF_ANSWER = 206
"""Status of a rule that ends the connection within the answer."""


class UnclassifiedError(Exception):
    """The request is none that the server knows; its text is for the answer."""

    def __init__(
        self, message: str, code: str = "UnknownOperationException", status: int = 400
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class FaultsError(ValueError):
    """The requested faults are malformed."""


@dataclass(frozen=True)
class Refusal:
    """An answer in place of the application's."""

    status: int
    code: str
    message: str
    throttled: bool = False


_NO_ANSWER = Response(status=499)
"""Ends the connection; the status is what the log shows."""

Classify = Callable[[dict[str, Any], bytes], Call]
Render = Callable[[dict[str, Any], Call | None, Refusal], Response]


@dataclass
class Rule:
    """Refuses calls whose `service:action` fits the pattern `action`."""

    action: str
    status: int
    """NO_ANSWER and HALF_ANSWER end the connection instead; the latter is always after effect."""
    times: int | None = None
    """How often; None is always."""
    after_effect: bool = False
    """Carry the request out first, then answer the error: the caller cannot know."""
    code: str = "InternalFailure"
    message: str = "An internal error has occurred. (injected)"


@dataclass(frozen=True)
class Kill:
    """Ends the process group `pid` once request number `after` has been carried out."""

    after: int
    pid: int
    writes_only: bool = False
    actions: tuple[str, ...] = ("*",)
    """Patterns of `service:action`; only calls that fit one of them count."""

    def counts(self, call: Call) -> bool:
        """Whether a call is one of those that are counted."""
        fits = any(fnmatch.fnmatchcase(call.name, action) for action in self.actions)
        return fits and (call.write or not self.writes_only)


@dataclass
class Bucket:
    """Throttles calls that fit `action`: `rate` tokens a second, at most `burst` of them."""

    action: str
    rate: float
    burst: float
    _tokens: float | None = None
    _filled: float = 0.0

    def takes(self, call: Call, now: float) -> bool:
        """Return True if the call may pass; it then takes a token."""
        if not fnmatch.fnmatchcase(call.name, self.action):
            return True
        tokens = self.burst if self._tokens is None else self._tokens
        tokens = min(self.burst, tokens + (now - self._filled) * self.rate)
        self._filled = now
        self._tokens = tokens - 1 if tokens >= 1 else tokens
        return tokens >= 1


@dataclass
class _Plan:
    throttle: float = 0.0
    latency_seconds: float = 0.0
    """Time before every answer; the request is carried out first."""
    broken: float = 0.0
    """Share of the reads whose connection ends without an answer."""
    rules: list[Rule] = field(default_factory=list)
    kill: Kill | None = None
    bucket: Bucket | None = None
    dice: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311
    counted: int = 0


class Faults:
    """The middleware: `GET/DELETE /_sandbox/requests` and `PUT/DELETE /_sandbox/faults`.

    `own` names further keys of the fault document; `changed` receives their values and the
    seed at every change, an empty mapping when the faults are taken away. `record` names a file
    that receives the log too, a line per request, and outlives the process.
    """

    def __init__(
        self,
        app: WsgiApp,
        classify: Classify,
        render: Render,
        *,
        own: Iterable[str] = (),
        changed: Callable[[Mapping[str, Any]], None] | None = None,
        record: Path | None = None,
    ) -> None:
        self._app = app
        self._classify = classify
        self._render = render
        self._own = frozenset(own)
        self._changed = changed or (lambda _: None)
        self._record = record
        self._lock = threading.Lock()
        self._log: list[dict[str, Any]] = []
        self._plan = _Plan()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer a control request, or pass the request on with its faults."""
        path = environ.get("PATH_INFO", "")
        if path in (_FAULTS, _REQUESTS):
            return self._control(Request(environ))(environ, start_response)
        if path.startswith(CONTROL):
            return self._app(environ, start_response)
        response = self._answer(environ)
        if response is _NO_ANSWER:
            raise ConnectionAbortedError
        return response(environ, start_response)

    def _answer(self, environ: dict[str, Any]) -> Response:
        request = Request(environ)
        body = request.get_data(cache=True, parse_form_data=False)
        try:
            call = self._classify(environ, body)
        except UnclassifiedError as error:
            refusal = Refusal(error.status, error.code, str(error))
            unknown = Call("unknown", "Unknown", write=False, principal="")
            self._note(unknown, error.status, "unknown")
            return self._render(environ, None, refusal)
        refusal, after_effect, kill = self._decide(call)
        forwards = refusal is None or after_effect
        response = self._forward(environ, body) if forwards else _NO_ANSWER
        if refusal is not None:
            response = self._refused(environ, call, refusal, response)
        fault = None if refusal is None else ("throttle" if refusal.throttled else "rule")
        if refusal is None and self._breaks(call):
            fault, response = "broken", _NO_ANSWER
        self._note(call, response.status_code, fault)
        time.sleep(self._plan.latency_seconds)
        if kill is not None:
            os.killpg(kill.pid, signal.SIGKILL)
        return response

    def _forward(self, environ: dict[str, Any], body: bytes) -> Response:
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        chunks, status, headers = run_wsgi_app(self._app, environ)
        return Response(b"".join(chunks), status=status, headers=headers)

    def _refused(
        self, environ: dict[str, Any], call: Call, refusal: Refusal, response: Response
    ) -> Response:
        if refusal.status == NO_ANSWER:
            return _NO_ANSWER
        if refusal.status == HALF_ANSWER:
            return _cut(response)
        return self._render(environ, call, refusal)

    def _breaks(self, call: Call) -> bool:
        with self._lock:
            plan = self._plan
            return bool(plan.broken) and not call.write and plan.dice.random() < plan.broken

    def _decide(self, call: Call) -> tuple[Refusal | None, bool, Kill | None]:
        with self._lock:
            plan = self._plan
            kill = plan.kill
            if kill is not None and kill.counts(call):
                plan.counted += 1
            due = kill if kill is not None and plan.counted == kill.after else None
            if due is not None:
                plan.kill = None
            for rule in plan.rules:
                if rule.times == 0 or not fnmatch.fnmatchcase(call.name, rule.action):
                    continue
                if rule.times is not None:
                    rule.times -= 1
                carried_out = rule.after_effect or rule.status == HALF_ANSWER
                return Refusal(rule.status, rule.code, rule.message), carried_out, due
            bucket = plan.bucket
            empty = bucket is not None and not bucket.takes(call, time.monotonic())
            if empty or (plan.throttle and plan.dice.random() < plan.throttle):
                return Refusal(400, "Throttling", "Rate exceeded", throttled=True), False, due
            return None, False, due

    def _note(self, call: Call, status: int, fault: str | None) -> None:
        entry = {**call._asdict(), "status": status, "fault": fault}
        with self._lock:
            self._log.append(entry)
            if self._record is not None:
                with self._record.open("a") as file:
                    file.write(json.dumps(entry) + "\n")

    def requests(self) -> dict[str, Any]:
        """Every request since the start or the last `DELETE`, and how many of each kind."""
        with self._lock:
            writes = sum(entry["write"] for entry in self._log)
            return {"reads": len(self._log) - writes, "writes": writes, "log": list(self._log)}

    def set_faults(self, document: Mapping[str, Any]) -> None:
        """Replace all faults; counting and the throttle's dice start anew."""
        plan, own = _plan(document, self._own)
        self._changed({**own, "seed": document.get("seed", 0)} if document else {})
        with self._lock:
            self._plan = plan

    def _control(self, request: Request) -> Response:
        key = (request.path, request.method)
        if key == (_REQUESTS, "GET"):
            return json_response(self.requests())
        if key == (_REQUESTS, "DELETE"):
            with self._lock:
                self._log.clear()
            return json_response({})
        if key == (_FAULTS, "DELETE"):
            self.set_faults({})
            return json_response({})
        if key == (_FAULTS, "PUT"):
            try:
                self.set_faults(request.get_json(force=True))
            except FaultsError as error:
                return json_response({"message": str(error)}, 400)
            return json_response({})
        return json_response({"message": f"{request.method} {request.path}: no such control"}, 405)


def _cut(response: Response) -> Response:
    """End the connection after half of an answer."""
    body = response.get_data()

    def half() -> Iterator[bytes]:
        yield body[: len(body) // 2]
        raise ConnectionAbortedError

    headers = {**response.headers, "Content-Length": str(len(body))}
    return Response(half(), response.status, headers)


def json_response(value: Any, status: int = 200) -> Response:
    """`value` as a JSON answer."""
    return Response(json.dumps(value), status=status, content_type="application/json")


def _plan(document: Mapping[str, Any], own: frozenset[str]) -> tuple[_Plan, dict[str, Any]]:
    _require_keys("faults", document, _FAULT_KEYS | own)
    throttle = _number(document, "throttle", 1, "a fraction from 0 to 1")
    broken = _number(document, "broken", 1, "a fraction from 0 to 1")
    latency = _number(document, "latency_seconds", 60, "seconds from 0 to 60")
    rules = []
    for rule in document.get("rules", []):
        _require_keys("rule", rule, _RULE_KEYS)
        if "action" not in rule or "status" not in rule:
            raise FaultsError(f"rule: found {rule!r}, expected at least action and status")
        rules.append(Rule(**rule))
    plan = _Plan(
        throttle,
        latency,
        broken,
        rules,
        _kill(document.get("kill")),
        _bucket(document.get("bucket")),
        random.Random(document.get("seed", 0)),  # noqa: S311 - repeatable by design
    )
    return plan, {key: document[key] for key in own if key in document}


def _number(document: Mapping[str, Any], key: str, most: float, allowed: str) -> float:
    value = document.get(key, 0)
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not numeric or not 0 <= value <= most:
        raise FaultsError(f"{key}: found {value!r}, expected {allowed}")
    return value


def _kill(document: Mapping[str, Any] | None) -> Kill | None:
    if document is None:
        return None
    _require_keys("kill", document, _KILL_KEYS)
    after, pid = document.get("after"), document.get("pid")
    if not isinstance(after, int) or after < 1:
        raise FaultsError(f"kill.after: found {after!r}, expected a count from 1")
    if not isinstance(pid, int) or pid <= 1 or pid == os.getpgrp():
        raise FaultsError(
            f"kill.pid: found {pid!r}, expected the process group of a program under test, "
            "never 0, 1 or the sandbox's own"
        )
    actions = document.get("actions", ["*"])
    if not isinstance(actions, list) or not all(isinstance(one, str) for one in actions):
        raise FaultsError(f"kill.actions: found {actions!r}, expected a list of patterns")
    return Kill(after, pid, bool(document.get("writes_only", False)), tuple(actions))


def _bucket(document: Mapping[str, Any] | None) -> Bucket | None:
    if document is None:
        return None
    _require_keys("bucket", document, _BUCKET_KEYS)
    for key in ("rate", "burst"):
        if _number(document, key, 1000, "a number above 0 and up to 1000") == 0:
            raise FaultsError(f"bucket.{key}: found 0, expected a number above 0 and up to 1000")
    return Bucket(str(document.get("action", "*")), document["rate"], document["burst"])


def _require_keys(what: str, value: Any, allowed: frozenset[str]) -> None:
    if not isinstance(value, Mapping):
        raise FaultsError(f"{what}: found {type(value).__name__}, expected an object")
    if unknown := sorted(set(value) - allowed):
        raise FaultsError(
            f"{what}: unknown {', '.join(unknown)}; known: {', '.join(sorted(allowed))}"
        )
