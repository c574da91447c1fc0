"""What the Spot component asks of the engine; AWS's own judgement is the sandbox's."""

import json

import pulumi
import pytest
from google.protobuf import json_format

from castai_stack import naming
from castai_stack.iam.settings import Iam
from castai_stack.spot import alarms as spot_alarms
from castai_stack.spot import archive, events
from castai_stack.spot.component import SpotLambdaComponent
from castai_stack.spot.settings import Spot
from tests.support.engine import run

KEY = "SENTINEL-api-key"
SECRET_MARK = "1b47061264138c4ac30d75fd1eb44270"
CLUSTER_ID = "6d7f8a90-1b2c-4d3e-8f4a-5b6c7d8e9f00"
FUNCTION = "aws:lambda/function:Function"
TARGET = "aws:cloudwatch/eventTarget:EventTarget"
ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
ROLE = "aws:iam/role:Role"
ROLE_POLICY = "aws:iam/rolePolicy:RolePolicy"
BOUNDARY = "arn:aws:iam::123456789012:policy/theirs"
TOPIC = "arn:aws:sns:eu-central-1:123456789012:alarms"


def spot(
    *, cluster="shop", name="spot", flavour="scoped", iam=None, key=None, opts=None, **settings
):
    def program():
        component = SpotLambdaComponent(
            name,
            {
                "partition": "aws",
                "region": "eu-central-1",
                "account_id": "123456789012",
                "cluster_name": cluster,
                "cluster_id": CLUSTER_ID,
                "api_url": "https://api.example",
                "api_key": key or pulumi.Output.secret(KEY),
                "names": naming.names(cluster, "suffixed"),
                "flavour": flavour,
                "settings": Spot(**settings),
                "iam": iam or Iam(),
                "tags": {"team": "platform"},
                "cluster_endpoint": "https://cluster.example",
                "certificate_authority": "Q0E=",
            },
            opts,
        )
        pulumi.export("function", component.function_arn)

    return program


def plain(request):
    """Inputs of a registration with secrets replaced by a mark."""

    def without_secrets(value):
        if isinstance(value, dict):
            if value.get("4dabf18193072939515e22adb298388d") == SECRET_MARK:
                return "(secret)"
            return {key: without_secrets(inner) for key, inner in value.items()}
        return [without_secrets(inner) for inner in value] if isinstance(value, list) else value

    return without_secrets(json_format.MessageToDict(request.object))


def all_of(recorder, type_):
    return {r.name: r for r in recorder.requests if r.type == type_}


def test_everything_is_a_child_of_the_component_and_named_after_it():
    recorder = run(spot(name="corner", drain=True, key_in_secrets_manager=True))
    component = next(r for r in recorder.requests if r.type.startswith("castai-stack:"))
    children = [r for r in recorder.requests if r.custom]

    assert component.type == "castai-stack:index:SpotLambdaComponent"
    assert len(children) > 20
    for child in children:
        assert child.parent.endswith("SpotLambdaComponent::corner"), child.name
        assert child.name.startswith("corner-"), child.name


def test_a_preview_shows_what_an_up_creates():
    program = spot(drain=True, key_in_secrets_manager=True)

    assert run(program, preview=True).inventory() == run(program).inventory()


def test_the_key_is_secret_in_every_property():
    for settings in ({}, {"key_in_secrets_manager": True}):
        for key in (None, KEY):
            recorder = run(spot(key=key, **settings))
            for request in recorder.requests:
                assert KEY not in json.dumps(plain(request)), f"{request.type} holds it in clear"
            assert any(KEY in str(request.object) for request in recorder.requests), (
                "the key is to reach the function somehow"
            )


def test_the_environment_is_a_secret_output():
    assert list(run(spot()).one(FUNCTION).additionalSecretOutputs) == ["environment"]


def test_the_function_gets_the_key_from_its_environment_by_default():
    recorder = run(spot())
    variables = plain(recorder.one(FUNCTION))["environment"]["variables"]

    assert variables == {
        "CLUSTER_NAME": "shop",
        "CLUSTER_ID": CLUSTER_ID,
        "CASTAI_API_URL": "https://api.example",
        "MAXIMUM_EVENT_AGE_SECONDS": "180",
        "CASTAI_API_KEY": "(secret)",
    }
    assert not all_of(recorder, "aws:secretsmanager/secret:Secret")


