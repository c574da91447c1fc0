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

_FLAVOURS: tuple[naming.NameFlavour, ...] = ("documented", "suffixed", "regional")
_FUNCTION = "spot-function"


def functions(
    clients: Clients, place: Place, role: Callable[[str], Principal | None]
) -> Iterator[Function]:
    """Yield the function of all clusters, and this cluster's own by a stack of this program.

    A function is this cluster's if it has the tag of a stack of this program. `role` reads a role
    by its name.
    """
    for flavour in _FLAVOURS:
        names = naming.names(place.cluster, flavour, place.region)
        answer = _function(clients, names.function)
        if answer is None:
            continue
        own = (answer.get("Tags") or {}).get(CLUSTER_TAG) == place.cluster
        if not own and flavour != "documented":
            continue
        described = answer["Configuration"]
        role_name = described["Role"].rpartition("/")[2]
        with asking(f"rules of function {names.function}"):
            rules = clients("events").list_rule_names_by_target(TargetArn=described["FunctionArn"])
        yield Function(
            names.function,
            role_name,
            tuple(rules["RuleNames"]),
            _earlier(clients, place.cluster, names, answer, role(role_name)) if own else None,
        )


def _function(clients: Clients, name: str) -> Any:
    lambda_ = clients("lambda")
    with asking(f"function {name}"):
        try:
            return lambda_.get_function(FunctionName=name)
        except lambda_.exceptions.ResourceNotFoundException:
            return None


def _earlier(
    clients: Clients, cluster: str, names: naming.Names, answer: Any, role: Principal | None
) -> EarlierSpot:
    described = answer["Configuration"]
    imports, untagged = {}, []
    for resource, one in objects.named(names).items():
        kind = aws_kinds.BY_NAME[one.kind]
        with asking(f"{one.kind} {one.name}"):
            existing = aws_kinds.find(clients(kind.service), kind, {"name": one.name})
        if existing is not None and existing.tags.get(CLUSTER_TAG) == cluster:
            imports[resource] = existing.id
        elif existing is not None:
            untagged.append(f"{one.kind} {one.name}")
    role_name = described["Role"].rpartition("/")[2]
    if role is None or role.stack_of != cluster:
        untagged.append(f"role {role_name}")
    invoke_config = _invoke_config(clients, names.function)
    return EarlierSpot(
        names=names,
        role=role or Principal("role", role_name),
        imports={**imports, **_parts(clients, names, described, imports, invoke_config)},
        settings=dict(_settings(clients, names, answer, invoke_config)),
        untagged=tuple(untagged),
    )


def _parts(
    clients: Clients,
    names: naming.Names,
    described: Mapping[str, Any],
    imports: Mapping[str, str],
    invoke_config: Mapping[str, Any],
) -> Mapping[str, str]:
    """Return what has no tag and belongs to the function or to a rule."""
    parts: dict[str, str] = {}
    statements = _statements(clients, names.function)
    for rule in events.RULES:
        name = imports.get(f"spot-{rule.suffix}-rule")
        if name is not None:
            with asking(f"targets of rule {name}"):
                targets = clients("events").list_targets_by_rule(Rule=name)["Targets"]
            if (events.TARGET_ID, described["FunctionArn"]) in {
                (one["Id"], one["Arn"]) for one in targets
            }:
                parts[f"spot-{rule.suffix}-target"] = objects.target_id(name)
        statement = objects.statement_id(rule.suffix)
        if statement in statements:
            parts[f"spot-{rule.suffix}-permission"] = f"{names.function}/{statement}"
    if invoke_config:
        parts["spot-invoke-config"] = names.function
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
    described = answer["Configuration"]
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
