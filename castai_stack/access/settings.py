"""Settings of the mapping of principals into the cluster."""

from typing import Annotated, Literal

from castai_stack.access.modes import AuthenticationMode
from castai_stack.fields import Section, checked_text

AccessGuard = Literal["caller", "last-masters", "size", "unreadable"]
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

    mode: Literal["auto", "aws-auth", "access-entries"] = "auto"
    """`auto` takes access entries where the cluster's authentication mode allows them."""
    adopt: bool = False
    """Take over entries for our ARNs that somebody else made; they go on destroy, then."""
    user_groups: list[UserGroup] = ["system:masters"]
    """Groups of the user; others than `system:masters` get a narrower cluster role of ours."""
    override_guards: list[AccessGuard] = []
    """Guards of aws-auth that may be passed on `pulumi up`."""

    @property
    def unread_under(self) -> AuthenticationMode | None:
        """Authentication mode under which a cluster does not read the chosen mapping."""
        unread: dict[str, AuthenticationMode] = {"aws-auth": "API", "access-entries": "CONFIG_MAP"}
        return unread.get(self.mode)

    def mapped_by(self, mode: AuthenticationMode | None) -> frozenset[str]:
        """Return how principals are mapped; both ways, where the cluster's mode is not known."""
        if self.mode != "auto":
            return frozenset({self.mode})
        if mode is None:
            return frozenset({"aws-auth", "access-entries"})
        return frozenset({"aws-auth" if mode == "CONFIG_MAP" else "access-entries"})
