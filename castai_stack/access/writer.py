"""Carry out the decisions of `steps` on a real API server."""

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
    Order,
    Outcome,
    Patch,
    Read,
    Request,
    Send,
    Snapshot,
    Snapshots,
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
    """Carry out an order on the map.

    Raises AwsAuthError, with a message for a user, when it is refused or fails.
    """
    return _drive(client, carry_out(order, overrides))


def look(client: "lightkube.Client") -> Snapshots:
    """Read the copy and the map."""
    copy = _read(client, COPY)
    return Snapshots(copy, _read(client, NAME))


def send(client: "lightkube.Client", decision: Decision) -> bool:
    """Carry out one decision as it is; False when another writer came in between."""
    if not all(_send(client, step, dry=True) for step in decision.steps if step.name == NAME):
        return False
    return all(_send(client, step, dry=False) for step in decision.steps)


def ask_caller(client: "lightkube.Client") -> Caller:
    """Ask the API server for the caller; on EKS it knows the ARN.

    Source: kubernetes-sigs/aws-iam-authenticator, pkg/server/server.go (extra: arn, canonicalArn)
    """
    import lightkube  # noqa: PLC0415 - heavy, and not needed to compare
    from lightkube.resources.authentication_v1 import SelfSubjectReview  # noqa: PLC0415

    request = SelfSubjectReview(apiVersion="authentication.k8s.io/v1", kind="SelfSubjectReview")
    try:
        review = _with_retries(lambda: client.create(request))
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


def _drive(client: "lightkube.Client", procedure: Generator[Request, Any, Outcome]) -> Outcome:
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
                answer = _send(client, step, dry=dry)
            case Wait(attempt):
                longest = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2**attempt)
                time.sleep(random.uniform(0, longest))  # noqa: S311 - spreads the writers
                answer = None


def _with_retries(ask: Callable[[], T]) -> T:
    """Repeat a read after a transient error."""
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


def _read(client: "lightkube.Client", name: str) -> Snapshot | None:
    import lightkube  # noqa: PLC0415
    from lightkube.resources.core_v1 import ConfigMap  # noqa: PLC0415

    try:
        config_map = _with_retries(lambda: client.get(ConfigMap, name, namespace=NAMESPACE))
    except lightkube.ApiError as error:
        if error.status.code == _GONE:
            return None
        raise _failed("read", name, error) from None
    except Exception as error:  # noqa: BLE001 - unreachable, or a login that fails
        raise _failed("read", name, error) from None
    metadata = config_map.metadata
    if metadata is None or metadata.resourceVersion is None:
        raise AwsAuthError(f"{NAMESPACE}/{name}: the API server returned it without a version")
    return Snapshot(
        version=metadata.resourceVersion,
        data=config_map.data or {},
        annotations=metadata.annotations or {},
        binary=bool(config_map.binaryData),
        last_writer=_last_writer(metadata.managedFields or []),
    )


def _last_writer(fields: list[Any]) -> str:
    others = [f for f in fields if f.manager != connection.FIELD_MANAGER and f.time]
    if not others:
        return ""
    latest = max(others, key=lambda f: f.time)
    return f"{latest.manager!r} at {latest.time:%Y-%m-%dT%H:%M:%SZ}"


def _send(client: "lightkube.Client", step: Step, *, dry: bool) -> bool:
    import httpx2  # noqa: PLC0415
    import lightkube  # noqa: PLC0415

    try:
        _execute(client, step, dry=dry)
    except lightkube.ApiError as error:
        code = error.status.code
        target_missing = code == _GONE and not isinstance(step, Create)
        if target_missing or code == _CONFLICT or code in _BUSY:
            return False
        raise _failed("write", step.name, error) from None
    except httpx2.TransportError:
        return False  # the write may have reached the server: the next read shows it
    except Exception as error:  # noqa: BLE001
        raise _failed("write", step.name, error) from None
    return True


def _execute(client: "lightkube.Client", step: Step, *, dry: bool) -> None:
    from lightkube.models.meta_v1 import ObjectMeta  # noqa: PLC0415
    from lightkube.resources.core_v1 import ConfigMap  # noqa: PLC0415
    from lightkube.types import PatchType  # noqa: PLC0415

    match step:
        case Create(name, data, annotations):
            config_map = ConfigMap(
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
            client.create(config_map, dry_run=dry)
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


def _failed(verb: str, name: str, error: Exception) -> AwsAuthError:
    code = getattr(getattr(error, "status", None), "code", None)
    needed = (
        f"; this caller needs get, create, patch and delete on the ConfigMaps {NAME} and "
        f"{COPY} in {NAMESPACE}"
        if code == _FORBIDDEN
        else ""
    )
    return AwsAuthError(f"cannot {verb} {NAMESPACE}/{name}: {connection.explain(error)}{needed}")
