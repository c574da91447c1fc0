"""Arguments of a component as validated settings: all problems at once, before any resource."""

import os
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pydantic import TypeAdapter, ValidationError

from castai_stack.config.model import StackConfig
from castai_stack.config.program import API_URL_VARIABLE
from castai_stack.config.validation import InvalidSettingsError, validate
from castai_stack.fields import Section
from castai_stack.spelling import camel, snake


class ArgumentError(pulumi.RunError):
    """Arguments are unusable; the message lists every problem, one on each line."""


class EngineArguments(dict[str, Any]):
    """Arguments of a program in another language; keys of settings are camelCase."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a component takes; arguments are spelled as in Python."""

    component: str
    settings: Mapping[str, str]
    """Plain arguments, and the key of each one among the settings of a stack."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """Arguments that may be outputs of other resources, and the type of a plain value."""
    required: frozenset[str] = frozenset()
    """Those of `inputs` that have to be given."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Settings that the component does not take, by their keys, and what to do instead."""
    rules: Callable[["Checked"], Iterable[str]] = lambda _: ()
    """Yields what else is wrong with valid arguments, by the keys of a stack file."""


@dataclass(frozen=True, slots=True)
class Checked:
    """Valid arguments."""

    settings: StackConfig
    inputs: Mapping[str, Any]
    """Arguments that may be outputs; those that are not given are missing."""


def checked(shape: Shape, name: str, args: Mapping[str, Any]) -> Checked:
    """Return the arguments of the component `name`. Raises ArgumentError with every problem."""
    in_python = not isinstance(args, EngineArguments)
    problems: dict[str, str] = {}
    given = _top_level(shape, args, problems, in_python=in_python)
    inputs = {key: given[key] for key in shape.inputs if key in given}
    raw: dict[str, Any] = {}
    for argument, key in shape.settings.items():
        if argument in given:
            model = _section_at(key) if in_python else None
            _put(raw, key, _plain(given[argument], model, camel(argument), problems))
    if (url := os.environ.get(API_URL_VARIABLE)) and isinstance(raw.get("api", {}), dict):
        # It comes before `api.url` in every part of the plugin, too.
        _put(raw, "api.url", url)
    for key, advice in shape.refused.items():
        if _get(raw, key) is not None:
            problems[key] = f"{shape.component} does not take it; {advice}"
    problems |= dict(_wrong_inputs(shape, inputs))
    result = None
    try:
        result = Checked(validate(raw, ""), inputs)
        lines = list(shape.rules(result))
    except InvalidSettingsError as error:
        lines = error.lines
    # What cannot be read is missing as well; one sentence on it is enough.
    lines = [line for line in _renamed(lines, shape) if line.partition(":")[0] not in problems]
    lines += [f"{path}: {text}" for path, text in problems.items()]
    if result is None or lines:
        spelled = [_in_python(line, shape) for line in lines] if in_python else lines
        text = "".join(f"\n  {line}" for line in spelled)
        raise ArgumentError(f"Invalid arguments of {shape.component} {name}:{text}")
    return result


def _top_level(
    shape: Shape, args: Mapping[str, Any], problems: dict[str, str], *, in_python: bool
) -> dict[str, Any]:
    """Return what is given, by the arguments' names in Python."""
    known = {argument if in_python else camel(argument): argument for argument in _names(shape)}
    for key in args.keys() - known:
        takes = ", ".join(sorted(map(camel, known.values())))
        problems[key] = f"unknown key; {shape.component} takes {takes}"
    given = {known[key]: value for key, value in args.items() if key in known}
    return {argument: value for argument, value in given.items() if value is not None}


def _names(shape: Shape) -> set[str]:
    return {*shape.settings, *shape.inputs}


