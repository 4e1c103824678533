// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"cmp"
	"strings"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/protobuf/proto"

	"mcr/northbound/telemetry"
)

// Origins. The first three mean the same tree; with OpenConfig's, answers use OpenConfig's module names.
const (
	originNone       = ""
	originMCR        = "mcr"
	originOpenConfig = "openconfig"
	originCLI        = "mcr_cli"
	originCLIAlias   = "cli" // what gnmic --replace-cli sends
)

// originAliases are the modules of the tree's top nodes: clients such as pygnmi make an origin of the module name with which a
// path begins.
var originAliases = map[string]string{
	"mcr-interfaces":              originMCR,
	"mcr-network-instance":        originMCR,
	"openconfig-interfaces":       originOpenConfig,
	"openconfig-network-instance": originOpenConfig,
}

// meaning returns the origin that an alias stands for, and any other as it is.
func meaning(origin string) string {
	if o, ok := originAliases[origin]; ok {
		return o
	}
	return origin
}

// checkPrefix refuses what no prefix may have.
func checkPrefix(prefix *gpb.Path) error {
	if isOld(prefix) {
		return refuse(errInvalid, "prefix: the field element is deprecated: use elem")
	}
	return checkOrigin("prefix", prefix.GetOrigin())
}

func checkOrigin(where, origin string) error {
	switch meaning(origin) {
	case originNone, originMCR, originOpenConfig, originCLI, originCLIAlias:
		return nil
	}
	return refuse(errInvalid, "%s: unknown origin %q: use none, %q or %q", where, origin, originMCR, originOpenConfig)
}

// isOld says whether a path is in the form that gNMI 0.4 gave up, and in no other: gnmi_cli sends both (G26).
func isOld(p *gpb.Path) bool { return len(oldElements(p)) > 0 && len(p.GetElem()) == 0 }

// join puts prefix and path together and returns the origin that applies. The same origin in both is harmless, and what
// aiognmi sends (G23).
func join(prefix, path *gpb.Path) (elems []*gpb.PathElem, origin string, err error) {
	name := telemetry.FormatElems(path.GetElem())
	switch {
	case isOld(path):
		return nil, "", refuse(errInvalid, "path %q: the field element is deprecated: use elem", strings.Join(oldElements(path), "/"))
	case path.GetTarget() != "":
		return nil, "", refuse(errInvalid, "%s: target belongs into the prefix, not into a path", name)
	case prefix.GetOrigin() != "" && path.GetOrigin() != "" && prefix.GetOrigin() != path.GetOrigin():
		return nil, "", refuse(errInvalid, "%s: origin %q in the prefix, %q in the path", name, prefix.GetOrigin(), path.GetOrigin())
	}
	if err := checkOrigin(name, path.GetOrigin()); err != nil {
		return nil, "", err
	}
	elems = make([]*gpb.PathElem, 0, len(prefix.GetElem())+len(path.GetElem()))
	elems = append(append(elems, prefix.GetElem()...), path.GetElem()...)
	return elems, cmp.Or(path.GetOrigin(), prefix.GetOrigin()), nil
}

// query is join for Get and Subscribe: the path is checked against the schema.
func (s *Server) query(prefix, path *gpb.Path) (*telemetry.Pattern, string, error) {
	elems, origin, err := join(prefix, path)
	if err != nil {
		return nil, "", err
	}
	if isCLI(origin) {
		return nil, "", refuse(errUnimplemented, "origin %q is for Set only", origin)
	}
	p, err := s.schema.Resolve(elems)
	return p, origin, err
}

func isCLI(origin string) bool { return origin == originCLI || origin == originCLIAlias }

// answerPrefix echoes target and origin, and is nil if the client sent neither.
func answerPrefix(target, origin string) *gpb.Path {
	if target == "" && origin == "" {
		return nil
	}
	return &gpb.Path{Target: target, Origin: origin}
}

