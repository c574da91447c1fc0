"""The Pulumi program; castai_stack.stack composes it."""

from castai_stack.stack.process import imports_that_stay

with imports_that_stay():
    import pulumi

    from castai_stack.stack.deployment import deploy

pulumi.run(deploy)
