// SPDX-License-Identifier: Apache-2.0

package interop_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"mcr/tests/lab"
)

// venv returns a Python that has what testdata/requirements.txt names, or skips the test, loudly, where Python or its
// registry is not there. The environment is kept in bin/, as other things that were built are.
func venv(t *testing.T) string {
	t.Helper()
	python, err := makeVenv()
	if err != nil {
		t.Skipf("NO PYTHON CLIENTS TESTED: %v", err)
	}
	return python
}

var makeVenv = sync.OnceValues(func() (string, error) {
	root, err := lab.Root()
	if err != nil {
		return "", err
	}
	want, err := os.ReadFile("testdata/requirements.txt")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, "bin", "venv")
	python, list := filepath.Join(dir, "bin", "python"), filepath.Join(dir, "requirements.txt")
	if have, err := os.ReadFile(list); err == nil && bytes.Equal(have, want) {
		return python, nil
	}
	if out, err := exec.Command("python3", "-m", "venv", "--clear", dir).CombinedOutput(); err != nil {
		return "", lastLine(out, err)
	}
	pip := exec.Command(python, "-m", "pip", "install", "--quiet", "--retries", "1", "-r", "testdata/requirements.txt")
	if out, err := pip.CombinedOutput(); err != nil {
		return "", lastLine(out, err)
	}
	return python, os.WriteFile(list, want, 0o644)
})

func lastLine(out []byte, err error) error {
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	return &exec.Error{Name: string(lines[len(lines)-1]), Err: err}
}

// python is a Python library at work: client.py with a line for each question.
type python struct {
	t       *testing.T
	in      io.Writer
	answers chan answer
}

// answer is what client.py says.
type answer struct {
	Values         map[string]any
	Deleted, Ops   []string
	Encodings      []string
	Models, Synced int
	Version        string
	Error, Message string
	text           string
}

// openPython starts client.py on the router.
func openPython(t *testing.T, tg *target, library, host, port string) *python {
	t.Helper()
	cmd := exec.Command(venv(t), "testdata/client.py", library, host, port)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var words bytes.Buffer
	cmd.Stderr = &words
	if err := tg.rtr.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	p := &python{t: t, in: in, answers: make(chan answer)}
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(p.answers)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			a := answer{text: lines.Text()}
			if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
				a.Error = err.Error()
			}
			p.answers <- a
		}
	})
	t.Cleanup(func() {
		in.Close()
		kill := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
		for range p.answers { // none is wanted any more
		}
		wg.Wait()
		_ = cmd.Wait() // how it ends after its last answer does not matter
		kill.Stop()
		if t.Failed() {
			t.Logf("client.py: %s", words.String())
		}
	})
	return p
}

// ask asks one thing: what to do, and its arguments by name.
func (p *python) ask(do string, args map[string]any) answer {
	p.t.Helper()
	q := map[string]any{"do": do}
	for k, v := range args {
		q[k] = v
	}
	line, err := json.Marshal(q)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		p.t.Fatalf("%s: %v", line, err)
	}
	select {
	case a, ok := <-p.answers:
		if !ok {
			p.t.Fatalf("%s: client.py has ended", line)
		}
		return a
	case <-time.After(time.Minute):
		p.t.Fatalf("%s: no answer", line)
	}
	return answer{}
}
