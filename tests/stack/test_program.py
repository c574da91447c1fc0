"""The whole program against the recorder: what it asks the engine for, in every mode."""

import asyncio
import json
import threading
from pathlib import Path

import pulumi
import pytest
import yaml
from google.protobuf import json_format

from castai_stack import naming
from castai_stack.plugin import server
from castai_stack.preflight import castai, names, permissions
from castai_stack.preflight import cluster as preflight_cluster
from castai_stack.preflight.cluster import InCluster
from castai_stack.preflight.findings import Findings, PreflightError
from castai_stack.spot import objects
from castai_stack.stack import composition, deployment
from castai_stack.stack.process import SDK_DEBUG_VARIABLE, leave_out_sdk_debug
from castai_stack.stack.resource_types import RESOURCE_TYPES
from tests.support.engine import CLUSTER_ID, run

SECRET = "4dabf18193072939515e22adb298388d"  # Pulumi's mark of a secret value
GOLDEN = Path(__file__).parents[1] / "golden" / "resources.txt"
SENTINEL = "SENTINEL"
CLUSTER = {"name": "demo", "region": "eu-central-1", "accountId": "123456789012"}
MODES = ["none", "user", "role"]
ANSWERS = {
    "aws:index/getCallerIdentity:getCallerIdentity": {
        "accountId": "123456789012",
        "arn": "arn:aws:sts::123456789012:assumed-role/platform/me",
        "id": "123456789012",
        "userId": "AROA:me",
    },
    "aws:eks/getCluster:getCluster": {
        "arn": "arn:aws:eks:eu-central-1:123456789012:cluster/demo",
        "name": "demo",
        "status": "ACTIVE",
        "endpoint": "https://demo.eks",
        "certificateAuthorities": [{"data": "Q0E="}],
        "vpcConfig": {
            "vpcId": "vpc-0123456789abcdef0",
            "clusterSecurityGroupId": "sg-0123456789abcdef0",
        },
        "accessConfigs": [{"authenticationMode": "CONFIG_MAP"}],
    },
    "aws:ec2/getSubnets:getSubnets": {"ids": ["subnet-0123456789abcdef0"]},
    "aws:ec2/getRouteTables:getRouteTables": {"ids": ["rtb-1"]},
    "aws:ec2/getRouteTable:getRouteTable": {
        "associations": [{"main": True}],
        "routes": [{"cidrBlock": "0.0.0.0/0", "natGatewayId": "nat-1"}],
    },
    "aws:ec2/getSecurityGroups:getSecurityGroups": {"ids": [], "vpcIds": []},
    "aws:iam/getAccessKeys:getAccessKeys": {"accessKeys": [], "user": "cast-eks-demo"},
}


@pytest.fixture(autouse=True)
def nothing_outside(monkeypatch):
    async def cluster(*_):
        return InCluster(Findings())

    async def quiet(*_, **__):
        return Findings()

    monkeypatch.setenv("CASTAI_API_KEY", "SENTINEL-of-a-key")
    monkeypatch.delenv("CASTAI_API_URL", raising=False)
    monkeypatch.setattr(preflight_cluster, "ask_cluster", cluster)
    monkeypatch.setattr(permissions, "permission_findings", quiet)
    monkeypatch.setattr(names, "name_findings", quiet)
    monkeypatch.setattr(castai, "castai_findings", quiet)
    yield
    pulumi.runtime.set_all_config({})


def program(**settings):
    def build():
        raw = {"cluster": CLUSTER, **settings}
        pulumi.runtime.set_all_config({"castai-eks:castai": json.dumps(raw)})
        return deployment.deploy()

    return build


def run_stack(*, preview=False, mode="user", **settings):
    chosen = program(credentials={"mode": mode, **settings.pop("credentials", {})}, **settings)
    return run(chosen, preview=preview, answers=ANSWERS)


def leaks(node):
    if isinstance(node, dict):
        return SECRET not in node and any(leaks(value) for value in node.values())
    if isinstance(node, list):
        return any(leaks(value) for value in node)
    return isinstance(node, str) and SENTINEL in node


def named(recorder):
    return {r.name: r for r in recorder.requests if r.custom}


def waits_for(recorder, name):
    """Everything that `name` waits for, directly or not."""
    resources = named(recorder)
    result, queue = set(), [name]
    while queue:
        for urn in resources[queue.pop()].dependencies:
            dependency = urn.rpartition("::")[2]
            if dependency in resources and dependency not in result:
                result.add(dependency)
                queue.append(dependency)
    return result


