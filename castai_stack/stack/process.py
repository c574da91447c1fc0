"""The interpreter's settings for a process that composes once and ends."""

import contextlib
import gc
import os
from collections.abc import Iterator

SDK_DEBUG_VARIABLE = "CASTAI_EKS_SDK_DEBUG"
"""Set to anything, it keeps the SDK's debug messages, which `pulumi up --debug` shows."""


@contextlib.contextmanager
def imports_that_stay() -> Iterator[None]:
    """Import in this block what the process needs until it ends.

    Looking for cycles in it costs 10 % of a preview and frees 1 MiB, so the collector stays off.
    Taking the modules apart at the end costs 0.3 s; frozen, they are left to the system.
    """
    gc.disable()
    yield
    gc.freeze()


def keep_later_imports() -> None:
    """Leave modules of a later import to the system as well, in a process without collector."""
    if not gc.isenabled():
        gc.freeze()


def leave_out_sdk_debug() -> None:
    """Drop the SDK's debug messages, unless `SDK_DEBUG_VARIABLE` is set.

    The SDK sends each one to the engine in a blocking call from the event loop, about six for each
    resource, and nothing tells a program that `--debug` was not given.
    Source: pulumi/pulumi, sdk/python/lib/pulumi/log.py
    """
    import pulumi  # noqa: PLC0415 - the collector goes off first

    if not os.environ.get(SDK_DEBUG_VARIABLE):
        pulumi.log.debug = lambda *_, **__: None
