/** The tables of the operator page: painted anew with each answer, without loss of the keyboard's place. */

import { make } from "./dom.js";

/**
 * Paints a table, or a text if it has no rows.
 * @param host The element that holds it, and nothing else.
 * @param columns `{title, show(row), isNumber, isAction}`; `show` returns a text, an element or a list of them.
 * @param isTitled Whether the title is visible, and not only read aloud.
 */
export function paintTable(host, { title, columns, rows, empty, isTitled = false }) {
  const shown = `${JSON.stringify(rows)} ${Math.floor(Date.now() / 60_000)}`; // ages are shown in minutes
  if (host.dataset.shown === shown) return;
  host.dataset.shown = shown;
  replace(host, rows.length ? buildTable(title, columns, rows, isTitled) : make("p", { className: "hint", textContent: empty }));
}

/** Replaces what an element holds; the keyboard stays at the button or link of the same place. */
export function replace(host, ...children) {
  const place = host.contains(document.activeElement) ? document.activeElement.dataset.place : null;
  host.replaceChildren(...children);
  if (place) [...host.querySelectorAll("[data-place]")].find((each) => each.dataset.place === place)?.focus();
}

const classOf = (column) => (column.isAction ? "action" : column.isNumber ? "number" : "");

function buildTable(title, columns, rows, isTitled) {
  const head = make("tr", {}, ...columns.map((column) => {
    const name = make("span", { className: column.isAction ? "unseen" : "", textContent: column.title });
    return make("th", { scope: "col", className: classOf(column) }, name);
  }));
  const body = rows.map((row) => make("tr", {}, ...columns.map((column) => buildCell(column, row))));
  const caption = make("caption", { className: isTitled ? "" : "unseen", textContent: title });
  return make("table", {}, caption, make("thead", {}, head), make("tbody", {}, ...body));
}

function buildCell(column, row) {
  const content = [column.show(row)].flat().filter((each) => each !== null && each !== "");
  const cell = make("td", { className: classOf(column) }, make("span", {}, ...(content.length ? content : ["–"])));
  cell.classList.toggle("none", !content.length);
  cell.dataset.title = column.isAction ? "" : column.title;
  return cell;
}

/** Returns a button of a table; `place` names it, so that the keyboard finds it again. */
export function button(text, place, onClick, name = "") {
  const made = make("button", { type: "button", className: "plain", textContent: text });
  made.dataset.place = place;
  if (name) made.setAttribute("aria-label", name);
  made.addEventListener("click", onClick);
  return made;
}

/** Returns a link to a job or a workspace of this page. */
export function link(kind, id, text = id) {
  const made = make("a", { href: `#${kind}=${encodeURIComponent(id)}`, textContent: text });
  made.dataset.place = `${kind} ${id} ${text}`;
  return made;
}

export const linkToJob = (id) => Object.assign(link("job", id, id.slice(0, 8)), { title: id });
