package badinput

import (
	"net/http"
	"strings"
)

// openaiForm is OpenAI's form of errors. The parameter that it names belongs to
// the reason.
func openaiForm(a answer) (string, error) {
	var body struct {
		Error struct {
			Message, Type, Code string
			Param               *string
		}
	}
	if err := jsonForm(a, "application/json", &body); err != nil || body.Error.Message == "" || body.Error.Type == "" {
		return "", errForm
	}
	if body.Error.Param != nil {
		return body.Error.Code + " (" + *body.Error.Param + ")", nil
	}
	return body.Error.Code, nil
}

func local(w *world) string { return w.local }

const asJSON = "Content-Type: application/json"

// post is a request of JSON.
func post(target, body string) request {
	return request{method: http.MethodPost, target: target, header: []string{asJSON}, body: body}
}

const (
	chatPath       = "/v1/chat/completions"
	completionPath = "/v1/completions"
	question       = `"messages":[{"role":"user","content":"CANARY"}]`
)

// chatBody is a good body, with more members.
func chatBody(more string) string { return `{"model":"` + modelName + `",` + question + more + `}` }

func completionBody(more string) string {
	return `{"model":"` + modelName + `","prompt":"CANARY"` + more + `}`
}

// chatWith is a bad member of a chat.
func chatWith(input, more, reason string) row {
	return row{input: input, request: post(chatPath, chatBody(more)), status: 400, reason: reason}
}

func completionWith(input, more, reason string) row {
	return row{input: input, request: post(completionPath, completionBody(more)), status: 400, reason: reason}
}

func goodChat(*world, string) request {
	return post(chatPath, chatBody(`,"max_tokens":2`))
}

