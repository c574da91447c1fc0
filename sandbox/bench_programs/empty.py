"""Nothing: what the engine and the SDK cost by themselves."""

import pulumi  # noqa: F401 - the SDK is part of the cost
