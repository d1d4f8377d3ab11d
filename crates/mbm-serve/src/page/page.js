// The web page of the server: a form for the model's inputs, predictions as bars, and search as you type.

const $ = (id) => document.getElementById(id);

/** Creates an element with properties and children. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child != null));
  return element;
}

/** Sends a request and returns the response's JSON; an error response is thrown as an error with the server's message. */
async function ask(path, options = {}) {
  const key = sessionStorage.getItem("key");
  const headers = { ...options.headers, ...(key && { authorization: `Bearer ${key}` }) };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server cannot be reached. Is it still running?");
  }
  const answer = await response.json().catch(() => ({ error: `The server responded with status ${response.status}.` }));
  if (response.status === 401) $("key").hidden = false;
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

let complainedAbout;

/** Shows an error about a form, or removes it: a search that succeeds leaves an error about the prediction in place. */
function complain(error, about) {
  if (error?.name === "AbortError" || (!error && about && about !== complainedAbout)) return;
  complainedAbout = about;
  $("problem").textContent = error ? error.message : "";
  $("problem").hidden = !error;
  if (error) $("problem").scrollIntoView({ block: "nearest" });
}

const percent = (p) => (p > 0 && p < 0.0005 ? "< 0.1 %" : `${(100 * p).toFixed(1)} %`);
const plain = (x) => (Number.isInteger(x) ? String(x) : Number(x.toPrecision(6)).toString());

// Inputs

/** Creates a drop zone for a file, which can be dropped, chosen or pasted; `onchange` is called when the file is set or cleared. */
function dropZone(id, kind, onchange) {
  const input = make("input", { type: "file", id, name: id, accept: `${kind}/*` });
  const shown = make("span", { className: "dim", textContent: kind === "image" ? "Drop an image here or click to choose one" : "Drop an audio file here or click to choose one" });
  const zone = make("div", { className: "drop" }, shown, input);
  let address;
  const show = () => {
    if (address) URL.revokeObjectURL(address);
    zone.querySelector("img, audio")?.remove();
    const file = input.files[0];
    shown.textContent = file ? file.name : "Drop a file here or click to choose one";
    if (file) {
      address = URL.createObjectURL(file);
      const image = () => make("img", { src: address, alt: "", onerror: (event) => event.target.remove() });
      zone.prepend(kind === "image" ? image() : make("audio", { src: address, controls: true }));
    }
    onchange();
  };
  input.addEventListener("change", show);
  for (const type of ["dragenter", "dragover"]) zone.addEventListener(type, () => zone.classList.add("over"));
  for (const type of ["dragleave", "drop"]) zone.addEventListener(type, () => zone.classList.remove("over"));
  zone.show = show;
  return zone;
}

/** Creates the form control for an input, depending on its type. */
function control(input, id, onchange = () => {}) {
  if (input.type === "image" || input.type === "audio") return dropZone(id, input.type, onchange);
  const common = { id, name: id, oninput: onchange };
  if (input.type === "text") return make("textarea", { ...common, rows: 3 });
  if (input.type === "number") return make("input", { ...common, type: "number", step: "any" });
  if (input.type === "category" || input.type === "binary") {
    const options = ["", ...(input.classes ?? [])].map((value) => make("option", { value, textContent: value || "not given" }));
    return make("select", common, ...options);
  }
  return make("input", { ...common, type: "text" });
}

function field(input, id, onchange) {
  const kind = make("span", { className: "kind", textContent: ` ${input.type}` });
  return make("div", { className: "field" }, make("label", { htmlFor: id }, input.name, kind), control(input, id, onchange));
}

function buildInputs(info) {
  const form = $("inputs");
  const button = make("button", { className: "main", textContent: "Predict" });
  const clear = make("button", { type: "reset", textContent: "Clear" });
  form.append(...info.inputs.map((input, at) => field(input, `input-${at}`)), make("div", { className: "buttons" }, button, clear));
  form.addEventListener("reset", () => setTimeout(() => {
    form.querySelectorAll(".drop").forEach((zone) => zone.show());
    showNothing(HINT);
    complain(null, form);
  }));
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    try {
      const body = new FormData();
      for (const [at, input] of info.inputs.entries()) {
        const control = form.elements[`input-${at}`];
        if (control.files ? control.files[0] : control.value.trim()) body.append(input.name, control.files?.[0] ?? control.value);
      }
      showPrediction(info, await ask("/predict?explain=true", { method: "POST", body }));
      complain(null, form);
      if (info.index) fill(info);
    } catch (error) {
      // Clear the old prediction, which would look like the one for these inputs.
      showNothing("No prediction for these inputs.");
      complain(error, form);
    } finally {
      button.disabled = false;
    }
  });
}

