// What a node does and why, from the same paths that anyone may ask: no state
// of its own but the last minutes of samples.
"use strict";

const $ = (id) => document.getElementById(id);
const element = (name, text, classes) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (classes) made.className = classes;
  return made;
};

const count = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;

// --- Asking -----------------------------------------------------------------

class HttpError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

function headers() {
  const key = $("key").value;
  return key ? { Authorization: `Bearer ${key}` } : {};
}

async function ask(path, options = {}) {
  const reply = await fetch(path, {
    ...options, headers: { ...headers(), ...options.headers },
  });
  if (reply.ok) return reply;
  let message = `${reply.status} ${reply.statusText}`;
  try {
    message = (await reply.json()).error.message;
  } catch { /* no JSON: the status says it */ }
  throw new HttpError(reply.status, message);
}

const askJson = async (path) => (await ask(path)).json();

// --- Rows -------------------------------------------------------------------

const kSampleMs = 500;
const kSamples = 240;  // two minutes
const samples = [];    // of kParts, rows per second
let last = null;       // the counters before

function takeSample(state) {
  const { streams, best_of: candidates } = state;
  const now = {
    at: state.now_s,
    requests: state.devices.reduce((sum, d) => sum + d.decode_tokens, 0),
    gangs: streams.gang_rows,
    streams: streams.rows_filled,
    candidates: candidates.rows_filled,
    catching: streams.tokens_caught_up + candidates.tokens_caught_up,
    offered: streams.rows_offered + candidates.rows_offered,
  };
  if (last && now.at > last.at) {
    const rate = (field) => Math.max(0, (now[field] - last[field]) / (now.at - last.at));
    samples.push({
      requests: rate("requests"),
      gangs: rate("gangs"),
      streams: rate("streams"),
      candidates: rate("candidates"),
      catching: rate("catching"),
      idle: Math.max(0, rate("offered") - rate("streams") - rate("candidates")),
    });
    if (samples.length > kSamples) samples.shift();
  }
  last = now;
}

const kParts = ["requests", "gangs", "streams", "candidates", "catching", "idle"];
const kPartNames = { gangs: "fixed streams", catching: "catching up" };

function drawRows() {
  const canvas = $("rows");
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = 140;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const style = getComputedStyle(document.documentElement);
  const most = Math.max(
    1, ...samples.map((s) => kParts.reduce((sum, part) => sum + s[part], 0)));
  // Edges lie between the screen's dots: else neighbours would blend.
  const snap = (length) => Math.round(length * scale) / scale;
  const edge = (i) => snap(width * (1 - (samples.length - i) / kSamples));
  samples.forEach((sample, i) => {
    let sum = 0, base = height;
    for (const part of kParts) {
      sum += sample[part];
      const top = snap(height - (sum / most) * (height - 16));
      pen.fillStyle = style.getPropertyValue(`--${part}`);
      pen.fillRect(edge(i), top, edge(i + 1) - edge(i), base - top);
      base = top;
    }
  });
  pen.fillStyle = style.getPropertyValue("--quiet");
  pen.font = "11px system-ui, sans-serif";
  pen.fillText(`${count(Math.round(most), "row")}/s`, 4, 12);
}

function describeRows(state) {
  const sample = samples.at(-1);
  if (!sample) return;
  const line = $("rows-now");
  line.replaceChildren();
  for (const part of kParts) {
    const item = element("span", "", "item");
    item.append(element("span", "", `swatch ${part}`),
                `${kPartNames[part] ?? part} ${sample[part].toFixed(0)}/s`);
    line.append(item, " ");
  }
  line.append(element("span", `now ${count(state.decoding, "request")}, ` +
                              `${count(state.streams.active, "more stream")}`, "item"));
}

// --- Tables -----------------------------------------------------------------

// Columns of numbers stand on the right.
const kNumbers = ["ago", "steps", "step error", "request"];

function fillTable(table, titles, rows) {
  const line = (kind, cells) => {
    const made = element("tr");
    cells.forEach((cell, i) => made.append(
      element(kind, cell, kNumbers.includes(titles[i]) ? "number" : "")));
    return made;
  };
  table.replaceChildren(line("th", titles), ...rows.map((row) => line("td", row)));
}

// How wrong a device's steps were predicted lately, where it has run most.
function errorOf(device) {
  const models = [...device.step_time_models].sort((a, b) => b.observed - a.observed);
  return `${(100 * (models[0]?.relative_error ?? 0)).toFixed(1)} %`;
}

function showDevices(state) {
  fillTable($("devices"), ["device", "role", "state", "steps", "step error"],
    state.devices.map((device) => [
      device.device, device.role, device.up ? "up" : "lost", device.steps,
      errorOf(device),
    ]));
}

function showDecisions(page) {
  fillTable($("why"), ["ago", "what", "why", "request", "where"],
    page.decisions.slice(-12).reverse().map((d) => [
      `${Math.max(0, page.now_s - d.time_s).toFixed(1)} s`, d.kind, d.reason,
      d.request ?? "", [...new Set([d.prefill, d.decode])].filter(Boolean).join(" → "),
    ]));
}

// --- State ------------------------------------------------------------------

function showState(health) {
  const text = health.reasons?.length ? `${health.status}: ${health.reasons.join("; ")}`
                                      : health.status;
  $("state").textContent = `${text} · ${health.queued} queued, ${health.decoding} decoding`;
}

// Says what the playground can ask of it, too.
function showModel(model) {
  $("model").textContent = model.id;
  const parscale = model.parscale;
  if (!parscale) {
    $("mode").replaceChildren(element("option", "off"));
  } else {
    $("mode").options[0].textContent = `server's: ${parscale.mode}`;
    $("streams").max = $("streams").value = parscale.max;
  }
  showFields();
}

