
// What follows is p2pnet's own (`xtask/src/page/split/glue.js`): this program lies in parts. The first is started above; the
// others are brought as soon as it runs, and at once if one of their functions is called before.
const parts = PARTS.map((file) => ({ address: new URL(file, import.meta.url).href, isHere: false }));
let jsImports, firstExports;

function withParts(imports) {
    jsImports = imports;
    return { ...imports, parts: { bring: bringAtOnce } };
}

// Where the page opens at its beginning, the first part is enough to start with.
async function beforeStart(exports) {
    firstExports = exports;
    const coming = Promise.all(parts.map(bring));
    if (globalThis.document && location.pathname !== new URL("./", document.baseURI).pathname) await coming;
}

function put(part, module) {
    if (!part.isHere) new WebAssembly.Instance(module, { ...jsImports, first: firstExports });
    part.isHere = true;
}

// Until it is there: whoever comes without a network for a while still has the whole page later.
async function bring(part) {
    for (let wait = 500; !part.isHere; wait = Math.min(2 * wait, 30_000)) {
        try {
            const module = await WebAssembly.compileStreaming(fetch(part.address, { priority: "low" }));
            // Browsers of some years ago refuse to do it at once where people wait.
            try { put(part, module); }
            catch (error) {
                if (!(error instanceof RangeError)) throw error;
                await WebAssembly.instantiate(module, { ...jsImports, first: firstExports });
                part.isHere = true;
            }
        } catch (error) {
            console.warn(`${part.address} has not come: ${error}`);
            await new Promise((done) => setTimeout(done, wait));
        }
    }
}

// A function of a part is called that is not there yet, so nothing can go on before it is.
function bringAtOnce(number) {
    const part = parts[number - 1];
    try {
        const asked = new XMLHttpRequest();
        asked.open("GET", part.address, false);
        // Where people wait, bytes are only to be had as letters.
        asked.overrideMimeType("text/plain; charset=x-user-defined");
        asked.send();
        if (asked.status !== 200) throw new Error(`HTTP ${asked.status}`);
        put(part, new WebAssembly.Module(Uint8Array.from(asked.responseText, (letter) => letter.charCodeAt(0))));
    } catch (error) {
        sayThatItIsAway();
        throw error;
    }
}

function sayThatItIsAway() {
    if (!globalThis.document?.body || document.getElementById("part-away")) return;
    const banner = document.createElement("p");
    banner.id = "part-away";
    banner.setAttribute("role", "alert");
    banner.style.cssText = "position:fixed;inset:auto 0 0 0;margin:0;padding:1rem;background:#8c1d18;color:#fff;z-index:100";
    const reload = document.createElement("button");
    reload.textContent = "Reload / Перезагрузить";
    reload.onclick = () => location.reload();
    banner.append(
        "A part of p2pnet did not arrive from the relay, and what you did needs it. Reload the page when the relay can be reached; your jobs are kept. / " +
        "Часть p2pnet не пришла с узла, а без неё дальше нельзя. Перезагрузите страницу, когда узел будет доступен: задания сохранены. ",
        reload,
    );
    document.body.append(banner);
}
