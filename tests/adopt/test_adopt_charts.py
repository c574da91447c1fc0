"""What each installer leaves in the cluster: what is taken over, what is left, who owns it."""

from dataclasses import replace
from typing import Any

import pytest

from castai_stack.adopt import reading
from castai_stack.adopt.observations import InCluster
from castai_stack.adopt.plan import Plan
from castai_stack.adopt.written import files
from castai_stack.commands.target import Target
from sandbox.sources import charts, installers
from tests.support import footprints

TOKEN = "SENTINEL"


def in_cluster(install: charts.Install, **more: Any) -> InCluster:
    documents = install(footprints.source_place(), TOKEN)
    workloads = [one for one in documents if one["kind"] in ("Deployment", "DaemonSet")]
    records = [one["metadata"]["labels"] for one in documents if one["kind"] == "Secret"]
    releases = {one["name"]: "chart" for one in records if one.get("owner") == "helm"}
    return InCluster(tuple(map(reading.workload, workloads)), releases, **more)


def planned(install: charts.Install, **more: Any) -> Plan:
    observations = footprints.observed(installers.script_with_role(footprints.source_place()))
    return footprints.planned(replace(observations, cluster=in_cluster(install, **more)))


def remarks(plan: Plan) -> dict[tuple[str, str], str]:
    return {(row.name, row.fate): row.remark for row in plan.rows}


@pytest.mark.parametrize(
    "install",
    [
        charts.agent,
        charts.with_controller,
        charts.every_release,
        charts.with_evictor,
        charts.applied_by_kubectl,
        charts.umbrella,
    ],
)
def test_no_key_is_in_a_report(install: charts.Install):
    plan = planned(install)

    assert TOKEN not in str(plan)
    assert TOKEN not in "".join(files(Target("prod", "eu-central-1", "1" * 12), plan, "p").values())


def test_releases_of_the_script_are_taken_over_in_place():
    plan = planned(charts.with_controller)

    rows = remarks(plan)
    assert "Helm release castai-agent" in rows["castai-agent", "taken over"]
    assert "self-upgrade ends" in rows["castai-cluster-controller", "taken over"]
    assert plan.before == ()
    assert plan.commands == (
        "kubectl delete secret -n castai-agent -l owner=helm,name=castai-agent",
        "kubectl delete secret -n castai-agent -l owner=helm,name=cluster-controller",
    )
    assert "createNamespace" not in plan.settings["agent"]


def test_what_castai_scales_by_itself_is_left_with_its_namespace():
    plan = planned(charts.every_release)

    rows = remarks(plan)
    for name in ("castai-evictor", "castai-pod-pinner"):
        assert "CAST AI upgrades and scales it by itself" in rows[name, "left"]
    assert plan.settings["agent"]["createNamespace"] is False
    assert "a destroy leaves it with castai-evictor, " in rows["castai-agent", "left"]
    assert plan.settings["spot"] == {"handler": "daemonset"}
    assert "Helm release castai-spot-handler" in rows["castai-spot-handler", "taken over"]
    assert not [line for line in plan.commands if "evictor" in line or "pinner" in line]


def test_an_agent_of_kubectl_has_no_owner_but_its_manifest():
    plan = planned(charts.applied_by_kubectl)

    remark = remarks(plan)["castai-agent", "taken over"]
    assert "installed by kubectl apply, and to be applied no more" in remark
    assert (plan.before, plan.commands) == ((), ())


def test_workloads_of_the_umbrella_make_way_and_their_secret_stays():
    plan = planned(charts.umbrella)

    rows = remarks(plan)
    assert "another selector: delete it before" in rows["castai-agent", "created"]
    assert plan.before == (
        "kubectl delete deployment castai-agent -n castai-agent",
        "kubectl delete deployment castai-agent-cpvpa -n castai-agent",
        "kubectl delete deployment castai-cluster-controller -n castai-agent",
    )
    assert plan.commands == ("kubectl delete secret -n castai-agent -l owner=helm,name=castai",)
    assert plan.settings["agent"]["existingSecret"] == charts.CREDENTIALS
    assert (charts.CREDENTIALS, "left") in rows
    assert "taken over" in {fate for name, fate in rows if name == "castai-spot-handler"}


def test_components_of_the_operator_are_removed_without_their_objects():
    plan = planned(charts.agent, components=("castai-agent",))

    assert "would write the objects back" in remarks(plan)["castai-agent", "left"]
    assert plan.commands[-1] == (
        "kubectl delete components.castware.cast.ai -n castai-agent castai-agent --cascade=orphan"
    )


def test_the_report_has_the_commands_before_and_after():
    report = files(Target("prod", "eu-central-1", "1" * 12), planned(charts.umbrella), "prod")
    text = report["adopt-prod.md"]

    before, after = text.index("kubectl delete deployment"), text.index("owner=helm,name=castai")
    assert text.index("## Commands before") < before < text.index("afterwards\n") < after
