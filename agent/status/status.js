"use strict";

const kEvery_ms = 2000, kPoints = 60;
const $ = (id) => document.getElementById(id);
let token = "";

// What the server answers, or an Error with its message and status.
async function call(path, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = "Bearer " + token;
  if (options.body) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, { ...options, headers });
  if (answer.ok) return answer;
  let said = answer.statusText;
  try { said = (await answer.json()).error.message; } catch { /* it was no JSON */ }
  throw Object.assign(new Error(said), { status: answer.status });
}

function say(id, text, bad = false) {
  $(id).textContent = text;
  $(id).classList.toggle("bad", bad);
}

// Elements are made, never parsed: names and texts of others stay text.
function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text ?? "";
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
function version(hex) {
  const cell = element("td");
  cell.append(hex ? element("code", hex.slice(0, 12), { title: hex }) : "none");
  return cell;
}

// ---- charts

const series = { generated: [], prompt: [], resident: [], anonymous: [] };
let before = null;

function numbers(text) {
  const found = {};
  for (const line of text.split("\n")) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{[^}]*\})? (\S+)$/.exec(line);
    if (match) found[match[1]] = Number(match[2]);
  }
  return found;
}

function push(name, value) {
  series[name].push(value);
  if (series[name].length > kPoints) series[name].shift();
}

function draw(id, first, second) {
  const top = Math.max(1e-9, ...first, ...second);
  const line = (values, style) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    made.setAttribute("class", style);
    made.setAttribute("points", values.map((value, i) =>
      `${(300 * (kPoints - values.length + i) / (kPoints - 1)).toFixed(1)},${(86 - 80 * value / top).toFixed(1)}`).join(" "));
    return made;
  };
  $(id).replaceChildren(line(first, "first"), line(second, "second"));
}

const mib = (bytes) => (bytes / 1048576).toFixed(1) + " MiB";

async function measure() {
  const now = { ...numbers(await (await call("metrics")).text()), at_ms: performance.now() };
  if (before) {
    const rate = (name) => Math.max(0, 1000 * (now[name] - before[name]) / (now.at_ms - before.at_ms));
    push("generated", rate("llamacpp:tokens_predicted_total"));
    push("prompt", rate("llamacpp:prompt_tokens_total"));
    draw("rate", series.generated, series.prompt);
    $("rate-now").textContent = series.generated.at(-1).toFixed(1);
    $("rate-text").textContent = `solid: generated, now ${series.generated.at(-1).toFixed(1)}; dashed: prompts, now ` +
      `${series.prompt.at(-1).toFixed(1)}; highest ${Math.max(...series.generated, ...series.prompt).toFixed(1)}`;
  }
  push("resident", now.process_resident_memory_bytes);
  push("anonymous", now.dgq_anonymous_memory_bytes);
  draw("memory", series.resident, series.anonymous);
  $("memory-now").textContent = mib(now.process_resident_memory_bytes);
  $("memory-text").textContent = `solid: in memory, weights included; dashed: without mapped files, ` +
    `${mib(now.dgq_anonymous_memory_bytes)}`;
  say("state", `${now["llamacpp:requests_processing"]} requests run, ${now["llamacpp:requests_deferred"]} wait`);
  before = now;
}

// ---- models and deployments

async function show_models() {
  const { data } = await (await call("v1/models")).json();
  $("models").replaceChildren(...data.map((model) => {
    const row = element("tr");
    row.append(element("td", model.id), version(model.meta?.version), element("td", model.meta?.n_ctx),
      element("td", model.meta?.n_vocab));
    return row;
  }));
  const names = data.map((model) => model.id);
  if (names.join("\n") === [...$("model").options].map((option) => option.value).join("\n")) return;
  const chosen = $("model").value;
  $("model").replaceChildren(...names.map((name) => element("option", name, { value: name })));
  if (names.includes(chosen)) $("model").value = chosen;
}

