import datetime as dt

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from castai_stack.config.model import StackConfig
from castai_stack.config.validation import SettingsError, validate

KEY = "castai-eks:castai"
CLUSTER = {"name": "demo", "region": "eu-central-1", "accountId": "012345678901"}


def problems(raw, **options):
    with pytest.raises(SettingsError) as error:
        validate(raw, KEY, **options)
    first, *lines = str(error.value).splitlines()
    assert first == "Invalid stack configuration:"
    return lines


def test_three_keys_are_a_whole_configuration_with_the_defaults_of_the_page():
    settings = validate({"cluster": CLUSTER}, KEY)

    assert settings.credentials.mode == "user"
    assert settings.permissions == "scoped"
    assert settings.names == "suffixed"
    assert settings.access.user_groups == ["system:masters"]


def test_all_problems_come_at_once_with_key_finding_and_rule():
    raw = {
        "cluster": {**CLUSTER, "accountId": 12345678901, "name": "-x"},
        "credentials": {"mode": "keys", "rotation": -1},
        "api": {"register": False},
        "spott": {"token": "s3cr3t"},
        "tags": {"aws:x": "y"},
    }

    assert problems(raw) == [
        f"  {KEY}.cluster.name: found '-x'; allowed: 1 to 100 letters, digits, hyphens or "
        "underscores, the first a letter or digit",
        f"  {KEY}.cluster.accountId: found a number without quotes; allowed: a text, in quotes",
        f"  {KEY}.credentials.mode: found 'keys'; allowed: 'none', 'user' or 'role'",
        f"  {KEY}.credentials.rotation: found -1; allowed: 0 or more",
        f"  {KEY}.spott: unknown key; docs/configuration.md lists the keys",
        f"  {KEY}.api.clusterId: not given while api.register is false; "
        "give the id that the CAST AI console shows, or let this program register",
        f"  {KEY}.tags.aws:x: the prefix is reserved; "
        "allowed: keys that begin with none of aws:, cast:, castai-eks:, kubernetes.io/",
    ]


def test_tags_that_aws_refuses_or_that_the_program_reserves_are_refused():
    tags = {"a#": "x", "b": "y" * 257, "castai-eks:cluster": "another", "Größe": "XL @ 1"}

    assert problems({"cluster": CLUSTER, "tags": tags}) == [
        f"  {KEY}.tags.a#: found 'a#'; allowed: 1 to 128 letters, digits, spaces or any of "
        "_.:/=+-@",
        f"  {KEY}.tags.b: found '{'y' * 59}… (259 characters); allowed: at most 256 letters, "
        "digits, spaces or any of _.:/=+-@",
        f"  {KEY}.tags.castai-eks:cluster: the prefix is reserved; "
        "allowed: keys that begin with none of aws:, cast:, castai-eks:, kubernetes.io/",
    ]


@pytest.mark.parametrize("path", ["/*/", "/team?/", "/${aws:username}/", "team/", "/team", "//"])
def test_a_path_holds_nothing_that_a_policy_would_read_as_a_pattern(path):
    [line] = problems({"cluster": CLUSTER, "iam": {"path": path}})

    assert line.startswith(f"  {KEY}.iam.path: found {path!r}; allowed: an IAM path")


@pytest.mark.parametrize("path", ["/", "/team/", "/division_abc/team-1/"])
def test_paths_that_iam_accepts_are_accepted(path):
    assert validate({"cluster": CLUSTER, "iam": {"path": path}}, KEY).iam.path == path


