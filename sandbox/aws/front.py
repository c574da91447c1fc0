"""The layer in front of moto: authenticate, authorize, validate, correct, then pass on."""

import io
import re
import traceback
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from moto.core.exceptions import ServiceException
from werkzeug.exceptions import HTTPException
from werkzeug.test import run_wsgi_app
from werkzeug.wrappers import Request, Response

from sandbox.aws import backends, cloudwatch, ec2, eks, events, functions, iam, signatures, sts
from sandbox.aws.account import Account, Call, ClustersChanged, Handler
from sandbox.aws.authorization import authorize
from sandbox.aws.identities import Credential, Principal
from sandbox.aws.inventory import inventory
from sandbox.aws.protocol import (
    ApiRequest,
    AwsError,
    in_protocol,
    parse,
    render_error,
    render_result,
)
from sandbox.aws.protocol import signature_scope as scope_of
from sandbox.aws.validation import validate
from sandbox.constants import ACCOUNT
from sandbox.iam_evaluator import UnsupportedConditionError
from sandbox.serving.faults import Call as LoggedCall
from sandbox.serving.faults import Refusal, UnclassifiedError, json_response
from sandbox.serving.http_server import WsgiApp

_HANDLERS: dict[str, dict[str, Handler]] = {
    "cloudwatch": cloudwatch.HANDLERS,
    "ec2": ec2.HANDLERS,
    "eks": eks.HANDLERS,
    "events": {"ListTargetsByRule": events.list_targets},
    "iam": iam.HANDLERS,
    "lambda": functions.HANDLERS,
    "sts": sts.HANDLERS,
}
_OWN = ("sts",)
"""Services of which only what is judged here is answered."""
_PARSED = "sandbox.request"
_INTERNAL = "/_sandbox/"
_ERROR = 400
_FOREIGN = re.compile(r"^arn:aws:iam::(\d{12}):user/[\w+=,.@/-]+$")


