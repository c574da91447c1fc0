"""The mapping of IAM principals into the cluster."""
