"""The sandbox's AWS: moto, with a layer before it that judges as AWS does.

`serve` starts it, `seed` furnishes it. Beside AWS's own API it answers, to anyone on loopback:

- `GET /_sandbox/inventory`: everything in the account, to compare before with after
- `GET /_sandbox/secrets`: secrets of every key that a user was ever given, to search for them
- `GET /_sandbox/access-entries`: EKS access entries, `valid` while their principal is the same
- `PUT/DELETE /_sandbox/foreign-principals/<arn>`: users of other accounts, with their keys
- `PUT /_sandbox/sessions`: credentials of a role, or of the root, without asking
- `PUT /_sandbox/clusters/<region>/<name>`: the address and certificate that a cluster shows
- `GET/PUT /_sandbox/clock`: `{"advance": seconds}`
- `/_sandbox/requests` and `/_sandbox/faults`, see `sandbox.serving.faults`; `propagation_seconds`
  among the faults delays what IAM has just made
"""

from pathlib import Path

from sandbox.aws.account import Account, AuthenticationMode, ClustersChanged
from sandbox.aws.front import Front, render
from sandbox.aws.seed import Credentials, Seed, root, seed, session
from sandbox.serving.faults import Faults
from sandbox.serving.http_server import Server, WsgiApp
from sandbox.serving.http_server import serve as _serve

__all__ = [
    "Credentials",
    "Seed",
    "app",
    "root",
    "seed",
    "serve",
    "session",
]


def app(
    authentication_mode: AuthenticationMode = "CONFIG_MAP",
    record: Path | None = None,
    clusters_changed: ClustersChanged = lambda _: None,
) -> WsgiApp:
    """Build the server's application over an empty account; one per process at a time."""
    account = Account(authentication_mode)
    front = Front(account, clusters_changed)
    return Faults(
        front,
        front.classify,
        render,
        own=("propagation_seconds",),
        changed=account.propagation.configure,
        record=record,
    )


def serve(
    directory: Path,
    port: int = 0,
    authentication_mode: AuthenticationMode = "CONFIG_MAP",
    clusters_changed: ClustersChanged = lambda _: None,
) -> Server:
    """Serve an empty account; `directory` receives the request log, `aws-requests.jsonl`.

    `authentication_mode` is that of EKS clusters made without one.
    """
    directory.mkdir(parents=True, exist_ok=True)
    record = directory / "aws-requests.jsonl"
    return _serve(app(authentication_mode, record, clusters_changed), port)
