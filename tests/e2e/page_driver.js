// Runs the page's script against a server, without a browser: its elements are
// plain objects, made of the ids in index.html. Reads commands, a JSON object a
// line, and answers each with what the page shows then.
//
//   node page_driver.js URL < commands
//
//   {"set": {"prompt": "Hi", "tokens": "8"}}   types into fields
//   {"click": "send"}                          and waits for the answer
//   {"looks": 2}                               waits until it has polled so often
"use strict";

const vm = require("vm");

const url = process.argv[2];

class Element {
  constructor(name) {
    this.name = name;
    this.children = [];
    this.listeners = {};
    Object.assign(this, { value: "", className: "", title: "", hidden: false, disabled: false });
    this.clientWidth = 500;
  }
  get textContent() {
    return this.children.map((c) => (c instanceof Element ? c.textContent : c)).join("");
  }
  set textContent(text) { this.children = [String(text)]; }
  get options() { return this.children.filter((c) => c.name === "option"); }
  append(...more) {
    this.children.push(...more.map((c) => (c instanceof Element ? c : String(c))));
  }
  replaceChildren(...children) {
    this.children = [];
    this.append(...children);
    // As a browser does: the first option is the chosen one.
    if (this.name === "select") this.value = this.options[0]?.textContent ?? "";
  }
  addEventListener(type, listener) { (this.listeners[type] ??= []).push(listener); }
  dispatch(type) {
    const event = { preventDefault() {} };
    return Promise.all((this.listeners[type] ?? []).map((listener) => listener(event)));
  }
  getContext() {
    return { scale() {}, fillRect() {}, fillText() {} };
  }
}

// The elements with an id, by it. What the markup nests does not matter to the
// script but for a select's options.
function elementsOf(html) {
  const elements = new Map();
  const tags = /<(\w+)([^>]*?)>/g;
  let select = null;
  for (let tag; (tag = tags.exec(html));) {
    const [, name, attributes] = tag;
    if (name === "option" && select) {
      const option = new Element("option");
      option.textContent = html.slice(tags.lastIndex, html.indexOf("<", tags.lastIndex));
      select.append(option);
      continue;
    }
    const id = /\bid="([^"]+)"/.exec(attributes)?.[1];
    if (!id) continue;
    const element = new Element(name);
    element.value = /\bvalue="([^"]*)"/.exec(attributes)?.[1] ?? "";
    element.hidden = /\bhidden\b/.test(attributes);
    if (name === "textarea") {
      element.value = html.slice(tags.lastIndex, html.indexOf("<", tags.lastIndex));
    }
    if (name === "select") select = element;
    elements.set(id, element);
  }
  return elements;
}

// Texts and classes, so that colours can be told.
function shown(element) {
  return {
    text: element.textContent,
    parts: element.children.filter((c) => c instanceof Element)
      .map((c) => ({ text: c.textContent, class: c.className, rows: c.children.length })),
    hidden: element.hidden, disabled: element.disabled, value: element.value,
  };
}

async function main() {
  const html = await (await fetch(url + "/")).text();
  const script = await (await fetch(url + "/page.js")).text();
  const elements = elementsOf(html);
  const session = new Map();
  let looks = 0;
  vm.runInNewContext(script, {
    document: {
      hidden: false,
      documentElement: new Element("html"),
      getElementById: (id) => elements.get(id),
      createElement: (name) => new Element(name),
    },
    window: { devicePixelRatio: 1 },
    getComputedStyle: () => ({ getPropertyValue: () => "" }),
    sessionStorage: {
      getItem: (key) => session.get(key) ?? null, setItem: (key, value) => session.set(key, value),
    },
    fetch: (path, options) => fetch(url + path, options),
    // The page polls by it, and by nothing else.
    setTimeout: (action, ms) => { ++looks; setTimeout(action, Math.min(ms, 50)); },
    AbortController, JSON, Math, Number, Object, Promise, Set, TextDecoderStream, console, performance,
  });

  const lines = require("readline").createInterface({ input: process.stdin });
  for await (const line of lines) {
    const command = JSON.parse(line);
    for (const [id, value] of Object.entries(command.set ?? {})) {
      elements.get(id).value = value;
      await elements.get(id).dispatch("change");
    }
    if (command.set) await elements.get("form").dispatch("input");
    if (command.click === "send") await elements.get("form").dispatch("submit");
    if (command.looks) {
      const until = looks + command.looks;
      while (looks < until) await new Promise((done) => setTimeout(done, 10));
    }
    const state = Object.fromEntries([...elements].map(([id, e]) => [id, shown(e)]));
    process.stdout.write(JSON.stringify(state) + "\n");
  }
  process.exit(0);
}

main().catch((error) => { console.error(error); process.exit(1); });
