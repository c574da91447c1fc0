"""Kinds of objects that the client library or the server does not know."""

import httpx2
import pytest
from lightkube import ApiError
from lightkube.resources.apps_v1 import Deployment

from castai_stack.kube import kinds

REQUEST = httpx2.Request("GET", "https://api.example")


def http_error(code: int, text: str) -> httpx2.HTTPStatusError:
    response = httpx2.Response(code, request=REQUEST, text=text)
    return httpx2.HTTPStatusError("no", request=REQUEST, response=response)


def test_a_built_in_kind_is_the_librarys_own():
    assert kinds.load("apps/v1", "Deployment") is Deployment


def test_a_custom_kind_is_made_once():
    kind = kinds.load("autoscaling.cast.ai/v1alpha1", "EvictorConfig")

    assert kind._api_info.plural == "evictorconfigs"
    assert kinds.load("autoscaling.cast.ai/v1alpha1", "EvictorConfig") is kind


@pytest.mark.parametrize(
    ("error", "missing"),
    [
        (http_error(404, "404 page not found\n"), True),
        (http_error(404, "<html>nothing here</html>"), False),
        (http_error(403, "404 page not found"), False),
        (ValueError("404 page not found"), False),
        (
            ApiError(
                REQUEST,
                httpx2.Response(404, request=REQUEST, json={"code": 404, "message": "no"}),
            ),
            False,
        ),
    ],
    ids=["plain text", "a proxy's page", "forbidden", "another error", "missing object"],
)
def test_a_kind_is_missing_where_the_server_knows_no_such_path(error, missing):
    assert kinds.is_missing(error) is missing