@pytest.mark.parametrize("mode", MODES)
def test_a_preview_shows_what_an_up_makes(mode):
    assert run_stack(preview=True, mode=mode).inventory() == run_stack(mode=mode).inventory()


def composing(monkeypatch):
    """Return an event that is set when the parts have been wired."""
    composed = asyncio.Event()
    compose = composition.compose

    def watched(*arguments):
        outputs = compose(*arguments)
        composed.set()
        return outputs

    monkeypatch.setattr(composition, "compose", watched)
    return composed


def test_a_preview_is_composed_while_permissions_are_asked_and_warns_of_them(monkeypatch):
    composed = composing(monkeypatch)
    warnings = []

    async def late(*_, **__):
        await asyncio.wait_for(composed.wait(), 10)
        return Findings(missing=("iam:CreateRole",))

    monkeypatch.setattr(permissions, "permission_findings", late)
    monkeypatch.setattr(pulumi.log, "warn", warnings.append)

    run_stack(preview=True)

    assert warnings == ["This caller can preview but not apply; it is missing:\n  iam:CreateRole"]


@pytest.mark.parametrize(("wanted", "expected"), [("", set()), ("1", {"registering resource"})])
def test_the_debug_messages_of_the_sdk_are_left_out_unless_wanted(monkeypatch, wanted, expected):
    messages = []
    monkeypatch.setattr(pulumi.log, "debug", lambda message, *_, **__: messages.append(message))
    monkeypatch.setenv(SDK_DEBUG_VARIABLE, wanted)

    leave_out_sdk_debug()
    run_stack(mode="none")

    assert {one.partition(":")[0] for one in messages} & {"registering resource"} == expected


def test_later_modules_are_loaded_while_aws_answers(monkeypatch):
    loaded = threading.Event()
    look_up = deployment.look_up

    async def slow(*arguments):
        assert await asyncio.to_thread(loaded.wait, 10), "it waits for AWS"
        return await look_up(*arguments)

    monkeypatch.setattr(deployment, "load_later_modules", loaded.set)
    monkeypatch.setattr(deployment, "look_up", slow)

    assert "agent" in {r.name for r in run_stack(mode="none").requests}


@pytest.mark.parametrize(
    ("preview", "allowed", "cluster"),
    [
        (False, Findings(missing=("iam:CreateRole",)), Findings()),
        (False, Findings(missing=("iam:CreateRole",)), Findings(problems=("gone",))),
        (True, Findings(missing=("iam:CreateRole",)), Findings(problems=("gone",))),
    ],
    ids=["missing", "missing and unreachable", "unreachable in a preview"],
)
def test_nothing_is_composed_after_a_refusal(monkeypatch, preview, allowed, cluster):
    composed = composing(monkeypatch)
    warnings = []

    async def in_aws(*_, **__):
        return allowed

    async def in_cluster(*_):
        return InCluster(cluster)

    monkeypatch.setattr(permissions, "permission_findings", in_aws)
    monkeypatch.setattr(preflight_cluster, "ask_cluster", in_cluster)
    monkeypatch.setattr(pulumi.log, "warn", warnings.append)

    with pytest.raises(PreflightError) as failure:
        run_stack(preview=preview)

    assert not composed.is_set()
    messages = "\n".join([str(failure.value), *warnings])
    assert all(line in messages for line in allowed.missing + cluster.problems)


@pytest.mark.parametrize("mode", MODES)
def test_no_resource_uses_a_default_provider(mode):
    for request in run_stack(mode=mode).requests:
        provided = request.type.startswith(("aws:", "kubernetes:", "castai-stack:"))
        if request.custom and provided:
            assert "pulumi:providers:" in request.provider, f"{request.type} {request.name}"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("register", [True, False])
def test_the_key_is_never_a_plain_value(mode, register):
    brought = {} if register else {"register": False, "clusterId": CLUSTER_ID}
    if not register and mode == "role":
        brought["principalArn"] = "arn:aws:iam::809060229965:user/castai"
    recorder = run_stack(mode=mode, api=brought)

    for request in recorder.requests:
        assert not leaks(json_format.MessageToDict(request.object)), request.name


@pytest.mark.parametrize("mode", ["user", "role"])
def test_the_hand_over_waits_for_everything_that_castai_needs(mode):
    recorder = run_stack(mode=mode)

    everything = set(named(recorder))
    after = {"hand-over", "credentials-ready", "connection", "node-configuration"}
    assert waits_for(recorder, "hand-over") >= everything - after - {"aws", "kubernetes", "castai"}


