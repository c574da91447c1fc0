"""A shell of a user: commands run one after the other and keep what earlier ones have set."""

import os
import queue
import shlex
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a command; `output` is stdout and stderr in the order of writing."""

    command: str
    status: int
    output: str


class Shell:
    """A running bash without a terminal."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._input = folder / ".input-of-a-command"
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.transcript: list[Outcome] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.put(line)
        self._lines.put(None)

    def run(self, command: str, *, answer: str = "", seconds: float = 600) -> Outcome:
        """Run one command; `answer` is what the user types."""
        mark = f"end-{uuid.uuid4()}"
        self._input.write_text(answer)
        given = shlex.quote(str(self._input))
        assert self._process.stdin is not None
        self._process.stdin.write(f"{{ {command}\n}} <{given}; printf '\\n%s %s\\n' {mark} $?\n")
        self._process.stdin.flush()
        deadline = time.monotonic() + seconds
        lines: list[str] = []
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                self.close()
                raise AssertionError(
                    f"{command}: no end after {seconds} s:\n{''.join(lines)}"
                ) from None
            assert line is not None, f"{command} ended the shell:\n{''.join(lines)}"
            if line.startswith(mark):
                break
            lines.append(line)
        outcome = Outcome(command, int(line.split()[1]), "".join(lines).removesuffix("\n"))
        self.transcript.append(outcome)
        return outcome

    def close(self) -> None:
        """End the shell and everything that runs in it."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(5)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
