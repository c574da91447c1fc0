"""A node configuration: how CAST AI's new nodes look, as data and as a resource.

Fields, defaults and the traps in comparing them are those of castai/terraform-provider-castai
(castai/resource_node_configuration.go and castai/resource_node_configuration_default.go).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from castai_stack.castai.remote_fields import (
    Fields,
    RemoteField,
    body,
    canonical,
    change_text,
    differences,
    ordered,
    tag_list,
    tag_map,
    values,
)
from castai_stack.castai.remote_settings import RemoteSettingsHandler
from castai_stack.plugin.handler import (
    GONE,
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


def image_family(name: str) -> str:
    """Return an image family in the spelling of the settings.

    The service has written them as `FAMILY_AL2023`, `family_al2023` and `al2023`.
    """
    return name.lower().removeprefix("family_")


FIELDS: Fields = {
    "subnet_ids": RemoteField("subnets", read=ordered),
    "security_group_ids": RemoteField("eks.securityGroups", read=ordered),
    "instance_profile_arn": RemoteField("eks.instanceProfileArn"),
    "disk_gib": RemoteField("minDiskSize", absent=100),
    "volume_type": RemoteField("eks.volumeType", read=str.lower, absent="gp3"),
    "kms_key_arn": RemoteField("eks.volumeKmsKeyArn"),
    "image_family": RemoteField(
        "eks.imageFamily", send=lambda name: f"FAMILY_{name.upper()}", read=image_family
    ),
    "imds_v1": RemoteField("eks.imdsV1", absent=True),
    "imds_hop_limit": RemoteField("eks.imdsHopLimit", absent=2),
    "max_pods_formula": RemoteField("eks.maxPodsPerNodeFormula"),
    "tags": RemoteField("tags", send=tag_map, read=tag_list, absent=[]),
}
_STAYS = ("kms_key_arn", "max_pods_formula")
"""Fields without a value that means nothing: an update that leaves one out does not clear it."""


class NodeConfigurationHandler(RemoteSettingsHandler):
    """The cluster's default node configuration; an existing one of the name is taken over.

    The service refuses to delete its default one, which therefore stays when the resource goes.
    """

    name = "NodeConfiguration"
    fields = FIELDS
    replacing = ("cluster_id", "name")
    properties: ClassVar = {
        "cluster_id": Property("string"),
        "name": Property("string"),
        "subnet_ids": Property("strings"),
        "security_group_ids": Property("strings"),
        "instance_profile_arn": Property("string"),
        "disk_gib": Property("integer"),
        "volume_type": Property("string"),
        "kms_key_arn": Property("string", required=False),
        "image_family": Property("string"),
        "imds_v1": Property("boolean"),
        "imds_hop_limit": Property("integer"),
        "max_pods_formula": Property("string", required=False),
        "tags": Property("objects"),
        "is_default": Property("boolean", computed=True),
    }

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse what an update cannot do, and show what a take-over changes."""
        news = canonical(news)
        same = olds.get("name") == news.get("name")
        failures = [
            CheckFailure(
                name,
                "was set and is not any more; CAST AI keeps a field that an update leaves out. "
                "Give another value, or another automation.nodes.name for a new configuration",
            )
            for name in _STAYS
            if same and olds.get(name) is not None and news.get(name) is None
        ]
        if not olds and is_known(news.get("cluster_id")):
            self._announce(news)
        return CheckResult(news, failures)

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Also notice that another configuration has become the default one."""
        result = super().diff(id_, olds, news)
        changes = result.changes or not olds.get("is_default", True)
        return DiffResult(changes=changes, replaces=result.replaces)

    def plan(self, olds: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:
        """Expect it to be the default one."""
        return {**super().plan(olds, news), "is_default": True}

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Create it, or take over the one of the name; every write may be repeated."""
        cluster_id = props["cluster_id"]
        existing = self._of_name(cluster_id, props["name"])
        if existing is None:
            existing = self.automation().create_node_configuration(
                cluster_id, {"name": props["name"], **body(FIELDS, props)}
            )
            id_ = str(existing["id"])
        else:
            id_ = str(existing["id"])
            self._change(cluster_id, id_, existing, props)
        self._make_default(cluster_id, id_, existing)
        return CreateResult(id_, {**self.outs(props), "is_default": True})

    def update(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Send the fields that are set, if the service has other ones."""
        cluster_id = news["cluster_id"]
        existing = self.automation().node_configuration(cluster_id, id_)
        if existing is None:
            raise ResourceError(
                f"CAST AI has no node configuration {id_} ({news['name']}) of cluster "
                f"{cluster_id} any more. Run `pulumi refresh`, then `pulumi up` creates it again."
            )
        self._change(cluster_id, id_, existing, news)
        self._make_default(cluster_id, id_, existing)
        return UpdateResult({**self.outs(news), "is_default": True})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Read the fields that the program sets."""
        existing = self.automation().node_configuration(props["cluster_id"], id_)
        if existing is None:
            return GONE
        return ReadResult(
            id_,
            {**self.outs(props, existing), "is_default": bool(existing.get("default"))},
        )

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        """Delete it, unless it is the default one: the service keeps that."""
        cluster_id = props["cluster_id"]
        existing = self.automation().node_configuration(cluster_id, id_)
        if existing is None:
            return
        if existing.get("default"):
            self.run.info(
                f"Node configuration {props['name']} is the default one of cluster {cluster_id}, "
                "which CAST AI does not delete: it stays there as it is."
            )
            return
        self.automation().delete_node_configuration(cluster_id, id_)

    def _of_name(self, cluster_id: str, name: str) -> Mapping[str, Any] | None:
        configurations = self.automation().node_configurations(cluster_id)
        return next((one for one in configurations if one.get("name") == name), None)

    def _change(
        self, cluster_id: str, id_: str, existing: Mapping[str, Any], props: dict[str, Any]
    ) -> None:
        if differences(FIELDS, values(FIELDS, existing), props):
            self.automation().update_node_configuration(cluster_id, id_, body(FIELDS, props))

    def _make_default(self, cluster_id: str, id_: str, existing: Mapping[str, Any]) -> None:
        if not existing.get("default"):
            self.automation().make_node_configuration_default(cluster_id, id_)

    def _announce(self, news: dict[str, Any]) -> None:
        """Say what a take-over changes; a preview goes on when the service does not answer."""
        from castai_stack.castai.model import CastaiError  # noqa: PLC0415 - lazy

        try:
            existing = self._of_name(news["cluster_id"], news["name"])
        except CastaiError as error:
            self.run.warn(f"Whether node configuration {news['name']} exists is not known: {error}")
            return
        if existing is None:
            return
        changes = differences(FIELDS, values(FIELDS, existing), news)
        self.run.warn(
            f"Node configuration {news['name']} exists at CAST AI and is taken over. "
            + (f"It changes {change_text(changes)}" if changes else "It stays as it is")
            + "; fields that this program does not set stay as they are."
        )
