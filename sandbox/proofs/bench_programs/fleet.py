"""The AWS half of the program for one cluster of many: look-ups, checks, access and Spot function.

All clusters of the sandbox would be one cluster in Kubernetes, so that the rest is left out.
"""

import os

import pulumi

from castai_stack import arn, naming
from castai_stack.config.validation import validate
from castai_stack.iam.component import CastIamComponent
from castai_stack.permissions.operator import requirements
from castai_stack.preflight.lookups import look_up
from castai_stack.preflight.permissions import permission_findings
from castai_stack.spot.component import SpotLambdaComponent
from castai_stack.stack.providers import aws_provider
from sandbox.constants import ACCOUNT, CASTAI_ACCOUNT, REGION

NUMBER = "CASTAI_SANDBOX_FLEET_NUMBER"
"""Variable with the number of the cluster."""
CASTAI_USER = f"arn:aws:iam::{CASTAI_ACCOUNT}:user/cast-crossrole"


async def compose() -> None:
    """Ask what the program asks in AWS, and create what it creates there."""
    number = int(os.environ[NUMBER])
    name = f"fleet-{number:03d}"
    cluster_id = f"{number:08x}-0000-4000-8000-{number:012x}"
    settings = validate(
        {
            "cluster": {"name": name, "region": REGION, "accountId": ACCOUNT},
            "credentials": {"mode": "role"},
            "names": "regional",
        },
        "fleet",
    )
    provider = aws_provider(settings.cluster)
    caller, facts = await look_up(settings.cluster, provider)
    needed = requirements(settings, access_entries=True)
    findings = await permission_findings(
        caller, needed, settings, provider, preview=pulumi.runtime.is_dry_run()
    )
    if findings.inconclusive:
        raise pulumi.RunError("\n".join(findings.inconclusive))
    names = naming.names(name, settings.names, REGION)
    opts = pulumi.ResourceOptions(providers=[provider])
    CastIamComponent(
        "iam",
        {
            "partition": arn.partition(REGION),
            "region": REGION,
            "account_id": ACCOUNT,
            "cluster_name": name,
            "cluster_id": cluster_id,
            "vpc_id": facts.vpc_id,
            "vpc_account_id": ACCOUNT,
            "names": names,
            "mode": "role",
            "flavour": settings.permissions,
            "castai_principal_arn": CASTAI_USER,
            "external_id": cluster_id,
            "settings": settings.iam,
            "tags": settings.tags,
        },
        opts,
    )
    SpotLambdaComponent(
        "spot",
        {
            "partition": arn.partition(REGION),
            "region": REGION,
            "account_id": ACCOUNT,
            "cluster_name": name,
            "cluster_id": cluster_id,
            "api_url": settings.api.url,
            "api_key": pulumi.Output.secret("no key of anybody"),
            "names": names,
            "flavour": settings.permissions,
            "settings": settings.spot,
            "iam": settings.iam,
            "tags": settings.tags,
            "cluster_endpoint": facts.endpoint,
            "certificate_authority": facts.certificate_authority,
        },
        opts,
    )


pulumi.run(compose)
