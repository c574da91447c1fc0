"""The AWS stand-in answers the engine as the real plugin would."""

import base64
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from botocore.exceptions import ClientError

from sandbox import aws
from sandbox.aws_provider import account, documents, plugin, registry, schema
from sandbox.aws_provider.code import zipped
from sandbox.aws_provider.resource import Field, compare
from sandbox.aws_provider.wire import UNKNOWN, Archive, Asset, Secret, properties, to_struct
from tests.support.aws_plugin import SECRET, Plugin, RefusedError

ACCOUNT, REGION = "012345678901", "eu-central-1"
USER = "aws:iam/user:User"
ROLE = "aws:iam/role:Role"
POLICY = "aws:iam/policy:Policy"
ATTACHMENT = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
KEY = "aws:iam/accessKey:AccessKey"
FUNCTION = "aws:lambda/function:Function"
LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"
QUEUE = "aws:sqs/queue:Queue"
ENTRY = "aws:eks/accessEntry:AccessEntry"


def document(action: str = "s3:ListBucket", resource: object = "*") -> str:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def trust(service: str = "ec2") -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": f"{service}.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


CODE = Archive("c0de", assets={"spot.py": Asset("f11e", text="print()")})


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = aws.serve(tmp_path_factory.mktemp("aws"), authentication_mode="API")
    yield server.url
    server.close()


@pytest.fixture(scope="module")
def keys(endpoint: str) -> aws.Credentials:
    return aws.root(endpoint)


@pytest.fixture(scope="module")
def environment(endpoint: str, keys: aws.Credentials) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.delenv(name, raising=False)
        for name, value in keys.environment(endpoint).items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def served(environment: None) -> Iterator[Plugin]:
    """The plugin, not configured yet."""
    del environment
    server, port = plugin.serve()
    caller = Plugin(port)
    yield caller
    caller.close()
    server.stop(None)


@pytest.fixture(scope="module")
def provider(served: Plugin) -> Plugin:
    served.configure(
        region=REGION,
        allowedAccountIds=json.dumps([ACCOUNT]),
        defaultTags=json.dumps({"tags": {"owner": "us"}}),
    )
    return served


@pytest.fixture
def faults(endpoint: str) -> Iterator[str]:
    """Address of the faults, taken away afterwards."""
    address = f"{endpoint}/_sandbox/faults"
    yield address
    requests.delete(address, timeout=5)


def create(provider: Plugin, kind: str, **inputs: object) -> tuple[str, dict, dict]:
    """Check and create; gives id, outputs and the checked inputs."""
    checked = provider.checked(kind, inputs)
    identifier, state = provider.create(kind, checked)
    return identifier, state, checked


# What it takes


@pytest.mark.parametrize("token", sorted(registry.RESOURCES))
def test_every_property_that_a_type_carries_out_is_one_of_the_sdk(token, tmp_path):
    shape = schema.Schemas(tmp_path)[token]
    own = set(registry.resource(token).fields) - {"tagsAll"}

    assert own <= set(shape.inputs), "a property that the SDK does not have"
    assert set(shape.required) <= own, "a required property that cannot be carried out"


@pytest.mark.parametrize("token", registry.LOOKUPS)
def test_every_argument_of_a_lookup_is_one_of_the_sdk(token, tmp_path):
    lookup = registry.lookup(token)

    assert {*lookup.required, *lookup.optional} <= set(schema.Schemas(tmp_path)[token].inputs)


def test_the_schema_is_read_from_the_sdk_once(tmp_path, monkeypatch):
    first = schema.Schemas(tmp_path)[ROLE]
    monkeypatch.setattr(schema, "_parse", lambda _: pytest.fail("parsed again"))

    assert schema.Schemas(tmp_path)[ROLE] == first


def test_an_unknown_type_is_refused(provider):
    with pytest.raises(RefusedError, match="knows no resource type aws:s3/bucket:Bucket"):
        provider.failures("aws:s3/bucket:Bucket", {})


def test_an_unknown_lookup_is_refused(provider):
    with pytest.raises(RefusedError, match="knows no lookup aws:ec2/getVpc:getVpc"):
        provider.invoke("aws:ec2/getVpc:getVpc")


def test_an_unknown_argument_of_a_lookup_is_refused(provider):
    [sentence] = provider.invoke_failures("aws:eks/getCluster:getCluster", name="demo", vpc="x")

    assert sentence.startswith("vpc: no such property")


def test_a_lookup_wants_its_arguments(provider):
    assert provider.invoke_failures("aws:iam/getAccessKeys:getAccessKeys") == [
        "user: missing required argument"
    ]


