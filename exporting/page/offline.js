// Keeps the page's own files, so that it opens without a network; teller.js keeps those of the model.

const CACHE = "tiny-tales-page";
const FILES = ["./", "page.css", "page.js", "teller.js", "model.json"];

self.addEventListener("install", (event) => {
    event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES)));
});

self.addEventListener("fetch", (event) => {
    const { request } = event;
    if (request.method !== "GET" || new URL(request.url).search) return;
    event.respondWith(fetch(request).then((answer) => {
        if (answer.ok) {
            const copy = answer.clone();
            event.waitUntil(caches.open(CACHE).then((cache) => cache.put(request, copy)));
        }
        return answer;
    }).catch(async () => await caches.match(request, { ignoreVary: true }) ?? Response.error()));
});
