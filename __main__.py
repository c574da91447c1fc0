"""The Pulumi program: everything is composed in castai_stack.stack."""

import pulumi

from castai_stack.stack import deploy

pulumi.run(deploy)
