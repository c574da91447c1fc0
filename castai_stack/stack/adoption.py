"""Resources that take over existing AWS objects, as ADR 9 decides."""

from typing import Any

import pulumi

from castai_stack.config.adoption import Adoption, kept_properties

_PLACE = "castai-stack:index:AccessEntryPlace"
"""Looks for an access entry of others; it passes the one that this run imports."""
_INLINE_POLICY = "aws:iam/rolePolicy:RolePolicy"


class Takeover:
    """Gives each resource of `adoption.imports` the id of the object that it takes over."""

    def __init__(self, adoption: Adoption | None = None) -> None:
        adoption = adoption or Adoption()
        self._adoption = adoption
        self._open = dict(adoption.imports)

    @property
    def transformations(self) -> list[pulumi.ResourceTransformation]:
        """Transformations of the parts; they hold for everything inside a part, too."""
        return [self._transform] if self._adoption.imports else []

    def require_complete(self) -> None:
        """Raise RunError for objects that no resource of the program takes over."""
        if self._open:
            names = ", ".join(sorted(self._open))
            raise pulumi.RunError(
                f"adoption.imports: this stack has no resource {names} under its other settings; "
                "remove these entries, or correct the settings that create the resources"
            )

    def _transform(
        self, args: pulumi.ResourceTransformationArgs
    ) -> pulumi.ResourceTransformationResult | None:
        if args.type_ == _PLACE:
            entry = f"{args.name.removesuffix('-place')}-access"
            if entry not in self._adoption.imports:
                return None
            return pulumi.ResourceTransformationResult({**args.props, "imported": True}, args.opts)
        identifier = self._adoption.imports.get(args.name)
        if identifier is None or not args.type_.startswith("aws:"):
            return None
        self._open.pop(args.name, None)
        ignored = kept_properties(args.type_, self._adoption.values)
        more = pulumi.ResourceOptions(import_=identifier, ignore_changes=ignored)
        return pulumi.ResourceTransformationResult(
            _named(args.type_, dict(args.props), identifier),
            pulumi.ResourceOptions.merge(args.opts, more),
        )


def _named(type_: str, props: dict[str, Any], identifier: str) -> dict[str, Any]:
    """Return properties with the name of an inline policy; Pulumi would choose another one."""
    if type_ == _INLINE_POLICY and props.get("name") is None:
        return {**props, "name": identifier.partition(":")[2]}
    return props
