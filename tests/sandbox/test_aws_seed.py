"""What is there before the program comes; each test has an account of its own."""

import json

import requests

from sandbox import aws, constants
from sandbox.kubernetes import furnished


def test_the_log_outlives_the_server(tmp_path):
    result = aws.serve(tmp_path)
    aws.root(result.url).client("iam", result.url).list_roles()
    result.close()

    written = (tmp_path / "aws-requests.jsonl").read_text().splitlines()
    assert json.loads(written[-1])["action"] == "ListRoles"


def test_the_cluster_and_its_node_group_fit_the_nodes_and_the_map(tmp_path):
    server = aws.serve(tmp_path)
    try:
        seeded = aws.seed(server.url)
        eks = seeded.operator.client("eks", server.url)
        cluster = eks.describe_cluster(name=constants.CLUSTER)["cluster"]
        [group_name] = eks.list_nodegroups(clusterName=constants.CLUSTER)["nodegroups"]
        group = eks.describe_nodegroup(clusterName=constants.CLUSTER, nodegroupName=group_name)
        ec2 = seeded.operator.client("ec2", server.url)
        security_group = cluster["resourcesVpcConfig"]["clusterSecurityGroupId"]
        result = ec2.describe_security_groups(GroupIds=[security_group])["SecurityGroups"][0]
    finally:
        server.close()

    assert cluster["kubernetesNetworkConfig"]["serviceIpv4Cidr"] == constants.SERVICE_CIDR
    assert result["VpcId"] == seeded.vpc_id
    assert group_name == constants.NODE_GROUP
    assert group["nodegroup"]["nodeRole"] == seeded.node_role_arn
    assert seeded.node_role_arn in furnished.aws_auth(constants.ACCOUNT)["mapRoles"]


def test_a_seeded_cluster_with_entries_has_its_people_and_nodes(tmp_path):
    created_result = aws.serve(tmp_path, authentication_mode="API")
    result = aws.seed(created_result.url)
    entries = requests.get(f"{created_result.url}/_sandbox/access-entries", timeout=60).json()
    created_result.close()

    own = {e["principalArn"].rpartition("/")[2]: e for e in entries if e["cluster"] == "demo"}
    assert own["platform-admin"]["policies"][0]["policyArn"].endswith("AmazonEKSClusterAdminPolicy")
    assert own["pull-request"]["groups"] == ["platform:read-only"]
    assert own["demo-general-nodes"]["type"] == "EC2_LINUX"
    assert all(e["valid"] for e in entries)
    assert result.node_role_arn == own["demo-general-nodes"]["principalArn"]