def _plain(value: Any, model: type[Section] | None, path: str, problems: dict[str, str]) -> Any:
    """Return a value as a stack file has it, without what cannot stand there.

    With a `model`, keys are Python's names of its settings. Keys below a plain mapping are data.
    """
    if isinstance(value, pulumi.Output | Awaitable):
        problems[path] = "found an output; allowed: a value that is known before the run"
        return None
    if isinstance(value, list | tuple):
        items = [(f"{path}.{index}", item) for index, item in enumerate(value)]
        return [_plain(item, None, place, problems) for place, item in items]
    if not isinstance(value, Mapping):
        # The engine sends whole numbers as fractions.
        return int(value) if isinstance(value, float) and value.is_integer() else value
    aliases = {snake(alias): alias for alias in _fields(model)} if model else {}
    read = {}
    for key, inner in value.items():
        alias = aliases.get(key, key)
        if model is not None and key not in aliases:
            problems[f"{path}.{key}"] = "unknown key; docs/configuration.md lists the keys"
        elif inner is not None:
            section = _section(model, alias) if model else None
            read[alias] = _plain(inner, section, f"{path}.{alias}", problems)
    return {alias: inner for alias, inner in read.items() if f"{path}.{alias}" not in problems}


def _fields(model: type[Section]) -> dict[str, Any]:
    """Return the type of each key of a section."""
    return {one.alias or name: one.annotation for name, one in model.model_fields.items()}


def _section(model: type[Section], key: str) -> type[Section] | None:
    inner = _fields(model).get(key)
    return inner if isinstance(inner, type) and issubclass(inner, Section) else None


def _section_at(key: str) -> type[Section] | None:
    model: type[Section] | None = StackConfig
    for part in key.split("."):
        model = _section(model, part) if model else None
    return model


def _put(raw: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        raw = raw.setdefault(parent, {})
    if value is not None:
        raw[last] = value


def _get(raw: Any, key: str) -> Any:
    for part in key.split("."):
        raw = raw.get(part) if isinstance(raw, dict) else None
    return raw


def _wrong_inputs(shape: Shape, inputs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for argument in sorted(shape.required - inputs.keys()):
        yield camel(argument), "required, and not given"
    for argument, value in inputs.items():
        if not isinstance(value, pulumi.Output | Awaitable):
            try:
                TypeAdapter(shape.inputs[argument]).validate_python(value, strict=True)
            except ValidationError as error:
                context = error.errors(include_url=False)[0].get("ctx", {})
                allowed = context.get("allowed", "a text")
                # The value may be a secret.
                type_name = type(value).__name__
                yield (
                    camel(argument),
                    f"found a {type_name} that cannot be used; allowed: {allowed}",
                )


def _renamed(lines: list[str], shape: Shape) -> list[str]:
    """Put the arguments' names in place of the settings' keys, wherever a sentence has them."""
    moved = {key: camel(argument) for argument, key in shape.settings.items()}
    keys = "|".join(map(re.escape, sorted(moved, key=len, reverse=True)))
    pattern = re.compile(rf"(?<![\w.])({keys})(?![\w-])")
    return [pattern.sub(lambda match: moved[match[1]], line) for line in lines]


_UNKNOWN = ": unknown key"
_PATH = re.compile(r"(?<![\w./'-])[a-z][A-Za-z0-9]*(\.\w+)*")


def _in_python(line: str, shape: Shape) -> str:
    """Return a sentence with the keys of settings as Python spells them; data keys stay."""
    arguments = {camel(argument): argument for argument in _names(shape)}

    def spelled(match: re.Match[str]) -> str:
        head, *rest = match[0].split(".")
        return ".".join([arguments.get(head, head), *_names_below(_section_at(head), rest)])

    path, separator, text = line.partition(_UNKNOWN)
    if not separator:
        return _PATH.sub(spelled, line)
    # The unknown key is shown as it was written.
    *parents, key = re.split(r"(?<=\.)", path)
    return f"{_PATH.sub(spelled, ''.join(parents))}{key}{separator}{_PATH.sub(spelled, text)}"


def _names_below(model: type[Section] | None, path: list[str]) -> list[str]:
    if model is None or not path or path[0] not in _fields(model):
        return path
    return [snake(path[0]), *_names_below(_section(model, path[0]), path[1:])]
