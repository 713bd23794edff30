package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/onsi/ginkgo/v2/types"
)

// result is what one spec did in a run.
type result struct {
	side    side // passes, notYet for a failure, or skipped
	message string
}

// reasonLimit keeps a reason on one readable line.
const reasonLimit = 160

func readReport(file string) (map[string]result, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var suites []types.Report
	if err := json.Unmarshal(content, &suites); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	results := map[string]result{}
	for _, suite := range suites {
		for _, spec := range suite.SpecReports {
			if spec.LeafNodeType != types.NodeTypeIt {
				// A failure before or after the suite is the suite's: every spec shows it.
				continue
			}
			read, ran := resultOf(spec)
			if !ran {
				continue
			}
			name := strings.TrimPrefix(spec.FullText(), "[k8s.io] ")
			if _, twice := results[name]; twice {
				return nil, fmt.Errorf("%s: two specs have the name %q", file, name)
			}
			results[name] = read
		}
	}
	return results, nil
}

// resultOf is false for a spec that a filter left out: the benchmarks always,
// everything else with a focus.
func resultOf(spec types.SpecReport) (result, bool) {
	switch {
	case spec.State.Is(types.SpecStatePassed):
		return result{side: passes}, true
	case spec.State.Is(types.SpecStateSkipped) && spec.Failure.Message == "":
		return result{}, false
	case spec.State.Is(types.SpecStateSkipped | types.SpecStatePending):
		return result{skipped, oneLine(spec.Failure.Message)}, true
	default:
		return result{notYet, oneLine(spec.Failure.Message)}, true
	}
}

// oneLine takes what identifies a failure: gomega puts the error last.
func oneLine(message string) string {
	line := strings.Join(strings.Fields(message), " ")
	if at := strings.Index(line, "rpc error: "); at >= 0 {
		line = line[at:]
	}
	// What follows is a dump of the error's memory.
	line, _, _ = strings.Cut(line, " { s: ")
	if utf8.RuneCountInString(line) > reasonLimit {
		line = string([]rune(line)[:reasonLimit]) + "…"
	}
	return line
}
