// The chat panel in the browser: a copy of the kernel's document, and the controls around it.
//
// Strategy: the protocol is in the docstring of document.py. The kernel's document is the truth: messages are
// applied in the order of their numbers, and whoever missed one says "hello" and gets everything again, as the
// very ops that would have led there; so there is one way in. A piece of HTML is the kernel's, sanitised there;
// here it is parsed apart from the page, looked through again, and morphed into what is shown, so that nothing
// that stays is touched. All other strings become text nodes or values of controls, never markup.

const ANSWER_MS = 4000; // a kernel that says nothing for so long is gone, or busy
const SLICE_MS = 8; // of work in one animation frame
const ON_A_SHELF = 4; // pieces that are skipped together while nobody sees them: a frame can lay out a few
const LINES = 100; // of code that are laid out together
const NEAR_PX = 48; // so near to its end the log follows
const IN_A_LIST = 30; // more models than these are searched for, not scrolled through
const [MOST_FILES, MOST_MB] = [8, 20]; // with one prompt; the kernel takes no more
const LOST = "This panel has lost its kernel: run its cell again.";
const SLOW = "The kernel has not answered yet: it may be running a cell.";
const BUSY = "A reply is still coming: wait for its end, or press Stop.";
const HINT = "Enter sends · Shift+Enter breaks the line · Esc stops";

// == Elements ==========================================================================================

// An element "tag.class" with these properties, ARIA attributes and listeners, at the end of its parent.
function make(what, parent, { role, aria, on, ...rest } = {}) {
  const [tag, className = ""] = what.split(".");
  const element = Object.assign(document.createElement(tag), { className }, rest);
  for (const [name, value] of Object.entries(aria ?? {})) element.setAttribute(`aria-${name}`, value);
  for (const [type, act] of Object.entries(on ?? {})) element.addEventListener(type, act);
  if (role) element.setAttribute("role", role);
  parent?.append(element);
  return element;
}

function button(parent, textContent, click, props) {
  return make("button", parent, { type: "button", textContent, on: { click }, ...props });
}

// A button that takes away what does not come back, where it does: it asks back, once.
function careful(panel, parent, label, question, click, takes = () => true) {
  const one = button(parent, label, () => {
    const asks = one.textContent === label && takes();
    set_text(one, asks ? question : label);
    if (asks) panel.say(question);
    else click();
  });
  one.addEventListener("blur", () => set_text(one, label));
  return one;
}

function count(n, noun) {
  return `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
}

function set_text(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// The Enter that ends a word in Chinese, Japanese or Korean belongs to the input method.
function pressed(event, key) {
  return event.key === key && !event.shiftKey && !event.isComposing && event.keyCode !== 229;
}

// A box that grows with its text, to the limit that CSS has; Enter sends.
function text_box(parent, label, send, props) {
  const keydown = (event) => {
    if (!pressed(event, "Enter")) return;
    event.preventDefault();
    send();
  };
  const box = make("textarea", parent, { rows: 1, aria: { label }, on: { keydown }, ...props });
  box.addEventListener("input", () => fit(box));
  return box;
}

function fit(box) {
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight + box.offsetHeight - box.clientHeight}px`;
}

function is_dark(element) {
  const scheme = getComputedStyle(element).colorScheme; // panel.css takes it from the theme, where there is one
  return scheme === "dark" || (scheme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
}

// What an op names must be there; if it is not, this copy is not what the kernel takes it for.
function there(thing) {
  if (thing === undefined) throw new RangeError("not the kernel's document");
  return thing;
}

// == The kernel's HTML =================================================================================

const NEVER = new Set(
  "script iframe frame frameset object embed applet form style link meta base template noscript svg dialog".split(" "),
);
const RUNS = /^(?:(?:javascript|vbscript):|data:(?!image\/))/i;
const BLANKS = /[\0-\x20\x7f-\xa0\u2028\u2029]/g;

// Python has sanitised it: this drops nothing, unless something is wrong there.
function safe(html) {
  const { content } = Object.assign(document.createElement("template"), { innerHTML: html });
  for (const one of content.querySelectorAll("*")) {
    const name = one.localName.toLowerCase();
    if (NEVER.has(name)) {
      one.remove();
      continue;
    }
    for (const { name, value } of [...one.attributes]) {
      if (/^on/i.test(name) || RUNS.test(value.replace(BLANKS, ""))) one.removeAttribute(name);
    }
    if (name === "pre" || name === "table") one.tabIndex = 0; // they scroll, so keys must reach them
    if (name === "pre") part(one.querySelector("code") ?? one);
  }
  return content;
}

// Long code without colours, as it is while it grows: one line more must not lay out all lines again.
function part(code) {
  const lines = code.firstElementChild ? [] : code.textContent.match(/.*\n|.+$/g);
  if (!(lines?.length > LINES)) return;
  code.replaceChildren();
  while (lines.length) make("span.lines", code, { textContent: lines.splice(0, LINES).join("") });
}

// Let a node have the children that another has, touching only what differs.
function morph(has, wants) {
  let old = has.firstChild;
  for (let fresh = wants.firstChild, next; fresh; fresh = next) {
    next = fresh.nextSibling;
    const after = old?.nextSibling;
    if (!old) has.append(fresh);
    else if (old.nodeName !== fresh.nodeName) old.replaceWith(fresh);
    else if (fresh.nodeType === Node.ELEMENT_NODE) {
      dress(old, fresh);
      morph(old, fresh);
    } else write(old, fresh.data);
    old = after;
  }
  while (old) {
    const after = old.nextSibling;
    old.remove();
    old = after;
  }
}

function dress(old, fresh) {
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name); // the reader opened it
  }
}

