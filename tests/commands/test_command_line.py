import subprocess
import sys

import pytest

from castai_stack.commands import command_line


def run(code: str, reader: str) -> tuple[int, str]:
    """Pipe a command into one line of shell; return its own status and what it complained of."""
    command = [sys.executable, "-c", code]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as writing,
        subprocess.Popen(["sh", "-c", reader], stdin=writing.stdout, stdout=subprocess.DEVNULL),
    ):
        assert writing.stdout
        assert writing.stderr
        writing.stdout.close()
        return writing.wait(60), writing.stderr.read().decode()


LONG = """
import sys
from castai_stack.commands.command_line import leave
def main():
    for n in range(100_000):
        print("line", n)
    return 3
leave(main)
"""


@pytest.mark.parametrize(("reader", "status"), [("head -n 1", 141), ("cat", 3)])
def test_a_closed_pipe_is_no_traceback(reader: str, status: int):
    assert run(LONG, reader) == (status, "")


def test_help_may_be_cut_short_as_well():
    code = (
        "import argparse, time\n"
        "from castai_stack.commands.command_line import leave\n"
        "time.sleep(0.5)\n"  # Until then the reader has gone.
        "leave(lambda: argparse.ArgumentParser().parse_args(['--help']))"
    )
    assert run(code, "exec true")[1] == ""
    assert run(code, "cat") == (0, "")


def test_the_status_is_the_commands_own():
    with pytest.raises(SystemExit) as left:
        command_line.leave(lambda: 2)
    assert left.value.code == 2
