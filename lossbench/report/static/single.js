// Shows the page that the address asks for, of those in this file: "?losses/huber.html#edges"; without any, the index.
"use strict";
{
  const kinds = { css: "text/css", js: "text/javascript" };
  const part = (name) => document.getElementById(name)?.textContent;
  const address = (name) => `data:${kinds[name.split(".").pop()]};base64,${part(name)}`;

  const show = async (packed) => {
    const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const text = await new Response(stream).text();
    const whole = text.replaceAll(/"inside:([^"]+)"/g, (_, name) => `"${address(name)}"`);
    document.open();
    document.write(whole);
    document.close();
    if (location.hash) location.replace(location.hash); // the place on a page that was not there yet
  };

  show(part(decodeURIComponent(location.search.slice(1))) ?? part("index.html"));
}
