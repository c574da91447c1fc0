"""The sandbox's CAST AI service refuses what the real one refuses, and uses what it is handed."""

import gzip
import json
import time

import pytest
import requests

from castai_stack.castai.client import CastaiApi
from castai_stack.castai.model import CastaiError
from sandbox.castai import API_KEY, VIEWER_KEY, Options
from tests.support.castai import ADMINISTRATOR, QUICK, REGION, World, an_account, eventually

NOBODY = "00000000-1111-2222-3333-444444444444"
CLUSTERS = "/v1/kubernetes/external-clusters"


@pytest.fixture(scope="module")
def aws_url(tmp_path_factory):
    with an_account(tmp_path_factory.mktemp("aws")) as url:
        yield url


@pytest.fixture
def make(tmp_path, aws_url):
    result = []

    def a_world(**options):
        result.append(World(tmp_path, aws_url, Options(**{**vars(QUICK), **options})))
        return result[-1]

    yield a_world
    for world in result:
        world.close()


@pytest.fixture
def world(make):
    return make()


@pytest.fixture
def api(world):
    return CastaiApi(world.castai.url, API_KEY)


@pytest.fixture
def cluster_id(world, api):
    return api.register("demo", REGION, world.account).id


def test_registering_twice_gives_one_cluster(world, api):
    first = api.register("demo", REGION, world.account)
    assert api.register("demo", REGION, world.account).id == first.id
    assert api.register("other", REGION, world.account).id != first.id
    assert len(api.list_clusters()) == 2


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/kubernetes/external-cluster", 404),
        ("PUT", CLUSTERS, 404),
        ("GET", f"{CLUSTERS}/{NOBODY}", 404),
        ("POST", f"{CLUSTERS}/{NOBODY}/token", 404),
        ("GET", f"{CLUSTERS}/{NOBODY}/unknown", 404),
    ],
)
def test_unknown_paths_and_clusters_are_refused(world, method, path, status):
    answer = world.call(method, path)
    assert answer.status_code == status
    assert set(answer.json()) == {"message", "fieldViolations"}
    if path != CLUSTERS and "external-cluster/" not in path:
        assert answer.json()["message"]


@pytest.mark.parametrize("key", ["", "wrong"])
def test_a_wrong_key_is_refused(world, key):
    assert world.call("GET", CLUSTERS, key=key).status_code == 401


def test_a_viewer_reads_and_writes_nothing(world, cluster_id):
    assert world.call("GET", f"{CLUSTERS}/{cluster_id}", key=VIEWER_KEY).status_code == 200
    assert world.call("POST", f"{CLUSTERS}/{cluster_id}/token", key=VIEWER_KEY).status_code == 403


def test_answers_carry_a_request_id(world):
    assert world.call("GET", CLUSTERS).headers["X-Castai-Request-Id"]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("", {"name": "x", "eks": {}}, "eks"),
        ("", {"name": "x", "eks": {"accountId": "1"}}, "eks.accountId"),
        ("", {"name": "x", "colour": "red", "eks": {"accountId": "1"}}, "colour"),
        ("/ID", {"assumeRoleArn": "arn"}, "assumeRoleArn"),
        ("/ID", {"eks": {"assumeRoleArn": "arn:aws:iam::1:user/x"}}, "eks.assumeRoleArn"),
        ("/ID", {"credentials": "not json"}, "credentials"),
        ("/ID", {"credentials": {"accessKeyId": "A"}}, "credentials"),
        ("/ID", {"credentials": '{"accessKeyId": "A"}'}, "credentials"),
        ("/ID/disconnect", {"deleteNodes": True}, "deleteNodes"),
        ("/ID/disconnect", {"deleteProvisionedNodes": "yes"}, "deleteProvisionedNodes"),
        ("/ID/token", {"ttl": 1}, "ttl"),
        ("/ID/events", {"eventType": "party"}, "eventType"),
        ("/ID/events", {"eventType": "interrupted", "instance": "i-1"}, "instance"),
    ],
)
def test_unknown_and_malformed_fields_are_refused_by_name(world, cluster_id, path, body, field):
    answer = world.call("POST", CLUSTERS + path.replace("ID", cluster_id), body)
    assert answer.status_code == 400
    assert [violation["field"] for violation in answer.json()["fieldViolations"]] == [field]


