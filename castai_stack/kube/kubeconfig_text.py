"""The text of a kubeconfig: its syntax, the types of its values, and the secrets in it.

Source: kubernetes/client-go, tools/clientcmd (api/v1/types.go)
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from castai_stack.kube.endpoint import KubeconfigError

_GROUPS = (("clusters", "cluster"), ("users", "user"), ("contexts", "context"))
Data = Mapping[str, Any]


def parse(text: str | bytes) -> Any:
    """Return the first document of JSON or YAML in UTF-8 or UTF-16; None for an empty text.

    JSON comes first because YAML refuses its tabs. Raises ValueError without the text in it.
    """
    try:
        return json.loads(text)
    except ValueError:
        pass
    import yaml  # noqa: PLC0415 - see secret_keys

    try:
        return next(yaml.safe_load_all(text), None)
    except (yaml.YAMLError, ValueError, RecursionError):  # the error quotes the text
        raise ValueError("is not YAML or JSON") from None


def is_text(kubeconfig: str) -> bool:
    """Return True for the text of a kubeconfig; False for `ambient` and for a path."""
    return kubeconfig.lstrip().startswith("{") or "\n" in kubeconfig


# Keys of a user, and of the `config` of its auth-provider.
_SECRET_KEYS = frozenset(
    {
        "token",
        "password",
        "client-key-data",
        "access-token",
        "id-token",
        "refresh-token",
        "client-secret",
    }
)
_ADDRESS_KEYS = frozenset({"server", "proxy-url"})
_SECRET_VARIABLE = re.compile(
    r"(SECRET|TOKEN|PASSWORD|PASSWD|ACCESS_KEY|API_KEY)(?!.*_FILE$)", re.IGNORECASE
)
_SECRET_OPTION = re.compile(
    r"--?(?:\w+[-_.])*(?:password|passwd|secret|token)(=.+)?", re.IGNORECASE
)
_SECRET_COMMENT = re.compile(rf"#.*\b({'|'.join(sorted(_SECRET_KEYS))})[\"']?\s*:\s*\S")


def secret_keys(kubeconfig: str) -> tuple[str, ...]:
    """Return the places of a kubeconfig's text that hold a secret; none for a path or `ambient`.

    Keys decide and not the text, so that a user called `token` or a path with `password` in it is
    no secret, and a short token is one. Every document of the text counts, because a state keeps
    all of it.

    Raises KubeconfigError for a text that is neither YAML nor JSON.
    """
    if not is_text(kubeconfig):
        return ()
    import yaml  # noqa: PLC0415 - an ambient kubeconfig needs none of its 16 ms

    try:
        documents = list(yaml.safe_load_all(kubeconfig.expandtabs()))
    except (yaml.YAMLError, ValueError, RecursionError):  # the error quotes the text
        raise KubeconfigError("kubeconfig text: is not YAML or JSON") from None
    places = [place for document in documents for place in _secrets(document, "")]
    if any(map(_SECRET_COMMENT.search, kubeconfig.splitlines())):
        places.append("a comment")
    return tuple(dict.fromkeys(places))


def _secrets(node: Any, place: str) -> Iterator[str]:
    if isinstance(node, dict):
        name = node.get("name")
        if isinstance(name, str) and _SECRET_VARIABLE.search(name) and node.get("value"):
            yield f"{place}.{name}"
        for key, value in node.items():
            path = f"{place}.{key}" if place else str(key)
            if _is_secret(key, value):
                yield path
            else:
                yield from _secrets(value, path)
    elif isinstance(node, list):
        for position, item in enumerate(node):
            option = _SECRET_OPTION.fullmatch(item) if isinstance(item, str) else None
            if option and (option[1] or _is_value(node[position + 1 : position + 2])):
                yield place
            yield from _secrets(item, f"{place}[{position}]")


def _is_secret(key: object, value: object) -> bool:
    if key in _ADDRESS_KEYS:
        return isinstance(value, str) and "@" in value
    return key in _SECRET_KEYS and value not in (None, "")


def _is_value(following: list[Any]) -> bool:
    """Return True if an option's value follows, and not another option."""
    return bool(following) and not str(following[0]).startswith("-")


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


CLUSTER_FILES = ("certificate-authority",)
USER_FILES = ("client-certificate", "client-key", "tokenFile")


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
        **dict.fromkeys(USER_FILES, _TEXT),
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


def from_file(path: Path) -> dict[str, Any]:
    """Return clusters, users and contexts of a file, as `from_text`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise KubeconfigError(f"{path}: cannot be read: {error.strerror}") from None
    return from_text(content, str(path), path.parent)


def from_text(text: str | bytes, where: str, folder: Path | None) -> dict[str, Any]:
    """Return clusters, users and contexts by name, and the current context.

    `where` names the source in messages. Relative paths become those beside `folder`, if given.
    Raises KubeconfigError, which names the key at fault.
    """
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
        for key in (*CLUSTER_FILES, *USER_FILES):
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


def merge(configs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return several kubeconfigs as one; the first to define a name wins, as for kubectl."""
    merged: dict[str, Any] = {"current-context": "", "clusters": {}, "users": {}, "contexts": {}}
    for config in configs:
        merged["current-context"] = merged["current-context"] or config["current-context"]
        for group, _ in _GROUPS:
            merged[group] = {**config[group], **merged[group]}
    return merged
