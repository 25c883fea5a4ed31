package web_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/web"
)

// files returns the page's files by name, as they are served.
func files(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("assets/*")
	if err != nil || len(names) < 10 {
		t.Fatalf("%d assets, %v", len(names), err)
	}
	h := web.NewHandler(web.Options{})
	all := map[string]string{}
	for _, name := range names {
		path := "/" + name
		if name == "assets/index.html" {
			path = "/"
		}
		w := get(h, path)
		if w.Code != http.StatusOK {
			t.Fatalf("%s: status %d", path, w.Code)
		}
		all[filepath.Base(name)] = w.Body.String()
	}
	return all
}

func TestAssetsAreEmbedded(t *testing.T) {
	types := map[string]string{".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
	served := files(t)
	t.Chdir(t.TempDir()) // from here on nothing is found next to the program
	h := web.NewHandler(web.Options{})
	for name, body := range served {
		path := "/assets/" + name
		if name == "index.html" {
			path = "/"
		}
		w := get(h, path)
		if w.Body.String() != body {
			t.Errorf("%s is not embedded", name)
		}
		if got, want := w.Header().Get("Content-Type"), types[filepath.Ext(name)]; got != want {
			t.Errorf("%s: Content-Type %q, want %q", name, got, want)
		}
	}
	if _, err := os.Stat("assets"); err == nil {
		t.Error("the test sees the folder of assets")
	}
}

var external = regexp.MustCompile(`(?i:(https?:|wss?:|ftp:)?//[a-z0-9.-]+\.[a-z]{2,})|url\(|@import|data:[a-z]+/`)

// TestAssetsNameNothingElsewhere: no URL but the one that names SVG, which is
// never fetched.
func TestAssetsNameNothingElsewhere(t *testing.T) {
	for name, body := range files(t) {
		body = strings.ReplaceAll(body, `xmlns="http://www.w3.org/2000/svg"`, "")
		if found := external.FindString(body); found != "" {
			t.Errorf("%s has %q", name, found)
		}
	}
}

// TestAssetsRefer: whatever a file refers to is there, and each file is
// referred to.
func TestAssetsRefer(t *testing.T) {
	all := files(t)
	refers := regexp.MustCompile(`(?:src|href)="/assets/([^"]+)"|from "\./([^"]+)"`)
	used := map[string]bool{"index.html": true}
	for name, body := range all {
		for _, m := range refers.FindAllStringSubmatch(body, -1) {
			target := m[1] + m[2]
			used[target] = true
			if _, ok := all[target]; !ok {
				t.Errorf("%s refers to %s, which does not exist", name, target)
			}
		}
	}
	for name := range all {
		if !used[name] {
			t.Errorf("nothing refers to %s", name)
		}
	}
}

var (
	inline    = regexp.MustCompile(`(?i)<style|<script[^>]*>[^<]|\son[a-z]+="|\sstyle="|javascript:`)
	makesHTML = regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|setHTML|createContextualFragment|\beval\(|new Function|import\(`)
	keeps     = regexp.MustCompile(`localStorage|sessionStorage|indexedDB|document\.cookie|caches\b|serviceWorker|history\.(push|replace)State|document\.title|location\.hash`)
)

// TestPageIsStatic: no inline script or style, no HTML from text, and nothing
// that the browser would keep.
func TestPageIsStatic(t *testing.T) {
	for name, body := range files(t) {
		for what, pattern := range map[string]*regexp.Regexp{"inline code": inline, "HTML from text": makesHTML, "storage": keeps} {
			if found := pattern.FindString(body); found != "" {
				t.Errorf("%s: %s: %q", name, what, found)
			}
		}
	}
	page := files(t)["index.html"]
	for _, field := range regexp.MustCompile(`<(?:textarea|form id="settings)[^>]*>`).FindAllString(page, -1) {
		if !strings.Contains(field, `autocomplete="off"`) || strings.HasPrefix(field, "<textarea") && !strings.Contains(field, `spellcheck="false"`) {
			t.Errorf("the browser may keep or send what is typed into %s", field)
		}
	}
}
