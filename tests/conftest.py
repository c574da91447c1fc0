"""Settings of every test."""

from hypothesis import settings

# A busy machine takes longer than Hypothesis allows for one example; time has tests of its own.
settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")
