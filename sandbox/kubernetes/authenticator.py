"""Who a token is to the cluster, decided as EKS decides it.

The API server asks here for every token that it does not know itself. A token stands for an IAM
principal; the principal gets a user name and groups from EKS access entries and from the live
`kube-system/aws-auth`, so whoever is taken out of there is locked out.

Sources: kubernetes-sigs/aws-iam-authenticator, pkg/arn/arn.go, pkg/mapper/configmap/configmap.go,
pkg/server/server.go; https://docs.aws.amazon.com/eks/latest/userguide/access-entries.html
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
import yaml
from werkzeug.wrappers import Request, Response

from sandbox.kubernetes.control_plane import ControlPlane
from sandbox.serving.http_server import WsgiApp

CLUSTER_HEADER = "x-k8s-aws-id"
PRESIGNED = "k8s-aws-v1."
POLICY_GROUP = "eks:access-policy:"
"""Prefix of the group that stands for an access policy; `cluster.py` binds them."""

_ASSUMED = re.compile(
    r"^arn:(?P<partition>aws[a-z-]*):sts::(?P<account>\d{12}):assumed-role/"
    r"(?P<role>[^/]+)/(?P<session>[^/]+)$"
)
_MAPS = ("mapRoles", "mapUsers")
_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Principal:
    """An IAM identity as GetCallerIdentity shows it."""

    arn: str
    user_id: str
    account: str

    @property
    def canonical_arn(self) -> str:
        """The role behind a session, without its path, which STS does not tell."""
        match = _ASSUMED.match(self.arn)
        if match is None:
            return self.arn
        return f"arn:{match['partition']}:iam::{match['account']}:role/{match['role']}"

    @property
    def unique_id(self) -> str:
        """Id of the user or of the role behind a session."""
        return self.user_id.partition(":")[0]

    @property
    def session(self) -> str:
        """Session name, empty for a user."""
        match = _ASSUMED.match(self.arn)
        return "" if match is None else match["session"]


@dataclass(frozen=True, slots=True)
class Access:
    """What a principal is in the cluster."""

    username: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AccessEntry:
    """An EKS access entry with the names of its cluster-wide policies."""

    unique_id: str
    """Of the principal as it was when the entry was made; a role made again is another one."""
    username: str
    groups: tuple[str, ...]
    policies: tuple[str, ...]


def from_aws_auth(data: Mapping[str, str], principal: Principal) -> Access | None:
    """Look `principal` up in the data of the ConfigMap; a bad entry counts for nothing."""
    wanted = principal.canonical_arn.lower()
    found = None
    for key, arn_key in zip(_MAPS, ("rolearn", "userarn"), strict=True):
        for entry in _entries(data.get(key, "")):
            if str(entry.get(arn_key, "")).lower() == wanted:
                # The last one wins, as where each is stored under its ARN.
                found = _mapping(entry, principal)
    if found is None and principal.account in _accounts(data.get("mapAccounts", "")):
        return Access(principal.canonical_arn, ())
    return found


def _entries(text: str) -> Iterable[dict[str, Any]]:
    try:
        entries = yaml.safe_load(text)
    except yaml.YAMLError:
        return []
    if not isinstance(entries, list):
        return []
    return [
        {str(key).lower(): value for key, value in entry.items()}
        for entry in entries
        if isinstance(entry, dict)
    ]


def _accounts(text: str) -> list[str]:
    # Read as text: an account id that begins with a zero is no number.
    try:
        accounts = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - texts only
    except yaml.YAMLError:
        return []
    return accounts if isinstance(accounts, list) else []


def _mapping(entry: Mapping[str, Any], principal: Principal) -> Access:
    groups = entry.get("groups")
    return Access(
        _filled(str(entry.get("username", "")), principal),
        tuple(map(str, groups)) if isinstance(groups, list) else (),
    )


def _filled(username: str, principal: Principal) -> str:
    """Fill the placeholders that need no call to EC2."""
    return (
        username.replace("{{AccountID}}", principal.account)
        .replace("{{SessionNameRaw}}", principal.session)
        .replace("{{SessionName}}", principal.session.replace("@", "-"))
    )


def from_access_entries(entries: Iterable[AccessEntry], principal: Principal) -> Access | None:
    """Look `principal` up among access entries, which are bound to its unique id."""
    for entry in entries:
        if entry.unique_id == principal.unique_id:
            policies = (f"{POLICY_GROUP}{policy}" for policy in entry.policies)
            return Access(_filled(entry.username, principal), (*entry.groups, *policies))
    return None


@dataclass(frozen=True)
class Authenticator:
    """Answers the API server's token reviews."""

    tokens: Callable[[str], Principal | None]
    """The sandbox's own tokens."""
    identify: Callable[[str], Principal | None]
    """Who a presigned GetCallerIdentity address belongs to."""
    aws_auth: Callable[[], Mapping[str, str] | None]
    mode: Callable[[], str]
    access_entries: Callable[[], Iterable[AccessEntry]]
    creator: str = ""
    """ARN of the role that made the cluster: an administrator for ever, written nowhere."""

    def review(self, token: str) -> dict[str, Any]:
        """Return the status of a TokenReview."""
        principal = self._principal(token)
        mapping = None if principal is None else self._mapping(principal)
        if principal is None or mapping is None or not mapping.username:
            return {"authenticated": False}
        return {
            "authenticated": True,
            "user": {
                "username": mapping.username,
                "uid": f"aws-iam-authenticator:{principal.account}:{principal.unique_id}",
                "groups": list(mapping.groups),
                "extra": {
                    "arn": [principal.arn],
                    "canonicalArn": [principal.canonical_arn],
                    "principalId": [principal.unique_id],
                    "sessionName": [principal.session],
                },
            },
        }

    def _principal(self, token: str) -> Principal | None:
        if token.startswith(PRESIGNED):
            return self.identify(token)
        return self.tokens(token)

    def _mapping(self, principal: Principal) -> Access | None:
        if self.creator and principal.canonical_arn == self.creator:
            return Access("kubernetes-admin", ("system:masters",))
        mode = self.mode()
        found = None
        if "API" in mode:
            found = from_access_entries(self.access_entries(), principal)
        if found is None and "CONFIG_MAP" in mode:
            found = from_aws_auth(self.aws_auth() or {}, principal)
        return found

    def app(self) -> WsgiApp:
        """Return the webhook that the API server calls."""

        def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            body = json.loads(Request(environ).get_data())
            status = self.review(body.get("spec", {}).get("token", ""))
            review = {"apiVersion": body.get("apiVersion"), "kind": "TokenReview", "status": status}
            response = Response(json.dumps(review), content_type="application/json")
            return response(environ, start_response)

        return answer


