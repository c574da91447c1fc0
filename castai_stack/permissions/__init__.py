"""Who may do what under a stack, as data and as reports."""
