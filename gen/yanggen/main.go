// SPDX-License-Identifier: Apache-2.0

// Command yanggen writes the ygot structs of the YANG modules.
//
// It calls ygot's generator as a library, because the stock command writes the path of the module cache into its output,
// which would give every machine another file, and output that is not gofmt-clean.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"go/format"
	"os"
	"path/filepath"

	"github.com/openconfig/ygot/genutil"
	"github.com/openconfig/ygot/gogen"
	"github.com/openconfig/ygot/ygen"
)

func main() {
	yang := flag.String("yang", "../yang", "folder with the YANG modules")
	out := flag.String("out", "oc.go", "file to write")
	flag.Parse()
	code, err := generate(*yang)
	if err == nil {
		err = os.WriteFile(*out, code, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "yanggen:", err)
		os.Exit(1)
	}
}

// generate returns the formatted source of package gen for the modules in dir.
func generate(dir string) ([]byte, error) {
	var roots []string
	for _, m := range []string{"mcr.yang", "mcr-interfaces.yang", "mcr-network-instance.yang"} {
		roots = append(roots, filepath.Join(dir, m))
	}
	opts := ygen.IROptions{TransformationOptions: ygen.TransformationOpts{
		// Compressed paths would merge config and state of a leaf into one field; a target must serve both.
		CompressBehaviour:                    genutil.Uncompressed,
		GenerateFakeRoot:                     true,
		UseDefiningModuleForTypedefEnumNames: true,
		EnumerationsUseUnderscores:           true,
	}}
	code, errs := gogen.New("yanggen", opts, gogen.GoOpts{
		PackageName: "gen", ValidateFunctionName: "Validate",
		GenerateJSONSchema: true, IncludeModelData: true, AddYangPresence: true,
		GenerateSimpleUnions: true, AppendEnumSuffixForSimpleUnionEnums: true,
		GenerateGetters: true, GenerateLeafGetters: true, GenerateDeleteMethod: true,
	}).Generate(roots, []string{dir})
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	var b bytes.Buffer
	b.WriteString(code.CommonHeader)
	b.WriteString(code.OneOffHeader)
	for _, s := range code.Structs {
		b.WriteString(s.String())
	}
	for _, e := range code.Enums {
		b.WriteString(e)
	}
	b.WriteString(code.EnumMap)
	b.WriteString(code.JSONSchemaCode)
	b.WriteString(code.EnumTypeMap)
	return format.Source(b.Bytes())
}
