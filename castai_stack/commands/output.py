"""Output of the commands: tables and colour on a terminal, plain text in a pipe or a file."""

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

_UNBOUNDED = 10_000
"""Width of a pipe or a file, in which nothing is folded."""


def line(text: str, style: str = "", *, error: bool = False) -> None:
    """Write one line; `style` is a colour of rich, which only a terminal shows."""
    _console(error=error).print(Text(text, style), soft_wrap=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table without rules, one line per row in a pipe."""
    console = _console()
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(cell) for cell in row))
    with console.capture() as capture:
        console.print(shown)
    sys.stdout.writelines(f"{text.rstrip()}\n" for text in capture.get().splitlines())


def _console(*, error: bool = False) -> Console:
    console = Console(file=sys.stderr if error else sys.stdout, highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _UNBOUNDED
    return console
