"""One sentence for each way in which pods fail."""

from typing import Any

import pytest

from castai_stack.kube import pods as kube_pods

POD = "castai-agent-7d9c5b6f4-x2x2x"
IMAGE = "us-docker.pkg.dev/castai-hub/library/agent:v0.161.1"


def a_pod(
    *,
    state: dict[str, Any] | None = None,
    ready: bool = False,
    last: dict[str, Any] | None = None,
    conditions: list[dict[str, Any]] | None = None,
    restarts: int = 0,
    name: str = POD,
    container: str = "agent",
) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "status": {
            "phase": "Running",
            "conditions": conditions
            if conditions is not None
            else [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [
                {
                    "name": container,
                    "image": IMAGE,
                    "ready": ready,
                    "restartCount": restarts,
                    "state": state if state is not None else {"running": {}},
                    "lastState": {} if last is None else {"terminated": last},
                }
            ],
        },
    }


def an_event(reason: str, message: str, name: str = POD, kind: str = "Pod", at: str = "") -> Any:
    return {
        "reason": reason,
        "message": message,
        "lastTimestamp": at or "2026-01-01T00:00:00Z",
        "involvedObject": {"kind": kind, "name": name},
    }


def waiting(reason: str, message: str | None = None) -> dict[str, Any]:
    text = {} if message is None else {"message": message}
    return {"waiting": {"reason": reason, **text}}


CRASH = waiting("CrashLoopBackOff", "back-off 5m0s restarting failed container=agent")
REPLICA_SET = "castai-agent-7d9c5b6f4"

