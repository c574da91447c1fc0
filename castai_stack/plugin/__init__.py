"""The provider plugin: the engine's protocol, and what every resource type of it shares.

The plugin's process imports neither the Pulumi SDK nor a client library before it needs one,
because every preview waits for its start. `custom_resource` is the program's side, with the SDK.
"""

NAME = "castai-stack"
"""Name of the package and its plugin; part of every type token."""
VERSION = "0.1.0"
SAME_VERSION = (
    f"this plugin is version {VERSION}: a program for another version needs the plugin of that one"
)
"""Ends an error that such a program would meet."""
