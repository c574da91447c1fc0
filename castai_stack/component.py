"""Options that the components of this program give to their children."""

import pulumi


def child_options(
    component: pulumi.ComponentResource, opts: pulumi.ResourceOptions | None
) -> pulumi.ResourceOptions:
    """Return the options of every child of `component`, which was created with `opts`.

    Children do not inherit `depends_on`, so it is repeated here. They are deleted before they are
    replaced, because the program chooses their names and AWS allows each name once. The provider
    asks for the same, but only while it sees a difference. After a run that died between deletion
    and creation it sees none, and the engine would create the object first and delete it
    afterwards under the same name (`generateStepsFromDiff` in
    pulumi/pulumi, pkg/resource/deploy/step_generator.go).
    """
    return pulumi.ResourceOptions(
        parent=component,
        depends_on=opts.depends_on if opts else None,
        delete_before_replace=True,
    )


def after(options: pulumi.ResourceOptions, *resources: pulumi.Resource) -> pulumi.ResourceOptions:
    """Return `options` with these resources as further dependencies."""
    return pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(depends_on=list(resources)))
