"""Names by which one recognises what connecting a cluster makes, by this program or by others.

Names of others: CAST AI's onboarding script (castai/docs, docs/getting-started, its removal page)
and its Terraform modules (castai/terraform-castai-eks-role-iam, main.tf).
"""

import re
from dataclasses import dataclass
from typing import Literal

from castai_stack import naming
from castai_stack.spot import alarms, events

Kind = Literal[
    "user",
    "role",
    "policy",
    "instance profile",
    "security group",
    "function",
    "rule",
    "log group",
    "queue",
    "alarm",
    "secret",
]

OURS = "this program"
SHARED = "this program or CAST AI's script, account-wide"
SCRIPT = "CAST AI's script"
TERRAFORM = "CAST AI's Terraform module"

_ID8 = "[0-9a-f]{7,8}"
# Cuts of long names in the sources named above.
_SCRIPT_ROLE_CUT = 30
_TERRAFORM_PRINCIPAL_CUT, _TERRAFORM_NODE_CUT = 53, 44


@dataclass(frozen=True, slots=True)
class Signs:
    """Patterns of names for one cluster; the first that fits says who made the thing."""

    cluster: str

    def origin(self, kind: Kind, name: str) -> str | None:
        """Say who makes things of that kind and name for this cluster; None if nobody does."""
        for pattern, origin in self._patterns(kind):
            # IAM tells no difference by case, and neither does a leftover.
            if re.fullmatch(pattern, name, re.IGNORECASE):
                return origin
        return None

    def account_wide(self, kind: Kind, name: str) -> bool:
        """Whether other clusters of the account may use a thing of that name as well."""
        return self.origin(kind, name) == SHARED

    def _patterns(self, kind: Kind) -> list[tuple[str, str]]:
        own = naming.names(self.cluster, "suffixed")
        bare = naming.names(self.cluster, "documented")
        cluster = re.escape(self.cluster)
        node_role = rf"cast-{re.escape(self.cluster[:40])}-eks-{_ID8}"
        literal = {
            "user": [(own.principal, OURS), (f"castai-eks-{self.cluster}", TERRAFORM)],
            "role": [
                (own.principal, OURS),
                (own.lambda_role, OURS),
                (bare.lambda_role, SHARED),
                (f"{self.cluster}-lambda-role", SCRIPT),
                (f"castai-eks-{self.cluster[:_TERRAFORM_PRINCIPAL_CUT]}", TERRAFORM),
                (f"castai-eks-instance-{self.cluster[:_TERRAFORM_NODE_CUT]}", TERRAFORM),
            ],
            "policy": [
                (own.castai_policy, OURS),
                (own.restricted_policy, OURS),
                (own.feature_policy, OURS),
                (own.lambda_boundary, OURS),
                (own.node_boundary, OURS),
                (bare.castai_policy, SHARED),
            ],
            "instance profile": [
                (f"castai-eks-instance-{self.cluster[:_TERRAFORM_NODE_CUT]}", TERRAFORM)
            ],
            "security group": [(f"cast-{self.cluster}-cluster/CastNodeSecurityGroup", SCRIPT)],
            "function": [
                (own.function, OURS),
                (bare.function, SHARED),
                (f"eks-{self.cluster}-events-listener", SCRIPT),
            ],
            "rule": [(own.interruption_rule, OURS), (own.rebalance_rule, OURS)],
            "queue": [(own.dead_letter_queue, OURS)],
            "log group": [
                (events.log_group(own.function), OURS),
                (events.log_group(bare.function), SHARED),
                (events.log_group(f"eks-{self.cluster}-events-listener"), SCRIPT),
            ],
            "alarm": [
                (alarms.alarm_name(function, alarm), origin)
                for alarm in alarms.ALARMS
                for function, origin in ((own.function, OURS), (bare.function, SHARED))
            ],
            "secret": [
                (events.secret_name(own.function), OURS),
                (events.secret_name(bare.function), SHARED),
            ],
        }
        patterns = [(re.escape(name), origin) for name, origin in literal[kind]]
        if kind in ("role", "instance profile"):
            patterns.append((node_role, f"{OURS} or CAST AI's script"))
        if kind == "role":
            cut = re.escape(self.cluster[:_SCRIPT_ROLE_CUT])
            patterns.append((rf"cast-eks-({cluster}|{cut})-cluster-role-{_ID8}", SCRIPT))
        return patterns


def instance_origin(cluster: str, tags: dict[str, str]) -> str | None:
    """Say whether CAST AI launched an instance for this cluster; the cluster's own are nobody's.

    Tags and the shape of the name: castai/terraform-provider-castai,
    examples/eks/eks_cluster_custom_iam/iam.tf, and castai/docs, remove-from-eks.md.
    """
    if tags.get(f"kubernetes.io/cluster/{cluster}") not in ("owned", "shared"):
        return None
    made = "cast:cluster-id" in tags or tags.get("Name", "").startswith(f"{cluster}-cast-")
    return "CAST AI, as a node" if made else None


ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:(?P<kind>user|role)/[\w+=,.@/-]+")


@dataclass(frozen=True, order=True, slots=True)
class Leftover:
    """One thing that is still there."""

    place: str
    kind: str
    name: str
    origin: str


class AuditError(Exception):
    """A question got no answer; the message names the question and the answer."""


def principal_origin(signs: Signs, arn: str) -> str | None:
    """Return the origin of the principal of an ARN, or None when its name fits no pattern."""
    match = ARN.fullmatch(arn)
    if match is None:
        return None
    kind: Kind = "user" if match["kind"] == "user" else "role"
    return signs.origin(kind, arn.rpartition("/")[2])
