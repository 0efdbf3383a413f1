// The matrix: hides the columns of other frameworks and modes, says what its lines show then, groups them by family.
"use strict";

{
  const filter = document.getElementById("filter");
  const table = document.getElementById("losses");
  const heads = [...table.tHead.rows[0].cells];
  const lines = [...table.querySelectorAll("tbody:not(.family) > tr")];

  // Not grouped, all lines stand in the first body, which sorts as a whole.
  const group = (grouped) => {
    table.classList.toggle("flat", !grouped);
    const bodies = [...table.querySelectorAll("tbody:not(.family)")];
    if (!grouped) for (const body of bodies.slice(1)) bodies[0].append(...body.rows);
  };

  filter.addEventListener("view", ({ detail: view }) => {
    const fits = (head, name) => !view[name] || !head.dataset[name] || head.dataset[name] === view[name];
    const shown = heads.map((head) => fits(head, "framework") && fits(head, "mode"));
    for (const row of [heads[0].parentNode, ...lines]) [...row.cells].forEach((cell, at) => (cell.hidden = !shown[at]));
    for (const line of lines) {
      line.dataset.verdict = [...line.cells].map((cell) => (cell.hidden ? "" : cell.dataset.verdict)).join();
      line.dataset.differs = line.dataset.differing.split(",").includes(view.mode || "any") ? "yes" : "no";
    }
    group(!view.grouped);
  });
  table.addEventListener("sort-start", () => {
    filter.elements.grouped.checked = false;
    group(false);
  });
}
