"""AwsAuthMapping on the sandbox: roles and users of its AWS, its map, EKS access entries."""

from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError
from lightkube import Client, KubeConfig
from lightkube.resources.core_v1 import ConfigMap

from castai_stack.access import entries
from castai_stack.access.writer import ask_caller
from castai_stack.kube.connection import connect
from sandbox.engine.stack import OperationError
from sandbox.session import Sandbox

pytestmark = pytest.mark.sandbox

CLUSTER = "access-entries"
REGION = "eu-central-1"
ACCOUNT = "012345678901"
NODE_ARN = f"arn:aws:iam::{ACCOUNT}:role/mapped-nodes"
USER_ARN = f"arn:aws:iam::{ACCOUNT}:user/mapped-user"
ADMIN_POLICY = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
PROGRAM = f"""
import json

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from castai_stack.access.component import AwsAuthMapping
from castai_stack.access.settings import Access
from castai_stack.plugin.custom_resource import CastaiProvider

cloud = aws.Provider("aws", region="{REGION}", allowed_account_ids=["{ACCOUNT}"])
objects = kubernetes.Provider("kubernetes")
castai = CastaiProvider("castai", api_url="https://api.cast.ai", api_key=None,
                        kubeconfig="ambient", context=None)
own = pulumi.ResourceOptions(provider=cloud)
trust = {{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Action": "sts:AssumeRole",
         "Principal": {{"Service": "ec2.amazonaws.com"}}}}]}}
role = aws.iam.Role("role", name="mapped-nodes", assume_role_policy=json.dumps(trust),
                    path="%(path)s", tags=%(tags)s, opts=own)
user = aws.iam.User("user", name="mapped-user", opts=own)
AwsAuthMapping(
    "mapping",
    {{
        "cluster_name": "{CLUSTER}",
        "region": "{REGION}",
        "partition": "aws",
        "mode": "%(mode)s",
        "node_role_arn": role.arn,
        "node_role_unique_id": role.unique_id,
        "user_arn": user.arn,
        "user_unique_id": user.unique_id,
        "user_name": "mapped-user",
        "settings": Access.model_validate(%(access)s),
        "tags": {{}},
    }},
    pulumi.ResourceOptions(providers=[cloud, objects, castai]),
)
"""


@pytest.fixture(scope="module")
def eks(sandbox: Sandbox):
    return sandbox.client("eks")


@pytest.fixture(scope="module")
def cluster(eks):
    """A second cluster, so that nobody else's authentication mode changes."""
    known = eks.describe_cluster(name="demo")["cluster"]
    eks.create_cluster(
        name=CLUSTER,
        roleArn=known["roleArn"],
        resourcesVpcConfig={"subnetIds": known["resourcesVpcConfig"]["subnetIds"]},
        accessConfig={"authenticationMode": "API_AND_CONFIG_MAP"},
    )
    yield CLUSTER
    eks.delete_cluster(name=CLUSTER)


