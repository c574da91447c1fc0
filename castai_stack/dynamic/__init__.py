"""Shared parts of the dynamic resources."""
