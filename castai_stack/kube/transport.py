"""HTTP transport of the Kubernetes client: address, TLS and identity of one kubeconfig endpoint.

lightkube reads no `tls-server-name`, `proxy-url` or `as`, and takes only a token from a login
program. It accepts a transport, which is where this module applies all of them.
"""

import re
import ssl
import tempfile
import threading

import httpx2

from castai_stack.kube.endpoint import Endpoint, KubeconfigError
from castai_stack.kube.login import Credential, Login

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class KubeconfigTransport(httpx2.BaseTransport):
    """Sends requests as client-go does for the same kubeconfig; threads may share it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._login = Login(endpoint)
        self._tls = tls_context(endpoint)
        self._lock = threading.Lock()
        self._certificate = ""
        # A client of its own, because only a client takes proxies from the environment.
        self._client = httpx2.Client(verify=self._tls, proxy=endpoint.cluster.proxy_url or None)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; a refused credential that can be renewed is renewed once."""
        cluster = self._endpoint.cluster
        if cluster.tls_server_name:
            request.extensions = {**request.extensions, "sni_hostname": cluster.tls_server_name}
        if not cluster.compression:
            request.headers["Accept-Encoding"] = "identity"
        request.headers = httpx2.Headers(
            [*request.headers.multi_items(), *self._endpoint.user.impersonation]
        )
        credential = self._login.credential()
        response = self._send(request, credential)
        if response.status_code == httpx2.codes.UNAUTHORIZED and self._login.renewable:
            renewed = self._login.credential(refused=credential)
            if renewed != credential:
                response.close()
                response = self._send(request, renewed)
        return response

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _send(self, request: httpx2.Request, credential: Credential) -> httpx2.Response:
        if credential.authorization is not None:
            request.headers["Authorization"] = credential.authorization
        with self._lock:
            # A handshake reads the certificate, so a new one applies to new connections.
            if credential.certificate and credential.certificate != self._certificate:
                _load_pair(self._tls, credential.certificate, credential.key, "login program")
                self._certificate = credential.certificate
        return self._client.send(request, stream=True)


def tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    """Return the TLS settings of an endpoint.

    Raises KubeconfigError for certificates and keys that cannot be used.
    """
    cluster, user = endpoint.cluster, endpoint.user
    if cluster.authority:
        # Without any, Python would take the authorities of the system.
        certificates = "\n".join(_CERTIFICATE.findall(cluster.authority)) or "none"
        try:
            context = ssl.create_default_context(cadata=certificates)
        except (ssl.SSLError, ValueError):
            raise KubeconfigError(
                f"{endpoint.where}: certificate-authority holds no certificate in PEM form"
            ) from None
    else:
        context = httpx2.create_ssl_context(verify=not cluster.insecure)
        if not cluster.insecure:
            context.load_default_certs()
    # Go accepts any certificate of the authorities as an anchor and does not insist on key
    # identifiers, which EKS's authorities lack.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if user.certificate:
        _load_pair(context, user.certificate, user.key, f"{endpoint.where}: client-certificate")
    _set_protocols_once(context)
    return context


def _set_protocols_once(context: ssl.SSLContext) -> None:
    """Keep the HTTP library from setting the protocols again before every handshake.

    OpenSSL then frees the list that a handshake of another thread may be reading, and the server
    refuses that handshake with `decode error`.
    Source: SSL_CTX_set_alpn_protos in ssl/ssl_lib.c of openssl/openssl.
    """
    context.set_alpn_protocols(["http/1.1"])
    setattr(context, "set_alpn_protocols", lambda _protocols: None)  # noqa: B010 - a method


def _load_pair(context: ssl.SSLContext, certificate: str, key: str, origin: str) -> None:
    """Load a client certificate; Python reads one from files only."""
    with tempfile.NamedTemporaryFile() as file:  # only its owner may read it
        file.write(f"{certificate}\n{key}\n".encode())
        file.flush()
        try:
            # Without a password OpenSSL would ask the terminal for that of an encrypted key.
            context.load_cert_chain(file.name, password="none")  # noqa: S106
        except (ssl.SSLError, ValueError):
            raise KubeconfigError(
                f"{origin}: the client certificate and its key do not fit together, or the key is "
                "encrypted"
            ) from None
