"""Documents that follow from the code: `make readme` writes them, a test compares them."""

import json
import types
import typing
from pathlib import Path
from typing import Any

import yaml
from annotated_types import Ge, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from castai_stack import __main__ as command_line_module
from castai_stack.commands.command_line import EXIT_STATUSES
from castai_stack.config import stack_file
from castai_stack.config.model import StackConfig
from castai_stack.config.validation import validate
from castai_stack.fields import Section
from castai_stack.permissions import operator, operator_kubernetes

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- configuration: begin (make readme) -->\n", "<!-- configuration: end -->\n"


def table() -> str:
    """One row a key, sections spread out, in the order of the settings."""
    rows = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{key}` | {kind} | {default} | {text} |"
        for key, kind, default, text in _rows(StackConfig, "")
    ]
    return "\n".join(rows) + "\n"


def _rows(model: type[BaseModel], prefix: str) -> typing.Iterator[tuple[str, str, str, str]]:
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Section):
            yield from _rows(annotation, f"{key}.")
            continue
        if not field.description:
            raise ValueError(f"{model.__name__}.{name} has no docstring for the table")
        text = " ".join(field.description.split()).replace("|", "\\|")
        yield key, _kind(annotation, field.metadata), _default(field), text


def _kind(annotation: Any, metadata: list[Any]) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _kind(arguments[0], list(arguments[1:]))
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in {types.UnionType, typing.Union}:
        return " or ".join(_kind(a, metadata) for a in arguments if a is not types.NoneType)
    if origin is list:
        return f"list of {_kind(arguments[0], [])}"
    if origin is dict:
        return "mapping"
    if annotation is int:
        low = next((m.ge for m in metadata if isinstance(m, Ge)), None)
        high = next((m.le for m in metadata if isinstance(m, Le)), None)
        return "number" if low is None else f"{low} to {high}" if high else f"{low} or more"
    return {str: "text", bool: "true, false", float: "number"}.get(annotation, "mapping")


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return ""
    if field.default is PydanticUndefined:
        return "**required**"
    if field.default is None or field.default in ([], {}):
        return ""
    if isinstance(field.default, bool):
        return f"`{str(field.default).lower()}`"
    if isinstance(field.default, list):
        return f"`[{', '.join(map(str, field.default))}]`"
    return f"`{field.default}`"


def rendered(readme: str) -> str:
    """Return the README's text with the table of today between its marks."""
    before, rest = readme.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}{table()}{END}{after}"


COMMANDS = README.parent / "docs" / "commands.md"
COMMANDS_BEGIN, COMMANDS_END = (
    "<!-- commands: begin (make readme) -->\n",
    "<!-- commands: end -->\n",
)


def commands_rendered(document: str) -> str:
    """Return the document with today's commands and exit statuses between its marks."""
    before, rest = document.split(COMMANDS_BEGIN)
    after = rest.split(COMMANDS_END)[1]
    lines = ["| command | what it does |", "| --- | --- |"]
    lines += [f"| `{name}` | {text} |" for name, text in command_line_module.COMMANDS.items()]
    lines += ["", "| exit status | meaning |", "| --- | --- |"]
    lines += [f"| {status} | {text} |" for status, text in EXIT_STATUSES.items()]
    return f"{before}{COMMANDS_BEGIN}" + "\n".join(lines) + f"\n{COMMANDS_END}{after}"


OPERATOR = README.parent / "docs" / "operator-permissions.md"
_EXAMPLE = {"name": "prod", "region": "eu-central-1", "accountId": "012345678901"}


def operator_document() -> str:
    """Every document that the operator of a stack with the defaults needs."""
    settings = validate({"cluster": _EXAMPLE}, stack_file.KEY)
    aws = operator.requirements(settings, access_entries=True)
    cluster = operator_kubernetes.kubernetes_requirements(settings, aws_auth=True)
    parts = [
        "# What the operator needs",
        "These are for a cluster `prod` in account `012345678901`, region `eu-central-1`, with the "
        "default settings. For yours: `python -m castai_stack operator-permissions Pulumi.prod.yaml` "
        "(`--for preview`, `--kubernetes`). The preflight asks for exactly these. The list follows the "
        "settings: what a switch that was turned off had made is deleted with the rights of before.",
        "In Kubernetes, applying takes a caller who may grant the agent's rules: one who holds "
        "them, or who has the verbs `escalate` and `bind` on roles and cluster roles. The provider "
        "also lists and watches what it deletes, until it is gone. A preview takes `get`: where the "
        "API server refuses the Kubernetes provider's dry run, the provider compares with the state. "
        "With `patch` as well, a preview also shows what the API server itself would refuse or "
        "change.",
    ]
    for title, apply in (("To apply", True), ("To preview", False)):
        policy = json.dumps(operator.policy(aws, apply=apply), indent=2)
        role = yaml.safe_dump(
            operator_kubernetes.cluster_role(cluster, apply=apply), sort_keys=False
        )
        parts += [f"## {title}: IAM", f"```json\n{policy}\n```"]
        parts += [f"## {title}: Kubernetes", f"```yaml\n{role}```"]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    README.write_text(rendered(README.read_text()))
    OPERATOR.write_text(operator_document())
    COMMANDS.write_text(commands_rendered(COMMANDS.read_text()))
