"""Property names and types of the provider, read from the installed `pulumi_aws` package.

The package is not imported: its generated sources are parsed once, and the result is kept
as JSON in the user's cache, so that later starts read one small file.
"""

import ast
import importlib.metadata
import importlib.util
import json
import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.aws_provider.wire import UNKNOWN, Archive, type_name

_FORMAT = 1  # raise when the stored form changes


def sdk_version() -> str:
    """Version of the installed SDK, which the stand-in answers as its own."""
    return importlib.metadata.version("pulumi-aws")


@dataclass(frozen=True)
class Shape:
    """Inputs and outputs of one resource type or lookup."""

    inputs: dict[str, Any]
    required: list[str]
    outputs: list[str]
    types: dict[str, dict[str, Any]]

    def problems(self, values: dict[str, Any]) -> list[tuple[str, str]]:
        """Return what does not fit, each with the path of the property."""
        problems = []
        for name, value in values.items():
            if name not in self.inputs:
                problems.append((name, f"no such property; known: {_names(self.inputs)}"))
            else:
                problems += self._mismatches(value, self.inputs[name], name)
        problems += [
            (name, "missing required property") for name in self.required if name not in values
        ]
        return problems

    def _mismatches(self, value: Any, spec: Any, path: str) -> list[tuple[str, str]]:
        if value is UNKNOWN or spec == "any":
            return []
        if isinstance(spec, str):
            return [] if _is(value, spec) else [(path, f"expected {spec}, got {_type_of(value)}")]
        kind, inner = next(iter(spec.items()))
        if kind == "either":
            answers = [self._mismatches(value, choice, path) for choice in inner]
            return [] if [] in answers else answers[-1 if isinstance(value, dict) else 0]
        expected = list if kind == "list" else dict
        if not isinstance(value, expected):
            return [(path, f"expected {type_name[expected]}, got {_type_of(value)}")]
        if kind == "ref" and isinstance(value, dict):
            return self._object_mismatches(value, self.types[inner], path)
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        form = "{}.{}" if kind == "map" else "{}[{}]"
        parts = [(item, form.format(path, at)) for at, item in pairs]
        return [problem for item, at in parts for problem in self._mismatches(item, inner, at)]

    def _object_mismatches(
        self, value: dict[str, Any], shape: dict[str, Any], path: str
    ) -> list[tuple[str, str]]:
        problems = []
        for name, item in value.items():
            at = f"{path}.{name}"
            if name not in shape["properties"]:
                problems.append((at, f"no such property; known: {_names(shape['properties'])}"))
            else:
                problems += self._mismatches(item, shape["properties"][name], at)
        missing = [name for name in shape["required"] if name not in value]
        return problems + [(f"{path}.{name}", "missing required property") for name in missing]


