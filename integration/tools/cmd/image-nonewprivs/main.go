// Command image-nonewprivs says under which user it runs. Its file in the test
// image is setuid root, so the answer tells whether no_new_privs was set.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Printf("Effective uid: %d\n", os.Geteuid())
}
