"""The API over HTTP: strict about paths and fields, and about whose key it is shown.

`/_sandbox/state` shows everything but secrets, `/_sandbox/secrets` every token that was ever made,
to search for them; `POST /_sandbox/clusters/{id}/nodes`, `/use`, `/archive` and `/status` make the
service do what it would do of itself. Faults and the request log are those
of `sandbox.serving.faults`.
"""

import gzip
import json
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from werkzeug.wrappers import Request, Response

from sandbox.castai import automation
from sandbox.castai.api import RefusalError, Route, invalid, require_fields, required
from sandbox.castai.cloud import Credentials, Keys, principal_arn
from sandbox.castai.service import Service
from sandbox.castai.state import Options
from sandbox.serving import http_server
from sandbox.serving.faults import Call, Faults, Refusal, UnclassifiedError
from sandbox.serving.http_server import Server

API_KEY = "castai-sandbox-full-access"
"""Key of an operator; the sandbox is on loopback and holds nothing, so it is no secret."""
VIEWER_KEY = "castai-sandbox-view-only"

_CLUSTERS = "/v1/kubernetes/external-clusters"
_ONE = rf"{_CLUSTERS}/(?P<id>[^/]+)"
_AGENT = r"/v1/kubernetes/clusters/(?P<id>[^/]+)/agent"
_OTHER_PROVIDERS = (
    "gke", "kops", "aks", "openshift", "anywhere", "self_hosted_with_ec2_nodes",
)  # fmt: skip
"""Fields that the agent sends as null when it registers an EKS cluster."""
_FULL, _VIEWER, _CLUSTER = "api-key", "viewer-key", "cluster-token"


_ROUTES = (
    Route("GET", r"/v1/auth/tokens", "ListAuthTokens", token=False),
    Route("GET", r"/v1/me", "GetMe", token=True),
    Route("GET", _CLUSTERS, "ListClusters", token=False),
    Route("POST", _CLUSTERS, "RegisterCluster", token=True),
    Route("GET", _ONE, "GetCluster", token=True),
    Route("POST", _ONE, "UpdateCluster", token=False),
    Route("DELETE", _ONE, "DeleteCluster", token=False),
    Route("POST", f"{_ONE}/token", "CreateToken", token=False),
    Route("GET", f"{_ONE}/assume-role-principal", "GetPrincipal", token=False),
    Route("POST", f"{_ONE}/assume-role-principal", "CreatePrincipal", token=False),
    Route("DELETE", f"{_ONE}/assume-role-principal", "DeletePrincipal", token=False),
    Route("GET", f"{_ONE}/assume-role-user", "GetPrincipal", token=False),
    Route("POST", f"{_ONE}/reconcile", "Reconcile", token=False),
    Route("POST", f"{_ONE}/disconnect", "Disconnect", token=False),
    Route("POST", f"{_ONE}/events", "SendEvent", token=True),
    Route("GET", f"{_ONE}/nodes", "ListNodes", token=True),
    Route("POST", f"{_AGENT}-deltas", "SendDelta", token=True),
    Route("POST", f"{_AGENT}-config", "SendAgentConfig", token=True),
    Route("POST", f"{_AGENT}-logs", "SendAgentLog", token=True),
    *automation.ROUTES,
)
_ACTIONS_OF_NO_EFFECT = re.compile(r"^(Get|List)")
_REPORTS = ("SendDelta", "SendAgentConfig", "SendAgentLog", *automation.REPORTS)
"""Reports that agent and controller send by themselves; they count as no write of a run."""
_EVENT_TYPES = ("interrupted", "rebalanceRecommendation")


@dataclass(frozen=True)
class CastaiServer:
    """The running service; `close` ends it."""

    url: str
    service: Service
    faults: Faults
    _server: Server

    def close(self) -> None:
        """Stop answering, then stop working."""
        self._server.close()
        self.service.close()


