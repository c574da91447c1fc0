"""What is there before the program comes; each test has an account of its own."""

import json

import requests

from sandbox import aws


def test_the_log_outlives_the_server(tmp_path):
    made = aws.serve(tmp_path)
    aws.root(made.url).client("iam", made.url).list_roles()
    made.close()

    written = (tmp_path / "aws-requests.jsonl").read_text().splitlines()
    assert json.loads(written[-1])["action"] == "ListRoles"


def test_a_seeded_cluster_with_entries_has_its_people_and_nodes(tmp_path):
    made = aws.serve(tmp_path, authentication_mode="API")
    found = aws.seed(made.url)
    entries = requests.get(f"{made.url}/_sandbox/access-entries", timeout=60).json()
    made.close()

    own = {e["principalArn"].rpartition("/")[2]: e for e in entries if e["cluster"] == "demo"}
    assert own["platform-admin"]["policies"][0]["policyArn"].endswith("AmazonEKSClusterAdminPolicy")
    assert own["pull-request"]["groups"] == ["platform:read-only"]
    assert own["demo-general-nodes"]["type"] == "EC2_LINUX"
    assert all(e["valid"] for e in entries)
    assert found.node_role_arn == own["demo-general-nodes"]["principalArn"]