class Front:
    """The WSGI application: moto with the sandbox's judgement before it."""

    def __init__(self, account: Account, clusters_changed: ClustersChanged) -> None:
        self.account = account
        self._clusters_changed = clusters_changed
        self._moto = backends.fresh_app()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request."""
        if environ.get("PATH_INFO", "").startswith(_INTERNAL):
            with self.account.lock:
                answer = self._internal(Request(environ))
            return answer(environ, start_response)
        request = _parsed(environ, Request(environ).get_data(cache=False))
        with self.account.lock:
            answer = in_protocol(request, self._answer(request))
        return answer(environ, start_response)

    def classify(self, environ: dict[str, Any], body: bytes) -> LoggedCall:
        """Return the action and the principal of a request, for the request log."""
        request = _parsed(environ, body)
        with self.account.lock:
            credential = self.account.identities.find(request.access_key_id)
        principal = credential.principal.arn if credential else request.access_key_id
        return LoggedCall(request.service.prefix, request.action, request.write, principal)

    def _answer(self, request: ApiRequest) -> Response:
        request_id = str(uuid.uuid4())
        model = request.service.model
        try:
            credential = self._authenticate(request)
            principal = credential.principal
            moment = self.account.clock.wall().isoformat()
            authorize(request, principal, self.account.propagation, moment)
            validate(request)
            forward = _forwarder(self._moto, request)
            handler = _HANDLERS.get(model, {}).get(request.action, _pass_on)
            result = handler(Call(self.account, request, principal, forward))
            if model == "eks" and request.write:
                self._clusters_changed(self.account.clusters)
            return result if isinstance(result, Response) else render_result(request, result)
        except AwsError as error:
            return render_error(request.environ, model, error, request_id)
        except ServiceException as error:
            refused = AwsError(error.code, str(error.message))
            return render_error(request.environ, model, refused, request_id)
        except UnsupportedConditionError as error:
            refused = AwsError("InternalFailure", str(error), 500)
            return render_error(request.environ, model, refused, request_id)
        except Exception as error:  # noqa: BLE001 - a fault of the sandbox, in AWS's form
            return render_error(request.environ, model, _failure("the sandbox", error), request_id)

    def _authenticate(self, request: ApiRequest) -> Credential:
        (environ, body), identities = request.signed, self.account.identities
        model = request.service.model
        credential = identities.find(request.access_key_id)
        if credential is None or not credential.active:
            raise _unknown_key(model)
        token = signatures.session_token(environ)
        if credential.token != token:
            raise _unknown_key(model)
        if credential.expires is not None and self.account.clock.wall() >= credential.expires:
            message = "The security token included in the request is expired"
            if model == "ec2":
                raise AwsError("RequestExpired", "Request has expired.")
            code = "ExpiredToken" if _query(model) else "ExpiredTokenException"
            raise AwsError(code, message, 403)
        _, region, service = scope_of(environ)
        if not signatures.is_valid(environ, body, credential.secret, region, service):
            message = (
                "The request signature we calculated does not match the signature you provided. "
                "Check your AWS Secret Access Key and signing method. Consult the service "
                "documentation for details."
            )
            code = "SignatureDoesNotMatch" if _query(model) else "InvalidSignatureException"
            raise AwsError("AuthFailure" if model == "ec2" else code, message, 403)
        if signatures.expired_url(environ, service, self.account.clock.wall()):
            raise AwsError("SignatureDoesNotMatch", "Signature expired", 403)
        identities.note_use(request.access_key_id, service, region)
        return credential

    def _internal(self, request: Request) -> Response:
        path = request.path.removeprefix(_INTERNAL)
        head, _, rest = path.partition("/")
        handler = _INTERNAL_HANDLERS.get((request.method, head))
        if handler is None:
            text = f"{request.method} {request.path}: no such control"
            return json_response({"message": text}, 404)
        try:
            return handler(self.account, request, rest)
        except (HTTPException, KeyError, TypeError, ValueError) as error:
            text = f"{request.method} {request.path}: {type(error).__name__} {error}"
            return json_response({"message": text}, 400)


def _query(model: str) -> bool:
    return model in ("iam", "sts", "cloudwatch", "sqs", "ec2")


def _unknown_key(model: str) -> AwsError:
    if model == "ec2":
        return AwsError(
            "AuthFailure", "AWS was not able to validate the provided access credentials", 401
        )
    code = "InvalidClientTokenId" if _query(model) else "UnrecognizedClientException"
    return AwsError(code, "The security token included in the request is invalid.", 403)


def _parsed(environ: dict[str, Any], body: bytes) -> ApiRequest:
    request = environ.get(_PARSED)
    if request is None:
        request = environ[_PARSED] = parse(environ, body)
    return request


def _forwarder(moto: WsgiApp, request: ApiRequest) -> Callable[[], Response]:
    def forward() -> Response:
        environ = {**request.environ, "wsgi.input": io.BytesIO(request.body)}
        environ.pop("werkzeug.request", None)
        try:
            chunks, status, headers = run_wsgi_app(moto, environ, buffered=True)
        except NotImplementedError as error:
            raise _unimplemented(request, str(error)) from error
        except ServiceException:
            raise
        except Exception as error:
            raise _failure("moto", error) from error
        answer = Response(b"".join(chunks), status=status, headers=headers)
        if answer.status_code >= _ERROR and answer.mimetype == "text/html":
            raise _unimplemented(request)
        return answer

    return forward


def _pass_on(call: Call) -> Response:
    if call.request.service.model in _OWN:
        raise _unimplemented(call.request)
    return call.forward()


def _failure(who: str, error: Exception) -> AwsError:
    """Name the place of a failure without its text, which might hold a secret."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{frame.filename.rpartition('site-packages/')[2]}:{frame.lineno}"
    return AwsError("InternalFailure", f"{who} failed: {type(error).__name__} at {place}", 500)


def _unimplemented(request: ApiRequest, why: str = "") -> AwsError:
    return AwsError(
        "UnknownOperationException",
        f"the sandbox does not answer {request.service.prefix}:{request.action} and will not "
        f"invent an answer {why and f'({why})'}".rstrip(),
        501,
    )