def test_access_comes_after_the_agent_is_online():
    recorder = run_stack()

    for name in named(recorder):
        if name.startswith("iam-"):
            assert "agent-online" in waits_for(recorder, name), name


@pytest.mark.parametrize("mode", ["user", "role"])
def test_the_controller_runs_before_the_hand_over_and_needs_no_success_of_it(mode):
    """CAST AI uses the credentials once a controller asks it for actions."""
    recorder = run_stack(mode=mode)

    assert "automation-rollout" in waits_for(recorder, "hand-over")
    before = waits_for(recorder, "automation-rollout")
    assert {"agent-online", "automation-controller-deployment"} <= before
    assert not before & {"hand-over", "credentials-ready"}


def test_every_object_of_the_automation_waits_for_the_agent():
    """So that a destroy leaves the namespace to the objects in it."""
    recorder = run_stack()

    for name in named(recorder):
        if name.startswith("automation-"):
            assert "agent-online" in waits_for(recorder, name), name


@pytest.mark.parametrize(
    "settings", [{"mode": "none"}, {"automation": {"controller": {"enabled": False}}}], ids=str
)
def test_nothing_acts_in_the_cluster_without_credentials_or_controller(settings):
    recorder = run_stack(**settings)

    assert not [one.name for one in recorder.requests if one.name.startswith("automation")]


def test_where_a_person_hands_over_the_controller_runs_as_well():
    result = named(run_stack(api={"register": False, "clusterId": CLUSTER_ID}))

    assert result["automation-config"].object["data"]["CLUSTER_ID"] == CLUSTER_ID


def test_the_agent_alone_touches_no_iam():
    kinds = {r.type for r in run_stack(mode="none").requests}

    assert not any(kind.startswith(("aws:iam", "aws:lambda")) for kind in kinds), kinds


def test_the_retired_key_goes_inactive_only_once_castai_uses_the_new_one():
    recorder = run_stack(credentials={"rotation": 1})

    keys = {n: r for n, r in named(recorder).items() if n.startswith("iam-key-")}
    assert {n: r.object["status"] for n, r in keys.items()} == {
        "iam-key-b": "Active",
        "iam-key-a": "Inactive",
    }
    assert "credentials-ready" in waits_for(recorder, "iam-key-a")
    assert "iam-key-b" in waits_for(recorder, "hand-over")
    assert "iam-key-a" not in waits_for(recorder, "hand-over")
    assert all(r.deleteBeforeReplace for r in keys.values())


def test_a_rotation_is_guarded_by_what_castai_holds_where_this_stack_hands_over():
    """Without the id the guard only counts, and the key in use could be deleted."""
    brought = {"register": False, "clusterId": CLUSTER_ID}

    assert named(run_stack())["rotation"].object["clusterId"] == CLUSTER_ID
    assert "clusterId" not in named(run_stack(api=brought))["rotation"].object


def keys_at(**credentials):
    result = named(
        run_stack(credentials={"rotation": 1, **credentials.pop("credentials", {})}, **credentials)
    )
    return {n: r.object["status"] for n, r in result.items() if n.startswith("iam-key-")}


def test_the_retired_key_goes_at_once_when_told():
    assert keys_at(credentials={"deleteInactiveKey": True}) == {"iam-key-b": "Active"}


def test_where_a_person_hands_over_the_previous_key_stays_active():
    brought = {"register": False, "clusterId": CLUSTER_ID}

    assert keys_at(api=brought) == {"iam-key-b": "Active", "iam-key-a": "Active"}


def test_the_settings_of_the_api_reach_what_they_are_about():
    result = named(
        run_stack(
            api={
                "organizationId": CLUSTER_ID,
                "reviveArchived": True,
                "onlineTimeoutSeconds": 11,
                "readyTimeoutSeconds": 12,
                "disconnectTimeoutSeconds": 13,
                "deleteNodesOnDisconnect": True,
                "allowDisconnect": True,
            }
        )
    )

    assert result["registration"].object["organizationId"] == CLUSTER_ID
    assert result["registration"].object["reviveArchived"] is True
    assert result["agent-online"].object["timeoutSeconds"] == 11
    assert result["credentials-ready"].object["timeoutSeconds"] == 12
    assert result["hand-over"].object["disconnectTimeoutSeconds"] == 13
    assert result["hand-over"].object["deleteNodesOnDisconnect"] is True
    assert result["connection"].object["allowDisconnect"] is True


