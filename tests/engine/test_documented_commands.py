"""Every command block of README.md and docs/, run as written on a sandbox of a fresh clone.

The blocks run in one shell, in the order of `STEPS`, so a step needs those before it. A block that
is neither a step nor in `NOT_RUN` fails the tests, and so does an entry without a block.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from castai_stack import __main__ as command_line
from sandbox import castai, constants, session, toolchain
from sandbox.engine.stack import REPOSITORY
from sandbox.proofs.secret_search import SecretSearch
from sandbox.session import Sandbox
from sandbox.toolchain import Programs
from tests.support import documents
from tests.support.clone import clone_repository, idle_uv, user_environment
from tests.support.documents import Block
from tests.support.shell import Outcome, Shell

pytestmark = pytest.mark.sandbox

README = "README.md"
NOT_RUN = {
    (README, "make demo"): "`make demo` is a sandbox of its own, `make test` runs this test",
    (
        "docs/agent.md",
        ".venv/bin/python -m pytest tests/engine/test_agent_on_cluster.py -k table",
    ): "`make test` runs it",
    (
        "docs/policy.md",
        "pulumi install --cwd policy",
    ): "it downloads packages; tests/engine/test_policy_pack.py runs the pack",
}
"""Blocks that are not executed, and why."""
DRY_RUNS = {
    "make ": "make --dry-run ",
    "pulumi install --cwd policy": "test -f policy/PulumiPolicy.yaml",
    "pulumi preview --policy-pack policy": "test -f policy/__main__.py",
    ".venv/bin/python -m pytest ": f"{sys.executable} -m pytest --collect-only ",
}
"""What shows that such a command names something that exists."""
PARTS = [(README, "python -m sandbox destroy"), (README, "python -m sandbox stop")]
"""Commands before which a block is split, because other blocks run in between."""
OPTIONAL = ("kubectl",)
"""Programs of the user that neither `make` nor the sandbox brings."""
VOLATILE = {
    r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b": "<id>",
    r"\bcluster (prod|demo)\b": "cluster <name>",
    r"\bstack (prod|dev)\b": "stack <name>",
}
"""Parts of an output that differ between a document and a run, and what stands for them."""


@dataclass(frozen=True, slots=True)
class Step:
    """A block to run; the commands of `before` prepare for it."""

    document: str
    command: str
    """The block's first command."""
    before: tuple[str, ...] = ()
    statuses: Mapping[str, int] = field(default_factory=dict)
    """Exit statuses other than 0, by command."""
    answer: str = ""
    """What the user types."""

    @property
    def key(self) -> tuple[str, str]:
        return self.document, self.command


STEPS = (
    Step(
        README,
        ". .venv/bin/activate",
        statuses={"python -m castai_stack audit Pulumi.dev.yaml": 1},
    ),
    Step(
        "docs/agent.md",
        "kubectl auth can-i --list -n kube-system"
        " --as=system:serviceaccount:castai-agent:castai-agent"
        " --as-group=system:serviceaccounts --as-group=system:authenticated",
    ),
    Step(
        "docs/life-cycle.md",
        "pulumi config set --path castai-eks:castai.credentials.rotation 1",
        before=("pulumi stack select dev",),
    ),
    Step("docs/life-cycle.md", "python -m castai_stack recover"),
    Step("docs/access.md", "python -m castai_stack aws-auth show"),
    Step(
        "docs/many-clusters.md",
        'echo "{\\"config\\": {\\"castai-eks:castai\\": $(pulumi config get castai)}}" > Pulumi.merged.yaml',
    ),
    Step(README, "python -m sandbox destroy"),
    Step(README, "pulumi stack init prod", answer=castai.API_KEY),
    Step(README, "config:"),
    Step(README, "pulumi preview"),
    Step(README, "pulumi up"),
    Step(README, "pulumi preview --refresh --diff"),
    Step("docs/automation.md", "python -m castai_stack status Pulumi.prod.yaml"),
    Step(
        "docs/pull-requests.md",
        "pulumi preview --stack prod --json > preview.json",
        before=("mkdir base; cp Pulumi.prod.yaml base",),
    ),
    Step(
        "docs/adopt.md",
        "python -m castai_stack adopt Pulumi.prod.yaml --into taken --stack taken",
    ),
    Step(
        "docs/adopt.md",
        """sed 's/"documented"/"scoped"/' taken/Pulumi.taken.yaml > Pulumi.scoped.yaml""",
    ),
    Step(README, "python -m castai_stack operator-permissions Pulumi.prod.yaml"),
    Step(
        "docs/permissions.md",
        "python -m castai_stack permissions Pulumi.prod.yaml",
        before=("sed 's/mode: role/mode: user/' Pulumi.prod.yaml > Pulumi.new.yaml",),
    ),
    Step("docs/access.md", "CASTAI_ACCESS_OVERRIDE=last-masters pulumi destroy"),
    Step(README, "pulumi destroy"),
    Step("docs/life-cycle.md", "python -m castai_stack audit Pulumi.prod.yaml"),
    Step("docs/commands.md", "python -m castai_stack COMMAND --help"),
)
LAST = Step(README, "python -m sandbox stop")


