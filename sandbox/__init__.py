"""A whole life cycle on one machine: real engine and Kubernetes, two stand-in clouds."""
