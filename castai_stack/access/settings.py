"""Settings of the mapping of principals into the cluster."""

from typing import Annotated

from castai_stack.access.guards import Guard
from castai_stack.access.modes import AccessMode
from castai_stack.fields import Section, checked_text

UserGroup = Annotated[
    str,
    # EKS refuses these prefixes in access entries, and Kubernetes keeps the first for itself:
    # https://docs.aws.amazon.com/eks/latest/userguide/creating-access-entries.html
    checked_text(
        r"system:masters|(?!(system|eks|aws|amazon|iam):)[0-9A-Za-z][\w.:@/-]{0,62}",
        "system:masters, or a name of your own that begins with none of system:, eks:, aws:, "
        "amazon: and iam:",
    ),
]


class Access(Section):
    """Mapping of principals into the cluster."""

    mode: AccessMode = "auto"
    """`auto` takes access entries where the cluster's authentication mode allows them."""
    adopt: bool = False
    """Take over existing entries for our ARNs; destroy then removes them."""
    user_groups: list[UserGroup] = ["system:masters"]
    """Groups of the user; any other group than `system:masters` gets a narrower cluster role."""
    override_guards: list[Guard] = []
    """Guards of aws-auth that `pulumi up` may pass."""