def test_the_key_can_live_in_secrets_manager_alone():
    recorder = run(spot(key_in_secrets_manager=True))
    variables = plain(recorder.one(FUNCTION))["environment"]["variables"]
    secret = plain(recorder.one("aws:secretsmanager/secret:Secret"))

    assert "CASTAI_API_KEY" not in variables
    assert variables["CASTAI_API_KEY_SECRET_ARN"].startswith("arn:aws:secretsmanager:")
    assert secret["recoveryWindowInDays"] == 0, "the name must be free for the next up"
    inline = json.loads(plain(all_of(recorder, ROLE_POLICY)["spot-inline"])["policy"])
    (read,) = [s for s in inline["Statement"] if s["Action"] == ["secretsmanager:GetSecretValue"]]
    assert read["Resource"] == [
        events.secret_pattern("aws", "eu-central-1", "123456789012", secret["name"][:-8])
    ]


def test_the_role_has_the_three_policies_of_the_page_and_the_queue():
    recorder = run(spot())
    attached = {
        plain(r)["policyArn"]
        for r in all_of(recorder, "aws:iam/rolePolicyAttachment:RolePolicyAttachment").values()
    }
    inline = all_of(recorder, ROLE_POLICY)

    assert attached == {
        "arn:aws:iam::aws:policy/CloudWatchLogsFullAccess",
        "arn:aws:iam::aws:policy/service-role/AWSLambdaRole",
        "arn:aws:iam::aws:policy/AmazonEC2ReadOnlyAccess",
    }
    assert list(inline) == ["spot-inline"]
    (send,) = json.loads(plain(inline["spot-inline"])["policy"])["Statement"]
    assert send["Action"] == ["sqs:SendMessage"]
    assert send["Resource"] == [
        "arn:aws:sqs:eu-central-1:123456789012:cast-ai-ec2-events-dead-letters-shop"
    ]


def test_a_scoped_role_has_a_boundary_of_its_own():
    recorder = run(spot())

    assert plain(recorder.one(ROLE))["permissionsBoundary"] == (
        "arn:aws:iam::123456789012:policy/CastLambdaBoundary-shop"
    )


def test_a_documented_role_has_none():
    recorder = run(spot(flavour="documented"))

    assert "permissionsBoundary" not in plain(recorder.one(ROLE))
    assert not all_of(recorder, "aws:iam/policy:Policy")


@pytest.mark.parametrize("flavour", ["scoped", "documented"])
def test_under_the_operators_boundary_the_limit_is_an_inline_policy_of_denials(flavour):
    recorder = run(spot(flavour=flavour, iam=Iam(permissions_boundary_arn=BOUNDARY)))
    inline = all_of(recorder, ROLE_POLICY)

    assert plain(recorder.one(ROLE))["permissionsBoundary"] == BOUNDARY
    assert ("spot-guard" in inline) is (flavour == "scoped")
    if flavour == "scoped":
        guard = json.loads(plain(inline["spot-guard"])["policy"])
        assert {s["Effect"] for s in guard["Statement"]} == {"Deny"}


def test_roles_and_policies_live_under_the_configured_path():
    recorder = run(spot(iam=Iam(path="/castai/")))

    assert plain(recorder.one(ROLE))["path"] == "/castai/"
    assert plain(recorder.one("aws:iam/policy:Policy"))["path"] == "/castai/"


def test_the_archive_holds_the_named_files_and_nothing_else():
    code = plain(run(spot()).one(FUNCTION))["code"]["assets"]

    assert list(code) == ["spot_handler"]
    assert set(code["spot_handler"]["assets"]) == set(archive.FILES)
    assert all("path" not in asset for asset in code["spot_handler"]["assets"].values()), (
        "a path of this machine would make the state differ between machines"
    )


@pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
def test_the_settings_reach_the_function(architecture):
    function = plain(
        run(
            spot(
                architecture=architecture,
                memory_mb=512,
                timeout_seconds=60,
                reserved_concurrency=5,
                maximum_event_age_seconds=300,
            )
        ).one(FUNCTION)
    )

    assert function["architectures"] == [architecture]
    assert function["memorySize"] == 512
    assert function["timeout"] == 60
    assert function["reservedConcurrentExecutions"] == 5
    assert function["environment"]["variables"]["MAXIMUM_EVENT_AGE_SECONDS"] == "360"
    assert function["runtime"] == archive.RUNTIME
    assert function["handler"] == archive.HANDLER


def test_concurrency_is_shared_unless_reserved():
    assert "reservedConcurrentExecutions" not in plain(run(spot()).one(FUNCTION))


