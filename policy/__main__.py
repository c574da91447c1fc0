"""The policy pack: the rules of `castai_stack.policy` as Pulumi runs them on a plan.

`pulumi preview --policy-pack policy`, see docs/policy.md.
"""

import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pulumi_policy import (
    EnforcementLevel,
    PolicyConfigSchema,
    PolicyPack,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.secret import Secret

from castai_stack.policy import rules

MANDATORY = EnforcementLevel.MANDATORY
WORKLOADS = ("Deployment", "DaemonSet", "StatefulSet")
Rule = Callable[[ResourceValidationArgs], Iterable[str]]


def config(**properties: dict[str, Any]) -> PolicyConfigSchema:
    """Return the schema of a policy's settings."""
    return PolicyConfigSchema(properties)


def policy(
    name: str, description: str, rule: Rule, schema: PolicyConfigSchema | None = None
) -> ResourceValidationPolicy:
    """Return a policy that reports every sentence of a rule."""

    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        for sentence in rule(args):
            report(sentence, args.urn)

    return ResourceValidationPolicy(
        name, description, validate, enforcement_level=MANDATORY, config_schema=schema
    )


def scope(args: ResourceValidationArgs) -> Iterable[str]:
    """Judge documents and attachments."""
    settings = args.get_config()
    if args.resource_type in rules.DOCUMENTS and not rules.is_boundary(args.name):
        document = args.props[rules.DOCUMENTS[args.resource_type]]
        yield from rules.beyond_the_cluster(document, in_vpc=settings.get("inVpc", False))
    elif args.resource_type in rules.ATTACHMENTS:
        yield from rules.attached(args.props["policyArn"], settings.get("allowedPolicies", ()))


def boundary(args: ResourceValidationArgs) -> Iterable[str]:
    """Judge roles of services."""
    return rules.without_boundary(args.props) if args.resource_type == rules.ROLE else ()


def flavour(args: ResourceValidationArgs) -> Iterable[str]:
    """Judge components."""
    ours = args.resource_type.startswith("castai-stack:index:")
    return rules.documented(args.props) if ours else ()


def connection(args: ResourceValidationArgs) -> Iterable[str]:
    """Judge the guard of the connection."""
    return rules.not_handing_over(args.resource_type, args.props, args.stack_tags)


def images(args: ResourceValidationArgs) -> Iterable[str]:
    """Judge workloads."""
    is_workload = args.resource_type.rpartition(":")[2] in WORKLOADS
    digests = args.get_config().get("digests", False)
    return rules.unpinned(args.props, by_digest=digests) if is_workload else ()


def keep_secret(args: ResourceValidationArgs) -> dict[str, Any] | None:
    """Make secret what is plain; only a remediation sees which inputs are secret."""
    inputs = args.props["__target"]
    plain = list(rules.plain_secrets(args.resource_type, inputs, Secret))
    return {**inputs, **{name: Secret(inputs[name]) for name in plain}} if plain else None


def keys(args: StackValidationArgs, report: ReportViolation) -> None:
    """Judge the age of access keys, which outputs hold."""
    days = int(args.get_config().get("days", 90))
    for resource in args.resources:
        if resource.resource_type == rules.ACCESS_KEY:
            for sentence in rules.old_key(resource.props, days, datetime.now(UTC)):
                report(sentence, resource.urn)


def hand_over(args: StackValidationArgs, report: ReportViolation) -> None:
    """Judge the stack as a whole."""
    types = [resource.resource_type for resource in args.resources]
    for sentence in rules.lost_hand_over(types, args.stack_tags):
        report(sentence)


PolicyPack(
    "castai-eks",
    [
        policy(
            "castai-scope",
            "No write reaches beyond the cluster.",
            scope,
            config(
                inVpc={"type": "boolean", "default": False},
                allowedPolicies={"type": "array", "items": {"type": "string"}, "default": []},
            ),
        ),
        policy("castai-boundary", "A role of a service has a permissions boundary.", boundary),
        policy("castai-flavour", "CAST AI's own statements are not used.", flavour),
        policy("castai-connection", "A cluster is disconnected only with approval.", connection),
        policy(
            "castai-images",
            "Images have a version.",
            images,
            config(digests={"type": "boolean", "default": False}),
        ),
        ResourceValidationPolicy(
            "castai-secrets",
            "No secret is in a plain input.",
            remediate=keep_secret,
            enforcement_level=EnforcementLevel.REMEDIATE,
        ),
        StackValidationPolicy(
            "castai-keys",
            "No access key is old.",
            keys,
            enforcement_level=MANDATORY,
            config_schema=config(days={"type": "integer", "default": 90}),
        ),
        StackValidationPolicy(
            "castai-hand-over",
            "A registered cluster is handed over.",
            hand_over,
            enforcement_level=MANDATORY,
        ),
    ],
)
