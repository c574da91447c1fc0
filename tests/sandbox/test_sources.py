"""The texts and names of other installers, held against what was measured of the originals."""

import base64
import gzip
import json
import re

import pytest

from sandbox.sources import charts, installers, policies
from sandbox.sources.footprint import Footprint, Place

CLUSTER_ID = "0f3f1ba4-6f46-4f2e-9a39-6a1bb6c0f0a1"


def place(cluster: str = "prod", region: str = "eu-central-1") -> Place:
    return Place(
        cluster=cluster,
        cluster_id=CLUSTER_ID,
        region=region,
        account_id="012345678901",
        vpc_id="vpc-0a1b2c3d4e5f60718",
        api_url="https://api.cast.ai",
        castai_user_arn=f"arn:aws:iam::809060229965:user/cast-crossrole-{CLUSTER_ID}",
    )


def size(document: object) -> int:
    return len(re.sub(r"\s", "", json.dumps(document)))


@pytest.mark.parametrize(
    ("document", "characters", "per_character_of_the_name"),
    [
        (policies.managed_2021, 1746, 0),
        (policies.restricted_2021, 2010, 5),
        (policies.restricted_2023, 1580, 5),
        (policies.restricted_2025, 2547, 8),
    ],
)
def test_the_documents_are_as_long_as_the_originals(
    document, characters, per_character_of_the_name
):
    """Lengths were measured with the originals, for a cluster's name of 32 characters."""
    assert size(document(place("c" * 32))) == characters
    grown = size(document(place("c" * 55))) - characters
    assert grown == per_character_of_the_name * 23


@pytest.mark.parametrize(
    ("installer", "principal", "node_role"),
    [
        (installers.script_with_user, "cast-eks-prod", "cast-prod-eks-0f3f1ba4"),
        (
            installers.script_with_role,
            "cast-eks-prod-cluster-role-0f3f1ba4",
            "cast-prod-eks-0f3f1ba4",
        ),
        (installers.terraform, "castai-eks-prod", "castai-eks-instance-prod"),
    ],
)
def test_an_installer_names_what_it_makes_and_refers_to_nothing_else(
    installer, principal, node_role
):
    footprint: Footprint = installer(place())

    assert footprint.handed.name == principal
    assert footprint.profiles == {node_role: node_role}
    own = {f"arn:aws:iam::012345678901:policy/{name}" for name in footprint.policies}
    attached = {arn for one in footprint.principals for arn in one.attached}
    assert own <= attached
    assert all(arn in own or arn.startswith("arn:aws:iam::aws:") for arn in attached)
    mapped = {entry["rolearn"] for entry in footprint.map_roles}
    assert mapped == {f"arn:aws:iam::012345678901:role/{node_role}"}


@pytest.mark.parametrize("chart", charts.RELEASES)
def test_a_record_holds_the_release_as_helm_packs_it(chart):
    packed = base64.b64decode(charts.record(chart)["data"]["release"])
    release = json.loads(gzip.decompress(base64.b64decode(packed)))

    assert release["name"] == chart.release
    assert release["chart"]["metadata"]["name"] == chart.chart


def test_what_helm_installs_carries_its_labels_and_a_record():
    *objects, record = charts.agent(place(), "the-token")

    assert record["metadata"]["name"] == "sh.helm.release.v1.castai-agent.v1"
    for document in objects:
        labels = document["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["helm.sh/chart"] == "castai-agent-0.153.2"
        assert "app.kubernetes.io/part-of" not in labels, "that is this program's"
