"""The handlers of the automation's settings, called as the engine calls them, against the service."""

import time

import pytest

from castai_stack.castai import client
from castai_stack.castai.automation_api import AutomationApi
from castai_stack.castai.autoscaler_policies import AutoscalerPoliciesHandler, v1_refusal
from castai_stack.castai.evictor_configuration import EvictorConfigurationHandler
from castai_stack.castai.model import CastaiError, Node
from castai_stack.castai.node_configuration import NodeConfigurationHandler
from castai_stack.castai.node_template import DEFAULT_TEMPLATE, NodeTemplateHandler
from castai_stack.config.validation import validate
from castai_stack.plugin import waiting
from castai_stack.plugin.run import ResourceError
from castai_stack.plugin.values import UNKNOWN
from castai_stack.preflight.castai import castai_findings
from castai_stack.preflight.findings import Findings
from sandbox.castai import API_KEY, Options, serve
from tests.castai.test_remote_fields import CONFIGURATION, EVICTOR, POLICIES, TEMPLATE
from tests.support.castai import ACCOUNT, QUICK, REGION, StubCloud
from tests.support.coroutines import completed
from tests.support.plugin import handler
from tests.support.waits import wait_for

NOBODY = "99999999-1111-2222-3333-444444444444"


class SwiftClock:
    """Waits take hardly any time, and say that they took what they were meant to."""

    def __init__(self):
        self.passed = 0.0
        self.while_waiting = lambda: None

    def monotonic(self):
        return self.passed

    def sleep(self, seconds, _stopping):
        self.passed += seconds
        self.while_waiting()
        time.sleep(min(seconds, 0.05))


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    result = SwiftClock()
    monkeypatch.setattr(waiting, "CLOCK", result)
    monkeypatch.setattr(client.Retry, "sleep", lambda *_: None)
    for name in ("CASTAI_API_KEY", "CASTAI_API_URL"):
        monkeypatch.delenv(name, raising=False)
    return result


@pytest.fixture
def castai(tmp_path):
    running = serve(tmp_path, "http://127.0.0.1:1", options=Options(**vars(QUICK)))
    running.service.cloud = StubCloud()
    yield running
    running.close()


@pytest.fixture
def api(castai):
    return AutomationApi(castai.url, API_KEY)


@pytest.fixture
def cluster_id(api):
    return api.register("demo", REGION, ACCOUNT).id


@pytest.fixture
def one(castai):
    return lambda kind: handler(kind, api_key=API_KEY, api_url=castai.url)


def checked(kind, olds, news):
    result = kind.check(olds, news)
    assert not result.failures
    return result.inputs


def requests(castai, *actions):
    return [e["action"] for e in castai.faults.requests()["log"] if e["action"] in actions]


# -- what holds for all -------------------------------------------------------------------------


ALL = [
    (NodeConfigurationHandler, CONFIGURATION),
    (AutoscalerPoliciesHandler, POLICIES),
    (NodeTemplateHandler, TEMPLATE),
    (EvictorConfigurationHandler, EVICTOR),
]


@pytest.fixture(params=ALL, ids=lambda pair: pair[0].name)
def any_type(request, one, cluster_id):
    """A handler and its inputs, where the service has everything that comes before."""
    kind, props = one(request.param[0]), {**request.param[1], "cluster_id": cluster_id}
    if isinstance(kind, NodeTemplateHandler):
        one(AutoscalerPoliciesHandler).create({**POLICIES, "cluster_id": cluster_id})
    return kind, checked(kind, {}, props)


def test_after_a_create_a_refresh_finds_no_difference(any_type):
    kind, props = any_type
    result = kind.create(props)
    refreshed = kind.read(result.id, result.outs)

    assert refreshed.id == result.id
    assert refreshed.outs == result.outs
    assert not kind.diff(result.id, refreshed.outs, props).changes


