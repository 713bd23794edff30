// Command image-pause is the whole content of the pause test images: a process
// that waits until it is told to end. It is not used by Carpel's own sandboxes.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGINT, syscall.SIGTERM)
	<-asked
}
