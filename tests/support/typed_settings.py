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
from tests.support.attribute_docstrings import described

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
        if model is StackConfig or model.__name__ not in _LEFT_OUT:
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
    choices = [one for model in models for one in _enumerations(model)]
    text = "\n\n".join(_class(model) for model in models if model.__name__ not in _LEFT_OUT)
    names = [
        *(["TYPE_CHECKING"] if choices else []),
        *(["Any"] if "Any]" in text else []),
        *(["Literal"] if choices else []),
        "TypedDict",
    ]
    imports = "from enum import StrEnum\n" if choices else ""
    return (
        '"""Settings as typed dictionaries, for programs; `make readme` writes them from the models.'
        f'"""\n\n{imports}from typing import {", ".join(names)}\n'
        f"{_choice_types(choices)}\n\n{text}"
    )


def _enumerations(model: type[Section]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield type, key and values of each setting that is one of several texts."""
    if model is StackConfig or model.__name__ not in _LEFT_OUT:
        for name, field in model.model_fields.items():
            values = _choices(field.annotation)
            if values and isinstance(values[0], str):
                yield _choice_type(model, name), field.alias or name, values


def _choice_type(model: type[Section], name: str) -> str:
    return ("" if model is StackConfig else model.__name__) + _pascal(name)


def _pascal(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _choice_types(choices: list[tuple[str, str, list[str]]]) -> str:
    """Return the types: literals for a type checker, enumerations for Pulumi's analyzer."""
    if not choices:
        return ""
    checked, analyzed = [], []
    for name, key, values in choices:
        literals = ", ".join(f'"{value}"' for value in values)
        line = f"    {name} = Literal[{literals}]"
        broken = f"    {name} = Literal[\n        {literals}\n    ]"
        checked.append(line if len(line) <= _WIDTH else broken)
        members = [f'{_member(value)} = "{value}"' for value in values]
        head = f'    class {name}(StrEnum):\n        """Values of `{key}`."""\n'
        analyzed.append("\n".join([head, *(f"        {member}" for member in members)]))
    return (
        "\nif TYPE_CHECKING:\n"
        + "\n".join(checked)
        + "\nelse:  # Pulumi's analyzer takes enumerations and no literals.\n\n"
        + "\n\n".join(analyzed)
        + "\n"
    )


def _member(value: str) -> str:
    return snake(value).replace("-", "_").upper()


def _class(model: type[Section]) -> str:
    document = textwrap.indent(f'"""{inspect.getdoc(model)}', "    ")
    end = '\n    """' if "\n" in document else '"""'
    lines = [f"class {model.__name__}Settings(TypedDict, total=False):", f"{document}{end}", ""]
    for name, field in model.model_fields.items():
        if (model.__name__, name) in _NO_ADOPTION:
            continue
        type_ = _type(field.annotation)
        if any(isinstance(choice, str) for choice in _choices(field.annotation)):
            type_ = type_.replace("str", _choice_type(model, name))
        lines.append(f"    {snake(field.alias or name)}: {type_}")
        lines += _quoted(_text(model, name, field))
    return "\n".join(lines) + "\n"


def _text(model: type[Section], name: str, field: FieldInfo) -> str:
    inner, text = field.annotation, described(model, name)
    if isinstance(inner, type) and issubclass(inner, Section):
        return text or " ".join((inspect.getdoc(inner) or "").split())
    parts = [text]
    if choices := _choices(inner):
        parts.append(f"One of {', '.join(f'`{choice}`' for choice in choices)}.")
    if field.default not in (None, [], {}):
        default = field.default
        default_text = str(default).lower() if isinstance(default, bool) else default
        parts.append(
            f"Default: `{', '.join(default) if isinstance(default, list) else default_text}`."
        )
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
