"""The Pulumi program: everything is composed in castai_stack.stack."""

import gc

# What a run makes stays until it ends, the SDKs' classes above all: a search for cycles is a tenth
# of a preview's processor time, and without it the process is 1 MiB larger.
gc.disable()

import pulumi

from castai_stack.stack.deployment import deploy

# Python would take what was imported apart at the end, 0.3 s; frozen, it leaves that to the system.
gc.freeze()

pulumi.run(deploy)
