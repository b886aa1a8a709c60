// Tells stories in the visitor's browser, in a worker, so that the page never waits: the tokenizer of dataset.py,
// the prompt, and inference/engine.c as WebAssembly. The same topic, ending and seed tell the same story as
// generate.py, to the byte.

const SUMS = 16, MOST_TOKENS = 64;  // as in engine.c
const SAMPLING = { topK: 50, topP: 1 };  // of inference/sampling.py

// --- the tokenizer ----------------------------------------------------------------------------------------

// Unicode's White_Space, which is not quite JavaScript's \s; and what Python's str.split takes for blank.
const BLANK = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const PIECES = new RegExp(
    "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+" +
    `| ?[^${BLANK}\\p{L}\\p{N}]+|[${BLANK}]+(?![^${BLANK}])|[${BLANK}]+`, "gu");
const BLANKS = new RegExp(`[${BLANK}\\x1c-\\x1f]+`, "u");

export class Tokenizer {
    // `ranks` is the text of assets/gpt2.tiktoken; a token is a string with a sign for each of its bytes.
    constructor(ranks, vocabSize) {
        this.end = vocabSize - 1;
        this.tokens = ranks.split("\n").slice(0, this.end).map((line) => atob(line.split(" ")[0]));
        this.ranks = new Map(this.tokens.map((token, rank) => [token, rank]));
        this.encoder = new TextEncoder();
    }

    encode(text) {
        return [...text.matchAll(PIECES)].flatMap(([piece]) => {
            const bytes = String.fromCharCode(...this.encoder.encode(piece));
            return this.ranks.has(bytes) ? [this.ranks.get(bytes)] : this.merge([...bytes]);
        });
    }

    merge(parts) {
        for (;;) {
            let best = Infinity, place = 0;
            for (let i = 0; i + 1 < parts.length; i++) {
                const rank = this.ranks.get(parts[i] + parts[i + 1]) ?? Infinity;
                if (rank < best) [best, place] = [rank, i];
            }
            if (best === Infinity) return parts.map((part) => this.ranks.get(part));
            parts.splice(place, 2, parts[place] + parts[place + 1]);
        }
    }

    bytes(token) {
        return Uint8Array.from(this.tokens[token], (sign) => sign.charCodeAt(0));
    }
}

// --- the model --------------------------------------------------------------------------------------------

const padded = (n) => Math.ceil(n / SUMS) * SUMS;

export class Engine {
    // `weights` is a .safetensors file of ours, int8 or float32.
    constructor(wasm, weights, config) {
        this.wasm = wasm;
        this.config = config;
        this.top = wasm.__heap_base.value;
        const size = Number(new DataView(weights.buffer).getBigUint64(0, true));
        const header = JSON.parse(new TextDecoder().decode(weights.subarray(8, 8 + size)));
        const start = this.take(weights.length);
        new Uint8Array(wasm.memory.buffer).set(weights, start);
        const at = (name) => header[name] ? start + 8 + size + header[name].data_offsets[0] : 0;
        this.layOut(at);
        this.free = this.top;
    }

    // Room in the memory of the module, from a multiple of 64 on, with zeros.
    take(bytes) {
        const place = Math.ceil(this.top / 64) * 64;
        this.top = place + bytes;
        const { memory } = this.wasm;
        const lacking = this.top - memory.buffer.byteLength;
        if (lacking > 0) memory.grow(Math.ceil(lacking / 65536));
        new Uint8Array(memory.buffer, place, bytes).fill(0);
        return place;
    }

    // Structures of engine.c: all their fields are words of 32 bits.
    words(values) {
        const place = this.take(4 * values.length);
        new Int32Array(this.wasm.memory.buffer, place, values.length).set(values);
        return place;
    }

