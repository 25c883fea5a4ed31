package web

import (
	"embed"
	"net/http"
	"path"
	"strconv"
)

//go:embed assets
var embedded embed.FS

// contentTypes are the kinds of file that the page is made of. They are given
// here, since Go would ask the machine's own tables.
var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

func servePage(w http.ResponseWriter, r *http.Request) {
	serve(w, r, "index.html", "text/html; charset=utf-8")
}

// serveAsset serves one file of the page. The files are compiled in: no path of
// a request reaches the machine's file system.
func serveAsset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	contentType, ok := contentTypes[path.Ext(name)]
	if !ok {
		http.NotFound(w, r)
		return
	}
	serve(w, r, name, contentType)
}

func serve(w http.ResponseWriter, r *http.Request, name, contentType string) {
	body, err := embedded.ReadFile("assets/" + name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}
