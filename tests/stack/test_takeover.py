"""Resources of `adoption.imports` get the id of the object that they take over."""

from typing import Any

import pulumi
import pytest

from castai_stack.config.adoption import Adoption
from castai_stack.stack.adoption import Takeover

ENTRY = "demo:arn:aws:iam::012345678901:role/nodes"
PLACE = "castai-stack:index:AccessEntryPlace"


def transformed(takeover: Takeover, type_: str, name: str) -> Any:
    (transform,) = takeover.transformations
    resource: Any = None
    args = pulumi.ResourceTransformationArgs(
        resource, type_, name, {"adopt": False}, pulumi.ResourceOptions()
    )
    return transform(args)


def takeover() -> Takeover:
    return Takeover(Adoption(imports={"access-node-role-access": ENTRY}))


def test_an_access_entry_is_imported_with_what_the_program_does_not_know_of_it():
    result = transformed(takeover(), "aws:eks/accessEntry:AccessEntry", "access-node-role-access")

    assert result.opts.import_ == ENTRY
    assert {"kubernetesGroups", "userName", "tags"} <= set(result.opts.ignore_changes)


@pytest.mark.parametrize(
    ("name", "imported"), [("access-node-role-place", True), ("access-user-place", None)]
)
def test_the_place_of_an_imported_access_entry_lets_it_stand(name: str, imported: bool | None):
    result = transformed(takeover(), PLACE, name)

    assert (result and result.props) == (imported and {"adopt": False, "imported": True})


def test_an_access_entry_without_its_resource_is_an_error():
    with pytest.raises(pulumi.RunError, match="has no resource access-node-role-access"):
        takeover().require_complete()
