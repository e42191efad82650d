// A guess in the browser: a slider for each quantity, and a line of tokens over time that can be dragged.
//
// Strategy: where the handles stand (`now`) is the only state of a page; `draw` shows it, with whatever the
// kernel has told since: the guess that is kept, the facts, the steps that came. Sliders are native, so keys
// and screen readers work as everywhere; the handles in the picture do the same for a pointer. Numbers and our
// own words only, and those in text nodes.

const TELL_KERNEL_MS = 100;
const LEAST_WIDE = 260; // of the picture, pixels
const HIGH = 240;
const EDGE = { left: 46, right: 16, top: 14, bottom: 50 };
const SVG = "http://www.w3.org/2000/svg";

function make(tag, parent, props = {}) {
  const { aria, ...rest } = props;
  const element = Object.assign(document.createElement(tag), rest);
  for (const [name, value] of Object.entries(aria ?? {})) element.setAttribute(`aria-${name}`, value);
  parent.append(element);
  return element;
}

function shape(tag, parent, attributes = {}, text = "") {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text) element.textContent = text;
  parent.append(element);
  return element;
}

const between = (low, value, high) => Math.min(Math.max(value, low), high);

// Round numbers from 0 up to `end`, about four of them.
function ticks(end) {
  const power = 10 ** Math.floor(Math.log10(end / 4));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => end / one <= 6);
  return Array.from({ length: Math.floor(end / step + 1e-9) + 1 }, (_, i) => Number((i * step).toPrecision(6)));
}

