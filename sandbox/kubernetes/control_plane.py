"""A real Kubernetes control plane on loopback: etcd, API server, controllers, scheduler, KWOK."""

import base64
import csv
import json
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import requests

from sandbox.constants import READ_ONLY_GROUP, SERVICE_CIDR
from sandbox.kubernetes import certificates
from sandbox.kubernetes.certificates import Certificates
from sandbox.processes import ProcessError, Processes, free_port
from sandbox.toolchain import Programs

KWOK_ANNOTATION = ("kwok.x-k8s.io/node", "fake")
"""Nodes that carry it are KWOK's: their pods run as far as the API shows."""


_READY_SECONDS = 60
_OWN_USERS = frozenset(
    {
        "system:apiserver",
        "system:kube-controller-manager",
        "system:kube-scheduler",
        "sandbox:kwok",
        "sandbox:admin",
        "sandbox:services",
    }
)
_READING_VERBS = frozenset({"get", "list", "watch"})
_ASKING_RESOURCES = frozenset(
    {
        "selfsubjectaccessreviews",
        "selfsubjectrulesreviews",
        "selfsubjectreviews",
        "subjectaccessreviews",
        "localsubjectaccessreviews",
        "tokenreviews",
    }
)


@dataclass(frozen=True, slots=True)
class Identity:
    """A user that a token stands for."""

    user: str
    groups: tuple[str, ...]


