"""moto, made ready for the sandbox, and direct access to what it holds.

One account per process: moto keeps its state in module globals.
"""

import os
import sys
from typing import Any

from moto import backends as moto_backends
from moto.core.config import default_user_config
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from sandbox.constants import ACCOUNT, PARTITION
from sandbox.serving.http_server import WsgiApp

# Read by moto at import time.
os.environ["MOTO_ACCOUNT_ID"] = ACCOUNT
os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"
os.environ["MOTO_DISABLE_GLOBAL_CORS"] = "true"
# 1,300 images with a volume and a snapshot each take 0.5 s for every region.
os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"

# No container runtime is ever contacted: functions are kept, invocations are echoed.
default_user_config["lambda"] = {"use_docker": False}

_GLOBAL = ("iam", "sts")
_MODULES = {
    "cloudwatch": "moto.cloudwatch.models",
    "ec2": "moto.ec2.models",
    "eks": "moto.eks.models",
    "events": "moto.events.models",
    "iam": "moto.iam.models",
    "lambda": "moto.awslambda_simple.models",
    "logs": "moto.logs.models",
    "secretsmanager": "moto.secretsmanager.models",
    "sqs": "moto.sqs.models",
    "sts": "moto.sts.models",
}


def backend(service: str, region: str) -> Any:
    """Reach what moto holds for `service` in `region`; IAM and STS have no region."""
    return _account(service)[PARTITION if service in _GLOBAL else region]


def iam() -> Any:
    """Reach what moto holds for IAM."""
    return backend("iam", PARTITION)


def fresh_app() -> WsgiApp:
    """Build moto's own server application, over an empty account."""
    for service, module in _MODULES.items():
        if module in sys.modules:
            _account(service).reset()
    return DomainDispatcherApplication(_service_app)


def _service_app(service: Any) -> Any:
    app = create_backend_app(service)
    app.config["PROPAGATE_EXCEPTIONS"] = True  # what moto cannot do is told, not a page
    return app


def _account(service: str) -> Any:
    if service == "lambda":
        from moto.awslambda_simple.models import lambda_simple_backends  # noqa: PLC0415 - lazy

        return lambda_simple_backends[ACCOUNT]
    return moto_backends.get_backend(service)[ACCOUNT]  # type: ignore[arg-type]
