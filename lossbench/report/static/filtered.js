// Filters the lines of tables by the fields of the form above them; the address keeps what is shown, and how sorted.
"use strict";

{
  const filter = document.getElementById("filter");
  const fields = [...filter.elements].filter((field) => field.name);
  const tables = [...document.querySelectorAll("table.filtered")];
  const lines = tables.flatMap((table) => [...table.querySelectorAll("tbody:not(.family) > tr")]);
  const places = lines.map((line) => {
    const table = line.closest("table");
    return [table, [...table.tBodies].indexOf(line.parentNode)];
  });
  let sorted = ""; // "<table> <column> <direction>", as in the address

  // What a field asks for; nothing where it stands as at first.
  const asked = (field) => {
    if (field.type !== "checkbox") return field.value;
    return field.checked === field.defaultChecked ? "" : field.checked ? "yes" : "no";
  };
  const fits = (line, [name, value]) =>
    name === "text"
      ? value.toLowerCase().split(/\s+/).every((word) => line.dataset.search.includes(word))
      : !value || !(name in line.dataset) || line.dataset[name].split(",").includes(value);

  const show = () => {
    const view = Object.fromEntries(fields.map((field) => [field.name, asked(field)]));
    filter.dispatchEvent(new CustomEvent("view", { detail: view }));
    for (const line of lines) line.hidden = !Object.entries(view).every((one) => fits(line, one));
    const shown = lines.filter((line) => !line.hidden);
    const narrowed = Object.values(view).some(Boolean);
    const shows = (part) => shown.some((line) => part.contains(line));
    for (const section of document.querySelectorAll("main > section:has(table.filtered):not(:has(#filter))"))
      section.hidden = !shows(section);
    for (const head of document.querySelectorAll("tbody.family")) head.hidden = !shows(head.nextElementSibling);
    for (const whole of document.querySelectorAll(".unfiltered")) whole.hidden = narrowed;
    for (const folds of document.querySelectorAll("details.folds")) folds.open = narrowed && shows(folds);
    document.getElementById("count").textContent = `${shown.length} of ${lines.length} lines`;
    const state = new URLSearchParams(Object.entries(view).filter(([, value]) => value));
    if (sorted) state.set("sort", sorted);
    if (state.size || location.hash.includes("=")) history.replaceState(null, "", `#${state}`);
  };

  const unsort = () => {
    sorted = "";
    for (const header of document.querySelectorAll(".filtered [aria-sort]")) header.removeAttribute("aria-sort");
    for (const [at, [table, body]] of places.entries()) table.tBodies[body].append(lines[at]);
  };

  const restore = () => {
    if (document.getElementById(location.hash.slice(1))?.checkVisibility()) return show(); // an ordinary anchor
    const state = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
    for (const field of fields) {
      const value = state.get(field.name) ?? "";
      if (field.type === "checkbox") field.checked = value ? value === "yes" : field.defaultChecked;
      else field.value = value;
    }
    unsort();
    const [table, column, direction] = (state.get("sort") ?? "").split(" ");
    const header = tables[table]?.tHead.rows[0].cells[column];
    if (header) sorted = state.get("sort");
    // The table sorts ascending first, and turns round at each further click.
    if (direction === "descending") header?.setAttribute("aria-sort", "ascending");
    header?.querySelector("button").click();
    show();
  };

  document.addEventListener("sort-end", ({ target }) => {
    const [table, header] = [tables.indexOf(target), target.querySelector("[aria-sort]")];
    if (table >= 0) sorted = `${table} ${header.cellIndex} ${header.getAttribute("aria-sort")}`;
    show();
  });
  const changed = ({ target }) => {
    if (target.name === "grouped") unsort();
    show();
  };
  filter.addEventListener("input", changed);
  filter.addEventListener("change", changed); // all that some drivers of browsers send of a list
  filter.addEventListener("reset", () => setTimeout(() => (unsort(), show())));
  filter.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", restore);
  filter.hidden = false;
  restore();
}
