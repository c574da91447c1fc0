"""The Pulumi program: everything is composed in castai_stack.stack."""

import gc

gc.disable()

import pulumi

from castai_stack.stack import deploy

# The SDKs' classes stay until the process ends. Frozen, they are neither searched for cycles, a
# tenth of a preview's processor time, nor taken apart one by one at the end, 0.3 s.
gc.freeze()
gc.enable()

pulumi.run(deploy)
