"""Ids to import are those of the stack's own names: the engine would change any other object."""

import pytest

from castai_stack.config.stack_file import KEY
from castai_stack.config.validation import SettingsError, validate

CLUSTER = {"name": "prod", "region": "eu-central-1", "accountId": "012345678901"}
IAM = "arn:aws:iam::012345678901"
POLICY = f"{IAM}:policy"
NODES = {"nodeRole": "nodes", "instanceProfile": "profile"}


def settings(imports: dict[str, str], **more: object) -> dict[str, object]:
    return {"cluster": CLUSTER, "adoption": {"imports": imports}, **more}


@pytest.mark.parametrize(
    "imports",
    [
        {"iam-user": "cast-eks-prod"},
        {"iam-user-CastEKSPolicy": f"cast-eks-prod/{POLICY}/CastEKSPolicy"},
        {"iam-castai-policy": f"{POLICY}/CastEKSPolicy-prod"},
        {"iam-role-restricted": "cast-eks-prod:CastEKSRestrictedAccess"},
        {"iam-node-role": "nodes", "iam-instance-profile": "profile"},
        {"iam-node-AmazonEKS_CNI_Policy": "nodes/arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy"},
        {"iam-key-a": "AKIAANYTHING", "node-security-group": "sg-0a1b2c3d4e"},
        {"access-node-role-access": f"prod:{IAM}:role/nodes"},
        {
            "access-user-access": f"prod:{IAM}:user/cast-eks-prod",
            "access-user-cluster-admin": f"prod#{IAM}:user/cast-eks-prod#arn:of:the:policy",
        },
    ],
)
def test_the_ids_of_the_stacks_names_are_accepted(imports: dict[str, str]):
    assert validate(settings(imports, physicalNames=NODES), KEY).adoption.imports == imports


@pytest.mark.parametrize(
    ("imports", "setting"),
    [
        ({"iam-user": "jane"}, "physicalNames.principal"),
        ({"iam-role": "cast-eks-prod-2"}, "physicalNames.principal"),
        ({"iam-user-CastEKSPolicy": f"jane/{POLICY}/CastEKSPolicy"}, "physicalNames.principal"),
        ({"iam-castai-policy": f"{POLICY}/CastEKSPolicy"}, "physicalNames.castaiPolicy"),
        ({"iam-restricted-policy": f"{POLICY}/X"}, "physicalNames.restrictedPolicy"),
        ({"iam-role-restricted": "cast-eks-prod:Other"}, "physicalNames.restrictedInline"),
        ({"iam-node-role": "others"}, "physicalNames.nodeRole"),
        ({"iam-instance-profile": "nodes"}, "physicalNames.instanceProfile"),
        ({"iam-node-X": "others/arn"}, "physicalNames.nodeRole"),
        ({"access-node-role-access": f"prod:{IAM}:role/others"}, "physicalNames.nodeRole"),
        ({"access-node-role-access": f"stage:{IAM}:role/nodes"}, "physicalNames.nodeRole"),
        ({"access-user-access": f"prod:{IAM}:user/jane"}, "physicalNames.principal"),
        ({"access-user-cluster-admin": f"prod#{IAM}:user/jane#p"}, "physicalNames.principal"),
    ],
)
def test_the_id_of_another_object_is_refused(imports: dict[str, str], setting: str):
    (resource,) = imports
    with pytest.raises(SettingsError, match=f"adoption.imports.{resource}: found.*{setting}"):
        validate(settings(imports, physicalNames=NODES), KEY)


def test_a_node_role_is_taken_over_under_a_given_name_only():
    with pytest.raises(SettingsError, match=r"given while physicalNames\.nodeRole is not"):
        validate(settings({"iam-node-role": "cast-prod-eks-0f3f1ba4"}), KEY)


def test_an_access_entry_has_the_path_of_its_principal():
    named = {"physicalNames": NODES, "iam": {"path": "/infra/"}}
    imports = {"access-node-role-access": f"prod:{IAM}:role/infra/nodes"}

    assert validate(settings(imports, **named), KEY)
