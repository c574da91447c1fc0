"""Commands in README.md and docs/, as a reader meets them."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sandbox.engine.stack import REPOSITORY

SHELL = "sh"
LANGUAGES = frozenset({SHELL, "text", "yaml", "json", "mermaid"})
"""Languages of fenced blocks. A `text` block directly after a shell block is its output."""

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\S*)$")
_INDENTED = re.compile(r"^(?: {4}|\t)")
_ITEM = re.compile(r"^\d+\. ")
_INLINE = re.compile(r"`(pulumi [^`]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, or the `pulumi` commands of an item in the README's numbered list."""

    document: str
    """Path in the repository."""
    line: int
    language: str
    text: str
    output: str | None = None
    """Text that the document shows as the output of its last command."""

    @property
    def commands(self) -> list[str]:
        """List the commands; a line that ends with a backslash continues on the next one."""
        lines = re.sub(r"\s*\\\n\s*", " ", self.text).splitlines()
        return [line.strip() for line in lines if line.strip() and line.strip()[0] != "#"]

    @property
    def key(self) -> tuple[str, str]:
        """Return the document and the first command without its comment."""
        return self.document, without_comment(self.commands[0])


class DocumentError(Exception):
    """A document has a block that the walk does not understand."""


def without_comment(command: str) -> str:
    """Return a command without the comment behind it."""
    return re.sub(r"\s+# .*$", "", command)


def paths() -> list[Path]:
    """List the documents whose commands are promises."""
    return [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def all_blocks() -> list[Block]:
    """Return the blocks of every document."""
    return [
        block
        for path in paths()
        for block in blocks(str(path.relative_to(REPOSITORY)), path.read_text())
    ]


def blocks(document: str, text: str) -> list[Block]:
    """Return the blocks of one document; a shell block has the output that follows it."""
    lines = text.splitlines()
    page: list[Block] = []
    end = 0
    for block in _fenced(document, text):
        between = "".join(lines[end : block.line - 1]).strip()
        follows = page and page[-1].language == SHELL and not between
        if block.language == "text" and follows:
            page[-1] = replace(page[-1], output=block.text)
        else:
            page.append(block)
        end = block.line + block.text.count("\n") + 1
    return page


def _fenced(document: str, text: str) -> Iterator[Block]:
    start, indent, language, inside = 0, "", "", None
    blank, in_list = True, False
    for number, line in enumerate(text.splitlines(), 1):
        fence = _FENCE.match(line)
        if inside is not None:
            if fence and not fence["language"]:
                block = Block(document, start, language, "".join(inside))
                if not block.commands:
                    raise DocumentError(f"{document}:{start}: a block without a line")
                yield block
                inside = None
            else:
                inside.append(line.removeprefix(indent) + "\n")
        elif fence:
            start, indent, language, inside = number, fence["indent"], fence["language"], []
            if language not in LANGUAGES:
                raise DocumentError(
                    f"{document}:{number}: a block of the language {language!r}; "
                    f"allowed: {', '.join(sorted(LANGUAGES))}"
                )
        else:
            if blank and not in_list and _INDENTED.match(line):
                raise DocumentError(f"{document}:{number}: an indented block; write a fenced one")
            if (
                document == "README.md"
                and _ITEM.match(line)
                and (commands := _INLINE.findall(line))
            ):
                yield Block(document, number, SHELL, "".join(f"{one}\n" for one in commands))
        if line.strip():
            in_list = bool(_ITEM.match(line) or re.match(r"^ *[-*] ", line)) or (
                in_list and line.startswith(" ")
            )
        blank = not line.strip()


def split(blocks_: Iterable[Block], at: Iterable[tuple[str, str]]) -> list[Block]:
    """Split blocks before the commands `at`, each a document and a command without comment."""
    places = set(at)
    parts = []
    for block in blocks_:
        if block.language != SHELL:
            parts.append(block)
            continue
        runs: list[list[str]] = [[]]
        for command in block.commands:
            if runs[-1] and (block.document, without_comment(command)) in places:
                runs.append([])
            runs[-1].append(command)
        parts += [
            replace(
                block,
                text="".join(f"{command}\n" for command in run),
                output=block.output if run is runs[-1] else None,
            )
            for run in runs
        ]
    return parts
