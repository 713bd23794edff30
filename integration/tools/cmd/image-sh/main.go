// Command image-sh is /bin/sh of the default test image.
//
// Debian's busybox is built with the standalone shell: `sh -c ls` runs the
// applet inside busybox and never opens /bin/ls, so a masked /bin/ls could not
// be noticed. This program runs `sh -c WORD` through PATH, as a shell without
// that option does, with the messages of busybox 1.29, and hands everything
// else to busybox.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	busybox     = "/bin/busybox"
	defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	// POSIX, Shell Command Language, 2.8.2.
	statusNotExecutable = 126
)

// isSimpleWord says whether the text is one command name without arguments and
// without anything that a shell would interpret.
func isSimpleWord(text string) bool {
	return text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == ""
}

// execute runs the first file of that name in PATH. It returns only when none
// could be executed, with the last reason that was not "no such file".
func execute(word string) error {
	path := os.Getenv("PATH")
	if path == "" {
		path = defaultPath
	}
	var reason error = syscall.ENOENT
	for _, folder := range filepath.SplitList(path) {
		err := syscall.Exec(filepath.Join(folder, word), []string{word}, os.Environ())
		if err != nil && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ENOTDIR) {
			reason = err
		}
	}
	return reason
}

func main() {
	arguments := os.Args
	if len(arguments) == 3 && arguments[1] == "-c" && isSimpleWord(arguments[2]) {
		if errors.Is(execute(arguments[2]), syscall.EACCES) {
			fmt.Fprintf(os.Stderr, "%s: %s: Permission denied\n", arguments[0], arguments[2])
			os.Exit(statusNotExecutable)
		}
		// Not a file: it may be a built-in, and busybox has the right message if not.
	}
	err := syscall.Exec(busybox, append([]string{"sh"}, arguments[1:]...), os.Environ())
	fmt.Fprintf(os.Stderr, "%s: %s: %v\n", arguments[0], busybox, err)
	os.Exit(statusNotExecutable)
}
