"""Kubeconfigs, read as client-go reads them.

Pulumi's Kubernetes provider reads the same kubeconfig with client-go. A key that this module read
in another way would let the preflight ask as one identity and an update write as another. Every
key is therefore either applied as client-go applies it or refused by its name.

Source: kubernetes/client-go, tools/clientcmd (api/v1/types.go, validation.go, client_config.go)
"""

import base64
import binascii
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

AMBIENT = "ambient"
FROM_EKS = "from-eks"
"""Value of `cluster.kubeconfig` that stands for `eks_kubeconfig` of the cluster."""

EXEC_GROUP = "client.authentication.k8s.io"
_EXEC_V1BETA1 = f"{EXEC_GROUP}/v1beta1"
_EXEC_VERSIONS = (_EXEC_V1BETA1, f"{EXEC_GROUP}/v1")
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_SECRET_KEYS = ("client-key-data", "password", "token:", '"token"', "id-token", "refresh-token")
_GROUPS = (("clusters", "cluster"), ("users", "user"), ("contexts", "context"))

Data = Mapping[str, Any]


class KubeconfigError(Exception):
    """No connection can be made from this kubeconfig; the message is complete and has no secret."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Address of an API server and how its certificate is verified."""

    server: str
    authority: str = ""
    """Certificates in PEM form; empty for the authorities of the system."""
    tls_server_name: str = ""
    """Name in the server's certificate when it differs from the host of `server`."""
    insecure: bool = False
    proxy_url: str = field(default="", repr=False)
    compression: bool = True
    exec_config: Any = None
    """Extension of the cluster that a login program gets as `spec.cluster.config`."""

    @property
    def encrypted(self) -> bool:
        """Return True for https; client-go sends no login to an http address."""
        return self.server.startswith("https:")


@dataclass(frozen=True, slots=True)
class Exec:
    """A login program."""

    api_version: str
    command: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    install_hint: str = ""
    cluster_info: bool = False


@dataclass(frozen=True, slots=True)
class User:
    """One identity; at most one of token, password and login program applies."""

    token: str = field(default="", repr=False)
    token_file: str = ""
    certificate: str = ""
    """Client certificate in PEM form."""
    key: str = field(default="", repr=False)
    """Private key of the client certificate in PEM form."""
    username: str = ""
    password: str = field(default="", repr=False)
    login: Exec | None = None
    impersonation: tuple[tuple[str, str], ...] = ()
    """Headers of an impersonation, in order; a name may repeat."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The cluster and the user of one context."""

    where: str
    """Source of the kubeconfig, for messages."""
    cluster: Cluster
    user: User


def eks_kubeconfig(name: str, region: str, endpoint: str, certificate_authority: str) -> str:
    """Return the kubeconfig of an EKS cluster as JSON text.

    The AWS CLI logs in, so the text holds no secret.
    Source: https://docs.aws.amazon.com/eks/latest/userguide/create-kubeconfig.html
    """
    login = {
        "apiVersion": _EXEC_V1BETA1,
        "command": "aws",
        "args": [
            "--region",
            region,
            "eks",
            "get-token",
            "--cluster-name",
            name,
            "--output",
            "json",
        ],
    }
    cluster = {"server": endpoint, "certificate-authority-data": certificate_authority}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": {"exec": login}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }
    )


def holds_secret(kubeconfig: str) -> bool:
    """Return True if the text of a kubeconfig holds a secret, which a state must not keep."""
    return any(key in kubeconfig for key in _SECRET_KEYS)


