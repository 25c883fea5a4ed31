package badinput

// adminEndpoints are the operators' side, and the probes on the clients'.
func adminEndpoints() []endpoint {
	admin := func(w *world) string { return w.admin }
	wrong := func(path string) []row {
		return []row{
			{input: "method POST", request: post(path, `{"a":"CANARY"}`), status: 405, reason: "text: Method Not Allowed"},
			{input: "a slash behind the path", request: request{method: "GET", target: path + "/"}, status: 404, reason: "text: 404 page not found"},
			{input: "a query and a body", request: request{method: "GET", target: path + "?CANARY", body: "CANARY"}, status: 200},
		}
	}
	return []endpoint{
		{name: "admin: GET /metrics", source: `"GET /metrics"`, addr: admin, form: plainForm, good: get("/metrics"), rows: append(wrong("/metrics"),
			row{input: "a sealed question", request: sealed("/v1/session/ask", "CANARY"), status: 404, reason: "text: 404 page not found"},
			row{input: "headers over the limit", request: framingRows(16<<10, "/metrics")[9].request, status: 431, reason: "text: 431 Request Header Fields Too Large", ends: true},
		)},
		{name: "admin: GET /healthz", source: `"GET /healthz"`, addr: admin, form: plainForm, good: get("/healthz"), rows: wrong("/healthz")},
		{name: "admin: GET /readyz", source: `"GET /readyz"`, addr: admin, form: plainForm, good: get("/readyz"), rows: wrong("/readyz")},
		{name: "parent: GET /healthz and /readyz", addr: parent, form: plainForm, good: get("/readyz"), rows: []row{
			{input: "method POST to /healthz", request: post("/healthz", "CANARY"), status: 405, reason: "text: Method Not Allowed"},
			{input: "method POST to /readyz", request: post("/readyz", "CANARY"), status: 405, reason: "text: Method Not Allowed"},
			{input: "HEAD", request: request{method: "HEAD", target: "/readyz"}, status: 200},
		}},
	}
}