@pytest.mark.parametrize(
    ("kind", "inputs", "sentence"),
    [
        (USER, {"nam": "x"}, "nam: no such property; known: forceDestroy, name"),
        (ROLE, {}, "assumeRolePolicy: missing required property"),
        (ROLE, {"assumeRolePolicy": trust(), "name": ["x"]}, "name: expected string, got a list"),
        (
            FUNCTION,
            {"role": "arn:aws:iam::012345678901:role/x", "environment": {"vars": {}}},
            "environment.vars: no such property; known: variables",
        ),
        (
            ROLE,
            {"assumeRolePolicy": trust(), "managedPolicyArns": []},
            "managedPolicyArns: the stand-in does not carry out this property",
        ),
        (ROLE, {"assumeRolePolicy": "{", "name": "r"}, "contains an invalid JSON document"),
        (ROLE, {"assumeRolePolicy": " {}", "name": "r"}, "must be an object and start with {"),
        (ROLE, {"assumeRolePolicy": trust(), "name": "r" * 65}, "1 to 64 characters, has 65"),
        (ROLE, {"assumeRolePolicy": trust(), "name": "a b"}, "must consist of the characters"),
        (ROLE, {"assumeRolePolicy": trust(), "path": "x"}, "must be a path"),
        (ROLE, {"assumeRolePolicy": trust(), "permissionsBoundary": "p"}, "is not an ARN"),
        (USER, {"name": "u" * 65}, "1 to 64 characters"),
        (POLICY, {"policy": document(), "name": "p" * 129}, "1 to 128 characters"),
        (KEY, {"user": "u", "status": "On"}, "expected one of Active, Inactive"),
        (LOG_GROUP, {"retentionInDays": 2}, "expected one of 0, 1, 3, 5"),
        (QUEUE, {"name": "q" * 81}, "1 to 80 characters"),
        (QUEUE, {"name": "q.fifo"}, "must consist of"),
        (
            FUNCTION,
            {"role": "arn:aws:iam::012345678901:role/x", "code": CODE, "runtime": "python3.13"},
            "handler: handler and runtime must be set",
        ),
        (
            FUNCTION,
            {"role": "arn:aws:iam::012345678901:role/x", "code": CODE, "memorySize": 64},
            "expected a number from 128 to 10240, got 64",
        ),
        (
            FUNCTION,
            {"role": "arn:aws:iam::012345678901:role/x", "handler": "a", "runtime": "python3.13"},
            "code: missing",
        ),
        (
            "aws:cloudwatch/eventRule:EventRule",
            {"name": "r" * 65, "eventPattern": "{}"},
            "1 to 64 characters",
        ),
        ("aws:cloudwatch/eventRule:EventRule", {"eventPattern": "x"}, "invalid JSON"),
        (
            "aws:cloudwatch/metricAlarm:MetricAlarm",
            {"comparisonOperator": "GreaterThanThreshold", "evaluationPeriods": 1, "period": 61},
            "multiple of 60 seconds, got 61",
        ),
        (
            "aws:lambda/permission:Permission",
            {
                "action": "lambda:InvokeFunction",
                "function": "f",
                "principal": "p",
                "sourceArn": "x",
            },
            "sourceArn: 'x' is not an ARN",
        ),
        (
            "aws:eks/accessPolicyAssociation:AccessPolicyAssociation",
            {
                "clusterName": "demo",
                "principalArn": "arn:aws:iam::012345678901:role/x",
                "policyArn": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy",
                "accessScope": {"type": "all"},
            },
            "accessScope.type: expected one of cluster, namespace",
        ),
    ],
)
def test_a_wrong_input_is_refused_before_aws_is_asked(provider, kind, inputs, sentence):
    assert any(sentence in message for message in provider.failures(kind, inputs)), (
        provider.failures(kind, inputs)
    )


def test_unknown_values_are_no_reason_to_refuse(provider):
    checked = provider.checked(ROLE, {"assumeRolePolicy": UNKNOWN, "permissionsBoundary": UNKNOWN})

    assert checked["permissionsBoundary"] is UNKNOWN


# What it fills in


def test_check_fills_in_what_the_real_plugin_fills_in(provider):
    checked = provider.checked(ROLE, {"assumeRolePolicy": trust(), "name": "r"})

    assert checked == {
        "assumeRolePolicy": trust(),
        "name": "r",
        "path": "/",
        "tagsAll": {"owner": "us"},
        "__defaults": ["path"],
    }


def test_a_regional_type_gets_the_region_of_its_provider(provider):
    assert provider.checked(LOG_GROUP, {"name": "g"})["region"] == REGION


def test_tags_of_the_program_go_over_those_of_the_provider(provider):
    checked = provider.checked(USER, {"tags": {"owner": "them", "a": "b"}})

    assert checked["tagsAll"] == {"owner": "them", "a": "b"}


def test_without_a_name_one_is_chosen_and_kept(provider):
    first = provider.checked(ROLE, {"assumeRolePolicy": trust()})
    again = provider.checked(ROLE, {"assumeRolePolicy": trust()}, olds={**first, "name": "thing-1"})

    assert first["name"].startswith("thing-")
    assert len(first["name"]) == len("thing-") + 7
    assert again["name"] == "thing-1", "a name once chosen stays"


def test_a_name_that_the_program_gave_up_is_chosen_anew(provider):
    given = provider.checked(ROLE, {"assumeRolePolicy": trust(), "name": "mine"})
    without = provider.checked(ROLE, {"assumeRolePolicy": trust()}, olds=given)

    assert without["name"].startswith("thing-")


def test_a_document_given_as_an_object_becomes_text(provider):
    checked = provider.checked(POLICY, {"policy": json.loads(document())})

    assert json.loads(checked["policy"]) == json.loads(document())


