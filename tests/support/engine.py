"""A fake cloud and a monitor that remembers what was asked of it."""

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


class FakeCloud(Mocks):
    """Answers with the outputs AWS would compute; in a preview it knows none of them."""

    def __init__(self, *, preview: bool) -> None:
        self.preview = preview

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        state = dict(args.inputs)
        if self.preview:
            return None, state
        physical = state.setdefault("name", args.name)
        if args.typ in IAM_ARNS:
            path = state.get("path", "/")
            state["arn"] = f"arn:aws:iam::{ACCOUNT}:{IAM_ARNS[args.typ]}{path}{physical}"
        elif args.typ in REGIONAL_ARNS:
            state["arn"] = f"arn:aws:{REGIONAL_ARNS[args.typ]}".format(
                region=REGION, account=ACCOUNT, name=physical
            )
        return f"{args.name}-id", state

    def call(self, args: MockCallArgs) -> tuple[dict[str, Any], None]:
        raise AssertionError(f"unexpected invoke: {args.token}")


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
        found = [r for r in self.requests if r.type == type_]
        assert len(found) == 1, f"{type_}: {[r.name for r in found]}"
        return found[0]


def run(program: Any, *, preview: bool = False) -> Recorder:
    """Run `program` to the end against the fake and hand back what it registered."""
    recorder = Recorder(FakeCloud(preview=preview))
    pulumi.runtime.set_mocks(
        recorder.mocks, project="castai-eks", stack="test", preview=preview, monitor=recorder
    )
    pulumi.runtime.test(program)()
    return recorder
