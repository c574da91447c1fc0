"""Ids to import are those of the stack's own names: the engine would change any other object."""

import pytest

from castai_stack.config.stack_file import KEY
from castai_stack.config.validation import SettingsError, validate

CLUSTER = {"name": "prod", "region": "eu-central-1", "accountId": "012345678901"}
IAM = "arn:aws:iam::012345678901"
POLICY = f"{IAM}:policy"
FUNCTION, RULE = "cast-ai-ec2-events-handler-prod", "cast-ai-spot-interruption-prod"
LAMBDA_ROLE = "CastLambdaRoleForSpot-prod"
QUEUES = "https://sqs.eu-central-1.amazonaws.com/012345678901"
SECRETS = "arn:aws:secretsmanager:eu-central-1:012345678901:secret"
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
        {"spot-function": FUNCTION, "spot-invoke-config": FUNCTION},
        {"spot-log-group": f"/aws/lambda/{FUNCTION}", "spot-errors-alarm": f"{FUNCTION}-errors"},
        {"spot-interruption-rule": RULE, "spot-interruption-target": f"{RULE}/spot-handler"},
        {"spot-rebalance-permission": f"{FUNCTION}/AllowRule-rebalance"},
        {"spot-dead-letters": f"{QUEUES}/cast-ai-ec2-events-dead-letters-prod"},
        {"spot-api-key": f"{SECRETS}:{FUNCTION}-api-key-a1B2c3"},
        {"spot-boundary": f"{POLICY}/CastLambdaBoundary-prod", "spot-role": LAMBDA_ROLE},
        {"spot-inline": f"{LAMBDA_ROLE}:spot-inline-1a2b3c4"},
        {"spot-AWSLambdaRole": f"{LAMBDA_ROLE}/arn:aws:iam::aws:policy/service-role/AWSLambdaRole"},
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
        ({"spot-function": "cast-ai-ec2-events-handler"}, "physicalNames.function"),
        ({"spot-invoke-config": "other"}, "physicalNames.function"),
        ({"spot-errors-alarm": f"{FUNCTION}-lost"}, "physicalNames.function"),
        ({"spot-rebalance-rule": RULE}, "physicalNames.rebalanceRule"),
        ({"spot-interruption-target": f"{RULE}/other"}, "physicalNames.interruptionRule"),
        ({"spot-rebalance-permission": "other/AllowRule-rebalance"}, "physicalNames.function"),
        ({"spot-dead-letters": f"{QUEUES}/other"}, "physicalNames.deadLetterQueue"),
        ({"spot-api-key": f"{SECRETS}:other-a1B2c3"}, "physicalNames.function"),
        ({"spot-boundary": f"{POLICY}/CastNodeBoundary-prod"}, "physicalNames.lambdaBoundary"),
        ({"spot-role": "CastLambdaRoleForSpot"}, "physicalNames.lambdaRole"),
        ({"spot-inline": "CastLambdaRoleForSpot:spot-inline-1a2b3c4"}, "physicalNames.lambdaRole"),
        ({"spot-AWSLambdaRole": "other/arn"}, "physicalNames.lambdaRole"),
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
