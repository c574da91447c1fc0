"""Credentials of a kubeconfig's user: a token, a password, or the answer of a login program.

Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

import base64
import json
import os
import shutil
import subprocess
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from castai_stack.kube.endpoint import EXEC_GROUP, Cluster, Endpoint, Exec, KubeconfigError
from castai_stack.kube.kubeconfig_entry import token_fault, token_from_file
from castai_stack.kube.kubeconfig_text import parse
from castai_stack.kube.quoting import quote


@dataclass(frozen=True, slots=True)
class Credential:
    """Credentials of a request: a header or a client certificate."""

    authorization: str | None = field(default=None, repr=False)
    """Value of the header `Authorization`."""
    certificate: str = ""
    """Client certificate of a login program in PEM form; empty for none."""
    key: str = field(default="", repr=False)
    expires: datetime | None = None

    @property
    def expired(self) -> bool:
        """Return True after `expires`."""
        return self.expires is not None and datetime.now(UTC) > self.expires


class Login:
    """Credentials of one endpoint; threads may share it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._current: Credential | None = None

    def credential(self, refused: Credential | None = None) -> Credential:
        """Return the current credential, or a new one when the server refused the current one.

        Raises KubeconfigError when the login program or the token file fails.
        """
        with self._lock:
            current = self._current
            if current is None or current.expired or current is refused:
                current = self._current = self._new()
            return current

    @property
    def renewable(self) -> bool:
        """Return True if another credential may come after a refusal."""
        user = self._endpoint.user
        return self._endpoint.cluster.encrypted and bool(user.login or user.token_file)

    def _new(self) -> Credential:
        user = self._endpoint.user
        if not self._endpoint.cluster.encrypted:
            return Credential()
        if user.login is not None:
            return run(user.login, self._endpoint.cluster)
        if user.token_file:
            token = token_from_file(self._endpoint.where, user.token_file, user.token)
            return Credential(f"Bearer {token}")
        if user.token:
            return Credential(f"Bearer {user.token}")
        if user.username:
            pair = f"{user.username}:{user.password}".encode()
            return Credential(f"Basic {base64.b64encode(pair).decode()}")
        return Credential()


def run(login: Exec, cluster: Cluster) -> Credential:
    """Run a login program and return the credential of its answer.

    Raises KubeconfigError, which never shows the program's output on success.
    """
    name = f"the kubeconfig's login program {login.command}"
    program = shutil.which(login.command)
    if program is None:
        hint = f"; {quote(login.install_hint)}" if login.install_hint else ""
        place = "executable" if "/" in login.command else "on PATH"
        raise KubeconfigError(f"{name} is not {place}{hint}")
    try:
        process = subprocess.run(
            [program, *login.arguments],
            env={
                **os.environ,
                **login.environment,
                "KUBERNETES_EXEC_INFO": json.dumps(_request(login, cluster)),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except (OSError, ValueError) as error:
        raise KubeconfigError(f"{name} cannot be started: {type(error).__name__}") from None
    if process.returncode != 0:
        errors = quote(process.stderr.decode(errors="replace"))
        raise KubeconfigError(
            f"{name} failed with exit code {process.returncode}" + (f": {errors}" if errors else "")
        )
    return _credential(name, login, process.stdout)


def _request(login: Exec, cluster: Cluster) -> dict[str, Any]:
    spec: dict[str, Any] = {"interactive": False}
    if login.cluster_info:
        details: dict[str, Any] = {
            "server": cluster.server,
            "tls-server-name": cluster.tls_server_name,
            "insecure-skip-tls-verify": cluster.insecure,
            "certificate-authority-data": base64.b64encode(cluster.authority.encode()).decode(),
            "proxy-url": cluster.proxy_url,
            "disable-compression": not cluster.compression,
            "config": cluster.exec_config,
        }
        spec["cluster"] = {key: value for key, value in details.items() if value}
    return {"apiVersion": login.api_version, "kind": "ExecCredential", "spec": spec}


def _credential(name: str, login: Exec, output: bytes) -> Credential:
    try:
        answer = parse(output)
    except ValueError as error:
        raise KubeconfigError(f"{name} answered with a text that {error}") from None
    if not isinstance(answer, dict) or answer.get("kind") != "ExecCredential":
        raise KubeconfigError(f"{name} answered without an ExecCredential")
    if answer.get("apiVersion") != login.api_version:
        raise KubeconfigError(
            f"{name} answered another apiVersion of {EXEC_GROUP} than exec.apiVersion, "
            f"{login.api_version}; set exec.apiVersion to the version that it speaks"
        )
    status = answer.get("status")
    if not isinstance(status, dict):
        raise KubeconfigError(f"{name} answered without a status")
    texts = {}
    for key in ("token", "clientCertificateData", "clientKeyData", "expirationTimestamp"):
        value = status.get(key)
        if not isinstance(value, str | None):
            raise KubeconfigError(f"{name} answered a status.{key} that is no text")
        texts[key] = value or ""
    token, certificate, private_key, expiration = texts.values()
    if not token and not certificate and not private_key:
        raise KubeconfigError(f"{name} answered without a token and without a certificate")
    if bool(certificate) != bool(private_key):
        raise KubeconfigError(f"{name} answered a certificate or a key, not both")
    if (fault := token_fault(token)) is not None:
        raise KubeconfigError(f"{name} answered a token that holds {fault}")
    return Credential(
        authorization=f"Bearer {token}" if token else None,
        certificate=certificate,
        key=private_key,
        expires=_moment(name, expiration),
    )


def _moment(name: str, text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise KubeconfigError(
            f"{name} answered a status.expirationTimestamp that is no RFC 3339 time"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
