// SPDX-License-Identifier: Apache-2.0

package access

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/bcrypt"
)

// maxPassword is what bcrypt looks at, in bytes. A longer one is refused, since its tail would not matter.
const maxPassword = 72

// cost is that of new hashes: some 50 ms of one core.
var cost = bcrypt.DefaultCost

// Hash returns what the users file keeps of a password.
func Hash(password string) (string, error) {
	switch {
	case password == "":
		return "", errors.New("an empty password")
	case len(password) > maxPassword:
		return "", fmt.Errorf("a password of %d bytes: at most %d count", len(password), maxPassword)
	}
	h, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	return string(h), err
}

// maxCost bounds the time that one login takes: 13 is some 0.4 s.
const maxCost = 13

func isHash(s string) bool {
	c, err := bcrypt.Cost([]byte(s))
	return err == nil && c <= maxCost
}

// nobody is the hash of no password: comparing with it takes as long as with a user's, so that the time does not tell whether
// there is such a user.
var nobody = []byte("$2a$10$zzzzzzzzzzzzzzzzzzzzzuzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz")

// matches takes the same time for a wrong password as for a user that does not exist.
func matches(hash, password string) bool {
	h := []byte(hash)
	if hash == "" {
		h = nobody
	}
	err := bcrypt.CompareHashAndPassword(h, []byte(password[:min(len(password), maxPassword)]))
	return err == nil && hash != "" && password != "" && len(password) <= maxPassword
}
