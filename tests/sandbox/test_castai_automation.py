"""The sandbox's CAST AI service holds and refuses automation settings as the real one does."""

import threading

import pytest

from castai_stack.castai.client import CastaiApi
from sandbox.castai import API_KEY, VIEWER_KEY
from sandbox.castai.node_configurations import NodeConfigurations
from sandbox.castai.readiness import UnresolvedError, first_configuration, require_resolved
from tests.support.castai import QUICK, REGION, World, an_account, eventually

PROFILE = "arn:aws:iam::012345678901:instance-profile/cast-demo-eks-0"
CONFIGURATION = {
    "name": "default",
    "subnets": ["subnet-1"],
    "eks": {"instanceProfileArn": PROFILE, "securityGroups": ["sg-1"]},
}
SEEN = {
    "instanceProfiles": [{"arn": PROFILE, "name": "cast-demo-eks-01234567"}],
    "securityGroups": [
        {"id": "sg-1", "tags": {"kubernetes.io/cluster/demo": "owned"}},
        {"id": "sg-2", "tags": {"Name": "cast-demo-cluster/CastNodeSecurityGroup"}},
        {"id": "sg-3", "tags": {"kubernetes.io/cluster/other": "owned"}},
    ],
    "subnets": [{"id": "subnet-1"}],
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with an_account(tmp_path_factory.mktemp("aws")) as url:
        world = World(tmp_path_factory.mktemp("castai"), url, QUICK)
        yield world
        world.close()


@pytest.fixture
def cluster_id(world, request):
    return (
        CastaiApi(world.castai.url, API_KEY).register(request.node.name, REGION, world.account).id
    )


@pytest.fixture
def call(world, cluster_id):
    def one(method, path, body=None, key=API_KEY):
        answer = world.call(method, path.replace("ID", cluster_id), body, key)
        return answer.status_code, answer.json()

    return one


V2 = "/cluster-autoscaler/v2/clusters/ID/policies"
CONFIGURATIONS = "/v1/kubernetes/clusters/ID/node-configurations"
TEMPLATES = "/v1/kubernetes/clusters/ID/node-templates"
EVICTOR = "/workload-eviction/v1/clusters/ID"
ACTIONS = "/v1/kubernetes/clusters/ID/actions"


def test_policies_are_off_and_whole_before_anybody_writes_them(call):
    _, policies = call("GET", V2)
    assert (policies["enabled"], policies["version"]) == (False, "1")
    assert policies["nodeDownscaler"] == {"emptyNodesEnabled": False, "emptyNodesDelay": "300s"}
    assert policies["unschedulablePods"]["podPinner"]["status"] == "POD_PINNER_STATUS_MISSING"


def test_a_write_needs_the_version_and_changes_it(call):
    assert call("PATCH", V2, {"enabled": True})[0] == 409
    status, stored = call("PATCH", V2, {"enabled": True, "version": "1"})
    assert (status, stored["enabled"], stored["version"]) == (200, True, "2")
    status, refusal = call("PATCH", V2, {"enabled": False, "version": "1"})
    assert status == 409
    assert "refetch the policies" in refusal["message"]


def test_sections_that_are_left_out_are_carried_over(call):
    limits = {"enabled": True, "cpu": {"maxCores": 8}}
    call("PATCH", V2, {"clusterLimits": limits, "version": "1"})
    _, stored = call("PATCH", V2, {"enabled": True, "version": "2"})
    assert stored["clusterLimits"] == {"enabled": True, "cpu": {"minCores": 0, "maxCores": 8}}


def test_a_delay_is_answered_in_seconds(call):
    downscaler = {"emptyNodesEnabled": True, "emptyNodesDelay": "1m30s"}
    _, stored = call("PATCH", V2, {"nodeDownscaler": downscaler, "version": "1"})
    assert stored["nodeDownscaler"]["emptyNodesDelay"] == "90s"


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("PATCH", V2, {"version": "1", "colour": 1}, "colour"),
        ("PATCH", V2, {"version": "1", "enabled": "yes"}, "enabled"),
        (
            "PATCH",
            V2,
            {"version": "1", "clusterLimits": {"cpu": {"maxCores": 1}}},
            "clusterLimits.cpu.maxCores",
        ),
        (
            "PATCH",
            V2,
            {"version": "1", "nodeDownscaler": {"emptyNodesDelay": "soon"}},
            "nodeDownscaler.emptyNodesDelay",
        ),
        (
            "PATCH",
            V2,
            {"version": "1", "nodeDownscaler": {"evictor": {}}},
            "nodeDownscaler.evictor",
        ),
        ("POST", CONFIGURATIONS, {**CONFIGURATION, "gke": {}}, "gke"),
        ("POST", CONFIGURATIONS, {**CONFIGURATION, "minDiskSize": 10}, "minDiskSize"),
        ("POST", CONFIGURATIONS, {**CONFIGURATION, "subnets": ["10.0.0.0/8"]}, "subnets"),
        ("POST", CONFIGURATIONS, {**CONFIGURATION, "subnets": []}, "subnets"),
        (
            "POST",
            CONFIGURATIONS,
            {**CONFIGURATION, "eks": {**CONFIGURATION["eks"], "imageFamily": "al2023"}},
            "eks.imageFamily",
        ),
        (
            "POST",
            CONFIGURATIONS,
            {**CONFIGURATION, "eks": {"instanceProfileArn": PROFILE}},
            "eks.securityGroups",
        ),
        ("POST", TEMPLATES, {"name": "x", "configurationId": "y", "cpu": 1}, "cpu"),
        ("PATCH", f"{EVICTOR}/config", {"cycleInterval": "often"}, "cycleInterval"),
        ("PATCH", f"{EVICTOR}/config", {"status": "x", "cycle": 1}, "cycle"),
        ("PATCH", f"{EVICTOR}/advanced-config", {}, "evictionConfig"),
    ],
)
def test_unknown_and_malformed_settings_are_refused_by_name(call, method, path, body, field):
    if path == TEMPLATES:
        body = {**body, "configurationId": call("POST", CONFIGURATIONS, CONFIGURATION)[1]["id"]}
    status, refusal = call(method, path, body)
    assert status == 400
    assert [violation["field"] for violation in refusal["fieldViolations"]] == [field]