def read(kubeconfig: str, context: str | None) -> Endpoint:
    """Return the endpoint of `ambient`, of the path of a kubeconfig, or of the text of one.

    `ambient` is KUBECONFIG (of several files the first to define a name wins), else
    `~/.kube/config`, else the service account of the pod that runs this program.

    Raises KubeconfigError, which names the key at fault and never shows its value.
    Source: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
    """
    if _is_text(kubeconfig):
        return _select("kubeconfig text", _config(kubeconfig, "kubeconfig text", None), context)
    if kubeconfig != AMBIENT:
        path = Path(kubeconfig).expanduser()
        if not path.is_file():
            raise KubeconfigError(
                f"cluster.kubeconfig: there is no file {kubeconfig}; "
                "give the path of a kubeconfig, or `ambient` for the one of your shell"
            )
        return _select(str(path), _file(path), context)
    listed = [Path(p).expanduser() for p in os.environ.get("KUBECONFIG", "").split(os.pathsep) if p]
    paths = [p for p in listed or [Path("~/.kube/config").expanduser()] if p.is_file()]
    if paths:
        where = os.pathsep.join(map(str, paths))
        return _select(where, _merged([_file(path) for path in paths]), context)
    if not listed and "KUBERNETES_SERVICE_HOST" in os.environ:
        return _in_pod()
    searched = os.environ.get("KUBECONFIG") or "~/.kube/config"
    raise KubeconfigError(
        f"cluster.kubeconfig is `ambient`, and there is no kubeconfig at {searched}; "
        "set KUBECONFIG, or give a path"
    )


def relative_references(kubeconfig: str, context: str | None) -> tuple[str, ...]:
    """Return the keys of a kubeconfig file whose relative paths Pulumi's provider resolves wrongly.

    The provider loads the file that `cluster.kubeconfig` names as text, so that it resolves
    relative paths against the current directory. kubectl resolves them against the file's folder.
    Source: pulumi/pulumi-kubernetes, provider/pkg/provider/util.go
    """
    if kubeconfig == AMBIENT or _is_text(kubeconfig):
        return ()
    path = Path(kubeconfig).expanduser()
    if path.parent.resolve() == Path.cwd():
        return ()
    config = _config(path.read_bytes(), str(path), None)
    context = context or config["current-context"]
    chosen = config["contexts"].get(context, {})
    groups = (("cluster", "clusters", _CLUSTER_FILES), ("user", "users", _USER_FILES))
    keys = []
    for kind, group, names in groups:
        entry = config[group].get(chosen.get(kind), {})
        keys += [
            key for key in names if (value := entry.get(key)) and not Path(value).is_absolute()
        ]
        command = (entry.get("exec") or {}).get("command") or ""
        if "/" in command and not Path(command).is_absolute():
            keys.append("exec.command")
    return tuple(keys)


def parse(text: str | bytes) -> Any:
    """Return the first document of JSON or YAML in UTF-8 or UTF-16; None for an empty text.

    JSON comes first because YAML refuses its tabs. Raises ValueError without the text in it.
    """
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return next(yaml.safe_load_all(text), None)
    except (yaml.YAMLError, ValueError, RecursionError):  # the error quotes the text
        raise ValueError("is not YAML or JSON") from None


def token_fault(token: str) -> str | None:
    """Return what makes a token unusable in a header, without the token; None for a usable one."""
    for pattern, fault in (
        (r"[\r\n]", "a line break"),
        (r"[ \t]", "a blank"),
        (r"[\"'`]", "a quotation mark"),
        (r"[^!-~]", "an invisible or non-ASCII character"),
    ):
        if re.search(pattern, token):
            return fault
    return None


def _is_text(kubeconfig: str) -> bool:
    return kubeconfig.lstrip().startswith("{") or "\n" in kubeconfig


