"""The function that reports Spot interruptions: left if it serves others, else taken over."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from castai_stack import arn, naming
from castai_stack.adopt.observations import EarlierSpot, Function, Place, Principal
from castai_stack.adopt.rows import LEFT, NEW, TAKEN, Row
from castai_stack.config.stack_file import KEY
from castai_stack.config.validation import InvalidSettingsError, validate
from castai_stack.spelling import camel
from castai_stack.spot import objects
from castai_stack.spot.role import LAMBDA_MANAGED
from castai_stack.spot.settings import Spot

_SHARED = "serves every cluster of the account; this cluster gets its own beside it"
_EARLIER = "an earlier stack's"
_RENEWED = f"{_EARLIER}; the first `pulumi up` renews its code and its key"
_GONE = "the other objects of an earlier stack are there, and the function is gone"
_OFF = "it goes on as it is, and spot.enabled is false"
_NAMES = (
    "function",
    "lambda_role",
    "lambda_boundary",
    "interruption_rule",
    "rebalance_rule",
    "dead_letter_queue",
)
"""Fields of `naming.Names` and `physicalNames`."""
_INLINE = re.compile("spot-(inline|guard)-[0-9a-f]{7}")
"""Names that Pulumi gives to the inline policies of the function's role."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the rest of the stack file says."""

    flavour: Literal["scoped", "documented"]
    path: str
    """IAM path of the stack."""
    operator_boundary: bool
    """Whether the stack has a boundary of its own for all principals."""


@dataclass(slots=True)
class SpotPlan:
    """What happens to the functions."""

    settings: dict[str, Any] = field(default_factory=dict)
    """Values for the section `spot`."""
    imports: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    """Values for the section `physicalNames`."""
    rows: list[Row] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    """Commands for after `adoption.values: settings`."""


def plan(functions: tuple[Function, ...], place: Place, terms: Terms) -> SpotPlan:
    """Return what is imported of an earlier stack; functions of all clusters are left."""
    result = SpotPlan()
    for function in functions:
        if function.earlier is None:
            _left(result, function, _SHARED)
            continue
        settings = _chosen(function.earlier.settings)
        if why := "; ".join(_obstacles(function.earlier, settings, place, terms)):
            result.settings = {"enabled": False}
            _left(result, function, f"{_EARLIER}: {why}; {_OFF}")
        else:
            result.settings = settings
            _take(result, function.earlier, place, terms)
    return result


def section(of_spot: SpotPlan, in_cluster: dict[str, Any] | None) -> dict[str, Any]:
    """Return the section `spot` for a function, a daemon set (`in_cluster`), or both."""
    if in_cluster is None:
        return of_spot.settings
    if of_spot.imports:
        return {**of_spot.settings, "handler": "both"}
    return in_cluster


def _left(result: SpotPlan, function: Function, why: str) -> None:
    result.rows.append(Row("function", function.name, LEFT, why))
    result.rows.append(Row("role of the function", function.role, LEFT, why))
    result.rows += [Row("rule", rule, LEFT, why) for rule in function.rules]


def _chosen(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are not the settings' defaults."""
    defaults = {camel(name): value for name, value in Spot().model_dump().items()}
    return {name: value for name, value in values.items() if value != defaults[name]}


def _obstacles(
    earlier: EarlierSpot, settings: Mapping[str, Any], place: Place, terms: Terms
) -> Iterator[str]:
    yield from earlier.doubts
    if earlier.role is not None and earlier.role.path != terms.path:
        yield f"role {earlier.role.name} is under the IAM path {earlier.role.path}"
    cluster = {"name": place.cluster, "region": place.region, "accountId": place.account_id}
    try:
        validate({"cluster": cluster, "spot": settings}, KEY)
    except InvalidSettingsError as error:
        yield from error.lines


def _take(result: SpotPlan, earlier: EarlierSpot, place: Place, terms: Terms) -> None:
    absent = _without_resource(result.settings, terms)
    for resource, one in objects.named(earlier.names).items():
        identifier = earlier.imports.get(resource)
        if identifier is None:
            continue
        if resource in absent:
            why, command = absent[resource]
            result.rows.append(Row(one.kind, one.name, LEFT, why))
            result.commands.append(command.format(identifier))
            continue
        remark = _RENEWED if resource == "spot-function" else _EARLIER
        result.rows.append(Row(one.kind, one.name, TAKEN, remark))
    result.imports |= {
        resource: identifier
        for resource, identifier in earlier.imports.items()
        if resource not in absent
    }
    computed = naming.names(place.cluster, "suffixed")
    role = earlier.role
    own = earlier.names if role is None else replace(earlier.names, lambda_role=role.name)
    result.names |= {
        camel(one): getattr(own, one)
        for one in _NAMES
        if getattr(own, one) != getattr(computed, one)
    }
    if role is not None:
        _take_role(result, role, place, terms)
    if "spot-function" not in result.imports:
        result.rows.append(Row("function", earlier.names.function, NEW, _GONE))


def _without_resource(settings: Mapping[str, Any], terms: Terms) -> Mapping[str, tuple[str, str]]:
    """Return why a resource is not in the stack, and the command that deletes the object."""
    absent: dict[str, tuple[str, str]] = {}
    if terms.flavour != "scoped" or terms.operator_boundary:
        absent["spot-boundary"] = (
            "on the function's role until adoption.values: settings; see the commands",
            "aws iam delete-policy --policy-arn {}",
        )
    if not settings.get("keyInSecretsManager"):
        absent["spot-api-key"] = (
            "the function does not read it; see the commands",
            "aws secretsmanager delete-secret --secret-id {}",
        )
    return absent


def _take_role(result: SpotPlan, role: Principal, place: Place, terms: Terms) -> None:
    result.imports["spot-role"] = role.name
    result.rows.append(Row("role of the function", role.name, TAKEN, _EARLIER))
    managed = {arn.managed_policy(place.partition, one): one for one in LAMBDA_MANAGED}
    for policy in role.attached:
        if policy in managed:
            resource = f"spot-{managed[policy].rpartition('/')[2]}"
            result.imports[resource] = f"{role.name}/{policy}"
        else:
            why = "on the function's role; detach it before `pulumi destroy`"
            result.rows.append(Row("policy", policy.rpartition("/")[2], LEFT, why))
    guarded = terms.flavour == "scoped" and terms.operator_boundary
    own = {"inline", "guard"} if guarded else {"inline"}
    for policy in role.inline:
        match = _INLINE.fullmatch(policy)
        if match is not None and match[1] in own:
            result.imports[f"spot-{match[1]}"] = f"{role.name}:{policy}"
            continue
        why = "no setting has it; delete it before `pulumi destroy`"
        result.rows.append(Row("inline policy", policy, LEFT, why))
        result.commands.append(
            f"aws iam delete-role-policy --role-name {role.name} --policy-name {policy}"
        )