def test_the_log_group_is_created_before_the_function():
    recorder = run(spot(log_retention_days=7))
    group = recorder.one("aws:cloudwatch/logGroup:LogGroup")
    function = recorder.one(FUNCTION)

    assert plain(group)["name"] == f"/aws/lambda/{plain(function)['name']}"
    assert plain(group)["retentionInDays"] == 7
    assert any(urn.endswith("spot-log-group") for urn in function.dependencies)


def test_the_function_waits_for_every_permission_of_its_role():
    function = run(spot(key_in_secrets_manager=True)).one(FUNCTION)
    awaited = {urn.rpartition("::")[2] for urn in function.dependencies}

    assert awaited >= {
        "spot-CloudWatchLogsFullAccess",
        "spot-AWSLambdaRole",
        "spot-AmazonEC2ReadOnlyAccess",
        "spot-inline",
        "spot-api-key-value",
    }


def test_failed_events_of_lambda_go_to_the_queue():
    recorder = run(spot(maximum_event_age_seconds=90, maximum_retries=1))
    config = plain(recorder.one("aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig"))
    queue = plain(recorder.one("aws:sqs/queue:Queue"))

    assert config["maximumEventAgeInSeconds"] == 90
    assert config["maximumRetryAttempts"] == 1
    assert config["destinationConfig"]["onFailure"]["destination"].endswith(queue["name"])
    assert queue["sqsManagedSseEnabled"] is True


def test_the_queue_admits_the_two_rules_from_its_creation():
    recorder = run(spot())
    queue = plain(recorder.one("aws:sqs/queue:Queue"))
    rules = all_of(recorder, "aws:cloudwatch/eventRule:EventRule").values()
    prefix = "arn:aws:events:eu-central-1:123456789012:rule/"

    allow, _ = json.loads(queue["policy"])["Statement"]
    assert allow["Resource"] == [
        "arn:aws:sqs:eu-central-1:123456789012:cast-ai-ec2-events-dead-letters-shop"
    ]
    assert allow["Condition"]["ArnEquals"]["aws:SourceArn"] == sorted(
        f"{prefix}{plain(rule)['name']}" for rule in rules
    )


def test_the_slow_queue_waits_for_nothing_and_the_function_does_not_wait_for_it():
    def gated():
        gate = pulumi.CustomResource("test:index:Gate", "gate", {})
        spot(opts=pulumi.ResourceOptions(depends_on=[gate]))()

    recorder = run(gated)
    awaited = {
        r.name: {urn.rpartition("::")[2] for urn in r.dependencies} for r in recorder.requests
    }

    assert awaited["spot-dead-letters"] == set()
    waiting = {name for name, others in awaited.items() if "spot-dead-letters" in others}
    assert waiting == {
        "spot-dead-letters-alarm",
        "spot-interruption-target",
        "spot-invoke-config",
        "spot-rebalance-target",
    }
    gated_children = {name for name, others in awaited.items() if "gate" in others}
    assert gated_children >= {"spot-boundary", "spot-role", "spot-function", "spot-log-group"}


def test_every_child_but_a_secret_version_is_deleted_before_it_is_replaced():
    recorder = run(spot(drain=True, key_in_secrets_manager=True))

    for request in recorder.requests:
        if request.custom:
            version = request.name == "spot-api-key-value"
            assert request.deleteBeforeReplaceDefined, request.name
            assert request.deleteBeforeReplace is not version, request.name


def test_the_function_is_replaced_with_its_role():
    """A function whose role was created again by the same name cannot read its environment."""
    trigger = run(spot()).one(FUNCTION).replacement_trigger

    assert trigger.string_value == "unique-id-of-CastLambdaRoleForSpot-shop"


def test_the_role_is_replaced_with_its_boundary():
    urns = run(spot()).one(ROLE).propertyDependencies["path"].urns

    assert [urn.rpartition("::")[2] for urn in urns] == ["spot-boundary"]


def test_undelivered_events_of_eventbridge_go_to_the_queue():
    recorder = run(spot())
    targets = all_of(recorder, TARGET)

    assert sorted(targets) == ["spot-interruption-target", "spot-rebalance-target"]
    for target in map(plain, targets.values()):
        assert target["deadLetterConfig"]["arn"].endswith("dead-letters-shop")
        assert target["retryPolicy"] == {
            "maximumEventAgeInSeconds": 60,
            "maximumRetryAttempts": 185,
        }


