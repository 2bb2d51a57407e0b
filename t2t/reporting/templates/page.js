"use strict";

// Each heading goes: largest first, smallest first, the order of the paper's blocks again.
function makeSortable(table) {
  const bodies = [...table.tBodies];
  const home = bodies.map((body) => [...body.rows]);
  const rows = home.flat().filter((row) => row.dataset.row !== undefined);
  const headings = [...table.querySelectorAll("th[data-column]")];
  const status = document.getElementById("SortStatus");

  function restore() {
    bodies.forEach((body, index) => body.append(...home[index]));
  }

  function compare(column, sign) {
    return (first, second) => {
      const a = first.cells[column].dataset.value;
      const b = second.cells[column].dataset.value;
      if (a === "" || b === "") return (a === "") - (b === "");
      if (column === 0) return sign * a.localeCompare(b, "en", { numeric: true });
      return sign * (Number(a) - Number(b));
    };
  }

  function sort(heading) {
    const column = Number(heading.dataset.column);
    const first = column === 0 ? "ascending" : "descending";
    const second = column === 0 ? "descending" : "ascending";
    const now = heading.getAttribute("aria-sort");
    const next = now === first ? second : now === second ? "none" : first;
    headings.forEach((other) => other.setAttribute("aria-sort", "none"));
    heading.setAttribute("aria-sort", next);
    restore();
    table.classList.toggle("sorted", next !== "none");
    if (next !== "none") {
      bodies[0].append(...[...rows].sort(compare(column, next === "ascending" ? 1 : -1)));
    }
    const name = heading.dataset.name;
    status.textContent = next === "none" ? "Rows by block." : `Sorted by ${name}, ${next}.`;
  }

  headings.forEach((heading) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sort(heading));
    heading.append(button);
    heading.setAttribute("aria-sort", "none");
  });
}

function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
}

makeSortable(document.getElementById("Ablation"));
window.addEventListener("hashchange", openTarget);
openTarget();
