// Command conformance compares a JSON report of critest with the file that says
// what each spec is expected to do, prints the difference, and can write it.
//
//	conformance --report FILE [--expected FILE [--accept] [--focused]] [--tally FILE]
//
// Without --expected it prints the counts and what failed. Exit status: 0 as
// expected, 1 not, 2 when a file cannot be used.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"sort"
)

func main() {
	report := flag.String("report", "", "JSON report of critest (-ginkgo.json-report)")
	expectedFile := flag.String("expected", "", "file to compare with")
	accept := flag.Bool("accept", false, "write what the run showed into the file, keeping its reasons")
	focused := flag.Bool("focused", false, "only a part of the specs ran: the others are not missing")
	tally := flag.String("tally", "", "append \"conformance PASSED FAILED SKIPPED\" to this file")
	flag.Parse()
	log.SetFlags(0)
	log.SetPrefix("conformance: ")

	results, err := readReport(*report)
	if err != nil {
		fatal(err)
	}
	if len(results) == 0 {
		fatal(fmt.Errorf("%s holds no spec that ran", *report))
	}
	printCounts(results)
	if *expectedFile == "" {
		printFailures(results)
		return
	}
	expected, err := readExpected(*expectedFile)
	if err != nil && !(*accept && os.IsNotExist(err)) {
		fatal(err)
	}
	if *accept {
		if err := writeExpected(*expectedFile, accepted(expected, results, *focused)); err != nil {
			fatal(err)
		}
		fmt.Printf("written: %s\n", *expectedFile)
		return
	}
	differences := compare(expected, results, *focused)
	if err := writeTally(*tally, expected, results, len(differences)); err != nil {
		fatal(err)
	}
	for _, difference := range differences {
		fmt.Println(difference)
	}
	if len(differences) > 0 {
		fmt.Printf("\n%d specs are not as %s says. If that is right: make conformance-accept, and give reasons in the file.\n",
			len(differences), *expectedFile)
		os.Exit(1)
	}
	fmt.Printf("all as %s says\n", *expectedFile)
}

func fatal(err error) {
	log.Print(err)
	os.Exit(2)
}

func sorted[V any](specs map[string]V) []string {
	names := make([]string, 0, len(specs))
	for name := range specs {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func printCounts(results map[string]result) {
	counts := map[side]int{}
	for _, result := range results {
		counts[result.side]++
	}
	fmt.Printf("critest: %d specs: %d passed, %d failed, %d skipped\n",
		len(results), counts[passes], counts[notYet], counts[skipped])
}

func printFailures(results map[string]result) {
	for _, name := range sorted(results) {
		if results[name].side == notYet {
			fmt.Printf("  failed: %s\n          %s\n", name, results[name].message)
		}
	}
}

// agrees says whether a result is what was expected: a failure is expected for
// two reasons.
func agrees(expected side, actual side) bool {
	return expected == actual || expected == cannot && actual == notYet
}

func verb(result result) string {
	switch result.side {
	case passes:
		return "passes"
	case skipped:
		return "is skipped: " + result.message
	default:
		return "fails: " + result.message
	}
}

// compare gives a line for each spec that is not as expected.
func compare(expected map[string]expectation, results map[string]result, focused bool) []string {
	var differences []string
	for _, name := range sorted(results) {
		wanted, known := expected[name]
		switch {
		case !known:
			differences = append(differences, fmt.Sprintf("+ %s\n    is new and %s", name, verb(results[name])))
		case !agrees(wanted.side, results[name].side):
			differences = append(differences, fmt.Sprintf("! %s\n    expected: %s %s\n    now it %s",
				name, wanted.side, wanted.reason, verb(results[name])))
		}
	}
	for _, name := range sorted(expected) {
		if _, ran := results[name]; !ran && !focused {
			differences = append(differences, fmt.Sprintf("- %s\n    expected: %s, but it is not in this run", name, expected[name].side))
		}
	}
	return differences
}

// accepted is the new content of the file. A spec that stays on its side keeps
// its reason; one that did not run stays only when a part was asked for.
func accepted(expected map[string]expectation, results map[string]result, focused bool) map[string]expectation {
	written := map[string]expectation{}
	if focused {
		for name, kept := range expected {
			written[name] = kept
		}
	}
	for name, result := range results {
		if kept, known := expected[name]; known && agrees(kept.side, result.side) {
			written[name] = kept
			continue
		}
		written[name] = expectation{result.side, result.message}
	}
	return written
}

// writeTally counts a spec as failed when it is not as expected, and as skipped
// when it is expected not to pass.
func writeTally(file string, expected map[string]expectation, results map[string]result, differences int) error {
	if file == "" {
		return nil
	}
	passed := 0
	for name, result := range results {
		if result.side == passes && expected[name].side == passes {
			passed++
		}
	}
	left := 0
	for name, result := range results {
		if result.side != passes && agrees(expected[name].side, result.side) {
			left++
		}
	}
	target, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(target, "conformance %d %d %d\n", passed, differences, left); err != nil {
		return err
	}
	return target.Close()
}
