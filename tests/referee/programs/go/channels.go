// Goroutines that hand their work on through channels, while the collector cleans up behind them.
package main

import (
	"bufio"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
)

type found struct {
	word  string
	lines []int
}

func main() {
	type line struct {
		number int
		text   string
	}
	lines := make(chan line, 3)
	words := make(chan found)
	var workers sync.WaitGroup
	for worker := 0; worker < 4; worker++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for line := range lines {
				for _, word := range strings.Fields(line.text) {
					words <- found{strings.ToUpper(word), []int{line.number}}
				}
			}
		}()
	}
	go func() {
		scanner := bufio.NewScanner(os.Stdin)
		scanner.Buffer(make([]byte, 0, 1<<16), 1<<25)
		for number := 1; scanner.Scan(); number++ {
			lines <- line{number, scanner.Text()}
		}
		close(lines)
		workers.Wait()
		close(words)
	}()
	counts := map[string][]int{}
	for found := range words {
		counts[found.word] = append(counts[found.word], found.lines...)
	}
	sorted := make([]string, 0, len(counts))
	for word := range counts {
		sorted = append(sorted, word)
	}
	sort.Strings(sorted)
	for _, word := range sorted {
		sort.Ints(counts[word])
		fmt.Println(word, len(counts[word]), counts[word][0])
	}
	var mutex sync.Mutex
	var all sync.WaitGroup
	sum := 0
	for at := 0; at < 1000; at++ {
		all.Add(1)
		go func() {
			defer all.Done()
			mutex.Lock()
			sum += at
			mutex.Unlock()
		}()
	}
	all.Wait()
	fmt.Println(len(counts), "words, sum", sum)
}
