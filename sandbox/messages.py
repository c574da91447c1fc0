"""The engine's protobuf messages that the stand-ins use, without the rest of the Pulumi SDK."""

from castai_stack.plugin import messages

language_pb2, language_pb2_grpc, plugin_pb2, provider_pb2, status_pb2 = messages.load(
    "language_pb2", "language_pb2_grpc", "plugin_pb2", "provider_pb2", "status_pb2"
)