OPERATOR = Identity("platform-admin", ("system:masters",))
READER = Identity("pull-request", (READ_ONLY_GROUP,))
_PARTS = {
    "admin": Identity("sandbox:admin", ("system:masters",)),
    "services": Identity("sandbox:services", ("system:masters",)),
    "controller-manager": Identity("system:kube-controller-manager", ("system:masters",)),
    "scheduler": Identity("system:kube-scheduler", ("system:masters",)),
    "kwok": Identity("sandbox:kwok", ("system:masters",)),
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request that the API server answered."""

    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    status: int
    write: bool
    """Changed, or tried to change, what the cluster keeps; a dry run does not."""

    @property
    def own(self) -> bool:
        """Made by the sandbox itself rather than by what is tried on it."""
        return self.user in _OWN_USERS or self.user.startswith(("system:node:", "system:service"))


class ControlPlane:
    """A running control plane; `start` makes one, `at` finds one that runs."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.url = f"https://127.0.0.1:{port}"
        self.processes = Processes(directory)
        self._audit_log = directory / "audit.log"

    @property
    def kubeconfig(self) -> Path:
        """The sandbox's own way in, whatever aws-auth says."""
        return self.kubeconfig_of("admin")

    @property
    def operator_kubeconfig(self) -> Path:
        """The principal that runs `pulumi up`."""
        return self.kubeconfig_of("operator")

    @property
    def reader_kubeconfig(self) -> Path:
        """The principal that may only get and list."""
        return self.kubeconfig_of("reader")

    def kubeconfig_of(self, name: str) -> Path:
        """Path of a named kubeconfig."""
        return self.directory / "kubeconfigs" / f"{name}.json"

    def token_of(self, name: str) -> str:
        """Token of the kubeconfig of that name; one of an exec login lasts 14 minutes."""
        user = json.loads(self.kubeconfig_of(name).read_text())["users"][0]["user"]
        if "exec" not in user:
            return str(user["token"])
        command = [user["exec"]["command"], *user["exec"]["args"]]
        output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
        return str(json.loads(output)["status"]["token"])

    @property
    def certificates(self) -> Certificates:
        """Keys and certificates of the API server."""
        return certificates.at(self.directory / "certificates")

    @property
    def authority(self) -> Path:
        """The certificate authority that signed the API server's certificate."""
        return self.certificates.authority

    @classmethod
    def start(
        cls,
        directory: Path,
        programs: Programs,
        *,
        port: int | None = None,
        webhook: str | None = None,
        logins: Mapping[str, Mapping[str, Any]] | None = None,
        with_parent: bool = False,
        waiting: Callable[[], None] = lambda: None,
    ) -> Self:
        """Start everything anew in `directory` and wait until it serves.

        `webhook` is the URL that reviews tokens, under a certificate of this control plane, and
        `logins` holds the kubeconfig users of `operator` and `reader`, whose tokens it knows.
        Without them the API server itself knows both.
        """
        directory = directory.absolute()
        Processes(directory).stop()
        for old in ("etcd", "audit.log", "kubeconfigs", "certificates"):
            path = directory / old
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(
                missing_ok=True
            )
        plane = cls(directory, port or free_port())
        try:
            plane._bring_up(programs, webhook, logins or {}, with_parent, waiting)
        except BaseException:
            plane.stop()
            raise
        return plane

    @classmethod
    def at(cls, directory: Path) -> Self:
        """Find the control plane that runs in `directory`."""
        directory = directory.absolute()
        admin = directory / "kubeconfigs" / "admin.json"
        if not admin.exists():
            raise ProcessError(f"no control plane was started in {directory}")
        server = json.loads(admin.read_text())["clusters"][0]["cluster"]["server"]
        return cls(directory, int(server.rpartition(":")[2]))

    def stop(self) -> None:
        """End every process that was started for this directory."""
        self.processes.stop()

    def requests(self) -> list[Request]:
        """Everything asked of the API server, in the order of its answers."""
        requests = []
        for line in self._audit_log.read_text().splitlines():
            event = json.loads(line)
            if event.get("stage") not in ("ResponseComplete", "Panic"):
                continue
            target = event.get("objectRef", {})
            resource = target.get("resource", "")
            dry_run = "dryRun=All" in event["requestURI"]
            requests.append(
                Request(
                    user=event["user"].get("username", ""),
                    verb=event["verb"],
                    resource="/".join(filter(None, (resource, target.get("subresource")))),
                    namespace=target.get("namespace", ""),
                    name=target.get("name", ""),
                    status=event.get("responseStatus", {}).get("code", 0),
                    write=event["verb"] not in _READING_VERBS
                    and resource not in _ASKING_RESOURCES
                    and not dry_run,
                )
            )
        return requests

    def _bring_up(
        self,
        programs: Programs,
        webhook: str | None,
        logins: Mapping[str, Mapping[str, Any]],
        with_parent: bool,
        waiting: Callable[[], None],
    ) -> None:
        files = certificates.make(self.directory / "certificates")
        token_file = self._write_logins(logins)
        etcd = f"http://127.0.0.1:{free_port()}"
        peer = f"http://127.0.0.1:{free_port()}"
        binary = programs.control_plane
        self.processes.start(
            "etcd",
            [
                *(binary, "etcd", "--unsafe-no-fsync", "--log-level=warn"),
                f"--data-dir={self.directory / 'etcd'}",
                *(f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}"),
                *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"),
                f"--initial-cluster=default={peer}",
            ],
            with_parent=with_parent,
        )
        arguments = self._apiserver_arguments(files, token_file, etcd, webhook)
        self.processes.start(
            "apiserver", [binary, "apiserver", *arguments], with_parent=with_parent
        )
        self._wait("the API server", "/readyz", waiting)
        common = ("--leader-elect=false", "--secure-port=0", "--kube-api-qps=500")
        self.processes.start(
            "controller-manager",
            [
                *(binary, "controller-manager", *common, "--kube-api-burst=1000"),
                f"--kubeconfig={self.kubeconfig_of('controller-manager')}",
                f"--service-account-private-key-file={files.service_account_key}",
                f"--root-ca-file={files.authority}",
                # On a busy machine heartbeats come late; KWOK's pods never recover from that.
                "--node-monitor-grace-period=1h",
            ],
            with_parent=with_parent,
        )
        self.processes.start(
            "scheduler",
            [
                *(binary, "scheduler", *common, "--kube-api-burst=1000"),
                f"--kubeconfig={self.kubeconfig_of('scheduler')}",
            ],
            with_parent=with_parent,
        )
        self.processes.start(
            "kwok",
            [
                *(programs.kwok, "--manage-all-nodes=false"),
                # Without leases KWOK's nodes are heard of every ten minutes only.
                "--node-lease-duration-seconds=40",
                f"--manage-nodes-with-annotation-selector={'='.join(KWOK_ANNOTATION)}",
                f"--kubeconfig={self.kubeconfig_of('kwok')}",
            ],
            # It would read the user's ~/.kwok/kwok.yaml.
            {"HOME": str(self.directory)},
            with_parent=with_parent,
        )
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._wait("the controller manager", account, waiting)

    def _apiserver_arguments(
        self, files: Certificates, token_file: Path, etcd: str, webhook: str | None
    ) -> list[str]:
        policy = self.directory / "audit-policy.json"
        policy.write_text(
            json.dumps(
                {
                    "apiVersion": "audit.k8s.io/v1",
                    "kind": "Policy",
                    "omitStages": ["RequestReceived", "ResponseStarted"],
                    "rules": [{"level": "Metadata"}],
                }
            )
        )
        arguments = [
            "--bind-address=127.0.0.1",
            f"--secure-port={self.url.rpartition(':')[2]}",
            f"--etcd-servers={etcd}",
            f"--tls-cert-file={files.serving_certificate}",
            f"--tls-private-key-file={files.serving_key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-signing-key-file={files.service_account_key}",
            f"--service-account-key-file={files.service_account_key}",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            "--endpoint-reconciler-type=none",
            "--allow-privileged=true",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=PodSecurity,ResourceQuota,LimitRanger",
            f"--token-auth-file={token_file}",
            f"--audit-policy-file={policy}",
            f"--audit-log-path={self._audit_log}",
            "--profiling=false",
        ]
        if webhook is None:
            return arguments
        reviewer = self.directory / "authenticator.json"
        reviewer.write_text(_kubeconfig(webhook, files.authority, {}))
        return [
            *arguments,
            f"--authentication-token-webhook-config-file={reviewer}",
            # A mapping that was taken away is forgotten soon; the API server itself remembers a
            # token that it accepted for ten seconds.
            "--authentication-token-webhook-cache-ttl=1s",
        ]

    def _write_logins(self, logins: Mapping[str, Mapping[str, Any]]) -> Path:
        identities = {**_PARTS, "operator": OPERATOR, "reader": READER}
        tokens = {name: secrets.token_urlsafe(16) for name in identities if name not in logins}
        folder = self.directory / "kubeconfigs"
        folder.mkdir()
        for name in identities:
            path = self.kubeconfig_of(name)
            path.touch(mode=0o600)
            user = logins.get(name) or {"token": tokens[name]}
            path.write_text(_kubeconfig(self.url, self.authority, user))
        token_file = self.directory / "certificates" / "tokens.csv"
        token_file.touch(mode=0o600)
        with token_file.open("w", newline="") as file:
            for name, token in tokens.items():
                identity = identities[name]
                groups = ",".join(identity.groups)
                csv.writer(file).writerow([token, identity.user, name, groups])
        return token_file

    def wait_for_login(self, name: str, waiting: Callable[[], None]) -> None:
        """Wait until the API server takes a token of the kubeconfig of that name."""
        self._wait(f"the login of {name}", "/api", waiting, name)

    def _wait(self, what: str, path: str, waiting: Callable[[], None], name: str = "admin") -> None:
        token = self.token_of(name)
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            self.processes.require_alive()
            waiting()
            try:
                answer = requests.get(
                    self.url + path,
                    headers={"Authorization": f"Bearer {token}"},
                    verify=str(self.authority),
                    timeout=5,
                )
            except requests.RequestException:
                answer = None
            if answer is not None and answer.ok:
                return
            time.sleep(0.1)
        raise ProcessError(
            f"{what} did not become ready within {_READY_SECONDS} s; "
            f"its log is in {self.directory / 'logs'}"
        )


def _kubeconfig(url: str, authority: Path, user: Mapping[str, Any]) -> str:
    data = base64.b64encode(authority.read_bytes()).decode()
    cluster = {"server": url, "certificate-authority-data": data}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "sandbox", "cluster": cluster}],
            "users": [{"name": "sandbox", "user": user}],
            "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": "sandbox"}}],
            "current-context": "sandbox",
        },
        indent=2,
    )
