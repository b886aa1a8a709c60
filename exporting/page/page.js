// The page: what is asked for, and the stories as they come from the worker (teller.js).

const EXAMPLES = [
    "A little bear finds a red balloon in the forest.",
    "Lily and her cat plant a seed in the garden.",
    "Tom builds a boat, but the river is fast.",
    "a lost dog",
];
const LONGEST_TOPIC = 500, LONGEST_STORY = 200, LARGEST_SEED = 2 ** 32 - 1;
const $ = (id) => document.getElementById(id);
const made = (name, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
};
const capital = (word) => word[0].toUpperCase() + word.slice(1);

const worker = new Worker("teller.js", { type: "module" });
worker.onerror = () => say("This browser cannot run the page, or a file of it is lacking.");
const told = await fetch("model.json", { cache: "no-cache" }).then((answer) => answer.json()).catch(() => undefined);
let number = 0;  // of the story that is told
let first;  // what the story on the left was asked for
const cards = new Map();  // by number

// --- the form ---------------------------------------------------------------------------------------------

function say(news) {
    $("news").textContent = news;
}

function asked() {
    const seed = $("seed").value;
    return {
        topic: $("topic").value,
        ending: document.querySelector("[name=ending]:checked").value,
        temperature: $("temperature").valueAsNumber,
        maxTokens: $("max_tokens").valueAsNumber,
        strength: $("ending_strength").valueAsNumber,
        seed: seed === "" ? crypto.getRandomValues(new Uint32Array(1))[0] : Number(seed),
    };
}

// A link's fragment stays in the browser, and is the demo's.
function link({ topic, ending, temperature, maxTokens, strength, seed }) {
    return "#" + new URLSearchParams(
        { topic, ending, temperature, max_tokens: maxTokens, ending_strength: strength, seed });
}

// What the link in the address asks for; undefined if there is none, or one that cannot be told as it says.
function linked() {
    const given = new URLSearchParams(location.hash.slice(1));
    if (!given.has("seed")) return undefined;
    const number = (name, least, most, usual) => {
        const value = given.has(name) ? Number(given.get(name)) : usual;
        return given.get(name) !== "" && value >= least && value <= most ? value : undefined;
    };
    const what = {
        topic: given.get("topic") ?? "",
        ending: told.endings.find((ending) => ending === (given.get("ending") ?? told.endings[0])),
        temperature: number("temperature", 0.1, 1.4, 0.7),
        maxTokens: number("max_tokens", 20, told.config.context_length, LONGEST_STORY),
        strength: number("ending_strength", 0, 3, 1),
        seed: number("seed", 0, LARGEST_SEED),
    };
    if (Object.values(what).includes(undefined) || what.topic.length > LONGEST_TOPIC) {
        say("The link asks for what cannot be told here.");
        return undefined;
    }
    $("topic").value = what.topic;
    for (const radio of document.getElementsByName("ending")) radio.checked = radio.value === what.ending;
    $("temperature").value = what.temperature;
    $("max_tokens").value = what.maxTokens;
    $("ending_strength").value = what.strength;
    $("seed").value = what.seed;
    show();
    return what;
}

function tellLinked() {
    const what = linked();
    if (what) tell(what, true);
}

function show() {
    for (const range of document.querySelectorAll("input[type=range]")) {
        range.previousElementSibling.textContent = range.value;
    }
}

// --- stories ----------------------------------------------------------------------------------------------

function tell(what, isFirst) {
    if (!what.topic.trim()) {
        say("Say what the story is about.");
        $("topic").focus();
        return;
    }
    if (!Number.isInteger(what.seed) || what.seed < 0 || what.seed > LARGEST_SEED) {
        say(`The seed must be a whole number from 0 to ${LARGEST_SEED}.`);
        return;
    }
    say("");
    stop();
    const text = made("p");
    const foot = made("footer");
    const card = made("article", {}, made("h2", { textContent: `${capital(what.ending)} ending` }), text, foot);
    card.setAttribute("aria-live", "polite");
    card.setAttribute("aria-busy", "true");
    if (isFirst) {
        first = what;
        $("stories").replaceChildren(card);
        $("others").replaceChildren(...told.endings.filter((other) => other !== what.ending).map((other) => {
            const label = told.endings.length === 2 ? "The other ending" : `${capital(other)} ending`;
            return made("button", { type: "button", textContent: label, disabled: true,
                onclick: () => tell({ ...first, ending: other }, false) });
        }));
    } else {
        $("stories").replaceChildren($("stories").firstElementChild, card);
    }
    number += 1;
    cards.clear();
    cards.set(number, { card, text, foot, what });
    $("stop").disabled = false;
    worker.postMessage({ asked: what, number });
}

function stop() {
    for (const { card, foot, what } of cards.values()) end(card, foot, what, "");
    cards.clear();
    number += 1;
    worker.postMessage({ number });
    rest();
}

// No story is told.
function rest() {
    if (document.activeElement === $("stop")) $("tell").focus();
    $("stop").disabled = true;
    for (const other of $("others").children) other.disabled = false;
}

// What stands below a story that is told, or was stopped.
function end(card, foot, what, note) {
    card.setAttribute("aria-busy", "false");
    const again = made("a", { href: link(what), textContent: `seed ${what.seed}: the same story again` });
    const copy = made("button", { type: "button", textContent: "Copy", onclick: async () => {
        const done = await navigator.clipboard?.writeText(card.querySelector("p").textContent).then(() => true, () => false);
        copy.textContent = done ? "Copied" : "This browser does not allow it";
    } });
    foot.replaceChildren(...(note ? [note] : []), again, copy);
}

worker.onmessage = ({ data: { share, ready, number: of, story, seconds, error } }) => {
    if (share !== undefined) $("loading").value = share;
    if (ready) {
        $("loading").hidden = true;
        $("tell").disabled = false;
        say("");
        tellLinked();
    }
    if (error) say(error);
    const shown = cards.get(of);
    if (shown && story) shown.text.textContent = story.text;
    if (!shown || (seconds === undefined && !error)) return;
    if (error) shown.card.remove();
    else end(shown.card, shown.foot, shown.what, `${story.tokens} tokens, ${Math.round(story.tokens / seconds)} a second`);
    cards.clear();
    rest();
};

// --- the start --------------------------------------------------------------------------------------------

if (told) {
    $("name").textContent = told.name;
    $("max_tokens").max = told.config.context_length;
    $("max_tokens").value = LONGEST_STORY;
    $("examples").append(...EXAMPLES.map((example) => made("button", {
        type: "button", textContent: example, onclick: () => { $("topic").value = example; } })));
    $("endings").append(...told.endings.map((ending, i) => made("label", {},
        made("input", { type: "radio", name: "ending", value: ending, checked: i === 0 }), " ", capital(ending))));
    $("form").onsubmit = (event) => { event.preventDefault(); tell(asked(), true); };
    $("form").oninput = show;
    $("topic").onkeydown = (event) => {
        if (event.key === "Enter" && !event.shiftKey && !event.isComposing && !$("tell").disabled) {
            event.preventDefault();
            $("form").requestSubmit();
        }
    };
    $("stop").onclick = stop;
    addEventListener("hashchange", () => { if (!$("tell").disabled) tellLinked(); });
    show();
    say("Loading the model…");
    worker.postMessage({ told });
    navigator.serviceWorker?.register("offline.js").catch(() => undefined);
} else {
    say("The page's files cannot be loaded. Are you online? Reload the page.");
}
