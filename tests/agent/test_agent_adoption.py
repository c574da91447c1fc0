"""Existing objects of an agent: refused with the way out, or adopted."""

import dataclasses

from castai_stack.agent import adoption, settings
from castai_stack.agent.adoption import ExistingObject
from castai_stack.agent.release import Release

CHART = {"app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "castai-agent-0.153.2"}
OURS = {"app.kubernetes.io/managed-by": "pulumi", "app.kubernetes.io/part-of": "castai-eks"}


def a_release(*, adopt: bool = False, create_namespace: bool = True) -> Release:
    return Release(
        cluster_name="demo",
        region="eu-central-1",
        account_id="012345678901",
        api_url="https://api.cast.ai",
        settings=settings.Agent(adopt=adopt, create_namespace=create_namespace),
    )


def deployment(labels: dict[str, str]) -> ExistingObject:
    key = "kubernetes:apps/v1:Deployment::castai-agent/castai-agent"
    return ExistingObject("Deployment", "castai-agent", "castai-agent", key, labels)


def namespace(labels: dict[str, str]) -> ExistingObject:
    key = "kubernetes:core/v1:Namespace::castai-agent"
    return ExistingObject("Namespace", "castai-agent", None, key, labels)


def test_an_agent_of_the_chart_is_refused_with_its_objects_and_the_way_out():
    objects = [namespace({}), deployment(CHART)]

    assert adoption.refusal(objects, a_release()) == (
        "agent: an agent that the chart castai-agent-0.153.2 installed is in the cluster "
        "(Namespace castai-agent, Deployment castai-agent/castai-agent); set agent.adopt to true "
        "to take these objects over in place, or remove them first"
    )


def test_an_agent_of_the_vendors_script_is_refused():
    objects = [deployment({"app.kubernetes.io/managed-by": "castai"})]

    message = adoption.refusal(objects, a_release())

    assert message is not None
    assert message.startswith("agent: an agent that castai installed is in the cluster")


def test_objects_of_an_unknown_installer_are_refused():
    message = adoption.refusal([deployment({})], a_release())

    assert message is not None
    assert "that an unknown installer installed" in message


def test_a_namespace_alone_is_refused_because_a_destroy_would_delete_it():
    assert adoption.refusal([namespace({})], a_release()) == (
        "agent: the namespace castai-agent exists and this program did not create it; "
        "set agent.createNamespace to false to use it and leave it on destroy, "
        "or agent.adopt to true to own it and delete it on destroy"
    )


def test_adoption_refuses_no_existing_object():
    assert adoption.refusal([deployment(CHART)], a_release(adopt=True)) is None


def test_objects_of_this_program_are_no_obstacle():
    assert adoption.refusal([namespace(OURS), deployment(OURS)], a_release()) is None


def test_an_empty_cluster_is_no_obstacle():
    assert adoption.refusal([], a_release()) is None


def test_all_existing_objects_are_imported():
    objects = [namespace({}), deployment(CHART)]

    assert adoption.existing(objects) == {
        "kubernetes:core/v1:Namespace::castai-agent",
        "kubernetes:apps/v1:Deployment::castai-agent/castai-agent",
    }


def terminating(conditions=()):
    return {
        "metadata": {"deletionTimestamp": "2026-11-25T08:00:00Z"},
        "status": {"conditions": list(conditions)},
    }


def test_a_terminating_namespace_is_refused_with_what_holds_it():
    text = "Some content in the namespace has finalizers remaining: example.test/hold in 1 resource"
    hold = adoption._deletion(
        terminating([{"type": "NamespaceFinalizersRemaining", "status": "True", "message": text}])
    )

    for labels in ({}, OURS):
        one = dataclasses.replace(namespace(labels), deletion=hold)
        for adopt in (False, True):
            message = adoption.refusal([one], a_release(adopt=adopt))
            assert message is not None
            assert "castai-agent is being deleted (Terminating)" in message
            assert "example.test/hold" in message


def test_a_terminating_namespace_without_conditions_is_refused():
    assert adoption._deletion(terminating()) == "Kubernetes does not yet report what holds it"
    assert adoption._deletion({"metadata": {}, "status": {}}) is None


def test_a_missing_namespace_is_refused_without_create_namespace():
    release = a_release(create_namespace=False)

    assert adoption.missing_namespace("", release) == (
        "agent: the namespace castai-agent does not exist, and agent.createNamespace is false; "
        "create it (kubectl create namespace castai-agent), or set agent.createNamespace to true"
    )
    assert adoption.missing_namespace("uid", release) is None
    assert adoption.missing_namespace(None, release) is None
    assert adoption.missing_namespace("", a_release()) is None
