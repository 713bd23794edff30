package main

import (
	"bufio"
	"fmt"
	"os"
	"sort"
	"strings"
)

// side is what happens to a spec, or what is expected to.
type side string

const (
	passes  side = "passes"
	notYet  side = "not yet" // it fails, and a later version of Carpel will pass it
	cannot  side = "cannot"  // it fails on such a machine, whatever Carpel does
	skipped side = "skipped" // critest itself leaves it out
)

// expectation is a line of the file: a spec, its side, and why it is there.
type expectation struct {
	side   side
	reason string
}

const header = `# What each spec of critest does with Carpel in a node in a box: "make conformance" compares.
# Tab separated: spec, side, reason. Sides: passes; not yet (fails, to be built);
# cannot (fails here whatever Carpel does); skipped (critest leaves it out).
# A spec that changes sides fails the run until "make conformance-accept" has
# written the new side here. Reasons are kept while the side stays.
`

func readExpected(file string) (map[string]expectation, error) {
	source, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer source.Close()
	expected := map[string]expectation{}
	scanner := bufio.NewScanner(source)
	for number := 1; scanner.Scan(); number++ {
		line := scanner.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(line, "\t")
		if len(fields) == 2 {
			fields = append(fields, "")
		}
		if len(fields) != 3 {
			return nil, fmt.Errorf("%s:%d: a spec, a side and a reason, separated by tabs", file, number)
		}
		switch side(fields[1]) {
		case passes, notYet, cannot, skipped:
		default:
			return nil, fmt.Errorf("%s:%d: %q is not a side", file, number, fields[1])
		}
		if fields[1] != string(passes) && fields[2] == "" {
			return nil, fmt.Errorf("%s:%d: %q needs a reason", file, number, fields[1])
		}
		if _, twice := expected[fields[0]]; twice {
			return nil, fmt.Errorf("%s:%d: %q is there twice", file, number, fields[0])
		}
		expected[fields[0]] = expectation{side(fields[1]), fields[2]}
	}
	return expected, scanner.Err()
}

func writeExpected(file string, expected map[string]expectation) error {
	names := make([]string, 0, len(expected))
	for name := range expected {
		names = append(names, name)
	}
	sort.Strings(names)
	var text strings.Builder
	text.WriteString(header)
	for _, name := range names {
		fmt.Fprintf(&text, "%s\t%s\t%s\n", name, expected[name].side, expected[name].reason)
	}
	written := file + ".new"
	if err := os.WriteFile(written, []byte(text.String()), 0o644); err != nil {
		return err
	}
	return os.Rename(written, file)
}
