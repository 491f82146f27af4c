// What a link leads to, shown beside it; the switch for folded code; veils over answers. Without this file all of it
// is there: links lead to their targets, folds and veils open by themselves.
"use strict";
function read() {
  var article = document.querySelector("article.bd-article");
  if (!article) return;

  // --- Hover cards ------------------------------------------------------------------------------------------------
  // Their text lies in the page, so nobody is asked for it. They come by mouse and by keyboard, not by touch.
  var stored = document.getElementById("book-cards"), cards = stored ? JSON.parse(stored.textContent) : {};
  var card = null, shownFor = null, timer = 0;

  function cardOf(target) {
    var link = target.closest ? target.closest("a[href]:not(.equation-number)") : null; // that one leads to where it stands
    return link && article.contains(link) && Object.hasOwn(cards, link.getAttribute("href")) ? link : null;
  }

  function formulas(text) { // MathJax reads \( \) and \[ \] where it is there; elsewhere they are shown as code
    if (!window.MathJax) return text.replace(/\\[(\[]([\s\S]*?)\\[)\]]/g, "<code>$1</code>");
    return text.replace(/\\\(([\s\S]*?)\\\)/g, '<span class="math">\\($1\\)</span>')
               .replace(/\\\[([\s\S]*?)\\\]/g, '<span class="math">\\[$1\\]</span>');
  }

  function place() {
    var link = shownFor.getClientRects()[0], gap = 6, edge = 8;
    if (!link) { hide(); return; }
    var width = card.offsetWidth, height = card.offsetHeight, room = document.documentElement.clientWidth;
    var left = Math.max(edge, Math.min(link.left, room - width - edge));
    var below = link.bottom + gap + height <= window.innerHeight || link.top - gap - height < 0;
    card.style.left = left + window.scrollX + "px";
    card.style.top = (below ? link.bottom + gap : link.top - gap - height) + window.scrollY + "px";
  }

  function show(link) {
    clearTimeout(timer);
    if (shownFor === link) return;
    hide();
    if (!card) {
      card = document.createElement("div");
      card.id = "hover-card";
      card.setAttribute("role", "tooltip");
      card.addEventListener("pointerenter", function () { clearTimeout(timer); });
      card.addEventListener("pointerleave", later);
      document.body.appendChild(card);
    }
    shownFor = link;
    link.removeAttribute("title"); // the browser would show it on top of the card
    link.setAttribute("aria-describedby", card.id);
    card.innerHTML = formulas(cards[link.getAttribute("href")]);
    card.querySelectorAll("a").forEach(function (a) { a.tabIndex = -1; });
    card.hidden = false;
    place();
    if (window.MathJax && MathJax.typesetPromise && card.querySelector(".math")) {
      MathJax.typesetPromise([card]).then(function () { if (shownFor === link) place(); });
    }
  }

  function hide() {
    clearTimeout(timer);
    if (!shownFor) return;
    shownFor.removeAttribute("aria-describedby");
    shownFor = null;
    card.hidden = true;
  }

  function later() { clearTimeout(timer); timer = setTimeout(hide, 250); }

  article.addEventListener("pointerover", function (event) {
    var link = event.pointerType === "mouse" ? cardOf(event.target) : null;
    if (!link) return;
    clearTimeout(timer);
    if (link !== shownFor) timer = setTimeout(function () { show(link); }, 200);
  });
  article.addEventListener("pointerout", function (event) { if (cardOf(event.target)) later(); });
  article.addEventListener("focusin", function (event) {
    var link = cardOf(event.target);
    if (link && link.matches(":focus-visible")) show(link); else hide();
  });
  article.addEventListener("focusout", hide);
  article.addEventListener("click", hide);
  document.addEventListener("keydown", function (event) { if (event.key === "Escape") hide(); });
  window.addEventListener("resize", hide);

  // --- The switch for folded code ---------------------------------------------------------------------------------
  var box = document.querySelector(".code-switch"), key = "book-code";
  var folds = article.querySelectorAll("details.code-fold");

  function recall() { try { return localStorage.getItem(key); } catch (error) { return null; } }
  function remember(value) { try { localStorage.setItem(key, value); } catch (error) { /* it holds for this page */ } }

  function setFolds(open) {
    var button = box.querySelector("button");
    folds.forEach(function (fold) { fold.open = open; });
    button.setAttribute("aria-pressed", String(open));
    button.textContent = open ? "Fold the code" : "Show all code";
  }

  if (box && folds.length) {
    box.hidden = false;
    if (recall() === "open") setFolds(true);
    box.querySelector("button").addEventListener("click", function () {
      var open = this.getAttribute("aria-pressed") !== "true";
      setFolds(open);
      remember(open ? "open" : "folded");
    });
  }

  // --- Veils: what belongs to one question is lifted together ------------------------------------------------------
  article.querySelectorAll("details.veil").forEach(function (veil) {
    veil.addEventListener("toggle", function () {
      if (veil.open) article.querySelectorAll('details.veil[data-prediction="' + veil.dataset.prediction + '"]')
        .forEach(function (other) { other.open = true; });
    });
  });

  // --- Nothing is hidden from a link's target, or in print -----------------------------------------------------------
  function reveal() {
    var target = location.hash.length > 1 ? document.getElementById(decodeURIComponent(location.hash.slice(1))) : null;
    var closed = false;
    for (var at = target; at; at = at.parentElement) {
      if (at.tagName === "DETAILS" && !at.open) { at.open = true; closed = true; }
    }
    if (closed) target.scrollIntoView();
  }
  window.addEventListener("hashchange", reveal);
  reveal();

  var opened = [];
  window.addEventListener("beforeprint", function () {
    opened = Array.from(article.querySelectorAll("details.veil:not([open])"));
    opened.forEach(function (veil) { veil.open = true; });
  });
  window.addEventListener("afterprint", function () { opened.forEach(function (veil) { veil.open = false; }); });
}

if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", read);
else read();