def command_blocks() -> dict[tuple[str, str], Block]:
    """Return the shell blocks, and other blocks that are steps, by document and first command."""
    blocks = documents.split(documents.all_blocks(), PARTS)
    steps = {step.key for step in (*STEPS, LAST)}
    selection = [
        block for block in blocks if block.language == documents.SHELL or block.key in steps
    ]
    by_key = {block.key: block for block in selection}
    assert len(by_key) == len(selection), "two blocks of a document begin with the same command"
    return by_key


def test_every_command_block_is_run_or_named():
    blocks = set(command_blocks())
    coverage = {step.key for step in (*STEPS, LAST)} | NOT_RUN.keys()

    assert blocks - coverage == set(), "neither run nor named"
    assert coverage - blocks == set(), "no block of a document any more"
    assert all(place in blocks for place in PARTS)


@pytest.mark.parametrize("key", NOT_RUN, ids=" ".join)
def test_a_block_that_is_not_run_names_what_exists(key: tuple[str, str]):
    for command in command_blocks()[key].commands:
        (prefix,) = filter(command.startswith, DRY_RUNS)
        outcome = subprocess.run(
            ["sh", "-c", command.replace(prefix, DRY_RUNS[prefix], 1)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr


class User:
    """Somebody at a shell in a fresh clone."""

    def __init__(self, folder: Path) -> None:
        self.clone = clone_repository(folder / "clone")
        self.environment = {
            **user_environment(idle_uv(folder / "tools")),
            "PULUMI_SKIP_CONFIRMATIONS": "true",
        }
        self.shell = Shell(self.clone, self.environment)

    @property
    def state(self) -> Path:
        """State folder of the sandbox."""
        return self.clone / ".sandbox"

    def close(self) -> None:
        self.shell.close()
        session.stop(self.state)

    def run(self, step: Step, block: Block) -> Outcome | None:
        """Run the block; return its last command, or None when no program of it is installed."""
        for command in step.before:
            self._expect(self.shell.run(command), 0)
        if block.language == "yaml":
            return {"config:": self._write_settings}[step.command](block.text)
        outcome = None
        for line in block.commands:
            for command in expansions(line):
                if command.startswith(OPTIONAL) and shutil.which(command.split()[0]) is None:
                    continue
                outcome = self.shell.run(command, answer=step.answer)
                self._expect(outcome, step.statuses.get(documents.without_comment(command), 0))
        return outcome

    def _expect(self, outcome: Outcome, status: int) -> None:
        assert outcome.status == status, (
            f"{outcome.command}: exit status {outcome.status}\n{outcome.output}"
        )
        assert "Traceback" not in outcome.output

    def _write_settings(self, text: str) -> None:
        """Add the README's settings to the stack file; the sandbox's cluster has another name."""
        path = self.clone / "Pulumi.prod.yaml"
        text = text.replace("name: prod", f"name: {constants.CLUSTER}")
        if toolchain.find("aws") is None:
            # The login of `from-eks` needs the AWS CLI.
            text = text.replace("region:", "kubeconfig: ambient\n      region:")
        assert text.startswith("config:\n")
        path.write_text(path.read_text().replace("config:\n", text))

    def outputs(self) -> dict[str, str]:
        """Return the output of every command."""
        outcomes = enumerate(self.shell.transcript)
        return {f"output {number}": one.output for number, one in outcomes}


def expansions(command: str) -> list[str]:
    """Return the command, once for each subcommand that COMMAND stands for."""
    if "COMMAND" not in command:
        return [command]
    return [command.replace("COMMAND", name) for name in command_line.COMMANDS]


def normalize(text: str) -> str:
    for pattern, name in VOLATILE.items():
        text = re.sub(pattern, name, text)
    return text.strip()


@pytest.fixture(scope="module")
def user(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    assert programs.pulumi.exists(), "`python -m sandbox start` would build it"
    user = User(tmp_path_factory.mktemp("documented"))
    yield user
    user.close()


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step.document}: {step.command[:60]}")
def test_a_block_does_what_its_document_says(user: User, step: Step):
    block = command_blocks()[step.key]

    outcome = user.run(step, block)

    if block.output is not None:
        assert outcome is not None
        assert normalize(outcome.output) == normalize(block.output)


def test_no_command_printed_a_secret(user: User):
    search = SecretSearch.over(Sandbox.at(user.state))
    outputs = user.outputs()

    assert len(outputs) > len(STEPS)
    assert search.plain(outputs) == []


def test_the_last_block_ends_the_sandbox(user: User):
    outcome = user.run(LAST, command_blocks()[LAST.key])

    assert outcome is not None
    assert "apiserver" in outcome.output
    assert session.stop(user.state) == [], "a process is left"
