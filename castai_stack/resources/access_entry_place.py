"""Makes sure that the place of an EKS access entry is free before ours is made."""

import sys
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider

from castai_stack.resources.unknown import is_unknown


class AccessEntryPlaceProvider(ResourceProvider):
    """Looks once, when it is created; refuses or clears what stands there."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Refuse an entry that exists, or delete it when it may be adopted."""
        import boto3  # noqa: PLC0415 - heavy, and most runs only compare
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        cluster, arn = props["cluster_name"], props["principal_arn"]
        which = {"clusterName": cluster, "principalArn": arn}
        try:
            eks = boto3.client("eks", region_name=props["region"])
            found = _found(eks, which)
            if found is not None and not props["adopt"]:
                raise RuntimeError(
                    f"cluster {cluster}: an access entry for {arn} exists (type {found['type']}, "
                    f"groups {found.get('kubernetesGroups', [])}), and this program did not make "
                    "it; set access.adopt to take it over, which also removes it on destroy, or "
                    "delete it first"
                )
            if found is not None:
                sys.stderr.write(
                    f"warning: cluster {cluster}: the access entry for {arn} is made anew, because "
                    "an entry admits only the principal that existed when it was made\n"
                )
                eks.delete_access_entry(**which)
        except (BotoCoreError, ClientError) as error:
            raise RuntimeError(
                f"cluster {cluster}: cannot look for an access entry of {arn}: {error}"
            ) from None
        return CreateResult(f"{cluster}:{arn}", props)

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Look again for another principal only: what stands there later is our own entry."""
        wanted = _news.get("principal_arn")
        moved = not is_unknown(wanted) and wanted != _olds.get("principal_arn")
        return DiffResult(changes=moved, replaces=["principal_arn"] if moved else [])

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Answer what is known; there is nothing to look at."""
        return ReadResult(id_, props)


def _found(eks: Any, which: dict[str, str]) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = eks.describe_access_entry(**which)["accessEntry"]
    except eks.exceptions.ResourceNotFoundException:
        return None
    return found


class AccessEntryPlace(Resource, module="castai", name="AccessEntryPlace"):
    """The place of one access entry, free for ours."""

    def __init__(
        self,
        name: str,
        *,
        cluster_name: str,
        region: str,
        principal_arn: pulumi.Input[str],
        adopt: bool,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            AccessEntryPlaceProvider(),
            name,
            {
                "cluster_name": cluster_name,
                "region": region,
                "principal_arn": principal_arn,
                "adopt": adopt,
            },
            opts,
        )
