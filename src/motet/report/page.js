"use strict";

// Sort a table when a column heading is clicked: the best values first, and in the opposite order on the next click.
// Rows without a number stay at the bottom.
for (const heading of document.querySelectorAll("thead th")) {
  heading.querySelector("button").addEventListener("click", () => {
    const table = heading.closest("table");
    const column = heading.cellIndex;
    const opposite = { ascending: "descending", descending: "ascending" };
    const direction = opposite[heading.getAttribute("aria-sort")] ?? heading.dataset.first ?? "ascending";
    for (const other of table.querySelectorAll("thead th")) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", direction);

    const sign = direction === "ascending" ? 1 : -1;
    const compare = (a, b) => {
      const [x, y] = [a.cells[column].dataset.sort, b.cells[column].dataset.sort];
      if (x === "" || y === "") return (x === "") - (y === "");
      return sign * (column === 0 ? x.localeCompare(y) : Number(x) - Number(y));
    };
    const body = table.tBodies[0];
    body.append(...[...body.rows].sort(compare));
  });
}
