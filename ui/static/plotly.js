// Plotly, a script of 5 MB: asked for with the first chart (ui/opening.py does it where the page opens with one), and
// otherwise once the page has come to rest.

const ADDRESS = new URL("./plotly.min.js", import.meta.url).href;
let asked = null;

/** When window.Plotly is there. It fails where the server is away, and can be asked for again. */
export function plotly() {
  asked ||= new Promise((done, fail) => {
    if (window.Plotly) { done(); return; }
    let script = document.querySelector('script[src$="/plotly.min.js"]');
    if (!script) {
      script = Object.assign(document.createElement("script"), { src: ADDRESS, async: true });
      document.head.append(script);
    }
    const failed = () => { script.remove(); asked = null; fail(new Error("The charts cannot be drawn: their script did not come.")); };
    script.addEventListener("load", () => (window.Plotly ? done() : failed()));
    script.addEventListener("error", failed);
  });
  return asked;
}

/** The address of the script, for pages that carry it along. */
export const scriptAddress = ADDRESS;
