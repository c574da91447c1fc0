import pytest

from castai_stack.kube import rbac


def test_a_role_with_a_namespace_is_a_role_and_one_without_a_cluster_role():
    rules = [rbac.rule("", ["pods"], rbac.READ)]

    inside = rbac.role({"name": "a", "namespace": "n"}, rules)
    wide = rbac.role({"name": "a"}, rules)

    assert (inside["kind"], wide["kind"]) == ("Role", "ClusterRole")
    assert (
        inside["rules"]
        == wide["rules"]
        == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]
    )


def test_a_rule_is_limited_to_names_only_when_names_are_given():
    assert "resourceNames" not in rbac.rule("", ["secrets"], ["get"])
    assert rbac.rule("", ["secrets"], ["get"], names=["one"])["resourceNames"] == ["one"]


def test_a_binding_follows_its_role():
    role = rbac.role({"name": "a", "namespace": "n", "labels": {"x": "y"}}, [])

    assert rbac.binding(
        role, [rbac.group_subject("g"), rbac.service_account_subject("s", "n")]
    ) == {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "a", "namespace": "n", "labels": {"x": "y"}},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "a"},
        "subjects": [
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "g"},
            {"kind": "ServiceAccount", "name": "s", "namespace": "n"},
        ],
    }


@pytest.mark.parametrize(
    ("version", "kind", "resource"),
    [
        ("v1", "ConfigMap", ("", "configmaps")),
        ("apps/v1", "Deployment", ("apps", "deployments")),
        ("networking.k8s.io/v1", "NetworkPolicy", ("networking.k8s.io", "networkpolicies")),
        ("policy/v1", "PodDisruptionBudget", ("policy", "poddisruptionbudgets")),
    ],
)
def test_the_resource_of_a_kind_is_its_plural(version, kind, resource):
    assert rbac.resource_of({"apiVersion": version, "kind": kind}) == resource


def test_the_plural_of_every_kind_of_the_program_is_the_one_that_the_api_server_uses():
    from castai_stack.agent import manifests
    from castai_stack.agent.settings import Agent
    from castai_stack.kube import kinds
    from castai_stack.permissions.operator_kubernetes import cluster_objects

    documents = cluster_objects(Agent(network_policy=True)) + manifests.runtime_objects("n")
    for document in documents:
        info = kinds.load(document["apiVersion"], document["kind"])._api_info
        assert rbac.resource_of(document)[1] == info.plural
