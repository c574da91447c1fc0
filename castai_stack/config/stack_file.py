"""Settings straight from a Pulumi stack file, for commands that need no engine, cloud or secret."""

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from castai_stack.config.model import StackConfig
from castai_stack.config.validation import SettingsError, validate

PROJECT, OBJECT = "castai-eks", "castai"
KEY = f"{PROJECT}:{OBJECT}"
_SECURE = "secure"
_PROJECT_FILES = ("Pulumi.yaml", "Pulumi.yml", "Pulumi.json")


def read(path: Path, *, unused: Collection[str] = ()) -> StackConfig:
    """Return the settings of a stack file, in every form that Pulumi accepts.

    The object may be a mapping or its JSON text, and may come from the project file beside the
    stack file. `unused` names sections that the caller does not use: an encrypted value there
    counts as absent. Raises SettingsError when the file is no stack file, for an encrypted value
    that is needed, and with all problems of the settings.
    Source: https://www.pulumi.com/docs/iac/concepts/config/
    """
    raw = _object(path)
    encrypted = list(_encrypted(raw, ()))
    needed = [place for place in encrypted if not place or place[0] not in unused]
    if needed:
        lines = [f"  {'.'.join((KEY, *place))}" for place in needed]
        raise SettingsError(
            f"{path}: these values are encrypted, and this command reads no secret:\n"
            + "\n".join(lines)
            + "\nStore them in clear (`pulumi config set --path`, without --secret), or give a "
            "copy of the file that has them in clear"
        )
    return validate(_without_encrypted(raw), KEY)


def encrypted_values(path: Path) -> list[str]:
    """Return the keys of a stack file's encrypted settings; raises SettingsError as `read` does."""
    return [".".join((KEY, *place)) for place in _encrypted(_object(path), ())]


def _object(path: Path) -> Any:
    config = _config(path)
    raw = config.get(KEY)
    if raw is None:
        raw = _project_default(path.parent)
    if raw is None:
        raise SettingsError(
            f"{path}: there is no {KEY} under config; name a stack file of this program"
        )
    if isinstance(raw, str):  # `pulumi config set castai '{…}'` stores the text
        try:
            return json.loads(raw)
        except ValueError:
            raise SettingsError(
                f"{path}: {KEY} is a text that is not JSON; write a mapping"
            ) from None
    return raw


def _config(path: Path) -> Mapping[str, Any]:
    document = _document(path)
    config = document.get("config") if isinstance(document, dict) else None
    return config if isinstance(config, dict) else {}


def _project_default(folder: Path) -> Any:
    """Return the object of the project file, which holds for stacks that have none."""
    for path in map(folder.joinpath, _PROJECT_FILES):
        if path.is_file():
            config = _config(path)
            entry = config.get(KEY, config.get(OBJECT))
            return entry.get("value", entry.get("default")) if isinstance(entry, dict) else entry
    return None


def _document(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: not a text file in UTF-8; name a stack file") from None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; name a stack file") from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" in line {where.line + 1}" if where else ""
        raise SettingsError(f"{path}: not YAML{line}; correct it, or name another file") from None


def _is_encrypted(node: Any) -> bool:
    return isinstance(node, dict) and set(node) == {_SECURE} and isinstance(node[_SECURE], str)


def _encrypted(node: Any, place: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if _is_encrypted(node):
        yield place
    elif isinstance(node, dict | list):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, inner in items:
            yield from _encrypted(inner, (*place, str(key)))


def _without_encrypted(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: _without_encrypted(v) for k, v in node.items() if not _is_encrypted(v)}
    if isinstance(node, list):
        return [_without_encrypted(one) for one in node if not _is_encrypted(one)]
    return node
