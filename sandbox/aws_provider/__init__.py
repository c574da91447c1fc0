"""Stands in for the AWS resource plugin of Pulumi, over boto3, for the sandbox only.

It knows the resource types and lookups that this project uses and refuses every other type,
property and lookup. Property names, nested types and required inputs come from the installed
`pulumi_aws` package; what forces a replacement, which values are filled in and how ids look
comes from the public schemas of the provider (`internal/service/*` in
`hashicorp/terraform-provider-aws`, `provider/` in `pulumi/pulumi-aws`).
"""