CASES: dict[str, tuple[list[Any], list[Any], str]] = {
    "image pull": (
        [a_pod(state=waiting("ImagePullBackOff", f'Back-off pulling image "{IMAGE}"'))],
        [],
        (
            f"pod {POD} cannot pull the image {IMAGE}: "
            f'Back-off pulling image "{IMAGE}"; check the registry, the tag and the pull secrets'
        ),
    ),
    "image pull without a message": (
        [a_pod(state=waiting("InvalidImageName"))],
        [],
        (
            f"pod {POD} cannot pull the image {IMAGE}: InvalidImageName; "
            "check the registry, the tag and the pull secrets"
        ),
    ),
    "missing secret": (
        [a_pod(state=waiting("CreateContainerConfigError", 'secret "castai-agent" not found'))],
        [],
        f'container agent of pod {POD} cannot be started: secret "castai-agent" not found',
    ),
    "key refused": (
        [
            a_pod(
                state=CRASH,
                last={"exitCode": 1, "message": "registering cluster: status_code=401 body={}"},
            )
        ],
        [],
        (
            f"container agent of pod {POD} stopped because CAST AI refused its key: "
            "registering cluster: status_code=401 body={}; "
            "check that the key is valid and belongs to this cluster's organization"
        ),
    ),
    "key refused as forbidden": (
        [a_pod(state={"terminated": {"exitCode": 1, "message": "403 Forbidden"}})],
        [],
        (
            f"container agent of pod {POD} stopped because CAST AI refused its key: 403 Forbidden; "
            "check that the key is valid and belongs to this cluster's organization"
        ),
    ),
    "forbidden by Kubernetes": (
        [
            a_pod(
                state=CRASH,
                last={
                    "exitCode": 1,
                    "message": 'leases is forbidden: User "system:serviceaccount:castai-agent:'
                    'castai-agent" cannot get resource',
                },
            )
        ],
        [],
        (
            f"container agent of pod {POD} stopped because Kubernetes forbids its service account "
            "castai-agent/castai-agent what it asked for: leases is forbidden: User "
            '"system:serviceaccount:castai-agent:castai-agent" cannot get resource'
        ),
    ),
    "out of memory": (
        [a_pod(state=CRASH, last={"exitCode": 137, "reason": "OOMKilled"}, restarts=4)],
        [],
        (
            f"container agent of pod {POD} ran out of memory (4 restarts so far); "
            "raise agent.memory or agent.autoscaling.base"
        ),
    ),
    "crash loop with a message": (
        [a_pod(state=CRASH, last={"exitCode": 2, "message": "panic:\n  boom"}, restarts=3)],
        [],
        (
            f"container agent of pod {POD} keeps crashing (exit code 2, 3 restarts so far): "
            "panic: boom"
        ),
    ),
    "crash loop without a message": (
        [a_pod(state=CRASH, restarts=1)],
        [],
        (
            f"container agent of pod {POD} keeps crashing (no exit code known, 1 restarts so far); "
            "its log says more"
        ),
    ),
    "quota": (
        [],
        [
            an_event(
                "FailedCreate",
                'pods "a" is forbidden: exceeded quota: team, requested: pods=1',
                REPLICA_SET,
                "ReplicaSet",
            )
        ],
        (
            f"a resource quota refuses the pods of ReplicaSet {REPLICA_SET}: "
            'pods "a" is forbidden: exceeded quota: team, requested: pods=1'
        ),
    ),
    "webhook": (
        [],
        [
            an_event(
                "FailedCreate",
                'admission webhook "kyverno.svc" denied the request: no',
                REPLICA_SET,
                "ReplicaSet",
            )
        ],
        (
            f"the admission webhook kyverno.svc refuses the pods of ReplicaSet {REPLICA_SET}: "
            'admission webhook "kyverno.svc" denied the request: no'
        ),
    ),
    "webhook that cannot be called": (
        [],
        [
            an_event(
                "FailedCreate",
                'Internal error occurred: failed calling webhook "mutate.org": refused',
                REPLICA_SET,
                "ReplicaSet",
            )
        ],
        (
            "the admission webhook mutate.org does not answer, so the API server creates no pods of "
            f"ReplicaSet {REPLICA_SET}: Internal error occurred: failed calling webhook "
            '"mutate.org": refused; repair the webhook\'s service'
        ),
    ),
    "pod security": (
        [],
        [
            an_event(
                "FailedCreate",
                'violates PodSecurity "restricted:latest": runAsNonRoot != true',
                REPLICA_SET,
                "ReplicaSet",
            )
        ],
        (
            f"Pod Security refuses the pods of ReplicaSet {REPLICA_SET}: "
            'violates PodSecurity "restricted:latest": runAsNonRoot != true'
        ),
    ),
    "priority class": (
        [],
        [
            an_event(
                "FailedCreate",
                "no PriorityClass with name gold was found",
                REPLICA_SET,
                "ReplicaSet",
            )
        ],
        (
            f"the API server refuses the pods of ReplicaSet {REPLICA_SET}: "
            "no PriorityClass with name gold was found"
        ),
    ),
    "unschedulable": (
        [
            a_pod(
                conditions=[
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "message": "0/3 nodes are available: 3 Insufficient cpu.",
                    }
                ],
                state={},
            )
        ],
        [],
        f"no node takes pod {POD}: 0/3 nodes are available: 3 Insufficient cpu.",
    ),
    "volume": (
        [a_pod(state=waiting("ContainerCreating"))],
        [an_event("FailedMount", 'configmap "castai-agent-autoscaler" not found')],
        (
            f"pod {POD} waits for its volumes or network: "
            'configmap "castai-agent-autoscaler" not found'
        ),
    ),
    "probe": (
        [a_pod(), a_pod(name="other", ready=True)],
        [an_event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 500")],
        (
            f"1 of 2 pods are Ready; pod {POD} fails its probe: "
            "Readiness probe failed: HTTP probe failed with statuscode: 500"
        ),
    ),
    "not ready yet": (
        [a_pod(state=waiting("ContainerCreating"))],
        [],
        f"0 of 1 pods are Ready; pod {POD} is not Ready: phase Running",
    ),
    "events of another pod, and of another kind": (
        [a_pod(state=waiting("ContainerCreating"))],
        [an_event("Unhealthy", "of another", "other"), an_event("Pulled", "of this pod")],
        f"0 of 1 pods are Ready; pod {POD} is not Ready: phase Running",
    ),
    "nothing at all": ([], [], "no pod exists, and no event says why"),
    "ready": ([a_pod(ready=True)], [], "all 1 pods are Ready"),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_failure_has_its_sentence(case):
    pods, events, sentence = CASES[case]

    assert kube_pods.diagnose(pods, events) == sentence


def test_an_old_refusal_is_no_news_once_all_pods_are_ready():
    refused = an_event("FailedCreate", "exceeded quota: team", REPLICA_SET, "ReplicaSet")

    assert kube_pods.diagnose([a_pod(ready=True)], [refused]) == "all 1 pods are Ready"


def test_in_a_rollout_a_refusal_counts_beside_the_pods_of_before():
    refused = an_event("FailedCreate", "exceeded quota: team", REPLICA_SET, "ReplicaSet")

    message = kube_pods.diagnose([a_pod(ready=True)], [refused], rolling_out=True)

    assert message.startswith("a resource quota refuses the pods of ReplicaSet")


def test_a_container_that_restarted_and_runs_again_is_not_called_crashing():
    recovering = a_pod(last={"exitCode": 1, "message": "401"}, restarts=1)

    assert "401" not in kube_pods.diagnose([recovering], [])


def test_a_container_that_runs_between_two_crashes_is_called_crashing():
    between = a_pod(last={"exitCode": 1, "message": "401"}, restarts=2)

    assert "refused its key" in kube_pods.diagnose([between], [])


def test_pods_that_are_going_away_do_not_count():
    leaving = a_pod(state=CRASH)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    assert kube_pods.diagnose([leaving, a_pod(ready=True)], []) == "all 1 pods are Ready"


def test_the_latest_refusal_counts():
    events = [
        an_event("FailedCreate", "first", REPLICA_SET, "ReplicaSet", at="2026-01-01T00:00:00Z"),
        an_event("FailedCreate", "second", REPLICA_SET, "ReplicaSet", at="2026-01-01T00:01:00Z"),
    ]

    assert kube_pods.diagnose([], events).endswith(": second")


@pytest.mark.parametrize(
    "key", ["0123456789abcdef" * 4, "castai_v1_Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4"], ids=len
)
def test_a_possible_key_is_masked(key):
    pod = a_pod(state=CRASH, last={"exitCode": 1, "message": f"401 for X-API-Key: {key}"})

    sentence = kube_pods.diagnose([pod], [])

    assert key not in sentence, "a key must not reach a message"
    assert "[hidden]" in sentence


def test_names_of_objects_are_not_masked():
    name = "castai-agent-with-quite-a-long-name-7d9c5b6f4"
    refused = an_event("FailedCreate", f'pods "{name}" is forbidden', name, "ReplicaSet")

    assert f'"{name}"' in kube_pods.diagnose([], [refused])


def test_a_long_message_is_cut():
    pod = a_pod(state=CRASH, last={"exitCode": 1, "message": "word " * 500})

    assert len(kube_pods.diagnose([pod], [])) < 450


def crashed(message):
    return kube_pods.diagnose([a_pod(state=CRASH, last={"exitCode": 1, "message": message})], [])


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (
            "describing instance_id=i-0abc: UnauthorizedOperation: You are not authorized to perform "
            "this operation. status code: 403, request id: aa",
            "stopped because AWS refused a request",
        ),
        ("AccessDeniedException: 403", "stopped because AWS refused a request"),
        ("proxyconnect tcp: 403 Forbidden", "stopped because its proxy refused the connection"),
        ("407 Proxy Authentication Required", "stopped because its proxy refused"),
        (
            "x509: certificate signed by unknown authority",
            "stopped because it does not trust a server's certificate",
        ),
        ("request failed: 403 Forbidden", "stopped because CAST AI refused its key"),
    ],
)
def test_the_refusing_service_is_named(message, cause):
    assert cause in crashed(message)


def test_a_silent_webhook_and_a_refusing_one_have_different_sentences():
    text = (
        "Error creating: Internal error occurred: failed calling webhook "
        '"mutate.kyverno.svc-fail": failed to call webhook: context deadline exceeded'
    )

    sentence = kube_pods.diagnose([], [an_event("FailedCreate", text, REPLICA_SET, "ReplicaSet")])

    assert "the admission webhook mutate.kyverno.svc-fail does not answer" in sentence


def test_a_refusal_from_before_the_newest_pod_does_not_count():
    pod = a_pod(
        conditions=[{"type": "PodScheduled", "status": "False", "message": "Insufficient memory."}],
        state={},
    )
    pod["metadata"]["creationTimestamp"] = "2026-11-25T08:00:00Z"

    def diagnosis(at):
        event = an_event("FailedCreate", "exceeded quota: q", REPLICA_SET, "ReplicaSet", at=at)
        return kube_pods.diagnose([pod], [event])

    assert diagnosis("2026-11-25T07:00:00Z").startswith("no node takes pod")
    assert diagnosis("2026-11-25T08:00:01Z").startswith("a resource quota refuses")
