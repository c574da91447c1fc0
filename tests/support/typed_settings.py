"""Settings as typed dictionaries: `make readme` writes them from the models, a test compares them."""

import inspect
import textwrap
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from castai_stack.config.model import StackConfig
from castai_stack.fields import Section
from castai_stack.spelling import snake

PACKAGE = Path(__file__).parents[2] / "castai_stack"
_LEFT_OUT = {"StackConfig", "Cluster", "Preflight"}
"""Models that no component takes as they are."""
_NO_ADOPTION = {("Agent", "adopt"), ("Automation", "adopt")}
"""Settings that take over what a look into the cluster has found; components do not look."""
_WIDTH = 100


def modules() -> dict[Path, str]:
    """Return the text of each module, by its path."""
    by_folder: dict[str, list[type[Section]]] = {}
    for model in reversed(list(dict.fromkeys(models()))):
        if model.__name__ not in _LEFT_OUT:
            by_folder.setdefault(model.__module__.split(".")[1], []).append(model)
    return {PACKAGE / folder / "typed.py": _module(models) for folder, models in by_folder.items()}


def models(model: type[Section] = StackConfig) -> Iterator[type[Section]]:
    """Yield the sections of all settings, each before those that it holds."""
    yield model
    for field in model.model_fields.values():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from models(inner)


def _module(models: list[type[Section]]) -> str:
    text = "\n\n".join(map(_class, models))
    names = ["Any", "TypedDict"] if "Any]" in text else ["TypedDict"]
    return (
        '"""Settings as typed dictionaries, for programs; `make readme` writes them from the models.'
        f'"""\n\nfrom typing import {", ".join(names)}\n\n\n{text}'
    )


def _class(model: type[Section]) -> str:
    document = textwrap.indent(f'"""{inspect.getdoc(model)}', "    ")
    end = '\n    """' if "\n" in document else '"""'
    lines = [f"class {model.__name__}Settings(TypedDict, total=False):", f"{document}{end}", ""]
    for name, field in model.model_fields.items():
        if (model.__name__, name) in _NO_ADOPTION:
            continue
        lines.append(f"    {snake(field.alias or name)}: {_type(field.annotation)}")
        lines += _quoted(_text(field))
    return "\n".join(lines) + "\n"


def _text(field: FieldInfo) -> str:
    inner = field.annotation
    if isinstance(inner, type) and issubclass(inner, Section):
        return " ".join((field.description or inspect.getdoc(inner) or "").split())
    parts = [" ".join((field.description or "").split())]
    if choices := _choices(inner):
        parts.append(f"One of {', '.join(f'`{choice}`' for choice in choices)}.")
    if field.default not in (None, [], {}):
        default = field.default
        shown = str(default).lower() if isinstance(default, bool) else default
        parts.append(f"Default: `{', '.join(default) if isinstance(default, list) else shown}`.")
    return " ".join(parts)


def _choices(annotation: Any) -> list[Any]:
    if typing.get_origin(annotation) is typing.Literal:
        return list(typing.get_args(annotation))
    return [choice for inner in typing.get_args(annotation) for choice in _choices(inner)]


def _type(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is typing.Literal:
        return type(arguments[0]).__name__
    if origin in {types.UnionType, typing.Union}:
        (inner,) = (a for a in arguments if a is not types.NoneType)
        return _type(inner)
    if origin in {list, dict}:
        return f"{origin.__name__}[{', '.join(map(_type, arguments))}]"
    if annotation is Any:
        return "Any"
    return (
        f"{annotation.__name__}Settings" if issubclass(annotation, Section) else annotation.__name__
    )


def _quoted(text: str) -> list[str]:
    lines = textwrap.wrap(f'"""{text}', _WIDTH - 4)
    if len(lines) == 1 and len(lines[0]) + 7 <= _WIDTH:
        return [f'    {lines[0]}"""']
    return [*(f"    {line}" for line in lines), '    """']
