// The API page: renders /openapi.json.

const theme = localStorage.getItem("theme");
if (theme) document.documentElement.dataset.theme = theme;

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Creates a paragraph; text between backticks is rendered as code. */
function text(words) {
  const parts = words.split("`").map((part, at) => (at % 2 ? make("code", { textContent: part }) : part));
  return make("p", {}, ...parts);
}

/** Resolves a `$ref` to its schema. */
function resolve(root, schema) {
  if (!schema?.$ref) return schema ?? {};
  return schema.$ref.slice(2).split("/").reduce((node, name) => node[name], root);
}

/** Describes a type in a few words. */
function type(root, schema) {
  const it = resolve(root, schema);
  if (it.enum) return it.enum.map((value) => JSON.stringify(value)).join(" | ");
  const choices = it.anyOf ?? it.oneOf;
  if (choices) return choices.map((choice) => type(root, choice)).filter((words) => words).join(" or ");
  if (it.type === "array") return `list of ${type(root, it.items)}`;
  const name = [it.type ?? "any"].flat().filter((word) => word !== "null").join(" or ");
  return it.contentEncoding ? `${name} (${it.contentEncoding})` : name;
}

/** Renders the properties of an object as a list, with nested objects below. */
function properties(root, schema, depth = 0) {
  const it = resolve(root, schema);
  if (it.type === "array") return properties(root, it.items, depth);
  const list = make("dl", { className: "schema" });
  for (const [name, value] of Object.entries(it.properties ?? {})) {
    const required = it.required?.includes(name) ? ", required" : "";
    const text = resolve(root, value).description ?? value.description ?? "";
    list.append(make("dt", {}, make("code", { textContent: name }), ` ${type(root, value)}${required}`), make("dd", { textContent: text }));
    const inner = resolve(root, value);
    const object = inner.type === "array" ? resolve(root, inner.items) : inner;
    if (object.properties && depth < 3) list.append(make("dd", {}, properties(root, object, depth + 1)));
  }
  return list;
}

function body(root, title, content) {
  const parts = [];
  for (const [media, { schema }] of Object.entries(content ?? {})) {
    parts.push(make("h3", { textContent: `${title}: ${media}` }));
    const list = properties(root, schema);
    parts.push(list.children.length ? list : make("p", { textContent: type(root, schema) }));
  }
  return parts;
}

function operation(root, path, method, it) {
  const title = make("h2", {}, make("code", { textContent: `${method.toUpperCase()} ${path}` }), ` ${it.summary ?? ""}`);
  const parameters = make("dl", { className: "schema" });
  for (const parameter of it.parameters ?? []) {
    parameters.append(make("dt", {}, make("code", { textContent: `?${parameter.name}` }), ` ${type(root, parameter.schema)}`), make("dd", { textContent: parameter.description ?? "" }));
  }
  const errors = Object.entries(it.responses).filter(([status]) => status !== "200").map(([status, response]) => `${status} ${response.description}`);
  const section = make("section", {}, title, text(it.description ?? ""), parameters,
    ...body(root, "Request body", it.requestBody?.content), ...body(root, "Response", it.responses["200"]?.content));
  if (errors.length) section.append(make("details", {}, make("summary", { textContent: "Error responses" }), ...errors.map((text) => make("p", { textContent: text }))));
  section.id = `${method}${path.replaceAll("/", "-")}`;
  return section;
}

const root = await (await fetch("/openapi.json")).json();
for (const [path, methods] of Object.entries(root.paths)) {
  for (const [method, it] of Object.entries(methods)) document.getElementById("operations").append(operation(root, path, method, it));
}
