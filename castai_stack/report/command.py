"""The report of a pull request: `python -m castai_stack report`."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from castai_stack.commands import command_line, target
from castai_stack.config import stack_file
from castai_stack.config.model import StackConfig
from castai_stack.config.validation import SettingsError
from castai_stack.report import document, plan
from castai_stack.report.document import Input
from castai_stack.report.plan import Plan, PlanError

NAME = "report"
_UNUSED = frozenset(StackConfig.model_fields) - {"cluster"}
"""Sections whose encrypted values count as absent; the report names them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = command_line.parser(
        NAME,
        "Write what a change of a stack file does, as Markdown for the comment of a pull request. "
        "Asks no cloud and reads no secret. The first line is a comment by which a workflow finds "
        "its own comment of the stack.",
        [
            "Pulumi.prod.yaml --base base/Pulumi.prod.yaml",
            "Pulumi.prod.yaml --base base/Pulumi.prod.yaml --preview preview.json",
        ],
    )
    target.add_stack_files(parser, "Pulumi stack file after the change, such as Pulumi.prod.yaml")
    parser.add_argument(
        "--base",
        type=Path,
        metavar="STACK_FILE",
        help="the stack file before the change; a file that does not exist means a new stack",
    )
    parser.add_argument(
        "--preview",
        type=Path,
        metavar="FILE",
        help="output of `pulumi preview --json`, also of one that failed",
    )
    parser.add_argument(
        "--stack",
        type=_stack_name,
        metavar="NAME",
        help="name of the stack; default: that of the stack file",
    )

    def run(options: argparse.Namespace) -> int:
        (path,) = target.stack_files(options, parser, least=1)
        given = read(path, options.base, options.preview, options.stack)
        sys.stdout.write(document.markdown(given))
        refused = given.refusals or (given.plan is not None and given.plan.errors)
        return command_line.NEGATIVE if refused else command_line.OK

    return command_line.execute(NAME, parser, run, arguments)


def read(path: Path, base: Path | None, preview: Path | None, stack: str | None = None) -> Input:
    """Return everything that the files say; what cannot be read becomes a sentence."""
    unseen: list[str] = []
    refusals: list[str] = []
    new = old = None
    try:
        new = _settings(path, unseen)
    except SettingsError as error:
        refusals.append(str(error))
        unseen.append("Permissions and rights: the settings are refused.")
    compared = base is not None
    if base is None:
        unseen.append("What the change gains and loses: the stack file of before was not given.")
    elif not base.exists():
        unseen.append(f"A stack file of before: there is no {base}, so the stack counts as new.")
    else:
        try:
            old = _settings(base, [])
        except SettingsError as error:
            compared = False
            first = str(error).splitlines()[0]
            unseen.append(f"What the change gains and loses: {base} is refused ({first})")
    return Input(
        stack=stack or _stack_of(path),
        path=path.name,
        new=new,
        old=old,
        compared=compared,
        plan=_plan(preview, refusals),
        refusals=tuple(refusals),
        unseen=tuple(unseen),
    )


def _settings(path: Path, unseen: list[str]) -> StackConfig:
    settings = stack_file.read(path, unused=_UNUSED)
    if encrypted := stack_file.encrypted_values(path):
        listed = ", ".join(f"`{key}`" for key in encrypted)
        unseen.append(f"Encrypted values, which count as absent here: {listed}.")
    return settings


def _plan(path: Path | None, refusals: list[str]) -> Plan | None:
    if path is None:
        return None
    try:
        return plan.read(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        refusals.append(f"{path}: the preview cannot be read: {type(error).__name__}")
    except PlanError as error:
        refusals.append(f"{path}: {error}; the log of the preview has the reason")
    return None


def _stack_name(text: str) -> str:
    if re.fullmatch(r"[\w./-]{1,200}", text, re.ASCII) is None or "--" in text:
        raise argparse.ArgumentTypeError(
            f"found {text!r}; allowed: letters, digits and ._/- without two hyphens in a row"
        )
    return text


def _stack_of(path: Path) -> str:
    return re.sub(r"[^\w.-]|-(?=-)", "_", target.stack_name(path), flags=re.ASCII)
