"""`uv sync`, which `pulumi` runs before a program, installs the pinned versions."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.support import pins


def test_the_constraints_are_the_pins_of_the_requirements():
    text = pins.PROJECT.read_text()

    assert pins.rendered(text) == text, "run `make lock`"


def test_a_fresh_environment_has_the_pinned_versions(tmp_path: Path):
    shutil.copy(pins.PROJECT, tmp_path)
    shutil.copy(pins.ROOT / "README.md", tmp_path)
    tools = f"{os.environ['PATH']}{os.pathsep}{pins.ROOT / '.tools' / 'bin'}"
    plan = subprocess.run(
        ["uv", "sync", "--inexact", "--dry-run"],
        cwd=tmp_path,
        env={**os.environ, "PATH": tools, "VIRTUAL_ENV": ""},
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    planned = dict(re.findall(r"^ \+ ([\w.-]+)==(\S+)$", plan, re.MULTILINE))
    pinned = dict(re.match(r"([\w.-]+)==(\S+)", pin).groups() for pin in pins.pins())

    assert planned, plan
    assert planned.items() <= pinned.items()
