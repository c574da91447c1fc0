"""The API server and the identity that a kubeconfig leads to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

EXEC_GROUP = "client.authentication.k8s.io"


class KubeconfigError(Exception):
    """No connection can be made from this kubeconfig; the message is complete and has no secret."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Address of an API server and how its certificate is verified."""

    server: str
    authority: str = ""
    """Certificates in PEM form; empty for the authorities of the system."""
    tls_server_name: str = ""
    """Name in the server's certificate when it differs from the host of `server`."""
    insecure: bool = False
    proxy_url: str = field(default="", repr=False)
    compression: bool = True
    exec_config: Any = None
    """Extension of the cluster that a login program gets as `spec.cluster.config`."""

    @property
    def encrypted(self) -> bool:
        """Return True for https; client-go sends no login to an http address."""
        return self.server.startswith("https:")


@dataclass(frozen=True, slots=True)
class Exec:
    """A login program."""

    api_version: str
    command: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    install_hint: str = ""
    cluster_info: bool = False


@dataclass(frozen=True, slots=True)
class User:
    """One identity; at most one of token, password and login program applies."""

    token: str = field(default="", repr=False)
    token_file: str = ""
    certificate: str = ""
    """Client certificate in PEM form."""
    key: str = field(default="", repr=False)
    """Private key of the client certificate in PEM form."""
    username: str = ""
    password: str = field(default="", repr=False)
    login: Exec | None = None
    impersonation: tuple[tuple[str, str], ...] = ()
    """Headers of an impersonation, in order; a name may repeat."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The cluster and the user of one context."""

    where: str
    """Source of the kubeconfig, for messages."""
    cluster: Cluster
    user: User