async function change(path, body, what) {
  try {
    await call(path, { method: "POST", body: JSON.stringify(body) });
    say("deploy-said", what);
  } catch (error) {
    say("deploy-said", error.message, true);
  }
  await refresh();
}

let deployments_shown = "";
async function show_deployments() {
  let list;
  try {
    list = (await (await call("v1/deployments")).json()).deployments;
  } catch (error) {
    if (error.status !== 404 && error.status !== 403) throw error;
    $("deployments-card").hidden = true;  // this agent has none, or not for us
    return;
  }
  $("deployments-card").hidden = false;
  const shown = JSON.stringify(list);
  if (shown === deployments_shown) return;  // a button keeps its focus
  deployments_shown = shown;
  $("deployments").replaceChildren(...list.map((one) => {
    const row = element("tr");
    const state = element("td", one.state);
    if (one.reason) state.append(element("div", one.reason, { class: "hint" }));
    const back = element("button", "Roll back", { type: "button", "aria-label": `Roll back ${one.name}` });
    back.disabled = !one.previous_version;
    back.onclick = () => change(`v1/deployments/${encodeURIComponent(one.name)}/rollback`, {}, `${one.name} goes back`);
    const cell = element("td");
    cell.append(back);
    row.append(element("td", one.name), element("td", one.model), version(one.active_version),
      version(one.previous_version), state, cell);
    return row;
  }));
}

$("deploy").onsubmit = (event) => {
  event.preventDefault();
  const name = $("deploy-name").value.trim(), model = $("deploy-model").value.trim();
  change(`v1/deployments/${encodeURIComponent(name)}`, { model }, `${name} is to become ${model}`);
};

// ---- the prompt

let asking = null;

// The data of each server-sent event.
async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2))
      if (text.startsWith("data: ")) yield text.slice(6, end);
  }
}

$("ask").onsubmit = async (event) => {
  event.preventDefault();
  asking?.abort();
  const mine = asking = new AbortController();
  $("stop").disabled = false;
  $("answer").textContent = "";
  say("answer-said", "waiting for the first token");
  const began = performance.now();
  let usage = null;
  try {
    const answer = await call("v1/completions", {
      method: "POST", signal: mine.signal,
      body: JSON.stringify({
        model: $("model").value, prompt: $("prompt").value, max_tokens: Number($("max-tokens").value),
        temperature: Number($("temperature").value), stream: true, stream_options: { include_usage: true },
      }),
    });
    for await (const data of events(answer)) {
      if (data === "[DONE]") break;
      const part = JSON.parse(data);
      if (part.error) throw new Error(part.error.message);
      usage = part.usage ?? usage;
      const text = part.choices[0]?.text;
      if (!text) continue;
      $("answer").append(text);
      say("answer-said", "");
    }
    const seconds = (performance.now() - began) / 1000;
    say("answer-said", usage ? `${usage.completion_tokens} tokens in ${seconds.toFixed(1)} s, after ` +
      `${usage.prompt_tokens} of the prompt (${usage.prompt_tokens_details?.cached_tokens ?? 0} from the cache)` : "");
  } catch (error) {
    say("answer-said", mine.signal.aborted ? "stopped" : error.message, !mine.signal.aborted);
  }
  if (asking === mine) {
    asking = null;
    $("stop").disabled = true;
  }
};
$("stop").onclick = () => asking?.abort();

// ---- all of it, again and again

async function refresh() {
  try {
    await measure();
    await show_models();
    await show_deployments();
    $("login").hidden = true;
  } catch (error) {
    before = null;  // a gap is no rate
    if (error.status === 401) $("login").hidden = false;
    say("state", error.status ? error.message : "the agent does not answer", true);
  }
}
$("login").onsubmit = (event) => {
  event.preventDefault();
  token = $("token").value;
  refresh();
};

async function keep_refreshing() {
  if (!document.hidden) await refresh();
  setTimeout(keep_refreshing, kEvery_ms);
}
keep_refreshing();
