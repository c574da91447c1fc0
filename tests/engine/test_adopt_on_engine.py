"""A cluster that another installer connected is taken over, and CAST AI keeps its access."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Pod
from rich.console import Console

from castai_stack.agent.names import NAMESPACE
from castai_stack.automation import evictor_config
from castai_stack.automation.names import EVICTOR_CONFIG
from castai_stack.castai.automation_api import AutomationApi
from castai_stack.kube import kinds
from sandbox import inventory
from sandbox.castai import API_KEY
from sandbox.constants import ACCOUNT, CLUSTER, FOREIGN_CLUSTER, REGION
from sandbox.engine.stack import Stack
from sandbox.kubernetes.furnished import aws_auth
from sandbox.proofs import crash_adoption
from sandbox.proofs.secret_search import SecretSearch
from sandbox.session import Sandbox
from sandbox.sources import charts, furnish, installers
from sandbox.sources.take_over import adopt, stack_file
from sandbox.toolchain import Programs
from tests.support.life import Life, operations, require_empty

pytestmark = pytest.mark.sandbox

PINNED = {"enabled": True, "podPinner": {"enabled": True}}
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:alarms"
ARGUMENTS = ("--cluster", CLUSTER, "--region", REGION, "--account-id", ACCOUNT)


@pytest.fixture
def furnished(programs: Programs, tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox of its own: what others leave would be in the way of other tests."""
    started = Sandbox.start(
        tmp_path / "sandbox",
        programs,
        options={"castai": {"online_window": 10}},
        with_parent=True,
    )
    yield started
    started.stop()


def stack(life: Life, folder: Path, settings: dict[str, Any]) -> Stack:
    """Return the stack under these settings."""
    name = f"Pulumi.{life.name}-{settings['adoption']['values']}.yaml"
    return life.sandbox.stack(stack_file=stack_file(folder / name, settings), name=life.name)


def pods(life: Life) -> set[str]:
    with life.kubernetes() as client:
        names = [str(one.metadata.name) for one in client.list(Pod, namespace=NAMESPACE)]
    return {name for name in names if name.startswith("castai-agent")}


def iam_objects_of_castai(life: Life) -> set[str]:
    """Names of users, roles and policies that have to do with CAST AI."""
    iam = life.aws("iam")
    roles = [one["RoleName"] for one in iam.list_roles()["Roles"]]
    users = [one["UserName"] for one in iam.list_users()["Users"]]
    policies = [one["PolicyName"] for one in iam.list_policies(Scope="Local")["Policies"]]
    return {name for name in (*roles, *users, *policies) if "cast" in name.lower()}


def test_what_the_script_left_in_user_mode(furnished: Sandbox, tmp_path: Path):
    place = furnish.connect(furnished, installers.script_with_user)
    other = replace(place, cluster=FOREIGN_CLUSTER, cluster_id="1" * 36)
    theirs = installers.script_with_user(other)
    furnish.write_aws(furnished, other, replace(theirs, functions=(), security_group=None))
    life = Life(furnished, "adopted")
    settings = adopt(furnished, tmp_path / "out")
    before, agents = life.castai()["accessKeyId"], pods(life)

    with life.access_without_interruption():
        update = stack(life, tmp_path, settings).up()
    assert set(operations(update).values()) <= {"create", "import", "update"}
    assert update.changes["import"] == len(settings["adoption"]["imports"]) + 14
    assert pods(life) == agents, "no pod of the agent may be restarted"
    assert life.castai()["accessKeyId"] != before, "the take-over ends with a rotation"
    require_empty([stack(life, tmp_path, settings).preview()])

    settings["adoption"]["values"] = "settings"
    with life.access_without_interruption():
        ours = stack(life, tmp_path, settings).up()
    assert set(operations(ours).values()) == {"update"}
    keys = life.aws("iam").list_access_keys(UserName=f"cast-eks-{CLUSTER}")["AccessKeyMetadata"]
    assert {key["AccessKeyId"]: key["Status"] for key in keys}[before] == "Inactive"

    stack(life, tmp_path, settings).destroy()
    assert iam_objects_of_castai(life) == {
        "CastEKSPolicy",
        "CastLambdaRoleForSpot",
        *(one.name for one in theirs.principals),
    }
    life.aws("lambda").get_function(FunctionName=installers.FUNCTION)
    assert life.map_roles() == aws_auth(ACCOUNT)["mapRoles"]


