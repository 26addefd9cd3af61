(() => {
  "use strict";
  const bar = document.getElementById("bar");
  const box = bar.querySelector("input[type=search]");
  const ticks = [...bar.querySelectorAll("input[type=checkbox]")];
  const shown = bar.querySelector("output");
  const nothing = document.getElementById("nothing");
  const number = (value) => value.toLocaleString("en");
  const total = Number(shown.dataset.total);
  let sources = null;

  // Read when something is searched only: a page of 200,000 changes opens without a look at any of them.
  const read = () =>
    [...document.querySelectorAll(".source")].map((place) => ({
      place,
      pages: [...place.querySelectorAll(".page")].map((page) => ({ page, text: page.textContent.toLowerCase(), rows: null })),
    }));

  function open(part) {
    part.rows ??= [...part.page.querySelectorAll("tbody > tr, .document")].map((row) => ({
      row,
      action: row.className[0],
      text: row.textContent.toLowerCase(),
    }));
    return part.rows;
  }

  function filter() {
    sources ??= read();
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    const actions = ticks.filter((tick) => tick.checked).map((tick) => tick.value);
    const all = words.length === 0 && actions.length === ticks.length;
    let found = 0;
    for (const { place, pages } of sources) {
      let here = 0;
      for (const part of pages) {
        let left = 0;
        if (all || words.every((word) => part.text.includes(word))) {
          for (const { row, action, text } of all ? (part.rows ?? []) : open(part)) {
            const is = all || (actions.includes(action) && words.every((word) => text.includes(word)));
            if (row.hidden === is) row.hidden = !is;
            left += is;
          }
        }
        part.page.hidden = !all && left === 0;
        if (all) part.page.style.removeProperty("--rows");
        else part.page.style.setProperty("--rows", left);
        here += left;
      }
      place.hidden = !all && here === 0;
      found += here;
    }
    shown.textContent = all ? "" : `${number(found)} of ${number(total)} shown`;
    nothing.hidden = all || found > 0;
  }

  let waiting = 0;
  const soon = () => {
    clearTimeout(waiting);
    waiting = setTimeout(filter, 60);
  };
  box.addEventListener("input", soon);
  ticks.forEach((tick) => tick.addEventListener("change", filter));
  bar.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && event.target !== box && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      box.focus();
    }
  });
  bar.hidden = false;
  // A browser that keeps what was typed when the page is loaded again must not show a search without its result.
  if (box.value || ticks.some((tick) => !tick.checked)) filter();
})();
