"""Searches what the engine keeps and what was printed for secrets in plain.

The services tell every secret that they ever made, those of a run that was killed included.
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import requests

from sandbox import castai
from sandbox.session import Sandbox

_FOLDERS = ("logs", "pulumi", "services")
_SECONDS = 10


class SecretSearch:
    """A search over the files of one sandbox; each file is read anew only when it has changed."""

    def __init__(self, directory: Path, *, castai_url: str, aws_url: str | None = None) -> None:
        self._directory = directory
        self._services = {"a cluster's token": castai_url}
        if aws_url is not None:
            self._services["an access key's secret"] = aws_url
        self._read: dict[Path, int] = {}

    @classmethod
    def over(cls, sandbox: Sandbox) -> Self:
        """Search a whole sandbox."""
        return cls(sandbox.directory, castai_url=sandbox.castai_url, aws_url=sandbox.aws_url)

    def secrets(self) -> dict[str, str]:
        """Return every secret that there ever was, and what it is."""
        texts = {castai.API_KEY: "the API key"}
        for what, url in self._services.items():
            answer = requests.get(f"{url}/_sandbox/secrets", timeout=_SECONDS)
            answer.raise_for_status()
            texts |= dict.fromkeys(answer.json(), what)
        return texts

    def plain(self, texts: Mapping[str, str] | None = None) -> list[str]:
        """Name each secret that is readable in a file or in one of `texts`, and where."""
        forms = [
            (form, what)
            for secret, what in self.secrets().items()
            for form in (secret.encode(), base64.b64encode(secret.encode()))
        ]
        places = self._changed() | {name: text.encode() for name, text in (texts or {}).items()}
        return [
            f"{what} is plain in {name}"
            for name, content in places.items()
            for form, what in forms
            if form in content
        ]

    def _changed(self) -> dict[str, bytes]:
        """Return the content of files that were written since the last time."""
        changes = {}
        for folder in _FOLDERS:
            for path in (self._directory / folder).rglob("*"):
                if path.is_symlink() or not path.is_file():
                    continue
                written = path.stat().st_mtime_ns
                if self._read.get(path) != written:
                    self._read[path] = written
                    changes[str(path.relative_to(self._directory))] = path.read_bytes()
        return changes
