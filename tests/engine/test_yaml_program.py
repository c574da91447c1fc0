"""A program in YAML: components through the plugin, by the real engine and the real YAML host."""

import json
from pathlib import Path

import pytest
import yaml

from castai_stack.plugin import VERSION
from sandbox import castai, inventory, toolchain
from sandbox.session import Sandbox
from sandbox.toolchain import Programs
from tests.support.project import Project, clone_on_sandbox

pytestmark = pytest.mark.sandbox

PLUGINS = ("kubernetes-v4.34.2", "aws-v7.51.1")
"""Providers whose SDKs the plugin's environment has; without them Pulumi would download them."""


PLACE = {"name": "demo", "region": "eu-central-1", "accountId": "012345678901"}
SHAPES = {
    "type": (
        {"agent": {"replicas": "two"}},
        "agent: Cannot assign '{replicas: string}' to 'castai-stack:index:AgentSettings':\n"
        "replicas: Cannot assign type 'string' to type 'integer'",
    ),
    "value": (
        {"credentials": {"mode": "rol"}},
        "mode: Cannot assign type 'string' to type 'castai-stack:index:CredentialsMode':\n"
        'Allowed values are NONE ("none"), USER ("user"), ROLE ("role")',
    ),
    "missing": (
        {"cluster": {"name": "demo", "region": "eu-central-1"}},
        "cluster: Cannot assign '{name: string, region: string}' to 'castai-stack:index:EksCluster':\n"
        "accountId: Missing required property 'accountId'",
    ),
    "unknown": (
        {"clusterName": "demo"},
        "Property clusterName does not exist on 'castai-stack:index:CastaiCluster'",
    ),
    "nested": (
        {"agent": {"cpu_request": "1"}},
        "Property cpu_request does not exist on 'castai-stack:index:AgentSettings'",
    ),
}
"""Arguments that the host refuses by the schema, and what it says; the sentences are its own."""


@pytest.fixture
def project(sandbox: Sandbox, programs: Programs, tmp_path: Path) -> Project:
    """The example in a fresh clone, with the plugin by its path."""
    clone = clone_on_sandbox(tmp_path, sandbox, programs)
    environment = {**clone.environment, "CASTAI_API_KEY": castai.API_KEY}
    (tmp_path / "bin" / "pulumi-language-yaml").symlink_to(toolchain.yaml_host())
    for plugin in PLUGINS:
        name = f"pulumi-resource-{plugin.partition('-')[0]}"
        installed = Path(environment["PULUMI_HOME"]) / "plugins" / f"resource-{plugin}"
        installed.mkdir(parents=True)
        (installed / name).symlink_to(tmp_path / "bin" / name)
    project = Project(clone.folder / "examples" / "everything-yaml", environment)
    project.run("stack", "init", "dev")
    project.run("config", "set", "kubeconfig", "ambient")
    return project


def add_package(project: Project) -> None:
    """Run `pulumi package add` as a user does, as far as this version of the YAML host can.

    It cannot link a package, the step before the CLI writes `packages` into Pulumi.yaml.
    """
    output = project.run("package", "add", "../../plugin", fails=True)
    assert output.endswith("error: linking package: method Link not implemented\n")
    (declaration,) = (project.folder / "sdks" / "castai-stack").iterdir()
    declared = yaml.safe_load(declaration.read_text())
    assert declared == {
        "packageDeclarationVersion": 1,
        "name": "castai-stack",
        "version": VERSION,
    }


def test_a_yaml_program_connects_a_cluster_and_takes_it_away(project: Project, sandbox: Sandbox):
    before = inventory.aws(sandbox.aws_url)
    schema = project.run("package", "get-schema", "../../plugin")
    assert '"castai-stack:index:CastaiCluster"' in schema
    assert '"castai-stack:index:HandOver"' in schema

    file = project.folder / "Pulumi.yaml"
    written = file.read_text()
    program = yaml.safe_load(written)
    assert program.pop("packages") == {"castai-stack": "../../plugin"}
    file.write_text(yaml.safe_dump(program))
    add_package(project)
    program["packages"] = {"castai-stack": "../../plugin"}
    program["resources"]["demo"]["properties"] |= {
        "agent": {"labels": {"team": "b!"}},
        "tags": {"aws:x": "y"},
    }
    file.write_text(yaml.safe_dump(program))
    refused = project.run("preview", fails=True)
    assert "Invalid arguments of CastaiCluster demo:" in refused
    assert "agent.labels.team: found 'b!'; allowed: a label value of at most 63" in refused
    assert "tags.aws:x: the prefix is reserved" in refused
    assert "Traceback" not in refused

    program["resources"] = {
        name: {
            "type": "castai-stack:CastaiCluster",
            "properties": {"cluster": PLACE, "access": {"mode": "aws-auth"}, **wrong},
        }
        for name, (wrong, _) in SHAPES.items()
    }
    program.pop("outputs")
    file.write_text(json.dumps(program))  # YAML without aliases, which the host refuses
    output = "\n".join(map(str.strip, project.run("preview", fails=True).splitlines()))
    assert [name for name, (_, sentence) in SHAPES.items() if sentence not in output] == []

    file.write_text(written)
    project.run("up", "--yes", "--skip-preview")
    outputs = json.loads(project.run("stack", "output", "--json"))
    assert outputs["roleArn"].endswith(":role/cast-eks-demo")
    project.run("preview", "--expect-no-changes")

    project.run("destroy", "--yes", "--skip-preview")
    left = inventory.differences(before, inventory.aws(sandbox.aws_url))
    assert not left, [str(one) for one in left]
