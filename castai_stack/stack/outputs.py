"""Outputs of the stack."""

import pulumi
import pulumi_aws as aws

from castai_stack.stack.context import Ground
from castai_stack.stack.parts import Access


def address_outputs(
    ground: Ground, cluster_id: pulumi.Output[str]
) -> dict[str, pulumi.Input[object]]:
    """Return CAST AI's id of the cluster and its address in the console."""
    console = f"{ground.settings.api.console_url.rstrip('/')}/external-clusters"
    return {
        "cluster_id": cluster_id,
        "console_url": cluster_id.apply(lambda known: f"{console}/{known}"),
    }


def access_outputs(
    access: Access, key: aws.iam.AccessKey | None
) -> dict[str, pulumi.Input[object]]:
    """Return the principal, the key and the objects that CAST AI uses."""
    principal = {"role_arn": access.iam.ready_principal_arn}
    if key is not None:
        principal = {
            "user_arn": access.iam.ready_principal_arn,
            "access_key_id": pulumi.Output.secret(key.id),
            "secret_access_key": key.secret,
        }
    spot = {"function_arn": access.spot.function_arn} if access.spot else {}
    return {
        **principal,
        **spot,
        "node_role_arn": access.iam.node_role_arn,
        "instance_profile_arn": access.iam.instance_profile_arn,
    }


def next_step(ground: Ground) -> str:
    """Return the sentence that says what to enter in CAST AI's console."""
    what = (
        "access_key_id and secret_access_key (`pulumi stack output --show-secrets`)"
        if ground.settings.credentials.mode == "user"
        else "role_arn (`pulumi stack output role_arn`)"
    )
    return (
        f"Open console_url, choose Enable CAST AI, and paste {what} into the cluster's window; "
        "disconnect it there before a destroy"
    )
