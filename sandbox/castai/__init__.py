"""A CAST AI service for the sandbox: its API, its refusals, and its use of what it is handed."""

from sandbox.castai.server import API_KEY, VIEWER_KEY, CastaiServer, serve
from sandbox.castai.state import Options

__all__ = ["API_KEY", "VIEWER_KEY", "CastaiServer", "Options", "serve"]