// Tokens over time. `change(name, value)` is called with what a drag means, `done` when it is over. What is
// returned draws a state; a unit of the picture is a pixel, whatever its width, so that words stay readable.
function picture(root, scales, change, done) {
  const ttft = scales.find((one) => one.name === "ttft_s");
  const pace = scales.find((one) => one.name === "output_tps");
  const svg = shape("svg", root, { role: "img" });
  const back = shape("g", svg);
  const fact = shape("path", svg, { class: "fact" });
  const kept = shape("path", svg, { class: "guess" });
  const line = shape("path", svg, { class: "guess" });
  const names = shape("g", svg);
  let [last_s, most] = [1, 1]; // where the axes end
  let now = {};
  let shown = null;
  let wide = LEAST_WIDE;

  const x = (t) => EDGE.left + (between(0, t, last_s) / last_s) * (wide - EDGE.left - EDGE.right);
  const y = (n) => HIGH - EDGE.bottom - (between(0, n, most) / most) * (HIGH - EDGE.top - EDGE.bottom);

  // Where a guessed line leaves the picture, at its right or at its top.
  function end_of(guess) {
    const { ttft_s, output_tps } = guess;
    const t = output_tps > 0 ? Math.min(last_s, ttft_s + (most - 1) / output_tps) : last_s;
    return [Math.max(t, ttft_s), 1 + output_tps * Math.max(0, t - ttft_s)];
  }
  function path_of(guess) {
    const [t, n] = end_of(guess);
    return `M${x(guess.ttft_s)},${y(0)}L${x(t)},${y(n)}`;
  }

  function handle(drag) {
    const group = shape("g", svg, { class: "handle" });
    shape("circle", group, { class: "touch", r: 24 });
    shape("circle", group, { class: "knob", r: 8 });
    group.addEventListener("pointerdown", (event) => {
      event.preventDefault(); // no text is selected
      event.stopPropagation();
      group.setPointerCapture(event.pointerId);
    });
    group.addEventListener("pointermove", (event) => {
      if (!group.hasPointerCapture(event.pointerId)) return;
      const box = svg.getBoundingClientRect();
      const across = ((event.clientX - box.left) / box.width) * wide - EDGE.left;
      const up = HIGH - EDGE.bottom - ((event.clientY - box.top) / box.height) * HIGH;
      drag((across / (wide - EDGE.left - EDGE.right)) * last_s, (up / (HIGH - EDGE.top - EDGE.bottom)) * most);
    });
    for (const name of ["pointerup", "pointercancel"]) group.addEventListener(name, done);
    return (t, n) => group.setAttribute("transform", `translate(${x(t)},${y(n)})`);
  }
  // The end first: where both lie on each other, the start is on top.
  const put_end = handle((t, n) => {
    const wait = t - now.ttft_s;
    change("output_tps", wait > 0 ? Math.max(0, n - 1) / wait : n > 1 ? pace.high : 0);
  });
  const put_start = handle((t) => change("ttft_s", t));

  function axes() {
    back.replaceChildren();
    shape("path", back, { class: "axis", d: `M${EDGE.left},${EDGE.top}V${y(0)}H${wide - EDGE.right}` });
    for (const t of ticks(last_s)) {
      shape("path", back, { class: "axis", d: `M${x(t)},${y(0)}v4` });
      shape("text", back, { x: x(t), y: y(0) + 23, "text-anchor": "middle" }, String(t));
    }
    for (const n of ticks(most)) {
      shape("path", back, { class: "axis", d: `M${EDGE.left},${y(n)}h-4` });
      shape("text", back, { x: EDGE.left - 7, y: y(n) + 4, "text-anchor": "end" }, String(n));
    }
    shape("text", back, { x: wide - EDGE.right, y: HIGH - 6, "text-anchor": "end" }, "time since the request [s]");
    const few = wide < 420; // the names of the lines stand beside it
    shape("text", back, { x: EDGE.left + 8, y: EDGE.top + 4 }, few ? "tokens" : "output tokens so far");
  }

  function draw(state) {
    shown = state;
    now = state.now;
    const came = (state.stairs.t ?? []).length > 0;
    const { t = [], tokens = [], end = 0 } = state.stairs;
    const first = state.kept ?? now;
    last_s = came ? 1.05 * Math.max(end, first.ttft_s) : 2 * ttft.high;
    most = came ? 1.2 * Math.max(1, tokens[tokens.length - 1]) : Math.max(2, (pace.high * last_s) / 2);
    if (!(last_s > 0)) last_s = 1;
    axes();
    fact.setAttribute(
      "d",
      came ? `M${x(t[0])},${y(0)}${t.map((one, i) => `H${x(one)}V${y(tokens[i])}`).join("")}` : "",
    );
    const moved = state.kept && (state.kept.ttft_s !== now.ttft_s || state.kept.output_tps !== now.output_tps);
    kept.setAttribute("d", state.kept ? path_of(state.kept) : "");
    line.setAttribute("d", path_of(now));
    line.setAttribute("class", moved ? "now" : "guess");
    line.style.display = state.kept && !moved ? "none" : "";
    put_start(now.ttft_s, 0);
    put_end(...end_of(now));
    names.replaceChildren();
    if (came) {
      const row = { y: EDGE.top + 4, "text-anchor": "end" };
      shape("text", names, { ...row, x: wide - EDGE.right - 104, class: "name of-guess" }, "- - your guess");
      shape("text", names, { ...row, x: wide - EDGE.right, class: "name of-fact" }, "— what came");
    }
    svg.setAttribute("aria-label", `Tokens over time. ${state.spoken}`);
  }

  function fit() {
    wide = Math.max(LEAST_WIDE, Math.round(svg.clientWidth) || 680);
    svg.setAttribute("viewBox", `0 0 ${wide} ${HIGH}`);
    if (shown) draw(shown);
  }
  fit();
  const watch = new ResizeObserver(fit);
  watch.observe(svg);
  return { draw, close: () => watch.disconnect() };
}

