"""The composition: the only place that knows every part."""
