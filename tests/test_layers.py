"""Imports between the packages: downwards only, and by the layer that a file's name says."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "castai_stack"
EDGES = {"pulumi", "pulumi_aws", "pulumi_kubernetes", "lightkube", "requests", "boto3", "sandbox"}
FLOORS = (
    {"arn", "component", "naming", "spelling", "spot_handler"},
    {"aws_resources"},
    {"fields"},
    {"kube"},
    {"plugin"},
    {"castai", "iam"},
    {"access", "agent", "spot"},
    {"automation"},
    {"config"},
    {"permissions"},
    {"commands", "policy", "preflight"},
    {"adopt", "report"},
    {"stack"},
    {"components"},
    {"__main__"},
)
"""Packages and modules of `castai_stack`, lowest floor first: an import points to a lower floor."""

# What a file may import follows from its name. Any other name in these packages is a document or a
# decision: values in, values out.
SLICES = ("access", "agent", "automation", "iam", "spot")
WITH_ENGINE = {"component", "resources"}
WITH_NETWORK = {"access/handlers", "access/writer", "agent/adoption", "agent/handlers"}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def top_level_roots(path):
    """Packages that importing the file imports; imports inside functions do not count."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0]


def files(folder):
    return sorted((PACKAGE / folder).glob("*.py"))


def room(path):
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


def is_document(path):
    return path.stem not in WITH_ENGINE and room(path) not in WITH_NETWORK


SLICE_FILES = [path for name in SLICES for path in files(name)]
MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=room)
def test_imports_point_to_a_lower_floor(path):
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if own == "__init__":
        return
    others = {
        parts[1]
        for name in imports(path)
        if (parts := name.split("."))[0] == "castai_stack" and len(parts) > 1 and parts[1] != own
    }

    assert all(floor[other] < floor[own] for other in others), others


@pytest.mark.parametrize(
    "path",
    [
        *filter(is_document, SLICE_FILES),
        *files("permissions"),
        PACKAGE / "arn.py",
        PACKAGE / "fields.py",
        PACKAGE / "naming.py",
        PACKAGE / "config/model.py",
        PACKAGE / "config/stack_file.py",
        PACKAGE / "config/validation.py",
    ],
    ids=room,
)
def test_documents_are_values_and_know_no_engine_and_no_network(path):
    roots = {name.split(".")[0] for name in imports(path)}

    assert not roots & EDGES, roots & EDGES


@pytest.mark.parametrize(
    "path", [p for p in SLICE_FILES if p.stem not in {"settings", "__init__"}], ids=room
)
def test_only_settings_know_pydantic(path):
    assert "pydantic" not in set(top_level_roots(path))


@pytest.mark.parametrize("path", files("spot_handler"), ids=room)
def test_the_handler_runs_without_this_package(path):
    assert not any(i.startswith(("castai_stack", "pulumi")) for i in imports(path))


@pytest.mark.parametrize("path", MODULES, ids=room)
def test_the_program_knows_neither_sandbox_nor_tests(path):
    assert not any(i.split(".")[0] in {"sandbox", "tests", "moto"} for i in imports(path))


def printed(code):
    return subprocess.check_output([sys.executable, "-c", code], cwd=PACKAGE.parent, text=True)


def test_importing_the_components_touches_no_network():
    code = (
        "import socket\n"
        "def refuse(*_): raise AssertionError('network at import')\n"
        "socket.socket.connect = refuse\n"
        "import castai_stack.stack\n"
    )

    assert printed(code) == ""


def test_the_start_of_the_plugin_loads_no_heavy_library():
    """The plugin is a process of its own, which every preview starts and waits for."""
    code = (
        "import runpy, sys\n"
        "from castai_stack.plugin import server\n"
        "server.serve = lambda types, arguments, components: print(len(types), *sorted(sys.modules))\n"
        "runpy.run_path('plugin', run_name='__main__')\n"
    )
    count, *modules = printed(code).split()

    assert int(count) > 10
    assert not set(modules) & {*EDGES, "pydantic", "httpx2", "botocore"}


def test_what_the_program_imports_is_neither_searched_for_cycles_nor_taken_apart():
    code = (
        "import gc, runpy, pulumi\n"
        "pulumi.run = lambda program: print(gc.isenabled(), gc.get_freeze_count() > len(gc.get_objects()))\n"
        "runpy.run_path('__main__.py')\n"
    )

    assert printed(code) == "False True\n"
