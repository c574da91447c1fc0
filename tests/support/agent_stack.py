"""The agent's component alone, run by the real engine against a real API server."""

import multiprocessing
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pulumi
from pulumi import automation

from castai_stack.agent import settings
from castai_stack.agent.component import AgentArgs, AgentComponent
from castai_stack.agent.names import NAMESPACE
from castai_stack.plugin.custom_resource import CastaiProvider
from sandbox.engine.stack import REPOSITORY
from sandbox.toolchain import Programs

CLUSTER_ID = "7e7d3e4c-8a5f-4f0a-9d5e-0123456789ab"
KEY = "sentinel-key"


class AgentStack:
    """A stack that holds an agent and nothing else."""

    def __init__(self, folder: Path, programs: Programs, kubeconfig: Path) -> None:
        self.kubeconfig = str(kubeconfig)
        home = folder / "home"
        for path in (folder / "bin", folder / "state", folder / "work", home):
            path.mkdir(parents=True)
        (folder / "bin" / "pulumi").symlink_to(programs.pulumi)
        (folder / "bin" / "pulumi-resource-kubernetes").symlink_to(programs.kubernetes_plugin)
        host = folder / "bin" / "pulumi-resource-castai-stack"
        host.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{REPOSITORY / "plugin"}" "$@"\n')
        host.chmod(host.stat().st_mode | stat.S_IXUSR)
        self._folder = folder
        self._environment = {
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PULUMI_HOME": str(home),
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "agent",
            "PULUMI_PYTHON_CMD": sys.executable,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_AUTOMATION_API_SKIP_VERSION_CHECK": "true",
            "PULUMI_IGNORE_AMBIENT_PLUGINS": "",
        }

    def stack(self, **changes: Any) -> automation.Stack:
        """Return the stack with a program of these settings and arguments of the component."""
        return automation.create_or_select_stack(
            stack_name="test",
            project_name="agent",
            program=self._program(changes),
            opts=automation.LocalWorkspaceOptions(
                work_dir=str(self._folder / "work"),
                env_vars=self._environment,
                pulumi_command=automation.PulumiCommand(
                    root=str(self._folder), skip_version_check=True
                ),
            ),
        )

    def failing_up(self, **changes: Any) -> str:
        """Return what an `up` that must fail says; the SDK leaves threads behind that one."""
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(_failing_up, self, changes).result()

    def export(self) -> str:
        """Return the state as `pulumi stack export` gives it, secrets encrypted."""
        return subprocess.run(
            ["pulumi", "stack", "export", "--stack", "test"],
            cwd=self._folder / "work",
            env={**os.environ, **self._environment},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def _providers(self) -> list[pulumi.ProviderResource]:
        """Create the providers of the components; call it inside the program."""
        import pulumi_kubernetes

        cluster = pulumi_kubernetes.Provider(
            "cluster",
            kubeconfig=self.kubeconfig,
            enable_secret_mutable=True,
            enable_config_map_mutable=True,
        )
        castai = CastaiProvider(
            "castai",
            api_url="https://api.cast.ai",
            api_key=None,
            kubeconfig=self.kubeconfig,
            context=None,
        )
        return [cluster, castai]

    def _program(self, changes: dict[str, Any]) -> Callable[[], None]:
        existing = changes.pop("existing", ())
        key = changes.pop("api_key", KEY)
        uid = changes.pop("namespace_uid", None)

        def program() -> None:
            args: AgentArgs = {
                "cluster_name": "demo",
                "region": "eu-central-1",
                "account_id": "012345678901",
                "api_url": "https://api.cast.ai",
                "settings": settings.Agent.model_validate(changes),
                "namespace": NAMESPACE,
                "cluster_id": pulumi.Output.from_input(CLUSTER_ID),
                "api_key": pulumi.Output.secret(key),
                "existing": existing,
                "namespace_uid": uid,
            }
            agent = AgentComponent(
                "agent", args, pulumi.ResourceOptions(providers=self._providers())
            )
            pulumi.export("ready", agent.ready)

        return program


def _failing_up(stack: AgentStack, changes: dict[str, Any]) -> str:
    try:
        stack.stack(**changes).up()
    except automation.CommandError as error:
        return str(error)
    raise AssertionError("it was to fail")
