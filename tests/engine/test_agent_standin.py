import contextlib
import time
from collections.abc import Callable, Iterator

import pytest
import requests
from lightkube import Client, KubeConfig, codecs
from lightkube.core.exceptions import ApiError
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import ConfigMap, Namespace
from lightkube.resources.rbac_authorization_v1 import ClusterRole, ClusterRoleBinding, RoleBinding

from castai_stack.agent import manifests
from castai_stack.agent.names import NAMESPACE
from castai_stack.agent.release import Release
from castai_stack.agent.settings import Agent
from castai_stack.castai.client import CastaiApi
from sandbox.castai import API_KEY
from sandbox.kubernetes.agent_standin import LEASE, METADATA
from sandbox.session import Sandbox

pytestmark = pytest.mark.sandbox

AGENT_USER = "system:serviceaccount:castai-agent:castai-agent"
ACCOUNT, REGION = "012345678901", "eu-central-1"


@pytest.fixture
def api(sandbox: Sandbox) -> CastaiApi:
    return CastaiApi(sandbox.castai_url, API_KEY)


@pytest.fixture
def admin(sandbox: Sandbox) -> Iterator[Client]:
    with Client(config=KubeConfig.from_file(sandbox.control_plane.kubeconfig)) as client:
        yield client


@pytest.fixture
def cluster_id(api: CastaiApi, admin: Client) -> Iterator[str]:
    """A registered cluster; afterwards it and the agent's objects are gone again."""
    registered = api.register("agent-test", REGION, ACCOUNT)
    yield registered.id
    for kind in (ClusterRole, ClusterRoleBinding):
        absent(lambda kind=kind: admin.delete(kind, "castai-agent"))
    absent(lambda: admin.delete(Namespace, NAMESPACE))
    for role_kind in ("role", "role-binding"):
        document = manifests.objects(release(""))[f"config-{role_kind}"]
        one = codecs.from_dict(document)
        absent(lambda one=one: admin.delete(type(one), one.metadata.name, namespace="kube-system"))
    eventually(lambda: not exists(admin, Namespace, NAMESPACE), "the namespace goes away")
    api.delete_cluster(registered.id)


def release(api_url: str) -> Release:
    return Release("agent-test", REGION, ACCOUNT, api_url, Agent())


def install(admin: Client, sandbox: Sandbox, cluster_id: str, key: str) -> None:
    documents = manifests.objects(
        release(sandbox.castai_url),
        cluster_id=cluster_id,
        encoded_key=manifests.encoded(key),
    )
    for document in documents.values():
        admin.create(codecs.from_dict(document))


def absent(delete: Callable[[], object]) -> None:
    with contextlib.suppress(ApiError):
        delete()


def exists(admin: Client, kind: type, name: str, namespace: str | None = None) -> bool:
    try:
        admin.get(kind, name, namespace=namespace)
    except ApiError:
        return False
    return True


def eventually(condition: Callable[[], bool], what: str, seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.2)


def agent_status(sandbox: Sandbox, cluster_id: str) -> str:
    answer = requests.get(
        f"{sandbox.castai_url}/v1/kubernetes/external-clusters/{cluster_id}",
        headers={"X-API-Key": API_KEY},
        timeout=10,
    )
    return answer.json()["agentStatus"]


def test_ready_pods_with_the_right_key_bring_the_agent_online(
    sandbox: Sandbox, api: CastaiApi, admin: Client, cluster_id: str
):
    assert agent_status(sandbox, cluster_id) != "online"
    install(admin, sandbox, cluster_id, api.create_token(cluster_id))

    eventually(lambda: agent_status(sandbox, cluster_id) == "online", "the agent is online")
    eventually(lambda: exists(admin, ConfigMap, METADATA, NAMESPACE), "its metadata is there")
    eventually(lambda: exists(admin, Lease, LEASE, NAMESPACE), "its lease is there")
    eventually(lambda: memory_of_agent(admin) == "2Gi", "the autoscaler sized it")
    node_names = {node.name for node in api.list_nodes(cluster_id)}
    assert len(node_names) == 3, "what the agent reports is what the cluster has"
    agent_requests = [one for one in sandbox.control_plane.requests() if one.user == AGENT_USER]
    listed = {one.resource for one in agent_requests if one.verb == "list" and one.status == 200}
    assert listed >= {"pods", "networkpolicies", "clusterroles", "csinodes", "cronjobs"}
    assert ("patch", "configmaps") in {(one.verb, one.resource) for one in agent_requests}
    assert [one for one in agent_requests if one.status == 403] == []
    renewed = admin.get(Lease, LEASE, namespace=NAMESPACE).spec.renewTime
    eventually(
        lambda: admin.get(Lease, LEASE, namespace=NAMESPACE).spec.renewTime != renewed,
        "the lease is renewed",
    )

    admin.patch(Deployment, "castai-agent", {"spec": {"replicas": 0}}, namespace=NAMESPACE)
    eventually(
        lambda: agent_status(sandbox, cluster_id) != "online", "without pods it goes offline"
    )


def memory_of_agent(admin: Client) -> str:
    result = admin.get(Deployment, "castai-agent", namespace=NAMESPACE)
    assert result.spec
    assert result.spec.template.spec
    agent = next(one for one in result.spec.template.spec.containers if one.name == "agent")
    limits = (agent.resources.limits or {}) if agent.resources else {}
    return limits.get("memory", "")


def test_a_wrong_key_leaves_the_agent_offline(sandbox: Sandbox, admin: Client, cluster_id: str):
    install(admin, sandbox, cluster_id, "a-key-that-nobody-made")

    log = sandbox.directory / "logs" / "services.log"
    eventually(lambda: "CAST AI answered 401" in log.read_text(), "the refusal is in the log")

    assert agent_status(sandbox, cluster_id) != "online"


def test_what_the_agent_s_rbac_forbids_does_not_happen(
    sandbox: Sandbox, api: CastaiApi, admin: Client, cluster_id: str
):
    install(admin, sandbox, cluster_id, api.create_token(cluster_id))
    admin.delete(RoleBinding, "castai-agent", namespace=NAMESPACE)
    admin.delete(ClusterRoleBinding, "castai-agent")

    log = sandbox.directory / "logs" / "services.log"
    eventually(lambda: "is forbidden" in log.read_text(), "the refusal is in the log")