func openaiEndpoints() []endpoint {
	return []endpoint{
		{name: "local: POST /v1/chat/completions", source: `"/v1/chat/completions"`, addr: local, form: openaiForm, good: goodChat, rows: chatRows()},
		{name: "local: POST /v1/completions", source: `"/v1/completions"`, addr: local, form: openaiForm, good: func(*world, string) request {
			return post(completionPath, completionBody(""))
		}, rows: completionRows()},
		{name: "local: GET /v1/models", source: `"/v1/models"`, addr: local, form: openaiForm, good: get("/v1/models"), rows: []row{
			{input: "method POST", request: post("/v1/models", `{"a":"CANARY"}`), status: 405, reason: "method_not_allowed"},
			{input: "method DELETE", request: request{method: "DELETE", target: "/v1/models"}, status: 405, reason: "method_not_allowed"},
			{input: "OPTIONS that is no preflight", request: request{method: "OPTIONS", target: "/v1/models"}, status: 405, reason: "method_not_allowed"},
			{input: "HEAD", request: request{method: "HEAD", target: "/v1/models"}, status: 200},
			{input: "a query that nobody knows", request: request{method: "GET", target: "/v1/models?limit=CANARY"}, status: 200},
			{input: "a body to GET", request: request{method: "GET", target: "/v1/models", body: "CANARY"}, status: 200},
		}},
		{name: "local: GET /v1/models/{id}", source: `"/v1/models/{id...}"`, addr: local, form: openaiForm, good: get("/v1/models/" + modelName), rows: []row{
			{input: "another model", request: request{method: "GET", target: "/v1/models/CANARY"}, status: 404, reason: "model_not_found (model)"},
			{input: "an id with slashes and escapes", request: request{method: "GET", target: "/v1/models/a/%2e%2e%2fCANARY%00"}, status: 404, reason: "model_not_found (model)"},
			{input: "an empty id", request: request{method: "GET", target: "/v1/models/"}, status: 404, reason: "model_not_found (model)"},
			{input: "the right id in capitals", request: request{method: "GET", target: "/v1/models/" + strings.ToUpper(modelName)}, status: 404, reason: "model_not_found (model)"},
			{input: "method DELETE", request: request{method: "DELETE", target: "/v1/models/" + modelName}, status: 405, reason: "method_not_allowed"},
			{input: "a bad escape in the path", request: request{method: "GET", target: "/v1/models/%zzCANARY"}, status: 400, reason: "text: 400 Bad Request", form: plainForm, ends: true},
		}},
		{name: "local: other paths under /v1/", source: `openai "/"`, addr: local, form: openaiForm, good: get("/v1/models"), rows: []row{
			{input: "a path of OpenAI's that is not there", request: post("/v1/embeddings", `{"input":"CANARY"}`), status: 404, reason: "unknown_url"},
			{input: "capitals in the path", request: post("/v1/Chat/completions", chatBody("")), status: 404, reason: "unknown_url"},
			{input: "a slash behind the path", request: post(chatPath+"/", chatBody("")), status: 404, reason: "unknown_url"},
			{input: "a doubled slash", request: request{method: "GET", target: "/v1//models"}, status: 307, reason: "Location: /v1/models", form: redirectForm},
			{input: "dots that leave the path", request: request{method: "GET", target: "/v1/../v1/models"}, status: 307, reason: "Location: /v1/models", form: redirectForm},
		}},
		{name: "local: with a token", addr: func(w *world) string { return w.guarded }, form: openaiForm, good: func(*world, string) request {
			return goodChat(nil, "").with("Authorization: Bearer " + apiToken)
		}, rows: []row{
			{input: "no token", request: goodChat(nil, ""), status: 401, reason: "invalid_api_key"},
			{input: "a wrong token", request: goodChat(nil, "").with("Authorization: Bearer CANARY"), status: 401, reason: "invalid_api_key"},
			{input: "the token's beginning", request: goodChat(nil, "").with("Authorization: Bearer " + apiToken[:8]), status: 401, reason: "invalid_api_key"},
			{input: "the token under another scheme", request: goodChat(nil, "").with("Authorization: Basic " + apiToken), status: 401, reason: "invalid_api_key"},
			{input: "the token in the query", request: post(chatPath+"?api_key="+apiToken, chatBody("")), status: 401, reason: "invalid_api_key"},
			{input: "a second Authorization that is right", request: goodChat(nil, "").with("Authorization: Bearer CANARY", "Authorization: Bearer "+apiToken), status: 401, reason: "invalid_api_key"},
			{input: "no token, for a path that is not there", request: request{method: "GET", target: "/v1/CANARY"}, status: 401, reason: "invalid_api_key"},
		}},
		{name: "local: who may ask", addr: local, form: openaiForm, good: goodChat, rows: guardRows()},
	}
}

func get(target string) func(*world, string) request {
	return func(*world, string) request { return request{method: http.MethodGet, target: target} }
}

