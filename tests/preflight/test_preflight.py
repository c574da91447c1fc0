import base64
import dataclasses
from types import SimpleNamespace

import httpx2
import pulumi
import pytest
from lightkube import ApiError
from lightkube.resources.core_v1 import ConfigMap

from castai_stack import naming
from castai_stack.config.validation import validate
from castai_stack.iam import scope
from castai_stack.permissions.operator_kubernetes import KubernetesRequirement
from castai_stack.preflight import aws, cluster
from castai_stack.preflight.findings import Findings, PreflightError, judge
from castai_stack.preflight.lookups import Caller, ClusterFacts

CLUSTER = {"name": "demo", "region": "eu-central-1", "accountId": "012345678901"}
CALLER = Caller("012345678901", "arn:aws:sts::012345678901:assumed-role/platform/me")
FACTS = ClusterFacts(
    arn="arn:aws:eks:eu-central-1:012345678901:cluster/demo",
    status="ACTIVE",
    vpc_id="vpc-0123456789abcdef0",
    endpoint="https://demo.eks",
    certificate_authority="Q0E=",
    authentication_mode="CONFIG_MAP",
)


def settings(**more):
    return validate({"cluster": CLUSTER, **more}, "castai-eks:castai")


def test_a_matching_cluster_has_no_finding():
    assert aws.cluster_findings(settings(), CALLER, FACTS) == Findings()


@pytest.mark.parametrize(
    ("caller", "facts", "sentence"),
    [
        (
            Caller("999999999999", "arn:aws:iam::999999999999:user/x"),
            FACTS,
            "account: the credentials are arn:aws:iam::999999999999:user/x of account "
            "999999999999; cluster.accountId is 012345678901. Choose other credentials, "
            "or correct it",
        ),
        (
            CALLER,
            dataclasses.replace(FACTS, status="CREATING"),
            "cluster: demo is CREATING; it must be ACTIVE. Wait for it, or repair it",
        ),
        (
            CALLER,
            dataclasses.replace(FACTS, arn="arn:aws:eks:eu-central-1:999999999999:cluster/demo"),
            "cluster: EKS answers arn:aws:eks:eu-central-1:999999999999:cluster/demo; "
            "the stack file means arn:aws:eks:eu-central-1:012345678901:cluster/demo",
        ),
    ],
)
def test_each_mismatch_is_one_sentence(caller, facts, sentence):
    assert aws.cluster_findings(settings(), caller, facts).problems == (sentence,)


def test_a_stated_fact_that_aws_denies_is_a_problem():
    stated = settings(cluster={**CLUSTER, "vpcId": "vpc-00000000"})

    assert aws.cluster_findings(stated, CALLER, FACTS).problems == (
        "cluster.vpcId: found vpc-00000000; EKS answers vpc-0123456789abcdef0. "
        "Remove it, it is looked up",
    )


@pytest.mark.parametrize(
    ("mode", "cluster_mode", "entries", "problem"),
    [
        ("auto", "CONFIG_MAP", False, False),
        ("auto", "API_AND_CONFIG_MAP", True, False),
        ("auto", "API", True, False),
        ("aws-auth", "API_AND_CONFIG_MAP", False, False),
        ("aws-auth", "API", False, True),
        ("access-entries", "CONFIG_MAP", True, True),
        ("access-entries", "API", True, False),
    ],
)
def test_the_mapping_follows_the_authentication_mode(mode, cluster_mode, entries, problem):
    chosen = settings(access={"mode": mode})
    facts = dataclasses.replace(FACTS, authentication_mode=cluster_mode)

    assert aws.uses_access_entries(chosen, facts) is entries
    assert bool(aws.access_findings(chosen, facts).problems) is problem


def test_a_preview_warns_of_missing_permissions_and_goes_on(monkeypatch):
    warned = []
    monkeypatch.setattr(pulumi.log, "warn", warned.append)

    judge(Findings(missing=("AWS, roles: iam:CreateRole on x",)), preview=True)

    assert warned == [
        "This caller can preview but not apply; it is missing:\n  AWS, roles: iam:CreateRole on x"
    ]


def test_an_apply_stops_at_missing_permissions_before_any_write():
    with pytest.raises(PreflightError) as error:
        judge(
            Findings(problems=("cluster: gone",), missing=("AWS, roles: iam:CreateRole on x",)),
            preview=False,
        )

    assert str(error.value) == (
        "Preflight failed, nothing was written:\n  cluster: gone\n  AWS, roles: iam:CreateRole on x\n"
        "If a permission listed above is there nevertheless, go on with "
        "`pulumi config set --path castai.preflight.missingPermissions warn`"
    )


def test_a_preview_stops_at_problems():
    with pytest.raises(PreflightError):
        judge(Findings(problems=("cluster: gone",)), preview=True)


def test_an_apply_goes_on_without_a_permission_that_the_operator_vouches_for(monkeypatch):
    warnings = []
    monkeypatch.setattr(pulumi.log, "warn", warnings.append)

    judge(
        Findings(missing=("AWS, roles: iam:CreateRole on x",)),
        preview=False,
        missing_permissions="warn",
    )

    assert warnings == ["This caller is missing:\n  AWS, roles: iam:CreateRole on x"]


