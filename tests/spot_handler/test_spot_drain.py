"""Parts of draining that need no API server."""

import base64
import json
import ssl

import pytest

from castai_stack.spot_handler.drain import Cluster, Drain, KubernetesError
from sandbox.kubernetes import certificates


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    pem = certificates.make(tmp_path_factory.mktemp("certificates")).authority.read_bytes()
    return base64.b64encode(pem).decode()


def test_a_cluster_authority_without_key_identifiers_is_accepted_on_every_python(
    authority, monkeypatch
):
    """Python 3.13 is stricter by default than the authorities of older EKS clusters bear."""
    contexts = []
    default = ssl.create_default_context

    def strict(**how):
        context = default(**how)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        contexts.append(context)
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    Cluster("https://cluster.example", authority, "token").close()

    (context,) = contexts
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize("endpoint", ["http://cluster.example", "cluster.example", "https://"])
def test_the_endpoint_must_be_https(authority, endpoint):
    with pytest.raises(KubernetesError, match="must be an https address"):
        Cluster(endpoint, authority, "token")


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(0, True), (429, True), (500, True), (503, True), (401, False), (403, False), (404, False)],
)
def test_only_transient_errors_are_retried(status, retryable):
    assert KubernetesError("refused", status).retryable is retryable


def test_an_outcome_fits_a_log_line_however_many_pods_are_blocked():
    line = Drain("node", blocked=tuple(f"shop/pod-{number}" for number in range(500))).as_log()

    assert line["blocked"] == 500
    assert len(json.dumps(line)) < 1000
