// Sleeps, waits for timers, and looks at clocks. It says only what must hold on every clock.
package main

import (
	"fmt"
	"time"
)

func main() {
	began := time.Now()
	time.Sleep(3 * time.Millisecond)
	fmt.Println("long enough:", time.Since(began) >= 3*time.Millisecond)
	select {
	case <-time.After(2 * time.Millisecond):
		fmt.Println("the timer came")
	case <-make(chan int):
		fmt.Println("nobody sends")
	}
	order := make(chan int)
	for at := 3; at > 0; at-- {
		go func() {
			time.Sleep(time.Duration(at) * 20 * time.Millisecond)
			order <- at
		}()
	}
	fmt.Println("in order:", <-order, <-order, <-order)
	ticker := time.NewTicker(time.Millisecond)
	for range 3 {
		<-ticker.C
	}
	ticker.Stop()
	again := time.Now()
	turns := 0
	for time.Since(again) < 2*time.Millisecond {
		turns++
	}
	fmt.Println("some turns:", turns > 0)
	fmt.Println("this century:", time.Now().Year() > 2000)
}