def entry(eks, arn) -> dict[str, Any] | None:
    try:
        return eks.describe_access_entry(clusterName=CLUSTER, principalArn=arn)["accessEntry"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return None
        raise


def policies(eks, arn):
    result = eks.list_associated_access_policies(clusterName=CLUSTER, principalArn=arn)
    return [one["policyArn"] for one in result["associatedAccessPolicies"]]


def mapped(sandbox: Sandbox):
    config = KubeConfig.from_file(sandbox.control_plane.kubeconfig)
    with Client(config=config) as client:
        data = client.get(ConfigMap, entries.NAME, namespace="kube-system").data
    roles = yaml.safe_load(data.get("mapRoles") or "[]")
    users = yaml.safe_load(data.get("mapUsers") or "[]")
    return {e.get("rolearn") for e in roles} | {e.get("userarn") for e in users}, data


class Mapping:
    """The stack of this module, under one choice of mode at a time."""

    def __init__(self, sandbox: Sandbox, folder):
        self.sandbox = sandbox
        self.program = folder / "program.py"

    def stack(self, mode, path="/", tags=None, **access):
        values = {"mode": mode, "path": path, "tags": tags or {}, "access": repr(access)}
        self.program.write_text(PROGRAM % values)
        return self.sandbox.stack(program=self.program, name="mapping")


@pytest.fixture
def mapping(sandbox, cluster, tmp_path):  # noqa: ARG001 - the cluster must be there
    result = Mapping(sandbox, tmp_path)
    yield result
    result.stack("aws-auth").destroy()


def kinds(result, operation):
    return [s.type.rpartition(":")[2] for s in result.changing() if s.operation == operation]


def test_a_change_of_mode_makes_before_it_deletes_and_entries_follow_the_role(
    mapping, eks, sandbox
):
    before = mapped(sandbox)[1]
    mapping.stack("aws-auth").up()
    assert {NODE_ARN, USER_ARN} <= mapped(sandbox)[0]
    assert entry(eks, NODE_ARN) is None

    preview = mapping.stack("access-entries").preview()
    operations = [(s.operation, s.type.rpartition(":")[2]) for s in preview.changing()]
    assert not [o for o in operations if o[0] not in ("create", "delete")], "nothing is replaced"
    migrated = mapping.stack("access-entries").up()
    order = [s.operation for s in migrated.changing()]
    assert order == sorted(order, key=["create", "delete"].index), "every delete comes last"
    assert not {NODE_ARN, USER_ARN} & mapped(sandbox)[0]
    assert mapped(sandbox)[1] == before, "the map is as it was before us"
    nodes, user = entry(eks, NODE_ARN), entry(eks, USER_ARN)
    assert (nodes["type"], user["type"]) == ("EC2_LINUX", "STANDARD")
    assert (user["kubernetesGroups"], user["username"]) == ([], "mapped-user")
    assert policies(eks, USER_ARN) == [ADMIN_POLICY]
    assert mapping.stack("access-entries").preview().empty

    tagged = mapping.stack("access-entries", tags={"team": "nodes"}).preview()
    assert kinds(tagged, "update") == ["Role"]
    assert len(tagged.changing()) == 1, "a role that stays the same role keeps its entry"

    # Another path makes another role, of the same name for the map and with another id for EKS.
    moved = mapping.stack("access-entries", path="/castai/").up()
    assert "AccessEntry" in {s.type.rpartition(":")[2] for s in moved.changing()}
    assert entry(eks, NODE_ARN) is None
    assert entry(eks, NODE_ARN.replace("role/", "role/castai/"))["type"] == "EC2_LINUX"


@pytest.mark.exhaustive
def test_an_entry_is_made_again_with_a_role_that_was_made_again(mapping, eks, sandbox):
    mapping.stack("access-entries").up()
    result = entry(eks, NODE_ARN)["createdAt"]
    sandbox.client("iam").delete_role(RoleName="mapped-nodes")
    stack = mapping.stack("access-entries")
    stack.refresh()

    stack.up()

    assert entry(eks, NODE_ARN)["createdAt"] != result, "it would admit the role that is gone"


def test_an_entry_that_exists_is_refused_or_made_anew(mapping, eks):
    mapping.stack("aws-auth").up()
    eks.create_access_entry(clusterName=CLUSTER, principalArn=NODE_ARN, kubernetesGroups=["old"])

    with pytest.raises(OperationError) as refused:
        mapping.stack("access-entries").up()

    assert (
        f"cluster {CLUSTER}: an access entry for {NODE_ARN} exists (type STANDARD, groups ['old']), "
        "and this program did not make it; set access.adopt to take it over"
    ) in f"{refused.value} {refused.value.output}"
    assert entry(eks, NODE_ARN)["kubernetesGroups"] == ["old"]

    mapping.stack("access-entries", adopt=True).up()
    assert entry(eks, NODE_ARN)["type"] == "EC2_LINUX"


@pytest.mark.exhaustive
def test_a_narrower_group_comes_with_its_role_and_goes_with_it(mapping, eks):
    mapping.stack("access-entries", userGroups=["castai-nodes"]).up()

    assert entry(eks, USER_ARN)["kubernetesGroups"] == ["castai-nodes"]
    assert policies(eks, USER_ARN) == []
    wider = mapping.stack("access-entries").up()
    assert sorted(kinds(wider, "delete")) == ["ClusterRole", "ClusterRoleBinding"]
    assert policies(eks, USER_ARN) == [ADMIN_POLICY]


def test_the_api_server_names_the_caller_by_the_arn_that_is_mapped(sandbox: Sandbox):
    kubeconfig = sandbox.control_plane.kubeconfig_of("operator")

    with connect(str(kubeconfig), None) as client:
        caller = ask_caller(client)

    assert caller.arn == f"arn:aws:iam::{ACCOUNT}:role/platform-admin"
    assert "system:masters" in caller.groups