def test_a_users_keys_are_used_before_they_are_taken(world, api, cluster_id):
    key, secret = world.user_with_key()
    cluster = api.hand_over_keys(cluster_id, key, secret)
    assert (cluster.status, bool(cluster.credentials_id)) == ("connecting", True)
    eventually(lambda: api.get_cluster(cluster_id).status == "ready")
    assert world.state(cluster_id)["credentialsKind"] == "user"


def test_keys_that_do_not_work_are_forbidden(api, cluster_id):
    with pytest.raises(CastaiError) as caught:
        api.hand_over_keys(cluster_id, "AKIAUNKNOWN", "secret-of-nobody")
    assert caught.value.refuses_credentials
    assert api.get_cluster(cluster_id).credentials_id == ""


def test_every_hand_over_has_its_own_credentials_id(world, api, cluster_id):
    key, secret = world.user_with_key()
    first = api.hand_over_keys(cluster_id, key, secret).credentials_id
    assert api.hand_over_keys(cluster_id, key, secret).credentials_id != first


def test_a_role_needs_the_principal_first(world, api, cluster_id):
    with pytest.raises(CastaiError) as caught:
        api.hand_over_role(cluster_id, f"arn:aws:iam::{world.account}:role/any")
    assert caught.value.refuses_credentials


def test_a_role_with_another_external_id_is_refused(world, api, cluster_id):
    api.create_principal(cluster_id)
    with pytest.raises(CastaiError) as caught:
        api.hand_over_role(cluster_id, world.role(cluster_id, external_id="another"))
    assert caught.value.refuses_credentials


def test_keys_that_may_not_look_at_instances_are_refused(world, api, cluster_id):
    key = world.user_with_key()
    world.aws("iam").detach_user_policy(UserName="cast-eks-demo", PolicyArn=ADMINISTRATOR)
    try:
        with pytest.raises(CastaiError) as caught:
            api.hand_over_keys(cluster_id, *key)
    finally:
        world.aws("iam").attach_user_policy(UserName="cast-eks-demo", PolicyArn=ADMINISTRATOR)
    assert caught.value.refuses_credentials
    assert "UnauthorizedOperation" in str(caught.value)


def test_a_role_is_assumed_before_it_is_taken(world, api, cluster_id):
    api.create_principal(cluster_id)
    arn = world.role(cluster_id)
    assert api.hand_over_role(cluster_id, arn).assume_role_arn == arn
    assert world.state(cluster_id)["credentialsKind"] == "role"


def test_access_that_is_lost_later_shows_when_it_is_used(world, api, cluster_id):
    api.hand_over_keys(cluster_id, *world.user_with_key())
    use = f"/_sandbox/clusters/{cluster_id}/use"
    assert world.call("POST", use).json() == {"access": True}
    world.drop_user()
    assert world.call("POST", use).json() == {"access": False}
    cluster = api.get_cluster(cluster_id)
    assert (cluster.status, "InvalidClientTokenId" in cluster.reconcile_error) == ("failed", True)


def test_reconciling_repairs_what_works_again(world, api, cluster_id):
    api.hand_over_keys(cluster_id, *world.user_with_key())
    world.castai.service.clusters[cluster_id].status = "failed"
    api.reconcile(cluster_id)
    eventually(lambda: api.get_cluster(cluster_id).status == "ready")


def test_the_principal_exists_after_it_is_asked_for_and_a_second_request_stumbles(api, cluster_id):
    assert api.get_principal(cluster_id) is None
    arn = api.create_principal(cluster_id)
    assert arn == f"arn:aws:iam::809060229965:user/cast-crossrole-{cluster_id}"
    assert api.get_principal(cluster_id) == arn
    with pytest.raises(CastaiError) as caught:
        api.create_principal(cluster_id)
    assert (caught.value.status, caught.value.message) == (500, "Internal Server Error")
    api.delete_principal(cluster_id)
    assert api.get_principal(cluster_id) is None


