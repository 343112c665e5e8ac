/** Elements, short texts, and announcements to screen readers. */

export const byId = (id) => document.getElementById(id);
export const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
export const shorten = (text, most) => (text.length > most ? `${text.slice(0, most).trimEnd()}…` : text);

/** Shows a text, or hides the element if the text is empty. */
export function show(element, text) {
  element.hidden = !text;
  if (text && element.textContent !== text) element.textContent = text;
}

/** Clones a template; returns its element and its named parts. */
export function build(template) {
  const root = byId(template).content.firstElementChild.cloneNode(true);
  const named = [...root.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part]);
  return { root, parts: Object.fromEntries(named) };
}

/** Returns how long ago an instant was: "5 minutes ago". */
export function relativeTime(instant, now) {
  const seconds = Math.min(0, (Date.parse(instant) - now) / 1000);
  const format = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (-seconds >= size) return format.format(Math.ceil(seconds / size), unit);
  }
  return seconds > -5 ? "just now" : format.format(Math.ceil(seconds / 5) * 5, "second");
}

/** Returns a length of time in its two greatest units: "9 s", "2 h 5 min". */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 120) return `${whole} s`;
  const [units, sizes] = [["d", "h", "min"], [86400, 3600, 60]];
  const first = sizes.findIndex((size) => whole >= size);
  const count = Math.floor(whole / sizes[first]);
  const rest = first < 2 ? Math.floor((whole % sizes[first]) / sizes[first + 1]) : 0;
  return [`${count} ${units[first]}`, rest ? `${rest} ${units[first + 1]}` : ""].filter(Boolean).join(" ");
}

/** Returns a new element with properties and children; a child may be a text. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

const spoken = new Map();

/** Announces the last text about each subject, and joins those of the same moment. */
export function announce(subject, text) {
  if (spoken.size === 0) {
    setTimeout(() => {
      byId("announcer").textContent = [...spoken.values()].join(" ");
      spoken.clear();
    }, 600);
  }
  spoken.set(subject, text);
}