def test_a_missing_key_is_named():
    assert problems({"cluster": {"name": "demo"}}) == [
        f"  {KEY}.cluster.region: required, and not given",
        f"  {KEY}.cluster.accountId: required, and not given",
    ]


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (
            {"api": {"clusterId": "0f3f1ba4-6f46-4f2e-9a39-6a1bb6c0f0a1"}},
            "api.clusterId: given while api.register is true; "
            "remove it, or set api.register to false",
        ),
        (
            {"api": {"principalArn": "arn:aws:iam::809060229965:user/x"}},
            "api.principalArn: given while api.register is true; "
            "remove it, CAST AI's API answers it",
        ),
        (
            {"cluster": {**CLUSTER, "context": "prod"}},
            "cluster.context: given while cluster.kubeconfig is from-eks, which has one context; "
            "remove it, or give a kubeconfig",
        ),
        (
            {
                "cluster": {**CLUSTER, "authenticationMode": "API"},
                "access": {"mode": "aws-auth"},
            },
            "access.mode: found 'aws-auth' while cluster.authenticationMode is 'API', "
            "under which the cluster does not read it; set access.mode to auto",
        ),
        (
            {"iam": {"permissionsBoundaryArn": "arn:aws-cn:iam::012345678901:policy/b"}},
            "iam.permissionsBoundaryArn: found an ARN of partition aws-cn; "
            "allowed: aws, where region eu-central-1 is",
        ),
        (
            {"iam": {"nodeBoundary": False}},
            "iam.manageNodeRole: found true without a boundary for the role that CAST AI may "
            "create; set iam.nodeBoundary to true, give iam.permissionsBoundaryArn, or set "
            "iam.manageNodeRole to false",
        ),
        (
            {"spot": {"drain": True, "handler": "daemonset"}},
            "spot.drain: found true while spot.handler is daemonset, which marks the node and "
            "evicts nothing; set spot.handler to lambda or both, or spot.drain to false",
        ),
        (
            {"tags": {f"t{i}": "x" for i in range(41)}},
            "tags: found 41 tags; allowed: 40",
        ),
    ],
)
def test_keys_that_contradict_each_other_are_named(raw, line):
    assert problems({"cluster": CLUSTER, **raw}) == [f"  {KEY}.{line}"]


def test_role_mode_without_registration_needs_the_principal():
    raw = {
        "cluster": CLUSTER,
        "api": {"register": False, "clusterId": "0f3f1ba4-6f46-4f2e-9a39-6a1bb6c0f0a1"},
        "credentials": {"mode": "role"},
    }

    assert problems(raw) == [
        f"  {KEY}.api.principalArn: not given while api.register is false and credentials.mode "
        "is role; give CAST AI's user that the console shows"
    ]


@given(st.sampled_from(["unknown", "apiKey", "secretAccessKey"]), st.booleans())
def test_no_value_of_an_unknown_key_is_ever_shown(key, show_values):
    lines = problems({"cluster": CLUSTER, key: "SENTINEL"}, show_values=show_values)

    assert not any("SENTINEL" in line for line in lines)


def test_values_stay_hidden_when_the_object_is_a_secret():
    lines = problems({"cluster": {**CLUSTER, "name": "!SENTINEL"}}, show_values=False)

    assert "SENTINEL" not in str(lines)
    assert lines[0].startswith(f"  {KEY}.cluster.name: found a str; allowed: ")


def test_a_long_value_is_cut_in_the_message():
    (line,) = problems({"cluster": {**CLUSTER, "name": "!" * 200}})

    assert "(202 characters)" in line
    assert len(line) < 250


def test_a_possible_password_or_private_key_is_never_shown():
    raw = {
        "cluster": CLUSTER,
        "agent": {
            "proxy": {"https": "http://me:hunter2@proxy.example.com"},
            "trustedCaCertificate": "-----BEGIN PRIVATE KEY-----hunter2",
        },
    }

    assert problems(raw) == [
        f"  {KEY}.agent.proxy.https: found a str; "
        "allowed: an http or https address of a proxy, without user and password",
        f"  {KEY}.agent.trustedCaCertificate: found a str; "
        "allowed: certificates in PEM form and nothing else",
    ]


@pytest.mark.parametrize(
    ("written", "result"),
    [
        ("012345670123", "a number"),
        ("123456789012", "a number"),
        ("1_2", "a number"),
        ("1e3", "a number"),
        (".inf", "a number"),
        ("yes", "true or false"),
        ("2001-01-01", "a date"),
    ],
)
def test_a_value_that_yaml_converted_is_never_shown(written, result):
    # YAML 1.1 as some tools read it; PyYAML takes `1e3` for a text, which the engine does not.
    value = 1000.0 if written == "1e3" else yaml.safe_load(written)
    assert isinstance(value, bool | int | float | dt.date)

    assert problems({"cluster": {**CLUSTER, "accountId": value}}) == [
        f"  {KEY}.cluster.accountId: found {result} without quotes; allowed: a text, in quotes"
    ]


