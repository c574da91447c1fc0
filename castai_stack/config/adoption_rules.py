"""Ids of `adoption.imports` against the names of the stack.

The engine imports an object and then changes what differs, so a wrong id would rename or replace
somebody else's object.
"""

from collections.abc import Iterator

from castai_stack import arn
from castai_stack.config.model import StackConfig
from castai_stack.spot import objects


def adoption_problems(settings: StackConfig) -> Iterator[str]:
    """Yield a sentence for each id of another object than the resource's name says."""
    for resource, identifier in settings.adoption.imports.items():
        for start, setting, name in _expected(resource, settings):
            if name is None:
                yield (
                    f"adoption.imports.{resource}: given while {setting} is not, and the computed "
                    f"name holds an id of CAST AI's; set {setting} to the name of the object"
                )
            elif not _fits(identifier, start.format(name=name)):
                yield (
                    f"adoption.imports.{resource}: found '{identifier}'; allowed: "
                    f"{start.format(name=name)}, the object of that name in this stack. Correct "
                    f"it, or set {setting}"
                )


def _fits(identifier: str, expected: str) -> bool:
    if expected.startswith("…"):
        return identifier.endswith(expected.removeprefix("…"))
    if expected.endswith("…"):
        return identifier.startswith(expected.removesuffix("…"))
    return identifier == expected


def _expected(resource: str, settings: StackConfig) -> Iterator[tuple[str, str, str | None]]:
    """Yield the form of an id, the setting that gives the name, and the name."""
    names = settings.resource_names
    if resource.startswith("access-"):
        yield from _access_entry(resource, settings)
    policies = {
        "iam-castai-policy": ("castaiPolicy", names.castai_policy),
        "iam-restricted-policy": ("restrictedPolicy", names.restricted_policy),
        "iam-feature-policy": ("featurePolicy", names.feature_policy),
        "iam-node-boundary": ("nodeBoundary", names.node_boundary),
    }
    if resource in policies:
        field, name = policies[resource]
        yield "…/{name}", f"physicalNames.{field}", name
    elif resource == "iam-instance-profile":
        yield "{name}", "physicalNames.instanceProfile", names.given.instance_profile
    elif resource == "iam-node-role":
        yield "{name}", "physicalNames.nodeRole", names.given.node_role
    elif resource.startswith("iam-node-"):
        yield "{name}/…", "physicalNames.nodeRole", names.given.node_role
    elif resource in ("iam-user", "iam-role"):
        yield "{name}", "physicalNames.principal", names.principal
    elif resource == "iam-role-restricted":
        whole = f"{names.principal}:{names.restricted_inline}"
        yield "{name}", "physicalNames.restrictedInline", whole
    elif resource.startswith(("iam-user-", "iam-role-")):
        yield "{name}/…", "physicalNames.principal", names.principal
    elif resource.startswith("spot-"):
        yield from _spot(resource, settings)


def _access_entry(resource: str, settings: StackConfig) -> Iterator[tuple[str, str, str | None]]:
    """Ids are `cluster:principal`, and `cluster#principal#policy` for an access policy."""
    cluster, names = settings.cluster, settings.resource_names
    account = f"arn:{arn.partition(cluster.region)}:iam::{cluster.account_id}"
    path = settings.iam.path
    whose = {
        "access-node-role-access": ("role", "nodeRole", names.given.node_role),
        "access-user-access": ("user", "principal", names.principal),
    }
    if resource == "access-user-cluster-admin":
        user = f"{cluster.name}#{account}:user{path}"
        yield f"{user}{{name}}#…", "physicalNames.principal", names.principal
    elif resource in whose:
        kind, field, name = whose[resource]
        yield f"{cluster.name}:{account}:{kind}{path}{{name}}", f"physicalNames.{field}", name


def _spot(resource: str, settings: StackConfig) -> Iterator[tuple[str, str, str]]:
    """Yield the same for a resource of the Spot function; a name that is none ends the run."""
    names = settings.resource_names
    if one := objects.named(names).get(resource):
        form = {"queue": "…/{name}", "policy": "…/{name}", "secret": _secret(settings)}
        yield form.get(one.kind, "{name}"), f"physicalNames.{one.setting}", one.name
        return
    _, _, part = resource.partition("-")
    suffix = part.partition("-")[0]
    if part.endswith("-target"):
        rule = objects.named(names).get(f"spot-{suffix}-rule")
        if rule is not None:
            yield objects.target_id("{name}"), f"physicalNames.{rule.setting}", rule.name
    elif part.endswith("-permission"):
        statement = objects.statement_id(suffix)
        yield f"{{name}}/{statement}", "physicalNames.function", names.function
    elif part == "invoke-config":
        yield "{name}", "physicalNames.function", names.function
    elif part == "role":
        yield "{name}", "physicalNames.lambdaRole", names.lambda_role
    else:
        separator = ":" if part in ("inline", "guard") else "/"
        yield f"{{name}}{separator}…", "physicalNames.lambdaRole", names.lambda_role


def _secret(settings: StackConfig) -> str:
    """Return the form of a secret's ARN; Secrets Manager adds a hyphen and six characters."""
    cluster = settings.cluster
    where = arn.partition(cluster.region), "secretsmanager", cluster.region, cluster.account_id
    return f"{arn.regional(*where, 'secret:{name}')}-…"
