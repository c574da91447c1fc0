"""Smithy RPC v2 CBOR, which newer SDKs speak to CloudWatch and moto 5.2.5 does not.

A request is translated to the JSON protocol before it is read, its answer back.
https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html
"""

import base64
import io
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from botocore.model import ServiceModel, StringShape
from botocore.parsers import RpcV2CBORParser
from botocore.serialize import RpcV2CBORSerializer
from werkzeug.wrappers import Response

_PATH = re.compile(r"^/service/([^/]+)/operation/(\w+)$")
_TYPE = "application/cbor"
_OK = 400


def is_cbor(environ: Mapping[str, Any]) -> bool:
    """Whether a request is in CBOR."""
    return environ.get("HTTP_SMITHY_PROTOCOL") == "rpc-v2-cbor"


def as_json(environ: Mapping[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
    """Convert a request into the JSON protocol."""
    match = _PATH.match(environ.get("PATH_INFO", ""))
    if match is None:
        raise ValueError(f"no operation in {environ.get('PATH_INFO', '')!r}")
    parser = RpcV2CBORParser()
    content = parser.parse_data_item(io.BufferedReader(io.BytesIO(body))) if body else {}
    text = json.dumps(content, default=_plain).encode()
    return {
        **environ,
        "PATH_INFO": "/",
        "CONTENT_TYPE": "application/x-amz-json-1.0",
        "CONTENT_LENGTH": str(len(text)),
        "HTTP_X_AMZ_TARGET": f"{match[1]}.{match[2]}",
        "wsgi.input": io.BytesIO(text),
    }, text


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.timestamp()
    return base64.b64encode(value).decode()


def from_json(answer: Response, model: ServiceModel, operation: str) -> Response:
    """Convert an answer of the JSON protocol into CBOR."""
    content = json.loads(answer.get_data() or b"{}")
    serializer: Any = RpcV2CBORSerializer()
    body = bytearray()
    shape = model.operation_model(operation).output_shape
    if answer.status_code >= _OK:
        # An error is a map of texts.
        text = StringShape("Text", {"type": "string"})
        serializer._serialize_type_map(  # noqa: SLF001 - botocore writes requests only
            body, {k: str(v) for k, v in content.items()}, _Texts(text), None
        )
    elif shape is None:
        body += b"\xa0"
    else:
        serializer._serialize_data_item(body, content, shape)  # noqa: SLF001
    headers = {name: value for name, value in answer.headers if name.lower().startswith("x-amzn")}
    return Response(
        bytes(body), answer.status_code, {**headers, "smithy-protocol": "rpc-v2-cbor"},
        content_type=_TYPE,
    )  # fmt: skip


class _Texts:
    """The shape of a map from text to text."""

    def __init__(self, text: StringShape) -> None:
        self.key = self.value = text