// What stays of a text stays untouched, and selected.
function write(node, text) {
  const { data } = node;
  let same = 0;
  if (text.startsWith(data)) same = data.length;
  else while (same < text.length && data[same] === text[same]) same += 1;
  if (same === data.length && same < text.length) node.appendData(text.slice(same));
  else if (same < data.length) node.replaceData(same, data.length - same, text.slice(same));
}

// == A block ===========================================================================================

const FOLDS = {
  __proto__: null, // kinds and states are the kernel's words
  reasoning: (state, last) => state === "growing" && last,
  tool: (state) => ["writing", "waiting", "asking", "running", "error"].includes(state),
  sources: () => false,
};
const STATES = {
  __proto__: null,
  writing: ["✎", "being written"],
  waiting: ["…", "about to run"],
  asking: ["?", "waits for approval"],
  running: ["▸", "running"],
  success: ["✓", "done"],
  error: ["✗", "failed"],
  denied: ["⊘", "denied"],
};

class Block {
  constructor(panel, parent) {
    Object.assign(this, { panel, parent, html: [], nodes: [], chosen: false, asked: null });
    this.body = make("div.body");
  }

  set(members, last) {
    const { kind } = this;
    Object.assign(this, members); // kind, title, state, ask
    if (kind !== this.kind) this.build();
    const [icon, word] = this.kind === "tool" ? (STATES[this.state] ?? ["", this.state]) : ["", ""];
    this.element.dataset.state = this.state;
    set_text(this.icon, icon);
    set_text(this.name, this.title);
    set_text(this.word, word);
    this.head.hidden = !this.title;
    this.fold(last);
    if (this.asked !== this.ask) this.approval();
  }

  build() {
    const folds = this.kind in FOLDS;
    const element = make(folds ? "details.block" : "div.block");
    element.dataset.kind = this.kind;
    const click = () => (this.chosen = true); // from then on it stays as the reader wants it
    this.head = make(folds ? "summary.title" : "div.title", element, { on: { click } });
    this.icon = make("span.icon", this.head, { aria: { hidden: true } });
    this.name = make("span.name", this.head);
    this.word = make("span.word", this.head);
    element.append(this.body);
    if (this.element) this.element.replaceWith(element);
    else this.parent.append(element);
    this.element = element;
  }

  fold(last) {
    if (!this.chosen && this.kind in FOLDS) this.element.open = FOLDS[this.kind](this.state, last);
  }

  approval() {
    this.row?.remove();
    this.asked = this.ask;
    if (!this.ask) return;
    const call = this.ask;
    this.row = make("div.approval", this.element, { role: "group", aria: { label: `Approval of ${this.title}` } });
    const decide = (yes) => {
      for (const one of this.row.children) one.disabled = true;
      this.panel.send({ do: "approve", call, yes, reason: reason.value });
      this.panel.box.focus();
    };
    button(this.row, "Approve", () => decide(true), { className: "main" });
    button(this.row, "Deny", () => decide(false));
    const reason = make("input", this.row, { placeholder: "reason (optional)", aria: { label: "Reason" } });
    this.panel.say(`${this.title} waits for your approval`);
  }

