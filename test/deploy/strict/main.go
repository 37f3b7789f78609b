// Reads Kubernetes objects from standard input, in YAML with "---" between, and decodes
// each into the Go type that the API server has for it. A field that the type does not
// have, a field that comes twice or a value of the wrong type is an error. Prints what it
// has read, a line each.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	metav1 "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

func main() {
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	reader := yaml.NewYAMLReader(bufio.NewReader(os.Stdin))
	failed := false
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		object, kind, err := decoder.Decode(document, nil, nil)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s\n", err, document)
			failed = true
			continue
		}
		name := ""
		if accessor, err := metav1.Accessor(object); err == nil {
			name = accessor.GetName()
		}
		fmt.Printf("%s %s\n", kind, name)
	}
	if failed {
		os.Exit(1)
	}
}
