/** The receipt of a job: each finished attempt, its charge, and the provider's name for the call. */

import { plural } from "./dom.js";

const CHARGES = { charged: "charged", none: "not charged", unknown: "may have been charged" };
const OUTCOMES = { lost: "lost with its worker" };

const isFree = ({ provider }) => provider === "mock";

/** Returns micro-dollars as dollars, with as many decimals as they need. */
export function dollars(microdollars) {
  const digits = { minimumFractionDigits: 2, maximumFractionDigits: 6 };
  return new Intl.NumberFormat("en", { style: "currency", currency: "USD", ...digits }).format(microdollars / 1e6);
}

function chargeOf(line) {
  const state = line.charge_state;
  if (state !== "charged") return CHARGES[state];
  return line.price_microdollars === null ? "charged, price not known" : `charged ${dollars(line.price_microdollars)}`;
}

function totalOf(lines) {
  const charged = lines.filter((line) => line.charge_state === "charged");
  const prices = charged.map((line) => line.price_microdollars).filter((price) => price !== null);
  const unknown = lines.filter((line) => line.charge_state === "unknown").length;
  const texts = [];
  if (prices.length) texts.push(`charged ${dollars(prices.reduce((sum, price) => sum + price, 0))}`);
  if (prices.length < charged.length) texts.push(prices.length ? "more at a price not known" : "charged, price not known");
  if (unknown) texts.push(`${unknown === 1 ? "one call" : plural(unknown, "call")} may have been charged`);
  if (!texts.length && lines.every(isFree)) return "not charged (mock mode)";
  return texts.join("; ") || "not charged";
}

/** Returns `1 image` of `["images", 1]`. */
const unitOf = ([name, count]) => plural(count, name.replaceAll("_", " ").replace(/s$/, ""));

function buildLine(line) {
  const texts = [`Attempt ${line.number}, ${OUTCOMES[line.outcome] ?? line.outcome}`, chargeOf(line),
    [line.provider, line.model].filter(Boolean).join(" · "), Object.entries(line.units ?? {}).map(unitOf).join(", "),
    line.request_id ?? ""];
  const row = document.createElement("li");
  row.append(...texts.filter(Boolean).map((text) => Object.assign(document.createElement("span"), { textContent: text })));
  return row;
}

/** Shows the receipt in the parts of a card, or nothing while no attempt has ended; it stays open or closed. */
export function paintReceipt(parts, job) {
  const lines = job.attempts.filter((line) => line.outcome);
  parts.receipt.hidden = lines.length === 0;
  const shown = JSON.stringify(lines);
  if (parts.receipt.dataset.shown === shown) return;
  parts.receipt.dataset.shown = shown;
  parts.total.textContent = totalOf(lines);
  parts.lines.replaceChildren(...lines.map(buildLine));
}
