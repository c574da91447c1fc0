"""AWS requests read and answers written, for every protocol that the sandbox's services speak.

Operations, shapes and protocols come from botocore's service models, through moto's own parsers
and serializers (moto `core/parse.py`, `core/serialize.py`, `core/routing.py`).
"""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from moto.core.model import OperationModel
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import NotFound, get_service_router
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model
from werkzeug.wrappers import Response

from sandbox.aws.cbor import as_json, from_json, is_cbor
from sandbox.serving.faults import UnclassifiedError


class Service(NamedTuple):
    """One AWS service as the sandbox knows it."""

    model: str
    """Its name in botocore and moto."""
    prefix: str
    """Its name in policies."""


SERVICES = {
    "ec2": Service("ec2", "ec2"),
    "eks": Service("eks", "eks"),
    "events": Service("events", "events"),
    "iam": Service("iam", "iam"),
    "lambda": Service("lambda", "lambda"),
    "logs": Service("logs", "logs"),
    "monitoring": Service("cloudwatch", "cloudwatch"),
    "secretsmanager": Service("secretsmanager", "secretsmanager"),
    "sqs": Service("sqs", "sqs"),
    "sts": Service("sts", "sts"),
}
"""By the name that a request's signature carries."""

_READS = re.compile(
    r"^(Get|List|Describe|Simulate|Lookup|BatchGet|Head|Filter|Test|Validate)|^AssumeRole$"
)
_SCOPE = re.compile(r"Credential=([^/,\s]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request")
_QUERY_SCOPE = re.compile(r"^([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request$")


class AwsError(Exception):
    """A refusal as AWS words it; `code` as the service's documentation spells it."""

    def __init__(self, code: str, message: str, status: int = 400, **members: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.members = members
        """Further members of the error's shape."""


@dataclass
class ApiRequest:
    """One request: which operation, with what, and who signed it."""

    environ: dict[str, Any]
    body: bytes
    service: Service
    operation: OperationModel
    params: dict[str, Any]
    region: str
    access_key_id: str
    protocol: str
    signed: tuple[dict[str, Any], bytes]
    """The request as it came, for its signature."""
    cbor: bool = False

    @property
    def action(self) -> str:
        """The operation, as policies spell it."""
        return str(self.operation.name)

    @property
    def write(self) -> bool:
        """Whether the operation changes anything."""
        return not _READS.match(self.action)


def signature_scope(environ: Mapping[str, Any]) -> tuple[str, str, str]:
    """Access key id, region and service of a request's signature, header or query."""
    match = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    if match is None:
        query = dict(parse_qsl(environ.get("QUERY_STRING", "")))
        match = _QUERY_SCOPE.match(query.get("X-Amz-Credential", ""))
    if match is None:
        raise UnclassifiedError(
            "Request is missing Authentication Token", "MissingAuthenticationToken", 403
        )
    return match[1], match[3], match[4]


def parse(environ: dict[str, Any], body: bytes) -> ApiRequest:
    """Read a request, or refuse one that no known service would understand."""
    access_key_id, region, signed_for = signature_scope(environ)
    service = SERVICES.get(signed_for)
    if service is None:
        raise UnclassifiedError(
            f"the sandbox has no service {signed_for!r}; it has {', '.join(sorted(SERVICES))}",
            "UnknownServiceException",
            404,
        )
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    signed, cbor = (environ, body), is_cbor(environ)
    if cbor:
        environ, body = _translated(environ, body)
    request = Request(environ)
    model = get_service_model(service.model)
    try:
        if request.method == "GET" and "Action" in request.args:
            operation, path_parameters = model.operation_model(request.args["Action"]), {}
            protocol = str(model.protocol)
        else:
            operation, path_parameters = get_service_router(service.model).match(request)
            protocol = determine_request_protocol(model, request.content_type)
        parser = PROTOCOL_PARSERS[protocol](operation)
        params = parser.parse(
            {
                "method": request.method,
                "values": request.values,
                "headers": request.headers,
                "body": request.data,
                "url_path": request.path,
                "url_params": path_parameters,
            }
        )
    except (NotFound, NotImplementedError, KeyError, ValueError) as error:
        target = environ.get("HTTP_X_AMZ_TARGET") or request.values.get("Action") or ""
        raise UnclassifiedError(
            f"{service.model} knows no operation "
            f"{target or f'{request.method} {request.path}'!r}: {type(error).__name__} {error}",
            "UnknownOperationException",
        ) from error
    environ["wsgi.input"] = io.BytesIO(body)
    return ApiRequest(
        environ, body, service, operation, params, region, access_key_id, protocol, signed, cbor
    )


def _translated(environ: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        return as_json(environ, body)
    except ValueError as error:
        raise UnclassifiedError(str(error)) from error


def in_protocol(request: ApiRequest, answer: Response) -> Response:
    """Convert an answer of moto into the protocol of the request."""
    if not request.cbor:
        return answer
    return from_json(answer, get_service_model(request.service.model), request.action)


def render_result(request: ApiRequest, result: Mapping[str, Any]) -> Response:
    """Write `result` in the protocol of its request."""
    answer = get_serializer_class(request.service.model, request.protocol)(
        operation_model=request.operation
    ).serialize(result)
    return Response(
        answer["body"], status=answer["status_code"], headers=[*answer["headers"].items()]
    )


def render_error(
    environ: Mapping[str, Any], service: str, error: AwsError, request_id: str
) -> Response:
    """Write `error` in the protocol that the service's clients expect."""
    if service in ("iam", "sts", "ec2", "unknown") and "HTTP_X_AMZ_TARGET" not in environ:
        shape = _ec2_error if service == "ec2" else _query_error
        return Response(
            shape(error, request_id),
            status=error.status,
            content_type="text/xml",
            headers={"x-amzn-RequestId": request_id},
        )
    content = {"message": error.message, **error.members}
    if service not in ("eks", "lambda"):
        content["__type"] = error.code
    headers = {"x-amzn-RequestId": request_id, "x-amzn-ErrorType": error.code}
    if "HTTP_X_AMZN_QUERY_MODE" in environ:
        headers["x-amzn-query-error"] = f"{error.code};Sender"
    kind = "application/json" if service in ("eks", "lambda") else "application/x-amz-json-1.1"
    return Response(json.dumps(content), error.status, headers, content_type=kind)


def _query_error(error: AwsError, request_id: str) -> str:
    side = "Receiver" if error.status >= 500 else "Sender"  # noqa: PLR2004 - HTTP's own border
    return (
        "<ErrorResponse><Error>"
        f"<Type>{side}</Type><Code>{_xml(error.code)}</Code><Message>{_xml(error.message)}</Message>"
        f"</Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    )


def _ec2_error(error: AwsError, request_id: str) -> str:
    return (
        "<Response><Errors><Error>"
        f"<Code>{_xml(error.code)}</Code><Message>{_xml(error.message)}</Message>"
        f"</Error></Errors><RequestID>{request_id}</RequestID></Response>"
    )


def _xml(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
