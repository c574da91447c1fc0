"""The endpoints that set and serve automation: policies, nodes, evictor, actions.

Paths: castai/sdk/ of castai/terraform-provider-castai; for actions internal/castai/client.go of
castai/cluster-controller.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Request

from sandbox.castai.actions import Actions
from sandbox.castai.api import Document, RefusalError, Route, invalid, require_fields, required
from sandbox.castai.cloud import NoAccessError
from sandbox.castai.evictor import Evictor
from sandbox.castai.node_configurations import NodeConfigurations
from sandbox.castai.node_templates import NodeTemplates
from sandbox.castai.policies import Policies

if TYPE_CHECKING:
    from sandbox.castai.service import Service
    from sandbox.castai.state import Cluster

_ONE = r"/v1/kubernetes/clusters/(?P<id>[^/]+)"
_CONFIGURATION = rf"{_ONE}/node-configurations/(?P<name>[^/]+)"
_TEMPLATE = rf"{_ONE}/node-templates/(?P<name>[^/]+)"
_POLICIES_V2 = r"/cluster-autoscaler/v2/clusters/(?P<id>[^/]+)/policies"
_EVICTOR = r"/workload-eviction/v1/clusters/(?P<id>[^/]+)"
_NODE = r"/v1/kubernetes/external-clusters/(?P<id>[^/]+)/nodes/(?P<name>[^/]+)"

ROUTES = (
    Route("DELETE", _NODE, "DeleteNode", token=False),
    Route("GET", _POLICIES_V2, "GetPoliciesV2", token=False),
    Route("PATCH", _POLICIES_V2, "UpdatePoliciesV2", token=False),
    Route("GET", f"{_ONE}/policies", "GetPolicies", token=False),
    Route("PUT", f"{_ONE}/policies", "UpdatePolicies", token=False),
    Route("GET", f"{_ONE}/node-configurations", "ListNodeConfigurations", token=False),
    Route("POST", f"{_ONE}/node-configurations", "CreateNodeConfiguration", token=False),
    Route("GET", f"{_ONE}/node-configurations/suggestions", "GetSuggestions", token=False),
    Route("GET", _CONFIGURATION, "GetNodeConfiguration", token=False),
    Route("POST", _CONFIGURATION, "UpdateNodeConfiguration", token=False),
    Route("DELETE", _CONFIGURATION, "DeleteNodeConfiguration", token=False),
    Route("POST", f"{_CONFIGURATION}/default", "SetDefaultNodeConfiguration", token=False),
    Route("GET", f"{_ONE}/node-templates", "ListNodeTemplates", token=False),
    Route("POST", f"{_ONE}/node-templates", "CreateNodeTemplate", token=False),
    Route("PUT", _TEMPLATE, "UpdateNodeTemplate", token=False),
    Route("DELETE", _TEMPLATE, "DeleteNodeTemplate", token=False),
    Route("GET", f"{_EVICTOR}/config", "GetEvictorConfig", token=False),
    Route("PATCH", f"{_EVICTOR}/config", "UpdateEvictorConfig", token=False),
    Route("GET", f"{_EVICTOR}/advanced-config", "GetEvictorRules", token=False),
    Route("PATCH", f"{_EVICTOR}/advanced-config", "UpdateEvictorRules", token=False),
    Route("GET", f"{_ONE}/actions", "ListActions", token=True),
    Route("POST", f"{_ONE}/actions/logs", "SendActionLog", token=True),
    Route("POST", rf"{_ONE}/actions/(?P<name>[^/]+)/ack", "AckAction", token=True),
)
REPORTS = ("SendActionLog", "AckAction")
"""Reports that the controller sends by itself."""


@dataclass
class Automation:
    """What is set and under way for one cluster."""

    policies: Policies = field(default_factory=Policies)
    configurations: NodeConfigurations = field(default_factory=NodeConfigurations)
    templates: NodeTemplates = field(default_factory=NodeTemplates)
    evictor: Evictor = field(default_factory=Evictor)
    actions: Actions = field(default_factory=Actions)


@dataclass(frozen=True)
class Call:
    """A request for one cluster; `name` is the last part of its path that differs."""

    service: "Service"
    cluster: "Cluster"
    name: str
    body: Document
    request: Request

    @property
    def automation(self) -> Automation:
        """The cluster's automation."""
        return self.cluster.automation


