"""Kills the first `up` of a take-over again and again: `python -m sandbox.proofs.crash_adoption`.

One life: each `up` is killed after its first write that no run before has carried out, and the next
one goes on from there after `recover`, until one ends by itself. What is there then, and after a
destroy, must be what an undisturbed take-over of the same footprint leaves.
"""

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from sandbox import toolchain
from sandbox.engine.stack import OperationError, Stack
from sandbox.inventory import Inventory
from sandbox.proofs.comparison import DeviationError, comparable, require_same
from sandbox.proofs.crash import Crash, Undisturbed, resources
from sandbox.session import Sandbox
from sandbox.sources import charts, furnish, installers
from sandbox.sources.take_over import NAME, adopt, stack_file

SOURCES = {
    "user": (installers.script_with_user, charts.agent),
    "role": (installers.script_with_role, charts.with_controller),
    "terraform": (installers.by_access_entries(installers.terraform), charts.with_evictor),
}
"""The script in both modes, and the Terraform modules with access entries and an evictor."""


class TakeOver(Crash):
    """One take-over on one sandbox, with the engine killed or not."""

    def __init__(self, sandbox: Sandbox, source: str, folder: Path) -> None:
        installer, install = SOURCES[source]
        self._cluster_id = furnish.connect(sandbox, installer, install=install).cluster_id
        settings = adopt(sandbox, folder / "written")
        self._file = stack_file(folder / f"Pulumi.{NAME}.yaml", settings)
        super().__init__(sandbox)
        self._others = frozenset()

    def undisturbed_up(self, source: str) -> Undisturbed:
        """Take the cluster over, and note what that writes and leaves."""
        writes = self._writes_of(source, "up")
        return Undisturbed(self.comparable(), resources(self._stack(source)), {"up": writes})

    def expect(self, source: str, undisturbed: Undisturbed) -> None:
        """Compare the end of a row with this."""
        self._undisturbed[source] = undisturbed

    def destroy(self, source: str) -> None:
        """Take the stack away."""
        self._stack(source).destroy()

    def comparable(self) -> dict[str, Inventory]:
        """Return what is in AWS and in the cluster, without ids that differ between two runs."""
        everything = self._inventory()
        del everything["CAST AI"]
        # Its port is that of the sandbox.
        del everything["Kubernetes"]["Service (api/v1)"]["default/kubernetes"]
        return {
            where: _without_numbers(comparable(one, self._cluster_id))
            for where, one in everything.items()
        }

    def _require_result(self, stack: Stack, mode: str, operation: str) -> None:
        del operation  # a row kills `up` only
        expected = self._undisturbed[mode]
        require_same(expected.after_up, self.comparable(), "than after an undisturbed take-over")
        if resources(stack) != expected.resources:
            raise DeviationError("the state holds other resources than after a take-over")

    def _stack(self, mode: str) -> Stack:
        del mode
        return self._behind_proxy(self._sandbox.stack(stack_file=self._file, name=NAME))


def _without_numbers(things: Inventory) -> Inventory:
    """Return an inventory without numbers that a cluster gives at random.

    They are in the names of EKS's own security groups and in the addresses of services.
    """
    text = re.sub(r"(eks-cluster-sg-[a-z]+)-\d+", r"\1", json.dumps(things))
    return json.loads(re.sub(r"\b10\.100\.\d+\.\d+", "10.100.0.0", text))


def compare(
    undisturbed: TakeOver, killed: TakeOver, source: str, every: int, console: Console
) -> int:
    """Take both over, kill one of them, and destroy both; return the number of kills.

    Raises DeviationError with the first difference.
    """
    killed.expect(source, undisturbed.undisturbed_up(source))
    console.print(f"{source}: an undisturbed take-over is done", highlight=False)
    kills = 0
    for outcome in killed.run_in_a_row(source, "up", every=every):
        if outcome.deviation:
            raise DeviationError(f"{outcome.point}: {outcome.deviation}")
        kills += 1
        console.print(
            f"{outcome.point}: {outcome.seconds:.0f} s",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    undisturbed.destroy(source)
    expected = undisturbed.comparable()
    require_same(expected, killed.comparable(), "than after an undisturbed destroy")
    return kills


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill a take-over after every write, and see that it comes right."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.proofs.crash_adoption", description=main.__doc__
    )
    parser.add_argument("--source", choices=SOURCES, help="only this one; default: both")
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="after N new writes; default: 1"
    )
    options = parser.parse_args(arguments)
    console, programs = Console(), toolchain.programs()
    for source in [options.source] if options.source else SOURCES:
        with tempfile.TemporaryDirectory() as folder:
            try:
                kills = run(source, options.every, Path(folder), programs, console)
            except (DeviationError, OperationError) as error:
                console.print(f"{source}: {error}", markup=False, soft_wrap=True)
                return 1
            console.print(f"{source}: killed {kills} times, converged", highlight=False)
    return 0


def run(
    source: str, every: int, folder: Path, programs: toolchain.Programs, console: Console
) -> int:
    """Compare two take-overs on sandboxes of their own; return the number of kills."""
    runs: list[TakeOver] = []
    sandboxes: list[Sandbox] = []
    try:
        for name in ("undisturbed", "killed"):
            own = folder / name
            own.mkdir()
            sandboxes.append(Sandbox.start(own / "sandbox", programs, with_parent=True))
            runs.append(TakeOver(sandboxes[-1], source, own))
        undisturbed, killed = runs
        return compare(undisturbed, killed, source, every, console)
    finally:
        for one in runs:
            one.close()
        for sandbox in sandboxes:
            sandbox.stop()


if __name__ == "__main__":
    sys.exit(main())
