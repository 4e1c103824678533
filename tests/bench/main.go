// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage:
  bench lab [flags] [name | name=command ...]   make the namespaces, run and compare forwarders
  bench fwd KIND [flags]                         a reference forwarder
Names: mcrd, and the reference forwarders naive, mmsg, gso, uring-gso. See README.md.
`

func main() {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	// A bench may stop at the first error of its set-up: the panics of must become messages.
	defer func() {
		if err, ok := recover().(error); ok {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
	}()
	var err error
	switch os.Args[1] {
	case "lab":
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = runLab(ctx, os.Args[2:])
	case "fwd":
		err = runFwd(os.Args[2:])
	default:
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	check(err)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func must[T any](v T, err error) T {
	check(err)
	return v
}
