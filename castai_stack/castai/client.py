"""Typed client of the CAST AI API: bounds each call, repeats the harmless ones, shows no key.

Paths and fields are those of the public Terraform provider
(castai/terraform-provider-castai, castai/sdk/client.gen.go and castai/sdk/api.gen.go).
"""

import ipaddress
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from castai_stack.castai.model import (
    NOT_FOUND,
    CastaiError,
    Cluster,
    FieldViolation,
    Node,
    advice_for,
)
from castai_stack.spot_handler import api_key as api_key_text

CLUSTERS = "/v1/kubernetes/external-clusters"
REQUEST_ID_HEADER = "X-Castai-Request-Id"

_PAGE = 200
_ATTEMPTS = 7
_RETRIED = (429, 500, 502, 503, 504)
_SERVER_ERROR = 500
_SHORTEST_SECRET = 6
_LONGEST_RETRY_AFTER = 30
"""Upper bound of a Retry-After in seconds, because resources set their own time-outs."""


class _ApiKey(requests.auth.AuthBase):
    """Adds the key to a request; its repr hides the key, and requests reads no `.netrc`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "<API key>"

    def redact(self, text: str) -> str:
        """Text of a server without the key, which it may have sent back."""
        return _redact(text, self._value)

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        r.headers["X-API-Key"] = self._value
        return r


class CastaiApi:
    """The endpoints that connecting and disconnecting a cluster need.

    Calls are repeated on 429, 5xx and broken connections, with growing and jittered pauses.
    Creating a token or a principal is repeated only after a 429 or a refused connection, when
    nothing was carried out. Every method raises CastaiError.
    """

    def __init__(self, url: str, api_key: str, timeout_seconds: float = 60) -> None:
        """`timeout_seconds` bounds one attempt. Raises CastaiError for an address or key."""
        self.url = checked_url(url)
        self._key = _ApiKey(_checked_key(api_key))
        self._timeout = timeout_seconds
        self._repeating = self._session(_retry(_RETRIED, read=_ATTEMPTS))
        self._once = self._session(_retry((429,), read=0))

    def __repr__(self) -> str:
        return f"CastaiApi({self.url!r})"

    def check_key(self) -> None:
        """Fail unless the service accepts the key."""
        self._call("GET", "/v1/auth/tokens", action="check the API key", names_no_object=True)

    def register(
        self,
        name: str,
        region: str,
        account_id: str,
        *,
        organization_id: str | None = None,
        cluster_id: str | None = None,
    ) -> Cluster:
        """Register the cluster; a registered one keeps its id.

        The call is idempotent (castai/castware-operator, internal/castai/client.go).
        """
        body: dict[str, Any] = {
            "name": name,
            "eks": {"accountId": account_id, "region": region, "clusterName": name},
        }
        if organization_id:
            body["organizationId"] = organization_id
        if cluster_id:
            body["id"] = cluster_id
        action = f"register cluster {name} ({region}, account {account_id})"
        return self._cluster("POST", CLUSTERS, action, body)

    def list_clusters(self) -> list[Cluster]:
        """Every cluster that the key may see."""
        action = "list clusters"
        answer = self._call("GET", CLUSTERS, action=action, names_no_object=True)
        clusters = items(answer, action)
        if not all(cluster.get("id") for cluster in clusters):
            raise CastaiError(action, message="the answer holds a cluster without id")
        return [Cluster.parse(cluster) for cluster in clusters]

    def get_cluster(self, cluster_id: str) -> Cluster | None:
        """Return the cluster, or None when the service knows none with that id."""
        try:
            return self._cluster("GET", _path(cluster_id), f"read cluster {cluster_id}")
        except CastaiError as error:
            if error.not_found:
                return None
            raise

    def hand_over_keys(
        self, cluster_id: str, access_key_id: str, secret_access_key: str
    ) -> Cluster:
        """Hand over an IAM user's access key; every call creates a new credentials id.

        The value is a JSON text inside JSON (castai/docs, the onboarding script of 2021).
        """
        keys = {"accessKeyId": access_key_id, "secretAccessKey": secret_access_key}
        return self.update_credentials(
            cluster_id, {"credentials": json.dumps(keys)}, secret=secret_access_key
        )

    def hand_over_role(self, cluster_id: str, role_arn: str) -> Cluster:
        """Hand over a role to assume; every call creates a new credentials id."""
        return self.update_credentials(cluster_id, {"eks": {"assumeRoleArn": role_arn}})

    def update_credentials(
        self, cluster_id: str, body: Mapping[str, Any], *, secret: str = ""
    ) -> Cluster:
        """Send credentials; `secret` is removed from the text of a refusal."""
        action = f"hand credentials over for cluster {cluster_id}"
        return self._cluster("POST", _path(cluster_id), action, body, secret=secret)

    def create_token(self, cluster_id: str) -> str:
        """Create a cluster token; earlier ones may stop working."""
        action = f"create a token for cluster {cluster_id}"
        answer = self._call("POST", _path(cluster_id, "token"), action=action, repeat=False)
        token = str(answer.get("token") or "")
        if not token:
            raise CastaiError(action, message="the answer holds no token")
        return token

    def get_principal(self, cluster_id: str) -> str | None:
        """ARN of CAST AI's user that assumes this cluster's role, or None when there is none."""
        answer = self._call(
            "GET",
            _path(cluster_id, "assume-role-principal"),
            action=f"read the principal of cluster {cluster_id}",
        )
        return str(answer.get("arn") or "") or None

    def create_principal(self, cluster_id: str) -> str:
        """Create that user; the service may answer a server error when it exists, so read first."""
        action = f"create the principal of cluster {cluster_id}"
        answer = self._call(
            "POST", _path(cluster_id, "assume-role-principal"), action=action, repeat=False
        )
        arn = str(answer.get("arn") or "")
        if not arn:
            raise CastaiError(action, message="the answer holds no ARN")
        return arn

    def delete_principal(self, cluster_id: str) -> None:
        """Delete that user; a missing one is no error."""
        try:
            self._call(
                "DELETE",
                _path(cluster_id, "assume-role-principal"),
                action=f"delete the principal of cluster {cluster_id}",
            )
        except CastaiError as error:
            if not error.not_found:
                raise

    def reconcile(self, cluster_id: str) -> None:
        """Ask the service to check the cluster again now."""
        self._call("POST", _path(cluster_id, "reconcile"), action=f"reconcile cluster {cluster_id}")

    def disconnect(self, cluster_id: str, *, delete_nodes: bool) -> Cluster:
        """Start the disconnect; the service finishes it later."""
        return self._cluster(
            "POST",
            _path(cluster_id, "disconnect"),
            f"disconnect cluster {cluster_id}",
            {"deleteProvisionedNodes": delete_nodes, "keepKubernetesResources": True},
        )

    def delete_cluster(self, cluster_id: str) -> None:
        """Delete the cluster from the service; a missing one is no error."""
        try:
            self._call("DELETE", _path(cluster_id), action=f"delete cluster {cluster_id}")
        except CastaiError as error:
            if not error.not_found:
                raise

    def list_nodes(self, cluster_id: str) -> list[Node]:
        """Every node of the cluster that the service knows, from all pages."""
        return list(self._nodes(cluster_id))

    def _nodes(self, cluster_id: str) -> Iterator[Node]:
        action = f"list the nodes of cluster {cluster_id}"
        cursor, visited = "", set()
        while cursor not in visited:
            visited.add(cursor)
            answer = self._call(
                "GET",
                _path(cluster_id, "nodes"),
                action=action,
                query={"page.limit": str(_PAGE), **({"page.cursor": cursor} if cursor else {})},
            )
            yield from map(Node.parse, items(answer, action))
            cursor = str(answer.get("nextCursor") or "")
            if not cursor:
                return

    def _cluster(
        self,
        method: str,
        path: str,
        action: str,
        body: Mapping[str, Any] | None = None,
        *,
        secret: str = "",
    ) -> Cluster:
        answer = self._call(method, path, action=action, body=body, secret=secret)
        if not answer.get("id"):
            raise CastaiError(action, message="the answer holds no cluster")
        return Cluster.parse(answer)

    def _call(
        self,
        method: str,
        path: str,
        *,
        action: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        repeat: bool = True,
        names_no_object: bool = False,
        secret: str = "",
    ) -> dict[str, Any]:
        """Send a request. `names_no_object`: a 404 can only mean a wrong address."""
        session = self._repeating if repeat else self._once
        try:
            response = session.request(
                method,
                self.url + path,
                json=body,
                params=query,
                timeout=self._timeout,
                allow_redirects=False,  # a redirect would carry the key to another host
            )
        except (requests.RequestException, ValueError) as error:
            # Only the type: http.client quotes the header that it refuses, which is the key.
            raise CastaiError(
                action,
                message=f"no answer, {type(error).__name__} at {self.url}",
                advice=(
                    "Check the address (api.url), the network and the proxy settings "
                    "(HTTPS_PROXY, NO_PROXY)."
                ),
            ) from None
        return self._answer(response, action, secret, names_no_object=names_no_object)

    def _answer(
        self, response: requests.Response, action: str, secret: str, *, names_no_object: bool
    ) -> dict[str, Any]:
        try:
            body = response.json() if response.content else {}
        except ValueError:
            body = None
        if response.ok and not response.is_redirect and isinstance(body, dict):
            return body
        # A gateway before the API answers 5xx in HTML, too.
        wrong_address = response.status_code < _SERVER_ERROR and (
            not isinstance(body, dict)
            or response.is_redirect
            or (names_no_object and response.status_code == NOT_FOUND)
        )

        def clean(text: object) -> str:
            return self._key.redact(_redact(str(text), secret))

        if isinstance(body, dict):
            message = clean(body.get("message") or response.reason)
            violations = tuple(
                FieldViolation(clean(item.get("field", "")), clean(item.get("description", "")))
                for item in body.get("fieldViolations") or []
                if isinstance(item, dict)
            )
        else:
            message, violations = f"{response.reason or 'OK'}, and not a JSON object", ()
        raise CastaiError(
            action,
            status=response.status_code,
            message=message,
            violations=violations,
            request_id=response.headers.get(REQUEST_ID_HEADER),
            advice=advice_for(response.status_code, self.url, wrong_address=wrong_address),
        )

    def _session(self, retry: Retry) -> requests.Session:
        session = requests.Session()
        session.auth = self._key
        session.headers["User-Agent"] = "castai-eks-pulumi"
        adapter = HTTPAdapter(max_retries=retry)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        return session


def checked_url(url: str) -> str:
    """Return the address without a trailing slash.

    Raises CastaiError for an address that would send a key in clear over a network, or that holds
    a user and password, which no message may show.
    """
    try:
        parts = urlsplit(url)
        host, credentials = parts.hostname, parts.username or parts.password
    except ValueError:
        parts, host, credentials = None, None, None
    if parts and host and not credentials:
        if parts.scheme == "https":
            return url.rstrip("/")
        if parts.scheme == "http" and _is_loopback(host):
            return url.rstrip("/")
    raise CastaiError(
        "use the API address",
        message=_refused_address(parts.scheme if parts else "", host, has_user=bool(credentials)),
        advice=(
            "Give an https:// address without user and password, such as https://api.cast.ai; "
            "http:// is for this machine only."
        ),
    )


def _refused_address(scheme: str, host: str | None, *, has_user: bool) -> str:
    if has_user:
        return "api.url holds a user or password"
    return f"api.url is a {scheme or 'scheme-less'} address on {host or 'no host'}"


def _checked_key(text: str) -> str:
    try:
        return api_key_text.clean(text)
    except api_key_text.ApiKeyError as error:
        raise CastaiError(
            "log in",
            message=str(error),
            advice="Set CASTAI_API_KEY, or `pulumi config set --secret castai-eks:apiKey`.",
        ) from None


def items(answer: Mapping[str, Any], action: str) -> list[Mapping[str, Any]]:
    """Return the objects of a list; the service leaves an empty list out."""
    listed = answer.get("items") or []
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise CastaiError(action, message="the answer's items are no list of objects")
    return listed


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _retry(statuses: tuple[int, ...], *, read: int) -> Retry:
    return Retry(
        total=_ATTEMPTS,
        read=read,
        other=0,
        allowed_methods=None,  # the session decides whether a call is repeated, not its verb
        status_forcelist=statuses,
        backoff_factor=0.3,
        backoff_max=10,
        backoff_jitter=0.5,
        retry_after_max=_LONGEST_RETRY_AFTER,
        raise_on_status=False,
    )


def _path(cluster_id: str, *rest: str) -> str:
    return "/".join((CLUSTERS, quote(cluster_id, safe=""), *rest))


def _redact(text: str, secret: str) -> str:
    return text.replace(secret, "***") if len(secret) >= _SHORTEST_SECRET else text
