"""Base of the resource types whose properties are settings that the service keeps for a cluster."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from castai_stack.castai.provider import CastaiHandler
from castai_stack.castai.remote_fields import Fields, differences, holds_unknown, values
from castai_stack.plugin.handler import (
    GONE,
    CreateResult,
    DiffResult,
    ReadResult,
    UpdateResult,
    differs,
    unknown,
)

if TYPE_CHECKING:
    from castai_stack.castai.automation_api import AutomationApi


class RemoteSettingsHandler(CastaiHandler):
    """Compares the fields that the program sets; every other one is left to the service."""

    fields: ClassVar[Fields]
    replacing: ClassVar[tuple[str, ...]] = ("cluster_id",)
    """Properties that no update changes."""
    _automation: "AutomationApi | None" = None

    def automation(self) -> "AutomationApi":
        """Return the client of the automation's endpoints, created when first needed."""
        from castai_stack.castai.automation_api import AutomationApi  # noqa: PLC0415 - lazy

        if self._automation is None:
            settings = self.run.settings
            self._automation = AutomationApi(settings.api_url, settings.api_key)
        return self._automation

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Compare what the program sets with the outputs, which a refresh has read."""
        replaces = differs(olds, news, *self.replacing)
        changes = (
            bool(replaces)
            or unknown(news, *self.replacing)
            or any(holds_unknown(news.get(name)) for name in self.fields)
            or bool(differences(self.fields, olds, news))
        )
        return DiffResult(changes=changes, replaces=replaces)

    def given(self, props: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields that the program sets."""
        return {name: props[name] for name in self.fields if props.get(name) is not None}

    def outs(
        self, props: Mapping[str, Any], remote: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the outputs: what the program sets, with the service's values if given."""
        own = {name: props[name] for name in self.replacing}
        fields = self.given(props)
        return {**own, **(fields if remote is None else values(self.fields, remote, fields))}

    def connected(self, cluster_id: str) -> bool:
        """Return True if the service still manages the cluster, so that there is more to write."""
        cluster = self.api().get_cluster(cluster_id)
        return cluster is not None and not cluster.archived and not cluster.disconnected


class SingleSettingsHandler(RemoteSettingsHandler):
    """Settings that a cluster has once at the service, so that a write may be repeated."""

    part: ClassVar[str]
    """Last part of the resource's id."""

    @abstractmethod
    def fetch(self, cluster_id: str) -> Mapping[str, Any] | None:
        """Return the service's object, or None if the cluster has none."""

    @abstractmethod
    def write(self, props: dict[str, Any]) -> None:
        """Send what the program sets."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Write the settings."""
        self.write(props)
        return CreateResult(f"{props['cluster_id']}/{self.part}", self.outs(props))

    def update(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Write the settings."""
        self.write(news)
        return UpdateResult(self.outs(news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Read the fields that the program sets."""
        remote = self.fetch(props["cluster_id"])
        return GONE if remote is None else ReadResult(id_, self.outs(props, remote))
