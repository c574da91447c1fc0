"""Permissions of the principals of a stack and of its operator, as data and as reports."""
