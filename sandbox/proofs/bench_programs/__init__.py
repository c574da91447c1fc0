"""Programs that the bench compares with."""
