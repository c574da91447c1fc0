"""Model of concurrent writers of aws-auth, which runs the program's own code."""
