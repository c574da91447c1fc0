"""Stand-in for Pulumi's Python language host, which no package registry serves.

It answers what the CLI calls for `preview`, `up`, `refresh`, `destroy`, `install` and `about`, and
refuses the rest: code generation, packing, linking, debuggers, type checkers, Poetry and pyenv.
Programs are run by the SDK's own `pulumi-language-python-exec`. The behaviour follows
`sdk/python/cmd/pulumi-language-python/main.go` and `sdk/python/toolchain` of `pulumi/pulumi`.
"""
