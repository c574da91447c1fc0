"""The cluster under test, and the clusters that a policy could mistake for it."""

from dataclasses import dataclass, replace

from castai_stack import naming
from castai_stack.iam.scope import Scope


@dataclass(frozen=True)
class Neighbour:
    """A cluster in the account: the one under test, or another one."""

    label: str
    scope: Scope

    @property
    def tag(self) -> str:
        return f"kubernetes.io/cluster/{self.scope.cluster}"

    def tags(self, *, launched: bool = True) -> dict[str, str]:
        """Return the tags of an instance, group or interface of the cluster."""
        tags = {
            self.tag: "owned",
            "aws:eks:cluster-name": self.scope.cluster,
            "eks:cluster-name": self.scope.cluster,
            "cluster.k8s.amazonaws.com/name": self.scope.cluster,
        }
        return {**tags, "cast:cluster-id": self.scope.cluster_id} if launched else tags


def scope(
    cluster: str = "demo",
    *,
    partition: str = "aws",
    region: str = "eu-central-1",
    account_id: str = "012345678901",
    cluster_id: str = "11111111-aaaa-4bbb-8ccc-000000000001",
    vpc_id: str = "vpc-0aaaaaaaaaaaaaaa1",
    names: naming.NameFlavour = "suffixed",
    path: str = "/",
    vpc_account_id: str | None = None,
) -> Scope:
    """Return the cluster under test. Its account id begins with a zero, as some do."""
    return Scope(
        partition=partition,
        region=region,
        account_id=account_id,
        cluster=cluster,
        cluster_id=cluster_id,
        vpc_id=vpc_id,
        names=naming.names(cluster, names, region),
        path=path,
        vpc_account_id=vpc_account_id,
    )


def neighbours(ours: Scope) -> list[Neighbour]:
    """Return the clusters that are easiest to mistake for the one under test."""

    def other(label: str, number: int, cluster: str, **changes: str) -> Neighbour:
        changed = replace(
            ours,
            cluster=cluster,
            cluster_id=f"22222222-aaaa-4bbb-8ccc-{number:012d}",
            names=naming.names(cluster, "suffixed"),
            **changes,
        )
        return Neighbour(label, changed)

    name = ours.cluster
    region = "us-east-1" if ours.region != "us-east-1" else "us-west-2"
    account = "999999999999"
    longer = (
        f"{name[:97]}-eu" if len(name) < 98 else f"{name[:-1]}{'a' if name[-1] != 'a' else 'b'}"
    )
    clusters = [
        other("a cluster of another name in our VPC", 1, f"x{name}"[:99]),
        other("a cluster whose name begins with ours", 2, longer),
        other("a cluster of another VPC", 3, "elsewhere", vpc_id="vpc-0bbbbbbbbbbbbbbb2"),
        other("our name in another region", 4, name, region=region, vpc_id="vpc-0ccccccccccccccc3"),
        Neighbour("our tags in another region", replace(ours, region=region)),
        Neighbour("our tags in another account", replace(ours, account_id=account)),
    ]
    if name.swapcase() != name:
        clusters.append(other("our name in other letters", 5, name.swapcase()))
    if len(name) > 1:
        clusters.append(other("a cluster whose name ours begins with", 6, name[:-1]))
    return [n for n in clusters if n.scope != ours]


def cluster_tag(owner: Scope) -> str:
    """Return the key of the cluster's own tag."""
    return f"kubernetes.io/cluster/{owner.cluster}"
