"""Outputs of the stack."""

import pulumi

from castai_stack import aws_resources as aws
from castai_stack.config.principals import Principal
from castai_stack.stack.context import Context
from castai_stack.stack.parts import AccessParts


def address_outputs(
    context: Context, cluster_id: pulumi.Output[str]
) -> dict[str, pulumi.Input[object]]:
    """Return CAST AI's id of the cluster and the cluster's address in the console."""
    console = f"{context.settings.api.console_url.rstrip('/')}/external-clusters"
    return {
        "cluster_id": cluster_id,
        "console_url": cluster_id.apply(lambda id_: f"{console}/{id_}"),
    }


def access_outputs(
    access: AccessParts, access_key: aws.AccessKey | None
) -> dict[str, pulumi.Input[object]]:
    """Return the principal, its key and the objects that CAST AI uses."""
    principal = {"role_arn": access.iam.ready_principal_arn}
    if access_key is not None:
        principal = {
            "user_arn": access.iam.ready_principal_arn,
            "access_key_id": pulumi.Output.secret(access_key.id),
            "secret_access_key": access_key.secret,
        }
    spot = {"function_arn": access.spot.function_arn} if access.spot else {}
    return {
        **principal,
        **spot,
        "node_role_arn": access.iam.node_role_arn,
        "instance_profile_arn": access.iam.instance_profile_arn,
    }


def next_step(principal: Principal) -> str:
    """Return what a person has to enter in CAST AI's console."""
    return (
        f"Open console_url, choose Enable CAST AI, and paste {principal.handed_over} into "
        "the cluster's window; disconnect it there before a destroy"
    )
