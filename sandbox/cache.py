"""The user's cache folder, shared by every sandbox of a machine."""

import os
from pathlib import Path


def folder() -> Path:
    """Return `castai-eks-sandbox` in `$XDG_CACHE_HOME`, or in `~/.cache`."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "castai-eks-sandbox"
