//go:build pins

// Package pins keeps the packages that critest imports in go.mod. critest is a
// test binary (`go test -c`), and `go mod tidy` leaves out what only the tests
// of other modules need. It is never compiled.
package pins

import (
	_ "github.com/google/go-containerregistry/pkg/registry"
	_ "github.com/onsi/ginkgo/v2"
	_ "github.com/onsi/gomega"
	_ "sigs.k8s.io/cri-tools/pkg/benchmark"
	_ "sigs.k8s.io/cri-tools/pkg/common"
	_ "sigs.k8s.io/cri-tools/pkg/framework"
	_ "sigs.k8s.io/cri-tools/pkg/validate"
)