def live_aws_auth(plane: ControlPlane) -> Callable[[], Mapping[str, str] | None]:
    """Return a reader of the cluster's aws-auth as it is at that moment."""
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {plane.token_of('services')}"

    def read() -> Mapping[str, str] | None:
        answer = session.get(
            f"{plane.url}/api/v1/namespaces/kube-system/configmaps/aws-auth",
            # With each request: REQUESTS_CA_BUNDLE of the environment beats the session's.
            verify=str(plane.authority),
            timeout=_SECONDS,
        )
        return answer.json().get("data", {}) if answer.ok else None

    return read


def presigned(aws_url: str, cluster: str) -> Callable[[str], Principal | None]:
    """Return what asks AWS whose token it is, as `aws eks get-token` makes them."""

    def identify(token: str) -> Principal | None:
        text = token.removeprefix(PRESIGNED)
        try:
            url = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
        except (binascii.Error, ValueError):
            return None
        # Only ever the sandbox's own AWS is asked, wherever the token points to.
        if urlsplit(url).netloc != urlsplit(aws_url).netloc:
            return None
        answer = requests.get(
            url,
            headers={CLUSTER_HEADER: cluster, "Accept": "application/json"},
            timeout=_SECONDS,
        )
        return _caller(answer.text) if answer.ok else None

    return identify


def _caller(text: str) -> Principal | None:
    # The same three fields in JSON and in XML.
    found = [
        re.search(rf"[<\"]{name}[>\"]\s*:?\s*\"?([^<\"]+)", text)
        for name in ("Arn", "UserId", "Account")
    ]
    return Principal(*(match[1] for match in found if match)) if all(found) else None