def test_preview_of_a_new_object_knows_its_inputs_and_not_what_aws_decides(provider):
    checked = provider.checked(ROLE, {"assumeRolePolicy": trust(), "name": "r"})
    identifier, planned = provider.create(ROLE, checked, preview=True)

    assert identifier == ""
    assert planned["name"] == "r"
    assert {planned[name] for name in ("arn", "uniqueId", "createDate")} == {UNKNOWN}
    assert "description" not in planned, "what nobody asked for will not be there"


# What changes


def changes(answer: object) -> dict[str, str]:
    names = {0: "add", 1: "add!", 2: "delete", 3: "delete!", 4: "update", 5: "update!"}
    return {path: names[diff.kind] for path, diff in answer.detailedDiff.items()}


def test_the_same_document_spelled_otherwise_is_no_change(provider):
    olds = provider.checked(POLICY, {"name": "p", "policy": document("s3:Get*", "*")})
    news = {**olds, "policy": json.dumps(json.loads(document(["s3:Get*"], ["*"])), indent=2)}

    answer = provider.diff(POLICY, olds, news)

    assert answer.changes == answer.DIFF_NONE
    assert changes(answer) == {}


def test_another_document_is_changed_in_place(provider):
    olds = provider.checked(POLICY, {"name": "p", "policy": document()})

    answer = provider.diff(POLICY, olds, {**olds, "policy": document("s3:Put*")})

    assert changes(answer) == {"policy": "update"}
    assert not answer.replaces


REPLACING = [
    (ROLE, {"assumeRolePolicy": trust(), "name": "r"}, "path", "/x/"),
    (ROLE, {"assumeRolePolicy": trust(), "name": "r"}, "name", "s"),
    (POLICY, {"policy": document(), "name": "p"}, "description", "new"),
    (POLICY, {"policy": document(), "name": "p"}, "path", "/x/"),
    ("aws:iam/instanceProfile:InstanceProfile", {"name": "i"}, "path", "/x/"),
    (LOG_GROUP, {"name": "g"}, "name", "h"),
    (QUEUE, {"name": "q"}, "name", "r"),
    (
        "aws:lambda/permission:Permission",
        {"action": "lambda:*", "function": "f", "principal": "p", "statementId": "s"},
        "principal",
        "q",
    ),
    (
        "aws:cloudwatch/eventTarget:EventTarget",
        {"rule": "r", "arn": "arn:aws:sqs:eu-central-1:012345678901:q", "targetId": "t"},
        "rule",
        "s",
    ),
]


@pytest.mark.parametrize(("kind", "inputs", "name", "value"), REPLACING)
def test_what_aws_cannot_change_is_replaced_and_goes_first_under_a_chosen_name(
    provider, kind, inputs, name, value
):
    olds = provider.checked(kind, inputs)

    answer = provider.diff(kind, olds, provider.checked(kind, {**inputs, name: value}))

    assert list(answer.replaces) == [name]
    assert changes(answer)[name].endswith("!")
    assert answer.deleteBeforeReplace


def test_an_object_whose_name_was_made_up_is_created_before_the_old_one_goes(provider):
    olds = provider.checked(ROLE, {"assumeRolePolicy": trust()})
    news = provider.checked(ROLE, {"assumeRolePolicy": trust(), "path": "/x/"}, olds=olds)

    answer = provider.diff(ROLE, olds, news)

    assert list(answer.replaces) == ["path"]
    assert not answer.deleteBeforeReplace


def test_an_attachment_goes_before_it_comes_back(provider):
    olds = provider.checked(ATTACHMENT, {"role": "r", "policyArn": "arn:aws:iam::aws:policy/A"})

    answer = provider.diff(ATTACHMENT, olds, {**olds, "policyArn": "arn:aws:iam::aws:policy/B"})

    assert answer.deleteBeforeReplace


def test_a_key_and_an_access_entry_come_before_the_old_one_goes(provider):
    key = provider.checked(KEY, {"user": "u"})
    entry = provider.checked(
        ENTRY, {"clusterName": "demo", "principalArn": "arn:aws:iam::012345678901:role/a"}
    )

    answers = [
        provider.diff(KEY, key, {**key, "user": "v"}),
        provider.diff(ENTRY, entry, {**entry, "principalArn": "arn:aws:iam::012345678901:role/b"}),
    ]

    assert [bool(answer.replaces) for answer in answers] == [True, True]
    assert [answer.deleteBeforeReplace for answer in answers] == [False, False]


def test_a_users_name_and_path_are_changed_in_place(provider):
    olds = provider.checked(USER, {"name": "u"})

    answer = provider.diff(USER, olds, provider.checked(USER, {"name": "v", "path": "/x/"}))

    assert changes(answer) == {"name": "update", "path": "update"}


def test_an_unknown_value_counts_as_a_change(provider):
    olds = provider.checked(ROLE, {"assumeRolePolicy": trust(), "name": "r"})

    answer = provider.diff(ROLE, olds, {**olds, "name": UNKNOWN})

    assert changes(answer) == {"name": "update!"}


def test_the_path_of_a_change_leads_into_objects_and_lists(provider):
    inputs = {"role": "arn:aws:iam::012345678901:role/x", "code": CODE, "handler": "a.b"}
    inputs |= {"runtime": "python3.13", "environment": {"variables": {"A": "1", "B-C": "2"}}}
    olds = provider.checked(FUNCTION, inputs)
    variables = {"A": "2", "D": "3"}

    answer = provider.diff(FUNCTION, olds, {**olds, "environment": {"variables": variables}})

    assert changes(answer) == {
        "environment.variables.A": "update",
        'environment.variables["B-C"]': "delete",
        "environment.variables.D": "add",
    }