def test_the_agent_is_online_only_while_it_reports(make):
    world = make(online_window=1.5, lost_after=2.5)
    api = CastaiApi(world.castai.url, API_KEY)
    cluster_id = api.register("demo", REGION, world.account).id

    def status():
        return api.get_cluster(cluster_id).agent_status

    assert status() == "waiting-connection"
    assert world.heartbeat(cluster_id, api.create_token(cluster_id)) == 204
    assert status() == "online"
    assert api.get_cluster(cluster_id).agent_snapshot_received_at
    eventually(lambda: status() == "non-responding")
    eventually(lambda: status() == "disconnected")
    api.hand_over_keys(cluster_id, *world.user_with_key())
    assert status() == "non-responding", "with credentials a silent agent is not disconnected"


def test_an_agent_that_reports_every_15_seconds_stays_online():
    assert Options().online_window > 15


def test_a_full_snapshot_replaces_what_was_reported_before(world, api, cluster_id):
    path = f"/v1/kubernetes/clusters/{cluster_id}/agent-deltas"

    def report(name, *, full):
        node = {"metadata": {"name": name}, "spec": {"providerID": f"aws:///z/i-{name}"}}
        items = [{"event": "add", "kind": "Node", "data": node}]
        delta = {"clusterId": cluster_id, "fullSnapshot": full, "items": items}
        assert world.call("POST", path, {**delta, "clusterVersion": "1.33"}).status_code == 204
        return [node.name for node in api.list_nodes(cluster_id)]

    assert report("a", full=True) == ["a"]
    assert report("b", full=False) == ["a", "b"]
    assert report("c", full=True) == ["c"]
    answer = world.call("GET", f"{CLUSTERS}/{cluster_id}").json()
    assert answer["kubernetesVersion"] == "1.33"


def test_an_agent_asks_for_its_settings_and_sends_its_log(world, api, cluster_id):
    token, agent = api.create_token(cluster_id), f"/v1/kubernetes/clusters/{cluster_id}/agent"
    version = {"agentVersion": "v1", "gitCommit": "c"}
    settings = world.call("POST", f"{agent}-config", version, token)
    event = {"level": "info", "time": "2026-01-01T00:00:00Z", "message": "started", "fields": {}}

    assert settings.json() == {"intervalSeconds": "15", "resync": False}
    assert world.call("POST", f"{agent}-logs", {"logEvent": event}, token).json() == {}
    assert "agent: info started" in world.state(cluster_id)["log"]
    assert world.call("POST", f"{agent}-logs", {"lines": []}, token).status_code == 400


def test_an_agent_registers_its_own_cluster_and_no_other(world, api, cluster_id):
    eks = {"accountId": world.account, "region": REGION, "clusterName": "demo"}
    others = dict.fromkeys(
        ("gke", "kops", "aks", "openshift", "anywhere", "self_hosted_with_ec2_nodes")
    )
    body = {"name": "demo", "eks": eks, **others, "castware_install_method": "HELM"}
    token = api.create_token(cluster_id)

    assert world.call("POST", CLUSTERS, body, token).json()["id"] == cluster_id
    other = {**body, "name": "other", "eks": {**eks, "clusterName": "other"}}
    assert world.call("POST", CLUSTERS, other, token).status_code == 403
    assert world.call("POST", CLUSTERS, {**body, "gke": {"x": 1}}, token).status_code == 400


def test_clusters_and_nodes_have_the_fields_that_the_api_requires(world, cluster_id):
    node = {"metadata": {"name": "n"}, "spec": {"providerID": "aws:///z/i-1"}}
    items = [{"event": "add", "kind": "Node", "data": node}]
    world.call("POST", f"/v1/kubernetes/clusters/{cluster_id}/agent-deltas", {"items": items})
    cluster = world.call("GET", f"{CLUSTERS}/{cluster_id}").json()
    [listed] = world.call("GET", f"{CLUSTERS}/{cluster_id}/nodes").json()["items"]

    assert cluster.keys() >= {
        *("kubernetesVersion", "reconciledAt", "deletedAt", "sshPublicKey", "createdAt"),
        *("managedBy", "clusterNameId", "providerNamespaceId", "reconcileInfo"),
    }
    assert listed.keys() >= {
        *("annotations", "cloud", "createdAt", "instanceType", "resources", "role"),
        *("spotConfig", "taints", "unschedulable"),
    }


