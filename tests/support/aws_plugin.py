"""The AWS stand-in as the engine sees it, asked directly over gRPC."""

from typing import Any

import grpc
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2

from sandbox.aws_provider.wire import properties, to_struct

MESSAGES = provider_pb2
SECRET = "4dabf18193072939515e22adb298388d"


class RefusedError(Exception):
    """The plugin answered with an error; `half_made` is set when an object was left behind."""

    def __init__(self, error: grpc.RpcError) -> None:
        super().__init__(error.details())
        self.half_made = None
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                self.half_made = provider_pb2.ErrorResourceInitFailed()
                status_pb2.Status.FromString(value).details[0].Unpack(self.half_made)


class Plugin:
    """Calls with dicts; `urn` is made of the type and a logical name."""

    def __init__(self, port: int) -> None:
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self._stub = provider_pb2_grpc.ResourceProviderStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def ask(self, method: str, request: Any) -> Any:
        try:
            return getattr(self._stub, method)(request)
        except grpc.RpcError as error:
            raise RefusedError(error) from None

    def configure(self, **args: Any) -> Any:
        return self.ask("Configure", MESSAGES.ConfigureRequest(args=to_struct(args)))

    def check_config(self, **args: Any) -> list[str]:
        answer = self.ask("CheckConfig", MESSAGES.CheckRequest(news=to_struct(args)))
        return _sentences(answer)

    def checked(
        self, kind: str, news: dict[str, Any], olds: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Inputs as the plugin completed them; there must be no failure."""
        answer = self._check(kind, news, olds)
        assert not answer.failures, _sentences(answer)
        return properties(answer.inputs)

    def failures(self, kind: str, news: dict[str, Any]) -> list[str]:
        return _sentences(self._check(kind, news, None))

    def _check(self, kind: str, news: dict[str, Any], olds: dict[str, Any] | None) -> Any:
        request = MESSAGES.CheckRequest(
            urn=urn(kind), olds=to_struct(olds or {}), news=to_struct(news), randomSeed=b"seed"
        )
        return self.ask("Check", request)

    def diff(
        self,
        kind: str,
        olds: dict[str, Any],
        news: dict[str, Any],
        ignored: list[str] | None = None,
    ) -> Any:
        request = MESSAGES.DiffRequest(
            id="x",
            urn=urn(kind),
            olds=to_struct(olds),
            news=to_struct(news),
            ignoreChanges=ignored or [],
        )
        return self.ask("Diff", request)

    def create(
        self, kind: str, inputs: dict[str, Any], *, preview: bool = False
    ) -> tuple[str, dict[str, Any]]:
        answer = self.created(kind, inputs, preview=preview)
        return answer.id, properties(answer.properties)

    def created(self, kind: str, inputs: dict[str, Any], *, preview: bool = False) -> Any:
        request = MESSAGES.CreateRequest(
            urn=urn(kind), properties=to_struct(inputs), preview=preview
        )
        return self.ask("Create", request)

    def update(
        self,
        kind: str,
        identifier: str,
        olds: dict[str, Any],
        news: dict[str, Any],
        *,
        preview: bool = False,
    ) -> dict[str, Any]:
        request = MESSAGES.UpdateRequest(
            id=identifier,
            urn=urn(kind),
            olds=to_struct(olds),
            news=to_struct(news),
            preview=preview,
        )
        return properties(self.ask("Update", request).properties)

    def read(
        self,
        kind: str,
        identifier: str,
        state: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
    ) -> tuple[str, dict[str, Any], dict[str, Any]]:
        request = MESSAGES.ReadRequest(
            id=identifier,
            urn=urn(kind),
            properties=to_struct(state or {}),
            inputs=to_struct(inputs or {}),
        )
        answer = self.ask("Read", request)
        return answer.id, properties(answer.properties), properties(answer.inputs)

    def delete(self, kind: str, identifier: str, state: dict[str, Any]) -> None:
        request = MESSAGES.DeleteRequest(id=identifier, urn=urn(kind), properties=to_struct(state))
        self.ask("Delete", request)

    def invoke(self, token: str, **args: Any) -> dict[str, Any]:
        answer = self.ask("Invoke", MESSAGES.InvokeRequest(tok=token, args=to_struct(args)))
        assert not answer.failures, _sentences(answer)
        return properties(getattr(answer, "return"))

    def invoke_failures(self, token: str, **args: Any) -> list[str]:
        answer = self.ask("Invoke", MESSAGES.InvokeRequest(tok=token, args=to_struct(args)))
        return _sentences(answer)


def urn(kind: str) -> str:
    return f"urn:pulumi:dev::castai-eks::castai-stack:index:Some${kind}::thing"


def _sentences(answer: Any) -> list[str]:
    return [f"{failure.property}: {failure.reason}" for failure in answer.failures]
