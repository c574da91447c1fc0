"""The cluster and the user of a kubeconfig, applied as client-go applies them or refused by key.

Source: kubernetes/client-go, tools/clientcmd (validation.go, client_config.go)
"""

import base64
import binascii
import re
from pathlib import Path
from urllib.parse import urlsplit

from castai_stack.kube.endpoint import EXEC_GROUP, Cluster, Exec, KubeconfigError, User
from castai_stack.kube.kubeconfig_text import Data

EXEC_V1BETA1 = f"{EXEC_GROUP}/v1beta1"
_EXEC_VERSIONS = (EXEC_V1BETA1, f"{EXEC_GROUP}/v1")


def cluster(where: str, data: Data) -> Cluster:
    """Return the API server of an entry. Raises KubeconfigError, which names the key at fault."""
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


def user(where: str, data: Data) -> User:
    """Return the identity of an entry. Raises KubeconfigError, which names the key at fault."""
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
    mode = data.get("interactiveMode") or ("IfAvailable" if version == EXEC_V1BETA1 else "")
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
