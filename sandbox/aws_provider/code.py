"""A function's code as a zip file, from the archive that the engine sends."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath

from sandbox.aws_provider.wire import Archive

_SAME_TIME = (1980, 1, 1, 0, 0, 0)  # so that the same files make the same zip
_READABLE = 0o644 << 16


def zipped(archive: Archive) -> bytes:
    """Pack the files; the same content gives the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in sorted(_files(archive, PurePosixPath())):
            entry = zipfile.ZipInfo(name, _SAME_TIME)
            entry.external_attr = _READABLE
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, content)
    return buffer.getvalue()


def _files(archive: Archive, prefix: PurePosixPath) -> Iterator[tuple[str, bytes]]:
    for name, part in archive.assets.items():
        if isinstance(part, Archive):
            yield from _files(part, prefix / name)
        else:
            yield str(prefix / name), part.text.encode()
