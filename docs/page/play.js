"use strict";
(() => {
const stored = JSON.parse(document.getElementById("stored").textContent);
const { rates, values, asked, topics, parts, before, random, runs } = stored;
const SEEDS = [0, 1, 2, 3, 4], EPOCHS = 10, COIN = Math.log(2), SAME = 0.0101;
const now = { rate: 4, seed: 1, epoch: EPOCHS };  // what is shown

const run = (seed = now.seed, rate = now.rate) => runs[rate][seed];
const answers = (seed) => now.epoch ? run(seed).asked[now.epoch - 1] : before.asked;
const share = (one) => [before.share, ...one.share];
const range = (n) => Array.from({ length: n }, (_, k) => k);
const clip = (value, low, high) => value === null ? high : Math.min(Math.max(value, low), high);
const percent = (value, digits = 0) => `${(100 * value).toFixed(digits)}\u00a0%`;
const two = (value) => value === null ? "no number" : value.toFixed(2);
const extent = (numbers) => [Math.min(...numbers), Math.max(...numbers)];
const same = (numbers) => { const [low, high] = extent(numbers); return high - low <= SAME; };
const between = (numbers, show) => {
  const [low, high] = extent(numbers).map(show);
  return low === high ? low : `${low.replace("\u00a0%", "")} to ${high}`;
};
const words = ["None of the five runs", "One of the five runs", "Two of the five runs", "Three of the five runs",
  "Four of the five runs", "All five runs"];

// drawing
const draw = (parent, name, attributes = {}, text) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  set(made, attributes);
  if (text !== undefined) made.textContent = text;
  return parent.appendChild(made);
};
const set = (element, attributes) => {
  for (const key in attributes) element.setAttribute(key, attributes[key]);
};
const path = (xs, ys) => "M" + xs.map((x, k) => `${x.toFixed(1)} ${ys[k].toFixed(1)}`).join("L");
const apart = (ys, gap) => {  // heights of labels, moved until none lies on another
  const order = range(ys.length).sort((a, b) => ys[a] - ys[b]), out = [];
  order.forEach((k, n) => { out[k] = n ? Math.max(ys[k], out[order[n - 1]] + gap) : ys[k]; });
  return out;
};

// A figure: make(svg, width) draws what stays and returns {height, values, paint, say}. values(): the numbers
// that move, in one list; paint(numbers) puts everything there; say() returns [sentence, text alternative].
const figures = [];
const still = matchMedia("(prefers-reduced-motion: reduce)");
const figure = (id, make) => {
  const host = document.getElementById(id), svg = host.querySelector("svg"), says = host.querySelector(".says");
  const one = { at: null, from: null, to: null };
  one.tell = () => {
    const [sentence, alternative] = one.say();
    says.textContent = sentence;
    svg.setAttribute("aria-label", `${host.querySelector(".title").textContent}. ${sentence} ${alternative}`);
  };
  const fit = () => {
    const width = Math.round(host.clientWidth);
    if (!width || width === one.width) return;
    svg.replaceChildren();
    Object.assign(one, { width }, make(svg, width, host));
    set(svg, { viewBox: `0 0 ${width} ${one.height}`, height: one.height });
    one.to = null;
    one.at = one.values();
    one.paint(one.at);
    one.tell();
  };
  fit();
  new ResizeObserver(() => requestAnimationFrame(fit)).observe(host);  // a later frame: it changes heights
  figures.push(one);
};
let started = 0, next;
const frame = (time) => {
  const part = still.matches ? 1 : Math.min(Math.max(time - started, 0) / 380, 1), eased = 1 - (1 - part) ** 3;
  for (const one of figures) {
    if (!one.to) continue;
    one.at = one.to.map((goal, k) => one.from[k] + (goal - one.from[k]) * eased);
    one.paint(one.at);
    if (part === 1) one.to = null;
  }
  if (part < 1) next = requestAnimationFrame(frame);
};
const move = () => {
  for (const one of figures) {
    if (!one.at) continue;
    one.from = one.at;
    one.to = one.values();
    one.tell();
  }
  started = performance.now();
  cancelAnimationFrame(next);
  next = requestAnimationFrame(frame);
};

figure("answers", (svg, width) => {
  const narrow = width < 500, row = narrow ? 44 : 35, left = narrow ? 12 : 304, right = width - 44, top = 8;
  const x = (p) => left + (right - left) * p, y = (k) => top + row * (k + (narrow ? 0.68 : 0.5));
  const ys = asked.map((_, k) => y(k)), bottom = top + row * asked.length;
  for (const p of [0, 0.5, 1]) draw(svg, "path", { class: "grid", d: `M${x(p)} ${top}V${bottom}` });
  ["0 negative", "0.5", "positive 1"].forEach((text, k) => draw(svg, "text",
    { x: x(k / 2), y: bottom + 17, class: `small ${["", "middle", "end"][k]}` }, text));
  draw(svg, "path", { class: "guide", d: path(before.asked.map(x), ys) });
  const thin = SEEDS.map(() => draw(svg, "path", { class: "thin" })), thick = draw(svg, "path", { class: "thick" });
  const dots = ys.map((at) => draw(svg, "circle", { class: "dot", r: 5.5, cy: at }));
  asked.forEach((text, k) => draw(svg, "text", narrow
    ? { x: 0, y: ys[k] - 13, class: "halo" } : { x: left - 18, y: ys[k] + 4.5, class: "end" }, text));
  const told = ys.map((at) => draw(svg, "text", { x: width, y: at + 4.5, class: "end soft" }));
  return {
    height: bottom + 24,
    values: () => [...SEEDS, now.seed].flatMap(answers),
    paint: (numbers) => {
      const lines = range(6).map((k) => numbers.slice(12 * k, 12 * k + 12).map(x));
      thin.forEach((line, k) => line.setAttribute("d", path(lines[k], ys)));
      thick.setAttribute("d", path(lines[5], ys));
      dots.forEach((dot, k) => dot.setAttribute("cx", lines[5][k]));
    },
    say: () => {
      const mine = answers(now.seed), equal = SEEDS.filter((seed) => same(answers(seed))).length;
      mine.forEach((p, k) => { told[k].textContent = two(p); });
      const one = same(mine) ? `Run ${now.seed + 1} says ${between(mine, two)} to everything.`
        : `Run ${now.seed + 1} answers from ${between(mine, two)}.`;
      const all = !now.epoch ? "The classifier is still random."
        : `${words[equal]} ${equal < 2 ? "gives" : "give"} one answer to all twelve.`;
      return [`${one} ${all}`, asked.map((text, k) => `${text} ${two(mine[k])}`).join("; ")];
    },
  };
});

const SHAPES = [  // within a radius of 5: circle, square, triangle, diamond, cross
  "M-5 0A5 5 0 1 1 5 0A5 5 0 1 1 -5 0Z", "M-4.5 -4.5H4.5V4.5H-4.5Z", "M0 -5.6L5.4 4.2H-5.4Z",
  "M0 -6L6 0L0 6L-6 0Z", "M-2 -6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z"];
const distance = (places) => {
  const middle = [0, 1].map((k) => places.reduce((sum, place) => sum + place[k], 0) / places.length);
  return Math.sqrt(places.reduce((sum, [a, b]) => sum + (a - middle[0]) ** 2 + (b - middle[1]) ** 2, 0) / places.length);
};

figure("cloud", (svg, width, host) => {
  const every = [before.place, ...runs.flat().map((one) => one.place)].flat();
  const [left, right] = extent(every.map((place) => place[0])), [low, high] = extent(every.map((place) => place[1]));
  const legend = 26, scale = (Math.min(width, 560) - 20) / (right - left), height = legend + 20 + scale * (high - low);
  const x = (a) => 10 + (a - left) * scale, y = (b) => legend + 10 + (high - b) * scale;
  const names = Object.keys(topics), kinds = names.flatMap((name, k) => topics[name].map(() => k));
  const sentences = Object.values(topics).flat();
  let from = 8;
  names.forEach((name, k) => {
    const at = draw(svg, "g", { transform: `translate(${from} 10)` });
    draw(at, "path", { class: "topic", d: SHAPES[k], style: `fill:var(--topic-${k})` });
    from += draw(at, "text", { x: 10, y: 4.5, class: "small" }, name).getComputedTextLength() + (width < 400 ? 23 : 34);
  });
  const trails = before.place.map(() => draw(svg, "path", { class: "trail" }));
  before.place.forEach(([a, b], k) => draw(svg, "path",
    { class: "before", d: SHAPES[kinds[k]], transform: `translate(${x(a)} ${y(b)}) scale(.8)` }));
  const marks = [];
  for (const nth of range(8)) {  // one of each topic after the other, so that none hides the rest
    kinds.forEach((kind, k) => {
      if (k % 8 === nth) marks[k] = draw(svg, "path", { class: "topic", d: SHAPES[kind], style: `fill:var(--topic-${kind})` });
    });
  }
  const hover = host.querySelector(".hover");
  svg.onpointermove = (event) => {
    const box = svg.getBoundingClientRect(), a = event.clientX - box.left, b = event.clientY - box.top;
    const places = marks.map((_, k) => Math.hypot(one.at[2 * k] - a, one.at[2 * k + 1] - b));
    const nearest = places.indexOf(Math.min(...places)), found = places[nearest] < 24;
    marks.forEach((mark, k) => mark.classList.toggle("seen", found && k === nearest));
    hover.textContent = found ? sentences[nearest] : "";
  };
  svg.onpointerleave = () => { marks.forEach((mark) => mark.classList.remove("seen")); hover.textContent = ""; };
  const one = {
    height, at: [],
    values: () => (now.epoch ? run().place : before.place).flatMap(([a, b]) => [x(a), y(b)]),
    paint: (numbers) => {
      one.at = numbers;
      marks.forEach((mark, k) => {
        mark.setAttribute("transform", `translate(${numbers[2 * k]} ${numbers[2 * k + 1]})`);
        trails[k].setAttribute("d",
          `M${x(before.place[k][0])} ${y(before.place[k][1])}L${numbers[2 * k]} ${numbers[2 * k + 1]}`);
      });
    },
    say: () => {
      if (!now.epoch) return ["Before training: topics lie in neighbourhoods.", ""];
      const size = distance(run().place) / distance(before.place);
      return [`After ten epochs at ${rates[now.rate]}, run ${now.seed + 1}: ${size < 0.001 ? "less than 0.1 %" : percent(size, size < 0.1 ? 1 : 0)} as wide as before. `
        + `Of 160 other sentences, ${percent(run().kept)} keep their nearest neighbour.`,
        `Topics: ${names.join(", ")}.`];
    },
  };
  return one;
});

// Curves over the epochs: of five runs thin, of the chosen one thick, with labels to the right.
const curves = (id, { y: [low, high], marks, show, xs, of, guides, more = [], steps, say }) => figure(id, (svg, width) => {
  const tall = Math.min(300, Math.max(220, width * 0.62)), left = 34, right = width - 78, top = 10, bottom = top + tall;
  const x = (epoch) => left + (right - left) * epoch / EPOCHS;
  const y = (value) => bottom - tall * (clip(value, low, high) - low) / (high - low);
  for (const mark of marks) {
    draw(svg, "path", { class: "grid", d: `M${left} ${y(mark)}H${right}` });
    draw(svg, "text", { x: left - 7, y: y(mark) + 4, class: "small end" }, show(mark));
  }
  for (const [epoch, text] of [[0, "0"], [5, "5"], [10, "10 epochs"]]) {
    draw(svg, "text", { x: x(epoch), y: bottom + 17, class: "small middle" }, text);
  }
  const pale = steps && draw(svg, "path", { class: "steps" });
  for (const [, value] of guides) draw(svg, "path", { class: "guide", d: `M${left} ${y(value)}H${right}` });
  const places = xs.map(x), thin = SEEDS.map(() => draw(svg, "path", { class: "thin" }));
  const seconds = more.map(() => draw(svg, "path", { class: "second" })), thick = draw(svg, "path", { class: "thick" });
  const veil = draw(svg, "rect", { class: "veil", y: top - 6, height: tall + 6 });
  const head = draw(svg, "path", { class: "head" }), dot = draw(svg, "circle", { class: "dot", r: 5.5 });
  const labels = [...guides.map(([text]) => text), ...more.map(([text]) => text)].map((text) => {
    const label = draw(svg, "text", { class: "small" });
    text.split("\n").forEach((line, k) => draw(label, "tspan", { x: right + 8, dy: k ? 13 : 0 }, line));
    return label;
  });
  const n = xs.length, ends = (numbers) => more.map((_, k) => numbers[n * (6 + k) + n - 1]);
  const end = draw(svg, "text", { class: "strong", x: right + 8 });
  return {
    height: bottom + 22,
    values: () => [
      ...[...SEEDS, now.seed].flatMap((seed) => of(run(seed)).map(y)),
      ...more.flatMap(([, curve]) => curve(run()).map(y)),
      x(now.epoch), places[Math.max(0, xs.findLastIndex((at) => at <= now.epoch))],
      y(of(run())[Math.max(0, xs.findLastIndex((at) => at <= now.epoch))]),
      ...(steps ? steps(run()).map(y) : [])],
    paint: (numbers) => {
      const line = (k) => path(places, numbers.slice(n * k, n * k + n));
      thin.forEach((one, k) => one.setAttribute("d", line(k)));
      thick.setAttribute("d", line(5));
      seconds.forEach((one, k) => one.setAttribute("d", line(6 + k)));
      const rest = numbers.slice(n * (6 + more.length)), [at, cx, cy] = rest;
      set(veil, { x: at + 2, width: Math.max(0, right - at) });
      set(head, { d: `M${at} ${top - 6}V${bottom}` });
      set(dot, { cx, cy });
      if (steps) pale.setAttribute("d", path(rest.slice(3).map((_, k) => x((k + 1) / 38)), rest.slice(3)));
      const wanted = [...guides.map(([text, value]) => y(value) - 13 * (text.split("\n").length - 1) / 2),
        ...ends(numbers), numbers[n * 6 - 1]];
      apart(wanted, 16).forEach((height, k) => {
        const label = [...labels, end][k];
        label.setAttribute("y", height + 4);
        label.querySelectorAll("tspan").forEach((span, nth) => nth || span.setAttribute("y", height + 4));
      });
    },
    say: () => { end.textContent = `run ${now.seed + 1}`; return say(); },
  };
});

curves("share", {
  y: [0, 1], marks: [0, 0.25, 0.5, 0.75, 1], show: (v) => percent(v), xs: range(EPOCHS + 1), of: share,
  guides: [[`random ${percent(random)}`, random + 0.0001], [`before ${percent(before.share)}`, before.share]],
  say: () => {
    const all = SEEDS.map((seed) => share(run(seed))[now.epoch]);
    return [`After epoch ${now.epoch}: ${percent(share(run())[now.epoch])} in run ${now.seed + 1}, ${between(all, (v) => percent(v))} `
      + `in all five. Before training it is ${percent(before.share)}, in random upper layers ${percent(random)}.`, ""];
  },
});
curves("loss", {
  y: [0, 1.6], marks: [0, 0.5, 1, 1.5], show: (v) => v.toFixed(1), xs: range(EPOCHS).map((k) => k + 0.5),
  of: (one) => one.training, steps: (one) => one.steps, more: [["validation", (one) => one.validation]],
  guides: [["coin toss", COIN]],
  say: () => {
    if (!now.epoch) return [`Always answering one half costs ${two(COIN)}: the dashed line.`, ""];
    const k = now.epoch - 1, most = Math.max(...run().steps.map((loss) => loss ?? Infinity));
    return [`Epoch ${now.epoch}: training ${two(run().training[k])}, validation ${two(run().validation[k])} (dotted).`
      + (most > 1.6 ? ` The highest step, ${most.toFixed(1)}, is cut off.` : ""), `A coin toss: ${two(COIN)}.`];
  },
});
curves("accuracy", {
  y: [0.4, 0.9], marks: [0.4, 0.5, 0.6, 0.7, 0.8, 0.9], show: (v) => percent(v), xs: range(EPOCHS).map((k) => k + 1),
  of: (one) => one.accuracy, guides: [["coin toss", 0.5]],
  say: () => {
    if (!now.epoch) return ["Nothing has been learned yet.", ""];
    const all = SEEDS.map((seed) => run(seed).accuracy[now.epoch - 1]);
    return [`After epoch ${now.epoch}: ${percent(run().accuracy[now.epoch - 1], 1)} in run ${now.seed + 1}, `
      + `${between(all, (v) => percent(v))} in all five.`, "A coin toss: 50 %."];
  },
});

figure("step", (svg, width) => {
  const narrow = width < 500, left = narrow ? 4 : 84, right = width - 14, row = narrow ? 52 : 44, top = 22;
  const low = -5, high = 1, bottom = top + row * parts.length;
  const x = (ratio) => left + (right - left) * (clip(Math.log10(ratio), low, high) - low) / (high - low);
  const names = ["0.001 %", "0.01 %", "0.1 %", "1 %", "10 %", "100 %", "1000 %"];
  names.forEach((name, k) => {
    const at = x(10 ** (k + low));
    draw(svg, "path", { class: k === 5 ? "guide" : "grid", d: `M${at} ${top}V${bottom}` });
    if (!narrow || k % 2) draw(svg, "text", { x: at, y: bottom + 17, class: "small middle" }, name);
  });
  draw(svg, "text", { x: x(1), y: bottom + 33, class: "small middle" }, "as long as the weights");
  const rows = parts.map((part, k) => {
    const y = top + row * (k + (narrow ? 0.7 : 0.55));
    draw(svg, "text", narrow ? { x: 0, y: y - 18, class: "halo" } : { x: left - 12, y: y + 4, class: "end" }, part);
    values.forEach((_, rate) => draw(svg, "path", { class: "mark", d: `M${x(run(0, rate).first[k])} ${y - 5}v10` }));
    const span = draw(svg, "path", { class: "span" });
    const first = draw(svg, "circle", { class: "dot", r: 6.5, cy: y });
    const moved = draw(svg, "path", { class: "dot", d: "M0 -8L8 0L0 8L-8 0Z" });
    return { y, span, first, moved, hasMoved: k < run().moved.length };
  });
  const labels = ["first step", "all 380 steps"].map((text) => draw(svg, "text", { class: `small halo ${text === "first step" ? "end" : ""}` }, text));
  return {
    height: bottom + 40,
    values: () => [...run().first, ...run().moved].map(x),
    paint: (numbers) => {
      rows.forEach(({ y, span, first, moved, hasMoved }, k) => {
        const from = numbers[k], to = hasMoved ? numbers[parts.length + k] : from;
        first.setAttribute("cx", from);
        set(span, { d: `M${from} ${y}H${to}` });
        set(moved, { transform: `translate(${to} ${y})`, visibility: hasMoved ? "visible" : "hidden" });
      });
      set(labels[0], { x: Math.max(numbers[0] + 8, left + 60), y: rows[0].y - 13 });
      set(labels[1], { x: Math.min(numbers[parts.length] - 8, width - 72), y: rows[0].y - 13 });
    },
    say: () => {
      const [first] = run().first, [moved] = run().moved, enough = Number((1 / first).toPrecision(2));
      return [`At ${rates[now.rate]} the first step is ${percent(first, first < 0.001 ? 3 : first < 0.01 ? 2 : 1)} of layer 2: `
        + `${enough.toLocaleString("en")} such steps, all one way, are as long as its weights. Ten epochs moved it by ${percent(moved)}.`,
        parts.map((part, k) => `${part}: ${percent(run().first[k], 3)}`).join("; ")];
    },
  };
});

figure("dial", (svg, width) => {
  const left = 40, right = width - 4, tall = 120, tops = [28, 206], bottom = 326;
  const step = (right - left) / values.length, x = (rate) => left + step * (rate + 0.5);
  const panels = [
    { name: "Variance in the strongest direction", low: 0, high: 1, marks: [0, 0.5, 1], of: (one) => one.share[EPOCHS - 1], guide: before.share },
    { name: "Right on 400 test reviews", low: 0.4, high: 0.85, marks: [0.4, 0.5, 0.6, 0.7, 0.8], of: (one) => one.test, guide: 0.5 }];
  const column = draw(svg, "rect", { class: "column", y: 6, width: step, height: bottom + 2, rx: 3 });
  const rings = [];
  panels.forEach(({ name, low, high, marks, of, guide }, p) => {
    const y = (value) => tops[p] + tall * (1 - (clip(value, low, high) - low) / (high - low));
    draw(svg, "text", { x: left, y: tops[p] - 12, class: "small" }, name);
    for (const mark of marks) {
      draw(svg, "path", { class: "grid", d: `M${left} ${y(mark)}H${right}` });
      draw(svg, "text", { x: left - 7, y: y(mark) + 4, class: "small end" }, percent(mark));
    }
    draw(svg, "path", { class: "guide", d: `M${left} ${y(guide)}H${right}` });
    runs.forEach((some, rate) => some.forEach((one, seed) => rings.push({ rate, seed, mark: draw(svg, "circle",
      { r: 4.5, cx: x(rate) + (seed - 2) * Math.min(7, step / 6), cy: y(of(one)) }) })));
  });
  const usual = (name, low, high, y) => {  // where on the axis, between the nine rates
    const at = (value) => {
      const k = values.findLastIndex((rate) => rate <= value);
      return x(k + Math.log(value / values[k]) / Math.log(values[k + 1] / values[k]));
    };
    draw(svg, "path", { class: "span", style: "stroke:var(--soft)", d: `M${at(low)} ${y}H${at(high)}` });
    draw(svg, "text", { x: at(high) + 8, y: y + 4, class: "small" }, name);
  };
  const names = rates.map((rate, k) => draw(svg, "text", { x: x(k), y: bottom + 20, class: `small middle ${step < 44 ? "tiny" : ""}` }, rate));
  usual("usual: BERT-base", 2e-5, 5e-5, bottom + 38);
  usual("usual: small BERTs", 3e-5, 3e-4, bottom + 56);
  runs.forEach((_, rate) => draw(svg, "rect", { class: "hit", x: x(rate) - step / 2, y: 0, width: step, height: bottom + 26 })
    .addEventListener("click", () => change({ rate })));
  return {
    height: bottom + 64,
    values: () => [x(now.rate) - step / 2],
    paint: ([at]) => column.setAttribute("x", at),
    say: () => {
      for (const { rate, seed, mark } of rings) {
        mark.setAttribute("class", `ring${rate === now.rate ? " now" : ""}${seed === now.seed ? " chosen" : ""}`);
      }
      names.forEach((name, k) => {
        name.classList.toggle("strong", k === now.rate);
        name.classList.toggle("gone", step < 44 && Math.abs(k - now.rate) === 1);  // no room beside it
      });
      const all = runs[now.rate];
      return [`At ${rates[now.rate]}: ${between(all.map(panels[0].of), (v) => percent(v))} of the variance in one direction, `
        + `${between(all.map(panels[1].of), (v) => percent(v))} of the test reviews right.`,
        "Dashed: the model before training, and a coin toss."];
    },
  };
});

// what is moved
const byId = (id) => document.getElementById(id);
const rate = byId("rate"), epoch = byId("epoch"), play = byId("play"), ticks = document.querySelectorAll(".ticks span");
SEEDS.forEach((seed) => byId("run").insertAdjacentHTML("beforeend",
  `<span><input type="radio" name="run" id="run-${seed}" value="${seed}"><label for="run-${seed}" aria-label="run ${seed + 1}">${seed + 1}</label></span>`));
const summary = () => {
  const mine = answers(now.seed), k = now.epoch - 1;
  const start = now.epoch ? `Learning rate ${rates[now.rate]}, run ${now.seed + 1}, after epoch ${now.epoch}` : "Before training";
  return `${start}: ${same(mine) ? `the same answer to all twelve sentences, ${between(mine, two)}` : `answers from ${between(mine, two)}`}; `
    + `${percent(share(run())[now.epoch])} of the variance in one direction`
    + (now.epoch ? `; ${percent(run().accuracy[k], 1)} of 400 reviews right.` : ".");
};
let speaking, playing;
const change = (what) => {
  Object.assign(now, what);
  set(rate, { "aria-valuetext": rates[now.rate] });
  set(epoch, { "aria-valuetext": now.epoch ? `after epoch ${now.epoch}` : "before training" });
  [rate.value, epoch.value] = [now.rate, now.epoch];
  byId(`run-${now.seed}`).checked = true;
  byId("rate-now").textContent = rates[now.rate];
  byId("epoch-now").textContent = now.epoch || "0, before training";
  ticks.forEach((tick, k) => tick.classList.toggle("now", k === now.rate));
  const group = values[now.rate] <= 2e-5 ? "low" : values[now.rate] <= 3e-4 ? "middle" : "high";
  document.documentElement.style.setProperty("--now", `var(--${group})`);
  clearTimeout(speaking);
  if (!playing) speaking = setTimeout(() => { byId("spoken").textContent = summary(); }, 500);
  move();
};
const stop = () => { clearInterval(playing); playing = undefined; play.textContent = "Play"; };
play.addEventListener("click", () => {
  if (playing) { stop(); change({}); return; }
  play.textContent = "Stop";
  playing = setInterval(() => {
    if (now.epoch === EPOCHS - 1) stop();
    change({ epoch: now.epoch + 1 });
  }, 700);
  change({ epoch: 0 });
});
rate.addEventListener("input", () => change({ rate: Number(rate.value) }));
epoch.addEventListener("input", () => { stop(); change({ epoch: Number(epoch.value) }); });
byId("run").addEventListener("change", (event) => change({ seed: Number(event.target.value) }));
change({});
byId("spoken").textContent = "";
})();
