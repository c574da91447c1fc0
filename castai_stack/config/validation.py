"""Settings of a raw object: all problems at once, each with its key, finding and rule."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import chain
from typing import Any

from pydantic import ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from castai_stack import arn
from castai_stack.access.modes import unread_under
from castai_stack.config.adoption_rules import adoption_problems
from castai_stack.config.automation_rules import automation_problems
from castai_stack.config.model import StackConfig


class SettingsError(ValueError):
    """The settings are unusable; the message lists every problem, one on each line."""


class InvalidSettingsError(SettingsError):
    """Values of settings are unusable."""

    def __init__(self, key: str, lines: list[str]) -> None:
        """Each of `lines` begins with the path of a key within the object `key`."""
        self.lines = lines
        problems = "\n".join(f"  {key}.{line}" for line in lines)
        super().__init__(f"Invalid stack configuration:\n{problems}")


def validate(raw: object, key: str, *, show_values: bool = True) -> StackConfig:
    """Validate the `castai` object; `key` is its name in messages.

    Raises InvalidSettingsError with all problems: the key path, what was found and what is allowed.
    A value is never shown when `show_values` is off or when its key is unknown.
    """
    try:
        # By alias only: a stack file has one spelling of each key, that of docs/configuration.md.
        settings = StackConfig.model_validate(raw, by_alias=True, by_name=False)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        lines = [_line(problem, raw, show_values=show_values) for problem in errors]
        lines += _disagreements(_repaired(raw, errors))
        raise InvalidSettingsError(key, lines) from None
    if lines := _disagreements(settings):
        raise InvalidSettingsError(key, lines)
    return settings


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
_HIDDEN = {"private_text", "model_type", "dict_type", "list_type"}
"""Kinds of problems whose value may be a secret: a password, or a text where a group belongs."""


def _line(problem: ErrorDetails, raw: object, *, show_values: bool) -> str:
    place, kind, value = _place(problem), problem["type"], problem["input"]
    is_default = kind == "below_sibling" and not _is_given(raw, place)
    if is_default:
        # pydantic names a field whose value is its default by its attribute.
        place = (*place[:-1], to_camel(place[-1]))
    path = ".".join(place) or "(the whole object)"
    if kind == "extra_forbidden":
        return f"{path}: unknown key; docs/configuration.md lists the keys"
    context = problem.get("ctx", {})
    if kind == "below_sibling":
        sibling = (*place[:-1], str(context["sibling"]))
        least = [str(context["least"])] if show_values else []
        least += [] if _is_given(raw, sibling) else ["the default"]
        return (
            f"{path}: found {_value_text(value, show_values=show_values)}"
            f"{', the default' if is_default else ''}; allowed: no less than "
            f"{'.'.join(sibling)}{_bracketed(least)}"
        )
    allowed = _ALLOWED.get(kind, lambda _: problem["msg"])(context)
    if kind == "missing":
        return f"{path}: {allowed}, and not given"
    if kind == "string_type" and isinstance(value, bool | int | float | date):
        # YAML reads 012345670123 as an octal number, so the value is not what the file says.
        return f"{path}: found {_yaml_type(value)} without quotes; allowed: {allowed}, in quotes"
    is_public = show_values and kind not in _HIDDEN
    return f"{path}: found {_value_text(value, show_values=is_public)}; allowed: {allowed}"


def _bracketed(remarks: list[str]) -> str:
    return f" ({', '.join(remarks)})" if remarks else ""


def _yaml_type(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    return "a date" if isinstance(value, date) else "a number"


def _place(problem: ErrorDetails) -> tuple[str, ...]:
    """Path of the offending key, without the `[key]` that pydantic appends."""
    place = tuple(map(str, problem["loc"]))
    return place[:-1] if place[-1:] == ("[key]",) else place


def _is_given(raw: object, place: tuple[str, ...]) -> bool:
    """Return True if the settings hold a value at this place."""
    node = raw
    for key in place:
        if not isinstance(node, Mapping) or key not in node:
            return False
        node = node[key]
    return True


def _value_text(value: object, *, show_values: bool) -> str:
    if not show_values or not isinstance(value, str | int | float | None):
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"


_REQUIRED = {"name": "placeholder", "region": "us-east-1", "accountId": "000000000000"}


def _repaired(raw: object, errors: list[ErrorDetails]) -> StackConfig | None:
    """Return the settings without their broken values, to find what else disagrees."""
    if not isinstance(raw, dict):
        return None
    rest = _without(raw, {_place(problem) for problem in errors}, ())
    cluster = rest.get("cluster")
    rest["cluster"] = {**_REQUIRED, **(cluster if isinstance(cluster, dict) else {})}
    try:
        return StackConfig.model_validate(rest, by_alias=True, by_name=False)
    except ValidationError:
        return None


def _without(node: Any, broken: set[tuple[str, ...]], place: tuple[str, ...]) -> Any:
    """Copy of a tree of mappings and lists without the nodes at the `broken` places."""
    if isinstance(node, dict):
        children = [(key, (*place, str(key)), value) for key, value in node.items()]
        return {
            key: _without(value, broken, path)
            for key, path, value in children
            if path not in broken
        }
    if isinstance(node, list):
        items = [((*place, str(index)), item) for index, item in enumerate(node)]
        return [_without(item, broken, path) for path, item in items if path not in broken]
    return node


def _disagreements(settings: StackConfig | None) -> list[str]:
    if settings is None:
        return []
    rules = (
        _registration,
        _reach,
        _spot,
        _boundaries,
        _arns,
        _tags,
        _automation,
        adoption_problems,
    )
    return list(chain.from_iterable(rule(settings) for rule in rules))


_RESERVED_TAG_PREFIXES = ("aws:", "cast:", "castai-eks:", "kubernetes.io/")
_MAXIMUM_TAGS = 40


def _automation(settings: StackConfig) -> Iterator[str]:
    return automation_problems(settings, _RESERVED_TAG_PREFIXES)


def _registration(settings: StackConfig) -> Iterator[str]:
    api = settings.api
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
    principal = settings.principal
    if principal and principal.trusts_castai and api.principal_arn is None:
        yield (
            "api.principalArn: not given while api.register is false and credentials.mode is "
            f"{settings.credentials.mode}; give CAST AI's user that the console shows"
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


def _spot(settings: StackConfig) -> Iterator[str]:
    if settings.spot.drain and settings.spot.handler == "daemonset":
        yield (
            "spot.drain: found true while spot.handler is daemonset, which marks the node and "
            "evicts nothing; set spot.handler to lambda or both, or spot.drain to false"
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


def _arns(settings: StackConfig) -> Iterator[str]:
    """ARNs of another partition, region or account than AWS takes at their place."""
    cluster = settings.cluster
    partition = arn.partition(cluster.region)
    for place in _places(settings):
        if place.value is None:
            continue
        _, found_partition, _, region, account, *_ = place.value.split(":")
        if found_partition != partition:
            yield (
                f"{place.path}: found an ARN of partition {found_partition}; "
                f"allowed: {partition}, where region {cluster.region} is"
            )
        elif place.same_region and region != cluster.region:
            yield (
                f"{place.path}: found an ARN of region {region}; "
                f"allowed: {cluster.region}, the cluster's region"
            )
        elif place.same_account and account not in {"aws", cluster.account_id}:
            yield (
                f"{place.path}: found an ARN of account {account}; "
                f"allowed: {cluster.account_id}, the cluster's account"
            )


@dataclass(frozen=True, slots=True)
class _Place:
    """A setting that holds an ARN, and what the ARN must share with the cluster."""

    path: str
    value: str | None
    same_region: bool = False
    same_account: bool = False


def _places(settings: StackConfig) -> Iterator[_Place]:
    # A boundary is looked up in the account of the principal that carries it:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html
    boundary = settings.iam.permissions_boundary_arn
    yield _Place("iam.permissionsBoundaryArn", boundary, same_account=True)
    for setting, policies in (
        ("iam.principalPolicyArns", settings.iam.principal_policy_arns),
        ("iam.nodePolicyArns", settings.iam.node_policy_arns),
    ):
        for index, policy in enumerate(policies):
            yield _Place(f"{setting}.{index}", policy, same_account=True)
    yield _Place("agent.roleArn", settings.agent.role_arn)
    # A volume's key and an alarm's topic lie in the region of the volume and of the alarm; either
    # may belong to another account.
    yield _Place("spot.alarmTopicArn", settings.spot.alarm_topic_arn, same_region=True)
    for index, key in enumerate(settings.iam.kms_key_arns):
        yield _Place(f"iam.kmsKeyArns.{index}", key, same_region=True)
    yield _Place(
        "automation.nodes.kmsKeyArn", settings.automation.nodes.kms_key_arn, same_region=True
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
    # IAM compares tag keys without case and refuses the second one:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html
    spellings = Counter(tag.casefold() for tag in settings.tags)
    for folded in (key for key, count in spellings.items() if count > 1):
        same = ", ".join(sorted(tag for tag in settings.tags if tag.casefold() == folded))
        yield f"tags: found {same}, which differ in case only; allowed: one of them"
