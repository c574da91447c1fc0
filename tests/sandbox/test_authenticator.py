import json
from pathlib import Path
from typing import Any

import pytest

from sandbox import constants
from sandbox.aws.account import AccessEntry, ClusterExtras
from sandbox.kubernetes import authenticator

ACCOUNT = "012345678901"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/teams/platform-admin"
USER = f"arn:aws:iam::{ACCOUNT}:user/jane"
VIEW = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"


def entry(arn: str, **policies: str) -> AccessEntry:
    return AccessEntry(
        arn, "ID", "STANDARD", "name", ["team"], {}, 0, 0, "identity",
        {arn: {"accessScope": {"type": scope}} for arn, scope in policies.items()},
    )  # fmt: skip


def clusters(mode: str, *entries: AccessEntry, name: str = constants.CLUSTER) -> Any:
    extras = ClusterExtras(mode, entries={one.principal_arn: one for one in entries})
    return {(constants.REGION, name): extras}


def content(directory: Path, name: str) -> dict[str, Any]:
    return json.loads((directory / "authenticator" / f"{name}.json").read_text())


def test_an_entry_is_a_mapping_of_its_kind_bound_to_the_principal_s_id():
    rest = {"userid": "ID", "username": "name", "groups": ["team"]}

    assert authenticator.mappings([entry(ROLE), entry(USER)]) == {
        "mapRoles": [{"rolearn": ROLE, **rest}],
        "mapUsers": [{"userarn": USER, **rest}],
    }


@pytest.mark.parametrize(
    ("scope", "groups"),
    [("cluster", ["team", "eks:access-policy:AmazonEKSViewPolicy"]), ("namespace", ["team"])],
)
def test_a_policy_of_the_whole_cluster_is_a_group(scope: str, groups: list[str]):
    [mapping] = authenticator.mappings([entry(ROLE, **{VIEW: scope})])["mapRoles"]

    assert mapping["groups"] == groups


@pytest.mark.parametrize(
    ("mode", "backends"),
    [
        ("CONFIG_MAP", "MountedFile EKSConfigMap"),
        ("API_AND_CONFIG_MAP", "MountedFile DynamicFile EKSConfigMap"),
        ("API", "MountedFile DynamicFile"),
    ],
)
def test_the_files_follow_the_cluster(tmp_path: Path, mode: str, backends: str):
    authenticator.Access(tmp_path).update(clusters(mode, entry(ROLE)))

    assert content(tmp_path, "backend-modes")["backendMode"] == backends
    assert content(tmp_path, "access-entries")["mapRoles"][0]["rolearn"] == ROLE


def test_only_what_differs_is_written(tmp_path: Path):
    access = authenticator.Access(tmp_path)
    access.update(clusters("API", entry(ROLE)))
    modes = tmp_path / "authenticator" / "backend-modes.json"
    modes.unlink()
    access.update(clusters("API", entry(USER)))

    assert not modes.exists()
    assert content(tmp_path, "access-entries")["mapRoles"] == []


def test_other_clusters_are_left_out(tmp_path: Path):
    authenticator.Access(tmp_path).update(clusters("API", entry(ROLE), name="other"))

    assert list((tmp_path / "authenticator").iterdir()) == []