def test_a_change_by_others_is_drift_and_the_next_update_takes_it_back(any_type):
    kind, props = any_type
    created_result = kind.create(props)
    name, theirs = {
        "NodeConfiguration": ("disk_gib", 200),
        "AutoscalerPolicies": ("max_cores", 400),
        "NodeTemplate": ("min_cpu", 8),
        "EvictorConfiguration": ("cycle_interval_seconds", 90),
    }[kind.name]
    kind.update(created_result.id, created_result.outs, {**props, name: theirs})

    result = kind.read(created_result.id, created_result.outs)
    assert result.outs == {**created_result.outs, name: theirs}
    assert kind.diff(created_result.id, result.outs, props).changes

    updated = kind.update(created_result.id, result.outs, props)
    assert updated.outs == created_result.outs == kind.read(created_result.id, updated.outs).outs


def test_creating_again_after_a_lost_answer_is_the_same_object(any_type):
    kind, props = any_type

    assert kind.create(props) == kind.create(props)


def test_a_cluster_that_is_unknown_is_an_error_with_its_id(any_type):
    kind, props = any_type

    with pytest.raises((CastaiError, ResourceError), match=NOBODY):
        kind.create({**props, "cluster_id": NOBODY})


def test_what_is_gone_with_its_cluster_is_reported_gone_and_deleted_quietly(any_type, castai):
    kind, props = any_type
    result = kind.create(props)
    outs = {**result.outs, "cluster_id": NOBODY}

    assert kind.read(result.id, outs).id == ""
    before = requests(castai, "UpdatePoliciesV2", "UpdateEvictorConfig")
    kind.delete(result.id, outs)
    assert requests(castai, "UpdatePoliciesV2", "UpdateEvictorConfig") == before


def test_a_plan_of_an_update_expects_what_the_update_gives(any_type):
    kind, props = any_type
    result = kind.create(props)

    assert kind.plan(result.outs, props) == kind.update(result.id, result.outs, props).outs


# -- node configuration -------------------------------------------------------------------------


@pytest.fixture
def configuration(one, cluster_id):
    return one(NodeConfigurationHandler), {**CONFIGURATION, "cluster_id": cluster_id}


def theirs(api, cluster_id, name="default", *, default=True, **eks):
    """A node configuration that somebody made in the console."""
    result = api.create_node_configuration(
        cluster_id,
        {
            "name": name,
            "subnets": ["subnet-0c"],
            "minDiskSize": 120,
            "diskCpuRatio": 5,
            "eks": {
                "instanceProfileArn": CONFIGURATION["instance_profile_arn"],
                "securityGroups": ["sg-0c"],
                **eks,
            },
        },
    )
    if default:
        api.make_node_configuration_default(cluster_id, result["id"])
    return result["id"]


def test_a_new_node_configuration_is_the_default_one(configuration, api, cluster_id):
    kind, props = configuration
    created_result = kind.create(props)

    [result] = api.node_configurations(cluster_id)
    assert (result["id"], result["default"]) == (created_result.id, True)
    assert result["tags"] == {"team_name": "Core"}
    assert result["eks"]["imdsV1"] is False


def test_one_of_the_name_is_taken_over_and_the_preview_says_what_changes(
    configuration, api, cluster_id, capfd
):
    kind, props = configuration
    id_ = theirs(api, cluster_id, default=False)

    checked(kind, {}, props)
    messages = capfd.readouterr().err
    assert "Node configuration default exists at CAST AI and is taken over" in messages
    assert "subnet_ids: subnet-0c -> subnet-0a, subnet-0b" in messages
    assert "disk_gib: 120 -> 100" in messages
    assert "imds_v1: True -> False" in messages
    assert "instance_profile_arn" not in messages, "it is the same"

    created_result = kind.create(props)
    [result] = api.node_configurations(cluster_id)
    assert created_result.id == result["id"] == id_
    assert result["default"]
    assert result["diskCpuRatio"] == 5, "the program does not set it"


def test_a_take_over_is_announced_once(configuration, api, cluster_id, capfd):
    kind, props = configuration
    theirs(api, cluster_id)

    checked(kind, props, props)
    assert "taken over" not in capfd.readouterr().err


