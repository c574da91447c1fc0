"""The evictor of another installer: taken over as it works now, or left with the reason."""

from dataclasses import replace
from typing import Any

import pytest

from castai_stack.adopt import reading
from castai_stack.adopt.evictor import BESIDE, RULES
from castai_stack.adopt.observations import Observations, Workload
from castai_stack.adopt.plan import Plan
from castai_stack.automation import evictor as evictor_objects
from castai_stack.automation.evictor import AUTOSCALER_SELECTOR
from castai_stack.automation.release import selector
from sandbox.castai.evictor import Evictor
from sandbox.castai.policies import Policies
from sandbox.sources import charts, installers
from tests.automation.test_controller_manifests import a_release
from tests.support import footprints
from tests.support.footprints import planned

EVICTOR, AUTOSCALER, CONFIGURATION = "castai-evictor", "castai-evictor-cpvpa", "evictor-config"
OWNER = "Helm release castai-evictor"
OFF = Evictor().get()
ON = Evictor().patch({"enabled": True, "scopedMode": True, "cycleInterval": "5m"})
MANAGED = {"managementMode": "castai", "enabled": True, "config": {"dryRun": True}}
SELF = {
    "managementMode": "self-managed",
    "enabled": True,
    "config": {"aggressiveMode": True, "cycleInterval": "2m0s", "targetNodePercentage": 10},
}
VARIABLES = {"DRY_RUN": "True", "CYCLE_INTERVAL": "1m", "NODE_GRACE_PERIOD_MINUTES": "7"}


def workloads(release: str = "castai-evictor", **changes: Any) -> tuple[Workload, ...]:
    """Return the evictor and its autoscaler, as the chart labels them for a release."""
    labels = {"app.kubernetes.io/name": EVICTOR, "app.kubernetes.io/instance": release}
    plain = Workload(EVICTOR, "v0.35.136", "Deployment", labels, f"Helm release {release}")
    autoscaler = Workload(AUTOSCALER, "v0.8.4", "Deployment", AUTOSCALER_SELECTOR, plain.owner)
    return replace(plain, **changes), autoscaler


def observations(
    *evictor: Workload,
    custom: dict[str, Any] | None = None,
    in_cluster: dict[str, Any] | None = None,
    **castai: Any,
) -> Observations:
    plain = footprints.observed(installers.script_with_role(footprints.source_place()))
    cluster = replace(
        plain.cluster,
        workloads=(*plain.cluster.workloads, *evictor),
        evictor=custom,
        **(in_cluster or {}),
    )
    return replace(plain, cluster=cluster, castai=replace(plain.castai, **castai))


def fate_and_remark(plan: Plan, name: str) -> tuple[str, str]:
    """Return fate and remark of an object, or of a part of the report."""
    rows = plan.rows
    return next((row.fate, row.remark) for row in rows if name in (row.name, row.part))


def test_the_selectors_are_those_of_the_objects():
    objects = evictor_objects.objects(a_release(evictor={"enabled": True}), None)
    selectors = {
        one["metadata"]["name"]: one["spec"]["selector"]["matchLabels"]
        for one in objects.values()
        if one["kind"] == "Deployment"
    }
    assert selectors == {EVICTOR: selector(EVICTOR), AUTOSCALER: AUTOSCALER_SELECTOR}


@pytest.mark.parametrize(
    ("custom", "variables", "at_castai", "place", "values"),
    [
        (
            MANAGED,
            VARIABLES,
            ON,
            "CAST AI's API",
            {"dryRun": False, "scopedMode": True, "cycleIntervalSeconds": 300},
        ),
        (
            SELF,
            VARIABLES,
            ON,
            "object evictor-config",
            {"aggressiveMode": True, "scopedMode": False, "cycleIntervalSeconds": 120},
        ),
        (
            None,
            VARIABLES,
            OFF,
            "the variables of its deployment",
            {"dryRun": True, "cycleIntervalSeconds": 60, "nodeGracePeriodMinutes": 7},
        ),
        (
            None,
            {},
            ON,
            "the variables of its deployment",
            {"dryRun": False, "scopedMode": False, "nodeGracePeriodMinutes": 5},
        ),
    ],
    ids=["managed", "self-managed", "no object", "no variable"],
)
def test_it_is_taken_over_with_the_values_that_it_works_with(
    custom: Any, variables: Any, at_castai: Any, place: str, values: dict[str, Any]
):
    plan = planned(observations(*workloads(variables=variables), custom=custom, evictor=at_castai))

    section = plan.settings["automation"]["evictor"]
    assert plan.settings["automation"]["adopt"] is True
    assert (section["enabled"], section["tag"]) == (True, "v0.35.136")
    assert {name: section[name] for name in values} == values
    fate, remark = fate_and_remark(plan, "evictor's configuration")
    assert (fate, remark.startswith(f"from {place}")) == ("taken over", True)
    assert fate_and_remark(plan, EVICTOR)[0] == "taken over"
    assert "createNamespace" not in plan.settings["agent"], "nothing of others runs there"


