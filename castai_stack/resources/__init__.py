"""Dynamic resources over the CAST AI API and the aws-auth map."""