def serve(
    directory: Path, aws_url: str, port: int = 0, options: Options | None = None
) -> CastaiServer:
    """Serve on loopback; `castai.log` in `directory` tells what the service did."""
    directory.mkdir(parents=True, exist_ok=True)
    service = Service(directory, aws_url, options or Options())
    faults = Faults(_Api(service), _classifier(service), _render)
    try:
        server = http_server.serve(faults, port)
    except http_server.PortInUseError:
        service.close()
        raise
    return CastaiServer(server.url, service, faults, server)


def _classifier(service: Service) -> Callable[[dict[str, Any], bytes], Call]:
    def classify(environ: dict[str, Any], _body: bytes) -> Call:
        request = Request(environ)
        route, _ = _route(request)
        if route is None:
            raise UnclassifiedError(f"{request.method} {request.path}: no such endpoint")
        reads = _ACTIONS_OF_NO_EFFECT.match(route.action) is not None
        write = not reads and route.action not in _REPORTS
        return Call("castai", route.action, write, _who(service, request)[0])

    return classify


def _render(_environ: dict[str, Any], call: Call | None, refusal: Refusal) -> Response:
    if call is None:
        return _json(404, {"message": refusal.message, "fieldViolations": []})
    status = 429 if refusal.throttled else refusal.status
    return _json(status, {"message": refusal.message, "fieldViolations": []})


def _route(request: Request) -> tuple[Route | None, dict[str, str]]:
    for route in _ROUTES:
        match = re.fullmatch(route.pattern, request.path)
        if match is not None and route.method == request.method:
            return route, match.groupdict()
    return None, {}


def _who(service: Service, request: Request) -> tuple[str, str]:
    """Kind of key shown, and the cluster that it is limited to."""
    key = request.headers.get("X-Api-Key", "")
    if key == API_KEY:
        return _FULL, ""
    if key == VIEWER_KEY:
        return _VIEWER, ""
    cluster_id = service.cluster_of_token(key) if key else None
    return (_CLUSTER, cluster_id) if cluster_id else ("", "")


class _Api:
    def __init__(self, service: Service) -> None:
        self._service = service

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        return self._answer(Request(environ))(environ, start_response)

    def _answer(self, request: Request) -> Response:
        try:
            if request.path.startswith("/_sandbox/"):
                return self._control(request)
            status, value = self._endpoint(request)
        except RefusalError as refusal:
            violations = [{"field": f, "description": d} for f, d in refusal.violations]
            return _json(
                refusal.status, {"message": refusal.message, "fieldViolations": violations}
            )
        return _json(status, value)

    def _endpoint(self, request: Request) -> tuple[int, Any]:
        route, path = _route(request)
        if route is None:
            raise RefusalError(404, f"{request.method} {request.path}: no such endpoint")
        cluster_id = path.get("id", "")
        self._authorise(request, route, cluster_id)
        body = _body(request)
        if route.action in _HANDLERS:
            return _HANDLERS[route.action](self._service, cluster_id, body, request)
        return automation.answer(self._service, route.action, path, body, request)

    def _authorise(self, request: Request, route: Route, cluster_id: str) -> None:
        kind, limited_to = _who(self._service, request)
        if not kind:
            raise RefusalError(401, "Unauthorized")
        reads = _ACTIONS_OF_NO_EFFECT.match(route.action) is not None
        allowed = (
            kind == _FULL
            or (kind == _VIEWER and reads)
            or (kind == _CLUSTER and route.token and cluster_id in ("", limited_to))
        )
        if not allowed:
            raise RefusalError(403, f"the {kind} may not do this")

    def _control(self, request: Request) -> Response:
        if request.path == "/_sandbox/state" and request.method == "GET":
            return _json(200, self._service.state())
        if request.path == "/_sandbox/secrets" and request.method == "GET":
            return _json(200, self._service.made_tokens)
        match = re.fullmatch(
            r"/_sandbox/clusters/(?P<id>[^/]+)/(?P<what>nodes|use|archive|status)", request.path
        )
        if match is None or request.method != "POST":
            raise RefusalError(404, f"{request.method} {request.path}: no such control")
        cluster_id = match["id"]
        if match["what"] == "use":
            return _json(200, {"access": self._service.use(self._service.get(cluster_id))})
        if match["what"] == "archive":
            self._service.archive(cluster_id)
            return _json(200, {})
        if match["what"] == "status":
            body = require_fields(_body(request), "status", "reconcileError")
            self._service.play(cluster_id, body["status"], body.get("reconcileError", ""))
            return _json(200, {})
        body = require_fields(_body(request), "count", "subnetId", "instanceProfile")
        instances = [
            self._service.launch_node(
                cluster_id, body.get("subnetId", ""), body.get("instanceProfile", "")
            )
            for _ in range(body.get("count", 1))
        ]
        return _json(200, {"instanceIds": instances})


