"""IAM objects and documents."""
