"""A fake cloud and a monitor that remembers what was asked of it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pulumi
from pulumi.runtime.mocks import MockCallArgs, MockMonitor, MockResourceArgs, Mocks
from pulumi.runtime.proto import resource_pb2

ACCOUNT = "123456789012"
REGION = "eu-central-1"
IAM_ARNS = {
    "aws:iam/role:Role": "role",
    "aws:iam/user:User": "user",
    "aws:iam/policy:Policy": "policy",
    "aws:iam/instanceProfile:InstanceProfile": "instance-profile",
}
REGIONAL_ARNS = {
    "aws:lambda/function:Function": "lambda:{region}:{account}:function:{name}",
    "aws:cloudwatch/eventRule:EventRule": "events:{region}:{account}:rule/{name}",
    "aws:cloudwatch/logGroup:LogGroup": "logs:{region}:{account}:log-group:{name}",
    "aws:cloudwatch/metricAlarm:MetricAlarm": "cloudwatch:{region}:{account}:alarm:{name}",
    "aws:sqs/queue:Queue": "sqs:{region}:{account}:{name}",
    "aws:secretsmanager/secret:Secret": "secretsmanager:{region}:{account}:secret:{name}-AbCdEf",
}


COMPUTED = {
    "ClusterToken": {"token": "SENTINEL-of-a-token"},
    "AssumeRolePrincipal": {"arn": "arn:aws:iam::809060229965:user/cast-crossrole-x"},
    "HandOver": {"credentials_id": "1"},
    "AccessKey": {"secret": "SENTINEL-of-a-secret-access-key"},
}
"""What a service adds to the inputs, by the last word of the type."""
CLUSTER_ID = "0f3f1ba4-6f46-4f2e-9a39-6a1bb6c0f0a1"


class FakeCloud(Mocks):
    """Answers with the outputs AWS would compute; in a preview it knows none of them."""

    def __init__(self, *, preview: bool, answers: dict[str, Any]) -> None:
        self.preview = preview
        self.answers = answers

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        state = dict(args.inputs)
        if self.preview:
            return None, state
        physical = state.setdefault("name", args.name)
        if args.typ in IAM_ARNS:
            path = state.get("path", "/")
            state["arn"] = f"arn:aws:iam::{ACCOUNT}:{IAM_ARNS[args.typ]}{path}{physical}"
            state["uniqueId"] = f"unique-id-of-{physical}"
        elif args.typ in REGIONAL_ARNS:
            state["arn"] = f"arn:aws:{REGIONAL_ARNS[args.typ]}".format(
                region=REGION, account=ACCOUNT, name=physical
            )
        kind = args.typ.rpartition(":")[2]
        state |= COMPUTED.get(kind, {})
        return CLUSTER_ID if kind == "ClusterRegistration" else f"{args.name}-id", state

    def call(self, args: MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        if args.token not in self.answers:
            raise AssertionError(f"unexpected invoke: {args.token}")
        return self.answers[args.token], []


class Recorder(MockMonitor):
    """MockMonitor that keeps the raw registrations, options included."""

    def __init__(self, cloud: FakeCloud) -> None:
        super().__init__(cloud)
        self.requests: list[resource_pb2.RegisterResourceRequest] = []
        self.registered_outputs: dict[str, dict[str, Any]] = {}

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - gRPC name
        self.requests.append(request)
        return super().RegisterResource(request)

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 - gRPC name
        self.registered_outputs[request.urn] = pulumi.runtime.rpc.deserialize_properties(
            request.outputs
        )
        return super().RegisterResourceOutputs(request)

    def inventory(self) -> list[tuple[str, str, str]]:
        """(type, name, parent) of everything but the root stack."""
        return sorted(
            (r.type, r.name, r.parent) for r in self.requests if r.type != "pulumi:pulumi:Stack"
        )

    def one(self, type_: str) -> resource_pb2.RegisterResourceRequest:
        result = [r for r in self.requests if r.type == type_]
        assert len(result) == 1, f"{type_}: {[r.name for r in result]}"
        return result[0]


def run(program: Any, *, preview: bool = False, answers: dict[str, Any] | None = None) -> Recorder:
    """Run `program` to the end against the fake and hand back what it registered.

    `answers` are those of lookups by token; any other lookup fails the test.
    """
    recorder = Recorder(FakeCloud(preview=preview, answers=answers or {}))
    pulumi.runtime.set_mocks(
        recorder.mocks, project="castai-eks", stack="test", preview=preview, monitor=recorder
    )
    with _short_stacks():
        pulumi.runtime.test(program)()
    return recorder


@contextmanager
def _short_stacks() -> Iterator[None]:
    """Limit the stack that the SDK records with each resource: pytest's frames double the time."""
    sys.tracebacklimit = 10
    try:
        yield
    finally:
        del sys.tracebacklimit
