// What the server is asked, and its numbers as JavaScript's.

export const NONE = -1; // a number that there is not; all quantities are at least 0, or NaN

const PLACE = new URL("../", import.meta.url);

export async function runs() {
  return ask("runs");
}

// Of a quantity over a run: steps [points] and values, one Float64Array [points] for each parameter.
export async function map(run, quantity) {
  const found = await ask("map", { run, quantity });
  return { steps: found.steps, values: found.values.map((row) => Float64Array.from(row, number)) };
}

// Of each quantity of a parameter: steps and values, [points].
export async function history(run, parameter) {
  const found = await ask("history", { run, parameter });
  return Object.fromEntries(Object.entries(found).map(([name, curve]) => [name, numbers(curve)]));
}

export async function histogram(run, parameter, step) {
  const found = await ask("histogram", { run, parameter, step });
  return { ...found, rows: found.rows.map((row) => row.map(number)) };
}

export async function course(run) {
  const { incidents, ...curves } = await ask("course", { run });
  const read = Object.fromEntries(Object.entries(curves).map(([name, curve]) => [name, numbers(curve)]));
  return { ...read, incidents };
}

async function ask(route, query = {}) {
  const address = new URL(route, PLACE);
  address.search = new URLSearchParams(query);
  const reply = await fetch(address);
  const found = await reply.json().catch(() => ({ error: `status ${reply.status}` }));
  if (!reply.ok || found.error) throw new Error(found.error);
  return found;
}

const number = (value) => (value === null ? NONE : Number(value)); // "NaN" and "Infinity" come as text
const numbers = ({ steps, values }) => ({ steps, values: Float64Array.from(values, number) });