def test_code_is_compared_by_its_hash(provider):
    inputs = {"role": "arn:aws:iam::012345678901:role/x", "code": CODE, "handler": "a.b"}
    olds = provider.checked(FUNCTION, {**inputs, "runtime": "python3.13"})

    same = provider.diff(FUNCTION, olds, {**olds, "code": Archive("c0de", assets={})})
    other = provider.diff(FUNCTION, olds, {**olds, "code": Archive("0ther", assets={})})

    assert changes(same) == {}
    assert changes(other) == {"code": "update"}


def test_what_is_ignored_is_no_change(provider):
    olds = provider.checked(USER, {"name": "u", "tags": {"a": "1"}})
    news = {**olds, "tags": {"a": "2"}, "tagsAll": {"a": "2", "owner": "us"}}

    answer = provider.diff(USER, olds, news, ignored=["tags", "tagsAll"])

    assert answer.changes == answer.DIFF_NONE


def test_what_the_program_leaves_to_aws_stays_as_it_is():
    fields = {"left": Field(computed=True), "set": Field(kind="set")}
    kind = type("Kind", (registry.Resource,), {"fields": fields})()
    state = {"left": "by aws", "set": ["b", "a"]}

    assert compare(kind, state, {"set": ["a", "b"]}) == []
    assert [change.path for change in compare(kind, state, {})] == ["set"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('{"a": ["x"]}', '{"a":"x"}', True),
        ('{"a": ["x", "y"]}', '{"a":["y","x"]}', True),
        ('{"P":"arn:aws:iam::012345678901:root"}', '{"P":"012345678901"}', True),
        ('{"P":"arn:aws:iam::012345678901:role/r"}', '{"P":"012345678901"}', False),
        ('{"a": "x"}', '{"a":"y"}', False),
        ("no json", "no json", True),
        ("no json", "{}", False),
    ],
)
def test_documents_are_the_same_when_they_mean_the_same(one, other, same):
    assert documents.same(one, other) is same


# What it does


def test_a_role_lives_its_life(provider, keys, endpoint):
    identifier, state, inputs = create(
        provider, ROLE, name="life", assumeRolePolicy=trust(), description="first", tags={"a": "b"}
    )
    iam = keys.client("iam", endpoint)

    assert identifier == "life"
    assert state["arn"] == f"arn:aws:iam::{ACCOUNT}:role/life"
    assert state["assumeRolePolicy"] == trust(), "the program's spelling stays"

    wanted = provider.checked(
        ROLE, {"name": "life", "assumeRolePolicy": trust("lambda"), "tags": {"c": "d"}}, inputs
    )
    provider.update(ROLE, identifier, state, wanted)
    actual = iam.get_role(RoleName="life")["Role"]

    assert "lambda" in json.dumps(actual["AssumeRolePolicyDocument"])
    assert actual.get("Description", "") == ""
    assert {tag["Key"]: tag["Value"] for tag in actual["Tags"]} == {"c": "d", "owner": "us"}

    provider.delete(ROLE, identifier, state)

    assert provider.read(ROLE, identifier, state, inputs) == ("", {}, {})
    provider.delete(ROLE, identifier, state)  # gone already: fine


def test_drift_is_read_into_state_and_inputs(provider, keys, endpoint):
    identifier, state, inputs = create(
        provider, ROLE, name="drift", assumeRolePolicy=trust(), description="ours"
    )
    keys.client("iam", endpoint).update_role(RoleName="drift", Description="theirs")

    _, actual, read_inputs = provider.read(ROLE, identifier, state, inputs)

    assert actual["description"] == read_inputs["description"] == "theirs"
    assert changes(provider.diff(ROLE, actual, inputs)) == {"description": "update"}


def test_a_policys_sixth_version_pushes_out_the_oldest(provider, keys, endpoint):
    identifier, state, inputs = create(provider, POLICY, name="versions", policy=document())
    for number in range(6):
        wanted = {**inputs, "policy": document(f"s3:Get{number}")}
        state = provider.update(POLICY, identifier, state, wanted)
    iam = keys.client("iam", endpoint)
    versions = iam.list_policy_versions(PolicyArn=identifier)["Versions"]

    assert len(versions) == 5
    assert "s3:Get5" in state["policy"]

    provider.delete(POLICY, identifier, state)

    assert provider.read(POLICY, identifier, state)[0] == ""


def test_an_attached_policy_is_not_deleted_and_not_waited_for(provider, endpoint):
    identifier, state, _ = create(provider, POLICY, name="attached", policy=document())
    create(provider, ROLE, name="holder", assumeRolePolicy=trust())
    create(provider, ATTACHMENT, role="holder", policyArn=identifier)

    with pytest.raises(RefusedError, match="DeletePolicy: DeleteConflict"):
        provider.delete(POLICY, identifier, state)

    log = requests.get(f"{endpoint}/_sandbox/requests", timeout=5).json()["log"]
    refused = [e for e in log if e["action"] == "DeletePolicy" and e["status"] == 409]
    assert len(refused) == 1, "the real provider asks once"


