"use strict";
// Sorting: every heading becomes a button; rows that belong together (those after a `first`) stay together.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const blocks = [];
  for (const row of body.rows) {
    const grouped = table.classList.contains("grouped");
    if (!grouped || row.classList.contains("first") || !blocks.length) blocks.push([row]);
    else blocks[blocks.length - 1].push(row);
  }
  const value = (block, column) => {
    const cell = block[0].cells[column];
    if (!cell) return null;
    const text = cell.dataset.sort ?? cell.textContent.trim();
    if (text === "" || text === "–") return null;
    return Number.isNaN(Number(text)) ? text : Number(text);
  };
  const compare = (a, b) => typeof a === "number" && typeof b === "number"
    ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    if (!heading.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.title = "Sort by this column";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      // Up, down, and back to the order that the table came in.
      const next = { ascending: "descending", descending: null }[heading.getAttribute("aria-sort")];
      const direction = next === undefined ? "ascending" : next;
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      const sorted = [...blocks];
      if (direction) {
        heading.setAttribute("aria-sort", direction);
        const sign = direction === "ascending" ? 1 : -1;
        sorted.sort((x, y) => {
          const [a, b] = [value(x, column), value(y, column)];
          // What is missing comes last either way.
          if (a === null || b === null) return (a === null) - (b === null);
          return sign * compare(a, b);
        });
      }
      body.append(...sorted.flat());
    });
  });
}

