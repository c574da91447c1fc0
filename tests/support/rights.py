"""Questions about all that an account may do, and the answers as a table."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from lightkube import Client, codecs
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.models.rbac_v1 import RoleRef, Subject
from lightkube.resources.core_v1 import ServiceAccount
from lightkube.resources.rbac_authorization_v1 import ClusterRole, ClusterRoleBinding

from castai_stack.agent.names import NAMESPACE
from tests.support.authorizer import VERBS, Authorizer, Question

# Resources that no server without their operators knows, and that the rules name all the same.
FOREIGN = (
    ("autoscaling.k8s.io", "verticalpodautoscalers"),
    ("keda.sh", "scaledobjects"),
    ("keda.sh", "scaledjobs"),
    ("metrics.k8s.io", "pods"),
    ("metrics.k8s.io", "nodes"),
    *(("karpenter.sh", n) for n in ("provisioners", "machines", "nodepools", "nodeclaims")),
    ("karpenter.sh", "nodeoverlays"),
    ("karpenter.k8s.aws", "awsnodetemplates"),
    ("karpenter.k8s.aws", "ec2nodeclasses"),
    ("datadoghq.com", "extendeddaemonsetreplicasets"),
    ("argoproj.io", "rollouts"),
    ("autoscaling.cast.ai", "anything"),
    ("autoscaling.cast.ai", "anything/status"),
    ("castware.cast.ai", "anything"),
    ("pod-mutations.cast.ai", "podmutations"),
    ("resource.k8s.io", "resourceclaims"),
    ("resource.k8s.io", "resourceclaimtemplates"),
    ("resource.k8s.io", "resourceslices"),
    ("resource.k8s.io", "deviceclasses"),
    ("resource.k8s.io", "devicetaintrules"),
    ("storageoptimization.cast.ai", "nodediskrecommendations"),
    ("runbooks.cast.ai", "recommendationsyncs"),
)
# Verbs beyond the usual: https://kubernetes.io/docs/reference/access-authn-authz/authorization/
SPECIAL = (
    *(("", kind, "impersonate") for kind in ("users", "groups", "serviceaccounts")),
    ("authentication.k8s.io", "uids", "impersonate"),
    ("authentication.k8s.io", "userextras/scopes", "impersonate"),
    *(("rbac.authorization.k8s.io", "roles", verb) for verb in ("bind", "escalate")),
    *(("rbac.authorization.k8s.io", "clusterroles", verb) for verb in ("bind", "escalate")),
    *(("certificates.k8s.io", "signers", verb) for verb in ("approve", "sign", "attest")),
    ("networking.k8s.io", "servicecidrs", "use"),
    ("policy", "podsecuritypolicies", "use"),
)
PATHS = ("/", "/api", "/apis", "/debug/pprof/", "/healthz", "/logs/", "/metrics", "/version", "/x")


def questions(
    authorizer: Authorizer, namespaces: Iterable[str], names: Iterable[str]
) -> Iterator[Question]:
    """Return a question for every verb on every resource; `names` are those of single objects.

    They are asked about in every namespace and in all, and by name in CAST AI's namespace and on
    resources outside of namespaces.
    """
    places, objects = list(namespaces), list(names)
    known = authorizer.resources()
    assert ("", "pods/exec", True) in known, "subresources must be among the questions"
    assert ("", "secrets", True) in known
    foreign = [(group, resource, True) for group, resource in FOREIGN]
    for group, resource, namespaced in [*known, *foreign]:
        for namespace in ["", *places] if namespaced else [""]:
            for verb in VERBS:
                yield Question(namespace, group, resource, verb)
                if namespace == NAMESPACE or not namespaced:
                    for name in objects:
                        yield Question(namespace, group, resource, verb, name=name)
    for group, resource, verb in SPECIAL:
        for namespace in ["", *places]:
            yield Question(namespace, group, resource, verb)
    for path in PATHS:
        for verb in ("get", "post", "put", "patch", "delete"):
            yield Question("", "", "", verb, path=path)


def table(allowed: set[Question]) -> dict[str, dict[str, list[str]]]:
    """Sort what is allowed: everywhere first, then only what a namespace or a name adds."""
    everywhere = {(q.group, q.resource, q.verb) for q in allowed if not q.namespace and not q.name}
    sorted_out: dict[str, dict[str, set[str]]] = {}
    for q in allowed:
        wide = not q.namespace and not q.name
        in_namespace = Question(q.namespace, q.group, q.resource, q.verb) in allowed and not q.name
        if not wide and (q.group, q.resource, q.verb) in everywhere:
            continue
        if (
            not wide
            and not in_namespace
            and Question(q.namespace, q.group, q.resource, q.verb) in allowed
        ):
            continue
        place = q.namespace or "everywhere"
        what = q.path or f"{q.group}/{q.resource}".lstrip("/")
        named = f"{what} named {q.name}" if q.name else what
        sorted_out.setdefault(place, {}).setdefault(named, set()).add(q.verb)
    return {
        place: {what: sorted(verbs) for what, verbs in sorted(granted.items())}
        for place, granted in sorted_out.items()
    }


@contextmanager
def granted(api: Client, account: str, role: dict[str, Any]) -> Iterator[None]:
    """Give a service account the rights of a cluster role, and nothing else, for a while."""
    name = role["metadata"]["name"]
    binding = ClusterRoleBinding(
        metadata=ObjectMeta(name=account),
        roleRef=RoleRef(apiGroup="rbac.authorization.k8s.io", kind="ClusterRole", name=name),
        subjects=[Subject(kind="ServiceAccount", name=account, namespace="default")],
    )
    api.create(codecs.from_dict(role))
    api.create(ServiceAccount(metadata=ObjectMeta(name=account, namespace="default")))
    api.create(binding)
    yield
    api.delete(ClusterRoleBinding, account)
    api.delete(ClusterRole, name)
    api.delete(ServiceAccount, account, namespace="default")
