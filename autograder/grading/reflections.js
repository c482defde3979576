"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const { questions, students } = data;
const get = (id) => document.getElementById(id);
const now = { question: 0, answer: 0, all: false, names: false };

// Elements; what students wrote gets into the page as text and in no other way.
const make = (name, attributes = {}, ...inside) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...inside.filter((part) => part !== null && part !== undefined && part !== false));
  return made;
};
const halves = (points) => {
  const whole = Math.floor(points), rest = points - whole;
  return rest === 0 ? `${points}` : rest === 0.5 ? `${whole || ""}½` : `${points}`;
};
const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
const question = () => questions[now.question];
const answer = () => question().answers[now.answer];
const who = (one) => students[one.student].name ? `${students[one.student].name} (${students[one.student].id})` : students[one.student].id;
const called = (k, of = question()) => `Answer ${k + 1} of ${of.answers.length}${now.names ? `, ${who(of.answers[k])}` : ""}`;

// --- What a grader gives: an entry for each answer that was touched, kept by the browser.

const PLACE = `autograder reflections/${data.course}/${data.assignment}/`;
const entries = new Map();
let keeps = true;
const keyOf = (of, one) => JSON.stringify([of.notebook, of.cell, students[one.student].id]);
const read = (key, text) => {
  try {
    const entry = JSON.parse(text);
    if (entry && typeof entry === "object") entries.set(key, entry);
    else entries.delete(key);
  } catch { entries.delete(key); }
};
try {
  for (let k = 0; k < localStorage.length; k += 1) {
    const key = localStorage.key(k);
    if (key.startsWith(PLACE)) read(key.slice(PLACE.length), localStorage.getItem(key));
  }
} catch { keeps = false; }

const given = (of, one) => {  // an entry for another answer than the one on the page counts for nothing
  const entry = entries.get(keyOf(of, one));
  return entry && entry.answer === one.answer ? entry : {};
};
const give = (of, one, change) => {
  const key = keyOf(of, one);
  const entry = { ...given(of, one), ...change, answer: one.answer };
  entry.known ??= { points: one.points, comment: one.comment };
  for (const name of ["points", "comment", "other"]) if (entry[name] === undefined) delete entry[name];
  const empty = !("points" in entry || "comment" in entry || "other" in entry);
  if (empty) entries.delete(key);
  else entries.set(key, entry);
  try {
    if (empty) localStorage.removeItem(PLACE + key);
    else localStorage.setItem(PLACE + key, JSON.stringify(entry));
  } catch { keeps = false; }
  if (!keeps) say("This browser keeps nothing of this page: save SCORES.json before you close it.");
};
// What the gradebook has by now is nobody's to give any more; what is given next, is given knowing it.
for (const of of questions) {
  for (const one of of.answers) {
    const mine = given(of, one);
    if (mine.points === one.points && !one.waits && (mine.comment ?? one.comment) === one.comment && !mine.other)
      give(of, one, { points: undefined, comment: undefined });
  }
}
addEventListener("storage", (event) => {  // another tab
  if (event.key?.startsWith(PLACE)) {
    read(event.key.slice(PLACE.length), event.newValue);
    paint();
  }
});
const points = (of, one) => given(of, one).points ?? one.points ?? one.automatic;
const comment = (of, one) => given(of, one).comment ?? one.comment;
const done = (of, one) => given(of, one).points !== undefined || !one.waits;

// --- A file of scores

