import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        f"  {KEY}.cluster.accountId: found 12345678901; allowed: a text; "
        "YAML read a number, write it in quotes",
        f"  {KEY}.credentials.mode: found 'keys'; allowed: 'none', 'user' or 'role'",
        f"  {KEY}.credentials.rotation: found -1; allowed: 0 or more",
        f"  {KEY}.spott: unknown key; compare the table in the README",
        f"  {KEY}.api.clusterId: not given while api.register is false; "
        "give the id that the CAST AI console shows, or let this program register",
        f"  {KEY}.tags.aws:x: the prefix is reserved; "
        "allowed: keys that begin with none of aws:, cast:, castai-eks:, kubernetes.io/",
    ]


def test_tags_are_such_as_aws_takes_and_none_of_the_programs_own():
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
def test_paths_as_iam_takes_them(path):
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
            {"tags": {f"t{i}": "x" for i in range(41)}},
            "tags: found 41 tags; allowed: 40",
        ),
    ],
)
def test_keys_that_disagree_are_told(raw, line):
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


def test_what_may_be_a_password_or_a_private_key_is_never_shown():
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
