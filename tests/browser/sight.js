// What can be told of a page without eyes; each finding is a line that names the element.
() => {
  const found = [];
  const wide = document.documentElement.scrollWidth, window_ = document.documentElement.clientWidth;
  if (wide > window_) found.push(`the page scrolls sideways: ${wide} pixels in ${window_}`);

  const name = e => {
    const words = (e.textContent || e.getAttribute("aria-label") || "").trim().replace(/\s+/g, " ");
    const of = e.className && e.className.baseVal === undefined ? `.${e.className}` : "";
    return `<${e.localName}${of}> ${words.slice(0, 50)}`;
  };
  const isShown = e => e.checkVisibility({visibilityProperty: true}) && e.getClientRects().length > 0
    && e.getBoundingClientRect().right > 0;
  const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
  const isInline = e => getComputedStyle(e).display.startsWith("inline");
  // What scrolls in a box of its own can be read all the same, if the keyboard reaches the box.
  const scrolls = e => e.closest("[tabindex], .tabs, textarea, select, input") &&
    !["main"].includes(e.closest("[tabindex], .tabs, textarea, select, input").localName);

  for (const e of document.body.querySelectorAll("*")) {
    if (e.closest("svg") || !isShown(e) || isInline(e)) continue;
    const isDotted = getComputedStyle(e).textOverflow === "ellipsis" && e.title;
    if (e.clientWidth && e.scrollWidth > e.clientWidth + 1 && !isDotted && !scrolls(e)
        && e.textContent.trim() && [...e.children].every(isInline))
      found.push(`cut off or out of its box: ${name(e)} (${e.scrollWidth} in ${e.clientWidth})`);
  }
  for (const text of document.querySelectorAll(".box text, .timeline text")) {
    if (!isShown(text)) continue;
    let bar = text.matches(".inside") ? text : null;
    while (bar && bar.localName !== "rect") bar = bar.previousElementSibling;
    const room = bar || text.closest(".box")?.querySelector("rect") || text.ownerSVGElement;
    const inner = text.getBoundingClientRect(), outer = room.getBoundingClientRect();
    if (inner.right > outer.right + 1 || inner.left < outer.left - 1)
      found.push(`out of its box: ${name(text)}`);
  }

  for (const svg of document.querySelectorAll("main svg")) {
    const texts = [...svg.querySelectorAll("text")].filter(isShown);
    texts.forEach((one, i) => texts.slice(i + 1).forEach(other => {
      if (meet(one.getBoundingClientRect(), other.getBoundingClientRect()))
        found.push(`on top of each other: ${name(one)} and ${name(other)}`);
    }));
  }
  for (const field of document.querySelectorAll("input[placeholder], input:not([type]), select")) {
    if (!isShown(field)) continue;
    const style = getComputedStyle(field), pen = document.createElement("canvas").getContext("2d");
    // Not style.font: that is empty where the numbers of a font have a width of their own.
    pen.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    const arrow = field.localName === "select" ? 16 : 0;
    const room = field.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight)
      - arrow;
    const isCut = words => words && pen.measureText(words).width > room + 1;
    if (isCut(field.placeholder)) found.push(`cut off: the placeholder ${field.placeholder}`);
    // What somebody types may be as long as they like; what is chosen, or a name, is read whole.
    const value = field.localName === "select" ? field.selectedOptions[0]?.text : field.value;
    if (value && value.length < 16 && isCut(value)) found.push(`cut off: the value ${value}`);
  }
  for (const e of document.querySelectorAll("[hidden]")) {
    if (isShown(e)) found.push(`hidden, and there all the same: ${name(e)}`);
  }
  // On a narrow screen what is looked for comes first, and what narrows it stays folded away.
  const results = document.querySelector("main table, main .lines, main .groups, main .empty");
  const isAhead = e => results.compareDocumentPosition(e) & Node.DOCUMENT_POSITION_PRECEDING;
  const ahead = !results || window_ > 860 ? [] :
    [...document.querySelectorAll("main :is(input, select):not([type=hidden])")]
      .filter(e => isShown(e) && !e.closest("details, .card") && isAhead(e));
  if (ahead.length > 1) found.push(`ahead of the list: ${ahead.length} fields, from ${name(ahead[0])}`);
  for (const table of window_ > 860 ? [] : document.querySelectorAll(".scroll table")) {
    const box = table.closest(".scroll");
    if (isShown(table) && !table.closest("details") && box.scrollWidth > box.clientWidth + 1)
      found.push(`wider than the screen: ${name(table)}`);
  }
  for (const link of document.querySelectorAll("main a")) {
    if (isShown(link) && /^\S*[0-9a-f]{8}-[0-9a-f]{4}\S*$/.test(link.textContent.trim()))
      found.push(`no name, only an identifier: ${name(link)}`);
  }

  const targets = [...document.querySelectorAll(
    "a[href], button, input:not([type=hidden]), select, textarea, summary")].filter(isShown);
  // The part of a target that what scrolls around it lets be seen; a label belongs to its field.
  const parts = e => {
    const box = e.closest(".scroll, .tabs, .graph, pre")?.getBoundingClientRect();
    return [...e.getClientRects()].map(r => box ? {
      left: Math.max(r.left, box.left), right: Math.min(r.right, box.right),
      top: Math.max(r.top, box.top), bottom: Math.min(r.bottom, box.bottom),
    } : r).filter(r => r.right - r.left > 1 && r.bottom - r.top > 1);
  };
  const rects = targets.map(parts);
  targets.forEach((one, i) => targets.slice(i + 1).forEach((other, k) => {
    if (one.contains(other) || other.contains(one)) return;
    if (rects[i].some(a => rects[i + 1 + k].some(b => meet(a, b))))
      found.push(`on top of each other: ${name(one)} and ${name(other)}`);
  }));
  for (const e of targets) {
    const {width, height} = e.getBoundingClientRect();
    const isInText = isInline(e) && e.localName === "a";
    const isBox = e.type === "checkbox" || e.type === "radio";
    const target = isBox ? e.closest("label").getBoundingClientRect() : {width, height};
    if (!isInText && (target.width < 23.5 || target.height < 23.5))
      found.push(`too small to hit: ${name(e)} (${width.toFixed(0)} x ${height.toFixed(0)})`);
  }
  for (const e of targets.slice(0, 200)) {
    e.scrollIntoView({block: "center", inline: "nearest", behavior: "instant"});
    const r = e.getClientRects()[0];
    const top = document.elementFromPoint((r.left + r.right) / 2, (r.top + r.bottom) / 2);
    if (top && !e.contains(top) && !top.contains(e))
      found.push(`covered: ${name(e)} by ${name(top)}`);
  }
  scrollTo(0, 0);
  for (const box of document.querySelectorAll(".scroll, .tabs, .graph, pre")) box.scrollLeft = 0;
  return [...new Set(found)];
}
