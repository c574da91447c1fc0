"""Resources of the Spot function whose names are known beforehand, as `SpotLambdaComponent` has."""

from collections.abc import Mapping
from dataclasses import dataclass

from castai_stack import naming
from castai_stack.spot import alarms, events


@dataclass(frozen=True, slots=True)
class NamedObject:
    """One tagged object of AWS."""

    kind: str
    """Name of its row in `commands.aws_kinds`."""
    name: str
    setting: str
    """Field of `physicalNames` that decides the name."""


def named(names: naming.Names) -> Mapping[str, NamedObject]:
    """Return the tagged objects by resource of a stack, without the role."""
    function = names.function
    return {
        "spot-function": NamedObject("function", function, "function"),
        "spot-boundary": NamedObject("policy", names.lambda_boundary, "lambdaBoundary"),
        "spot-dead-letters": NamedObject("queue", names.dead_letter_queue, "deadLetterQueue"),
        "spot-interruption-rule": NamedObject("rule", names.interruption_rule, "interruptionRule"),
        "spot-rebalance-rule": NamedObject("rule", names.rebalance_rule, "rebalanceRule"),
        "spot-log-group": NamedObject("log group", events.log_group(function), "function"),
        "spot-api-key": NamedObject("secret", events.secret_name(function), "function"),
        **{
            f"spot-{one.suffix}-alarm": NamedObject(
                "alarm", alarms.alarm_name(function, one), "function"
            )
            for one in alarms.ALARMS
        },
    }


def target_id(rule: str) -> str:
    """Return the id of a rule's target, as `pulumi import` takes it."""
    return f"{rule}/{events.TARGET_ID}"


def statement_id(suffix: str) -> str:
    """Return the id of the statement that lets a rule invoke the function."""
    return f"AllowRule-{suffix}"
