"""Files of a take-over: the stack file, and the report with the steps that follow."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import yaml

from castai_stack.adopt.plan import Plan
from castai_stack.commands import command_line
from castai_stack.commands.target import Target
from castai_stack.config.stack_file import KEY
from castai_stack.config.validation import validate
from castai_stack.kube.kubeconfig import FROM_EKS
from castai_stack.plugin.run import DEFAULT_URL

_STEPS = """\
## Steps

1. In the folder of `Pulumi.yaml`, with `{file}` there: `pulumi stack init {stack}` and
   `pulumi config set --secret apiKey`.
2. Run the commands for before. `pulumi preview` shows imports, and nothing replaced or deleted.
   `pulumi up` leaves the imported objects as they are. Where CAST AI has a key, it gets a new one.
3. Compare what CAST AI may do with `{program} permissions {file}`. Set `adoption.values` to
   `settings`, then `pulumi preview --diff` and `pulumi up`: policy texts, tags and the like become
   those of this stack, and the old key becomes inactive.
4. Run the commands for afterwards.
5. One setting at a time, each with a preview: remove entries of `iam.principalPolicyArns` and
   `iam.nodePolicyArns`, set `permissions` to `scoped`, then go to access entries and to the
   computed names. The table has a row for each. The last two are not needed: the names and the
   mapping that were found may stay.
"""


class _Quoted(yaml.SafeDumper):
    """Quotes every text, so that no reader takes an account id for a number."""


_Quoted.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)


def files(about: Target, plan: Plan, stack: str) -> dict[str, str]:
    """Return the text of each file by its name; raises SettingsError for an invalid stack file."""
    name = f"Pulumi.{stack}.yaml"
    return {name: _stack_file(about, plan), f"adopt-{stack}.md": _report(plan, stack, name)}


def require_valid(about: Target) -> None:
    """Raise SettingsError if no stack file can have these coordinates of a cluster."""
    cluster = {"name": about.cluster, "region": about.region, "accountId": about.account_id}
    validate(_with_target({"cluster": cluster}, about), KEY)


def _stack_file(about: Target, plan: Plan) -> str:
    settings = _with_target(plan.settings, about)
    validate(settings, KEY)
    config = {"pulumi:disable-default-providers": ["aws", "kubernetes"], KEY: settings}
    return yaml.dump({"config": config}, Dumper=_Quoted, sort_keys=False, width=200)


def _with_target(settings: dict[str, Any], about: Target) -> dict[str, Any]:
    cluster = dict(settings["cluster"])
    if about.kubeconfig != FROM_EKS:
        cluster["kubeconfig"] = about.kubeconfig
    if about.context is not None:
        cluster["context"] = about.context
    api = {} if about.api_url == DEFAULT_URL else {"api": {"url": about.api_url}}
    return {**settings, "cluster": cluster, **api}


def _report(plan: Plan, stack: str, name: str) -> str:
    rows = [f"| {row.part} | {row.name} | {row.fate} | {row.remark} |" for row in plan.rows]
    table = ["| part | name | what happens | remark |", "| --- | --- | --- | --- |", *rows]
    return "\n".join(
        [
            f"# Take-over by stack {stack}",
            "",
            *table,
            "",
            _STEPS.format(stack=stack, file=name, program=command_line.program()),
            *_permissions(plan),
            "## Commands before the first `pulumi up`",
            "",
            *_block(plan.before),
            "",
            "## Commands for what others own, afterwards",
            "",
            *_block(plan.commands),
            "",
        ]
    )


def _permissions(plan: Plan) -> list[str]:
    if not plan.steps:
        return []
    rows = [
        f"| {one.step} | {_list(one.gains)} | {_list(one.loses)} | {_list(one.elsewhere)} | "
        f"{'. '.join(one.changes)} |"
        for one in plan.steps
    ]
    return [
        "## What each step changes",
        "",
        "Gains and losses are actions of CAST AI in AWS.",
        "",
        "| step | gains | loses | on other resources or conditions | what else changes |",
        "| --- | --- | --- | --- | --- |",
        *rows,
        "",
    ]


def _list(actions: Sequence[str]) -> str:
    return ", ".join(actions) or "nothing"


def _block(commands: Sequence[str]) -> list[str]:
    return ["```sh", *commands, "```"] if commands else ["None."]


def as_dict(plan: Plan) -> Mapping[str, Any]:
    """Return the plan as plain values."""
    return {
        "objects": [
            {"part": row.part, "name": row.name, "fate": row.fate, "remark": row.remark}
            for row in plan.rows
        ],
        "settings": plan.settings,
        "steps": [asdict(step) for step in plan.steps],
        "before": list(plan.before),
        "commands": list(plan.commands),
    }