def test_a_refresh_spells_documents_as_the_provider_does(provider):
    written = json.dumps(json.loads(document()), indent=2)
    identifier, state, inputs = create(provider, POLICY, name="spelled", policy=written)

    _, actual, read_inputs = provider.read(POLICY, identifier, state, inputs)

    assert state["policy"] == written
    assert actual["policy"] == read_inputs["policy"]
    assert read_inputs["policy"].startswith('{"Statement":[{"Action":"s3:ListBucket","Effect"')
    assert changes(provider.diff(POLICY, actual, inputs)) == {}


def test_a_queue_carries_its_policy_with_the_case_of_its_letters(provider):
    policy = document(resource="arn:aws:sqs:eu-central-1:012345678901:Letters")
    identifier, state, inputs = create(provider, QUEUE, name="Letters", policy=policy)
    assert changes(provider.diff(QUEUE, state, inputs)) == {}
    _, actual, _ = provider.read(QUEUE, identifier, state, inputs)
    assert json.loads(actual["policy"]) == json.loads(policy)

    other = document(resource="arn:aws:sqs:eu-central-1:012345678901:letters")
    provider.update(QUEUE, identifier, actual, {**inputs, "policy": other})
    _, actual, _ = provider.read(QUEUE, identifier, state, inputs)
    assert json.loads(actual["policy"]) == json.loads(other)


def test_it_waits_as_long_as_the_real_plugin_where_it_is_told_to(provider, monkeypatch):
    waits = []
    monkeypatch.setattr(account.Account, "pause", lambda _, seconds: waits.append(seconds))
    monkeypatch.setenv(account.WAITS, "1")
    _, role, _ = create(provider, ROLE, name="waiting", assumeRolePolicy=trust("lambda"))
    queue, state, inputs = create(provider, QUEUE, name="waiting")
    provider.update(QUEUE, queue, state, {**inputs, "policy": document()})
    create(provider, "aws:iam/instanceProfile:InstanceProfile", name="waiting")
    function = {"role": role["arn"], "code": CODE, "handler": "a.b", "runtime": "python3.13"}
    create(provider, FUNCTION, name="waiting", **function)

    assert [seconds for seconds in waits if seconds >= 1] == [25, 25, 5, 5]


def test_the_secret_of_a_key_is_sealed_and_survives_a_refresh(provider):
    create(provider, USER, name="keyed")
    checked = provider.checked(KEY, {"user": "keyed"})
    answer = provider.created(KEY, checked)
    sealed = answer.properties.fields["secret"].struct_value.fields

    assert sealed[SECRET].string_value, "the secret must come in its envelope"

    state = properties(answer.properties)
    _, read, _ = provider.read(KEY, answer.id, state, checked)

    assert read["secret"] == state["secret"]
    assert read["status"] == "Active"

    retired = provider.update(KEY, answer.id, state, {**checked, "status": "Inactive"})

    assert retired["status"] == "Inactive"
    assert retired["secret"] == state["secret"]


