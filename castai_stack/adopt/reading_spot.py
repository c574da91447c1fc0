"""Questions to AWS about functions that report Spot interruptions; reads only."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from castai_stack import naming
from castai_stack.adopt.observations import EarlierSpot, Function, Place, Principal
from castai_stack.commands import aws_kinds
from castai_stack.commands.aws_clients import Clients, asking
from castai_stack.naming import CLUSTER_TAG
from castai_stack.spot import alarms, events, objects

_FLAVOURS: tuple[naming.NameFlavour, ...] = ("documented", "regional", "suffixed")
_ReadRole = Callable[[str], Principal | None]


def functions(clients: Clients, place: Place, role: _ReadRole) -> Iterator[Function]:
    """Yield the function of all clusters, and this cluster's own by a stack of this program.

    A function is this cluster's if it has the tag of a stack of this program. Where it is gone, as
    a destroy that ended early leaves it, the other objects with its tag count. `role` reads a role
    by its name.
    """
    for flavour in _FLAVOURS:
        names = naming.names(place.cluster, flavour, place.region)
        answer = _function(clients, names.function)
        own = answer is None or _tag(answer.get("Tags") or {}) == place.cluster
        if answer is None and flavour != "suffixed":
            continue
        if own:
            function = _own(clients, place, names, answer or {}, role)
            if function is not None:
                yield function
                return
        elif flavour == "documented":
            yield Function(
                names.function, _role_name(answer), _rules(clients, names.function, answer)
            )


def _tag(tags: Mapping[str, str]) -> str | None:
    return tags.get(CLUSTER_TAG)


def _role_name(answer: Any) -> str:
    return str(answer["Configuration"]["Role"]).rpartition("/")[2]


def _rules(clients: Clients, function: str, answer: Any) -> tuple[str, ...]:
    arn = answer["Configuration"]["FunctionArn"]
    with asking(f"rules of function {function}"):
        return tuple(clients("events").list_rule_names_by_target(TargetArn=arn)["RuleNames"])


def _function(clients: Clients, name: str) -> Any:
    lambda_ = clients("lambda")
    with asking(f"function {name}"):
        try:
            return lambda_.get_function(FunctionName=name)
        except lambda_.exceptions.ResourceNotFoundException:
            return None


def _own(
    clients: Clients, place: Place, names: naming.Names, answer: Any, read_role: _ReadRole
) -> Function | None:
    """Return what a stack created; None without any object of it. `answer` is the function's."""
    imports: dict[str, str] = {}
    doubts = []
    for resource, one in objects.named(names).items():
        kind = aws_kinds.BY_NAME[one.kind]
        with asking(f"{one.kind} {one.name}"):
            existing = aws_kinds.find(clients(kind.service), kind, {"name": one.name})
        if existing is not None and _tag(existing.tags) == place.cluster:
            imports[resource] = existing.id
        elif existing is not None:
            doubts.append(_untagged(f"{one.kind} {one.name}", place.cluster))
    name = _role_name(answer) if answer else names.lambda_role
    role = read_role(name)
    if not answer and not imports and (role is None or role.stack_of != place.cluster):
        return None
    doubts += _doubts(place, name, role, imports, function_missing=not answer)
    invoke_config = _invoke_config(clients, names.function) if answer else {}
    parts = _parts(clients, names, answer, imports) if answer else {}
    if invoke_config:
        parts["spot-invoke-config"] = names.function
    earlier = EarlierSpot(
        names=names,
        role=role,
        imports={**imports, **parts},
        settings=dict(_settings(clients, names, answer, invoke_config)),
        doubts=tuple(doubts),
    )
    rules = _rules(clients, names.function, answer) if answer else ()
    return Function(names.function, name, rules, earlier)


def _untagged(what: str, cluster: str) -> str:
    return f"{what} lacks the tag {CLUSTER_TAG}={cluster}; tag it if it is this stack's"