def _names(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"


def _type_of(value: Any) -> str:
    return type_name.get(type(value), "an archive or asset")


def _is(value: Any, spec: str) -> bool:
    if spec == "archive":
        return isinstance(value, Archive)
    if spec == "string":
        return isinstance(value, (str, bool, int, float))  # the bridge takes scalars for text
    if spec == "boolean":
        return isinstance(value, bool) or value in ("true", "false")
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (spec == "number" and isinstance(value, float))


class Schemas:
    """Shapes by type token, such as `aws:iam/role:Role`."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / f"aws-schema-{_FORMAT}-{sdk_version()}.json"
        self._stored: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __getitem__(self, token: str) -> Shape:
        with self._lock:
            if token not in self._stored:
                self._load(token)
            return Shape(**self._stored[token])

    def _load(self, token: str) -> None:
        if self._file.exists():
            self._stored = json.loads(self._file.read_text()) | self._stored
        if token not in self._stored:
            self._stored[token] = _parse(token)
            self._file.parent.mkdir(parents=True, exist_ok=True)
            scratch = self._file.with_suffix(f".{os.getpid()}")
            scratch.write_text(json.dumps(self._stored))
            scratch.replace(self._file)


def _package() -> Path:
    spec = importlib.util.find_spec("pulumi_aws")
    if spec is None or spec.origin is None:
        raise LookupError("pulumi_aws is not installed: the stand-in takes its schema from there")
    return Path(spec.origin).parent


def _parse(token: str) -> dict[str, Any]:
    module, name = token.split(":")[1:]
    folder_name, _, file_name = module.partition("/")
    package = _package()
    folder = package if folder_name == "index" else package / folder_name
    if folder_name == "lambda":
        folder = package / "lambda_"
    source = _Source(folder)
    is_lookup = name[0].islower()
    return (source.lookup if is_lookup else source.resource)(_snake(file_name), name)


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class _Source:
    """One folder of the SDK: a module with its generated files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.types: dict[str, dict[str, Any]] = {}
        self._inputs: dict[str, ast.ClassDef] | None = None

    def resource(self, file_name: str, name: str) -> dict[str, Any]:
        classes = _classes(self.folder / f"{file_name}.py")
        inputs, required = self._arguments(classes[f"{name}Args"])
        outputs = list(_getters(classes[name]).values())
        return {"inputs": inputs, "required": required, "outputs": outputs, "types": self.types}

    def lookup(self, file_name: str, name: str) -> dict[str, Any]:
        path = self.folder / f"{file_name}.py"
        tree = ast.parse(path.read_text())
        function = next(
            node
            for node in tree.body
            if isinstance(node, ast.FunctionDef) and node.name == file_name
        )
        sent = {
            node.value.id: node.targets[0].slice.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Subscript)
            and isinstance(node.targets[0].slice, ast.Constant)
            and isinstance(node.value, ast.Name)
        }
        classes = _classes(path)
        result = classes[f"{name[0].upper()}{name[1:]}Result"]
        inputs = {
            str(sent[argument.arg]): self._spec(argument.annotation) or "any"
            for argument in function.args.args
            if argument.arg in sent
        }
        outputs = list(_getters(result).values())
        return {"inputs": inputs, "required": [], "outputs": outputs, "types": self.types}

    def _arguments(self, cls: ast.ClassDef) -> tuple[dict[str, Any], list[str]]:
        init = next(
            node
            for node in cls.body
            if isinstance(node, ast.FunctionDef) and node.name == "__init__"
        )
        names = _getters(cls)
        pairs = list(zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True))
        inputs = {names[arg.arg]: self._spec(arg.annotation) or "any" for arg, _ in pairs}
        return inputs, [names[arg.arg] for arg, default in pairs if default is None]

    def _spec(self, node: ast.expr | None) -> Any:
        """Turn an annotation into `string`, `{"list": …}`, `{"ref": "Type"}` and the like."""
        if isinstance(node, ast.Subscript):
            return self._generic(ast.unparse(node.value), node.slice)
        text = (
            node.value if isinstance(node, ast.Constant) else ast.unparse(node or ast.Name("Any"))
        )
        simple = {
            "_builtins.str": "string",
            "_builtins.int": "integer",
            "_builtins.float": "number",
            "_builtins.bool": "boolean",
            "pulumi.Archive": "archive",
            "pulumi.Asset": "asset",
            "Any": "any",
        }
        if text in simple:
            return simple[text]
        return self._reference(str(text))

    def _generic(self, outer: str, inner: ast.expr) -> Any:
        if outer in ("pulumi.Input", "Optional"):
            return self._spec(inner)
        parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        if outer == "Sequence":
            return {"list": self._spec(parts[0]) or "any"}
        if outer == "Mapping":
            return {"map": self._spec(parts[1]) or "any"}
        choices = [spec for spec in map(self._spec, parts) if spec is not None]
        unique = [spec for index, spec in enumerate(choices) if spec not in choices[:index]]
        return unique[0] if len(unique) == 1 else {"either": unique}

    def _reference(self, name: str) -> Any:
        """Describe a nested type; an enumeration or a dict form gives nothing of its own."""
        if self._inputs is None:
            path = self.folder / "_inputs.py"
            self._inputs = _classes(path) if path.exists() else {}
        name = name.strip("'\"")
        cls = self._inputs.get(name)
        if cls is None or name.endswith("Dict"):
            return None
        if name not in self.types:
            self.types[name] = {}
            properties, required = self._arguments(cls)
            self.types[name] = {"properties": properties, "required": required}
        return {"ref": name}


def _classes(path: Path) -> dict[str, ast.ClassDef]:
    tree = ast.parse(path.read_text())
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def _getters(cls: ast.ClassDef) -> dict[str, str]:
    """Python names of the properties, with the names that go over the wire."""
    getters = {}
    for node in cls.body:
        if not isinstance(node, ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            if ast.unparse(decorator) == "pulumi.getter":
                getters[node.name] = node.name
            elif isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pulumi.getter":
                getters[node.name] = str(ast.literal_eval(decorator.keywords[0].value))
    return getters
