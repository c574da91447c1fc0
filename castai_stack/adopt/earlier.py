"""What an earlier stack of this program left, whose state is gone."""

from collections.abc import Iterator

from castai_stack import naming
from castai_stack.adopt.observations import Function, Observations, Policy, Principal
from castai_stack.spot import alarms, events

STATE = (
    "a stack of this program created it: if its state exists, go on with that stack and throw "
    "these files away, because two stacks would fight"
)
SPOT_LEFT = "an earlier stack's; it goes on reporting, spot.enabled is false until it is deleted"


def is_earlier(observed: Observations, principal: Principal) -> bool:
    """Return True if a stack of this program created CAST AI's user or role of this cluster."""
    return principal.stack_of == observed.place.cluster


def restricted_policy(observed: Observations, principal: Principal) -> Policy | None:
    """Return the user's cluster-scoped managed policy, unless somebody else has it, too."""
    name = naming.names(observed.place.cluster, "suffixed").restricted_policy
    if principal.kind == "role":
        return None
    return next(
        (
            one
            for one in observed.aws.policies
            if one.name == name and one.used_by == (str(principal),)
        ),
        None,
    )


def spot_commands(function: Function, cluster: str) -> Iterator[str]:
    """Yield the commands that delete the earlier stack's function and what belongs to it.

    Without them `spot.enabled: true` ends at names that exist.
    """
    names, role = naming.names(cluster, "suffixed"), function.earlier
    if role is None:
        return
    for rule in function.rules:
        yield f"aws events remove-targets --rule {rule} --ids {events.TARGET_ID}"
        yield f"aws events delete-rule --name {rule}"
    yield f"aws lambda delete-function --function-name {function.name}"
    yield f"aws logs delete-log-group --log-group-name {events.log_group(function.name)}"
    queue = f"aws sqs get-queue-url --queue-name {names.dead_letter_queue} --output text"
    yield f'aws sqs delete-queue --queue-url "$({queue})"'
    own = " ".join(alarms.alarm_name(function.name, alarm) for alarm in alarms.ALARMS)
    yield f"aws cloudwatch delete-alarms --alarm-names {own}"
    for policy in role.attached:
        yield f"aws iam detach-role-policy --role-name {role.name} --policy-arn {policy}"
    for policy in role.inline:
        yield f"aws iam delete-role-policy --role-name {role.name} --policy-name {policy}"
    yield f"aws iam delete-role --role-name {role.name}"
    if role.boundary.endswith(f"/{names.lambda_boundary}"):
        yield f"aws iam delete-policy --policy-arn {role.boundary}"
