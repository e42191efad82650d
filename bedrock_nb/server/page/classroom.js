"use strict";

/* The teacher's part of the status page: a row for each student, and a hand to pause them.

   Strategy: status.js asks and tells ("told"), and lends what changes a page calmly. A student has one row for
   good; only what differs is written, and rows move only when their order does. Whose requests are listed
   stands in the page's own address, so a reload keeps it, and the server does the choosing. Names go in as text. */

{
  const { ask, hide, lasting, make, many, put, seconds, text, write } = globalThis.statusPage;
  const $ = (id) => document.getElementById(id);
  const NOTHING = "–";
  const SUMS = ["requests", "running", "waiting", "throttled", "errors", "tokens"];
  const LIMITS = {
    requests_per_minute: (n) => `${n.toLocaleString("en")} requests a minute`,
    tokens_per_minute: (n) => `${n.toLocaleString("en")} tokens a minute`,
    slots: (n) => `${many(n, "answer")} at once`,
  };

  // What stands in each cell of a student.
  const CELLS = {
    ...Object.fromEntries(SUMS.map((name) => [name, (student) => student[name].toLocaleString("en")])),
    late_p99_ms: ({ late_p99_ms: late }) => (late === null ? NOTHING : seconds(late / 1000)),
    last_seen: ({ last_seen: seen }, now) => (seen === null ? NOTHING : ago(now - seen)),
  };

  const ago = (s) => (s < 5 ? "now" : `${lasting(s).split(" ").slice(0, 2).join(" ")} ago`);

  const asked = () => new URLSearchParams(location.search);

  // -- a student -----------------------------------------------------------------------------------

  class Row {
    constructor() {
      this.line = make("student");
      this.only = this.line.querySelector(".only");
      this.name = this.only.querySelector("bdi");
      this.drawing = this.line.querySelector("svg");
      this.bars = this.line.querySelector(".bars");
      this.pause = this.line.querySelector(".pause");
      this.cells = Object.fromEntries(Object.keys(CELLS).map((name) => [name, this.line.querySelector(`.${name}`)]));
    }

    show(student, now, most) {
      this.student = student;
      write(this.name, text(student.name));
      put(this.only, "aria-pressed", String(asked().get("student") === student.name));
      put(this.only, "title", `List the requests of ${text(student.name)} only`);
      fill(this.cells, student, now);
      const heights = student.activity.map((n, i) => (n ? `M${5 * i + 2.5} 22v-${Math.max(2, (22 * n) / most).toFixed(1)}` : ""));
      put(this.bars, "d", heights.join(""));
      const sum = student.activity.reduce((a, b) => a + b, 0);
      put(this.drawing, "aria-label", `${many(sum, "request")} in the last 5 minutes`);
      hide(this.pause, student.teacher);
      put(this.pause, "aria-pressed", String(student.paused));
      put(this.pause, "aria-label", `${student.paused ? "Let" : "Pause"} ${text(student.name)}${student.paused ? " go on" : ""}`);
      write(this.pause, student.paused ? "Go on" : "Pause");
      put(this.line, "data-paused", String(student.paused));
    }
  }

  function fill(cells, student, now) {
    for (const [name, words] of Object.entries(CELLS)) {
      write(cells[name], words(student, now));
      put(cells[name], "data-some", String(student[name] > 0));
    }
  }

  // -- the table -----------------------------------------------------------------------------------

  const rows = new Map();
  const body = $("student-rows");
  const total = Object.fromEntries(Object.keys(CELLS).map((name) => [name, $("room-total").querySelector(`.${name}`)]));
  let order = { by: "name", down: false };
  let told = null;

  const byName = new Intl.Collator(undefined, { numeric: true }).compare;

  function compare(a, b) {
    const sign = order.down ? -1 : 1;
    if (order.by === "name") return sign * byName(a.name, b.name);
    return sign * ((a[order.by] ?? -1) - (b[order.by] ?? -1)) || byName(a.name, b.name);
  }

  function show() {
    const { now, classroom } = told;
    hide($("room"), !classroom);
    if (!classroom) return;
    const students = classroom.students.filter((student) => !student.teacher || student.requests > 0).sort(compare);
    const most = Math.max(4, ...students.flatMap((student) => student.activity));
    let next = body.firstElementChild;
    for (const student of students) {
      let row = rows.get(student.name);
      if (!row) rows.set(student.name, (row = new Row()));
      row.show(student, now, most);
      if (row.line === next) next = next.nextElementSibling;
      else body.insertBefore(row.line, next);
    }
    fill(total, all(students), now);
    const limits = Object.entries(LIMITS).filter(([name]) => classroom.limits[name] !== null);
    const said = limits.map(([name, words]) => words(classroom.limits[name])).join(", ");
    write($("room-limits"), `${many(classroom.students.filter((s) => !s.teacher).length, "seat")}, each with ${said || "no limits"}`);
    const paused = classroom.students.every((student) => student.teacher || student.paused);
    put($("room-pause"), "aria-pressed", String(paused));
    write($("room-pause"), paused ? "Let everybody go on" : "Eyes up: pause everybody");
    const only = asked().get("student");
    hide($("filter"), only === null);
    write($("filter-name"), text(only));
  }

  function all(students) {
    const most = (name) => students.reduce((found, { [name]: value }) => (value === null || value < found ? found : value), null);
    const sums = SUMS.map((name) => [name, students.reduce((sum, student) => sum + student[name], 0)]);
    return { ...Object.fromEntries(sums), late_p99_ms: most("late_p99_ms"), last_seen: most("last_seen") };
  }

  // -- hands ---------------------------------------------------------------------------------------

  function only(name) {
    const search = asked();
    if (name === null || search.get("student") === name) search.delete("student");
    else search.set("student", name);
    history.replaceState(null, "", `?${search}`);
    show();
    ask();
  }

  async function pause(student, paused) {
    const headers = { "Content-Type": "application/json", "x-bedrock-nb-key": asked().get("key") };
    const sent = fetch("pause", { method: "POST", headers, body: JSON.stringify({ student, paused }) });
    await sent.catch(() => {}); // the server is gone, and the next question says so
    ask(); // whatever came of it, the server knows
  }

  function sort(button) {
    const by = button.dataset.sort;
    // A name is looked for from A on, a number from the largest.
    order = { by, down: order.by === by ? !order.down : by !== "name" };
    for (const head of $("students").querySelectorAll("[aria-sort]")) {
      const sorted = head.contains(button);
      put(head, "aria-sort", sorted ? (order.down ? "descending" : "ascending") : "none");
    }
    show();
  }

  $("room").addEventListener("click", ({ target }) => {
    const button = target.closest("button");
    if (!button) return;
    const row = [...rows.values()].find(({ line }) => line.contains(button));
    if (button.dataset.sort) sort(button);
    else if (button.id === "room-pause") pause(null, button.getAttribute("aria-pressed") !== "true");
    else if (button.id === "filter-off") only(null);
    else if (row && button === row.only) only(row.student.name);
    else if (row) pause(row.student.name, !row.student.paused);
  });

  document.addEventListener("told", ({ detail }) => {
    told = detail;
    show();
  });
}
