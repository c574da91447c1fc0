"""The endpoints of CAST AI's API that say which nodes it adds and removes.

Paths and fields are those of the public Terraform provider (castai/terraform-provider-castai,
castai/sdk/client.gen.go, castai/sdk/cluster_autoscaler_v2 and castai/sdk/workload_eviction).
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from castai_stack.castai.client import CastaiApi, items
from castai_stack.castai.model import CastaiError

_CLUSTERS = "/v1/kubernetes/clusters"
_AUTOSCALER = "/cluster-autoscaler/v2/clusters"
_EVICTION = "/workload-eviction/v1/clusters"


class AutomationApi(CastaiApi):
    """Node configurations, node templates, autoscaler policies and the evictor's configuration.

    Objects are returned as the service sends them. Every method raises CastaiError.
    """

    def node_configurations(self, cluster_id: str) -> list[Mapping[str, Any]]:
        """Every node configuration of the cluster."""
        action = f"list the node configurations of cluster {cluster_id}"
        return items(self._call("GET", _configurations(cluster_id), action=action), action)

    def node_configuration(self, cluster_id: str, id_: str) -> Mapping[str, Any] | None:
        """Return a node configuration, or None when there is none with that id."""
        action = f"read node configuration {id_} of cluster {cluster_id}"
        return self._present(_configurations(cluster_id, id_), action)

    def create_node_configuration(
        self, cluster_id: str, body: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Create a node configuration; one of the same name is overwritten."""
        action = f"create node configuration {body['name']} of cluster {cluster_id}"
        answer = self._call("POST", _configurations(cluster_id), action=action, body=body)
        if not answer.get("id"):
            raise CastaiError(action, message="the answer holds no id")
        return answer

    def update_node_configuration(
        self, cluster_id: str, id_: str, body: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Change a node configuration; a field that the body leaves out stays as it is."""
        action = f"update node configuration {id_} of cluster {cluster_id}"
        return self._call("POST", _configurations(cluster_id, id_), action=action, body=body)

    def make_node_configuration_default(self, cluster_id: str, id_: str) -> None:
        """Make it the cluster's default node configuration."""
        action = f"make node configuration {id_} the default of cluster {cluster_id}"
        self._call("POST", _configurations(cluster_id, id_, "default"), action=action)

    def delete_node_configuration(self, cluster_id: str, id_: str) -> None:
        """Delete a node configuration; a missing one is no error, the default one is refused."""
        action = f"delete node configuration {id_} of cluster {cluster_id}"
        try:
            self._call("DELETE", _configurations(cluster_id, id_), action=action)
        except CastaiError as error:
            if not error.not_found:
                raise

    def policies(self, cluster_id: str) -> Mapping[str, Any] | None:
        """Return the autoscaler policies (V2), or None while the cluster has none."""
        return self._present(
            f"{_AUTOSCALER}/{quote(cluster_id, safe='')}/policies",
            f"read the autoscaler policies of cluster {cluster_id}",
        )

    def update_policies(self, cluster_id: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Change the policies (V2); `version` is that of the last read, and changes with it.

        It is not repeated after a lost answer, because the version of the body is stale then.
        """
        return self._call(
            "PATCH",
            f"{_AUTOSCALER}/{quote(cluster_id, safe='')}/policies",
            action=f"update the autoscaler policies of cluster {cluster_id}",
            body=body,
            repeat=False,
        )

    def policies_v1(self, cluster_id: str) -> Mapping[str, Any] | None:
        """Return the deprecated policies (V1), which the service stores beside those of V2."""
        return self._present(
            f"{_CLUSTERS}/{quote(cluster_id, safe='')}/policies",
            f"read the deprecated policies (V1) of cluster {cluster_id}",
        )

    def node_templates(self, cluster_id: str) -> list[Mapping[str, Any]]:
        """Every node template of the cluster, the default one among them."""
        action = f"list the node templates of cluster {cluster_id}"
        answer = self._present(_templates(cluster_id), action, {"includeDefault": "true"})
        return [item.get("template") or {} for item in items(answer or {}, action)]

    def node_template(self, cluster_id: str, name: str) -> Mapping[str, Any] | None:
        """Return a node template, or None when there is none of that name."""
        templates = self.node_templates(cluster_id)
        return next((one for one in templates if one.get("name") == name), None)

    def update_node_template(
        self, cluster_id: str, name: str, body: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Change a node template."""
        action = f"update node template {name} of cluster {cluster_id}"
        return self._call("PUT", _templates(cluster_id, name), action=action, body=body)

    def evictor(self, cluster_id: str) -> Mapping[str, Any] | None:
        """Return the evictor's configuration (V2), or None while the cluster has none."""
        return self._present(
            f"{_EVICTION}/{quote(cluster_id, safe='')}/config",
            f"read the evictor's configuration of cluster {cluster_id}",
        )

    def evictor_rules(self, cluster_id: str) -> int:
        """Return the number of the evictor's rules for single workloads."""
        answer = self._present(
            f"{_EVICTION}/{quote(cluster_id, safe='')}/advanced-config",
            f"read the evictor's rules of cluster {cluster_id}",
        )
        return len((answer or {}).get("evictionConfig") or [])

    def update_evictor(self, cluster_id: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Change the evictor's configuration (V2)."""
        return self._call(
            "PATCH",
            f"{_EVICTION}/{quote(cluster_id, safe='')}/config",
            action=f"update the evictor's configuration of cluster {cluster_id}",
            body=body,
        )

    def _present(
        self, path: str, action: str, query: Mapping[str, str] | None = None
    ) -> Mapping[str, Any] | None:
        try:
            return self._call("GET", path, action=action, query=query)
        except CastaiError as error:
            if error.not_found:
                return None
            raise


def _configurations(cluster_id: str, *rest: str) -> str:
    return _under(cluster_id, "node-configurations", *rest)


def _templates(cluster_id: str, *rest: str) -> str:
    return _under(cluster_id, "node-templates", *rest)


def _under(cluster_id: str, *rest: str) -> str:
    return "/".join((_CLUSTERS, *(quote(part, safe="") for part in (cluster_id, *rest))))
