// SPDX-License-Identifier: Apache-2.0

package sock

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Arena hands out zeroed memory outside the Go heap. The kernel may keep its addresses while Go code runs. Not safe for
// use by several goroutines at once.
type Arena struct {
	maps  [][]byte
	bytes uint64
}

// Bytes returns n bytes, page aligned. Pages that nobody touches cost nothing.
func (a *Arena) Bytes(n int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, (max(n, 1)+4095)&^4095, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", n, err)
	}
	a.maps = append(a.maps, b)
	a.bytes += uint64(len(b))
	return b[:n], nil
}

// Contiguous is Bytes with the pages side by side in memory too, within one huge page, as far as the kernel has any to give.
// n is at most 2 MiB.
func (a *Arena) Contiguous(n int) ([]byte, error) {
	const huge = 2 << 20
	b, err := a.Bytes(2 * huge)
	if err != nil {
		return nil, err
	}
	start := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (huge - 1)
	b = b[start:][:huge]
	unix.Madvise(b, unix.MADV_HUGEPAGE) //nolint:errcheck // then there are small pages
	return b[:n:n], nil
}

// Size is what was handed out, in bytes.
func (a *Arena) Size() uint64 { return a.bytes }

// Free unmaps all of it. Nothing that was handed out may be touched afterwards.
func (a *Arena) Free() {
	for _, b := range a.maps {
		unix.Munmap(b) //nolint:errcheck // a mapping of our own; there is nothing to be done
	}
	a.maps, a.bytes = nil, 0
}

// Make returns n zeroed T from the arena. The garbage collector does not look into them, so that a T may point into
// arenas but not to the Go heap.
func Make[T any](a *Arena, n int) ([]T, error) {
	b, err := a.Bytes(n * int(unsafe.Sizeof(*new(T))))
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n), nil
}
