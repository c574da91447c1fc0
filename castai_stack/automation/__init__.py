"""The workloads of CAST AI that act in the cluster, and what they are told to do."""