@pytest.mark.parametrize("mode", ["user", "role"])
def test_the_hand_over_knows_whose_replacement_leaves_a_gap(mode):
    objects = named(run_stack(mode=mode, iam={"path": "/team/"}))["hand-over"].object["objects"]

    other = (
        {"restricted policy": "/team/CastEKSRestrictedAccess-demo"}
        if mode == "user"
        else {"role": "/team/cast-eks-demo"}
    )
    assert dict(objects) == {
        "policy": "/team/CastEKSPolicy-demo",
        "node role": f"/team/cast-demo-eks-{CLUSTER_ID[:8]}",
        **other,
    }


@pytest.mark.parametrize(
    ("mode", "pasted"),
    [
        ("user", {"access_key_id", "secret_access_key"}),
        ("role", {"role_arn"}),
    ],
)
def test_without_registration_the_outputs_say_what_to_paste_where(mode, pasted):
    theirs = "arn:aws:iam::809060229965:user/cast-crossrole-by-hand"
    brought = {"register": False, "clusterId": CLUSTER_ID}
    if mode == "role":
        brought["principalArn"] = theirs
    outputs = {}

    async def build():
        result = await program(credentials={"mode": mode}, api=brought)()
        outputs.update(result)
        return pulumi.Output.all(
            **{name: result[name] for name in ("console_url", "cluster_id")}
        ).apply(outputs.update)

    recorder = run(build, answers=ANSWERS)

    assert outputs["console_url"] == f"https://console.cast.ai/external-clusters/{CLUSTER_ID}"
    assert outputs["next_step"].startswith("Open console_url, choose Enable CAST AI, and paste ")
    for name in pasted:
        assert name in outputs
        assert name in outputs["next_step"]
    if mode == "role":
        assert theirs in named(recorder)["iam-role"].object["assumeRolePolicy"]


def test_without_registration_nothing_is_asked_of_castai():
    recorder = run_stack(api={"register": False, "clusterId": CLUSTER_ID})

    kinds = {r.type.rpartition(":")[2] for r in recorder.requests if "castai" in r.type.lower()}
    assert not kinds & {"ClusterRegistration", "ClusterToken", "HandOver", "AgentOnline"}


def test_the_connection_is_guarded_with_and_without_registration():
    def guarded(**settings):
        return named(run_stack(**settings))["connection"].object["mode"]

    assert guarded(mode="role") == "role"
    assert guarded(api={"register": False, "clusterId": CLUSTER_ID}) == "by-hand", (
        "without it a stack that stops to register would disconnect unasked"
    )


def test_types_names_and_parents_are_those_of_the_golden_list():
    """A changed line replaces something in every user's stack, unless it carries an alias."""
    result = [
        f"{type_} {name} in {parent.rpartition('::')[2] or 'the stack'}"
        for type_, name, parent in run_stack().inventory()
    ]

    assert "\n".join(result) + "\n" == GOLDEN.read_text()


def test_the_resource_types_of_the_plugin_are_those_of_the_golden_list():
    """They stand in every user's state: a changed line needs an alias."""
    golden = GOLDEN.with_name("plugin_types.txt").read_text().splitlines()

    assert sorted(map(server.token, RESOURCE_TYPES)) == golden


def test_a_key_of_the_environment_stays_out_of_the_provider_and_one_of_the_stack_is_a_secret():
    assert "apiKey" not in named(run_stack())["castai"].object

    async def with_key():
        raw = json.dumps({"cluster": CLUSTER})
        config = {"castai-eks:castai": raw, "castai-eks:apiKey": "SENTINEL"}
        pulumi.runtime.set_all_config(config)
        return await deployment.deploy()

    provider = named(run(with_key, answers=ANSWERS))["castai"].object
    assert provider["apiKey"][SECRET], "the state would show it"


def test_an_ambient_kubeconfig_stays_on_its_machine(monkeypatch):
    # The SDK fills the variable in: the next machine would show a change, and be led astray.
    monkeypatch.setenv("KUBECONFIG", "/home/somebody/.kube/config")

    ambient = run_stack(mode="none", cluster={**CLUSTER, "kubeconfig": "ambient"})
    named_file = run_stack(mode="none", cluster={**CLUSTER, "kubeconfig": "/srv/kubeconfig"})

    assert "kubeconfig" not in named(ambient)["kubernetes"].object
    assert named(named_file)["kubernetes"].object["kubeconfig"] == "/srv/kubeconfig"


BY_HAND = {"register": False, "clusterId": CLUSTER_ID}


def test_the_project_does_not_demand_a_key_of_the_stack_file():
    """The engine wants every declared key without a default, whatever the environment holds."""
    project = yaml.safe_load((Path(__file__).parents[2] / "Pulumi.yaml").read_text())

    assert "castai-eks:apiKey" not in project["config"]


