"""The pins that `uv sync` reads: `make lock` copies them from requirements.txt to pyproject.toml.

`pulumi` runs `uv sync`, which resolves pyproject.toml anew where there is no uv.lock. A lock file
records the addresses of downloads, so this repository has none; constraints pin the same versions.
"""

from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "pyproject.toml"
REQUIREMENTS = ROOT / "requirements.txt"
BEGIN, END = "# pins: begin (make lock)\n", "# pins: end\n"


def pins() -> list[str]:
    """Return each requirement of requirements.txt with its marker, without hashes."""
    lines = REQUIREMENTS.read_text().splitlines()
    return [line.removesuffix("\\").strip() for line in lines if "==" in line and line[0] != " "]


def rendered(project: str) -> str:
    """Return the text of pyproject.toml with the pins of today."""
    before, _, rest = project.partition(BEGIN)
    _, _, after = rest.partition(END)
    rows = "".join(f'    "{pin}",\n' for pin in pins())
    return f"{before}{BEGIN}constraint-dependencies = [\n{rows}]\n{END}{after}"


if __name__ == "__main__":
    PROJECT.write_text(rendered(PROJECT.read_text()))
