// Keeps the page's own files, so that it opens without a network; teller.js keeps those of the model.

const CACHE = "tiny-tales-page";
const FILES = ["./", "page.css", "page.js", "teller.js", "icon.svg"].map((name) => new URL(name, self.location).href);
const MODEL = new URL("model.json", self.location).href;

self.addEventListener("install", (event) => {
    event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES)));
});

// The page may be asked for by other addresses than its own.
function plain(request) {
    const url = new URL(request.url);
    url.search = url.hash = "";
    return url.href.replace(/\/index\.html$/, "/");
}

async function answered(request, name) {
    const answer = await fetch(request, { cache: "no-cache" }).catch(() => undefined);
    if (answer?.ok) {
        if (name !== MODEL) await (await caches.open(CACHE)).put(name, answer.clone());
        return answer;
    }
    return await caches.match(name) ?? answer ?? Response.error();
}

self.addEventListener("fetch", (event) => {
    const name = plain(event.request);
    if (event.request.method === "GET" && (FILES.includes(name) || name === MODEL)) {
        event.respondWith(answered(event.request, name));
    }
});
