"""Connection of a command to the cluster."""

from collections.abc import Iterator
from contextlib import contextmanager

import lightkube

from castai_stack.castai.model import NOT_FOUND
from castai_stack.commands.aws_clients import asking, clients
from castai_stack.commands.command_line import CommandError
from castai_stack.commands.target import Target
from castai_stack.kube import connection, kinds
from castai_stack.kube.kubeconfig import FROM_EKS, eks_kubeconfig


class ClusterError(CommandError):
    """The cluster could not be asked; the message names the reason."""

    not_found = False
    """True if the API server has no object of that name, or no such kind."""


@contextmanager
def connected(target: Target) -> Iterator[lightkube.Client]:
    """Yield a client of the cluster; every failure inside is a ClusterError."""
    kubeconfig = target.kubeconfig
    if kubeconfig == FROM_EKS:
        kubeconfig = _kubeconfig_from_eks(target)
    with answering(), connection.connect(kubeconfig, target.context) as client:
        yield client


@contextmanager
def answering() -> Iterator[None]:
    """Turn every failure of a request to the cluster into a ClusterError."""
    try:
        yield
    except CommandError:
        raise
    except Exception as error:  # noqa: BLE001 - clients, logins and networks share no base class
        failure = ClusterError(f"Kubernetes: {connection.explain(error)}")
        is_not_found = isinstance(error, lightkube.ApiError) and error.status.code == NOT_FOUND
        failure.not_found = is_not_found or kinds.is_missing(error)
        raise failure from None


def _kubeconfig_from_eks(target: Target) -> str:
    with asking(f"Kubernetes: the address of cluster {target.cluster}"):
        eks = clients(target.region, target.account_id)("eks")
        described = eks.describe_cluster(name=target.cluster)["cluster"]
    endpoint = described.get("endpoint")
    authority = (described.get("certificateAuthority") or {}).get("data")
    # A cluster that is being created has neither yet; a cluster outside of AWS that is only
    # registered with EKS (https://docs.aws.amazon.com/eks/latest/userguide/eks-connector.html)
    # never has.
    if not endpoint or not authority:
        raise ClusterError(
            f"Kubernetes: EKS gives no address of cluster {target.cluster} (status "
            f"{described.get('status')}); wait until it is ACTIVE, or give --kubeconfig"
        )
    return eks_kubeconfig(target.cluster, target.region, endpoint, authority)
