// The ways in which a program can end, after it has put something out.
package main

import (
	"fmt"
	"os"
	"strconv"
)

func main() {
	how, number := "return", 0
	if len(os.Args) > 1 {
		how = os.Args[1]
	}
	if len(os.Args) > 2 {
		number, _ = strconv.Atoi(os.Args[2])
	}
	fmt.Println("ending by", how)
	fmt.Fprintln(os.Stderr, "said to the errors")
	var nobody []int
	switch how {
	case "exit", "at-once", "unflushed":
		os.Exit(number)
	case "abort", "trap":
		panic("as asked")
	case "divide":
		fmt.Println(100 / number)
	case "outside":
		fmt.Println(nobody[number])
	case "error":
		<-make(chan int)
	default:
		os.Exit(number)
	}
}
