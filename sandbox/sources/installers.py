"""The installers: CAST AI's script in both modes, and its Terraform modules.

Names: castai/docs (history until 2022), public copies of `/v1/scripts/eks/onboarding.sh` of 2023
and 2025, castai/terraform-castai-eks-role-iam `main.tf`.
"""

from collections.abc import Callable
from dataclasses import replace

from sandbox.sources import policies
from sandbox.sources.footprint import AccessEntry, Footprint, Function, Place, Principal, trust

SHARED_POLICY = "CastEKSPolicy"
RESTRICTED = "CastEKSRestrictedAccess"
LAMBDA_ROLE = "CastLambdaRoleForSpot"
FUNCTION = "cast-ai-ec2-events-handler"
RULE = "cast-ai-ec2-events"
"""Inferred: no public source names the rule."""
_NODE_POLICIES = (
    "AmazonEKSWorkerNodePolicy",
    "AmazonEC2ContainerRegistryReadOnly",
    "AmazonEKS_CNI_Policy",
)
_GROUP_DESCRIPTION = (
    "CAST AI created security group that allows communication between CAST AI nodes"
)
_NODE_USERNAME = "system:node:{{EC2PrivateDNSName}}"


def script_with_user(place: Place) -> Footprint:
    """Return what the script of 2021 and 2022 leaves, with the function for Spot.

    CAST AI's service creates node role, profile, security group, function and rule with the user's
    rights. That the script of 2022 also maps the node role is inferred.
    """
    user = f"cast-eks-{place.cluster}"
    node_role = _script_node_role(place)
    managed = (
        "AmazonEC2ReadOnlyAccess",
        "IAMReadOnlyAccess",
        "AmazonEventBridgeReadOnlyAccess",
        "AWSLambda_ReadOnlyAccess",
    )
    return Footprint(
        policies={SHARED_POLICY: policies.managed_2021(place)},
        principals=(
            Principal(
                user,
                (*map(place.managed, managed), place.iam(f"policy/{SHARED_POLICY}")),
                {RESTRICTED: policies.restricted_2021(place)},
            ),
            node_role,
            _lambda_role(place),
        ),
        profiles={node_role.name: node_role.name},
        security_group=_security_group(place),
        functions=(
            Function(
                FUNCTION,
                LAMBDA_ROLE,
                RULE,
                {
                    "source": ["aws.ec2"],
                    "detail-type": ["EC2 Spot Instance Interruption Warning"],
                },
            ),
        ),
        map_roles=(_mapped_node_role(place, node_role.name),),
        map_users=(
            {
                "userarn": place.iam(f"user/{user}"),
                "username": user,
                "groups": ["system:masters"],
            },
        ),
        handed_over=user,
    )


def script_with_role(place: Place) -> Footprint:
    """Return what the script of 2023 to 2025 leaves on a cluster that maps by aws-auth."""
    role = f"cast-eks-{place.cluster[:30]}-cluster-role-{place.short_id}"
    node_role = _script_node_role(place)
    return Footprint(
        policies={SHARED_POLICY: policies.managed_2025(place)},
        principals=(
            Principal(
                role,
                (
                    place.managed("AmazonEC2ReadOnlyAccess"),
                    place.managed("IAMReadOnlyAccess"),
                    place.iam(f"policy/{SHARED_POLICY}"),
                ),
                {RESTRICTED: policies.restricted_2023(place)},
                trust=trust(
                    {
                        "Principal": {"AWS": place.castai_user_arn},
                        "Condition": {"StringEquals": {"sts:ExternalId": place.cluster_id}},
                    }
                ),
            ),
            node_role,
        ),
        profiles={node_role.name: node_role.name},
        security_group=_security_group(place),
        map_roles=(_mapped_node_role(place, node_role.name),),
        handed_over=role,
    )