@dataclass(frozen=True)
class Source:
    """One way to have connected the cluster, and what a destroy must leave of it."""

    installer: furnish.Installer
    install: charts.Install
    left: frozenset[str]
    """IAM objects of others."""
    workloads: frozenset[str] = frozenset()
    """Deployments of others."""
    restarts: bool = False
    """Whether the agent has to make way."""
    manager: str = "helm"


SHARED = frozenset({"CastEKSPolicy"})
SOURCES = {
    "terraform": Source(
        installers.terraform,
        charts.with_controller,
        frozenset({f"CastEC2AssignIPv6Policy-{CLUSTER}"}),
    ),
    "terraform-with-access-entries": Source(
        installers.by_access_entries(installers.terraform),
        charts.with_controller,
        frozenset({f"CastEC2AssignIPv6Policy-{CLUSTER}"}),
    ),
    "script": Source(installers.script_with_role, charts.with_evictor, SHARED),
    "every-release": Source(
        installers.script_with_role,
        charts.every_release,
        SHARED,
        frozenset({"castai-evictor", "castai-evictor-cpvpa", "castai-pod-pinner"}),
    ),
    "kubectl": Source(
        installers.script_with_role,
        charts.applied_by_kubectl,
        SHARED,
        manager="kubectl-client-side-apply",
    ),
    "umbrella-or-castctl": Source(
        installers.script_with_role,
        charts.umbrella,
        SHARED,
        frozenset({"castai-pod-pinner"}),
        restarts=True,
    ),
}


def access_entries(life: Life) -> dict[str, datetime]:
    """Time of creation of each access entry that has to do with CAST AI."""
    eks = life.aws("eks")
    try:
        arns = eks.list_access_entries(clusterName=CLUSTER)["accessEntries"]
    except eks.exceptions.InvalidRequestException:  # the cluster reads aws-auth alone
        return {}
    described = [eks.describe_access_entry(clusterName=CLUSTER, principalArn=one) for one in arns]
    entries = [one["accessEntry"] for one in described]
    return {
        one["principalArn"]: one["createdAt"] for one in entries if "cast" in one["principalArn"]
    }


def workloads(life: Life) -> dict[str, str]:
    """Uid of each deployment in the agent's namespace, by name."""
    with life.kubernetes() as client:
        deployments = [one.metadata for one in client.list(Deployment, namespace=NAMESPACE)]
        return {str(one.name): str(one.uid) for one in deployments}


def evictor_configuration(life: Life) -> Any:
    """Specification of the object `evictor-config`; None without the object or its kind."""
    with life.kubernetes() as client:
        kind = kinds.load(evictor_config.API_VERSION, evictor_config.KIND)
        try:
            return client.get(kind, EVICTOR_CONFIG).to_dict()["spec"]
        except httpx2.HTTPStatusError:
            return None


def make_way(life: Life, folder: Path) -> None:
    """Run the commands that the report has for before the first `up`."""
    report = (folder / "adopt-adopted.md").read_text()
    with life.kubernetes() as client:
        for name in re.findall("^kubectl delete deployment ([a-z-]+) ", report, re.MULTILINE):
            client.delete(Deployment, name, namespace=NAMESPACE)


@pytest.mark.exhaustive
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_what_other_installers_left_in_role_mode(
    furnished: Sandbox, tmp_path: Path, source: Source
):
    place = furnish.connect(
        furnished, source.installer, install=source.install, manager=source.manager
    )
    life = Life(furnished, "role")
    api = AutomationApi(furnished.castai_url, API_KEY)
    switched = {"enabled": True, "scopedMode": True, "unschedulablePods": PINNED}
    version = api.policies(place.cluster_id)["version"]
    before = api.update_policies(place.cluster_id, {**switched, "version": version})
    entries = access_entries(life)
    settings = adopt(furnished, tmp_path / "out")
    assert settings["automation"]["autoscaler"]["enabled"]
    agents, running, configured = pods(life), workloads(life), evictor_configuration(life)

    with life.access_without_interruption():
        make_way(life, tmp_path / "out")
        update = stack(life, tmp_path, settings).up()

    after = api.policies(place.cluster_id)
    assert {**after, "version": ""} == {**before, "version": ""}, "the policies stay as they are"
    assert set(operations(update).values()) <= {"create", "import", "update"}
    assert (pods(life) != agents) is source.restarts
    assert access_entries(life) == entries, "no access entry may be created anew"
    if not source.restarts:
        assert running.items() <= workloads(life).items(), "no deployment may be created again"
    assert evictor_configuration(life) == configured, "it belongs to the user, or to CAST AI"
    if configured is not None:
        evictor = api.evictor(place.cluster_id)
        assert (evictor["enabled"], evictor["dryRun"], evictor["aggressiveMode"]) == (
            True,
            False,
            True,
        )
    require_empty([stack(life, tmp_path, settings).preview()])
    stack(life, tmp_path, settings).destroy()
    assert iam_objects_of_castai(life) == source.left
    assert set(workloads(life)) == source.workloads
    assert not access_entries(life)