async function look() {
  try {
    showState(await askJson("/health"));
    const state = await askJson("/debug/scheduler");
    takeSample(state);
    drawRows();
    describeRows(state);
    showDevices(state);
    showDecisions(await askJson("/debug/decisions?limit=12"));
    if (!$("model").textContent) showModel((await askJson("/v1/models")).data[0]);
  } catch (error) {
    if (error.status === 401) $("key-field").hidden = false;
    $("state").textContent = error.message;
  } finally {
    setTimeout(look, document.hidden ? 4 * kSampleMs : kSampleMs);
  }
}

// --- Playground -------------------------------------------------------------

// The data of each server-sent event, without the closing [DONE].
async function* events(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.startsWith("data: ") ? part.slice(6) : "";
      if (data && data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

// Any other fields of the API, written out.
function moreFields() {
  const text = $("more").value.trim();
  try {
    return text ? JSON.parse(text) : {};
  } catch (error) {
    throw new Error(`More fields: ${error.message}`);
  }
}

// What goes with what: see README, "The best of several answers".
function bodyOf() {
  const body = {
    messages: [{ role: "user", content: $("prompt").value }],
    max_tokens: Number($("tokens").value),
    temperature: Number($("temperature").value),
  };
  const candidates = Number($("best-of").value);
  if (candidates > 1) return { ...body, best_of: candidates, ...moreFields() };
  const mode = $("mode").value;
  body.parscale = { per_token: true };
  if (mode) body.parscale.mode = mode;
  if (!$("streams").disabled) body.parscale.max = Number($("streams").value);
  return { ...body, stream: true, stream_options: { include_usage: true }, ...moreFields() };
}

// Greys out what would not be asked for.
function showFields() {
  const mode = $("mode").value;
  $("mode").disabled = Number($("best-of").value) > 1;
  $("streams").disabled = $("mode").disabled || mode === "" || mode === "off";
}

// Each as it comes: what the text has cost is known with the last one.
async function showStream(reply, told) {
  for await (const chunk of events(reply)) {
    if (chunk.error) throw new Error(chunk.error.message);
    told.usage = chunk.usage ?? told.usage;
    const choice = chunk.choices[0];
    const text = choice?.delta?.content;
    if (!text) continue;
    told.first ??= performance.now();
    // One event is one step's text: its colour is that of the newest token.
    const streams = choice.parscale_streams?.at(-1) ?? 1;
    told.most = Math.max(told.most, streams);
    const span = element("span", text, `p${streams}`);
    span.title = count(streams, "stream");
    const answer = $("answer");
    answer.append(span);
    answer.scrollTop = answer.scrollHeight;
  }
}

async function showWhole(reply, told) {
  const whole = await reply.json();
  told.usage = whole.usage;
  $("answer").append(whole.choices[0].message.content);
}

let running = null;  // the AbortController of the answer that comes

async function send(event) {
  event.preventDefault();
  running = new AbortController();
  $("send").disabled = true;
  $("stop").disabled = false;
  $("answer").replaceChildren();
  const told = { started: performance.now(), first: null, usage: null, most: 1, ignored: null };
  try {
    const body = bodyOf();
    $("answer-facts").textContent =
      body.best_of ? `${body.best_of} candidates are drawn: the best is told as a whole` : "";
    const reply = await ask("/v1/chat/completions", {
      method: "POST", signal: running.signal,
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    told.ignored = reply.headers.get("x-ignored-fields");
    await (body.stream ? showStream : showWhole)(reply, told);
  } catch (error) {
    if (error.name !== "AbortError") {
      $("answer").append(element("span", error.message, "error"));
    }
  } finally {
    showFacts(told);
    $("send").disabled = false;
    $("stop").disabled = true;
    running = null;
  }
}

function showFacts({ started, first, usage, most, ignored }) {
  const facts = $("answer-facts");
  facts.textContent = "";
  if (!usage) return;
  const now = performance.now();
  const parts = [`${usage.completion_tokens} tokens`];
  if (first === null) {
    parts.unshift(`${(now - started).toFixed(0)} ms`);
  } else {
    const seconds = Math.max(now - first, 1) / 1000;
    parts.unshift(`first token ${(first - started).toFixed(0)} ms`);
    parts.push(`${((usage.completion_tokens - 1) / seconds).toFixed(0)} tokens/s`);
  }
  if (usage.parscale && $("mode").value !== "off") parts.push(`${usage.parscale.mean.toFixed(2)} streams on average`);
  if (ignored) parts.push(`without effect: ${ignored}`);
  facts.append(parts.join(" · "));
  if (most > 1) {
    facts.append(" · streams: ");
    for (let p = 1; p <= most; ++p) facts.append(element("span", ` ${p} `, `p${p}`));
  }
  if (usage.best_of) showBestOf(usage.best_of, facts);
}

// The candidates by self-certainty, the best one marked.
function showBestOf({ asked, complete, chosen, self_certainty: certainties }, facts) {
  facts.append(` · ${asked} candidates, ${complete} complete; by self-certainty: `);
  certainties.forEach((certainty, i) => facts.append(element("span",
    `${i}: ${certainty === null ? "not in time" : certainty.toFixed(3)}`,
    i === chosen ? "candidate best" : "candidate"), " "));
}

// --- Start ------------------------------------------------------------------

$("key").value = sessionStorage.getItem("key") ?? "";
$("key").addEventListener("change", () => sessionStorage.setItem("key", $("key").value));
$("form").addEventListener("submit", send);
$("form").addEventListener("input", showFields);
showFields();
$("stop").addEventListener("click", () => running?.abort());
$("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("form").requestSubmit();
});
look();
