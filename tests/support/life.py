"""The whole program on a sandbox, and what the three services saw of it."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests
from lightkube import Client, KubeConfig
from lightkube.resources.core_v1 import ConfigMap

from sandbox.constants import HEARTBEATS
from sandbox.engine.stack import Result, Stack
from sandbox.session import Sandbox, Who

SECONDS = 10
PRINCIPAL = "cast-eks-demo"
"""Name of CAST AI's user, and of its role."""


@dataclass
class Life:
    """One stack of the program; `base` are settings that hold until a test changes them."""

    sandbox: Sandbox
    name: str
    base: dict[str, str] = field(default_factory=dict)

    def stack(
        self,
        *,
        who: Who = "operator",
        environment: Mapping[str, str] | None = None,
        **settings: str,
    ) -> Stack:
        """Return the stack under the base settings and these; `a__b` stands for `a.b`."""
        wanted = self.base | {key.replace("__", "."): value for key, value in settings.items()}
        stack = self.sandbox.stack(
            [f"{key}={value}" for key, value in wanted.items()], who=who, name=self.name
        )
        stack.environment = {**stack.environment, **(environment or {})}
        return stack

    def aws(self, service: str) -> Any:
        """Return a boto3 client of the sandbox's own root, whose calls change nothing."""
        return self.sandbox.client(service, "root")

    @contextmanager
    def kubernetes(self) -> Iterator[Client]:
        """Give a client with all powers, whose requests count as the sandbox's own."""
        path = self.sandbox.control_plane.kubeconfig
        with Client(config=KubeConfig.from_file(path)) as client:
            yield client

    def map_roles(self) -> str:
        """Return the text of `mapRoles` in aws-auth."""
        return self._map()["mapRoles"]

    def map_users(self) -> str:
        """Return the text of `mapUsers` in aws-auth."""
        return self._map()["mapUsers"]

    def _map(self) -> dict[str, str]:
        with self.kubernetes() as client:
            return client.get(ConfigMap, "aws-auth", namespace="kube-system").data or {}

    def write_map_roles(self, text: str) -> None:
        """Replace that text, as somebody else would."""
        with self.kubernetes() as client:
            client.patch(
                ConfigMap, "aws-auth", {"data": {"mapRoles": text}}, namespace="kube-system"
            )

    def castai(self) -> dict[str, Any]:
        """Return what CAST AI holds of the one cluster that is live there."""
        url = f"{self.sandbox.castai_url}/_sandbox/state"
        clusters = requests.get(url, timeout=SECONDS).json()["clusters"]
        (live,) = [one for one in clusters if one["status"] != "archived"]
        return live

    def castai_can_work(self) -> bool:
        """Have CAST AI use what it was handed, now."""
        url = f"{self.sandbox.castai_url}/_sandbox/clusters/{self.castai()['id']}/use"
        return requests.post(url, timeout=SECONDS).json()["access"]

    def castai_may_manage(self) -> bool:
        """Whether CAST AI's current principal exists and carries `CastEKSPolicy`."""
        iam, cluster = self.aws("iam"), self.castai()
        role = cluster["eks"].get("assumeRoleArn", PRINCIPAL).rpartition("/")[2]
        try:
            attached = (
                iam.list_attached_user_policies(UserName=PRINCIPAL)
                if cluster["credentialsKind"] == "user"
                else iam.list_attached_role_policies(RoleName=role)
            )
        except iam.exceptions.NoSuchEntityException:
            return False
        names = [policy["PolicyName"] for policy in attached["AttachedPolicies"]]
        return any(name.startswith("CastEKSPolicy") for name in names)

    @contextmanager
    def access_samples(self) -> Iterator[list[bool]]:
        """Sample during the block whether CAST AI may use its credentials and manage nodes."""
        ended, samples = threading.Event(), []

        def look() -> None:
            while not ended.wait(0.05):
                samples.append(self.castai_can_work() and self.castai_may_manage())

        watch = threading.Thread(target=look)
        watch.start()
        try:
            yield samples
        finally:
            ended.set()
            watch.join()

    @contextmanager
    def access_without_interruption(self) -> Iterator[None]:
        """Fail if CAST AI had no access at any moment of the block, or is not ready after it."""
        with self.access_samples() as samples:
            yield
        assert samples, "the block was too short for a sample"
        assert all(samples), "CAST AI had no access for a while"
        assert self.castai()["status"] == "ready"

    def writes(self) -> Counter[str]:
        """Count every write that a service saw, other than by the sandbox itself."""
        return Counter(line for line, is_write in self._requests() if is_write)

    def request_counts(self, service: str) -> Counter[str]:
        """Count every request to one of `aws`, `castai` and `kubernetes`, reads included."""
        return Counter(line for line, _ in self._requests() if line.startswith(f"{service} "))

    def _requests(self) -> Iterator[tuple[str, bool]]:
        for name, url in (("aws", self.sandbox.aws_url), ("castai", self.sandbox.castai_url)):
            log = requests.get(f"{url}/_sandbox/requests", timeout=SECONDS).json()["log"]
            for one in log:
                if one["action"] not in HEARTBEATS:
                    line = f"{name} {one['service']}:{one['action']} by {one['principal']}"
                    yield line, one["write"]
        for one in self.sandbox.control_plane.requests():
            if not one.own:
                where = "/".join(filter(None, (one.namespace, one.name)))
                yield f"kubernetes {one.verb} {one.resource} {where} by {one.user}", one.write

    @contextmanager
    def writing_nothing(self) -> Iterator[None]:
        """Fail if any service sees a write in between."""
        before = self.writes()
        yield
        assert not self.writes() - before, "something was written"


def operations(result: Result) -> dict[str, str]:
    """What happens to which resource, `same` apart."""
    return {step.name: step.operation for step in result.changing()}


def require_empty(results: Sequence[Result]) -> None:
    """Fail with what changes, unless nothing does."""
    for result in results:
        assert result.empty, f"{result.operation}: {operations(result) or result.changes}"