func chatRows() []row {
	long := strings.Repeat("x", 2<<20)
	return append([]row{
		{input: "method GET", request: request{method: "GET", target: chatPath}, status: 405, reason: "method_not_allowed"},
		{input: "method HEAD", request: request{method: "HEAD", target: chatPath}, status: 405, reason: "–"},
		{input: "method PUT with a good body", request: request{method: "PUT", target: chatPath, header: []string{asJSON}, body: chatBody("")}, status: 405, reason: "method_not_allowed"},
		{input: "no content type", request: request{method: "POST", target: chatPath, body: chatBody("")}, status: 415, reason: "unsupported_content_type"},
		{input: "content type text/plain", request: request{method: "POST", target: chatPath, header: []string{"Content-Type: text/plain"}, body: chatBody("")}, status: 415, reason: "unsupported_content_type"},
		{input: "a form, as a page of another site can send it", request: request{method: "POST", target: chatPath, header: []string{"Content-Type: application/x-www-form-urlencoded"}, body: "CANARY=1"}, status: 415, reason: "unsupported_content_type"},
		{input: "content type with charset=utf-16", request: request{method: "POST", target: chatPath, header: []string{asJSON + "; charset=utf-16"}, body: chatBody("")}, status: 415, reason: "unsupported_content_type"},
		{input: "content type that does not parse", request: request{method: "POST", target: chatPath, header: []string{"Content-Type: application/json; CANARY"}, body: chatBody("")}, status: 415, reason: "unsupported_content_type"},
		{input: "content encoding gzip", request: post(chatPath, "\x1f\x8b\x08CANARY").with("Content-Encoding: gzip"), status: 415, reason: "unsupported_content_type"},
		{input: "a body that is gzip and does not say so", request: post(chatPath, "\x1f\x8b\x08CANARY"), status: 400, reason: "invalid_json"},
		{input: "an empty body", request: post(chatPath, ""), status: 400, reason: "invalid_json"},
		{input: "only white space", request: post(chatPath, " \r\n\t"), status: 400, reason: "invalid_json"},
		{input: "no JSON", request: post(chatPath, "CANARY"), status: 400, reason: "invalid_json"},
		{input: "JSON that is cut off", request: post(chatPath, chatBody("")[:30]), status: 400, reason: "invalid_json"},
		{input: "two JSON values", request: post(chatPath, chatBody("")+chatBody("")), status: 400, reason: "invalid_json"},
		{input: "NUL behind the JSON value", request: post(chatPath, chatBody("")+"\x00"), status: 400, reason: "invalid_json"},
		{input: "a byte order mark before it", request: post(chatPath, "\xef\xbb\xbf"+chatBody("")), status: 400, reason: "invalid_json"},
		{input: "bytes that are not UTF-8", request: post(chatPath, chatBody(",\"user\":\"CANARY\xff\"")), status: 400, reason: "invalid_json"},
		{input: "null in place of an object", request: post(chatPath, "null"), status: 400, reason: "invalid_type"},
		{input: "an array in place of an object", request: post(chatPath, `["CANARY"]`), status: 400, reason: "invalid_type"},
		{input: "20,000 nested arrays", request: post(chatPath, chatBody(`,"user":`+strings.Repeat("[", 20000)+strings.Repeat("]", 20000))), status: 400, reason: "invalid_json"},
		{input: "an empty object", request: post(chatPath, "{}"), status: 400, reason: "missing_required_parameter (model)"},
		{input: "a member twice", request: post(chatPath, chatBody(`,"model":"CANARY"`)), status: 400, reason: "invalid_json (model)"},
		{input: "a member in capitals, which Go's decoder would take", request: post(chatPath, chatBody(`,"Stream":true`)), status: 400, reason: "unknown_parameter (Stream)"},
		{input: "an unknown member, whose name is repeated", request: post(chatPath, chatBody(`,"CANARY":1`)), status: 400, reason: "unknown_parameter (canary)", form: unnamed, echoes: true},
		{input: "an unknown member whose name has 10,000 bytes", request: post(chatPath, chatBody(`,"`+strings.Repeat("é", 5000)+`CANARY":1`)), status: 400, reason: "unknown_parameter (" + strings.Repeat("é", 64) + "…)"},
		{input: "an unknown member whose name has control characters", request: post(chatPath, chatBody(`,"a\u0000\u001b[31m":1`)), status: 400, reason: "unknown_parameter (a\x00\x1b[31m)", form: escaped},
		{input: "a body over 2 MiB", request: post(chatPath, chatBody(`,"user":"`+long+`"`)), status: 413, reason: "request_too_large", ends: true},
		{input: "a chunked body over 2 MiB", request: request{method: "POST", target: chatPath, header: []string{asJSON, "Transfer-Encoding: chunked"}, unsized: true, body: "200001\r\n" + long + "x\r\n0\r\n\r\n"}, status: 413, reason: "request_too_large", ends: true},
		{input: "a body shorter than its Content-Length, then silence", request: request{method: "POST", target: chatPath, header: []string{asJSON, "Content-Length: 1000"}, unsized: true, body: chatBody(""), cut: true}, status: 400, reason: "incomplete_body", ends: true},
		{input: "a chunk whose length is no number", request: request{method: "POST", target: chatPath, header: []string{asJSON, "Transfer-Encoding: chunked"}, unsized: true, body: "CANARY\r\n"}, status: 400, reason: "incomplete_body", ends: true},
		{input: "another model", request: post(chatPath, `{"model":"CANARY",`+question+`}`), status: 404, reason: "model_not_found (model)"},
		{input: "another model, streamed", request: post(chatPath, `{"model":"CANARY","stream":true,`+question+`}`), status: 404, reason: "model_not_found (model)"},
		{input: "a model that is null", request: post(chatPath, `{"model":null,`+question+`}`), status: 400, reason: "missing_required_parameter (model)"},
		{input: "a model that is a number", request: post(chatPath, `{"model":1,`+question+`}`), status: 400, reason: "invalid_type (model)"},
		{input: "no messages", request: post(chatPath, `{"model":"tiny"}`), status: 400, reason: "missing_required_parameter (messages)"},
		{input: "an empty list of messages", request: post(chatPath, `{"model":"tiny","messages":[]}`), status: 400, reason: "empty_array (messages)"},
		{input: "messages that are an object", request: post(chatPath, `{"model":"tiny","messages":{"a":"CANARY"}}`), status: 400, reason: "invalid_type (messages)"},
		{input: "10,000 messages", request: post(chatPath, `{"model":"tiny","messages":[`+strings.Repeat(`{},`, 9999)+`{}]}`), status: 400, reason: "array_above_max_length (messages)"},
		message("a message that is a string", `"CANARY"`, "invalid_type (messages[0])"),
		message("a message without a role", `{"content":"CANARY"}`, "missing_required_parameter (messages[0].role)"),
		message("a role that nobody has", `{"role":"CANARY","content":"a"}`, "invalid_value (messages[0].role)"),
		message("a tool's message", `{"role":"tool","content":"CANARY"}`, "unsupported_value (messages[0].role)"),
		message("a message without content", `{"role":"user"}`, "missing_required_parameter (messages[0].content)"),
		message("content that is a number", `{"role":"user","content":5}`, "invalid_type (messages[0].content)"),
		message("an image", `{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://CANARY"}}]}`, "unsupported_value (messages[0].content[0].type)"),
		message("half a character, as an escape", `{"role":"user","content":"CANARY\ud800"}`, "invalid_value (messages[0].content)"),
		message("a conversation that ends with the assistant", `{"role":"assistant","content":"CANARY"}`, "invalid_value (messages)"),
		message("a question of white space", `{"role":"user","content":" \n"}`, "empty_question"),
		message("a question over 1 MiB", `{"role":"user","content":"`+strings.Repeat("x", 1<<20+1)+`"}`, "context_length_exceeded (messages)"),
		message("a question longer than the model's context", `{"role":"user","content":"`+strings.Repeat("x", 5000)+`"}`, "context_length_exceeded"),
	},
		chatWith("a temperature over 2", `,"temperature":2.5`, "invalid_value (temperature)"),
		chatWith("a temperature under 0", `,"temperature":-1`, "invalid_value (temperature)"),
		chatWith("a number that no float holds", `,"temperature":1e999`, "invalid_value (temperature)"),
		chatWith("a number as a string", `,"top_p":"1"`, "invalid_value (top_p)"),
		chatWith("max_tokens 0", `,"max_tokens":0`, "invalid_value (max_tokens)"),
		chatWith("max_tokens -1", `,"max_tokens":-1`, "invalid_value (max_tokens)"),
		chatWith("max_tokens 1.5", `,"max_tokens":1.5`, "invalid_value (max_tokens)"),
		chatWith("max_tokens over 64 bits", `,"max_tokens":99999999999999999999`, "invalid_value (max_tokens)"),
		chatWith("max_tokens that is an object", `,"max_tokens":{"a":"CANARY"}`, "invalid_value (max_tokens)"),
		chatWith("two numbers for the same limit", `,"max_tokens":5,"max_completion_tokens":6`, "invalid_value (max_completion_tokens)"),
		chatWith("a seed over 32 bits", `,"seed":4294967296`, "invalid_value (seed)"),
		chatWith("stream that is a string", `,"stream":"true"`, "invalid_type (stream)"),
		chatWith("stream_options without stream", `,"stream_options":{"include_usage":true}`, "invalid_value (stream_options)"),
		chatWith("an unknown member of an inner object", `,"stream":true,"stream_options":{"x":1}`, "unknown_parameter (stream_options.x)"),
		chatWith("17 stop strings", `,"stop":["1"`+strings.Repeat(`,"1"`, 16)+`]`, "array_above_max_length (stop)"),
		chatWith("an empty stop string", `,"stop":""`, "invalid_value (stop)"),
		chatWith("a stop string of 257 bytes", `,"stop":"`+strings.Repeat("x", 257)+`"`, "invalid_value (stop)"),
		chatWith("null among the stop strings", `,"stop":[null]`, "invalid_type (stop)"),
		chatWith("several answers", `,"n":2`, "unsupported_parameter (n)"),
		chatWith("tools", `,"tools":[{"type":"function","function":{"name":"CANARY"}}]`, "unsupported_parameter (tools)"),
		chatWith("a grammar that does not parse", `,"grammar":"root ::= (CANARY"`, "invalid_grammar (grammar)"),
		chatWith("a grammar over 64 KiB", `,"grammar":"root ::= `+strings.Repeat(" ", 64<<10)+`"`, "invalid_value (grammar)"),
		chatWith("a grammar beside a schema", `,"grammar":"root ::= \"a\"","response_format":{"type":"json_object"}`, "invalid_value (grammar)"),
		chatWith("an unknown response format", `,"response_format":{"type":"CANARY"}`, "invalid_value (response_format.type)"),
		chatWith("a schema with an unknown type", `,"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"CANARY"}}}`, "invalid_schema (response_format.json_schema.schema)"),
		chatWith("top_logprobs without logprobs", `,"top_logprobs":1`, "invalid_value (top_logprobs)"),
		chatWith("21 top_logprobs", `,"logprobs":true,"top_logprobs":21`, "invalid_value (top_logprobs)"),
		chatWith("a receipt that is a string", `,"nitroseal":{"receipt":"CANARY"}`, "invalid_type (nitroseal.receipt)"),
	)
}

