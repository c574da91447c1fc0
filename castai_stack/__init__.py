"""Components that connect an existing EKS cluster to CAST AI."""
