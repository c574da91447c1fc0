"""A stand-in for `pulumi-language-nodejs`: `python -m sandbox.language_host.node ENGINE_ADDRESS`.

It runs a program with the SDK in the project's `node_modules`, which is there already: nothing is
installed, and no SDK is generated. Follows `sdk/nodejs/cmd/pulumi-language-nodejs` and
`sdk/nodejs/cmd/run` of `pulumi/pulumi`.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc

from sandbox.language_host.__main__ import serve
from sandbox.language_host.environment import Command, HostError
from sandbox.language_host.host import LanguageHost, refusing
from sandbox.messages import language_pb2, plugin_pb2


class NodeHost(LanguageHost):
    """Runs programs of Node.js; the calls that it does not override are for Python and refused."""

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Return no version: the host is none of Pulumi's releases."""
        del request, context
        return plugin_pb2.PluginInfo()

    def GetRequiredPackages(self, request: Any, context: grpc.ServicerContext) -> Any:
        """List the plugins that installed packages ask for."""
        with refusing(context):
            packages = list(_packages(Path(request.info.program_directory)))
        required = [
            plugin_pb2.PackageDependency(
                name=wanted.get("name") or package["name"].rpartition("/")[2],
                version=f"v{wanted.get('version') or package['version']}",
                kind="resource",
                server=wanted.get("server", ""),
            )
            for package in packages
            if (wanted := package.get("pulumi", {})).get("resource")
        ]
        return language_pb2.GetRequiredPackagesResponse(packages=required)

    def Run(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Run the program to its end; TypeScript is compiled on the way, types included."""
        with refusing(context):
            runner = _modules(Path(request.info.program_directory)) / "@pulumi/pulumi/cmd/run"
            command = Command(
                ["node", str(runner), *self._flags(request), request.info.entry_point],
                {
                    **os.environ,
                    "PULUMI_CONFIG": json.dumps(dict(request.config)),
                    "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys)),
                    "PULUMI_NODEJS_TYPESCRIPT": "true",
                },
                Path(request.pwd),
            )
            return self._run(command, context)

    def _flags(self, request: Any) -> Iterator[str]:
        named = {
            "monitor": request.monitor_address,
            "engine": self._engine,
            "organization": request.organization,
            "project": request.project,
            "root-directory": request.info.root_directory,
            "stack": request.stack,
            "pwd": request.pwd,
            "parallel": str(request.parallel),
        }
        yield from (f"--{name}={value}" for name, value in named.items() if value)
        if request.dryRun:
            yield "--dry-run"


def _modules(folder: Path) -> Path:
    modules = folder / "node_modules"
    if not modules.is_dir():
        raise HostError(f"{modules} does not exist; the sandbox's host installs no packages")
    return modules


def _packages(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(_modules(folder).glob("@pulumi/*/package.json")):
        yield json.loads(path.read_text())


if __name__ == "__main__":
    sys.exit(serve(NodeHost(Path(), sys.argv[-1], "")))
