"""Programs to compare with: the engine alone, and the engine with the same plugins."""
