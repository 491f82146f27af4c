// What a style sheet cannot do alone. Without scripts the pages read as well, and what is wide shows a scroll bar.
"use strict";

(() => {
  const WIDE = ".bd-article :is(div.math, pre, .pst-scrollable-table-container, .cell_output > .output, dt.sig)";

  // An edge behind which there is more is faded, and a box that scrolls can be reached by the keyboard.
  function mark(box) {
    const hidden = box.scrollWidth - box.clientWidth, more = [];
    if (hidden > 1 && box.scrollLeft > 1) more.push("left");
    if (hidden > 1 && box.scrollLeft < hidden - 1) more.push("right");
    box.classList.toggle("mrl-scrolls", hidden > 1);
    box.dataset.more = more.join(" ");
    if (!box.matches("div.math, dt.sig")) return; // the theme looks after the others
    if (hidden > 1) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
    if (!box.matches("div.math")) return; // a term of a list with another role would be none
    if (hidden > 1) {
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", "Equation, scrolls sideways");
    } else for (const name of ["role", "aria-label"]) box.removeAttribute(name);
  }

  // A formula within a line is set smaller where it is wider than the line: it cannot be broken.
  function fit(formula) {
    formula.style.fontSize = "";
    const line = formula.closest("p, li, td, th, dd, dt, summary, h2, h3, h4");
    const ratio = line ? line.clientWidth / formula.firstElementChild.getBoundingClientRect().width : 1;
    if (ratio < 1 && ratio > 0) formula.style.fontSize = `${Math.floor(98 * ratio)}%`;
  }

  function watch() {
    const sizes = new ResizeObserver((entries) => entries.forEach((entry) => mark(entry.target)));
    document.querySelectorAll(WIDE).forEach((box) => {
      sizes.observe(box);
      box.addEventListener("scroll", () => mark(box), { passive: true });
    });
    const fitAll = () => document.querySelectorAll(".bd-article span.math mjx-container").forEach(fit);
    let width = 0;
    new ResizeObserver(([article]) => {
      if (article.contentRect.width !== width) fitAll();
      width = article.contentRect.width;
    }).observe(document.querySelector(".bd-article"));
    const markAll = () => document.querySelectorAll(WIDE).forEach(mark);
    // What was folded had no width, and a font that comes late makes a formula wider, though not its box.
    for (const again of [fitAll, markAll]) {
      document.addEventListener("toggle", again, true);
      document.fonts.addEventListener("loadingdone", again);
      again();
    }
  }

  // On paper nothing scrolls and nothing is dark: an equation that is wider than the page is set smaller.
  const PAPER = 800; // pixels of the screen; the style sheet prints 13 for 16
  let theme = "";
  function toPaper() {
    document.querySelectorAll(".bd-article div.math").forEach((box) => {
      box.style.fontSize = box.scrollWidth > PAPER ? `${Math.floor((100 * PAPER) / box.scrollWidth)}%` : "";
    });
    theme = document.documentElement.dataset.theme;
    document.documentElement.dataset.theme = "light";
  }
  function fromPaper() {
    document.querySelectorAll(".bd-article div.math").forEach((box) => { box.style.fontSize = ""; });
    document.documentElement.dataset.theme = theme;
  }

  addEventListener("DOMContentLoaded", () => {
    // The theme takes the focus away from these buttons. It keeps it where a keyboard pressed them.
    document.querySelectorAll(".theme-switch-button, .search-button, .primary-toggle, .secondary-toggle").forEach((button) => {
      button.blur = () => button.matches(":focus-visible") || HTMLElement.prototype.blur.call(button);
    });
    // The arrow that folds a part of the contents has no word of its own.
    document.querySelectorAll(".bd-sidebar-primary summary").forEach((arrow) => {
      const part = arrow.closest("li").querySelector("a");
      arrow.setAttribute("aria-label", `Pages of ${part.textContent.trim()}`);
    });
    // What is read out begins with what is to be seen: "Search Ctrl+K".
    document.querySelectorAll(".search-button-field").forEach((button) => button.removeAttribute("aria-label"));
    if (!document.querySelector(".bd-article")) return;
    const typeset = window.MathJax && MathJax.startup ? MathJax.startup.promise : Promise.resolve();
    typeset.then(watch);
    addEventListener("beforeprint", toPaper);
    addEventListener("afterprint", fromPaper);
  });
})();
