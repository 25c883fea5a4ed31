package badinput

// webEndpoints are those of the page, which take nothing: what is wrong can only
// be method and path. The rows of "who may ask" hold here, too.
func webEndpoints() []endpoint {
	wrong := func(path string, more ...row) []row {
		return append([]row{
			{input: "method POST", request: post(path, `{"a":"CANARY"}`), status: 405, reason: "text: Method Not Allowed"},
			{input: "a query and a body", request: request{method: "GET", target: path + "?CANARY", body: "CANARY"}, status: 200},
			{input: "HEAD", request: request{method: "HEAD", target: path}, status: 200},
		}, more...)
	}
	missing := func(input, path string) row {
		return row{input: input, request: request{method: "GET", target: path}, status: 404, reason: "text: 404 page not found"}
	}
	return []endpoint{
		{name: "page: GET /", source: `"GET /{$}"`, addr: local, form: plainForm, good: get("/"), rows: wrong("/",
			missing("a path that is not there", "/CANARY"),
			missing("a file beside the page's", "/index.html"),
		)},
		{name: "page: GET /assets/{name}", source: `"GET /assets/{name}"`, addr: local, form: plainForm, good: get("/assets/app.js"), rows: []row{
			{input: "method DELETE", request: request{method: "DELETE", target: "/assets/app.js"}, status: 405, reason: "text: Method Not Allowed"},
			missing("a file that is not there", "/assets/CANARY.js"),
			missing("a kind of file that is not served", "/assets/index.html"),
			missing("the folder itself", "/assets/"),
			missing("dots, as escapes", "/assets/..%2findex.js"),
			missing("NUL in the name", "/assets/app.js%00.js"),
			{input: "dots in the path", request: request{method: "GET", target: "/assets/../../etc/passwd.js"}, status: 307, reason: "Location: /etc/passwd.js", form: redirectForm},
		}},
		{name: "page: GET /api/about", source: `"GET /api/about"`, addr: local, form: plainForm, good: get("/api/about"), rows: wrong("/api/about",
			missing("a path below it", "/api/about/CANARY"),
		)},
		{name: "page: GET /api/attestation", source: `"GET /api/attestation"`, addr: local, form: plainForm, good: get("/api/attestation"), rows: wrong("/api/attestation")},
		{name: "page: GET /api/attestation/document", source: `"GET /api/attestation/document"`, addr: local, form: plainForm, good: get("/api/attestation/document"), rows: wrong("/api/attestation/document",
			missing("a document of another name", "/api/attestation/CANARY"),
		)},
		{name: "local: HTTP itself", addr: local, form: plainForm, good: goodChat, rows: framingRows(32<<10, chatPath)},
	}
}
