"""A cluster of the fake is ready when agent and controller run and its nodes could be made."""

import time

import pytest

from castai_stack.castai.client import CastaiApi
from sandbox import aws
from sandbox.castai import API_KEY, Options, serve
from tests.support.castai import ADMINISTRATOR, QUICK, REGION, call, eventually

CONFIGURATIONS = "/v1/kubernetes/clusters/ID/node-configurations"


@pytest.fixture(scope="module")
def seeded(tmp_path_factory):
    server = aws.serve(tmp_path_factory.mktemp("aws"))
    yield aws.seed(server.url)
    server.close()


@pytest.fixture(scope="module")
def user(seeded):
    """Keys of a user that may do anything."""
    iam = seeded.operator.client("iam", seeded.endpoint)
    iam.create_user(UserName="castai")
    iam.attach_user_policy(UserName="castai", PolicyArn=ADMINISTRATOR)
    key = iam.create_access_key(UserName="castai")["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


@pytest.fixture
def castai(seeded, tmp_path):
    options = Options(**{**vars(QUICK), "requires_controller": True, "poll_hold": 0.0})
    server = serve(tmp_path, seeded.endpoint, options=options)
    yield server
    server.close()


@pytest.fixture
def api(castai):
    return CastaiApi(castai.url, API_KEY)


@pytest.fixture
def handed(api, user):
    """Id of a cluster whose credentials were handed over, and its token."""
    cluster_id = api.register("demo", REGION, "012345678901").id
    token = api.create_token(cluster_id)
    api.hand_over_keys(cluster_id, *user)
    return cluster_id, token


def make_profile(seeded, cluster_id):
    iam = seeded.operator.client("iam", seeded.endpoint)
    name = f"cast-demo-eks-{cluster_id[:8]}"
    iam.create_instance_profile(InstanceProfileName=name)
    return name


def start(castai, cluster_id, token, *, agent=True, controller=True):
    clusters = f"/v1/kubernetes/clusters/{cluster_id}"
    if agent:
        call(castai, "POST", f"{clusters}/agent-deltas", {"items": []}, token)
    if controller:
        call(castai, "GET", f"{clusters}/actions", key=token)


@pytest.mark.parametrize("running", [{"agent": False}, {"controller": False}])
def test_without_agent_or_controller_it_stays_connecting(seeded, castai, api, handed, running):
    cluster_id, token = handed
    make_profile(seeded, cluster_id)
    start(castai, cluster_id, token, **running)
    time.sleep(0.5)
    assert api.get_cluster(cluster_id).status == "connecting"
    start(castai, cluster_id, token)
    eventually(lambda: api.get_cluster(cluster_id).status == "ready")


def test_the_first_configuration_is_made_of_what_the_account_has(seeded, castai, api, handed):
    cluster_id, token = handed
    profile = make_profile(seeded, cluster_id)
    start(castai, cluster_id, token)
    eventually(lambda: api.get_cluster(cluster_id).status == "ready")
    [one] = call(castai, "GET", CONFIGURATIONS.replace("ID", cluster_id)).json()["items"]
    assert (one["default"], one["name"]) == (True, "default")
    assert one["eks"]["instanceProfileArn"].endswith(f":instance-profile/{profile}")
    assert sorted(one["subnets"]) == sorted(seeded.subnet_ids)
    suggestions = call(
        castai, "GET", CONFIGURATIONS.replace("ID", cluster_id) + "/suggestions"
    ).json()
    assert set(one["eks"]["securityGroups"]) < {
        group["id"] for group in suggestions["securityGroups"]
    }


def test_a_part_that_does_not_resolve_is_an_error_until_it_does(seeded, castai, api, handed):
    cluster_id, token = handed
    start(castai, cluster_id, token)
    eventually(lambda: api.get_cluster(cluster_id).status == "failed")
    assert "failed to resolve instance profile" in api.get_cluster(cluster_id).reconcile_error
    profile = make_profile(seeded, cluster_id)
    api.reconcile(cluster_id)
    eventually(lambda: api.get_cluster(cluster_id).status == "ready")
    iam = seeded.operator.client("iam", seeded.endpoint)
    iam.delete_instance_profile(InstanceProfileName=profile)
    api.reconcile(cluster_id)
    eventually(lambda: api.get_cluster(cluster_id).status == "failed")
    iam.create_instance_profile(InstanceProfileName=profile)
    wrong = {"name": "default", "subnets": ["subnet-1"]}
    configuration = f"{CONFIGURATIONS.replace('ID', cluster_id)}"
    [one] = call(castai, "GET", configuration).json()["items"]
    call(castai, "POST", f"{configuration}/{one['id']}", {"subnets": wrong["subnets"]})
    api.reconcile(cluster_id)
    eventually(lambda: "subnet-1" in api.get_cluster(cluster_id).reconcile_error)


@pytest.mark.parametrize("status", ["warning", "hibernating", "hibernated", "resuming"])
def test_other_statuses_can_be_played(castai, api, handed, status):
    body = {"status": status, "reconcileError": "because"}
    call(castai, "POST", f"/_sandbox/clusters/{handed[0]}/status", body)
    cluster = api.get_cluster(handed[0])
    assert (cluster.status, cluster.reconcile_error) == (status, "because")
