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
  const streams = state.streams ?? {};
  const now = {
    at: state.now_s,
    decoded: state.devices.reduce((sum, d) => sum + (d.decode_tokens ?? 0), 0),
    offered: streams.rows_offered ?? 0,
    filled: streams.rows_filled ?? 0,
    catching: streams.tokens_caught_up ?? 0,
    gangs: streams.gang_rows ?? 0,
  };
  if (last && now.at > last.at) {
    const rate = (field) => Math.max(0, (now[field] - last[field]) / (now.at - last.at));
    samples.push({
      requests: rate("decoded"),
      gangs: rate("gangs"),
      streams: rate("filled"),
      catching: rate("catching"),
      idle: Math.max(0, rate("offered") - rate("filled")),
    });
    if (samples.length > kSamples) samples.shift();
  }
  last = now;
}

const kParts = ["requests", "gangs", "streams", "catching", "idle"];
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
  const step = width / kSamples;
  const left = width - samples.length * step;
  samples.forEach((sample, i) => {
    let base = height;
    for (const part of kParts) {
      const bar = (sample[part] / most) * (height - 16);
      pen.fillStyle = style.getPropertyValue(`--${part}`);
      pen.fillRect(left + i * step, base - bar, Math.ceil(step), bar);
      base -= bar;
    }
  });
  pen.fillStyle = style.getPropertyValue("--quiet");
  pen.font = "11px system-ui, sans-serif";
  pen.fillText(`${Math.round(most)} rows/s`, 4, 12);
}

function describeRows(state) {
  const sample = samples.at(-1);
  if (!sample) return;
  const line = $("rows-now");
  line.replaceChildren();
  for (const part of kParts) {
    line.append(element("span", "", `swatch ${part}`),
                `${kPartNames[part] ?? part} ${sample[part].toFixed(0)}/s`);
  }
  const active = state.streams?.active;
  if (active !== undefined) {
    line.append(` · ${state.decoding} requests, ${active} more streams`);
  }
}

// --- Tables -----------------------------------------------------------------

// Cells that are numbers stand on the right.
function fillTable(table, titles, rows) {
  const head = element("tr");
  for (const title of titles) head.append(element("th", title));
  table.replaceChildren(head, ...rows.map((row) => {
    const line = element("tr");
    for (const cell of row) {
      line.append(element("td", cell, typeof cell === "number" ? "number" : ""));
    }
    return line;
  }));
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
      d.request ?? "", [d.prefill, d.decode].filter(Boolean).join(" → "),
    ]));
}

// --- State ------------------------------------------------------------------

function showState(health) {
  const text = health.reasons?.length ? `${health.status}: ${health.reasons.join("; ")}`
                                      : health.status;
  $("state").textContent = `${text} · ${health.queued} queued, ${health.decoding} decoding`;
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
    if (!$("model").textContent) {
      $("model").textContent = (await askJson("/v1/models")).data[0].id;
    }
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

function bodyOf() {
  const body = {
    messages: [{ role: "user", content: $("prompt").value }],
    max_tokens: Number($("tokens").value),
    temperature: Number($("temperature").value),
    stream: true,
    stream_options: { include_usage: true },
  };
  const mode = $("mode").value;
  if (mode) {
    body.parscale = { mode, per_token: true };
    if (mode !== "off") body.parscale.max = Number($("streams").value);
  }
  return body;
}

let running = null;  // the AbortController of the answer that comes

async function send(event) {
  event.preventDefault();
  running = new AbortController();
  $("send").disabled = true;
  $("stop").disabled = false;
  const answer = $("answer"), facts = $("answer-facts");
  answer.replaceChildren();
  facts.textContent = "";
  const started = performance.now();
  let first = null, usage = null;
  try {
    const reply = await ask("/v1/chat/completions", {
      method: "POST", signal: running.signal,
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(bodyOf()),
    });
    for await (const chunk of events(reply)) {
      if (chunk.error) throw new Error(chunk.error.message);
      usage = chunk.usage ?? usage;
      const choice = chunk.choices[0];
      const text = choice?.delta?.content;
      if (!text) continue;
      first ??= performance.now();
      // One event is one step's text: its colour is that of the newest token.
      const streams = choice.parscale_streams?.at(-1) ?? 1;
      const span = element("span", text, `p${streams}`);
      span.title = streams === 1 ? "one stream" : `${streams} streams`;
      answer.append(span);
      answer.scrollTop = answer.scrollHeight;
    }
  } catch (error) {
    if (error.name !== "AbortError") answer.append(element("span", error.message, "error"));
  } finally {
    showFacts(started, first, usage);
    $("send").disabled = false;
    $("stop").disabled = true;
    running = null;
  }
}

function showFacts(started, first, usage) {
  if (first === null || !usage) return;
  const seconds = (performance.now() - first) / 1000;
  const parts = [
    `first token ${(first - started).toFixed(0)} ms`,
    `${usage.completion_tokens} tokens`,
    `${((usage.completion_tokens - 1) / Math.max(seconds, 1e-3)).toFixed(0)} tokens/s`,
  ];
  if (usage.parscale) parts.push(`${usage.parscale.mean.toFixed(2)} streams on average`);
  const facts = $("answer-facts");
  facts.textContent = parts.join(" · ") + " ";
  for (let p = 1; p <= 4; ++p) facts.append(element("span", ` ${p} `, `p${p}`));
}

// --- Start ------------------------------------------------------------------

$("key").value = sessionStorage.getItem("key") ?? "";
$("key").addEventListener("change", () => sessionStorage.setItem("key", $("key").value));
$("form").addEventListener("submit", send);
$("stop").addEventListener("click", () => running?.abort());
$("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("form").requestSubmit();
});
look();
