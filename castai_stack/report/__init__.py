"""The report of a pull request, as Markdown: what a change of a stack file does."""
