"use strict";

/* The status page at work: asks the server what it did, and shows it.

   Strategy: one loop asks for status.json, twice a second while an answer is under way, every two seconds
   otherwise, never while nobody looks. Each request has one row, made from a template and kept under the
   request's id; a new answer changes texts and attributes of that row, and only those that differ, so nothing
   flickers and focus stays. A request that is over is drawn once. Whatever the server tells goes into the page
   as text (textContent, attributes of drawings), so that a hostile model id is only a strange one. */

{
  const BUSY_MS = 500;
  const IDLE_MS = 2000;
  const PATIENCE_MS = 5000;
  const MOST = 200; // requests that the server lists
  const NOTHING = "–";

  const OUTCOMES = {
    open: { mark: "●", word: "open", drawn: "" },
    complete: { mark: "✓", word: "answered", drawn: "" },
    refused: { mark: "⊘", word: "refused", drawn: "M0-8V13" },
    broken: { mark: "✕", word: "broken off", drawn: "M-6-6 6 6M6-6-6 6" },
    gone: { mark: "○", word: "client left", drawn: "M-6 0a6 6 0 1 0 12 0a6 6 0 1 0-12 0" },
  };

  const $ = (id) => document.getElementById(id);
  const make = (id) => $(id).content.firstElementChild.cloneNode(true);

  // -- words ---------------------------------------------------------------------------------------

  // Controls, directions and other characters without a face are shown by their number.
  const FACELESS = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

  function text(value) {
    if (value === null || value === undefined || value === "") return NOTHING;
    const plain = typeof value === "object" ? JSON.stringify(value) : String(value);
    return plain.replace(FACELESS, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
  }

  function seconds(s) {
    if (typeof s !== "number") return NOTHING;
    if (s < 0.0995) return `${(s * 1000).toFixed(s < 0.00995 ? 1 : 0)} ms`;
    return s < 99.5 ? `${s.toFixed(s < 9.995 ? 2 : 1)} s` : lasting(s);
  }

  function lasting(s) {
    const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
    const first = Math.max(0, units.findIndex(([size]) => s >= size));
    const shown = s < 1 ? [[1, "s"]] : units.slice(first, first + 2);
    let rest = Math.floor(s);
    const parts = [];
    for (const [size, name] of shown) {
      parts.push(`${Math.floor(rest / size)} ${name}`);
      rest %= size;
    }
    return parts.join(" ");
  }

  function size(bytes) {
    if (bytes < 1000) return `${bytes} B`;
    return bytes < 999950 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
  }

  const many = (number, thing) => `${number} ${thing}${number === 1 ? "" : "s"}`;

  const clock = (unix) => new Date(unix * 1000).toTimeString().slice(0, 8);

  // -- numbers -------------------------------------------------------------------------------------

  // The first event is messageStart; the first token comes with the one after it.
  function firstToken(request) {
    let events = 0;
    for (const [t, count] of request.timeline) {
      events += count;
      if (events > 1) return t;
    }
    return null;
  }

  const elapsed = (request, now) => request.ended_s ?? Math.max(0, now - request.arrived);

  // The next of 1, 2, 5, 10 …: while an answer grows, its bar grows, and the scale stands still.
  function scaleFor(s) {
    const power = 10 ** Math.floor(Math.log10(Math.max(s, 0.001)));
    return [1, 2, 5, 10].find((step) => s <= step * power * 1.000001) * power;
  }

  const scaleName = (s) => (s < 0.999 ? `${Math.round(s * 1000)} ms` : `${Math.round(s)} s`);

  // One event: a short tick. Each doubling makes it longer, 32 and more fill the height.
  const tall = (events) => (events < 1 ? 30 : Math.min(100, 50 + 10 * Math.log2(events)));

  const share = (part, whole) => `${((100 * part) / whole).toFixed(2)}%`;

  // -- changing only what differs ------------------------------------------------------------------

  function write(node, words) {
    if (node.textContent !== words) node.textContent = words;
  }

  function put(node, name, value) {
    if (node.getAttribute(name) !== value) node.setAttribute(name, value);
  }

  function hide(node, hidden) {
    if (node.hidden !== hidden) node.hidden = hidden;
  }

  // -- a request -----------------------------------------------------------------------------------

  const PARTS = [
    ".request", "button", ".clock", ".who", ".operation", ".model bdi", ".word", ".mark", ".status bdi", ".ttft", ".total",
    ".events", ".bytes", ".late", ".drawing", ".wait", ".track", ".writes", ".ending", ".halo", ".end", ".scale",
  ];

  // What stands in each part of a row.
  const TEXTS = {
    ".clock": (request) => clock(request.arrived),
    ".who": (request) => (request.student ? text(request.student) : ""),
    ".operation": (request) => text(request.operation),
    ".model bdi": (request) => text(request.model),
    ".word": (request) => OUTCOMES[request.outcome].word,
    ".mark": (request) => OUTCOMES[request.outcome].mark,
    ".status bdi": status,
    ".ttft": (request) => seconds(firstToken(request)),
    ".total": (request, now) => seconds(elapsed(request, now)),
    ".events": (request) => String(request.events),
    ".bytes": (request) => size(request.bytes),
    ".late": (request) => (request.late_ms === null ? NOTHING : seconds(request.late_ms / 1000)),
  };

  // What stands in the details of a request, beside its metadata.
  const DETAILS = {
    "Request id": (request) => text(request.id),
    "Model": (request) => text(request.model),
    "HTTP status": (request) => text(request.http_status ?? "nothing sent yet"),
    "Error": (request) => text(request.code ?? "none"),
    "Fault": (request) => text(request.fault ?? "none"),
    "Arrived": (request) => new Date(request.arrived * 1000).toLocaleString(),
    "Waited for a free place": (request) => (request.queued_s > 0 ? seconds(request.queued_s) : "no"),
    "Writes": (request) => String(request.writes),
  };

  function status(request) {
    if (request.http_status === null && request.outcome === "open") return "nothing sent yet";
    return [request.http_status, request.code, request.fault].filter((part) => part !== null).map(text).join(" ") || NOTHING;
  }

  let made = 0;

  class Row {
    constructor() {
      this.body = make("request");
      this.parts = Object.fromEntries(PARTS.map((name) => [name, this.body.querySelector(name)]));
      this.number = ++made;
      this.drawn = "";
      this.details = null;
    }

    show(request, now) {
      const over = `${request.outcome} ${request.ended_s} ${request.writes} ${request.bytes}`;
      this.request = request;
      if (request.outcome !== "open" && this.drawn === over) return;
      this.drawn = over;
      put(this.body, "data-outcome", request.outcome);
      for (const [name, words] of Object.entries(TEXTS)) write(this.parts[name], words(request, now));
      put(this.parts[".model bdi"].parentNode, "title", text(request.model));
      put(this.parts[".status bdi"].parentNode, "title", status(request));
      this.draw(request, elapsed(request, now));
      if (this.details) this.detail();
    }

    draw(request, length) {
      const last = request.timeline.at(-1)?.[0] ?? 0;
      const scale = scaleFor(Math.max(length, last));
      const ticks = request.timeline.map(([t, events]) => `M${((1000 * t) / scale).toFixed(1)} 100v-${tall(events).toFixed(0)}`);
      const waited = request.queued_s > 0 ? share(Math.min(request.queued_s, length), scale) : "0";
      const { drawn } = OUTCOMES[request.outcome];
      put(this.parts[".writes"], "d", ticks.join(""));
      put(this.parts[".wait"], "width", waited);
      put(this.parts[".track"], "width", share(length, scale));
      put(this.parts[".ending"], "x", share(length, scale));
      put(this.parts[".end"], "d", drawn);
      put(this.parts[".halo"], "d", drawn);
      const queued = request.queued_s > 0 ? `waited ${seconds(request.queued_s)}, then ` : "";
      put(this.parts[".drawing"], "aria-label", `${queued}${many(request.writes, "write")} in ${seconds(length)}`);
      write(this.parts[".scale"], scaleName(scale));
    }

    toggle() {
      const button = this.parts.button;
      const opening = button.getAttribute("aria-expanded") === "false";
      button.setAttribute("aria-expanded", String(opening));
      if (opening && !this.details) this.unfold();
      this.details.hidden = !opening;
    }

    unfold() {
      this.details = make("details");
      this.details.id = `details-${this.number}`;
      this.parts.button.setAttribute("aria-controls", this.details.id);
      const [facts, metadata] = this.details.querySelectorAll("dl");
      this.values = Object.fromEntries(Object.keys(DETAILS).map((name) => [name, fact(facts, name)]));
      for (const name of ["Request id", "Model"]) this.values[name].closest("div").className = "wide";
      const id = this.values["Request id"];
      id.className = "id";
      id.id = `id-${this.number}`;
      id.after(copier(id.id));
      const pairs = Object.entries(this.request.metadata ?? {});
      for (const [name, value] of pairs) write(fact(metadata, text(name)), text(value));
      if (!pairs.length) write(metadata, "none");
      this.detail();
      this.body.append(this.details);
    }

    detail() {
      for (const [name, words] of Object.entries(DETAILS)) write(this.values[name], words(this.request));
    }
  }

  function fact(list, name) {
    const pair = make("fact");
    const [term, value] = pair.querySelectorAll("bdi");
    term.textContent = name;
    list.append(pair);
    return value;
  }

  function copier(id) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.copies = id;
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy the request id");
    return button;
  }

  // -- the page ------------------------------------------------------------------------------------

  const rows = new Map();
  const table = $("requests");

  // Rows in the order of the list; one that is where it belongs is not touched.
  function list(requests, now) {
    const seen = new Set();
    let next = table.tHead.nextElementSibling;
    for (const request of requests) {
      if (seen.has(request.id)) continue;
      seen.add(request.id);
      let row = rows.get(request.id);
      if (!row) rows.set(request.id, (row = new Row()));
      row.show(request, now);
      if (row.body === next) next = next.nextElementSibling;
      else table.insertBefore(row.body, next);
    }
    for (const [id, row] of rows) {
      if (seen.has(id)) continue;
      row.body.remove();
      rows.delete(id);
    }
  }

  function count(requests) {
    const counts = Object.fromEntries(Object.keys(OUTCOMES).map((outcome) => [outcome, 0]));
    for (const { outcome } of requests) counts[outcome] += 1;
    for (const [outcome, number] of Object.entries(counts)) write($(`count-${outcome}`), String(number));
    return counts.open;
  }

  function show({ server, now, requests, classroom }) {
    write($("version"), `version ${text(server.version)}`);
    write($("responder"), text(server.responder));
    write($("latency"), text(server.latency));
    write($("faults"), text(server.faults ?? "none"));
    write($("up"), lasting(server.up_s));
    const open = count(requests);
    list(requests, now);
    hide($("empty"), requests.length > 0 || Boolean(classroom));
    hide($("connect"), Boolean(classroom));
    hide($("listing"), requests.length === 0);
    hide($("most"), requests.length < MOST);
    write(document.querySelector("title"), open ? `(${open}) Embedded Bedrock` : "Embedded Bedrock");
    return open > 0;
  }

  function tell(state, words, notice = "") {
    put($("state"), "data-state", state);
    write($("state"), words);
    write($("notice"), notice);
    hide($("notice"), !notice);
    $("listing").classList.toggle("stale", Boolean(notice));
  }

  // -- asking --------------------------------------------------------------------------------------

  let timer = 0;
  let asking = false;
  let again = false;
  let heard = null;

  async function fetched() {
    const patience = new AbortController();
    const limit = setTimeout(() => patience.abort(), PATIENCE_MS);
    try {
      const response = await fetch("status.json" + location.search, { cache: "no-store", signal: patience.signal });
      return response.ok ? { told: await response.json() } : { wrong: `HTTP status ${response.status}` };
    } catch (error) {
      return error instanceof SyntaxError ? { wrong: "no JSON" } : { lost: true };
    } finally {
      clearTimeout(limit);
    }
  }

  async function ask() {
    clearTimeout(timer);
    again = asking;
    if (asking || document.hidden) return;
    asking = true;
    let busy = false;
    const answer = await fetched();
    const last = heard ? ` Last heard from at ${heard}.` : "";
    if (answer.lost) {
      tell("lost", "no answer", `The server does not answer any more.${last} This page keeps asking.`);
    } else {
      try {
        if (answer.wrong) throw new TypeError(answer.wrong);
        busy = show(answer.told);
        document.dispatchEvent(new CustomEvent("told", { detail: answer.told }));
        heard = clock(answer.told.now);
        tell("live", "live");
      } catch (error) {
        tell("lost", "not understood", `Something answers, but not as this server does: ${text(error.message)}.${last}`);
      }
    }
    asking = false;
    if (!document.hidden) timer = setTimeout(ask, again ? 0 : busy ? BUSY_MS : IDLE_MS);
  }

  // -- hands ---------------------------------------------------------------------------------------

  async function copy(button) {
    const source = $(button.dataset.copies);
    let word = "Copied";
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {
      getSelection().selectAllChildren(source);
      word = "Press Ctrl+C";
    }
    write(button, word);
    setTimeout(() => write(button, "Copy"), 1500);
  }

  function clicked(event) {
    const copies = event.target.closest("[data-copies]");
    if (copies) return void copy(copies);
    const line = event.target.closest("tr.request");
    // Whoever marks text in a row with the mouse does not ask for its details.
    if (!line || (!event.target.closest("button") && String(getSelection()))) return;
    for (const row of rows.values()) if (row.parts[".request"] === line) row.toggle();
  }

  function pressed(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const button = event.target.closest("td.when button");
    if (!step || !button) return;
    const buttons = [...table.querySelectorAll("td.when button")];
    buttons[buttons.indexOf(button) + step]?.focus();
    event.preventDefault();
  }

  for (const place of document.querySelectorAll(".origin")) place.textContent = location.origin;
  document.addEventListener("click", clicked);
  table.addEventListener("keydown", pressed);
  document.addEventListener("visibilitychange", ask);
  globalThis.statusPage = Object.freeze({ ask, hide, lasting, make, many, put, seconds, text, write });
  ask();
}
