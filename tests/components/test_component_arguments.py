"""Wrong arguments: the sentence of the settings, with the keys as the caller's language has them."""

import pulumi
import pytest

from castai_stack.components.access import _SHAPE as ACCESS
from castai_stack.components.agent import _SHAPE as AGENT
from castai_stack.components.agent import AgentComponent
from castai_stack.components.arguments import ArgumentError, EngineArguments, checked
from castai_stack.components.automation import _SHAPE as AUTOMATION
from castai_stack.components.castai_cluster import _SHAPE as CLUSTER
from castai_stack.components.iam import _SHAPE as IAM
from castai_stack.components.spot import _SHAPE as SPOT
from tests.support.coroutines import completed

ID = "0f3f1ba4-6f46-4f2e-9a39-6a1bb6c0f0a1"
PLACE = {"name": "prod", "region": "eu-central-1", "account_id": "012345678901"}
PLACE_OF_ENGINE = {"name": "prod", "region": "eu-central-1", "accountId": "012345678901"}
NODE_ROLE = {"node_role_arn": "arn:aws:iam::012345678901:role/n", "node_role_unique_id": "AROA1"}
SECRET = "SENTINEL of a key"
VALID = [
    (AGENT, {"cluster": PLACE, "cluster_id": ID, "api_key": "k"}),
    (AUTOMATION, {"cluster": PLACE, "cluster_id": ID, "api_key": "k"}),
    (IAM, {"cluster": PLACE, "cluster_id": ID, "vpc_id": "vpc-0a1b2c3d"}),
    (SPOT, {"cluster": PLACE, "cluster_id": ID, "api_key": "k"}),
    (ACCESS, {"cluster": PLACE, "access": {"mode": "aws-auth"}, **NODE_ROLE}),
    (CLUSTER, {"cluster": PLACE, "access": {"mode": "aws-auth"}}),
]
NAMES = [shape.component for shape, _ in VALID]


def refusal(shape, args):
    with pytest.raises(ArgumentError) as caught:
        checked(shape, "mine", args)
    first, *lines = str(caught.value).splitlines()
    assert first == f"Invalid arguments of {shape.component} mine:"
    return [line.removeprefix("  ") for line in lines]


@pytest.mark.parametrize(("shape", "args"), VALID, ids=NAMES)
def test_the_least_that_a_component_needs_is_enough(shape, args):
    assert checked(shape, "mine", args).settings.cluster.name == "prod"


@pytest.mark.parametrize("shape", [shape for shape, _ in VALID], ids=NAMES)
def test_everything_that_is_missing_is_named_at_once(shape):
    lines = refusal(shape, {})

    paths = {line.partition(":")[0] for line in lines}
    assert "cluster" in paths
    assert paths >= set(shape.required)
    assert all("required" in line or "allowed" in line for line in lines)


@pytest.mark.parametrize(("shape", "args"), VALID, ids=NAMES)
def test_an_unknown_argument_is_refused(shape, args):
    (line,) = refusal(shape, {**args, "clustername": "x"})

    assert line.startswith(f"clustername: unknown key; {shape.component} takes ")


AGENT_OF_ENGINE = {"cluster": PLACE_OF_ENGINE, "clusterId": ID, "apiKey": "k"}


@pytest.mark.parametrize(
    ("wrong", "in_python", "elsewhere"),
    [
        (
            {"agent": {"cpuRequest": 1.0}},
            "agent.cpu_request: found a number without quotes; allowed: a text, in quotes",
            "agent.cpuRequest: found a number without quotes; allowed: a text, in quotes",
        ),
        (
            {"agent": {"nodeSelectors": {}}},
            "agent.nodeSelectors: unknown key; docs/configuration.md lists the keys",
            "agent.nodeSelectors: unknown key; docs/configuration.md lists the keys",
        ),
        (
            {"agent": {"labels": {"myKey_x": "b!"}}},
            "agent.labels.myKey_x: found 'b!'; allowed: a label value of at most 63 characters",
            "agent.labels.myKey_x: found 'b!'; allowed: a label value of at most 63 characters",
        ),
        (
            {"agent": {"autoscaling": {"base": "9Gi"}}},
            "agent.autoscaling.max: found '8Gi', the default; allowed: no less than "
            "agent.autoscaling.base (9Gi)",
            "agent.autoscaling.max: found '8Gi', the default; allowed: no less than "
            "agent.autoscaling.base (9Gi)",
        ),
        (
            {"agent": "yes"},
            "agent: found a str; allowed: a mapping",
            "agent: found a str; allowed: a mapping",
        ),
        (
            {"apiUrl": 5.0},
            "api_url: found a number without quotes; allowed: a text, in quotes",
            "apiUrl: found a number without quotes; allowed: a text, in quotes",
        ),
        (
            {"cluster": {**PLACE_OF_ENGINE, "accountId": 12345678901.0}},
            "cluster.account_id: found a number without quotes; allowed: a text, in quotes",
            "cluster.accountId: found a number without quotes; allowed: a text, in quotes",
        ),
        (
            {"clusterId": "demo"},
            "cluster_id: found a str that cannot be used; allowed: a UUID in lower-case hex digits",
            "clusterId: found a str that cannot be used; allowed: a UUID in lower-case hex digits",
        ),
        (
            {"apiKey": SECRET},
            "api_key: found a str that cannot be used; "
            "allowed: a key in one line, without blanks and quotes",
            "apiKey: found a str that cannot be used; "
            "allowed: a key in one line, without blanks and quotes",
        ),
        (
            {"apiKey": None},
            "api_key: required unless agent.existing_secret is given, and not given",
            "apiKey: required unless agent.existingSecret is given, and not given",
        ),
    ],
)
def test_a_wrong_argument_has_the_sentence_of_the_settings(wrong, in_python, elsewhere):
    assert refusal(AGENT, EngineArguments({**AGENT_OF_ENGINE, **wrong})) == [elsewhere]
    assert refusal(AGENT, python({**AGENT_OF_ENGINE, **wrong})) == [in_python]


