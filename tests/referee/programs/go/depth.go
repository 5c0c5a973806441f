// Calls itself as deep as the first argument says; Go's stacks grow as they must.
package main

import (
	"fmt"
	"os"
	"strconv"
)

type link struct {
	next  *link
	value uint64
}

func total(first *link) uint64 {
	if first == nil {
		return 1
	}
	return total(first.next)*3 + first.value
}

func main() {
	depth := 10
	if len(os.Args) > 1 {
		depth, _ = strconv.Atoi(os.Args[1])
	}
	var first *link
	for at := 0; at < depth; at++ {
		first = &link{first, uint64(at) * 7}
	}
	fmt.Printf("%d deep: %d\n", depth, total(first))
}
