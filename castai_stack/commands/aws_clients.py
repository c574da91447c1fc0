"""boto3 clients of the commands."""

from collections.abc import Callable
from typing import Any


def clients(region: str) -> Callable[[str], Any]:
    """Return a maker of clients, by service; credentials and address are the environment's."""
    import boto3  # noqa: PLC0415 - takes a third of a second
    from botocore.config import Config  # noqa: PLC0415 - lazy

    session: Any = boto3.session.Session()  # not the shared one, which keeps older credentials
    patient = Config(retries={"mode": "standard", "total_max_attempts": 8})
    return lambda service: session.client(service, region_name=region, config=patient)