def test_a_user_with_foreign_keys_and_policies_goes_when_it_is_forced(provider, keys, endpoint):
    identifier, state, _ = create(provider, USER, name="forced", forceDestroy=True)
    iam = keys.client("iam", endpoint)
    iam.create_access_key(UserName="forced")
    iam.put_user_policy(UserName="forced", PolicyName="p", PolicyDocument=document())
    iam.attach_user_policy(UserName="forced", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")

    provider.delete(USER, identifier, state)

    assert provider.read(USER, identifier, state)[0] == ""


def test_a_function_waits_for_its_role_to_be_known(provider, endpoint, faults):
    document = {"propagation_seconds": 2}
    requests.put(faults, json=document, timeout=5).raise_for_status()
    _, role, _ = create(provider, ROLE, name="slow", assumeRolePolicy=trust("lambda"))

    identifier, state, _ = create(
        provider,
        FUNCTION,
        name="patient",
        role=role["arn"],
        code=CODE,
        handler="spot.main",
        runtime="python3.13",
    )

    log = requests.get(f"{endpoint}/_sandbox/requests", timeout=5).json()["log"]
    refused = [e for e in log if e["action"] == "CreateFunction" and e["status"] >= 400]
    assert identifier == "patient"
    packed = base64.b64encode(hashlib.sha256(zipped(CODE)).digest()).decode()
    assert state["sourceCodeHash"] == packed
    assert refused, "the role was known at once: nothing was waited for"


def test_a_functions_code_and_settings_are_changed_in_place(provider, keys, endpoint):
    _, role, _ = create(provider, ROLE, name="worker", assumeRolePolicy=trust("lambda"))
    inputs = {
        "name": "worker",
        "role": role["arn"],
        "code": CODE,
        "handler": "spot.main",
        "runtime": "python3.13",
        "environment": {"variables": {"MODE": "1"}},
    }
    identifier, state, checked = create(provider, FUNCTION, **inputs)
    code = Archive("0ther", assets={"spot.py": Asset("x", text="print(2)")})
    wanted = provider.checked(FUNCTION, {**inputs, "code": code, "timeout": 9}, checked)
    del wanted["environment"]

    planned = provider.update(FUNCTION, identifier, state, wanted, preview=True)
    updated = provider.update(FUNCTION, identifier, state, wanted)

    packed = base64.b64encode(hashlib.sha256(zipped(code)).digest()).decode()
    actual = keys.client("lambda", endpoint).get_function_configuration(FunctionName="worker")
    assert planned["codeSha256"] is UNKNOWN
    assert planned["arn"] == state["arn"], "what does not change is known in a preview"
    assert updated["codeSha256"] == actual["CodeSha256"] == packed
    assert updated["sourceCodeHash"] == packed
    assert actual["Timeout"] == 9
    assert "environment" not in updated
    assert not actual.get("Environment", {}).get("Variables")


def test_the_same_files_make_the_same_zip():
    first, second = Asset("", text="1"), Asset("", text="2")
    packed = zipped(Archive("", {"b.py": second, "pkg": Archive("", {"a.py": first})}))

    assert packed == zipped(Archive("", {"pkg": Archive("", {"a.py": first}), "b.py": second}))
    with zipfile.ZipFile(io.BytesIO(packed)) as content:
        assert content.namelist() == ["b.py", "pkg/a.py"]


def test_an_object_whose_rest_failed_is_not_forgotten(provider, faults):
    rule = {"action": "logs:PutRetentionPolicy", "status": 400, "code": "AccessDeniedException"}
    requests.put(faults, json={"rules": [{**rule, "times": 1}]}, timeout=5).raise_for_status()
    checked = provider.checked(LOG_GROUP, {"name": "half", "retentionInDays": 7})

    with pytest.raises(RefusedError, match="AWS refused PutRetentionPolicy") as refused:
        provider.create(LOG_GROUP, checked)

    half = refused.value.half_made
    assert half.id == "half"
    assert list(half.reasons) == [str(refused.value)]
    state = properties(half.properties)
    assert changes(provider.diff(LOG_GROUP, state, checked)) == {"retentionInDays": "update"}
    assert provider.update(LOG_GROUP, "half", state, checked)["retentionInDays"] == 7


def test_an_update_that_failed_half_way_keeps_what_is_true(provider, faults):
    identifier, state, checked = create(provider, LOG_GROUP, name="torn", retentionInDays=7)
    rule = {"action": "logs:TagResource", "status": 400, "code": "AccessDeniedException"}
    requests.put(faults, json={"rules": [rule]}, timeout=5).raise_for_status()
    wanted = provider.checked(
        LOG_GROUP, {"name": "torn", "retentionInDays": 14, "tags": {"a": "b"}}, checked
    )

    with pytest.raises(RefusedError) as refused:
        provider.update(LOG_GROUP, identifier, state, wanted)

    remaining = properties(refused.value.half_made.properties)
    assert remaining["retentionInDays"] == 14
    assert "tags" not in remaining


def test_code_that_was_not_taken_is_still_to_be_sent(provider, faults):
    _, role, _ = create(provider, ROLE, name="stuck", assumeRolePolicy=trust("lambda"))
    inputs = {"name": "stuck", "role": role["arn"], "code": CODE, "handler": "spot.main"}
    identifier, state, checked = create(provider, FUNCTION, **inputs, runtime="python3.13")
    rule = {"action": "lambda:UpdateFunctionCode", "status": 403, "code": "AccessDeniedException"}
    requests.put(faults, json={"rules": [rule]}, timeout=5).raise_for_status()
    wanted = {**checked, "code": Archive("0ther", assets={"spot.py": Asset("x", text="2")})}

    with pytest.raises(RefusedError, match="AWS refused UpdateFunctionCode") as refused:
        provider.update(FUNCTION, identifier, state, wanted)

    remaining = properties(refused.value.half_made.properties)
    assert changes(provider.diff(FUNCTION, remaining, wanted)) == {"code": "update"}


def test_refused_requests_are_repeated(provider, faults):
    requests.put(faults, json={"throttle": 0.3, "seed": 7}, timeout=5).raise_for_status()

    identifier, state, _ = create(provider, USER, name="throttled")
    provider.delete(USER, identifier, state)

    log = requests.get(faults.replace("faults", "requests"), timeout=5).json()["log"]
    assert any(one["fault"] == "throttle" for one in log), "nothing was refused, nothing repeated"


def test_a_throttled_request_is_repeated_24_times_whatever_the_others_needed(
    environment, faults, monkeypatch
):
    del environment
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))
    iam = account.Account(account.Settings(REGION)).client("iam")
    rule = {"action": "iam:ListUsers", "status": 400, "code": "Throttling"}
    log = faults.replace("faults", "requests")

    # A quota of botocore's ends after 100 repetitions.
    for _ in range(6):
        requests.put(faults, json={"rules": [{**rule, "times": 24}]}, timeout=5).raise_for_status()
        iam.list_users()
    requests.delete(log, timeout=5)
    requests.put(faults, json={"rules": [rule]}, timeout=5).raise_for_status()
    with pytest.raises(ClientError, match="Throttling"):
        iam.list_users()
    assert len(requests.get(log, timeout=5).json()["log"]) == 25


