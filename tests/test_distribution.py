"""The distribution as other programs install it, and the names that they import from it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import castai_stack

REPOSITORY = Path(__file__).parents[1]


def printed(*command, cwd):
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not shutil.which("uv"), reason="builds with uv")
def test_the_wheel_brings_the_package_its_types_and_the_command(tmp_path):
    printed("uv", "build", "--wheel", "--quiet", "--out-dir", tmp_path, REPOSITORY, cwd=tmp_path)
    (wheel,) = tmp_path.glob("castai_stack-*.whl")
    environment = tmp_path / "clean"
    printed("uv", "venv", "--quiet", "--python", sys.executable, environment, cwd=tmp_path)
    printed(
        *("uv", "pip", "install", "--quiet", "--python", environment / "bin" / "python"),
        *("--constraint", REPOSITORY / "requirements.txt", wheel),
        cwd=tmp_path,
    )
    code = (
        "import castai_stack, importlib.resources\n"
        "files = importlib.resources.files('castai_stack')\n"
        "print(files.joinpath('components/schema.json').is_file(), files.joinpath('py.typed').is_file(), files.joinpath('spot_handler/handler.py').is_file(), "
        "*(getattr(castai_stack, name).__name__ for name in castai_stack.__all__))"
    )

    python = environment / "bin" / "python"
    assert printed(python, "-c", code, cwd=tmp_path).split() == [
        "True",
        "True",
        "True",
        *castai_stack.__all__,
    ]
    output = printed(environment / "bin" / "castai-eks", "audit", "--help", cwd=tmp_path)
    assert output.startswith("usage: castai-eks audit")


def loaded_by(code):
    script = f"import sys\n{code}\nprint(*sorted(sys.modules))"
    return set(printed(sys.executable, "-c", script, cwd=REPOSITORY).split())


def test_importing_the_package_loads_none_of_its_parts():
    loaded = loaded_by("import castai_stack")

    assert {name for name in loaded if name.startswith("castai_stack.")} == set()


def test_public_names_are_those_that_are_loaded_when_used():
    assert set(castai_stack.__all__) == set(castai_stack._MODULES)
    assert set(castai_stack.__all__) < set(dir(castai_stack))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        castai_stack.nothing  # noqa: B018 - the access is the test


@pytest.mark.parametrize(
    ("command", "absent"),
    [
        ("permissions", {"boto3", "lightkube", "pulumi_aws", "rich"}),
        ("operator-permissions", {"boto3", "lightkube", "pulumi_aws", "rich"}),
        ("audit", {"boto3", "lightkube", "pulumi_aws", "castai_stack.commands.recover"}),
        ("aws-auth", {"pulumi_aws", "castai_stack.commands.recover"}),
        ("recover", {"pulumi_aws", "castai_stack.commands.audit"}),
    ],
)
def test_a_command_loads_its_own_modules_only(command, absent):
    code = (
        "from castai_stack.__main__ import main\n"
        "import io\n"
        "sys.stdout, stdout = io.StringIO(), sys.stdout\n"
        f"try: main([{command!r}, '--help'])\n"
        "except SystemExit: pass\n"
        "sys.stdout = stdout"
    )

    assert not loaded_by(code) & absent
