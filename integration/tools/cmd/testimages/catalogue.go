package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	endToEnd = "registry.k8s.io/e2e-test-images/"
	staging  = "gcr.io/k8s-staging-cri-tools/"

	searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

	passwd = "root:x:0:0:root:/root:/bin/sh\n" +
		"daemon:x:1:1:daemon:/usr/sbin:/bin/false\n" +
		"www-data:x:33:33:www-data:/var/www:/bin/false\n" +
		"nobody:x:65534:65534:nobody:/home:/bin/false\n"
	group = "root:x:0:\n" +
		"daemon:x:1:\n" +
		"www-data:x:33:\n" +
		"nogroup:x:65534:\n"

	// webServer keeps nginx in the foreground under its usual process title,
	// "nginx: master process …".
	webServer = `user www-data;
worker_processes 1;
pid /var/run/nginx.pid;
daemon off;
error_log /dev/stderr notice;
events { worker_connections 64; }
http {
    types { text/html html; }
    access_log /dev/stdout;
    server {
        listen %d;
        location / { root /usr/share/nginx/html; index index.html; }
    }
}
`
)

// image is one image with every reference that it must answer to.
type image struct {
	references []string
	content    v1.Image
}

// recipe is what differs between the images of the catalogue.
type recipe struct {
	references []string
	layers     []*layer
	config     v1.Config
}

// busyboxLayer holds Debian's static busybox under all its names, as hard
// links: a symbolic link that is masked or bound would hide busybox itself.
func busyboxLayer(passwd, group string) *layer {
	made := newLayer()
	for _, name := range []string{"dev", "proc", "sys", "home", "root", "var/www"} {
		made.directory(name, 0o755)
	}
	made.directory("tmp", 0o1777)
	made.file("etc/passwd", 0o644, passwd)
	made.file("etc/group", 0o644, group)
	made.copy("/bin/busybox", "/bin/busybox", 0o755)
	applets, err := exec.Command("/bin/busybox", "--list").Output()
	if err != nil {
		made.fail(fmt.Errorf("list the applets of busybox: %w", err))
	}
	for _, applet := range strings.Fields(string(applets)) {
		if applet != "busybox" && applet != "sh" {
			made.hardLink("/bin/"+applet, "/bin/busybox")
		}
	}
	return made
}

// addAppletShell makes /bin/sh busybox itself.
func addAppletShell(made *layer) *layer {
	made.hardLink("/bin/sh", "/bin/busybox")
	return made
}

// defaultLayer is the image of nearly every spec: a shell that executes files,
// and the programs that Debian's busybox lacks.
func defaultLayer(programs string) *layer {
	made := busyboxLayer(passwd, group)
	made.copy(filepath.Join(programs, "image-sh"), "/bin/sh", 0o755)
	made.program("/usr/bin/pgrep", "/usr/bin/pgrep")
	made.program("/usr/bin/ipcs", "/usr/bin/ipcs")
	return made
}

// plainBusybox is the first layer of most images, made once: it is compressed
// once too.
var plainBusybox = sync.OnceValue(func() *layer {
	return addAppletShell(busyboxLayer(passwd, group))
})

func nginxLayer(port int) *layer {
	made := addAppletShell(busyboxLayer(passwd, group))
	made.program("/usr/sbin/nginx", "/usr/sbin/nginx")
	made.file("etc/nginx/nginx.conf", 0o644, fmt.Sprintf(webServer, port))
	made.file("usr/share/nginx/html/index.html", 0o644, "<h1>It works!</h1>\n")
	for _, folder := range []string{"var/run", "var/log/nginx", "var/lib/nginx", "run"} {
		made.directory(folder, 0o755)
	}
	return made
}

// marked is a layer with one file, which makes an image differ from the others.
func marked(name string) *layer {
	made := newLayer()
	made.file(name, 0o644, name+"\n")
	return made
}

func shell(user string) v1.Config {
	return v1.Config{Env: []string{searchPath}, Cmd: []string{"sh"}, User: user}
}

func webConfig() v1.Config {
	return v1.Config{
		Env:          []string{searchPath},
		Cmd:          []string{"nginx"},
		ExposedPorts: map[string]struct{}{"80/tcp": {}},
		StopSignal:   "SIGQUIT",
	}
}

