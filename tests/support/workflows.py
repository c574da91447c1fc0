"""Workflows of `deploy/` as their services run them: the steps' shell lines, in order."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sandbox.engine.stack import REPOSITORY

GO_TOOLS = Path(__file__).with_name("go_tools")
"""Go module of the tools that the tests of the workflows need."""
DEPLOY = REPOSITORY / "deploy"
INSTALLS = {"actions/checkout", "astral-sh/setup-uv", "pulumi/actions"}
"""Actions whose work the test has done: the folder is a clone, the programs are on PATH."""
LOGIN = "aws-actions/configure-aws-credentials"
_EXPRESSION = re.compile(r"\$\{\{ *(.+?) *\}\}")
_UV = """\
#!/bin/sh
# The packages are those of the tests.
[ "$1" = run ] || exit 0
shift
PATH={bin}:$PATH exec "$@"
"""
_GH = """\
#!{python}
import json, pathlib, subprocess, sys
comments = pathlib.Path({comments!r})
known = json.loads(comments.read_text())
match sys.argv[1:]:
    case ["api", "--paginate", "repos/o/r/issues/7/comments", "--jq", query]:
        command = ["go", "tool", "gojq", "-r", query]
        sys.exit(subprocess.run(command, cwd={tools!r}, input=json.dumps(known), text=True).returncode)
    case ["api", "--method", method, place, "--field", body, "--silent"] if body.startswith("body=@"):
        text = pathlib.Path(body.removeprefix("body=@")).read_text()
        assert len(text) <= 65536
        if (method, place) == ("POST", "repos/o/r/issues/7/comments"):
            bot = {{"login": "github-actions[bot]"}}
            known.append({{"id": len(known) + 1, "user": bot, "body": text}})
        else:
            assert method == "PATCH" and place.startswith("repos/o/r/issues/comments/"), sys.argv
            [own] = [one for one in known if str(one["id"]) == place.rpartition("/")[2]]
            own["body"] = text
        comments.write_text(json.dumps(known))
    case other:
        sys.exit(f"gh: the stand-in does not know {{other}}")
"""


def load(name: str) -> dict[str, Any]:
    """Return a file of `deploy/`; the key `on` of GitHub stays a text."""
    return yaml.load((DEPLOY / name).read_text(), yaml.BaseLoader)  # noqa: S506 - texts only


def tools(folder: Path, comments: Path) -> Path:
    """Write stand-ins of `uv` and `gh` into `folder`."""
    folder.mkdir(parents=True)
    scripts = {
        "uv": _UV.format(bin=Path(sys.executable).parent),
        "gh": _GH.format(python=sys.executable, comments=str(comments), tools=str(GO_TOOLS)),
    }
    for name, text in scripts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


@dataclass
class Runner:
    """A runner in a clone; `login` returns the variables of a role."""

    folder: Path
    environment: Mapping[str, str]
    login: Callable[[str], Mapping[str, str]]
    output: str = ""
    summary: str = ""
    _outputs: dict[str, str] = field(default_factory=dict)

    def github(self, name: str, values: Mapping[str, str]) -> int:
        """Run the only job of a workflow and return the status of its first failing step."""
        (job,) = load(f"github/{name}")["jobs"].values()
        values = dict(values)
        environment = {**self.environment, **self._resolved(job.get("env", {}), values)}
        for step in job["steps"]:
            if "uses" in step:
                action = step["uses"].partition("@")[0]
                if action == LOGIN:
                    role = self._resolved(step["with"], values)["role-to-assume"]
                    environment |= self.login(role)
                else:
                    assert action in INSTALLS, f"nothing stands in for {action}"
                continue
            given = {**environment, **self._resolved(step.get("env", {}), values)}
            status = self._shell(step["run"], given)
            if "id" in step:
                values |= {f"steps.{step['id']}.outputs.{k}": v for k, v in self._outputs.items()}
            if status:
                return status
        return 0

    def gitlab(self, name: str, values: Mapping[str, str]) -> int:
        """Run one job's script with variables of the pipeline."""
        jobs = load("gitlab/castai.gitlab-ci.yml")
        job, base = jobs[name], jobs[jobs[name]["extends"]]
        variables = {**base["variables"], **job["variables"]}
        role = values[variables["ROLE"].removeprefix("$")]
        given = {**self.environment, **variables, **self.login(role), **values, "ROLE": role}
        return self._shell("\n".join([*base["before_script"], *job["script"]]), given)

    def _resolved(self, texts: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
        return {
            key: _EXPRESSION.sub(lambda match: values[match[1]], text)
            for key, text in texts.items()
        }

    def _shell(self, script: str, environment: Mapping[str, str]) -> int:
        """Run as GitHub does: `bash -e`, with files for outputs and the summary."""
        files = {
            name: self.folder.with_name(name.lower())
            for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")
        }
        for path in files.values():
            path.write_text("")
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script],
            cwd=self.folder,
            env={**environment, **{name: str(path) for name, path in files.items()}},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=600,
        )
        self.output += done.stdout
        self.summary = files["GITHUB_STEP_SUMMARY"].read_text() or self.summary
        lines = files["GITHUB_OUTPUT"].read_text().splitlines()
        self._outputs = dict(line.split("=", 1) for line in lines)
        return done.returncode


def actionlint(*paths: Path) -> subprocess.CompletedProcess[str]:
    """Check workflows with the parser of GitHub's workflow language."""
    command = ["go", "tool", "actionlint", "-shellcheck=", *map(str, paths)]
    return subprocess.run(
        command, cwd=GO_TOOLS, env=os.environ, capture_output=True, text=True, check=False
    )


def comments(path: Path) -> list[dict[str, Any]]:
    """Return the comments that the stand-in of `gh` holds."""
    return json.loads(path.read_text())
