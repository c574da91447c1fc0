"""Carries out on a real API server what `aws_auth_steps` decides."""

import random
import time
from collections.abc import Callable, Collection, Generator
from typing import TYPE_CHECKING, Any, TypeVar

from castai_stack.access.entries import NAME, NAMESPACE, AwsAuthError
from castai_stack.access.guards import Caller, caller_arn
from castai_stack.access.protocol import (
    COPY,
    AskCaller,
    Create,
    Decision,
    Delete,
    Object,
    Order,
    Outcome,
    Patch,
    Read,
    Request,
    Seen,
    Send,
    Step,
    Wait,
)
from castai_stack.access.steps import carry_out
from castai_stack.kube import connection

if TYPE_CHECKING:
    import lightkube


_LABELS = {"app.kubernetes.io/managed-by": "castai-eks"}
_FIRST_WAIT_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 2.0
_READ_ATTEMPTS = 4
_BUSY = frozenset({429, 500, 502, 503, 504})
_GONE = 404
_CONFLICT = 409
_FORBIDDEN = 403

T = TypeVar("T")


def write(client: "lightkube.Client", order: Order, overrides: Collection[str]) -> Outcome:
    """Put our entry into the map, or take it out; raises AwsAuthError with the whole story."""
    return _driven(client, carry_out(order, overrides))


def look(client: "lightkube.Client") -> Seen:
    """Read the copy and the map."""
    copy = _read(client, COPY)
    return Seen(copy, _read(client, NAME))


def send(client: "lightkube.Client", decision: Decision) -> bool:
    """Carry out one decision as it is; False when somebody wrote in between."""
    if not all(_sent(client, step, dry=True) for step in decision.steps if step.name == NAME):
        return False
    return all(_sent(client, step, dry=False) for step in decision.steps)


def ask_caller(client: "lightkube.Client") -> Caller:
    """Ask the API server who we are; on EKS it knows the ARN.

    Source: kubernetes-sigs/aws-iam-authenticator, pkg/server/server.go (extra: arn, canonicalArn)
    """
    import lightkube  # noqa: PLC0415 - heavy, and not needed to compare
    from lightkube.resources.authentication_v1 import SelfSubjectReview  # noqa: PLC0415

    asked = SelfSubjectReview(apiVersion="authentication.k8s.io/v1", kind="SelfSubjectReview")
    try:
        review = _patiently(lambda: client.create(asked))
    except lightkube.ApiError:
        return Caller("")
    info = review.status.userInfo if review.status else None
    if info is None:
        return Caller("")
    extra = {key.lower(): values for key, values in (info.extra or {}).items()}
    for candidate in (*extra.get("canonicalarn", []), *extra.get("arn", []), info.username or ""):
        if candidate.startswith("arn:"):
            return Caller(caller_arn(candidate), tuple(info.groups or ()))
    return Caller("", tuple(info.groups or ()))


def _driven(client: "lightkube.Client", procedure: Generator[Request, Any, Outcome]) -> Outcome:
    answer: Any = None
    while True:
        try:
            request = procedure.send(answer)
        except StopIteration as finished:
            return finished.value
        match request:
            case Read(name):
                answer = _read(client, name)
            case AskCaller():
                answer = ask_caller(client)
            case Send(step, dry):
                answer = _sent(client, step, dry=dry)
            case Wait(attempt):
                longest = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2**attempt)
                time.sleep(random.uniform(0, longest))  # noqa: S311 - only spreads the writers
                answer = None


def _patiently(ask: Callable[[], T]) -> T:
    """Ask again after an answer, or none, that says to try later."""
    import httpx2  # noqa: PLC0415
    import lightkube  # noqa: PLC0415

    for attempt in range(_READ_ATTEMPTS):
        try:
            return ask()
        except lightkube.ApiError as error:
            if error.status.code not in _BUSY or attempt == _READ_ATTEMPTS - 1:
                raise
        except httpx2.TransportError:
            if attempt == _READ_ATTEMPTS - 1:
                raise
        time.sleep(_FIRST_WAIT_SECONDS * 4**attempt)
    raise AssertionError("the last attempt returns or raises")