// The explorer.
const source = document.getElementById("data");
if (source) {
  const sets = JSON.parse(source.textContent).sets;
  const by = (id) => document.getElementById(id);
  const [setBox, pairBox, chips, alpha, shown, tiles, charts, play, about] =
    ["set", "pair", "chips", "alpha", "shown", "tiles", "charts", "play", "about"].map(by);
  const hidden = new Set();
  let set, views, marks;

  const option = (text, value) => new Option(text, value);
  const element = (name, attributes, ...children) => {
    const made = document.createElement(name);
    for (const [key, content] of Object.entries(attributes)) made.setAttribute(key, content);
    made.append(...children);
    return made;
  };
  const drawn = (name, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, content] of Object.entries(attributes)) made.setAttribute(key, content);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const position = () => Number(alpha.value);
  const pair = () => Number(pairBox.value);
  const show = (image, x, y) => {
    const zoom = image.clientWidth / set.width;
    image.style.backgroundSize = `${set.sprite.width * zoom}px ${set.sprite.height * zoom}px`;
    image.style.backgroundPosition = `${-x * zoom}px ${-y * zoom}px`;
  };
  const degrees = (radians) => `${Math.round(radians * 180 / Math.PI)}°`;
  // Turns by less than half a circle from one position to the next.
  const unwrap = (angles, start) => {
    let last = start;
    return angles.map((angle) => {
      if (angle === null) return null;
      last = angle - 2 * Math.PI * Math.round((angle - last) / (2 * Math.PI));
      return last;
    });
  };

  const powers = (low, high) => {
    const all = [];
    for (let at = low; at <= high; at++) all.push([10 ** at, at === 0 ? "1" : `10${[..."" + at].map((c) => c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]).join("")}`]);
    return all;
  };

  const chart = (title, rows, of, { log = false, ticks, label }) => {
    const [width, height, left, right, top, bottom] = [360, 180, 46, 8, 6, 30];
    const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
    const scale = log ? Math.log10 : (v) => v;
    const values = rows.flatMap((row) => of(row)).filter((v) => v !== null && (!log || v > 0)).map(scale);
    if (!values.length) return null;
    let [low, high] = [Math.min(...values), Math.max(...values)];
    if (log) [low, high] = [Math.floor(low), Math.ceil(high)];
    if (high - low < 1e-9) [low, high] = [low - 1, high + 1];
    const x = (i) => left + (width - left - right) * i / (set.positions - 1);
    const y = (v) => top + (height - top - bottom) * (1 - (scale(v) - low) / (high - low));
    for (const [at, text] of ticks(low, high)) {
      svg.append(drawn("path", { class: "grid", d: `M${left} ${y(at)}H${width - right}` }));
      svg.append(drawn("text", { x: left - 6, y: y(at) + 4, "text-anchor": "end" }, text));
    }
    svg.append(drawn("path", { class: "axis", d: `M${left} ${top}V${height - bottom}H${width - right}` }));
    for (const at of [0, 0.25, 0.5, 0.75, 1]) {
      svg.append(drawn("text", { x: x(at * (set.positions - 1)), y: height - bottom + 15, "text-anchor": "middle" }, at));
    }
    svg.append(drawn("text", { x: left + (width - left - right) / 2, y: height - 2, "text-anchor": "middle" }, label));
    for (const row of rows) {
      let pen = "M";
      const path = of(row).map((v, i) => {
        if (v === null || (log && v <= 0)) { pen = "M"; return ""; }
        const point = `${pen}${x(i).toFixed(1)} ${y(v).toFixed(1)}`;
        pen = "L";
        return point;
      }).join("");
      const dash = row.truth ? "4 4" : "none";
      svg.append(drawn("path", { class: "curve", d: path, style: `stroke:${row.color};stroke-dasharray:${dash}` }));
    }
    const mark = drawn("path", { class: "axis", d: `M0 ${top}V${height - bottom}` });
    svg.append(mark);
    marks.push(() => mark.setAttribute("transform", `translate(${x(position())} 0)`));
    const drag = (event) => {
      if (event.type === "pointermove" && !(event.buttons & 1)) return;
      const box = svg.getBoundingClientRect();
      const at = ((event.clientX - box.left) / box.width * width - left) / (width - left - right);
      alpha.value = Math.round(at * (set.positions - 1));
      update();
    };
    svg.addEventListener("pointerdown", drag);
    svg.addEventListener("pointermove", drag);
    return element("figure", { class: "chart" }, element("figcaption", {}, title), svg);
  };

  const update = () => {
    const [p, i] = [pair(), position()];
    const last = set.positions - 1;
    shown.textContent = (i / last).toFixed(2);
    alpha.setAttribute("aria-valuetext", `α ${(i / last).toFixed(2)}`);
    for (const view of views) {
      const { row, image, lines } = view;
      const here = row.y[p];
      image.style.visibility = here === null ? "hidden" : "visible";
      const words = [];
      if (here !== null) show(image, row.still ? row.x : row.x + i * set.width, here);
      if (here !== null && row.distance) {
        const distance = row.distance[p][i];
        const far = distance === null || distance > set.far;
        words.push(distance === null ? "no distance" : `${(distance * 1e3).toPrecision(3)} ×10⁻³`);
        words.push(far ? "not a line" : degrees(row.angle[p][i]));
      } else if (here === null) {
        words.push("no such pair");
      } else if (row.truth) {
        words.push("", degrees((row.angle[p][i] + 4 * Math.PI) % (2 * Math.PI)));
      }
      if (here !== null && row.word?.[p]) words[lines.length - 1] = row.word[p][i];
      lines.forEach((line, n) => { line.textContent = words[n] ?? ""; });
      image.setAttribute("aria-label", [row.label, `α ${(i / last).toFixed(2)}`, ...words].filter(Boolean).join(", "));
    }
    for (const mark of marks) mark();
  };

  const build = () => {
    const url = `url(${set.sprite.src})`;
    const rows = set.rows.filter((row) => row.truth || row.still || !hidden.has(row.label));
    const measured = rows.some((row) => row.distance);
    const judged = rows.some((row) => row.word);
    tiles.replaceChildren();
    views = rows.map((row) => {
      const image = element("div", { class: "image", role: "img" });
      image.style.backgroundImage = url;
      const spans = (measured ? 2 : 0) + (judged ? 1 : 0);
      const lines = Array.from({ length: spans }, () => element("span", {}));
      const state = row.unfinished ? [element("em", {}, row.note)] : [];
      const tile = element("div", { class: "tile", style: `--color:${row.color}` },
        image, element("b", {}, row.label), ...lines, ...state);
      tile.title = row.note;
      tiles.append(tile);
      return { row, image, lines };
    });
    charts.replaceChildren();
    marks = [];
    if (measured) {
      const p = pair();
      const curved = rows.filter((row) => row.angle && row.y[p] !== null);
      const truth = rows.find((row) => row.truth).angle[p];
      const inDegrees = (row) => unwrap(row.angle[p].map((angle, i) =>
        row.distance && (row.distance[p][i] === null || row.distance[p][i] > set.far) ? null : angle), truth[0])
        .map((angle) => angle === null ? null : angle * 180 / Math.PI);
      const even = (low, high) => {
        const step = [15, 30, 45, 90, 180, 360].find((s) => (high - low) / s <= 6) ?? 720;
        const all = [];
        for (let at = Math.ceil(low / step) * step; at <= high; at += step) all.push([at, `${at}°`]);
        return all;
      };
      const distances = (row) => row.distance ? row.distance[p] : [];
      charts.append(...[
        chart("Angle of the nearest line; dashed: the true turn", curved, inDegrees, { ticks: even, label: "α" }),
        chart("Cosine distance to it", curved, distances, { log: true, ticks: powers, label: "α" }),
      ].filter(Boolean));
    }
    const erring = rows.filter((row) => row.error && row.y[pair()] !== null);
    if (erring.length) {
      const title = "Mean squared error of the model's own reconstruction of the image";
      charts.append(...[
        chart(title, erring, (row) => row.error[pair()], { log: true, ticks: powers, label: "α" }),
      ].filter(Boolean));
    }
    about.textContent = set.about;
    update();
  };

  const choosePair = () => {
    pairBox.replaceChildren(...set.pairs.map(option));
  };
  const chooseSet = () => {
    set = sets[Number(setBox.value)];
    alpha.max = set.positions - 1;
    choosePair();
    chips.replaceChildren(...set.rows.filter((row) => !row.truth && !row.still).map((row) => {
      const box = element("input", { type: "checkbox" });
      box.checked = !hidden.has(row.label);
      box.addEventListener("change", () => {
        if (box.checked) hidden.delete(row.label); else hidden.add(row.label);
        build();
      });
      return element("label", {}, box, element("i", { class: "swatch", style: `background:${row.color}` }), row.label);
    }));
    build();
  };
  setBox.replaceChildren(...sets.map((one, i) => option(one.name, i)));
  setBox.addEventListener("change", chooseSet);
  pairBox.addEventListener("change", build);
  alpha.addEventListener("input", update);
  window.addEventListener("resize", update);

  let timer = null, forward = true;
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
    play.setAttribute("aria-pressed", "false");
  };
  play.addEventListener("click", () => {
    if (timer) return stop();
    play.textContent = "Stop";
    play.setAttribute("aria-pressed", "true");
    timer = setInterval(() => {
      const [i, last] = [position(), set.positions - 1];
      if (i >= last) forward = false;
      if (i <= 0) forward = true;
      alpha.value = i + (forward ? 1 : -1);
      update();
    }, 140);
  });
  alpha.addEventListener("pointerdown", () => timer && stop());
  chooseSet();
}
