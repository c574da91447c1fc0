"""The Pulumi CLI as the recovery calls it."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from castai_stack.castai.client import CastaiApi
from castai_stack.commands import killed_engine, output
from castai_stack.commands.command_line import CommandError, RefusedError
from castai_stack.commands.killed_engine import Lock
from castai_stack.config.model import StackConfig
from castai_stack.config.stack_file import KEY, PROJECT
from castai_stack.config.validation import SettingsError, validate

_FILES = "file://"
_SHOWN_LINES = 30
_LAST_LINES = 10


class RecoveryError(CommandError):
    """The recovery cannot go on; the message says what to do."""


def _error_of(printed: str) -> str:
    """Return the engine's first error and what follows, or its last lines."""
    lines = printed.strip().splitlines()
    last = max(len(lines) - _LAST_LINES, 0)
    first = next((n for n, line in enumerate(lines) if "error:" in line), last)
    return "\n".join(lines[first : first + _SHOWN_LINES])


class Engine:
    """The pulumi command on one stack."""

    stack = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def select(self, stack: str | None) -> None:
        """Work on this stack, or on the one that is selected."""
        self.stack = stack or self.run("stack", "--show-name").strip()

    def _files(self) -> Path | None:
        """Folder of the backend; None when it does not consist of files."""
        whoami = json.loads(self.run("whoami", "--json", "--verbose", on_stack=False))
        url = str(whoami.get("url", ""))
        if not url.startswith(_FILES):
            return None
        return Path(url.removeprefix(_FILES).partition("?")[0]).expanduser() / ".pulumi"

    def repair(self, *, dry_run: bool) -> None:
        """Remove attribute files that a killed engine has half written.

        A file backend replaces a state in one step, but not the attributes beside it, and an empty
        file of attributes makes the state unreadable (observed with 3.215.0).
        """
        files = self._files()
        for path in killed_engine.half_written(files / "stacks") if files else ():
            if dry_run:
                raise RefusedError(f"{path} is half written; run this without --dry-run")
            output.line(f"recover: {path.name}: half written, removed; the state does not need it")
            path.unlink(missing_ok=True)

    def locks(self) -> list[Lock]:
        """Locks of the stack; always empty for a backend that does not consist of files."""
        files = self._files()
        return killed_engine.locks(files / "locks", self.stack) if files else []

    def run(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        on_stack: bool = True,
    ) -> str:
        """Run a command, on the stack if one is selected, and return its standard output."""
        stack = ("--stack", self.stack) if self.stack and on_stack else ()
        try:
            finished = subprocess.run(
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
        except OSError as error:
            raise RecoveryError(f"pulumi cannot be started: {error.strerror}") from None
        if finished.returncode != 0:
            message = _error_of(finished.stdout + finished.stderr)
            raise RecoveryError(f"pulumi {arguments[0]}: {message}")
        return finished.stdout

    def deployment(self) -> dict[str, Any]:
        """Return the state, secrets encrypted."""
        return json.loads(self.run("stack", "export")).get("deployment") or {}

    def replace_deployment(self, deployment: Mapping[str, Any]) -> None:
        """Replace the state; secrets stay encrypted."""
        exported = json.loads(self.run("stack", "export"))
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({**exported, "deployment": deployment}, file)
            file.flush()
            self.run("stack", "import", "--file", file.name)

    def api(self) -> CastaiApi:
        """Return a client of CAST AI's API with the key and address of the plugin."""
        url = os.environ.get("CASTAI_API_URL") or self.settings().api.url
        key = os.environ.get("CASTAI_API_KEY")
        if not key:
            key = self.run("config", "get", f"{PROJECT}:apiKey").strip()
        return CastaiApi(url, key)

    def settings(self) -> StackConfig:
        """Return the settings of the stack; Pulumi decrypts values that are encrypted."""
        entry = json.loads(self.run("config", "--json")).get(KEY)
        if entry is None:
            raise RecoveryError(
                f"stack {self.stack} has no {KEY}; run this in the folder of the project, or give "
                "--cwd"
            )
        # With an encrypted value inside, the listing leaves the whole object out.
        text = entry.get("value") or self.run("config", "get", KEY)
        try:
            return validate(json.loads(text), KEY, show_values=False)
        except ValueError as error:
            reason = str(error) if isinstance(error, SettingsError) else f"{KEY} is not JSON"
            raise RecoveryError(reason) from None