def answer(
    service: "Service", action: str, path: Mapping[str, str], body: Document, request: Request
) -> tuple[int, Any]:
    """Carry out an action of `ROUTES`."""
    cluster = service.live(path["id"])
    call = Call(service, cluster, path.get("name", ""), body, request)
    if action == "ListActions":  # waits, so it must not hold the lock
        return 200, {"items": cluster.automation.actions.poll(service.options.poll_hold)}
    if action == "GetSuggestions":
        try:
            return 200, service.suggestions(cluster)
        except NoAccessError as error:
            raise RefusalError(400, f"cannot look into the account: {error}") from None
    with service.lock:
        return 200, _HANDLERS[action](call)


def _update_policies(call: Call) -> Document:
    stored = call.automation.policies.patch(call.body)
    call.service.note(call.cluster, f"policies written, version {stored['version']}")
    call.service.later(call.service.options.template_delay, call.automation.templates.add_default)
    return stored


def _write_configuration(call: Call) -> Document:
    configurations = call.automation.configurations
    if call.name:
        stored = configurations.update(call.name, call.body)
    else:
        stored = configurations.create(call.body)
    call.service.note(call.cluster, f"node configuration {stored['name']} written")
    return stored


def _delete_configuration(call: Call) -> Document:
    if call.automation.templates.uses(call.name):
        raise RefusalError(400, "node configuration is used by a node template")
    call.automation.configurations.delete(call.name)
    return {}


def _set_default(call: Call) -> Document:
    require_fields(call.body)
    return call.automation.configurations.set_default(call.name)


def _write_template(call: Call) -> Document:
    templates = call.automation.templates
    if identifier := call.body.get("configurationId"):
        call.automation.configurations.get(identifier)
    if call.name:
        return templates.replace(call.name, call.body)
    return templates.create(call.body)


def _list_templates(call: Call) -> Document:
    require_fields(dict(call.request.args), "includeDefault")
    with_default = call.request.args.get("includeDefault") == "true"
    return {"items": call.automation.templates.every(with_default=with_default)}


def _delete_template(call: Call) -> Document:
    call.automation.templates.delete(call.name)
    return {}


def _delete_node(call: Call) -> Document:
    require_fields(call.body)
    call.service.autoscaler.delete_node(call.cluster, call.name)
    return {"operationId": str(uuid.uuid4())}


def _acknowledge(call: Call) -> Document:
    error = require_fields(call.body, "error").get("error")
    if not isinstance(error, str | None):
        raise invalid("error", "must be a text or null")
    call.automation.actions.acknowledge(call.name, error or "")
    return {}


def _log(call: Call) -> Document:
    require_fields(call.body, "level", "time", "message", "fields")
    level, message = required(call.body, "level", str), required(call.body, "message", str)
    call.service.note(call.cluster, f"controller: {level} {message}")
    return {}


_HANDLERS: Mapping[str, Callable[[Call], Document]] = {
    "GetPoliciesV2": lambda call: call.automation.policies.get(),
    "UpdatePoliciesV2": _update_policies,
    "GetPolicies": lambda call: call.automation.policies.get_v1(),
    "UpdatePolicies": lambda call: call.automation.policies.put_v1(call.body),
    "ListNodeConfigurations": lambda call: {"items": call.automation.configurations.every()},
    "CreateNodeConfiguration": _write_configuration,
    "GetNodeConfiguration": lambda call: call.automation.configurations.get(call.name),
    "UpdateNodeConfiguration": _write_configuration,
    "DeleteNodeConfiguration": _delete_configuration,
    "SetDefaultNodeConfiguration": _set_default,
    "ListNodeTemplates": _list_templates,
    "CreateNodeTemplate": _write_template,
    "UpdateNodeTemplate": _write_template,
    "DeleteNodeTemplate": _delete_template,
    "GetEvictorConfig": lambda call: call.automation.evictor.get(),
    "UpdateEvictorConfig": lambda call: call.automation.evictor.patch(call.body),
    "GetEvictorRules": lambda call: call.automation.evictor.get_rules(),
    "UpdateEvictorRules": lambda call: call.automation.evictor.patch_rules(call.body),
    "DeleteNode": _delete_node,
    "SendActionLog": _log,
    "AckAction": _acknowledge,
}
