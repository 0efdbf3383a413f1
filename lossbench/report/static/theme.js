// Light, dark or as the system has it. Runs in the head, so that no page is painted in the wrong colours first.
"use strict";

{
  const kept = () => {
    try {
      return localStorage.getItem("lossbench-theme") ?? "auto";
    } catch {
      return "auto"; // a frame or a browser without storage: what is chosen holds for the page that is shown
    }
  };
  const apply = (theme) => {
    document.documentElement.dataset.theme = theme;
    const field = document.getElementById("theme");
    if (field) field.value = theme;
    if (field) field.parentElement.hidden = false;
  };
  apply(kept());
  // The field is there only later; a page that comes back, or stands in another window, may have missed a change.
  for (const event of ["DOMContentLoaded", "pageshow", "storage"]) window.addEventListener(event, () => apply(kept()));
  window.addEventListener("change", ({ target }) => {
    if (target.id !== "theme") return;
    apply(target.value);
    try {
      localStorage.setItem("lossbench-theme", target.value);
    } catch {}
  });
}
