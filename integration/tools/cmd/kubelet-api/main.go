// Command kubelet-api answers the few calls of the Kubernetes API that kubectl
// makes to look at pods and to talk with their containers, from one kubelet that
// has no API server. So the real kubectl can be tried on a node in a box.
//
//	kubelet-api --kubelet https://127.0.0.1:10250 --listen 127.0.0.1:8001
//
// It serves until its standard input ends.
//
// Served: discovery of pods; get and list of pods; exec, attach, portforward and
// log, whose bytes pass through unchanged; below /kubelet/ the kubelet's own paths.
// Not for anything but tests: nobody is asked who they are, and the kubelet's
// certificate is not checked.
package main

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
)

func main() {
	kubelet := flag.String("kubelet", "https://127.0.0.1:10250", "URL of the kubelet")
	listen := flag.String("listen", "127.0.0.1:8001", "address to serve at")
	flag.Parse()
	log.SetFlags(0)
	log.SetPrefix("kubelet-api: ")
	target, err := url.Parse(*kubelet)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		log.Fatal(http.ListenAndServe(*listen, newServer(target)))
	}()
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		log.Fatal(err)
	}
}

// newServer makes the handler of all calls.
func newServer(kubelet *url.URL) http.Handler {
	// What is joined to a URL without a path would have no slash before it.
	kubelet.Path = "/"
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}
	transport.ForceAttemptHTTP2 = false
	server := server{kubelet: kubelet, client: &http.Client{Transport: transport}}
	mux := http.NewServeMux()
	discovery(mux)
	mux.HandleFunc("GET /api/v1/pods", server.list)
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/pods", server.list)
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/pods/{pod}", server.get)
	for _, verb := range []string{"exec", "attach", "portforward", "log"} {
		mux.Handle("/api/v1/namespaces/{namespace}/pods/{pod}/"+verb, server.stream(verb, transport))
	}
	mux.Handle("GET /kubelet/", http.StripPrefix("/kubelet", &httputil.ReverseProxy{
		Transport: transport,
		Rewrite:   func(proxied *httputil.ProxyRequest) { proxied.SetURL(kubelet) },
	}))
	return mux
}

// discovery tells kubectl that there are pods, and nothing else.
func discovery(mux *http.ServeMux) {
	documents := map[string]any{
		"/api":  map[string]any{"kind": "APIVersions", "versions": []string{"v1"}},
		"/apis": map[string]any{"kind": "APIGroupList", "apiVersion": "v1", "groups": []any{}},
		"/api/v1": map[string]any{
			"kind": "APIResourceList", "groupVersion": "v1",
			"resources": []any{map[string]any{
				"name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod",
				"shortNames": []string{"po"}, "verbs": []string{"get", "list"},
			}},
		},
	}
	for path, document := range documents {
		mux.HandleFunc("GET "+path, func(writer http.ResponseWriter, _ *http.Request) {
			answer(writer, http.StatusOK, document)
		})
	}
}

type server struct {
	kubelet *url.URL
	client  *http.Client
}

// pods asks the kubelet for the pods of a namespace; of all when it is empty.
func (server server) pods(namespace string) ([]any, error) {
	response, err := server.client.Get(server.kubelet.JoinPath("pods").String())
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var list struct{ Items []map[string]any }
	if err := json.NewDecoder(response.Body).Decode(&list); err != nil {
		return nil, err
	}
	pods := []any{}
	for _, pod := range list.Items {
		if metadata := metadataOf(pod); namespace == "" || metadata["namespace"] == namespace {
			pod["apiVersion"], pod["kind"] = "v1", "Pod"
			pods = append(pods, pod)
		}
	}
	return pods, nil
}

func metadataOf(pod any) map[string]any {
	fields, _ := pod.(map[string]any)
	metadata, _ := fields["metadata"].(map[string]any)
	return metadata
}

func (server server) list(writer http.ResponseWriter, request *http.Request) {
	pods, err := server.pods(request.PathValue("namespace"))
	if err != nil {
		refuse(writer, http.StatusBadGateway, "BadGateway", err.Error())
		return
	}
	answer(writer, http.StatusOK, map[string]any{
		"kind": "PodList", "apiVersion": "v1", "metadata": map[string]any{}, "items": pods,
	})
}

func (server server) get(writer http.ResponseWriter, request *http.Request) {
	pods, err := server.pods(request.PathValue("namespace"))
	if err != nil {
		refuse(writer, http.StatusBadGateway, "BadGateway", err.Error())
		return
	}
	name := request.PathValue("pod")
	for _, pod := range pods {
		if metadataOf(pod)["name"] == name {
			answer(writer, http.StatusOK, pod)
			return
		}
	}
	refuse(writer, http.StatusNotFound, "NotFound", "pods \""+name+"\" not found")
}

// stream passes a call on to the kubelet, which names paths and options otherwise.
func (server server) stream(verb string, transport http.RoundTripper) http.Handler {
	return &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(proxied *httputil.ProxyRequest) {
			proxied.Out.URL = kubeletURL(server.kubelet, verb, proxied.In)
			proxied.Out.Host = server.kubelet.Host
		},
	}
}

// kubeletURL is where the kubelet has what the API calls by the verb.
func kubeletURL(kubelet *url.URL, verb string, request *http.Request) *url.URL {
	namespace, pod := request.PathValue("namespace"), request.PathValue("pod")
	asked := request.URL.Query()
	container := asked.Get("container")
	asked.Del("container")
	path := map[string][]string{
		"exec":        {"exec", namespace, pod, container},
		"attach":      {"attach", namespace, pod, container},
		"portforward": {"portForward", namespace, pod},
		"log":         {"containerLogs", namespace, pod, container},
	}[verb]
	for option, name := range map[string]string{"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"} {
		if asked.Get(option) == "true" {
			asked.Set(name, "1")
		}
	}
	target := kubelet.JoinPath(path...)
	target.RawQuery = asked.Encode()
	return target
}

func answer(writer http.ResponseWriter, code int, document any) {
	writer.Header().Set("Content-Type", "application/json")
	writer.WriteHeader(code)
	if err := json.NewEncoder(writer).Encode(document); err != nil {
		log.Print(err)
	}
}

// refuse answers with the object by which the API tells errors.
func refuse(writer http.ResponseWriter, code int, reason, message string) {
	answer(writer, code, map[string]any{
		"kind": "Status", "apiVersion": "v1", "status": "Failure",
		"reason": reason, "message": message, "code": code,
	})
}
