// SPDX-License-Identifier: Apache-2.0

// Command protogen writes the Go code of a .proto file.
//
// It compiles the file itself and runs the generators that go.mod names, so that no protoc is needed. Imports are looked for in
// the packages linked in here: gNMI's messages come from the module that the daemon uses.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	_ "github.com/openconfig/gnmi/proto/gnmi" // what the file imports
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/pluginpb"
)

// plugins are tools of go.mod.
var plugins = []string{"protoc-gen-go", "protoc-gen-go-grpc"}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: protogen FILE.proto")
		os.Exit(2)
	}
	files, err := generate(context.Background(), os.Args[1])
	for name, text := range files {
		if err == nil {
			err = os.WriteFile(name, text, 0o644)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "protogen:", err)
		os.Exit(1)
	}
}

// generate returns the Go files of a .proto file, by name; the name of the .proto file is relative to the working directory.
func generate(ctx context.Context, name string) (map[string][]byte, error) {
	compiler := protocompile.Compiler{
		Resolver:       protocompile.CompositeResolver{&protocompile.SourceResolver{}, protocompile.ResolverFunc(linkedIn)},
		SourceInfoMode: protocompile.SourceInfoStandard, // comments
	}
	compiled, err := compiler.Compile(ctx, name)
	if err != nil {
		return nil, err
	}
	req := &pluginpb.CodeGeneratorRequest{FileToGenerate: []string{name}, Parameter: proto.String("paths=source_relative")}
	for _, f := range withImports(compiled[0], map[string]bool{}) {
		req.ProtoFile = append(req.ProtoFile, protoutil.ProtoFromFileDescriptor(f))
	}
	in, err := proto.Marshal(req)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, plugin := range plugins {
		resp, err := run(ctx, plugin, in)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", plugin, err)
		}
		for _, f := range resp.GetFile() {
			files[f.GetName()] = []byte(f.GetContent())
		}
	}
	return files, nil
}

func linkedIn(path string) (protocompile.SearchResult, error) {
	d, err := protoregistry.GlobalFiles.FindFileByPath(path)
	return protocompile.SearchResult{Desc: d}, err
}

// withImports lists a file after all that it imports.
func withImports(f protoreflect.FileDescriptor, seen map[string]bool) (out []protoreflect.FileDescriptor) {
	if seen[f.Path()] {
		return nil
	}
	seen[f.Path()] = true
	for i := range f.Imports().Len() {
		out = append(out, withImports(f.Imports().Get(i).FileDescriptor, seen)...)
	}
	return append(out, f)
}

// run is protoc's protocol with its plugins: one message in, one out.
func run(ctx context.Context, plugin string, in []byte) (*pluginpb.CodeGeneratorResponse, error) {
	cmd := exec.CommandContext(ctx, "go", "tool", plugin)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	resp := &pluginpb.CodeGeneratorResponse{}
	if err := proto.Unmarshal(out, resp); err != nil {
		return nil, err
	}
	if resp.Error != nil {
		return nil, fmt.Errorf("%s", resp.GetError())
	}
	return resp, nil
}
