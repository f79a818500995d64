// What applications do with OpenAI's client, against the agent at argv[2].
import assert from 'node:assert/strict';
import OpenAI from 'openai';

const client = new OpenAI({ baseURL: process.argv[2], apiKey: 'none', maxRetries: 0 });
const messages = [
  { role: 'system', content: 'You tell stories.' },
  { role: 'user', content: [{ type: 'text', text: 'The old king looked out over the sea.' }] },
];
const ask = { model: 'demo', messages, max_completion_tokens: 30, seed: 7, temperature: 0.7 };

const models = await client.models.list();
assert.deepEqual(models.data.map((model) => model.id), ['demo']);

const whole = await client.chat.completions.create(ask);
const answer = whole.choices[0].message.content;
assert.equal(whole.choices[0].message.role, 'assistant');
assert.ok(answer.length > 0);
assert.equal(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens);
assert.deepEqual((await client.chat.completions.create(ask)).choices, whole.choices, 'the same seed gives the same answer');

let streamed = '', usage, last;
for await (const chunk of await client.chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } })) {
  streamed += chunk.choices[0]?.delta?.content ?? '';
  last = chunk.choices[0]?.finish_reason ?? last;
  usage = chunk.usage ?? usage;
}
assert.equal(streamed, answer);
assert.equal(last, whole.choices[0].finish_reason);
assert.deepEqual(usage, whole.usage);
const helper = client.chat.completions.stream(ask);
assert.equal(await helper.finalContent(), answer, "the client's own collecting of a stream");

const probable = await client.chat.completions.create({ ...ask, logprobs: true, top_logprobs: 3 });
const tokens = probable.choices[0].logprobs.content;
assert.equal(tokens.length, probable.usage.completion_tokens);
assert.ok(tokens.every((token) => token.logprob <= 0 && token.top_logprobs.length === 3));
assert.equal(Buffer.from(tokens.flatMap((token) => token.bytes)).toString(), answer);

const schema = {
  type: 'object', additionalProperties: false, required: ['name', 'age', 'friends'],
  properties: {
    name: { type: 'string', maxLength: 20 },
    age: { type: 'integer', minimum: 1, maximum: 120 },
    friends: { type: 'array', maxItems: 3, items: { enum: ['king', 'boat', 'sea'] } },
  },
};
for (const max_completion_tokens of [45, 60, 200]) {
  const format = { type: 'json_schema', json_schema: { name: 'person', strict: true, schema } };
  const person = await client.chat.completions.create({ ...ask, max_completion_tokens, response_format: format });
  const { name, age, friends, ...rest } = JSON.parse(person.choices[0].message.content);
  assert.deepEqual(rest, {});
  assert.ok(typeof name === 'string' && Number.isInteger(age) && age >= 1 && age <= 120);
  assert.ok(friends.length <= 3 && friends.every((friend) => schema.properties.friends.items.enum.includes(friend)));
}

const completion = await client.completions.create({ model: 'demo', prompt: 'The old king', max_tokens: 10, stop: ['.'] });
assert.ok(!completion.choices[0].text.includes('.'));

// Functions that have to be called: all at once, as a stream, and in the client's own loop of calls and results.
const weather = { name: 'weather', description: 'Of a place', strict: true, parameters: {
  type: 'object', additionalProperties: false, required: ['place', 'days'],
  properties: { place: { enum: ['sea', 'hill'] }, days: { type: 'integer', minimum: 1, maximum: 7 } } } };
const calling = { ...ask, max_completion_tokens: 60, tool_choice: 'required',
                  tools: [{ type: 'function', function: weather }, { type: 'function', function: { name: 'stop' } }] };
function check(call) {
  const { place, days } = JSON.parse(call.arguments);
  assert.ok(call.name === 'stop' || (weather.parameters.properties.place.enum.includes(place) && days >= 1 && days <= 7));
}
const called = (await client.chat.completions.create(calling)).choices[0];
assert.equal(called.finish_reason, 'tool_calls');
assert.equal(called.message.content, null);
check(called.message.tool_calls[0].function);
const pieces = await client.chat.completions.stream(calling).finalChatCompletion();
assert.deepEqual(pieces.choices[0].message.tool_calls[0].function.arguments, called.message.tool_calls[0].function.arguments);
const asked = [];
const loop = client.chat.completions.runTools({ ...ask, max_completion_tokens: 60, tools: [{ type: 'function', function: {
  ...weather, parse: JSON.parse, function: (given) => (asked.push(given), 'rain') } }],
  tool_choice: { type: 'function', function: { name: 'weather' } } });
await loop.finalFunctionToolCallResult();
assert.equal(asked.length, 1);
check({ name: 'weather', arguments: JSON.stringify(asked[0]) });

// The demo's template shows the model no functions, so that it could not know of them unless it has to call one.
const error = await client.chat.completions.create({ ...calling, tool_choice: 'auto' }).catch((e) => e);
assert.ok(error instanceof OpenAI.BadRequestError && error.param === 'tools', String(error));
const unknown = await client.chat.completions.create({ ...ask, model: 'gpt-4' }).catch((e) => e);
assert.ok(unknown instanceof OpenAI.NotFoundError && unknown.code === 'model_not_found');
console.log("openai's client: models, chat, stream, logprobs, json_schema, tools, completions, errors");