// encodings are those of Get, Set and Subscribe.
var encodings = []gpb.Encoding{gpb.Encoding_JSON, gpb.Encoding_JSON_IETF, gpb.Encoding_PROTO}

// encoding returns the form of values for what the client asked.
func encoding(e gpb.Encoding, origin string) (telemetry.Encoding, error) {
	switch e {
	case gpb.Encoding_JSON:
		return telemetry.EncodingJSON, nil
	case gpb.Encoding_JSON_IETF:
		if meaning(origin) == originOpenConfig {
			return telemetry.EncodingAlias, nil
		}
		return telemetry.EncodingIETF, nil
	case gpb.Encoding_PROTO:
		return telemetry.EncodingProto, nil
	}
	return 0, refuse(errUnimplemented, "encoding %v: use JSON, JSON_IETF or PROTO", e)
}

// openconfigModels are names of models that use_models accepts for ours.
var openconfigModels = map[string]string{
	"openconfig-interfaces":       "mcr-interfaces",
	"openconfig-network-instance": "mcr-network-instance",
	"openconfig-pim":              "mcr-network-instance",
	"openconfig-igmp":             "mcr-network-instance",
}

// OpenConfigNames is the naming of the tree with the origin "openconfig".
func OpenConfigNames() telemetry.Alias {
	return telemetry.Alias{
		Modules: map[string]string{
			"/interfaces": "openconfig-interfaces",
			"/interfaces/interface/subinterfaces/subinterface/ipv4": "openconfig-if-ip",
			"/network-instances": "openconfig-network-instance",
		},
		Identities: map[string]string{
			"mcr-types:PIM":              "openconfig-policy-types:PIM",
			"mcr-types:IGMP":             "openconfig-policy-types:IGMP",
			"mcr-types:DEFAULT_INSTANCE": "openconfig-network-instance-types:DEFAULT_INSTANCE",
			"mcr-types:PIM_MODE_SPARSE":  "openconfig-pim-types:PIM_MODE_SPARSE",
			"mcr-types:ethernetCsmacd":   "iana-if-type:ethernetCsmacd",
			"mcr-types:softwareLoopback": "iana-if-type:softwareLoopback",
			"mcr-types:l2vlan":           "iana-if-type:l2vlan",
			"mcr-types:ieee8023adLag":    "iana-if-type:ieee8023adLag",
			"mcr-types:tunnel":           "iana-if-type:tunnel",
			"mcr-types:bridge":           "iana-if-type:bridge",
			"mcr-types:ppp":              "iana-if-type:ppp",
			"mcr-types:other":            "iana-if-type:other",
		},
	}
}

// namespaces returns the modules whose nodes use_models asks for; nil is all. A model that has no nodes of its own, only
// groupings, is part of mcr.
func (s *Server) namespaces(models []*gpb.ModelData) (map[string]bool, error) {
	if len(models) == 0 {
		return nil, nil
	}
	out := map[string]bool{}
	for _, m := range models {
		name := m.GetName()
		if ours, ok := openconfigModels[name]; ok {
			out[ours] = true
			continue
		}
		if !s.hasModel(m) {
			return nil, refuse(errInvalid, "use_models: unknown model %s %s", name, m.GetVersion())
		}
		if !s.ownsNodes[name] {
			name = "mcr"
		}
		out[name] = true
	}
	return out, nil
}

func (s *Server) hasModel(want *gpb.ModelData) bool {
	for _, m := range s.models {
		if m.GetName() == want.GetName() && (want.GetVersion() == "" || want.GetVersion() == m.GetVersion()) {
			return true
		}
	}
	return false
}

// version reads the version of gNMI from the compiled proto file.
func version() string {
	v, _ := proto.GetExtension(gpb.File_github_com_openconfig_gnmi_proto_gnmi_gnmi_proto.Options(), gpb.E_GnmiService).(string)
	return v
}