def _file(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise KubeconfigError(f"{path}: cannot be read: {error.strerror}") from None
    return _config(content, str(path), path.parent)


# What a value must be, by key. A kind is a predicate and its name in messages.
_Kind = tuple[Callable[[Any], bool], str]


def _list_of(kind: _Kind) -> _Kind:
    return (lambda v: isinstance(v, list) and all(map(kind[0], v)), f"a list of {kind[1]}")


_TEXT: _Kind = (lambda v: isinstance(v, str), "a text")
_SWITCH: _Kind = (lambda v: isinstance(v, bool), "true or false")
_TEXTS = _list_of(_TEXT)
_MAPPING: _Kind = (lambda v: isinstance(v, dict), "a mapping")
_VARIABLES: _Kind = (
    lambda v: (
        isinstance(v, list)
        and all(
            isinstance(one, dict)
            and isinstance(one.get("name"), str)
            and one["name"]
            and isinstance(one.get("value", ""), str)
            for one in v
        )
    ),
    "a list of `name` and `value`",
)
_EXTRA: _Kind = (
    lambda v: (
        isinstance(v, dict) and all(isinstance(k, str) and _TEXTS[0](one) for k, one in v.items())
    ),
    "a mapping of lists of texts",
)
_CLUSTER_FILES = ("certificate-authority",)
_USER_FILES = ("client-certificate", "client-key", "tokenFile")
_KEYS: dict[str, dict[str, _Kind]] = {
    "clusters": {
        "server": _TEXT,
        "tls-server-name": _TEXT,
        "insecure-skip-tls-verify": _SWITCH,
        "certificate-authority": _TEXT,
        "certificate-authority-data": _TEXT,
        "proxy-url": _TEXT,
        "disable-compression": _SWITCH,
    },
    "users": {
        **dict.fromkeys(_USER_FILES, _TEXT),
        "client-certificate-data": _TEXT,
        "client-key-data": _TEXT,
        "token": _TEXT,
        "as": _TEXT,
        "as-uid": _TEXT,
        "as-groups": _TEXTS,
        "as-user-extra": _EXTRA,
        "username": _TEXT,
        "password": _TEXT,
        "auth-provider": _MAPPING,
        "exec": _MAPPING,
    },
    "contexts": {"cluster": _TEXT, "user": _TEXT, "namespace": _TEXT},
}
_EXEC_KEYS: dict[str, _Kind] = {
    "command": _TEXT,
    "args": _TEXTS,
    "env": _VARIABLES,
    "apiVersion": _TEXT,
    "installHint": _TEXT,
    "provideClusterInfo": _SWITCH,
    "interactiveMode": _TEXT,
}


def _config(text: str | bytes, where: str, folder: Path | None) -> dict[str, Any]:
    """Return clusters, users and contexts by name, with absolute paths, and the current context."""
    try:
        data = parse(text)
    except ValueError as error:
        raise KubeconfigError(f"{where}: {error}") from None
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise KubeconfigError(f"{where}: is not a kubeconfig, found {type(data).__name__}")
    for key, expected in (("kind", "Config"), ("apiVersion", "v1")):
        if data.get(key) not in (None, "", expected):
            raise KubeconfigError(f"{where}: {key} is not {expected}, so it is no kubeconfig")
    current = data.get("current-context")
    _check_kinds(where, {"current-context": current}, {"current-context": _TEXT})
    config: dict[str, Any] = {"current-context": current or ""}
    for group, inner in _GROUPS:
        entries = data.get(group) or []
        if not isinstance(entries, list) or not all(
            isinstance(one, dict)
            and isinstance(one.get(inner) or {}, dict)
            and isinstance(one.get("name"), str)
            for one in entries
        ):
            raise KubeconfigError(f"{where}: {group} must be a list of `name` and `{inner}`")
        config[group] = {}
        for one in entries:
            name = one["name"]
            if name in config[group]:
                raise KubeconfigError(f"{where}: {group} has two entries with the name {name!r}")
            config[group][name] = _entry(f"{where}: {inner} {name!r}", group, one, folder)
    return config


def _entry(where: str, group: str, named: Data, folder: Path | None) -> dict[str, Any]:
    entry = dict(named.get(group[:-1]) or {})
    _check_kinds(where, entry, _KEYS[group])
    login = entry.get("exec")
    if login is not None:
        _check_kinds(where, login, _EXEC_KEYS, prefix="exec.")
        entry["exec"] = login = dict(login)
    if folder is not None:
        for key in (*_CLUSTER_FILES, *_USER_FILES):
            if entry.get(key):
                entry[key] = str(folder.resolve() / entry[key])
        # A command without a slash is searched on PATH.
        if login and "/" in (login.get("command") or ""):
            login["command"] = str(folder.resolve() / login["command"])
    return entry


def _check_kinds(where: str, data: Data, kinds: Mapping[str, _Kind], *, prefix: str = "") -> None:
    for key, (matches, name) in kinds.items():
        value = data.get(key)
        if value is not None and not matches(value):
            raise KubeconfigError(
                f"{where}, {prefix}{key}: found a value of type {type(value).__name__}; "
                f"allowed: {name}"
            )


def _merged(configs: list[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {"current-context": "", "clusters": {}, "users": {}, "contexts": {}}
    for config in configs:
        merged["current-context"] = merged["current-context"] or config["current-context"]
        for group, _ in _GROUPS:
            merged[group] = {**config[group], **merged[group]}
    return merged


def _in_pod() -> Endpoint:
    """Return the endpoint of the pod's service account.

    Source: https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
    """
    where = "service account of this pod"
    host, port = (os.environ.get(f"KUBERNETES_SERVICE_{part}", "") for part in ("HOST", "PORT"))
    address = f"[{host}]" if ":" in host else host
    cluster = {
        "server": f"https://{address}:{port or 443}",
        "certificate-authority": str(_SERVICE_ACCOUNT / "ca.crt"),
    }
    user = {"tokenFile": str(_SERVICE_ACCOUNT / "token")}
    return Endpoint(where, _cluster(where, cluster), _user(where, user))


def _select(where: str, config: Data, context: str | None) -> Endpoint:
    name = context or config["current-context"]
    if not name:
        raise KubeconfigError(f"{where}: no context is selected; set cluster.context")
    advice = "name one of its contexts in cluster.context, or another file in cluster.kubeconfig"
    if name not in config["contexts"]:
        raise KubeconfigError(f"{where}: there is no context {name!r}; {advice}")
    chosen = config["contexts"][name]
    entries = []
    for kind, group in (("cluster", "clusters"), ("user", "users")):
        reference = chosen.get(kind) or ""
        if reference and reference not in config[group]:
            raise KubeconfigError(
                f"{where}: context {name!r} names the {kind} {reference!r}, which is not defined; "
                f"{advice}"
            )
        entries.append((f"{where}: {kind} {reference!r}", config[group].get(reference, {})))
    return Endpoint(where, _cluster(*entries[0]), _user(*entries[1]))


def _cluster(where: str, data: Data) -> Cluster:
    server = data.get("server") or ""
    if not re.fullmatch(r"https?://[^\s/@]+(/\S*)?", server):
        raise KubeconfigError(
            f"{where}, server: is no http or https address, or holds a user and password"
        )
    proxy = data.get("proxy-url") or ""
    if proxy and urlsplit(proxy).scheme not in ("http", "https"):
        raise KubeconfigError(
            f"{where}, proxy-url: only http and https proxies are supported; use one of these, "
            "or leave the key out and set HTTPS_PROXY"
        )
    authority = _content(where, data, "certificate-authority")
    insecure = bool(data.get("insecure-skip-tls-verify"))
    if authority and insecure:
        raise KubeconfigError(
            f"{where}, insecure-skip-tls-verify: is true beside a certificate authority; "
            "remove one of them"
        )
    extensions = data.get("extensions")
    return Cluster(
        server=server,
        authority=authority,
        tls_server_name=data.get("tls-server-name") or "",
        insecure=insecure,
        proxy_url=proxy,
        compression=not data.get("disable-compression"),
        exec_config=next(
            (
                one.get("extension")
                for one in (extensions if isinstance(extensions, list) else [])
                if isinstance(one, dict) and one.get("name") == f"{EXEC_GROUP}/exec"
            ),
            None,
        ),
    )


def _user(where: str, data: Data) -> User:
    if data.get("auth-provider"):
        raise KubeconfigError(
            f"{where}, auth-provider: is not supported; use a login program (exec) instead"
        )
    token, username = data.get("token") or "", data.get("username") or ""
    password, token_file = data.get("password") or "", data.get("tokenFile") or ""
    if (token or token_file) and (username or password):
        raise KubeconfigError(f"{where}: has a token and a password; remove one of them")
    _check_token(f"{where}, token", token)
    if token_file:
        token_from_file(where, token_file, token)
    certificate = _content(where, data, "client-certificate")
    key = _content(where, data, "client-key") if certificate else ""
    if certificate and not key:
        raise KubeconfigError(f"{where}: has a client-certificate without a client-key")
    login = None if data.get("exec") is None else _login(where, data["exec"])
    return User(
        token=token,
        token_file=token_file,
        certificate=certificate,
        key=key,
        username=username,
        password=password,
        login=None if token or token_file or username or certificate else login,
        impersonation=_impersonation(where, data),
    )


def _login(where: str, data: Data) -> Exec:
    version = data.get("apiVersion") or ""
    if version not in _EXEC_VERSIONS:
        raise KubeconfigError(
            f"{where}, exec.apiVersion: found {version!r}; "
            f"allowed: {' or '.join(_EXEC_VERSIONS)}; "
            "`aws eks update-kubeconfig` of a current AWS CLI writes the entry again"
        )
    if not data.get("command"):
        raise KubeconfigError(f"{where}, exec.command: is missing")
    mode = data.get("interactiveMode") or ("IfAvailable" if version == _EXEC_V1BETA1 else "")
    if mode not in ("Never", "IfAvailable"):
        raise KubeconfigError(
            f"{where}, exec.interactiveMode: found {mode!r}; allowed: Never or IfAvailable, "
            "because Pulumi's provider has no terminal"
        )
    return Exec(
        api_version=version,
        command=data["command"],
        arguments=tuple(data.get("args") or ()),
        environment={one["name"]: one.get("value") or "" for one in data.get("env") or ()},
        install_hint=data.get("installHint") or "",
        cluster_info=bool(data.get("provideClusterInfo")),
    )


def _impersonation(where: str, data: Data) -> tuple[tuple[str, str], ...]:
    """Return the headers of an impersonation.

    Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
    """
    user = data.get("as") or ""
    uid, groups = data.get("as-uid") or "", data.get("as-groups") or []
    extra = data.get("as-user-extra") or {}
    if not user:
        if uid or groups or extra:
            raise KubeconfigError(
                f"{where}: has as-uid, as-groups or as-user-extra without `as`; name the user"
            )
        return ()
    headers = [("Impersonate-User", user)]
    headers += [("Impersonate-Uid", uid)] if uid else []
    headers += [("Impersonate-Group", group) for group in groups]
    headers += [
        (f"Impersonate-Extra-{_header_name(key)}", value)
        for key, values in extra.items()
        for value in values
    ]
    for name, value in headers:
        if re.search(r"[^ -~]", value):
            raise KubeconfigError(
                f"{where}: the value of {name} has a line break or another character that no "
                "header carries"
            )
    return tuple(headers)


def _header_name(key: str) -> str:
    """Percent-encode all bytes that a header's name must not have, and the percent sign."""
    return re.sub(
        rb"[^A-Za-z0-9!#$&'*+.^_`|~-]", lambda m: b"%%%02X" % m[0][0], key.encode()
    ).decode()


def token_from_file(where: str, path: str, fallback: str = "") -> str:
    """Return the token of a file, or `fallback` while the file cannot be read."""
    try:
        token = Path(path).read_text().strip()
    except (OSError, ValueError) as error:
        if fallback:
            return fallback
        raise KubeconfigError(
            f"{where}, tokenFile: {path} cannot be read ({type(error).__name__})"
        ) from None
    if not token and not fallback:
        raise KubeconfigError(f"{where}, tokenFile: {path} is empty")
    _check_token(f"{where}, tokenFile", token)
    return token or fallback


def _check_token(place: str, token: str) -> None:
    if (fault := token_fault(token)) is not None:
        raise KubeconfigError(f"{place}: the token holds {fault}; write the token alone")


def _content(where: str, data: Data, key: str) -> str:
    """Return the PEM text of a key that names a file or of its twin that holds the data."""
    path, encoded = data.get(key) or "", data.get(f"{key}-data") or ""
    if path and encoded:
        raise KubeconfigError(f"{where}: has {key} and {key}-data; remove one of them")
    try:
        if encoded:
            return base64.b64decode("".join(encoded.split()).encode(), validate=True).decode()
        return Path(path).read_text() if path else ""
    except binascii.Error:
        raise KubeconfigError(f"{where}, {key}-data: is not base64") from None
    except OSError as error:
        raise KubeconfigError(f"{where}, {key}: {path} cannot be read: {error.strerror}") from None
    except ValueError:
        name = key if path else f"{key}-data"
        raise KubeconfigError(f"{where}, {name}: is not in PEM form") from None
