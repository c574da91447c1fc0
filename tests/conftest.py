"""Settings of every test."""

import pytest
from hypothesis import settings

# A busy machine takes longer than Hypothesis allows for one example; time has tests of its own.
settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files with long tests first, so that the workers end at about the same time."""
    items.sort(key=lambda item: item.path.parent.name != "engine")
