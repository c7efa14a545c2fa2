// All that the console does in the browser beyond htmx: copying what is typed, and hearing that a
// page is out of date. Everything works without.
"use strict";

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}

// htmx looks every ten seconds; a stream of changes says when to look at once. Where much changes
// it looks every three seconds at most. A page that nobody sees holds no stream.
if (document.querySelector("#live[hx-trigger^=newer]")) {
  const SOON_MS = 150, GAP_MS = 3000;
  let stream, due, looked = 0;
  const look = () => {
    due ??= setTimeout(() => {
      due = undefined;
      looked = Date.now();
      document.getElementById("live")?.dispatchEvent(new Event("newer"));
    }, Math.max(SOON_MS, looked + GAP_MS - Date.now()));
  };
  const heard = (event) => {
    const run = document.getElementById("live")?.dataset.run;
    if (!run || !event.data || JSON.parse(event.data).run_id === run) look();
  };
  const follow = () => {
    stream?.close();
    if (document.hidden) return;
    stream = new EventSource("/changes");
    // What changed between the page and its stream is seen by looking once.
    for (const kind of ["open", "reset"]) stream.addEventListener(kind, look);
    for (const kind of ["run", "exception", "task", "approval"]) stream.addEventListener(kind, heard);
  };
  document.addEventListener("visibilitychange", follow);
  follow();
}
