"""The resources of pulumi-aws that this program creates, without the import of its packages.

Type checkers see the classes of pulumi-aws. At run time, classes of the same names register the
same types with the same properties: the packages take as long to import as a third of an unchanged
preview. The provider is the same.
"""

from typing import TYPE_CHECKING, Any

import pulumi

from castai_stack.spelling import camel

if TYPE_CHECKING:
    from pulumi_aws.cloudwatch import EventRule, EventTarget, LogGroup, MetricAlarm
    from pulumi_aws.ec2 import SecurityGroup
    from pulumi_aws.eks import AccessEntry, AccessPolicyAssociation
    from pulumi_aws.iam import (
        AccessKey,
        InstanceProfile,
        Policy,
        Role,
        RolePolicy,
        RolePolicyAttachment,
        User,
        UserPolicyAttachment,
    )
    from pulumi_aws.lambda_ import Function, FunctionEventInvokeConfig, Permission
    from pulumi_aws.secretsmanager import Secret, SecretVersion
    from pulumi_aws.sqs import Queue
else:

    class _AwsResource(pulumi.CustomResource):
        """One resource; attributes are snake_case, and camelCase inside."""

        TOKEN: str
        OUTPUTS: tuple[str, ...]
        SECRETS: tuple[str, ...]

        def __init__(
            self,
            resource_name: str,
            /,
            opts: pulumi.ResourceOptions | None = None,
            **properties: Any,
        ) -> None:
            secret = pulumi.ResourceOptions(additional_secret_outputs=list(self.SECRETS))
            super().__init__(
                self.TOKEN,
                resource_name,
                {
                    **dict.fromkeys(self.OUTPUTS),
                    **{camel(key): _sent(key, value) for key, value in properties.items()},
                },
                pulumi.ResourceOptions.merge(opts, secret),
            )

        def __getattr__(self, name: str) -> Any:
            try:
                return self.__dict__[camel(name)]
            except KeyError:
                raise AttributeError(f"{type(self).__name__} has no property {name}") from None

    _SETTINGS = frozenset(
        {
            "access_scope",
            "dead_letter_config",
            "destination_config",
            "egress",
            "environment",
            "ingress",
            "retry_policy",
        }
    )
    """Properties whose keys are names of properties again; keys of all others are data."""

    def _sent(name: str, value: Any) -> Any:
        if name not in _SETTINGS:
            return value
        if isinstance(value, list):
            return [_sent(name, one) for one in value]
        return {camel(key): one for key, one in value.items()}

    def _resource(
        package: str, name: str, *outputs: str, secrets: tuple[str, ...] = ()
    ) -> type[_AwsResource]:
        token = f"aws:{package}/{name[0].lower()}{name[1:]}:{name}"
        members = {
            "__doc__": f"`{token}` of pulumi-aws.",
            "__module__": __name__,
            "TOKEN": token,
            "OUTPUTS": outputs,
            "SECRETS": secrets,
        }
        return type(name, (_AwsResource,), members)

    AccessEntry = _resource("eks", "AccessEntry")
    AccessKey = _resource("iam", "AccessKey", "secret", secrets=("secret", "sesSmtpPasswordV4"))
    AccessPolicyAssociation = _resource("eks", "AccessPolicyAssociation")
    EventRule = _resource("cloudwatch", "EventRule", "arn")
    EventTarget = _resource("cloudwatch", "EventTarget")
    Function = _resource("lambda", "Function", "arn")
    FunctionEventInvokeConfig = _resource("lambda", "FunctionEventInvokeConfig")
    InstanceProfile = _resource("iam", "InstanceProfile", "arn")
    LogGroup = _resource("cloudwatch", "LogGroup")
    MetricAlarm = _resource("cloudwatch", "MetricAlarm")
    Permission = _resource("lambda", "Permission")
    Policy = _resource("iam", "Policy", "arn")
    Queue = _resource("sqs", "Queue", "arn")
    Role = _resource("iam", "Role", "arn", "uniqueId")
    RolePolicy = _resource("iam", "RolePolicy")
    RolePolicyAttachment = _resource("iam", "RolePolicyAttachment")
    Secret = _resource("secretsmanager", "Secret", "arn")
    SecretVersion = _resource("secretsmanager", "SecretVersion", secrets=("secretString",))
    SecurityGroup = _resource("ec2", "SecurityGroup")
    User = _resource("iam", "User", "arn", "uniqueId")
    UserPolicyAttachment = _resource("iam", "UserPolicyAttachment")