// Predictions

const HINT = $("outputs").textContent;

/** Shows a message instead of a prediction. */
function showNothing(message) {
  $("outputs").replaceChildren(make("p", { className: "dim", textContent: message }));
}

/** Creates rows of a name, a bar and a value; `pull` bars are signed and start in the middle. */
function bars(rows, pull) {
  const list = make("dl", { className: pull ? "bars pull" : "bars" });
  for (const { name, share, value } of rows) {
    const fill = make("span", { className: share < 0 ? "fill away" : "fill" });
    const width = Math.min(1, Math.abs(share)) * (pull ? 50 : 100);
    fill.style.width = `${width}%`;
    if (pull) fill.style.left = share < 0 ? `${50 - width}%` : "50%";
    list.append(make("dt", { textContent: name }), make("dd", { className: "track" }, fill), make("dd", { className: "value", textContent: value }));
  }
  return list;
}

/** Creates bars of the ten most probable classes, with the rest collapsed. */
function probabilities(rows) {
  const sorted = rows.sort((a, b) => b.share - a.share);
  const first = bars(sorted.slice(0, 10));
  if (sorted.length <= 10) return first;
  return make("div", {}, first, make("details", {}, make("summary", { textContent: `${sorted.length - 10} more` }), bars(sorted.slice(10))));
}

function showOutput(output, inputs, answer) {
  const parts = [make("h3", { textContent: output.name })];
  const predicted = answer[`${output.name}_predictions`];
  const classes = output.classes ?? [];
  if (output.type === "embedding") {
    const names = inputs.map((input) => input.name);
    const pairs = names.flatMap((a) => names.map((b) => [`${a} and ${b}`, answer[`${output.name}_similarity_${a}_${b}`]]));
    const available = pairs.filter(([, cosine]) => typeof cosine === "number");
    parts.push(bars(available.map(([name, cosine]) => ({ name, share: cosine, value: cosine.toFixed(3) })), true));
    if (!available.length) parts.push(make("p", { className: "dim", textContent: "Fill in at least two of the inputs that this embedding compares." }));
    return parts;
  }
  parts.push(make("div", { className: "said", textContent: typeof predicted === "number" ? plain(predicted) : predicted || "none" }));
  if (classes.length) {
    const share = (name) => answer[`${output.name}_probabilities_${name}`] ?? 0;
    parts.push(probabilities(classes.map((name) => ({ name, share: share(name), value: percent(share(name)) }))));
  }
  const pulls = Object.entries(answer.contributions?.[output.name] ?? {});
  if (pulls.length > 0) {
    const largest = Math.max(...pulls.map(([, x]) => Math.abs(x)), 1e-9);
    const size = (x) => (classes.length ? percent(Math.abs(x)) : plain(Math.abs(x)));
    const signed = (x) => (Math.abs(x) < (classes.length ? 0.0005 : 1e-9) ? "\u00b1 0" : (x > 0 ? "+" : "\u2212") + size(x));
    const title = classes.length ? `Contribution of each input to \u201c${predicted}\u201d` : "Contribution of each input";
    parts.push(make("h3", { textContent: title }));
    parts.push(bars(pulls.map(([name, x]) => ({ name, share: classes.length ? x : x / largest, value: signed(x) })), true));
    parts.push(make("p", { className: "dim", textContent: "How far each input moved the prediction away from the prediction without any inputs." }));
  }
  return parts;
}

function showPrediction(info, answer) {
  const absent = answer.status === "ok" ? [] : [make("p", { className: "dim", textContent: answer.status })];
  $("outputs").replaceChildren(...absent, ...info.outputs.flatMap((output) => showOutput(output, info.inputs, answer)));
}

// Search

let pending;

