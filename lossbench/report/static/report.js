// Filters the matrix, keeps what is shown in the address, and adds the copy buttons.
"use strict";

const form = document.getElementById("filters");
if (form) {
  const table = document.getElementById("losses");
  const lines = [...table.querySelectorAll("tbody:not(.family) > tr")];
  const fields = ["text", "family", "framework", "verdict", "dtype"];
  let sorted = ""; // "<column> <direction>", as in the address

  const fits = (line, view) => {
    const words = view.text.toLowerCase().split(/\s+/).filter(Boolean);
    const boxes = [...line.querySelectorAll("[data-verdict]")].filter(
      (box) => !view.framework || box.dataset.framework === view.framework,
    );
    return (
      words.every((word) => line.dataset.search.includes(word)) &&
      (!view.family || line.dataset.family === view.family) &&
      (!view.dtype || line.dataset.dtype === view.dtype) &&
      (!view.verdict || boxes.some((box) => box.dataset.verdict === view.verdict)) &&
      (!view.differs || line.dataset.differs === "yes")
    );
  };

  // Grouped, every line stands below its family; else all stand in the first body, which sorts as a whole.
  const group = (grouped) => {
    const bodies = [...table.querySelectorAll("tbody:not(.family)")];
    table.classList.toggle("flat", !grouped);
    if (!grouped) bodies[0].append(...bodies.flatMap((body) => [...body.rows]));
    else for (const line of lines) bodies.find((body) => body.dataset.family === line.dataset.family).append(line);
  };

  const show = () => {
    const view = Object.fromEntries(fields.map((name) => [name, form.elements[name].value]));
    view.differs = form.elements.differs.checked;
    const shown = new Set(lines.filter((line) => fits(line, view)));
    for (const line of lines) line.hidden = !shown.has(line);
    for (const cell of table.querySelectorAll("[data-framework]"))
      cell.hidden = Boolean(view.framework) && cell.dataset.framework !== view.framework;
    for (const body of table.querySelectorAll("tbody.family"))
      body.hidden = ![...shown].some((line) => line.dataset.family === body.dataset.family);
    document.getElementById("count").textContent = `${shown.size} of ${lines.length} lines`;
    const state = new URLSearchParams(fields.filter((name) => view[name]).map((name) => [name, view[name]]));
    if (view.differs) state.set("differs", "yes");
    if (!form.elements.grouped.checked) state.set("grouped", "no");
    if (sorted) state.set("sort", sorted);
    const text = state.toString();
    if (text || location.hash.includes("=")) history.replaceState(null, "", text ? `#${text}` : "#matrix");
  };

  const restore = () => {
    if (!location.hash.includes("=") && location.hash.length > 1) return; // an ordinary anchor
    const state = new URLSearchParams(location.hash.slice(1));
    for (const name of fields) form.elements[name].value = state.get(name) ?? "";
    form.elements.differs.checked = state.get("differs") === "yes";
    form.elements.grouped.checked = state.get("grouped") !== "no";
    group(form.elements.grouped.checked);
    const [column, direction] = (state.get("sort") ?? "").split(" ");
    const header = column && table.tHead.rows[0].cells[Number(column)];
    if (header && (sorted = `${column} ${direction}`)) {
      // The table sorts ascending first, and turns round at each further click.
      if (direction === "descending") header.setAttribute("aria-sort", "ascending");
      header.querySelector("button").click();
    }
    show();
    if (state.size) document.getElementById("matrix").scrollIntoView();
  };

  table.addEventListener("sort-start", () => {
    form.elements.grouped.checked = false;
    group(false);
  });
  table.addEventListener("sort-end", () => {
    const header = table.querySelector("th[aria-sort]");
    sorted = `${header.cellIndex} ${header.getAttribute("aria-sort")}`;
    show();
  });
  const changed = (event) => {
    if (event.target.name === "grouped") {
      sorted = "";
      for (const header of table.querySelectorAll("th[aria-sort]")) header.removeAttribute("aria-sort");
      group(event.target.checked);
    }
    show();
  };
  form.addEventListener("input", changed);
  form.addEventListener("change", changed);
  form.addEventListener("reset", () => {
    sorted = "";
    for (const header of table.querySelectorAll("th[aria-sort]")) header.removeAttribute("aria-sort");
    setTimeout(() => (group(true), show()));
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", restore);
  form.hidden = false;
  restore();
}

for (const block of document.querySelectorAll(".copyable")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    const code = block.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code); // file:// may not write to the clipboard: Ctrl+C does
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  block.append(button);
}
