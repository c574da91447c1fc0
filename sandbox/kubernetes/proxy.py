"""A way to the API server that numbers what changes something, and can end a program at a number.

The API server itself knows no faults. What stands before it carries a request out, and may then
kill who asked instead of answering, so that nobody knows whether it happened.
"""

import contextlib
import fnmatch
import functools
import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import requests
from urllib3.exceptions import ProtocolError
from werkzeug.wrappers import Request, Response

from sandbox.kubernetes.control_plane import ControlPlane
from sandbox.serving import http_server

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_ASKING = re.compile(r"/(selfsubject\w+|localsubjectaccessreviews|subjectaccessreviews)(\?|$)")
_OF_ONE_HOP = frozenset(
    {"connection", "content-length", "host", "keep-alive", "te", "transfer-encoding", "upgrade"}
)
_SECONDS = 3600
_LOGIN_SECONDS = 600


class KubernetesProxy:
    """Serves until `close`; `kubeconfig` leads through it in the name of `who`."""

    def __init__(self, plane: ControlPlane, folder: Path, who: str = "operator") -> None:
        self._url = plane.url
        self._authority = str(plane.authority)
        # Go's client shows no token to an address without TLS, so it is put in here.
        self._token = functools.partial(plane.token_of, who)
        self._login = ("", 0.0)
        self._lock = threading.Lock()
        self._kill: tuple[Collection[str], int, int] | None = None
        self.writes: list[str] = []
        """Method and path of what was carried out, refused or not."""
        self.latency_seconds = 0.0
        """Time before every answer."""
        self._server = http_server.serve(self)
        self.kubeconfig = folder / "kubeconfig-of-the-proxy.json"
        folder.mkdir(parents=True, exist_ok=True)
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(_kubeconfig(self._server.url))

    def close(self) -> None:
        """Stop answering."""
        self._server.close()

    def count_anew(self, kill: tuple[Collection[str], int, int] | None = None) -> None:
        """Forget what was counted; `kill` is patterns of writes, a number, and a group to end."""
        with self._lock:
            self.writes.clear()
            self._kill = kill

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Pass a request on."""
        request = Request(environ)
        path = environ["PATH_INFO"] + (f"?{environ['QUERY_STRING']}" * bool(request.query_string))
        forwarded = {k: v for k, v in request.headers if k.lower() not in _OF_ONE_HOP}
        with requests.Session() as session:
            # Otherwise REQUESTS_CA_BUNDLE of the environment comes before `verify`.
            session.trust_env = False
            answer = session.request(
                request.method,
                self._url + path,
                data=request.get_data(),
                headers={**forwarded, "Authorization": self._bearer()},
                verify=self._authority,
                stream=True,
                timeout=_SECONDS,
                allow_redirects=False,
            )
        time.sleep(self.latency_seconds)
        headers = [(k, v) for k, v in answer.headers.items() if k.lower() not in _OF_ONE_HOP]
        body: Iterable[bytes] = _pieces(answer)
        if changes(request.method, path):
            body = list(body)
            self._carried_out(f"{request.method} {environ['PATH_INFO']}")
        return Response(body, answer.status_code, headers)(environ, start_response)

    def _bearer(self) -> str:
        with self._lock:
            if time.monotonic() >= self._login[1]:
                self._login = (f"Bearer {self._token()}", time.monotonic() + _LOGIN_SECONDS)
            return self._login[0]

    def _carried_out(self, what: str) -> None:
        with self._lock:
            self.writes.append(what)
            if self._kill is None:
                return
            wanted, number, group = self._kill
            fitting = [
                one for one in self.writes if any(fnmatch.fnmatchcase(one, each) for each in wanted)
            ]
            if len(fitting) == number and fitting[-1] is what:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)


def changes(method: str, path: str) -> bool:
    """Whether a request changes, or tries to change, what the cluster keeps."""
    return method not in _READING and "dryRun=All" not in path and not _ASKING.search(path)


def _pieces(answer: requests.Response) -> Iterator[bytes]:
    """Yield the answer as it arrives: a watch has no end."""
    # A watch that lasts longer than the API server ends with it, like any other.
    with answer, contextlib.suppress(ProtocolError):
        yield from answer.raw.stream(decode_content=False)


def _kubeconfig(url: str) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxy", "cluster": {"server": url}}],
            "users": [{"name": "proxy", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
            "current-context": "proxy",
        }
    )
