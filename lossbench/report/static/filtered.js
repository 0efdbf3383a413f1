// Filters the lines of tables by the fields of the form above them, and keeps what is shown in the address.
"use strict";

{
  const filter = document.getElementById("filter");
  const lines = [...document.querySelectorAll("table.filtered > tbody > tr")];
  const names = [...filter.elements].map((field) => field.name).filter(Boolean);

  const fits = (line, view) =>
    names.every((name) =>
      name === "text"
        ? view.text.toLowerCase().split(/\s+/).every((word) => line.dataset.search.includes(word))
        : !view[name] || line.dataset[name].split(",").includes(view[name]),
    );

  const show = () => {
    const view = Object.fromEntries(names.map((name) => [name, filter.elements[name].value]));
    let shown = 0;
    for (const line of lines) {
      line.hidden = !fits(line, view);
      shown += line.hidden ? 0 : 1;
    }
    const narrowed = names.some((name) => view[name]);
    const shows = (part) => part.querySelector("table.filtered > tbody > tr:not([hidden])") !== null;
    for (const section of document.querySelectorAll("main > section"))
      if (section.querySelector("table.filtered")) section.hidden = !shows(section);
    for (const whole of document.querySelectorAll(".unfiltered")) whole.hidden = narrowed;
    for (const folds of document.querySelectorAll("details.folds")) folds.open = narrowed && shows(folds);
    document.getElementById("count").textContent = `${shown} of ${lines.length} lines`;
    const state = new URLSearchParams(names.filter((name) => view[name]).map((name) => [name, view[name]])).toString();
    if (state || location.hash.includes("=")) history.replaceState(null, "", `#${state}`);
  };

  const restore = () => {
    const state = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : ""); // else an anchor
    for (const name of names) filter.elements[name].value = state.get(name) ?? "";
    show();
  };

  filter.addEventListener("input", show);
  filter.addEventListener("change", show); // all that some drivers of browsers send of a list
  filter.addEventListener("reset", () => setTimeout(show));
  filter.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", restore);
  filter.hidden = false;
  restore();
}
