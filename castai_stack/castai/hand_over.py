"""The hand-over of access to CAST AI, its way back, and the wait for its effect.

One resource has one URN for keys and roles: they replace each other in an update, so that CAST AI
stays connected.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from castai_stack.castai.provider import LEAVE_NODES, TAKE_OVER, CastaiHandler
from castai_stack.plugin.handler import (
    GONE,
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    Property,
    ReadResult,
    UpdateResult,
    carried,
    differs,
    is_known,
    switched_on,
    unknown,
)
from castai_stack.plugin.run import ResourceError
from castai_stack.plugin.waiting import Wait

if TYPE_CHECKING:
    from castai_stack.castai.model import Cluster, Node


Mode = Literal["user", "role"]

SPREADING_SECONDS = 120
"""How long AWS may take until a new key, role or policy works everywhere."""
NODE_ROLE = "node role"
"""Key of the node role in `objects`; replacing it affects running nodes, not CAST AI's access."""
_ELSEWHERE = "elsewhere"
_HANDED = ("mode", "role_arn", "access_key_id")
_KEPT = ("delete_nodes_on_disconnect", "disconnect_timeout_seconds")
_LEFT = ("deleted", "archived")
_SHOWN_NODES = 5


class HandOverHandler(CastaiHandler):
    """Hands credentials over, notices other credentials, and disconnects."""

    name = "HandOver"
    properties: ClassVar = {
        "cluster_id": Property("string"),
        "mode": Property("string"),
        "role_arn": Property("string", required=False),
        "access_key_id": Property("string", required=False),
        "secret_access_key": Property("string", required=False, in_outputs=False, secret=True),
        "delete_nodes_on_disconnect": Property("boolean"),
        "disconnect_timeout_seconds": Property("integer"),
        "spreading_timeout_seconds": Property("integer", required=False, in_outputs=False),
        "objects": Property("map", required=False, in_outputs=False),
        "credentials_id": Property("string", computed=True),
    }

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse incomplete credentials, and warn of a replacement that interrupts the access."""
        failures = []
        needed = {"role": ("role_arn",), "user": ("access_key_id", "secret_access_key")}
        mode = news.get("mode")
        if mode not in needed:
            failures.append(CheckFailure("mode", f"found {mode!r}; allowed: user, role"))
        failures += [
            CheckFailure(name, f"is needed in {mode} mode and not given")
            for name in needed.get(str(mode), ())
            if not news.get(name)
        ]
        if olds.get("mode") == mode:
            for kind, old, new in _gaps(olds.get("objects") or {}, news.get("objects") or {}):
                meanwhile = (
                    "nodes that run have no working role from then on: have them replaced"
                    if kind == NODE_ROLE
                    else "CAST AI has no access for the moments in between"
                )
                self.run.warn(
                    f"{kind} {old} becomes {new}: AWS allows the name once, so the old one is "
                    f"deleted first and {meanwhile}"
                )
        return CheckResult(news, failures)

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Replace for another cluster only, and never for something that is not known yet."""
        replaces = differs(olds, news, "cluster_id")
        changes = (
            bool(replaces)
            or unknown(news, "cluster_id", "role_arn", "access_key_id")
            or _handed(olds) != _handed(news)
            or any(olds.get(name) != news.get(name) for name in _KEPT)
        )
        return DiffResult(changes=changes, replaces=replaces)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Hand over; the one write here may be repeated without harm."""
        return CreateResult(props["cluster_id"], self._hand_over(props))

    def update(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Hand over again if CAST AI holds other credentials than desired."""
        if _handed(olds) == _handed(news):
            return UpdateResult(_outs(news, olds["credentials_id"]))
        return UpdateResult(self._hand_over(news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Compare the service's credentials id with that of this stack's hand-over.

        The service shows no key, and a new id for each hand-over. Another id therefore means
        another hand-over. The outputs then differ from the inputs, and the next `pulumi up` hands
        over again.
        """
        cluster_id = props["cluster_id"]
        cluster = self.api().get_cluster(cluster_id)
        if cluster is None or cluster.archived:
            return GONE
        handed_over = props.get("credentials_id")
        if cluster.disconnected:
            # The service may still name the credentials that it has stopped to use.
            return ReadResult(id_, {**_outs(props, handed_over or ""), "mode": _ELSEWHERE})
        if handed_over and cluster.credentials_id == handed_over:
            return ReadResult(id_, _outs(props, handed_over))
        if handed_over and not switched_on(TAKE_OVER):
            self.run.info(
                f"Cluster {cluster_id}: CAST AI's credentials are not those that this stack "
                "handed over; the next `pulumi up` hands over again."
            )
            return ReadResult(id_, {**_outs(props, handed_over), "mode": _ELSEWHERE})
        # The hand-over was interrupted, or the operator accepts the credentials as this stack's.
        return ReadResult(id_, {**_outs(props, cluster.credentials_id), "mode": _ELSEWHERE})

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        """Disconnect, and wait until the service has let go.

        The registration removes the cluster itself. The hand-over depends on everything that the
        service needs for a disconnect, so all of that exists until it ends.
        """
        cluster_id = props["cluster_id"]
        seconds = int(props["disconnect_timeout_seconds"])
        delete_nodes = bool(props["delete_nodes_on_disconnect"])
        wait = self.run.wait(f"disconnect of cluster {cluster_id}", seconds)
        cluster = self.api().get_cluster(cluster_id)
        if _has_left(cluster):
            if cluster is not None:
                self._require_none_left_behind(cluster_id)
            return
        if cluster is not None and not cluster.leaving:
            self._require_own_credentials(cluster, props)
            self._require_no_nodes(cluster_id, delete_nodes=delete_nodes)
            self.api().disconnect(cluster_id, delete_nodes=delete_nodes)
        last = wait.until(lambda: self._left(cluster_id, wait))
        if last is None:
            raise ResourceError(
                f"CAST AI has not disconnected cluster {cluster_id} within {seconds} s. Nothing "
                "that it needs has been taken away: run the same command again."
            )
        if delete_nodes:
            self._require_none_left_behind(cluster_id)

    def plan(self, olds: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:
        """Keep the credentials id while nothing new is handed over."""
        planned = super().plan(olds, news)
        if _handed(olds) == _handed(news):
            planned.update(carried(olds, "credentials_id"))
        return planned

    def _hand_over(self, props: dict[str, Any]) -> dict[str, Any]:
        from castai_stack.castai.model import CastaiError  # noqa: PLC0415 - lazy

        wait = self.run.wait(
            f"hand-over of cluster {props['cluster_id']}",
            float(props.get("spreading_timeout_seconds") or SPREADING_SECONDS),
        )

        def attempt() -> str | None:
            try:
                return self._send(props).credentials_id
            except CastaiError as error:
                if not error.refuses_credentials:
                    raise
                refused.append(error)
                wait.say("AWS still spreads the new access")
                return None

        refused: list[CastaiError] = []
        credentials_id = wait.until(attempt)
        if credentials_id is None:
            raise ResourceError(
                f"CAST AI cannot use the {_named(props)} that it was handed, and has tried for "
                f"{wait.seconds:.0f} s: {refused[-1]}. Check its trust policy, external id, "
                "status and permissions boundary."
            ) from None
        return _outs(props, credentials_id)

    def _send(self, props: dict[str, Any]) -> "Cluster":
        cluster_id = props["cluster_id"]
        if props["mode"] == "role":
            return self.api().hand_over_role(cluster_id, props["role_arn"])
        return self.api().hand_over_keys(
            cluster_id, props["access_key_id"], props["secret_access_key"]
        )

    def _require_own_credentials(self, cluster: "Cluster", props: dict[str, Any]) -> None:
        same = cluster.credentials_id == props.get("credentials_id")
        # The same role is the same access, whichever hand-over CAST AI holds.
        same_role = bool(props.get("role_arn")) and cluster.assume_role_arn == props["role_arn"]
        if same or same_role or switched_on(TAKE_OVER):
            return
        raise ResourceError(
            f"Cluster {cluster.id} is connected with credentials that this stack did not hand "
            "over, so it is not disconnected: another user may rely on them. Run `pulumi up` to "
            f"hand over again, or set {TAKE_OVER}=yes for this run to disconnect all the same."
        )

    def _require_no_nodes(self, cluster_id: str, *, delete_nodes: bool) -> None:
        if delete_nodes or switched_on(LEAVE_NODES):
            return
        nodes = self._made_nodes(cluster_id)
        if nodes:
            raise ResourceError(
                f"CAST AI made {_listed(nodes)} of cluster {cluster_id}, and what comes next takes "
                "away the role, profile and mapping that they need. Set "
                "api.deleteNodesOnDisconnect to true and run `pulumi up` before the destroy, or "
                f"delete them first, or set {LEAVE_NODES}=yes for this run to leave them as they "
                "are."
            )

    def _require_none_left_behind(self, cluster_id: str) -> None:
        from castai_stack.castai.model import CastaiError  # noqa: PLC0415 - lazy

        try:
            nodes = self._made_nodes(cluster_id)
        except CastaiError as error:
            self.run.warn(
                f"{error}. `python -m castai_stack audit` looks for nodes that were left behind"
            )
            return
        if nodes and not switched_on(LEAVE_NODES):
            raise ResourceError(
                f"Cluster {cluster_id} is disconnected, and CAST AI left {_listed(nodes)} behind. "
                "What comes next takes away the role, profile and mapping that they need. "
                "Terminate them (`python -m castai_stack audit` lists them) and run again, with "
                f"{LEAVE_NODES}=yes if CAST AI cannot see that they are gone."
            )

    def _made_nodes(self, cluster_id: str) -> "list[Node]":
        return [node for node in self.api().list_nodes(cluster_id) if node.made_by_castai]

    def _left(self, cluster_id: str, wait: Wait) -> bool | None:
        cluster = self.api().get_cluster(cluster_id)
        if _has_left(cluster):
            return True
        if cluster is not None:
            wait.say(f"{cluster.status}, agent {cluster.agent_status}")
            if cluster.agent_status == "disconnected" and not cluster.leaving:
                return True
        return None


def _has_left(cluster: "Cluster | None") -> bool:
    return cluster is None or cluster.status in _LEFT or not cluster.credentials_id


def _handed(props: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what makes two hand-overs equal; the other mode's inputs do not count."""
    mode = props.get("mode")
    counts = {"role": ("role_arn",), "user": ("access_key_id",)}.get(str(mode), ())
    return (mode, *(props.get(name) for name in counts))


def _outs(props: Mapping[str, Any], credentials_id: str) -> dict[str, Any]:
    carried_over = {name: props[name] for name in ("cluster_id", *_HANDED, *_KEPT) if name in props}
    return {**carried_over, "credentials_id": credentials_id}


def _named(props: Mapping[str, Any]) -> str:
    if props["mode"] == "role":
        return f"role {props['role_arn']}"
    return f"access key {props['access_key_id']}"


def _listed(nodes: "list[Node]") -> str:
    names = [node.instance_id or node.name for node in nodes]
    more = f" and {len(names) - _SHOWN_NODES} more" if len(names) > _SHOWN_NODES else ""
    return f"{len(names)} nodes ({', '.join(names[:_SHOWN_NODES])}{more})"


def _gaps(olds: Mapping[str, Any], news: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Objects that keep their name and change their path, which AWS cannot have side by side."""
    return [
        (kind, olds[kind], path)
        for kind, path in news.items()
        if is_known(olds.get(kind))
        and is_known(path)
        and olds[kind] != path
        and olds[kind].rpartition("/")[2] == path.rpartition("/")[2]
    ]
