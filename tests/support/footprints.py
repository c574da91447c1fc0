"""Observations as AWS, CAST AI and the cluster would answer them about a footprint."""

from dataclasses import replace
from typing import Any, Literal

from castai_stack.adopt import candidates
from castai_stack.adopt import plan as adopt_plan
from castai_stack.adopt.observations import (
    AccessEntry,
    AccessKey,
    AtCastai,
    Choices,
    Function,
    Group,
    InAws,
    InCluster,
    Observations,
    Place,
    Policy,
    Principal,
    Workload,
)
from castai_stack.adopt.plan import Plan
from castai_stack.castai.model import Cluster
from castai_stack.config.stack_file import KEY
from castai_stack.config.validation import validate
from sandbox.sources import footprint as source

CLUSTER_ID = "0f3f1ba4-6f46-4f2e-9a39-6a1bb6c0f0a1"
ACCOUNT, REGION, VPC = "012345678901", "eu-central-1", "vpc-0a1b2c3d4e5f60718"
CASTAI_USER = f"arn:aws:iam::809060229965:user/cast-crossrole-{CLUSTER_ID}"


def workload(
    name: str, tag: str, release: str = "", kind: Literal["Deployment", "DaemonSet"] = "Deployment"
) -> Workload:
    """Return a workload of a chart's release; without one, of the script's for it."""
    instances = {"castai-cluster-controller": "cluster-controller"}
    release = release or instances.get(name, name.removesuffix("-cpvpa"))
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/instance": release}
    selector = labels if kind == "Deployment" else {"name": name.removeprefix("castai-")}
    return Workload(name, tag, kind, selector, f"Helm release {release}")


AGENT = (workload("castai-agent", "v0.123.1"), workload("castai-agent-cpvpa", "v0.8.4"))


def source_place(cluster: str = "prod", cluster_id: str = CLUSTER_ID) -> source.Place:
    return source.Place(
        cluster=cluster,
        cluster_id=cluster_id,
        region=REGION,
        account_id=ACCOUNT,
        vpc_id=VPC,
        api_url="https://api.cast.ai",
        castai_user_arn=CASTAI_USER,
    )


def cluster(**changes: Any) -> Cluster:
    plain = Cluster(
        id=CLUSTER_ID,
        name="prod",
        status="ready",
        agent_status="online",
        credentials_id="1",
        organization_id="7a5d4f0c-58c8-4c43-9a3f-8b2f6d1e0c9b",
        agent_snapshot_received_at="2026-11-30T10:00:00Z",
        reconcile_error="",
        account_id=ACCOUNT,
        region=REGION,
        assume_role_arn="",
    )
    return replace(plain, **changes)


def observed(footprint: source.Footprint) -> Observations:
    """Return what would be seen of one installer's work on the cluster `prod`."""
    place = source_place()
    principals = {one.name: _principal(footprint, one) for one in footprint.principals}
    handed = principals[footprint.handed_over]
    names = candidates.node_role_names("prod", CLUSTER_ID)
    role_arn = place.iam(f"role/{handed.name}") if handed.kind == "role" else ""
    map_users = [entry["userarn"] for entry in footprint.map_users]
    mapped = [entry["rolearn"] for entry in footprint.map_roles]
    group = footprint.security_group
    return Observations(
        Place(
            "prod",
            REGION,
            ACCOUNT,
            "aws",
            VPC,
            authentication_mode="API_AND_CONFIG_MAP" if footprint.access_entries else "CONFIG_MAP",
        ),
        AtCastai(
            (cluster(assume_role_arn=role_arn),),
            principal_arn=CASTAI_USER if role_arn else "",
        ),
        InAws(
            principals=(handed,),
            node_roles=tuple(one for name, one in principals.items() if name in names),
            policies=tuple(
                Policy(
                    place.iam(f"policy/{name}"),
                    document,
                    tuple(
                        str(principals[one.name])
                        for one in footprint.principals
                        if place.iam(f"policy/{name}") in one.attached
                    ),
                )
                for name, document in footprint.policies.items()
            ),
            groups=(Group("sg-0a1b2c3d4e5f60718", group[0], CLUSTER_ID),) if group else (),
            functions=tuple(
                Function(one.name, one.role, (one.rule,)) for one in footprint.functions
            ),
            access_entries=tuple(
                AccessEntry(one.principal_arn, one.type, (one.policy,) if one.policy else ())
                for one in footprint.access_entries
            ),
        ),
        InCluster(AGENT, mapped=frozenset([*mapped, *map_users])),
    )


def planned(observations: Observations, choices: Choices | None = None) -> Plan:
    """The plan of a take-over without a problem, whose settings are valid."""
    plan, problems = adopt_plan.make(observations, choices or Choices())
    assert problems == ()
    assert plan is not None
    assert validate(plan.settings, KEY)
    return plan


def _principal(footprint: source.Footprint, one: source.Principal) -> Principal:
    return Principal(
        kind="user" if one.trust is None else "role",
        name=one.name,
        attached=one.attached,
        inline=one.inline,
        trust=one.trust,
        keys=(AccessKey("AKIAOFTHESCRIPT00000", "Active"),) if one.trust is None else (),
        profiles=tuple(name for name, role in footprint.profiles.items() if role == one.name),
    )
