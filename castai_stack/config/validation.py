"""Settings out of a raw object: every problem at once, each with its key, finding and rule."""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from castai_stack import arn
from castai_stack.access.modes import unread_under
from castai_stack.config.model import StackConfig


class SettingsError(ValueError):
    """The settings are unusable; the message lists every problem, a line each."""


def validate(raw: object, key: str, *, show_values: bool = True) -> StackConfig:
    """Turn the `castai` object into settings; `key` is its name in messages.

    Raises SettingsError with all problems: the key path, what was found and what is allowed.
    A value is never shown when `show_values` is off or when its key is unknown.
    """
    try:
        settings = StackConfig.model_validate(raw)
    except ValidationError as error:
        found = error.errors(include_url=False)
        lines = [_line(problem, show_values=show_values) for problem in found]
        lines += _disagreements(_repaired(raw, found))
        raise SettingsError(_message(key, lines)) from None
    if lines := _disagreements(settings):
        raise SettingsError(_message(key, lines))
    return settings


def _message(key: str, lines: list[str]) -> str:
    return "Invalid stack configuration:\n" + "\n".join(f"  {key}.{line}" for line in lines)


_ALLOWED: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda _: "required",
    "string_type": lambda _: "a text",
    "bool_type": lambda _: "true or false",
    "int_type": lambda _: "a whole number",
    "list_type": lambda _: "a list",
    "dict_type": lambda _: "a mapping",
    "model_type": lambda _: "a mapping",
    "literal_error": lambda c: str(c["expected"]),
    "greater_than_equal": lambda c: f"{c['ge']} or more",
    "less_than_equal": lambda c: f"{c['le']} or less",
    "text": lambda c: str(c["allowed"]),
    "private_text": lambda c: str(c["allowed"]),
}
_SHOWN = 60


def _line(problem: ErrorDetails, *, show_values: bool) -> str:
    path = ".".join(_place(problem)) or "(the whole object)"
    kind, value = problem["type"], problem["input"]
    if kind == "extra_forbidden":
        return f"{path}: unknown key; compare the table in the README"
    allowed = _ALLOWED.get(kind, lambda _: problem["msg"])(problem.get("ctx", {}))
    if kind == "missing":
        return f"{path}: {allowed}, and not given"
    shown = show_values and kind != "private_text"
    hint = ""
    if kind == "string_type" and isinstance(value, int | float):
        read_as = "true or false" if isinstance(value, bool) else "a number"
        hint = f"; YAML read {read_as}, write it in quotes"
    return f"{path}: found {_found(value, show_values=shown)}; allowed: {allowed}{hint}"


def _place(problem: ErrorDetails) -> tuple[str, ...]:
    """Return where a problem is; pydantic ends the place of a wrong key by a word of its own."""
    place = tuple(map(str, problem["loc"]))
    return place[:-1] if place[-1:] == ("[key]",) else place


def _found(value: object, *, show_values: bool) -> str:
    if not show_values or not isinstance(value, str | int | float | None):
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"


_REQUIRED = {"name": "placeholder", "region": "us-east-1", "accountId": "000000000000"}


def _repaired(raw: object, found: list[ErrorDetails]) -> StackConfig | None:
    """Return the settings without their broken values, to see what else disagrees."""
    if not isinstance(raw, dict):
        return None
    bad = {_place(problem) for problem in found}
    kept = _without(raw, bad, ())
    cluster = kept.get("cluster")
    kept["cluster"] = {**_REQUIRED, **(cluster if isinstance(cluster, dict) else {})}
    try:
        return StackConfig.model_validate(kept)
    except ValidationError:
        return None


def _without(node: Any, bad: set[tuple[str, ...]], at: tuple[str, ...]) -> Any:
    if isinstance(node, dict):
        inside = {str(k): (*at, str(k)) for k in node}
        return {
            k: _without(v, bad, inside[str(k)])
            for k, v in node.items()
            if inside[str(k)] not in bad
        }
    if isinstance(node, list):
        return [
            _without(v, bad, (*at, str(i))) for i, v in enumerate(node) if (*at, str(i)) not in bad
        ]
    return node


