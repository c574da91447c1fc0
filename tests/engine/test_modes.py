"""Other ways to connect, each a life of its own: without access, by access entries, by hand."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests
from lightkube.resources.core_v1 import Namespace

from sandbox import inventory
from sandbox.constants import CLUSTER, REGION
from sandbox.engine.stack import OperationError, Result
from sandbox.kubernetes.furnished import aws_auth
from sandbox.session import Sandbox
from tests.support.life import SECONDS, Life, operations, require_empty

pytestmark = pytest.mark.sandbox

ACCOUNT = "012345678901"
API_CLUSTER = "by-entries"
CLUSTER_ID = "0f3f1ba4-6f46-4f2e-9a39-6a1bb6c0f0a1"


@contextmanager
def lived(life: Life) -> Iterator[Life]:
    """Destroy the stack at the end, and hold AWS to what it was."""
    before = inventory.aws(life.sandbox.aws_url)
    try:
        yield life
    finally:
        life.stack().destroy()
    left = inventory.differences(before, inventory.aws(life.sandbox.aws_url))
    assert not left, [str(one) for one in left]
    assert life.map_roles() == aws_auth(ACCOUNT)["mapRoles"]


def up_and_nothing_more(life: Life) -> Result:
    """Make it, and see that a preview would not change it."""
    result = life.stack().up()
    with life.writing_nothing():
        require_empty([life.stack().preview()])
    return result


def test_an_agent_alone_is_followed_by_access_and_access_by_a_wanted_disconnect(sandbox: Sandbox):
    with lived(Life(sandbox, "alone", {"credentials.mode": "none"})) as life:
        up_and_nothing_more(life)
        assert life.castai()["agentStatus"] == "online"
        assert life.castai()["credentialsKind"] == "none"

        life.base = {"credentials.mode": "user", "spot.enabled": "false"}
        result = operations(life.stack().up())
        assert not [name for name in result if name.startswith("spot")], "Spot is switched off"
        assert set(result.values()) <= {"create", "update"}
        assert life.castai()["credentialsKind"] == "user"
        require_empty([life.stack().preview()])

        life.base = {"credentials.mode": "none"}
        with pytest.raises(OperationError, match="disconnects the cluster"):
            life.stack().preview()
        assert life.castai()["status"] == "ready"
        life.stack(api__allowDisconnect="true").up()
        assert "disconnected" in life.castai()["log"]


@pytest.fixture
def api_cluster(sandbox: Sandbox) -> Iterator[str]:
    """The same API server as a cluster that reads access entries only."""
    eks = sandbox.client("eks")
    known = eks.describe_cluster(name=CLUSTER)["cluster"]
    eks.create_cluster(
        name=API_CLUSTER,
        roleArn=known["roleArn"],
        resourcesVpcConfig={"subnetIds": known["resourcesVpcConfig"]["subnetIds"]},
        accessConfig={"authenticationMode": "API"},
    )
    plane = sandbox.control_plane
    answer = requests.put(
        f"{sandbox.aws_url}/_sandbox/clusters/{REGION}/{API_CLUSTER}",
        json={
            "endpoint": plane.url,
            "certificateAuthority": base64.b64encode(plane.authority.read_bytes()).decode(),
        },
        timeout=SECONDS,
    )
    answer.raise_for_status()
    yield API_CLUSTER
    eks.delete_cluster(name=API_CLUSTER)


def test_a_role_by_access_entries_under_the_documented_names_and_permissions(
    sandbox: Sandbox, api_cluster: str
):
    settings = {
        "cluster.name": api_cluster,
        "credentials.mode": "role",
        "names": "documented",
        "permissions": "documented",
    }
    with lived(Life(sandbox, "entries", settings)) as life:
        up_and_nothing_more(life)

        result = life.castai()
        assert (result["credentialsKind"], result["status"]) == ("role", "ready")
        assert life.castai_can_work()
        iam, eks = life.aws("iam"), life.aws("eks")
        policies = {p["PolicyName"] for p in iam.list_policies(Scope="Local")["Policies"]}
        assert "CastEKSPolicy" in policies
        iam.get_role(RoleName="CastLambdaRoleForSpot")
        node_role = life.stack().outputs()["node_role_arn"]
        entries = eks.list_access_entries(clusterName=api_cluster)["accessEntries"]
        assert node_role in entries
        assert life.map_roles() == aws_auth(ACCOUNT)["mapRoles"], "nobody reads aws-auth here"


@pytest.mark.exhaustive
def test_without_registration_a_person_hands_over_and_castai_hears_nothing(sandbox: Sandbox):
    settings = {"api.register": "false", "api.clusterId": CLUSTER_ID}
    life = Life(sandbox, "by-hand", settings)
    before = life.request_counts("castai")
    with lived(life):
        up_and_nothing_more(life)

        outputs = life.stack().outputs()
        assert outputs["cluster_id"] == CLUSTER_ID
        assert outputs["next_step"] == (
            "Open console_url, choose Enable CAST AI, and paste access_key_id and "
            "secret_access_key (`pulumi stack output --show-secrets`) into the cluster's window; disconnect it there before a destroy"
        )
        with life.kubernetes() as client:
            assert client.get(Namespace, "castai-agent")
    api_requests = [line for line in life.request_counts("castai") - before if "by api-key" in line]
    assert not api_requests, "the program talked to CAST AI"
