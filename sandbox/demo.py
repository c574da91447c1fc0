"""A whole life cycle before your eyes: `python -m sandbox.demo`.

Connect, check, let CAST AI start nodes and end them, change, drift, repair, a Spot interruption,
take away, and an audit that compares what is left with what was there. Any deviation is named and
ends with exit status 1.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from lightkube import Client, KubeConfig
from lightkube.resources.core_v1 import ConfigMap
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from castai_stack.commands import command_line
from sandbox import constants, inventory, toolchain
from sandbox.engine import stack as engine_stack
from sandbox.engine.stack import OperationError, Result, Stack
from sandbox.processes import ProcessError
from sandbox.proofs.node_life import Launched, LifeError, NodeLife
from sandbox.session import AWS_WAITS_HELP, Sandbox, SandboxError
from sandbox.toolchain import ToolchainError

_SECONDS = 10
_EDITED = "# Friday: Kim may look, too\n"
_KIM = """\
- rolearn: arn:aws:iam::{account}:role/Kim
  username: kim
  groups: [ "viewers" ]
"""
_DETACHED = "AmazonEKS_CNI_Policy"
_DELAY = 3
_AUTOMATION = (
    "automation.autoscaler.enabled=true",
    "automation.autoscaler.emptyNodes.enabled=true",
    f"automation.autoscaler.emptyNodes.delaySeconds={_DELAY}",
    "api.deleteNodesOnDisconnect=true",
)


class DeviationError(Exception):
    """The life cycle did not go as it must; the message says where and how."""


def expect(condition: bool, otherwise: str) -> None:
    """Raise DeviationError unless the condition holds."""
    if not condition:
        raise DeviationError(otherwise)


class Demo:
    """The steps, in their order, on one sandbox."""

    def __init__(self, sandbox: Sandbox, console: Console) -> None:
        self._sandbox = sandbox
        self._console = console
        self._life = NodeLife(sandbox)
        self._before: dict[str, inventory.Inventory] = {}
        self._created = 0
        self._beside = ThreadPoolExecutor(1)

    def run(self) -> int:
        """Go through all steps; returns the number of resources that were made and taken away.

        CAST AI's own work runs beside the commands, as it does for a user.
        """
        role = self._stack("credentials.mode=role", *_AUTOMATION)
        try:
            self._connect(self._stack())
            self._optimise(self._stack(*_AUTOMATION))
            self._disconnect(role, self._repair(role, self._hand_over(role)))
        finally:
            self._beside.shutdown(wait=False)
        return self._created

    def _connect(self, user: Stack) -> None:
        first_inventory = self._beside.submit(self._inventory)
        with self._step("preview, and a look at the cluster as it is"):
            self._print_counts(user.preview())
            self._before = first_inventory.result()
        with self._step("up, with the keys of a user"):
            self._created = self._print_counts(user.up()).changes.get("create", 0)
        self._show_made(user)
        self._show_outputs(user)
        with self._step("preview again"):
            expect_empty(user.preview(), "the second preview")

    def _optimise(self, scaling: Stack) -> None:
        self._heading("CAST AI drains a node that was there before, beside the next preview")
        original = self._beside.submit(self._life.remove_original)
        with self._step("preview of the autoscaler, switched on by a setting"):
            self._show_changes(scaling.preview())
        with self._step("the drained node is gone"):
            self._leave_out(*original.result())
        with self._step("up, with the autoscaler on"):
            self._print_counts(scaling.up())

    def _hand_over(self, role: Stack) -> Launched:
        self._heading("a pod waits for a node, beside the next preview")
        started = self._beside.submit(self._life.start)
        with self._step("preview of the change to a role"):
            self._show_hand_over(role.preview())
        with self._step("CAST AI has started a node for the pod"):
            node = self._show_node(started.result())
        with self._step("up, with a role that CAST AI assumes"):
            self._print_counts(role.up())
        return node

    def _repair(self, role: Stack, node: Launched) -> Future[Launched]:
        self._heading(f"the pod goes, its node {_DELAY} s later, and another pod waits")
        emptied = self._beside.submit(self._life.empty, node)
        started = self._beside.submit(self._life.start)
        with self._step("somebody edits aws-auth and detaches a policy"):
            self._meddle()
        with self._step("refresh finds the drift"):
            self._found_drift(role.refresh())
        with self._step("up repairs it"):
            self._print_counts(role.up())
            self._repaired()
        with self._step("the empty node is gone"):
            seconds = emptied.result()
            self._console.print(f"  {node.name}, after {seconds:.0f} s", highlight=False)
            expect(seconds > _DELAY, f"the node was ended after {seconds:.0f} s")
        return started

    def _disconnect(self, role: Stack, started: Future[Launched]) -> None:
        with self._step("Spot interruptions: one of ours, one of another cluster"):
            self._interrupt(role)
        with self._step("CAST AI has started another node"):
            node = self._show_node(started.result())
        with self._step("destroy, with the nodes that CAST AI started"):
            self._print_counts(role.destroy())
            state = self._life.instance_state(node.instance["InstanceId"])
            expect(state == "terminated", f"{node.name} is {state} after the destroy")
        with self._step("audit: compare with the beginning"):
            self._audit()

    def _stack(self, *settings: str) -> Stack:
        return self._sandbox.stack(settings, on_line=self._progress)

    def _progress(self, line: str) -> None:
        if line.startswith("..."):
            self._console.print(f"  {line}", style="dim", highlight=False)

    @contextmanager
    def _step(self, what: str) -> Iterator[None]:
        started = time.monotonic()
        self._heading(what)
        yield
        self._console.print(f"  {time.monotonic() - started:.1f} s", style="dim", highlight=False)

    def _heading(self, what: str) -> None:
        self._console.print(f"[bold]{what}[/bold]")

    def _print_counts(self, result: Result) -> Result:
        counted = ", ".join(f"{n} {kind}" for kind, n in sorted(result.changes.items()) if n)
        self._console.print(f"  {counted}", highlight=False)
        return result

    def _show_made(self, stack: Stack) -> None:
        table = Table(title="made", show_lines=False)
        table.add_column("kind")
        table.add_column("name")
        objects = [
            (r["type"].rpartition(":")[2], _physical_name(r))
            for r in stack.export()["deployment"]["resources"]
            if r.get("custom") and not r["type"].startswith("pulumi:")
        ]
        for kind, name in sorted(objects):
            table.add_row(kind, name)
        self._console.print(table)
        counted = Counter(kind for kind, _ in objects)
        self._console.print(f"  {len(objects)} objects of {len(counted)} kinds", highlight=False)

    def _show_outputs(self, stack: Stack) -> None:
        table = Table(title="outputs (secrets masked)")
        table.add_column("output")
        table.add_column("value", overflow="fold")
        for name, value in sorted(stack.outputs().items()):
            table.add_row(name, escape(str(value)))
        self._console.print(table)

    def _show_node(self, launched: Launched) -> Launched:
        one = launched.instance
        groups = ", ".join(sorted(group["GroupId"] for group in one["SecurityGroups"]))
        for what, value in (
            ("node", f"{launched.name}, {one['InstanceType']}, in {one['SubnetId']}"),
            ("profile", one["IamInstanceProfile"]["Arn"].rpartition("/")[2]),
            ("groups", groups),
            ("tags", ", ".join(sorted(launched.tags))),
        ):
            self._console.print(f"  {what}: {value}", highlight=False)
        differences = launched.differences()
        expect(not differences, f"not as the node configuration says: {', '.join(differences)}")
        return launched

    def _leave_out(self, name: str, instance: str) -> None:
        """Count a furnished node out of what was there before."""
        self._console.print(f"  {name}", highlight=False)
        del self._before["AWS"]["ec2-instance"][instance]
        del self._before["Kubernetes"]["Node (api/v1)"][name]

    def _show_changes(self, result: Result) -> None:
        table = Table(title="what the change does")
        table.add_column("does")
        table.add_column("kind")
        table.add_column("name")
        for step in result.changing():
            if step.type.startswith("pulumi:providers:"):
                continue
            table.add_row(step.operation, step.type.rpartition(":")[2], step.name)
        self._console.print(table)

    def _show_hand_over(self, result: Result) -> None:
        self._show_changes(result)
        operations = {(s.type.rpartition(":")[2], s.name): s.operation for s in result.changing()}
        expect(
            operations.get(("HandOver", "hand-over")) == "update",
            f"the hand-over is to be updated in place, the preview says {operations}",
        )
        replaced = [s.name for s in result.changing() if "replace" in s.operation]
        expect(not replaced, f"a change of the mode must replace nothing, it replaces {replaced}")

    @contextmanager
    def _kubernetes(self) -> Iterator[Client]:
        path = self._sandbox.control_plane.kubeconfig
        with Client(config=KubeConfig.from_file(path)) as client:
            yield client

    def _account(self) -> str:
        return str(self._sandbox.record["account"])

    def _map_roles(self) -> str:
        with self._kubernetes() as client:
            return (client.get(ConfigMap, "aws-auth", namespace="kube-system").data or {})[
                "mapRoles"
            ]

    def _node_role(self) -> str:
        roles = self._sandbox.client("iam").list_roles(PathPrefix="/", MaxItems=1000)["Roles"]
        (name,) = [r["RoleName"] for r in roles if r["RoleName"].startswith("cast-demo-eks-")]
        return str(name)

    def _meddle(self) -> None:
        with self._kubernetes() as client:
            config_map = client.get(ConfigMap, "aws-auth", namespace="kube-system")
            data = dict(config_map.data or {})
            data["mapRoles"] = _EDITED + data["mapRoles"] + _KIM.format(account=self._account())
            config_map.data = data
            client.replace(config_map)
        node_role = self._node_role()
        self._sandbox.client("iam").detach_role_policy(
            RoleName=node_role, PolicyArn=f"arn:aws:iam::aws:policy/{_DETACHED}"
        )
        self._console.print(f"  Kim is mapped; {_DETACHED} is gone from {node_role}")

    def _found_drift(self, result: Result) -> None:
        drifted = sorted(s.name for s in result.steps if s.operation not in {"same", "refresh"})
        self._console.print(f"  drifted: {', '.join(drifted) or 'nothing'}", highlight=False)
        expect(
            drifted == [f"iam-node-{_DETACHED}"],
            f"only the detached policy is drift, the refresh says {drifted}",
        )

    def _repaired(self) -> None:
        attached = self._sandbox.client("iam").list_attached_role_policies(
            RoleName=self._node_role()
        )
        names = {p["PolicyName"] for p in attached["AttachedPolicies"]}
        expect(_DETACHED in names, f"{_DETACHED} was not attached again, there are {names}")
        text = self._map_roles()
        expect(
            text.startswith(_EDITED) and _KIM.format(account=self._account()) in text,
            "the other person's edit of aws-auth is not as they left it",
        )

    def _interrupt(self, stack: Stack) -> None:
        ec2 = self._sandbox.client("ec2")
        spot = {
            _tag(i): i["InstanceId"]
            for r in ec2.describe_instances()["Reservations"]
            for i in r["Instances"]
            if i.get("InstanceLifecycle") == "spot"
        }
        tag = f"kubernetes.io/cluster/{constants.CLUSTER}"
        own = spot.pop(tag)
        foreign = next(iter(spot.values()))
        function = str(stack.outputs()["function_arn"])
        answers = self._sandbox.client("lambda").get_function_configuration(FunctionName=function)
        variables = answers["Environment"]["Variables"]
        with ThreadPoolExecutor() as beside:
            lines = beside.map(lambda instance: self._invoke(variables, instance), (own, foreign))
            for line in lines:
                self._console.print(f"  {line}", highlight=False)
        state = requests.get(f"{self._sandbox.castai_url}/_sandbox/state", timeout=_SECONDS).json()
        text = json.dumps([c["events"] for c in state["clusters"]])
        self._console.print(f"  CAST AI heard of {own}", highlight=False)
        expect(own in text, f"CAST AI did not hear of {own}, it heard {text}")
        expect(foreign not in text, f"CAST AI heard of {foreign}, which is not of this cluster")

    def _invoke(self, variables: dict[str, str], instance: str) -> str:
        """Run the function's own handler as Lambda would, and return what it decided."""
        event = {
            "version": "0",
            "id": "00000000-0000-0000-0000-000000000000",
            "detail-type": "EC2 Spot Instance Interruption Warning",
            "source": "aws.ec2",
            "account": self._account(),
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "region": constants.REGION,
            "resources": [f"arn:aws:ec2:{constants.REGION}a:instance/{instance}"],
            "detail": {"instance-id": instance, "instance-action": "terminate"},
        }
        code = (
            "import json, sys\n"
            "from castai_stack.spot_handler.handler import handle\n"
            "class Context:\n"
            "    def get_remaining_time_in_millis(self): return 60000\n"
            "handle(json.load(sys.stdin), Context())\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps(event),
            env={**os.environ, **self._sandbox.environment(), **variables},
            cwd=engine_stack.REPOSITORY,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        expect(done.returncode == 0, f"the handler failed for {instance}: {done.stderr[-500:]}")
        line = json.loads(done.stdout.splitlines()[-1])
        return f"{instance}: {line['decision']} {line.get('reason', '')}"

    def _inventory(self) -> dict[str, inventory.Inventory]:
        plane = self._sandbox.control_plane
        return {
            "AWS": inventory.aws(self._sandbox.aws_url),
            "Kubernetes": inventory.kubernetes(plane.url, plane.authority, plane.token_of("admin")),
            "CAST AI": inventory.castai(self._sandbox.castai_url),
        }

    def _audit(self) -> None:
        after = self._inventory()
        edited = self._before["Kubernetes"]["ConfigMap (api/v1)"]["kube-system/aws-auth"]["data"]
        edited["mapRoles"] = _EDITED + edited["mapRoles"] + _KIM.format(account=self._account())
        for moment in (self._before, after):  # evicted pods come back under other names
            pods = moment["Kubernetes"].pop("Pod (api/v1)", {})
            moment["Kubernetes"]["Pod"] = {name.rpartition("-")[0]: {} for name in pods}
        left = [
            f"{where}: {difference}"
            for where, before in self._before.items()
            for difference in inventory.differences(before, after[where])
        ]
        expect(not left, "left over or missing after the destroy:\n  " + "\n  ".join(left))


def expect_empty(result: Result, what: str) -> None:
    """Raise DeviationError unless nothing changed, or would."""
    changing = ", ".join(f"{s.operation} {s.name}" for s in result.changing())
    expect(result.empty, f"{what} is not empty: {changing or result.changes}")


def _physical_name(resource: dict[str, Any]) -> str:
    outputs = resource.get("outputs", {})
    metadata = outputs.get("metadata")
    if isinstance(metadata, dict) and "name" in metadata:
        return "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))
    return str(outputs.get("name") or resource.get("id", ""))


def _tag(instance: dict[str, Any]) -> str:
    keys = [t["Key"] for t in instance.get("Tags", [])]
    return next((k for k in keys if k.startswith("kubernetes.io/cluster/")), "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Connect a cluster to CAST AI on this machine, change it, and take it away again."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.demo", description=main.__doc__)
    parser.add_argument("--state", type=Path, help="folder of the sandbox (default: a new one)")
    parser.add_argument(
        "--own-toolchain",
        action="store_true",
        help="use the programs that this project builds, whatever is on PATH",
    )
    parser.add_argument("--aws-waits", action="store_true", help=AWS_WAITS_HELP)
    options = parser.parse_args(arguments)
    console = Console()
    try:
        with _folder(options.state) as folder:
            programs = toolchain.programs(own=options.own_toolchain, console=console)
            sandbox = Sandbox.start(
                folder,
                programs,
                console=console,
                options={"awsWaits": options.aws_waits},
                with_parent=True,
            )
            try:
                resources = Demo(sandbox, console).run()
            finally:
                sandbox.stop()
    except (DeviationError, LifeError) as deviation:
        return _failed(console, str(deviation))
    except OperationError as error:
        console.print(error.output, highlight=False, markup=False, soft_wrap=True)
        return _failed(console, str(error))
    except (ProcessError, SandboxError, ToolchainError) as error:
        return _failed(console, str(error))
    except KeyboardInterrupt:
        return _failed(console, "interrupted; everything that was started has been ended")
    console.print(f"demo: ok, {resources} resources, 0 leftovers", highlight=False)
    return 0


def _failed(console: Console, why: str) -> int:
    console.print(f"demo: failed: {why}", highlight=False, markup=False, soft_wrap=True)
    return 1


@contextmanager
def _folder(chosen: Path | None) -> Iterator[Path]:
    if chosen is not None:
        yield chosen
        return
    with tempfile.TemporaryDirectory(prefix="castai-eks-demo-") as folder:
        yield Path(folder) / "sandbox"


if __name__ == "__main__":
    command_line.leave(main)
