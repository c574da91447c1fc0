"""The cluster that a component is about; it has one component of each kind."""

from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import TypedDict
from weakref import WeakKeyDictionary

from pulumi.runtime.settings import get_monitor

from castai_stack.components.arguments import ArgumentError
from castai_stack.config.model import StackConfig


class EksCluster(TypedDict):
    """An EKS cluster, as its owner knows it."""

    name: str
    """Name of the EKS cluster."""
    region: str
    """AWS region of the cluster."""
    account_id: str
    """AWS account of the cluster, 12 digits as a text."""


Claims = MutableMapping[tuple[str, ...], str]
"""Name of the component, by its kind and cluster."""

CLAIMS: ContextVar[Claims | None] = ContextVar("CLAIMS", default=None)
"""Components of a run in another language; the plugin sets it."""
_BY_MONITOR: WeakKeyDictionary[object, Claims] = WeakKeyDictionary()
"""Components of a program in Python, by its connection to the engine."""


def claim(kind: str, name: str, settings: StackConfig) -> None:
    """Note that a cluster has this component. Raises ArgumentError if it has another one.

    Both would create objects of the same names.
    """
    cluster = settings.cluster
    claims = CLAIMS.get()
    if claims is None:
        claims = _BY_MONITOR.setdefault(get_monitor(), {})
    other = claims.setdefault((kind, cluster.account_id, cluster.region, cluster.name), name)
    if other != name:
        raise ArgumentError(
            f"Invalid arguments of {kind} {name}:\n"
            f"  cluster: {cluster.name} in {cluster.region} is also that of {kind} {other}; "
            f"allowed: one {kind} for a cluster. Remove one of them, or correct cluster.name"
        )