def test_the_stores_v1_and_v2_do_not_know_each_other(call):
    v1 = "/v1/kubernetes/clusters/ID/policies"
    _, before = call("GET", v1)
    assert before["enabled"] is False
    assert call("PUT", v1, {**before, "enabled": True})[1]["enabled"] is True
    assert call("GET", V2)[1]["enabled"] is False


def test_a_configuration_is_answered_in_the_services_spelling(call):
    eks = {**CONFIGURATION["eks"], "imageFamily": "FAMILY_AL2023", "ipsPerPrefix": 0}
    body = {**CONFIGURATION, "eks": eks, "containerRuntime": "containerd"}
    _, stored = call("POST", CONFIGURATIONS, body)
    assert stored["containerRuntime"] == "CONTAINERD"
    spelling = {key: stored["eks"][key] for key in ("imageFamily", "ipsPerPrefix", "imdsV1")}
    assert spelling == {"imageFamily": "family_al2023", "ipsPerPrefix": 1, "imdsV1": True}
    assert stored["eks"]["dnsClusterIp"] == "10.100.0.10"
    assert (stored["minDiskSize"], stored["version"], stored["default"]) == (100, 1, False)


def test_a_second_configuration_of_one_name_overwrites_the_first(call):
    _, first = call("POST", CONFIGURATIONS, {**CONFIGURATION, "image": "ami-1"})
    _, second = call("POST", CONFIGURATIONS, CONFIGURATION)
    assert (second["id"], second["version"], second["image"]) == (first["id"], 2, None)
    assert len(call("GET", CONFIGURATIONS)[1]["items"]) == 1


def test_an_update_clears_nothing(call):
    _, first = call("POST", CONFIGURATIONS, {**CONFIGURATION, "image": "ami-1"})
    path = f"{CONFIGURATIONS}/{first['id']}"
    _, second = call("POST", path, {"image": None, "eks": {"volumeType": "gp2"}})
    assert (second["image"], second["version"]) == ("ami-1", 2)
    assert second["eks"] == {**first["eks"], "volumeType": "gp2"}


def test_the_default_configuration_stays(call):
    ids = [
        call("POST", CONFIGURATIONS, {**CONFIGURATION, "name": name})[1]["id"]
        for name in ("a", "b")
    ]
    for one in ids:
        assert call("POST", f"{CONFIGURATIONS}/{one}/default")[0] == 200
    defaults = {one["id"]: one["default"] for one in call("GET", CONFIGURATIONS)[1]["items"]}
    assert defaults == {ids[0]: False, ids[1]: True}
    assert call("DELETE", f"{CONFIGURATIONS}/{ids[1]}")[0] == 400
    assert call("DELETE", f"{CONFIGURATIONS}/{ids[0]}")[0] == 200
    assert call("GET", f"{CONFIGURATIONS}/{ids[0]}")[0] == 404


