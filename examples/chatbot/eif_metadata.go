package main

import (
	"encoding/json"
	"strings"
)

// metadata is the metadata section of an image. nitro-cli describe-eif demands
// all of its members, as text, and shows them.
type metadata struct {
	ImageName      string
	ImageVersion   string
	BuildMetadata  buildMetadata
	DockerInfo     struct{}
	CustomMetadata struct{}
}

type buildMetadata struct {
	BuildTime        string
	BuildTool        string
	BuildToolVersion string
	OperatingSystem  string
	KernelVersion    string
}

// newMetadata names an image. Nothing in it depends on when, where and by
// which version the image is built, so that another build has the same bytes.
func newMetadata(name, version string) (json.RawMessage, error) {
	return json.Marshal(metadata{
		ImageName: name, ImageVersion: version,
		BuildMetadata: buildMetadata{BuildTime: "1970-01-01T00:00:00Z", BuildTool: "nitroseal chatbot", OperatingSystem: "Linux"},
	})
}

// parseMetadata reads what it can: anything may stand there.
func parseMetadata(raw json.RawMessage) metadata {
	var m metadata
	if len(raw) > 0 && json.Unmarshal(raw, &m) != nil {
		return metadata{}
	}
	return m
}

// nameOf is the name and version that an image's metadata tells.
func nameOf(raw json.RawMessage) string {
	m := parseMetadata(raw)
	return strings.TrimSpace(m.ImageName + " " + m.ImageVersion)
}
