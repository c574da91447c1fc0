"""The sandbox's account: what the layer in front of moto keeps beside it."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from werkzeug.wrappers import Response

from sandbox.aws.identities import Clock, Identities, Principal, Propagation
from sandbox.aws.protocol import ApiRequest

AuthenticationMode = str
"""CONFIG_MAP, API_AND_CONFIG_MAP or API."""


@dataclass
class AccessEntry:
    """One EKS access entry, bound to the unique id that its principal had when it was made."""

    principal_arn: str
    unique_id: str
    type: str
    username: str
    groups: list[str]
    tags: dict[str, str]
    created_at: float
    modified: float
    identity: str
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Associated access policies by ARN, each with its scope."""


@dataclass
class ClusterExtras:
    """Attributes of an EKS cluster that moto does not keep."""

    authentication_mode: AuthenticationMode
    bootstrap_admin: bool = True
    security_group_id: str = ""
    """Group that EKS created with the cluster."""
    entries: dict[str, AccessEntry] = field(default_factory=dict)
    updates: dict[str, dict[str, Any]] = field(default_factory=dict)
    endpoint: str = ""
    certificate_authority: str = ""


class Account:
    """State of the layer; `lock` guards it together with moto's."""

    def __init__(self, authentication_mode: AuthenticationMode) -> None:
        self.lock = threading.RLock()
        self.clock = Clock()
        self.propagation = Propagation(self.clock)
        self.identities = Identities(self.clock, self.propagation)
        self.authentication_mode = authentication_mode
        self.clusters: dict[tuple[str, str], ClusterExtras] = {}
        """By region and name."""

    def cluster(self, region: str, name: str) -> ClusterExtras:
        """Find the extras of a cluster that moto holds."""
        return self.clusters.setdefault((region, name), ClusterExtras(self.authentication_mode))


ClustersChanged = Callable[[Mapping[tuple[str, str], ClusterExtras]], None]
"""Hears of every write to EKS: the clusters, by region and name."""


@dataclass
class Call:
    """One authenticated request, with the way on to moto."""

    account: Account
    request: ApiRequest
    principal: Principal
    forward: Callable[[], Response]

    @property
    def params(self) -> dict[str, Any]:
        """The request's parameters, by the names of the service's model."""
        return self.request.params


Handler = Callable[[Call], Mapping[str, Any] | Response]
"""Answers an operation in moto's place, or checks and corrects what moto answers."""
