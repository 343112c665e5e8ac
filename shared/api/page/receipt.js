/**
 * The receipt of a job: each finished attempt, whether it was charged, for how much, and under
 * which name the provider knows it. It tells what the ledger says, in words.
 */

const CHARGES = { charged: "charged", none: "not charged", unknown: "may have been charged" };
const OUTCOMES = { completed: "completed", failed: "failed", lost: "lost with its worker" };

/** Returns micro-dollars as dollars, with as many decimals as they need. */
function dollars(microdollars) {
  const options = { style: "currency", currency: "USD", minimumFractionDigits: 2, maximumFractionDigits: 6 };
  return new Intl.NumberFormat("en", options).format(microdollars / 1e6);
}

function chargeOf({ charge_state: state, price_microdollars: price }) {
  if (state !== "charged") return CHARGES[state] ?? state;
  return price === null ? "charged, price not known" : `charged ${dollars(price)}`;
}

function total(lines) {
  const of = (state) => lines.filter((line) => line.charge_state === state);
  const charged = of("charged");
  const priced = charged.filter((line) => line.price_microdollars !== null);
  const said = [];
  if (priced.length) said.push(`charged ${dollars(priced.reduce((sum, line) => sum + line.price_microdollars, 0))}`);
  if (priced.length < charged.length) said.push(priced.length ? "more at a price not known" : "charged, price not known");
  const unknown = of("unknown").length;
  if (unknown) said.push(`${unknown === 1 ? "one call" : `${unknown} calls`} may have been charged`);
  return said.join("; ") || "not charged";
}

/** Returns `1 image` of `["images", 1]`. */
function inWords([name, count]) {
  const noun = name.replaceAll("_", " ");
  return `${count} ${count === 1 ? noun.replace(/s$/, "") : noun}`;
}

function buildLine(template, line) {
  const row = template.content.firstElementChild.cloneNode(true);
  const tell = (part, text) => {
    const element = row.querySelector(`[data-part="${part}"]`);
    element.closest("div, p").hidden = !text;
    element.textContent = text ?? "";
  };
  tell("attempt", `Attempt ${line.number}, ${OUTCOMES[line.outcome] ?? line.outcome}`);
  tell("charge", chargeOf(line));
  tell("model", [line.provider, line.model].filter(Boolean).join(" · "));
  tell("units", Object.entries(line.units ?? {}).map(inWords).join(", "));
  tell("request", line.request_id);
  return row;
}

/**
 * Shows the receipt of a job, or nothing while no attempt has ended.
 * @param {HTMLDetailsElement} root With the parts `total` and `lines`; stays open or closed.
 * @param {HTMLTemplateElement} template Of one line.
 * @param {object} job As the API tells it.
 */
export function paintReceipt(root, template, job) {
  const lines = job.attempts.filter((line) => line.outcome);
  root.hidden = lines.length === 0;
  const told = JSON.stringify(lines);
  if (root.dataset.told === told) return;
  root.dataset.told = told;
  root.querySelector('[data-part="total"]').textContent = total(lines);
  root.querySelector('[data-part="lines"]').replaceChildren(...lines.map((line) => buildLine(template, line)));
}