def test_targets_wait_for_permission_and_queue():
    for suffix in ("interruption", "rebalance"):
        target = all_of(run(spot()), TARGET)[f"spot-{suffix}-target"]
        awaited = {urn.rpartition("::")[2] for urn in target.dependencies}

        assert awaited >= {
            f"spot-{suffix}-permission",
            "spot-invoke-config",
        }


def test_only_the_rules_may_call_the_function():
    permissions = all_of(run(spot()), "aws:lambda/permission:Permission")

    assert sorted(plain(p)["sourceArn"].rpartition("/")[2] for p in permissions.values()) == [
        "cast-ai-rebalance-recommendation-shop",
        "cast-ai-spot-interruption-shop",
    ]
    assert {plain(p)["principal"] for p in permissions.values()} == {"events.amazonaws.com"}


def test_every_alarm_watches_the_function_or_the_queue():
    alarms = [plain(alarm) for alarm in all_of(run(spot()), ALARM).values()]

    assert len(alarms) == len(spot_alarms.ALARMS)
    for alarm in alarms:
        assert next(iter(alarm["dimensions"].values())).endswith("-shop"), alarm["name"]
        assert alarm["treatMissingData"] == "notBreaching"
        assert not alarm["alarmActions"], "there is no topic to tell"


def test_alarms_notify_the_topic():
    for alarm in all_of(run(spot(alarm_topic_arn=TOPIC)), ALARM).values():
        assert plain(alarm)["alarmActions"] == [TOPIC]
        assert plain(alarm)["okActions"] == [TOPIC]


def test_two_clusters_in_one_account_and_region_share_no_name():
    def physical(cluster):
        return {
            (r.type, inputs["name"])
            for r in run(spot(cluster=cluster)).requests
            if r.custom and "name" in (inputs := plain(r))
        }

    long = "x" * 99
    for one, other in (("shop", "shop2"), (f"{long}a", f"{long}b")):
        assert len(physical(one)) == 12
        assert not physical(one) & physical(other)


def test_two_components_fit_in_one_program():
    def both():
        spot(name="one", cluster="one")()
        spot(name="two", cluster="two")()

    names = [(r.type, r.name) for r in run(both).requests]
    assert len(names) == len(set(names))


def test_without_draining_nothing_is_created_in_the_cluster():
    recorder = run(spot())

    assert not [r for r in recorder.requests if r.type.startswith("kubernetes:")]
    assert "DRAIN" not in plain(recorder.one(FUNCTION))["environment"]["variables"]


def test_draining_brings_its_own_cluster_role_and_the_address_of_the_cluster():
    recorder = run(spot(drain=True))
    role = plain(recorder.one("kubernetes:rbac.authorization.k8s.io/v1:ClusterRole"))
    binding = plain(recorder.one("kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding"))
    variables = plain(recorder.one(FUNCTION))["environment"]["variables"]

    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert [subject["kind"] for subject in binding["subjects"]] == ["Group"]
    assert variables["DRAIN"] == "true"
    assert variables["CLUSTER_ENDPOINT"] == "https://cluster.example"
    assert variables["CLUSTER_CERTIFICATE_AUTHORITY"] == "Q0E="


def test_draining_without_the_address_of_the_cluster_is_refused():
    args = {"settings": Spot(drain=True), "cluster_name": "shop", "certificate_authority": "Q0E="}

    with pytest.raises(ValueError, match="cluster_endpoint of cluster shop is missing") as caught:
        SpotLambdaComponent("spot", args)

    assert str(caught.value) == (
        "spot.drain is on and cluster_endpoint of cluster shop is missing; "
        "draining needs the address and the CA of the Kubernetes API"
    )


def test_the_outputs_are_the_two_arns():
    recorder = run(spot())
    (outputs,) = [o for o in recorder.registered_outputs.values() if "function_arn" in o]

    assert outputs == {
        "function_arn": "arn:aws:lambda:eu-central-1:123456789012:function:"
        "cast-ai-ec2-events-handler-shop",
        "role_arn": "arn:aws:iam::123456789012:role/CastLambdaRoleForSpot-shop",
    }


def test_every_taggable_resource_is_tagged():
    tagged = {r.type for r in run(spot(key_in_secrets_manager=True)).requests if "tags" in plain(r)}

    assert tagged == {
        FUNCTION,
        ALARM,
        ROLE,
        "aws:cloudwatch/eventRule:EventRule",
        "aws:cloudwatch/logGroup:LogGroup",
        "aws:iam/policy:Policy",
        "aws:secretsmanager/secret:Secret",
        "aws:sqs/queue:Queue",
    }