def test_the_default_template_comes_with_the_policies_and_stays(call):
    every = f"{TEMPLATES}?includeDefault=true"
    path = f"{TEMPLATES}/default-by-castai"
    assert call("PUT", path, {"isEnabled": False})[0] == 404
    call("PATCH", V2, {"enabled": True, "version": "1"})
    eventually(lambda: call("GET", every)[1]["items"])
    assert call("GET", TEMPLATES)[1]["items"] == []
    _, written = call("PUT", path, {"isEnabled": False, "constraints": {"spot": True}})
    assert (written["isEnabled"], written["isDefault"], written["version"]) == (False, True, "2")
    assert written["constraints"]["architectures"] == ["amd64"]
    assert call("DELETE", path)[0] == 400


def test_a_template_holds_on_to_its_configuration(call):
    _, configuration = call("POST", CONFIGURATIONS, CONFIGURATION)
    body = {"name": "gpu", "configurationId": configuration["id"]}
    assert call("POST", TEMPLATES, {**body, "isDefault": True})[0] == 400
    assert call("POST", TEMPLATES, body)[0] == 200
    assert call("POST", TEMPLATES, body)[0] == 409
    assert call("DELETE", f"{CONFIGURATIONS}/{configuration['id']}")[0] == 400
    assert call("DELETE", f"{TEMPLATES}/gpu")[0] == 200


def test_the_evictor_keeps_what_is_not_given_and_computes_its_status(call):
    call("PATCH", f"{EVICTOR}/config", {"enabled": True, "dryRun": True})
    _, stored = call("PATCH", f"{EVICTOR}/config", {"cycleInterval": "5m"})
    assert (stored["dryRun"], stored["cycleInterval"]) == (True, "300s")
    assert stored["status"] == "EVICTOR_STATUS_MISSING"
    rules = {"evictionConfig": [{"podSelector": {"kind": "Job"}, "settings": {"disposable": {}}}]}
    assert call("PATCH", f"{EVICTOR}/advanced-config", rules) == (200, rules)


def test_a_cluster_token_serves_actions_and_sets_nothing(world, call, cluster_id):
    token = CastaiApi(world.castai.url, API_KEY).create_token(cluster_id)
    assert call("GET", V2, key=token)[0] == 403
    assert call("GET", ACTIONS, key=token) == (200, {"items": []})
    assert call("PATCH", V2, {"version": "1"}, key=VIEWER_KEY)[0] == 403
    assert call("GET", V2, key=VIEWER_KEY)[0] == 200


def test_an_action_is_served_until_it_is_acknowledged(world, call, cluster_id):
    actions = world.castai.service.clusters[cluster_id].automation.actions
    errors = []
    later = threading.Timer(
        0.1, actions.send, ("actionPatchNode", {"nodeName": "n"}, errors.append)
    )
    later.start()
    [action] = call("GET", ACTIONS)[1]["items"]
    assert action["actionPatchNode"] == {"nodeName": "n"}
    assert call("GET", ACTIONS)[1]["items"] == [action]
    assert call("POST", f"{ACTIONS}/{action['id']}/ack", {"error": "no"})[0] == 200
    assert call("POST", f"{ACTIONS}/{action['id']}/ack", {"error": None})[0] == 404
    assert errors == ["no"]
    log = {"level": "info", "time": "2026-01-01T00:00:00Z", "message": "hello", "fields": {}}
    assert call("POST", f"{ACTIONS}/logs", log)[0] == 200
    assert "controller: info hello" in world.state(cluster_id)["log"]


def test_the_first_configuration_has_our_profile_the_clusters_groups_and_the_way_out():
    result = first_configuration("01234567-89ab", "demo", SEEN)
    assert result["eks"] == {"instanceProfileArn": PROFILE, "securityGroups": ["sg-1", "sg-2"]}
    assert result["subnets"] == ["subnet-1"]
    require_resolved(NodeConfigurations().create(result), SEEN)


@pytest.mark.parametrize(
    ("absent", "what"),
    [
        ("instanceProfiles", "failed to resolve instance profile"),
        ("securityGroups", "failed to resolve security groups"),
        ("subnets", "failed to resolve subnets"),
    ],
)
def test_what_does_not_resolve_is_named(absent, what):
    suggestions = {**SEEN, absent: []}
    with pytest.raises(UnresolvedError, match=what):
        first_configuration("01234567-89ab", "demo", suggestions)
    with pytest.raises(UnresolvedError, match=what):
        require_resolved(NodeConfigurations().create(CONFIGURATION), suggestions)
