"""Existing AWS objects that a stack takes over."""

from typing import Annotated, Literal

from castai_stack.fields import Section, checked_text

ResourceName = Annotated[
    str,
    checked_text(
        r"(access|iam|node|spot)-[\w+=,.@-]{1,200}",
        "the name of a resource of this program in AWS, such as iam-user",
    ),
]
ImportId = Annotated[
    str, checked_text(r"[^\s]{1,512}", "the id of an AWS object, as `pulumi import` takes it")
]


class Adoption(Section):
    """AWS objects of another installer that this stack takes over; `adopt` writes this section."""

    imports: dict[ResourceName, ImportId] = {}
    """Id of each existing object, by the name of the resource that takes it over."""
    values: Literal["existing", "settings"] = "existing"
    """`existing`: policy texts, tags and the like of these objects stay as they are. `settings`:
    they become those of this stack."""

    @property
    def takes_key(self) -> bool:
        """Return True if an access key is taken over."""
        return any(name.startswith("iam-key-") for name in self.imports)

    @property
    def keeps_key(self) -> bool:
        """Return True if an access key is taken over and stays active."""
        return self.takes_key and self.values == "existing"


_CONTENT = (
    "assumeRolePolicy",
    "description",
    "egress",
    "ingress",
    "kubernetesGroups",
    "permissionsBoundary",
    "policy",
    "status",
    "tags",
    "tagsAll",
    "userName",
)
_FIXED = {
    "aws:iam/policy:Policy": ["description"],
    "aws:ec2/securityGroup:SecurityGroup": ["description"],
}
"""Properties that only a replacement can change, by type."""


def kept_properties(type_: str, values: Literal["existing", "settings"]) -> list[str]:
    """Return the properties that keep the values of an existing object of a Pulumi type."""
    return list(_CONTENT) if values == "existing" else _FIXED.get(type_, [])