REGIONS = (
    "eu-central-1", "us-gov-west-1", "cn-north-1", "eusc-de-east-1", "us-iso-east-1",
    "us-isob-east-1", "eu-isoe-west-1", "us-isof-south-1",
)  # fmt: skip


@pytest.mark.parametrize("region", REGIONS)
def test_every_region_of_aws_can_be_set(region):
    assert validate({"cluster": {**CLUSTER, "region": region}}, KEY).cluster.region == region


@pytest.mark.parametrize("region", ["eu-central", "xx-east-1", "eu-central-1a", "eu-größe-1"])
def test_another_region_is_refused_with_those_that_work(region):
    [line] = problems({"cluster": {**CLUSTER, "region": region}})

    assert line.endswith(
        "allowed: an AWS region such as eu-central-1, us-gov-west-1, cn-north-1 or eusc-de-east-1"
    )


def test_tags_that_differ_in_case_only_are_refused():
    tags = {"owner": "a", "Owner": "b", "team": "c", "STRASSE": "d", "straße": "e"}

    assert problems({"cluster": CLUSTER, "tags": tags}) == [
        f"  {KEY}.tags: found Owner, owner, which differ in case only; allowed: one of them",
        f"  {KEY}.tags: found STRASSE, straße, which differ in case only; allowed: one of them",
    ]


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("iam", "path", "/größe/"),
        ("iam", "autoScalingGroupNames", ["größe"]),
        ("iam", "permissionsBoundaryArn", "arn:aws:iam::012345678901:policy/größe"),
        ("iam", "permissionsBoundaryArn", "arn:aws:iam::٠١٢٣٤٥٦٧٨٩٠١:policy/b"),
        ("cluster", "accountId", "٠١٢٣٤٥٦٧٨٩٠١"),
        ("cluster", "vpcAccountId", "٠١٢٣٤٥٦٧٨٩٠١"),
        ("credentials", "externalId", "größe"),
        ("access", "userGroups", ["größe"]),
        ("agent", "tag", "v1.2.٣"),
        ("agent", "imageRegistry", "größe.example"),
        ("agent", "memory", "٣Gi"),
        ("agent", "labels", {"größe": "x"}),
        ("agent", "labels", {"x": "größe"}),
        ("agent", "extraEnv", {"GRÖSSE": "x"}),
    ],
)
def test_letters_and_digits_are_ascii_where_aws_and_kubernetes_require_it(section, key, value):
    base = {"cluster": CLUSTER}
    [line] = problems({**base, section: {**base.get(section, {}), key: value}})

    assert f".{section}.{key}" in line


@pytest.mark.parametrize(
    ("section", "key", "value", "allowed"),
    [
        ("spot", "alarmTopicArn", "arn:aws:s3:::bucket", "the ARN of an SNS topic"),
        ("spot", "alarmTopicArn", "arn:aws:sns:eu-central-1:012345678901:t:sub", "an SNS topic"),
        ("spot", "alarmTopicArn", "arn:aws:sns:us-east-1:012345678901:t", "eu-central-1, the cl"),
        ("agent", "roleArn", "arn:aws:iam::012345678901:user/x", "the ARN of an IAM role"),
        ("agent", "roleArn", "arn:aws-cn:iam::012345678901:role/x", "aws, where region"),
        ("iam", "kmsKeyArns", ["arn:aws:kms:us-east-1:012345678901:key/0a1b"], "eu-central-1, th"),
        ("iam", "kmsKeyArns", ["arn:aws:kms:eu-central-1:012345678901:alias/x"], "a KMS key"),
        ("iam", "permissionsBoundaryArn", "arn:aws:iam::999999999999:policy/b", "012345678901, "),
        ("iam", "permissionsBoundaryArn", "arn:aws:iam::012345678901:role/b", "an IAM policy"),
        ("api", "principalArn", "arn:aws:iam::809060229965:role/x", "the ARN of an IAM user"),
    ],
)
def test_an_arn_of_another_kind_region_or_account_is_refused(section, key, value, allowed):
    lines = problems({"cluster": CLUSTER, section: {key: value}})

    assert any(
        f".{section}.{key}" in line and allowed in line.split("allowed: ")[1] for line in lines
    )


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("spot", "alarmTopicArn", "arn:aws:sns:eu-central-1:999999999999:alarms"),
        ("agent", "roleArn", "arn:aws:iam::999999999999:role/path/agent"),
        ("iam", "kmsKeyArns", ["arn:aws:kms:eu-central-1:999999999999:key/mrk-0a1b"]),
        ("iam", "permissionsBoundaryArn", "arn:aws:iam::aws:policy/ReadOnlyAccess"),
    ],
)
def test_an_arn_of_another_account_is_accepted_where_aws_accepts_it(section, key, value):
    validate({"cluster": CLUSTER, section: {key: value}}, KEY)