// message is a bad message.
func message(input, raw, reason string) row {
	return row{input: input, request: post(chatPath, `{"model":"tiny","messages":[`+raw+`]}`), status: 400, reason: reason}
}

// unnamed is openaiForm without the name of the canary.
func unnamed(a answer) (string, error) {
	reason, err := openaiForm(a)
	if i := strings.Index(reason, "canary"); i >= 0 {
		reason = reason[:i] + "canary)"
	}
	return reason, err
}

// escaped is openaiForm of a message in which no control character stands.
func escaped(a answer) (string, error) {
	if strings.ContainsAny(string(a.body), "\x00\x1b") {
		return "", errForm
	}
	return openaiForm(a)
}

func completionRows() []row {
	return []row{
		{input: "method GET", request: request{method: "GET", target: completionPath}, status: 405, reason: "method_not_allowed"},
		{input: "content type text/plain", request: request{method: "POST", target: completionPath, header: []string{"Content-Type: text/plain"}, body: completionBody("")}, status: 415, reason: "unsupported_content_type"},
		{input: "an empty object", request: post(completionPath, "{}"), status: 400, reason: "missing_required_parameter (model)"},
		{input: "no prompt", request: post(completionPath, `{"model":"tiny"}`), status: 400, reason: "missing_required_parameter (prompt)"},
		{input: "a prompt that is null", request: post(completionPath, `{"model":"tiny","prompt":null}`), status: 400, reason: "missing_required_parameter (prompt)"},
		{input: "a prompt of tokens", request: post(completionPath, `{"model":"tiny","prompt":[1,2]}`), status: 400, reason: "unsupported_value (prompt)"},
		{input: "several prompts", request: post(completionPath, `{"model":"tiny","prompt":["CANARY","b","c"]}`), status: 400, reason: "unsupported_value (prompt)"},
		{input: "an empty list of prompts", request: post(completionPath, `{"model":"tiny","prompt":[]}`), status: 400, reason: "unsupported_value (prompt)"},
		{input: "a prompt that is an object", request: post(completionPath, `{"model":"tiny","prompt":{"a":"CANARY"}}`), status: 400, reason: "invalid_type (prompt)"},
		{input: "an empty prompt", request: post(completionPath, `{"model":"tiny","prompt":""}`), status: 400, reason: "empty_question"},
		{input: "a prompt over 1 MiB", request: post(completionPath, `{"model":"tiny","prompt":"`+strings.Repeat("x", 1<<20+1)+`"}`), status: 400, reason: "context_length_exceeded (prompt)"},
		{input: "another model", request: post(completionPath, `{"model":"CANARY","prompt":"a"}`), status: 404, reason: "model_not_found (model)"},
		completionWith("messages in place of a prompt", `,"messages":[]`, "unknown_parameter (messages)"),
		completionWith("logprobs true, which is a chat's", `,"logprobs":true`, "invalid_value (logprobs)"),
		completionWith("best_of 2", `,"best_of":2`, "unsupported_parameter (best_of)"),
		completionWith("a suffix", `,"suffix":"CANARY"`, "unsupported_parameter (suffix)"),
	}
}