def render(environ: dict[str, Any], call: LoggedCall | None, refusal: Refusal) -> Response:
    """Word a refusal by the fault layer as AWS does."""
    request_id = str(uuid.uuid4())
    if call is None:
        error = AwsError(refusal.code, refusal.message, refusal.status)
        return render_error(environ, _signed_for(environ), error, request_id)
    request = _parsed(environ, b"")
    model, code = request.service.model, refusal.code
    if refusal.throttled:
        code = _THROTTLED.get(model, "ThrottlingException")
    error = AwsError(code, refusal.message, refusal.status)
    return in_protocol(request, render_error(request.environ, model, error, request_id))


def _signed_for(environ: dict[str, Any]) -> str:
    try:
        return scope_of(environ)[2]
    except UnclassifiedError:
        return "unknown"


_THROTTLED = {
    "iam": "Throttling",
    "sts": "Throttling",
    "cloudwatch": "Throttling",
    "ec2": "RequestLimitExceeded",
    "sqs": "RequestThrottled",
    "lambda": "TooManyRequestsException",
}


def _clock(account: Account, request: Request, _rest: str) -> Response:
    if request.method == "PUT":
        account.clock.advance(float(request.get_json(force=True)["advance"]))
    return json_response({"now": account.clock.now()})


def _foreign(account: Account, request: Request, arn: str) -> Response:
    match = _FOREIGN.match(arn)
    if match is None or match[1] == ACCOUNT:
        return json_response({"message": f"{arn}: wanted the ARN of a user elsewhere"}, 400)
    credential = account.identities.foreign.get(arn)
    if request.method == "DELETE":
        if credential is None:
            return json_response({"message": f"{arn}: no such principal"}, 404)
        del account.identities.foreign[arn]
        iam.forget_principal(arn, credential.principal.unique_id)
        return json_response({})
    return json_response(_credential_document(credential or account.identities.make_foreign(arn)))


def _sessions(account: Account, request: Request, _rest: str) -> Response:
    content: Mapping[str, Any] = request.get_json(force=True)
    if content.get("root"):
        return json_response(_credential_document(account.identities.open_root()))
    for role in backends.iam().roles.values():
        if role.name == content.get("role"):
            seconds = float(content.get("seconds", 10 * 365 * 86400))
            credential = account.identities.open_session(role, content["name"], seconds)
            return json_response(_credential_document(credential))
    return json_response({"message": f"no role {content.get('role')!r}"}, 404)


def _credential_document(credential: Credential) -> dict[str, str]:
    principal: Principal = credential.principal
    return {
        "arn": principal.arn,
        "uniqueId": principal.unique_id,
        "accessKeyId": credential.access_key_id,
        "secretAccessKey": credential.secret,
        "sessionToken": credential.token,
    }


def _clusters(account: Account, request: Request, rest: str) -> Response:
    region, _, name = rest.partition("/")
    content: Mapping[str, Any] = request.get_json(force=True)
    cluster = account.clusters.get((region, name))
    if cluster is None:
        return json_response({"message": f"no cluster {name!r} in {region!r}"}, 404)
    cluster.endpoint = content.get("endpoint", cluster.endpoint)
    cluster.certificate_authority = content.get(
        "certificateAuthority", cluster.certificate_authority
    )
    return json_response({})


_INTERNAL_HANDLERS: dict[tuple[str, str], Callable[[Account, Request, str], Response]] = {
    ("GET", "clock"): _clock,
    ("PUT", "clock"): _clock,
    ("PUT", "foreign-principals"): _foreign,
    ("DELETE", "foreign-principals"): _foreign,
    ("PUT", "sessions"): _sessions,
    ("PUT", "clusters"): _clusters,
    ("GET", "access-entries"): lambda account, _r, _p: json_response(eks.grants(account)),
    ("GET", "secrets"): lambda account, _r, _p: json_response(account.identities.secret_keys),
    ("GET", "inventory"): lambda account, _r, _p: json_response(inventory(account)),
}
