"""CAST AI's API and the resources over it."""