@pytest.mark.parametrize("missing_permissions", ["refuse", "warn"])
def test_an_obstacle_stops_an_apply_and_a_preview_names_it(monkeypatch, missing_permissions):
    warnings = []
    monkeypatch.setattr(pulumi.log, "warn", warnings.append)
    findings = Findings(obstacles=("IAM user u exists",))

    judge(findings, preview=True)
    with pytest.raises(PreflightError) as error:
        judge(findings, preview=False, missing_permissions=missing_permissions)

    assert warnings == ["An apply would stop at:\n  IAM user u exists"]
    assert str(error.value) == "Preflight failed, nothing was written:\n  IAM user u exists"


@pytest.mark.parametrize(
    ("requirement", "line"),
    [
        (
            KubernetesRequirement(("get",), "apps", "deployments", "castai-agent"),
            "Kubernetes, namespace castai-agent: get deployments.apps",
        ),
        (
            KubernetesRequirement(("get",), "", "configmaps", "kube-system", "aws-auth"),
            "Kubernetes, namespace kube-system: get configmaps aws-auth",
        ),
        (
            KubernetesRequirement(("escalate",), "rbac.authorization.k8s.io", "clusterroles"),
            "Kubernetes, the cluster: escalate clusterroles.rbac.authorization.k8s.io",
        ),
    ],
)
def test_a_missing_kubernetes_permission_reads_like_kubectl(requirement, line):
    assert cluster._kubernetes_line(requirement, list(requirement.verbs)) == line


def scope_of(chosen):
    return scope.Scope(
        partition="aws",
        region="eu-central-1",
        account_id="012345678901",
        cluster="demo",
        cluster_id=naming.PLACEHOLDER_CLUSTER_ID,
        vpc_id=FACTS.vpc_id,
        vpc_account_id="012345678901",
        names=naming.names("demo", chosen.names),
        path=chosen.iam.path,
    )


@pytest.mark.parametrize("mode", ["none", "user", "role"])
def test_the_documents_of_the_defaults_fit_their_quotas(mode):
    chosen = settings(credentials={"mode": mode})

    assert aws.document_findings(scope_of(chosen), chosen) == Findings()


def test_a_document_over_its_quota_names_the_excess_and_the_remedy():
    chosen = settings(
        credentials={"mode": "role", "externalId": "x" * 1224}, iam={"path": f"/{'p' * 400}/"}
    )

    problems = aws.document_findings(scope_of(chosen), chosen).problems

    assert any("IAM allows 6144; shorten iam.path" in p for p in problems), problems


def certificate(body):
    return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"


class Cluster:
    def __init__(self, published):
        self.published = published

    def get(self, _kind, name, namespace):
        assert (name, namespace) == ("kube-root-ca.crt", "kube-system")
        if isinstance(self.published, int):
            body = {"code": self.published, "message": "no", "status": "Failure"}
            raise ApiError(response=httpx2.Response(self.published, json=body))
        return ConfigMap(data={"ca.crt": self.published})


def identity(published, named):
    authority = base64.b64encode(named.encode()).decode()
    return cluster._identity(Cluster(published), "demo", authority)


def test_a_cluster_is_identified_by_its_published_certificates():
    # While authorities change, both are published; line ends may differ.
    both = certificate("b2xk") + certificate("bm\r\nV3")

    assert identity(both, certificate("bmV3")) == Findings()
    (problem,) = identity(both, certificate("b3RoZXI=")).problems
    assert "leads to another cluster than demo" in problem


@pytest.mark.parametrize("status", [403, 404])
def test_a_cluster_without_a_published_certificate_is_inconclusive(status):
    findings = identity(status, certificate("bmV3"))

    assert findings.problems == ()
    assert "it was not checked whether the kubeconfig leads to demo" in findings.inconclusive[0]


class Reviews:
    """Answers access reviews; `allowed` are verbs."""

    def __init__(self, *allowed):
        self.allowed = allowed
        self.verbs = []

    def create(self, review):
        verb = review.spec.resourceAttributes.verb
        self.verbs.append(verb)
        return SimpleNamespace(status=SimpleNamespace(allowed=verb in self.allowed))


NEEDED = (KubernetesRequirement(("get", "patch"), "apps", "deployments", "castai-agent"),)


def test_a_cluster_administrator_is_asked_once():
    client = Reviews("*")

    assert cluster._missing(client, NEEDED) == ()
    assert client.verbs == ["*"]


def test_other_callers_are_asked_about_each_verb():
    client = Reviews("get")

    assert cluster._missing(client, NEEDED) == (
        "Kubernetes, namespace castai-agent: patch deployments.apps",
    )
    assert sorted(client.verbs) == ["*", "get", "patch"]


class Nodes:
    """A cluster with nodes of these CPUs; None where the caller may not list them."""

    def __init__(self, *cpus):
        self.cpus = cpus

    def list(self, _kind):
        if self.cpus == (None,):
            body = {"code": 403, "message": "no", "status": "Failure"}
            raise ApiError(response=httpx2.Response(403, json=body))
        return [SimpleNamespace(status=SimpleNamespace(capacity={"cpu": cpu})) for cpu in self.cpus]


@pytest.mark.parametrize(
    ("cpus", "limit", "problem"),
    [
        (("4", "4"), 8, None),
        (("4", "3920m"), 7, "found 7; the 2 nodes that run have 7.92 CPUs"),
        (("4", "4"), 4, "found 4; the 2 nodes that run have 8 CPUs"),
        ((), 2, None),
        ((None,), 2, None),
    ],
)
def test_a_limit_below_what_runs_is_a_problem(cpus, limit, problem):
    problems = cluster._limit_findings(Nodes(*cpus), limit).problems

    assert bool(problems) is bool(problem)
    assert all(f"automation.autoscaler.cpuLimit: {problem}" in line for line in problems)
