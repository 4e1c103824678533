// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"mcr/tests/lab"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	context.AfterFunc(ctx, cancel) // a second Ctrl-C ends at once; the kernel cleans up
	begin := time.Now()
	code := lab.CheckLeaks(func() int {
		if err := lab.Demo(ctx, "the demo", os.Stdout, func(t lab.TB) { build(t).play() }); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	})
	if code == 0 {
		fmt.Printf("\nAll figures are right. %.0f seconds; namespaces, devices and processes are gone.\n", time.Since(begin).Seconds())
	}
	return code
}
