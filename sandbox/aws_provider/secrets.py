"""Secrets and their versions.

Schemas: `internal/service/secretsmanager/{secret,secret_version}.go` in
`hashicorp/terraform-provider-aws`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from sandbox.aws_provider import rules
from sandbox.aws_provider.account import Account, absent_is_fine
from sandbox.aws_provider.resource import (
    REGION,
    TAGS,
    Field,
    Fields,
    Properties,
    Resource,
    Tagging,
)

_CURRENT = "AWSCURRENT"
_DAYS = (0, *range(7, 31))


class Secret(Resource):
    """Secret without its value; deleted at once only with a recovery window of 0."""

    aws_type = "aws:secretsmanager/secret:Secret"
    service = "secretsmanager"
    autoname = ("name", 255)
    key: ClassVar[dict[str, str]] = {"arn": "SecretId"}
    create_call, read_call = "create_secret", "describe_secret"
    tagging = Tagging("resource", "SecretId")
    passing = (("InvalidRequestException", "deletion"),)  # a secret of the name is being deleted
    fields: ClassVar[Fields] = {
        "name": Field(replaces=True, rule=rules.name(512, r"0-9A-Za-z/_+=.@-")),
        "description": Field(rule=rules.length(2048, 0)),
        "recoveryWindowInDays": Field(default=30, rule=rules.one_of(*_DAYS), call=None),
        **REGION,
        **TAGS,
    }
    outputs: ClassVar[dict[str, str]] = {"arn": "ARN"}
    updates: ClassVar[dict[str, frozenset[str]]] = {"update_secret": frozenset({"description"})}

    def created_outputs(self, answer: Mapping[str, Any]) -> Properties:
        return {"arn": answer["ARN"]}

    def find(self, aws: Account, identifier: str, state: Properties) -> dict[str, Any] | None:
        secret = super().find(aws, identifier, {**state, "arn": identifier}) or {}
        return None if secret.get("DeletedDate") else secret

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        days = state.get("recoveryWindowInDays", 30)
        window = {"RecoveryWindowInDays": days} if days else {"ForceDeleteWithoutRecovery": True}
        with absent_is_fine():
            aws.client("secretsmanager", state.get("region")).delete_secret(
                SecretId=identifier, **window
            )


class SecretVersion(Resource):
    """Value of a secret; another value is another version."""

    aws_type = "aws:secretsmanager/secretVersion:SecretVersion"
    service = "secretsmanager"
    secrets = frozenset({"secretString"})
    key: ClassVar[dict[str, str]] = {"secretId": "SecretId", "versionId": "VersionId"}
    separator = "|"
    create_call, read_call = "put_secret_value", "get_secret_value"
    waits_for_parent = True
    fields: ClassVar[Fields] = {
        "secretId": Field(replaces=True),
        "secretString": Field(replaces=True),
        **REGION,
    }
    outputs: ClassVar[dict[str, str]] = {
        "arn": "ARN",
        "secretArn": "ARN",
        "versionId": "VersionId",
        "versionStages": "VersionStages",
    }

    def created_outputs(self, answer: Mapping[str, Any]) -> Properties:
        return {"versionId": answer["VersionId"]}

    def find(self, aws: Account, identifier: str, state: Properties) -> dict[str, Any] | None:
        from botocore.exceptions import ClientError  # noqa: PLC0415 - costs start-up

        try:
            return super().find(aws, identifier, {**self.identify(aws, identifier)[1], **state})
        except ClientError as error:
            if "delet" not in str(error):  # the secret waits for its deletion
                raise
            return None

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        """Remove the version's stages; the current one stays until the secret is deleted."""
        manager = aws.client("secretsmanager", state.get("region"))
        secret, version = identifier.split("|")
        with absent_is_fine():
            for stage in (self.find(aws, identifier, state) or {}).get("VersionStages", []):
                if stage != _CURRENT:
                    manager.update_secret_version_stage(
                        SecretId=secret, VersionStage=stage, RemoveFromVersionId=version
                    )
