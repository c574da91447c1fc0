"""Connections to the cluster, and Kubernetes objects as resources."""
