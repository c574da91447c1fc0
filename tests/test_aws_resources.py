"""The program's AWS classes register what those of pulumi-aws register."""

import subprocess
import sys

import pulumi
import pulumi_aws
import pytest
from google.protobuf import json_format

from castai_stack import aws_resources
from castai_stack.spelling import camel
from tests.support import engine

PACKAGES = ("cloudwatch", "ec2", "eks", "iam", "lambda_", "secretsmanager", "sqs")
CLASSES = {
    name: value
    for name, value in vars(aws_resources).items()
    if isinstance(value, type) and issubclass(value, pulumi.CustomResource) and name[0] != "_"
}
ARGUMENTS = {
    "AccessEntry": {"cluster_name": "a", "principal_arn": "b", "kubernetes_groups": ["c"]},
    "AccessKey": {"user": "a", "status": "Inactive"},
    "AccessPolicyAssociation": {
        "cluster_name": "a",
        "principal_arn": "b",
        "policy_arn": "c",
        "access_scope": {"type": "cluster"},
    },
    "EventRule": {"name": "a", "event_pattern": "{}", "tags": {"cost_center": "b"}},
    "EventTarget": {
        "rule": "a",
        "target_id": "b",
        "arn": "c",
        "retry_policy": {"maximum_event_age_in_seconds": 60, "maximum_retry_attempts": 2},
        "dead_letter_config": {"arn": "d"},
    },
    "Function": {
        "name": "a",
        "role": "b",
        "memory_size": 128,
        "reserved_concurrent_executions": 2,
        "environment": {"variables": {"some_key": "c"}},
        "tags": {"function_name": "d"},
    },
    "FunctionEventInvokeConfig": {
        "function_name": "a",
        "maximum_event_age_in_seconds": 60,
        "maximum_retry_attempts": 2,
        "destination_config": {"on_failure": {"destination": "b"}},
    },
    "InstanceProfile": {"name": "a", "role": "b", "path": "/"},
    "LogGroup": {"name": "a", "retention_in_days": 30},
    "MetricAlarm": {
        "comparison_operator": "b",
        "evaluation_periods": 1,
        "treat_missing_data": "c",
        "dimensions": {"FunctionName": "d"},
    },
    "Permission": {"action": "a", "function": "b", "principal": "c", "statement_id": "d"},
    "Policy": {"name": "a", "policy": "{}", "path": "/"},
    "Queue": {"name": "a", "sqs_managed_sse_enabled": True, "message_retention_seconds": 60},
    "Role": {"assume_role_policy": "{}", "permissions_boundary": "a"},
    "RolePolicy": {"role": "a", "policy": "{}"},
    "RolePolicyAttachment": {"role": "a", "policy_arn": "b"},
    "Secret": {"name": "a", "recovery_window_in_days": 0},
    "SecretVersion": {"secret_id": "a", "secret_string": pulumi.Output.secret("b")},
    "SecurityGroup": {
        "name": "a",
        "description": "b",
        "vpc_id": "c",
        "ingress": [{"protocol": "-1", "from_port": 0, "to_port": 0, "self": True}],
        "egress": [{"protocol": "-1", "from_port": 0, "to_port": 0, "ipv6_cidr_blocks": ["::/0"]}],
        "tags": {"cost_center": "d"},
    },
    "User": {"name": "a", "force_destroy": True},
    "UserPolicyAttachment": {"user": "a", "policy_arn": "b"},
}


def of_the_sdk(name):
    return next(
        getattr(getattr(pulumi_aws, package), name)
        for package in PACKAGES
        if hasattr(getattr(pulumi_aws, package), name)
    )


def registration(kind, name):
    recorder = engine.run(lambda: kind("one", **ARGUMENTS[name]) and None)
    request = next(one for one in recorder.requests if one.name == "one")
    return request.type, json_format.MessageToDict(request.object)


def secrets(kind, name):
    recorder = engine.run(lambda: kind("one", **ARGUMENTS[name]) and None)
    request = next(one for one in recorder.requests if one.name == "one")
    return set(request.additionalSecretOutputs)


def test_every_class_has_arguments_here():
    assert CLASSES.keys() == ARGUMENTS.keys()


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_resource_is_registered_as_by_the_sdk(name):
    assert registration(CLASSES[name], name) == registration(of_the_sdk(name), name)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_secret_outputs_with_a_value_are_those_of_the_sdk(name):
    # The program sets neither of the other two properties that hold a secret's value.
    unused = {"secretBinary", "secretStringWo"}
    assert secrets(CLASSES[name], name) == secrets(of_the_sdk(name), name) - unused


@pytest.mark.parametrize("name", ARGUMENTS)
def test_outputs_are_properties_of_the_sdk(name):
    properties = {camel(one) for one in vars(of_the_sdk(name)) if not one.startswith("_")}
    assert set(CLASSES[name].OUTPUTS) <= properties


def test_attributes_are_those_that_exist():
    def program():
        role = aws_resources.Role("one", assume_role_policy="{}")
        assert isinstance(role.unique_id, pulumi.Output)
        with pytest.raises(AttributeError, match="Role has no property uniqueid"):
            _ = role.uniqueid

    engine.run(program)


def test_the_program_imports_no_package_of_the_sdk():
    code = (
        "import sys, castai_stack.stack.composition\n"
        "print([name for name in sys.modules if name.startswith('pulumi_aws.') and "
        "name.endswith('._inputs') and name.count('.') > 1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
