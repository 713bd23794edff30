package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

// A kubelet with one pod, which answers with the URL that it was asked for.
func fakeServer(t *testing.T) *httptest.Server {
	t.Helper()
	kubelet := httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		if request.URL.Path == "/pods" {
			answer(writer, http.StatusOK, map[string]any{"items": []any{
				map[string]any{"metadata": map[string]any{"name": "web", "namespace": "default"}},
			}})
			return
		}
		answer(writer, http.StatusOK, request.URL.String())
	}))
	t.Cleanup(kubelet.Close)
	target, err := url.Parse(kubelet.URL)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(newServer(target))
	t.Cleanup(server.Close)
	return server
}

func get(t *testing.T, url string, into any) int {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		t.Fatalf("%s: %s: %v", url, response.Status, err)
	}
	return response.StatusCode
}

func TestStreamsHaveTheKubeletsNames(t *testing.T) {
	server := fakeServer(t)
	pod := server.URL + "/api/v1/namespaces/default/pods/web/"
	for asked, expected := range map[string]string{
		pod + "exec?container=c&command=echo&command=a+b&stdout=true&tty=true": "/exec/default/web/c?command=echo&command=a+b&output=1&stdout=true&tty=1",
		pod + "log?container=c&follow=true":                                    "/containerLogs/default/web/c?follow=true",
		pod + "portforward":                                                    "/portForward/default/web",
		server.URL + "/kubelet/stats/summary?only_cpu_and_memory=true":         "/stats/summary?only_cpu_and_memory=true",
	} {
		var found string
		if code := get(t, asked, &found); code != http.StatusOK || found != expected {
			t.Errorf("%s: %d %s, not %s", asked, code, found, expected)
		}
	}
}

func TestPodsAreFoundByNameAndNamespace(t *testing.T) {
	server := fakeServer(t)
	for path, code := range map[string]int{
		"/api/v1/namespaces/default/pods/web":  http.StatusOK,
		"/api/v1/namespaces/default/pods/none": http.StatusNotFound,
		"/api/v1/namespaces/other/pods/web":    http.StatusNotFound,
	} {
		var object map[string]any
		if found := get(t, server.URL+path, &object); found != code {
			t.Errorf("%s: %d, not %d: %v", path, found, code, object)
		}
	}
	var list struct{ Items []any }
	get(t, server.URL+"/api/v1/pods", &list)
	if len(list.Items) != 1 {
		t.Errorf("%v", list)
	}
}