@pytest.mark.exhaustive
def test_the_script_in_user_mode_whose_mapping_moved_to_access_entries(
    furnished: Sandbox, tmp_path: Path
):
    furnish.connect(furnished, installers.by_access_entries(installers.script_with_user))
    life = Life(furnished, "moved")
    entries = access_entries(life)
    assert len(entries) == 2
    settings = adopt(furnished, tmp_path / "out")

    with life.access_without_interruption():
        update = stack(life, tmp_path, settings).up()
    assert set(operations(update).values()) <= {"create", "import", "update"}
    assert access_entries(life) == entries, "no access entry may be created anew"
    require_empty([stack(life, tmp_path, settings).preview()])

    settings["adoption"]["values"] = "settings"
    ours = stack(life, tmp_path, settings).up()
    assert set(operations(ours).values()) == {"update"}
    assert access_entries(life) == entries

    # The step to another name of the user; its two keys take every slot that AWS allows.
    settings["physicalNames"]["principal"] = "another-name"
    of_user = ("access-user", "iam-key", "iam-user")
    imports = settings["adoption"]["imports"].items()
    settings["adoption"]["imports"] = {
        name: identifier for name, identifier in imports if not name.startswith(of_user)
    }
    stack(life, tmp_path, settings).up()
    assert life.castai_can_work()
    assert life.aws("iam").get_user(UserName="another-name")
    require_empty([stack(life, tmp_path, settings).preview()])

    stack(life, tmp_path, settings).destroy()
    assert not access_entries(life)
    assert life.map_roles() == aws_auth(ACCOUNT)["mapRoles"]


NEW_OF_SPOT = {
    "role": {"spot-api-key-value"},
    "user": {
        "spot-function",
        "spot-invoke-config",
        *(
            f"spot-{rule}-{part}"
            for rule in ("interruption", "rebalance")
            for part in ("permission", "target")
        ),
    },
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("mode", ["user", "role"])
def test_a_stack_of_this_program_whose_state_is_gone(furnished: Sandbox, tmp_path: Path, mode: str):
    # One row keeps the function's key in a secret; in the other one a destroy ended early.
    of_function = {"memoryMb": 512, "keyInSecretsManager": True} if mode == "role" else {}
    spot = {"alarmTopicArn": TOPIC, **of_function}
    overrides = {f"spot.{name}": str(value).lower() for name, value in spot.items()}
    lost = Life(furnished, "lost", {"credentials.mode": mode, **overrides})
    before = inventory.aws(furnished.aws_url)
    lost.stack().up()
    if mode == "user":
        name = f"{installers.FUNCTION}-{CLUSTER}"
        lost.aws("lambda").delete_function(FunctionName=name)
    settings = adopt(furnished, tmp_path / "out")
    assert settings["spot"] == spot
    again = Life(furnished, "again")

    with again.access_without_interruption():
        update = stack(again, tmp_path, settings).up()

    assert set(operations(update).values()) <= {"create", "import", "update"}
    created = {name for name, step in operations(update).items() if step == "create"}
    assert {name for name in created if name.startswith("spot-")} == NEW_OF_SPOT[mode]
    assert SecretSearch.over(furnished).plain() == []
    require_empty([stack(again, tmp_path, settings).preview()])
    stack(again, tmp_path, settings).destroy()
    assert iam_objects_of_castai(again) == set()
    assert not inventory.differences(before, inventory.aws(furnished.aws_url))


@pytest.mark.exhaustive
@pytest.mark.parametrize("source", crash_adoption.SOURCES)
def test_a_take_over_that_is_killed_again_and_again_ends_like_any_other(
    programs: Programs, tmp_path: Path, source: str
):
    """`make crash` kills after every write."""
    assert crash_adoption.run(source, 8, tmp_path, programs, Console(quiet=True)) > 1