def test_a_preview_goes_on_where_the_service_does_not_answer(configuration, castai, capfd):
    kind, props = configuration
    castai.faults.set_faults(
        {"rules": [{"action": "castai:ListNodeConfigurations", "status": 500}]}
    )

    checked(kind, {}, props)
    assert "Whether node configuration default exists is not known" in capfd.readouterr().err


def test_nothing_is_asked_while_the_cluster_is_not_registered(configuration, castai):
    kind, props = configuration
    checked(kind, {}, {**props, "cluster_id": UNKNOWN})

    assert not requests(castai, "ListNodeConfigurations")


def test_nothing_is_written_where_a_take_over_changes_nothing(configuration, castai):
    kind, props = configuration
    kind.create(props)
    writes = ("CreateNodeConfiguration", "UpdateNodeConfiguration", "SetDefaultNodeConfiguration")
    before = requests(castai, *writes)
    kind.create(props)

    assert requests(castai, *writes) == before


def test_another_default_one_is_drift(configuration, api, cluster_id):
    kind, props = configuration
    created_result = kind.create(props)
    theirs(api, cluster_id, name="other")

    result = kind.read(created_result.id, created_result.outs)
    assert result.outs["is_default"] is False
    assert kind.diff(created_result.id, result.outs, props).changes
    kind.update(created_result.id, result.outs, props)
    assert api.node_configuration(cluster_id, created_result.id)["default"]


def test_the_default_one_stays_when_it_is_deleted(configuration, api, cluster_id, capfd):
    kind, props = configuration
    result = kind.create(props)
    kind.delete(result.id, result.outs)

    assert api.node_configuration(cluster_id, result.id)
    assert "CAST AI does not delete" in capfd.readouterr().err


def test_one_that_is_no_longer_the_default_is_deleted(configuration, api, cluster_id):
    kind, props = configuration
    created_result = kind.create(props)
    kind.create({**props, "name": "renamed"})
    kind.delete(created_result.id, created_result.outs)

    assert [result["name"] for result in api.node_configurations(cluster_id)] == ["renamed"]
    kind.delete(created_result.id, created_result.outs)


@pytest.mark.parametrize(
    ("name", "value"),
    [("kms_key_arn", "arn:aws:kms:eu-central-1:1:key/k"), ("max_pods_formula", "NUM_CPU * 10")],
)
def test_a_field_that_an_update_cannot_clear_is_refused(configuration, name, value):
    kind, props = configuration
    [failure] = kind.check({**props, name: value}, props).failures

    assert failure.property == name
    assert "CAST AI keeps a field that an update leaves out" in failure.reason
    assert not kind.check({**props, name: value}, {**props, "name": "new"}).failures
    assert not kind.check(props, {**props, name: value}).failures


def test_one_that_is_gone_asks_for_a_refresh(configuration):
    kind, props = configuration
    with pytest.raises(ResourceError, match="Run `pulumi refresh`"):
        kind.update("gone", props, props)


# -- policies -----------------------------------------------------------------------------------


@pytest.fixture
def policies(one, cluster_id):
    return one(AutoscalerPoliciesHandler), {**POLICIES, "cluster_id": cluster_id}


def switch_v1_on(api, cluster_id):
    path = f"/v1/kubernetes/clusters/{cluster_id}/policies"
    api._call(
        "PUT", path, action="switch on", body={**api.policies_v1(cluster_id), "enabled": True}
    )


@pytest.mark.parametrize("first", [True, False])
def test_nothing_is_written_while_policies_of_v1_are_on(policies, api, cluster_id, castai, first):
    kind, props = policies
    result = None if first else kind.create(props)
    before = requests(castai, "UpdatePoliciesV2")
    switch_v1_on(api, cluster_id)

    with pytest.raises(ResourceError, match=r"deprecated policies \(V1\)") as refused:
        kind.create(props) if result is None else kind.update(result.id, result.outs, props)
    assert "automation.autoscaler.enabled" in str(refused.value)
    assert requests(castai, "UpdatePoliciesV2") == before


