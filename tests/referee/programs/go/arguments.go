// What a program is told when it starts, and what it cannot have.
package main

import (
	"fmt"
	"net"
	"os"
)

func main() {
	for at, argument := range os.Args {
		// The first is the name that the program was started by, which is the host's to choose.
		if at > 0 {
			fmt.Printf("%d: %d bytes, %q\n", at, len(argument), argument)
		}
	}
	fmt.Println(len(os.Environ()), "variables")
	_, err := os.Open("anything")
	fmt.Println("open:", err != nil)
	fmt.Println("create:", os.WriteFile("anything", nil, 0o666) != nil)
	_, err = net.Dial("tcp", "127.0.0.1:9")
	fmt.Println("dial:", err != nil)
	about, err := os.Stdin.Stat()
	fmt.Println("stat:", err, err == nil && about.Size() == 0)
}
