// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// store holds runs, and keeps them in a folder if it has one:
//
//	machine.json   on what they were made        runs.jsonl     one run a line, as they come
//	results.json   what was made of them         results.svg    the picture
type store struct {
	dir     string
	machine machine
	runs    []result
	file    *os.File
}

// openStore goes on with the folder's runs, if they are of the same machine and the same mcrd.
func openStore(dir string, m machine) (*store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	s, err := readStore(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s = &store{dir: dir, machine: m}
		if err := writeJSON(filepath.Join(dir, "machine.json"), m); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	case !s.machine.same(m):
		return nil, fmt.Errorf("%s holds runs of another machine, kernel or mcrd, or of the other kind, quick or not (%s, %s): choose another folder with -out, or remove it",
			dir, s.machine.Kernel, s.machine.Version)
	}
	s.file, err = os.OpenFile(filepath.Join(dir, "runs.jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	return s, err
}

// readStore reads a folder.
func readStore(dir string) (*store, error) {
	s := &store{dir: dir}
	b, err := os.ReadFile(filepath.Join(dir, "machine.json"))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &s.machine); err != nil {
		return nil, fmt.Errorf("%s/machine.json: %w", dir, err)
	}
	f, err := os.Open(filepath.Join(dir, "runs.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		var r result
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			continue // the last line of one that was killed
		}
		s.put(r)
	}
	return s, nil
}

// put replaces an earlier run of the same key: that one had failed.
func (s *store) put(r result) {
	for i := range s.runs {
		if s.runs[i].key() == r.key() {
			s.runs[i] = r
			return
		}
	}
	s.runs = append(s.runs, r)
}

func (s *store) find(k key) (result, bool) {
	for _, r := range s.runs {
		if r.key() == k {
			return r, true
		}
	}
	return result{}, false
}

// add keeps a run, on disk too.
func (s *store) add(r result) error {
	s.put(r)
	if s.file == nil {
		return nil
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = s.file.Write(append(b, '\n'))
	return err
}

// Close closes the file of runs.
func (s *store) Close() {
	if s.file != nil {
		s.file.Close()
	}
}

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
