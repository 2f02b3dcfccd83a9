"use strict";
(() => {
  const report = JSON.parse(document.getElementById("report").textContent);
  const SEVERITIES = ["critical", "high", "medium", "low", "info"];
  const STEP = 200; // findings shown at a time: a page of ten thousand would not scroll
  const state = { image: 0, severity: null, layer: null, text: "", visible: "", origin: "", limit: STEP };

  // What an image says is text, and may not turn the text around it.
  const UNRULY = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff\u{e0000}-\u{e007f}]/gu;
  const plain = (text) => String(text).replace(UNRULY, (c) => "\\u{" + c.codePointAt(0).toString(16) + "}");

  // Elements are made of names of ours and of text nodes, never of markup.
  function el(name, attributes, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (key === "on") for (const [event, f] of Object.entries(value)) node.addEventListener(event, f);
      else if (key === "height") node.style.minHeight = value + "px";
      else node.setAttribute(key === "cls" ? "class" : key, value === true ? "" : value);
    }
    for (const child of children.flat(Infinity)) {
      if (child === null || child === undefined || child === false) continue;
      node.append(child instanceof Node ? child : plain(child));
    }
    return node;
  }

  // `code` in a sentence.
  const prose = (text) => String(text).split("`").map((part, index) => (index % 2 ? el("code", {}, part) : part));

  const number = (n) => Number(n).toLocaleString("en-US");
  const plural = (n, noun) => number(n) + " " + noun + (n === 1 ? "" : "s");
  function bytes(n) {
    for (const [unit, name] of [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]]) if (n >= unit) return (n / unit).toFixed(1) + " " + name;
    return n + " B";
  }
  const short = (digest) => digest && digest.replace(/^(sha256:[0-9a-f]{12})[0-9a-f]+$/, "$1…");
  const layerName = (layer) => (layer === null ? "config" : "layer " + layer);
  const layersOf = (finding) => new Set(finding.places.map((place) => place.introduced.layer));
  const image = () => report.images[state.image];

  function mark() {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    const shapes = [["M3 16.5 12 21l9-4.5", .45], ["M3 12l9 4.5L21 12", .7], ["M12 3 3 7.5l9 4.5 9-4.5z", 1]];
    for (const [d, opacity] of shapes) {
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("d", d);
      path.setAttribute("fill", opacity === 1 ? "currentColor" : "none");
      path.setAttribute("stroke", "currentColor");
      path.setAttribute("stroke-width", "1.8");
      path.setAttribute("stroke-linejoin", "round");
      path.setAttribute("opacity", opacity);
      svg.append(path);
    }
    return svg;
  }

  // ---- which findings are shown -------------------------------------------------------------

  const words = new Map();
  function haystack(finding) {
    if (!words.has(finding)) {
      const places = finding.places.map((p) => [p.path, p.kind, p.state, layerName(p.introduced.layer), p.introduced.instruction,
        p.inside.map((i) => [i.via, i.name])]);
      words.set(finding, [finding.title, finding.rule, finding.severity, finding.confidence, finding.fingerprint, finding.id, places]
        .flat(Infinity).filter(Boolean).join(" ").toLowerCase());
    }
    return words.get(finding);
  }
  function shown(finding, but) {
    if (but !== "severity" && state.severity && finding.severity !== state.severity) return false;
    if (but !== "layer" && state.layer !== null && !layersOf(finding).has(state.layer.layer)) return false;
    if (state.visible === "present" && finding.state !== "present") return false;
    if (state.visible === "hidden" && finding.state === "present") return false;
    if (state.visible === "counts" && !finding.counts) return false;
    if (state.visible === "suppressed" && !finding.suppressed) return false;
    if (state.origin && finding.places.every((p) => p.introduced.base !== (state.origin === "base"))) return false;
    return state.text.toLowerCase().split(/\s+/).every((word) => haystack(finding).includes(word));
  }

  // ---- parts of the page --------------------------------------------------------------------

  function head() {
    return el("header", { cls: "top" },
      el("div", { cls: "brand" }, mark(), el("span", {}, "sidekey-scan ", el("small", {}, report.tool.version + " · " + plural(report.tool.rules, "rule")))),
      el("div", { cls: "verdict v-" + report.verdict }, report.verdict));
  }

  function tabs() {
    if (report.images.length < 2) return null;
    return el("nav", { cls: "tabs", role: "tablist", "aria-label": "images" }, report.images.map((each, index) =>
      el("button", { cls: "tab", role: "tab", "aria-selected": String(index === state.image), on: { click: () => choose({ image: index, severity: null, layer: null }) } },
        el("span", { cls: "mono" }, each.reference + (each.platform ? " · " + each.platform : "")),
        el("b", {}, each.error ? "failed" : number(each.findings.length)))));
  }

  function summary() {
    const it = image();
    const fact = (name, value, mono) => value && el("span", {}, el("b", {}, name), el("span", { cls: mono && "mono" }, value));
    const gaps = it.coverage.skips.filter((skip) => skip.incomplete).length;
    return el("section", { cls: "card image" },
      el("h1", {}, it.reference),
      el("div", { cls: "meta" }, fact("source", it.source), fact("platform", it.platform), fact("base", it.base, true),
        fact("digest", short(it.digest), true), fact("layers", String(it.layers.length))),
      it.error && el("div", { cls: "failure" }, el("b", {}, it.error.what), el("p", {}, it.error.why), el("p", {}, it.error.hint)),
      el("div", { cls: "tiles" },
        SEVERITIES.map((severity) => {
          const count = it.findings.filter((finding) => finding.severity === severity && !finding.suppressed).length;
          return el("button", { cls: "tile t-" + severity + (count ? "" : " none"), "aria-pressed": String(state.severity === severity),
            on: { click: () => choose({ severity: state.severity === severity ? null : severity }) } }, el("b", {}, number(count)), el("span", {}, severity));
        }),
        el("div", { cls: "tile read " + (it.complete ? "t-good" : "t-medium") },
          el("b", {}, it.error ? "not read" : it.complete ? "everything was read" : "not everything was read"),
          el("span", {}, plural(it.coverage.files_seen, "file") + ", " + bytes(it.coverage.bytes_seen) + (gaps ? "; " + plural(gaps, "gap") : "")))));
  }

  function dots(layer) {
    const found = image().findings.filter((finding) => !finding.suppressed && layersOf(finding).has(layer));
    const dot = (finding) => {
      const seen = finding.places.some((p) => p.introduced.layer === layer && p.state === "present");
      return el("i", { cls: "dot t-" + finding.severity + (seen ? "" : " hidden"), title: plain(finding.title) });
    };
    return { found, nodes: el("span", { cls: "dots" }, found.slice(0, 7).map(dot), found.length > 7 && el("em", {}, "+" + number(found.length - 7))) };
  }

  function slab(layer, name, size, what, cls, height) {
    const { found, nodes } = dots(layer);
    const pressed = state.layer !== null && state.layer.layer === layer;
    const worst = found.length ? " t-" + found[0].severity : "";
    return el("button", { cls: "slab " + cls + worst, height, "aria-pressed": String(pressed), title: what && plain(what),
      on: { click: () => choose({ layer: pressed ? null : { layer } }) } },
      el("div", { cls: "line" }, el("b", {}, name), el("span", { cls: "size" }, size), nodes),
      what && el("div", { cls: "what" }, what));
  }

  // The picture: the newest layer on top, as high as it is heavy.
  function layers() {
    const it = image();
    const largest = Math.max(1, ...it.layers.map((layer) => layer.unpacked));
    const total = it.layers.reduce((sum, layer) => sum + layer.unpacked, 0);
    const slabs = [...it.layers].reverse().map((layer) =>
      slab(layer.index, "Layer " + layer.index, bytes(layer.unpacked), layer.instruction, layer.origin === "base" ? "base" : "",
        Math.round(36 + 110 * Math.sqrt(layer.unpacked / largest))));
    return el("aside", { cls: "card side" },
      el("div", { cls: "head" }, el("h2", {}, "Layers"), el("span", {}, bytes(total) + " unpacked"),
        state.layer !== null && el("button", { on: { click: () => choose({ layer: null }) } }, "show all")),
      el("div", { cls: "stack" }, slab(null, "Config", "environment, labels, history", null, "config", 36), slabs),
      el("div", { cls: "legend" },
        el("span", {}, el("i", { cls: "dot t-critical" }), "a container sees it"),
        el("span", {}, el("i", { cls: "dot hidden t-critical" }), "hidden by a later layer, still in the image"),
        it.layers.some((layer) => layer.origin === "base") && el("span", {}, el("i", { cls: "swatch" }), "base image")));
  }

  function select(key, label, options) {
    const node = el("select", { "aria-label": label, on: { change: (event) => choose({ [key]: event.target.value }) } },
      options.map(([value, text]) => el("option", { value, selected: state[key] === value }, text)));
    return node;
  }

  function toolbar() {
    return el("div", { cls: "bar" },
      el("label", { cls: "search" },
        el("input", { type: "search", id: "search", placeholder: "Search path, rule, instruction, fingerprint", "aria-label": "search", value: state.text,
          on: { input: (event) => { state.text = event.target.value; state.limit = STEP; results(); } } }), el("kbd", {}, "/")),
      select("visible", "state", [["", "every state"], ["counts", "fails the scan"], ["present", "present"], ["hidden", "hidden by a later layer"], ["suppressed", "suppressed"]]),
      select("origin", "origin", [["", "every origin"], ["own", "own layers"], ["base", "base image"]]));
  }

  function spot(place) {
    const parts = [];
    if (place.kind !== "file") parts.push(el("span", { cls: "muted" }, place.kind + " "));
    const line = place.line === null ? "" : ":" + place.line + (place.column === null ? "" : ":" + place.column);
    const steps = place.inside.map((inside) => [el("span", { cls: "arrow" }, "→"), inside.name === null ? inside.via : inside.name]);
    parts.push(place.path === null ? "" : place.path, steps, line || (place.kind === "file" ? "@" + place.offset : ""));
    return el("span", { cls: "mono" }, parts);
  }
  function stateOf(place) {
    if (place.state === "present") return el("span", { cls: "badge" }, "present");
    return el("span", { cls: "badge gone" }, place.state + (place.removed_by === null ? "" : " by layer " + place.removed_by));
  }

  function code(text) {
    const pre = el("pre", {});
    pre.textContent = text;
    const copy = el("button", { cls: "copy", type: "button", on: { click: async () => {
      try { await navigator.clipboard.writeText(text); copy.textContent = "copied"; }
      catch { getSelection().selectAllChildren(pre); copy.textContent = "selected"; }
      setTimeout(() => { copy.textContent = "copy"; }, 1500);
    } } }, "copy");
    return el("div", { cls: "code" }, pre, copy);
  }

  function body(finding) {
    const fix = finding.fix;
    const link = /^https:\/\//.test(fix.rotate_url || "") && el("a", { href: fix.rotate_url, rel: "noreferrer noopener", target: "_blank" }, fix.rotate_url);
    const secret = finding.secret !== undefined ? finding.secret : finding.secret_b64;
    const facts = [["grants", prose(finding.grants)], ["confidence", finding.confidence + (finding.proof.length ? " (" + finding.proof.join(", ") + ")" : "")],
      ["fingerprint", el("code", {}, finding.fingerprint)], secret !== undefined && ["secret", el("code", {}, secret)],
      finding.suppressed && ["suppressed", "by " + finding.suppressed.by + (finding.suppressed.until ? " until " + finding.suppressed.until : "") + ": " + finding.suppressed.reason],
      !finding.counts && !finding.suppressed && ["threshold", "does not fail the scan"],
      finding.related.length && ["belongs to", finding.related.map((fingerprint) => {
        const other = image().findings.find((each) => each.fingerprint === fingerprint);
        return other ? el("a", { href: "#" + other.id }, other.title + " ") : el("code", {}, fingerprint + " ");
      })]].filter(Boolean);
    return el("div", { cls: "body" },
      el("h4", {}, "What to do"),
      el("ol", { cls: "steps" },
        el("li", {}, el("b", {}, "Rotate it. "), prose(fix.rotate), link && [el("br"), link]),
        el("li", {}, el("b", {}, "Take it out of the build. "), prose(fix.remove), code(fix.dockerfile)),
        el("li", {}, el("b", {}, "Let Sidekey supply it at run time. "), "The same value from a store, as a file on a tmpfs:", code(fix.sidekey))),
      el("h4", {}, finding.places_total === 1 ? "Where" : "Where (" + number(finding.places_total) + " places)"),
      el("table", { cls: "table" }, el("tbody", {}, finding.places.slice(0, 100).map((place) => el("tr", {},
        el("td", {}, spot(place), place.introduced.instruction && el("div", { cls: "mono muted" }, place.introduced.instruction)),
        el("td", {}, layerName(place.introduced.layer) + (place.introduced.base ? ", base image" : "")),
        el("td", {}, stateOf(place)))))),
      finding.places_total > 100 && el("p", { cls: "muted" }, "and " + number(finding.places_total - 100) + " more; the JSON report has those that are kept"),
      el("h4", {}, "What it is"),
      el("dl", { cls: "facts" }, facts.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])));
  }

  function card(finding) {
    const first = finding.place;
    const node = el("details", { cls: "finding t-" + finding.severity + (finding.counts ? "" : " off"), id: finding.id },
      el("summary", {},
        el("div", { cls: "name" }, finding.title, el("code", {}, finding.rule)),
        el("div", { cls: "badges" }, finding.suppressed && el("span", { cls: "badge" }, "suppressed"),
          el("span", { cls: "badge" + (finding.proved ? " proved" : "") }, finding.confidence)),
        first && el("div", { cls: "at" }, spot(first), el("span", { cls: "muted" }, layerName(first.introduced.layer) + (first.introduced.base ? ", base image" : "")),
          stateOf(first), finding.preview !== "…" && el("code", { cls: "preview" }, finding.preview),
          finding.places_total > 1 && el("span", { cls: "muted" }, "+ " + plural(finding.places_total - 1, "place")))));
    node.addEventListener("toggle", () => { if (node.open && node.children.length === 1) node.append(body(finding)); });
    return node;
  }

  function results() {
    const host = document.getElementById("results");
    const all = image().findings;
    const some = all.filter((finding) => shown(finding));
    const groups = SEVERITIES.map((severity) => [severity, some.slice(0, state.limit).filter((finding) => finding.severity === severity)]);
    const filtered = state.severity || state.layer !== null || state.text || state.visible || state.origin;
    const chosen = [state.severity, state.layer !== null && layerName(state.layer.layer)].filter(Boolean);
    host.replaceChildren(
      filtered ? el("div", { cls: "chosen" }, number(some.length) + " of " + number(all.length), chosen.map((text) => el("span", { cls: "chip" }, text))) : "",
      ...groups.filter(([, list]) => list.length).map(([severity, list]) =>
        el("section", { cls: "group t-" + severity }, el("h3", {}, severity + " · " + number(some.filter((f) => f.severity === severity).length)), list.map(card))),
      some.length ? "" : el("div", { cls: "empty" }, el("b", {}, all.length ? "Nothing matches" : image().error ? "This image could not be read" : "No secrets found"),
        all.length ? "Try fewer filters." : image().complete ? "Every byte of every layer was looked at." : "But not everything was read: see below."),
      some.length > state.limit ? el("button", { cls: "more", on: { click: () => { state.limit += STEP; results(); } } }, "Show more of " + number(some.length)) : "");
  }

  function coverage() {
    const seen = image().coverage;
    const skips = [...seen.skips].sort((a, b) => b.incomplete - a.incomplete);
    return el("section", { cls: "card below" },
      el("div", { cls: "head" }, el("h2", {}, "Coverage"), el("span", {}, plural(seen.files_seen, "file") + " and " + bytes(seen.bytes_seen) + " read"
        + (seen.files_skipped ? "; " + plural(seen.files_skipped, "file") + " not as what they are" : ""))),
      skips.length ? el("table", { cls: "table" },
        el("thead", {}, el("tr", {}, ["reason", "where", "detail"].map((name) => el("th", {}, name)))),
        el("tbody", {}, skips.slice(0, STEP).map((skip) => el("tr", {},
          el("td", { cls: skip.incomplete ? "gap" : "" }, skip.reason + (skip.incomplete ? "" : " (note)")),
          el("td", {}, el("span", { cls: "mono" }, layerName(skip.layer) + " " + (skip.path || ""), skip.inside.map((i) => " → " + (i.name || i.via)))),
          el("td", {}, skip.detail || "")))))
        : el("p", {}, "Nothing was left out."),
      seen.skips_total > Math.min(skips.length, STEP) && el("p", {}, "and " + number(seen.skips_total - Math.min(skips.length, STEP)) + " more"),
      seen.findings_dropped > 0 && el("p", {}, plural(seen.findings_dropped, "further finding") + " counted and not kept"),
      seen.sandbox.map((lack) => el("p", {}, "sandbox: " + lack)));
  }

  function draw() {
    const it = image();
    const scrolled = document.querySelector(".stack") ? document.querySelector(".stack").scrollTop : 0;
    document.getElementById("app").replaceChildren(el("div", { cls: "page" }, head(), tabs() || "",
      it ? [summary(), it.error ? "" : el("div", { cls: "columns" }, layers(),
        el("div", {}, el("section", { cls: "card" }, el("div", { cls: "head" }, el("h2", {}, "Findings"), el("span", {}, plural(it.findings.length, "secret"))), toolbar(), el("div", { id: "results" })), coverage()))]
        : el("div", { cls: "card empty" }, el("b", {}, "No image was scanned")),
      el("footer", {}, "Fails on " + report.policy.fail_on + " and worse, in " + (report.policy.fail_on_state === "any" ? "any state" : "what is present")
        + (report.policy.accept.length ? "; accepted: " + report.policy.accept.join(", ") : "") + (report.policy.strict ? "; strict" : "")
        + ". Previews show what every secret of the kind begins with, and little more. This page makes no request.")));
    if (it && !it.error) { results(); document.querySelector(".stack").scrollTop = scrolled; }
  }

  function choose(change) {
    Object.assign(state, change, { limit: STEP });
    draw();
  }

  function follow() {
    const id = decodeURIComponent(location.hash.slice(1));
    const index = report.images.findIndex((each) => each.findings.some((finding) => finding.id === id));
    if (!id || index < 0) return;
    const place = report.images[index].findings.findIndex((finding) => finding.id === id);
    Object.assign(state, { image: index, severity: null, layer: null, text: "", visible: "", origin: "", limit: Math.max(STEP, place + 1) });
    draw();
    const node = document.getElementById(id);
    node.open = true;
    node.scrollIntoView({ block: "start" });
  }

  addEventListener("hashchange", follow);
  addEventListener("keydown", (event) => {
    const search = document.getElementById("search");
    if (event.key === "/" && search && document.activeElement !== search) { event.preventDefault(); search.focus(); }
    if (event.key === "Escape" && document.activeElement === search) { state.text = ""; search.value = ""; results(); }
  });
  draw();
  follow();
})();