def _read(client: "lightkube.Client", name: str) -> Object | None:
    import lightkube  # noqa: PLC0415
    from lightkube.resources.core_v1 import ConfigMap  # noqa: PLC0415

    try:
        found = _patiently(lambda: client.get(ConfigMap, name, namespace=NAMESPACE))
    except lightkube.ApiError as error:
        if error.status.code == _GONE:
            return None
        raise _failed("read", name, error) from None
    except Exception as error:  # noqa: BLE001 - unreachable, or a login that fails
        raise _failed("read", name, error) from None
    metadata = found.metadata
    if metadata is None or metadata.resourceVersion is None:
        raise AwsAuthError(f"{NAMESPACE}/{name}: the API server sent it without a version")
    return Object(
        version=metadata.resourceVersion,
        data=found.data or {},
        annotations=metadata.annotations or {},
        binary=bool(found.binaryData),
        last_writer=_last_writer(metadata.managedFields or []),
    )


def _last_writer(fields: list[Any]) -> str:
    others = [f for f in fields if f.manager != connection.FIELD_MANAGER and f.time]
    if not others:
        return ""
    latest = max(others, key=lambda f: f.time)
    return f"{latest.manager!r} at {latest.time:%Y-%m-%dT%H:%M:%SZ}"


def _sent(client: "lightkube.Client", step: Step, *, dry: bool) -> bool:
    import httpx2  # noqa: PLC0415
    import lightkube  # noqa: PLC0415

    try:
        _carry(client, step, dry=dry)
    except lightkube.ApiError as error:
        code = error.status.code
        gone = code == _GONE and not isinstance(step, Create)
        if gone or code == _CONFLICT or code in _BUSY:
            return False
        raise _failed("write", step.name, error) from None
    except httpx2.TransportError:
        return False  # perhaps it was written: the next look tells
    except Exception as error:  # noqa: BLE001
        raise _failed("write", step.name, error) from None
    return True


def _carry(client: "lightkube.Client", step: Step, *, dry: bool) -> None:
    from lightkube.models.meta_v1 import ObjectMeta  # noqa: PLC0415
    from lightkube.resources.core_v1 import ConfigMap  # noqa: PLC0415
    from lightkube.types import PatchType  # noqa: PLC0415

    match step:
        case Create(name, data, annotations):
            made = ConfigMap(
                apiVersion="v1",
                kind="ConfigMap",
                metadata=ObjectMeta(
                    name=name,
                    namespace=NAMESPACE,
                    labels=_LABELS if name == COPY else None,
                    annotations={k: v for k, v in annotations.items() if v is not None} or None,
                ),
                data=dict(data),
            )
            client.create(made, dry_run=dry)
        case Patch(name, version, data, annotations):
            # A merge patch that carries a version is refused with 409 when another is current.
            patch = {
                "metadata": {"resourceVersion": version, "annotations": dict(annotations)},
                "data": dict(data),
            }
            client.patch(
                ConfigMap,
                name,
                patch,
                namespace=NAMESPACE,
                patch_type=PatchType.MERGE,
                dry_run=dry,
            )
        case Delete(name, version):
            connection.delete_unchanged(client, ConfigMap, name, NAMESPACE, version, dry_run=dry)


def _failed(did: str, name: str, error: Exception) -> AwsAuthError:
    code = getattr(getattr(error, "status", None), "code", None)
    needed = (
        f"; whoever runs this needs get, create, patch and delete on the ConfigMaps {NAME} and "
        f"{COPY} in {NAMESPACE}"
        if code == _FORBIDDEN
        else ""
    )
    return AwsAuthError(f"cannot {did} {NAMESPACE}/{name}: {connection.explain(error)}{needed}")
