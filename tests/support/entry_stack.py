"""Entries of aws-auth alone, run by the real engine against a real API server."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sandbox.engine import program_folder
from sandbox.engine.stack import REPOSITORY, OperationError, Result, Stack
from sandbox.toolchain import Programs

_PROGRAM = """\
import json

import pulumi

from castai_stack.access.resources import AwsAuthEntry
from castai_stack.plugin.custom_resource import CastaiProvider

castai = CastaiProvider("castai", **json.loads({provider!r}))
for name, given in json.loads({entries!r}).items():
    AwsAuthEntry(name, **given, opts=pulumi.ResourceOptions(provider=castai))
"""


class EntryStack:
    """A stack of `AwsAuthEntry` resources and nothing else."""

    def __init__(self, folder: Path, programs: Programs, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.folder = folder
        self.provider: dict[str, Any] = {}
        """Changed inputs of the provider."""
        self.environment: dict[str, str] = {}
        folder.mkdir()
        program_folder.write(folder / "bin", programs)

    def up(self, **entries: Mapping[str, Any]) -> dict[str, int]:
        """Make it hold these entries, by resource name."""
        return changes(self._stack(entries).up())

    def preview(self, **entries: Mapping[str, Any]) -> dict[str, int]:
        """Say what `up` would change."""
        return changes(self._stack(entries).preview())

    def refresh(self) -> Result:
        """Read what is there into the state."""
        return self._stack({}).refresh()

    def destroy(self) -> Result:
        """Take all entries away."""
        return self._stack({}).destroy()

    def refusal(self, operation: str, **entries: Mapping[str, Any]) -> str:
        """Return all that an operation prints that has to fail."""
        try:
            getattr(self._stack(entries), operation)()
        except OperationError as error:
            return f"{error}\n{error.output}"
        raise AssertionError(f"{operation} did not fail")

    def forget(self, kind: str) -> None:
        """Take every resource of a type out of the state, as a crash before its end does."""
        stack = self._stack({})
        state = stack.export()
        resources = state["deployment"]["resources"]
        state["deployment"]["resources"] = [r for r in resources if kind not in r["type"]]
        file = self.folder / "state.json"
        file.write_text(json.dumps(state))
        stack.pulumi("stack", "import", "--stack", stack.name, "--file", str(file))

    def state(self) -> str:
        """Return the exported state as text."""
        return json.dumps(self._stack({}).export())

    def _stack(self, entries: Mapping[str, Mapping[str, Any]]) -> Stack:
        provider = {
            "api_url": "https://api.cast.ai",
            "api_key": None,
            "kubeconfig": str(self.kubeconfig),
            "context": None,
            **self.provider,
        }
        program = self.folder / "program.py"
        program.write_text(
            _PROGRAM.format(entries=json.dumps(entries), provider=json.dumps(provider))
        )
        text = yaml.safe_load((REPOSITORY / "Pulumi.dev.yaml").read_text())
        text["config"]["castai-eks:castai"] = {}
        file = self.folder / "stack.yaml"
        file.write_text(json.dumps(text))
        return Stack(self.folder, self.environment, stack_file=file, program=program)


def changes(result: Result) -> dict[str, int]:
    """What was, or would be, done to resources."""
    return {kind: n for kind, n in result.changes.items() if kind != "same" and n}
