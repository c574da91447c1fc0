"""Serves a WSGI application on loopback over HTTP/1.1, on threads of this process.

Connections stay open between requests, as those of AWS and of an API server do: Go's client takes
a connection that the server closes after each answer for a broken one now and then.
"""

import io
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from werkzeug.test import run_wsgi_app

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

LOOPBACK = "127.0.0.1"
_GRACE_SECONDS = 5
_BACKLOG = 128
_OF_ONE_HOP = frozenset({"connection", "keep-alive", "transfer-encoding"})


class PortInUseError(Exception):
    """Another process listens on the requested port."""


class _Handler(BaseHTTPRequestHandler):
    """Passes every request to the application, and writes its whole answer."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one packet
    app: WsgiApp

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Write no access log: the request log is the record."""

    def _answer(self) -> None:
        chunks, status, headers = run_wsgi_app(self.app, self._environ())
        code, _, reason = status.partition(" ")
        self.send_response_only(int(code), reason)
        for name, value in headers:
            if name.lower() not in _OF_ONE_HOP:
                self.send_header(name, value)
        empty = self.command == "HEAD" or int(code) in (204, 304)
        chunked = not empty and "Content-Length" not in headers
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in filter(None, chunks):
            if not empty:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                self.wfile.flush()
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - the base's

    def _environ(self) -> dict[str, Any]:
        target = urlsplit(self.path)
        body = self._body()
        environ: dict[str, Any] = {
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(target.path).decode("latin-1"),
            "QUERY_STRING": target.query,
            "REQUEST_URI": self.path,
            "RAW_URI": self.path,
            "REMOTE_ADDR": self.client_address[0],
            "REMOTE_PORT": self.client_address[1],
            "SERVER_NAME": LOOPBACK,
            "SERVER_PORT": str(self.connection.getsockname()[1]),
            "SERVER_PROTOCOL": self.request_version,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
        }
        for name in set(self.headers.keys()):
            key = name.upper().replace("-", "_")
            if key not in ("CONTENT_TYPE", "CONTENT_LENGTH", "TRANSFER_ENCODING"):
                environ[f"HTTP_{key}"] = ",".join(self.headers.get_all(name, []))
        return environ

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return content


class _Listener(ThreadingHTTPServer):
    """Knows its open connections, so that closing it ends them."""

    daemon_threads = True
    request_queue_size = _BACKLOG

    def __init__(self, app: WsgiApp, port: int) -> None:
        self._open: set[socket.socket] = set()
        handler = type("Handler", (_Handler,), {"app": staticmethod(app)})
        super().__init__((LOOPBACK, port), handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection."""
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report a fault of the application; a client that goes away is none."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def end_connections(self) -> None:
        """End what idle clients keep open."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True)
class Server:
    """A running server; `close` ends it and frees its port."""

    url: str
    _server: _Listener
    _thread: threading.Thread

    def close(self) -> None:
        """Stop answering and wait for the thread; a second call does nothing."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(_GRACE_SECONDS)
        self._server.server_close()
        self._server.end_connections()


def serve(app: WsgiApp, port: int = 0) -> Server:
    """Answer with `app` on `port` of loopback, 0 being any free one."""
    try:
        server = _Listener(app, port)
    except OSError as error:
        raise PortInUseError(
            f"port {port} on {LOOPBACK} cannot be used ({error.strerror}); "
            "stop what listens there, or ask for port 0 to get a free one"
        ) from error
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    )
    thread.start()
    return Server(f"http://{LOOPBACK}:{server.server_port}", server, thread)