// serverRecipes are the images that run something of their own.
func serverRecipes(programs string) []recipe {
	pause := newLayer()
	pause.copy(filepath.Join(programs, "image-pause"), "/pause", 0o755)

	privileges := newLayer()
	privileges.copy(filepath.Join(programs, "image-nonewprivs"), "/nnp", 0o4755)

	health := newLayer()
	health.copy(filepath.Join(programs, "image-health"), "/health", 0o755)

	// The multiple containers specs wait for the word httpd in the log.
	httpd := newLayer()
	httpd.file("www/index.html", 0o644, "<h1>It works!</h1>\n")

	return []recipe{
		{
			references: []string{"registry.k8s.io/pause:3.9", "k8s.gcr.io/pause:3.9"},
			layers:     []*layer{pause},
			config:     v1.Config{Env: []string{searchPath}, Entrypoint: []string{"/pause"}, User: "65535:65535"},
		},
		{
			references: []string{endToEnd + "nonewprivs:1.3"},
			layers:     []*layer{privileges},
			config:     v1.Config{Env: []string{searchPath}, Entrypoint: []string{"/nnp"}},
		},
		{
			references: []string{"registry.k8s.io/carpel-test/health:1"},
			layers:     []*layer{health},
			config:     v1.Config{Env: []string{searchPath}, Entrypoint: []string{"/health"}},
		},
		{
			references: []string{endToEnd + "nginx:1.14-2"},
			layers:     []*layer{nginxLayer(80)},
			config:     webConfig(),
		},
		{
			references: []string{staging + "hostnet-nginx-" + runtime.GOARCH + ":latest"},
			layers:     []*layer{nginxLayer(12003)},
			config:     webConfig(),
		},
		{
			references: []string{endToEnd + "httpd:2.4.39-4"},
			layers:     []*layer{plainBusybox(), httpd},
			config: v1.Config{
				Env: []string{searchPath},
				Cmd: []string{"sh", "-c", "echo httpd listens on port 80; exec httpd -f -v -p 80 -h /www"},
			},
		},
	}
}

// namedRecipes are the images that matter by their names, tags and users.
func namedRecipes() []recipe {
	recipes := []recipe{
		{
			references: []string{staging + "test-image-tags:1", staging + "test-image-tags:2", staging + "test-image-tags:3"},
			layers:     []*layer{plainBusybox(), marked("test-image-tags")},
			config:     shell(""),
		},
		{
			references: []string{staging + "test-image-predefined-group:latest"},
			layers: []*layer{addAppletShell(busyboxLayer(
				passwd+"default-user:x:1000:1000:default-user:/home/default-user:/bin/sh\n",
				group+"default-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\n"))},
			config: shell("1000"),
		},
	}
	for _, distinct := range []struct{ reference, mark string }{
		{"test-image-latest:latest", "test-image-latest"},
		{"test-image-tag:test", "test-image-tag"},
		{"test-image-tag:all", "test-image-tag-all"},
		{"test-image-1:latest", "test-image-1"},
		{"test-image-2:latest", "test-image-2"},
		{"test-image-3:latest", "test-image-3"},
	} {
		recipes = append(recipes, recipe{
			references: []string{staging + distinct.reference},
			layers:     []*layer{plainBusybox(), marked(distinct.mark)},
			config:     shell(""),
		})
	}
	for _, user := range []struct{ image, name string }{
		{"uid", "1002"},
		{"username", "www-data"},
		{"uid-group", "1003:1004"},
		{"username-group", "www-data:1004"},
	} {
		recipes = append(recipes, recipe{
			references: []string{staging + "test-image-user-" + user.image + ":latest"},
			layers:     []*layer{plainBusybox()},
			config:     shell(user.name),
		})
	}
	return recipes
}

// catalogue makes every image that critest pulls by a name. The one that it
// pulls by a fixed digest cannot be made: only the public bytes have it.
func catalogue(programs string) ([]image, error) {
	recipes := append(serverRecipes(programs), namedRecipes()...)
	recipes = append(recipes, recipe{
		references: []string{endToEnd + "busybox:1.29-2"},
		layers:     []*layer{defaultLayer(programs)},
		config:     shell(""),
	})
	artifact, err := artifact()
	if err != nil {
		return nil, fmt.Errorf("the artifact: %w", err)
	}
	images := []image{{references: []string{staging + "artifact:latest"}, content: artifact}}
	for _, recipe := range recipes {
		content, err := recipe.build()
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", recipe.references[0], err)
		}
		images = append(images, image{references: recipe.references, content: content})
	}
	return images, nil
}

// artifact is an OCI artifact as ORAS pushes it: files with their titles. Not of
// critest, but of our own tests.
func artifact() (v1.Image, error) {
	var files []mutate.Addendum
	for _, file := range []struct{ title, content string }{
		{"model.bin", "weights\n"},
		{"config/settings.json", "{}\n"},
	} {
		files = append(files, mutate.Addendum{
			Layer:       static.NewLayer([]byte(file.content), "application/octet-stream"),
			Annotations: map[string]string{"org.opencontainers.image.title": file.title},
		})
	}
	content, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1), files...)
	if err != nil {
		return nil, err
	}
	return mutate.ConfigMediaType(content, "application/vnd.example.model.config"), nil
}

func (r recipe) build() (v1.Image, error) {
	var layers []v1.Layer
	for _, recipe := range r.layers {
		made, err := recipe.build()
		if err != nil {
			return nil, err
		}
		layers = append(layers, made)
	}
	content, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		return nil, err
	}
	file, err := content.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.Config, file.OS, file.Architecture = r.config, "linux", runtime.GOARCH
	file.Created = v1.Time{Time: epoch}
	return mutate.ConfigFile(content, file)
}
