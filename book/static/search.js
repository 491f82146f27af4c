// The search of the book. It ranks pages by where a word stands (title, heading, text, code), how often, and how rare
// it is; every page is listed once, with the sections that say most. search_index.js comes from book/ext/site_search.py.
"use strict";

const BookSearch = (() => {
  const TITLE = 12, HEADING = 4, ALSO = 6, CODE = 0.4, PHRASE = 2.5, HALF = 8; // weights; HALF: half of what a word can give
  const ASIDE = { api: 0.25, glossary: 0.55, notation: 0.7, bibliography: 0.5, errata: 0.5, teachers: 0.6, scoreboard: 0.8, intro: 0.8 };
  const REFERENCE = 0.25; // pages of names: the chapters come first, unless a name is spelled
  const IDLE = new Set("a an and any are as at be but by can do does for from get has have how i if in into is it its make me my need no not of off on or our should so such than that the their then there these they this to use was we what when where which who why will with would you your".split(" "));
  const stems = new Map(), stemmer = new Stemmer();

  function stem(word) {
    if (!stems.has(word)) stems.set(word, word.includes("_") ? word : stemmer.stemWord(word.replace(/iz(?=[aei])/g, "is").replace(/our(?=$|s|al)/, "or")));
    return stems.get(word);
  }
  // Words as they are written, with what they are compared by: RL² is rl2, initialization is initialisation.
  const split = (text) => text.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase().match(/[\p{L}\p{N}_]+/gu) || [];
  const terms = (text) => split(text).filter((word) => !IDLE.has(word)).map(stem);

  function phrases(list, words) {
    let found = 0;
    for (let i = 0; i + words.length <= list.length; i += 1) if (words.every((word, k) => list[i + k] === word)) found += 1;
    return found;
  }

  // The index, once: the terms of each part instead of its text.
  let prepared = null;
  function prepare(index) {
    prepared = index.map((page) => ({
      ...page, name: page.page.split("/").pop(), titleTerms: terms(page.title), alsoTerms: terms(page.also),
      parts: page.entries.filter((entry) => !entry[4]).map(([anchor, heading, text, code]) => ({
        anchor, heading, text, headingTerms: terms(heading), textTerms: terms(text), codeTerms: terms(code) })),
      names: page.entries.filter((entry) => entry[4]).map(([anchor, name, text]) => ({ page, anchor, name, text })),
    }));
  }

  const times = (list, word) => list.reduce((sum, term) => sum + (term === word), 0);
  const near = (amount) => amount / (amount + HALF);

  function part(entry, words) {
    const each = words.map((word) => HEADING * Math.min(1, times(entry.headingTerms, word)) + times(entry.textTerms, word) + CODE * times(entry.codeTerms, word));
    const whole = words.length > 1 ? HEADING * phrases(entry.headingTerms, words) + phrases(entry.textTerms, words) : 0;
    return { entry, each, whole };
  }

  function page(one, words) {
    const parts = one.parts.map((entry) => part(entry, words));
    const each = words.map((word, i) => parts.reduce((sum, found) => sum + found.each[i], 0)
      + TITLE * Math.min(1, times(one.titleTerms, word)) + ALSO * Math.min(1, times(one.alsoTerms, word)));
    const whole = words.length > 1 ? parts.reduce((sum, found) => sum + found.whole, 0)
      + TITLE * Math.min(1, phrases(one.titleTerms, words)) + ALSO * Math.min(1, phrases(one.alsoTerms, words)) : 0;
    return { one, parts, each, whole };
  }

  // A section that knows all words says more than one that repeats a few of them; a term of that very name says most.
  function inPart(q, words, rare) {
    const known = q.each.filter((amount) => amount > 0).length / words.length;
    const named = q.entry.headingTerms.join(" ") === words.join(" ") ? HEADING : 1;
    return named * known ** 2 * (q.each.reduce((sum, amount, i) => sum + rare[i] * Math.sqrt(amount), 0) + 2 * Math.sqrt(q.whole));
  }

  function rank(query) {
    if (!prepared) prepare(BOOK_INDEX);
    const all = terms(query), words = all.length ? all : split(query).map(stem);
    const found = prepared.map((one) => page(one, words));
    const rare = words.map((_, i) => Math.log(1 + found.length / (1 + found.filter((p) => p.each[i] > 0).length)));
    for (const p of found) {
      const known = p.each.filter((amount) => amount > 0).length / words.length;
      const sum = p.each.reduce((total, amount, i) => total + rare[i] * near(amount), 0);
      p.score = known ** 2 * (sum + PHRASE * near(p.whole)) * (p.one.names.length ? REFERENCE : ASIDE[p.one.name] || 1);
      p.parts = p.parts.map((q) => ({ ...q, score: inPart(q, words, rare) })).filter((q) => q.score > 0).sort((a, b) => b.score - a.score);
    }
    const pages = found.filter((p) => p.score > 0).sort((a, b) => b.score - a.score);
    return { words, pages: pages.filter((p) => p.score > pages[0].score / 12), ...names(query, words) };
  }

  // Names of the package: those that the query spells stand before everything, others after the pages.
  const spelled = (name) => name.replace(/_/g, " ").replace(/([a-z0-9])([A-Z])/g, "$1 $2").replace(/([A-Z])([A-Z][a-z])/g, "$1 $2");
  function names(query, words) {
    const asked = query.trim().replace(/\(\)$/, ""), all = prepared.flatMap((one) => one.names);
    const same = (name) => name === asked || name.split(".").pop() === asked || `metarl_lite.${name}` === asked;
    const exact = asked ? all.filter((entry) => same(entry.name) || entry.anchor === asked) : [];
    const score = (entry) => words.filter((word) => terms(spelled(entry.name)).includes(word) || entry.name.toLowerCase() === word).length * 2
      + words.filter((word) => terms(entry.text).includes(word)).length;
    const other = all.filter((entry) => !exact.includes(entry)).map((entry) => [score(entry), entry])
      .filter(([points]) => points >= 2 * words.length).sort((a, b) => b[0] - a[0]).map(([, entry]) => entry);
    return { exact, other };
  }

  // --- Showing ---------------------------------------------------------------------------------------------------------

  const root = document.documentElement.dataset.content_root || "./";
  function element(tag, text, attributes = {}) {
    const made = Object.assign(document.createElement(tag), attributes);
    if (text) made.textContent = text;
    return made;
  }
  const link = (name, anchor, text) => element("a", text, { href: `${root}${name}.html${anchor ? `#${anchor}` : ""}` });

  // Some 200 letters that hold as many of the words as any others do, those words marked.
  function excerpt(text, words) {
    const spans = [...text.matchAll(/[\p{L}\p{N}_²]+/gu)].map((span) => ({ index: span.index, word: terms(span[0])[0] }));
    const hits = spans.filter((span) => words.includes(span.word));
    const held = (first) => new Set(hits.filter((span) => span.index >= first.index && span.index < first.index + 140).map((span) => span.word)).size;
    const hit = hits.reduce((best, span) => (best && held(best) >= held(span) ? best : span), undefined);
    const from = hit ? Math.max(0, text.lastIndexOf(" ", Math.max(0, hit.index - 70))) : 0, shown = text.slice(from, from + 220);
    const made = element("p", "", { className: "search-excerpt" });
    made.append(from ? "… " : "");
    let at = 0;
    for (const span of shown.matchAll(/[\p{L}\p{N}_²]+/gu)) {
      if (!words.includes(terms(span[0])[0])) continue;
      made.append(shown.slice(at, span.index), element("mark", span[0]));
      at = span.index + span[0].length;
    }
    made.append(shown.slice(at), from + 220 < text.length ? " …" : "");
    return made;
  }

  function pageItem(found, words) {
    const item = element("li"), [best, ...more] = found.parts, name = found.one.page;
    const whole = !best || best.entry === found.one.parts[0];
    item.append(link(name, whole ? "" : best.entry.anchor, found.one.title));
    if (!whole) item.firstChild.append(element("span", ` › ${best.entry.heading}`));
    if (best && best.entry.text) item.append(excerpt(best.entry.text, words));
    const further = more.filter((q) => q.entry !== found.one.parts[0] && q.score > best.score / 2).slice(0, 2);
    if (further.length) {
      const line = element("p", "Also: ", { className: "search-also" });
      further.forEach((q, i) => line.append(i ? " · " : "", link(name, q.entry.anchor, q.entry.heading)));
      item.append(line);
    }
    return item;
  }

  function nameItem(entry, words) {
    const item = element("li");
    item.append(link(entry.page.page, entry.anchor, ""));
    item.firstChild.append(element("code", entry.anchor));
    if (entry.text) item.append(excerpt(entry.text, words));
    return item;
  }

  function list(heading, items) {
    if (!items.length) return [];
    const made = element("ol", "", { className: "search" });
    made.append(...items);
    return heading ? [element("h2", heading), made] : [made];
  }

  function show(query) {
    const out = document.getElementById("search-results"), { words, pages, exact, other } = rank(query);
    const some = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;
    const said = pages.length || exact.length
      ? `${some(pages.length, "page")} and ${some(exact.length + other.length, "name")} of the package for “${query}”.`
      : `Nothing was found for “${query}”. The glossary and the index may know it under another name.`;
    out.replaceChildren(element("p", said, { className: "search-summary" }));
    out.firstChild.setAttribute("role", "status");
    const some_names = (entries, most) => entries.slice(0, most).map((entry) => nameItem(entry, words));
    out.append(...list("", some_names(exact, 5)), ...list(exact.length ? "Pages" : "", pages.map((found) => pageItem(found, words))),
      ...list("In the reference", some_names(other, 10)));
  }

  addEventListener("DOMContentLoaded", () => {
    const query = (new URLSearchParams(location.search).get("q") || "").trim();
    document.querySelectorAll('input[name="q"]').forEach((field) => { field.value = query; });
    if (query) show(query);
    // The field has the focus: from there the first result is one step of the Tab key away.
    const field = document.querySelector("article form.bd-search input");
    if (field) { field.focus(); field.select(); }
  });
  return { rank };
})();