def test_an_error_of_aws_is_told_in_one_sentence(provider):
    checked = provider.checked(ROLE, {"name": "twice", "assumeRolePolicy": trust()})
    provider.create(ROLE, checked)

    with pytest.raises(RefusedError, match=r"^AWS refused CreateRole: EntityAlreadyExists: "):
        provider.create(ROLE, checked)


# What it imports

TRUST_ARN = f"arn:aws:iam::{ACCOUNT}:role/known"


def test_an_attachment_is_found_by_role_and_policy(provider):
    create(provider, ROLE, name="known", assumeRolePolicy=trust())
    arn = "arn:aws:iam::aws:policy/ReadOnlyAccess"
    identifier, _, _ = create(provider, ATTACHMENT, role="known", policyArn=arn)

    assert identifier == f"known/{arn}"
    assert provider.read(ATTACHMENT, identifier) == (
        identifier,
        {"role": "known", "policyArn": arn},
        {"role": "known", "policyArn": arn, "__defaults": []},
    )


def test_an_import_gives_the_inputs_that_would_make_it(provider):
    create(
        provider,
        ROLE,
        name="taken",
        assumeRolePolicy=trust(),
        path="/x/",
        tags={"a": "b"},
    )

    _, state, inputs = provider.read(ROLE, "taken")

    assert inputs.pop("assumeRolePolicy") == state["assumeRolePolicy"]
    assert inputs == {
        "name": "taken",
        "path": "/x/",
        "tags": {"a": "b"},
        "tagsAll": {"a": "b", "owner": "us"},
        "__defaults": [],
    }


def test_what_aws_does_not_keep_is_imported_with_its_default(provider):
    secret = "aws:secretsmanager/secret:Secret"
    identifier, _, program_inputs = create(provider, secret, name="kept", recoveryWindowInDays=0)

    _, state, inputs = provider.read(secret, identifier)

    assert state["recoveryWindowInDays"] == 30
    assert "recoveryWindowInDays" not in inputs
    assert changes(provider.diff(secret, state, program_inputs)) == {
        "recoveryWindowInDays": "update"
    }


@pytest.mark.parametrize(
    ("kind", "identifier"),
    [
        (ATTACHMENT, "no-slash"),
        ("aws:iam/rolePolicy:RolePolicy", "no-colon"),
        ("aws:lambda/permission:Permission", "no-slash"),
        ("aws:cloudwatch/eventTarget:EventTarget", "no-slash"),
        (ENTRY, "no-colon"),
        ("aws:eks/accessPolicyAssociation:AccessPolicyAssociation", "a#b"),
        ("aws:secretsmanager/secretVersion:SecretVersion", "no-bar"),
    ],
)
def test_an_import_id_of_another_form_is_refused(provider, kind, identifier):
    with pytest.raises(RefusedError, match=r"unexpected id .*, expected"):
        provider.read(kind, identifier)


# Where it runs


@pytest.mark.usefixtures("environment")
def test_a_wrong_account_is_refused():
    server, port = plugin.serve()
    caller = Plugin(port)
    try:
        with pytest.raises(RefusedError, match=f"AWS account id not allowed: {ACCOUNT}"):
            caller.configure(region=REGION, allowedAccountIds='["999999999999"]')
    finally:
        caller.close()
        server.stop(None)


