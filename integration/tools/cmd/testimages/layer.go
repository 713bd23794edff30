package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// epoch is the time of every file and image, so that one machine always makes
// the same digests.
var epoch = time.Date(2024, time.January, 1, 0, 0, 0, 0, time.UTC)

// layer is a tar archive in the making. The first error is kept and given by
// build: a recipe reads as a list of files.
type layer struct {
	archive bytes.Buffer
	writer  *tar.Writer
	present map[string]bool
	err     error
	built   v1.Layer
}

func newLayer() *layer {
	made := &layer{present: map[string]bool{}}
	made.writer = tar.NewWriter(&made.archive)
	return made
}

func (l *layer) fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

// add writes one entry and the directories above it that are not there yet.
func (l *layer) add(header tar.Header, content []byte) {
	name := strings.TrimPrefix(path.Clean(header.Name), "/")
	if l.err != nil || l.present[name] {
		return
	}
	if parent := path.Dir(name); parent != "." {
		l.directory(parent, 0o755)
	}
	l.present[name] = true
	header.Name, header.Size, header.ModTime, header.Format = name, int64(len(content)), epoch, tar.FormatPAX
	if header.Typeflag == tar.TypeDir {
		header.Name += "/"
	}
	if err := l.writer.WriteHeader(&header); err != nil {
		l.fail(fmt.Errorf("entry %s: %w", name, err))
		return
	}
	if _, err := l.writer.Write(content); err != nil {
		l.fail(fmt.Errorf("content of %s: %w", name, err))
	}
}

func (l *layer) directory(name string, mode int64) {
	l.add(tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode}, nil)
}

func (l *layer) file(name string, mode int64, content string) {
	l.add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode}, []byte(content))
}

func (l *layer) symbolicLink(name, target string) {
	l.add(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, nil)
}

// hardLink is another name of a file that is already in the layer.
func (l *layer) hardLink(name, target string) {
	l.add(tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: strings.TrimPrefix(target, "/"), Mode: 0o755}, nil)
}

// copy takes a file of this machine, following links.
func (l *layer) copy(source, name string, mode int64) {
	content, err := os.ReadFile(source)
	if err != nil {
		l.fail(fmt.Errorf("copy %s: %w", source, err))
		return
	}
	l.add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode}, content)
}

// program takes a program of this machine with the shared libraries that the
// dynamic loader says it needs, at the places where it looks for them.
func (l *layer) program(source, name string) {
	l.copy(source, name, 0o755)
	output, err := exec.Command("ldd", source).CombinedOutput()
	if err != nil {
		l.fail(fmt.Errorf("ldd %s: %w: %s", source, err, output))
		return
	}
	for _, line := range strings.Split(string(output), "\n") {
		for _, field := range strings.Fields(line) {
			if strings.HasPrefix(field, "/") && !strings.HasSuffix(field, ":") {
				l.copy(field, field, 0o755)
			}
		}
	}
}

// tree takes the regular files below a directory of this machine.
func (l *layer) tree(source string) {
	err := filepath.WalkDir(source, func(found string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			l.copy(found, found, 0o644)
		}
		return err
	})
	if err != nil {
		l.fail(fmt.Errorf("walk %s: %w", source, err))
	}
}

// build ends the archive. The result is compressed with gzip, quickly: every
// node in a box makes its images.
func (l *layer) build() (v1.Layer, error) {
	if l.err != nil || l.built != nil {
		return l.built, l.err
	}
	if err := l.writer.Close(); err != nil {
		return nil, fmt.Errorf("end of archive: %w", err)
	}
	content := l.archive.Bytes()
	l.built, l.err = tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}, tarball.WithCompressionLevel(gzip.BestSpeed), tarball.WithCompressedCaching)
	return l.built, l.err
}