@pytest.mark.parametrize(
    ("evictor", "more", "why"),
    [
        ({"replicas": 0}, {"custom": MANAGED, "evictor": ON}, "it is stopped"),
        ({}, {"custom": MANAGED, "evictor": OFF}, "CAST AI's API has it switched off"),
        ({}, {"custom": SELF | {"enabled": False}}, "object evictor-config has it switched off"),
        ({}, {"policies": Policies().get(), "old_policies_on": True}, "go to V2 first"),
        ({"variables": {"CYCLE_INTERVAL": "1s"}}, {}, "cycleIntervalSeconds: found 1; allowed"),
        ({"variables": {"NODE_GRACE_PERIOD_MINUTES": "x"}}, {}, "nodeGracePeriodMinutes: found"),
    ],
)
def test_one_that_does_not_work_or_cannot_be_expressed_is_left(
    evictor: dict[str, Any], more: dict[str, Any], why: str
):
    plan = planned(observations(*workloads(**evictor), **more))

    fate, remark = fate_and_remark(plan, EVICTOR)
    assert fate == "left"
    assert why in remark
    assert fate_and_remark(plan, AUTOSCALER)[0] == "left"
    section = plan.settings["automation"].get("evictor", {})
    assert not section.get("enabled"), "an evictor that does not work is never started"
    assert plan.settings["agent"]["createNamespace"] is False
    assert not [line for line in (*plan.before, *plan.commands) if "evictor" in line]


def test_one_of_the_umbrella_chart_makes_way_before():
    plan = planned(observations(*workloads("castai"), custom=MANAGED, evictor=ON))

    assert plan.before == ("kubectl delete deployment castai-evictor -n castai-agent",)
    fate, remark = fate_and_remark(plan, EVICTOR)
    assert (fate, "another selector: delete it before" in remark) == ("created", True)
    assert plan.settings["automation"]["evictor"]["enabled"] is True


def test_castai_no_longer_manages_what_is_taken_over():
    managed = planned(observations(*workloads(managed=True), custom=MANAGED, evictor=ON))
    own = planned(observations(*workloads(), custom=MANAGED, evictor=ON))

    assert "CAST AI upgrades and scales it no more" in fate_and_remark(managed, EVICTOR)[1]
    assert "no more" not in fate_and_remark(own, EVICTOR)[1]


def test_settings_go_to_the_api_by_a_command_after_the_take_over():
    patch = "kubectl patch evictorconfigs.autoscaling.cast.ai evictor-config --type merge -p "
    own = planned(observations(*workloads(), custom=SELF, evictor=OFF))
    assert "no setting has" not in fate_and_remark(own, "evictor's configuration")[1], (
        "the object keeps it"
    )
    managed = planned(observations(*workloads(), custom=MANAGED, evictor=ON))

    assert own.commands == (f"""{patch}'{{"spec": {{"managementMode": "castai"}}}}'""",)
    assert managed.commands == ()


def test_what_its_chart_has_beyond_this_program_is_deleted_by_hand_but_its_rules_stay():
    releases = {EVICTOR: "castai-evictor-0.35.136", f"{EVICTOR}-ext": "castai-evictor-ext-0.5.0"}
    objects = (*BESIDE, ("ConfigMap", RULES))
    plan = planned(
        observations(
            *workloads(),
            custom=MANAGED,
            evictor=ON,
            in_cluster={"releases": releases, "beside_evictor": objects},
        )
    )

    assert plan.commands == (
        "kubectl delete secret -n castai-agent -l owner=helm,name=castai-evictor",
        "kubectl delete secret -n castai-agent -l owner=helm,name=castai-evictor-ext",
        "kubectl delete clusterrolebinding castai-evictor-ext",
        "kubectl delete clusterrole castai-evictor-ext",
        "kubectl delete clusterrolebinding castai-evictor-crd-upgrade",
        "kubectl delete clusterrole castai-evictor-crd-upgrade",
        "kubectl delete serviceaccount castai-evictor-crd-upgrade -n castai-agent",
        "kubectl delete configmap castai-evictor-crds -n castai-agent",
        "kubectl delete service castai-evictor -n castai-agent",
    )
    assert "rules in it stay in force" in fate_and_remark(plan, RULES)[1]
    assert not {kind for kind, _ in BESIDE} - {row.part[10:] for row in plan.rows}


def test_without_a_workload_its_values_are_settings_and_its_switch_is_off():
    config = Evictor().patch(
        {"enabled": True, "aggressiveMode": True, "cycleInterval": "5m", "softTainting": True}
    )
    plan = planned(observations(evictor=config, evictor_rules=2))

    assert plan.settings["automation"]["evictor"] == {
        "dryRun": False,
        "aggressiveMode": True,
        "scopedMode": False,
        "ignorePodDisruptionBudgets": False,
        "cycleIntervalSeconds": 300,
        "nodeGracePeriodMinutes": 5,
    }
    fate, remark = fate_and_remark(plan, "evictor's configuration")
    assert fate == "left"
    assert "no evictor runs; no setting has softTainting true, advanced rules: 2" in remark
    assert "evictor" not in planned(observations(evictor=OFF)).settings["automation"]


def test_only_variables_of_the_settings_are_read():
    documents = charts.with_evictor(footprints.source_place(), "SENTINEL")
    (evictor,) = [
        one
        for one in documents
        if one["kind"] == "Deployment" and one["metadata"]["name"] == EVICTOR
    ]
    environment = evictor["spec"]["template"]["spec"]["containers"][0]["env"]
    environment.append({"name": "API_KEY", "value": "SENTINEL"})

    read = reading.workload(evictor)
    assert set(read.variables) == {
        "DRY_RUN",
        "AGGRESSIVE_MODE",
        "SCOPED_MODE",
        "IGNORE_POD_DISRUPTION_BUDGETS",
        "CYCLE_INTERVAL",
        "NODE_GRACE_PERIOD_MINUTES",
    }
    assert (read.variables["AGGRESSIVE_MODE"], read.replicas) == ("true", 1)
