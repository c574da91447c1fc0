"""Who may import whom: documents know no engine, components no configuration, the handler nobody."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "castai_stack"
DOCUMENTS = (
    "agent_manifests",
    "arn",
    "aws_auth",
    "iam_policies",
    "iam_quotas",
    "key_rotation",
    "naming",
    "operator_permissions",
    "permission_grants",
    "permission_page",
    "permission_report",
    "permissions",
    "pod_diagnosis",
    "settings",
    "spot_events",
    "stack_file",
    "validation",
)
EDGES = {"pulumi", "pulumi_aws", "pulumi_kubernetes", "lightkube", "requests", "boto3", "sandbox"}
COMPOSERS = {"castai_stack.config", "castai_stack.stack", "castai_stack.providers"}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(folder):
    return sorted((PACKAGE / folder).glob("*.py"))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_are_values_and_know_no_engine_and_no_network(name):
    roots = {i.split(".")[0] for i in imports(PACKAGE / f"{name}.py")}

    assert not roots & EDGES, roots & EDGES


@pytest.mark.parametrize(
    "path", [*files("components"), *files("resources")], ids=lambda p: f"{p.parent.stem}/{p.stem}"
)
def test_parts_never_read_the_stacks_configuration(path):
    assert not set(imports(path)) & COMPOSERS


@pytest.mark.parametrize("path", files("components"), ids=lambda p: p.stem)
def test_components_do_not_know_each_other(path):
    others = {i for i in imports(path) if i.startswith("castai_stack.components")}

    assert not others


@pytest.mark.parametrize("path", files("spot_handler"), ids=lambda p: p.stem)
def test_the_handler_runs_without_this_package(path):
    assert not any(i.startswith(("castai_stack", "pulumi")) for i in imports(path))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_nothing_of_the_program_knows_the_sandbox(path):
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


def test_a_comparison_of_dynamic_resources_loads_no_heavy_library():
    """Their host is a process of its own, which every preview starts and waits for."""
    modules = ", ".join(f"castai_stack.resources.{path.stem}" for path in files("resources"))
    code = f"import sys, {modules}\nprint(*sorted(sys.modules))"

    assert not set(printed(code).split()) & {*EDGES - {"pulumi"}, "pydantic", "httpx2"}


def test_what_the_program_imports_is_neither_searched_for_cycles_nor_taken_apart():
    code = (
        "import gc, runpy, pulumi\n"
        "pulumi.run = lambda program: print(gc.isenabled(), gc.get_freeze_count() > len(gc.get_objects()))\n"
        "runpy.run_path('__main__.py')\n"
    )

    assert printed(code) == "False True\n"
