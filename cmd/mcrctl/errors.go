// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Exit codes.
const (
	exitDone = iota
	exitRefused
	exitUsage
	exitNotReached
)

// commandError is an error of a command that was understood; every other one that cobra returns is wrong usage.
type commandError struct{ err error }

func (e *commandError) Error() string { return e.err.Error() }
func (e *commandError) Unwrap() error { return e.err }

// usageError is an argument that cannot be read.
type usageError struct {
	arg string
	pos int // octet of arg where the fault is; negative: not known
	err error
}

func (e *usageError) Error() string {
	if e.pos < 0 {
		return fmt.Sprintf("%v: %s", e.err, e.arg)
	}
	pad := utf8.RuneCountInString(e.arg[:min(e.pos, len(e.arg))])
	return fmt.Sprintf("%v\n  %s\n  %s^", e.err, e.arg, strings.Repeat(" ", pad))
}

func (e *usageError) Unwrap() error { return e.err }

// fileError is a refusal of what a file says.
type fileError struct {
	file string
	err  error
}

func (e *fileError) Error() string { return message(e) }
func (e *fileError) Unwrap() error { return e.err }

// onlyOperation names the operation of a request that has no other: a person did not write it, but the file.
const onlyOperation = "replace[0] "

// report writes err for a person and returns the exit code.
func report(w io.Writer, address, command string, err error) int {
	if err == nil {
		return exitDone
	}
	var understood *commandError
	if !errors.As(err, &understood) {
		fmt.Fprintf(w, "mcrctl: %v\n%s --help says how it is used.\n", err, command)
		return exitUsage
	}
	if notReached(err) {
		why := message(err)
		if _, inner, ok := strings.Cut(why, "Error while dialing: "); ok { // what the kernel said, without gRPC's layers
			why = strings.TrimSuffix(inner, `"`)
		}
		fmt.Fprintf(w, "mcrctl: mcrd does not answer at %s: %s\n%s\n", address, why, reachHint(err))
		return exitNotReached
	}
	fmt.Fprintf(w, "mcrctl: %s\n", message(err))
	for _, v := range violations(err) {
		fmt.Fprintf(w, "  %s\n", strings.TrimPrefix(v, onlyOperation))
	}
	if status.Code(err) == codes.Unauthenticated {
		fmt.Fprintln(w, "--user and --password-file, or --tls-cert and --tls-key, say who we are.")
	}
	return exitRefused
}

func notReached(err error) bool {
	c := status.Code(err)
	return c == codes.Unavailable || c == codes.DeadlineExceeded
}

func reachHint(err error) string {
	switch text := err.Error(); {
	case strings.Contains(text, "permission denied"):
		return "The socket is for root and the group mcr."
	case strings.Contains(text, "x509:"), strings.Contains(text, "tls:"):
		return "--tls-ca names the authorities to trust, --tls-cert and --tls-key what mcrd asks of us."
	}
	return "Is mcrd running? --address says where to look."
}

// message is the text of an error without gRPC's wrapping.
func message(err error) string {
	if f := (*fileError)(nil); errors.As(err, &f) {
		return f.file + ": " + strings.ReplaceAll(message(f.err), onlyOperation, "")
	}
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) {
		return s.GRPCStatus().Message()
	}
	return err.Error()
}

// violations lists the faults that come with a refusal and are not in its message.
func violations(err error) []string {
	var s interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &s) {
		return nil
	}
	var all []string
	for _, d := range s.GRPCStatus().Details() {
		bad, ok := d.(*errdetails.BadRequest)
		if !ok {
			continue
		}
		for _, v := range bad.GetFieldViolations() {
			if said(s.GRPCStatus().Message(), v) {
				continue
			}
			all = append(all, v.GetField()+": "+v.GetDescription())
		}
	}
	return all
}

// said says that a message has a fault already, be it with a position between the words of its place.
func said(message string, v *errdetails.BadRequest_FieldViolation) bool {
	for _, word := range strings.Fields(v.GetField()) {
		if !strings.Contains(message, word) {
			return false
		}
	}
	return strings.Contains(message, v.GetDescription())
}

func isNotFound(err error) bool { return status.Code(err) == codes.NotFound }
