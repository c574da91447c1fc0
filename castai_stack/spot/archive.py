"""Archive and runtime of the Spot function."""

from datetime import date
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "spot_handler"
FILES = (
    "__init__.py",
    "api_key.py",
    "castai.py",
    "deadline.py",
    "decide.py",
    "drain.py",
    "eks_token.py",
    "handler.py",
    "instances.py",
)
"""Files of the archive; listed, so that caches in the folder stay out."""
FOLDER = "spot_handler"
HANDLER = "spot_handler.handler.handle"

RUNTIME = "python3.13"
RUNTIME_ENDS: dict[str, date] = {
    "python3.12": date(2028, 10, 31),
    "python3.13": date(2029, 6, 30),
    "python3.14": date(2029, 6, 30),
}
"""Deprecation dates of Lambda's Python runtimes.

Sources: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html,
https://endoflife.date/aws-lambda
"""


def sources(folder: Path = SOURCE) -> dict[str, str]:
    """Return the text of the archive's files by name, with the same line ends everywhere."""
    return {name: (folder / name).read_text(encoding="utf-8") for name in FILES}
