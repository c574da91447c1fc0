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
from castai_stack.components import host
from castai_stack.config import stack_file
from castai_stack.config.model import StackConfig
from castai_stack.config.validation import validate
from castai_stack.fields import Section
from castai_stack.permissions import operator, operator_kubernetes
from tests.support import typed_settings
from tests.support.attribute_docstrings import described

README = Path(__file__).parents[2] / "README.md"
CONFIGURATION = README.parent / "docs" / "configuration.md"


def configuration_document() -> str:
    """Every key of the stack configuration, one table for each section."""
    parts = [
        "# Configuration",
        "Settings stand under `castai-eks:castai` in the stack file, as one object. The API key is a "
        "secret of its own, `castai-eks:apiKey`. `CASTAI_API_URL` and `CASTAI_API_KEY` of the "
        "environment come before `api.url` and that secret. An unknown key is an error; all errors "
        "are reported at once.",
        "```yaml\nconfig:\n  castai-eks:castai:\n    cluster:\n      name: prod\n"
        '      region: eu-central-1\n      accountId: "012345678901"\n```',
        "`make readme` writes this page from the code, and a test compares the two.",
    ]
    rows = list(_rows(StackConfig, ""))
    sections = [name for name, field in StackConfig.model_fields.items() if _is_section(field)]
    for section in sections:
        inside = [row for row in rows if row[0].startswith(f"{section}.")]
        parts += [
            f"## {section}",
            described(StackConfig, section),
            table(inside),
        ]
    parts += ["## Other keys", table([row for row in rows if "." not in row[0]])]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _is_section(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, Section)


def table(rows: list[tuple[str, str, str, str]]) -> str:
    """One row a key, in the order of the settings."""
    lines = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    lines += [f"| `{key}` | {kind} | {default} | {text} |" for key, kind, default, text in rows]
    return "\n".join(lines) + "\n"


def _rows(model: type[BaseModel], prefix: str) -> typing.Iterator[tuple[str, str, str, str]]:
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Section):
            yield from _rows(annotation, f"{key}.")
            continue
        text = described(model, name)
        if not text:
            raise ValueError(f"{model.__name__}.{name} has no docstring for the table")
        yield key, _kind(annotation, field.metadata), _default(field), text.replace("|", "\\|")


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


SCHEMA = README.parent / "castai_stack" / "components" / "schema.json"

if __name__ == "__main__":
    CONFIGURATION.write_text(configuration_document())
    OPERATOR.write_text(operator_document())
    COMMANDS.write_text(commands_rendered(COMMANDS.read_text()))
    for path, text in typed_settings.modules().items():
        path.write_text(text)
    SCHEMA.write_text(host.schema())
