"""Registration of the cluster at CAST AI; names of AWS objects depend on its id."""

from typing import Any, ClassVar

from castai_stack.castai.provider import TAKE_OVER, CastaiHandler
from castai_stack.plugin.handler import (
    GONE,
    CreateResult,
    DiffResult,
    Property,
    ReadResult,
    UpdateResult,
    carried,
    differs,
    switched_on,
)
from castai_stack.plugin.run import ResourceError
from castai_stack.plugin.waiting import Wait

_LEAVE_SECONDS = 900
"""As long as castai/terraform-provider-castai waits (castai/cluster.go)."""
_GONE = "gone"


class ClusterRegistrationHandler(CastaiHandler):
    """Registers the cluster, and removes it after the hand-over has disconnected it.

    A cluster that was disconnected outside of this stack is registered again in place: the service
    keeps its id, so that no name changes.
    """

    name = "ClusterRegistration"
    properties: ClassVar = {
        "cluster_name": Property("string"),
        "region": Property("string"),
        "account_id": Property("string"),
        "organization_id": Property("string", required=False),
        "revive_archived": Property("boolean", required=False, in_outputs=False),
        "disconnected": Property("boolean", computed=True),
    }

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Replace for another cluster or organization; update a disconnected cluster."""
        replaces = differs(olds, news, "cluster_name", "region", "account_id", "organization_id")
        disconnected = bool(olds.get("disconnected"))
        if disconnected and not replaces:
            self.run.warn(
                f"Cluster {id_} is disconnected at CAST AI; `pulumi up` registers it again under "
                "this id and hands the credentials over again. To leave it disconnected, run "
                "`pulumi destroy` instead."
            )
        return DiffResult(changes=bool(replaces) or disconnected, replaces=replaces)

    def plan(self, olds: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:
        """Expect the organization of before, and a connected cluster."""
        planned = super().plan(olds, news)
        return {**carried(olds, "organization_id"), **planned, "disconnected": False}

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Register; the service returns the same id for the same cluster."""
        wanted = (props["cluster_name"], props["region"], props["account_id"])
        organization = props.get("organization_id")
        cluster = self.api().register(*wanted, organization_id=organization)
        if cluster.archived and props.get("revive_archived"):
            cluster = self.api().register(
                *wanted, organization_id=organization, cluster_id=cluster.id
            )
        if cluster.archived:
            advice = (
                "It stays archived although this program asked for it again; "
                "remove it in the console, or ask CAST AI's support."
                if props.get("revive_archived")
                else "Set api.reviveArchived to true to take it up again."
            )
            raise ResourceError(
                f"CAST AI holds cluster {wanted[0]} ({wanted[1]}, account {wanted[2]}) "
                f"as archived, under id {cluster.id}. {advice}"
            )
        return CreateResult(
            cluster.id,
            {
                "cluster_name": wanted[0],
                "region": wanted[1],
                "account_id": wanted[2],
                "organization_id": cluster.organization_id,
                "disconnected": False,
            },
        )

    def update(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Register a disconnected cluster again, after a disconnect that is under way."""
        wait = self.run.wait(f"disconnect of cluster {id_}", _LEAVE_SECONDS)
        if wait.until(lambda: self._has_left(id_, wait)) is None:
            raise ResourceError(
                f"CAST AI has not finished the disconnect of cluster {id_} within "
                f"{_LEAVE_SECONDS} s; it is registered again only afterwards. Run the same command "
                "again; if it keeps waiting, look at the cluster in the console."
            )
        result = self.create({**news, "organization_id": olds.get("organization_id")})
        if result.id != id_:
            raise ResourceError(
                f"CAST AI has removed cluster {id_} and registers it as {result.id}. Run `pulumi "
                "refresh`, then `pulumi up`, which replaces what depends on the id."
            )
        return UpdateResult(result.outs)

    def _has_left(self, cluster_id: str, wait: Wait) -> bool | None:
        cluster = self.api().get_cluster(cluster_id)
        if cluster is None or not cluster.leaving:
            return True
        wait.say(cluster.status)
        return None

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Report an archived cluster as gone, and note a disconnect outside of this stack."""
        cluster = self.api().get_cluster(id_)
        if cluster is None or cluster.archived:
            return GONE
        if cluster.disconnected:
            self.run.info(
                f"Cluster {id_} is disconnected at CAST AI (status {cluster.status}); the next "
                "`pulumi up` registers it again, `pulumi destroy` removes it."
            )
        return ReadResult(
            id_,
            {
                "cluster_name": props.get("cluster_name") or cluster.name,
                "region": props.get("region") or cluster.region,
                "account_id": props.get("account_id") or cluster.account_id,
                "organization_id": cluster.organization_id,
                "disconnected": cluster.disconnected,
            },
        )

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        """Remove the cluster from the service.

        The order of questions is that of castai/terraform-provider-castai (castai/cluster.go),
        except that credentials which this stack did not hand over stay connected.
        """
        wait = self.run.wait(f"removal of cluster {id_} from CAST AI", _LEAVE_SECONDS)
        if wait.until(lambda: self._try_to_leave(id_, wait)) is None:
            raise ResourceError(
                f"CAST AI has not let go of cluster {id_} within {_LEAVE_SECONDS} s. "
                "Run the same command again; if it keeps waiting, look at the cluster in the "
                "console."
            )

    def _try_to_leave(self, cluster_id: str, wait: Wait) -> str | None:
        from castai_stack.castai.model import BAD_REQUEST, CastaiError  # noqa: PLC0415 - lazy

        cluster = self.api().get_cluster(cluster_id)
        if cluster is None or cluster.archived:
            return _GONE
        if cluster.leaving:
            wait.say(cluster.status)
            return None
        free = not cluster.credentials_id or cluster.status in ("deleted", "failed")
        if free or cluster.agent_status == "disconnected":
            try:
                self.api().delete_cluster(cluster_id)
            except CastaiError as error:
                if error.status != BAD_REQUEST:
                    raise
            else:
                return _GONE
        if not switched_on(TAKE_OVER):
            raise ResourceError(
                f"Cluster {cluster_id} is still connected with credentials that this stack does "
                "not know of, so they are not this stack's to disconnect. Disconnect it in the "
                f"console, or set {TAKE_OVER}=yes for this run if they are yours."
            )
        self.api().disconnect(cluster_id, delete_nodes=False)
        wait.say("disconnect asked for")
        return None