def switched(**automation):
    raw = {"name": "demo", "region": REGION, "accountId": ACCOUNT}
    return {"cluster": raw, "automation": {"autoscaler": {"enabled": True, **automation}}}


@pytest.mark.parametrize("v1", [True, False])
@pytest.mark.parametrize("autoscales", [True, False])
def test_policies_of_v1_end_a_run_before_its_first_write(castai, api, cluster_id, v1, autoscales):
    if v1:
        switch_v1_on(api, cluster_id)
    raw = {**switched(enabled=autoscales), "api": {"url": castai.url}}
    result = completed(castai_findings(validate(raw, "castai"), API_KEY))

    expected = (v1_refusal(cluster_id),) if v1 and autoscales else ()
    assert result == Findings(problems=expected)
    assert bool(requests(castai, "GetPolicies")) is (autoscales or v1)


def test_a_limit_needs_a_number(policies):
    kind, props = policies
    [failure] = kind.check(props, {n: v for n, v in props.items() if n != "max_cores"}).failures
    assert failure.property == "max_cores"


def test_a_write_that_another_one_outdates_is_repeated_with_the_new_version(
    policies, api, cluster_id, monkeypatch
):
    kind, props = policies
    written = AutomationApi.update_policies
    calls = []

    def overtaken(self, id_, body):
        calls.append(body["version"])
        if len(calls) == 1:
            written(api, cluster_id, {"scopedMode": True, "version": body["version"]})
        return written(self, id_, body)

    monkeypatch.setattr(AutomationApi, "update_policies", overtaken)
    kind.create(props)

    assert calls == ["1", "2"]
    assert api.policies(cluster_id)["scopedMode"] is True, "what the program does not set stays"


def test_a_write_that_is_always_outdated_ends(policies, monkeypatch):
    kind, props = policies
    stale = AutomationApi.policies
    monkeypatch.setattr(AutomationApi, "policies", lambda *args: {**stale(*args), "version": "0"})

    with pytest.raises(CastaiError, match="HTTP 409"):
        kind.create(props)


def test_a_delete_switches_the_policies_off_and_nothing_else(policies, api, cluster_id):
    kind, props = policies
    created_result = kind.create(props)
    kind.delete(created_result.id, created_result.outs)

    result = api.policies(cluster_id)
    assert result["enabled"] is False
    assert result["clusterLimits"]["cpu"]["maxCores"] == 20


def test_policies_of_others_in_the_same_section_stay(policies, api, cluster_id):
    kind, props = policies
    pods = {"enabled": False, "podPinner": {"enabled": True}}
    version = api.policies(cluster_id)["version"]
    api.update_policies(
        cluster_id, {"scopedMode": True, "unschedulablePods": pods, "version": version}
    )

    kind.create(props)

    result = api.policies(cluster_id)
    assert result["unschedulablePods"]["podPinner"]["enabled"] is True
    assert result["unschedulablePods"]["enabled"] is props["unschedulable_pods"]
    assert result["scopedMode"] is True


def node(phase, maker="cast.ai"):
    return Node("n-1", "node-1", "i-1", {"provisioner.cast.ai/managed-by": maker}, phase)


def test_a_delete_waits_for_nodes_that_are_being_made_or_removed(policies, monkeypatch, capfd):
    kind, props = policies
    result = kind.create(props)
    answers = [[node("creating")], [node("draining")], [node("ready"), node("creating", "else")]]
    monkeypatch.setattr(client.CastaiApi, "list_nodes", lambda *_: answers.pop(0))
    kind.delete(result.id, result.outs)

    assert not answers
    assert "node-1 (creating)" in capfd.readouterr().err


def test_a_delete_ends_when_nodes_never_settle(policies, monkeypatch):
    kind, props = policies
    result = kind.create(props)
    monkeypatch.setattr(client.CastaiApi, "list_nodes", lambda *_: [node("creating")])

    with pytest.raises(ResourceError, match="are off, and CAST AI still adds or removes nodes"):
        kind.delete(result.id, result.outs)