@pytest.mark.parametrize("api", [{}, BY_HAND], ids=["registered", "by hand"])
def test_a_preview_without_a_key_shows_the_whole_plan_and_names_the_key(monkeypatch, api):
    whole = run_stack(preview=True, api=api).inventory()
    monkeypatch.delenv("CASTAI_API_KEY")
    warnings = []
    monkeypatch.setattr(pulumi.log, "warn", warnings.append)

    assert run_stack(preview=True, api=api).inventory() == whole
    assert len(warnings) == 1
    assert "castai-eks:apiKey is not set" in warnings[0]


def test_an_apply_without_a_key_writes_nothing(monkeypatch):
    monkeypatch.delenv("CASTAI_API_KEY")
    composed = composing(monkeypatch)

    with pytest.raises(PreflightError, match="castai-eks:apiKey is not set"):
        run_stack()

    assert not composed.is_set()


def test_an_apply_that_uses_no_key_needs_none(monkeypatch):
    monkeypatch.delenv("CASTAI_API_KEY")

    result = named(run_stack(mode="none", api=BY_HAND, agent={"existingSecret": "castai-key"}))

    assert any(name.startswith("agent-") for name in result)


def test_settings_without_effect_are_warned_of(monkeypatch):
    warnings = []
    monkeypatch.setattr(pulumi.log, "warn", warnings.append)
    raw = json.dumps({"cluster": CLUSTER, "credentials": {"mode": "none"}})

    def build():
        pulumi.runtime.set_all_config({"castai-eks:castai": raw, "aws:profile": "corp-prod"})
        return deployment.deploy()

    run(build, answers=ANSWERS)

    assert warnings == ["aws:profile is set and has no effect: set AWS_PROFILE in the environment"]


TAKEOVER = {
    "iam-user": "cast-eks-demo",
    "iam-castai-policy": "arn:aws:iam::123456789012:policy/CastEKSPolicy-demo",
}


def test_what_is_taken_over_keeps_its_values_until_the_settings_count():
    first = named(run_stack(adoption={"imports": TAKEOVER}))
    second = named(run_stack(adoption={"imports": TAKEOVER, "values": "settings"}))

    user, policy = first["iam-user"], first["iam-castai-policy"]
    assert (user.importId, policy.importId) == tuple(TAKEOVER.values())
    assert {"tags", "tagsAll"} <= set(user.ignoreChanges)
    assert "forceDestroy" not in user.ignoreChanges, "an inline policy would end a destroy"
    assert {"policy", "description"} <= set(policy.ignoreChanges)
    assert not set(user.ignoreChanges) & {"name", "path"}, "another object is never taken for it"
    assert not second["iam-user"].ignoreChanges
    assert second["iam-castai-policy"].ignoreChanges == ["description"], "it would replace"
    assert not [one.name for one in first.values() if one.importId and one.name not in TAKEOVER]


def test_every_part_of_a_spot_function_can_be_taken_over():
    own = naming.names("demo", "suffixed")
    forms = {"queue": "https://queues/{}", "policy": "arn:aws:iam::123456789012:policy/{}"}
    tagged = {
        resource: forms.get(one.kind, "{}").format(one.name)
        for resource, one in objects.named(own).items()
        if resource != "spot-api-key"
    }
    parts = {
        "spot-role": own.lambda_role,
        "spot-inline": f"{own.lambda_role}:spot-inline-1a2b3c4",
        "spot-invoke-config": own.function,
        "spot-interruption-target": f"{own.interruption_rule}/spot-handler",
        "spot-rebalance-permission": f"{own.function}/AllowRule-rebalance",
    }

    result = named(run_stack(adoption={"imports": tagged | parts}))

    assert {one: result[one].importId for one in tagged | parts} == tagged | parts
    assert dict(result["spot-inline"].object)["name"] == "spot-inline-1a2b3c4", (
        "Pulumi would choose another name, and the engine replace the policy"
    )
    assert "name" not in dict(named(run_stack())["spot-inline"].object)


def test_an_import_that_no_resource_takes_is_an_error():
    with pytest.raises(pulumi.RunError, match="this stack has no resource iam-role under"):
        run_stack(adoption={"imports": {**TAKEOVER, "iam-role": "cast-eks-demo"}})


def test_an_agent_that_is_taken_over_brings_its_token():
    adopting, plain = named(run_stack(agent={"adopt": True})), named(run_stack())

    assert dict(adopting["token"].object)["secret"] == "castai-agent"
    assert "secret" not in dict(plain["token"].object)
