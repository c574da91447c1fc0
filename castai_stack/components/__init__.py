"""Components for other programs: they take what a caller knows and derive the rest.

Names, partition, policies and Kubernetes objects follow from the arguments. Nested settings have
the keys of docs/configuration.md, snake_case in Python and camelCase in other languages.
"""
