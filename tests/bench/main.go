// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"mcr/tests/bench/peer"
)

const usage = `usage:
  bench run [-quick] [-out FOLDER] [-only WORDS]   what make bench measures; goes on where it stopped
  bench report FOLDER                              judge a folder's runs, and fill docs/performance.md with them
  bench lab [flags] [name | name=command ...]      a comparison of one's own
  bench fwd KIND [flags]                           a reference forwarder
See tests/bench/README.md.
`

func main() {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	switch args := os.Args[2:]; os.Args[1] {
	case "run":
		err = runSuite(ctx, args)
	case "report":
		err = runReport(args)
	case "lab":
		err = runLab(ctx, args)
	case "fwd":
		stop() // a forwarder ends as signals end programs
		err = peer.Run(args)
	default:
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
