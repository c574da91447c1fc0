"""Output of the commands: tables and colour on a terminal, plain text in a pipe or a file."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_UNBOUNDED = 10_000
"""Width of a pipe or a file, in which nothing is folded."""


@dataclass(frozen=True, slots=True)
class StackReport:
    """What a command found out about one stack."""

    stack: str
    rows: Sequence[Sequence[str]]
    """Lines of the table."""
    document: Mapping[str, Any]
    """The same as JSON."""
    problems: Sequence[str]
    """Sentences of what could not be asked."""
    summary: str = ""
    """Last line about the stack, below the table."""
    style: str = ""


def stack_reports(
    command: str, columns: Sequence[str], reports: Sequence[StackReport], *, as_json: bool
) -> None:
    """Write one table, or one JSON document, about one stack or many; many are named."""
    many = len(reports) > 1
    if as_json:
        documents = [
            {**({"stack": one.stack} if many else {}), **one.document, "problems": one.problems}
            for one in reports
        ]
        line(json.dumps(documents if many else documents[0], indent=2))
        return
    rows = [(*([one.stack] if many else []), *row) for one in reports for row in one.rows]
    if rows:
        table((*(["STACK"] if many else []), *columns), rows)
    for one in reports:
        lead = f"{command}: {one.stack}: " if many else f"{command}: "
        for problem in one.problems:
            line(f"{lead}{problem}", "red", error=True)
        if one.summary:
            line(f"{lead}{one.summary}", one.style)


def line(text: str, style: str = "", *, error: bool = False) -> None:
    """Write one line; `style` is a colour of rich, which only a terminal shows."""
    _console(error=error).print(Text(text, style), soft_wrap=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table without rules, one line per row in a pipe."""
    console = _console()
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    with console.capture() as capture:
        console.print(grid)
    sys.stdout.writelines(f"{text.rstrip()}\n" for text in capture.get().splitlines())


def _console(*, error: bool = False) -> Console:
    console = Console(file=sys.stderr if error else sys.stdout, highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _UNBOUNDED
    return console
