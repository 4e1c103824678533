// SPDX-License-Identifier: Apache-2.0

package uring

import (
	"errors"
	"fmt"
)

// Feature is one thing that a kernel may lack. They may be or-ed.
type Feature uint32

// Features, in the order of the kernels that had them first.
const (
	RegisteredFiles Feature = 1 << iota // IORING_REGISTER_FILES with empty slots, Linux 5.5
	TimedWait                           // a wait that is bounded (IORING_FEAT_EXT_ARG), 5.11
	CQESkip                             // no completion of a success (IORING_FEAT_CQE_SKIP), 5.17
	SubmitAll                           // IORING_SETUP_SUBMIT_ALL, 5.18
	CoopTaskrun                         // IORING_SETUP_COOP_TASKRUN and TASKRUN_FLAG, 5.19
	BufferRing                          // IORING_REGISTER_PBUF_RING, 5.19
	Multishot                           // RECVMSG that goes on, 6.0; needs BufferRing
	SingleIssuer                        // IORING_SETUP_SINGLE_ISSUER, 6.0
	DeferTaskrun                        // IORING_SETUP_DEFER_TASKRUN, 6.1; needs SingleIssuer
	ZeroCopy                            // SENDMSG_ZC, 6.1
	ZeroCopyReport                      // it says whether the kernel copied all the same (IORING_SEND_ZC_REPORT_USAGE), 6.2
	NoSQArray                           // IORING_SETUP_NO_SQARRAY, 6.6
	ZeroCopyFixed                       // SENDMSG_ZC from registered buffers (IORING_RECVSEND_FIXED_BUF), 6.15
	endOfFeatures

	// AllFeatures names every one.
	AllFeatures = endOfFeatures - 1
)

var featureNames = [...]string{
	"registered-files", "timed-wait", "cqe-skip", "submit-all", "coop-taskrun", "buffer-ring", "multishot-recvmsg", "single-issuer",
	"defer-taskrun", "zero-copy", "zero-copy-report", "no-sqarray", "zero-copy-fixed",
}

// Features calls f with each single one of fs and its name, such as "multishot-recvmsg".
func (fs Feature) Features(f func(Feature, string)) {
	for i, name := range featureNames {
		if one := Feature(1 << i); fs&one != 0 {
			f(one, name)
		}
	}
}

func (fs Feature) String() (s string) {
	fs.Features(func(_ Feature, name string) {
		if s != "" {
			s += " "
		}
		s += name
	})
	return s
}

// Has says that fs holds all of what.
func (fs Feature) Has(what Feature) bool { return fs&what == what }

// ErrTakenAway is the reason why a feature is missing that Probe or Open was told to do without.
var ErrTakenAway = errors.New("taken away")

// Support is what Probe found out.
type Support struct {
	Has    Feature
	reason [len(featureNames)]error
}

// Missing names what is not there, each with the reason: "zero-copy: invalid argument".
func (s *Support) Missing() (names []string) {
	(AllFeatures &^ s.Has).Features(func(one Feature, name string) {
		why := errors.New("the kernel does not offer it")
		for i := range s.reason {
			if one == 1<<i && s.reason[i] != nil {
				why = s.reason[i]
			}
		}
		names = append(names, fmt.Sprintf("%s: %v", name, why))
	})
	return names
}

// Names of what is there.
func (s *Support) Names() (names []string) {
	s.Has.Features(func(_ Feature, name string) { names = append(names, name) })
	return names
}

// found notes how the trial of one feature ended.
func (s *Support) found(one Feature, err error) {
	for i := range s.reason {
		if one == 1<<i {
			s.reason[i] = err
		}
	}
	if err == nil {
		s.Has |= one
	}
}