def python(value):
    """Spell known keys as Python does; what is data, or wrong on purpose, stays."""
    names = {
        "accountId": "account_id",
        "clusterId": "cluster_id",
        "apiKey": "api_key",
        "apiUrl": "api_url",
        "cpuRequest": "cpu_request",
    }
    if not isinstance(value, dict):
        return value
    return {names.get(key, key): python(inner) for key, inner in value.items()}


def test_python_has_one_spelling_of_each_key():
    assert refusal(AGENT, {**VALID[0][1], "agent": {"cpuRequest": "1"}, "clusterId": ID}) == [
        "clusterId: unknown key; AgentComponent takes agent, api_key, api_url, cluster, cluster_id",
        "agent.cpuRequest: unknown key; docs/configuration.md lists the keys",
    ]


def test_whole_numbers_arrive_as_fractions_and_are_taken():
    args = EngineArguments({**AGENT_OF_ENGINE, "agent": {"replicas": 3.0}})

    assert checked(AGENT, "mine", args).settings.agent.replicas == 3


@pytest.mark.parametrize(
    ("shape", "args", "line"),
    [
        (AGENT, {"agent": {"adopt": True}}, "agent.adopt: AgentComponent does not take it; "),
        (
            AUTOMATION,
            {"automation": {"nodes": {"disk_gib": 50}}},
            "automation.nodes: AutomationComponent does not take it; CAST AI keeps it; ",
        ),
        (IAM, {"mode": "none"}, "mode: found 'none'; allowed: user or role"),
        (IAM, {"mode": "role"}, "castai_principal_arn: required while mode is role, and not given"),
        (SPOT, {"spot": {"enabled": False}}, "spot.enabled: SpotLambdaComponent does not take it"),
        (
            SPOT,
            {"spot": {"drain": True}, "endpoint": "https://a"},
            "certificate_authority: required while spot.drain is true, and not given",
        ),
        (
            ACCESS,
            {"access": {"mode": "auto"}},
            "access.mode: found 'auto'; allowed: access-entries",
        ),
        (
            ACCESS,
            {"user_arn": "arn:aws:iam::012345678901:user/u"},
            "user_unique_id: required with user_arn, and not given",
        ),
        (
            CLUSTER,
            {"vpc_id": "vpc-0a1b2c3d"},
            "endpoint: not given, and vpc_id is; give all of vpc_id, endpoint, "
            "certificate_authority, security_group_id, subnet_ids for a cluster that this program",
        ),
        (
            CLUSTER,
            {"api": {"register": False, "cluster_id": ID}},
            "api_key: required while api.register is false, and not given",
        ),
        (
            CLUSTER,
            {"kubeconfig_context": "mine"},
            "kubeconfig_context: given while kubeconfig is from-eks, which has one context",
        ),
    ],
)
def test_what_a_component_cannot_do_is_said(shape, args, line):
    (valid,) = (valid for other, valid in VALID if other is shape)

    (sentence,) = refusal(shape, {**valid, **args})
    assert sentence.startswith(line)


def test_the_address_of_the_environment_comes_first_as_in_the_plugin(monkeypatch):
    monkeypatch.setenv("CASTAI_API_URL", "http://127.0.0.1:9")

    settings = checked(AGENT, "mine", {**VALID[0][1], "api_url": "https://api.eu.cast.ai"}).settings
    assert settings.api.url == "http://127.0.0.1:9"


def test_an_output_where_a_plain_value_belongs_is_refused_by_its_place():
    async def program():
        output = pulumi.Output.from_input("v1")
        return refusal(
            AGENT, {**VALID[0][1], "agent": {"tag": output, "labels": {"a": output}}}
        ), checked(AGENT, "mine", {**VALID[0][1], "cluster_id": output}).inputs["cluster_id"]

    lines, cluster_id = completed(program())
    assert lines == [
        "agent.tag: found an output; allowed: a value that is known before the run",
        "agent.labels.a: found an output; allowed: a value that is known before the run",
    ]
    assert isinstance(cluster_id, pulumi.Output)


def test_no_resource_is_registered_before_the_arguments_are_valid():
    with pytest.raises(ArgumentError, match="cluster_id: required"):
        AgentComponent("mine", {"cluster": PLACE})
