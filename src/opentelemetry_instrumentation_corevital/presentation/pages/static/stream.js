// Server-sent events, for as long as somebody looks at the page.

/**
 * Call `handlers[event](data, id)` for each event of a stream.
 *
 * A page that is hidden lets go of its stream, since a browser opens only six connections to a server, and goes on where
 * it was when it is looked at again. The event `over` ends it.
 */
export function followStream(address, handlers) {
  let source = null, last = null, over = false;
  const open = () => {
    if (source !== null || over) return;
    const from = new URL(address, location.href);
    if (last !== null) from.searchParams.set("behind", last);
    source = new EventSource(from);
    source.addEventListener("open", () => showConnection(true));
    source.addEventListener("error", () => {
      showConnection(false);
      if (source !== null && source.readyState === EventSource.CLOSED) retryLater();
    });
    for (const [name, handle] of Object.entries(handlers))
      source.addEventListener(name, (event) => {
        if (event.lastEventId !== "") last = event.lastEventId;
        handle(event.data);
      });
    source.addEventListener("over", () => {
      over = true;
      close();
    });
  };
  const close = () => {
    source?.close();
    source = null;
  };
  const retryLater = () => {
    close();
    setTimeout(() => document.visibilityState === "visible" && open(), 5000);
  };
  document.addEventListener("visibilitychange", () => (document.visibilityState === "visible" ? open() : close()));
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", open);
  open();
}

/* The page says so where no news come: the server has stopped, or too many pages are open. */
function showConnection(connected) {
  for (const place of document.querySelectorAll("[data-connection]")) place.hidden = connected;
}
