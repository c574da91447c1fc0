"""Secrets and their versions.

Schemas: `internal/service/secretsmanager/{secret,secret_version}.go` in
`hashicorp/terraform-provider-aws`.
"""

import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from sandbox.aws_provider import rules
from sandbox.aws_provider.account import (
    APPEARS_SECONDS,
    Account,
    RefusedError,
    absent_is_fine,
    code,
    found,
    is_absent,
    message,
)
from sandbox.aws_provider.fields import REGION, TAGS, change_tags, given, tag_list, tag_map
from sandbox.aws_provider.resource import Field, Fields, Properties, Resource

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_CURRENT = "AWSCURRENT"
_DAYS = (0, *range(7, 31))


def _is_leaving(error: "ClientError") -> bool:
    """Whether a secret of the same name is on its way out."""
    return code(error) == "InvalidRequestException" and "deletion" in message(error)


class Secret(Resource):
    """Secret without its value; deleted at once only with a recovery window of 0."""

    aws_type = "aws:secretsmanager/secret:Secret"
    autoname = ("name", 255)
    fields: ClassVar[Fields] = {
        "name": Field(replaces=True, rule=rules.name(512, r"0-9A-Za-z/_+=.@-")),
        "description": Field(rule=rules.length(2048, 0)),
        "kmsKeyId": Field(),
        "policy": Field(computed=True, rule=rules.policy, kind="document"),
        "recoveryWindowInDays": Field(default=30, rule=rules.one_of(*_DAYS)),
        "forceOverwriteReplicaSecret": Field(default=False),
        **REGION,
        **TAGS,
    }

    def create(self, aws: Account, inputs: Properties) -> tuple[str, Properties]:
        manager = aws.client("secretsmanager", inputs["region"])
        answer = aws.retry(
            lambda: manager.create_secret(
                Name=inputs["name"],
                **given(
                    Description=inputs.get("description"),
                    KmsKeyId=inputs.get("kmsKeyId"),
                    Tags=tag_list(inputs),
                ),
            ),
            _is_leaving,
        )
        return answer["ARN"], {}

    def complete(self, aws: Account, identifier: str, inputs: Properties) -> None:
        if policy := inputs.get("policy"):
            manager = aws.client("secretsmanager", inputs["region"])
            aws.retry(
                lambda: manager.put_resource_policy(SecretId=identifier, ResourcePolicy=policy),
                lambda error: "principal" in message(error).lower(),
            )

    def read(self, aws: Account, identifier: str, state: Properties) -> Properties | None:
        region = state.get("region", aws.region)
        manager = aws.client("secretsmanager", region)
        secret = found(manager.describe_secret, SecretId=identifier)
        if secret is None or secret.get("DeletedDate"):
            return None
        policy = manager.get_resource_policy(SecretId=identifier).get("ResourcePolicy")
        return {
            "name": secret["Name"],
            "arn": secret["ARN"],
            "region": region,
            "description": secret.get("Description") or None,
            "kmsKeyId": secret.get("KmsKeyId") or None,
            "policy": policy or None,
            "tagsAll": tag_map(secret.get("Tags")),
        }

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        manager = aws.client("secretsmanager", new["region"])
        if changed & {"description", "kmsKeyId"}:
            manager.update_secret(
                SecretId=identifier,
                Description=new.get("description", ""),
                **given(KmsKeyId=new.get("kmsKeyId")),
            )
        if "policy" in changed:
            self.complete(aws, identifier, new)
        change_tags(old, new, manager.tag_resource, manager.untag_resource, SecretId=identifier)

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
    secrets = frozenset({"secretString", "secretBinary"})
    fields: ClassVar[Fields] = {
        "secretId": Field(replaces=True),
        "secretString": Field(replaces=True),
        "secretBinary": Field(replaces=True),
        "versionStages": Field(computed=True, kind="set"),
        **REGION,
    }

    def check(self, values: Properties) -> Iterator[tuple[str, str]]:
        if "secretString" in values and "secretBinary" in values:
            yield "secretBinary", "conflicts with secretString"

    def _split(self, identifier: str) -> tuple[str, str]:
        secret, _, version = identifier.partition("|")
        if not secret or not version:
            raise RefusedError(f"unexpected id {identifier!r}, expected secret-id|version-id")
        return secret, version

    def identify(self, aws: Account, identifier: str) -> tuple[str, Properties]:
        del aws
        return identifier, {"secretId": self._split(identifier)[0]}

    def create(self, aws: Account, inputs: Properties) -> tuple[str, Properties]:
        manager = aws.client("secretsmanager", inputs["region"])
        binary = inputs.get("secretBinary")
        answer = aws.retry(
            lambda: manager.put_secret_value(
                SecretId=inputs["secretId"],
                **given(
                    SecretString=inputs.get("secretString"),
                    SecretBinary=base64.b64decode(binary) if binary else None,
                    VersionStages=inputs.get("versionStages"),
                ),
            ),
            is_absent,
            APPEARS_SECONDS,
        )
        return f"{inputs['secretId']}|{answer['VersionId']}", {}

    def read(self, aws: Account, identifier: str, state: Properties) -> Properties | None:
        from botocore.exceptions import ClientError  # noqa: PLC0415 - costs start-up

        secret, version = self._split(identifier)
        region = state.get("region", aws.region)
        manager = aws.client("secretsmanager", region)
        try:
            answer = found(manager.get_secret_value, SecretId=secret, VersionId=version)
        except ClientError as error:
            if not _is_leaving(error) and "deleted" not in message(error):
                raise
            return None
        if answer is None:
            return None
        binary = answer.get("SecretBinary")
        return {
            "secretId": secret,
            "region": region,
            "arn": answer["ARN"],
            "secretArn": answer["ARN"],
            "versionId": version,
            "versionStages": answer.get("VersionStages", []),
            "secretString": answer.get("SecretString"),
            "secretBinary": base64.b64encode(binary).decode() if binary else None,
            "hasSecretStringWo": False,
        }

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        if "versionStages" not in changed:
            return
        secret, version = self._split(identifier)
        manager = aws.client("secretsmanager", new["region"])
        had, wanted = set(old.get("versionStages", [])), set(new.get("versionStages", []))
        for stage in sorted(wanted - had):
            holders = manager.list_secret_version_ids(SecretId=secret)["Versions"]
            holder = next(
                (item["VersionId"] for item in holders if stage in item.get("VersionStages", [])),
                None,
            )
            manager.update_secret_version_stage(
                SecretId=secret,
                VersionStage=stage,
                MoveToVersionId=version,
                **given(RemoveFromVersionId=holder),
            )
        for stage in sorted(had - wanted - {_CURRENT}):
            manager.update_secret_version_stage(
                SecretId=secret, VersionStage=stage, RemoveFromVersionId=version
            )

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        """Take the version's stages away; the current one stays until the secret goes."""
        secret, version = self._split(identifier)
        manager = aws.client("secretsmanager", state.get("region"))
        actual = self.read(aws, identifier, state)
        for stage in (actual or {}).get("versionStages", []):
            if stage != _CURRENT:
                with absent_is_fine():
                    manager.update_secret_version_stage(
                        SecretId=secret, VersionStage=stage, RemoveFromVersionId=version
                    )
