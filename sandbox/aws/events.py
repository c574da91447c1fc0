"""EventBridge where moto 5.2.5 fails: targets of a rule that does not exist."""

from werkzeug.wrappers import Response

from sandbox.aws import backends
from sandbox.aws.account import Call
from sandbox.aws.protocol import AwsError


def list_targets(call: Call) -> Response:
    """Require the rule to exist."""
    name = call.params["Rule"]
    bus = str(call.params.get("EventBusName") or "default").rpartition("/")[2]
    event_bus = backends.backend("events", call.request.region).event_buses.get(bus)
    if event_bus is None or name not in event_bus.rules:
        raise AwsError(
            "ResourceNotFoundException", f"Rule {name} does not exist on EventBus {bus}."
        )
    return call.forward()