def test_an_agent_with_a_wrong_key_stays_offline(world, api, cluster_id):
    other = api.register("other", REGION, world.account).id
    assert world.heartbeat(cluster_id, "wrong") == 401
    assert world.heartbeat(cluster_id, api.create_token(other)) == 403
    assert api.get_cluster(cluster_id).agent_status == "waiting-connection"


def test_an_agent_may_report_compressed_and_name_its_nodes(world, api, cluster_id):
    node = {"metadata": {"name": "n1"}, "spec": {"providerID": "aws:///eu-central-1a/i-1"}}
    delta = {"items": [{"event": "add", "kind": "Node", "data": node}]}
    answer = requests.post(
        f"{world.castai.url}/v1/kubernetes/clusters/{cluster_id}/agent-deltas",
        data=gzip.compress(json.dumps(delta).encode()),
        headers={"X-Api-Key": API_KEY, "Content-Encoding": "gzip"},
        timeout=10,
    )
    assert answer.status_code == 204
    assert [node.instance_id for node in api.list_nodes(cluster_id)] == ["i-1"]


def test_a_token_dies_unless_an_agent_uses_it_in_time(make):
    world = make(token_lifetime=1)
    api = CastaiApi(world.castai.url, API_KEY)
    cluster_id = api.register("demo", REGION, world.account).id
    unused = api.create_token(cluster_id)
    time.sleep(1.05)
    assert world.heartbeat(cluster_id, unused) == 401
    used = api.create_token(cluster_id)
    assert world.heartbeat(cluster_id, used) == 204
    time.sleep(1.05)
    assert world.heartbeat(cluster_id, used) == 204


def test_a_new_token_takes_the_place_of_the_one_in_use(world, api, cluster_id):
    first = api.create_token(cluster_id)
    assert world.heartbeat(cluster_id, first) == 204
    api.create_token(cluster_id)
    assert world.heartbeat(cluster_id, first) == 401


@pytest.mark.parametrize("spelling", ["eventType", "event_type"])
def test_spot_events_are_recorded(world, api, cluster_id, spelling):
    provider = {"eventType": "providerId", "event_type": "provider_id"}[spelling]
    body = {spelling: "interrupted", provider: "aws:///eu-central-1a/i-1"}
    token = api.create_token(cluster_id)
    assert world.call("POST", f"{CLUSTERS}/{cluster_id}/events", body, token).status_code == 200
    assert world.state(cluster_id)["events"] == [
        {"eventType": "interrupted", "providerId": "aws:///eu-central-1a/i-1"}
    ]


def test_a_connected_cluster_must_be_disconnected_before_it_is_deleted(world, api, cluster_id):
    api.hand_over_keys(cluster_id, *world.user_with_key())
    with pytest.raises(CastaiError, match="must be disconnected first"):
        api.delete_cluster(cluster_id)
    assert api.disconnect(cluster_id, delete_nodes=False).status == "deleting"
    eventually(lambda: api.get_cluster(cluster_id).status == "deleted")
    assert world.call("DELETE", f"{CLUSTERS}/{cluster_id}").status_code == 204
    assert api.get_cluster(cluster_id).archived
    assert api.list_clusters() == []


def test_a_cluster_without_credentials_is_deleted_at_once(api, cluster_id):
    assert api.disconnect(cluster_id, delete_nodes=True).status == "connecting", "does nothing"
    api.delete_cluster(cluster_id)
    assert api.get_cluster(cluster_id).archived


