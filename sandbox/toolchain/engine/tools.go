//go:build tools

// Package engine pins the Pulumi engine and its command line.
package engine

import _ "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
