"""The sentence that a refused report leaves in the function's log."""

import contextlib
import socket
import ssl
import threading

import pytest

from castai_stack.spot_handler import castai
from castai_stack.spot_handler.castai import Castai, ReportError
from castai_stack.spot_handler.deadline import Deadline
from castai_stack.spot_handler.decide import Report
from sandbox.kubernetes import certificates
from tests.support.spot import CLUSTER_ID, NOW, Clock, EventsEndpoint

KEY = "SENTINEL-api-key"
REPORT = Report("interrupted", "i-1", "aws:///eu-central-1b/i-1", "ip-10-0-0-1", NOW)


def error_of(url, keys=(KEY,), seconds=0.5):
    clock = Clock()
    source = iter(keys)
    with pytest.raises(ReportError) as caught:
        Castai(url, CLUSTER_ID, lambda _fresh: next(source, keys[-1])).report(
            REPORT, Deadline(clock() + seconds, clock, clock.sleep)
        )
    return str(caught.value)


@pytest.fixture
def endpoint():
    with EventsEndpoint() as running:
        yield running


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "does not accept the API key for this cluster: run `pulumi up` with a valid key"),
        (403, "does not accept the API key for this cluster: run `pulumi up` with a valid key"),
        (404, "(api.url) is the API's address without a version, and that CAST AI still has"),
        (308, "(api.url) is the API's address without a version"),
        (429, "The service is busy or failing; Lambda repeats the event."),
        (503, "The service is busy or failing; Lambda repeats the event."),
        (400, "The next `pulumi up` brings the current handler"),
    ],
)
def test_a_refusal_names_status_message_request_and_remedy(endpoint, status, advice):
    endpoint.answers = [(status, {})] * 3
    endpoint.message = "not so"

    message = error_of(endpoint.url)

    assert message.startswith(f"CAST AI did not accept the report: HTTP {status}, not so after ")
    assert "[request id request-1]. " in message
    assert advice in message


def test_a_connection_that_fails_names_the_address_and_the_network():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"

    assert error_of(url) == (
        "CAST AI did not accept the report: no answer, ConnectionRefusedError after 1 attempt. "
        f"Check that the function reaches {url}: its subnets, security groups and proxy."
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>503 Service Unavailable</html>", "the answer is no JSON object"),
        (b"[]", "the answer is no JSON object"),
        (b"", ""),
        (b'{"message": 7}', ""),
        (b'{"message": "no"}', "no"),
        (b"[" * 100_000, "the answer is no JSON object"),
    ],
)
def test_only_the_message_of_the_api_is_quoted(body, message):
    assert castai._message(body) == message


@pytest.mark.parametrize("keys", [(KEY,), ("OLD-SENTINEL", KEY)])
def test_neither_the_current_nor_the_previous_key_is_quoted(endpoint, keys):
    endpoint.answers = [(403, {})] * 3
    endpoint.message = f"token {' or '.join(keys)} is not known, {KEY}"

    message = error_of(endpoint.url, keys)

    assert "SENTINEL" not in message
    assert "is not known, ***" in message


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY}\r\nX: y", f"ключ-{KEY}"], ids=ascii)
def test_a_key_that_no_header_carries_is_not_quoted(endpoint, key):
    message = error_of(endpoint.url, (key,))

    assert "SENTINEL" not in message
    assert "no answer" in message


def test_an_untrusted_server_gets_no_key_and_is_named(tmp_path):
    files = certificates.make(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.serving_certificate, files.serving_key)
    received = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with (
                contextlib.suppress(OSError),
                context.wrap_socket(server.accept()[0], server_side=True) as connection,
            ):
                received.append(connection.recv(4096))

        thread = threading.Thread(target=serve)
        thread.start()
        message = error_of(f"https://127.0.0.1:{server.getsockname()[1]}")
        thread.join()

    assert received == []
    assert "The key was not sent; api.url must be an address whose certificate" in message
