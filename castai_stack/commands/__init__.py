"""Commands beside the program."""
