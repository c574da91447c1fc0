"""Guards that stand before what they guard, because a check sees only its own resource's past."""

from typing import Any, ClassVar

from castai_stack.castai.provider import CastaiHandler
from castai_stack.plugin.handler import (
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    Property,
    ReadResult,
    UpdateResult,
    is_known,
)
from castai_stack.plugin.run import ResourceError


class RotationGuardHandler(CastaiHandler):
    """Lets the rotation counter rise by one, and only after the rotation before was finished.

    A jump by two gives the slot of the key in use a new key, and AWS deletes the old one first.
    """

    name = "RotationGuard"
    properties: ClassVar = {
        "generation": Property("integer"),
        "cluster_id": Property("string", required=False),
        "opened_credentials_id": Property("string", computed=True),
    }

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Compare with the counter of the last run."""
        failures = []
        if is_known(olds.get("generation")) and is_known(news.get("generation")):
            old, new = int(olds["generation"]), int(news["generation"])
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

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Compare the counter; before a new rotation, ask whether the last one was finished."""
        changed = olds.get("generation") != news.get("generation")
        if changed:
            self._require_finished(olds, news)
        other = is_known(news.get("cluster_id")) and olds.get("cluster_id") != news["cluster_id"]
        return DiffResult(changes=changed or other, replaces=[])

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Begin to count."""
        return CreateResult("rotation", self._outs(props))

    def update(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Open the next rotation."""
        if olds.get("generation") != news["generation"]:
            self._require_finished(olds, news)
            return UpdateResult(self._outs(news))
        opened = olds.get("opened_credentials_id", "")
        return UpdateResult({**self._inputs(news), "opened_credentials_id": opened})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Keep the count: there is nothing outside to compare it with."""
        opened = props.get("opened_credentials_id", "")
        return ReadResult(id_, {**self._inputs(props), "opened_credentials_id": opened})

    def _outs(self, props: dict[str, Any]) -> dict[str, Any]:
        opened = self._credentials_id(props.get("cluster_id"))
        return {**self._inputs(props), "opened_credentials_id": opened}

    def _inputs(self, props: dict[str, Any]) -> dict[str, Any]:
        inputs = {"generation": int(props["generation"])}
        if props.get("cluster_id"):
            inputs["cluster_id"] = props["cluster_id"]
        return inputs

    def _require_finished(self, olds: dict[str, Any], news: dict[str, Any]) -> None:
        # A rotation that was opened and never handed over leaves the older key in use: the next
        # one would delete exactly that key. Every hand-over gives a new credentials id.
        cluster_id = olds.get("cluster_id")
        if not cluster_id or news.get("cluster_id") != cluster_id:
            return
        if self._credentials_id(cluster_id) == olds.get("opened_credentials_id", ""):
            old = int(olds["generation"])
            raise ResourceError(
                f"Rotation {old} was begun and its key has not reached CAST AI yet. Set "
                f"credentials.rotation back to {old}, run `pulumi up`, then raise it."
            )

    def _credentials_id(self, cluster_id: str | None) -> str:
        if not cluster_id:
            return ""
        cluster = self.api().get_cluster(cluster_id)
        return cluster.credentials_id if cluster is not None else ""
