"""What other installers leave behind, as values, and a function that writes it to a sandbox.

Each installer has a function from the coordinates of a cluster to a `Footprint`. Where no public
source shows a name or a text, a comment says `inferred`.
"""