const saved = () => {
  const scores = [];
  for (const of of questions) {
    for (const one of of.answers) {
      const { other, ...entry } = given(of, one);
      if ("points" in entry || "comment" in entry)
        scores.push({ notebook: of.notebook, cell: of.cell, student: students[one.student].id, ...entry });
    }
  }
  return { format: data.format, course: data.course, assignment: data.assignment, scores };
};
const save = () => {
  const file = saved();
  const link = make("a", { download: "SCORES.json",
    href: URL.createObjectURL(new Blob([JSON.stringify(file, null, 1)], { type: "application/json" })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  say(`SCORES.json holds what you gave for ${counted(file.scores.length, "answer")}.`);
};
const load = async (files) => {
  const said = [];
  for (const file of files) {
    let found = null;
    try { found = JSON.parse(await file.text()); } catch { /* said below */ }
    if (found?.format !== data.format || !Array.isArray(found.scores)) said.push(`${file.name} is no file of scores.`);
    else if (found.course !== data.course || found.assignment !== data.assignment)
      said.push(`${file.name} is of ${found.assignment} in the course ${found.course}, not of this one.`);
    else said.push(merge(file.name, found.scores));
  }
  say(said.join(" "));
  get("load").value = "";
  fill();
};
const merge = (name, scores) => {
  const known = new Map(questions.flatMap((of) => of.answers.map((one) => [keyOf(of, one), [of, one]])));
  let taken = 0, left = 0;
  const differ = [];
  for (const raw of scores) {
    const [of, one] = known.get(JSON.stringify([raw?.notebook, raw?.cell, raw?.student])) ?? [];
    const theirs = {};
    if (Number.isFinite(raw?.points)) theirs.points = raw.points;
    if (typeof raw?.comment === "string") theirs.comment = raw.comment;
    if (!of || raw.answer !== one.answer || theirs.points < 0 || theirs.points > of.points || !("points" in theirs || "comment" in theirs)) {
      left += 1;
      continue;
    }
    const mine = given(of, one);
    if (["points", "comment"].some((field) => field in theirs && field in mine && theirs[field] !== mine[field])) {
      give(of, one, { other: { ...theirs, from: name } });
      differ.push(`${of.cell}, ${called(of.answers.indexOf(one), of)}`);
    } else {
      const is = raw.known;
      const knew = is && typeof is.comment === "string" && (is.points === null || Number.isFinite(is.points));
      give(of, one, { ...theirs, known: mine.known ?? (knew ? { points: is.points, comment: is.comment } : undefined) });
      taken += 1;
    }
  }
  return `${name}: ${counted(taken, "answer")} taken.`
    + (differ.length ? ` Yours differ, and are kept until you choose, in: ${differ.slice(0, 5).join("; ")}${differ.length > 5 ? ` and ${differ.length - 5} more` : ""}.` : "")
    + (left ? ` ${left} left out: not on this page, changed since, or with too many points.` : "");
};

// --- Cards

const say = (text) => { get("says").textContent = text; };
const steps = (most, current) => {
  const step = [0.5, 1, 2, 5, 10, 20, 50].find((size) => most / size <= 12) ?? most;
  const found = new Set([most]);
  for (let value = 0; value < most; value += step) found.add(value);
  if (current !== null) found.add(current);
  return [...found].sort((a, b) => a - b);
};

const card = (k) => {
  const of = question(), one = of.answers[k], whose = students[one.student];
  const made = make("article", { id: `a-${k}`, tabindex: "-1", "aria-labelledby": `h-${k}`, onfocusin: () => at(k) });
  const missing = one.parts.filter(([, is]) => is === false).map(([text]) => text.trim());
  const numbers = one.parts.filter(([, is]) => is !== null).length;
  const text = one.is_empty
    ? make("p", { class: "warn" }, one.automatic === null ? "Empty: nothing was written here." : "Empty: nobody touched the cell, which the autograder gave 0 points.")
    : make("div", { class: "answer" }, ...one.parts.map(([part, is]) => is === null ? part : make("mark", { class: is ? "found" : "not" }, part)));
  made.append(
    make("header", {}, make("h3", { id: `h-${k}` }, called(k)), make("span", { class: "state" })),
    make("div", { class: "graded" },
      ...whose.remarks.map((remark) => make("p", { class: "warn soft" }, remark)),
      text,
      !one.is_empty && numbers > 0 && make("p", { class: "soft" }, missing.length
        ? `Not in the text of what this student saw: ${missing.join("; ")} (${missing.length} of ${counted(numbers, "number")}).`
        : numbers === 1 ? "The number is in the text of what this student saw." : `All ${numbers} numbers are in the text of what this student saw.`),
      one.alike.length > 0 && make("p", { class: "warn" }, "Nearly the same as ", ...one.alike.flatMap(([other, percent], n) => [
        n ? ", " : "", make("a", { href: `#a-${other}`, onclick: (event) => { event.preventDefault(); go(other); } }, called(other).replace(/^Answer (\d+) of \d+/, "answer $1")), ` (${percent} %)`,
      ]), one.more ? ` and ${one.more} more.` : "."),
      make("div", { class: "given" }),
      make("div", { class: "comment" },
        make("label", { for: `c-${k}` }, "Comment"),
        make("textarea", { id: `c-${k}`, rows: "2", oninput: (event) => {
          give(of, one, { comment: event.target.value === one.comment ? undefined : event.target.value });
          count();
        } }),
        make("select", { id: `v-${k}`, "aria-label": "Comments used before", onfocus: (event) => used(event.target), onpointerdown: (event) => used(event.target),
          onchange: (event) => take(k, event.target) }, make("option", { value: "" }, "Comments used before …"))),
      make("div", { class: "other" })),
    make("div", { class: "saw" }));
  update(made, k);
  watcher.observe(made);
  return made;
};

// What changes while grading: state, points, comment, and what another grader's file says.
const update = (made, k) => {
  const of = question(), one = of.answers[k], mine = given(of, one), value = points(of, one);
  const state = made.querySelector(".state"), box = made.querySelector("textarea");
  const is = done(of, one);
  state.className = `state${is ? "" : " left"}`;
  const stale = entries.has(keyOf(of, one)) && !mine.answer;
  state.textContent = (is ? `Done: ${halves(value ?? 0)} of ${counted(of.points, "point")}` : "Left")
    + (one.waits && one.points !== null && mine.points === undefined ? `; an earlier answer was given ${halves(one.points)}` : "")
    + (mine.points !== undefined && one.points !== null && one.points !== mine.points ? `; the gradebook has ${halves(one.points)}` : "")
    + (stale ? "; the answer has changed since you graded it" : "");
  made.classList.toggle("now", k === now.answer);
  if (box.value !== comment(of, one)) box.value = comment(of, one);
  const focused = made.contains(document.activeElement) && document.activeElement.type === "radio";
  const chosen = mine.points ?? (is ? value : null);
  made.querySelector(".given").replaceChildren(make("fieldset", {}, make("legend", {}, `Points of ${halves(of.points)}`),
    ...steps(of.points, chosen).map((step) => {
      const input = make("input", { type: "radio", name: `r-${k}`, value: step, checked: step === chosen, onchange: () => grade(k, step) });
      return make("label", {}, input, make("span", {}, halves(step)));
    })));
  if (focused) made.querySelector("input:checked")?.focus();
  const there = mine.other;
  made.querySelector(".other").replaceChildren(...(there ? [make("p", { class: "warn" }, `${there.from} gives `
    + [there.points === undefined ? null : counted(halves(there.points), "point"), there.comment ? `the comment “${there.comment}”` : null].filter(Boolean).join(" and ") + ". ",
    make("button", { onclick: () => { const { from, ...theirs } = there; give(of, one, { ...theirs, other: undefined }); refresh(k); } }, "Take it"), " ",
    make("button", { onclick: () => { give(of, one, { other: undefined }); refresh(k); } }, "Keep mine"))] : []));
};

// Figures are put into the page when their card comes near.
const figure = (name, words) => {
  const source = get(`p-${name}`);
  if (!source) return words ? make("p", { class: "soft" }, words) : null;
  return make("figure", {}, make("img", { src: source.textContent, alt: words || "A figure without an alternative text", loading: "lazy", decoding: "async" }),
    words && make("details", {}, make("summary", {}, "In words"), make("p", {}, words)));
};
const cell = (place, outputs) => outputs.map((output) => output.picture ? figure(output.picture, output.words) : make("pre", {}, output.words));
const see = (made) => {
  const k = Number(made.id.slice(2)), of = question(), one = of.answers[k], { saw } = students[one.student];
  const place = made.querySelector(".saw");
  if (place.childElementCount) return;
  const near = of.beside.map((id) => `${of.notebook}/${id}`).filter((id) => saw[id]);
  const rest = Object.keys(saw).filter((id) => id.startsWith(`${of.notebook}/`) && !near.includes(id));
  place.append(
    make("h4", { class: "unseen" }, "What this student saw"),
    ...one.pasted.map((name) => figure(name, "A picture in the answer")).filter(Boolean),
    ...near.flatMap((id) => cell(id, saw[id])).filter(Boolean),
    near.length || one.pasted.length ? "" : make("p", { class: "soft" }, of.beside.length ? "None of the figures that this question is about was handed in." : "This question is about no figure."));
  if (rest.length) {
    const more = make("details", { ontoggle: () => { if (more.childElementCount === 1) more.append(...rest.flatMap((id) => cell(id, saw[id])).filter(Boolean)); } },
      make("summary", {}, `${counted(rest.length, "more cell")} of this notebook`));
    place.append(more);
  }
};
const watcher = new IntersectionObserver((seen) => {
  for (const one of seen) if (one.isIntersecting) see(one.target);
}, { rootMargin: "800px" });

const used = (select) => {
  const times = new Map();
  for (const of of questions) for (const one of of.answers) {
    const text = comment(of, one).trim();
    if (text) times.set(text, (times.get(text) ?? 0) + (of === question() ? 1000 : 1));
  }
  const found = [...times].sort((a, b) => b[1] - a[1]).map(([text]) => text);
  select.replaceChildren(make("option", { value: "" }, found.length ? "Comments used before …" : "No comment was used before"),
    ...found.map((text) => make("option", { value: text }, text.length > 90 ? `${text.slice(0, 90)}…` : text)));
};
const take = (k, select) => {
  const of = question(), one = of.answers[k], text = select.value, there = comment(of, one).trim();
  select.selectedIndex = 0;
  if (!text) return;
  give(of, one, { comment: there && there !== text ? `${there}\n${text}` : text });
  refresh(k);
};
const grade = (k, value) => {
  const of = question(), one = of.answers[k];
  give(of, one, { points: value });
  refresh(k);
  get("spoken").textContent = value === undefined ? `${called(k)}: no points yet.` : `${called(k)}: ${counted(halves(value), "point")}.`;
};

// --- The page

const count = () => {
  const of = question(), all = of.answers.length, graded = of.answers.filter((one) => done(of, one)), is = graded.length;
  const empty = graded.filter((one) => one.is_empty).length;  // the autograder's work, no grader's
  get("bar").max = all || 1;
  get("bar").value = is;
  const whole = questions.flatMap((each) => each.answers.map((one) => done(each, one)));
  get("count").textContent = `${is} of ${all} done${empty ? ` (${empty} empty)` : ""}, ${all - is} left; all questions: ${whole.filter(Boolean).length} of ${whole.length}`;
  [...get("question").options].forEach((option, k) => {
    const left = questions[k].answers.filter((one) => !done(questions[k], one)).length;
    option.textContent = `${questions[k].name} · ${left ? `${left} left` : "done"}`;
  });
};
const refresh = (k) => {  // one card, anew
  update(get(`a-${k}`), k);
  count();
};
const paint = () => {  // every card, anew
  for (const made of get("answers").querySelectorAll("article")) update(made, Number(made.id.slice(2)));
  count();
};
const fill = () => {  // the cards, anew
  const of = question();
  watcher.disconnect();
  now.answer = Math.min(now.answer, Math.max(of.answers.length - 1, 0));
  document.querySelectorAll(".about").forEach((about, k) => { about.hidden = k !== now.question; });
  get("question").selectedIndex = now.question;
  get("all").setAttribute("aria-pressed", now.all);
  get("names").setAttribute("aria-pressed", now.names);
  document.body.classList.toggle("one", !now.all);
  const shown = now.all ? of.answers.keys() : of.answers.length ? [now.answer] : [];
  get("answers").replaceChildren(...[...shown].map(card));
  if (!of.answers.length) get("answers").append(make("p", {}, "Nobody has answered this question."));
  const none = students.filter((one, k) => !questions.some((each) => each.answers.some((a) => a.student === k)));
  get("others").hidden = !none.length;
  get("others").querySelector("summary").textContent = `${counted(none.length, "student")} without an answer here`;
  get("others").querySelector("ul").replaceChildren(...none.map((one) => make("li", {}, `${now.names ? one.name || one.id : "Somebody"}: ${one.remarks.join(" ")}`)));
  count();
};
const at = (k) => {  // the card that keys are about
  if (k === now.answer) return;
  get(`a-${now.answer}`)?.classList.remove("now");
  now.answer = k;
  get(`a-${k}`)?.classList.add("now");
};
const go = (k) => {
  if (k < 0 || k >= question().answers.length) return say(k < 0 ? "This is the first answer." : "This is the last answer.");
  say("");
  if (now.all) at(k);
  else {
    now.answer = k;
    fill();
  }
  const made = get(`a-${k}`);
  made.focus({ preventScroll: true });
  made.scrollIntoView({ block: now.all ? "start" : "nearest" });
};
const ask = (k) => {
  if (k < 0 || k >= questions.length) return;
  const of = questions[k];
  Object.assign(now, { question: k, answer: Math.max(of.answers.findIndex((one) => !done(of, one)), 0) });
  fill();
};
const left = () => {
  const of = question(), all = of.answers.length;
  for (let step = 1; step <= all; step += 1) {
    const k = (now.answer + step) % all;
    if (!done(of, of.answers[k])) return go(k);
  }
  say("Nothing is left in this question.");
};
const toggle = (name) => {
  now[name] = !now[name];
  fill();
  if (question().answers.length) go(now.answer);
};

// --- Keys

let typed = { at: 0, text: "" };
const digit = (key) => {  // 1 and then 2, at once, are 12 where there are so many points
  const most = question().points, time = Date.now();
  const longer = time - typed.at < 700 && typed.k === now.answer && Number(typed.text + key) <= most ? typed.text + key : key;
  typed = { at: time, text: longer, k: now.answer };
  if (Number(longer) > most) return say(`This question has ${halves(most)} points at most.`);
  say("");
  grade(now.answer, Number(longer));
};
const half = () => {
  const value = given(question(), answer()).points ?? 0, more = value % 1 ? Math.floor(value) : value + 0.5;
  grade(now.answer, Math.min(more, question().points));
};
const keys = {
  n: () => go(now.answer + 1), p: () => go(now.answer - 1), u: left, q: () => ask(now.question + 1), Q: () => ask(now.question - 1),
  c: () => get(`c-${now.answer}`)?.focus(), v: () => get(`v-${now.answer}`)?.focus(), a: () => toggle("all"), h: () => toggle("names"), s: save, o: () => get("load").click(),
  "?": () => { get("help").open = !get("help").open; }, ".": half, ",": half, Backspace: () => grade(now.answer, undefined),
};
addEventListener("keydown", (event) => {
  const { target, key } = event;
  if (target.matches("textarea")) {
    if (key === "Escape" || key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      go(now.answer + (key === "Enter" ? 1 : 0));
    }
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || !get("keys").checked) return;
  if (target.matches("select")) {
    if (key === "Escape") go(now.answer);
    return;
  }
  const isOwn = target.matches("button, summary, a, input[type=checkbox], input[type=file]");
  const act = key === "Enter" && !isOwn ? keys.n : /^[0-9]$/.test(key) ? () => digit(key) : keys[key];
  if (!act || !answer() && !["q", "Q", "?", "s", "o", "h", "a"].includes(key)) return;
  event.preventDefault();
  act();
});

get("question").append(...questions.map(() => make("option")));
get("question").addEventListener("change", (event) => ask(event.target.selectedIndex));
get("all").addEventListener("click", () => toggle("all"));
get("names").addEventListener("click", () => toggle("names"));
get("save").addEventListener("click", save);
get("load").addEventListener("change", (event) => load([...event.target.files]));
addEventListener("DOMContentLoaded", () => document.querySelectorAll("article").forEach((made) => {  // figures come behind this script
  made.querySelector(".saw").replaceChildren();
  see(made);
}));
ask(0);
if (!keeps) say("This browser keeps nothing of this page: save SCORES.json before you close it.");
})();