def _disagreements(settings: StackConfig | None) -> list[str]:
    if settings is None:
        return []
    rules = (_registration, _reach, _boundaries, _partitions, _tags)
    return list(chain.from_iterable(rule(settings) for rule in rules))


_RESERVED_TAG_PREFIXES = ("aws:", "cast:", "castai-eks:", "kubernetes.io/")
_MAXIMUM_TAGS = 40


def _registration(settings: StackConfig) -> Iterator[str]:
    api, mode = settings.api, settings.credentials.mode
    if api.register_cluster:
        if api.cluster_id is not None:
            yield (
                "api.clusterId: given while api.register is true; "
                "remove it, or set api.register to false"
            )
        if api.principal_arn is not None:
            yield (
                "api.principalArn: given while api.register is true; "
                "remove it, CAST AI's API answers it"
            )
        return
    if api.cluster_id is None:
        yield (
            "api.clusterId: not given while api.register is false; "
            "give the id that the CAST AI console shows, or let this program register"
        )
    if mode == "role" and api.principal_arn is None:
        yield (
            "api.principalArn: not given while api.register is false and credentials.mode is role; "
            "give CAST AI's user that the console shows"
        )


def _reach(settings: StackConfig) -> Iterator[str]:
    cluster = settings.cluster
    if cluster.kubeconfig == "from-eks" and cluster.context is not None:
        yield (
            "cluster.context: given while cluster.kubeconfig is from-eks, which has one context; "
            "remove it, or give a kubeconfig"
        )
    unread = unread_under(settings.access.mode)
    if unread is not None and cluster.authentication_mode == unread:
        yield (
            f"access.mode: found '{settings.access.mode}' while cluster.authenticationMode is "
            f"'{unread}', under which the cluster does not read it; set access.mode to auto"
        )


def _boundaries(settings: StackConfig) -> Iterator[str]:
    iam = settings.iam
    if settings.permissions != "scoped" or not iam.manage_node_role:
        return
    if not iam.node_boundary and iam.permissions_boundary_arn is None:
        yield (
            "iam.manageNodeRole: found true without a boundary for the role that CAST AI may "
            "create; set iam.nodeBoundary to true, give iam.permissionsBoundaryArn, or set "
            "iam.manageNodeRole to false"
        )


def _partitions(settings: StackConfig) -> Iterator[str]:
    expected = arn.partition(settings.cluster.region)
    for path, value in _arns(settings):
        found = value.split(":")[1]
        if found != expected:
            yield (
                f"{path}: found an ARN of partition {found}; "
                f"allowed: {expected}, where region {settings.cluster.region} is"
            )


def _tags(settings: StackConfig) -> Iterator[str]:
    for tag in settings.tags:
        if tag.lower().startswith(_RESERVED_TAG_PREFIXES):
            yield (
                f"tags.{tag}: the prefix is reserved; "
                f"allowed: keys that begin with none of {', '.join(_RESERVED_TAG_PREFIXES)}"
            )
    if len(settings.tags) > _MAXIMUM_TAGS:
        yield f"tags: found {len(settings.tags)} tags; allowed: {_MAXIMUM_TAGS}"


def _arns(settings: StackConfig) -> Iterator[tuple[str, str]]:
    """Every ARN of the operator's own account, with its key path."""
    own = {
        "iam.permissionsBoundaryArn": settings.iam.permissions_boundary_arn,
        "agent.roleArn": settings.agent.role_arn,
        "spot.alarmTopicArn": settings.spot.alarm_topic_arn,
        **{f"iam.kmsKeyArns.{i}": key for i, key in enumerate(settings.iam.kms_key_arns)},
    }
    return ((path, value) for path, value in own.items() if value is not None)
