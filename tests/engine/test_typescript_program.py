"""A program in TypeScript: the SDK generated from the schema, and the real SDK of Node.js.

The language host between the engine and `node` is a stand-in.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from castai_stack.plugin.server import Plugin
from castai_stack.stack.resource_types import RESOURCE_TYPES
from sandbox import cache, castai, toolchain
from sandbox.engine.stack import REPOSITORY
from sandbox.session import Sandbox
from sandbox.toolchain import Programs
from tests.support.project import Project, clone_on_sandbox

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.exhaustive,  # components in another language than YAML
    pytest.mark.skipif(
        not (shutil.which("node") and shutil.which("npm")), reason="needs Node.js and npm"
    ),
]
PACKAGE = "castai-stack"
CLUSTER_ID = "0f3f1ba4-6f46-4f2e-9a39-6a1bb6c0f0a1"
HOST = """\
#!/bin/sh
exec env PYTHONPATH={repository} {python} -m sandbox.language_host.node "$@"
"""


def installed(package_json: Path) -> Path:
    """Return a folder with `sdks` and `node_modules`, made once for each schema."""
    schema = Plugin(RESOURCE_TYPES, components=lambda: sys).get_schema(None).schema.encode()
    digest = hashlib.sha256(package_json.read_bytes() + schema).hexdigest()[:16]
    folder = cache.folder() / f"node-{digest}"
    if not folder.exists():
        part = folder.with_name(f"{folder.name}.{os.getpid()}")
        sdk = part / "sdks" / PACKAGE
        sdk.mkdir(parents=True)
        shutil.copy(package_json, part)
        subprocess.run([toolchain.node_sdk(), sdk], input=schema, check=True)
        install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(install, cwd=part, check=True)
        # What the SDK's own script does after an installation.
        subprocess.run([part / "node_modules" / ".bin" / "tsc"], cwd=sdk, check=True)
        shutil.copy(sdk / "package.json", sdk / "bin")
        if not folder.exists():
            part.rename(folder)
    return folder


@pytest.fixture
def project(sandbox: Sandbox, programs: Programs, tmp_path: Path) -> Project:
    clone = clone_on_sandbox(tmp_path, sandbox, programs)
    host = tmp_path / "bin" / "pulumi-language-nodejs"
    host.write_text(HOST.format(repository=REPOSITORY, python=sys.executable))
    host.chmod(0o755)
    project = Project(clone.folder / "examples" / "agent-typescript", clone.environment)
    packages = installed(project.folder / "package.json")
    for name in ("node_modules", "sdks"):
        (project.folder / name).symlink_to(packages / name)
    project.run("stack", "init", "dev")
    project.run("config", "set", "clusterId", CLUSTER_ID)
    project.run("config", "set", "--secret", "apiKey", castai.API_KEY)
    return project


def test_a_typescript_program_installs_the_agent_and_takes_it_away(project: Project):
    file = project.folder / "index.ts"
    written = file.read_text()
    wrong = written.replace('"012345678901"', "12345678901").replace("replicas:", "replicaz:")
    file.write_text(wrong)
    refused = project.run("preview", fails=True)
    assert "error TS2322: Type 'number' is not assignable to type 'string'" in refused
    assert "'replicaz' does not exist in type 'AgentSettingsArgs'" in refused

    file.write_text("// @ts-nocheck\n" + wrong)
    refused = project.run("preview", fails=True)
    assert "Invalid arguments of AgentComponent demo:" in refused
    assert "cluster.accountId: found a number without quotes; allowed: a text" in refused
    assert "agent.replicaz: unknown key; docs/configuration.md lists the keys" in refused

    file.write_text(written)
    project.run("up", "--yes", "--skip-preview")
    assert project.run("stack", "output", "namespace").strip() == "castai-agent"
    unchanged = project.run("preview", "--expect-no-changes")
    assert "conflict" not in unchanged
    project.run("destroy", "--yes", "--skip-preview")
