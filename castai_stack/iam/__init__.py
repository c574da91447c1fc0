"""IAM principals, roles and policies of one cluster."""
