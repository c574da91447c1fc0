"""Serves a WSGI application on loopback, on threads of this process."""

import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

LOOPBACK = "127.0.0.1"
_GRACE_SECONDS = 5
_BACKLOG = 128


class PortInUseError(Exception):
    """Another process listens on the port that was asked for."""


class _Quiet(WSGIRequestHandler):
    """Answers without writing an access log: the request log is the record."""

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


@dataclass(frozen=True)
class Server:
    """A running server; `close` ends it and frees its port."""

    url: str
    _server: BaseWSGIServer
    _thread: threading.Thread

    def close(self) -> None:
        """Stop answering and wait for the thread; a second call does nothing."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(_GRACE_SECONDS)
        self._server.server_close()


def serve(app: WsgiApp, port: int = 0) -> Server:
    """Answer with `app` on `port` of loopback, 0 being any free one."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise PortInUseError(
            f"port {port} on {LOOPBACK} cannot be used ({error.strerror}); "
            "stop what listens there, or ask for port 0 to get a free one"
        ) from error
    # Werkzeug ends the process when a port is taken, hence a socket of our own.
    number = listener.getsockname()[1]
    server = make_server(
        LOOPBACK, number, app, threaded=True, request_handler=_Quiet, fd=listener.fileno()
    )
    listener.close()
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    )
    thread.start()
    return Server(f"http://{LOOPBACK}:{number}", server, thread)
