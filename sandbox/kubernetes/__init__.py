"""The sandbox's control plane and everything in it."""
