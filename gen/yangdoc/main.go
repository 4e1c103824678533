// SPDX-License-Identifier: Apache-2.0

// Command yangdoc writes what people read about the YANG modules: docs/tree.md, every node of the tree, and
// docs/openconfig.md, how the tree differs from OpenConfig's where the paths are OpenConfig's.
//
// OpenConfig's side is the list openconfig.txt beside this file, so that no module of OpenConfig's is needed. It is made anew
// from a checkout of github.com/openconfig/public:
//
//	go run ./gen/yangdoc -public CHECKOUT -revision COMMIT
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/openconfig/goyang/pkg/yang"
)

func main() {
	modules := flag.String("yang", "../yang", "folder with the YANG modules")
	out := flag.String("out", "../docs", "folder to write to")
	public := flag.String("public", "", "checkout of OpenConfig's modules; writes openconfig.txt and nothing else")
	revision := flag.String("revision", "", "commit of that checkout")
	flag.Parse()
	if err := run(*modules, *out, *public, *revision); err != nil {
		fmt.Fprintln(os.Stderr, "yangdoc:", err)
		os.Exit(1)
	}
}

func run(modules, out, public, revision string) error {
	if public != "" {
		text, err := extract(public, revision)
		if err != nil {
			return err
		}
		return os.WriteFile("gen/yangdoc/openconfig.txt", text, 0o644)
	}
	pages, err := generate(modules)
	if err != nil {
		return err
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(out, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the pages by their file names.
func generate(dir string) (map[string][]byte, error) {
	tops, err := load([]string{dir}, "mcr", "mcr-interfaces", "mcr-network-instance")
	if err != nil {
		return nil, err
	}
	oc, err := compare(tops)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{"tree.md": treePage(tops), "openconfig.md": oc}, nil
}

// load reads modules, which it finds in the folders, and returns their entries in this order.
func load(dirs []string, names ...string) ([]*yang.Entry, error) {
	ms := yang.NewModules()
	ms.AddPath(dirs...)
	for _, n := range names {
		if err := ms.Read(n); err != nil {
			return nil, err
		}
	}
	if errs := ms.Process(); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	var tops []*yang.Entry
	for _, n := range names {
		e, errs := ms.GetModule(n)
		if len(errs) > 0 {
			return nil, errors.Join(errs...)
		}
		tops = append(tops, e)
	}
	return tops, nil
}