function buildSearch(info) {
  const form = $("query");
  const queryable = info.inputs.filter((input) => info.index.inputs.includes(input.name));
  const later = () => {
    clearTimeout(pending?.timer);
    pending?.controller.abort();
    pending = { controller: new AbortController() };
    const { controller } = pending;
    pending.timer = setTimeout(() => search(info, queryable, controller.signal), 200);
  };
  form.append(...queryable.map((input, at) => field(input, `query-${at}`, later)));
  const filter = make("input", { id: "filter", type: "text", placeholder: info.index.columns.length ? `${info.index.columns[0]} = '\u2026'` : "", oninput: later });
  form.append(make("div", { className: "field" }, make("label", { htmlFor: "filter" }, "Only rows where"), filter));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    later();
  });
  $("found-count").textContent = `${info.index.n_rows} rows in the index.`;
  $("search").hidden = false;
  // If the model only has embedding outputs, searching is the main use, so it comes first.
  if (info.outputs.every((output) => output.type === "embedding")) document.querySelector("main").prepend($("search"));
}

/** Copies the inputs of the prediction to the search form, and searches for them. */
function fill(info) {
  const queryable = info.inputs.filter((input) => info.index.inputs.includes(input.name));
  let is_given = false;
  for (const [at, input] of queryable.entries()) {
    const from = $("inputs").elements[`input-${info.inputs.indexOf(input)}`];
    const to = $("query").elements[`query-${at}`];
    if (from.files) to.files = from.files;
    else to.value = from.value;
    is_given ||= from.files ? from.files.length > 0 : from.value.trim() !== "";
    to.closest(".drop")?.show();
  }
  if (is_given) $("query").requestSubmit();
}

const address = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result);
  reader.onerror = () => reject(new Error(`Cannot read ${file.name}.`));
  reader.readAsDataURL(file);
});

async function search(info, queryable, signal) {
  try {
    const row = {};
    for (const [at, input] of queryable.entries()) {
      const control = $("query").elements[`query-${at}`];
      if (control.files ? control.files[0] : control.value.trim()) row[input.name] = control.files ? await address(control.files[0]) : control.value;
    }
    if (Object.keys(row).length === 0) {
      $("found").replaceChildren();
      $("found-count").textContent = `${info.index.n_rows} rows in the index.`;
      return complain(null, $("query"));
    }
    const body = JSON.stringify({ row, k: 24, filter: $("filter").value.trim() || null, thumbnails: true });
    const { hits, n_rows } = await ask("/search", { method: "POST", headers: { "content-type": "application/json" }, body, signal });
    $("found-count").textContent = `${hits.length} of ${n_rows} rows, nearest first.`;
    $("found").replaceChildren(...hits.map(card));
    complain(null, $("query"));
  } catch (error) {
    // An aborted search is followed by a new one for the text typed since.
    if (error.name !== "AbortError") {
      $("found").replaceChildren();
      $("found-count").textContent = "The search failed.";
    }
    complain(error, $("query"));
  }
}

function card({ similarity, row, thumbnails = {} }) {
  const images = Object.entries(thumbnails).map(([name, src]) => make("img", { src, alt: `${name} ${row[name]}`, loading: "lazy" }));
  const known = Object.entries(row).filter(([name, value]) => value !== null && !(name in thumbnails));
  const lines = known.map(([name, value]) => make("div", { textContent: `${name}: ${value}` }));
  return make("li", {}, ...images, ...lines, make("div", { className: "dim", textContent: `cosine ${similarity.toFixed(3)}` }));
}

// Startup

async function start() {
  const info = await ask("/info");
  document.title = `${info.model} \u2013 mbm`;
  $("model").textContent = info.model;
  buildInputs(info);
  if (info.index) buildSearch(info);
  complain(null);
}

// Without this, a file dropped outside a drop zone would replace the page.
for (const type of ["dragover", "drop"]) {
  addEventListener(type, (event) => {
    if (event.target.type !== "file") event.preventDefault();
  });
}
// A pasted file goes to the first drop zone that accepts its type.
addEventListener("paste", (event) => {
  const file = event.clipboardData.files[0];
  const input = file && [...document.querySelectorAll(".drop input")].find((it) => file.type.startsWith(it.accept.replace("*", "")));
  if (!input) return;
  input.files = event.clipboardData.files;
  input.closest(".drop").show();
});
$("key").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", new FormData(event.target).get("key"));
  location.reload();
});
const theme = localStorage.getItem("theme");
if (theme) document.documentElement.dataset.theme = theme;
$("theme").addEventListener("click", () => {
  const isDark = getComputedStyle(document.documentElement).colorScheme === "dark"
    || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = isDark ? "light" : "dark";
  localStorage.setItem("theme", document.documentElement.dataset.theme);
});
start().catch(complain);
