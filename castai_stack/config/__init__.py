"""Settings of a stack, read and validated."""
