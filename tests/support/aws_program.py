"""A Pulumi program with one resource of every type that the AWS stand-in knows.

What varies comes as JSON in `AWS_PROGRAM`: other values, ids to import, and things that must be
refused.
"""

import json
import os
from typing import Any

import pulumi
import pulumi_aws as aws

from tests.support.aws_program_facts import SENTINEL

REGION = "eu-central-1"


settings: dict[str, Any] = json.loads(os.environ.get("AWS_PROGRAM", "{}"))
imported: dict[str, str] = settings.get("import", {})


def document(effect: str, **statement: Any) -> str:
    content = {"Version": "2012-10-17", "Statement": [{"Effect": effect, **statement}]}
    return json.dumps(content)


def trust(service: str) -> str:
    principal = {"Service": f"{service}.amazonaws.com"}
    return document("Allow", Principal=principal, Action="sts:AssumeRole")


provider = aws.Provider(
    "aws",
    region=REGION,
    allowed_account_ids=[settings.get("account", "012345678901")],
    default_tags={"tags": {"made-by": "test"}},
)
lookups = pulumi.InvokeOptions(provider=provider)


def opts(name: str, **more: Any) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(provider=provider, import_=imported.get(name), **more)


def identity() -> tuple[aws.iam.User, aws.iam.Role]:
    path = settings.get("path", "/")
    policy = aws.iam.Policy(
        "policy",
        name="the-policy",
        policy=document("Allow", Action=["s3:ListBucket"], Resource="*"),
        opts=opts("policy"),
    )
    user = aws.iam.User(
        "user", name="the-user", path=path, force_destroy=True, tags={"a": "b"}, opts=opts("user")
    )
    aws.iam.UserPolicyAttachment(
        "user-policy", user=user.name, policy_arn=policy.arn, opts=opts("user-policy")
    )
    if not imported:
        key = aws.iam.AccessKey("key", user=user.name, opts=opts("key"))
        pulumi.export("secret", key.secret)
    role = aws.iam.Role(
        "role",
        name="the-role",
        path=path,
        description=settings.get("description", "first"),
        assume_role_policy=trust("lambda"),
        opts=opts("role"),
    )
    aws.iam.RolePolicyAttachment(
        "role-policy", role=role.name, policy_arn=policy.arn, opts=opts("role-policy")
    )
    send = document("Allow", Action=["sqs:SendMessage"], Resource="*")
    aws.iam.RolePolicy("inline", role=role.name, name="inline", policy=send, opts=opts("inline"))
    aws.iam.InstanceProfile(
        "profile", name="the-profile", path=path, role=role.name, opts=opts("profile")
    )
    pulumi.export("policy", policy.id)
    return user, role


def events(role: aws.iam.Role) -> None:
    queue = aws.sqs.Queue(
        "queue",
        name="the-queue",
        message_retention_seconds=1209600,
        policy=document(
            "Allow",
            Principal={"Service": "events.amazonaws.com"},
            Action="sqs:SendMessage",
            Resource=f"arn:aws:sqs:{REGION}:012345678901:the-queue",
        ),
        opts=opts("queue"),
    )
    logs = aws.cloudwatch.LogGroup(
        "logs", name="/aws/lambda/the-function", retention_in_days=14, opts=opts("logs")
    )
    rule = aws.cloudwatch.EventRule(
        "rule",
        name="the-rule",
        event_pattern=json.dumps({"source": ["aws.ec2"]}),
        opts=opts("rule"),
    )
    pulumi.export("queue", queue.url)
    # A function's code cannot be read back, so a function is never imported here.
    call_function(None if imported else function(role, logs), queue, rule)
    aws.cloudwatch.MetricAlarm(
        "alarm",
        name="the-alarm",
        comparison_operator="GreaterThanThreshold",
        evaluation_periods=1,
        metric_name="Errors",
        namespace="AWS/Lambda",
        period=300,
        statistic="Sum",
        threshold=0,
        dimensions={"FunctionName": "the-function"},
        opts=opts("alarm"),
    )


def function(role: aws.iam.Role, logs: aws.cloudwatch.LogGroup) -> aws.lambda_.Function:
    code = pulumi.AssetArchive({"spot.py": pulumi.StringAsset(settings.get("code", "print(1)"))})
    return aws.lambda_.Function(
        "function",
        name="the-function",
        role=role.arn,
        runtime="python3.13",
        handler="spot.main",
        code=pulumi.AssetArchive({"pkg": code}),
        timeout=settings.get("timeout", 60),
        reserved_concurrent_executions=5,
        environment={"variables": {"API_KEY": pulumi.Output.secret(SENTINEL), "MODE": "x"}},
        opts=opts("function", depends_on=[logs]),
    )


def call_function(
    result: aws.lambda_.Function | None, queue: aws.sqs.Queue, rule: aws.cloudwatch.EventRule
) -> None:
    name = result.name if result else "the-function"
    arn = f"arn:aws:lambda:{REGION}:012345678901:function:the-function"
    aws.lambda_.FunctionEventInvokeConfig(
        "failures",
        function_name=name,
        maximum_event_age_in_seconds=120,
        maximum_retry_attempts=1,
        destination_config={"on_failure": {"destination": queue.arn}},
        opts=opts("failures"),
    )
    aws.lambda_.Permission(
        "permission",
        statement_id="AllowRule",
        action="lambda:InvokeFunction",
        function=name,
        principal="events.amazonaws.com",
        source_arn=rule.arn,
        opts=opts("permission"),
    )
    aws.cloudwatch.EventTarget(
        "target",
        rule=rule.name,
        target_id="the-target",
        arn=result.arn if result else arn,
        retry_policy={"maximum_event_age_in_seconds": 120, "maximum_retry_attempts": 3},
        dead_letter_config={"arn": queue.arn},
        opts=opts("target"),
    )


def access(user: aws.iam.User) -> None:
    aws.eks.AccessEntry(
        "entry",
        cluster_name="demo",
        principal_arn=user.arn,
        kubernetes_groups=settings.get("groups", ["viewers"]),
        user_name="the-user",
        opts=opts("entry"),
    )
    view = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"
    aws.eks.AccessPolicyAssociation(
        "association",
        cluster_name="demo",
        principal_arn=user.arn,
        policy_arn=view,
        access_scope={"type": "namespace", "namespaces": ["default"]},
        opts=opts("association", depends_on=[user]),
    )


def secrets() -> None:
    secret = aws.secretsmanager.Secret(
        "secret", name="the-secret", recovery_window_in_days=0, opts=opts("secret")
    )
    version = aws.secretsmanager.SecretVersion(
        "version",
        secret_id=secret.id,
        secret_string=pulumi.Output.secret(settings.get("value", SENTINEL)),
        opts=opts("version"),
    )
    pulumi.export("secretId", secret.id)
    pulumi.export("versionId", version.id)


def everything() -> None:
    pulumi.export("cluster", aws.eks.get_cluster(name="demo", opts=lookups).status)
    user, role = identity()
    events(role)
    access(user)
    secrets()


if "unknown" in settings:
    aws.s3.Bucket("bucket", opts=opts("bucket"))
else:
    everything()
