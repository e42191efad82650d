// A recording in the browser: a slider, a cursor over a picture, the text so far.
//
// Strategy: the film (moments in columns, and the whole text of each block) and the pictures come once; where
// the slider stands is the only state. `show` draws that state, wherever it came from: a drag, a tick of the
// player, a button, the kernel. Text goes into text nodes, never into markup.

const SPEEDS = [0.1, 1, 10];
const TELL_KERNEL_MS = 200; // at most five times a second

function make(tag, parent, props = {}) {
  const { aria, ...rest } = props;
  const element = Object.assign(document.createElement(tag), rest);
  for (const [name, value] of Object.entries(aria ?? {})) element.setAttribute(`aria-${name}`, value);
  parent.append(element);
  return element;
}

function is_dark() {
  const said = document.body.dataset.jpThemeLight; // JupyterLab and Notebook
  if (said !== undefined) return said === "false";
  return window.matchMedia("(prefers-color-scheme: dark)").matches;
}

function seconds(t) {
  return t < 1 ? `${(t * 1000).toFixed(0)} ms` : `${t.toFixed(3)} s`;
}

// The number of moments at or before t.
function there(times, t) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= t + 5e-7) low = middle + 1;
    else high = middle;
  }
  return low;
}

function render({ model, el }) {
  const film = model.get("_film");
  const place = model.get("_picture");
  const end = film.t[film.t.length - 1];
  const root = make("div", el, { className: "bedrock-nb-slider" });
  root.dataset.lmSuppressShortcuts = "true"; // or Shift+Enter would run the cell again
  root.addEventListener("keydown", (event) => event.stopPropagation());

  // -- the picture and its cursor
  const frame = make("div", root, { className: "picture" });
  const image = make("img", frame, { alt: "Anatomy of the stream; the line is where the slider stands" });
  const cursor = make("div", frame, { className: "cursor" });
  cursor.style.top = `${place.top * 100}%`;
  cursor.style.height = `${(place.bottom - place.top) * 100}%`;
  let url = null;
  function dress() {
    const bytes = model.get(is_dark() ? "_dark" : "_light");
    if (url) URL.revokeObjectURL(url);
    image.src = url = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
  }
  dress();
  const theme = new MutationObserver(dress);
  theme.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  const preference = window.matchMedia("(prefers-color-scheme: dark)");
  preference.addEventListener("change", dress);
  frame.addEventListener("click", (event) => {
    const box = image.getBoundingClientRect();
    const across = ((event.clientX - box.left) / box.width - place.left) / (place.right - place.left);
    pause();
    go(place.begin + across * (place.end - place.begin));
  });

  // -- the controls
  const controls = make("div", root, { className: "controls" });
  const back = make("button", controls, { textContent: "◀|", title: "one event back", aria: { label: "one event back" } });
  const play = make("button", controls);
  const forth = make("button", controls, { textContent: "|▶", title: "one event on", aria: { label: "one event on" } });
  const speed = make("select", controls, { title: "speed", aria: { label: "speed" } });
  for (const times of SPEEDS) make("option", speed, { value: times, textContent: `×${times}`, selected: times === 1 });
  const range = make("input", controls, {
    type: "range", min: 0, max: end, step: "any", aria: { label: "time since the request" },
  });
  const now = make("div", root, { className: "now" });

  // -- the text
  const text = make("div", root, { className: "text", tabIndex: 0, aria: { label: "the answer so far" } });
  text.setAttribute("role", "region");
  const bodies = film.blocks.map((block) => {
    const box = make("div", text, { className: "block", hidden: true });
    box.dataset.kind = block.kind;
    if (film.blocks.length > 1) make("span", box, { className: "title", textContent: block.title });
    const body = make("span", box, { className: "body" });
    return { box, node: body.appendChild(document.createTextNode("")), all: block.text, length: 0, open: false };
  });
  const events = film.name.map((name) => /^[A-Z]/.test(film.names[name])); // marks are written small
  const of_events = events.filter(Boolean).length;

  // What has come at each moment is what had come before, and this: kept for one moment, moved from there.
  let shown = 0;
  let count = 0; // events among them
  function move_to(moments) {
    if (moments < shown) {
      shown = count = 0;
      for (const body of bodies) Object.assign(body, { length: 0, open: false });
    }
    for (; shown < moments; shown += 1) {
      count += events[shown] ? 1 : 0;
      if (film.block[shown] < 0) continue;
      Object.assign(bodies[film.block[shown]], { length: film.length[shown], open: true });
    }
    for (const body of bodies) {
      body.box.hidden = !body.open;
      const has = body.node.length; // only what differs is touched: a long text takes long to be laid out
      if (has < body.length) body.node.appendData(body.all.slice(has, body.length));
      else if (has > body.length) body.node.deleteData(body.length, has - body.length);
    }
  }

  let t = model.get("t");
  let told = t;
  let timer = null;
  function tell() {
    timer = null;
    if (told === t) return;
    told = t;
    model.set("t", t);
    try {
      model.save_changes();
    } catch {
      // The kernel has gone; everything else works without it.
    }
  }

  function show() {
    const low = text.scrollHeight - text.scrollTop - text.clientHeight < 24;
    const moments = there(film.t, t);
    move_to(moments);
    range.value = t;
    const across = (t - place.begin) / (place.end - place.begin);
    cursor.style.left = `${(place.left + across * (place.right - place.left)) * 100}%`;
    const chars = bodies.reduce((sum, body) => sum + body.length, 0);
    const last = moments ? film.names[film.name[moments - 1]] : "nothing yet";
    now.textContent = `${seconds(t)} · ${last} · event ${count} of ${of_events} · ${chars} characters`;
    range.setAttribute("aria-valuetext", now.textContent);
    if (low) text.scrollTop = text.scrollHeight;
  }

  function go(to, { quietly = false } = {}) {
    t = Math.min(Math.max(to, 0), end);
    show();
    if (!quietly) timer ??= setTimeout(tell, TELL_KERNEL_MS);
  }

  // -- playing
  let playing = null;
  function pause() {
    if (playing !== null) cancelAnimationFrame(playing);
    playing = null;
    play.textContent = "▶";
    play.title = "play";
    play.setAttribute("aria-label", "play");
  }
  function start() {
    if (t >= end) go(0);
    let before = performance.now();
    play.textContent = "⏸";
    play.title = "pause";
    play.setAttribute("aria-label", "pause");
    const tick = (at) => {
      go(t + (Math.max(0, at - before) / 1000) * Number(speed.value));
      before = at;
      if (t >= end) pause();
      else playing = requestAnimationFrame(tick);
    };
    playing = requestAnimationFrame(tick);
  }
  play.addEventListener("click", () => (playing === null ? start() : pause()));
  range.addEventListener("input", () => {
    pause();
    go(Number(range.value));
  });
  function step(by) {
    pause();
    let at = there(film.t, t) - 1;
    const here = film.t[at];
    for (at += by; at >= 0 && at < film.t.length && (!events[at] || film.t[at] === here); ) at += by;
    go(at < 0 ? 0 : (film.t[at] ?? end));
  }
  back.addEventListener("click", () => step(-1));
  forth.addEventListener("click", () => step(1));
  const moved = () => {
    if (model.get("t") !== told) {
      told = model.get("t");
      pause();
      go(told, { quietly: true });
    }
  };
  model.on("change:t", moved);

  pause();
  show();
  return () => {
    pause();
    clearTimeout(timer);
    model.off("change:t", moved);
    theme.disconnect();
    preference.removeEventListener("change", dress);
    URL.revokeObjectURL(url);
  };
}

export default { render };
