"""Started by the engine: `python -m sandbox.language_host [flags] ENGINE_ADDRESS`."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from concurrent import futures
from pathlib import Path

import grpc

from sandbox.language_host.host import LanguageHost, language_pb2_grpc
from sandbox.processes import end_with_parent

_CALLS = 32
"""Calls at the same time; a running plugin takes one."""
_LARGEST_MESSAGE = 400 * 1024 * 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve programs of Python."""
    options = _parser().parse_args(arguments)
    return serve(LanguageHost(options.use_executor, options.engine, options.tracing))


def serve(host: LanguageHost) -> int:
    """Serve until the engine ends; the first line on stdout is the port."""
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=_CALLS),
        options=[
            ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
            ("grpc.max_send_message_length", _LARGEST_MESSAGE),
        ],
    )
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    signal.signal(signal.SIGINT, lambda *_: server.stop(None))
    end_with_parent(os.getppid(), host.close)
    print(port, flush=True)
    server.wait_for_termination()
    host.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pulumi-language-python")
    parser.add_argument("engine", nargs="?", default="", help="address of the engine")
    parser.add_argument(
        "--use-executor", type=Path, required=True, help="program that runs programs"
    )
    parser.add_argument("--tracing", default="", help="endpoint handed on to the executor")
    parser.add_argument("-v", help="accepted and ignored")
    for ignored in ("virtualenv", "root", "typechecker", "toolchain"):
        # Go's flags take one dash as well, with which older engines begin them.
        parser.add_argument(
            f"--{ignored}", f"-{ignored}", help="accepted and ignored, as the real host does"
        )
    parser.add_argument("--logtostderr", action="store_true", help="accepted and ignored")
    return parser


if __name__ == "__main__":
    sys.exit(main())