_Answer = tuple[int, Any]


def _list_tokens(_service: Service, _id: str, _body: Any, _request: Request) -> _Answer:
    return 200, {"items": []}


def _me(_service: Service, _id: str, _body: Any, _request: Request) -> _Answer:
    return 200, {"name": "sandbox"}


def _list(service: Service, _id: str, _body: Any, _request: Request) -> _Answer:
    live = [one for one in service.clusters.values() if one.status != "archived"]
    return 200, {"items": [service.document(one) for one in live]}


def _register(service: Service, _id: str, body: dict[str, Any], request: Request) -> _Answer:
    nulls = {name for name in _OTHER_PROVIDERS if name in body and body[name] is None}
    require_fields(body, "name", "eks", "organizationId", "id", "castware_install_method", *nulls)
    eks = require_fields(required(body, "eks", dict), "accountId", "region", "clusterName")
    account = required(eks, "accountId", str, "eks.accountId")
    if re.fullmatch(r"\d{12}", account) is None:
        raise invalid("eks.accountId", "must have twelve digits")
    name = required(body, "name", str)
    if required(eks, "clusterName", str, "eks.clusterName") != name:
        raise invalid("eks.clusterName", "must be the cluster's name")
    region = required(eks, "region", str, "eks.region")
    kind, limited_to = _who(service, request)
    if kind == _CLUSTER and not service.is_identity(limited_to, (name, region, account)):
        raise RefusalError(403, f"the {kind} may not register another cluster")
    cluster = service.register(
        name, region, account, body.get("organizationId", ""), body.get("id", "")
    )
    return 200, service.document(cluster)


def _get(service: Service, cluster_id: str, _body: Any, _request: Request) -> _Answer:
    return 200, service.document(service.get(cluster_id))


def _update(service: Service, cluster_id: str, body: dict[str, Any], _r: Request) -> _Answer:
    require_fields(body, "eks", "credentials")
    if "credentials" in body:
        text = required(body, "credentials", str)
        try:
            keys = json.loads(text)
        except ValueError:
            raise invalid("credentials", "must be a JSON text") from None
        if not isinstance(keys, dict) or sorted(keys) != ["accessKeyId", "secretAccessKey"]:
            raise invalid("credentials", "must hold accessKeyId and secretAccessKey")
        handed = Credentials("user", Keys(keys["accessKeyId"], keys["secretAccessKey"]))
    else:
        eks = require_fields(required(body, "eks", dict), "assumeRoleArn")
        arn = required(eks, "assumeRoleArn", str, "eks.assumeRoleArn")
        if re.fullmatch(r"arn:aws[a-z-]*:iam::\d{12}:role/.+", arn) is None:
            raise invalid("eks.assumeRoleArn", "must be the ARN of a role")
        handed = Credentials("role", role_arn=arn)
    return 200, service.document(service.hand_over(cluster_id, handed))


def _delete(service: Service, cluster_id: str, _body: Any, _request: Request) -> _Answer:
    service.delete(cluster_id)
    return 204, None


def _create_token(service: Service, cluster_id: str, body: Any, _request: Request) -> _Answer:
    require_fields(body)
    return 200, {"token": service.create_token(cluster_id)}


def _get_principal(service: Service, cluster_id: str, _body: Any, _r: Request) -> _Answer:
    exists = service.get(cluster_id).principal is not None
    return 200, {"arn": principal_arn(cluster_id) if exists else ""}


def _create_principal(service: Service, cluster_id: str, body: Any, _r: Request) -> _Answer:
    require_fields(body)
    return 200, {"arn": service.create_principal(cluster_id)}


