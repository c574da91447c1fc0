"""HTTP servers of the sandbox, and their faults."""
