"""A stack file with some settings replaced; the file itself is never written."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

CONFIG_KEY = "castai-eks:castai"

_ACCOUNT_ID = re.compile(r"^\d{12}$")
_STEP = re.compile(r"""\[\s*"((?:[^"\\]|\\.)*)"\s*\]|\[\s*(\d+)\s*\]|\.?([^.\[\]"]+)""")


class StackFileError(Exception):
    """A stack file or an override is unusable; the message is the whole story."""


class _Quoting(yaml.SafeDumper):
    """Quotes every text, so that an account id cannot become a number in any reader."""


_Quoting.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)


def render(source: Path, overrides: Iterable[str]) -> str:
    """Return the text of `source` with each `KEY=VALUE` set below the `castai` object."""
    try:
        text = source.read_text()
    except OSError as error:
        raise StackFileError(f"{source}: {error.strerror}; name an existing stack file") from None
    overrides = list(overrides)
    if not overrides:
        return text
    try:
        document = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        problem = str(error).replace("\n", " ")
        raise StackFileError(f"{source} is not YAML: {problem}") from None
    if not isinstance(document, dict) or not isinstance(document.get("config", {}), dict):
        raise StackFileError(f"{source} is no stack file: it wants a mapping with a `config` key")
    settings = document.setdefault("config", {}).setdefault(CONFIG_KEY, {})
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise StackFileError(
                f"--set {override}: write KEY=VALUE, such as credentials.mode=role"
            )
        _put(settings, _path(key), _value(override, value), key)
    return yaml.dump(document, Dumper=_Quoting, sort_keys=False, width=10_000)


def _value(override: str, text: str) -> Any:
    if _ACCOUNT_ID.match(text):
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise StackFileError(
            f"--set {override}: the value is not YAML; put it in quotes of its own"
        ) from None
    # A date is no setting: whoever writes one means its text.
    return value if value is None or isinstance(value, str | int | float | list | dict) else text


def _path(key: str) -> list[str | int]:
    """Split `a.b["c.d"][0]`, the spelling of Pulumi's own `config set --path`."""
    path: list[str | int] = []
    position = 0
    while position < len(key):
        match = _STEP.match(key, position)
        if match is None:
            raise StackFileError(
                f'--set {key}: cannot read the key from {key[position:]!r}; write a.b or a["b.c"]'
            )
        quoted, index, plain = match.groups()
        path.append(int(index) if index is not None else plain if quoted is None else quoted)
        position = match.end()
    return path


def _put(settings: Any, path: list[str | int], value: Any, key: str) -> None:
    *parents, last = path
    for depth, step in enumerate(parents):
        _require(settings, step, key)
        if isinstance(settings, dict):
            following = path[depth + 1]
            settings = settings.setdefault(step, [] if isinstance(following, int) else {})
        else:
            settings = settings[step]
    _require(settings, last, key)
    if isinstance(settings, list) and last == len(settings):
        settings.append(value)
    else:
        settings[last] = value


def _require(settings: Any, step: str | int, key: str) -> None:
    if isinstance(settings, dict) and isinstance(step, str):
        return
    if isinstance(settings, list) and isinstance(step, int) and step <= len(settings):
        return
    raise StackFileError(f"--set {key}: {step!r} does not fit what the stack file has there")
