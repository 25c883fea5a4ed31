// Asks the server at OPENAI_BASE_URL with OpenAI's library for Node.js. Ends
// with an error, and what was expected, if anything is not as it should be.
// The words that make the server fail or wait are in server_test.go.

import assert from 'node:assert/strict';
import OpenAI from 'openai';

const model = 'echo-1';
const client = new OpenAI({ maxRetries: 0 });
const chat = (content, more = {}) => ({ model, messages: [{ role: 'user', content }], ...more });

const checks = {
  async models() {
    const ids = [];
    for await (const m of client.models.list()) ids.push(m.id);
    assert.deepEqual(ids, [model]);
    assert.equal((await client.models.retrieve(model)).object, 'model');
    await assert.rejects(client.models.retrieve('gpt-4o'), OpenAI.NotFoundError);
  },

  async chat() {
    const res = await client.chat.completions.create(chat('hello', { nitroseal: { receipt: true } }));
    const [choice] = res.choices;
    assert.deepEqual(choice.message, { role: 'assistant', content: 'hello', refusal: null });
    assert.equal(choice.finish_reason, 'stop');
    assert.deepEqual(res.usage, {
      prompt_tokens: 5, completion_tokens: 5, total_tokens: 10, prompt_tokens_details: { cached_tokens: 0 },
    });
    assert.match(res.system_fingerprint, /^fp_[0-9a-f]{24}$/);
    assert.match(res._request_id, /^req_/);
    assert.equal(Buffer.from(res.nitroseal.receipt, 'base64').toString(), 'proof');
    // The answer goes back as it came, for the next turn.
    const messages = [{ role: 'user', content: 'hello' }, choice.message, { role: 'user', content: 'again' }];
    const next = await client.chat.completions.create({ model, messages });
    assert.equal(next.choices[0].message.content, 'again');
  },

  async chatStream() {
    const stream = await client.chat.completions.create(chat('héllo 😀', {
      stream: true, stream_options: { include_usage: true },
    }));
    let text = '', finish, usage;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? '';
      finish = chunk.choices[0]?.finish_reason ?? finish;
      usage = chunk.usage ?? usage;
    }
    assert.equal(text, 'héllo 😀');
    assert.equal(finish, 'stop');
    assert.equal(usage.completion_tokens, 7);
  },

  async streamHelper() {
    const final = await client.chat.completions.stream(chat('hello')).finalChatCompletion();
    assert.equal(final.choices[0].message.content, 'hello');
  },

  async stop() {
    for (const stop of ['lo', ['x', 'lo']]) {
      const res = await client.chat.completions.create(chat('hello', { stop }));
      assert.equal(res.choices[0].message.content, 'hel');
      assert.equal(res.choices[0].finish_reason, 'stop');
    }
    const res = await client.chat.completions.create(chat('hello', { max_completion_tokens: 2 }));
    assert.equal(res.choices[0].message.content, 'he');
    assert.equal(res.choices[0].finish_reason, 'length');
  },

  async completions() {
    const res = await client.completions.create({ model, prompt: 'hello', logprobs: 1 });
    assert.equal(res.choices[0].text, 'hello');
    assert.deepEqual(res.choices[0].logprobs.text_offset, [0, 1, 2, 3, 4]);
    assert.equal(res.usage.total_tokens, 10);
    let text = '';
    const stream = await client.completions.create({ model, prompt: 'stream', stream: true });
    for await (const chunk of stream) text += chunk.choices[0].text;
    assert.equal(text, 'stream');
  },

  async parse() {
    const res = await client.chat.completions.parse(chat('{"n":"x"}', {
      response_format: {
        type: 'json_schema',
        json_schema: { name: 'city', strict: true, schema: { type: 'object', properties: { n: { type: 'string' } } } },
      },
    }));
    assert.equal(res.choices[0].message.content, '{"n":"x"}');
  },

  async errors() {
    const classes = {
      overloaded: [OpenAI.RateLimitError, 'rate_limit_error', 'overloaded'],
      prompt_too_long: [OpenAI.BadRequestError, 'invalid_request_error', 'context_length_exceeded'],
      kms_access_denied: [OpenAI.PermissionDeniedError, 'permission_error', 'kms_access_denied'],
      key_unknown: [OpenAI.ConflictError, 'server_error', 'key_unknown'],
      enclave_unavailable: [OpenAI.InternalServerError, 'server_error', 'enclave_unavailable'],
      untrusted: [OpenAI.InternalServerError, 'enclave_untrusted', 'attestation_policy'],
    };
    for (const [reason, [type, kind, code]] of Object.entries(classes)) {
      for (const stream of [false, true]) {
        const err = await client.chat.completions.create(chat(`fail ${reason}`, { stream })).catch((e) => e);
        assert.ok(err instanceof type, `${reason}: ${err}`);
        assert.deepEqual([err.type, err.code], [kind, code]);
      }
    }
    const refused = await client.chat.completions.create(chat('hello', { n: 2 })).catch((e) => e);
    assert.ok(refused instanceof OpenAI.BadRequestError);
    assert.deepEqual([refused.param, refused.code], ['n', 'unsupported_parameter']);
    const other = new OpenAI({ apiKey: 'sk-wrong', maxRetries: 0 });
    await assert.rejects(other.models.list(), OpenAI.AuthenticationError);
    // With a retry this would take its time, and the server would count it.
    const patient = new OpenAI({ maxRetries: 2 });
    await assert.rejects(patient.chat.completions.create(chat('fail untrusted')), OpenAI.InternalServerError);
  },

  async brokenStream() {
    const stream = await client.chat.completions.create(chat('break overloaded', { stream: true }));
    let text = '';
    const err = await (async () => {
      for await (const chunk of stream) text += chunk.choices[0].delta.content ?? '';
    })().catch((e) => e);
    assert.equal(text, 'bre');
    assert.ok(err instanceof OpenAI.APIError);
    assert.equal(err.code, 'overloaded');
  },

  // The server waits until this client is gone, three times.
  async abort() {
    const left = await client.chat.completions.create(chat('hold', { stream: true }));
    for await (const chunk of left) if (chunk.choices[0].delta.content === 'l') break;

    const aborted = await client.chat.completions.create(chat('hold', { stream: true }));
    for await (const chunk of aborted) if (chunk.choices[0].delta.content === 'l') aborted.controller.abort();

    const signal = new AbortController();
    const whole = client.chat.completions.create(chat('hold'), { signal: signal.signal });
    for (let i = 0; i < 3; i++) await client.chat.completions.create(chat('meet'));
    signal.abort();
    await assert.rejects(whole, OpenAI.APIUserAbortError);
  },
};

for (const [name, check] of Object.entries(checks)) {
  await check();
  console.log(`ok ${name}`);
}