  piece(i, html) {
    if (this.html[i] === html) return;
    const fresh = safe(html);
    if (i !== this.html.length) morph(there(this.nodes[i]), fresh);
    else {
      const shelf = i % ON_A_SHELF ? this.body.lastChild : make("div.shelf", this.body);
      this.nodes[i] = make("div.piece");
      this.nodes[i].append(fresh);
      shelf.append(this.nodes[i]);
    }
    this.html[i] = html;
  }

  grow(i, keep, html) {
    const has = there(this.html[i]);
    this.piece(i, there(has.length < keep ? undefined : has.slice(0, keep)) + html);
  }

  cut(n) {
    for (const node of this.nodes.splice(n).reverse()) {
      const shelf = node.parentNode;
      node.remove();
      if (!shelf.firstChild) shelf.remove();
    }
    this.html.length = this.nodes.length;
  }
}

// == The timing strip ==================================================================================

const [BARS, MOST_SAMPLES] = [40, 512];

class Strip {
  constructor(parent, act) {
    this.samples = []; // [seconds since the request, chunks until then]
    this.late = false; // whether this page came when the answer was under way
    this.button = button(parent, "", act, { className: "strip", hidden: true, aria: { expanded: false } });
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${BARS * 3} 16`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", true);
    this.path = svg.appendChild(document.createElementNS(svg.namespaceURI, "path"));
    this.words = make("span.words", this.button);
    this.button.append(svg);
    make("span.unseen", this.button, { textContent: ". Show the anatomy of the stream." });
  }

  live(t, chunks, tokens) {
    if (chunks) this.first ??= { t, tokens }; // the first event of all, messageStart, is no content
    this.samples.push([t, chunks]);
    if (this.samples.length > MOST_SAMPLES) this.samples = this.samples.filter((_, i) => i % 2 === 0);
    const { first } = this;
    const parts = [`${t.toFixed(1)} s`];
    if (first && t > first.t + 0.5) parts.unshift(`≈ ${((tokens - first.tokens) / (t - first.t)).toFixed(0)} tokens/s`);
    if (chunks) parts.unshift(count(chunks, "chunk"), `≈ ${count(tokens, "token")}`);
    const ttft = first?.t < 1 ? `${Math.round(first.t * 1000)} ms` : `${first?.t.toFixed(2)} s`;
    if (first && !this.late) parts.unshift(`TTFT ≈ ${ttft}`);
    this.show(parts.join(" · "), this.arrivals(t), true);
  }

  arrivals(end) {
    const slices = new Array(BARS).fill(0);
    let before = this.late ? this.samples[0][1] : 0;
    for (const [t, chunks] of this.samples) {
      slices[Math.min(BARS - 1, Math.floor((t / (end || 1)) * BARS))] += chunks - before;
      before = chunks;
    }
    return slices;
  }

  show(words, arrivals, live) {
    const most = Math.max(...arrivals, 1);
    const wide = (BARS * 3) / Math.max(arrivals.length, 1);
    const bar = (n, i) => {
      if (!n) return "";
      const high = Math.max(1, (16 * n) / most);
      return `M${(i * wide).toFixed(1)} 16v${-high.toFixed(1)}h${(wide * 0.7).toFixed(1)}v${high.toFixed(1)}z`;
    };
    set_text(this.words, words);
    this.path.setAttribute("d", arrivals.map(bar).join(""));
    this.button.disabled = live; // its picture can be drawn when all is there
    this.button.hidden = false;
  }
}

// == A turn ============================================================================================

const REMEDIES = { __proto__: null, retry: "Retry", continue: "Continue" };

class Turn {
  constructor(panel, id) {
    Object.assign(this, { panel, id, blocks: [], status: "", text: "", image: null });
    this.element = make("article.turn");
    this.prompt = make("div.prompt", this.element);
    make("span.unseen", this.prompt, { textContent: "You: " });
    this.said = make("div.said piece", this.prompt);
    this.asking = make("div.actions", this.prompt);
    this.edits = button(this.asking, "Edit", () => this.edit());
    this.place = make("div.blocks", this.element);
    this.remedies = make("div.remedies", this.element, { hidden: true });
    const foot = make("div.foot", this.element);
    this.strip = new Strip(foot, () => this.picture());
    this.actions = make("div.actions", foot);
    const copy = button(this.actions, "Copy", () => {
      panel.copying = copy;
      panel.send({ do: "copy", turn: id });
    });
    const rerun = () => panel.begin({ do: "rerun", turn: id });
    careful(panel, this.actions, "Rerun", "Later turns go. Rerun?", rerun, () => this !== panel.last && !panel.busy);
    button(this.actions, "Fork", () => panel.idle() && panel.send({ do: "fork", turn: id }));
  }

  set({ prompt, status, can, strip }) {
    if (prompt) {
      this.text = prompt.text;
      if (prompt.html) morph(this.said, safe(prompt.html));
      else set_text(this.said, prompt.text);
      this.label();
    }
    if (status) {
      this.status = this.element.dataset.status = status;
      if (status !== "streaming") this.panel.answered(true);
    }
    if (can) {
      this.remedies.replaceChildren();
      for (const what of can.filter((what) => what in REMEDIES)) {
        button(this.remedies, REMEDIES[what], () => this.panel.begin({ do: what }));
      }
      this.remedies.hidden = !this.remedies.firstChild;
    }
    if (strip) this.strip.show(strip.words, strip.arrivals, false);
    else if (strip === null && this.status !== "streaming") this.strip.button.hidden = true;
  }

  label(number = this.number) {
    this.number = number;
    this.element.setAttribute("aria-label", `Turn ${number}: ${this.text.slice(0, 60)}`);
  }

  block(at) {
    return there(this.blocks[at]);
  }

  set_block(at, members) {
    if (at === this.blocks.length) this.blocks.push(new Block(this.panel, this.place));
    this.block(at).set(members, at === this.blocks.length - 1);
    if (at) this.blocks[at - 1].fold(false);
  }

  cut(n) {
    for (const block of this.blocks.splice(n)) block.element.remove();
  }

  edit() {
    if (this.editor) return;
    this.editor = make("div.editor", this.prompt);
    const close = () => {
      this.editor.remove();
      this.editor = null;
      this.said.hidden = this.asking.hidden = false;
    };
    const cancel = () => (close(), this.edits.focus());
    const save = () => {
      if (!box.value.trim() || !this.panel.begin({ do: "edit", turn: this.id, text: box.value })) return;
      close();
      this.panel.box.focus();
    };
    const box = text_box(this.editor, "Edit the prompt", save, { value: this.text });
    const row = make("div.row", this.editor);
    button(row, "Save & send", save, { className: "main" });
    button(row, "Cancel", cancel);
    if (this !== this.panel.last) make("span.hint", row, { textContent: "Later turns go." });
    this.said.hidden = this.asking.hidden = true;
    this.editor.addEventListener("keydown", (event) => {
      event.stopPropagation(); // Escape stops no reply here
      if (pressed(event, "Escape")) cancel();
    });
    fit(box);
    box.focus();
  }

  // The anatomy of the stream, on request; a second click takes it away.
  picture() {
    if (this.image) this.hide();
    else this.panel.send({ do: "picture", turn: this.id, dark: is_dark(this.element) });
  }

  show(bytes, alt) {
    this.hide();
    const src = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
    this.image = make("img.picture", this.element, { src, alt });
    this.strip.button.setAttribute("aria-expanded", true);
  }

  hide() {
    if (!this.image) return;
    URL.revokeObjectURL(this.image.src);
    this.image.remove();
    this.image = null;
    this.strip.button.setAttribute("aria-expanded", false);
  }

  close() {
    this.hide();
    this.element.remove();
  }
}

// == The head: model, settings, branches, the rest =====================================================

const SETTINGS = [
  ["system", "System prompt", "textarea", "none"],
  ["temperature", "Temperature", "input", "default"],
  ["top_p", "Top P", "input", "default"],
  ["max_tokens", "Max tokens", "input", "default"],
];
const EXPORTS = [
  ["markdown", "Export as Markdown"],
  ["html", "Export as HTML"],
  ["recordings", "Export the recordings"],
];

class Head {
  constructor(panel, parent) {
    this.panel = panel;
    this.row = make("div.head", parent);
    this.models = make("span.models", this.row);
    this.pick([]);
    const branch = () => panel.send({ do: "branch", branch: Number(this.branch.value) });
    this.branch = make("select", this.row, { hidden: true, aria: { label: "Branch" }, on: { change: branch } });
    this.where = make("span.where", this.row);
    const id = `settings-${panel.view}`;
    this.opener = button(this.row, "Settings", () => this.open(), { aria: { expanded: false, controls: id } });
    this.menu(make("details.menu", this.row));
    this.settings = make("div.settings", parent, { hidden: true, id });
    this.fields = {};
    this.typing = null; // the one that is being filled in keeps its text, whatever comes
    for (const [name, title, tag, placeholder] of SETTINGS) {
      const label = make("label", this.settings, { className: name, textContent: title });
      const input = () => (this.typing = name);
      const change = () => {
        this.typing = null;
        panel.send({ do: "set", settings: { [name]: field.value } });
      };
      const field = make(tag, label, { placeholder, on: { input, change } });
      if (tag === "input") field.inputMode = "decimal";
      this.fields[name] = field;
    }
    this.tools = make("div.tools", this.settings);
  }

  open() {
    this.settings.hidden = !this.settings.hidden;
    this.opener.setAttribute("aria-expanded", !this.settings.hidden);
    if (!this.settings.hidden) this.fields.system.focus();
  }

  menu(menu) {
    const { panel } = this;
    const opener = make("summary", menu, { textContent: "⋯", title: "More", aria: { label: "More" } });
    const items = make("div.items", menu);
    const close = () => {
      menu.open = false;
      opener.focus();
    };
    const item = (label, act) => button(items, label, () => (close(), act()));
    for (const [as, label] of EXPORTS) item(label, () => panel.send({ do: "export", as }));
    item("Undo the last turn", () => panel.undo());
    const clear = () => (close(), panel.send({ do: "clear" }));
    careful(panel, items, "Clear all…", "Really clear? Click again", clear);
    menu.addEventListener("focusout", (event) => (menu.open &&= menu.contains(event.relatedTarget)));
    menu.addEventListener("keydown", (event) => {
      if (!pressed(event, "Escape") || !menu.open) return;
      event.stopPropagation(); // it closes the menu and stops no reply
      close();
    });
  }

  // Show what the kernel last said; also after it refused something.
  show(fresh = this.panel.state) {
    const { model = "", models = [], settings = {}, tools = [], branches = [], branch, where = "" } = this.panel.state;
    if ("models" in fresh) this.pick(models);
    if ("model" in fresh || "models" in fresh) {
      this.picker.value = model;
      if (this.picker.value !== model) make("option", this.picker, { value: model, text: model, selected: true });
    }
    for (const [name] of "settings" in fresh ? SETTINGS : []) {
      if (name !== this.typing) this.fields[name].value = settings[name] ?? "";
    }
    if ("tools" in fresh) set_text(this.tools, tools.length ? `Tools: ${tools.join(", ")}` : "");
    if ("where" in fresh) set_text(this.where, where);
    if (!("branches" in fresh || "branch" in fresh)) return;
    this.branch.replaceChildren();
    branches.forEach((text, value) => make("option", this.branch, { value, text }));
    this.branch.value = branch;
    this.branch.hidden = branches.length < 2;
  }

  pick(models) {
    const few = models.length <= IN_A_LIST;
    const change = () => this.picker.value && this.panel.send({ do: "set", model: this.picker.value });
    this.picker = make(few ? "select" : "input", null, { aria: { label: "Model" }, on: { change } });
    const list = few ? this.picker : make("datalist", null, { id: `models-${this.panel.view}` });
    for (const value of models) make("option", list, { value, text: few ? value : "" });
    this.models.replaceChildren(this.picker);
    if (few) return;
    this.models.append(list);
    this.picker.setAttribute("list", list.id);
    // While it has a value only models like that are offered.
    const empty = ({ target }) => Object.assign(target, { placeholder: target.value, value: "" });
    this.picker.addEventListener("focus", empty);
    this.picker.addEventListener("blur", ({ target }) => (target.value ||= this.panel.state.model));
  }
}

// == The composer ======================================================================================

const ACCEPTED = "image/*,.pdf,.csv,.doc,.docx,.xls,.xlsx,.html,.txt,.md";

class Composer {
  constructor(panel, parent) {
    Object.assign(this, { panel, files: [] });
    const root = make("div.composer", parent);
    this.chips = make("div.chips", root, { hidden: true });
    const row = make("div.row", root);
    const chooser = make("input", null, { type: "file", multiple: true, accept: ACCEPTED });
    chooser.addEventListener("change", () => (this.attach(chooser.files), (chooser.value = "")));
    button(row, "+", () => chooser.click(), { title: "Attach files", aria: { label: "Attach files" } });
    this.box = text_box(row, "Message", () => panel.idle() && this.send(), { placeholder: "Message" });
    this.box.addEventListener("input", () => panel.tell(""));
    this.box.addEventListener("paste", (event) => this.take(event, event.clipboardData));
    this.box.addEventListener("keydown", (event) => {
      if (this.box.value || !pressed(event, "ArrowUp")) return;
      event.preventDefault();
      this.fill(panel.last?.text ?? "");
    });
    this.button = button(row, "Send", (event) => this.click(event), { className: "main" });
    this.button.addEventListener("mousedown", (event) => event.preventDefault()); // the box keeps the focus
  }

  click(event) {
    if (!this.panel.busy) this.send();
    else if (event.detail < 2) this.panel.stop(); // the second half of a double click on Send stops nothing
  }

  fill(text) {
    this.box.value = text;
    fit(this.box);
  }

  // Files that are pasted or dropped. A table comes as text and as its picture, too: then the text is meant.
  take(event, data) {
    if (!data?.types.includes("Files") || data.types.includes("text/plain")) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.type !== "dragover") this.attach(data.files);
  }

  attach(files) {
    const all = [...this.files, ...files];
    const size = all.reduce((sum, { size }) => sum + size, 0);
    if (all.length > MOST_FILES || size > MOST_MB * 2 ** 20) {
      this.panel.tell(`At most ${MOST_FILES} files, ${MOST_MB} MB together, go with a message.`);
    } else this.show(all);
    this.box.focus();
  }

  show(files) {
    this.files = files;
    this.chips.replaceChildren();
    for (const file of files) {
      const chip = make("span.chip", this.chips, { textContent: file.name });
      const drop = () => (this.show(this.files.filter((one) => one !== file)), this.box.focus());
      button(chip, "×", drop, { aria: { label: `Remove ${file.name}` } });
    }
    this.chips.hidden = !files.length;
  }

  async send() {
    const { files } = this;
    const text = this.box.value;
    if (!text.trim() && !files.length) return;
    this.sent = { text, files };
    this.panel.wait(); // Stop is there before anything else happens
    this.fill("");
    this.show([]);
    this.box.focus();
    const message = { do: "ask", text, files: files.map(({ name, type }) => ({ name, type })) };
    try {
      const buffers = files.length ? await Promise.all(files.map((file) => file.arrayBuffer())) : [];
      if (!this.panel.send(message, buffers)) this.restore();
    } catch {
      this.panel.answered();
      this.restore();
      this.panel.tell("A file could not be read. Attach it again.");
    }
  }

  // What was not taken is not lost.
  restore() {
    if (this.sent && !this.box.value && !this.files.length) {
      this.fill(this.sent.text);
      this.show(this.sent.files);
    }
    this.sent = null;
  }
}

// == The panel =========================================================================================

const OPS = {
  __proto__: null,
  turns: (panel, ids) => panel.order(ids),
  turn: (panel, id, members) => panel.turn(id).set(members),
  block: (panel, id, at, members) => panel.turn(id).set_block(at, members),
  blocks: (panel, id, n) => panel.turn(id).cut(n),
  piece: (panel, id, at, i, html) => panel.turn(id).block(at).piece(i, html),
  grow: (panel, id, at, i, keep, html) => panel.turn(id).block(at).grow(i, keep, html),
  pieces: (panel, id, at, n) => panel.turn(id).block(at).cut(n),
  live: (panel, id, t, chunks, tokens) => panel.turn(id).strip.live(t, chunks, tokens),
  state: (panel, members) => panel.set(members),
  say: (panel, text) => panel.say(text),
};

// A whole document as ops; the newest turn is filled first, for that is what is looked at.
function* as_ops({ turns, state }, panel) {
  yield ["state", state];
  yield ["turns", turns.map(({ id }) => id)];
  for (const { id, blocks, ...members } of [...turns].reverse()) {
    yield ["turn", id, members];
    yield ["blocks", id, blocks.length];
    for (const [at, { pieces, ...block }] of blocks.entries()) {
      yield ["block", id, at, block];
      yield ["pieces", id, at, pieces.length];
      for (const [i, html] of pieces.entries()) yield ["piece", id, at, i, html];
    }
    panel.turn(id).strip.late = members.status === "streaming";
    if (id === panel.last.id && panel.following) panel.end();
  }
}

class Panel {
  constructor(model, el) {
    this.model = model;
    this.view = Array.from(crypto.getRandomValues(new Uint32Array(3)), (n) => n.toString(36)).join("");
    this.turns = new Map(); // by id, in their order
    this.state = {};
    this.number = null; // of the last message that was taken; null: the whole document is needed
    this.queue = []; // ops that wait for their frame, message by message
    this.frame = this.timer = this.copying = null;
    this.pending = this.asking = false; // whether a prompt, a hello is on its way
    this.addresses = new Set();
    this.build(el);
    model.on("msg:custom", this.receive);
    model.on("comm_live_update", this.greet); // the kernel restarts: nothing more would come, and nothing say so
    this.hello();
  }

  build(el) {
    // A group and no landmark, for a page may have several.
    const root = make("div.bedrock-nb-panel", el, { role: "group", aria: { label: "Chat" } });
    this.root = root;
    root.dataset.lmSuppressShortcuts = "true"; // or Shift+Enter would run the cell again
    root.dataset.jpSuppressContextMenu = "true"; // the browser's own has paste and spelling
    root.style.setProperty("--height", this.model.get("height"));
    root.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (pressed(event, "Escape") && this.busy) this.stop();
    });
    const dropped = (event) => this.composer.take(event, event.dataTransfer);
    for (const type of ["dragover", "drop"]) root.addEventListener(type, dropped);
    this.lost = make("div.bar lost", root, { textContent: LOST, hidden: true, role: "alert" });
    this.head = new Head(this, root);
    const frame = make("div.frame", root);
    this.log = make("div.log", frame, { tabIndex: 0, role: "log", aria: { live: "off", label: "Conversation" } });
    this.list = make("div.turns", this.log);
    const jump = () => (this.end(), this.log.focus());
    this.jump = button(frame, "Jump to latest", jump, { className: "jump", hidden: true });
    this.told = make("div.bar told", root, { hidden: true });
    this.composer = new Composer(this, root);
    this.box = this.composer.box;
    this.line = make("div.line", root, { textContent: HINT });
    this.status = make("div.unseen", root, { role: "status" });
    this.following = true;
    this.top = 0;
    this.log.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.sizes = new ResizeObserver(() => this.resized());
    for (const one of [root, this.list, this.log]) this.sizes.observe(one);
    // While the panel grows, the box in which somebody writes must not leave the window.
    this.seen = new IntersectionObserver((all) => (this.in_view = all.at(-1).isIntersecting));
    this.seen.observe(this.box);
  }

  close() {
    this.model.off("msg:custom", this.receive);
    this.model.off("comm_live_update", this.greet);
    this.sizes.disconnect();
    this.seen.disconnect();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.timer);
    clearTimeout(this.copied);
    for (const turn of this.turns.values()) turn.close();
    for (const address of this.addresses) URL.revokeObjectURL(address);
  }

  // -- to the kernel
  send(message, buffers) {
    this.tell(""); // what was wrong before is over
    try {
      this.model.send({ ...message, view: this.view }, undefined, buffers);
    } catch {
      this.lose();
      return false;
    }
    this.timer ??= setTimeout(() => (this.asking ? this.lose() : this.tell(SLOW)), ANSWER_MS);
    return true;
  }

  hello() {
    if (this.asking) return;
    this.number = null;
    this.queue = [];
    this.asking = true;
    this.send({ do: "hello" });
  }

  greet = () => this.hello();

  lose() {
    this.asking = this.state.busy = false;
    this.lost.hidden = false;
    this.answered();
  }

  // Ask for something that begins an answer.
  begin(message) {
    if (!this.idle()) return false;
    this.composer.sent = message.text ? { text: message.text, files: [] } : null;
    this.wait();
    return this.send(message);
  }

  idle() {
    if (this.busy) this.tell(BUSY);
    return !this.busy;
  }

  stop() {
    if (this.send({ do: "stop" })) set_text(this.line, "Stopping…");
  }

  // The prompt that is taken back can be asked again, better.
  undo() {
    const text = this.last?.text;
    if (this.idle() && this.send({ do: "undo" }) && text && !this.box.value) this.composer.fill(text);
  }

  // -- from the kernel
  receive = (content, buffers) => {
    if (content.for !== undefined && content.for !== this.view) return;
    this.timer = clearTimeout(this.timer);
    this.lost.hidden = true;
    if (this.told.textContent === SLOW) this.tell("");
    if (content.snap) {
      Object.assign(this, { asking: false, number: content.n, queue: [as_ops(content.snap, this)] });
      this.answered();
    } else if (content.ops) {
      if (this.number === null || content.n !== this.number + 1) return this.hello();
      this.number = content.n;
      this.queue.push(content.ops.values());
    } else this.take(content, buffers?.[0]);
    if (this.queue.length) this.frame ??= requestAnimationFrame(this.work);
  };

  take({ copy, file, type, picture, alt, told, back }, bytes) {
    if (copy !== undefined) this.put(copy);
    else if (file !== undefined) this.download(file, type, bytes);
    else if (picture !== undefined) this.turns.get(picture)?.show(bytes, alt);
    else if (told !== undefined) {
      if (back || this.pending) this.composer.restore();
      this.answered();
      this.head.show(); // what was refused is not shown as if it held
      this.tell(told);
    }
  }

  work = () => {
    this.frame = null;
    const end = performance.now() + SLICE_MS;
    try {
      while (this.queue.length && performance.now() < end) {
        const { value: op, done } = this.queue[0].next();
        if (done) this.queue.shift();
        else there(OPS[op[0]])(this, ...op.slice(1));
      }
    } catch {
      this.hello(); // this copy is not what the kernel takes it for
    }
    if (this.queue.length) this.frame ??= requestAnimationFrame(this.work);
    else if (this.behind && this.following) this.end(); // not before: what is not seen is not laid out
    this.behind = this.queue.length > 0;
  };

  get last() {
    return [...this.turns.values()].at(-1);
  }

  turn(id) {
    return there(this.turns.get(id));
  }

  order(ids) {
    const before = this.turns;
    this.turns = new Map(ids.map((id) => [id, before.get(id) ?? new Turn(this, id)]));
    for (const [id, turn] of before) if (!this.turns.has(id)) turn.close();
    ids.forEach((id, i) => {
      const turn = this.turns.get(id);
      turn.label(i + 1);
      if (this.list.children[i] !== turn.element) this.list.insertBefore(turn.element, this.list.children[i] ?? null);
    });
  }

  set(members) {
    Object.assign(this.state, members);
    if ("busy" in members) this.answered();
    this.head.show(members);
    this.dress();
  }

  // -- what is shown around the log
  get busy() {
    return this.pending || Boolean(this.state.busy);
  }

  wait() {
    this.pending = true;
    this.end();
    this.dress();
  }

  // The kernel has heard what was asked; or, at the end of a turn, it is answered and not to be put back.
  answered(ended = false) {
    this.pending = false;
    if (ended) this.composer.sent = null;
    if (!this.busy && this.told.textContent === BUSY) this.tell("");
    this.dress();
  }

  dress() {
    const { busy } = this;
    this.root.dataset.busy = busy;
    set_text(this.composer.button, busy ? "Stop" : "Send");
    set_text(this.line, busy ? this.state.waiting || (this.pending ? "Sending…" : "Answering…") : HINT);
  }

  say(text) {
    const again = text && this.status.textContent === text; // it would not be read a second time
    this.status.textContent = again ? `${text}\u00a0` : text;
  }

  tell(text) {
    set_text(this.told, text);
    this.told.hidden = !text;
    if (text) this.say(text);
  }

  // Whoever scrolls up stays there; at the end the log follows. A page that settles moves, too, but never up.
  scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.log;
    if (!clientHeight) return; // in a tab that is not shown
    const near = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    if (near) this.following = true;
    else if (scrollTop < this.top) this.following = false;
    this.top = scrollTop;
    this.jump.hidden = near || this.following;
  }

  resized() {
    if (this.in_view && document.activeElement === this.box) this.line.scrollIntoView({ block: "nearest" });
    if (this.queue.length) return;
    if (this.following) this.end();
    else this.scrolled();
  }

  end() {
    this.following = true;
    this.log.scrollTop = this.log.scrollHeight;
    this.jump.hidden = true;
  }

  // -- what was asked for
  download(name, type, bytes) {
    const href = URL.createObjectURL(new Blob([bytes], { type }));
    this.addresses.add(href); // the browser may still read it: it goes with the panel
    make("a", null, { href, download: name }).click();
    this.say(`Downloaded ${name}`);
  }

  async put(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const before = document.activeElement; // not allowed there, or not over https: the old way
      const box = make("textarea.unseen", this.root, { value: text });
      box.select();
      document.execCommand("copy");
      box.remove();
      before?.focus();
    }
    this.say("Copied");
    if (!this.copying) return;
    const by = Object.assign(this.copying, { textContent: "Copied" });
    this.copied = setTimeout(() => (by.textContent = "Copy"), 1500);
    this.copying = null;
  }
}

function render({ model, el }) {
  const panel = new Panel(model, el);
  return () => panel.close();
}

export default { render };
