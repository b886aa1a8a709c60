// Tellers of stories in a browser, each with one thread: how fast. Each is given the number of tokens to tell
// behind a prompt of PROMPT tokens, and says how many it told in how many seconds, the first one not counted.

const PROMPT = 40;
const bytes = async (name) => new Uint8Array(await (await fetch(name)).arrayBuffer());
const ids = [...Array(PROMPT).keys()].map((i) => 100 + 7 * i);

function timed(step, count) {
    return (async () => {
        await step();
        const started = performance.now();
        for (let i = 1; i < count; i++) await step();
        return (count - 1) / (performance.now() - started) * 1000;
    })();
}

export async function engine() {
    const { Engine } = await import("/page/teller.js");
    const { config } = await (await fetch("/page/model.json")).json();
    const made = await WebAssembly.instantiate(await bytes("/page/engine.wasm"));
    const model = new Engine(made.instance.exports, await bytes("/page/model.safetensors"), config);
    return (count) => {
        const story = model.tell([ids], { most: count, temperature: 0.7, strength: 1, seed: 0 }, -1);
        return timed(() => story.next(), count);
    };
}

export async function wllama() {
    const { Wllama } = await import("/wllama/esm/index.js");
    const teller = new Wllama({ default: "/wllama/esm/wasm/wllama.wasm" });
    await teller.loadModel([new Blob([await bytes("/model-Q8_0.gguf")])],
        { n_ctx: 512, n_threads: 1, n_gpu_layers: 0 });
    return async (count) => {  // by its own clock; greedily, as it fails at bytes that are no text
        const told = await teller.createCompletion({ prompt: "a dog ".repeat(PROMPT / 2), max_tokens: count,
            temperature: 0, logit_bias: { 50256: -100 }, stream: false });
        return told.timings.predicted_per_second;
    };
}

export async function onnx(file) {
    const ort = await import("/ort/dist/ort.wasm.min.mjs");
    ort.env.wasm.wasmPaths = "/ort/dist/";
    ort.env.wasm.numThreads = 1;
    const session = await ort.InferenceSession.create(file, { executionProviders: ["wasm"] });
    const held = session.inputNames.filter((name) => name.startsWith("held"));
    const { config: { num_heads: H, embedding_dim: C } } = await (await fetch("/page/model.json")).json();
    return (count) => {
        let cache = Object.fromEntries(held.map((name) =>
            [name, new ort.Tensor("float32", new Float32Array(0), [1, H, 0, C / H])]));
        let next = ids;
        return timed(async () => {
            const input = new ort.Tensor("int64", BigInt64Array.from(next, BigInt), [1, next.length]);
            const made = await session.run({ ids: input, ...cache });
            cache = Object.fromEntries(held.map((name) => [name, made[name.replace("held", "now")]]));
            const logits = made.logits.data;
            next = [logits.indexOf(logits.reduce((a, b) => Math.max(a, b)))];
        }, count);
    };
}
