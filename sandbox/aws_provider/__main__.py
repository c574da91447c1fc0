"""Started by the engine as its AWS plugin: `python -m sandbox.aws_provider <engine address>`."""

import os
import sys

from sandbox.aws_provider.account import RefusedError, endpoint, require_sandbox
from sandbox.processes import end_with_parent


def main() -> int:
    """Serve until the engine ends; print the port as the engine's protocol wants it."""
    try:
        require_sandbox()
        endpoint()
    except RefusedError as error:
        print(f"pulumi-resource-aws (sandbox): {error}", file=sys.stderr)
        return 1
    from sandbox.aws_provider import plugin  # noqa: PLC0415 - a refusal needs none of it

    server, port = plugin.serve()
    end_with_parent(os.getppid())
    print(port, flush=True)
    server.wait_for_termination()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
