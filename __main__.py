"""The Pulumi program; castai_stack.stack composes it."""

from castai_stack.stack.process import imports_that_stay, leave_out_sdk_debug

with imports_that_stay():
    import pulumi

    from castai_stack.stack.deployment import deploy

leave_out_sdk_debug()
pulumi.run(deploy)
