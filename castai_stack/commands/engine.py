"""The Pulumi CLI as the recovery calls it."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from castai_stack.castai.provider import DEFAULT_URL
from castai_stack.commands import killed_engine
from castai_stack.commands.command_line import report_progress
from castai_stack.commands.killed_engine import PROJECT

if TYPE_CHECKING:
    from castai_stack.castai.client import CastaiApi


_FILES = "file://"


class RecoveryError(Exception):
    """Recovery cannot go on; the message says what to do."""


def _error_of(output: str) -> str:
    """Pick what the engine complained of, or its last words."""
    lines = output.strip().splitlines()
    first = next((n for n, line in enumerate(lines) if "error:" in line), max(len(lines) - 10, 0))
    return "\n".join(lines[first : first + 30])


class Engine:
    """The pulumi command on one stack."""

    stack = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def select(self, stack: str | None) -> None:
        """Work on this stack, or on the one that is selected."""
        self.stack = stack or self.run("stack", "--show-name").strip()

    def mend(self, *, dry_run: bool) -> None:
        """Remove what a killed engine has half written beside the states, when they are files.

        The states themselves are replaced in one step; their attributes are not, and an empty
        file of attributes makes the state unreadable (seen with 3.215.0).
        """
        url = str(json.loads(self.run("whoami", "--json", "--verbose")).get("url", ""))
        if not url.startswith(_FILES):
            return
        place = url.removeprefix(_FILES).partition("?")[0]
        folder = Path(place).expanduser() / ".pulumi" / "stacks"
        for path in killed_engine.half_written(folder):
            if dry_run:
                raise RecoveryError(f"{path} is half written; run this without --dry-run")
            report_progress(f"{path.name}: half written, removed; the state does not need it")
            path.unlink(missing_ok=True)

    def run(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Run a command, on the stack if there is one, and return what it printed."""
        stack = ("--stack", self.stack) if self.stack else ()
        try:
            done = subprocess.run(
                ["pulumi", "--non-interactive", *arguments, *stack],
                cwd=self.folder,
                env={**os.environ, **(environment or {})},
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        except FileNotFoundError:
            raise RecoveryError("there is no pulumi on PATH, or no folder to run it in") from None
        if done.returncode != 0:
            raise RecoveryError(f"pulumi {arguments[0]}: {_error_of(done.stdout + done.stderr)}")
        return done.stdout

    def deployment(self) -> dict[str, Any]:
        """Return the state, secrets encrypted."""
        return json.loads(self.run("stack", "export"))["deployment"]

    def replace_deployment(self, deployment: Mapping[str, Any]) -> None:
        """Put another state in the place of the one there is; secrets stay encrypted."""
        exported = json.loads(self.run("stack", "export"))
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({**exported, "deployment": deployment}, file)
            file.flush()
            self.run("stack", "import", "--file", file.name)

    def api(self) -> "CastaiApi":
        """Return the client of CAST AI's API, as the dynamic resources make it."""
        from castai_stack.castai.client import CastaiApi  # noqa: PLC0415 - lazy

        url = os.environ.get("CASTAI_API_URL") or self.settings().get("api", {}).get("url")
        key = os.environ.get("CASTAI_API_KEY")
        if not key:
            key = self.run("config", "get", f"{PROJECT}:apiKey").strip()
        return CastaiApi(url or DEFAULT_URL, key)

    def settings(self) -> dict[str, Any]:
        """Return the `castai` object of the configuration, which holds no secret."""
        values = json.loads(self.run("config", "--json"))
        found = values.get(f"{PROJECT}:castai", {})
        return found.get("objectValue") or json.loads(found.get("value") or "{}")