    layOut(at) {
        const { vocab_size: V, context_length: T, embedding_dim: C, num_layers: L, num_heads: H } = this.config;
        const table = (name) => [at(`${name}.weight`), at(`${name}.scale`)];
        const linear = (name, rows, cols) => [...table(name), at(`${name}.bias`), rows, cols];
        const norm = (name) => [at(`${name}.weight`), at(`${name}.bias`)];
        const range = (n) => [...Array(n).keys()];
        const blocks = range(L).flatMap((i) => {
            const block = `blocks.${i}`;
            const heads = [..."qkv"].flatMap((part) => range(H).flatMap((h) =>
                linear(`${block}.mha.heads.${h}.${part}`, C / H, C)));
            return [
                ...norm(`${block}.layer_norm1`), ...norm(`${block}.layer_norm2`), this.words(heads),
                ...linear(`${block}.mha.out_proj`, C, C),
                ...linear(`${block}.feed_forward.layers.0`, 4 * C, C),
                ...linear(`${block}.feed_forward.layers.2`, C, 4 * C),
            ];
        });
        this.model = this.words([
            V, T, C, L, H, ...table("embeddings.token_embedding"), ...table("embeddings.pos_embedding"),
            this.words(blocks), ...norm("layer_norm"), ...linear("output_layer", V, C),
        ]);
        const [width, wide, head] = [padded(C), padded(4 * C), padded(C / H)];
        const rows = [width, width, width, H * head, wide, wide / 2, 1];  // `whole` holds halves of a word
        this.room = this.words(rows.map((row) => this.take(4 * MOST_TOKENS * row)));
        this.scratch = this.take(4 * this.wasm.engine_scratch(this.model));
        this.logits = this.take(4 * V);
        this.cacheWords = 2 * L * H * head;  // of a token
    }

    // The tokens of a story behind prompts[0], guided by the others, until the end of text or `most` are told.
    *tell(prompts, { most, temperature, strength, seed }, end) {
        this.top = this.free;
        const room = Math.min(Math.max(...prompts.map((ids) => ids.length)) + most, this.config.context_length);
        const texts = prompts.map((ids) => ({ unread: ids, read: 0 }));
        const laidOut = this.words(texts.flatMap(() => [this.take(4 * this.cacheWords * room), room]));
        const draw = this.words([texts.length, Math.min(SAMPLING.topK, this.config.vocab_size), 0, 0, 0, 0, 0, 0]);
        const places = this.take(4 * 4 * MOST_TOKENS), step = this.take(36);
        new Float32Array(this.wasm.memory.buffer, draw + 8, 3).set([strength, temperature, SAMPLING.topP]);
        new Uint32Array(this.wasm.memory.buffer, draw + 20, 1).set([seed]);

        const read = (tokens, draws) => {  // tokens: [id, text, position]
            const four = new Int32Array(this.wasm.memory.buffer, places, 4 * MOST_TOKENS);
            tokens.forEach((token, i) => token.forEach((value, kind) => { four[kind * MOST_TOKENS + i] = value; }));
            tokens.forEach((_, i) => { four[3 * MOST_TOKENS + i] = i; });
            const rows = [0, 1, 2, 3].map((kind) => places + 4 * kind * MOST_TOKENS);
            new Int32Array(this.wasm.memory.buffer, step, 9).set(
                [laidOut, ...rows, draw, this.logits, tokens.length, draws]);
            this.wasm.engine_step(this.model, step, this.room, 0, this.scratch);
        };

        for (let place = 0; place < most; place++) {
            const before = [], last = [];
            texts.forEach((text, number) => {
                text.unread.forEach((id, i) =>
                    (i + 1 < text.unread.length ? before : last).push([id, number, text.read + i]));
                text.read += text.unread.length;
            });
            for (let i = 0; i < before.length; i += MOST_TOKENS) read(before.slice(i, i + MOST_TOKENS), 0);
            new Uint32Array(this.wasm.memory.buffer, draw + 24, 1).set([place]);
            read(last, 1);
            const [token] = new Int32Array(this.wasm.memory.buffer, draw + 28, 1);
            yield token;
            if (token === end) return;
            for (const text of texts) text.unread = [token];
        }
    }
}

// --- a story ----------------------------------------------------------------------------------------------

export class Teller {
    // `told` is what model.json holds.
    constructor(wasm, weights, ranks, told) {
        this.told = told;
        this.tokenizer = new Tokenizer(ranks, told.config.vocab_size);
        this.engine = new Engine(wasm, weights, told.config);
    }

    prompt(topic, ending) {
        const plain = (topic.toWellFormed?.() ?? topic).split(BLANKS).filter(Boolean).join(" ");
        if (!plain) throw new Error("Say what the story is about.");
        const text = this.told.prompt.split("{ending}").join(ending).split("{summary}").join(plain);
        const ids = this.tokenizer.encode(text);
        if (ids.length >= this.told.config.context_length) throw new Error("That is too long; shorten it.");
        return ids;
    }

