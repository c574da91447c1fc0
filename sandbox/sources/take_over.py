"""The command `adopt` on a furnished sandbox, and the stack file of what it writes."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from castai_stack.config.stack_file import KEY
from sandbox import castai
from sandbox.constants import ACCOUNT, CLUSTER, REGION
from sandbox.engine.stack import REPOSITORY
from sandbox.session import Sandbox

NAME = "adopted"
"""Stack whose file the command writes."""


def adopt(sandbox: Sandbox, folder: Path) -> dict[str, Any]:
    """Run the command; return the settings that it writes."""
    where = ("--cluster", CLUSTER, "--region", REGION, "--account-id", ACCOUNT)
    files = ("--kubeconfig", "ambient", "--into", str(folder), "--stack", NAME)
    subprocess.run(
        [sys.executable, "-m", "castai_stack", "adopt", *where, *files],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, **sandbox.environment(), "CASTAI_API_KEY": castai.API_KEY},
    )
    return yaml.safe_load((folder / f"Pulumi.{NAME}.yaml").read_text())["config"][KEY]


def stack_file(path: Path, settings: dict[str, Any]) -> Path:
    """Write these settings, with the API key of the sandbox's own stack file."""
    file = yaml.safe_load((REPOSITORY / "Pulumi.dev.yaml").read_text())
    file["config"][KEY] = settings
    # Without quotes the account id would be a number.
    path.write_text(yaml.dump(file).replace(f"accountId: {ACCOUNT}", f'accountId: "{ACCOUNT}"'))
    return path