function render({ model, el }) {
  const scales = model.get("_scales");
  const root = make("div", el, { className: "bedrock-nb-guess" });
  root.dataset.lmSuppressShortcuts = "true"; // or Shift+Enter would run the cell again
  root.addEventListener("keydown", (event) => event.stopPropagation());
  const hint = make("p", root, { className: "hint" });
  let now = { ...model.get("_now") };

  // The kernel hears of it a few times a second, and at once when a drag is over. As a message: changes of the
  // model wait until the kernel has answered the last one, and a cell that is run meanwhile would overtake them.
  let timer = null;
  function tell() {
    clearTimeout(timer);
    timer = null;
    const told = model.get("_now");
    if (scales.every(({ name }) => told[name] === now[name])) return;
    model.set("_now", { ...now });
    try {
      model.send({ now });
    } catch {
      // The kernel has gone; there is nobody to check the guess, and nothing else to do.
    }
  }
  function change(name, value) {
    const { low, high, step } = scales.find((one) => one.name === name);
    now[name] = between(low, Number((low + Math.round((value - low) / step) * step).toPrecision(9)), high);
    draw();
    timer ??= setTimeout(tell, TELL_KERNEL_MS);
  }

  const show = (one, value) => `${value.toFixed(one.decimals)} ${one.unit}`.trim();
  const is_curve = ["ttft_s", "output_tps"].every((name) => scales.some((one) => one.name === name));
  const curve = is_curve ? picture(root, scales, change, tell) : null;

  const rows = scales.map((one) => {
    const row = make("label", root, { className: "row" });
    make("span", row, { textContent: one.label });
    const track = make("span", row, { className: "track" });
    const range = make("input", track, { type: "range", min: one.low, max: one.high, step: one.step });
    range.setAttribute("aria-label", one.unit ? `${one.label}, ${one.unit}` : one.label);
    range.addEventListener("input", () => change(one.name, Number(range.value)));
    range.addEventListener("change", tell);
    const [kept, fact] = ["mark kept", "mark fact"].map((className) =>
      make("span", track, { className, hidden: true }),
    );
    return { one, range, kept, fact, value: make("output", row) };
  });
  const said = make("ul", root, { className: "said" });
  said.setAttribute("aria-live", "polite");

  function mark(element, { low, high }, value) {
    element.hidden = !(value >= low && value <= high);
    if (!element.hidden) element.style.setProperty("--at", (value - low) / (high - low));
  }

  function draw() {
    const known = model.get("_kept");
    const kept = Object.keys(known).length ? known : null;
    const facts = model.get("_facts");
    const spoken = scales.map((one) => `${one.label} ${show(one, (kept ?? now)[one.name])}`).join(", ");
    for (const { one, range, value, kept: before, fact } of rows) {
      range.value = now[one.name];
      value.textContent = show(one, now[one.name]);
      range.setAttribute("aria-valuetext", value.textContent);
      mark(before, one, kept ? kept[one.name] : NaN);
      mark(fact, one, facts[one.name] ?? NaN);
    }
    hint.textContent = kept
      ? "Your guess is kept: it was made before the answer came. The handles still move, for a what-if."
      : `What do you expect? Drag ${is_curve ? "the line or " : ""}the sliders, then run the next cell.`;
    curve?.draw({ now, kept, stairs: model.get("_stairs"), spoken: `Guessed: ${spoken}.` });
  }

  function tell_facts() {
    const sentences = model.get("_said");
    said.replaceChildren();
    for (const one of scales) {
      if (!sentences[one.name]) continue;
      const item = make("li", said);
      make("b", item, { textContent: `${one.label[0].toUpperCase()}${one.label.slice(1)}: ` });
      item.append(sentences[one.name]);
    }
    draw();
  }

  const moved = () => {
    if (timer !== null) return; // a drag is going on; it will be told
    now = { ...model.get("_now") };
    draw();
  };
  const heard = [
    ["change:_now", moved],
    ["change:_kept", draw],
    ["change:_facts", draw],
    ["change:_stairs", draw],
    ["change:_said", tell_facts],
  ];
  for (const [name, act] of heard) model.on(name, act);
  tell_facts();
  return () => {
    clearTimeout(timer);
    curve?.close();
    for (const [name, act] of heard) model.off(name, act);
  };
}

export default { render };