    // The story as far as it is told: { text, tokens, complete }, whenever there is more of it.
    *stream({ topic, ending, temperature, maxTokens, strength, seed }) {
        const others = strength === 1 ? [] : this.told.endings.filter((other) => other !== ending);
        const prompts = [ending, ...others].map((each) => this.prompt(topic, each));
        const longest = Math.max(...prompts.map((ids) => ids.length));
        const most = Math.min(maxTokens, this.told.config.context_length - longest);
        const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
        let text = "", tokens = 0, complete = false;
        for (const token of this.engine.tell(prompts, { most, temperature, strength, seed }, this.tokenizer.end)) {
            complete = token === this.tokenizer.end;
            if (complete) break;
            tokens++;
            const piece = decoder.decode(this.tokenizer.bytes(token), { stream: true });
            text += piece;
            if (piece) yield { text, tokens, complete };
        }
        yield { text: text + decoder.decode(), tokens, complete };
    }
}

// --- the worker -------------------------------------------------------------------------------------------

// A file of the model, from the browser's own cache if it is there, as it was when the page was made.
async function fetched(name, { bytes, sha256 }, arrived) {
    const cache = await self.caches?.open("tiny-tales").catch(() => undefined);  // only where the page is safe
    const url = `${name}?${sha256.slice(0, 16)}`;
    const kept = await cache?.match(url);
    if (kept) {
        const content = new Uint8Array(await kept.arrayBuffer());
        if (await isRight(content, sha256)) {
            arrived(bytes);
            return content;
        }
        await cache.delete(url);
    }
    const answer = await fetch(url, { cache: "no-store" }).catch(() => undefined);  // one that is kept may be bad
    if (!answer?.ok) throw new Error(`${name} cannot be loaded. Are you online? Reload the page.`);
    const content = new Uint8Array(bytes);
    let filled = 0;
    try {
        for (const reader = answer.body.getReader(); ;) {
            const { done, value } = await reader.read();
            if (done) break;
            content.set(value, filled);  // RangeError if there is too much
            filled += value.length;
            arrived(value.length);
        }
    } catch {
        filled = -1;
    }
    if (filled !== bytes || !await isRight(content, sha256)) {
        throw new Error(`${name} did not arrive as it should. Reload the page.`);
    }
    await cache?.put(url, new Response(content)).catch(() => undefined);  // there may be no room
    return content;
}

// As soon as all of a model is there: what it consists of, without a network too; what was of another goes.
async function keep(told) {
    const cache = await self.caches?.open("tiny-tales").catch(() => undefined);
    const here = new URL(".", self.location).href;
    const wanted = Object.entries(told.files).map(([name, { sha256 }]) => `${here}${name}?${sha256.slice(0, 16)}`);
    for (const { url } of await cache?.keys() ?? []) {
        if (new URL(".", url).href === here && !wanted.includes(url)) await cache.delete(url);
    }
    await cache?.put("model.json", new Response(JSON.stringify(told))).catch(() => undefined);
}

async function isRight(content, sha256) {
    if (!self.crypto?.subtle) return true;  // on a page that is not https
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
    return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("") === sha256;
}

async function open(told) {
    let arrived = 0;
    const total = Object.values(told.files).reduce((sum, { bytes }) => sum + bytes, 0);
    const load = (name) => fetched(name, told.files[name], (bytes) => {
        arrived += bytes;
        postMessage({ share: arrived / total });
    });
    const [code, ranks, weights] = await Promise.all(
        ["engine.wasm", "gpt2.tiktoken", "model.safetensors"].map(load));
    let made;
    try {
        made = await WebAssembly.instantiate(code);
    } catch {
        throw new Error("This browser cannot run the model: it is too old (it lacks WebAssembly's SIMD).");
    }
    await keep(told);
    made.instance.exports._initialize();
    try {
        return new Teller(made.instance.exports, weights, new TextDecoder("latin1").decode(ranks), told);
    } catch {
        throw new Error("This device has too little memory for the model.");
    }
}

const PAUSE = 50;  // milliseconds between two looks at what the page wants

if (typeof WorkerGlobalScope !== "undefined") {
    let teller, wanted;  // the number of the story that is told
    const next = new MessageChannel();  // sooner than a timer, which waits for 4 ms
    const aMoment = () => new Promise((done) => { next.port1.onmessage = done; next.port2.postMessage(0); });
    self.onmessage = async ({ data: { told, asked, number } }) => {
        wanted = number;
        try {
            if (told) {
                teller = await open(told);
                postMessage({ share: 1, ready: true });
                return;
            }
            if (!asked) return;
            const started = performance.now();
            let shown = started, story;
            for (story of teller.stream(asked)) {
                if (performance.now() - shown < PAUSE) continue;
                shown = performance.now();
                postMessage({ number, story });
                await aMoment();
                if (wanted !== number) return;
            }
            postMessage({ number, story, seconds: (performance.now() - started) / 1000 });
        } catch (error) {
            postMessage({ number, error: error.message });
        }
    };
}
