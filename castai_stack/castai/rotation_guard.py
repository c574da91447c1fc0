"""Guards that stand before what they guard, because a check sees only its own resource's past."""

from typing import Any

import pulumi
from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    UpdateResult,
)

from castai_stack.castai.provider import CastaiProvider
from castai_stack.dynamic.base import ResourceFailed, is_known


class RotationGuardProvider(CastaiProvider):
    """Lets the rotation counter rise by one, and only after the rotation before was finished.

    A jump by two gives the slot of the key in use a new key, and AWS deletes the old one first.
    """

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Compare with the counter of the last run."""
        failures = []
        if is_known(_olds.get("generation")) and is_known(news.get("generation")):
            old, new = int(_olds["generation"]), int(news["generation"])
            if new not in (old, old + 1):
                advice = (
                    f"set it back to {old}"
                    if new < old
                    else f"set it to {old + 1}, run `pulumi up`, then go on"
                )
                failures.append(
                    CheckFailure(
                        "generation",
                        f"credentials.rotation went from {old} to {new}; it may stay or rise by "
                        f"one, or the key in use would be deleted: {advice}",
                    )
                )
        return CheckResult(news, failures)

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Compare the counter; before a new rotation, ask whether the last one was finished."""
        changed = _olds.get("generation") != _news.get("generation")
        if changed:
            self._require_finished(_olds, _news)
        other = is_known(_news.get("cluster_id")) and _olds.get("cluster_id") != _news["cluster_id"]
        return DiffResult(changes=changed or other, replaces=[])

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Begin to count."""
        return CreateResult("rotation", self._outs(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Open the next rotation."""
        if _olds.get("generation") != _news["generation"]:
            self._require_finished(_olds, _news)
            return UpdateResult(self._outs(_news))
        opened = _olds.get("opened_credentials_id", "")
        return UpdateResult({**self._inputs(_news), "opened_credentials_id": opened})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Keep the count: there is nothing outside to compare it with."""
        opened = props.get("opened_credentials_id", "")
        return ReadResult(id_, {**self._inputs(props), "opened_credentials_id": opened})

    def _outs(self, props: dict[str, Any]) -> dict[str, Any]:
        opened = self._credentials_id(props.get("cluster_id"))
        return {**self._inputs(props), "opened_credentials_id": opened}

    def _inputs(self, props: dict[str, Any]) -> dict[str, Any]:
        kept = {"generation": int(props["generation"])}
        if props.get("cluster_id"):
            kept["cluster_id"] = props["cluster_id"]
        return kept

    def _require_finished(self, olds: dict[str, Any], news: dict[str, Any]) -> None:
        # A rotation that was opened and never handed over leaves the older key in use: the next
        # one would delete exactly that key. Every hand-over gives a new credentials id.
        cluster_id = olds.get("cluster_id")
        if not cluster_id or news.get("cluster_id") != cluster_id:
            return
        if self._credentials_id(cluster_id) == olds.get("opened_credentials_id", ""):
            old = int(olds["generation"])
            raise ResourceFailed(
                f"Rotation {old} was begun and its key has not reached CAST AI yet. Set "
                f"credentials.rotation back to {old}, run `pulumi up`, then raise it."
            )

    def _credentials_id(self, cluster_id: str | None) -> str:
        if not cluster_id:
            return ""
        cluster = self.api().get_cluster(cluster_id)
        return cluster.credentials_id if cluster is not None else ""


class RotationGuard(Resource, module="castai", name="RotationGuard"):
    """Stands before the keys; give the cluster id where this stack hands the keys over."""

    generation: pulumi.Output[int]
    cluster_id: pulumi.Output[str]
    opened_credentials_id: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        generation: int,
        cluster_id: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            RotationGuardProvider(),
            name,
            {
                "generation": generation,
                "cluster_id": cluster_id,
                "opened_credentials_id": None,
            },
            opts,
        )
