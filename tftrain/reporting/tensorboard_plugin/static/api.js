// What the server is asked, and its numbers as JavaScript's.

import { NONE } from "./scale.js";

const PLACE = new URL("../", import.meta.url);

// Of each run when it started, and its parameters and their sizes, or else its fault.
export async function runs() {
  return ask("runs");
}

// Of a quantity over a run: names [rows], steps [points] and values, one Float64Array [points] for each row.
export async function map(run, quantity, rows) {
  const found = await ask("map", { run, quantity, rows });
  return { ...found, values: found.values.map((row) => Float64Array.from(row, number)) };
}

// Of each quantity of a row: steps and values, [points].
export async function history(run, row, rows) {
  return curves(await ask("history", { run, row, rows }));
}

export async function histogram(run, parameter, step) {
  const found = await ask("histogram", { run, parameter, step });
  return { ...found, rows: found.rows.map((row) => row.map(number)) };
}

export async function course(run) {
  const { incidents, latest, ...others } = await ask("course", { run });
  const last = Object.entries(latest).map(([name, { step, values }]) => [name, { step, values: values.map(number) }]);
  return { ...curves(others), incidents, latest: Object.fromEntries(last) };
}

async function ask(route, query = {}) {
  const address = new URL(route, PLACE);
  address.search = new URLSearchParams(query);
  const reply = await fetch(address);
  const found = await reply.json().catch(() => ({ error: `status ${reply.status}` }));
  if (!reply.ok || found.error) throw Object.assign(new Error(found.error), { answered: true });
  return found;
}

const number = (value) => (value === null ? NONE : Number(value)); // "NaN" and "Infinity" come as text
const curves = (found) =>
  Object.fromEntries(
    Object.entries(found).map(([name, { steps, values }]) => [name, { steps, values: Float64Array.from(values, number) }]),
  );
