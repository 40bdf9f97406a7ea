//go:build tools

// Package tools names the program that this module exists to build, so that
// `go mod tidy` keeps its requirements in go.mod and go.sum.
package tools

import _ "github.com/jaegertracing/jaeger/cmd/jaeger"
