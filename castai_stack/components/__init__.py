"""Component resources, one per part of the connection."""
