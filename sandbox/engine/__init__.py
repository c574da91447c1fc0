"""The Pulumi engine as the sandbox runs it."""
