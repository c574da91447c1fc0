"""A function's code as a zip file, from the archive that the engine sends."""

import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from sandbox.aws_provider.account import RefusedError
from sandbox.aws_provider.wire import Archive, Asset

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
    if archive.assets is not None:
        for name, part in archive.assets.items():
            if isinstance(part, Archive):
                yield from _files(part, prefix / name)
            else:
                yield str(prefix / name), _content(part)
    elif archive.path is not None:
        yield from _from_disk(Path(archive.path), prefix)
    else:
        raise RefusedError("code: an archive holds neither files nor a path")


def _content(asset: Asset) -> bytes:
    if asset.text is not None:
        return asset.text.encode()
    if asset.path is not None:
        return Path(asset.path).read_bytes()
    raise RefusedError("code: an asset holds neither text nor a path")


def _from_disk(path: Path, prefix: PurePosixPath) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for item in sorted(path.rglob("*")):
            inside = item.relative_to(path)
            if item.is_file() and ".pulumi" not in inside.parts:
                yield str(prefix / inside.as_posix()), item.read_bytes()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed:
            for name in packed.namelist():
                if not name.endswith("/"):
                    yield str(prefix / name), packed.read(name)
    elif path.is_file() and tarfile.is_tarfile(path):
        with tarfile.open(path) as packed:
            for member in packed.getmembers():
                if (stream := packed.extractfile(member)) is not None:
                    yield str(prefix / member.name), stream.read()
    else:
        raise RefusedError(f"code: {path} is neither a folder nor a zip or tar file")