def _doubts(
    place: Place,
    name: str,
    role: Principal | None,
    imports: Mapping[str, str],
    *,
    function_missing: bool,
) -> Iterator[str]:
    """Yield why objects of IAM may be somebody else's.

    IAM has no regions, and the tag has none. A function proves the region of its role.
    """
    if role is None:
        if function_missing and "spot-boundary" in imports:
            yield f"policy {imports['spot-boundary']} is left of the stack alone: delete it"
        return
    if role.stack_of != place.cluster:
        yield _untagged(f"role {name}", place.cluster)
    elif function_missing and f":{place.region}:" not in str(role.inline):
        yield f"role {name} has no function and no policy for {place.region}: delete it"


def _parts(
    clients: Clients, names: naming.Names, answer: Any, imports: Mapping[str, str]
) -> dict[str, str]:
    """Return what has no tag and belongs to the function or to a rule."""
    parts: dict[str, str] = {}
    statements = _statements(clients, names.function)
    for rule in events.RULES:
        name = imports.get(f"spot-{rule.suffix}-rule")
        if name is not None:
            with asking(f"targets of rule {name}"):
                targets = clients("events").list_targets_by_rule(Rule=name)["Targets"]
            if (events.TARGET_ID, answer["Configuration"]["FunctionArn"]) in {
                (one["Id"], one["Arn"]) for one in targets
            }:
                parts[f"spot-{rule.suffix}-target"] = objects.target_id(name)
        statement = objects.statement_id(rule.suffix)
        if statement in statements:
            parts[f"spot-{rule.suffix}-permission"] = f"{names.function}/{statement}"
    return parts


def _statements(clients: Clients, function: str) -> set[str]:
    lambda_ = clients("lambda")
    with asking(f"policy of function {function}"):
        try:
            policy = json.loads(lambda_.get_policy(FunctionName=function)["Policy"])
        except lambda_.exceptions.ResourceNotFoundException:
            return set()
    return {str(one.get("Sid")) for one in policy["Statement"]}


def _invoke_config(clients: Clients, function: str) -> Mapping[str, Any]:
    lambda_ = clients("lambda")
    with asking(f"invoke configuration of function {function}"):
        try:
            return lambda_.get_function_event_invoke_config(FunctionName=function)
        except lambda_.exceptions.ResourceNotFoundException:
            return {}


def _settings(
    clients: Clients, names: naming.Names, answer: Any, invoke_config: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    """Yield the values of the section `spot`; of variables, which may be keys, only the names."""
    described = answer.get("Configuration") or {}
    variables = (described.get("Environment") or {}).get("Variables") or {}
    group, alarm = events.log_group(names.function), alarms.ALARMS[0]
    with asking(f"log group {group}"):
        groups = clients("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    with asking("alarms"):
        alarm_name = alarms.alarm_name(names.function, alarm)
        watching = clients("cloudwatch").describe_alarms(AlarmNames=[alarm_name])["MetricAlarms"]
    retention = [one for one in groups if one["logGroupName"] == group]
    values = {
        "memoryMb": described.get("MemorySize"),
        "timeoutSeconds": described.get("Timeout"),
        "architecture": next(iter(described.get("Architectures") or []), None),
        "reservedConcurrency": (answer.get("Concurrency") or {}).get(
            "ReservedConcurrentExecutions"
        ),
        "logRetentionDays": retention[0].get("retentionInDays") if retention else None,
        "maximumEventAgeSeconds": invoke_config.get("MaximumEventAgeInSeconds"),
        "maximumRetries": invoke_config.get("MaximumRetryAttempts"),
        "alarmTopicArn": next(
            (arn for one in watching for arn in one.get("AlarmActions") or []), None
        ),
        "drain": "DRAIN" in variables,
        "keyInSecretsManager": "CASTAI_API_KEY_SECRET_ARN" in variables,
    }
    yield from ((name, value) for name, value in values.items() if value is not None)
