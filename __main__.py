"""The Pulumi program: everything is composed in castai_stack.stack."""

import gc

# A run keeps nearly all that it makes, the SDKs' classes above all: looking for cycles among them
# is a tenth of a preview's processor time, and without it the process is 1 MiB larger.
gc.disable()

import pulumi

from castai_stack.stack import deploy

pulumi.run(deploy)