# -- node template ------------------------------------------------------------------------------


@pytest.fixture
def template(one, cluster_id):
    return one(NodeTemplateHandler), {**TEMPLATE, "cluster_id": cluster_id}


def test_the_template_is_waited_for(template, one, clock, cluster_id, api):
    kind, props = template
    policies = one(AutoscalerPoliciesHandler)
    clock.while_waiting = lambda: policies.create({**POLICIES, "cluster_id": cluster_id})
    kind.create(props)

    constraints = api.node_template(cluster_id, DEFAULT_TEMPLATE)["constraints"]
    assert constraints["spot"] is True
    assert constraints["azs"] == ["eu-central-1a"]


def test_a_template_that_never_appears_is_an_error(template):
    kind, props = template
    with pytest.raises(ResourceError, match=f"no node template {DEFAULT_TEMPLATE}"):
        kind.create(props)


@pytest.fixture
def with_template(template, one, cluster_id):
    one(AutoscalerPoliciesHandler).create({**POLICIES, "cluster_id": cluster_id})
    return template


def test_constraints_of_others_stay(with_template, api, cluster_id):
    kind, props = with_template
    result = kind.create(props)
    remote = api.node_template(cluster_id, DEFAULT_TEMPLATE)
    more = {"burstable": "disabled", "instanceFamilies": {"include": [], "exclude": ["t3"]}}
    api.update_node_template(
        cluster_id, DEFAULT_TEMPLATE, {"constraints": {**remote["constraints"], **more}}
    )
    kind.update(result.id, result.outs, {**props, "include_families": ["c5"]})

    constraints = api.node_template(cluster_id, DEFAULT_TEMPLATE)["constraints"]
    assert constraints["burstable"] == "disabled"
    assert constraints["instanceFamilies"] == {"include": ["c5"], "exclude": ["t3"]}


def test_labels_and_taints_of_others_stay(with_template, api, cluster_id):
    kind, props = with_template
    labels = {"team": "platform"}
    wait_for(lambda: api.node_template(cluster_id, DEFAULT_TEMPLATE) is not None)
    api.update_node_template(
        cluster_id, DEFAULT_TEMPLATE, {"customLabels": labels, "rebalancingConfig": {"minNodes": 2}}
    )

    kind.create(props)

    remote = api.node_template(cluster_id, DEFAULT_TEMPLATE)
    assert (remote["customLabels"], remote["rebalancingConfig"]) == (labels, {"minNodes": 2})


def test_a_constraint_that_is_taken_out_of_the_settings_is_cleared(with_template, api, cluster_id):
    kind, props = with_template
    result = kind.create(props)
    news = {name: value for name, value in props.items() if name not in {"zones", "min_cpu"}}

    assert kind.diff(result.id, result.outs, news).changes
    outs = kind.update(result.id, result.outs, news).outs
    constraints = api.node_template(cluster_id, DEFAULT_TEMPLATE)["constraints"]
    assert (constraints["azs"], constraints["minCpu"]) == ([], 0)
    assert not kind.diff(result.id, outs, news).changes


def test_a_template_stays_when_it_is_deleted(with_template, api, cluster_id):
    kind, props = with_template
    result = kind.create(props)
    kind.delete(result.id, result.outs)

    assert api.node_template(cluster_id, DEFAULT_TEMPLATE)["constraints"]["minCpu"] == 2


# -- evictor ------------------------------------------------------------------------------------


def test_a_delete_switches_the_evictor_off(one, api, cluster_id):
    kind = one(EvictorConfigurationHandler)
    created_result = kind.create({**EVICTOR, "cluster_id": cluster_id})
    assert (api.evictor(cluster_id)["enabled"], api.evictor(cluster_id)["dryRun"]) == (True, True)
    kind.delete(created_result.id, created_result.outs)

    result = api.evictor(cluster_id)
    assert (result["enabled"], result["dryRun"]) == (False, True)
