"""Role of the Spot function: trust policy, boundary, inline policies."""

from collections.abc import Iterator

from castai_stack import arn, naming
from castai_stack.iam.document import PolicyDocument, Statement, allow, document, service_trust

LAMBDA_MANAGED = (
    "CloudWatchLogsFullAccess",
    "service-role/AWSLambdaRole",
    "AmazonEC2ReadOnlyAccess",
)


def lambda_trust() -> PolicyDocument:
    """Return the trust policy that lets Lambda assume the role."""
    return service_trust("LambdaAssumesForSpot", "lambda.amazonaws.com")


def lambda_boundary(
    partition: str,
    region: str,
    account_id: str,
    names: naming.Names,
    secret_arn: str | None = None,
) -> PolicyDocument:
    """Return the boundary that limits the AWS-managed policies to the calls of the handler."""
    return document(
        *(
            allow(f"{sid}Only", actions, resources)
            for sid, actions, resources in _handler(
                partition, region, account_id, names, secret_arn
            )
        )
    )


def lambda_guard(
    partition: str,
    region: str,
    account_id: str,
    names: naming.Names,
    secret_arn: str | None = None,
) -> PolicyDocument:
    """Return the limit of `lambda_boundary` as denials, for an inline policy.

    A role has one boundary at most; this one is for roles with the operator's boundary.
    """
    calls = list(_handler(partition, region, account_id, names, secret_arn))
    needed = sorted(action for _, actions, _ in calls for action in actions)
    return document(
        {
            "Sid": "DenyWhatTheHandlerNeverDoes",
            "Effect": "Deny",
            "NotAction": needed,
            "Resource": ["*"],
        },
        *(
            Statement(
                Sid=f"Deny{sid}Elsewhere", Effect="Deny", Action=actions, NotResource=resources
            )
            for sid, actions, resources in calls
            if resources != ["*"]
        ),
    )


def lambda_inline(queue_arn: str, secret_arn: str | None = None) -> PolicyDocument:
    """Return the permissions that the managed policies lack: the queue, and the key's secret."""
    statements = [allow("SendDeadLetters", ["sqs:SendMessage"], [queue_arn])]
    if secret_arn is not None:
        statements.append(allow("ReadApiKey", ["secretsmanager:GetSecretValue"], [secret_arn]))
    return document(*statements)


def _handler(
    partition: str, region: str, account_id: str, names: naming.Names, secret_arn: str | None
) -> Iterator[tuple[str, list[str], list[str]]]:
    def own(service: str, resource: str) -> str:
        return arn.regional(partition, service, region, account_id, resource)

    group = f"log-group:/aws/lambda/{names.function}"
    yield (
        "WriteOwnLog",
        ["logs:CreateLogStream", "logs:PutLogEvents"],
        [own("logs", f"{group}:*")],
    )
    yield "DescribeInstances", ["ec2:DescribeInstances"], ["*"]
    yield "SendDeadLetters", ["sqs:SendMessage"], [own("sqs", names.dead_letter_queue)]
    if secret_arn is not None:
        yield "ReadApiKey", ["secretsmanager:GetSecretValue"], [secret_arn]