@pytest.mark.usefixtures("environment")
def test_credentials_that_aws_does_not_know_are_refused(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAUNKNOWN")
    server, port = plugin.serve()
    caller = Plugin(port)
    try:
        with pytest.raises(RefusedError, match="credentials were not accepted"):
            caller.configure(region=REGION)
    finally:
        caller.close()
        server.stop(None)


def test_a_setting_that_would_be_ignored_is_refused(served):
    [sentence] = served.check_config(region=REGION, assumeRoles="[]")

    assert sentence.startswith("assumeRoles: the stand-in does not carry out this setting")


def test_the_real_plugins_switches_are_accepted(served):
    switches = ("CredentialsValidation", "MetadataApiCheck", "RegionValidation")

    assert served.check_config(region=REGION, **{f"skip{name}": "true" for name in switches}) == []


@pytest.mark.parametrize(
    ("endpoint", "state", "sentence"),
    [
        ("https://sts.eu-central-1.amazonaws.com", True, "loopback addresses only"),
        ("", True, "AWS_ENDPOINT_URL is not set"),
        ("http://127.0.0.1:1", False, "runs inside the sandbox only"),
    ],
)
def test_it_runs_in_the_sandbox_only(endpoint, state, sentence, tmp_path):
    root = Path(__file__).parents[2]
    environment = {"AWS_ENDPOINT_URL": endpoint, "PYTHONPATH": str(root)}
    environment |= {account.STATE: str(tmp_path)} if state else {}

    done = subprocess.run(
        [sys.executable, "-m", "sandbox.aws_provider", "127.0.0.1:1"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 1
    assert done.stdout == "", "a port on stdout would tell the engine that it may go on"
    assert sentence in done.stderr


def test_values_survive_the_way_to_the_engine_and_back():
    values = {
        "text": "x",
        "number": 3,
        "share": 0.5,
        "yes": True,
        "list": [1, {"a": UNKNOWN}],
        "code": CODE,
    }

    assert properties(to_struct(values)) == values
    assert properties(to_struct({"sealed": Secret("x"), "none": None})) == {"sealed": "x"}


# What it looks up


def test_the_callers_account_is_looked_up(provider):
    assert provider.invoke("aws:index/getCallerIdentity:getCallerIdentity")["accountId"] == ACCOUNT


def test_a_missing_cluster_is_named(provider):
    with pytest.raises(RefusedError, match=r"reading EKS Cluster \(nowhere\): couldn't find"):
        provider.invoke("aws:eks/getCluster:getCluster", name="nowhere")


def test_a_session_is_traced_back_to_its_role(provider, endpoint):
    create(provider, ROLE, name="source", path="/deep/", assumeRolePolicy=trust())
    session = aws.session(endpoint, "source", "me")

    answer = provider.invoke("aws:iam/getSessionContext:getSessionContext", arn=session.arn)

    assert answer["issuerArn"] == f"arn:aws:iam::{ACCOUNT}:role/deep/source"
    assert answer["sessionName"] == "me"


def test_anybody_else_is_their_own_issuer(provider):
    arn = f"arn:aws:iam::{ACCOUNT}:user/u"

    answer = provider.invoke("aws:iam/getSessionContext:getSessionContext", arn=arn)

    assert answer["issuerArn"] == arn


def test_permissions_are_asked_without_being_used(provider):
    create(provider, ROLE, name="asked", assumeRolePolicy=trust())
    create(
        provider,
        "aws:iam/rolePolicy:RolePolicy",
        role="asked",
        name="p",
        policy=document("s3:ListBucket"),
    )

    answer = provider.invoke(
        "aws:iam/getPrincipalPolicySimulation:getPrincipalPolicySimulation",
        policySourceArn=f"arn:aws:iam::{ACCOUNT}:role/asked",
        actionNames=["s3:ListBucket", "s3:DeleteBucket"],
    )

    assert not answer["allAllowed"]
    assert {r["actionName"]: r["allowed"] for r in answer["results"]} == {
        "s3:ListBucket": True,
        "s3:DeleteBucket": False,
    }


def test_a_simulation_on_a_wildcard_is_refused(provider):
    with pytest.raises(RefusedError, match=r'"resource_arns.0" \(\*\) is an invalid ARN'):
        provider.invoke(
            "aws:iam/getPrincipalPolicySimulation:getPrincipalPolicySimulation",
            policySourceArn=f"arn:aws:iam::{ACCOUNT}:role/asked",
            actionNames=["s3:ListBucket"],
            resourceArns=["*"],
        )


def test_the_keys_of_a_user_are_listed_without_their_secrets(provider):
    create(provider, USER, name="listed")
    identifier, _, _ = create(provider, KEY, user="listed")

    [key] = provider.invoke("aws:iam/getAccessKeys:getAccessKeys", user="listed")["accessKeys"]

    assert key.keys() == {"accessKeyId", "createDate", "status"}
    assert key["accessKeyId"] == identifier


def test_what_stands_under_a_name_is_found_whatever_its_path(provider):
    create(provider, USER, name="occupied", path="/delegated/", tags={"castai-eks:cluster": "demo"})
    create(provider, ROLE, name="occupied", path="/team/", assumeRolePolicy=trust())

    user = provider.invoke("aws:iam/getUser:getUser", userName="occupied")
    role = provider.invoke("aws:iam/getRole:getRole", name="occupied")

    assert user["arn"] == f"arn:aws:iam::{ACCOUNT}:user/delegated/occupied"
    assert user["tags"]["castai-eks:cluster"] == "demo"
    assert role["arn"] == f"arn:aws:iam::{ACCOUNT}:role/team/occupied"


@pytest.mark.parametrize(
    ("token", "argument"),
    [
        ("aws:iam/getUser:getUser", "userName"),
        ("aws:iam/getRole:getRole", "name"),
        ("aws:lambda/getFunction:getFunction", "functionName"),
    ],
)
def test_a_free_name_is_answered_with_the_words_of_the_provider(provider, token, argument):
    with pytest.raises(RefusedError, match="couldn't find resource"):
        provider.invoke(token, **{argument: "free"})


def test_a_simulation_carries_context_and_further_policies(provider):
    region = {"StringEquals": {"aws:RequestedRegion": "eu-central-1"}}
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": region}
    allow_all = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    create(provider, ROLE, name="conditional", assumeRolePolicy=trust())
    create(
        provider,
        "aws:iam/rolePolicy:RolePolicy",
        role="conditional",
        name="p",
        policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )

    def simulate(**more):
        [result] = provider.invoke(
            "aws:iam/getPrincipalPolicySimulation:getPrincipalPolicySimulation",
            policySourceArn=f"arn:aws:iam::{ACCOUNT}:role/conditional",
            actionNames=["s3:ListBucket"],
            **more,
        )["results"]
        return result["allowed"], result["missingContextKeys"]

    context = {"key": "aws:RequestedRegion", "type": "string", "values": ["eu-central-1"]}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allow_all]})
    assert simulate() == (False, ["aws:RequestedRegion"])
    assert simulate(resourceArns=["arn:aws:s3:::b"]) == (False, []), (
        "the API reports them elsewhere"
    )
    assert simulate(contexts=[context]) == (True, [])
    assert simulate(additionalPoliciesJsons=[document])[0]
    assert not simulate(permissionsBoundaryPoliciesJsons=[document])[0]