def terraform(place: Place) -> Footprint:
    """Return what castai/terraform-castai-eks-role-iam leaves with its defaults.

    The module creates no security group. The examples of castai/terraform-castai-eks-cluster give
    the profile to the default node configuration, because CAST AI does not look for its name. They
    map the node role, by aws-auth or by an access entry (`by_access_entries`).
    """
    role = f"castai-eks-{place.cluster[:53]}"
    node_role = f"castai-eks-instance-{place.cluster[:44]}"
    policy = f"{SHARED_POLICY}-{place.cluster}"
    ipv6 = f"CastEC2AssignIPv6Policy-{place.cluster}"
    node_policies = (
        *_NODE_POLICIES,
        "service-role/AmazonEBSCSIDriverPolicy",
        "AmazonSSMManagedInstanceCore",
    )
    assign = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "ec2:AssignIpv6Addresses", "Resource": "*"}],
    }
    return Footprint(
        policies={policy: policies.managed_2025(place), ipv6: assign},
        principals=(
            Principal(
                role,
                (
                    place.managed("AmazonEC2ReadOnlyAccess"),
                    place.managed("IAMReadOnlyAccess"),
                    place.iam(f"policy/{policy}"),
                ),
                {f"castai-user-policy-{place.cluster[:45]}": policies.restricted_2025(place)},
                trust=trust({"Principal": {"AWS": place.castai_user_arn}}),
            ),
            Principal(
                node_role,
                (*map(place.managed, node_policies), place.iam(f"policy/{ipv6}")),
                trust=trust(
                    {
                        "Principal": {"Service": "ec2.amazonaws.com"},
                        "Action": ["sts:AssumeRole", "sts:TagSession"],
                    }
                ),
            ),
        ),
        profiles={node_role: node_role},
        map_roles=(_mapped_node_role(place, node_role),),
        node_configuration=node_role,
        handed_over=role,
    )


def by_access_entries(installer: Callable[[Place], Footprint]) -> Callable[[Place], Footprint]:
    """Return an installer of the same footprint, with access entries in place of aws-auth.

    Types and policy: https://docs.aws.amazon.com/eks/latest/userguide/migrating-access-entries.html
    """

    def install(place: Place) -> Footprint:
        footprint = installer(place)
        admin = f"arn:{place.partition}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
        nodes = [AccessEntry(str(one["rolearn"])) for one in footprint.map_roles]
        users = [AccessEntry(str(one["userarn"]), "STANDARD", admin) for one in footprint.map_users]
        return replace(footprint, map_roles=(), map_users=(), access_entries=(*nodes, *users))

    return install


def _script_node_role(place: Place) -> Principal:
    return Principal(
        f"cast-{place.cluster[:40]}-eks-{place.short_id}",
        tuple(map(place.managed, _NODE_POLICIES)),
        trust=trust({"Principal": {"Service": "ec2.amazonaws.com"}}),
        description="EKS node instance role used by CAST AI",
    )


def _lambda_role(place: Place) -> Principal:
    # Source: castai/docs, configuring-aws-kops-credentials/script.sh (2021)
    services = [f"{name}.amazonaws.com" for name in ("states", "events", "lambda", "apigateway")]
    managed = ("CloudWatchLogsFullAccess", "service-role/AWSLambdaRole", "AmazonEC2ReadOnlyAccess")
    return Principal(
        LAMBDA_ROLE,
        tuple(map(place.managed, managed)),
        trust=trust({"Principal": {"Service": services}}),
        description="Lambda role used by CAST AI to handle Spot interrupts.",
        tags={"cast:managed-by": "cast.ai"},
    )


def _security_group(place: Place) -> tuple[str, str]:
    return f"cast-{place.cluster}-cluster/CastNodeSecurityGroup", _GROUP_DESCRIPTION


def _mapped_node_role(place: Place, name: str) -> dict[str, object]:
    return {
        "rolearn": place.iam(f"role/{name}"),
        "username": _NODE_USERNAME,
        "groups": ["system:bootstrappers", "system:nodes"],
    }