def test_an_address_with_a_password_is_refused_and_never_shown():
    lines = problems({"cluster": CLUSTER, "api": {"url": "https://me:SENTINEL@api.cast.ai"}})

    assert lines == [
        f"  {KEY}.api.url: found a str; allowed: an address without user, password and query"
    ]


@pytest.mark.parametrize(
    ("agent", "line"),
    [
        (
            {"cpuRequest": "2"},
            "cpuLimit: found '1000m', the default; allowed: no less than agent.cpuRequest (2)",
        ),
        (
            {"cpuLimit": "50m"},
            "cpuLimit: found '50m'; allowed: no less than agent.cpuRequest (100m, the default)",
        ),
        (
            {"cpuRequest": "2", "cpuLimit": "1"},
            "cpuLimit: found '1'; allowed: no less than agent.cpuRequest (2)",
        ),
        (
            {"autoscaling": {"base": "16Gi"}},
            "autoscaling.max: found '8Gi', the default; allowed: no less than "
            "agent.autoscaling.base (16Gi)",
        ),
        (
            {"monitor": {"memoryLimit": "64Mi"}},
            "monitor.memoryLimit: found '64Mi'; allowed: no less than agent.monitor.memoryRequest "
            "(128Mi, the default)",
        ),
    ],
)
def test_a_limit_below_its_request_names_both_keys_and_the_default(agent, line):
    assert problems({"cluster": CLUSTER, "agent": agent}) == [f"  {KEY}.agent.{line}"]


def test_a_limit_is_compared_without_its_value_where_values_are_hidden():
    raw = {"cluster": CLUSTER, "agent": {"cpuRequest": "2"}}

    assert problems(raw, show_values=False) == [
        f"  {KEY}.agent.cpuLimit: found a str, the default; allowed: no less than agent.cpuRequest"
    ]


def settings_keys(model=StackConfig, place=()):
    """Path of every setting, as docs/configuration.md spells it."""
    for field in model.model_fields.values():
        path = (*place, field.alias)
        yield path
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from settings_keys(field.annotation, path)


@pytest.mark.parametrize("place", list(settings_keys()), ids=".".join)
def test_every_error_names_the_key_as_a_stack_file_spells_it(place):
    raw = {"cluster": dict(CLUSTER)}
    node = raw
    for key in place[:-1]:
        node = node.setdefault(key, {})
    node[place[-1]] = object()

    path = f"  {KEY}.{'.'.join(place)}: found a"
    assert any(line.startswith(path) for line in problems(raw))


@pytest.mark.parametrize(
    ("agent", "key"),
    [
        ({"cpu_limit": "1"}, "cpu_limit"),
        ({"tolerations": [{"operator": "Exists", "toleration_seconds": 1}]}, "tolerations.0"),
        ({"affinity": {"node_affinity": {}}}, "affinity.node_affinity"),
    ],
)
def test_another_spelling_of_a_key_is_an_unknown_key(agent, key):
    [line] = problems({"cluster": CLUSTER, "agent": agent})

    assert line.startswith(f"  {KEY}.agent.{key}")
    assert line.endswith("unknown key; docs/configuration.md lists the keys")