@pytest.mark.parametrize(
    ("option", "same_id", "status"),
    [("new", False, "connecting"), ("revive", True, "connecting"), ("stay", True, "archived")],
)
def test_an_archived_cluster_comes_back_as_configured(make, option, same_id, status):
    world = make(archived=option)
    api = CastaiApi(world.castai.url, API_KEY)
    first = api.register("demo", REGION, world.account)
    api.delete_cluster(first.id)
    again = api.register("demo", REGION, world.account)
    assert (again.id == first.id, again.status) == (same_id, status)


def test_an_archived_cluster_that_stays_so_is_revived_by_its_id(make):
    world = make(archived="stay")
    api = CastaiApi(world.castai.url, API_KEY)
    first = api.register("demo", REGION, world.account)
    api.delete_cluster(first.id)
    again = api.register("demo", REGION, world.account, cluster_id=first.id)
    assert (again.id, again.status) == (first.id, "connecting")


def launch(world, cluster_id, count=1):
    answer = world.call("POST", f"/_sandbox/clusters/{cluster_id}/nodes", {"count": count})
    assert answer.status_code == 200, answer.text
    return answer.json()["instanceIds"]


def test_nodes_are_launched_and_deleted_with_the_credentials(world, api, cluster_id):
    api.hand_over_keys(cluster_id, *world.user_with_key())
    result = launch(world, cluster_id, 2)
    assert sorted(world.instances()) == sorted(result)
    assert all(node.made_by_castai for node in api.list_nodes(cluster_id))
    api.disconnect(cluster_id, delete_nodes=True)
    eventually(lambda: api.get_cluster(cluster_id).status == "deleted")
    assert world.instances() == [], "nodes are left"


def test_nodes_stay_when_nobody_asks_for_their_deletion(world, api, cluster_id):
    api.hand_over_keys(cluster_id, *world.user_with_key())
    result = launch(world, cluster_id)
    api.disconnect(cluster_id, delete_nodes=False)
    eventually(lambda: api.get_cluster(cluster_id).status == "deleted")
    assert world.instances() == result


def test_nodes_are_orphaned_when_access_goes_before_they_do(make):
    """The time line of terraform-provider-castai, pull request 768."""
    world = make(disconnect_delay=0.2)
    api = CastaiApi(world.castai.url, API_KEY)
    cluster_id = api.register("demo", REGION, world.account).id
    api.hand_over_keys(cluster_id, *world.user_with_key())
    result = launch(world, cluster_id)
    world.drop_user()  # before the disconnect, which a busy machine would carry out first
    api.disconnect(cluster_id, delete_nodes=True)
    eventually(lambda: api.get_cluster(cluster_id).archived)
    state = world.state(cluster_id)
    assert world.instances() == result
    assert sum("attempt" in line for line in state["log"]) == 10
    assert state["log"][-1] == "gave up, 1 nodes left"


def test_the_state_and_the_log_file_hold_no_secret(world, api, cluster_id, tmp_path):
    key, secret = world.user_with_key()
    token = api.create_token(cluster_id)
    api.hand_over_keys(cluster_id, key, secret)
    messages = world.call("GET", "/_sandbox/state").text + (tmp_path / "castai.log").read_text()
    assert secret not in messages, "the secret access key is told"
    assert token not in messages, "the token is told"
    assert API_KEY not in messages, "the API key is told"


def test_throttling_is_a_429_that_the_client_gets_over(world, api):
    answer = requests.put(
        f"{world.castai.url}/_sandbox/faults", json={"throttle": 0.3, "seed": 3}, timeout=10
    )
    assert answer.status_code == 200
    for _ in range(4):
        api.list_clusters()
    log = requests.get(f"{world.castai.url}/_sandbox/requests", timeout=10).json()["log"]
    assert 429 in [entry["status"] for entry in log]


def test_requests_are_logged_by_action_and_kind_of_key(world, api):
    api.register("demo", REGION, world.account)
    counted = requests.get(f"{world.castai.url}/_sandbox/requests", timeout=10).json()
    assert (counted["reads"], counted["writes"]) == (0, 1)
    assert counted["log"][0]["action"] == "RegisterCluster"
    assert counted["log"][0]["principal"] == "api-key"
