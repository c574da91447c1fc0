"""A model of EC2 with the operations that the stand-in calls.

botocore describes 750 operations in 10 MB, which costs a process 0.15 s; the real plugin has no
such cost. The smaller model is kept in the user's cache.
"""

import importlib.metadata
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SERVICE = "ec2"
_FILE = "service-2"
_OPERATIONS = (
    "AuthorizeSecurityGroupEgress",
    "AuthorizeSecurityGroupIngress",
    "CreateSecurityGroup",
    "CreateTags",
    "DeleteSecurityGroup",
    "DeleteTags",
    "DescribeRouteTables",
    "DescribeSecurityGroups",
    "DescribeSubnets",
    "RevokeSecurityGroupEgress",
    "RevokeSecurityGroupIngress",
)
_FORMAT = 1  # raise when the operations or the stored form change


def folder(cache: Path) -> Path:
    """Return the folder that botocore's `data_path` names, made on first use."""
    place = cache / f"aws-models-{_FORMAT}-{importlib.metadata.version('botocore')}"
    if not place.exists():
        _write(place)
    return place


def reduced(model: dict[str, Any]) -> dict[str, Any]:
    """Return a service's model without other operations and the shapes that only they use."""
    operations = {name: model["operations"][name] for name in _OPERATIONS}
    shapes: dict[str, Any] = {}
    names = [name for one in operations.values() for name in _shapes(one)]
    while names:
        name = names.pop()
        if name not in shapes:
            shapes[name] = model["shapes"][name]
            names += _shapes(shapes[name])
    return {**model, "operations": operations, "shapes": shapes}


def _shapes(value: Any) -> Iterator[str]:
    """Yield the names of shapes that a part of a model refers to."""
    if isinstance(value, dict):
        if isinstance(value.get("shape"), str):
            yield value["shape"]
        for one in value.values():
            yield from _shapes(one)
    elif isinstance(value, list):
        for one in value:
            yield from _shapes(one)


def _write(place: Path) -> None:
    from botocore.loaders import Loader  # noqa: PLC0415 - needed once per machine

    loader = Loader()
    version = loader.determine_latest_version(_SERVICE, _FILE)
    model = loader.load_service_model(_SERVICE, _FILE, version)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
        file = Path(scratch) / place.name / _SERVICE / version / f"{_FILE}.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(reduced(model)))
        try:
            (Path(scratch) / place.name).rename(place)
        except OSError:  # another process was faster
            if not place.exists():
                raise