def _delete_principal(service: Service, cluster_id: str, _body: Any, _r: Request) -> _Answer:
    service.delete_principal(cluster_id)
    return 200, {}


def _reconcile(service: Service, cluster_id: str, body: Any, _request: Request) -> _Answer:
    require_fields(body)
    service.reconcile(cluster_id)
    return 200, {}


def _disconnect(service: Service, cluster_id: str, body: dict[str, Any], _r: Request) -> _Answer:
    require_fields(body, "deleteProvisionedNodes", "keepKubernetesResources")
    for key, value in body.items():
        if not isinstance(value, bool):
            raise invalid(key, "must be true or false")
    delete_nodes = body.get("deleteProvisionedNodes", False)
    cluster = service.disconnect(cluster_id, delete_nodes=delete_nodes)
    return 200, service.document(cluster)


def _event(service: Service, cluster_id: str, body: dict[str, Any], _request: Request) -> _Answer:
    spelled = {
        "event_type": "eventType",
        "node_id": "nodeId",
        "node_state": "nodeState",
        "provider_id": "providerId",
    }
    event = {spelled.get(key, key): value for key, value in body.items()}
    require_fields(event, *spelled.values())
    if required(event, "eventType", str) not in _EVENT_TYPES:
        raise invalid("eventType", f"must be one of {', '.join(_EVENT_TYPES)}")
    service.event(cluster_id, event)
    return 200, {}


def _nodes(service: Service, cluster_id: str, _body: Any, request: Request) -> _Answer:
    require_fields(dict(request.args), "page.limit", "page.cursor")
    nodes = service.nodes(cluster_id)
    start = int(request.args.get("page.cursor", "0"))
    end = start + int(request.args.get("page.limit", "100"))
    return 200, {"items": nodes[start:end], "nextCursor": str(end) if end < len(nodes) else ""}


def _delta(service: Service, cluster_id: str, body: dict[str, Any], request: Request) -> _Answer:
    service.agent_delta(cluster_id, request.headers.get("X-Api-Key", ""), body)
    return 204, None


def _agent_config(service: Service, cluster_id: str, body: Any, _request: Request) -> _Answer:
    require_fields(body, "agentVersion", "gitCommit")
    service.live(cluster_id)
    return 200, {"intervalSeconds": "15", "resync": False}


def _agent_log(service: Service, cluster_id: str, body: Any, _request: Request) -> _Answer:
    require_fields(body, "logEvent")
    event = require_fields(required(body, "logEvent", dict), "level", "time", "message", "fields")
    level, message = required(event, "level", str), required(event, "message", str)
    service.note(service.live(cluster_id), f"agent: {level} {message}")
    return 200, {}


_HANDLERS: Mapping[str, Callable[[Service, str, Any, Request], _Answer]] = {
    "ListAuthTokens": _list_tokens,
    "GetMe": _me,
    "ListClusters": _list,
    "RegisterCluster": _register,
    "GetCluster": _get,
    "UpdateCluster": _update,
    "DeleteCluster": _delete,
    "CreateToken": _create_token,
    "GetPrincipal": _get_principal,
    "CreatePrincipal": _create_principal,
    "DeletePrincipal": _delete_principal,
    "Reconcile": _reconcile,
    "Disconnect": _disconnect,
    "SendEvent": _event,
    "ListNodes": _nodes,
    "SendDelta": _delta,
    "SendAgentConfig": _agent_config,
    "SendAgentLog": _agent_log,
}


def _body(request: Request) -> dict[str, Any]:
    data = request.get_data()
    if request.headers.get("Content-Encoding") == "gzip":
        data = gzip.decompress(data)
    if not data:
        return {}
    try:
        body = json.loads(data)
    except ValueError:
        raise RefusalError(400, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise RefusalError(400, "the body is not a JSON object")
    return body


def _json(status: int, value: Any) -> Response:
    text = "" if value is None else json.dumps(value)
    response = Response(text, status, content_type="application/json")
    response.headers["X-Castai-Request-Id"] = str(uuid.uuid4())
    return response
