"""The Lambda that handles Spot interruptions, and its resources."""
