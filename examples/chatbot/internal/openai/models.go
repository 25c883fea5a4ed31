package openai

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
)

// modelInfo describes the model, with what the enclave attests of it as an
// extension.
type modelInfo struct {
	ID      string    `json:"id"`
	Object  string    `json:"object"`
	Created int64     `json:"created"` // when this client verified the enclave
	OwnedBy string    `json:"owned_by"`
	Seal    modelSeal `json:"nitroseal"`
}

type modelSeal struct {
	Digest    string `json:"model_sha256"`
	MaxTokens int    `json:"max_tokens"`
	Simulated bool   `json:"simulated"`
}

// models answers GET /v1/models.
func (h *handler) models(x *exchange) {
	h.describe(x, func(m modelInfo) (any, *apiError) {
		return struct {
			Object string      `json:"object"`
			Data   []modelInfo `json:"data"`
		}{"list", []modelInfo{m}}, nil
	})
}

// model answers GET /v1/models/{id}.
func (h *handler) model(x *exchange) {
	h.describe(x, func(m modelInfo) (any, *apiError) {
		if x.r.PathValue("id") != m.ID {
			return nil, modelNotFound()
		}
		return m, nil
	})
}

func (h *handler) describe(x *exchange, show func(modelInfo) (any, *apiError)) {
	ctx, cancel := context.WithTimeout(x.r.Context(), h.opts.Timeout)
	defer cancel()
	att, err := h.opts.Asker.Attestation(ctx)
	if err != nil {
		x.unanswered(err)
		return
	}
	v, bad := show(modelInfo{
		ID: h.modelID(att), Object: "model", Created: att.VerifiedAt.Unix(), OwnedBy: "nitroseal",
		Seal: modelSeal{Digest: att.Model.Digest, MaxTokens: att.Model.MaxTokens, Simulated: att.Simulated},
	})
	if bad != nil {
		x.fail(bad)
		return
	}
	if err := x.json(v); err != nil {
		x.unanswered(err)
	}
}

// modelID is the model's name in this API.
func (h *handler) modelID(att *ask.Attestation) string {
	if h.opts.ModelID != "" {
		return h.opts.ModelID
	}
	return safeName(att.Model)
}

// safeName makes an id of at most maxName letters, digits and "._-" from a
// model's name, which is whatever its file says. Without one, its digest tells
// it apart.
func safeName(m ask.Model) string {
	var b strings.Builder
	gap := false
	for _, r := range m.Name {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_':
			if gap && b.Len() > 0 {
				b.WriteByte('-')
			}
			gap = false
			b.WriteRune(r)
		default:
			gap = true
		}
		if b.Len() >= maxName {
			break
		}
	}
	name := b.String()
	if name = strings.Trim(name[:min(len(name), maxName)], "._-"); name != "" {
		return name
	}
	if digest := m.Digest; len(digest) >= 12 {
		return "model-" + digest[:12]
	}
	return "model"
}

// fingerprint is 96 bits of SHA-256 over the label below, PCR0 and the model's
// digest. It says that one of them changed, and nothing else.
func fingerprint(att *ask.Attestation) string {
	h := sha256.New()
	h.Write([]byte("nitroseal system_fingerprint\x00"))
	if att.Document != nil {
		h.Write([]byte(att.Document.PCRs[0].String()))
	}
	h.Write([]byte("\x00" + att.Model.Digest))
	return "fp_" + hex.EncodeToString(h.Sum(nil)[:12])
}
