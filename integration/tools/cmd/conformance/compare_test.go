package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var file = map[string]expectation{
	"stays":    {passes, ""},
	"breaks":   {passes, ""},
	"comes":    {notYet, "to be built"},
	"never":    {cannot, "the bytes are elsewhere"},
	"left out": {skipped, "no AppArmor"},
	"vanishes": {passes, ""},
}

var run = map[string]result{
	"stays":    {passes, ""},
	"breaks":   {notYet, "rpc error: x"},
	"comes":    {passes, ""},
	"never":    {notYet, "not found"},
	"left out": {skipped, "no AppArmor"},
	"appears":  {passes, ""},
}

func TestASpecThatChangesSidesIsNewOrIsMissingIsADifference(t *testing.T) {
	got := strings.Join(compare(file, run, false), "\n")
	for _, wanted := range []string{"! breaks", "now it fails: rpc error: x", "! comes", "now it passes", "+ appears", "- vanishes"} {
		if !strings.Contains(got, wanted) {
			t.Errorf("no %q in:\n%s", wanted, got)
		}
	}
	for _, unwanted := range []string{"stays", "never", "left out"} {
		if strings.Contains(got, unwanted) {
			t.Errorf("%q is as expected, but is in:\n%s", unwanted, got)
		}
	}
}

func TestAFocusedRunMissesNothing(t *testing.T) {
	for _, difference := range compare(file, run, true) {
		if strings.HasPrefix(difference, "-") {
			t.Error(difference)
		}
	}
}

func TestAcceptKeepsTheReasonOfWhatStaysOnItsSide(t *testing.T) {
	got := accepted(file, run, false)
	wanted := map[string]expectation{
		"stays":    {passes, ""},
		"breaks":   {notYet, "rpc error: x"},
		"comes":    {passes, ""},
		"never":    {cannot, "the bytes are elsewhere"},
		"left out": {skipped, "no AppArmor"},
		"appears":  {passes, ""},
	}
	if len(got) != len(wanted) {
		t.Errorf("%d specs, wanted %d: %v", len(got), len(wanted), got)
	}
	for name, expectation := range wanted {
		if got[name] != expectation {
			t.Errorf("%s: %v, wanted %v", name, got[name], expectation)
		}
	}
	if differences := compare(got, run, false); len(differences) != 0 {
		t.Errorf("an accepted run differs: %v", differences)
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	name := filepath.Join(t.TempDir(), "expected.txt")
	if err := writeExpected(name, file); err != nil {
		t.Fatal(err)
	}
	got, err := readExpected(name)
	if err != nil {
		t.Fatal(err)
	}
	for spec, expectation := range file {
		if got[spec] != expectation {
			t.Errorf("%s: %v, wanted %v", spec, got[spec], expectation)
		}
	}
}

func TestAMalformedFileIsRefusedWithItsLine(t *testing.T) {
	for text, wanted := range map[string]string{
		"a spec\tperhaps\t\n":            ":1: \"perhaps\" is not a side",
		"# comment\na spec\tnot yet\t\n": ":2: \"not yet\" needs a reason",
		"a spec\n":                       ":1: a spec, a side and a reason",
		"a\tpasses\t\na\tpasses\t\n":     ":2: \"a\" is there twice",
	} {
		name := filepath.Join(t.TempDir(), "expected.txt")
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := readExpected(name); err == nil || !strings.Contains(err.Error(), wanted) {
			t.Errorf("%q: %v, wanted %s", text, err, wanted)
		}
	}
}

func TestAFailureIsOneLineFromItsCode(t *testing.T) {
	got := oneLine("Unexpected error:\n    <*status.Error>:\n    rpc error: code = NotFound desc = gone")
	if got != "rpc error: code = NotFound desc = gone" {
		t.Error(got)
	}
}
