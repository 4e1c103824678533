// SPDX-License-Identifier: Apache-2.0

// Package mcrv1 holds the messages and stubs of the gRPC service mcr.v1.Operations, made from operations.proto.
//
// It is a leaf that clients import too. See northbound/operations for the service, and its protogen for how this is made.
package mcrv1
