// Command testimages makes the container images that critest and Carpel's own
// integration tests pull, from what Debian ships, and serves them from a
// registry on the loopback interface until its standard input ends or it gets
// SIGTERM. No image comes from the internet.
//
//	testimages --programs DIR [--listen 127.0.0.1:PORT] [--hosts DIR] [--layout DIR] [--archive FILE]
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func main() {
	programs := flag.String("programs", "", "folder of image-pause, image-nonewprivs and image-sh")
	listen := flag.String("listen", "", "serve the images at this address, until stdin ends or SIGTERM")
	hosts := flag.String("hosts", "", "write <registry host>/hosts.toml files that point at the address into this folder")
	layoutFolder := flag.String("layout", "", "write the images into this folder as an OCI image layout")
	archive := flag.String("archive", "", "write the images into this file as a docker archive")
	flag.Parse()
	log.SetFlags(0)
	log.SetPrefix("testimages: ")

	images, err := catalogue(*programs)
	if err == nil && *layoutFolder != "" {
		err = writeLayout(*layoutFolder, images)
	}
	if err == nil && *archive != "" {
		err = writeArchive(*archive, images)
	}
	if err == nil && *listen != "" {
		err = serve(*listen, *hosts, images)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// serve answers pulls of all images until it is asked to stop.
func serve(address, hosts string, images []image) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	quiet := log.New(io.Discard, "", 0)
	failed := make(chan error, 1)
	go func() { failed <- http.Serve(listener, registry.New(registry.Logger(quiet))) }()
	if err := push(listener.Addr().String(), images); err != nil {
		return err
	}
	if hosts != "" {
		if err := writeHosts(hosts, listener.Addr().String(), images); err != nil {
			return err
		}
	}
	fmt.Printf("serving %d images at http://%s\n", len(images), listener.Addr())

	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGINT, syscall.SIGTERM)
	ended := make(chan struct{})
	go func() {
		// The one reason to read is to learn when the other side has gone.
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	select {
	case err := <-failed:
		return err
	case <-asked:
	case <-ended:
	}
	return nil
}

// localName is the name of a reference in the loopback registry: its path
// without the host, which is what a mirror is asked for.
func localName(address, reference string) (name.Reference, error) {
	_, path, found := strings.Cut(reference, "/")
	if !found {
		return nil, fmt.Errorf("reference %s has no registry host", reference)
	}
	return name.ParseReference(address+"/"+path, name.Insecure)
}

func push(address string, images []image) error {
	for _, image := range images {
		for _, reference := range image.references {
			target, err := localName(address, reference)
			if err != nil {
				return err
			}
			if err := remote.Write(target, image.content); err != nil {
				return fmt.Errorf("push %s: %w", reference, err)
			}
		}
	}
	return nil
}

// writeHosts writes mirror files as containerd's docs/hosts.md defines them.
func writeHosts(folder, address string, images []image) error {
	text := fmt.Sprintf("server = \"http://%[1]s\"\n\n[host.\"http://%[1]s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", address)
	for _, image := range images {
		for _, reference := range image.references {
			host, _, _ := strings.Cut(reference, "/")
			if err := os.MkdirAll(filepath.Join(folder, host), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(folder, host, "hosts.toml"), []byte(text), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

func writeLayout(folder string, images []image) error {
	target, err := layout.Write(folder, empty.Index)
	if err != nil {
		return err
	}
	for _, image := range images {
		for _, reference := range image.references {
			annotation := layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": reference})
			if err := target.AppendImage(image.content, annotation); err != nil {
				return fmt.Errorf("layout of %s: %w", reference, err)
			}
		}
	}
	return nil
}

func writeArchive(file string, images []image) error {
	tags := map[name.Tag]v1.Image{}
	for _, image := range images {
		manifest, err := image.content.Manifest()
		if err != nil {
			return fmt.Errorf("archive of %s: %w", image.references[0], err)
		}
		// A docker-archive has no place for what an artifact is.
		if !manifest.Config.MediaType.IsConfig() {
			continue
		}
		for _, reference := range image.references {
			tag, err := name.NewTag(reference)
			if err != nil {
				return err
			}
			tags[tag] = image.content
		}
	}
	return tarball.MultiWriteToFile(file, tags)
}
