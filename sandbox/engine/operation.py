"""One Pulumi operation with the program in this process: `python -m sandbox.engine.operation`.

`sandbox.engine.stack` starts it, prepares the environment and reads the result. The program is the
real `__main__.py`; the Automation API serves it to the engine, so no language plugin is needed.
"""

import datetime as dt
import json
import re
import resource
import runpy
import signal
import sys
import time
from pathlib import Path
from typing import Any

from pulumi import automation
from pulumi.automation._stack import StackInitMode
from pulumi.automation.events import EngineEvent, StepEventMetadata

PROJECT = "castai-eks"

_REPEATED = "an unhandled error occurred:"
_TRACEBACK = "Traceback (most recent call last):"
_MARKUP = re.compile(r"<\{%.*?%\}>")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class _Command(automation.PulumiCommand):
    """The CLI with further arguments for one operation."""

    def __init__(self, operation: str, arguments: list[str]) -> None:
        super().__init__(skip_version_check=True)
        self._operation = operation
        self._arguments = arguments

    def run(self, args: list[str], *rest: Any, **named: Any) -> automation.CommandResult:
        """Run as the base does."""
        if args and args[0] == self._operation:
            args = [args[0], *self._arguments, *args[1:]]
        return super().run(args, *rest, **named)


class _Workspace(automation.LocalWorkspace):
    """Looks for the stack in the backend's folder, where the CLI would take a second to say so."""

    def __init__(self, state: Path, **options: Any) -> None:
        super().__init__(**options)
        self._state = state

    def select_stack(self, stack_name: str) -> None:
        """Be content with a stack that exists: every command names it."""
        if not self._state.exists():
            missing = automation.CommandResult("", f"no stack named {stack_name!r}", 255)
            raise automation.StackNotFoundError(missing)


class _Stack(automation.Stack):
    """Asks the CLI for nothing after an operation: nobody here reads outputs and history."""

    def outputs(self) -> automation.OutputMap:
        """Return none, and so decrypt no secret."""
        return {}

    def info(self, show_secrets: bool = True) -> automation.UpdateSummary:
        """Return what the base wants to see."""
        del show_secrets
        now = dt.datetime.now(dt.UTC)
        return automation.UpdateSummary("update", now, "", {}, {}, "succeeded")


class _Record:
    """What the engine's events say, as plain data."""

    def __init__(self, operation: str) -> None:
        self._operation = operation
        self._steps: dict[tuple[str, str], dict[str, Any]] = {}
        self.changes: dict[str, int] = {}
        self.errors: list[str] = []

    @property
    def steps(self) -> list[dict[str, Any]]:
        return list(self._steps.values())

    @property
    def sentence(self) -> str:
        """What went wrong, without the engine's repetition of it."""
        own = [error for error in self.errors if not error.startswith(_REPEATED)]
        return "\n".join(map(_without_traceback, own or self.errors))

    def take(self, event: EngineEvent) -> None:
        if event.resource_pre_event is not None:
            self._step(event.resource_pre_event.metadata, as_begun=True)
        if event.res_outputs_event is not None:
            self._step(event.res_outputs_event.metadata, as_begun=False)
        if event.summary_event is not None:
            self.changes = {str(k): v for k, v in event.summary_event.resource_changes.items()}
        if event.diagnostic_event is not None and event.diagnostic_event.severity == "error":
            self.errors.append(_plain(event.diagnostic_event.message))

    def _step(self, metadata: StepEventMetadata, *, as_begun: bool) -> None:
        operation = str(getattr(metadata.op, "value", metadata.op))
        key = (metadata.urn, "refresh" if self._operation == "refresh" else operation)
        if not as_begun and key not in self._steps:
            return
        # The end of a refresh says what it found: the state was right, other, or gone.
        self._steps[key] = {
            "operation": operation,
            "type": metadata.type,
            "name": metadata.urn.rpartition("::")[2],
            "urn": metadata.urn,
            "changed": sorted({*(metadata.diffs or ()), *(metadata.detailed_diff or ())}),
            "replaced_for": sorted(metadata.keys or ()),
        }


def main(request_file: Path) -> int:
    """Run the operation that the file describes and write down what it did."""
    # An interrupt goes to the whole process group: the engine comes to its end, and so do we. It is
    # a handler because an ignored signal would be ignored by the engine, too.
    signal.signal(signal.SIGINT, lambda *_: None)
    request = json.loads(request_file.read_text())
    record = _Record(request["operation"])
    try:
        result = _run(request, record)
    except automation.CommandError as error:
        result = {"error": record.sentence or _last_error(str(error))}
    except (automation.InvalidVersionError, RuntimeError) as error:
        result = {"error": record.sentence or str(error)}
    Path(request["result"]).write_text(json.dumps(result))
    return 1 if "error" in result else 0


def _run(request: dict[str, Any], record: _Record) -> dict[str, Any]:
    program = request["program"]
    sys.path.insert(0, str(Path(program).parent))
    operation = request["operation"]

    def run_program() -> None:
        runpy.run_path(program, run_name="__main__")

    name = request["stack"]
    workspace = _Workspace(
        Path(request["backend"]) / ".pulumi" / "stacks" / PROJECT / f"{name}.json",
        work_dir=request["work"],
        program=run_program,
        pulumi_command=_Command(operation, request["arguments"]),
    )
    stack = _Stack(name, workspace, StackInitMode.CREATE_OR_SELECT)
    started = time.monotonic()
    getattr(stack, operation)(on_output=_say, on_error=_say, on_event=record.take, color="never")
    seconds = time.monotonic() - started
    return {
        "changes": record.changes,
        "steps": record.steps,
        "seconds": seconds,
        "program_seconds": time.process_time(),
        "peak_kib": max(
            resource.getrusage(who).ru_maxrss
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ),
    }


def _say(line: str) -> None:
    print(line, flush=True)


def _plain(text: str) -> str:
    return _COLOUR.sub("", _MARKUP.sub("", text)).strip()


def _without_traceback(text: str) -> str:
    """Leave of a dynamic resource's traceback what it ends with, the exception's own words."""
    before, raised, trace = text.rpartition(_TRACEBACK)
    words = re.search(r"^(?:[\w.]+: )?(\S.*)", trace.lstrip("\n"), re.DOTALL | re.MULTILINE)
    if not raised or words is None:
        return text
    return before.partition(_TRACEBACK)[0] + words[1].strip()


def _last_error(text: str) -> str:
    _, marked, sentence = _plain(text).rpartition("error: ")
    return sentence if marked else _plain(text)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