// guardRows are requests that a page of another site, or one whose name was made
// to lead here, can have a browser send.
func guardRows() []row {
	hostile := func(r request, host string) request {
		r.host = host
		return r
	}
	return []row{
		{input: "the name of another site (DNS rebinding)", request: hostile(goodChat(nil, ""), "canary.example"), status: 403, reason: "host_not_allowed"},
		{input: "a name that begins with localhost", request: hostile(goodChat(nil, ""), "localhost.CANARY.example"), status: 403, reason: "host_not_allowed"},
		{input: "another site in the request line, this one in Host", request: request{method: "GET", target: "http://CANARY.example/v1/models"}, status: 403, reason: "host_not_allowed"},
		{input: "HTTP/1.0 without a Host", request: request{method: "GET", raw: "GET /v1/models HTTP/1.0\r\n\r\n"}, status: 403, reason: "host_not_allowed", ends: true},
		{input: "a page of another origin", request: goodChat(nil, "").with("Origin: https://CANARY.example"), status: 403, reason: "origin_not_allowed"},
		{input: "origin null, of a file or a frame in a sandbox", request: goodChat(nil, "").with("Origin: null"), status: 403, reason: "origin_not_allowed"},
		{input: "another port of this machine", request: goodChat(nil, "").with("Origin: http://127.0.0.1:1"), status: 403, reason: "origin_not_allowed"},
		{input: "two origins", request: goodChat(nil, "").with("Origin: https://ui.example", "Origin: https://CANARY.example"), status: 403, reason: "origin_not_allowed"},
		{input: "the allowed origin under another scheme", request: goodChat(nil, "").with("Origin: http://ui.example"), status: 403, reason: "origin_not_allowed"},
		{input: "Sec-Fetch-Site: cross-site without an origin", request: request{method: "GET", target: "/v1/models", header: []string{"Sec-Fetch-Site: cross-site"}}, status: 403, reason: "origin_not_allowed"},
		{input: "Sec-Fetch-Site: same-site, another server of this machine", request: request{method: "GET", target: "/v1/models", header: []string{"Sec-Fetch-Site: same-site"}}, status: 403, reason: "origin_not_allowed"},
		{input: "a preflight of another origin", request: request{method: "OPTIONS", target: chatPath, header: []string{"Origin: https://CANARY.example", "Access-Control-Request-Method: POST"}}, status: 403, reason: "origin_not_allowed"},
		{input: "a preflight of the allowed origin, for a header with a line break's worth of junk", request: request{method: "OPTIONS", target: chatPath, header: []string{"Origin: https://ui.example", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: x;CANARY"}}, status: 204},
		{input: "the page's own statistics for another origin", request: request{method: "GET", target: "/api/about", header: []string{"Origin: https://CANARY.example"}}, status: 403, reason: "origin_not_allowed"},
	}
}
