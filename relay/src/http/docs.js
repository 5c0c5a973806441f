
// Everything may stand below a path: this page is `api/v1/docs` there.
const root = new URL("../..", location).href.replace(/\/$/, "");
const make = (tag, text, ...children) => {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  element.append(...children);
  return element;
};
const nameOf = (reference) => reference.split("/").pop();
const typeOf = (schema) => {
  if (!schema) return "any";
  if (schema.$ref) return nameOf(schema.$ref);
  if (schema.type === "array") return `list of ${typeOf(schema.items)}`;
  if (schema.allOf) return schema.allOf.map(typeOf).join(" and ");
  return [schema.type ?? "any"].flat().join(" or ");
};
const row = (...cells) => make("tr", "", ...cells.map((cell) => (cell instanceof Node ? make("td", "", cell) : make("td", cell))));
const fields = (schema) => {
  const table = make("table");
  for (const part of schema.allOf ?? schema.oneOf ?? [schema]) {
    if (part.$ref) {
      table.append(row(make("code", "…"), typeOf(part), schema.oneOf ? "or" : "all of its fields"));
      continue;
    }
    for (const [name, field] of Object.entries(part.properties ?? {})) {
      const optional = (part.required ?? []).includes(name) ? "" : " (may be absent)";
      const known = field.enum ? ` One of: ${field.enum.join(", ")}.` : "";
      const choices = field.const ? ` Always: ${field.const}.` : known;
      table.append(row(make("code", name), typeOf(field) + optional, (field.description ?? "") + choices));
    }
  }
  return table;
};
const foldable = (head, ...body) => make("details", "", make("summary", "", ...head), make("div", "", ...body));
const curl = (method, path, example) => {
  const url = `${root}${path}`;
  if (!example) return method === "GET" ? `curl ${url}` : `curl -X ${method} ${url}`;
  return `curl ${url} -d '${JSON.stringify(example)}'`;
};
const tryIt = (path) => {
  const button = make("button", "Try it");
  const shown = make("pre");
  shown.hidden = true;
  button.addEventListener("click", async () => {
    const answer = await fetch(`${root}${path}`);
    const text = await answer.text();
    shown.hidden = false;
    try {
      shown.textContent = `${answer.status}\n${JSON.stringify(JSON.parse(text), null, 2)}`;
    } catch {
      shown.textContent = `${answer.status}\n${text}`;
    }
  });
  return make("div", "", button, shown);
};
const operation = (path, method, about) => {
  const body = [make("p", about.description ?? "")];
  if (about.parameters) {
    const table = make("table");
    for (const parameter of about.parameters) {
      table.append(row(make("code", parameter.name), `${parameter.in}${parameter.required ? "" : ", may be absent"}`, parameter.description));
    }
    body.push(table);
  }
  const content = about.requestBody?.content["application/json"];
  for (const example of Object.values(content?.examples ?? {})) {
    body.push(make("p", example.summary), make("pre", curl(method, path, example.value)));
  }
  if (!content) body.push(make("pre", curl(method, path)));
  const answers = make("table");
  for (const [status, given] of Object.entries(about.responses)) {
    const answer = given.$ref ? shared[nameOf(given.$ref)] : given;
    const schema = Object.values(answer.content ?? {})[0]?.schema;
    answers.append(row(make("code", status), typeOf(schema), answer.description));
  }
  body.push(answers);
  if (method === "GET" && !path.includes("{") && !path.endsWith("/events")) body.push(tryIt(path));
  const head = [make("span", method), make("code", path), make("span", about.summary)];
  head[0].className = "method";
  head[2].className = "what";
  return foldable(head, ...body);
};

const about = await (await fetch("openapi.json")).json();
const shared = about.components.responses;
document.getElementById("about").textContent = `${about.info.description} Version ${about.info.version}.`;
const operations = document.getElementById("operations");
for (const tag of about.tags) {
  operations.append(make("h2", tag.name), make("p", tag.description));
  for (const [path, methods] of Object.entries(about.paths)) {
    for (const [method, one] of Object.entries(methods)) {
      if (one.tags.includes(tag.name)) operations.append(operation(path, method.toUpperCase(), one));
    }
  }
}
const schemas = document.getElementById("schemas");
for (const [name, schema] of Object.entries(about.components.schemas)) {
  schemas.append(foldable([make("code", name), make("span", ` ${schema.description ?? ""}`)], fields(schema)));
}
