"""The layer in front of moto: authenticate, authorize, validate, correct, then pass on."""

import contextlib
import io
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from moto.core.exceptions import ServiceException
from werkzeug.test import run_wsgi_app
from werkzeug.wrappers import Request, Response

from sandbox.aws import backends, eks, events, functions, iam, signatures, sts
from sandbox.aws.account import Account, Call, Handler
from sandbox.aws.authorization import authorize
from sandbox.aws.constants import ACCOUNT
from sandbox.aws.identities import Credential, Principal
from sandbox.aws.inventory import inventory
from sandbox.aws.policies import UnknownConditionError
from sandbox.aws.protocol import ApiRequest, AwsError, parse, render_error, render_result
from sandbox.aws.protocol import signature_scope as scope_of
from sandbox.aws.validation import validate
from sandbox.faults import Call as LoggedCall
from sandbox.faults import Refusal, json_response
from sandbox.http_server import WsgiApp

_HANDLERS: dict[str, dict[str, Handler]] = {
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

    def __init__(self, account: Account) -> None:
        self.account = account
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
            answer = self._answer(request)
        return answer(environ, start_response)

    def classify(self, environ: dict[str, Any], body: bytes) -> LoggedCall:
        """Tell what a request asks for and in whose name, for the request log."""
        request = _parsed(environ, body)
        with self.account.lock:
            found = self.account.identities.find(request.access_key_id)
        principal = found.principal.arn if found else request.access_key_id
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
            return result if isinstance(result, Response) else render_result(request, result)
        except AwsError as error:
            return render_error(request.environ, model, error, request_id)
        except ServiceException as error:
            refused = AwsError(error.code, str(error.message))
            return render_error(request.environ, model, refused, request_id)
        except UnknownConditionError as error:
            refused = AwsError("InternalFailure", str(error), 500)
            return render_error(request.environ, model, refused, request_id)

    def _authenticate(self, request: ApiRequest) -> Credential:
        environ, identities = request.environ, self.account.identities
        model = request.service.model
        found = identities.find(request.access_key_id)
        if found is None or not found.active:
            raise _unknown_key(model)
        token = signatures.session_token(environ)
        if found.token != token:
            raise _unknown_key(model)
        if found.expires is not None and self.account.clock.wall() >= found.expires:
            message = "The security token included in the request is expired"
            if model == "ec2":
                raise AwsError("RequestExpired", "Request has expired.")
            code = "ExpiredToken" if _query(model) else "ExpiredTokenException"
            raise AwsError(code, message, 403)
        _, region, service = scope_of(environ)
        if not signatures.is_valid(environ, request.body, found.secret, region, service):
            message = (
                "The request signature we calculated does not match the signature you provided. "
                "Check your AWS Secret Access Key and signing method. Consult the service "
                "documentation for details."
            )
            code = "SignatureDoesNotMatch" if _query(model) else "InvalidSignatureException"
            raise AwsError("AuthFailure" if model == "ec2" else code, message, 403)
        if signatures.expired_url(environ, self.account.clock.wall()):
            raise AwsError("SignatureDoesNotMatch", "Signature expired", 403)
        identities.note_use(request.access_key_id, service, region)
        return found

    def _internal(self, request: Request) -> Response:
        path = request.path.removeprefix(_INTERNAL)
        head, _, rest = path.partition("/")
        with contextlib.suppress(KeyError):
            return _INTERNAL_HANDLERS[request.method, head](self.account, request, rest)
        return json_response({"message": f"{request.method} {request.path}: no such control"}, 404)


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
    held = environ.get(_PARSED)
    if held is None:
        held = environ[_PARSED] = parse(environ, body)
    return held


def _forwarder(moto: WsgiApp, request: ApiRequest) -> Callable[[], Response]:
    def forward() -> Response:
        environ = {**request.environ, "wsgi.input": io.BytesIO(request.body)}
        environ.pop("werkzeug.request", None)
        try:
            chunks, status, headers = run_wsgi_app(moto, environ, buffered=True)
        except NotImplementedError as error:
            raise _unimplemented(request, str(error)) from error
        except Exception as error:
            text = f"moto failed: {type(error).__name__} {error}"
            raise AwsError("InternalFailure", text, 500) from error
        answer = Response(b"".join(chunks), status=status, headers=headers)
        if answer.status_code >= _ERROR and answer.mimetype == "text/html":
            raise _unimplemented(request)
        return answer

    return forward


def _pass_on(call: Call) -> Response:
    if call.request.service.model in _OWN:
        raise _unimplemented(call.request)
    return call.forward()


def _unimplemented(request: ApiRequest, why: str = "") -> AwsError:
    return AwsError(
        "UnknownOperationException",
        f"the sandbox does not answer {request.service.prefix}:{request.action} and will not "
        f"invent an answer {why and f'({why})'}".rstrip(),
        501,
    )


def render(environ: dict[str, Any], call: LoggedCall | None, refusal: Refusal) -> Response:
    """Word a refusal by the fault layer as AWS does."""
    try:
        model = _parsed(environ, b"").service.model if call else "unknown"
        if call is None:
            _, _, model = scope_of(environ)
    except Exception:  # noqa: BLE001 - a request that nobody understands is refused all the same
        model = "unknown"
    code = refusal.code
    if refusal.throttled:
        code = _THROTTLED.get(model, "ThrottlingException")
    error = AwsError(code, refusal.message, refusal.status)
    return render_error(environ, model, error, str(uuid.uuid4()))


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
        try:
            account.clock.advance(float(request.get_json(force=True)["advance"]))
        except (ValueError, KeyError, TypeError) as error:
            return json_response({"message": f"clock: {error}"}, 400)
    return json_response({"now": account.clock.now()})


def _foreign(account: Account, request: Request, arn: str) -> Response:
    found = _FOREIGN.match(arn)
    if found is None or found[1] == ACCOUNT:
        return json_response({"message": f"{arn}: wanted the ARN of a user elsewhere"}, 400)
    held = account.identities.foreign.get(arn)
    if request.method == "DELETE":
        if held is None:
            return json_response({"message": f"{arn}: no such principal"}, 404)
        del account.identities.foreign[arn]
        iam.forget_principal(arn, held.principal.unique_id)
        return json_response({})
    return json_response(_shown(held or account.identities.make_foreign(arn)))


def _sessions(account: Account, request: Request, _rest: str) -> Response:
    wanted: Mapping[str, Any] = request.get_json(force=True)
    if wanted.get("root"):
        return json_response(_shown(account.identities.open_root()))
    for role in backends.iam().roles.values():
        if role.name == wanted.get("role"):
            seconds = float(wanted.get("seconds", 10 * 365 * 86400))
            made = account.identities.open_session(role, wanted["name"], seconds)
            return json_response(_shown(made))
    return json_response({"message": f"no role {wanted.get('role')!r}"}, 404)


def _shown(credential: Credential) -> dict[str, str]:
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
    wanted: Mapping[str, Any] = request.get_json(force=True)
    held = account.clusters.get((region, name))
    if held is None:
        return json_response({"message": f"no cluster {name!r} in {region!r}"}, 404)
    held.endpoint = wanted.get("endpoint", held.endpoint)
    held.certificate_authority = wanted.get("certificateAuthority", held.certificate_authority)
    return json_response({})


_INTERNAL_HANDLERS: dict[tuple[str, str], Callable[[Account, Request, str], Response]] = {
    ("GET", "clock"): _clock,
    ("PUT", "clock"): _clock,
    ("PUT", "foreign-principals"): _foreign,
    ("DELETE", "foreign-principals"): _foreign,
    ("PUT", "sessions"): _sessions,
    ("PUT", "clusters"): _clusters,
    ("GET", "access-entries"): lambda account, _r, _p: json_response(eks.grants(account)),
    ("GET", "inventory"): lambda account, _r, _p: json_response(inventory(account)),
}
